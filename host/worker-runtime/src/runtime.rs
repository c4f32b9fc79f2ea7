//! The type [`Runtime`] and its API types.
//!
//! [`RuntimeBuilder`] receives everything that a Runtime needs; the Runtime reads no environment variable and no system
//! clock. The API is split by authority: [`Management`] is for the operator, and each workspace has [`Content`],
//! [`Catalogue`], [`Interaction`] and [`Observation`]. A program can hand out read access without the right to act. An
//! API object of one workspace cannot reach another workspace.

mod builder;
mod catalogue;
mod comparisons;
mod corpus;
mod failures;
mod ingress;
mod interaction;
mod live_worker;
mod maintenance;
mod management;
mod observation;
mod removal;
mod resolver_registry;
mod revocation;
mod services;
mod shadow;
mod status;

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use bundles::signature::{Envelope, judge};
use bundles::{Acceptances, Digest, Platform, WorkspaceId};
use component_host::{BundleView, Resolver, Sandbox};
use content_store::blob_store::BlobStore;
use host_policy::RuntimeConfig;
use host_tools::secret::SecretSource;
use runtime_api::runtime::RuntimeId;
use runtime_api::worker::Suspension;

use crate::compute_pool::ComputePool;
use crate::config_in_force::ConfigInForce;
use crate::content::scan_queue::ScanQueue;
use crate::content::{Content, ContentError};
use crate::ledger::{Ledger, Usage, usage_key};
use crate::limits::RuntimeLimits;
use crate::memo::Memo;
use crate::plugins::{Packages, PluginLogs, Services};
use crate::recent_blobs::RecentBlobs;
use crate::resolutions::{KnownFacts, Resolutions};
use crate::stripes::Stripes;
use crate::tenants::Tenants;
use crate::token::KnownTokens;
use crate::tools::ToolRegistry;
use crate::workspace::Workspace;

pub use builder::{OpenError, RuntimeBuilder};
pub use catalogue::{Catalogue, WorkerError};
pub use corpus::recorded_resolutions;
pub use ingress::IngressError;
pub use interaction::{CallError, Interaction};
pub(crate) use live_worker::LiveWorker;
pub use management::{ChangedWorker, Management, ReloadError, ReloadReport};
pub use observation::{Observation, Subscription};
pub use resolver_registry::ResolverError;
pub use runtime_api::event::SubscriptionItem;

/// A handle to a Runtime. Cheap to clone; all clones refer to the same Runtime.
#[derive(Debug, Clone)]
pub struct Runtime(Arc<Shared>);

/// State of a Runtime, shared by all its handles.
pub(crate) struct Shared {
    pub(crate) id: RuntimeId,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) ledger: Ledger,
    pub(crate) sandbox: Sandbox,
    pub(crate) config: Arc<ConfigInForce>,
    /// The config for which events were last recorded. Locked while events of a new config are recorded.
    pub(crate) reported_config: tokio::sync::Mutex<Arc<RuntimeConfig>>,
    pub(crate) limits: RuntimeLimits,
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) scan_queue: ScanQueue,
    pub(crate) stripes: Stripes,
    pub(crate) compute_pool: Arc<ComputePool>,
    pub(crate) secrets: Arc<dyn SecretSource>,
    pub(crate) known_tokens: KnownTokens,
    pub(crate) tools: ToolRegistry,
    pub(crate) packages: Packages,
    pub(crate) plugin_logs: Arc<PluginLogs>,
    pub(crate) services: Arc<Services>,
    #[cfg(feature = "egress")]
    pub(crate) egress: Option<egress::Egress>,
    /// Operating system and architecture in the facts for resolvers.
    pub(crate) platform: (Platform, Platform),
    pub(crate) resolutions: Resolutions,
    /// Facts for resolvers, by the digest of the policy from which they are derived.
    pub(crate) facts: Memo<Digest, Arc<KnownFacts>>,
    /// Open bundles.
    pub(crate) views: Memo<Digest, BundleView, WorkspaceId>,
    pub(crate) recent: RecentBlobs,
    /// Specs and tools of recently called workers.
    pub(crate) live: Memo<live_worker::LiveKey, Arc<LiveWorker>, WorkspaceId>,
    /// Suspensions of workers under a policy. `None` for a worker that the policy allows to run.
    pub(crate) conditions: Memo<live_worker::LiveKey, Option<Arc<Suspension>>, WorkspaceId>,
    /// Schemas of tools, by the digests of their JSON texts.
    pub(crate) schemas: Memo<Digest, live_worker::ParsedSchema>,
    /// Loaded resolvers.
    pub(crate) resolvers: Memo<Digest, Resolver>,
    /// The active resolver, as the registry names it.
    pub(crate) active_resolver: ArcSwap<Digest>,
    /// The activation of the active resolver, if resolutions are repeated with the previous one.
    pub(crate) watch: ArcSwapOption<shadow::Watch>,
    pub(crate) comparisons: comparisons::Jobs,
    /// Held for writing while the registry changes, and for reading while a worker is created, so that no worker is created
    /// with a resolver that is being removed.
    pub(crate) resolver_changes: Arc<tokio::sync::RwLock<()>>,
    /// Held while a resolver is loaded, so that concurrent requests for one resolver load it once.
    pub(crate) resolver_loading: tokio::sync::Mutex<()>,
    pub(crate) shipped: Resolver,
    pub(crate) builtin: BundleView,
}

