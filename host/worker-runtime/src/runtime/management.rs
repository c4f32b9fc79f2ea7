//! The operator's face: what this Runtime is, what it grants, and what it takes in.

use std::collections::BTreeSet;
use std::sync::Arc;

use bundles::{BundleLimits, Capability, Digest, ToolName, WorkspaceId};
use bytes::Bytes;
use component_host::LoadError;
use futures_util::StreamExt;
use host_policy::{ConfigError, Facts, RuntimeConfig};
use serde::Serialize;

use super::{Catalogue, Content, Shared, WorkerError};
use crate::blob_store::{self, BlobError, Condition};
use crate::content::{Collected, ContentError};
use crate::event::EventKind;
use crate::ledger::{
    ATTEMPTS, Change, ChangeError, Mark, ResolverRow, Revoked, Usage, WorkerRow, holders_key, resolved_by_key,
    resolver_key, resolvers_key, usage_key, workers_key,
};
use crate::limits::RuntimeLimits;
use crate::metadata::MetadataError;
use crate::worker::{StopReason, WorkerId, WorkerState};

/// What an operator may do. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Management {
    pub(crate) shared: Arc<Shared>,
}

/// What this Runtime is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuntimeSummary {
    /// Its version.
    pub version: &'static str,
    /// The resolver that is used where none is named.
    pub active_resolver: Digest,
    /// The bundle that ships inside.
    pub builtin_bundle: Digest,
    /// Resolvers that may be named, the active one among them.
    pub resolvers: Vec<Digest>,
    /// Workspaces that the config names.
    pub workspaces: Vec<WorkspaceId>,
}

/// What this Runtime can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Host tools that it has.
    pub tools: Vec<ToolName>,
    /// Worlds of components that it runs.
    pub worlds: Vec<&'static str>,
}

/// What a workspace has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WorkspaceUsage {
    /// Bytes.
    pub bytes: u64,
    /// Bundles.
    pub bundles: u64,
    /// Workers, those that are stopped included.
    pub workers: u64,
}

/// What a new config changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReloadReport {
    /// Workspaces whose grants are others now.
    pub workspaces: Vec<WorkspaceId>,
    /// Running workers that hold more, less or other than before.
    pub workers: Vec<ChangedWorker>,
}

/// A worker that a new config concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedWorker {
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its id.
    pub worker: WorkerId,
    /// What it holds no more, as authorities.
    pub lost: Vec<String>,
    /// What it holds now.
    pub gained: Vec<String>,
    /// Why it takes no calls now, where it does not.
    pub refused: Option<StopReason>,
}

/// Why another config is not in force, or what it means is not known.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It does not say enough. The one before is in force.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It is in force; what it means for workers could not be found out.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

impl ReloadError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(error) => error.code(),
            Self::Worker(error) => error.code(),
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Config(error) => error.help(),
            Self::Worker(error) => error.help(),
        }
    }
}

/// Why a resolver is not taken in, or not revoked.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    /// The component is none, or not one that may run here.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The bytes have another digest.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The metadata store says no.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// It was revoked, and stays so.
    #[error("resolver {0} is revoked")]
    Revoked(Digest),
    /// There is no such resolver.
    #[error("there is no resolver {0}")]
    NotFound(Digest),
    /// Others changed the same again and again.
    #[error("others changed the same at the same time")]
    Contended,
}

impl From<ChangeError> for ResolverError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Store(error) => Self::Metadata(error),
            ChangeError::Conflict | ChangeError::Full { .. } => Self::Contended,
        }
    }
}

impl ResolverError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Load(error) => error.code(),
            Self::Blob(error) => error.code(),
            Self::Metadata(error) => error.code(),
            Self::Revoked(_) => "resolver_revoked",
            Self::NotFound(_) => "resolver_not_found",
            Self::Contended => "contended",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Load(error) => error.help().to_owned(),
            Self::Blob(error) => error.help().to_owned(),
            Self::Metadata(error) => error.help().to_owned(),
            Self::Revoked(_) => "use another version".to_owned(),
            Self::NotFound(_) => "put it first".to_owned(),
            Self::Contended => "try again".to_owned(),
        }
    }
}

