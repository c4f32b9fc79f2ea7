//! The operations of one Runtime: those that wait, and those that the Runtime has taken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backend_api::pull::{
    Answer, MAX_RUNNING_OPERATIONS, Operation, OperationId, Outcome, PollerId, SentAnswer, SentOperation,
};
use bundles::WorkspaceId;
use bytes::Bytes;
use runtime_api::Code;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::link_error::LinkError;

/// Times and limits of a Runtime that polls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullLimits {
    /// Time for which a poll without operations is held.
    pub hold: Duration,
    /// Time without a poll after which the Runtime counts as unreachable.
    pub silence: Duration,
    /// Time in which the Runtime must answer a short operation.
    pub response: Duration,
    /// Time in which the Runtime must answer an operation that transfers content or works for long.
    pub work: Duration,
    /// Maximum number of operations that wait.
    pub queued: usize,
}

impl Default for PullLimits {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(25),
            silence: Duration::from_secs(60),
            response: Duration::from_secs(30),
            // The default limit of a call is 120 s.
            work: Duration::from_secs(150),
            queued: 64,
        }
    }
}

/// Error returned to a polling process after another one began to poll for the same Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another process polls for this Runtime")]
pub struct Superseded;

/// Bytes of the operations of one response, unless the first one alone has more.
const MAX_RESPONSE_BYTES: usize = 4 << 20;

/// Superseded processes that are remembered. A process that was forgotten would supersede its successor.
const MAX_SUPERSEDED: usize = 64;

/// An operation that waits or was taken.
struct Entry {
    operation: Operation,
    /// Content of the blob that the operation stores.
    content: Option<Bytes>,
    answer: oneshot::Sender<Result<Answer, LinkError>>,
}

#[derive(Default)]
struct State {
    poller: Option<PollerId>,
    superseded: VecDeque<PollerId>,
    /// Time of the newest poll.
    polled: Option<Instant>,
    /// Number of the newest poll that waits. Earlier ones end, because their connections may be broken.
    turn: u64,
    /// Polls that wait now.
    holding: usize,
    waiting: VecDeque<OperationId>,
    entries: BTreeMap<OperationId, Entry>,
    running: BTreeSet<OperationId>,
}

/// The operations of one Runtime.
pub(super) struct Queue {
    pub(super) limits: PullLimits,
    state: Mutex<State>,
    /// Signalled when polls should look at the state again.
    changed: Notify,
}

/// Removes an operation whose caller no longer waits.
struct RemoveOnDrop<'a>(&'a Queue, OperationId);

impl Drop for RemoveOnDrop<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.entries.remove(&self.1);
        state.running.remove(&self.1);
        state.waiting.retain(|id| *id != self.1);
    }
}

/// Counts a poll that waits.
struct Holding<'a>(&'a Queue);

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.holding -= 1;
        state.polled = Some(Instant::now());
    }
}

impl State {
    /// Returns the time from which the Runtime counts as unreachable, if no poll comes. `None` while a poll waits.
    fn silent_from(&self, limits: &PullLimits) -> Option<Instant> {
        match (self.holding, self.polled) {
            (0, Some(polled)) => Some(polled + limits.silence),
            (0, None) => Some(Instant::now()),
            _ => None,
        }
    }

    /// Makes a process the polling one. Operations that an earlier one has taken are lost.
    fn accept(&mut self, poller: PollerId) -> Result<(), Superseded> {
        if self.superseded.contains(&poller) {
            return Err(Superseded);
        }
        if let Some(before) = self.poller.replace(poller).filter(|before| *before != poller) {
            self.superseded.push_back(before);
            if self.superseded.len() > MAX_SUPERSEDED {
                self.superseded.pop_front();
            }
            for id in std::mem::take(&mut self.running) {
                self.end(id, Err(LinkError::Unreachable));
            }
        }
        self.polled = Some(Instant::now());
        Ok(())
    }

    fn end(&mut self, id: OperationId, result: Result<Answer, LinkError>) {
        self.running.remove(&id);
        if let Some(entry) = self.entries.remove(&id) {
            // Fails if the caller no longer waits.
            let _ = entry.answer.send(result);
        }
    }

