//! Metadata in a file of SQLite, which one process has open.
//!
//! One thread writes and reads single records; a call sends it a job and waits. Batches that wait together are
//! committed together, each with its own verdict, so that many writers share one wait for the disk.
//! Another thread reads lists, from a connection of its own, so that long lists do not make others wait.
//! What was written a short while ago is known without asking.
//! A batch that was sent is done whole even where nobody waits for its verdict any more.

mod connection;
mod file;
mod group;
mod known;
mod lists;
mod mark;
mod rows;
mod wal;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::{Batch, CommitError, Key, MetadataError, MetadataStore, VersionedValue};
use group::{Job, Reply, Worker};
use known::Known;
use lists::{List, ListReader};

/// Jobs that wait for the thread before callers wait for room among them.
const MOST_WAITING: usize = 1024;

/// Metadata in a file of SQLite.
pub struct SqliteMetadata {
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    lists: Option<mpsc::Sender<List>>,
    reader: Option<JoinHandle<()>>,
    known: Arc<Known>,
}

impl SqliteMetadata {
    /// Opens the file at `path`, and makes it where there is none. The file is this store's alone
    /// until it is dropped, which waits for what was begun. How long it takes does not depend on how
    /// much is kept.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, MetadataError> {
        Self::start(path.into(), None).await
    }

    /// As [`open`](Self::open), for a store that grows to so many bytes at the most, in pages of
    /// 4096 bytes; then a batch is [`MetadataError::Full`] until others have made room.
    pub async fn open_within(path: impl Into<PathBuf>, most_bytes: u64) -> Result<Self, MetadataError> {
        Self::start(path.into(), Some(most_bytes)).await
    }

    async fn start(path: PathBuf, most_bytes: Option<u64>) -> Result<Self, MetadataError> {
        let (jobs, waiting) = mpsc::channel(MOST_WAITING);
        let (opened, open) = oneshot::channel();
        let known = Arc::new(Known::default());
        let learning = known.clone();
        let work = move || match Worker::open(path, most_bytes, waiting, learning) {
            Ok(worker) => {
                // Nobody waits for it: then there are no jobs either.
                let _ = opened.send(Ok(worker.read_connection()));
                worker.run();
            }
            Err(error) => drop(opened.send(Err(error))),
        };
        let writer = Some(spawn("metadata", work)?);
        let mut store = Self { jobs: Some(jobs), writer, lists: None, reader: None, known };
        let connection = open.await.map_err(|_| MetadataError::Unavailable { doing: START })??;
        if let Some(jobs) = store.jobs.clone() {
            let (lists, waiting) = mpsc::channel(MOST_WAITING);
            let reader = ListReader::new(connection, waiting, jobs);
            store.reader = Some(spawn("metadata lists", move || reader.run())?);
            store.lists = Some(lists);
        }
        Ok(store)
    }

    /// Sends a job to one of the threads and waits for its reply.
    async fn ask<J, T, E: From<MetadataError>>(
        to: Option<&mpsc::Sender<J>>,
        doing: &'static str,
        job: impl FnOnce(Reply<T, E>) -> J,
    ) -> Result<T, E> {
        let gone = || E::from(MetadataError::Unavailable { doing });
        let (reply, answer) = oneshot::channel();
        to.ok_or_else(gone)?.send(job(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

const START: &str = "start";

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, MetadataError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|_| MetadataError::Unavailable { doing: START })
}

#[async_trait]
impl MetadataStore for SqliteMetadata {
    async fn get(&self, key: &Key) -> Result<Option<VersionedValue>, MetadataError> {
        match self.known.get(key) {
            Some(record) => Ok(record),
            None => Self::ask(self.jobs.as_ref(), "read a record", |reply| Job::Get(key.clone(), reply)).await,
        }
    }

    async fn get_all(&self, keys: &[Key]) -> Result<Vec<Option<VersionedValue>>, MetadataError> {
        match keys.iter().map(|key| self.known.get(key)).collect() {
            Some(records) => Ok(records),
            None => Self::ask(self.jobs.as_ref(), "read a record", |reply| Job::GetAll(keys.to_vec(), reply)).await,
        }
    }

    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<(Key, VersionedValue)>, MetadataError> {
        let (prefix, after) = (prefix.clone(), after.cloned());
        Self::ask(self.lists.as_ref(), "list records", |reply| List { prefix, after, most, reply }).await
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
        // The thread for lists ends first: the last connection to be closed folds the log in, and it must be the one
        // that writes.
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
