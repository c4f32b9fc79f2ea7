//! Resolution records of the workers in a data folder.

use std::path::Path;

use bundles::WorkspaceId;
use runtime_api::Code;
use worker_runtime::worker::{WorkerId, WorkerState};
use worker_runtime::{RECORD_BOUNDS, Record};

use super::open::DataStores;
use crate::error::CliError;
use crate::files;

/// Returns the records of a workspace's workers that are not stopped. Fails if there are more than `max_workers` workers.
pub(crate) async fn worker_records(
    data: &Path,
    workspace: &WorkspaceId,
    max_workers: usize,
) -> Result<Vec<(WorkerId, Record)>, CliError> {
    let stores = DataStores::in_folder(data).await?;
    let blobs = stores.blobs.clone();
    let runtime = stores.runtime().await?;
    let workers = runtime.catalogue(workspace).list(None, max_workers + 1).await;
    let workers = workers.map_err(|error| CliError::of_library(error.code(), error.to_string(), error.help()))?;
    if workers.len() > max_workers {
        let message = format!("data folder `{}` has more than {max_workers} workers", files::shown(data));
        return Err(CliError::new(Code::TooLarge, message, "write the records of some workers into a folder"));
    }
    let mut records = Vec::with_capacity(workers.len());
    let is_stopped = |state: &WorkerState| matches!(state, WorkerState::Stopped { .. });
    for worker in workers.into_iter().filter(|worker| !is_stopped(&worker.state)) {
        let (_, max_bytes) = RECORD_BOUNDS.bytes;
        let bytes = blobs.get(worker.record, max_bytes as u64).await?;
        let record = Record::from_json(&bytes).map_err(|error| {
            let message = format!("invalid resolution record of worker `{}`: {error}", worker.id);
            CliError::new(error.code(), message, "restore the data folder from a backup")
        })?;
        records.push((worker.id, record));
    }
    Ok(records)
}
