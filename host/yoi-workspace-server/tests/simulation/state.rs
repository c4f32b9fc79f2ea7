//! State of the simulated Backend: what outlives its restart, and the settings of the policy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bundles::{Digest, RuntimeName, WorkspaceId};
use bytes::Bytes;
use runtime_api::Code;
use yoi_workspace_server::LinkError;
use yoi_workspace_server::delivery::BundleSource;
use yoi_workspace_server::desired::DesiredRow;
use yoi_workspace_server::reconciler::RuntimeKnowledge;
use yoi_workspace_server::runtime_link::SignedManifest;
use yoi_workspace_server::visibility::{RuntimeRules, WorkspaceRules, explain};

use super::bundle_pool::PublishedBundle;

/// Everything that the Backend stores. A clone is a backup.
#[derive(Debug, Clone, Default)]
pub struct Durable {
    pub bundles: BTreeMap<WorkspaceId, BTreeMap<Digest, Arc<PublishedBundle>>>,
    pub rows: BTreeMap<WorkspaceId, DesiredRow>,
    pub knowledge: BTreeMap<RuntimeName, RuntimeKnowledge>,
}

impl Durable {
    pub fn has_bundle(&self, workspace: &WorkspaceId, digest: &Digest) -> bool {
        self.bundles.get(workspace).is_some_and(|bundles| bundles.contains_key(digest))
    }
}

/// Settings of the policy. A Runtime that was removed is absent.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    pub workspaces: BTreeMap<WorkspaceId, WorkspaceRules>,
    pub runtimes: BTreeMap<RuntimeName, RuntimeRules>,
}

impl Policy {
    /// Returns the decision of the Backend, as its driver asks for it.
    pub fn decision(&self, name: &RuntimeName, workspace: &WorkspaceId) -> bool {
        match (self.runtimes.get(name), self.workspaces.get(workspace)) {
            (Some(runtime), Some(rules)) => explain((name, runtime), (workspace, rules)).allowed,
            _ => false,
        }
    }
}

/// A value that the simulation shares with the futures of deliveries.
#[derive(Debug, Default)]
pub struct SharedValue<T>(Arc<Mutex<T>>);

impl<T> Clone for SharedValue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> SharedValue<T> {
    pub fn get(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl BundleSource for SharedValue<Durable> {
    async fn manifest(&self, workspace: &WorkspaceId, digest: Digest) -> Result<SignedManifest, LinkError> {
        let durable = self.get();
        let bundle = durable.bundles.get(workspace).and_then(|bundles| bundles.get(&digest));
        bundle.map(|bundle| bundle.manifest.clone()).ok_or(LinkError::Source(Code::BundleNotFound))
    }

    async fn blob(&self, workspace: &WorkspaceId, digest: Digest) -> Result<Option<Bytes>, LinkError> {
        let durable = self.get();
        let bundles = durable.bundles.get(workspace).into_iter().flat_map(BTreeMap::values);
        Ok(bundles.filter_map(|bundle| bundle.blobs.get(&digest)).next().cloned())
    }
}
