//! `yoi demo --fleet`: a Backend and three Runtimes in one process: one embedded, one behind its HTTP API, and one that polls.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ::bundles::{BuildOptions, Bundle, BundleLimits, Contents, Digest, RuntimeName, WorkspaceId};
use backend_api::body::SetDesiredRequest;
use backend_api::fleet::{Access, Condition};
use backend_api::policy::Labels;
use backend_api::session::LoginLinkRequest;
use backend_api::token::BackendScope;
use backend_client::BackendClient;
use component_host::{Limits, Sandbox};
use host_policy::RuntimeConfig;
use runtime_api::Code;
use runtime_api::token::{Scope, TokenGrant};
use runtime_client::{Client, ClientOptions};
use runtime_service::{Hosts, RuntimeService, ServiceOptions};
use secrecy::SecretString;
use serde_json::json;
use tokio::net::TcpListener;
use worker_runtime::metadata::SqliteMetadata;
use worker_runtime::token::SystemEntropy;
use worker_runtime::{DataFolder, Runtime, SystemClock};
use yoi_workspace_server::pull::PulledRuntime;
use yoi_workspace_server::pull::agent::{PullAgent, RetryWaits};
use yoi_workspace_server::reconciler::ReconcilerLimits;
use yoi_workspace_server::runtime_link::{EmbeddedRuntime, RemoteRuntime, RuntimeLink};
use yoi_workspace_server::service::BackendService;
use yoi_workspace_server::visibility::{Names, Rules, RuntimeRules, WorkspaceRules};
use yoi_workspace_server::{Backend, BackendBuilder, NoConnector, RuntimeEntry, WorkspaceEntry};

use super::{Story, broken, write_example};
use crate::bundle_source;
use crate::error::CliError;
use crate::output::Output;
use crate::runtime::serve::{stop_signals, wait_for_stop};
use crate::sandbox::{self, CacheArgs};
use crate::text::dim;

const WORKSPACE: &str = "acme";

/// Names of the Runtimes: embedded, behind its HTTP API, and polling.
const RUNTIMES: [&str; 3] = ["embedded", "pushed", "polling"];

/// Time within which a Runtime follows. It takes some milliseconds; a slow machine may need seconds.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn run(cache: &CacheArgs, stay: bool, output: &Output) -> Result<ExitCode, CliError> {
    let temporary = tempfile::tempdir().map_err(|error| {
        CliError::new(Code::Unwritable, format!("cannot create a temporary folder: {}", error.kind()), "set TMPDIR")
    })?;
    let sandbox = sandbox::start(cache, Limits::default(), output)?;
    crate::block_on(tell(temporary.path(), &sandbox, stay, output))?
}

async fn tell(folder: &Path, sandbox: &Sandbox, stay: bool, output: &Output) -> Result<ExitCode, CliError> {
    let mut story = Story { lines: Vec::new() };
    let fleet = Fleet::open(folder, sandbox).await?;
    story.step("Bring up a Backend and three Runtimes");
    story.say(format!("Backend at {}", fleet.url));
    story.say(
        "`embedded` runs in the process of the Backend, `pushed` has an HTTP API, `polling` fetches what it needs",
    );

    story.step("Publish a bundle and make it the desired one");
    let first = fleet.publish(folder, 1, "Be kind.").await?;
    fleet.wait(|conditions| conditions.iter().all(|condition| *condition == Condition::InSync)).await?;
    story.say(format!("{first}"));
    story.say(fleet.summary().await?);

    story.step("A Runtime refuses a bundle");
    fleet.pushed.management().replace_config(config("another-team")?)?;
    let second = fleet.publish(folder, 2, "Be brief.").await?;
    fleet
        .wait(|conditions| {
            let refused = conditions.iter().filter(|condition| matches!(condition, Condition::Refused { .. })).count();
            let in_sync = conditions.iter().filter(|condition| **condition == Condition::InSync).count();
            (refused, in_sync) == (1, 2)
        })
        .await?;
    story.say(format!("{second}"));
    story.say(fleet.summary().await?);
    story.say("the config of `pushed` no longer names the workspace, so its host refuses what the Backend sends");

    story.step("Repair the Runtime");
    fleet.pushed.management().replace_config(config(WORKSPACE)?)?;
    fleet.client.sync().await.map_err(|_| broken())?;
    fleet.wait(|conditions| conditions.iter().all(|condition| *condition == Condition::InSync)).await?;
    story.say(fleet.summary().await?);

    story.step("Roll back");
    let view = fleet.client.roll_back().await.map_err(|_| broken())?;
    fleet.wait(|conditions| conditions.iter().all(|condition| *condition == Condition::InSync)).await?;
    let target = view.desired.ok_or_else(broken)?.target;
    story.say(format!("{}, generation {}", target.bundle, target.generation));
    story.say(fleet.summary().await?);
    let returned = target.bundle == first;

    story.step("Look at it in a browser");
    let link = fleet.client.issue_login_link(&LoginLinkRequest::default()).await.map_err(|_| broken())?;
    let page = format!("{}{}", fleet.url, link.path);
    story.say(page.clone());
    if !stay {
        story.say(dim("the fleet ends now; with --stay it keeps running, and the link works"));
    }
    let document = json!({
        "schema": "yoi.demo-fleet/1", "backend": fleet.url, "page": page, "runtimes": RUNTIMES,
        "published": [first, second], "rolled_back": returned,
    });
    output.result(&document, || format!("{}\n", story.lines.join("\n")));
    if stay {
        output.note("note: the fleet runs until Ctrl-C");
        wait_for_stop(stop_signals()?).await;
    }
    Ok(ExitCode::SUCCESS)
}

