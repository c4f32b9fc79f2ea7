//! Shared test support: Runtimes with stores in memory, and generated bundles.

pub mod api;
pub mod faulty;
/// Hostile resolvers, shared with the cross-package tests.
#[allow(dead_code, reason = "the cross-package tests use the expectations")]
#[path = "../../../../tests/support/hostile.rs"]
pub mod hostile;
pub mod peers;
pub mod plugin_scene;
/// Hostile plugins, shared with the cross-package tests.
#[allow(dead_code, reason = "the cross-package tests use more of them")]
#[path = "../../../../tests/support/plugins.rs"]
pub mod plugins;
pub mod provoked;
pub mod scene;
pub(crate) mod wire;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bundles::{Access, Authority, BuildOptions, Bundle, BundleLimits, Digest, Folder, ToolName, WorkspaceId, build};
use component_host::compile::cache::CompileCache;
use component_host::{Allocation, Limits, Sandbox, SandboxConfig};
use host_policy::RuntimeConfig;
use serde_json::{Value, json};
use worker_runtime::blob_store::{self, BlobStore, MemoryBlobs};
use worker_runtime::content::{Content, PutBundle};
use worker_runtime::egress::Egress;
use worker_runtime::metadata::{MemoryMetadata, MetadataStore};
use worker_runtime::secret::{NoSecrets, SecretSource};
use worker_runtime::tool::{HostTool, ToolContext, ToolError};
use worker_runtime::worker::{CreateWorkerRequest, WorkerId};
use worker_runtime::{ManualClock, Runtime, RuntimeLimits};

/// Start time of every test, in milliseconds: a day in 2026.
pub const START_MS: i64 = 1_782_000_000_000;

pub const CONFIG: &str = r#"
[host]
capabilities = ["tool:echo", "tool:secretive"]
[workspaces.acme]
signatures = { posture = "none" }
secrets = ["token"]
[workspaces.other]
signatures = { posture = "none" }
"#;

/// Settings of a Runtime, with stores and a clock that survive it.
#[derive(Clone)]
pub struct World {
    pub blobs: Arc<dyn BlobStore>,
    pub metadata: Arc<dyn MetadataStore>,
    pub clock: Arc<ManualClock>,
    pub limits: RuntimeLimits,
    pub config: String,
    pub secrets: Arc<dyn SecretSource>,
    pub tools: Vec<Arc<dyn HostTool>>,
    pub sandbox: Sandbox,
    pub egress: Option<Egress>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            blobs: Arc::new(MemoryBlobs::new(1 << 30)),
            metadata: Arc::new(MemoryMetadata::default()),
            clock: Arc::new(ManualClock::at(START_MS)),
            limits: RuntimeLimits::default(),
            config: CONFIG.to_owned(),
            secrets: Arc::new(NoSecrets),
            tools: Vec::new(),
            sandbox: sandbox(),
            egress: None,
        }
    }
}

/// Returns the compile cache, which also contains components of earlier runs.
pub fn compile_cache() -> CompileCache {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    CompileCache::open(&folder).expect("a folder of compiled components")
}

/// Returns the sandbox that all tests share, because starting an engine and compiling take longer than most tests.
pub fn sandbox() -> Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    let new = || {
        let allocation = Allocation::Pooled;
        let config = SandboxConfig { allocation, cache: Some(compile_cache()), ..SandboxConfig::default() };
        Sandbox::new(config).expect("a sandbox")
    };
    SANDBOX.get_or_init(new).clone()
}

impl World {
    /// Opens a Runtime with these settings.
    pub async fn open(&self) -> Runtime {
        self.open_with([]).await
    }

