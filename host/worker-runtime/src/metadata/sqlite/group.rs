//! The thread: takes the jobs that wait, answers the reads, and commits the batches together.
//!
//! A verdict goes out when its batch is durable. Where a group fails, each of its batches is tried
//! alone, so that one that does not fit fails alone.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::connection::Reopened;
use super::known::Known;
use super::rows;
use crate::metadata::{Batch, CommitError, Key, MetadataError, Record};

/// Jobs that are taken before the batches among them are committed.
const MOST_TOGETHER: usize = 256;

type Reply<T, E = MetadataError> = oneshot::Sender<Result<T, E>>;

/// What the thread is to do.
pub(super) enum Job {
    Get(Key, Reply<Option<Record>>),
    Scan { prefix: Key, after: Option<Key>, most: usize, reply: Reply<Vec<(Key, Record)>> },
    Commit(Batch, Reply<(), CommitError>),
    Check(Reply<()>),
}

/// What the thread owns.
pub(super) struct Worker {
    connection: Reopened,
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
        Ok(Self { connection: Reopened::open(path, most_bytes)?, jobs, known })
    }

    /// Works until nobody can ask any more, and everything that was asked is done.
    pub(super) fn run(mut self) {
        while let Some(first) = self.jobs.blocking_recv() {
            let mut batches = Vec::new();
            let mut next = Some(first);
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
            Job::Get(key, reply) => {
                let found = self.connection.read(|open| rows::get(open, &key));
                if let Ok(record) = &found {
                    self.known.read(&key, record.clone());
                }
                drop(reply.send(found));
            }
            Job::Scan { prefix, after, most, reply } => {
                drop(reply.send(self.connection.read(|open| rows::scan(open, &prefix, after.as_ref(), most))));
            }
            Job::Check(reply) => drop(reply.send(self.connection.read(rows::check))),
            Job::Commit(batch, reply) => batches.push((batch, reply)),
        }
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
    }

    /// Commits batches with one wait for the disk, and says of each whether it was done.
    fn together(&mut self, batches: &[Batch]) -> Result<Vec<Result<(), CommitError>>, MetadataError> {
        let done = self.connection.write(|open| commit(open, batches));
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