/// A Backend and its Runtimes. Everything ends when it is dropped.
struct Fleet {
    url: String,
    client: BackendClient,
    /// The Runtime behind its HTTP API.
    pushed: Runtime,
    /// Keeps the other tasks running.
    _tasks: tokio::task::JoinSet<()>,
}

impl Fleet {
    async fn open(folder: &Path, sandbox: &Sandbox) -> Result<Self, CliError> {
        let mut tasks = tokio::task::JoinSet::new();
        let [embedded, pushed, polling] = [
            runtime(folder, RUNTIMES[0], sandbox).await?,
            runtime(folder, RUNTIMES[1], sandbox).await?,
            runtime(folder, RUNTIMES[2], sandbox).await?,
        ];
        let (listener, pushed_url, options) = listen().await?;
        let service = RuntimeService::new(pushed.clone(), options);
        tasks.spawn(async move {
            service.serve(listener, std::future::pending()).await;
        });
        let pushed_token = token(&pushed, &[Scope::Status, Scope::Read, Scope::Bundles]).await?;
        let remote = client(&pushed_url, pushed_token)?;
        let links: [(Access, Arc<dyn RuntimeLink>); 3] = [
            (Access::Embedded, Arc::new(EmbeddedRuntime::from(embedded))),
            (Access::Remote, Arc::new(RemoteRuntime::from(remote))),
            (Access::Pulled, Arc::new(PulledRuntime::default())),
        ];
        let backend = backend(folder, sandbox, links).await?;
        let (listener, url, options) = listen().await?;
        let service = BackendService::new(backend.clone(), options);
        tasks.spawn(async move {
            service.serve(listener, std::future::pending()).await;
        });
        let scopes = BackendScope::ALL.map(BackendScope::of_runtime);
        let ours = BackendClient::from(client(&url, token(backend.catalogue(), &scopes).await?)?);
        tasks.spawn(async move { backend.run(std::future::pending()).await });
        let name: RuntimeName = RUNTIMES[2].parse().map_err(|_| broken())?;
        let issued = ours.issue_pull_token(&name).await.map_err(|_| broken())?;
        let agent = PullAgent::new(client(&url, issued.token.into())?, polling, Names::All, RetryWaits::default());
        tasks.spawn(async move { agent.run(std::future::pending()).await });
        Ok(Self { url, client: ours, pushed, _tasks: tasks })
    }

    /// Builds a bundle of the example with another prompt, publishes it and makes it the desired one.
    async fn publish(&self, folder: &Path, revision: u64, prompt: &str) -> Result<Digest, CliError> {
        let contents = Contents::new(bundle(&folder.join(format!("bundle-{revision}")), revision, prompt)?, None);
        let published = self.client.publish(&contents.map_err(|_| broken())?).await.map_err(|_| broken())?;
        let bundle = published.bundle.digest;
        let request = SetDesiredRequest { bundle, allow_older: false, stage: None };
        self.client.set_desired(&request).await.map_err(|_| broken())?;
        Ok(bundle)
    }

    async fn conditions(&self) -> Result<Vec<(RuntimeName, Condition)>, CliError> {
        let workspace: WorkspaceId = WORKSPACE.parse().map_err(|_| broken())?;
        let runtimes = self.client.runtimes().await.map_err(|_| broken())?;
        let condition = |view: &backend_api::fleet::RuntimeView| Some(view.workspaces.get(&workspace)?.condition);
        Ok(runtimes.iter().filter_map(|view| Some((view.name.clone(), condition(view)?))).collect())
    }

