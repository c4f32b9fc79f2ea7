//! Output of the process never contains a host path, a token, a secret or a message of the operating system.
//!
//! A canary word is placed in each such value: the paths of the data folder, of a mount and of the secrets folder, a
//! secret, tokens, a file outside the mount that a link refers to, the message of a broken body, data that clients
//! send, texts about workers, and inputs of calls. Then every operation is requested with valid and invalid arguments,
//! also with failing stores. Every response, event, metric, log line, error and `Debug` output is searched for every
//! canary in the nine encodings of `search`. Each output declares which canaries it may contain.

mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use bundles::{Bundle, Digest, Platform};
use component_host::SandboxConfig;
use component_host::compile::cache::CompileCache;
use futures_util::StreamExt;
use host_tools::fs;
use runtime_api::call::ToolCall;
use runtime_service::{ServerLimits, ServiceOptions};
use secrecy::SecretString;
use serde_json::{Value, json};
use tower::ServiceExt;
use worker_runtime::metadata::SqliteMetadata;
use worker_runtime::secret::SecretDirectory;
use worker_runtime::worker::CreateWorkerRequest;
use worker_runtime::{DataFolder, shipped};

use crate::support::api::MANIFEST;
use crate::support::plugin_scene::{self, Packed};
use crate::support::plugins::Plugin;
use crate::support::provoked::says;
use crate::support::scene::Scene;
use crate::support::{World, acme, bundle_of, id, name, variant};

const DATA: &str = "canary-data-81c2";
const MOUNT: &str = "canary-mount-5e07";
const SECRETS: &str = "canary-place-of-secrets-9b3d";
const SECRET: &str = "canary-secret-2f6a";
const OUTSIDE: &str = "canary-outside-c40e";
const MESSAGE: &str = "canary-message-77d1";
const CLIENT: &str = "canary-client-0a9b";
const TEXT: &str = "canary-text-e3f8";
const INPUT: &str = "canary-input-6d52";

/// Log output, including that of tests that run concurrently.
static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        LOGGED.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn log_everything() {
    let own = "yoi=trace,worker_runtime=trace,component_host=trace,host_policy=trace,bundles=trace";
    let log = tracing_subscriber::fmt().with_env_filter(own).with_ansi(false).with_writer(|| Log);
    tracing::subscriber::set_global_default(log.finish()).expect("the only one");
}

/// Collected outputs, with the canaries that each may contain.
struct Outputs {
    canaries: Vec<String>,
    texts: Vec<(String, Vec<u8>, &'static [&'static str])>,
}

impl Outputs {
    fn hear(&mut self, what: impl Into<String>, text: impl Into<Vec<u8>>, may_hold: &'static [&'static str]) {
        self.texts.push((what.into(), text.into(), may_hold));
    }

    fn debug(&mut self, what: &str, value: &(impl Debug + ?Sized)) {
        self.hear(format!("Debug of {what}"), format!("{value:?}\n{value:#?}"), &[]);
    }

    #[track_caller]
    fn error<T>(&mut self, result: Result<T, impl std::error::Error>) {
        let Err(error) = result else { panic!("it is refused") };
        self.hear("an error", says(&error), &[]);
    }

    /// Returns every canary in an output that must not contain it.
    fn leaks(&self) -> BTreeSet<String> {
        let mut leaks = BTreeSet::new();
        for (what, text, may_hold) in &self.texts {
            for canary in self.canaries.iter().filter(|canary| !may_hold.contains(&canary.as_str())) {
                if let Some(encoding) = search::find(text, canary) {
                    leaks.insert(format!("{canary} ({encoding}) in {what}: {}", String::from_utf8_lossy(text)));
                }
            }
        }
        leaks
    }
}

/// All requests and their results.
struct RequestLog {
    scene: Scene,
    heard: Outputs,
    /// Operations that succeeded, and operations that failed.
    went: BTreeMap<bool, BTreeSet<String>>,
}

