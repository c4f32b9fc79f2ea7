//! Metadata in an SQLite file, which one process has open.
//!
//! One thread writes and reads single records. A call sends a job to it and waits for the reply. Batches that wait at
//! the same time are committed with one sync, and each gets its own result (`writer`). A second thread reads lists from
//! a connection of its own, so that long lists do not delay other calls (`list_reader`). Recently written records are
//! read from a cache (`cache`).
//!
//! A batch that was sent is completed even if the caller's future is dropped.

mod cache;
mod connection;
mod file;
mod list_reader;
mod mark;
mod rows;
mod wal;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::{Batch, CommitError, Key, MetadataError, MetadataStore, VersionedValue};
use cache::RecordCache;
use list_reader::{ListReader, ListRequest};
use writer::{Job, Reply, Writer};

/// Maximum number of queued jobs for each thread. Further callers wait for a place in the queue.
const MAX_QUEUED_JOBS: usize = 1024;

/// Metadata store in an SQLite file.
pub struct SqliteMetadata {
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    lists: Option<mpsc::Sender<ListRequest>>,
    reader: Option<JoinHandle<()>>,
    cache: Arc<RecordCache>,
}

impl SqliteMetadata {
    /// Opens the file at `path`, or creates it if it does not exist. No other process can open the file until the store
    /// is dropped. Dropping the store waits for the calls that have begun. The time to open a file does not depend on
    /// its size.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, MetadataError> {
        Self::start(path.into(), None).await
    }

    /// Like [`open`](Self::open), with a limit on the size of the file, which is counted in pages of 4096 bytes. A
    /// batch that exceeds the limit is refused with [`MetadataError::Full`] until other records are deleted.
    pub async fn open_within(path: impl Into<PathBuf>, max_bytes: u64) -> Result<Self, MetadataError> {
        Self::start(path.into(), Some(max_bytes)).await
    }

    async fn start(path: PathBuf, max_bytes: Option<u64>) -> Result<Self, MetadataError> {
        let (jobs, waiting) = mpsc::channel(MAX_QUEUED_JOBS);
        let (opened_sender, opened) = oneshot::channel();
        let cache = Arc::new(RecordCache::default());
        let writer_cache = cache.clone();
        let work = move || match Writer::open(path, max_bytes, waiting, writer_cache) {
            Ok(worker) => {
                // If the receiver is dropped, the sender of jobs is dropped too.
                let _ = opened_sender.send(Ok(worker.read_connection()));
                worker.run();
            }
            Err(error) => drop(opened_sender.send(Err(error))),
        };
        let writer = Some(spawn("metadata", work)?);
        let mut store = Self { jobs: Some(jobs), writer, lists: None, reader: None, cache };
        let connection = opened.await.map_err(|_| MetadataError::Unavailable { operation: START_OPERATION })??;
        if let Some(jobs) = store.jobs.clone() {
            let (lists, waiting) = mpsc::channel(MAX_QUEUED_JOBS);
            let reader = ListReader::new(connection, waiting, jobs);
            store.reader = Some(spawn("metadata lists", move || reader.run())?);
            store.lists = Some(lists);
        }
        Ok(store)
    }

    /// Sends a job to a thread and waits for the reply.
    async fn ask<J, T, E: From<MetadataError>>(
        to: Option<&mpsc::Sender<J>>,
        operation: &'static str,
        job: impl FnOnce(Reply<T, E>) -> J,
    ) -> Result<T, E> {
        let unavailable = || E::from(MetadataError::Unavailable { operation });
        let (reply, answer) = oneshot::channel();
        to.ok_or_else(unavailable)?.send(job(reply)).await.map_err(|_| unavailable())?;
        answer.await.map_err(|_| unavailable())?
    }
}

const START_OPERATION: &str = "start";

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, MetadataError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|_| MetadataError::Unavailable { operation: START_OPERATION })
}

#[async_trait]
impl MetadataStore for SqliteMetadata {
    async fn get(&self, key: &Key) -> Result<Option<VersionedValue>, MetadataError> {
        match self.cache.get(key) {
            Some(record) => Ok(record),
            None => Self::ask(self.jobs.as_ref(), "read a record", |reply| Job::Get(key.clone(), reply)).await,
        }
    }

    async fn get_all(&self, keys: &[Key]) -> Result<Vec<Option<VersionedValue>>, MetadataError> {
        match keys.iter().map(|key| self.cache.get(key)).collect() {
            Some(records) => Ok(records),
            None => Self::ask(self.jobs.as_ref(), "read a record", |reply| Job::GetAll(keys.to_vec(), reply)).await,
        }
    }

    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, VersionedValue)>, MetadataError> {
        let (prefix, after) = (prefix.clone(), after.cloned());
        Self::ask(self.lists.as_ref(), "list records", |reply| ListRequest { prefix, after, limit, reply }).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        Self::ask(self.jobs.as_ref(), "commit a batch", |reply| Job::Commit(batch, reply)).await
    }

    async fn check(&self) -> Result<(), MetadataError> {
        Self::ask(self.jobs.as_ref(), "check itself", Job::Check).await
    }
}

impl Drop for SqliteMetadata {
    fn drop(&mut self) {
        // The list thread ends first. SQLite checkpoints the log when the last connection is closed, and the writer
        // must do that.
        self.lists = None;
        let _ = self.reader.take().map(JoinHandle::join);
        self.jobs = None;
        let _ = self.writer.take().map(JoinHandle::join);
    }
}

impl fmt::Debug for SqliteMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteMetadata").finish_non_exhaustive()
    }
}
