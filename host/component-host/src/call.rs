//! Stores of guests: their limits, their cost, and the classification of their errors.
//!
//! Every limit that a guest exceeds ends the call with an error that names the limit. The code here is the same for
//! all worlds; a world adds the data of its imports.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::{ComponentNamedList, InstancePre, Lift, Lower, types::ComponentItem};
use wasmtime::{Engine, ResourceLimiter, Store, Trap, UpdateDeadline};

use crate::error::RunError;
use crate::meter::CpuMeter;

/// Resources that one call used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Consumed fuel. It is the same on every host for the same component and input.
    pub fuel: u64,
    /// Peak size of all linear memories together, in bytes.
    pub memory_bytes: u64,
    /// Wall-clock time of the call.
    pub elapsed: Duration,
}

/// Host data of a store.
pub(crate) struct CallState<W> {
    /// Data behind the imports of the world.
    pub(crate) world: W,
    usage: Usage,
}

/// Limits on one instance, whatever its world.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InstanceLimits {
    pub(crate) fuel: u64,
    pub(crate) deadline_ms: u64,
    /// `None` if the caller's deadline is the only wall clock.
    pub(crate) wall_ms: Option<u64>,
    pub(crate) memory_bytes: u64,
    pub(crate) table_elements: u64,
    pub(crate) instances: u64,
    pub(crate) memories: u64,
    pub(crate) tables: u64,
    pub(crate) hostcall_bytes: u64,
    pub(crate) handles: u64,
}

/// Error for an exceeded limit. It passes through the engine as a host error; [`classify`] reads the name.
#[derive(Debug, thiserror::Error)]
#[error("limit `{0}`")]
pub(crate) struct LimitExceeded(pub(crate) &'static str);

/// Current size of the guest's memories and tables.
struct Usage {
    limits: InstanceLimits,
    memory_bytes: u64,
    table_elements: u64,
}

fn grow(used: &mut u64, current: usize, desired: usize, limit: u64, name: &'static str) -> wasmtime::Result<bool> {
    let more = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX);
    let total = used.saturating_add(more);
    if total > limit {
        // `Ok(false)` would let the guest continue without the memory and return another resolution.
        return Err(LimitExceeded(name).into());
    }
    *used = total;
    Ok(true)
}

impl ResourceLimiter for Usage {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        grow(&mut self.memory_bytes, current, desired, self.limits.memory_bytes, "memory_bytes")
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        grow(&mut self.table_elements, current, desired, self.limits.table_elements, "table_elements")
    }

    fn instances(&self) -> usize {
        usize::try_from(self.limits.instances).unwrap_or(usize::MAX)
    }

    fn tables(&self) -> usize {
        usize::try_from(self.limits.tables).unwrap_or(usize::MAX)
    }

    fn memories(&self) -> usize {
        usize::try_from(self.limits.memories).unwrap_or(usize::MAX)
    }
}

/// Creates a store. Its calls must run under `meter`, which measures their processor time.
pub(crate) fn new_store<W>(
    engine: &Engine,
    world: W,
    limits: InstanceLimits,
    meter: &Arc<CpuMeter>,
) -> wasmtime::Result<Store<CallState<W>>> {
    let usage = Usage { limits, memory_bytes: 0, table_elements: 0 };
    let mut store = Store::new(engine, CallState { world, usage });
    store.limiter(|state| &mut state.usage);
    store.set_fuel(limits.fuel)?;
    store.set_hostcall_fuel(usize::try_from(limits.hostcall_bytes).unwrap_or(usize::MAX));
    store.set_max_component_handles(usize::try_from(limits.handles).unwrap_or(usize::MAX));
    let (deadline, wall) = (Duration::from_millis(limits.deadline_ms), limits.wall_ms.map(Duration::from_millis));
    let (started, meter) = (Instant::now(), meter.clone());
    store.epoch_deadline_callback(move |_| {
        if meter.used() >= deadline {
            Err(LimitExceeded("deadline_ms").into())
        } else if wall.is_some_and(|wall| started.elapsed() >= wall) {
            Err(LimitExceeded("wall_ms").into())
        } else {
            Ok(UpdateDeadline::Yield(1))
        }
    });
    // The engine calls the callback only if a deadline is set, and a new store has none.
    store.set_epoch_deadline(1);
    Ok(store)
}

