//! Requests about workers, and [`Pages`], which all paged lists use.

use ::bundles::{IngressName, ToolName};
use bytes::Bytes;
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};
use runtime_api::body::{CreatedWorkerBody, FailedResolutionList, HistoryPage, LogPage, ServiceList, WorkerPage};
use runtime_api::call::{CallResult, ToolCall};
use runtime_api::history::Entry;
use runtime_api::ingress::{AcceptedEvent, EventId};
use runtime_api::log::LogEntry;
use runtime_api::service::ServiceSummary;
use runtime_api::worker::{CreateWorkerRequest, CreatedWorker, FailedResolutionSummary, WorkerId, WorkerSummary};

use super::request::IDEMPOTENCY_KEY;
use super::{Client, ClientError, UnexpectedResponse};

/// Maximum number of items of a page, on the side of the Runtime.
const MAX_PAGE_ITEMS: usize = 1000;

impl Client {
    /// Creates a worker. The operation is idempotent: a repeated request returns the existing worker.
    pub async fn create_worker(
        &self,
        id: &WorkerId,
        request: &CreateWorkerRequest,
    ) -> Result<CreatedWorker, ClientError> {
        let request = self.request(Method::PUT, ["v1", "workers", id.as_str()]).json(request);
        let response = request.timeout(self.shared.timeouts.work).send().await?;
        let new = response.status() == StatusCode::CREATED;
        let CreatedWorkerBody { worker, bundle_findings: findings } = response.json().await?;
        Ok(CreatedWorker { worker: checked(id, worker)?, new, findings })
    }

    /// Returns the summary of a worker.
    pub async fn worker(&self, id: &WorkerId) -> Result<WorkerSummary, ClientError> {
        checked(id, self.request(Method::GET, ["v1", "workers", id.as_str()]).send_json().await?)
    }

    /// Returns the specification of a running worker, with the authority that is granted now.
    pub async fn worker_spec(&self, id: &WorkerId) -> Result<serde_json::Value, ClientError> {
        self.request(Method::GET, ["v1", "workers", id.as_str(), "spec"]).send_json().await
    }

    /// Returns at most `limit` workers after the worker `after`, ordered by id. Sends one request per page.
    pub async fn workers(&self, after: Option<&WorkerId>, limit: usize) -> Result<Vec<WorkerSummary>, ClientError> {
        let mut pages = Pages::new(after.cloned(), limit, |worker: &WorkerSummary| worker.id.clone());
        while let Some((after, page_limit)) = pages.next() {
            let page = self.workers_page(after, page_limit).await?;
            pages.push(page.workers, page.next)?;
        }
        Ok(pages.into_items())
    }

    /// Returns one page of at most `limit` workers after the worker `after`, ordered by id.
    pub async fn workers_page(&self, after: Option<&WorkerId>, limit: usize) -> Result<WorkerPage, ClientError> {
        let limit = limit.min(MAX_PAGE_ITEMS);
        let request = self.request(Method::GET, ["v1", "workers"]).query("limit", limit);
        let request = if let Some(after) = after { request.query("after", after) } else { request };
        let page = request.send_json::<WorkerPage>().await?;
        check_page(&page.workers, page.next.as_ref(), after, limit, |worker| &worker.id)?;
        Ok(page)
    }

    /// Returns at most `limit` log lines of a worker's plugins after the line `after`. Sends one request per page.
    pub async fn worker_logs(&self, id: &WorkerId, after: u64, limit: usize) -> Result<Vec<LogEntry>, ClientError> {
        let mut pages = Pages::new(Some(after), limit, |line: &LogEntry| line.number);
        while let Some((after, page_limit)) = pages.next() {
            let request = self.request(Method::GET, ["v1", "workers", id.as_str(), "logs"]).query("limit", page_limit);
            let request = request.query("after", after.copied().unwrap_or_default());
            let page = request.send_json::<LogPage>().await?;
            pages.push(page.lines, page.next)?;
        }
        Ok(pages.into_items())
    }

    /// Returns the services of a worker with their states, ordered by plugin.
    pub async fn worker_services(&self, id: &WorkerId) -> Result<Vec<ServiceSummary>, ClientError> {
        let request = self.request(Method::GET, ["v1", "workers", id.as_str(), "services"]);
        let ServiceList { services } = request.send_json().await?;
        let is_ordered = services.is_sorted_by(|one, next| one.plugin < next.plugin);
        if is_ordered { Ok(services) } else { Err(ClientError::Unexpected(UnexpectedResponse::Contradiction)) }
    }

