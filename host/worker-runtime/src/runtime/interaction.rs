//! Calling a worker's tools. There is one way: schema, policy, tool, schema, history. Nothing is
//! injected, and no call leaves no trace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bundles::canonical::{JsonError, depth, parse_unique, reason};
use bundles::manifest::Confirm;
use bundles::{Blob, Digest, ToolName};
use content_store::metadata::MetadataError;
use host_tools::tool::{CallScope, ToolContext, ToolError};
use runtime_api::call::{CallResult, ToolCall};
use runtime_api::event::EventKind;
use runtime_api::history::{Entry, EntryKind, Payload};
use runtime_api::referrer::Referrer;
use runtime_api::worker::{StopReason, WorkerId};
use serde_json::Value;
use tokio::sync::RwLockReadGuard;
use tokio::time::{Instant, timeout_at};
use tool_schema::{Fault, IncompleteValidation, Mismatch, ValidationError, Work};

use super::catalogue::WorkerError;
use super::live_worker::{LiveTool, ParsedSchema};
use crate::contain::{Contained, Panicked};
use crate::content::ContentError;
use crate::ledger::{
    ATTEMPTS, Change, ChangeError, Mark, Row, StoredState, Usage, WorkerRow, blob_key, entry_key, uses_key, worker_key,
};
use crate::tenants::{Busy, Turn};
use crate::workspace::Workspace;

/// Calls into one workspace's workers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Interaction {
    pub(crate) workspace: Workspace,
}

