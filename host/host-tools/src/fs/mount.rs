//! A mount during one call: resolves paths and checks them against the `paths` of the bundle.
//!
//! A path is resolved one name at a time from the descriptor of the mount. This module reads links and continues with
//! their target, and the system never follows one. A link that leads above the root of the mount, or to an absolute
//! path, is refused. The result is an open folder and its path without links. Both this path and the caller's must be
//! allowed by the `paths` of the bundle. Only what was checked is opened, even if files are moved at the same time.

use std::io::{self, ErrorKind};

use bundles::{Access, MountLabel};
use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, File, Metadata, OpenOptions};

use super::cancellation::CancelGate;
use super::error::{FsError, FsLocation};
use super::glob::AllowedPaths;
use super::path::MountPath;
use crate::tool::{ToolContext, ToolError};

/// Maximum number of links in the resolution of one path, as in Linux.
const MAX_LINKS: u32 = 40;
/// Maximum number of names in the resolution of one path, including those of links and `..`.
const MAX_STEPS: u32 = 4096;

/// A mount, and the paths in it that a call may access.
#[derive(Debug)]
pub(super) struct OpenMount {
    label: MountLabel,
    root: Dir,
    allowed: AllowedPaths,
}

/// Result of resolving a path.
#[derive(Debug)]
struct PathLookup {
    /// Last folder of the path that exists.
    folder: Dir,
    /// Path of this folder without links. `None` is the root of the mount.
    path: Option<MountPath>,
    /// Entry of the next name in this folder: a file, or another entry that is neither a folder nor a link.
    last: Option<(String, Metadata)>,
    /// Remaining names, which do not exist.
    missing: Vec<String>,
}

/// Place of a file to write: an open folder and a name in it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) folder: Dir,
    pub(super) name: String,
    /// Path of the folder without links. `None` is the root of the mount.
    real: Option<MountPath>,
    /// Folders that were created for the file, the outermost first.
    created: Vec<(Dir, String)>,
}

impl OpenMount {
    /// Opens a mount that the worker is granted.
    pub(super) fn open(context: &ToolContext, label: MountLabel, access: Access) -> Result<Self, ToolError> {
        let root = context.mount(&label, access)?;
        let allowed = AllowedPaths::new(&context.policy().paths)?;
        Ok(Self { label, root, allowed })
    }

    #[cfg(test)]
    pub(super) fn for_test(path: &std::path::Path) -> Self {
        let root = Dir::open_ambient_dir(path, cap_std::ambient_authority()).expect("a folder");
        Self { label: "repo".parse().expect("a label"), root, allowed: AllowedPaths::new(&[]).expect("globs") }
    }

    /// Returns the paths that the tool may access.
    pub(super) fn allowed(&self) -> &AllowedPaths {
        &self.allowed
    }

    /// Returns a location in this mount, for errors.
    pub(super) fn location(&self, path: Option<&MountPath>) -> FsLocation {
        FsLocation { mount: self.label.clone(), path: path.cloned() }
    }

    /// Parses the path of a caller.
    pub(super) fn parse(text: &str) -> Result<MountPath, FsError> {
        text.parse().map_err(|why| FsError::path(text, why))
    }

    /// Opens a folder. Also returns its path without links, because its files are checked by that path too.
    pub(super) fn open_folder(&self, path: Option<&MountPath>) -> Result<(Dir, Option<MountPath>), FsError> {
        let location = self.location(path);
        if path.is_some_and(|path| !self.allowed.allows_folder(path)) {
            return Err(FsError::NotAllowed(location));
        }
        let found = self.find(path, &location)?;
        if found.path.as_ref().is_some_and(|real| !self.allowed.allows_folder(real)) {
            return Err(FsError::NotAllowed(location));
        }
        match found {
            PathLookup { last: Some(_), .. } => Err(FsError::NotAFolder(location)),
            PathLookup { folder, path, missing, .. } if missing.is_empty() => Ok((folder, path)),
            PathLookup { .. } => Err(FsError::NotFound(location)),
        }
    }

