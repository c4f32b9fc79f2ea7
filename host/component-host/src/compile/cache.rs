//! The compile cache: machine code on disk, made by this host and believed only if it proves it.
//!
//! Every entry carries a keyed hash (HMAC-SHA-256) over its name and content, under a key that lies
//! beside it for its owner alone. It is checked over the bytes that are then loaded, so nothing can
//! change in between. What does not prove itself is removed and compiled again.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::CompiledKey;

const PROOF_BYTES: usize = 32;
const KEY_FILE: &str = "key";

/// A folder of compiled components.
#[derive(Debug)]
pub struct CompileCache {
    folder: PathBuf,
    key: [u8; 32],
    written: AtomicU64,
}

/// Why a folder cannot be a cache. Compiling works without one.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Others than its owner may read or write it.
    #[error("the compile cache's folder is open to others than its owner")]
    NotPrivate,
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
            Self::DamagedKey => "cache_damaged",
            Self::Io(_) => "cache_unavailable",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotPrivate => "take away the access of group and others (`chmod 700`), or name another folder",
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

    fn proof(&self, key: &CompiledKey, compiled: &[u8]) -> Option<Hmac<Sha256>> {
        let mut proof = <Hmac<Sha256> as Mac>::new_from_slice(&self.key).ok()?;
        proof.update(key.component.as_bytes());
        proof.update(&key.engine.to_le_bytes());
        proof.update(compiled);
        Some(proof)
    }

    /// The compiled code of that key, if there is any that proves itself. What does not is removed.
    pub fn get(&self, key: &CompiledKey, most_bytes: u64) -> Option<Vec<u8>> {
        let entry = self.entry(key);
        let mut bytes = Vec::new();
        let file = File::open(&entry).ok()?;
        let expected = file.metadata().ok()?.len().min(most_bytes);
        bytes.reserve_exact(usize::try_from(expected).ok()?.saturating_add(1));
        file.take(most_bytes.saturating_add(PROOF_BYTES as u64 + 1)).read_to_end(&mut bytes).ok()?;
        let proven =
            bytes.split_at_checked(bytes.len().saturating_sub(PROOF_BYTES)).is_some_and(|(compiled, claimed)| {
                self.proof(key, compiled).is_some_and(|proof| proof.verify_slice(claimed).is_ok())
            });
        if !proven {
            let _ = fs::remove_file(&entry);
            return None;
        }
        bytes.truncate(bytes.len() - PROOF_BYTES);
        Some(bytes)
    }

    /// Keeps compiled code. An entry appears whole or not at all; where it cannot be written, there
    /// is none and the next process compiles again.
    pub fn put(&self, key: &CompiledKey, compiled: &[u8]) -> std::io::Result<()> {
        let proof = self.proof(key, compiled).ok_or(ErrorKind::InvalidData)?.finalize().into_bytes();
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.folder.join(format!("{}-{}-{number}.tmp", key.component.hex(), std::process::id()));
        let write = || {
            let mut file = private_file(&unfinished)?;
            file.write_all(compiled)?;
            file.write_all(&proof)?;
            // A torn entry would not prove itself, so it need not be on the disk before its name is.
            fs::rename(&unfinished, self.entry(key))
        };
        write().inspect_err(|_| {
            let _ = fs::remove_file(&unfinished);
        })
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
    if metadata.is_dir() && ours && metadata.mode() & 0o077 == 0 { Ok(()) } else { Err(CacheError::NotPrivate) }
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

    #[test]
    fn what_was_put_comes_back_in_another_process() {
        let (folder, cache) = cache();
        cache.put(&key("a"), b"machine code").expect("written");
        let again = CompileCache::open(&folder.path().join("cache")).expect("a cache");
        assert_eq!(again.get(&key("a"), 1000).as_deref(), Some(b"machine code".as_slice()));
        assert_eq!(again.get(&key("b"), 1000), None);
    }

    #[test]
    fn an_entry_with_any_byte_flipped_is_removed_and_never_returned() {
        let (_folder, cache) = cache();
        for index in 0..b"code".len() + PROOF_BYTES {
            cache.put(&key("a"), b"code").expect("written");
            let entry = cache.entry(&key("a"));
            let mut bytes = fs::read(&entry).expect("there");
            bytes[index] ^= 1;
            fs::write(&entry, bytes).expect("written");
            assert_eq!(cache.get(&key("a"), 1000), None, "byte {index}");
            assert!(!entry.exists());
        }
    }

    #[test]
    fn an_entry_of_another_component_engine_or_host_is_not_believed() {
        let (_folder, cache) = cache();
        let (_other_folder, other) = self::cache();
        cache.put(&key("a"), b"code").expect("written");
        fs::copy(cache.entry(&key("a")), cache.entry(&key("b"))).expect("copied");
        assert_eq!(cache.get(&key("b"), 1000), None);
        let newer = CompiledKey { engine: 8, ..key("a") };
        fs::copy(cache.entry(&key("a")), cache.entry(&newer)).expect("copied");
        assert_eq!(cache.get(&newer, 1000), None);
        fs::copy(cache.entry(&key("a")), other.entry(&key("a"))).expect("copied");
        assert_eq!(other.get(&key("a"), 1000), None);
        assert!(cache.get(&key("a"), 1000).is_some());
    }

    #[test]
    fn an_entry_that_is_too_large_is_not_read() {
        let (_folder, cache) = cache();
        cache.put(&key("a"), &[0; 2000]).expect("written");
        assert_eq!(cache.get(&key("a"), 1000), None);
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
        assert!(matches!(CompileCache::open(&folder.path().join("link")), Err(CacheError::NotPrivate)));
    }
}
