//! A mount as one call sees it: where its paths lead, and which of them it may touch.
//!
//! A path is gone name by name from the mount's own descriptor. A link is read and gone on from, never
//! followed by the system; one that leads above the mount's root, or to a root, leads out. What comes of it
//! is an open folder and the path without links, and both that path and the caller's are held against the
//! bundle's `paths`. So nothing is opened but what was judged, whatever is moved about meanwhile.

use std::io::{self, ErrorKind};

use bundles::{Access, MountLabel};
use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, File, Metadata, OpenOptions};

use super::glob::Allowed;
use super::path::MountPath;
use super::refusal::{Place, Refusal};
use super::work::Gate;
use crate::tool::{ToolContext, ToolError};

/// Links on the way to one file, as Linux counts them.
const MAX_LINKS: u32 = 40;
/// Names on the way to one file, links and ways back included.
const MAX_STEPS: u32 = 4096;

/// A mount, and what a call may touch of it.
#[derive(Debug)]
pub(super) struct Mounted {
    label: MountLabel,
    root: Dir,
    allowed: Allowed,
}

/// Where a path leads.
#[derive(Debug)]
struct Found {
    /// The last folder on the way that is there.
    folder: Dir,
    /// Its path without links; none is the mount's root.
    path: Option<MountPath>,
    /// What is there in it by the next name: a file, or anything else that is neither folder nor link.
    last: Option<(String, Metadata)>,
    /// The names that are not there.
    missing: Vec<String>,
}

/// Where a file is to be: an open folder and a name in it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) folder: Dir,
    pub(super) name: String,
    /// The folder's path without links; none is the mount's root.
    real: Option<MountPath>,
    /// Folders that were made for it, the outermost first.
    made: Vec<(Dir, String)>,
}

impl Mounted {
    /// A mount that the worker may use, now.
    pub(super) fn open(context: &ToolContext, label: MountLabel, access: Access) -> Result<Self, ToolError> {
        let root = context.mount(&label, access)?;
        let allowed = Allowed::new(&context.policy().paths)?;
        Ok(Self { label, root, allowed })
    }

    #[cfg(test)]
    pub(super) fn of_test(path: &std::path::Path) -> Self {
        let root = Dir::open_ambient_dir(path, cap_std::ambient_authority()).expect("a folder");
        Self { label: "repo".parse().expect("a label"), root, allowed: Allowed::new(&[]).expect("globs") }
    }

    /// What may be touched.
    pub(super) fn allowed(&self) -> &Allowed {
        &self.allowed
    }

    /// A place of this mount, as a refusal names it.
    pub(super) fn place(&self, path: Option<&MountPath>) -> Place {
        Place { mount: self.label.clone(), path: path.cloned() }
    }

    /// Reads a caller's path.
    pub(super) fn parse(text: &str) -> Result<MountPath, Refusal> {
        text.parse().map_err(|why| Refusal::path(text, why))
    }

    /// Opens a folder. The second value is its path without links, by which its files are judged too.
    pub(super) fn open_folder(&self, path: Option<&MountPath>) -> Result<(Dir, Option<MountPath>), Refusal> {
        let place = self.place(path);
        if path.is_some_and(|path| !self.allowed.folder(path)) {
            return Err(Refusal::NotAllowed(place));
        }
        let found = self.find(path, &place)?;
        if found.path.as_ref().is_some_and(|real| !self.allowed.folder(real)) {
            return Err(Refusal::NotAllowed(place));
        }
        match found {
            Found { last: Some(_), .. } => Err(Refusal::NotAFolder(place)),
            Found { folder, path, missing, .. } if missing.is_empty() => Ok((folder, path)),
            Found { .. } => Err(Refusal::NotFound(place)),
        }
    }

