//! The common part of the worlds `tool` and `service`: calls of tools, their outcome, and the store of a plugin.
//!
//! Futures of plugins run guest code while they are polled, for up to a millisecond at a time. Poll them on threads for
//! computing. A call that waits for a function of the host is `Pending`. Read [`tool`](crate::tool) next.

pub(crate) mod convert;
mod imports;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bundles::ToolName;
use serde_json::Value;
use wasmtime::Store;

use crate::call::{self, CallState, Cost};
use crate::error::PluginError;
use crate::host_api::HostApi;
use crate::limits::PluginLimits;
use crate::meter::CpuMeter;
use crate::pool::Pool;

#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub use imports::ConnectionHandle;
pub(crate) use imports::{PluginState, linker};

/// One call of one tool of a plugin.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Id of the call, unique for the worker.
    pub id: String,
    /// Name of the tool.
    pub tool: ToolName,
    /// Input, which is valid against the tool's schema.
    pub input: Value,
    /// Time until the caller drops the call.
    pub remaining: Duration,
}

/// The answer of a plugin to an [`Invocation`]: the output, which is not validated against the tool's schema, or a failure.
pub type ToolAnswer = Result<Value, ToolFailure>;

/// Failure of a tool, reported by the plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolFailure {
    /// Class of the failure.
    pub kind: ToolFailureKind,
    /// Code that the plugin defines.
    pub code: ToolFailureCode,
    /// Text of the plugin for the model, within the limit `failure_message_bytes`.
    pub message: String,
}

/// Class of a tool failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolFailureKind {
    /// The input has no meaning for the tool.
    InvalidInput,
    /// The host or a remote system refused the operation.
    Denied,
    /// A remote system is not available.
    Unavailable,
    /// Any other failure.
    Failed,
}

/// Code of a tool failure: 1 to 64 lower-case letters, digits or `_`, starting with a letter.
#[derive(Clone, PartialEq, Eq)]
pub struct ToolFailureCode(String);

impl ToolFailureCode {
    pub(crate) fn new(text: String) -> Option<Self> {
        let is_valid = text.len() <= 64
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        is_valid.then_some(Self(text))
    }

    /// Returns the code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ToolFailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The outcome of one call or turn of a plugin, successful or not.
#[derive(Debug)]
pub struct PluginRun<T> {
    /// The answer of the plugin, or the error that ended the call.
    pub result: Result<T, PluginError>,
    /// Resources that the call used.
    pub cost: Cost,
    /// Number of log lines. The lines themselves go to the [`LogSink`](crate::host_api::LogSink).
    pub logs: LogCounts,
}

/// Number of log lines of one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogCounts {
    /// Lines that were written, cut off or not.
    pub written: u64,
    /// Lines that were dropped because of `log_lines` or `log_bytes`.
    pub dropped: u64,
}

impl<T> PluginRun<T> {
    /// Creates the outcome of a call for which no code of the guest ran.
    pub(crate) fn not_started(error: PluginError) -> Self {
        Self { result: Err(error), cost: Cost::default(), logs: LogCounts::default() }
    }

    pub(crate) fn and_then<U>(self, convert: impl FnOnce(T) -> Result<U, PluginError>) -> PluginRun<U> {
        PluginRun { result: self.result.and_then(convert), cost: self.cost, logs: self.logs }
    }
}

/// The store of one instance, with the meter of its turns.
pub(crate) struct GuestStore {
    pub(crate) store: Store<CallState<PluginState>>,
    pub(crate) meter: Arc<CpuMeter>,
    limits: PluginLimits,
}

impl GuestStore {
    pub(crate) fn new(pool: &Pool<PluginState>, host: HostApi, limits: &PluginLimits) -> Result<Self, PluginError> {
        let meter = Arc::new(CpuMeter::default());
        let state = PluginState::new(host, limits.clone());
        let store = call::new_store(&pool.engine, state, limits.instance(), &meter)
            .map_err(|error| classify(&error, limits))?;
        Ok(Self { store, meter, limits: limits.clone() })
    }

    /// Begins a turn with all of its fuel, processor time, host calls and log lines.
    pub(crate) fn begin(&mut self) -> Instant {
        self.meter.reset();
        self.store.data_mut().world.begin();
        // Fails only if the engine does not count fuel.
        let _ = self.store.set_fuel(self.limits.fuel.get());
        Instant::now()
    }

    /// Ends a turn that began at `started`.
    pub(crate) fn end<T>(&self, started: Instant, result: wasmtime::Result<T>) -> PluginRun<T> {
        PluginRun {
            result: result.map_err(|error| classify(&error, &self.limits)),
            cost: call::cost(&self.store, started),
            logs: self.store.data().world.logs(),
        }
    }
}

fn classify(error: &wasmtime::Error, limits: &PluginLimits) -> PluginError {
    if error.is::<imports::RandomFailed>() {
        return PluginError::RandomUnavailable;
    }
    call::classify(error, |limit| limits.allowed(limit)).into()
}
