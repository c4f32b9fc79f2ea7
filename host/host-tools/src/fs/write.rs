//! `fs.write`: creates a text file, or replaces one that has not changed since it was read.
//!
//! The content is written to a temporary file in the same folder and synced. The folders above are synced before the
//! rename, and the folder itself after it. A power cut therefore leaves the old or the new file, and the new file is
//! durable when the call returns. A writer holds a lock on the folder (`flock`), so that of several concurrent calls,
//! in this process or another one, one succeeds and the others get an error. A program that does not take the lock is
//! noticed if it wrote before the last check, which is right before the rename. On file systems without such locks on
//! folders (NFS), only this check separates two writers.
//!
//! A cancelled or failed call leaves neither a temporary file nor the folders that it created. Replacing a file never
//! gives access to more users. The new file keeps the mode, the access control list, the attributes (`attributes`), and
//! the owner if the Runtime's user may change it. If the group cannot be kept, the group and others get the permissions
//! that both had before. In this case, a file with an access control list is not replaced. A file without write
//! permission for any user is not replaced either. A link inside the mount is followed, and its target is replaced or
//! created.

use std::fs::TryLockError;
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bundles::{Access, Authority, Digest, Digester, InvalidName, MountLabel, ToolName};
use cap_std::fs::{Dir, File, Metadata, MetadataExt, Permissions, PermissionsExt};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cancellation::{CancelGate, blocking};
use super::error::{FsError, FsLocation};
use super::mount::{OpenMount, Target, open_regular, own_file};
use super::path::MountPath;
use super::{CHUNK_BYTES, MAX_FILE_BYTES, MAX_TEXT, input};
use crate::temporary::TemporaryFile;
use crate::tool::{HostTool, ToolContext, ToolError};

/// Maximum number of attempts if another call removes the folder that the file is written to.
const MAX_ATTEMPTS: usize = 3;
/// Maximum time to wait for the lock of the folder.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two attempts to acquire the lock.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The tool `fs.write`.
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
struct WriteOutput {
    digest: Digest,
    size: u64,
    created: bool,
}

#[async_trait]
impl HostTool for Write {
    fn name(&self) -> &ToolName {
        &self.0
    }

    /// Empty, because the input names the mount.
    fn needs(&self) -> &[Authority] {
        &[]
    }

    async fn call(&self, context: ToolContext, value: Value) -> Result<Value, ToolError> {
        let Input { mount, path, text, replaces } = input(value, &[])?;
        let path = OpenMount::parse(&path)?;
        if text.chars().count() > MAX_TEXT {
            return Err(FsError::TextTooLarge.into());
        }
        let mount = OpenMount::open(&context, mount, Access::Write)?;
        let written = blocking(move |gate| write(&mount, &path, &text, replaces, gate)).await?;
        Ok(serde_json::to_value(written).unwrap_or_default())
    }
}

fn write(
    mount: &OpenMount,
    path: &MountPath,
    text: &str,
    replaces: Option<Digest>,
    gate: &CancelGate,
) -> Result<WriteOutput, FsError> {
    let location = mount.location(Some(path));
    let mut attempt = 1;
    loop {
        let done = mount.target(path, replaces.is_none(), gate).and_then(|mut target| {
            put(mount, &target, text, replaces, &location, gate).inspect_err(|_| target.remove_created_folders())
        });
        match done {
            // Another call has created a folder of the path and removed it when it was cancelled.
            Err(FsError::NotFound(_)) if replaces.is_none() && attempt < MAX_ATTEMPTS => attempt += 1,
            done => return done,
        }
    }
}

