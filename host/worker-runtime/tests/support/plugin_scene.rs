//! A worker with one plugin: its package, a bundle that selects it, and a config that grants it.

use bundles::plugin::{PluginManifest, pack};
use bundles::{BuildOptions, BundleLimits, Digest, Folder, build};
use bytes::Bytes;
use runtime_api::call::{CallResult, ToolCall};
use serde_json::Value;
use worker_runtime::blob_store;
use worker_runtime::history::{Entry, EntryKind};
use worker_runtime::worker::CreateWorkerRequest;
use worker_runtime::{CallError, Runtime};

use super::plugins::Plugin;
use super::{CONFIG, World, acme, id, name, put};

/// Manifest of the plugin `p` with the tool `p.run`, which takes and returns an object. The tool has no effect.
pub const MANIFEST: &str = r#"
schema = "yoi.plugin/1"
name = "p"
version = "1.0.0"
world = "yoi:runtime/tool@1.0.0"
description = "A plugin of a test."
surfaces = ["tools"]
[tools."p.run"]
description = "Does something."
effect = "none"
input.type = "object"
output.type = ["object", "integer"]
"#;

/// Returns the manifest of a service with more lines.
pub fn service(more: &str) -> String {
    MANIFEST.replace("/tool@", "/service@").replace("[\"tools\"]", "[\"service\", \"tools\"]") + more
}

/// Packs a service with the ingress `hook`.
pub fn with_hook(plugin: &Plugin) -> Packed {
    let hook = "[[ingress]]\nname = \"hook\"\ndescription = \"Events of a test.\"\n";
    let manifest = service(hook).replace("[\"service\", ", "[\"ingress\", \"service\", ");
    Packed::with_manifest(&plugin.bytes(), &manifest)
}

/// A package with a bundle that names it.
#[derive(Clone)]
pub struct Packed {
    pub package: Vec<u8>,
    pub manifest: String,
    pub revision: u64,
    pub workspace: String,
}

impl Packed {
    /// Packs a component with [`MANIFEST`].
    pub fn new(component: &[u8]) -> Self {
        Self::with_manifest(component, MANIFEST)
    }

    pub fn with_manifest(component: &[u8], manifest: &str) -> Self {
        Self {
            package: pack(manifest.as_bytes(), component),
            manifest: manifest.to_owned(),
            revision: 1,
            workspace: "acme".to_owned(),
        }
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.package)
    }

    fn parsed(&self) -> PluginManifest {
        PluginManifest::parse(self.manifest.as_bytes(), &BundleLimits::default()).expect("a manifest")
    }

    fn name(&self) -> String {
        self.parsed().name().to_string()
    }

    fn tools(&self) -> Vec<String> {
        self.parsed().tools().keys().map(ToString::to_string).collect()
    }

    /// Builds a bundle whose profile `main` selects the plugin and all of its tools.
    pub fn bundle(&self) -> bundles::Bundle {
        let (tools, name) = (self.tools(), self.name());
        let declared: String =
            tools.iter().map(|tool| format!("[tools.\"{tool}\"]\nsource = \"plugin:{name}\"\n")).collect();
        let bundle = format!(
            "schema = \"yoi.config-bundle/1\"\nrevision = {}\ncreated_at = \"2026-06-25T15:49:30Z\"\nlanguage = \"en\"\n\
             workspace.id = \"{}\"\n{declared}",
            self.revision, self.workspace
        );
        let files = [
            ("bundle.toml".to_owned(), bundle.into_bytes()),
            ("profiles/main.toml".to_owned(), format!("plugins = [\"{name}\"]\ntools_allow = {tools:?}\n").into()),
            (format!("plugins/{name}.toml"), b"package = \"p.tar\"\n".to_vec()),
            ("plugins/p.tar".to_owned(), self.package.clone()),
        ];
        let built = build(&Folder::from_files(files), &BuildOptions::default(), &BundleLimits::default());
        built.unwrap_or_else(|diagnostics| panic!("{:#?}", diagnostics.list)).bundle
    }

    /// Returns the config that grants the plugin with all of its tools.
    pub fn config(&self) -> String {
        format!("{CONFIG}\n{}", self.grant())
    }

    /// Returns the lines of the config that grant the plugin.
    pub fn grant(&self) -> String {
        let manifest = self.parsed();
        let surfaces: Vec<&str> = manifest.surfaces().iter().map(|surface| surface.as_str()).collect();
        format!(
            "[workspaces.{}.plugins.\"{}\"]\nname = \"{}\"\nsurfaces = {surfaces:?}\ntools = {:?}\n",
            self.workspace,
            self.digest(),
            self.name(),
            self.tools()
        )
    }

    /// Stores the package.
    pub async fn put_package(&self, runtime: &Runtime) {
        let bytes = self.package.len() as u64;
        let source = blob_store::source_from(Bytes::from(self.package.clone()));
        runtime.content(&name(&self.workspace)).put_blob(self.digest(), source, Some(bytes)).await.expect("stored");
    }

    /// Opens a Runtime with the grant, stores the package and the bundle, and creates the worker `w`.
    pub async fn worker(&self, world: &World) -> Runtime {
        let runtime = World { config: self.config(), ..world.clone() }.open().await;
        self.put_package(&runtime).await;
        self.create(&runtime).await;
        runtime
    }

    /// Stores the bundle and creates the worker `w`.
    pub async fn create(&self, runtime: &Runtime) {
        let bundle = put(&runtime.content(&name(&self.workspace)), &self.bundle()).await;
        let request = CreateWorkerRequest::of_bundle(name("main"), bundle);
        runtime.catalogue(&name(&self.workspace)).create(id("w"), request).await.expect("a worker");
    }
}

/// Calls the tool `p.run` of the worker `w`.
pub async fn run(runtime: &Runtime, input: Value) -> Result<CallResult, CallError> {
    let call = ToolCall { input, confirmed: true };
    runtime.interaction(&acme()).call(&id("w"), &name("p.run"), call).await
}

/// Returns the entries of the worker's history.
pub async fn history(runtime: &Runtime) -> Vec<EntryKind> {
    let entries = runtime.observation(&acme()).history(&id("w"), 0, 10_000).await.expect("a history");
    entries.into_iter().map(|entry: Entry| entry.kind).collect()
}