/// Why a call did not come to an answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no such worker, or the stores say no.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The worker takes no calls.
    #[error("worker `{worker}` takes no calls: {}", reason.sentence())]
    NotRunning {
        /// The worker.
        worker: WorkerId,
        /// Why.
        reason: StopReason,
    },
    /// The worker has no such tool.
    #[error("the worker has no tool `{0}`")]
    ToolNotFound(ToolName),
    /// A person must be asked first.
    #[error("the bundle wants a person to confirm `{0}`")]
    ConfirmationRequired(ToolName),
    /// The tool was called as often as the bundle allows.
    #[error("`{tool}` was called {allowed} times, which is all that the bundle allows")]
    CallsUsedUp {
        /// The tool.
        tool: ToolName,
        /// How often it may be called.
        allowed: u32,
    },
    /// The worker's history is full.
    #[error("the worker's history has {entries} entries, which is all that it may have")]
    HistoryFull {
        /// Entries that there are.
        entries: u64,
    },
    /// The input does not fit.
    #[error("the input does not fit its schema{}: {reason}", place(pointer))]
    InvalidInput {
        /// Where, in the input; its keys are the caller's own.
        pointer: String,
        /// What the schema says about that place.
        reason: String,
    },
    /// A schema of the tool has a fault. New bundles with such a schema are refused.
    #[error("the {what} schema of `{tool}` is invalid {fault}")]
    FaultySchema {
        /// The tool.
        tool: ToolName,
        /// `input` or `output`.
        what: &'static str,
        /// The fault.
        fault: Arc<Fault>,
    },
    /// Validating takes more work than it may.
    #[error("the {what} of `{tool}` cannot be validated: {cause}")]
    SchemaWork {
        /// The tool.
        tool: ToolName,
        /// `input` or `output`.
        what: &'static str,
        /// The limit that ended the validation.
        cause: IncompleteValidation,
    },
    /// The input or the output is too large.
    #[error("{actual} bytes of {what} are more than the {allowed} allowed (`call_bytes`)")]
    TooLarge {
        /// `input` or `output`.
        what: &'static str,
        /// Its bytes.
        actual: u64,
        /// Bytes that are allowed.
        allowed: u64,
    },
    /// The input has too many values, each of which takes many times the memory of its text.
    #[error("{actual} values are more than the {allowed} allowed (`call_values`)")]
    TooManyValues {
        /// Values that there are, or a few more.
        actual: u64,
        /// Values that are allowed.
        allowed: u64,
    },
    /// The call is not the JSON that a call is.
    #[error("the call is not understood at line {line}, column {column}: {reason}")]
    Unreadable {
        /// The reason, without content of the call.
        reason: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// An object of the call holds one key twice.
    #[error("an object of the call holds one key twice: line {line}, column {column}")]
    DuplicateKey {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The output does not fit.
    #[error("`{0}` answered what does not fit its schema")]
    InvalidOutput(ToolName),
    /// The tool says no.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The tool panicked, which is a fault of the tool.
    #[error("host tool `{0}` panicked")]
    ToolPanicked(ToolName),
    /// It took too long, and was ended.
    #[error("`{tool}` took longer than {allowed_ms} ms (`call_ms`)")]
    DeadlineExceeded {
        /// The tool.
        tool: ToolName,
        /// Milliseconds that were allowed.
        allowed_ms: u64,
    },
}

fn place(pointer: &str) -> String {
    if pointer.is_empty() { String::new() } else { format!(" at `{pointer}`") }
}

impl From<ContentError> for CallError {
    fn from(error: ContentError) -> Self {
        Self::Worker(error.into())
    }
}

impl From<MetadataError> for CallError {
    fn from(error: MetadataError) -> Self {
        Self::Worker(error.into())
    }
}

impl From<Busy> for CallError {
    fn from(error: Busy) -> Self {
        Self::Worker(error.into())
    }
}

impl CallError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Worker(error) => error.code(),
            Self::NotRunning { .. } => "worker_stopped",
            Self::ToolNotFound(_) => "tool_not_found",
            Self::ConfirmationRequired(_) => "confirmation_required",
            Self::CallsUsedUp { .. } => "calls_used_up",
            Self::HistoryFull { .. } => "history_full",
            Self::InvalidInput { .. } => "invalid_input",
            Self::FaultySchema { .. } => "invalid_schema",
            Self::SchemaWork { .. } => "limit_exceeded",
            Self::DuplicateKey { .. } => "duplicate_key",
            Self::TooLarge { .. } | Self::TooManyValues { .. } => "too_large",
            Self::Unreadable { .. } => "invalid_request",
            Self::InvalidOutput(_) => "invalid_output",
            Self::Tool(error) => error.code(),
            Self::ToolPanicked(_) => "tool_panicked",
            Self::DeadlineExceeded { .. } => "deadline_exceeded",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        let plain = match self {
            Self::Worker(error) => return error.help(),
            Self::Tool(error) => error.help(),
            Self::NotRunning { .. } => "make another worker",
            Self::ToolNotFound(_) => "the worker's spec lists its tools",
            Self::ConfirmationRequired(_) => "ask a person, and say so in the call (`confirmed`)",
            Self::CallsUsedUp { .. } => "make another worker, or raise `max_calls` in the bundle",
            Self::HistoryFull { .. } => "make another worker: a history is not shortened",
            Self::InvalidInput { .. } => "see the tool's schema",
            Self::FaultySchema { fault, .. } => fault.problem.help(),
            Self::SchemaWork { .. } => {
                "simplify the tool's schema, pass less at a time, or raise the limit of that name"
            }
            Self::DuplicateKey { .. } => "keep one of the two",
            Self::TooLarge { .. } | Self::TooManyValues { .. } => {
                "ask for less at a time, or raise the limit of that name"
            }
            Self::Unreadable { .. } => "a call is `{ \"input\": …, \"confirmed\": false }`; see /openapi.json",
            Self::InvalidOutput(_) => "have the tool or its schema mended",
            Self::ToolPanicked(_) => "report the panic to the tool's author; what the tool did before is not undone",
            Self::DeadlineExceeded { .. } => "ask for less at a time, or raise the limit of that name",
        };
        plain.to_owned()
    }
}

/// Ends a validation that nobody waits for any more.
#[derive(Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads a call. A key that stands twice is refused: which of the two counts is for nobody to guess.
fn read_call(call: &[u8]) -> Result<ToolCall, CallError> {
    match parse_unique(call) {
        Err(JsonError::DuplicateKey { line, column }) => return Err(CallError::DuplicateKey { line, column }),
        // The reader would take a list for the fields in their order.
        Ok(value) if !value.is_object() => {
            return Err(CallError::Unreadable { reason: "expected an object".to_owned(), line: 1, column: 1 });
        }
        Ok(value) => {
            if let Ok(call) = serde_json::from_value(value) {
                return Ok(call);
            }
        }
        Err(_) => {}
    }
    // For what is no call, the place is that of reading the call itself.
    serde_json::from_slice(call).map_err(|error| CallError::Unreadable {
        reason: reason(call, &error),
        line: error.line(),
        column: error.column(),
    })
}

