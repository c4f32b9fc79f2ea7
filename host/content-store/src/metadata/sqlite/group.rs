//! The thread that writes: takes the jobs that wait, reads single records, and commits the batches together.
//!
//! A verdict goes out when its batch is durable. Where a group fails, each of its batches is tried
//! alone, so that one that does not fit fails alone. Lists are read by another thread (`lists`).

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::connection::{ReadConnection, Reopened};
use super::known::Known;
use super::lists::List;
use super::rows;
use crate::metadata::{Batch, CommitError, Key, MetadataError, VersionedValue};
use crate::pinned::Pinned;

/// Jobs that are taken before the batches among them are committed.
const MOST_TOGETHER: usize = 256;

pub(super) type Reply<T, E = MetadataError> = oneshot::Sender<Result<T, E>>;

/// What the thread is to do.
pub(super) enum Job {
    Get(Key, Reply<Option<VersionedValue>>),
    GetAll(Vec<Key>, Reply<Vec<Option<VersionedValue>>>),
    /// A list that the thread for lists cannot read, because the connection was lost.
    Scan(List),
    Commit(Batch, Reply<(), CommitError>),
    Check(Reply<()>),
}

/// What the thread owns.
pub(super) struct Worker {
    connection: Reopened,
    file: Pinned,
    jobs: mpsc::Receiver<Job>,
    known: Arc<Known>,
}

impl Worker {
    pub(super) fn open(
        path: PathBuf,
        most_bytes: Option<u64>,
        jobs: mpsc::Receiver<Job>,
        known: Arc<Known>,
    ) -> Result<Self, MetadataError> {
        let connection = Reopened::open(path.clone(), most_bytes)?;
        let file = Pinned::file(path).map_err(|_| MetadataError::Unavailable { doing: "open its file" })?;
        Ok(Self { connection, file, jobs, known })
    }

    /// Returns the connection that lists are read from.
    pub(super) fn read_connection(&self) -> ReadConnection {
        self.connection.read_connection()
    }

    /// Works until nobody can ask any more, and everything that was asked is done.
    pub(super) fn run(mut self) {
        while let Some(first) = self.jobs.blocking_recv() {
            let (mut next, mut batches) = (Some(first), Vec::new());
            for _ in 0..MOST_TOGETHER {
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

    /// Answers a read, and keeps a batch for later. A read sees every batch that was answered before
    /// it was asked, and none that was not.
    fn begin(&mut self, job: Job, batches: &mut Vec<(Batch, Reply<(), CommitError>)>) {
        // Who does not wait for an answer gets none.
        match job {
            Job::Get(key, reply) => drop(reply.send(self.get(&key))),
            Job::GetAll(keys, reply) => drop(reply.send(keys.iter().map(|key| self.get(key)).collect())),
            Job::Scan(List { prefix, after, most, reply }) => {
                drop(reply.send(self.read(|open| rows::scan(open, &prefix, after.as_ref(), most))));
            }
            Job::Check(reply) => drop(reply.send(self.read(rows::check))),
            Job::Commit(batch, reply) => batches.push((batch, reply)),
        }
    }

    /// SQLite goes on with a file that was moved, and so do reads. A file that must be opened again is looked for at
    /// its path.
    fn read<T>(&mut self, work: impl FnOnce(&Connection) -> Result<T, MetadataError>) -> Result<T, MetadataError> {
        if self.connection.is_lost() {
            self.check_in_place("open its file")?;
        }
        self.connection.read(work)
    }

    /// Nothing is written to a file that was moved: who opens the path would not find it.
    fn check_in_place(&self, doing: &'static str) -> Result<(), MetadataError> {
        match self.file.is_in_place() {
            Ok(true) => Ok(()),
            Ok(false) => Err(MetadataError::Moved),
            Err(_) => Err(MetadataError::Unavailable { doing }),
        }
    }

    fn get(&mut self, key: &Key) -> Result<Option<VersionedValue>, MetadataError> {
        let record = self.read(|open| rows::get(open, key))?;
        if record.is_none() {
            self.known.absent(key);
        }
        Ok(record)
    }

    fn finish(&mut self, batches: Vec<(Batch, Reply<(), CommitError>)>) {
        let (batches, replies): (Vec<_>, Vec<_>) = batches.into_iter().unzip();
        let together = match batches.len() {
            0 => return,
            1 => None,
            _ => self.together(&batches).ok(),
        };
        let verdicts = together.unwrap_or_else(|| {
            let alone = |batch| self.together(std::slice::from_ref(batch))?.pop().unwrap_or(Err(CommitError::Conflict));
            batches.iter().map(alone).collect()
        });
        for (reply, verdict) in replies.into_iter().zip(verdicts) {
            drop(reply.send(verdict));
        }
        self.connection.fold();
    }

    /// Commits batches with one wait for the disk, and says of each whether it was done.
    fn together(&mut self, batches: &[Batch]) -> Result<Vec<Result<(), CommitError>>, MetadataError> {
        let done = self.check_in_place("commit a batch");
        let done = done.and_then(|()| self.connection.write(|open| commit(open, batches)));
        let versions = done.inspect_err(|_| self.known.forget())?;
        for (batch, version) in batches.iter().zip(&versions) {
            if let Some(version) = version {
                self.known.wrote(batch, *version);
            }
        }
        Ok(versions.iter().map(|version| version.map(drop).ok_or(CommitError::Conflict)).collect())
    }
}

/// Applies each batch that finds what it expects, gives it the next version, and says whether any was.
fn commit(open: &Connection, batches: &[Batch]) -> Result<(Vec<Option<u64>>, bool), MetadataError> {
    let before = rows::counted(open)?;
    let mut version = before;
    let mut versions = Vec::with_capacity(batches.len());
    for batch in batches {
        versions.push(if rows::fits(open, batch)? {
            version += 1;
            rows::apply(open, batch, version)?;
            Some(version)
        } else {
            None
        });
    }
    if version > before {
        rows::count(open, version)?;
    }
    Ok((versions, version > before))
}