/// Who holds resolvers: the Runtime itself, which is no workspace.
const RUNTIME: &str = "~runtime";

impl Management {
    /// What this Runtime is.
    pub async fn summary(&self) -> Result<RuntimeSummary, MetadataError> {
        let rows = self.shared.ledger.rows::<ResolverRow>(&resolvers_key(), None, usize::MAX).await?;
        let admitted = rows.iter().filter(|(_, row)| row.revoked.is_none());
        let mut resolvers: BTreeSet<Digest> = admitted.filter_map(|(key, _)| key.last().parse().ok()).collect();
        let active = self.shared.shipped.digest();
        resolvers.insert(active);
        Ok(RuntimeSummary {
            version: env!("CARGO_PKG_VERSION"),
            active_resolver: active,
            builtin_bundle: self.shared.builtin.bundle().digest(),
            resolvers: resolvers.into_iter().collect(),
            workspaces: self.shared.config.load().workspaces().cloned().collect(),
        })
    }

    /// What a bundle may be.
    pub fn bundle_limits(&self) -> &BundleLimits {
        &self.shared.sandbox.limits().bundle
    }

    /// What a workspace may take.
    pub fn limits(&self) -> &RuntimeLimits {
        &self.shared.limits
    }

    /// What this Runtime can do, whoever asks.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities { tools: self.shared.tools.keys().cloned().collect(), worlds: vec!["yoi:runtime/resolver@1.0.0"] }
    }

    /// What a resolver is told about this host for a workspace.
    pub fn facts(&self, workspace: &WorkspaceId) -> Facts {
        self.shared.facts(&self.shared.config.load(), workspace)
    }

    /// What a workspace has stored.
    pub async fn usage(&self, workspace: &WorkspaceId) -> Result<WorkspaceUsage, MetadataError> {
        let usage = self.shared.ledger.row::<Usage>(&usage_key(workspace)).await?;
        let Usage { bytes, bundles, workers } = usage.map(|row| row.value).unwrap_or_default();
        Ok(WorkspaceUsage { bytes, bundles, workers })
    }

    /// Puts another config in force, as a whole. What it takes away is away with the next use: each
    /// call is judged by the config that is in force when it begins, and each mount, secret and request
    /// of a running call by that same one.
    pub async fn reload(&self, config: RuntimeConfig) -> Result<ReloadReport, ReloadError> {
        config.require_postures()?;
        let before = self.shared.config.swap(Arc::new(config));
        let after = self.shared.config.load_full();
        let named: BTreeSet<WorkspaceId> = before.workspaces().chain(after.workspaces()).cloned().collect();
        let changed: Vec<WorkspaceId> =
            named.into_iter().filter(|workspace| before.digest(workspace) != after.digest(workspace)).collect();
        let mut report = ReloadReport { workspaces: changed, workers: Vec::new() };
        for workspace in &report.workspaces {
            let event = EventKind::ConfigChanged { policy: after.digest(workspace) };
            self.tell(workspace, event).await?;
            self.changed_workers(workspace, &before, &mut report.workers).await?;
        }
        Ok(report)
    }

    async fn tell(&self, workspace: &WorkspaceId, event: EventKind) -> Result<(), WorkerError> {
        for _ in 0..ATTEMPTS {
            match self.shared.ledger.commit(workspace, Change::default().event(event.clone())).await {
                Err(ChangeError::Conflict) => {}
                done => return Ok(done?),
            }
        }
        Ok(())
    }

    async fn changed_workers(
        &self,
        workspace: &WorkspaceId,
        before: &RuntimeConfig,
        changed: &mut Vec<ChangedWorker>,
    ) -> Result<(), WorkerError> {
        let catalogue = Catalogue { content: Content { shared: self.shared.clone(), workspace: workspace.clone() } };
        let mut after = None;
        loop {
            let page = self.shared.ledger.rows::<WorkerRow>(&workers_key(workspace), after.as_ref(), 256).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, row) in page {
                let Ok(worker) = key.last().parse::<WorkerId>() else { continue };
                if row.state != WorkerState::Running {
                    continue;
                }
                let held = catalogue.authorities(&row, before).await;
                let now = catalogue.live(&row).await?;
                let refused = now.as_ref().err().copied();
                let holds: BTreeSet<String> =
                    now.map(|live| live.spec.authorities().map(|one| one.to_string()).collect()).unwrap_or_default();
                let lost: Vec<String> = held.difference(&holds).cloned().collect();
                let gained: Vec<String> = holds.difference(&held).cloned().collect();
                if refused.is_some() || !lost.is_empty() || !gained.is_empty() {
                    changed.push(ChangedWorker { workspace: workspace.clone(), worker, lost, gained, refused });
                }
            }
        }
    }

    /// Takes a resolver in: examined, compiled and kept, before anything may ask for it.
    pub async fn admit_resolver(&self, digest: Digest, component: Bytes) -> Result<(), ResolverError> {
        let actual = Digest::of(&component);
        if actual != digest {
            return Err(BlobError::DigestMismatch { declared: digest, actual }.into());
        }
        let key = resolver_key(&digest);
        let known = self.shared.ledger.row::<ResolverRow>(&key).await?;
        if known.as_ref().is_some_and(|row| row.value.revoked.is_some()) {
            return Err(ResolverError::Revoked(digest));
        }
        let resolver = self.shared.sandbox.load(&component).await?;
        let bytes = component.len() as u64;
        let _kept = self.shared.stripes.keeping(&digest).await;
        self.shared.blobs.put(digest, blob_store::whole(component), bytes).await?;
        if known.is_none() {
            let row = ResolverRow { bytes, at: self.shared.ledger.now(), revoked: None };
            let change = Change::default()
                .expect::<ResolverRow>(&key, None)
                .put(&key, &row)
                .put(&holders_key(&digest).part(RUNTIME), &Mark {});
            match self.shared.ledger.commit_globally(change).await {
                // Somebody else has just taken it in.
                Ok(()) | Err(ChangeError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.shared.resolvers.insert(digest, resolver);
        Ok(())
    }

    /// Declares that a resolver must not be used any more. Its workers take no more calls from here on,
    /// and are stopped.
    pub async fn revoke_resolver(&self, digest: Digest) -> Result<(), ResolverError> {
        let key = resolver_key(&digest);
        for _ in 0..ATTEMPTS {
            let found = self.shared.ledger.row::<ResolverRow>(&key).await?;
            let before = match &found {
                Some(row) => row.value.clone(),
                None if digest == self.shared.shipped.digest() => ResolverRow {
                    bytes: crate::shipped::RESOLVER.len() as u64,
                    at: self.shared.ledger.now(),
                    revoked: None,
                },
                None => return Err(ResolverError::NotFound(digest)),
            };
            let revoked = before.revoked.clone().unwrap_or(Revoked { at: self.shared.ledger.now() });
            let row = ResolverRow { revoked: Some(revoked), ..before };
            let change = Change::default().expect(&key, found.as_ref()).put(&key, &row);
            match self.shared.ledger.commit_globally(change).await {
                Err(ChangeError::Conflict) => {}
                done => {
                    done?;
                    self.shared.resolvers.remove(&digest);
                    return Ok(self.stop_workers_of(digest).await?);
                }
            }
        }
        Err(ResolverError::Contended)
    }

    /// Stops what a revoked resolver resolved. Done again when a Runtime is opened, so that it is done
    /// to its end.
    async fn stop_workers_of(&self, resolver: Digest) -> Result<(), MetadataError> {
        for key in self.shared.ledger.keys(&resolved_by_key(&resolver), None, usize::MAX).await? {
            let parts: Vec<&str> = key.parts().collect();
            let [.., workspace, worker] = parts.as_slice() else { continue };
            let (Ok(workspace), Ok(worker)) = (workspace.parse(), worker.parse()) else { continue };
            let catalogue = Catalogue { content: Content { shared: self.shared.clone(), workspace } };
            match catalogue.stop_because(&worker, StopReason::ResolverRevoked).await {
                Ok(_) | Err(WorkerError::NotFound(_)) => {}
                Err(_) => return Err(MetadataError::Unavailable { doing: "stop workers of a revoked resolver" }),
            }
        }
        Ok(())
    }

    /// Takes up what a former process left: admitted resolvers are loaded, revoked ones' workers are
    /// stopped.
    pub(super) async fn take_up(&self) -> Result<(), MetadataError> {
        for (key, row) in self.shared.ledger.rows::<ResolverRow>(&resolvers_key(), None, usize::MAX).await? {
            let Ok(digest) = key.last().parse::<Digest>() else { continue };
            if row.revoked.is_some() {
                self.stop_workers_of(digest).await?;
                continue;
            }
            let component = match self.shared.blobs.get(digest, row.bytes).await {
                // Without it this Runtime would lack the resolver until it is opened again.
                Err(BlobError::Unavailable { .. } | BlobError::Full) => {
                    return Err(MetadataError::Unavailable { doing: "take up a resolver" });
                }
                Err(_) => continue,
                Ok(component) => component,
            };
            if let Ok(resolver) = self.shared.sandbox.load(&component).await {
                self.shared.resolvers.insert(digest, resolver);
            }
        }
        Ok(())
    }

    /// Reads every blob and says which are what their digests say. What is damaged is set aside.
    pub async fn check(&self) -> Result<Vec<(Digest, Condition)>, BlobError> {
        let digests: Vec<Digest> = {
            let mut list = self.shared.blobs.list();
            let mut digests = Vec::new();
            while let Some(found) = list.next().await {
                digests.push(found?.0);
            }
            digests
        };
        let mut checked = Vec::with_capacity(digests.len());
        for digest in digests {
            checked.push((digest, self.shared.blobs.check(digest).await?));
        }
        checked.sort_unstable_by_key(|(digest, _)| *digest);
        Ok(checked)
    }

    /// Removes every blob that belongs to nobody: what came in, and whose rows were never written because
    /// the process ended, or the disk failed, in between. What is on its way in is left alone, also by
    /// calls that run at the same time. Only for a store that no other Runtime uses.
    pub async fn collect_unheld(&self) -> Result<Collected, ContentError> {
        let shared = &self.shared;
        let mut collected = Collected::default();
        let mut unheld = Vec::new();
        let mut list = shared.blobs.list();
        while let Some(found) = list.next().await {
            let (digest, bytes) = found?;
            if !self.is_held(&digest).await? {
                unheld.push((digest, bytes));
            }
        }
        for (digest, bytes) in unheld {
            // Nobody puts this blob from here on, and who was about to has written its rows.
            let _removing = shared.stripes.removing(&digest).await;
            if !self.is_held(&digest).await? {
                shared.blobs.remove(digest).await?;
                collected.blobs += 1;
                collected.bytes += bytes;
            }
        }
        Ok(collected)
    }

    async fn is_held(&self, digest: &Digest) -> Result<bool, MetadataError> {
        Ok(!self.shared.ledger.keys(&holders_key(digest), None, 1).await?.is_empty())
    }

    /// Whether the host can do something for a workspace.
    pub fn offers(&self, workspace: &WorkspaceId, capability: &Capability) -> bool {
        self.facts(workspace).capabilities.contains(capability)
    }
}