    /// Opens a Runtime with additional tools.
    pub async fn open_with(&self, tools: impl IntoIterator<Item = Arc<dyn HostTool>>) -> Runtime {
        let builder = Runtime::builder()
            .blobs(self.blobs.clone())
            .metadata(self.metadata.clone())
            .clock(self.clock.clone())
            .limits(self.limits.clone())
            .config(RuntimeConfig::from_toml(&self.config).expect("a config"))
            .secrets(self.secrets.clone())
            .sandbox(self.sandbox.clone())
            .tool(Arc::new(Echo(name("echo"))))
            .tool(Arc::new(Secretive(name("secretive"), [authority("secret:token")])));
        let builder = self.egress.iter().cloned().fold(builder, |builder, egress| builder.egress(egress));
        let tools = self.tools.iter().cloned().chain(tools);
        tools.fold(builder, |builder, tool| builder.tool(tool)).open().await.expect("a runtime")
    }
}

/// A tool that returns its input. On request it hangs, fails, panics or returns an invalid output.
#[derive(Debug)]
pub struct Echo(pub ToolName);

#[async_trait]
impl HostTool for Echo {
    fn name(&self) -> &ToolName {
        &self.0
    }

    fn needs(&self) -> &[Authority] {
        &[]
    }

    async fn call(&self, _: ToolContext, input: Value) -> Result<Value, ToolError> {
        match input["do"].as_str() {
            Some("hang") => std::future::pending().await,
            Some("refuse") => Err(ToolError::Refused {
                code: "echo_refused".into(),
                message: "no echo today".to_owned(),
                help: "shout",
            }),
            Some("lie") => Ok(json!(7)),
            Some("panic") => panic!("the tool is broken"),
            Some("panic when dropped") => {
                let _guard = PanicOnDrop;
                std::future::pending().await
            }
            _ => Ok(json!({ "said": input["text"] })),
        }
    }
}

/// Panics when it is dropped.
struct PanicOnDrop;

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        panic!("the tool is broken");
    }
}

/// A tool that needs a secret. On request it reads another one, or opens a mount.
#[derive(Debug)]
pub struct Secretive(ToolName, [Authority; 1]);

#[async_trait]
impl HostTool for Secretive {
    fn name(&self) -> &ToolName {
        &self.0
    }

    fn needs(&self) -> &[Authority] {
        &self.1
    }

    async fn call(&self, context: ToolContext, input: Value) -> Result<Value, ToolError> {
        context.allow(&self.1[0])?;
        if let Some(secret) = input["secret"].as_str() {
            context.secret(&name(secret)).await?;
        }
        if let Some(mount) = input["mount"].as_str() {
            context.mount(&name(mount), Access::Read)?;
        }
        Ok(json!({}))
    }
}

pub fn name<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().unwrap_or_else(|| panic!("`{text}` is a name"))
}

pub fn authority(text: &str) -> Authority {
    name(text)
}

pub fn acme() -> WorkspaceId {
    name("acme")
}

/// Builds a bundle of `workspace`. `more` contains additional files and replacements of the default ones.
pub fn bundle_of(workspace: &str, revision: u64, more: &[(&str, &str)]) -> Bundle {
    bundle_within(workspace, revision, more, &BundleLimits::default())
}

/// Like [`bundle_of`], with other limits.
fn bundle_within(workspace: &str, revision: u64, more: &[(&str, &str)], limits: &BundleLimits) -> Bundle {
    let manifest = format!(
        r#"
        schema = "yoi.config-bundle/1"
        revision = {revision}
        created_at = "2026-06-25T15:49:30Z"
        language = "en"
        [workspace]
        id = "{workspace}"
        [tools.echo]
        source = "host"
        effect = "none"
        input = "schemas/echo.input.json"
        output = "schemas/echo.output.json"
        [tools.secretive]
        source = "host"
        effect = "none"
        policy = {{ max_calls = 2, confirm = "once" }}
        "#
    );
    let input = r#"{"type":"object","properties":{"text":{"type":"string"},"do":{"type":"string"}},"additionalProperties":false}"#;
    let output = r#"{"type":"object"}"#;
    let mut files = vec![
        ("bundle.toml".to_owned(), manifest.into_bytes()),
        ("schemas/echo.input.json".to_owned(), input.into()),
        ("schemas/echo.output.json".to_owned(), output.into()),
        ("prompts/hello.md".to_owned(), b"Be kind and brief.".to_vec()),
        ("profiles/plain.toml".to_owned(), b"instructions = [\"hello\"]\ntools_allow = [\"echo\"]".to_vec()),
        (
            "profiles/trusted.toml".to_owned(),
            b"extends = [\"plain\"]\ntools_allow = [\"secretive\"]\nrequires = [\"secret:token\"]".to_vec(),
        ),
    ];
    for (path, text) in more {
        files.retain(|(existing, _)| existing != path);
        files.push(((*path).to_owned(), text.as_bytes().to_vec()));
    }
    let built = build(&Folder::from_files(files), &BuildOptions::default(), limits);
    built.unwrap_or_else(|diagnostics| panic!("{:#?}", diagnostics.list)).bundle
}