/// Returns the cost of a call that began with the fuel of the store's limits.
pub(crate) fn cost<W>(store: &Store<CallState<W>>, started: Instant) -> Cost {
    let usage = &store.data().usage;
    Cost {
        fuel: usage.limits.fuel.saturating_sub(store.get_fuel().unwrap_or_default()),
        memory_bytes: usage.memory_bytes,
        elapsed: started.elapsed(),
    }
}

/// Checks the type of an exported function. No code of the guest runs.
pub(crate) fn check_function<P, R>(
    component: &InstancePre<impl Send>,
    interface: &str,
    function: &str,
) -> wasmtime::Result<()>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let exports = component.component();
    let instance = exports.get_export_index(None, interface);
    match instance.and_then(|instance| exports.get_export(Some(&instance), function)) {
        Some((ComponentItem::ComponentFunc(function), _)) => function.typecheck::<P, R>(&component.instance_type()),
        _ => Err(wasmtime::Error::msg("a function is missing")),
    }
}

/// Converts an error of the engine to a [`RunError`]. `allowed` returns the value of a limit by its name.
pub(crate) fn classify(error: &wasmtime::Error, allowed: impl Fn(&str) -> u64) -> RunError {
    let exceeded = |limit| RunError::Limit { limit, allowed: allowed(limit) };
    if let Some(LimitExceeded(limit)) = error.downcast_ref() {
        return exceeded(*limit);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return exceeded("fuel"),
        Some(Trap::Interrupt) => return exceeded("deadline_ms"),
        Some(Trap::StackOverflow) => return exceeded("stack_bytes"),
        Some(trap) => return RunError::Trap { reason: trap.to_string() },
        None => {}
    }
    if is_out_of_memory(error) {
        return RunError::OutOfMemory;
    }
    // The engine has no types for these errors. Tests provoke each one and so pin the engine's texts.
    let text = format!("{error:#}");
    match limit_in_message(&text) {
        Some(limit) => exceeded(limit),
        None if text.contains("maximum concurrent") => RunError::Busy,
        // The remaining errors are data that does not fit the contract's types. The text may quote the guest, so
        // it is dropped.
        None => RunError::Malformed,
    }
}

/// `true` if the system refused memory or address space to this process. An instance reserves 4 GiB of
/// address space for each of its memories.
pub(crate) fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    let is_memory_error = |cause: &(dyn std::error::Error + 'static)| {
        let errno = cause.downcast_ref::<rustix::io::Errno>();
        let io_kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        errno == Some(&rustix::io::Errno::NOMEM) || io_kind == Some(std::io::ErrorKind::OutOfMemory)
    };
    error.is::<wasmtime::OutOfMemory>() || error.chain().any(is_memory_error)
}

/// Returns the name of the limit that an engine message is about.
pub(crate) fn limit_in_message(text: &str) -> Option<&'static str> {
    let has = |words: &str| text.contains(words);
    if has("fuel allocated for hostcalls has been exhausted") {
        Some("hostcall_bytes")
    } else if has("store handle limit exceeded") {
        Some("handles")
    } else if has("instance count too high") || has("core module instances") {
        Some("instances")
    } else if has("memory count too high") || has("Wasm linear memories") || has("defined memories count") {
        Some("memories")
    } else if has("table count too high") || has("tables, which exceeds") || has("defined tables count") {
        Some("tables")
    } else if has("minimum byte size") {
        Some("memory_bytes")
    } else if has("minimum element size") {
        Some("table_elements")
    } else {
        None
    }
}
