//! Calls of a worker's tools. Events for its services are in `ingress`.
//!
//! Every call takes the same path: validate the input, check the policy, record the beginning, run the tool, validate
//! the output, record the end. The Runtime adds nothing to input or output.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bundles::canonical::{JsonError, depth, parse_unique, reason};
use bundles::manifest::Confirm;
use bundles::{Blob, Digest, ToolName};
use content_store::metadata::MetadataError;
use host_policy::{Refusal, ResolvedWorkerSpec};
use host_tools::tool::{CallScope, ToolContext, ToolError};
use runtime_api::Code;
use runtime_api::call::{CallResult, ToolCall};
use runtime_api::event::EventKind;
use runtime_api::history::{Entry, EntryKind, Payload};
use runtime_api::referrer::Referrer;
use runtime_api::worker::{StopReason, WorkerId};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use tool_schema::{Fault, IncompleteValidation, Mismatch, ValidationError, Work};

use super::catalogue::WorkerError;
use super::live_worker::{LiveTool, ParsedSchema};
use crate::catch_panic::{CatchPanic, ToolPanic};
use crate::content::{ContentError, StoredBlobs};
use crate::ledger::{Change, ChangeError, Decision, Row, StoredState, Usage, WorkerRow, entry_key, worker_key};
use crate::tenants::{Busy, RunPermit};
use crate::workspace::Workspace;

/// API to call tools of one workspace's workers, and to send events to their services. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Interaction {
    pub(crate) workspace: Workspace,
}