/// Returns a schema with forty definitions, each of which applies the previous one twice: 2^40 applications in 2 KB.
pub fn doubling_schema() -> String {
    let mut defs = json!({ "a0": { "not": { "type": "string" } } });
    for level in 1..=40 {
        let below = json!({ "$ref": format!("#/$defs/a{}", level - 1) });
        defs[format!("a{level}")] = json!({ "allOf": [below, below] });
    }
    json!({ "$ref": "#/$defs/a40", "$defs": defs }).to_string()
}

/// Returns a sandbox with changed limits.
pub fn sandbox_within(change: impl FnOnce(&mut Limits)) -> Sandbox {
    let mut limits = World::default().sandbox.limits().clone();
    change(&mut limits);
    let sandbox = SandboxConfig { limits, cache: Some(compile_cache()), ..SandboxConfig::default() };
    Sandbox::new(sandbox).expect("a sandbox")
}

/// Stores a bundle whose tool `echo` has patterns that exceed the memory limit, as a Runtime with another limit could.
/// Creates the worker `w` of it.
pub async fn store_faulty_schema(world: &World) -> Digest {
    let patterns: Vec<Value> = (0..100).map(|number| json!({ "pattern": format!(r"[\pL]{{60}}x{number}") })).collect();
    let schema = json!({ "anyOf": patterns }).to_string();
    let mut limits = world.sandbox.limits().clone();
    limits.bundle.pattern_bytes = usize::MAX;
    let bundle = bundle_within("acme", 1, &[("schemas/echo.input.json", &schema)], &limits.bundle);
    let sandbox = SandboxConfig { limits, cache: Some(compile_cache()), ..SandboxConfig::default() };
    let sandbox = Sandbox::new(sandbox).expect("a sandbox");
    let runtime = World { sandbox, ..world.clone() }.open().await;
    let bundle = put(&runtime.content(&acme()), &bundle).await;
    runtime.catalogue(&acme()).create(id("w"), trusted(bundle)).await.expect("a worker");
    bundle
}

pub fn bundle(revision: u64) -> Bundle {
    bundle_of("acme", revision, &[])
}

/// Returns the shipped resolver with a custom section: another component with the same answers.
pub fn variant(number: u8) -> (Digest, Vec<u8>) {
    let mut component = worker_runtime::shipped::RESOLVER.to_vec();
    component.extend([0, 3, 2, b'v', number]);
    (Digest::of(&component), component)
}

/// Puts the blobs and the manifest of a bundle.
pub async fn put(content: &Content, bundle: &Bundle) -> Digest {
    for (digest, blob) in bundle.blobs() {
        content
            .put_blob(*digest, blob_store::source_from(blob.to_vec()), Some(blob.len() as u64))
            .await
            .expect("stored");
    }
    let put = content.put_manifest(bundle.digest(), bundle.manifest_bytes().to_vec().into()).await.expect("stored");
    assert!(matches!(put, PutBundle::Stored { .. }), "{put:?}");
    bundle.digest()
}

pub fn id(text: &str) -> WorkerId {
    name(text)
}

pub fn plain(bundle: Digest) -> CreateWorkerRequest {
    CreateWorkerRequest::of_bundle(name("plain"), bundle)
}

pub fn trusted(bundle: Digest) -> CreateWorkerRequest {
    CreateWorkerRequest::of_bundle(name("trusted"), bundle)
}
