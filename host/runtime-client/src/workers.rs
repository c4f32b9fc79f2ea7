//! Workers: made, found, called, watched, stopped and removed.

use ::bundles::ToolName;
use reqwest::{Method, StatusCode};
use runtime_api::body::{CreatedWorkerBody, HistoryPage, WorkerPage};
use runtime_api::call::{CallResult, ToolCall};
use runtime_api::history::Entry;
use runtime_api::worker::{CreateWorkerRequest, CreatedWorker, WorkerId, WorkerSummary};

use super::{Client, ClientError, Unexpected};

/// Items that are asked for at a time: what a Runtime gives at the most.
const PAGE: usize = 1000;

impl Client {
    /// Makes a worker. Asking again with the same answers the same worker.
    pub async fn create_worker(
        &self,
        id: &WorkerId,
        request: &CreateWorkerRequest,
    ) -> Result<CreatedWorker, ClientError> {
        let ask = self.ask(Method::PUT, ["v1", "workers", id.as_str()]).json(request);
        let answer = ask.within(self.shared.deadlines.work).send().await?;
        let new = answer.status() == StatusCode::CREATED;
        let CreatedWorkerBody { worker, bundle_findings: findings } = answer.json().await?;
        Ok(CreatedWorker { worker: of(id, worker)?, new, findings })
    }

    /// What is told of a worker.
    pub async fn worker(&self, id: &WorkerId) -> Result<WorkerSummary, ClientError> {
        of(id, self.ask(Method::GET, ["v1", "workers", id.as_str()]).answer().await?)
    }

    /// What a worker that takes calls is and may touch, as it is granted now.
    pub async fn worker_spec(&self, id: &WorkerId) -> Result<serde_json::Value, ClientError> {
        self.ask(Method::GET, ["v1", "workers", id.as_str(), "spec"]).answer().await
    }

    /// At most so many workers in the order of their ids, after another one; page by page.
    pub async fn workers(&self, after: Option<&WorkerId>, most: usize) -> Result<Vec<WorkerSummary>, ClientError> {
        let mut pages = Pages::new(after.cloned(), most, |worker: &WorkerSummary| worker.id.clone());
        while let Some((after, limit)) = pages.next() {
            let ask = self.ask(Method::GET, ["v1", "workers"]).query("limit", limit);
            let ask = if let Some(after) = after { ask.query("after", after) } else { ask };
            let page = ask.answer::<WorkerPage>().await?;
            pages.take(page.workers, page.next)?;
        }
        Ok(pages.all())
    }

    /// Stops a worker for good. Stopping twice is stopping once.
    pub async fn stop_worker(&self, id: &WorkerId) -> Result<WorkerSummary, ClientError> {
        of(id, self.ask(Method::DELETE, ["v1", "workers", id.as_str()]).answer().await?)
    }

    /// Removes a stopped worker with its history. It is sent once; doing it again completes a removal that failed
    /// halfway.
    pub async fn remove_worker(&self, id: &WorkerId) -> Result<(), ClientError> {
        let ask = self.ask(Method::POST, ["v1", "workers", id.as_str(), "remove"]);
        ask.within(self.shared.deadlines.work).done().await
    }

    /// Calls a tool. It is sent once: where the connection ends before the answer, the worker's history
    /// says whether there was a call and what it came to.
    pub async fn call(&self, id: &WorkerId, tool: &ToolName, call: &ToolCall) -> Result<CallResult, ClientError> {
        let ask = self.ask(Method::POST, ["v1", "workers", id.as_str(), "tools", tool.as_ref()]).json(call);
        ask.within(self.shared.deadlines.work).answer().await
    }

    /// At most so many entries of a worker's history, after the one of that number; page by page.
    pub async fn history(&self, id: &WorkerId, after: u64, most: usize) -> Result<Vec<Entry>, ClientError> {
        let mut pages = Pages::new(Some(after), most, |entry: &Entry| entry.number);
        while let Some((after, limit)) = pages.next() {
            let ask = self.ask(Method::GET, ["v1", "workers", id.as_str(), "history"]).query("limit", limit);
            let ask = ask.query("after", after.copied().unwrap_or_default());
            let page = ask.answer::<HistoryPage>().await?;
            pages.take(page.entries, page.next)?;
        }
        Ok(pages.all())
    }
}

