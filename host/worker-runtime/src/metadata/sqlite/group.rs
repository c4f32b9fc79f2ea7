//! The thread: takes the jobs that wait, answers the reads, and commits the batches together.
//!
//! A verdict goes out when its batch is durable. Where a group fails, each of its batches is tried
//! alone, so that one that does not fit fails alone. Lists can be long: they are made one at a time, after
//! everything else that waits, and for another workspace each time, where more than one waits for some.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::connection::Reopened;
use super::known::Known;
use super::rows;
use crate::metadata::{Batch, CommitError, Key, MetadataError, Record};
use crate::pinned::Pinned;

/// Jobs that are taken before the batches among them are committed.
const MOST_TOGETHER: usize = 256;

type Reply<T, E = MetadataError> = oneshot::Sender<Result<T, E>>;

/// Lists that wait. Who asks for more than that gets one at once, and so makes others wait before they ask.
const MOST_LISTS: usize = 1024;

/// What the thread is to do.
pub(super) enum Job {
    Get(Key, Reply<Option<Record>>),
    GetAll(Vec<Key>, Reply<Vec<Option<Record>>>),
    Scan(List),
    Commit(Batch, Reply<(), CommitError>),
    Check(Reply<()>),
}

/// A list that is to be made.
pub(super) struct List {
    pub(super) prefix: Key,
    pub(super) after: Option<Key>,
    pub(super) most: usize,
    pub(super) reply: Reply<Vec<(Key, Record)>>,
}

impl List {
    /// Whose records they are; of tables that belong to no workspace, something else.
    fn workspace(&self) -> Option<&str> {
        self.prefix.parts().nth(1)
    }
}

/// Lists that wait, and whose was made last.
#[derive(Default)]
struct Lists {
    waiting: VecDeque<List>,
    last: Option<String>,
}

impl Lists {
    /// The next one: of another workspace than the last, if there is one, and one that somebody waits for.
    fn next(&mut self) -> Option<List> {
        self.waiting.retain(|list| !list.reply.is_closed());
        let other = self.waiting.iter().position(|list| list.workspace() != self.last.as_deref());
        let list = self.waiting.remove(other.unwrap_or(0))?;
        self.last = list.workspace().map(str::to_owned);
        Some(list)
    }
}

/// What the thread owns.
pub(super) struct Worker {
    connection: Reopened,
    file: Pinned,
    jobs: mpsc::Receiver<Job>,
    known: Arc<Known>,
    lists: Lists,
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
        Ok(Self { connection, file, jobs, known, lists: Lists::default() })
    }

    /// Works until nobody can ask any more, and everything that was asked is done.
    pub(super) fn run(mut self) {
        loop {
            let mut batches = Vec::new();
            let mut next = match self.lists.next() {
                None => match self.jobs.blocking_recv() {
                    None => return,
                    first => first,
                },
                Some(list) => {
                    self.list(list);
                    self.jobs.try_recv().ok()
                }
            };
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
            Job::Scan(list) if self.lists.waiting.len() >= MOST_LISTS => self.list(list),
            Job::Scan(list) => self.lists.waiting.push_back(list),
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

    fn get(&mut self, key: &Key) -> Result<Option<Record>, MetadataError> {
        let record = self.read(|open| rows::get(open, key))?;
        if record.is_none() {
            self.known.absent(key);
        }
        Ok(record)
    }

    fn list(&mut self, List { prefix, after, most, reply }: List) {
        drop(reply.send(self.read(|open| rows::scan(open, &prefix, after.as_ref(), most))));
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

#[cfg(test)]
mod tests {
    use super::*;

    type Answer<T, E = MetadataError> = oneshot::Receiver<Result<T, E>>;

    fn list(workspace: &str) -> (List, Answer<Vec<(Key, Record)>>) {
        let (reply, answer) = oneshot::channel();
        (List { prefix: Key::new("worker").part(workspace), after: None, most: 10, reply }, answer)
    }

    #[test]
    fn lists_are_made_after_everything_else_that_waits() {
        let folder = tempfile::tempdir().expect("a folder");
        let (jobs, waiting) = mpsc::channel(8);
        let worker = Worker::open(folder.path().join("metadata"), None, waiting, Arc::default()).expect("a file");
        let (asked, mut listed) = list("acme");
        let key = Key::new("worker").part("acme").part("w");
        let (reply, mut done) = oneshot::channel();
        jobs.try_send(Job::Scan(asked)).expect("room");
        jobs.try_send(Job::Commit(Batch::default().put(&key, b"x".to_vec()), reply)).expect("room");
        drop(jobs);
        worker.run();
        assert_eq!(done.try_recv(), Ok(Ok(())));
        let listed = listed.try_recv().expect("an answer").expect("a list");
        assert_eq!(listed.iter().map(|(key, _)| key.last()).collect::<Vec<_>>(), ["w"]);
    }

    #[test]
    fn lists_of_many_workspaces_take_turns() {
        let mut lists = Lists::default();
        let (mut answers, mut order) = (Vec::new(), Vec::new());
        for workspace in ["much", "much", "gone", "much", "little"] {
            let (list, answer) = list(workspace);
            lists.waiting.push_back(list);
            if workspace != "gone" {
                answers.push(answer);
            }
        }
        while let Some(list) = lists.next() {
            order.extend(list.workspace().map(str::to_owned));
        }
        assert_eq!(order, ["much", "little", "much", "much"]);
    }
}