/// Error returned by a call of a tool.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The worker does not exist or cannot be used, or a store failed.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The worker is stopped.
    #[error("worker `{worker}` accepts no calls: {}", reason.sentence())]
    NotRunning {
        /// The worker.
        worker: WorkerId,
        /// Reason for the stop.
        reason: StopReason,
    },
    /// No tool of the worker has this name.
    #[error("tool `{0}` not found in this worker")]
    ToolNotFound(ToolName),
    /// The profile selects the tool, and the host does not provide it to this worker.
    #[error("tool `{tool}` is not granted to this worker: {}", refusal.reason)]
    ToolNotGranted {
        /// The tool.
        tool: ToolName,
        /// The reason and the remedy.
        refusal: Refusal,
    },
    /// The bundle requires a person to confirm the call.
    #[error("tool `{0}` requires confirmation by a person")]
    ConfirmationRequired(ToolName),
    /// The tool has reached the number of calls that the bundle allows.
    #[error("limit `max_calls` of tool `{tool}` reached ({allowed})")]
    CallsUsedUp {
        /// The tool.
        tool: ToolName,
        /// Value of the limit.
        allowed: u32,
    },
    /// The worker's history is full.
    #[error("the worker's history is full ({entries} entries, limit `history_entries`)")]
    HistoryFull {
        /// Number of entries.
        entries: u64,
    },
    /// The input does not match its schema.
    #[error("invalid input{}: {reason}", location(pointer))]
    InvalidInput {
        /// JSON pointer into the input. Its keys are from the caller.
        pointer: String,
        /// Requirement of the schema that the value violates.
        reason: String,
    },
    /// A schema of the tool is invalid. Only bundles of an earlier version can have such a schema.
    #[error("invalid {what} schema of tool `{tool}` {fault}")]
    InvalidSchema {
        /// The tool.
        tool: ToolName,
        /// `input` or `output`.
        what: &'static str,
        /// The fault.
        fault: Arc<Fault>,
    },
    /// The validation exceeded a limit.
    #[error("cannot validate the {what} of tool `{tool}`: {cause}")]
    ValidationLimit {
        /// The tool.
        tool: ToolName,
        /// `input` or `output`.
        what: &'static str,
        /// Limit that ended the validation.
        cause: IncompleteValidation,
    },
    /// The input or the output exceeds `call_bytes`.
    #[error("the {what} exceeds limit `call_bytes` ({actual} > {allowed})")]
    TooLarge {
        /// `input` or `output`.
        what: &'static str,
        /// Size in bytes.
        actual: u64,
        /// Value of the limit.
        allowed: u64,
    },
    /// The call exceeds `call_values`. A parsed value takes many times the memory of its text.
    #[error("the call exceeds limit `call_values` ({actual} > {allowed})")]
    TooManyValues {
        /// Upper bound of the number of values.
        actual: u64,
        /// Value of the limit.
        allowed: u64,
    },
    /// The text is not valid JSON, or not a call.
    #[error("invalid call at line {line}, column {column}: {reason}")]
    InvalidCall {
        /// Reason, without content of the call.
        reason: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// An object in the call has a duplicate key.
    #[error("duplicate key in the call at line {line}, column {column}")]
    DuplicateKey {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The output does not match its schema.
    #[error("the output of tool `{0}` does not match its schema")]
    InvalidOutput(ToolName),
    /// The tool returned an error.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The tool panicked, which is a bug of the tool.
    #[error("host tool `{0}` panicked")]
    ToolPanicked(ToolName),
    /// The call exceeded `call_ms` and was aborted.
    #[error("tool `{tool}` exceeded limit `call_ms` ({allowed_ms} ms)")]
    DeadlineExceeded {
        /// The tool.
        tool: ToolName,
        /// Value of the limit in milliseconds.
        allowed_ms: u64,
    },
}

/// Returns the error for a tool that the worker does not have.
fn missing_tool(spec: &ResolvedWorkerSpec, tool: &ToolName) -> CallError {
    let subject = format!("tool:{tool}");
    match spec.narrowed().iter().find(|refusal| refusal.subject == subject) {
        Some(refusal) => CallError::ToolNotGranted { tool: tool.clone(), refusal: refusal.clone() },
        None => CallError::ToolNotFound(tool.clone()),
    }
}

fn location(pointer: &str) -> String {
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

impl From<ChangeError> for CallError {
    fn from(error: ChangeError) -> Self {
        Self::Worker(error.into())
    }
}

impl From<Busy> for CallError {
    fn from(error: Busy) -> Self {
        Self::Worker(error.into())
    }
}

impl CallError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Worker(error) => error.code(),
            Self::NotRunning { .. } => Code::WorkerStopped,
            Self::ToolNotFound(_) => Code::ToolNotFound,
            Self::ToolNotGranted { .. } => Code::NotGranted,
            Self::ConfirmationRequired(_) => Code::ConfirmationRequired,
            Self::CallsUsedUp { .. } => Code::CallsUsedUp,
            Self::HistoryFull { .. } => Code::HistoryFull,
            Self::InvalidInput { .. } => Code::InvalidInput,
            Self::InvalidSchema { .. } => Code::InvalidSchema,
            Self::ValidationLimit { .. } => Code::LimitExceeded,
            Self::DuplicateKey { .. } => Code::DuplicateKey,
            Self::TooLarge { .. } | Self::TooManyValues { .. } => Code::TooLarge,
            Self::InvalidCall { .. } => Code::InvalidRequest,
            Self::InvalidOutput(_) => Code::InvalidOutput,
            Self::Tool(error) => error.code(),
            Self::ToolPanicked(_) => Code::ToolPanicked,
            Self::DeadlineExceeded { .. } => Code::DeadlineExceeded,
        }
    }

    /// Returns the code in the worker's history: that of the tool if the tool refused the call.
    pub fn recorded_code(&self) -> &str {
        match self {
            Self::Tool(ToolError::Refused { code, .. }) => code,
            _ => self.code().as_str(),
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> String {
        let plain = match self {
            Self::Worker(error) => return error.help(),
            Self::Tool(error) => error.help(),
            Self::NotRunning { .. } => "create another worker",
            Self::ToolNotFound(_) => "choose a tool from the worker's spec",
            Self::ToolNotGranted { refusal, .. } => &refusal.remedy,
            Self::ConfirmationRequired(_) => "ask a person, then set `confirmed` in the call",
            Self::CallsUsedUp { .. } => "create another worker, or raise `max_calls` in the bundle",
            Self::HistoryFull { .. } => "create another worker; a history is never truncated",
            Self::InvalidInput { .. } => "compare the input with the tool's schema",
            Self::InvalidSchema { fault, .. } => fault.problem.help(),
            Self::ValidationLimit { .. } => {
                "simplify the tool's schema, send less data in one call, or raise the limit"
            }
            Self::DuplicateKey { .. } => "remove one of the two keys",
            Self::TooLarge { .. } | Self::TooManyValues { .. } => {
                "send or request less data in one call, or raise the limit"
            }
            Self::InvalidCall { .. } => "send `{ \"input\": …, \"confirmed\": false }`; see /openapi.json",
            Self::InvalidOutput(_) => "correct the tool or its schema",
            Self::ToolPanicked(_) => {
                "report the panic to the author of the tool; effects before the panic are not undone"
            }
            Self::DeadlineExceeded { .. } => "send or request less data in one call, or raise the limit",
        };
        plain.to_owned()
    }
}

/// Flag that stops a validation when its caller is dropped.
#[derive(Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Parses a call. Duplicate keys are refused because parsers disagree on which one counts.
fn parse_call(call: &[u8]) -> Result<ToolCall, CallError> {
    match parse_unique(call) {
        Err(JsonError::DuplicateKey { line, column }) => return Err(CallError::DuplicateKey { line, column }),
        // Serde would also accept an array with the fields in order.
        Ok(value) if !value.is_object() => {
            return Err(CallError::InvalidCall { reason: "expected an object".to_owned(), line: 1, column: 1 });
        }
        Ok(value) => {
            if let Ok(call) = serde_json::from_value(value) {
                return Ok(call);
            }
        }
        Err(_) => {}
    }
    // Parse again from the text, because only that error has a line and a column.
    serde_json::from_slice(call).map_err(|error| CallError::InvalidCall {
        reason: reason(call, &error),
        line: error.line(),
        column: error.column(),
    })
}

/// Returns an upper bound of the number of values in a JSON text. Each value but the first follows a `,`, `:`, `[` or
/// `{`.
pub(super) fn max_values(json: &[u8]) -> u64 {
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

/// Limit on the bytes of content that is stored in the history entry itself. Larger content is stored as a blob.
const MAX_INLINE_BYTES: usize = 4096;

/// Limit on the nesting of content that is stored in the history entry itself. The JSON parser reads up to 128 levels,
/// of which the entry takes some. A row with deeper content could not be read again.
const MAX_INLINE_DEPTH: usize = 64;

impl Interaction {
    /// Calls a tool of a worker. The beginning is durable before the tool starts, and the end before the method
    /// returns. Dropping the future aborts the tool.
    pub async fn call(&self, worker: &WorkerId, tool: &ToolName, call: ToolCall) -> Result<CallResult, CallError> {
        let input = serde_json::to_vec(&call.input).unwrap_or_default();
        self.check_size("input", input.len())?;
        let _permit = self.run_permit().await?;
        self.run_call(worker, tool, call, input).await
    }

    /// Like [`call`](Self::call), for a call as JSON text. The text is parsed when the call has its run permit, so
    /// waiting calls take no more memory than their texts.
    pub async fn call_json(&self, worker: &WorkerId, tool: &ToolName, call: &[u8]) -> Result<CallResult, CallError> {
        let allowed = self.workspace.shared.limits.call_values;
        let actual = max_values(call);
        if actual > allowed {
            return Err(CallError::TooManyValues { actual, allowed });
        }
        let _permit = self.run_permit().await?;
        let call = parse_call(call)?;
        let input = serde_json::to_vec(&call.input).unwrap_or_default();
        self.check_size("input", input.len())?;
        self.run_call(worker, tool, call, input).await
    }

    async fn run_permit(&self) -> Result<RunPermit, CallError> {
        Ok(self.workspace.shared.tenants.acquire_run_permit(&self.workspace.id).await?)
    }

    async fn run_call(
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
        let live_tool = live.tools.get(tool).ok_or_else(|| missing_tool(&live.spec, tool))?;
        // One deadline covers the tool and both validations.
        let allowed_ms = shared.limits.call_ms;
        let deadline = Instant::now() + Duration::from_millis(allowed_ms);
        let deadline_error = |_| CallError::DeadlineExceeded { tool: tool.clone(), allowed_ms };
        let validation = self.validate(tool, "input", live_tool.input.as_ref(), call.input);
        let (result, input_value) = timeout_at(deadline, validation).await.map_err(deadline_error)??;
        result.map_err(|Mismatch { pointer, reason }| CallError::InvalidInput { pointer, reason })?;
        let began = self.begin(worker, row.record, live_tool, call.confirmed, &input).await?;
        let context = ToolContext::new(CallScope {
            workspace: self.workspace.id.clone(),
            worker: worker.clone(),
            call_id: began.number,
            spec: Some(live.spec.clone()),
            config: shared.config.load_full(),
            secrets: shared.secrets.clone(),
            policy: live_tool.spec.policy.clone(),
            answer_bytes: shared.limits.call_bytes,
            deadline: Some(deadline.into_std()),
        });
        let answer = async {
            let result = CatchPanic::new(|| live_tool.implementation.call(context, input_value)).await;
            let output = result.map_err(|ToolPanic| CallError::ToolPanicked(tool.clone()))??;
            let (result, output) = self.validate(tool, "output", live_tool.output.as_ref(), output).await?;
            result.map_err(|_| CallError::InvalidOutput(tool.clone()))?;
            let bytes = serde_json::to_vec(&output).unwrap_or_default();
            self.check_size("output", bytes.len())?;
            Ok((output, bytes))
        };
        let answer = timeout_at(deadline, answer).await.map_err(deadline_error).flatten();
        self.end(worker, tool, &began, answer).await
    }

    fn check_size(&self, what: &'static str, bytes: usize) -> Result<(), CallError> {
        let (actual, allowed) = (bytes as u64, self.workspace.shared.limits.call_bytes);
        if actual > allowed { Err(CallError::TooLarge { what, actual, allowed }) } else { Ok(()) }
    }

    /// Validates a value in the compute pool and returns the value. The schema is from a tenant, so the validation can
    /// be expensive. Dropping the future stops the validation soon.
    async fn validate(
        &self,
        tool: &ToolName,
        what: &'static str,
        schema: Option<&ParsedSchema>,
        value: Value,
    ) -> Result<(Result<(), Mismatch>, Value), CallError> {
        let Some(schema) = schema else { return Ok((Ok(()), value)) };
        let invalid_schema =
            |fault: &Arc<Fault>| CallError::InvalidSchema { tool: tool.clone(), what, fault: fault.clone() };
        let schema = schema.clone().map_err(|fault| invalid_schema(&fault))?;
        let slot = self.workspace.shared.tenants.compute_slot(&self.workspace.id);
        let stop = StopOnDrop::default();
        let mut work = Work::new(self.workspace.shared.limits.schema_work).stopped_by(stop.0.clone());
        let validate = move || (schema.validate(&value, &mut work), value);
        let done = self.workspace.shared.compute_pool.run_blocking(slot, validate).await;
        let (result, value) = done.ok_or(ContentError::Contended)?;
        match result {
            Ok(()) => Ok((Ok(()), value)),
            Err(ValidationError::Mismatch(mismatch)) => Ok((Err(mismatch), value)),
            Err(ValidationError::Incomplete(cause)) => {
                Err(CallError::ValidationLimit { tool: tool.clone(), what, cause })
            }
        }
    }

    /// Records the beginning of a call, and reserves the number of the entry for its end.
    async fn begin(
        &self,
        worker: &WorkerId,
        record: Digest,
        live_tool: &LiveTool,
        confirmed: bool,
        input: &[u8],
    ) -> Result<Entry, CallError> {
        let Workspace { shared, id: workspace } = &self.workspace;
        let tool = &live_tool.spec.name;
        let input = self.store_payload(worker, input).await?;
        let tenant = shared.tenants.tenant(workspace);
        let _changing = tenant.changing.lock().await;
        let key = worker_key(workspace, worker);
        let decide = || async {
            let found = shared.ledger.row::<WorkerRow>(&key).await?;
            let found = found.ok_or_else(|| WorkerError::NotFound(worker.clone()))?;
            let mut row = found.value.clone();
            if let StoredState::Stopped { reason, .. } = row.state {
                return Err(CallError::NotRunning { worker: worker.clone(), reason });
            }
            // The worker was removed meanwhile, and another one with the same id was created.
            if row.record != record {
                return Err(ContentError::Contended.into());
            }
            let calls = row.calls.entry(tool.clone()).or_default();
            let confirm = match live_tool.spec.policy.confirm {
                Some(Confirm::Always) => true,
                Some(Confirm::Once) => *calls == 0,
                Some(Confirm::Never) | None => false,
            };
            if confirm && !confirmed {
                return Err(CallError::ConfirmationRequired(tool.clone()));
            }
            if let Some(allowed) = live_tool.spec.policy.max_calls.filter(|allowed| *calls >= *allowed) {
                return Err(CallError::CallsUsedUp { tool: tool.clone(), allowed });
            }
            *calls = calls.saturating_add(1);
            let began = row.entries + 1;
            row.entries += 2;
            if row.entries > shared.limits.history_entries {
                return Err(CallError::HistoryFull { entries: row.entries - 2 });
            }
            let kind = EntryKind::CallBegan { tool: tool.clone(), input: input.payload() };
            let entry = Entry { number: began, at: shared.ledger.now(), kind };
            let change = self.entry(Change::default(), worker, &entry, &input).await?;
            Ok(Decision::Commit(change.expect(&key, Some(&found)).put(&key, &row), entry))
        };
        shared.ledger.update(workspace, decide).await
    }

    /// Records the end of a call.
    async fn end(
        &self,
        worker: &WorkerId,
        tool: &ToolName,
        began: &Entry,
        answer: Result<(Value, Vec<u8>), CallError>,
    ) -> Result<CallResult, CallError> {
        let Workspace { shared, id: workspace } = &self.workspace;
        let number = began.number + 1;
        let stored = match &answer {
            Ok((_, bytes)) => self.store_payload(worker, bytes).await?,
            Err(_) => StoredPayload::Nothing,
        };
        let (kind, outcome) = match &answer {
            Ok(_) => (EntryKind::CallEnded { began: began.number, output: stored.payload() }, "ok"),
            Err(error) => {
                let code = error.recorded_code();
                let message = error.to_string();
                (EntryKind::CallFailed { began: began.number, code: code.to_owned(), message }, code)
            }
        };
        let entry = Entry { number, at: shared.ledger.now(), kind };
        let tenant = shared.tenants.tenant(workspace);
        let _changing = tenant.changing.lock().await;
        let keys = (worker_key(workspace, worker), entry_key(workspace, worker, began.number));
        let decide = || async {
            // The worker may have been stopped and removed meanwhile, and another one with the same id created.
            let [worker_row, found] = shared.ledger.records([&keys.0, &keys.1]).await?;
            let found = found.map(Row::<Entry>::of).transpose()?.filter(|row| row.value == *began);
            let Some(found) = found.filter(|_| worker_row.is_some()) else {
                return Err(WorkerError::NotFound(worker.clone()).into());
            };
            let change = Change::default().expect(&keys.1, Some(&found)).event(EventKind::CallEnded {
                worker: worker.clone(),
                entry: number,
                tool: tool.clone(),
                outcome: outcome.to_owned(),
            });
            let change = self.entry(change, worker, &entry, &stored).await?;
            Ok(Decision::Commit(change, ()))
        };
        shared.ledger.update::<_, CallError, _>(workspace, decide).await?;
        answer.map(|(output, _)| CallResult { entry: number, output })
    }

    /// Adds the rows of a history entry and of its payload to a change.
    pub(super) async fn entry(
        &self,
        change: Change,
        worker: &WorkerId,
        entry: &Entry,
        stored: &StoredPayload<'_>,
    ) -> Result<Change, MetadataError> {
        let mut change = change.put(&entry_key(&self.workspace.id, worker, entry.number), entry);
        match stored {
            StoredPayload::Nothing => {}
            StoredPayload::Inline { bytes, .. } => change = change.add_usage(Usage::bytes(*bytes)),
            StoredPayload::Blob { stored, .. } => change = stored.add_rows(change).await?,
        }
        Ok(change)
    }

    /// Stores a payload as a blob if it is too large or too deep for the history entry.
    pub(super) async fn store_payload(
        &self,
        worker: &WorkerId,
        json: &[u8],
    ) -> Result<StoredPayload<'_>, ContentError> {
        let bytes = json.len() as u64;
        if json.len() <= MAX_INLINE_BYTES && depth(json) <= MAX_INLINE_DEPTH {
            return Ok(StoredPayload::Inline { value: serde_json::from_slice(json).unwrap_or_default(), bytes });
        }
        self.workspace.shared.check_free_space(&self.workspace.id, bytes).await?;
        let blob = Blob::new(json);
        let digest = blob.digest();
        let stored = self.workspace.store(vec![(blob, Referrer::Worker(worker.clone()))]).await?;
        Ok(StoredPayload::Blob { digest, bytes, stored })
    }
}

/// Payload of a history entry that is being written.
pub(super) enum StoredPayload<'a> {
    Nothing,
    Inline { value: Value, bytes: u64 },
    Blob { digest: Digest, bytes: u64, stored: StoredBlobs<'a> },
}

impl StoredPayload<'_> {
    pub(super) fn payload(&self) -> Payload {
        match self {
            Self::Nothing => Payload::Json(Value::Null),
            Self::Inline { value, .. } => Payload::Json(value.clone()),
            Self::Blob { digest, bytes, .. } => Payload::Blob { digest: *digest, bytes: *bytes },
        }
    }
}
