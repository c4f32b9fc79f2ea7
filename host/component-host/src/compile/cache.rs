//! The compile cache: machine code on disk that this host has compiled.
//!
//! Every entry ends with a MAC (keyed BLAKE3) over its content and name. The key is a file in the same
//! folder that only its owner can read. A verified file is mapped through its open descriptor, not by its
//! name, and a file is never written after it got its name. An entry with a wrong MAC is removed and
//! compiled again.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use blake3::{Hash, Hasher};
use error_code::Code;

use super::CompiledKey;

const MAC_BYTES: usize = blake3::OUT_LEN;
/// Bytes of an entry that are read and hashed at a time. They fit into the CPU caches.
const CHUNK_BYTES: usize = 128 << 10;
const KEY_FILE: &str = "key";

/// A folder of compiled components.
pub struct CompileCache {
    folder: PathBuf,
    key: [u8; 32],
}

/// Omits the folder and the key, which must not appear in logs.
impl std::fmt::Debug for CompileCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompileCache").finish_non_exhaustive()
    }
}

/// Error returned for a folder that cannot be used as a cache. A sandbox works without a cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Users other than the owner can access the folder, or it belongs to another user.
    #[error("the folder of the compile cache is accessible to other users")]
    NotPrivate,
    /// The path exists and is not a folder.
    #[error("the path of the compile cache is not a folder")]
    NotAFolder,
    /// The key file does not hold 32 bytes.
    #[error("the key of the compile cache is damaged")]
    DamagedKey,
    /// An input or output operation failed.
    #[error("failed to use the folder of the compile cache")]
    Io(#[from] std::io::Error),
}

impl CacheError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::NotPrivate => Code::CacheNotPrivate,
            Self::NotAFolder => Code::CacheNotAFolder,
            Self::DamagedKey => Code::CacheDamaged,
            Self::Io(_) => Code::CacheUnavailable,
        }
    }

    /// Returns a help line for the user.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotPrivate => "remove the access of group and others (`chmod 700`), or choose another folder",
            Self::NotAFolder => "choose a folder or a path that does not exist yet; symbolic links are not followed",
            Self::DamagedKey => "remove the folder; it is created again",
            Self::Io(_) => "choose a folder that this user can write to",
        }
    }
}

impl CompileCache {
    /// Opens a cache and creates it if it does not exist. Only the owner may have access to the folder.
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        create_private_folder(folder)?;
        let key = match read_key(folder)? {
            Some(key) => key,
            None => create_key(folder)?,
        };
        Ok(Self { folder: folder.to_owned(), key })
    }

    fn entry_path(&self, key: &CompiledKey) -> PathBuf {
        self.folder.join(format!("{}-{:016x}.cwasm", key.component.hex(), key.engine))
    }

    /// Finishes the MAC of an entry. The name comes last, because content that starts at a block boundary
    /// hashes faster. The name has a fixed length, so the input is unambiguous.
    fn mac(mut content: Hasher, key: &CompiledKey) -> Hash {
        content.update(key.component.as_bytes()).update(&key.engine.to_le_bytes()).finalize()
    }

    /// Returns the compiled code of `key` if it has at most `max_bytes` and its MAC is valid. An entry with a
    /// wrong MAC is removed.
    pub fn get(&self, key: &CompiledKey, max_bytes: u64) -> Option<CacheEntry> {
        let path = self.entry_path(key);
        let mut file = File::open(&path).ok()?;
        let metadata = file.metadata().ok()?;
        if metadata.len() > max_bytes.saturating_add(MAC_BYTES as u64) {
            // The entry stays, because another process may have a larger limit.
            return None;
        }
        match self.verify(key, &mut file, metadata.len()) {
            Ok(Some(bytes)) => Some(CacheEntry { file, bytes, metadata }),
            Ok(None) => {
                let _ = fs::remove_file(&path);
                None
            }
            // A read error says nothing about the entry, so it stays.
            Err(_) => None,
        }
    }

    /// Copies an entry that cannot be mapped into memory, and verifies the copy again.
    pub(crate) fn copy(&self, key: &CompiledKey, entry: &mut CacheEntry) -> Option<Vec<u8>> {
        entry.file.seek(SeekFrom::Start(0)).ok()?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut entry.file).take(entry.bytes + MAC_BYTES as u64).read_to_end(&mut bytes).ok()?;
        let length = u64::try_from(bytes.len()).ok()?;
        self.verify(key, bytes.as_slice(), length).ok()??;
        bytes.truncate(bytes.len().checked_sub(MAC_BYTES)?);
        Some(bytes)
    }

    /// Reads an entry of `length` bytes and returns the number of bytes before the MAC; `None` if the entry is
    /// too short or its MAC is wrong.
    fn verify(&self, key: &CompiledKey, mut entry: impl Read, length: u64) -> std::io::Result<Option<u64>> {
        let Some(bytes) = length.checked_sub(MAC_BYTES as u64) else { return Ok(None) };
        let mut hasher = Hasher::new_keyed(&self.key);
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut left = bytes;
        while left > 0 {
            let size = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let read = entry.read(chunk.get_mut(..size).unwrap_or_default())?;
            if read == 0 {
                return Ok(None);
            }
            hasher.update(chunk.get(..read).unwrap_or_default());
            left = left.saturating_sub(read as u64);
        }
        let mut stored_mac = [0; MAC_BYTES];
        match entry.read_exact(&mut stored_mac) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        // `blake3::Hash` compares in constant time.
        Ok((Self::mac(hasher, key) == Hash::from_bytes(stored_mac)).then_some(bytes))
    }

    /// Stores compiled code. The entry appears atomically.
    pub fn put(&self, key: &CompiledKey, compiled: &[u8]) -> std::io::Result<()> {
        let mut hasher = Hasher::new_keyed(&self.key);
        hasher.update(compiled);
        let mac = Self::mac(hasher, key);
        let (mut file, unfinished) = create_private_file(&self.folder)?;
        let mut write = || {
            file.write_all(compiled)?;
            file.write_all(mac.as_bytes())?;
            // Read-only, because other processes map the file and a change would change their running code.
            let mut permissions = file.metadata()?.permissions();
            permissions.set_readonly(true);
            file.set_permissions(permissions)?;
            // No sync before the rename: an entry torn by a crash has a wrong MAC.
            fs::rename(&unfinished, self.entry_path(key))
        };
        write().inspect_err(|_| {
            let _ = fs::remove_file(&unfinished);
        })
    }
}

