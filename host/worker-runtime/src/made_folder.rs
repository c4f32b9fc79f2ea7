//! Folders that are there after a power cut too: whatever is in one is lost with its name, or with the name of
//! one above it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The folders above `path`, which is absolute, that are not there yet and are made with it.
pub(crate) fn to_be_made(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut missing = Vec::new();
    for above in path.ancestors().skip(1) {
        if above.try_exists()? {
            break;
        }
        missing.push(above.to_owned());
    }
    Ok(missing)
}

/// Makes the name of a folder durable. That is for who made it, and for who finds it: an earlier process may not have
/// come so far. Where this process may not open the folder above, whoever may has made it.
pub(crate) fn keep_name(folder: &Path) -> io::Result<()> {
    let above = folder.canonicalize()?;
    let Some(above) = above.parent() else { return Ok(()) };
    match File::open(above).and_then(|above| above.sync_all()) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}