/// A response may contain names from its own request.
const ASKER: &[&str] = &[CLIENT];
/// A worker's texts and calls are visible in its own workspace.
const OWNER: &[&str] = &[TEXT, INPUT];

impl RequestLog {
    /// Requests an operation. Arguments replace the `{}` of its path in order.
    async fn ask(&mut self, operation: &str, fill: &[&str], fields: &[(&str, &str)], body: impl Into<Body>) -> Vec<u8> {
        let (method, path) = operation.split_once(' ').expect("an operation");
        let mut real = String::new();
        let mut fills = fill.iter();
        for part in path.split('/').skip(1) {
            let part = if part.starts_with('{') { fills.next().expect("filled") } else { &part };
            real.push_str(&format!("/{part}"));
        }
        real.extend(fills.copied());
        let answer = self.scene.send(method, &real, fields, body.into()).await;
        let fine = answer.status.is_success();
        let mut text = format!("{operation} {} {:?}\n", answer.status, answer.headers).into_bytes();
        text.extend_from_slice(&answer.body);
        let may_hold = match fine {
            true if path.starts_with("/v1/workers") => OWNER,
            true => &[],
            false => ASKER,
        };
        self.heard.hear(format!("the answer to {operation}"), text, may_hold);
        self.went.entry(fine).or_default().insert(operation.to_owned());
        answer.body
    }

