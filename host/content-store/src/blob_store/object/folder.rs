//! Objects in files below a folder: `blobs/sha256/ab/<hex>`, `staging/<number>`, `quarantine/<hex>`.
//!
//! The engine writes the parts of large content to `staging`. This module syncs the file, renames it to its final name
//! and syncs the folder, which are two waits for the disk per blob. It also writes small content itself, so that one
//! blocking task does everything. Unfinished uploads are all in one folder, so that opening can remove them without
//! walking the blobs. Only regular files are read, and links are not followed.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bundles::Digest;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use super::fault;
use super::storage::{self, BLOBS, ObjectStorage, OpenOutcome, QUARANTINE, UploadTarget};
use crate::blob_store::BlobError;
use crate::pinned::PinnedPath;

const STAGING: &str = "staging";

/// Number of bytes that must be writable for the storage to count as writable.
const PROBE_BYTES: usize = 64 << 10;

/// Maximum number of additional quarantined copies of one blob. The last one is overwritten after that.
const MAX_QUARANTINED_COPIES: u32 = 100;

/// Storage in files below a folder.
pub(super) struct Folder {
    root: Arc<Path>,
    /// The root folder and the folder of the blobs.
    pinned: Arc<[PinnedPath; 2]>,
    engine: Arc<dyn ObjectStore>,
    uploads: AtomicU64,
    /// Lock of the data folder, held until this is dropped.
    _lock: File,
}

impl Folder {
    /// Opens the folder, creates missing subfolders and empties the staging folder.
    pub(super) async fn open(root: PathBuf, lock: File) -> Result<Self, BlobError> {
        let operation = "open the folder of blobs";
        let folder = root.clone();
        let pinned = blocking(operation, move || {
            create_folders(&folder)?;
            Ok([PinnedPath::folder(folder.join(BLOBS))?, PinnedPath::folder(folder)?])
        });
        let pinned = Arc::new(pinned.await?);
        let engine = LocalFileSystem::new_with_prefix(&root).map_err(|error| fault::engine(operation, &error))?;
        Ok(Self { root: root.into(), pinned, engine: Arc::new(engine), uploads: AtomicU64::new(0), _lock: lock })
    }

    fn file(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join(BLOBS).join(storage::shard(&hex)).join(hex)
    }

    /// Runs blocking work on the root folder and the file of a blob.
    async fn with_file<T: Send + 'static>(
        &self,
        operation: &'static str,
        digest: Digest,
        work: impl FnOnce(&Path, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BlobError> {
        let file = self.file(digest);
        self.in_place(operation, move |root| work(root, &file)).await
    }

    /// Runs blocking work on the root folder. Returns [`BlobError::Moved`] if the folder at its path is no longer the
    /// one that was opened.
    async fn in_place<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BlobError> {
        let (root, pinned) = (self.root.clone(), self.pinned.clone());
        let done = blocking(operation, move || {
            let is_in_place = || pinned.iter().try_fold(true, |all, one| Ok::<_, io::Error>(one.is_in_place()? && all));
            if !is_in_place()? {
                return Ok(None);
            }
            let done = work(&root);
            // If another folder has replaced it during the work, the result does not count, be it a success or a
            // failure.
            if is_in_place()? { done.map(Some) } else { Ok(None) }
        });
        done.await?.ok_or(BlobError::Moved)
    }
}

#[async_trait]
impl ObjectStorage for Folder {
    fn kind(&self) -> &'static str {
        "files"
    }

    fn engine(&self) -> &Arc<dyn ObjectStore> {
        &self.engine
    }

    async fn check_not_moved(&self) -> Result<(), BlobError> {
        // If the staging folder was removed, the engine would create it again with access for other users.
        self.in_place("write a blob", |root| make_folder(&root.join(STAGING))).await
    }

    async fn check_free_space(&self) -> Result<(), BlobError> {
        let probe = |root: &Path| {
            make_folder(&root.join(STAGING))?;
            write_probe(&root.join(STAGING).join("probe"))
        };
        self.in_place("write a blob", probe).await
    }

    fn part_bytes(&self) -> usize {
        1 << 20
    }

    fn upload_target(&self, _: Digest) -> UploadTarget {
        let name = self.uploads.fetch_add(1, Ordering::Relaxed).to_string();
        let staged = StagedFile(Some(self.root.join(STAGING).join(&name)));
        UploadTarget { path: [STAGING, &name].into_iter().collect(), staged: Some(staged) }
    }