    /// Opens a file to be read.
    pub(super) fn open_file(&self, path: &MountPath) -> Result<(File, Metadata), Refusal> {
        let place = self.place(Some(path));
        if !self.allowed.file(path) {
            return Err(Refusal::NotAllowed(place));
        }
        let found = self.find(Some(path), &place)?;
        let Some((name, _)) = &found.last else {
            return Err(if found.missing.is_empty() { Refusal::NotAFile(place) } else { Refusal::NotFound(place) });
        };
        if !self.allows(&found, [name.as_str()]) {
            return Err(Refusal::NotAllowed(place));
        }
        open_regular(&found.folder, name, &place)
    }

    /// Finds where a file is to be written, and makes the folders above it where `make` says so.
    pub(super) fn target(&self, path: &MountPath, make: bool, gate: &Gate) -> Result<Target, Refusal> {
        let place = self.place(Some(path));
        if !self.allowed.file(path) {
            return Err(Refusal::NotAllowed(place));
        }
        let mut found = self.find(Some(path), &place)?;
        let name = match found.last.take() {
            Some((name, _)) => name,
            None => found.missing.pop().ok_or_else(|| Refusal::NotAFile(place.clone()))?,
        };
        if !self.allows(&found, found.missing.iter().map(String::as_str).chain([name.as_str()])) {
            return Err(Refusal::NotAllowed(place));
        }
        if !make && !found.missing.is_empty() {
            return Err(Refusal::NotFound(place));
        }
        let mut target = Target { folder: found.folder, name, real: found.path, made: Vec::new() };
        for name in found.missing {
            gate.pass().and_then(|()| target.descend(name, &place)).inspect_err(|_| target.unmake())?;
        }
        Ok(target)
    }

    /// Makes durable that the folder of a target is where it is: what is in it would be lost with the name of any
    /// folder on the way. Who made those, another call or another program, may not have come so far.
    pub(super) fn keep_way(&self, target: &Target, place: &Place) -> Result<(), Refusal> {
        let io = |error: io::Error| Refusal::io(place, &error);
        let mut names = target.real.iter().flat_map(|real| real.as_str().split('/')).peekable();
        let mut folder = self.root.try_clone().map_err(io)?;
        while let Some(name) = names.next() {
            match own_file(&folder).and_then(|folder| folder.sync_all()) {
                // A folder that this user may only pass: whoever may write to it makes it durable.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                synced => synced.map_err(io)?,
            }
            if names.peek().is_some() {
                folder = folder.open_dir_nofollow(name).map_err(io)?;
            }
        }
        Ok(())
    }