fn put(
    mount: &OpenMount,
    target: &Target,
    text: &str,
    replaces: Option<Digest>,
    location: &FsLocation,
    gate: &CancelGate,
) -> Result<WriteOutput, FsError> {
    let io = |error: std::io::Error| FsError::io(location, &error);
    let folder = own_file(&target.folder).map_err(io)?;
    lock(&folder, LOCK_TIMEOUT, location, gate)?;
    let replaced = match replaces {
        Some(digest) => Some(open_unchanged(target, digest, location, gate)?),
        None if exists(&target.folder, &target.name).map_err(io)? => return Err(FsError::Exists(location.clone())),
        None => None,
    };
    // An incomplete file that replaces another one is not readable by other users. A new file gets the mode that the
    // umask allows.
    let mode = if replaced.is_some() { 0o600 } else { 0o666 };
    let mut temporary = TemporaryFile::create(&target.folder, mode).map_err(io)?;
    for piece in text.as_bytes().chunks(CHUNK_BYTES) {
        gate.check()?;
        temporary.file().write_all(piece).map_err(io)?;
    }
    if let Some(replaced) = &replaced {
        copy_access(&mut temporary, replaced, location)?;
    }
    gate.check()?;
    temporary.sync().map_err(io)?;
    gate.check()?;
    mount.sync_path(target, location)?;
    gate.commit(|| match &replaced {
        Some((_, replaced)) if is_unmodified(&target.folder, &target.name, replaced).map_err(io)? => {
            temporary.replace(&target.name).map_err(io)
        }
        Some(_) => Err(FsError::Changed(location.clone())),
        None => temporary.rename_new(&target.name).map_err(io),
    })??;
    drop(temporary);
    folder.sync_all().map_err(io)?;
    Ok(WriteOutput { digest: Digest::of(text), size: text.len() as u64, created: replaced.is_none() })
}

/// Locks a folder, so that no other call writes to it. Closing the file releases the lock.
fn lock(folder: &std::fs::File, timeout: Duration, location: &FsLocation, gate: &CancelGate) -> Result<(), FsError> {
    let began = Instant::now();
    loop {
        gate.check()?;
        match folder.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if began.elapsed() < timeout => std::thread::sleep(LOCK_POLL_INTERVAL),
            Err(TryLockError::WouldBlock) => return Err(FsError::InUse(location.clone())),
            Err(TryLockError::Error(error)) if has_no_locks(&error) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(FsError::io(location, &error)),
        }
    }
}

/// `true` if the file system does not support these locks. Any other error is a failure, because two writers without a
/// lock could both succeed.
fn has_no_locks(error: &std::io::Error) -> bool {
    // NFS returns `EBADF` for a folder, because a folder cannot be opened for writing.
    let unsupported = [Errno::NOTSUP, Errno::NOSYS, Errno::INVAL, Errno::NOLCK, Errno::BADF];
    Errno::from_io_error(error).is_some_and(|errno| unsupported.contains(&errno))
}

