//! The side of a Runtime that polls a Backend.
//!
//! Operations are performed by an [`EmbeddedRuntime`], so bundles are verified, limits apply and refusals are reported as if the
//! Backend had sent a request. Operations in workspaces that the settings do not name are refused.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::Method;
use backend_api::pull::{
    Answer, MAX_HELD_OPERATIONS, MAX_POLL_BYTES, Operation, OperationId, Outcome, PollRequest, PollResponse, PollerId,
    SentAnswer, SentOperation,
};
use bundles::WorkspaceId;
use bytes::Bytes;
use runtime_api::Code;
use runtime_client::{Client, ClientError};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use worker_runtime::Runtime;

use crate::link_error::LinkError;
use crate::runtime_link::{EmbeddedRuntime, RuntimeLink, SignedManifest};
use crate::visibility::Names;

/// Timeout of a poll. A Backend holds a poll for 25 s.
const POLL_TIMEOUT: Duration = Duration::from_secs(45);

/// Minimum time between two polls that return nothing, so that a broken Backend causes no busy loop.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Time for which an answer is sent again after failures. Afterwards the Backend no longer waits for it.
const ANSWER_PERIOD: Duration = Duration::from_secs(120);

/// Waits between two attempts after failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryWaits {
    /// Wait after the first failure. Doubled for each further failure, and varied by up to a half.
    pub min: Duration,
    /// Maximum wait. Also the wait after the Backend has refused the Runtime.
    pub max: Duration,
}

impl Default for RetryWaits {
    fn default() -> Self {
        Self { min: Duration::from_secs(1), max: Duration::from_secs(60) }
    }
}

/// Polls a Backend and performs its operations.
#[derive(Debug)]
pub struct PullAgent(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: Client,
    link: EmbeddedRuntime,
    workspaces: Names<WorkspaceId>,
    waits: RetryWaits,
    poller: PollerId,
    /// Operations that were taken and whose answers the Backend has not acknowledged.
    held: Mutex<BTreeSet<OperationId>>,
}

impl PullAgent {
    /// Creates an agent. Sends nothing. `workspaces` are those for which the Backend may decide.
    pub fn new(client: Client, runtime: Runtime, workspaces: Names<WorkspaceId>, waits: RetryWaits) -> Self {
        let (link, poller) = (EmbeddedRuntime::from(runtime), PollerId::from(fastrand::u64(..)));
        Self(Arc::new(Shared { client, link, workspaces, waits, poller, held: Mutex::default() }))
    }

    /// Polls until `stop` completes. Operations in progress are then dropped, which the Backend notices.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut tasks = JoinSet::new();
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let polled = tokio::select! {
                () = &mut stop => break,
                polled = self.0.poll() => polled,
            };
            let wait = match polled {
                Ok(operations) => {
                    failures = 0;
                    let is_empty = operations.is_empty();
                    for sent in operations {
                        // An operation that is already in progress was sent again, because a poll crossed its answer.
                        if self.0.hold(sent.id) {
                            let shared = self.0.clone();
                            tasks.spawn(async move { shared.perform_and_answer(sent).await });
                        }
                    }
                    if is_empty { MIN_POLL_INTERVAL.saturating_sub(began.elapsed()) } else { Duration::ZERO }
                }
                Err(error) => {
                    let wait = self.0.waits.after(&error, failures);
                    failures += 1;
                    let code = error.code();
                    tracing::warn!(target: "yoi::pull", code, failures, "the Backend cannot be polled");
                    wait
                }
            };
            while tasks.try_join_next().is_some() {}
            tokio::select! {
                () = &mut stop => break,
                () = sleep(wait) => {}
            }
        }
        tasks.shutdown().await;
    }
}