    /// Whether the bundle allows the file of these names below what was found.
    fn allows<'a>(&self, found: &Found, names: impl IntoIterator<Item = &'a str>) -> bool {
        let mut path = found.path.clone();
        for name in names {
            match MountPath::join(path.as_ref(), name) {
                Ok(joined) => path = Some(joined),
                Err(_) => return false,
            }
        }
        path.is_some_and(|path| self.allowed.file(&path))
    }

    /// Goes a path to its end, or to where it is not there any more.
    fn find(&self, path: Option<&MountPath>, place: &Place) -> Result<Found, Refusal> {
        let not_found = || Refusal::NotFound(place.clone());
        let (mut folder, mut real) = (self.walk(None, place)?, None::<MountPath>);
        let mut ahead: Vec<String> =
            path.iter().flat_map(|path| path.as_str().split('/').rev()).map(String::from).collect();
        let (mut links, mut steps) = (0, 0);
        while let Some(name) = ahead.pop() {
            steps += 1;
            if steps > MAX_STEPS {
                return Err(Refusal::Loop(place.clone()));
            }
            match name.as_str() {
                // Only what a link says has these.
                "" | "." => continue,
                ".." => {
                    let Some(here) = real else { return Err(Refusal::Outside(place.clone())) };
                    real = here.split().0;
                    steps += real.as_ref().map_or(0, MountPath::depth);
                    folder = self.walk(real.as_ref(), place)?;
                    continue;
                }
                _ => {}
            }
            // A link may lead to what has no path here.
            let below = MountPath::join(real.as_ref(), &name).map_err(|_| not_found())?;
            let is = match folder.symlink_metadata(&name) {
                Ok(is) => is,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let mut missing: Vec<String> =
                        ahead.into_iter().chain([name]).filter(|name| !matches!(name.as_str(), "" | ".")).collect();
                    missing.reverse();
                    let leads_back = missing.iter().any(|name| name == "..");
                    return if leads_back {
                        Err(not_found())
                    } else {
                        Ok(Found { folder, path: real, last: None, missing })
                    };
                }
                Err(error) => return Err(Refusal::io(place, &error)),
            };
            if is.is_symlink() {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Refusal::Loop(place.clone()));
                }
                let leads_to = folder.read_link_contents(&name).map_err(|error| Refusal::io(place, &error))?;
                let leads_to = leads_to.to_str().ok_or_else(not_found)?;
                if leads_to.starts_with('/') {
                    return Err(Refusal::Outside(place.clone()));
                }
                ahead.extend(leads_to.split('/').rev().map(String::from));
            } else if is.is_dir() {
                folder = folder.open_dir_nofollow(&name).map_err(|error| Refusal::io(place, &error))?;
                real = Some(below);
            } else if ahead.is_empty() {
                return Ok(Found { folder, path: real, last: Some((name, is)), missing: Vec::new() });
            } else {
                return Err(Refusal::NoFolder(place.clone()));
            }
        }
        Ok(Found { folder, path: real, last: None, missing: Vec::new() })
    }

    /// Opens a folder by a path without links.
    fn walk(&self, path: Option<&MountPath>, place: &Place) -> Result<Dir, Refusal> {
        let io = |error: io::Error| Refusal::io(place, &error);
        let mut folder = self.root.try_clone().map_err(io)?;
        for name in path.iter().flat_map(|path| path.as_str().split('/')) {
            folder = folder.open_dir_nofollow(name).map_err(io)?;
        }
        Ok(folder)
    }
}

impl Target {
    /// Goes into a folder that is made where it is not there yet.
    fn descend(&mut self, name: String, place: &Place) -> Result<(), Refusal> {
        let io = |error: io::Error| Refusal::io(place, &error);
        let real = MountPath::join(self.real.as_ref(), &name).map_err(|_| Refusal::NotFound(place.clone()))?;
        // First, because what is made and not noted stays.
        let above = self.folder.try_clone().map_err(io)?;
        match self.folder.create_dir(&name) {
            Ok(()) => self.made.push((above, name.clone())),
            // Somebody else made it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io(error)),
        }
        self.folder = self.folder.open_dir_nofollow(&name).map_err(io)?;
        self.real = Some(real);
        Ok(())
    }

    /// Takes away the folders that were made, as far as nobody else uses them.
    pub(super) fn unmake(&mut self) {
        for (above, name) in self.made.drain(..).rev() {
            if above.remove_dir(name).is_err() {
                break;
            }
        }
    }
}

/// Opens what is a regular file, and nothing else: opening a device or a pipe does something, and may never
/// come back. It is looked at before and after, and in between nothing can make it wait.
pub(super) fn open_regular(folder: &Dir, name: &str, place: &Place) -> Result<(File, Metadata), Refusal> {
    let io = |error: io::Error| Refusal::io(place, &error);
    let regular = |is: Metadata| if is.is_file() { Ok(is) } else { Err(Refusal::NotAFile(place.clone())) };
    regular(folder.symlink_metadata(name).map_err(io)?)?;
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No).nonblock(true);
    let file = folder.open_with(name, &options).map_err(io)?;
    let metadata = regular(file.metadata().map_err(io)?)?;
    Ok((file, metadata))
}

/// A folder's own file, which can be locked and synced; what a [`Dir`] holds may be good for neither.
pub(super) fn own_file(folder: &Dir) -> io::Result<std::fs::File> {
    use rustix::fs::{Mode, OFlags, openat};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(openat(folder, ".", flags, Mode::empty())?.into())
}