    /// Opens a file for reading.
    pub(super) fn open_file(&self, path: &MountPath) -> Result<(File, Metadata), FsError> {
        let location = self.location(Some(path));
        if !self.allowed.allows_file(path) {
            return Err(FsError::NotAllowed(location));
        }
        let found = self.find(Some(path), &location)?;
        let Some((name, _)) = &found.last else {
            return Err(if found.missing.is_empty() {
                FsError::NotAFile(location)
            } else {
                FsError::NotFound(location)
            });
        };
        if !self.allows(&found, [name.as_str()]) {
            return Err(FsError::NotAllowed(location));
        }
        open_regular(&found.folder, name, &location)
    }

    /// Resolves the path of a file to write. Creates missing folders if `create_folders` is `true`.
    pub(super) fn target(&self, path: &MountPath, create_folders: bool, gate: &CancelGate) -> Result<Target, FsError> {
        let location = self.location(Some(path));
        if !self.allowed.allows_file(path) {
            return Err(FsError::NotAllowed(location));
        }
        let mut found = self.find(Some(path), &location)?;
        let name = match found.last.take() {
            Some((name, _)) => name,
            None => found.missing.pop().ok_or_else(|| FsError::NotAFile(location.clone()))?,
        };
        if !self.allows(&found, found.missing.iter().map(String::as_str).chain([name.as_str()])) {
            return Err(FsError::NotAllowed(location));
        }
        if !create_folders && !found.missing.is_empty() {
            return Err(FsError::NotFound(location));
        }
        let mut target = Target { folder: found.folder, name, real: found.path, created: Vec::new() };
        for name in found.missing {
            gate.check()
                .and_then(|()| target.create_folder(name, &location))
                .inspect_err(|_| target.remove_created_folders())?;
        }
        Ok(target)
    }

    /// Syncs the folders from the root of the mount to the parent of the target's folder. A file is lost if the name of
    /// any folder above it is lost, and another call or program may have created a folder and not synced it yet.
    pub(super) fn sync_path(&self, target: &Target, location: &FsLocation) -> Result<(), FsError> {
        let io = |error: io::Error| FsError::io(location, &error);
        let mut names = target.real.iter().flat_map(|real| real.as_str().split('/')).peekable();
        let mut folder = self.root.try_clone().map_err(io)?;
        while let Some(name) = names.next() {
            match own_file(&folder).and_then(|folder| folder.sync_all()) {
                // This user may only search the folder, so another user created the next one and must sync it.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                synced => synced.map_err(io)?,
            }
            if names.peek().is_some() {
                folder = folder.open_dir_nofollow(name).map_err(io)?;
            }
        }
        Ok(())
    }