    async fn well(
        &mut self,
        operation: &str,
        fill: &[&str],
        fields: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Vec<u8> {
        let body = self.ask(operation, fill, fields, body).await;
        let (what, text, _) = self.heard.texts.last().expect("heard");
        assert!(self.went[&true].contains(operation), "{what}: {}", String::from_utf8_lossy(text));
        body
    }

    async fn call(&mut self, worker: &str, tool: &str, input: Value) {
        let call = json!({ "input": input, "confirmed": true }).to_string();
        self.ask("POST /v1/workers/{id}/tools/{tool}", &[worker, tool], &[], call).await;
    }
}

fn bundle() -> Bundle {
    let trusted = "extends = [\"plain\"]\ntools_allow = [\"secretive\", \"fs.read\", \"fs.list\", \"fs.write\"]\n\
                   requires = [\"secret:token\", \"mount:repo:write\"]";
    let manifest = "schema = \"yoi.config-bundle/1\"\nrevision = 1\ncreated_at = \"2026-06-25T15:49:30Z\"\n\
        language = \"en\"\n[workspace]\nid = \"acme\"\n";
    let schemas = "input = \"schemas/echo.input.json\"\noutput = \"schemas/echo.output.json\"\n";
    let tools: String =
        [("echo", schemas), ("secretive", ""), ("\"fs.list\"", ""), ("\"fs.read\"", ""), ("\"fs.write\"", "")]
            .map(|(tool, more)| format!("[tools.{tool}]\nsource = \"host\"\neffect = \"write\"\n{more}"))
            .concat();
    bundle_of("acme", 1, &[("bundle.toml", &format!("{manifest}{tools}")), ("profiles/trusted.toml", trusted)])
}

/// A service plugin that receives events. Its bundle is newer than those of the other requests.
fn plugin() -> Packed {
    let service = Plugin::service().with("start", "(call $turn)");
    Packed { revision: 3, ..plugin_scene::with_hook(&service) }
}

/// Creates a worker with a plugin, reads what its service says, and sends it an event.
async fn plugins_are_well(asking: &mut RequestLog) {
    plugin().put_package(&asking.scene.api.runtime).await;
    let bundle = crate::support::put(&asking.scene.content(), &plugin().bundle()).await;
    let request = json!(CreateWorkerRequest::of_bundle(name("main"), bundle)).to_string();
    asking.well("PUT /v1/workers/{id}", &["s"], &[], request).await;
    let event = json!({ "text": INPUT }).to_string();
    let key = [("idempotency-key", "e1")];
    asking.well("POST /v1/workers/{id}/ingress/{name}", &["s", "hook"], &key, event).await;
    asking.well("GET /v1/workers/{id}/services", &["s"], &[], "").await;
    asking.well("GET /v1/workers/{id}/logs", &["s"], &[], "").await;
}

async fn place(folder: &std::path::Path) -> (RequestLog, DataFolder, Arc<SecretDirectory>) {
    let (mount, outside) = (folder.join(MOUNT), folder.join(OUTSIDE));
    std::fs::create_dir(&mount).expect("made");
    std::fs::write(&outside, OUTSIDE).expect("written");
    std::fs::write(mount.join("file"), "text").expect("written");
    symlink(&outside, mount.join("link")).expect("a link");
    let secrets = Arc::new(SecretDirectory::open(&folder.join(SECRETS)).expect("opened"));
    secrets.set(&name("token"), &SecretString::from(SECRET.to_owned())).expect("set");
    let data = DataFolder::open(folder.join(DATA)).await.expect("opened");
    let config = format!(
        "[host]\ncapabilities = ['tool:echo', 'tool:secretive', 'tool:fs.list', 'tool:fs.read', 'tool:fs.write']\n\
         [workspaces.acme]\nsignatures = {{ posture = \"none\" }}\nsecrets = ['token']\n\
         mounts.repo = {{ path = '{}', access = 'write' }}\n{}",
        mount.display(),
        plugin().grant()
    );
    let world = World {
        blobs: Arc::new(data.blobs()),
        metadata: Arc::new(SqliteMetadata::open(data.metadata_file()).await.expect("opened")),
        config,
        secrets: secrets.clone(),
        tools: fs::tools().expect("three").into(),
        ..World::default()
    };
    let limits = ServerLimits { requests_per_second: 10_000, ..ServerLimits::default() };
    let scene = Scene::with(world, ServiceOptions { limits, ..ServiceOptions::default() }).await;
    let secret = scene.token.rsplit('_').next().expect("a secret").to_owned();
    let mut canaries: Vec<String> =
        [DATA, MOUNT, SECRETS, SECRET, OUTSIDE, MESSAGE, CLIENT, TEXT, INPUT].map(str::to_owned).into();
    canaries.push(secret);
    let heard = Outputs { canaries, texts: Vec::new() };
    (RequestLog { scene, heard, went: BTreeMap::new() }, data, secrets)
}

fn request(bundle: Digest) -> CreateWorkerRequest {
    CreateWorkerRequest {
        intent: Some(name(TEXT)),
        display_name: Some(name(TEXT)),
        ..CreateWorkerRequest::of_bundle(name("trusted"), bundle)
    }
}

/// Requests every operation with valid arguments.
async fn all_is_well(asking: &mut RequestLog) {
    let bundle = bundle();
    let digest = bundle.digest().to_string();
    for (blob, content) in bundle.blobs() {
        asking.well("PUT /v1/blobs/{digest}", &[&blob.to_string()], &[], content.to_vec()).await;
        asking.well("GET /v1/blobs/{digest}", &[&blob.to_string()], &[], "").await;
    }
    let manifest = bundle.manifest_bytes().to_vec();
    asking.well("PUT /v1/config-bundles/{digest}", &[&digest], &[("content-type", MANIFEST)], manifest).await;
    let desired = json!({ "generation": 1, "bundle": digest }).to_string();
    asking.well("PUT /v1/desired", &[], &[], desired).await;
    for operation in [
        "GET /v1/config-bundles",
        "GET /v1/config-bundles/{digest}",
        "GET /v1/config-bundles/{digest}/users",
        "GET /v1/config-bundles/{digest}/findings",
        "PUT /v1/config-bundles/{digest}/pins/{pin}",
        "DELETE /v1/config-bundles/{digest}/pins/{pin}",
    ] {
        let fill = [digest.as_str(), "p"];
        asking.well(operation, &fill[..operation.matches('{').count()], &[], "").await;
    }
    let request = json!(request(bundle.digest())).to_string();
    asking.well("POST /v1/resolve", &[], &[], request.clone()).await;
    asking.well("PUT /v1/workers/{id}", &["w"], &[], request.clone()).await;
    asking.well("PUT /v1/workers/{id}", &["v"], &[], request).await;
    for input in [
        json!({ "text": INPUT }),
        json!({ "text": INPUT.repeat(1000) }),
        json!({ "do": "refuse", "text": INPUT }),
        json!({ "x": INPUT }),
    ] {
        asking.call("w", "echo", input).await;
    }
    asking.call("w", "secretive", json!({ "secret": "token", "x": INPUT })).await;
    asking.call("w", "secretive", json!({ "mount": "repo" })).await;
    for path in ["file", "link", "nothing", "file/x", "../x"] {
        asking.call("w", "fs.read", json!({ "mount": "repo", "path": path })).await;
        asking.call("w", "fs.list", json!({ "mount": "repo", "path": path })).await;
        let write = json!({ "mount": "repo", "path": path, "text": INPUT, "replaces": Digest::of("x") });
        asking.call("w", "fs.write", write).await;
    }
    asking.well("GET /v1/workers", &[], &[], "").await;
    asking.well("GET /v1/workers/{id}", &["w"], &[], "").await;
    asking.well("GET /v1/workers/{id}/history", &["w"], &[], "").await;
    let resolver = Digest::of(shipped::RESOLVER).to_string();
    asking.well("GET /v1/resolvers", &[], &[], "").await;
    asking.well("GET /v1/resolvers/{digest}", &[&resolver], &[], "").await;
    let component = [("content-type", "application/wasm")];
    let (removed, other) = variant(1);
    asking.well("PUT /v1/resolvers/{digest}", &[&removed.to_string()], &component, other).await;
    for method in ["POST", "GET", "DELETE"] {
        asking.well(&format!("{method} /v1/resolvers/{{digest}}/comparison"), &[&removed.to_string()], &[], "").await;
    }
    let json = [("content-type", "application/json")];
    asking.well("POST /v1/resolvers/{digest}/activate", &[&removed.to_string()], &json, r#"{"unchecked":true}"#).await;
    asking.well("POST /v1/resolvers/rollback", &[], &[], "").await;
    asking.well("DELETE /v1/resolvers/{digest}", &[&removed.to_string()], &[], "").await;
    asking.well("GET /v1/runtime/events", &[], &[], "").await;
    let (resolver, other) = variant(2);
    let resolver = resolver.to_string();
    asking.well("PUT /v1/resolvers/{digest}", &[&resolver], &component, other).await;
    asking.well("POST /v1/resolvers/{digest}/revoke", &[&resolver], &[], "").await;
    let wanted = json!({ "name": "ci", "scopes": ["read"], "workspaces": ["acme"] }).to_string();
    let issued = asking.well("POST /v1/tokens", &[], &[], wanted).await;
    // The only response that contains the token.
    let issued: Value = serde_json::from_slice(&issued).expect("JSON");
    let token = issued["token"].as_str().expect("a token");
    asking.heard.texts.pop();
    asking.heard.canaries.push(token.rsplit('_').next().expect("a secret").to_owned());
    asking.well("GET /v1/tokens", &[], &[], "").await;
    asking.well("DELETE /v1/tokens/{id}", &[issued["id"].as_str().expect("an id")], &[], "").await;
    for operation in ["GET /v1/runtime", "GET /livez", "GET /readyz", "DELETE /v1/garbage"] {
        asking.well(operation, &[], &[], "").await;
    }
}

/// Returns the first frames of the event stream.
async fn events(asking: &mut RequestLog) {
    let request = Request::get("/v1/events?after=0")
        .header(header::HOST, "runtime.test:7070")
        .header(header::AUTHORIZATION, format!("Bearer {}", asking.scene.token));
    let request = request.body(Body::empty()).expect("a request");
    let answer = asking.scene.api.router.clone().oneshot(request).await.expect("an answer");
    let mut text = format!("{:?}", answer.headers()).into_bytes();
    let newest = asking.scene.api.runtime.observation(&acme()).newest_event().await.expect("known");
    let mut frames = answer.into_body().into_data_stream();
    while String::from_utf8_lossy(&text).matches("\n\n").count() < usize::try_from(newest).expect("few") {
        text.extend_from_slice(&frames.next().await.expect("more").expect("a piece"));
    }
    asking.heard.hear("the events", text, &[]);
    asking.went.entry(true).or_default().insert("GET /v1/events".to_owned());
}

/// Requests each operation with every kind of invalid argument.
async fn all_is_wrong(asking: &mut RequestLog, operations: &BTreeSet<String>) {
    for operation in operations {
        let names = [CLIENT, CLIENT];
        let fill = &names[..operation.matches('{').count()];
        let garbage = format!("{{\"profile\":\"{CLIENT}\",\"{CLIENT}\":");
        asking.ask(operation, fill, &[("host", CLIENT)], "").await;
        asking.ask(operation, fill, &[("origin", CLIENT)], "").await;
        if operation == "GET /v1/events" {
            // An accepted event stream would never end.
            asking.ask(operation, &["?after=", CLIENT], &[], "").await;
            continue;
        }
        asking.ask(operation, fill, &[], garbage.clone()).await;
        asking.ask(operation, fill, &[("content-type", CLIENT), ("if-match", CLIENT)], garbage).await;
        let broken = futures_util::stream::iter([Ok("{"), Err(std::io::Error::other(MESSAGE))]);
        asking.ask(operation, fill, &[("content-type", MANIFEST)], Body::from_stream(broken)).await;
        let query = [fill, &["?workspace=", CLIENT, "&limit=", CLIENT, "&after=", CLIENT]].concat();
        asking.ask(operation, &query, &[], "").await;
        let good = std::mem::replace(&mut asking.scene.token, format!("yoi_{CLIENT}_{CLIENT}"));
        asking.ask(operation, fill, &[], "").await;
        asking.scene.token = good;
    }
}

/// Formats every API object and value that a program receives.
async fn all_is_shown(asking: &mut RequestLog, data: &DataFolder, secrets: &SecretDirectory) {
    let runtime = asking.scene.api.runtime.clone();
    let (management, catalogue) = (runtime.management(), runtime.catalogue(&acme()));
    let observation = runtime.observation(&acme());
    let heard = &mut asking.heard;
    heard.debug("Runtime", &runtime);
    heard.debug("Management", &management);
    heard.debug("Catalogue", &catalogue);
    heard.debug("Content", &runtime.content(&acme()));
    heard.debug("Interaction", &runtime.interaction(&acme()));
    heard.debug("Observation", &observation);
    heard.debug("RuntimeService", &asking.scene.api.service);
    heard.debug("ServiceOptions", &ServiceOptions::default());
    heard.debug("DataFolder", data);
    heard.debug("ObjectBlobs", &data.blobs());
    heard.debug("the stores", &(&asking.scene.blobs, &asking.scene.metadata));
    heard.debug("SecretDirectory", secrets);
    let cache = CompileCache::open(&data.metadata_file().with_file_name("compiled")).expect("opened");
    heard.debug("SandboxConfig", &SandboxConfig { cache: Some(cache), ..SandboxConfig::default() });
    heard.debug("a secret", &worker_runtime::secret::SecretSource::get(secrets, &name("token")).await);
    let config = host_policy::RuntimeConfig::from_toml(&asking.scene.world.config).expect("a config");
    heard.debug("RuntimeConfig", &config);
    let (os, arch): (Platform, Platform) = (name("linux"), name("x86_64"));
    heard.debug("Facts", &config.facts(&acme(), os, arch, &component_host::WORLDS));
    heard
        .debug("RuntimeBuilder", &worker_runtime::Runtime::builder().config(config).secrets(Arc::new(secrets.clone())));
    heard.debug("WorkerSummary", &catalogue.get(&id("w")).await);
    heard.debug("ResolvedWorkerSpec", &catalogue.spec(&id("w")).await);
    heard.debug("ResolutionReport", &catalogue.resolve(&request(bundle().digest())).await);
    heard.debug("CreateWorkerRequest", &request(bundle().digest()));
    heard.debug("RuntimeSummary", &management.summary().await);
    heard.debug("TokenSummary", &management.tokens().await);
    let (grant, entropy) =
        (management.tokens().await.expect("tokens")[0].grant.clone(), &worker_runtime::token::SystemEntropy);
    let issued = management.issue_token(grant, entropy).await.expect("a token");
    heard.debug("an issued token", &issued);
    let token = secrecy::ExposeSecret::expose_secret(&issued.1).to_owned();
    heard.canaries.push(token.rsplit('_').next().expect("a secret").to_owned());
    heard.debug("IssuedToken", &runtime_api::body::IssuedToken { token, summary: issued.0 });
    let mut subscription = observation.subscribe(0).await.expect("subscribed");
    heard.debug("Seen", &subscription.next().await);
    heard.debug("Subscription", &subscription);
}

/// Formats the errors of the API objects.
async fn all_is_refused(asking: &mut RequestLog) {
    let runtime = asking.scene.api.runtime.clone();
    let interaction = runtime.interaction(&acme());
    for (tool, input) in [
        ("fs.read", json!({ "mount": "repo", "path": "link" })),
        ("fs.read", json!({ "mount": "repo", "path": 7, "x": INPUT })),
        ("fs.write", json!({ "mount": "repo", "path": "file", "text": INPUT })),
        ("fs.list", json!({ "mount": "repo", "path": "link" })),
        ("echo", json!({ "do": "lie", "text": INPUT })),
        ("echo", json!({ "do": INPUT, "more": INPUT })),
        ("secretive", json!({ "secret": "other", "x": INPUT })),
    ] {
        let call = ToolCall { input, confirmed: true };
        asking.heard.error(interaction.call(&id("w"), &name(tool), call).await);
    }
    let mut other = request(bundle().digest());
    other.intent = Some(name(&format!("{TEXT} again")));
    asking.heard.error(runtime.catalogue(&acme()).create(id("w"), other).await);
    let shown = SecretString::from(asking.scene.token.replace("yoi_", "yoi_0"));
    asking.heard.error(runtime.management().authenticate(&shown).await);
}

/// Makes the file system unusable.
async fn all_is_broken(asking: &mut RequestLog, folder: &std::path::Path) {
    let secrets = folder.join(SECRETS);
    std::fs::remove_dir_all(&secrets).expect("removed");
    asking.call("v", "secretive", json!({ "secret": "token" })).await;
    std::fs::rename(folder.join(MOUNT), folder.join("elsewhere")).expect("moved");
    asking.call("v", "secretive", json!({ "mount": "repo" })).await;
    asking.call("v", "fs.read", json!({ "mount": "repo", "path": "file" })).await;
    let blobs = folder.join(DATA).join("blobs");
    std::fs::remove_dir_all(&blobs).expect("removed");
    std::fs::write(&blobs, "no folder").expect("written");
    let blob = Digest::of("new").to_string();
    asking.ask("PUT /v1/blobs/{digest}", &[&blob], &[], "new").await;
    asking.ask("GET /v1/config-bundles/{digest}", &[&bundle().digest().to_string()], &[], "").await;
    asking.ask("GET /readyz", &[], &[], "").await;
    asking.ask("GET /readyz", &["?verbose"], &[], "").await;
    asking.ask("DELETE /v1/garbage", &[], &[], "").await;
    let content = asking.scene.content();
    asking.heard.error(content.put_blob(Digest::of("new"), worker_runtime::blob_store::source_from("new"), None).await);
    asking.heard.error(content.manifest(bundle().digest()).await);
    asking.heard.error(asking.scene.management().check().await);
    asking.heard.error(DataFolder::open(&blobs).await);
    asking.heard.error(DataFolder::open(folder.join(DATA)).await);
    asking.heard.error(SqliteMetadata::open(folder.join(DATA).join("metadata.sqlite")).await);
    asking.heard.error(SqliteMetadata::open(folder.join("nowhere").join(DATA)).await);
    std::fs::write(&secrets, "no folder").expect("written");
    asking.heard.error(SecretDirectory::open(&secrets));
    asking.heard.error(SecretDirectory::credentials(&folder.join("nowhere").join(SECRETS)));
}

/// Returns the operations of the published description.
fn described() -> BTreeSet<String> {
    let text = include_str!("../../../../docs/openapi.json");
    let api: Value = serde_json::from_str(text).expect("JSON");
    let paths = api["paths"].as_object().expect("paths");
    let each = paths.iter().flat_map(|(path, of)| {
        of.as_object().expect("operations").keys().map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    each.collect()
}

#[tokio::test]
async fn no_output_of_the_process_contains_a_canary() {
    log_everything();
    let folder = tempfile::tempdir().expect("a folder");
    let (mut asking, data, secrets) = place(folder.path()).await;
    all_is_well(&mut asking).await;
    let operations = described();
    all_is_wrong(&mut asking, &operations).await;
    all_is_shown(&mut asking, &data, &secrets).await;
    all_is_refused(&mut asking).await;
    asking.scene.world.clock.advance(Duration::from_secs(60));
    events(&mut asking).await;
    asking.well("GET /v1/workers/{id}/spec", &["w"], &[], "").await;
    plugins_are_well(&mut asking).await;
    asking.well("DELETE /v1/workers/{id}", &["w"], &[], "").await;
    asking.well("POST /v1/workers/{id}/remove", &["w"], &[], "").await;
    let other = crate::support::bundle(2);
    crate::support::put(&asking.scene.content(), &other).await;
    asking.well("DELETE /v1/config-bundles/{digest}", &[&other.digest().to_string()], &[], "").await;
    all_is_broken(&mut asking, folder.path()).await;
    let digest = bundle().digest().to_string();
    asking.well("POST /v1/config-bundles/{digest}/revoke", &[&digest], &[], "").await;
    asking.ask("DELETE /v1/config-bundles/{digest}", &[&digest], &[], "").await;
    asking.well("GET /metrics", &[], &[], "").await;
    for (fine, word) in [(true, "well"), (false, "badly")] {
        let missing: Vec<_> = operations.difference(&asking.went[&fine]).collect();
        assert!(missing.is_empty(), "never went {word}: {missing:?}");
    }
    let logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(logged.windows(9).filter(|window| window == b"yoi::http").count() > 100);
    asking.heard.hear("the log", logged, &[]);
    assert!(asking.heard.texts.len() > 200);
    let leaks = asking.heard.leaks();
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// A canary in the wrong output is found, and one in an allowed output is not.
#[test]
fn leak_is_reported() {
    let mut heard = Outputs { canaries: vec![SECRET.to_owned(), TEXT.to_owned()], texts: Vec::new() };
    heard.hear("one", format!("{TEXT} {SECRET}"), OWNER);
    heard.debug("another", &TEXT);
    let leaks: Vec<String> = heard.leaks().into_iter().collect();
    assert_eq!(leaks.len(), 2, "{leaks:?}");
    assert!(leaks[0].starts_with(SECRET) && leaks[1].starts_with(TEXT), "{leaks:?}");
}
