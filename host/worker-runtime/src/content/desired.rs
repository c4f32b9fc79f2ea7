//! The bundle that a workspace should use, as a Backend decided it. The bundle cannot be removed, and a worker can be created
//! from it even if it is older than the newest one.

use bundles::{Digest, Revision};
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle};
use runtime_api::event::EventKind;
use runtime_api::referrer::Referrer;

use super::{Content, ContentError};
use crate::ledger::{BundleRow, Change, Decision, Mark, bundle_key, desired_key, uses_key};
use crate::workspace::Workspace;

impl Content {
    /// Acknowledges a decision about the desired bundle. The bundle must be stored, and the config in force must allow its
    /// use. The same decision can be repeated. An older one is refused.
    pub async fn set_desired(&self, desired: DesiredBundle) -> Result<AcknowledgedBundle, ContentError> {
        if let Some(acknowledged) = self.desired().await?
            && let Some(repeated) = repeats(&desired, &acknowledged)?
        {
            return Ok(repeated);
        }
        let DesiredBundle { generation, bundle, allow_older } = desired;
        let view = self.view(bundle).await?;
        if let Some(older) = self.compare_with_newest(view.bundle().manifest().revision).await?
            && !allow_older
        {
            return Err(older);
        }
        let Workspace { shared, id } = &self.workspace;
        let (key, bundle_key) = (desired_key(id), bundle_key(id, &bundle));
        let decide = || async {
            let found = shared.ledger.row::<AcknowledgedBundle>(&key).await?;
            let before = found.as_ref().map(|row| row.value);
            if let Some(before) = &before
                && let Some(repeated) = repeats(&desired, before)?
            {
                return Ok(Decision::Keep(repeated));
            }
            let row = shared.ledger.row::<BundleRow>(&bundle_key).await?;
            let row = row.ok_or(ContentError::BundleNotFound(bundle))?;
            if row.value.revoked_at.is_some() {
                return Err(ContentError::BundleRevoked(bundle));
            }
            let acknowledged = AcknowledgedBundle { generation, bundle, acknowledged_at: shared.ledger.now() };
            let user = |digest: &Digest| uses_key(id, digest).part(Referrer::Desired);
            let mut change = Change::default().expect(&key, found.as_ref()).put(&key, &acknowledged);
            if let Some(before) = before.filter(|before| before.bundle != bundle) {
                change = change.delete(&user(&before.bundle));
            }
            // The row is rewritten so that a concurrent removal, which expects the row unchanged, conflicts.
            let change = change
                .expect(&bundle_key, Some(&row))
                .put(&bundle_key, &row.value)
                .put(&user(&bundle), &Mark {})
                .event(EventKind::DesiredChanged { bundle, generation });
            Ok(Decision::Commit(change, acknowledged))
        };
        shared.ledger.update(id, decide).await
    }

    /// Returns the decision that was acknowledged last.
    pub async fn desired(&self) -> Result<Option<AcknowledgedBundle>, ContentError> {
        let Workspace { shared, id } = &self.workspace;
        Ok(shared.ledger.row(&desired_key(id)).await?.map(|row| row.value))
    }

    /// Returns `true` if the bundle is the desired one.
    pub(crate) async fn is_desired(&self, bundle: Digest) -> Result<bool, ContentError> {
        Ok(self.desired().await?.is_some_and(|desired| desired.bundle == bundle))
    }

    /// Returns the error for a bundle of this revision if it is older than the newest one.
    pub(crate) async fn compare_with_newest(&self, revision: Revision) -> Result<Option<ContentError>, ContentError> {
        let newest = self.newest_revision().await?.map(|(newest, _)| newest).filter(|newest| *newest > revision);
        Ok(newest.map(|newest| ContentError::RevisionOlder { revision, newest }))
    }
}

/// Returns the acknowledgement if the decision repeats it, `None` if the decision is newer, and otherwise the error.
fn repeats(
    desired: &DesiredBundle,
    acknowledged: &AcknowledgedBundle,
) -> Result<Option<AcknowledgedBundle>, ContentError> {
    if desired.generation > acknowledged.generation {
        return Ok(None);
    }
    if (desired.generation, desired.bundle) == (acknowledged.generation, acknowledged.bundle) {
        return Ok(Some(*acknowledged));
    }
    let DesiredBundle { generation, .. } = *desired;
    Err(ContentError::GenerationOlder { generation, acknowledged: acknowledged.generation })
}
