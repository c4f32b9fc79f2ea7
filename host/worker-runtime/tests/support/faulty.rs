//! Stores that fail on command, like a disk, a bucket or a database.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bundles::Digest;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use worker_runtime::blob_store::{BlobCondition, BlobError, BlobSource, BlobStore, PutOutcome};
use worker_runtime::metadata::{Batch, CommitError, Key, MetadataError, MetadataStore, VersionedValue};

/// Fault of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The store does not answer.
    Unavailable,
    /// The store is full. Reads succeed.
    Full,
    /// The stored content is damaged.
    Damaged,
    /// Every commit conflicts. Reads succeed.
    Conflict,
}

/// A store that works until it is set to fail.
#[derive(Debug)]
pub struct Faulty<T: ?Sized> {
    fault: Mutex<Option<Fault>>,
    store: Arc<T>,
}

impl<T: ?Sized> Faulty<T> {
    pub fn new(store: Arc<T>) -> Self {
        Self { fault: Mutex::default(), store }
    }

    /// Sets the fault from now on. `None` makes the store work again.
    pub fn fails(&self, fault: impl Into<Option<Fault>>) {
        *self.fault.lock().expect("a fault") = fault.into();
    }

    fn fault(&self) -> Option<Fault> {
        *self.fault.lock().expect("a fault")
    }
}

impl Faulty<dyn BlobStore> {
    fn read(&self, digest: Digest) -> Result<(), BlobError> {
        match self.fault() {
            Some(Fault::Unavailable) => Err(BlobError::Unavailable { operation: "answer", kind: ErrorKind::TimedOut }),
            Some(Fault::Damaged) => Err(BlobError::Damaged(digest)),
            Some(Fault::Full | Fault::Conflict) | None => Ok(()),
        }
    }
}

#[async_trait]
impl BlobStore for Faulty<dyn BlobStore> {
    async fn put(&self, digest: Digest, source: BlobSource<'_>, max_bytes: u64) -> Result<PutOutcome, BlobError> {
        match self.fault() {
            Some(Fault::Full) => Err(BlobError::Full),
            Some(Fault::Unavailable) => self.read(digest).map(|()| unreachable!("it fails")),
            // A put repairs the content.
            _ => self.store.put(digest, source, max_bytes).await,
        }
    }

    async fn get(&self, digest: Digest, max_bytes: u64) -> Result<Bytes, BlobError> {
        self.read(digest)?;
        self.store.get(digest, max_bytes).await
    }

    async fn get_sized(&self, digest: Digest, bytes: u64) -> Result<Bytes, BlobError> {
        self.read(digest)?;
        self.store.get_sized(digest, bytes).await
    }

    async fn size(&self, digest: Digest) -> Result<Option<u64>, BlobError> {
        self.read(digest)?;
        self.store.size(digest).await
    }

    fn list(&self) -> BoxStream<'_, Result<(Digest, u64), BlobError>> {
        match self.read(Digest::of("")) {
            Ok(()) => self.store.list(),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn remove(&self, digest: Digest) -> Result<(), BlobError> {
        self.read(digest)?;
        self.store.remove(digest).await
    }

    async fn check(&self, digest: Digest) -> Result<BlobCondition, BlobError> {
        match self.read(digest) {
            Err(BlobError::Damaged(_)) => Ok(BlobCondition::Damaged),
            Err(error) => Err(error),
            Ok(()) => self.store.check(digest).await,
        }
    }

    async fn check_writable(&self) -> Result<(), BlobError> {
        match self.fault() {
            Some(Fault::Full) => Err(BlobError::Full),
            _ => self.store.check_writable().await,
        }
    }

    fn quarantined(&self) -> BoxStream<'_, Result<Digest, BlobError>> {
        self.store.quarantined()
    }
}

impl Faulty<dyn MetadataStore> {
    fn read(&self) -> Result<(), MetadataError> {
        match self.fault() {
            Some(Fault::Unavailable) => Err(MetadataError::Unavailable { operation: "answer" }),
            Some(Fault::Damaged) => Err(MetadataError::Damaged),
            Some(Fault::Full | Fault::Conflict) | None => Ok(()),
        }
    }
}

#[async_trait]
impl MetadataStore for Faulty<dyn MetadataStore> {
    async fn get(&self, key: &Key) -> Result<Option<VersionedValue>, MetadataError> {
        self.read()?;
        self.store.get(key).await
    }

    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<(Key, VersionedValue)>, MetadataError> {
        self.read()?;
        self.store.scan(prefix, after, most).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.read()?;
        match self.fault() {
            Some(Fault::Conflict) => Err(CommitError::Conflict),
            Some(Fault::Full) => Err(MetadataError::Full.into()),
            _ => self.store.commit(batch).await,
        }
    }

    async fn check(&self) -> Result<(), MetadataError> {
        self.read()?;
        self.store.check().await
    }
}
