//! `fs.write`: a text file, new or in the place of one that has not changed since it was read.
//!
//! The content is written and synced under another name in the same folder, which is then synced too, as
//! those above it are before: there is the old file or the new one, also after a power cut, and once the call
//! is answered it is the new one. Who writes holds a lock on the folder (`flock`), so of several calls, of this
//! process or another, one wins and the others are told. Programs that do not take the lock are seen as far as
//! they have written before the last look, right before the rename. Where a file system has no such lock on
//! folders (NFS), that look is all there is between two writers.
//!
//! A call that is dropped or fails leaves nothing: not its unfinished file, not the folders that it made. A
//! replaced file is never open to more users than before. It keeps its mode, its access control list, its attributes
//! (`attributes`), and its owner as far as the Runtime's user may give files away. Where the group cannot be kept, group
//! and everybody else may do what both could before, and a file with an access control list is left alone, as is one
//! whose mode lets nobody write.
//! A link is followed inside the mount: the file that it leads to is replaced, or made.

use std::fs::TryLockError;
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bundles::{Access, Authority, Digest, Digester, InvalidName, MountLabel, ToolName};
use cap_std::fs::{Dir, File, Metadata, MetadataExt, Permissions, PermissionsExt};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::folder::{Mounted, Target, open_regular, own_file};
use super::path::MountPath;
use super::refusal::{Place, Refusal};
use super::work::{Gate, blocking};
use super::{MAX_FILE_BYTES, MAX_TEXT, PIECE_BYTES, input};
use crate::temporary::Temporary;
use crate::tool::{HostTool, ToolContext, ToolError};

/// How often a folder is looked for anew that another call took away while it was to be written into.
const ATTEMPTS: usize = 3;
/// How long a call waits for the folder's lock.
const LOCK_TIME: Duration = Duration::from_secs(10);
/// How long it sleeps before it tries again.
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// The tool.
#[derive(Debug)]
pub(super) struct Write(ToolName);

