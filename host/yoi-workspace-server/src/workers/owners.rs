//! Rows that name the Runtime of each worker.

use std::collections::BTreeMap;

use backend_api::audit::{Action, Actor};
use bundles::{Digest, RuntimeName, WorkspaceId};
use content_store::metadata::{Batch, Key, MetadataError};
use content_store::records::{Decision, Page, Records, Row};
use runtime_api::Code;
use runtime_api::worker::{CreateWorkerRequest, WorkerId};
use serde::{Deserialize, Serialize};

use crate::audit;
use crate::backend::{Backend, BackendError};

/// The Runtime of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnerRow {
    pub(super) runtime: RuntimeName,
    /// Bundle that the Backend filled in. A repeated request gets the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bundle: Option<Digest>,
    /// `true` if the Runtime has answered that the worker exists.
    pub(super) confirmed: bool,
}

/// State of a worker after an attempt to create it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The attempt created the worker.
    Created,
    /// The worker existed before.
    Exists,
    /// The worker certainly does not exist.
    DoesNotExist,
    /// The attempt created no worker. An earlier attempt may have created it.
    NotCreated,
    /// The worker may exist.
    Unknown,
}

/// Entry of the audit log that is written together with a row.
pub(super) type Audit<'a> = (&'a Actor, Action, Option<Code>);

fn owners_key(workspace: &WorkspaceId) -> Key {
    Key::new("backend-worker").part(workspace)
}

fn counts_key() -> Key {
    Key::new("backend-worker-count")
}

/// Adds a change of the number of a Runtime's workers to a batch.
async fn count(records: &Records, batch: Batch, runtime: &RuntimeName, by: i64) -> Result<Batch, MetadataError> {
    let key = counts_key().part(runtime);
    let found = records.row::<u64>(&key).await?;
    let number = found.as_ref().map_or(0, |row| row.value).saturating_add_signed(by);
    Ok(batch.expect_row(&key, found.as_ref()).put_row(&key, &number))
}

impl Backend {
    /// Returns the row of a worker, and writes one if there is none. The second value is `true` if the row is new.
    pub(super) async fn claim(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
        request: &CreateWorkerRequest,
        on: Option<&RuntimeName>,
    ) -> Result<(OwnerRow, bool), BackendError> {
        self.check_workspace(workspace)?;
        let (records, key) = (self.records(), owners_key(workspace).part(id));
        let attempt = || async {
            if let Some(row) = records.row::<OwnerRow>(&key).await? {
                return match on {
                    Some(on) if *on != row.value.runtime => {
                        Err(BackendError::WorkerElsewhere { worker: id.clone(), runtime: row.value.runtime })
                    }
                    _ => Ok(Decision::Keep((row.value, false))),
                };
            }
            let counts = records.rows::<u64>(&counts_key(), None, usize::MAX).await?;
            let counts: BTreeMap<RuntimeName, u64> =
                counts.into_iter().filter_map(|(key, number)| Some((key.last().parse().ok()?, number))).collect();
            let owner = self.choose(workspace, request, on, &counts)?;
            let batch = Batch::default().expect_row::<OwnerRow>(&key, None).put_row(&key, &owner);
            Ok(Decision::Commit(count(records, batch, &owner.runtime, 1).await?, (owner, true)))
        };
        self.0.update::<_, BackendError, _>(attempt).await
    }

    /// Writes what is known of a worker after an attempt to create it. A row without a worker is freed, unless another attempt
    /// has succeeded meanwhile.
    pub(super) async fn settle(
        &self,
        (workspace, id): (&WorkspaceId, &WorkerId),
        owner: OwnerRow,
        outcome: Outcome,
        (actor, action, refused): Audit<'_>,
    ) -> Result<(), BackendError> {
        let (records, key) = (self.records(), owners_key(workspace).part(id));
        let attempt = || async {
            let found = records.row::<OwnerRow>(&key).await?;
            let mut batch = Batch::default();
            match (&found, outcome) {
                // A later attempt chose another Runtime.
                (Some(row), _) if row.value.runtime != owner.runtime => {}
                // The row is also written if nothing changes in it: a removal that is in progress must not delete the row of
                // a worker that was created since.
                (Some(row), Outcome::Created | Outcome::Exists)
                    if outcome == Outcome::Created || !row.value.confirmed =>
                {
                    let row = OwnerRow { confirmed: true, ..owner.clone() };
                    batch = batch.expect_row(&key, found.as_ref()).put_row(&key, &row);
                }
                // A concurrent attempt was refused and has freed the row.
                (None, Outcome::Created | Outcome::Exists | Outcome::Unknown) => {
                    let row = OwnerRow { confirmed: outcome != Outcome::Unknown, ..owner.clone() };
                    batch = batch.expect_row::<OwnerRow>(&key, None).put_row(&key, &row);
                    batch = count(records, batch, &row.runtime, 1).await?;
                }
                (Some(row), Outcome::DoesNotExist) if !row.value.confirmed => {
                    batch = batch.expect_row(&key, found.as_ref()).delete(&key);
                    batch = count(records, batch, &row.value.runtime, -1).await?;
                }
                _ => {}
            }
            let now = self.0.clock.now();
            Ok(Decision::Commit(audit::add_entry(records, batch, now, actor, action.clone(), refused).await?, ()))
        };
        self.0.update::<_, BackendError, _>(attempt).await?;
        self.0.activity.record(&action);
        Ok(())
    }

    /// Deletes the row of a removed worker, unless the row was written again since.
    pub(super) async fn forget(
        &self,
        (workspace, id): (&WorkspaceId, &WorkerId),
        owner: &Row<OwnerRow>,
        (actor, action, refused): Audit<'_>,
    ) -> Result<(), BackendError> {
        let (records, key) = (self.records(), owners_key(workspace).part(id));
        let attempt = || async {
            let found = records.row::<OwnerRow>(&key).await?;
            let mut batch = Batch::default();
            if found.as_ref().is_some_and(|row| row.record.version == owner.record.version) {
                batch = batch.expect_row(&key, found.as_ref()).delete(&key);
                batch = count(records, batch, &owner.value.runtime, -1).await?;
            }
            let now = self.0.clock.now();
            Ok(Decision::Commit(audit::add_entry(records, batch, now, actor, action.clone(), refused).await?, ()))
        };
        self.0.update::<_, BackendError, _>(attempt).await?;
        self.0.activity.record(&action);
        Ok(())
    }

    /// Returns the row of a worker.
    pub(super) async fn owner_row(
        &self,
        workspace: &WorkspaceId,
        id: &WorkerId,
    ) -> Result<Row<OwnerRow>, BackendError> {
        self.check_workspace(workspace)?;
        let row = self.records().row::<OwnerRow>(&owners_key(workspace).part(id)).await?;
        row.ok_or_else(|| BackendError::WorkerNotFound(id.clone()))
    }

    /// Returns a page of at most `limit` workers with their Runtimes, ordered by id.
    pub(super) async fn owners_page(
        &self,
        workspace: &WorkspaceId,
        after: Option<&WorkerId>,
        limit: usize,
    ) -> Result<Page<(WorkerId, RuntimeName)>, BackendError> {
        let below = owners_key(workspace);
        let after = after.map(|id| below.clone().part(id));
        let Page { items, more } = self.records().page::<OwnerRow>(&below, after.as_ref(), limit).await?;
        let owner = |(key, row): (Key, OwnerRow)| Some((key.last().parse().ok()?, row.runtime));
        Ok(Page { items: items.into_iter().filter_map(owner).collect(), more })
    }
}