fn exists(folder: &Dir, name: &str) -> std::io::Result<bool> {
    match folder.symlink_metadata(name) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens the file to replace, and checks that it has the content that the caller has read.
fn open_unchanged(
    target: &Target,
    digest: Digest,
    location: &FsLocation,
    gate: &CancelGate,
) -> Result<(File, Metadata), FsError> {
    let (mut file, metadata) = open_regular(&target.folder, &target.name, location)?;
    if metadata.mode() & 0o222 == 0 {
        return Err(FsError::ReadOnly(location.clone()));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(FsError::TooLarge(location.clone()));
    }
    let mut digester = Digester::default();
    let mut piece = vec![0; CHUNK_BYTES];
    let mut total = 0_u64;
    loop {
        gate.check()?;
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => {
                total += read as u64;
                digester.update(piece.get(..read).unwrap_or_default());
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(FsError::io(location, &error)),
        }
        if total > MAX_FILE_BYTES {
            return Err(FsError::TooLarge(location.clone()));
        }
    }
    if digester.finish() == digest { Ok((file, metadata)) } else { Err(FsError::Changed(location.clone())) }
}

/// `true` if the name still leads to the same file, and the file was not modified.
fn is_unmodified(folder: &Dir, name: &str, before: &Metadata) -> std::io::Result<bool> {
    let state = |file: &Metadata| {
        (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec())
    };
    match folder.symlink_metadata(name) {
        Ok(now) => Ok(state(&now) == state(before)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives a new file the owner, group, attributes and mode of the file that it replaces. Before this, only its owner has
/// access.
fn copy_access(
    temporary: &mut TemporaryFile<'_>,
    (old, replaced): &(File, Metadata),
    location: &FsLocation,
) -> Result<(), FsError> {
    use rustix::fs::{Gid, Uid, fchown};
    let io = |error: std::io::Error| FsError::io(location, &error);
    let file = temporary.file();
    let new = file.metadata().map_err(io)?;
    if new.uid() != replaced.uid() {
        // Only root may change the owner. Otherwise the owner stays as it is.
        is_permitted(fchown(&*file, Some(Uid::from_raw(replaced.uid())), None)).map_err(io)?;
    }
    let is_group_kept = new.gid() == replaced.gid()
        || is_permitted(fchown(&*file, None, Some(Gid::from_raw(replaced.gid())))).map_err(io)?;
    #[cfg(target_os = "linux")]
    {
        use super::attributes::{self, AttributeError};
        let attribute = |error| match error {
            AttributeError::NotKept => FsError::AccessNotKept(location.clone()),
            AttributeError::Io(errno) => io(errno.into()),
        };
        // The list's entry for the owning group would then apply to another group.
        if !is_group_kept && attributes::has_access_list(old).map_err(attribute)? {
            return Err(FsError::AccessNotKept(location.clone()));
        }
        attributes::copy(old, &*file).map_err(attribute)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = old;
    let mode = replaced.mode() & 0o777;
    file.set_permissions(Permissions::from_mode(if is_group_kept { mode } else { mode_of_another_group(mode) }))
        .map_err(io)
}

/// Returns the mode of a file whose group changes. Members of the former group become others, and a mode may grant a
/// group less than others. Both therefore get the permissions that both had.
fn mode_of_another_group(mode: u32) -> u32 {
    let both = (mode >> 3) & mode & 0o007;
    mode & 0o700 | both << 3 | both
}

/// Returns `false` if the user or the file system does not permit the change of ownership. Other errors are failures.
fn is_permitted(changed: rustix::io::Result<()>) -> std::io::Result<bool> {
    match changed {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_group_and_others_get_the_permissions_that_both_had() {
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

    /// Replaces a file as a user who can neither change its owner nor is in its group.
    #[cfg(target_os = "linux")]
    fn replaced_by_a_stranger(mode: u32, list: Option<&[u8]>) -> Result<u32, FsError> {
        use std::os::unix::fs::PermissionsExt as _;
        let temp = tempfile::tempdir().expect("a folder");
        let open_to_all = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
        };
        open_to_all(temp.path(), 0o777);
        let path = temp.path().join("file");
        std::fs::write(&path, "old").expect("written");
        rustix::fs::chown(&path, None, Some(rustix::fs::Gid::from_raw(54_321))).expect("a group");
        open_to_all(&path, mode);
        if let Some(list) = list {
            rustix::fs::setxattr(&path, "system.posix_acl_access", list, rustix::fs::XattrFlags::empty())
                .expect("a list");
        }
        let mount = OpenMount::for_test(temp.path());
        let done = std::thread::spawn(move || {
            use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
            // These calls change the current thread only.
            set_thread_groups(&[]).expect("no groups");
            set_thread_gid(rustix::fs::Gid::from_raw(12_345)).expect("a group");
            set_thread_uid(rustix::fs::Uid::from_raw(12_345)).expect("a user");
            let path = "file".parse().expect("a path");
            write(&mount, &path, "new", Some(Digest::of("old")), &CancelGate::default())
        });
        done.join().expect("joined")?;
        Ok(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777)
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn file_whose_group_cannot_be_kept_gives_access_to_no_other_user() {
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
        assert!(matches!(refused, Err(FsError::AccessNotKept(_))), "{refused:?}");
    }

    #[test]
    fn folder_locked_by_another_writer_is_in_use_until_the_lock_is_released() {
        let temp = tempfile::tempdir().expect("a folder");
        let mount = OpenMount::for_test(temp.path());
        let open = || std::fs::File::open(temp.path()).expect("opened");
        let lock = |file: &std::fs::File| lock(file, Duration::ZERO, &mount.location(None), &CancelGate::default());
        let other = open();
        other.lock().expect("locked");
        let mine = open();
        assert_eq!(lock(&mine), Err(FsError::InUse(mount.location(None))));
        drop(other);
        assert_eq!(lock(&mine), Ok(()));
    }
}