    /// Waits until the conditions are right.
    async fn wait(&self, is_right: impl Fn(&[Condition]) -> bool) -> Result<(), CliError> {
        let reached = async {
            loop {
                let conditions: Vec<_> = self.conditions().await?.into_iter().map(|(_, condition)| condition).collect();
                if is_right(&conditions) {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| {
            let help = "run the demo again on a machine that is less busy";
            Err(CliError::new(Code::TimedOut, "a Runtime of the demo did not follow in time", help))
        })
    }

    /// Returns the condition of each Runtime in words.
    async fn summary(&self) -> Result<String, CliError> {
        let words = self.conditions().await?.into_iter().map(|(name, condition)| match condition {
            Condition::Refused { code } => format!("{name}: refused [{}]", code.as_str()),
            Condition::InSync => format!("{name}: in sync"),
            _ => format!("{name}: pending"),
        });
        Ok(words.collect::<Vec<_>>().join("   "))
    }
}

fn config(workspace: &str) -> Result<RuntimeConfig, CliError> {
    Ok(RuntimeConfig::from_toml(&format!("[workspaces.{workspace}]\nsignatures = {{ posture = \"none\" }}\n"))?)
}

async fn runtime(folder: &Path, name: &str, sandbox: &Sandbox) -> Result<Runtime, CliError> {
    let data = DataFolder::open(folder.join(name)).await?;
    let metadata = SqliteMetadata::open(data.metadata_file()).await?;
    let builder = Runtime::builder().clock(Arc::new(SystemClock)).config(config(WORKSPACE)?).sandbox(sandbox.clone());
    Ok(builder.blobs(Arc::new(data.blobs())).metadata(Arc::new(metadata)).open().await?)
}

async fn backend(
    folder: &Path,
    sandbox: &Sandbox,
    links: [(Access, Arc<dyn RuntimeLink>); 3],
) -> Result<Backend, CliError> {
    let data = DataFolder::open(folder.join("backend")).await?;
    let metadata = Arc::new(SqliteMetadata::open(data.metadata_file()).await?);
    let builder = Runtime::builder().clock(Arc::new(SystemClock)).config(config(WORKSPACE)?).sandbox(sandbox.clone());
    let catalogue = builder.blobs(Arc::new(data.blobs())).metadata(metadata.clone()).open().await?;
    let any = Rules { accepted: Names::All, required: Labels::new() };
    let rules = WorkspaceRules { labels: Labels::new(), rules: any };
    let workspaces = [(WORKSPACE.parse().map_err(|_| broken())?, WorkspaceEntry { rules })].into();
    let entries = RUNTIMES.iter().zip(links).map(|(name, (access, link))| {
        let rules = Rules { accepted: Names::All, required: Labels::new() };
        let rules = RuntimeRules { labels: Labels::new(), rules };
        Ok((name.parse().map_err(|_| broken())?, RuntimeEntry { rules, access, link }))
    });
    let builder = BackendBuilder {
        catalogue,
        metadata,
        clock: Arc::new(SystemClock),
        workspaces,
        runtimes: entries.collect::<Result<_, CliError>>()?,
        connector: Arc::new(NoConnector),
        // The Runtimes are on this machine, so they can be read often.
        limits: ReconcilerLimits {
            status_interval: Duration::from_secs(1),
            min_retry: Duration::from_millis(100),
            max_retry: Duration::from_secs(1),
            ..ReconcilerLimits::default()
        },
        seed: 1,
    };
    Ok(builder.open().await?)
}

/// Listens on a port of this machine.
async fn listen() -> Result<(TcpListener, String, ServiceOptions), CliError> {
    let (listener, address) = crate::runtime::serve::listen(([127, 0, 0, 1], 0).into()).await?;
    let hosts = Hosts { hosts: [address.to_string()].into(), ..Hosts::default() };
    Ok((listener, format!("http://{address}"), ServiceOptions { hosts, ..ServiceOptions::default() }))
}

fn client(url: &str, token: SecretString) -> Result<Client, CliError> {
    Client::new(ClientOptions::new(url, token)).map_err(|_| broken())
}

async fn token(runtime: &Runtime, scopes: &[Scope]) -> Result<SecretString, CliError> {
    let grant = TokenGrant {
        name: "demo".parse().map_err(|_| broken())?,
        scopes: scopes.iter().copied().collect(),
        workspaces: [WORKSPACE.parse().map_err(|_| broken())?].into(),
        expires_at: None,
        connections: None,
        event_streams: None,
    };
    Ok(runtime.management().issue_token(grant, &SystemEntropy).await?.1)
}

/// Builds the example with another revision, and with another text in front of one of its prompts.
fn bundle(folder: &Path, revision: u64, prompt: &str) -> Result<Bundle, CliError> {
    write_example(folder)?;
    let prompts = folder.join("prompts");
    crate::files::write(&prompts.join("demo-fleet.md"), format!("{prompt}\n").as_bytes(), "file")?;
    let path = folder.join("bundle.toml");
    let text = crate::files::read_text(&path, 1 << 20, "file")?;
    let text: Vec<String> = text
        .lines()
        .map(|line| match line.starts_with("revision = ") {
            true => format!("revision = {revision}"),
            false => line.to_owned(),
        })
        .collect();
    crate::files::write(&path, text.join("\n").as_bytes(), "file")?;
    Ok(bundle_source::build(folder, &BuildOptions::default(), &BundleLimits::default())?.bundle)
}
