//! A Runtime with stores in memory and eight workspaces. Each has a worker with a tool of the host and one of a plugin.

use bundles::plugin::pack;
use bundles::{BuildOptions, BundleLimits, Digest, Folder, ToolName, WorkspaceId, build};
use bytes::Bytes;
use component_host::Sandbox;
use runtime_api::call::ToolCall;
use serde_json::{Value, json};
use worker_runtime::worker::{CreateWorkerRequest, WorkerId};
use worker_runtime::{Runtime, blob_store};

use crate::component::Plugin;
use crate::{Outcome, server};

/// Number of workspaces.
pub(crate) const WORKSPACES: usize = 8;

const MANIFEST: &str = r#"
schema = "yoi.plugin/1"
name = "echo"
version = "1.0.0"
world = "yoi:runtime/tool@1.0.0"
description = "Returns its input."
surfaces = ["tools"]
[tools."plugin.echo"]
description = "Returns its input."
effect = "none"
input.type = "object"
output.type = "object"
"#;

const BUNDLE: &str = r#"
schema = "yoi.config-bundle/1"
revision = 1
created_at = "2026-06-25T15:49:30Z"
language = "en"
tools."host.echo" = { source = "host", effect = "none", input = "schemas/object.json", output = "schemas/object.json" }
tools."plugin.echo" = { source = "plugin:echo" }
workspace.id = "#;

/// Tools to compare.
#[derive(Debug, Clone, Copy)]
pub(crate) enum EchoTool {
    Host,
    Plugin,
}

pub(crate) struct Scene {
    runtime: Runtime,
    workspaces: Vec<WorkspaceId>,
    worker: WorkerId,
    tools: [ToolName; 2],
}

/// Returns an object of 1 KiB.
pub(crate) fn input() -> Value {
    let rows: Vec<Value> =
        (0..16).map(|row| json!({ "id": row, "name": format!("row {row}"), "open": true })).collect();
    let mut input = json!({ "rows": rows, "rest": "" });
    let missing = 1024usize.saturating_sub(input.to_string().len());
    if let Some(rest) = input.get_mut("rest") {
        *rest = json!("x".repeat(missing));
    }
    input
}

/// Returns the component that returns its input.
pub(crate) fn component() -> Vec<u8> {
    Plugin::tool().bytes()
}

impl Scene {
    pub(crate) async fn open(sandbox: &Sandbox) -> Outcome<Self> {
        let package = pack(MANIFEST.as_bytes(), &component());
        let digest = Digest::of(&package);
        let names: Vec<String> = (0..WORKSPACES).map(|number| format!("ws-{number}")).collect();
        let grant = |name: &String| {
            format!(
                "[workspaces.{name}]\nsignatures = {{ posture = 'none' }}\n[workspaces.{name}.plugins.'{digest}']\n\
                 name = 'echo'\nsurfaces = ['tools']\ntools = ['plugin.echo']\n"
            )
        };
        let grants: String = names.iter().map(grant).collect();
        let config = format!("[host]\ncapabilities = ['tool:host.echo']\n{grants}");
        let echo = server::function_tool("host.echo", |input| input)?;
        let limits =
            worker_runtime::RuntimeLimits { history_entries: 1 << 40, stored_bytes: 1 << 40, ..Default::default() };
        let runtime = server::in_memory(&config, sandbox)?.tool(echo).limits(limits).open().await?;
        let worker: WorkerId = "w".parse()?;
        let mut workspaces = Vec::new();
        for name in names {
            let workspace: WorkspaceId = name.parse()?;
            let content = runtime.content(&workspace);
            let put = async |bytes: Vec<u8>| {
                let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
                content.put_blob(digest, blob_store::source_from(Bytes::from(bytes)), Some(size)).await
            };
            let files = [
                ("bundle.toml", format!("{BUNDLE}\"{name}\"\n").into_bytes()),
                ("schemas/object.json", b"{\"type\":\"object\"}".to_vec()),
                ("profiles/main.toml", b"plugins = ['echo']\ntools_allow = ['host.echo', 'plugin.echo']\n".to_vec()),
                ("plugins/echo.toml", b"package = 'echo.tar'\n".to_vec()),
                ("plugins/echo.tar", package.clone()),
            ];
            let folder = Folder::from_files(files.map(|(path, content)| (path.to_owned(), content)));
            let built = build(&folder, &BuildOptions::default(), &BundleLimits::default());
            let bundle = built.map_err(|diagnostics| format!("{:?}", diagnostics.list))?.bundle;
            put(package.clone()).await?;
            for blob in bundle.blobs().map(|(_, blob)| blob.to_vec()) {
                put(blob).await?;
            }
            content.put_manifest(bundle.digest(), bundle.manifest_bytes().to_vec().into()).await?;
            let request = CreateWorkerRequest::of_bundle("main".parse()?, bundle.digest());
            runtime.catalogue(&workspace).create(worker.clone(), request).await?;
            workspaces.push(workspace);
        }
        Ok(Self { runtime, workspaces, worker, tools: ["host.echo".parse()?, "plugin.echo".parse()?] })
    }

    /// Calls a tool in one of the workspaces.
    pub(crate) async fn call(&self, workspace: usize, tool: EchoTool, input: Value) -> Outcome<()> {
        let workspace = self.workspaces.get(workspace % WORKSPACES).ok_or("no workspace")?;
        let [host, plugin] = &self.tools;
        let tool = match tool {
            EchoTool::Host => host,
            EchoTool::Plugin => plugin,
        };
        let call = ToolCall { input, confirmed: false };
        self.runtime.interaction(workspace).call(&self.worker, tool, call).await?;
        Ok(())
    }
}