/// The worker that was asked for, and no other.
fn of(id: &WorkerId, worker: WorkerSummary) -> Result<WorkerSummary, ClientError> {
    if worker.id == *id { Ok(worker) } else { Err(ClientError::Unexpected(Unexpected::Contradiction)) }
}

/// A list that comes page by page, each in order and after the one before: so it ends.
pub(super) struct Pages<T, K, F> {
    after: Option<K>,
    left: usize,
    key: F,
    all: Vec<T>,
}

impl<T, K: Ord, F: Fn(&T) -> K> Pages<T, K, F> {
    pub(super) fn new(after: Option<K>, most: usize, key: F) -> Self {
        Self { after, left: most, key, all: Vec::new() }
    }

    /// After what, and how many, to ask for next; nothing where all is there.
    pub(super) fn next(&self) -> Option<(Option<&K>, usize)> {
        (self.left > 0).then(|| (self.after.as_ref(), self.left.min(PAGE)))
    }

    /// Adds a page and the `next` that the Runtime sent with it. The last page has no `next`. Earlier versions of the
    /// Runtime never send one: there, a page with fewer items than were asked for is the last.
    pub(super) fn take(&mut self, page: Vec<T>, next: Option<K>) -> Result<(), ClientError> {
        let asked = self.left.min(PAGE);
        let is_wrong = next.is_some() && next != page.last().map(&self.key);
        if page.len() > asked || is_wrong {
            return Err(ClientError::Unexpected(Unexpected::Contradiction));
        }
        let is_last = page.len() < asked && next.is_none();
        self.left = if is_last { 0 } else { self.left - page.len() };
        for item in page {
            let key = (self.key)(&item);
            if self.after.as_ref().is_some_and(|after| *after >= key) {
                return Err(ClientError::Unexpected(Unexpected::Contradiction));
            }
            self.after = Some(key);
            self.all.push(item);
        }
        Ok(())
    }

    pub(super) fn all(self) -> Vec<T> {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends_where_a_page_is_not_full_and_goes_on_in_order() {
        let mut pages = Pages::new(None, usize::MAX, |number: &usize| *number);
        assert_eq!(pages.next(), Some((None, PAGE)));
        pages.take((0..PAGE).collect(), None).expect("a page");
        assert_eq!(pages.next(), Some((Some(&(PAGE - 1)), PAGE)));
        pages.take(vec![PAGE], None).expect("a page");
        assert_eq!(pages.next(), None);
        assert_eq!(pages.all().len(), PAGE + 1);

        let mut some = Pages::new(Some(7), 2, |number: &usize| *number);
        assert_eq!(some.next(), Some((Some(&7), 2)));
        for bad in [vec![7], vec![9, 8], vec![8, 8], vec![8, 9, 10]] {
            let mut pages = Pages::new(Some(7), 2, |number: &usize| *number);
            assert_eq!(pages.take(bad, None), Err(ClientError::Unexpected(Unexpected::Contradiction)));
        }
        some.take(vec![8, 9], None).expect("a page");
        assert_eq!(some.next(), None);

        // A page that ends early and is not the last says so.
        let mut cut = Pages::new(None, 5, |number: &usize| *number);
        cut.take(vec![1, 2], Some(2)).expect("a page");
        assert_eq!(cut.next(), Some((Some(&2), 3)));
        for (page, next) in [(vec![3, 4], 3), (vec![3, 4], 5), (vec![], 2), (vec![], 3)] {
            assert_eq!(cut.take(page, Some(next)), Err(ClientError::Unexpected(Unexpected::Contradiction)));
        }
        cut.take(vec![3], Some(3)).expect("a page");
        cut.take(vec![4], None).expect("a page");
        assert_eq!(cut.next(), None);
        assert_eq!(cut.all(), [1, 2, 3, 4]);
    }
}