/// Verified compiled code in an open file.
#[derive(Debug)]
pub struct CacheEntry {
    file: File,
    /// Length of the code without the MAC.
    bytes: u64,
    /// Metadata of the file before it was verified.
    metadata: fs::Metadata,
}

impl CacheEntry {
    /// Returns a path that refers to the open file itself; `None` on systems other than Linux.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd;
            Some(PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd())))
        }
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// `true` if the file was not changed since before it was verified. Only its owner can change it.
    pub(crate) fn is_unchanged(&self) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let version = |metadata: &fs::Metadata| (metadata.size(), metadata.ctime(), metadata.ctime_nsec());
            self.file.metadata().is_ok_and(|now| version(&now) == version(&self.metadata))
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

/// Creates the key. If two openers do so at the same time, the hard link makes one of them win atomically,
/// and the other reads the winner's key.
fn create_key(folder: &Path) -> Result<[u8; 32], CacheError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(std::io::Error::from)?;
    let (mut file, unfinished) = create_private_file(folder)?;
    let written = file.write_all(&key).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&unfinished, folder.join(KEY_FILE)));
    fs::remove_file(&unfinished)?;
    match linked {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => read_key(folder)?.ok_or(CacheError::DamagedKey),
        Err(error) => Err(error.into()),
    }
}

