//! Records of resolutions: files in a folder, or the records of the workers in a data folder.

use std::path::{Path, PathBuf};

use bundles::WorkspaceId;
use runtime_api::Code;
use worker_runtime::{RECORD_BOUNDS, Record};

use crate::error::CliError;
use crate::files;
use crate::runtime::{is_data_folder, worker_records};

/// Maximum number of records of a comparison.
const MAX_RECORDS: usize = 10_000;

/// Maximum size of the records of a comparison in bytes. A record has a few KiB.
const MAX_RECORDS_BYTES: usize = 256 << 20;

/// A record with the id of its worker or the name of its file.
pub(super) struct OpenRecord {
    pub(super) name: String,
    pub(super) record: Record,
}

/// Reads the records in a folder. Of a data folder, these are the records of the workspace's workers that are not stopped.
pub(super) async fn read(folder: &Path, workspace: &WorkspaceId) -> Result<Vec<OpenRecord>, CliError> {
    if is_data_folder(folder) {
        let records = worker_records(folder, workspace, MAX_RECORDS).await?;
        return Ok(records.into_iter().map(|(id, record)| OpenRecord { name: id.to_string(), record }).collect());
    }
    let mut records = Vec::new();
    let mut bytes_left = MAX_RECORDS_BYTES;
    for path in paths(folder)? {
        let (_, max_bytes) = RECORD_BOUNDS.bytes;
        let bytes = files::read(&path, max_bytes, "record")?;
        bytes_left = bytes_left.checked_sub(bytes.len()).ok_or_else(|| too_many(folder, "bytes", MAX_RECORDS_BYTES))?;
        let record = Record::from_json(&bytes).map_err(|error| {
            let message = format!("invalid resolution record `{}`: {error}", files::shown(&path));
            CliError::new(error.code(), message, "name a folder that has only files of `yoi resolve --record`")
        })?;
        let name = path.file_name().map(|name| files::shown(Path::new(name))).unwrap_or_default();
        records.push(OpenRecord { name, record });
    }
    Ok(records)
}

fn paths(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let unreadable = |error: std::io::Error| files::unreadable(folder, "folder", &error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.metadata().is_ok_and(|metadata| metadata.is_file()) {
            paths.push(path);
        }
        if paths.len() > MAX_RECORDS {
            return Err(too_many(folder, "files", MAX_RECORDS));
        }
    }
    paths.sort();
    Ok(paths)
}

fn too_many(folder: &Path, what: &str, allowed: usize) -> CliError {
    let message = format!("records in `{}` exceed {allowed} {what}", files::shown(folder));
    CliError::new(Code::TooLarge, message, "name a folder with fewer records")
}
