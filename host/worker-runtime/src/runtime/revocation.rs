//! Revocation of bundles and resolvers, which stops their workers.
//!
//! The bundle or resolver is marked as revoked first, so that no new worker can be created from it. Then its workers
//! are stopped one by one. If the process ends in between, another revocation stops the remaining workers. For a
//! resolver, reopening the Runtime does so too.

use bundles::Digest;
use content_store::metadata::MetadataError;
use runtime_api::referrer::Referrer;
use runtime_api::worker::StopReason;

use super::{Catalogue, Management, WorkerError};
use crate::content::ContentError;
use crate::ledger::{resolved_by_key, uses_key};
use crate::workspace::Workspace;

impl Catalogue {
    /// Revokes a bundle and stops its workers. The bundle stays stored but can no longer be used. The operation is
    /// idempotent.
    pub async fn revoke_bundle(&self, digest: Digest) -> Result<(), ContentError> {
        self.workspace.content().mark_revoked(digest).await?;
        let referrers = uses_key(&self.workspace.id, &digest);
        for key in self.workspace.shared.ledger.keys(&referrers, None, usize::MAX).await? {
            let Ok(Referrer::Worker(worker)) = key.last().parse() else { continue };
            match self.stop_because(&worker, StopReason::BundleRevoked).await {
                Ok(_) | Err(WorkerError::NotFound(_)) => {}
                Err(WorkerError::Content(error)) => return Err(error),
                Err(_) => return Err(ContentError::Contended),
            }
        }
        Ok(())
    }
}

impl Management {
    /// Stops the workers of a revoked resolver.
    pub(super) async fn stop_workers_of(&self, resolver: Digest) -> Result<(), MetadataError> {
        for key in self.shared.ledger.keys(&resolved_by_key(&resolver), None, usize::MAX).await? {
            let parts: Vec<&str> = key.parts().collect();
            let [.., workspace, worker] = parts.as_slice() else { continue };
            let (Ok(id), Ok(worker)) = (workspace.parse(), worker.parse()) else { continue };
            let workspace = Workspace { shared: self.shared.clone(), id };
            match workspace.catalogue().stop_because(&worker, StopReason::ResolverRevoked).await {
                Ok(_) | Err(WorkerError::NotFound(_)) => {}
                Err(_) => return Err(MetadataError::Unavailable { operation: "stop workers of a revoked resolver" }),
            }
        }
        Ok(())
    }
}
