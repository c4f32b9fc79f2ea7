//! The compile cache: machine code on disk, made by this host and believed only if it proves it.
//!
//! Every entry ends in a keyed hash (BLAKE3) over its name and content, under a key that lies beside
//! it for its owner alone. The file that was proved is the file that is mapped: by its descriptor,
//! never again by its name, and nothing here ever writes to a file that has its name. What does not
//! prove itself is removed and compiled again.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use blake3::{Hash, Hasher};

use super::CompiledKey;

const PROOF_BYTES: usize = blake3::OUT_LEN;
/// What is read of an entry at a time while it is proved: fits the nearest caches.
const CHUNK_BYTES: usize = 128 << 10;
const KEY_FILE: &str = "key";

/// A folder of compiled components.
pub struct CompileCache {
    folder: PathBuf,
    key: [u8; 32],
    written: AtomicU64,
}

/// Neither the place nor the key is for logs.
impl std::fmt::Debug for CompileCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompileCache").finish_non_exhaustive()
    }
}

/// Why a folder cannot be a cache. Compiling works without one.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Others than its owner may read or write it.
    #[error("the compile cache's folder is open to others than its owner")]
    NotPrivate,
    /// Something else has its name.
    #[error("the compile cache's folder is no folder")]
    NotAFolder,
    /// Its key has another form than this program writes.
    #[error("the compile cache's key is damaged")]
    DamagedKey,
    /// The system refuses.
    #[error("the compile cache's folder cannot be used")]
    Io(#[from] std::io::Error),
}

impl CacheError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotPrivate => "cache_not_private",
            Self::NotAFolder => "cache_not_a_folder",
            Self::DamagedKey => "cache_damaged",
            Self::Io(_) => "cache_unavailable",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotPrivate => "take away the access of group and others (`chmod 700`), or name another folder",
            Self::NotAFolder => "name a folder, or a place where there is nothing yet; links are not followed",
            Self::DamagedKey => "remove the folder; it is made again",
            Self::Io(_) => "name a folder that this user may write",
        }
    }
}

impl CompileCache {
    /// Opens a cache, and makes it where there is none. The folder must be its owner's alone.
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        make_private_folder(folder)?;
        let key = match read_key(folder)? {
            Some(key) => key,
            None => make_key(folder)?,
        };
        Ok(Self { folder: folder.to_owned(), key, written: AtomicU64::new(0) })
    }

    fn entry(&self, key: &CompiledKey) -> PathBuf {
        self.folder.join(format!("{}-{:016x}.cwasm", key.component.hex(), key.engine))
    }

    /// The proof of what was hashed. The name comes last and has always the same length: content
    /// that begins at a whole block hashes faster.
    fn proof(mut content: Hasher, key: &CompiledKey) -> Hash {
        content.update(key.component.as_bytes()).update(&key.engine.to_le_bytes()).finalize()
    }

    /// The compiled code of that key, if there is any that proves itself. What does not is removed.
    pub fn get(&self, key: &CompiledKey, most_bytes: u64) -> Option<Entry> {
        let path = self.entry(key);
        let mut file = File::open(&path).ok()?;
        let proved = file.metadata().ok()?;
        if proved.len() > most_bytes.saturating_add(PROOF_BYTES as u64) {
            // Another run may allow it.
            return None;
        }
        match self.prove(key, &mut file, proved.len()) {
            Ok(Some(bytes)) => Some(Entry { file, bytes, proved }),
            Ok(None) => {
                let _ = fs::remove_file(&path);
                None
            }
            // What could not be read now says nothing about the entry.
            Err(_) => None,
        }
    }

    /// The same code in memory of its own, proved there once more: for where it cannot be mapped.
    pub(crate) fn copy(&self, key: &CompiledKey, entry: &mut Entry) -> Option<Vec<u8>> {
        entry.file.seek(SeekFrom::Start(0)).ok()?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut entry.file).take(entry.bytes + PROOF_BYTES as u64).read_to_end(&mut bytes).ok()?;
        let length = u64::try_from(bytes.len()).ok()?;
        self.prove(key, bytes.as_slice(), length).ok()??;
        bytes.truncate(bytes.len().checked_sub(PROOF_BYTES)?);
        Some(bytes)
    }

    /// Reads an entry of so many bytes, and says how many of them are compiled code, where they prove
    /// themselves.
    fn prove(&self, key: &CompiledKey, mut entry: impl Read, length: u64) -> std::io::Result<Option<u64>> {
        let Some(bytes) = length.checked_sub(PROOF_BYTES as u64) else { return Ok(None) };
        let mut hasher = Hasher::new_keyed(&self.key);
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut left = bytes;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let read = entry.read(chunk.get_mut(..most).unwrap_or_default())?;
            if read == 0 {
                return Ok(None);
            }
            hasher.update(chunk.get(..read).unwrap_or_default());
            left = left.saturating_sub(read as u64);
        }
        let mut claimed = [0; PROOF_BYTES];
        match entry.read_exact(&mut claimed) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        // Hashes compare in constant time.
        Ok((Self::proof(hasher, key) == Hash::from_bytes(claimed)).then_some(bytes))
    }

    /// Keeps compiled code. An entry appears whole or not at all; where it cannot be written, there
    /// is none and the next process compiles again.
    pub fn put(&self, key: &CompiledKey, compiled: &[u8]) -> std::io::Result<()> {
        let mut hasher = Hasher::new_keyed(&self.key);
        hasher.update(compiled);
        let proof = Self::proof(hasher, key);
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.folder.join(format!("{}-{}-{number}.tmp", key.component.hex(), std::process::id()));
        let write = || {
            let mut file = private_file(&unfinished)?;
            file.write_all(compiled)?;
            file.write_all(proof.as_bytes())?;
            // It is mapped by whoever runs it, so its content never changes: not even by mistake.
            let mut permissions = file.metadata()?.permissions();
            permissions.set_readonly(true);
            file.set_permissions(permissions)?;
            // A torn entry would not prove itself, so it need not be on the disk before its name is.
            fs::rename(&unfinished, self.entry(key))
        };
        write().inspect_err(|_| {
            let _ = fs::remove_file(&unfinished);
        })
    }
}