#[cfg(unix)]
fn create_private_folder(folder: &Path) -> Result<(), CacheError> {
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
fn create_private_folder(folder: &Path) -> Result<(), CacheError> {
    Ok(fs::create_dir_all(folder)?)
}

/// Creates a file for content that is not complete yet, and returns it with its path. The name is random: a process in
/// another container may have the same process id.
fn create_private_file(folder: &Path) -> std::io::Result<(File, PathBuf)> {
    let mut name = [0; 16];
    getrandom::fill(&mut name).map_err(std::io::Error::from)?;
    let path = folder.join(format!("{:032x}.tmp", u128::from_ne_bytes(name)));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    Ok((options.open(&path)?, path))
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

    /// Makes a stored entry writable.
    fn make_writable(path: &Path) {
        let mut permissions = fs::metadata(path).expect("metadata").permissions();
        assert!(permissions.readonly());
        #[allow(clippy::permissions_set_readonly_false, reason = "the test corrupts the file afterwards")]
        permissions.set_readonly(false);
        fs::set_permissions(path, permissions).expect("set");
    }

    fn content(cache: &CompileCache, key: &CompiledKey) -> Option<Vec<u8>> {
        let mut entry = cache.get(key, 1000)?;
        assert!(entry.is_unchanged());
        if let Some(path) = entry.path() {
            let mapped = fs::read(path).expect("its own path");
            assert_eq!(Some(&mapped[..mapped.len() - MAC_BYTES]), cache.copy(key, &mut entry).as_deref());
        }
        cache.copy(key, &mut entry)
    }

    #[test]
    fn entry_is_found_through_a_second_cache_of_the_same_folder() {
        let (folder, cache) = cache();
        cache.put(&key("a"), b"machine code").expect("written");
        let again = CompileCache::open(&folder.path().join("cache")).expect("a cache");
        assert_eq!(content(&again, &key("a")).as_deref(), Some(b"machine code".as_slice()));
        assert_eq!(content(&again, &key("b")), None);
    }

    #[test]
    fn caches_that_are_opened_at_once_have_one_key() {
        for _ in 0..50 {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("cache");
            let start = std::sync::Barrier::new(4);
            let open = || {
                start.wait();
                CompileCache::open(&path).expect("a cache").key
            };
            let keys = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
                threads.into_iter().map(|thread| thread.join().expect("a key")).collect::<Vec<_>>()
            });
            assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
            assert_eq!(fs::read_dir(&path).expect("a folder").count(), 1, "only the key is left");
        }
    }

    #[test]
    fn entry_with_any_byte_flipped_is_removed_and_not_returned() {
        let (_folder, cache) = cache();
        for index in 0..b"code".len() + MAC_BYTES {
            cache.put(&key("a"), b"code").expect("written");
            let entry = cache.entry_path(&key("a"));
            let mut bytes = fs::read(&entry).expect("there");
            bytes[index] ^= 1;
            make_writable(&entry);
            fs::write(&entry, bytes).expect("written");
            assert_eq!(content(&cache, &key("a")), None, "byte {index}");
            assert!(!entry.exists());
        }
    }

    #[test]
    fn entry_of_another_component_engine_or_host_is_not_returned() {
        let (_folder, cache) = cache();
        let (_other_folder, other) = self::cache();
        cache.put(&key("a"), b"code").expect("written");
        fs::copy(cache.entry_path(&key("a")), cache.entry_path(&key("b"))).expect("copied");
        assert_eq!(content(&cache, &key("b")), None);
        let newer = CompiledKey { engine: 8, ..key("a") };
        fs::copy(cache.entry_path(&key("a")), cache.entry_path(&newer)).expect("copied");
        assert_eq!(content(&cache, &newer), None);
        fs::copy(cache.entry_path(&key("a")), other.entry_path(&key("a"))).expect("copied");
        assert_eq!(content(&other, &key("a")), None);
        assert!(content(&cache, &key("a")).is_some());
    }

    #[test]
    fn entry_that_is_too_short_or_too_long_is_removed() {
        let (_folder, cache) = cache();
        for length in [0, 1, MAC_BYTES - 1, MAC_BYTES, MAC_BYTES + 3, MAC_BYTES + 5] {
            cache.put(&key("a"), b"code").expect("written");
            let entry = cache.entry_path(&key("a"));
            let mut bytes = fs::read(&entry).expect("there");
            bytes.resize(length, 0);
            fs::remove_file(&entry).expect("removed");
            fs::write(&entry, bytes).expect("written");
            assert_eq!(content(&cache, &key("a")), None, "{length} bytes");
            assert!(!entry.exists());
        }
    }

    #[test]
    fn entry_longer_than_one_chunk_is_returned() {
        let (_folder, cache) = cache();
        for length in [CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 7] {
            let code: Vec<u8> = (0..length).map(|index| index as u8).collect();
            cache.put(&key("a"), &code).expect("written");
            let mut entry = cache.get(&key("a"), 1 << 20).expect("verified");
            assert_eq!(cache.copy(&key("a"), &mut entry), Some(code));
        }
    }

    #[test]
    fn file_changed_after_verification_is_detected_and_not_copied() {
        let (_folder, cache) = cache();
        cache.put(&key("a"), b"code").expect("written");
        let mut entry = cache.get(&key("a"), 1000).expect("verified");
        let path = cache.entry_path(&key("a"));
        make_writable(&path);
        fs::write(&path, [0; 4 + MAC_BYTES]).expect("written");
        assert!(!entry.is_unchanged());
        assert_eq!(cache.copy(&key("a"), &mut entry), None);
    }

    #[test]
    fn entry_above_the_size_limit_is_not_removed() {
        let (_folder, cache) = cache();
        cache.put(&key("a"), &[0; 2000]).expect("written");
        assert!(cache.get(&key("a"), 2000).is_some());
        assert_eq!(content(&cache, &key("a")), None);
    }

    #[cfg(unix)]
    #[test]
    fn folder_accessible_to_others_is_refused() {
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