impl RetryWaits {
    fn after(&self, error: &ClientError, failures: u32) -> Duration {
        let most = match error {
            // Another process polls for this Runtime, or the token is wrong: a retry helps only after someone acts.
            ClientError::Problem(problem) if matches!(problem.status(), 401 | 403 | 409) => self.max,
            _ => self.min.saturating_mul(2_u32.saturating_pow(failures.min(20))).min(self.max),
        };
        most.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

impl Shared {
    fn held(&self) -> std::sync::MutexGuard<'_, BTreeSet<OperationId>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `false` if the operation is held already, or if too many are.
    fn hold(&self, id: OperationId) -> bool {
        let mut held = self.held();
        held.len() < MAX_HELD_OPERATIONS && held.insert(id)
    }

    async fn poll(&self) -> Result<Vec<SentOperation>, ClientError> {
        let request = PollRequest { poller: self.poller, wait: true, held: self.held().clone(), answer: None };
        let request = self.client.request(Method::POST, ["v1", "pull"]).json(&request).timeout(POLL_TIMEOUT);
        let PollResponse { operations } = request.send_json().await?;
        Ok(operations)
    }

    async fn perform_and_answer(&self, sent: SentOperation) {
        let SentOperation { id, operation } = sent;
        let outcome = match serde_json::from_value::<Operation>(operation) {
            Ok(operation) => match self.perform(id, operation).await {
                Ok(answer) => Outcome::Answer(Box::new(answer)),
                Err(error) => refusal(error),
            },
            Err(_) => Outcome::Unsupported,
        };
        // Without any answer, the Backend would send the operation again, and a tool would be called again.
        if !self.answer(SentAnswer { operation: id, outcome: json(&outcome) }).await {
            self.answer(SentAnswer { operation: id, outcome: json(&Outcome::Unsupported) }).await;
        }
        self.held().remove(&id);
    }

    /// Sends an answer, with retries. Returns `false` if the Backend refuses it.
    async fn answer(&self, answer: SentAnswer) -> bool {
        let request = PollRequest { poller: self.poller, wait: false, held: BTreeSet::new(), answer: Some(answer) };
        let until = Instant::now() + ANSWER_PERIOD;
        let mut failures = 0;
        loop {
            let sent = self.client.request(Method::POST, ["v1", "pull"]).json(&request);
            match sent.send_json::<PollResponse>().await {
                Ok(_) => return true,
                // The Backend will not accept it later.
                Err(ClientError::Problem(problem)) if !matches!(problem.status(), 429 | 503) => return false,
                Err(error) => {
                    if Instant::now() >= until {
                        return true;
                    }
                    sleep(self.waits.after(&error, failures)).await;
                    failures += 1;
                }
            }
        }
    }

    async fn perform(&self, id: OperationId, operation: Operation) -> Result<Answer, LinkError> {
        if !operation.workspace().is_none_or(|workspace| self.workspaces.accepts(workspace)) {
            return Err(LinkError::of_refusal(Code::WorkspaceDenied, None, Box::default()));
        }
        let link = &self.link;
        Ok(match operation {
            Operation::Status {} => {
                let mut status = link.status().await?;
                status.workspaces.retain(|workspace, _| self.workspaces.accepts(workspace));
                Answer::Status(status)
            }
            Operation::Facts { workspace, digest } => {
                let facts = link.facts(&workspace, digest).await?;
                Answer::Facts(String::from_utf8(facts.to_json()).map_err(|_| LinkError::Unsupported)?)
            }
            Operation::PutManifest { workspace, digest, text, signed } => {
                let text = Bytes::from(text);
                let (manifest, envelope) = if signed { (Bytes::new(), Some(text)) } else { (text, None) };
                let signed = SignedManifest { digest, manifest, envelope };
                Answer::Missing(link.put_manifest(&workspace, &signed).await?.unwrap_or_default())
            }
            Operation::HasBlob { workspace, digest } => Answer::HasBlob(link.has_blob(&workspace, digest).await?),
            Operation::PutBlob { workspace, digest, bytes } => {
                let max_bytes = usize::try_from(bytes).map_err(|_| LinkError::Unsupported)?;
                let path = ["v1", "pull", "blobs", &id.to_string()];
                let content = self.client.content(path, digest, max_bytes).await?;
                link.put_blob(&workspace, digest, content).await?;
                Answer::Done
            }
            Operation::SetDesired { workspace, desired } => {
                Answer::Acknowledged(link.set_desired(&workspace, &desired).await?)
            }
            Operation::CreateWorker { workspace, worker, request } => {
                let created = link.create_worker(&workspace, &worker, &request).await?;
                Answer::Created { worker: created.worker, new: created.new }
            }
            Operation::Worker { workspace, worker } => Answer::Worker(link.worker(&workspace, &worker).await?),
            Operation::WorkerSpec { workspace, worker } => Answer::Spec(link.worker_spec(&workspace, &worker).await?),
            Operation::Workers { workspace, after, limit } => {
                let page = link.workers(&workspace, after.as_ref(), limit.into()).await?;
                Answer::Workers { workers: page.items, more: page.more }
            }
            Operation::CallTool { workspace, worker, tool, call } => {
                Answer::Called(link.call_tool(&workspace, &worker, &tool, Bytes::from(call)).await?)
            }
            Operation::History { workspace, worker, after, limit } => {
                let page = link.history(&workspace, &worker, after, limit.into()).await?;
                Answer::History { entries: page.items, more: page.more }
            }
            Operation::WorkerServices { workspace, worker } => {
                Answer::Services(link.worker_services(&workspace, &worker).await?)
            }
            Operation::Record { workspace, digest } => {
                let record = link.record(&workspace, digest).await?;
                Answer::Record(String::from_utf8(record.into()).map_err(|_| LinkError::Unsupported)?)
            }
            Operation::Events { workspace, after, limit } => {
                Answer::Events(link.available_events(&workspace, after, limit.into()).await?)
            }
            Operation::StopWorker { workspace, worker } => Answer::Worker(link.stop_worker(&workspace, &worker).await?),
            Operation::RemoveWorker { workspace, worker } => {
                link.remove_worker(&workspace, &worker).await?;
                Answer::Done
            }
        })
    }
}

fn refusal(error: LinkError) -> Outcome {
    match error {
        LinkError::Unsupported => Outcome::Unsupported,
        LinkError::Refused { code, acknowledged, details } => Outcome::Refused { code, acknowledged, details },
        error => Outcome::Refused { code: error.code(), acknowledged: None, details: Box::default() },
    }
}

/// Returns an outcome as JSON. One that is too large for the Backend is replaced by a refusal.
fn json(outcome: &Outcome) -> Value {
    // An outcome holds only names, numbers, texts and JSON, so it can always be serialized.
    let value = serde_json::to_value(outcome).unwrap_or_default();
    if value.to_string().len() < MAX_POLL_BYTES - 4096 {
        return value;
    }
    let refused = Outcome::Refused { code: Code::TooLarge, acknowledged: None, details: Box::default() };
    serde_json::to_value(refused).unwrap_or_default()
}
