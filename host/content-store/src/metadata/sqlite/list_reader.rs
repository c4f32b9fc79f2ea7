//! The thread that reads lists.
//!
//! Lists can be long. They have a connection and a thread of their own, and delay neither commits nor single reads,
//! except for a checkpoint of a log that has grown far beyond its usual length. Lists are read one after the other. If
//! lists of several workspaces wait, the next one is of another workspace than the last one.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::connection::ReadConnection;
use super::rows;
use super::writer::{Job, Reply};
use crate::metadata::{Key, VersionedValue};

/// Maximum number of lists in the fair queue. Further requests wait in the channel.
const MAX_WAITING_LISTS: usize = 1024;

/// Request to read a list.
pub(super) struct ListRequest {
    pub(super) prefix: Key,
    pub(super) after: Option<Key>,
    pub(super) limit: usize,
    pub(super) reply: Reply<Vec<(Key, VersionedValue)>>,
}

impl ListRequest {
    /// Returns the workspace of the records. For a table that belongs to no workspace, returns another part of the key
    /// or `None`.
    fn workspace(&self) -> Option<&str> {
        self.prefix.parts().nth(1)
    }
}

/// Waiting lists, and the workspace of the list that was read last.
#[derive(Default)]
struct Lists {
    waiting: VecDeque<ListRequest>,
    last: Option<String>,
}

impl Lists {
    /// Removes and returns the next list: one of another workspace than the last one, if there is one. Lists whose
    /// caller no longer waits are dropped.
    fn next(&mut self) -> Option<ListRequest> {
        self.waiting.retain(|list| !list.reply.is_closed());
        let other = self.waiting.iter().position(|list| list.workspace() != self.last.as_deref());
        let list = self.waiting.remove(other.unwrap_or(0))?;
        self.last = list.workspace().map(str::to_owned);
        Some(list)
    }
}

/// State of the thread.
pub(super) struct ListReader {
    connection: ReadConnection,
    requests: mpsc::Receiver<ListRequest>,
    /// The writer thread. It reads the lists while the file is not open, because it can open the file again.
    writer: mpsc::Sender<Job>,
    lists: Lists,
}

impl ListReader {
    pub(super) fn new(
        connection: ReadConnection,
        requests: mpsc::Receiver<ListRequest>,
        writer: mpsc::Sender<Job>,
    ) -> Self {
        Self { connection, requests, writer, lists: Lists::default() }
    }

    /// Runs until the sender of requests is dropped and all lists are read.
    pub(super) fn run(mut self) {
        loop {
            while self.lists.waiting.len() < MAX_WAITING_LISTS
                && let Ok(list) = self.requests.try_recv()
            {
                self.lists.waiting.push_back(list);
            }
            match self.lists.next() {
                Some(list) => self.read(list),
                None => match self.requests.blocking_recv() {
                    Some(list) => self.lists.waiting.push_back(list),
                    None => return,
                },
            }
        }
    }

    fn read(&self, list: ListRequest) {
        let connection = self.connection.blocking_lock();
        match &*connection {
            Some(open) => drop(list.reply.send(rows::scan(open, &list.prefix, list.after.as_ref(), list.limit))),
            None => {
                // Released first, because the writer may need the lock before it can receive.
                drop(connection);
                // If the writer has ended, the reply is dropped, which the caller notices.
                let _ = self.writer.blocking_send(Job::Scan(list));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::oneshot;

    use super::super::writer::Writer;
    use super::*;
    use crate::metadata::{Batch, MetadataError};

    type Answer<T> = oneshot::Receiver<Result<T, MetadataError>>;

    fn list(workspace: &str) -> (ListRequest, Answer<Vec<(Key, VersionedValue)>>) {
        let (reply, answer) = oneshot::channel();
        (ListRequest { prefix: Key::new("worker").part(workspace), after: None, limit: 10, reply }, answer)
    }

    #[test]
    fn a_list_is_read_while_the_writing_thread_does_not_answer() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("metadata");
        let open = |waiting| Writer::open(path.clone(), None, waiting, Arc::default()).expect("a file");
        let (jobs, waiting) = mpsc::channel(8);
        let key = Key::new("worker").part("acme").part("w");
        let (reply, mut done) = oneshot::channel();
        jobs.try_send(Job::Commit(Batch::default().put(&key, b"x".to_vec()), reply)).expect("room");
        drop(jobs);
        open(waiting).run();
        assert_eq!(done.try_recv(), Ok(Ok(())));

        // A writer that takes no jobs.
        let (jobs, waiting) = mpsc::channel(1);
        let writer = open(waiting);
        let (requests, waiting) = mpsc::channel(8);
        let (asked, mut listed) = list("acme");
        requests.try_send(asked).expect("room");
        drop(requests);
        ListReader::new(writer.read_connection(), waiting, jobs).run();
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