    /// Sends an event to a service of a worker. The operation is idempotent: a repeated `event` id has no effect.
    pub async fn send_event(
        &self,
        id: &WorkerId,
        ingress: &IngressName,
        event: &EventId,
        payload: &serde_json::Value,
    ) -> Result<AcceptedEvent, ClientError> {
        // Succeeds, because an id consists of visible ASCII characters.
        let key = HeaderValue::from_str(event.as_str()).map_err(|_| ClientError::Source)?;
        let request = self.request(Method::POST, ["v1", "workers", id.as_str(), "ingress", ingress.as_ref()]);
        request.header(IDEMPOTENCY_KEY, key).json(payload).send_json().await
    }

    /// Returns the recorded resolutions that failed, that the host denied, or that showed a change after the activation of a
    /// resolver, the oldest first. The record of each is a blob.
    pub async fn failed_resolutions(&self) -> Result<Vec<FailedResolutionSummary>, ClientError> {
        let list: FailedResolutionList = self.request(Method::GET, ["v1", "failed-resolutions"]).send_json().await?;
        Ok(list.failures)
    }

    /// Stops a worker permanently. The operation is idempotent.
    pub async fn stop_worker(&self, id: &WorkerId) -> Result<WorkerSummary, ClientError> {
        checked(id, self.request(Method::DELETE, ["v1", "workers", id.as_str()]).send_json().await?)
    }

    /// Removes a stopped worker with its history. There are no retries. A repeated call completes a removal that failed.
    pub async fn remove_worker(&self, id: &WorkerId) -> Result<(), ClientError> {
        let request = self.request(Method::POST, ["v1", "workers", id.as_str(), "remove"]);
        request.timeout(self.shared.timeouts.work).send_ignore_body().await
    }

    /// Calls a tool. There are no retries. If the connection closes before the response, the history of the worker shows
    /// whether the call took place and its result.
    pub async fn call(&self, id: &WorkerId, tool: &ToolName, call: &ToolCall) -> Result<CallResult, ClientError> {
        let request = self.request(Method::POST, ["v1", "workers", id.as_str(), "tools", tool.as_ref()]).json(call);
        request.timeout(self.shared.timeouts.work).send_json().await
    }

    /// Like [`call`](Self::call), for a call that is already JSON. It is sent as it is.
    pub async fn call_json(&self, id: &WorkerId, tool: &ToolName, call: Bytes) -> Result<CallResult, ClientError> {
        let request = self.request(Method::POST, ["v1", "workers", id.as_str(), "tools", tool.as_ref()]);
        request.body("application/json", call).timeout(self.shared.timeouts.work).send_json().await
    }

    /// Returns at most `limit` entries of a worker's history after the entry `after`. Sends one request per page.
    pub async fn history(&self, id: &WorkerId, after: u64, limit: usize) -> Result<Vec<Entry>, ClientError> {
        let mut pages = Pages::new(Some(after), limit, |entry: &Entry| entry.number);
        while let Some((after, page_limit)) = pages.next() {
            let page = self.history_page(id, after.copied().unwrap_or_default(), page_limit).await?;
            pages.push(page.entries, page.next)?;
        }
        Ok(pages.into_items())
    }

    /// Returns one page of at most `limit` entries of a worker's history after the entry `after`.
    pub async fn history_page(&self, id: &WorkerId, after: u64, limit: usize) -> Result<HistoryPage, ClientError> {
        let limit = limit.min(MAX_PAGE_ITEMS);
        let request = self.request(Method::GET, ["v1", "workers", id.as_str(), "history"]).query("limit", limit);
        let page = request.query("after", after).send_json::<HistoryPage>().await?;
        check_page(&page.entries, page.next.as_ref(), Some(&after), limit, |entry| &entry.number)?;
        Ok(page)
    }
}

/// Checks that a page has at most `limit` items, is in order, begins after `after`, and names its last item as `next`.
fn check_page<T, K: Ord>(
    items: &[T],
    next: Option<&K>,
    after: Option<&K>,
    limit: usize,
    key: impl Fn(&T) -> &K,
) -> Result<(), ClientError> {
    let is_after = items.first().is_none_or(|first| after.is_none_or(|after| key(first) > after));
    let is_ordered = items.is_sorted_by(|one, other| key(one) < key(other));
    let is_last = next.is_none_or(|next| items.last().is_some_and(|last| key(last) == next));
    if items.len() <= limit && is_after && is_ordered && is_last {
        Ok(())
    } else {
        Err(ClientError::Unexpected(UnexpectedResponse::Contradiction))
    }
}