    /// `true` if the bundle allows the file with these names below the resolved folder.
    fn allows<'a>(&self, found: &PathLookup, names: impl IntoIterator<Item = &'a str>) -> bool {
        let mut path = found.path.clone();
        for name in names {
            match MountPath::join(path.as_ref(), name) {
                Ok(joined) => path = Some(joined),
                Err(_) => return false,
            }
        }
        path.is_some_and(|path| self.allowed.allows_file(&path))
    }

    /// Resolves a path to its end, or up to the first name that does not exist.
    fn find(&self, path: Option<&MountPath>, location: &FsLocation) -> Result<PathLookup, FsError> {
        let not_found = || FsError::NotFound(location.clone());
        let (mut folder, mut real) = (self.walk(None, location)?, None::<MountPath>);
        let mut ahead: Vec<String> =
            path.iter().flat_map(|path| path.as_str().split('/').rev()).map(String::from).collect();
        let (mut links, mut steps) = (0, 0);
        while let Some(name) = ahead.pop() {
            steps += 1;
            if steps > MAX_STEPS {
                return Err(FsError::Loop(location.clone()));
            }
            match name.as_str() {
                // Only the target of a link contains these names.
                "" | "." => continue,
                ".." => {
                    let Some(here) = real else { return Err(FsError::Outside(location.clone())) };
                    real = here.split().0;
                    steps += real.as_ref().map_or(0, MountPath::depth);
                    folder = self.walk(real.as_ref(), location)?;
                    continue;
                }
                _ => {}
            }
            // The target of a link may contain names that are not allowed in a path.
            let below = MountPath::join(real.as_ref(), &name).map_err(|_| not_found())?;
            let is = match folder.symlink_metadata(&name) {
                Ok(is) => is,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let mut missing: Vec<String> =
                        ahead.into_iter().chain([name]).filter(|name| !matches!(name.as_str(), "" | ".")).collect();
                    missing.reverse();
                    let has_parent = missing.iter().any(|name| name == "..");
                    return if has_parent {
                        Err(not_found())
                    } else {
                        Ok(PathLookup { folder, path: real, last: None, missing })
                    };
                }
                Err(error) => return Err(FsError::io(location, &error)),
            };
            if is.is_symlink() {
                links += 1;
                if links > MAX_LINKS {
                    return Err(FsError::Loop(location.clone()));
                }
                let target = folder.read_link_contents(&name).map_err(|error| FsError::io(location, &error))?;
                let target = target.to_str().ok_or_else(not_found)?;
                if target.starts_with('/') {
                    return Err(FsError::Outside(location.clone()));
                }
                ahead.extend(target.split('/').rev().map(String::from));
            } else if is.is_dir() {
                folder = folder.open_dir_nofollow(&name).map_err(|error| FsError::io(location, &error))?;
                real = Some(below);
            } else if ahead.is_empty() {
                return Ok(PathLookup { folder, path: real, last: Some((name, is)), missing: Vec::new() });
            } else {
                return Err(FsError::NoFolder(location.clone()));
            }
        }
        Ok(PathLookup { folder, path: real, last: None, missing: Vec::new() })
    }

    /// Opens a folder by a path without links.
    fn walk(&self, path: Option<&MountPath>, location: &FsLocation) -> Result<Dir, FsError> {
        let io = |error: io::Error| FsError::io(location, &error);
        let mut folder = self.root.try_clone().map_err(io)?;
        for name in path.iter().flat_map(|path| path.as_str().split('/')) {
            folder = folder.open_dir_nofollow(name).map_err(io)?;
        }
        Ok(folder)
    }
}

impl Target {
    /// Opens a folder of the target, or creates it if it does not exist.
    fn create_folder(&mut self, name: String, location: &FsLocation) -> Result<(), FsError> {
        let io = |error: io::Error| FsError::io(location, &error);
        let real = MountPath::join(self.real.as_ref(), &name).map_err(|_| FsError::NotFound(location.clone()))?;
        // Cloned before the folder is created, because a created folder that is not recorded would not be removed.
        let above = self.folder.try_clone().map_err(io)?;
        match self.folder.create_dir(&name) {
            Ok(()) => self.created.push((above, name.clone())),
            // Another process has created it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io(error)),
        }
        self.folder = self.folder.open_dir_nofollow(&name).map_err(io)?;
        self.real = Some(real);
        Ok(())
    }

    /// Removes the created folders, as long as they are empty.
    pub(super) fn remove_created_folders(&mut self) {
        for (above, name) in self.created.drain(..).rev() {
            if above.remove_dir(name).is_err() {
                break;
            }
        }
    }
}

/// Opens a regular file. Opening a device or pipe may have an effect or block, so the file type is checked before the
/// file is opened and again afterwards. The flags prevent blocking if the file is replaced in between.
pub(super) fn open_regular(folder: &Dir, name: &str, location: &FsLocation) -> Result<(File, Metadata), FsError> {
    let io = |error: io::Error| FsError::io(location, &error);
    let regular = |is: Metadata| if is.is_file() { Ok(is) } else { Err(FsError::NotAFile(location.clone())) };
    regular(folder.symlink_metadata(name).map_err(io)?)?;
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No).nonblock(true);
    let file = folder.open_with(name, &options).map_err(io)?;
    let metadata = regular(file.metadata().map_err(io)?)?;
    Ok((file, metadata))
}

/// Opens a folder as a file that can be locked and synced. The descriptor in a [`Dir`] may not allow either.
pub(super) fn own_file(folder: &Dir) -> io::Result<std::fs::File> {
    use rustix::fs::{Mode, OFlags, openat};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(openat(folder, ".", flags, Mode::empty())?.into())
}