/// How many values a JSON text has at the most: each but the first stands after a sign of its own.
fn values(json: &[u8]) -> u64 {
    let (mut count, mut quoted, mut escaped) = (1, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' | b':' | b'[' | b'{' if !quoted => count += 1,
            _ => {}
        }
    }
    count
}

/// Content of at most so many bytes stands in the history itself.
const INLINE_BYTES: usize = 4096;

/// Levels of content that stands in the history itself. JSON is read up to 128 levels, of which the entry takes some: a
/// row with deeper content could not be read again.
const INLINE_DEPTH: usize = 64;

impl Interaction {
    /// Calls a tool of a worker. The beginning is durable before the tool begins, the end before this
    /// returns. Dropping the future ends the tool.
    pub async fn call(&self, worker: &WorkerId, tool: &ToolName, call: ToolCall) -> Result<CallResult, CallError> {
        let input = serde_json::to_vec(&call.input).unwrap_or_default();
        self.fits("input", input.len())?;
        let _turn = self.turn().await?;
        self.called(worker, tool, call, input).await
    }

    /// The same for a call as JSON, which is read when its turn has come: while calls wait for each other they
    /// take no more memory than their texts.
    pub async fn call_json(&self, worker: &WorkerId, tool: &ToolName, call: &[u8]) -> Result<CallResult, CallError> {
        let allowed = self.workspace.shared.limits.call_values;
        let actual = values(call);
        if actual > allowed {
            return Err(CallError::TooManyValues { actual, allowed });
        }
        let _turn = self.turn().await?;
        let call = read_call(call)?;
        let input = serde_json::to_vec(&call.input).unwrap_or_default();
        self.fits("input", input.len())?;
        self.called(worker, tool, call, input).await
    }

    async fn turn(&self) -> Result<Turn, CallError> {
        Ok(self.workspace.shared.tenants.turn(&self.workspace.id).await?)
    }

    async fn called(
        &self,
        worker: &WorkerId,
        tool: &ToolName,
        call: ToolCall,
        input: Vec<u8>,
    ) -> Result<CallResult, CallError> {
        let shared = &self.workspace.shared;
        let row = self.workspace.catalogue().row(worker).await?;
        if let StoredState::Stopped { reason, .. } = row.state {
            return Err(CallError::NotRunning { worker: worker.clone(), reason });
        }
        let live = self.workspace.catalogue().live(worker, &row).await?;
        let held = live.tools.get(tool).ok_or_else(|| CallError::ToolNotFound(tool.clone()))?;
        // One deadline for the tool and for what is judged before and after it.
        let allowed_ms = shared.limits.call_ms;
        let deadline = Instant::now() + Duration::from_millis(allowed_ms);
        let late = |_| CallError::DeadlineExceeded { tool: tool.clone(), allowed_ms };
        let judged = self.judged(tool, "input", held.input.as_ref(), call.input);
        let (judged, input_value) = timeout_at(deadline, judged).await.map_err(late)??;
        judged.map_err(|Mismatch { pointer, reason }| CallError::InvalidInput { pointer, reason })?;
        let began = self.begin(worker, row.record, held, call.confirmed, &input).await?;
        let context = ToolContext::new(CallScope {
            workspace: self.workspace.id.clone(),
            worker: worker.clone(),
            call_id: began.number,
            spec: Some(live.spec.clone()),
            config: shared.config.load_full(),
            secrets: shared.secrets.clone(),
            policy: held.spec.policy.clone(),
            answer_bytes: shared.limits.call_bytes,
        });
        let answer = async {
            let contained = Contained::new(|| held.tool.call(context, input_value)).await;
            let output = contained.map_err(|Panicked| CallError::ToolPanicked(tool.clone()))??;
            let (judged, output) = self.judged(tool, "output", held.output.as_ref(), output).await?;
            judged.map_err(|_| CallError::InvalidOutput(tool.clone()))?;
            let bytes = serde_json::to_vec(&output).unwrap_or_default();
            self.fits("output", bytes.len())?;
            Ok((output, bytes))
        };
        let answer = timeout_at(deadline, answer).await.map_err(late).flatten();
        self.end(worker, tool, &began, answer).await
    }

    fn fits(&self, what: &'static str, bytes: usize) -> Result<(), CallError> {
        let (actual, allowed) = (bytes as u64, self.workspace.shared.limits.call_bytes);
        if actual > allowed { Err(CallError::TooLarge { what, actual, allowed }) } else { Ok(()) }
    }

    /// Validates a value on a thread that computes, and hands it back. A tenant wrote the schema. Dropping the future
    /// ends the validation soon after.
    async fn judged(
        &self,
        tool: &ToolName,
        what: &'static str,
        schema: Option<&ParsedSchema>,
        value: Value,
    ) -> Result<(Result<(), Mismatch>, Value), CallError> {
        let Some(schema) = schema else { return Ok((Ok(()), value)) };
        let faulty = |fault: &Arc<Fault>| CallError::FaultySchema { tool: tool.clone(), what, fault: fault.clone() };
        let schema = schema.clone().map_err(|fault| faulty(&fault))?;
        let place = self.workspace.shared.tenants.computing(&self.workspace.id).await?;
        let stop = StopOnDrop::default();
        let mut work = Work::new(self.workspace.shared.limits.schema_work).stopped_by(stop.0.clone());
        let validate = move || (schema.validate(&value, &mut work), value);
        let done = self.workspace.shared.computing.block(place, validate).await;
        let (judged, value) = done.ok_or(ContentError::Contended)?;
        match judged {
            Ok(()) => Ok((Ok(()), value)),
            Err(ValidationError::Mismatch(mismatch)) => Ok((Err(mismatch), value)),
            Err(ValidationError::Incomplete(cause)) => Err(CallError::SchemaWork { tool: tool.clone(), what, cause }),
        }
    }

    /// Writes the beginning of a call, and takes the number of its end.
    async fn begin(
        &self,
        worker: &WorkerId,
        record: Digest,
        held: &LiveTool,
        confirmed: bool,
        input: &[u8],
    ) -> Result<Entry, CallError> {
        let Workspace { shared, id: workspace } = &self.workspace;
        let tool = &held.spec.name;
        let input = self.keep(input).await?;
        let tenant = shared.tenants.tenant(workspace);
        let _changing = tenant.changing.lock().await;
        let key = worker_key(workspace, worker);
        for _ in 0..ATTEMPTS {
            let found = shared.ledger.row::<WorkerRow>(&key).await?;
            let found = found.ok_or_else(|| WorkerError::NotFound(worker.clone()))?;
            let mut row = found.value.clone();
            if let StoredState::Stopped { reason, .. } = row.state {
                return Err(CallError::NotRunning { worker: worker.clone(), reason });
            }
            // Removed meanwhile, and another one was made, to which the tool does not belong.
            if row.record != record {
                return Err(ContentError::Contended.into());
            }
            let calls = row.calls.entry(tool.clone()).or_default();
            let confirm = match held.spec.policy.confirm {
                Some(Confirm::Always) => true,
                Some(Confirm::Once) => *calls == 0,
                Some(Confirm::Never) | None => false,
            };
            if confirm && !confirmed {
                return Err(CallError::ConfirmationRequired(tool.clone()));
            }
            if let Some(allowed) = held.spec.policy.max_calls.filter(|allowed| *calls >= *allowed) {
                return Err(CallError::CallsUsedUp { tool: tool.clone(), allowed });
            }
            *calls = calls.saturating_add(1);
            let began = row.entries + 1;
            row.entries += 2;
            if row.entries > shared.limits.history_entries {
                return Err(CallError::HistoryFull { entries: row.entries - 2 });
            }
            let kind = EntryKind::CallBegan { tool: tool.clone(), input: input.told() };
            let entry = Entry { number: began, at: shared.ledger.now(), kind };
            let change = self.entry(Change::default(), worker, &entry, &input).await?;
            match shared.ledger.commit(workspace, change.expect(&key, Some(&found)).put(&key, &row)).await {
                Err(ChangeError::Conflict) => {}
                done => {
                    done.map_err(ContentError::from)?;
                    return Ok(entry);
                }
            }
        }
        Err(ContentError::Contended.into())
    }

    /// Writes the end of a call.
    async fn end(
        &self,
        worker: &WorkerId,
        tool: &ToolName,
        began: &Entry,
        answer: Result<(Value, Vec<u8>), CallError>,
    ) -> Result<CallResult, CallError> {
        let Workspace { shared, id: workspace } = &self.workspace;
        let number = began.number + 1;
        let kept = match &answer {
            Ok((_, bytes)) => self.keep(bytes).await?,
            Err(_) => Kept::Nothing,
        };
        let (kind, outcome) = match &answer {
            Ok(_) => (EntryKind::CallEnded { began: began.number, output: kept.told() }, "ok"),
            Err(error) => {
                let code = error.code();
                let message = error.to_string();
                (EntryKind::CallFailed { began: began.number, code: code.to_owned(), message }, code)
            }
        };
        let entry = Entry { number, at: shared.ledger.now(), kind };
        let tenant = shared.tenants.tenant(workspace);
        let _changing = tenant.changing.lock().await;
        let keys = (worker_key(workspace, worker), entry_key(workspace, worker, began.number));
        for _ in 0..ATTEMPTS {
            // The worker can have been stopped and removed meanwhile, and another one made of the same id.
            let [there, found] = shared.ledger.records([&keys.0, &keys.1]).await?;
            let found = found.map(Row::<Entry>::of).transpose()?.filter(|row| row.value == *began);
            let Some(found) = found.filter(|_| there.is_some()) else {
                return Err(WorkerError::NotFound(worker.clone()).into());
            };
            let change = Change::default().expect(&keys.1, Some(&found)).event(EventKind::CallEnded {
                worker: worker.clone(),
                entry: number,
                tool: tool.clone(),
                outcome: outcome.to_owned(),
            });
            let change = self.entry(change, worker, &entry, &kept).await?;
            match shared.ledger.commit(workspace, change).await {
                Err(ChangeError::Conflict) => {}
                done => {
                    done.map_err(ContentError::from)?;
                    return answer.map(|(output, _)| CallResult { entry: number, output });
                }
            }
        }
        Err(ContentError::Contended.into())
    }

    /// The rows of an entry and of what it holds.
    async fn entry(
        &self,
        change: Change,
        worker: &WorkerId,
        entry: &Entry,
        kept: &Kept<'_>,
    ) -> Result<Change, CallError> {
        let mut change = change.put(&entry_key(&self.workspace.id, worker, entry.number), entry);
        if let Kept::Blob { digest, bytes, .. } = kept {
            if !self.workspace.shared.ledger.is_there(&blob_key(&self.workspace.id, digest)).await? {
                change = self.workspace.content().owning(change, *digest, *bytes);
            }
            let user = Referrer::Worker(worker.clone());
            change = change.put(&uses_key(&self.workspace.id, digest).part(user), &Mark {});
        } else if let Kept::Inline { bytes, .. } = kept {
            change = change.takes(Usage::bytes(*bytes));
        }
        Ok(change)
    }

    /// Puts what is too large or too deep for the history into the store.
    async fn keep(&self, json: &[u8]) -> Result<Kept<'_>, CallError> {
        let bytes = json.len() as u64;
        if json.len() <= INLINE_BYTES && depth(json) <= INLINE_DEPTH {
            return Ok(Kept::Inline { value: serde_json::from_slice(json).unwrap_or_default(), bytes });
        }
        self.workspace.shared.room_for(&self.workspace.id, bytes).await?;
        let blob = Blob::new(json);
        let digest = blob.digest();
        let _storing = self.workspace.shared.tenants.storing(&self.workspace.id).await?;
        let keeping = self.workspace.shared.stripes.keeping(&digest).await;
        self.workspace.shared.blobs.put_hashed(blob).await.map_err(ContentError::from)?;
        Ok(Kept::Blob { digest, bytes, _keeping: keeping })
    }
}

/// Content on its way into the history.
enum Kept<'a> {
    Nothing,
    Inline {
        value: Value,
        bytes: u64,
    },
    Blob {
        digest: Digest,
        bytes: u64,
        /// Until the rows are there, so that nobody removes what nobody seems to have.
        _keeping: RwLockReadGuard<'a, ()>,
    },
}

impl Kept<'_> {
    fn told(&self) -> Payload {
        match self {
            Self::Nothing => Payload::Json(Value::Null),
            Self::Inline { value, .. } => Payload::Json(value.clone()),
            Self::Blob { digest, bytes, .. } => Payload::Blob { digest: *digest, bytes: *bytes },
        }
    }
}