    /// Takes operations that wait and that the policy still allows.
    fn take(&mut self, is_allowed: &impl Fn(&WorkspaceId) -> bool) -> Vec<SentOperation> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while self.running.len() < MAX_RUNNING_OPERATIONS
            && let Some(id) = self.waiting.front().copied()
        {
            let Some(entry) = self.entries.get(&id) else {
                self.waiting.pop_front();
                continue;
            };
            if !entry.operation.workspace().is_none_or(is_allowed) {
                self.waiting.pop_front();
                self.end(id, Err(LinkError::NotAllowed));
                continue;
            }
            // An operation holds only names, numbers and texts, so it can always be serialized.
            let operation = serde_json::to_value(&entry.operation).unwrap_or_default();
            bytes += operation.to_string().len();
            if bytes > MAX_RESPONSE_BYTES && !taken.is_empty() {
                break;
            }
            self.waiting.pop_front();
            self.running.insert(id);
            taken.push(SentOperation { id, operation });
        }
        taken
    }
}

impl Queue {
    pub(super) fn new(limits: PullLimits) -> Self {
        Self { limits, state: Mutex::default(), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if the Runtime counts as unreachable.
    pub(super) fn is_silent(&self) -> bool {
        self.state().silent_from(&self.limits).is_some_and(|from| from <= Instant::now())
    }

    /// Queues an operation and waits for its answer.
    pub(super) async fn perform(
        &self,
        operation: Operation,
        content: Option<Bytes>,
        timeout: Duration,
    ) -> Result<Answer, LinkError> {
        let deadline = Instant::now() + timeout;
        // Random, so that an answer to an operation of an earlier process of the Backend has no effect.
        let id = OperationId::from(fastrand::u64(..));
        let (answer, mut answered) = oneshot::channel();
        let _guard = {
            let mut state = self.state();
            if state.silent_from(&self.limits).is_some_and(|from| from <= Instant::now()) {
                return Err(LinkError::Unreachable);
            }
            if state.waiting.len() >= self.limits.queued {
                return Err(LinkError::Busy(Code::Busy));
            }
            state.waiting.push_back(id);
            state.entries.insert(id, Entry { operation, content, answer });
            RemoveOnDrop(self, id)
        };
        self.changed.notify_waiters();
        loop {
            let silent_from = self.state().silent_from(&self.limits);
            // A poll that waits ends within `hold`.
            let silent_from = silent_from.unwrap_or_else(|| Instant::now() + self.limits.hold);
            tokio::select! {
                answer = &mut answered => return answer.unwrap_or(Err(LinkError::Unreachable)),
                () = sleep_until(deadline.min(silent_from)) => {}
            }
            if Instant::now() >= deadline {
                return Err(LinkError::TimedOut);
            }
            if self.is_silent() {
                return Err(LinkError::Unreachable);
            }
        }
    }

    /// Passes the answer of a Runtime to the caller that waits for it. An answer to an unknown operation has no effect.
    pub(super) fn answer(&self, poller: PollerId, sent: SentAnswer) -> Result<(), Superseded> {
        let mut state = self.state();
        state.accept(poller)?;
        if state.running.contains(&sent.operation) {
            let result = match serde_json::from_value::<Outcome>(sent.outcome) {
                Ok(Outcome::Answer(answer)) => Ok(*answer),
                Ok(Outcome::Refused { code, acknowledged, details }) => {
                    Err(LinkError::of_refusal(code, acknowledged, details))
                }
                Ok(Outcome::Unsupported) | Err(_) => Err(LinkError::Unsupported),
            };
            state.end(sent.operation, result);
            // There may be a place for another operation.
            drop(state);
            self.changed.notify_waiters();
        }
        Ok(())
    }

    /// Takes the next operations, and waits for them. `held` are the operations that the Runtime has.
    pub(super) async fn poll(
        &self,
        poller: PollerId,
        held: &BTreeSet<OperationId>,
        is_allowed: impl Fn(&WorkspaceId) -> bool,
    ) -> Result<Vec<SentOperation>, Superseded> {
        let until = Instant::now() + self.limits.hold;
        let (_holding, turn) = {
            let mut state = self.state();
            state.accept(poller)?;
            let lost: Vec<OperationId> = state.running.difference(held).copied().collect();
            for id in lost {
                state.running.remove(&id);
                state.waiting.push_front(id);
            }
            state.turn += 1;
            state.holding += 1;
            (Holding(self), state.turn)
        };
        self.changed.notify_waiters();
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Registered before the state is read, so that no change is missed.
            changed.as_mut().enable();
            {
                let mut state = self.state();
                if state.superseded.contains(&poller) {
                    return Err(Superseded);
                }
                if state.turn != turn {
                    return Ok(Vec::new());
                }
                let taken = state.take(&is_allowed);
                if !taken.is_empty() {
                    return Ok(taken);
                }
            }
            tokio::select! {
                () = changed => {}
                () = sleep_until(until) => return Ok(Vec::new()),
            }
        }
    }

    /// Returns the workspace and the content of an operation that the Runtime has taken.
    pub(super) fn content(&self, id: OperationId) -> Option<(WorkspaceId, Bytes)> {
        let state = self.state();
        let entry = state.entries.get(&id).filter(|_| state.running.contains(&id))?;
        Some((entry.operation.workspace()?.clone(), entry.content.clone()?))
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn queue() -> Queue {
        Queue::new(PullLimits::default())
    }

    async fn first(queue: &Queue, poller: u64) -> Result<Vec<SentOperation>, Superseded> {
        queue.poll(poller.into(), &BTreeSet::new(), |_| true).await
    }

    fn worker() -> Operation {
        Operation::Worker { workspace: "acme".parse().expect("an id"), worker: "w".parse().expect("an id") }
    }

    #[tokio::test(start_paused = true)]
    async fn runtime_that_does_not_poll_is_unreachable_and_one_that_does_not_answer_times_out() {
        let queue = queue();
        let long = Duration::from_secs(100);
        assert_eq!(queue.perform(worker(), None, long).await, Err(LinkError::Unreachable));
        // A poll that finds nothing ends after its time.
        let began = Instant::now();
        assert_eq!(first(&queue, 1).await, Ok(Vec::new()));
        assert_eq!(began.elapsed(), queue.limits.hold);
        let began = Instant::now();
        assert_eq!(queue.perform(worker(), None, long).await, Err(LinkError::Unreachable));
        assert_eq!(began.elapsed(), queue.limits.silence);
        let (polled, performed) = tokio::join!(first(&queue, 1), async {
            tokio::task::yield_now().await;
            queue.perform(worker(), None, Duration::from_secs(5)).await
        });
        assert_eq!((polled.map(|taken| taken.len()), performed), (Ok(1), Err(LinkError::TimedOut)));
        assert!(queue.state().entries.is_empty() && queue.state().running.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn lost_operation_is_sent_again_and_a_held_one_is_not() {
        let queue = queue();
        assert_eq!(first(&queue, 1).await, Ok(Vec::new()));
        let perform = queue.perform(worker(), None, Duration::from_secs(200));
        let polls = async {
            let sent = first(&queue, 1).await.expect("an operation").remove(0);
            // The response did not arrive, so the next poll does not name the operation.
            assert_eq!(first(&queue, 1).await, Ok(vec![sent.clone()]));
            let held = [sent.id].into();
            assert_eq!(queue.poll(1.into(), &held, |_| true).await, Ok(Vec::new()));
            let outcome = json!({ "refused": { "code": "worker_not_found" } });
            queue.answer(1.into(), SentAnswer { operation: sent.id, outcome }).expect("accepted");
        };
        let (refused, ()) = tokio::join!(perform, polls);
        assert_eq!(refused.map_err(|error| error.code()), Err(Code::WorkerNotFound));
    }

    #[tokio::test(start_paused = true)]
    async fn newest_process_polls_and_the_earlier_one_is_refused() {
        let queue = queue();
        let (earlier, newer) = tokio::join!(first(&queue, 1), async {
            tokio::task::yield_now().await;
            first(&queue, 2).await
        });
        assert_eq!((earlier, newer), (Err(Superseded), Ok(Vec::new())));
        assert_eq!(first(&queue, 1).await, Err(Superseded));
        let (perform, ()) = tokio::join!(queue.perform(worker(), None, Duration::from_secs(9)), async {
            assert_eq!(first(&queue, 2).await.map(|taken| taken.len()), Ok(1));
            // The operation that the earlier process has taken is lost.
            assert_eq!(first(&queue, 3).await, Ok(Vec::new()));
        });
        assert_eq!(perform, Err(LinkError::Unreachable));
    }

    #[tokio::test(start_paused = true)]
    async fn operation_that_the_policy_no_longer_allows_is_not_sent() {
        let queue = queue();
        assert_eq!(first(&queue, 1).await, Ok(Vec::new()));
        let perform = queue.perform(worker(), Some(Bytes::from_static(b"x")), Duration::from_secs(9));
        let held = BTreeSet::new();
        let poll = queue.poll(1.into(), &held, |_| false);
        assert_eq!(tokio::join!(perform, poll), (Err(LinkError::NotAllowed), Ok(Vec::new())));
        assert_eq!(queue.content(7.into()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn queue_is_bounded() {
        let queue = queue();
        assert_eq!(first(&queue, 1).await, Ok(Vec::new()));
        let many = (0..queue.limits.queued + 1).map(|_| queue.perform(worker(), None, Duration::from_secs(1)));
        let results = futures_util::future::join_all(many).await;
        let busy = results.iter().filter(|result| **result == Err(LinkError::Busy(Code::Busy))).count();
        assert_eq!(busy, 1);
    }
}