impl Write {
    pub(super) fn new() -> Result<Self, InvalidName> {
        Ok(Self("fs.write".parse()?))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    mount: MountLabel,
    path: String,
    text: String,
    replaces: Option<Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Written {
    digest: Digest,
    size: u64,
    created: bool,
}

#[async_trait]
impl HostTool for Write {
    fn name(&self) -> &ToolName {
        &self.0
    }

    /// Which mount, the input says.
    fn needs(&self) -> &[Authority] {
        &[]
    }

    async fn call(&self, context: ToolContext, value: Value) -> Result<Value, ToolError> {
        let Input { mount, path, text, replaces } = input(value, &[])?;
        let path = Mounted::parse(&path)?;
        if text.chars().count() > MAX_TEXT {
            return Err(Refusal::TextTooLarge.into());
        }
        let mounted = Mounted::open(&context, mount, Access::Write)?;
        let written = blocking(move |gate| write(&mounted, &path, &text, replaces, gate)).await?;
        Ok(serde_json::to_value(written).unwrap_or_default())
    }
}

fn write(
    mounted: &Mounted,
    path: &MountPath,
    text: &str,
    replaces: Option<Digest>,
    gate: &Gate,
) -> Result<Written, Refusal> {
    let place = mounted.place(Some(path));
    let mut attempt = 1;
    loop {
        let done = mounted.target(path, replaces.is_none(), gate).and_then(|mut target| {
            put(mounted, &target, text, replaces, &place, gate).inspect_err(|_| target.unmake())
        });
        match done {
            // Another call made a folder on the way, was dropped, and took it away again.
            Err(Refusal::NotFound(_)) if replaces.is_none() && attempt < ATTEMPTS => attempt += 1,
            done => return done,
        }
    }
}

fn put(
    mounted: &Mounted,
    target: &Target,
    text: &str,
    replaces: Option<Digest>,
    place: &Place,
    gate: &Gate,
) -> Result<Written, Refusal> {
    let io = |error: std::io::Error| Refusal::io(place, &error);
    let folder = own_file(&target.folder).map_err(io)?;
    lock(&folder, LOCK_TIME, place, gate)?;
    let replaced = match replaces {
        Some(digest) => Some(unchanged(target, digest, place, gate)?),
        None if is_there(&target.folder, &target.name).map_err(io)? => return Err(Refusal::Exists(place.clone())),
        None => None,
    };
    // Nobody reads what is half written; a new file is open as the process's mask lets any be.
    let mode = if replaced.is_some() { 0o600 } else { 0o666 };
    let mut unfinished = Temporary::make(&target.folder, mode).map_err(io)?;
    for piece in text.as_bytes().chunks(PIECE_BYTES) {
        gate.pass()?;
        unfinished.file().write_all(piece).map_err(io)?;
    }
    if let Some(replaced) = &replaced {
        keep_access(&mut unfinished, replaced, place)?;
    }
    gate.pass()?;
    unfinished.sync().map_err(io)?;
    gate.pass()?;
    mounted.keep_way(target, place)?;
    gate.commit(|| match &replaced {
        Some((_, replaced)) if is_still(&target.folder, &target.name, replaced).map_err(io)? => {
            unfinished.replace(&target.name).map_err(io)
        }
        Some(_) => Err(Refusal::Changed(place.clone())),
        None => unfinished.place_new(&target.name).map_err(io),
    })??;
    drop(unfinished);
    folder.sync_all().map_err(io)?;
    Ok(Written { digest: Digest::of(text), size: text.len() as u64, created: replaced.is_none() })
}

/// Waits until nobody else writes in a folder. The lock goes with the file.
fn lock(folder: &std::fs::File, most: Duration, place: &Place, gate: &Gate) -> Result<(), Refusal> {
    let began = Instant::now();
    loop {
        gate.pass()?;
        match folder.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if began.elapsed() < most => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(Refusal::InUse(place.clone())),
            Err(TryLockError::Error(error)) if has_no_locks(&error) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(Refusal::io(place, &error)),
        }
    }
}

/// Whether a file system says that it has no such locks. Whatever else it says is a failure: two that were not
/// kept apart would both have written.
fn has_no_locks(error: &std::io::Error) -> bool {
    // The last is what NFS says of a folder, which nobody opens to write.
    let says = [Errno::NOTSUP, Errno::NOSYS, Errno::INVAL, Errno::NOLCK, Errno::BADF];
    Errno::from_io_error(error).is_some_and(|errno| says.contains(&errno))
}

fn is_there(folder: &Dir, name: &str) -> std::io::Result<bool> {
    match folder.symlink_metadata(name) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The file that is to be replaced, where it has the content that the caller has read.
fn unchanged(target: &Target, digest: Digest, place: &Place, gate: &Gate) -> Result<(File, Metadata), Refusal> {
    let (mut file, metadata) = open_regular(&target.folder, &target.name, place)?;
    if metadata.mode() & 0o222 == 0 {
        return Err(Refusal::ReadOnly(place.clone()));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(Refusal::TooLarge(place.clone()));
    }
    let mut digester = Digester::default();
    let mut piece = vec![0; PIECE_BYTES];
    let mut total = 0_u64;
    loop {
        gate.pass()?;
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => {
                total += read as u64;
                digester.update(piece.get(..read).unwrap_or_default());
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Refusal::io(place, &error)),
        }
        if total > MAX_FILE_BYTES {
            return Err(Refusal::TooLarge(place.clone()));
        }
    }
    if digester.finish() == digest { Ok((file, metadata)) } else { Err(Refusal::Changed(place.clone())) }
}

/// Whether a name still is the file that it was, which nobody has written to.
fn is_still(folder: &Dir, name: &str, before: &Metadata) -> std::io::Result<bool> {
    let touched = |file: &Metadata| {
        (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec())
    };
    match folder.symlink_metadata(name) {
        Ok(now) => Ok(touched(&now) == touched(before)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives a new file the owner, the group, the attributes and the mode of the one whose place it takes. Until then only
/// its owner has access.
fn keep_access(
    unfinished: &mut Temporary<'_>,
    (old, replaced): &(File, Metadata),
    place: &Place,
) -> Result<(), Refusal> {
    use rustix::fs::{Gid, Uid, fchown};
    let io = |error: std::io::Error| Refusal::io(place, &error);
    let file = unfinished.file();
    let is = file.metadata().map_err(io)?;
    if is.uid() != replaced.uid() {
        // Only root gives files away.
        may(fchown(&*file, Some(Uid::from_raw(replaced.uid())), None)).map_err(io)?;
    }
    let kept =
        is.gid() == replaced.gid() || may(fchown(&*file, None, Some(Gid::from_raw(replaced.gid())))).map_err(io)?;
    #[cfg(target_os = "linux")]
    {
        use super::attributes::{self, AttributeError};
        let attribute = |error| match error {
            AttributeError::NotKept => Refusal::AccessNotKept(place.clone()),
            AttributeError::Io(errno) => io(errno.into()),
        };
        // The entry of the owning group would be another group's.
        if !kept && attributes::has_access_list(old).map_err(attribute)? {
            return Err(Refusal::AccessNotKept(place.clone()));
        }
        attributes::copy(old, &*file).map_err(attribute)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = old;
    let mode = replaced.mode() & 0o777;
    file.set_permissions(Permissions::from_mode(if kept { mode } else { mode_of_another_group(mode) })).map_err(io)
}

/// Mode of a file that comes into another group. Members of the former group count as everybody else then, and the
/// mode of a file may give a group less than everybody else.
fn mode_of_another_group(mode: u32) -> u32 {
    let both = (mode >> 3) & mode & 0o007;
    mode & 0o700 | both << 3 | both
}

/// Whether the Runtime's user may give a file away, and the file system can. What else goes wrong is a failure.
fn may(given: rustix::io::Result<()>) -> std::io::Result<bool> {
    match given {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_group_and_everybody_else_get_what_both_had() {
        for (mode, other) in [
            (0o644, 0o644),
            (0o664, 0o644),
            (0o640, 0o600),
            (0o604, 0o600),
            (0o777, 0o777),
            (0o752, 0o700),
            (0o756, 0o744),
        ] {
            assert_eq!(mode_of_another_group(mode), other, "{mode:o}");
        }
    }

    /// Replaces a file as a user who can neither give files away nor is in the file's group.
    #[cfg(target_os = "linux")]
    fn replaced_by_a_stranger(mode: u32, list: Option<&[u8]>) -> Result<u32, Refusal> {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().expect("a folder");
        let open_to_all = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
        };
        open_to_all(place.path(), 0o777);
        let path = place.path().join("file");
        std::fs::write(&path, "old").expect("written");
        rustix::fs::chown(&path, None, Some(rustix::fs::Gid::from_raw(54_321))).expect("a group");
        open_to_all(&path, mode);
        if let Some(list) = list {
            rustix::fs::setxattr(&path, "system.posix_acl_access", list, rustix::fs::XattrFlags::empty())
                .expect("a list");
        }
        let mounted = Mounted::of_test(place.path());
        let done = std::thread::spawn(move || {
            use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
            // Of this thread alone.
            set_thread_groups(&[]).expect("no groups");
            set_thread_gid(rustix::fs::Gid::from_raw(12_345)).expect("a group");
            set_thread_uid(rustix::fs::Uid::from_raw(12_345)).expect("a user");
            let path = "file".parse().expect("a path");
            write(&mounted, &path, "new", Some(Digest::of("old")), &Gate::default())
        });
        done.join().expect("joined")?;
        Ok(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777)
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_whose_group_cannot_be_kept_is_open_to_nobody_else() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can become another user");
            return;
        }
        assert_eq!(replaced_by_a_stranger(0o664, None), Ok(0o644));
        assert_eq!(replaced_by_a_stranger(0o646, None), Ok(0o644));
        // user::rw, user:777:rw, group::---, mask::rw, other::r
        let list = [(1_u16, 6_u16, u32::MAX), (2, 6, 777), (4, 0, u32::MAX), (16, 6, u32::MAX), (32, 4, u32::MAX)];
        let entries = list.iter().flat_map(|(tag, permissions, id)| {
            [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
        });
        let list: Vec<u8> = 2_u32.to_le_bytes().into_iter().chain(entries).collect();
        let refused = replaced_by_a_stranger(0o664, Some(&list));
        assert!(matches!(refused, Err(Refusal::AccessNotKept(_))), "{refused:?}");
    }

    #[test]
    fn a_folder_that_others_keep_locked_is_in_use_and_then_it_is_not() {
        let place = tempfile::tempdir().expect("a folder");
        let mounted = Mounted::of_test(place.path());
        let open = || std::fs::File::open(place.path()).expect("opened");
        let lock = |file: &std::fs::File| lock(file, Duration::ZERO, &mounted.place(None), &Gate::default());
        let other = open();
        other.lock().expect("locked");
        let mine = open();
        assert_eq!(lock(&mine), Err(Refusal::InUse(mounted.place(None))));
        drop(other);
        assert_eq!(lock(&mine), Ok(()));
    }
}
