//! The writer thread: takes queued jobs, reads single records, and commits batches in groups.
//!
//! A caller gets the result of its batch when the batch is durable. If a group fails, each of its batches is committed
//! alone, so that a batch that is too large fails alone. Lists are read by another thread (`list_reader`).

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::cache::RecordCache;
use super::connection::{Connections, ReadConnection};
use super::list_reader::ListRequest;
use super::rows;
use crate::metadata::{Batch, CommitError, Key, MetadataError, VersionedValue};
use crate::pinned::PinnedPath;

/// Maximum number of jobs that are taken from the queue before the batches among them are committed.
const MAX_JOBS_PER_GROUP: usize = 256;

pub(super) type Reply<T, E = MetadataError> = oneshot::Sender<Result<T, E>>;

/// A job of the writer thread.
pub(super) enum Job {
    Get(Key, Reply<Option<VersionedValue>>),
    GetAll(Vec<Key>, Reply<Vec<Option<VersionedValue>>>),
    /// A list that the list thread cannot read, because the file is not open.
    Scan(ListRequest),
    Commit(Batch, Reply<(), CommitError>),
    Check(Reply<()>),
}

/// State of the writer thread.
pub(super) struct Writer {
    connection: Connections,
    file: PinnedPath,
    jobs: mpsc::Receiver<Job>,
    cache: Arc<RecordCache>,
}

impl Writer {
    pub(super) fn open(
        path: PathBuf,
        max_bytes: Option<u64>,
        jobs: mpsc::Receiver<Job>,
        cache: Arc<RecordCache>,
    ) -> Result<Self, MetadataError> {
        let connection = Connections::open(path.clone(), max_bytes)?;
        let file = PinnedPath::file(path).map_err(|_| MetadataError::Unavailable { operation: "open its file" })?;
        Ok(Self { connection, file, jobs, cache })
    }

    /// Returns the connection that lists are read from.
    pub(super) fn read_connection(&self) -> ReadConnection {
        self.connection.read_connection()
    }

    /// Runs until the sender of jobs is dropped and all jobs are done.
    pub(super) fn run(mut self) {
        while let Some(first) = self.jobs.blocking_recv() {
            let (mut next, mut batches) = (Some(first), Vec::new());
            for _ in 0..MAX_JOBS_PER_GROUP {
                let Some(job) = next else { break };
                self.begin(job, &mut batches);
                next = self.jobs.try_recv().ok();
            }
            if let Some(job) = next {
                self.begin(job, &mut batches);
            }
            self.finish(batches);
        }
    }

    /// Answers a read at once, and adds a batch to `batches`. A read sees every batch that was acknowledged before the
    /// read was requested, and no other one.
    fn begin(&mut self, job: Job, batches: &mut Vec<(Batch, Reply<(), CommitError>)>) {
        // A failed send means that the caller's future was dropped.
        match job {
            Job::Get(key, reply) => drop(reply.send(self.get(&key))),
            Job::GetAll(keys, reply) => drop(reply.send(keys.iter().map(|key| self.get(key)).collect())),
            Job::Scan(ListRequest { prefix, after, limit, reply }) => {
                drop(reply.send(self.read(|open| rows::scan(open, &prefix, after.as_ref(), limit))));
            }
            Job::Check(reply) => drop(reply.send(self.read(rows::check))),
            Job::Commit(batch, reply) => batches.push((batch, reply)),
        }
    }

    /// Reads from the file. SQLite continues with a file that was moved, and so do reads. A file that must be opened
    /// again must be at its path.
    fn read<T>(&mut self, work: impl FnOnce(&Connection) -> Result<T, MetadataError>) -> Result<T, MetadataError> {
        if self.connection.is_lost() {
            self.check_in_place("open its file")?;
        }
        self.connection.read(work)
    }

    /// Checks that the file is still at its path. A moved file is not written to, because a later start opens
    /// the path and would not find the changes.
    fn check_in_place(&self, operation: &'static str) -> Result<(), MetadataError> {
        match self.file.is_in_place() {
            Ok(true) => Ok(()),
            Ok(false) => Err(MetadataError::Moved),
            Err(_) => Err(MetadataError::Unavailable { operation }),
        }
    }

    fn get(&mut self, key: &Key) -> Result<Option<VersionedValue>, MetadataError> {
        let record = self.read(|open| rows::get(open, key))?;
        if record.is_none() {
            self.cache.insert_absent(key);
        }
        Ok(record)
    }

    fn finish(&mut self, batches: Vec<(Batch, Reply<(), CommitError>)>) {
        let (batches, replies): (Vec<_>, Vec<_>) = batches.into_iter().unzip();
        let together = match batches.len() {
            0 => return,
            1 => None,
            _ => self.commit_group(&batches).ok(),
        };
        let verdicts = together.unwrap_or_else(|| {
            let alone =
                |batch| self.commit_group(std::slice::from_ref(batch))?.pop().unwrap_or(Err(CommitError::Conflict));
            batches.iter().map(alone).collect()
        });
        for (reply, verdict) in replies.into_iter().zip(verdicts) {
            drop(reply.send(verdict));
        }
        self.connection.checkpoint();
    }

    /// Commits batches with a single sync, and returns the result of each.
    fn commit_group(&mut self, batches: &[Batch]) -> Result<Vec<Result<(), CommitError>>, MetadataError> {
        let done = self.check_in_place("commit a batch");
        let done = done.and_then(|()| self.connection.write(|open| commit(open, batches)));
        let versions = done.inspect_err(|_| self.cache.clear())?;
        for (batch, version) in batches.iter().zip(&versions) {
            if let Some(version) = version {
                self.cache.insert_batch(batch, *version);
            }
        }
        Ok(versions.iter().map(|version| version.map(drop).ok_or(CommitError::Conflict)).collect())
    }
}

/// Applies each batch whose expected versions match and gives it the next version. Returns the version of each applied
/// batch, and `true` if any was applied.
fn commit(open: &Connection, batches: &[Batch]) -> Result<(Vec<Option<u64>>, bool), MetadataError> {
    let before = rows::batch_count(open)?;
    let mut version = before;
    let mut versions = Vec::with_capacity(batches.len());
    for batch in batches {
        versions.push(if rows::matches_expected(open, batch)? {
            version += 1;
            rows::apply(open, batch, version)?;
            Some(version)
        } else {
            None
        });
    }
    if version > before {
        rows::set_batch_count(open, version)?;
    }
    Ok((versions, version > before))
}
