//! Bundles, Runtimes and Backends for tests.

pub mod served;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backend_api::audit::Actor;
use backend_api::body::{Publication, SetDesiredRequest};
use backend_api::fleet::{Access, Condition};
use backend_api::policy::Labels;
use bundles::{BuildOptions, Bundle, BundleLimits, Digest, Folder, RuntimeName, WorkspaceId};
use bytes::Bytes;
use component_host::compile::cache::CompileCache;
use component_host::{Sandbox, SandboxConfig};
use host_policy::RuntimeConfig;
use worker_runtime::blob_store::source_from;
use worker_runtime::metadata::{MemoryMetadata, MetadataStore};
use worker_runtime::{ManualClock, Runtime};
use yoi_workspace_server::reconciler::ReconcilerLimits;
use yoi_workspace_server::runtime_link::{EmbeddedRuntime, RuntimeLink, SignedManifest};
use yoi_workspace_server::visibility::{Names, Rules, RuntimeRules, WorkspaceRules};
use yoi_workspace_server::{Backend, BackendBuilder, Connector, NoConnector, RuntimeEntry, WorkspaceEntry};

/// Milliseconds after 1970 at which clocks start.
pub const START_MS: i64 = 1_782_402_570_000;

pub fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name")
}

/// Returns the sandbox that all tests share, because starting an engine and compiling take longer than most tests.
pub fn sandbox() -> Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    let new = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
        let cache = Some(CompileCache::open(&folder).expect("a folder of compiled components"));
        Sandbox::new(SandboxConfig { cache, ..SandboxConfig::default() }).expect("a sandbox")
    };
    SANDBOX.get_or_init(new).clone()
}

/// Returns a bundle of a workspace whose prompt is `text`.
pub fn bundle(workspace: &str, revision: u64, text: &str) -> Bundle {
    let files = [
        (
            "bundle.toml",
            format!(
                "schema = \"yoi.config-bundle/1\"\nrevision = {revision}\ncreated_at = \"2026-06-25T15:49:30Z\"\n\
                 language = \"en\"\n[workspace]\nid = \"{workspace}\"\n"
            ),
        ),
        ("profiles/plain.toml", "instructions = [\"hello\"]\n".to_owned()),
        ("prompts/hello.md", text.to_owned()),
    ];
    let folder = Folder::from_files(files.map(|(path, text)| (path.to_owned(), text.into_bytes())));
    bundles::build(&folder, &BuildOptions::default(), &BundleLimits::default()).expect("a bundle").bundle
}

/// Returns a config that names workspaces and grants nothing.
pub fn config(workspaces: &[&str]) -> RuntimeConfig {
    let table = |id: &&str| format!("[workspaces.{id}]\nsignatures = {{ posture = \"none\" }}\n");
    RuntimeConfig::from_toml(&workspaces.iter().map(table).collect::<String>()).expect("a config")
}

pub async fn runtime(config: RuntimeConfig) -> Runtime {
    let clock = Arc::new(ManualClock::at(START_MS));
    Runtime::builder().clock(clock).config(config).sandbox(sandbox()).open().await.expect("a Runtime")
}

pub fn any<N: Ord>() -> Rules<N> {
    Rules { accepted: Names::All, required: Labels::new() }
}

pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| (name(key), name(value))).collect()
}

/// Rules of a Runtime that accepts all workspaces.
pub fn open_rules() -> RuntimeRules {
    RuntimeRules { labels: Labels::new(), rules: any() }
}

/// Limits with which tests do not wait.
pub fn fast() -> ReconcilerLimits {
    ReconcilerLimits {
        status_interval: Duration::from_millis(50),
        min_retry: Duration::from_millis(5),
        max_retry: Duration::from_millis(50),
        ..ReconcilerLimits::default()
    }
}

/// Settings of a Backend with workspaces that accept all Runtimes.
pub struct World {
    pub metadata: Arc<dyn MetadataStore>,
    pub catalogue: Runtime,
    pub workspaces: BTreeMap<WorkspaceId, WorkspaceEntry>,
    pub runtimes: BTreeMap<RuntimeName, RuntimeEntry>,
    pub connector: Arc<dyn Connector>,
}

impl World {
    pub async fn new(workspaces: &[&str]) -> Self {
        let entry = |id: &&str| {
            let rules = WorkspaceRules { labels: Labels::new(), rules: any() };
            (name(id), WorkspaceEntry { rules })
        };
        Self {
            metadata: Arc::new(MemoryMetadata::default()),
            catalogue: runtime(config(workspaces)).await,
            workspaces: workspaces.iter().map(entry).collect(),
            runtimes: BTreeMap::new(),
            connector: Arc::new(NoConnector),
        }
    }

    pub fn with(mut self, runtime: &str, rules: RuntimeRules, link: Arc<dyn RuntimeLink>) -> Self {
        self.runtimes.insert(name(runtime), RuntimeEntry { rules, access: Access::Embedded, link });
        self
    }

    pub fn with_embedded(self, named: &str, runtime: &Runtime) -> Self {
        self.with(named, open_rules(), Arc::new(EmbeddedRuntime::from(runtime.clone())))
    }

    pub async fn open(&self) -> Backend {
        let builder = BackendBuilder {
            catalogue: self.catalogue.clone(),
            metadata: self.metadata.clone(),
            clock: Arc::new(ManualClock::at(START_MS)),
            workspaces: self.workspaces.clone(),
            runtimes: self.runtimes.clone(),
            connector: self.connector.clone(),
            limits: fast(),
            seed: 1,
        };
        builder.open().await.expect("a Backend")
    }
}

/// Returns the manifest of a bundle, unsigned.
pub fn manifest(bundle: &Bundle) -> SignedManifest {
    let manifest = Bytes::from(bundle.manifest_bytes().to_vec());
    SignedManifest { digest: bundle.digest(), manifest, envelope: None }
}

/// Uploads the blobs of a bundle and publishes it.
pub async fn publish(backend: &Backend, bundle: &Bundle) -> Publication {
    let workspace = &bundle.manifest().workspace.id;
    for (digest, blob) in bundle.blobs() {
        let bytes = Some(blob.len() as u64);
        let content = backend.catalogue().content(workspace);
        content.put_blob(*digest, source_from(blob.to_vec()), bytes).await.expect("stored");
    }
    backend.publish(&Actor::Local, workspace, &manifest(bundle)).await.expect("published")
}

/// Publishes a bundle and makes it the desired one.
pub async fn desire(backend: &Backend, bundle: &Bundle) -> Digest {
    publish(backend, bundle).await;
    let request = SetDesiredRequest { bundle: bundle.digest(), allow_older: false, stage: None };
    backend.set_desired(&Actor::Local, &bundle.manifest().workspace.id, &request).await.expect("desired");
    bundle.digest()
}

/// Reconciles until a workspace has a condition on a Runtime.
pub async fn until(backend: &Backend, runtime: &str, workspace: &str, is_right: impl Fn(&Condition) -> bool) {
    let (runtime, workspace): (RuntimeName, WorkspaceId) = (name(runtime), name(workspace));
    let condition = || {
        let view = backend.runtime(&runtime, &[workspace.clone()].into()).expect("a Runtime");
        view.workspaces[&workspace].condition
    };
    let reached = async {
        while !is_right(&condition()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    // Usually takes some 20 ms.
    let waited = tokio::time::timeout(Duration::from_secs(60), backend.run(reached)).await;
    assert!(waited.is_ok(), "{:?}", condition());
}
