//! Steps of `yoi demo` with a plugin: review, grant, call, and a version that asks for more than it is granted.

use std::sync::Arc;

use bundles::plugin::{Package, pack};
use bundles::{BuildOptions, Bundle, BundleLimits, Folder, build};
use component_host::Sandbox;
use host_policy::PluginReview;
use serde_json::json;
use worker_runtime::prelude::*;

use super::{Story, broken};
use crate::error::CliError;

const MANIFEST: &str = include_str!("../../../../tests/guests/plugins/examples/markdown-table/plugin.toml");
const COMPONENT: &[u8] = include_bytes!("../../../../tests/guests/plugins/examples/markdown-table/component.wasm");
const TOOL: &str = "markdown.format-tables";
const WORKSPACE: &str = "notes";

/// Permissions that the second version adds to its manifest.
const MORE_REQUESTS: &str = r#"
[[requests]]
scheme = "https"
host = "*"
methods = ["POST"]
path_prefixes = ["/"]
broad = true
reason = "Collects the tables that users format."
"#;

/// Adds the steps to the story.
pub(super) async fn tell(story: &mut Story, sandbox: &Sandbox) -> Result<(), CliError> {
    let first = open(MANIFEST)?;
    story.say(format!("{}: {}", title(&first), sentences(&first)));
    let denied = Desk::open(sandbox, &first, None).await?;
    story.say(format!("without a grant: {}", denied.call().await));
    let granted = Desk::open(sandbox, &first, Some(first.digest())).await?;
    story.say(format!("granted by its digest: {}", granted.call().await));

    let text = MANIFEST.replace("\"1.0.0\"", "\"1.1.0\"").replace("effect = \"none\"", "effect = \"external\"");
    let second = open(&(text + MORE_REQUESTS))?;
    story.say(format!("{} asks for more: {}", title(&second), sentences(&second)));
    let outdated = Desk::open(sandbox, &second, Some(first.digest())).await?;
    story.say(format!("with the grant of 1.0.0: {}", outdated.call().await));
    let overreaching = Desk::open(sandbox, &second, Some(second.digest())).await?;
    story.say(format!("with the same permissions for its digest: {}", overreaching.call().await));
    Ok(())
}

fn open(manifest: &str) -> Result<Package, CliError> {
    Package::open(pack(manifest.as_bytes(), COMPONENT), &BundleLimits::default()).map_err(|_| broken())
}

fn title(package: &Package) -> String {
    format!("{} {}", package.manifest().name(), package.manifest().version())
}

/// Returns the sentences of the review, the dangerous ones first.
fn sentences(package: &Package) -> String {
    let review = PluginReview::new(package.manifest(), None);
    let sentences: Vec<&str> = review.statements().iter().map(|statement| statement.text.as_str()).collect();
    sentences.join("; ")
}

/// A Runtime in memory with one worker whose profile selects the plugin.
struct Desk {
    runtime: Runtime,
    workspace: WorkspaceId,
    worker: WorkerId,
}

impl Desk {
    /// Opens a Runtime. Its config grants the tool to a package, but no effect and no request.
    async fn open(sandbox: &Sandbox, package: &Package, granted: Option<Digest>) -> Result<Self, CliError> {
        let mut config = format!("workspaces.{WORKSPACE}.signatures = {{ posture = \"none\" }}\n");
        if let Some(digest) = granted {
            let name = package.manifest().name();
            config.push_str(&format!(
                "[workspaces.{WORKSPACE}.plugins.\"{digest}\"]\nname = \"{name}\"\nsurfaces = [\"tools\"]\ntools = [\"{TOOL}\"]\n"
            ));
        }
        let config = RuntimeConfig::from_toml(&config)?;
        let builder = Runtime::builder().clock(Arc::new(SystemClock)).sandbox(sandbox.clone()).config(config);
        let runtime = builder.open().await.map_err(|_| broken())?;
        let bundle = bundle(package)?;
        let workspace = bundle.manifest().workspace.id.clone();
        let content = runtime.content(&workspace);
        let bytes = package.blob().bytes().to_vec();
        let length = bytes.len() as u64;
        let source = worker_runtime::blob_store::source_from(bytes);
        content.put_blob(package.digest(), source, Some(length)).await.map_err(|_| broken())?;
        content.put_bundle(&bundle).await.map_err(|_| broken())?;
        let worker: WorkerId = "writer".parse().map_err(|_| broken())?;
        let request = CreateWorkerRequest::of_bundle("writer".parse().map_err(|_| broken())?, bundle.digest());
        runtime.catalogue(&workspace).create(worker.clone(), request).await.map_err(|_| broken())?;
        Ok(Self { runtime, workspace, worker })
    }

    /// Calls the tool, and returns the first line of its output, or the reason of the refusal.
    async fn call(&self) -> String {
        let Ok(tool) = TOOL.parse() else { return broken().message };
        let call = ToolCall { input: json!({ "text": "|name|rows|\n|-|-|\n|orders|1204|\n" }), confirmed: true };
        match self.runtime.interaction(&self.workspace).call(&self.worker, &tool, call).await {
            Ok(called) => {
                let text = called.output.get("text").and_then(|text| text.as_str()).unwrap_or_default();
                format!("`|name|rows|` becomes `{}`", text.lines().next().unwrap_or_default())
            }
            Err(CallError::ToolNotGranted { refusal, .. }) => refusal.reason,
            Err(error) => error.to_string(),
        }
    }
}

/// Builds a bundle whose profile `writer` selects the plugin and its tool.
fn bundle(package: &Package) -> Result<Bundle, CliError> {
    let name = package.manifest().name();
    let text = format!(
        "schema = \"yoi.config-bundle/1\"\nrevision = 1\ncreated_at = \"2026-06-25T15:49:30Z\"\nlanguage = \"en\"\n\
         workspace.id = \"{WORKSPACE}\"\n[tools.\"{TOOL}\"]\nsource = \"plugin:{name}\"\n"
    );
    let files = [
        ("bundle.toml".to_owned(), text.into_bytes()),
        ("profiles/writer.toml".to_owned(), format!("plugins = [\"{name}\"]\ntools_allow = [\"{TOOL}\"]\n").into()),
        (format!("plugins/{name}.toml"), b"package = \"package.tar\"\n".to_vec()),
        ("plugins/package.tar".to_owned(), package.blob().bytes().to_vec()),
    ];
    let built = build(&Folder::from_files(files), &BuildOptions::default(), &BundleLimits::default());
    Ok(built.map_err(|_| broken())?.bundle)
}