/// Compiled code that has proved itself: an open file.
#[derive(Debug)]
pub struct Entry {
    file: File,
    bytes: u64,
    proved: fs::Metadata,
}

impl Entry {
    /// A path that opens this very file and no other, where the system has such paths.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd;
            Some(PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd())))
        }
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// Whether nobody touched the file since before it was proved. Its owner alone could.
    pub(crate) fn is_unchanged(&self) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let touched = |metadata: &fs::Metadata| (metadata.size(), metadata.ctime(), metadata.ctime_nsec());
            self.file.metadata().is_ok_and(|now| touched(&now) == touched(&self.proved))
        }
        #[cfg(not(unix))]
        false
    }
}

fn read_key(folder: &Path) -> Result<Option<[u8; 32]>, CacheError> {
    let file = match File::open(folder.join(KEY_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    file.take(33).read_to_end(&mut bytes)?;
    bytes.try_into().map(Some).map_err(|_| CacheError::DamagedKey)
}

/// Two processes may come at once: a key appears whole under its name, and the first one stays.
fn make_key(folder: &Path) -> Result<[u8; 32], CacheError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(std::io::Error::from)?;
    let unfinished = folder.join(format!("{KEY_FILE}-{}.tmp", std::process::id()));
    let mut file = private_file(&unfinished)?;
    file.write_all(&key)?;
    file.sync_all()?;
    let linked = fs::hard_link(&unfinished, folder.join(KEY_FILE));
    fs::remove_file(&unfinished)?;
    match linked {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => read_key(folder)?.ok_or(CacheError::DamagedKey),
        Err(error) => Err(error.into()),
    }
}

#[cfg(unix)]
fn make_private_folder(folder: &Path) -> Result<(), CacheError> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    let metadata = fs::symlink_metadata(folder)?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    match metadata.is_dir() {
        false => Err(CacheError::NotAFolder),
        true if ours && metadata.mode() & 0o077 == 0 => Ok(()),
        true => Err(CacheError::NotPrivate),
    }
}

#[cfg(not(unix))]
fn make_private_folder(folder: &Path) -> Result<(), CacheError> {
    Ok(fs::create_dir_all(folder)?)
}

fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    match options.open(path) {
        // What a process of the same number left behind when it died.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            options.open(path)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundles::Digest;

    fn key(text: &str) -> CompiledKey {
        CompiledKey { component: Digest::of(text), engine: 7 }
    }

    fn cache() -> (tempfile::TempDir, CompileCache) {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = CompileCache::open(&folder.path().join("cache")).expect("a cache");
        (folder, cache)
    }

    /// What is kept may not be written, which a superuser may all the same.
    fn make_writable(path: &Path) {
        let mut permissions = fs::metadata(path).expect("metadata").permissions();
        assert!(permissions.readonly());
        #[allow(clippy::permissions_set_readonly_false, reason = "of a file that the next line breaks")]
        permissions.set_readonly(false);
        fs::set_permissions(path, permissions).expect("set");
    }

    fn content(cache: &CompileCache, key: &CompiledKey) -> Option<Vec<u8>> {
        let mut entry = cache.get(key, 1000)?;
        assert!(entry.is_unchanged());
        if let Some(path) = entry.path() {
            let mapped = fs::read(path).expect("its own path");
            assert_eq!(Some(&mapped[..mapped.len() - PROOF_BYTES]), cache.copy(key, &mut entry).as_deref());
        }
        cache.copy(key, &mut entry)
    }

    #[test]
    fn what_was_put_comes_back_in_another_process() {
        let (folder, cache) = cache();
        cache.put(&key("a"), b"machine code").expect("written");
        let again = CompileCache::open(&folder.path().join("cache")).expect("a cache");
        assert_eq!(content(&again, &key("a")).as_deref(), Some(b"machine code".as_slice()));
        assert_eq!(content(&again, &key("b")), None);
    }

    #[test]
    fn an_entry_with_any_byte_flipped_is_removed_and_never_returned() {
        let (_folder, cache) = cache();
        for index in 0..b"code".len() + PROOF_BYTES {
            cache.put(&key("a"), b"code").expect("written");
            let entry = cache.entry(&key("a"));
            let mut bytes = fs::read(&entry).expect("there");
            bytes[index] ^= 1;
            make_writable(&entry);
            fs::write(&entry, bytes).expect("written");
            assert_eq!(content(&cache, &key("a")), None, "byte {index}");
            assert!(!entry.exists());
        }
    }

    #[test]
    fn an_entry_of_another_component_engine_or_host_is_not_believed() {
        let (_folder, cache) = cache();
        let (_other_folder, other) = self::cache();
        cache.put(&key("a"), b"code").expect("written");
        fs::copy(cache.entry(&key("a")), cache.entry(&key("b"))).expect("copied");
        assert_eq!(content(&cache, &key("b")), None);
        let newer = CompiledKey { engine: 8, ..key("a") };
        fs::copy(cache.entry(&key("a")), cache.entry(&newer)).expect("copied");
        assert_eq!(content(&cache, &newer), None);
        fs::copy(cache.entry(&key("a")), other.entry(&key("a"))).expect("copied");
        assert_eq!(content(&other, &key("a")), None);
        assert!(content(&cache, &key("a")).is_some());
    }

    #[test]
    fn an_entry_that_is_cut_short_or_goes_on_is_removed() {
        let (_folder, cache) = cache();
        for length in [0, 1, PROOF_BYTES - 1, PROOF_BYTES, PROOF_BYTES + 3, PROOF_BYTES + 5] {
            cache.put(&key("a"), b"code").expect("written");
            let entry = cache.entry(&key("a"));
            let mut bytes = fs::read(&entry).expect("there");
            bytes.resize(length, 0);
            fs::remove_file(&entry).expect("removed");
            fs::write(&entry, bytes).expect("written");
            assert_eq!(content(&cache, &key("a")), None, "{length} bytes");
            assert!(!entry.exists());
        }
    }

    #[test]
    fn an_entry_that_is_longer_than_what_is_read_at_a_time_comes_back() {
        let (_folder, cache) = cache();
        for length in [CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 7] {
            let code: Vec<u8> = (0..length).map(|index| index as u8).collect();
            cache.put(&key("a"), &code).expect("written");
            let mut entry = cache.get(&key("a"), 1 << 20).expect("proved");
            assert_eq!(cache.copy(&key("a"), &mut entry), Some(code));
        }
    }

    #[test]
    fn a_file_that_is_touched_after_its_proof_is_noticed_and_a_changed_one_is_not_copied() {
        let (_folder, cache) = cache();
        cache.put(&key("a"), b"code").expect("written");
        let mut entry = cache.get(&key("a"), 1000).expect("proved");
        let path = cache.entry(&key("a"));
        make_writable(&path);
        fs::write(&path, [0; 4 + PROOF_BYTES]).expect("written");
        assert!(!entry.is_unchanged());
        assert_eq!(cache.copy(&key("a"), &mut entry), None);
    }

    #[test]
    fn an_entry_that_is_too_large_for_one_run_is_kept_for_others() {
        let (_folder, cache) = cache();
        cache.put(&key("a"), &[0; 2000]).expect("written");
        assert!(cache.get(&key("a"), 2000).is_some());
        assert_eq!(content(&cache, &key("a")), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_is_open_to_others_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cache");
        fs::create_dir(&path).expect("made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).expect("set");
        assert!(matches!(CompileCache::open(&path), Err(CacheError::NotPrivate)));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("set");
        let cache = CompileCache::open(&path).expect("a cache");
        cache.put(&key("a"), b"code").expect("written");
        for entry in fs::read_dir(&path).expect("read") {
            let mode = entry.expect("an entry").metadata().expect("metadata").permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
        std::os::unix::fs::symlink(&path, folder.path().join("link")).expect("linked");
        assert!(matches!(CompileCache::open(&folder.path().join("link")), Err(CacheError::NotAFolder)));
        fs::write(folder.path().join("file"), "no folder").expect("written");
        assert!(matches!(CompileCache::open(&folder.path().join("file")), Err(CacheError::NotAFolder)));
    }
}