    async fn publish_in_memory(&self, digest: Digest, content: PutPayload) -> Result<Option<bool>, BlobError> {
        let target = self.upload_target(digest);
        let staged = self.root.join(target.path.as_ref());
        self.with_file("write a blob", digest, move |root, file| {
            let mut written = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged) {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => {
                    // The staging folder was removed, or has an entry of this name. The caller then uses the engine,
                    // which handles both once the folder exists.
                    make_folder(&root.join(STAGING))?;
                    target.disarm();
                    return Ok(None);
                }
                opened => opened?,
            };
            for piece in content.iter() {
                written.write_all(piece)?;
            }
            let existed = quarantine_wrong_size(root, file, content.content_length() as u64)?;
            let replaced = publish(&written, &staged, file)?;
            target.disarm();
            Ok(Some((existed, replaced)))
        })
        .await
        .map(|published| published.map(|(existed, replaced)| replaced.close(existed)))
    }

    async fn publish(&self, digest: Digest, target: UploadTarget) -> Result<(), BlobError> {
        let staged = self.root.join(target.path.as_ref());
        self.with_file("store a blob", digest, move |_, file| {
            let content = OpenOptions::new().read(true).custom_flags(no_follow()).open(&staged)?;
            content.set_permissions(Permissions::from_mode(0o600))?;
            let replaced = publish(&content, &staged, file)?;
            target.disarm();
            Ok(replaced)
        })
        .await
        .map(|replaced| replaced.close(()))
    }

    async fn quarantine_wrong_size(&self, digest: Digest, bytes: u64) -> Result<bool, BlobError> {
        self.with_file("quarantine a damaged blob", digest, move |root, file| quarantine_wrong_size(root, file, bytes))
            .await
    }

    async fn open(&self, digest: Digest) -> Result<OpenOutcome, BlobError> {
        let found = self.with_file("read a blob", digest, |_, file| metadata_of(file)).await?;
        match found {
            None => return Ok(OpenOutcome::Missing),
            Some(metadata) if !metadata.is_file() => return Ok(OpenOutcome::NotAFile),
            Some(_) => {}
        }
        let hex = digest.hex();
        let path = BLOBS.split('/').chain([storage::shard(&hex), &hex]).collect();
        match self.engine.get(&path).await {
            Ok(object) => Ok(OpenOutcome::Object(object)),
            Err(object_store::Error::NotFound { .. }) => {
                self.check_not_moved().await?;
                Ok(OpenOutcome::Missing)
            }
            Err(error) => Err(fault::engine("read a blob", &error)),
        }
    }

    async fn size(&self, digest: Digest) -> Result<Option<u64>, BlobError> {
        let bytes = |metadata: fs::Metadata| metadata.is_file().then_some(metadata.len());
        self.with_file("look for a blob", digest, move |_, file| Ok(metadata_of(file)?.and_then(bytes))).await
    }

    /// A folder under the name of a blob is quarantined, because this store never deletes a folder that it did not
    /// create.
    async fn remove(&self, digest: Digest) -> Result<(), BlobError> {
        self.with_file("remove a blob", digest, |root, file| {
            match metadata_of(file)? {
                Some(metadata) if metadata.is_dir() => return move_to_quarantine(root, file),
                Some(_) => fs::remove_file(file)?,
                None => {}
            }
            // Also if the file is missing: an earlier removal may not be synced yet.
            sync_parent(file)
        })
        .await
    }

    async fn quarantine(&self, digest: Digest) -> Result<(), BlobError> {
        self.with_file("quarantine a damaged blob", digest, move_to_quarantine).await
    }

    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), BlobError>> {
        stream::iter(shards())
            .then(move |shard| {
                self.in_place("list the blobs", move |root| list_shard(&root.join(BLOBS).join(&shard), &shard))
            })
            .flat_map(flatten)
            .boxed()
    }

    fn list_quarantined(&self) -> BoxStream<'_, Result<Digest, BlobError>> {
        let listed = self.in_place("list the quarantine", |root| {
            names(&root.join(QUARANTINE))?
                .map(|name| Ok(name?.1.get(..64).and_then(storage::digest_from_hex)))
                .filter_map(io::Result::transpose)
                .collect()
        });
        stream::once(listed).flat_map(flatten).boxed()
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder").finish_non_exhaustive()
    }
}

/// A file in the staging folder. It is removed when this is dropped.
pub(super) struct StagedFile(Option<PathBuf>);