/// Checks that the Runtime returned the requested worker.
fn checked(id: &WorkerId, worker: WorkerSummary) -> Result<WorkerSummary, ClientError> {
    if worker.id == *id { Ok(worker) } else { Err(ClientError::Unexpected(UnexpectedResponse::Contradiction)) }
}

/// A paged list. Each page must be in order and after the previous one, so a list always ends.
pub struct Pages<T, K, F> {
    after: Option<K>,
    remaining: usize,
    key: F,
    items: Vec<T>,
}

impl<T, K: Ord, F: Fn(&T) -> K> Pages<T, K, F> {
    /// Returns a list of at most `limit` items after `after`. `key` returns the key of an item.
    pub fn new(after: Option<K>, limit: usize, key: F) -> Self {
        Self { after, remaining: limit, key, items: Vec::new() }
    }

    /// Returns `after` and `limit` of the next request, or `None` if the list is complete.
    pub fn next(&self) -> Option<(Option<&K>, usize)> {
        (self.remaining > 0).then(|| (self.after.as_ref(), self.remaining.min(MAX_PAGE_ITEMS)))
    }

    /// Adds a page. `next` is the key that the Runtime sent with it; the last page has none. Earlier versions of the Runtime
    /// send no `next`: without it, a page that is full is not the last.
    pub fn push(&mut self, page: Vec<T>, next: Option<K>) -> Result<(), ClientError> {
        let requested = self.remaining.min(MAX_PAGE_ITEMS);
        let is_wrong = next.is_some() && next != page.last().map(&self.key);
        if page.len() > requested || is_wrong {
            return Err(ClientError::Unexpected(UnexpectedResponse::Contradiction));
        }
        let is_last = page.len() < requested && next.is_none();
        self.remaining = if is_last { 0 } else { self.remaining - page.len() };
        for item in page {
            let key = (self.key)(&item);
            if self.after.as_ref().is_some_and(|after| *after >= key) {
                return Err(ClientError::Unexpected(UnexpectedResponse::Contradiction));
            }
            self.after = Some(key);
            self.items.push(item);
        }
        Ok(())
    }

    /// Returns all items.
    pub fn into_items(self) -> Vec<T> {
        self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_in_order_and_ends_with_a_page_that_is_not_full() {
        let mut pages = Pages::new(None, usize::MAX, |number: &usize| *number);
        assert_eq!(pages.next(), Some((None, MAX_PAGE_ITEMS)));
        pages.push((0..MAX_PAGE_ITEMS).collect(), None).expect("a page");
        assert_eq!(pages.next(), Some((Some(&(MAX_PAGE_ITEMS - 1)), MAX_PAGE_ITEMS)));
        pages.push(vec![MAX_PAGE_ITEMS], None).expect("a page");
        assert_eq!(pages.next(), None);
        assert_eq!(pages.into_items().len(), MAX_PAGE_ITEMS + 1);

        let mut some = Pages::new(Some(7), 2, |number: &usize| *number);
        assert_eq!(some.next(), Some((Some(&7), 2)));
        for bad in [vec![7], vec![9, 8], vec![8, 8], vec![8, 9, 10]] {
            let mut pages = Pages::new(Some(7), 2, |number: &usize| *number);
            assert_eq!(pages.push(bad, None), Err(ClientError::Unexpected(UnexpectedResponse::Contradiction)));
        }
        some.push(vec![8, 9], None).expect("a page");
        assert_eq!(some.next(), None);

        // A page with `next` is not the last, even if it has fewer items than requested.
        let mut cut = Pages::new(None, 5, |number: &usize| *number);
        cut.push(vec![1, 2], Some(2)).expect("a page");
        assert_eq!(cut.next(), Some((Some(&2), 3)));
        for (page, next) in [(vec![3, 4], 3), (vec![3, 4], 5), (vec![], 2), (vec![], 3)] {
            assert_eq!(cut.push(page, Some(next)), Err(ClientError::Unexpected(UnexpectedResponse::Contradiction)));
        }
        cut.push(vec![3], Some(3)).expect("a page");
        cut.push(vec![4], None).expect("a page");
        assert_eq!(cut.next(), None);
        assert_eq!(cut.into_items(), [1, 2, 3, 4]);
    }
}
