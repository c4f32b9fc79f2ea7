//! Folders that survive a power cut. A file is lost if the name of its folder, or of a folder above it, is lost. These
//! names must therefore be synced too.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Returns the folders above `path`, which must be absolute, that do not exist.
pub fn missing_ancestors(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut missing = Vec::new();
    for above in path.ancestors().skip(1) {
        if above.try_exists()? {
            break;
        }
        missing.push(above.to_owned());
    }
    Ok(missing)
}

/// Makes the name of a folder durable by syncing the folder above it.
///
/// Call this for new folders and for existing ones, because an earlier process may have ended before it synced the
/// name. If this process has no permission to open the folder above, another user created the folder and nothing is
/// done.
pub fn sync_name(folder: &Path) -> io::Result<()> {
    let above = folder.canonicalize()?;
    let Some(above) = above.parent() else { return Ok(()) };
    match File::open(above).and_then(|above| above.sync_all()) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}