impl Drop for StagedFile {
    fn drop(&mut self) {
        let Some(path) = self.0.take() else { return };
        let remove = move || {
            let _ = fs::remove_file(&path);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

impl UploadTarget {
    /// Drops the target without removing the file, which was renamed or is not ours.
    fn disarm(mut self) {
        if let Some(StagedFile(path)) = &mut self.staged {
            *path = None;
        }
    }
}

/// A file that was replaced by another one with the same content, still open.
///
/// The file system frees the blocks of a file when its last name and its last handle are gone. Replacing a file of 500
/// kB on ext4 takes 3.1 ms for this reason, and creating one takes 2.4 ms. The difference would reveal to a client that
/// another workspace has the content. The handle is therefore closed in the background.
struct ReplacedFile(#[allow(dead_code, reason = "held until it is dropped")] Option<File>);

impl ReplacedFile {
    fn open(file: &Path) -> Self {
        Self(OpenOptions::new().read(true).custom_flags(no_follow()).open(file).ok())
    }

    /// Closes the file without making the caller wait. Returns `result`.
    fn close<T>(self, result: T) -> T {
        drop(tokio::task::spawn_blocking(move || drop(self)));
        result
    }
}

/// Renames a completely written file to the name of its blob, durably. Returns the replaced file.
fn publish(content: &File, staged: &Path, file: &Path) -> io::Result<ReplacedFile> {
    content.sync_all()?;
    let replaced = ReplacedFile::open(file);
    match fs::rename(staged, file) {
        // The folder was removed after opening. It is created again, as the next start would do.
        Err(error) if error.kind() == ErrorKind::NotFound && staged.exists() => {
            let folder = parent(file)?;
            make_folder(folder)?;
            sync_folder(parent(folder)?)?;
            fs::rename(staged, file)?;
        }
        renamed => renamed?,
    }
    sync_parent(file)?;
    Ok(replaced)
}

async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, BlobError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(fault::io(operation)),
        Err(_) => Err(fault::interrupted(operation)),
    }
}

/// Converts the result of a listing into a stream: of all items, or of one error.
fn flatten<T: Send + 'static>(listed: Result<Vec<T>, BlobError>) -> BoxStream<'static, Result<T, BlobError>> {
    match listed {
        Ok(all) => stream::iter(all.into_iter().map(Ok)).boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    }
}

/// Creates all folders and empties the staging folder. No folder must then be created and synced while a blob is
/// stored.
fn create_folders(root: &Path) -> io::Result<()> {
    let (blobs, staging, aside) = (root.join(BLOBS), root.join(STAGING), root.join(QUARANTINE));
    let above = parent(&blobs)?;
    for folder in [above, &blobs, &staging, &aside] {
        make_folder(folder)?;
    }
    for shard in shards() {
        make_folder(&blobs.join(shard))?;
    }
    for entry in fs::read_dir(&staging)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
        }
    }
    for folder in [&blobs, above, root] {
        sync_folder(folder)?;
    }
    Ok(())
}

/// Creates a folder. Succeeds if it exists, and fails if the name is taken by anything else, including a link to a
/// folder.
fn make_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if fs::symlink_metadata(path)?.is_dir() {
                Ok(())
            } else {
                Err(ErrorKind::NotADirectory.into())
            }
        }
        created => created,
    }
}

fn shards() -> impl Iterator<Item = String> + Send {
    (0..=u8::MAX).map(|byte| format!("{byte:02x}"))
}

/// Returns the metadata of an entry without following a link, or `None` if there is no entry.
fn metadata_of(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// Moves an entry that is not a file of this size to the quarantine. Returns `true` if there is a file of this size.
fn quarantine_wrong_size(root: &Path, file: &Path, bytes: u64) -> io::Result<bool> {
    match metadata_of(file)? {
        Some(metadata) if metadata.is_file() && metadata.len() == bytes => return Ok(true),
        Some(_) => move_to_quarantine(root, file)?,
        None => {}
    }
    Ok(false)
}

/// Moves an entry to a free name in the quarantine.
fn move_to_quarantine(root: &Path, file: &Path) -> io::Result<()> {
    let folder = root.join(QUARANTINE);
    let name = file.file_name().unwrap_or_default();
    let mut free = folder.join(name);
    for number in 1..=MAX_QUARANTINED_COPIES {
        if metadata_of(&free)?.is_none() {
            break;
        }
        free.set_file_name(name);
        free.set_extension(number.to_string());
    }
    match fs::rename(file, &free) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        moved => moved?,
    }
    sync_folder(&folder)?;
    sync_parent(file)
}

/// Writes and removes a small file.
fn write_probe(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).custom_flags(no_follow()).open(path)?;
    fs::remove_file(path)?;
    file.write_all(&[0; PROBE_BYTES])
}

/// Returns all entries of a shard folder whose name is a digest of the shard, of any file type, with their sizes in
/// bytes.
fn list_shard(folder: &Path, shard: &str) -> io::Result<Vec<(Digest, u64)>> {
    let mut listed = Vec::new();
    for entry in names(folder)? {
        let (entry, name) = entry?;
        let Some(digest) = storage::digest_from_hex(&name).filter(|_| name.starts_with(shard)) else { continue };
        if let Some(metadata) = metadata_of(&entry.path())? {
            listed.push((digest, metadata.len()));
        }
    }
    Ok(listed)
}

/// Returns the entries of a folder with their names. A missing folder has no entries.
fn names(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<(fs::DirEntry, String)>> + use<>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        entries => Some(entries?),
    };
    Ok(entries.into_iter().flatten().map(|entry| {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        Ok((entry, name))
    }))
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| ErrorKind::NotFound.into())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    sync_folder(parent(path)?)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Returns flags for opening a file: a link is refused, and a pipe does not block.
#[allow(clippy::cast_possible_wrap, reason = "flags, as the system spells them")]
fn no_follow() -> i32 {
    (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits() as i32
}