impl Runtime {
    /// Returns a builder with default settings.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// Opens a Runtime on a local folder, which is created if it does not exist. The folder contains the stores, the
    /// compile cache and the secrets (as files in `secrets`). The clock is the system clock. To add tools, limits or
    /// another secret source, use [`RuntimeBuilder::data_folder`]:
    ///
    /// ```
    #[doc = include_str!("../examples/folder.rs")]
    /// ```
    #[cfg(all(feature = "files", feature = "sqlite"))]
    pub async fn open_folder(path: impl Into<std::path::PathBuf>, config: RuntimeConfig) -> Result<Self, OpenError> {
        Self::builder().data_folder(path).clock(Arc::new(crate::clock::SystemClock)).config(config).open().await
    }

    /// Returns the API for the operator.
    pub fn management(&self) -> Management {
        Management { shared: self.0.clone() }
    }

    /// Returns the API for blobs and bundles of a workspace.
    pub fn content(&self, workspace: &WorkspaceId) -> Content {
        self.workspace(workspace).content()
    }

    /// Returns the API to create, find, stop and remove workers of a workspace.
    pub fn catalogue(&self, workspace: &WorkspaceId) -> Catalogue {
        self.workspace(workspace).catalogue()
    }

    /// Returns the API to call tools of a workspace's workers.
    pub fn interaction(&self, workspace: &WorkspaceId) -> Interaction {
        Interaction { workspace: self.workspace(workspace) }
    }

    /// Returns the API to read histories and events of a workspace.
    pub fn observation(&self, workspace: &WorkspaceId) -> Observation {
        Observation { workspace: self.workspace(workspace) }
    }

    fn workspace(&self, id: &WorkspaceId) -> Workspace {
        Workspace { shared: self.0.clone(), id: id.clone() }
    }
}

impl Shared {
    /// Returns how to treat findings of the leak scan that a bundle's author accepted.
    pub(crate) fn acceptances(&self, config: &RuntimeConfig, workspace: &WorkspaceId) -> Acceptances {
        match config.grants(workspace).accept_leak_findings {
            true => Acceptances::Honour,
            false => Acceptances::Refuse,
        }
    }

    /// Checks the signatures of a manifest against the config and returns the keys that signed it.
    pub(crate) fn signers(
        &self,
        config: &RuntimeConfig,
        workspace: &WorkspaceId,
        manifest: &[u8],
        envelope: Option<&Envelope>,
    ) -> Result<Vec<String>, ContentError> {
        let posture = config.grants(workspace).signatures;
        let posture = posture.ok_or_else(|| ContentError::NoPosture(workspace.clone()))?;
        Ok(judge(&posture, manifest, envelope)?.iter().map(ToString::to_string).collect())
    }

    /// Checks that a workspace can store more bytes. This early check spares a useless transfer. The commit checks the
    /// limits again, and its result counts.
    pub(crate) async fn check_free_space(&self, workspace: &WorkspaceId, bytes: u64) -> Result<(), ContentError> {
        let before = self.ledger.row::<Usage>(&usage_key(workspace)).await?.map(|row| row.value).unwrap_or_default();
        match before.plus(Usage::bytes(bytes)).over(&before, &self.limits) {
            Some((limit, allowed)) => Err(ContentError::Full { limit, allowed }),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("limits", &self.limits).finish_non_exhaustive()
    }
}
