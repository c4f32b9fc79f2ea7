//! The Runtime: takes bundles in, keeps them, makes workers of them, and loses nothing that it has
//! acknowledged.
//!
//! Everything it needs is handed to its builder: it reads no clock, no environment and no file of its
//! own accord. It has four faces, each a type of its own, so that who may look need not be able to act:
//! [`Management`] for the operator, and for each workspace [`Catalogue`], [`Interaction`] and
//! [`Observation`], beside the [`Content`] that the workspace brings. A face of one workspace has no way
//! to another's.

mod builder;
mod catalogue;
mod interaction;
mod live_worker;
mod management;
mod observation;
mod removal;
mod resolver_registry;
mod revocation;
mod upkeep;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bundles::signature::{Envelope, judge};
use bundles::{Acceptances, Digest, Platform, ToolName, WorkspaceId};
use component_host::{BundleView, Resolver, Sandbox};
use content_store::blob_store::BlobStore;
use host_policy::RuntimeConfig;
use host_tools::secret::SecretSource;
use host_tools::tool::HostTool;
use runtime_api::worker::Suspension;

use crate::computing::Computing;
use crate::content::scan_queue::ScanQueue;
use crate::content::{Content, ContentError};
use crate::ledger::{Ledger, Usage, usage_key};
use crate::limits::RuntimeLimits;
use crate::memo::Memo;
use crate::recent_blobs::RecentBlobs;
use crate::resolutions::{KnownFacts, Resolutions};
use crate::stripes::Stripes;
use crate::tenants::Tenants;
use crate::token::KnownTokens;
use crate::workspace::Workspace;

pub use builder::{OpenError, RuntimeBuilder};
pub use catalogue::{Catalogue, WorkerError};
pub use interaction::{CallError, Interaction};
pub(crate) use live_worker::Live;
pub use management::{ChangedWorker, Management, ReloadError, ReloadReport};
pub use observation::{Observation, Seen, Subscription};
pub use resolver_registry::ResolverError;

/// A Runtime. Cheap to clone; all clones are one Runtime.
#[derive(Debug, Clone)]
pub struct Runtime(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) ledger: Ledger,
    pub(crate) sandbox: Sandbox,
    pub(crate) config: ArcSwap<RuntimeConfig>,
    /// The config whose meaning for workers was told last. Held during a pass over the workers.
    pub(crate) told_config: tokio::sync::Mutex<Arc<RuntimeConfig>>,
    pub(crate) limits: RuntimeLimits,
    pub(crate) tenants: Tenants,
    pub(crate) scan_queue: ScanQueue,
    pub(crate) stripes: Stripes,
    pub(crate) computing: Computing,
    pub(crate) secrets: Arc<dyn SecretSource>,
    pub(crate) known_tokens: KnownTokens,
    pub(crate) tools: BTreeMap<ToolName, Arc<dyn HostTool>>,
    pub(crate) platform: (Platform, Platform),
    pub(crate) resolutions: Resolutions,
    /// What a resolver is told, by the digest of the policy that it follows from.
    pub(crate) facts: Memo<Digest, Arc<KnownFacts>>,
    /// Bundles that are open.
    pub(crate) views: Memo<Digest, BundleView, WorkspaceId>,
    pub(crate) recent: RecentBlobs,
    /// Workers that were called a short while ago.
    pub(crate) live: Memo<live_worker::LiveKey, Arc<Live>, WorkspaceId>,
    /// Suspensions of workers by a policy; `None` for those that run under it.
    pub(crate) conditions: Memo<live_worker::LiveKey, Option<Arc<Suspension>>, WorkspaceId>,
    /// Schemas of tools, by the digests of their texts.
    pub(crate) schemas: Memo<Digest, live_worker::ParsedSchema>,
    /// Loaded resolvers.
    pub(crate) resolvers: Memo<Digest, Resolver>,
    /// The active resolver, as the registry names it.
    pub(crate) active_resolver: ArcSwap<Digest>,
    /// Held for writing while the registry changes, and for reading while a worker is created, so that no worker is created
    /// with a resolver that is being removed.
    pub(crate) resolver_changes: tokio::sync::RwLock<()>,
    pub(crate) shipped: Resolver,
    pub(crate) builtin: BundleView,
}

impl Runtime {
    /// Begins a Runtime.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// Opens a Runtime on a folder of this machine, which is made where there is none. Stores, compile cache and
    /// secrets (as files in `secrets`) are in the folder, and the clock is that of the system. For tools, limits or a
    /// secret source of your own, use [`RuntimeBuilder::data_folder`]:
    ///
    /// ```
    #[doc = include_str!("../examples/folder.rs")]
    /// ```
    #[cfg(all(feature = "files", feature = "sqlite"))]
    pub async fn open_folder(path: impl Into<std::path::PathBuf>, config: RuntimeConfig) -> Result<Self, OpenError> {
        Self::builder().data_folder(path).clock(Arc::new(crate::clock::SystemClock)).config(config).open().await
    }

    /// The operator's face.
    pub fn management(&self) -> Management {
        Management { shared: self.0.clone() }
    }

    /// What a workspace brings.
    pub fn content(&self, workspace: &WorkspaceId) -> Content {
        self.workspace(workspace).content()
    }

    /// The workers of a workspace: making, finding and stopping them.
    pub fn catalogue(&self, workspace: &WorkspaceId) -> Catalogue {
        self.workspace(workspace).catalogue()
    }

    /// Calling the tools of a workspace's workers.
    pub fn interaction(&self, workspace: &WorkspaceId) -> Interaction {
        Interaction { workspace: self.workspace(workspace) }
    }

    /// Watching a workspace.
    pub fn observation(&self, workspace: &WorkspaceId) -> Observation {
        Observation { workspace: self.workspace(workspace) }
    }

    fn workspace(&self, id: &WorkspaceId) -> Workspace {
        Workspace { shared: self.0.clone(), id: id.clone() }
    }
}

impl Shared {
    /// Whether findings of the leak scan that an author accepted are honoured.
    pub(crate) fn acceptances(&self, config: &RuntimeConfig, workspace: &WorkspaceId) -> Acceptances {
        match config.grants(workspace).accept_leak_findings {
            true => Acceptances::Honour,
            false => Acceptances::Refuse,
        }
    }

    /// The keys that signed a manifest and that the config asks for, or why it is not taken.
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

    /// Whether a workspace may store so many bytes more. Asked before they come in; what counts is
    /// asked again when they are acknowledged.
    pub(crate) async fn room_for(&self, workspace: &WorkspaceId, bytes: u64) -> Result<(), ContentError> {
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
