//! One call of a guest: its store, its limits, and the classification of its errors.
//!
//! Each call has a store of its own, which is dropped afterwards. Every limit that a guest exceeds ends
//! the call with an error that names the limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::{ComponentNamedList, Lift, Linker, Lower, Resource, ResourceType, WasmList, WasmStr};
use wasmtime::{Engine, ResourceLimiter, Store, StoreContextMut, Trap, UpdateDeadline};

use crate::bindings::yoi::resolver::bundle::Kind;
use crate::error::CallError;
use crate::handle::{BundleRead, BundleView, Handle, ReadSet, kind_name};
use crate::limits::ResolutionLimits;
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
pub(crate) struct CallState {
    /// The bundle that the guest may read; `None` while a component is loaded.
    view: Option<BundleView>,
    reads: ReadSet,
    usage: Usage,
}

/// Error for an exceeded limit. It passes through the engine as a host error; [`classify`] reads the name.
#[derive(Debug, thiserror::Error)]
#[error("limit `{0}`")]
struct LimitExceeded(&'static str);

/// Current size of the guest's memories and tables.
struct Usage {
    limits: ResolutionLimits,
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
        let ceiling = ResolutionLimits::CEILING.memory_bytes as u64;
        grow(&mut self.memory_bytes, current, desired, self.limits.memory_bytes.min(ceiling), "memory_bytes")
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

/// Creates the store for one call. The call must run under `meter`, which measures its processor time.
pub(crate) fn new_store(
    engine: &Engine,
    view: Option<BundleView>,
    limits: &ResolutionLimits,
    meter: &Arc<CpuMeter>,
) -> wasmtime::Result<Store<CallState>> {
    let usage = Usage { limits: limits.clone(), memory_bytes: 0, table_elements: 0 };
    let mut store = Store::new(engine, CallState { view, reads: ReadSet::default(), usage });
    store.limiter(|state| &mut state.usage);
    store.set_fuel(limits.fuel.get())?;
    store.set_hostcall_fuel(usize::try_from(limits.hostcall_bytes).unwrap_or(usize::MAX));
    store.set_max_component_handles(usize::try_from(limits.handles).unwrap_or(usize::MAX));
    let (deadline, wall) = (Duration::from_millis(limits.deadline_ms), Duration::from_millis(limits.wall_ms));
    let (started, meter) = (Instant::now(), meter.clone());
    store.epoch_deadline_callback(move |_| {
        if meter.used() >= deadline {
            Err(LimitExceeded("deadline_ms").into())
        } else if started.elapsed() >= wall {
            Err(LimitExceeded("wall_ms").into())
        } else {
            Ok(UpdateDeadline::Yield(1))
        }
    });
    // The engine calls the callback only if a deadline is set, and a new store has none.
    store.set_epoch_deadline(1);
    Ok(store)
}

/// Consumes the store of a finished call and returns its cost and its reads. The store is never reused,
/// because the guest may have left it in any state.
pub(crate) fn finish(store: Store<CallState>, limits: &ResolutionLimits, started: Instant) -> (Cost, Vec<BundleRead>) {
    let left = store.get_fuel().unwrap_or_default();
    let state = store.into_data();
    let cost = Cost {
        fuel: limits.fuel.get().saturating_sub(left),
        memory_bytes: state.usage.memory_bytes,
        elapsed: started.elapsed(),
    };
    (cost, state.reads.into_reads())
}

/// Converts an error of the engine to a [`CallError`].
pub(crate) fn classify(error: &wasmtime::Error, limits: &ResolutionLimits) -> CallError {
    let exceeded = |limit| CallError::Limit { limit, allowed: limits.allowed(limit) };
    if let Some(LimitExceeded(limit)) = error.downcast_ref() {
        return exceeded(*limit);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return exceeded("fuel"),
        Some(Trap::Interrupt) => return exceeded("deadline_ms"),
        Some(Trap::StackOverflow) => return exceeded("stack_bytes"),
        Some(trap) => return CallError::Trap { reason: trap.to_string() },
        None => {}
    }
    if is_out_of_memory(error) {
        return CallError::OutOfMemory;
    }
    // The engine has no types for these errors. Tests provoke each one and so pin the engine's texts.
    let text = format!("{error:#}");
    match limit_in_message(&text) {
        Some(limit) => exceeded(limit),
        None if text.contains("maximum concurrent") => CallError::Busy,
        // The remaining errors are data that does not fit the contract's types. The text may quote the guest, so
        // it is dropped.
        None => CallError::Malformed,
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

/// Returns the linker with the only import of a resolver: its bundle.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    // `types` holds only types, which need no definition.
    linker.instance("yoi:resolver/types@1.0.0")?;
    let mut bundle = linker.instance("yoi:resolver/bundle@1.0.0")?;
    bundle.resource("handle", ResourceType::host::<Handle>(), |_, _| Ok(()))?;
    // Defined by hand, because the generated bindings would copy every profile.
    wrap(&mut bundle, "[method]handle.profiles", |mut store, (_, names): (Resource<Handle>, WasmList<WasmStr>)| {
        let names = read_names(&mut store, &names)?;
        let state = store.data_mut();
        let mut found = Vec::with_capacity(names.len());
        for name in &names {
            let converted = state.view.as_ref().and_then(|view| view.profile(name));
            state.reads.add("profile", name, converted.is_some());
            state.reads.bytes += converted.as_ref().map_or(0, |converted| converted.bytes);
            // Checked before the profiles are copied into the guest. Its memory limit does not bound the copying,
            // because the guest's allocator may return the same address for every copy.
            if state.reads.bytes > state.usage.limits.lookup_bytes {
                return Err(LimitExceeded("lookup_bytes").into());
            }
            found.push(converted.map(|converted| converted.profile));
        }
        Ok((found,))
    })?;
    wrap(
        &mut bundle,
        "[method]handle.declares",
        |mut store, (_, kind, names): (Resource<Handle>, Kind, WasmList<WasmStr>)| {
            let names = read_names(&mut store, &names)?;
            let state = store.data_mut();
            let found: Vec<bool> =
                names.iter().map(|name| state.view.as_ref().is_some_and(|view| view.declares(kind, name))).collect();
            for (name, found) in names.iter().zip(&found) {
                state.reads.add(kind_name(kind), name, *found);
            }
            Ok((found,))
        },
    )?;
    Ok(linker)
}

fn wrap<P, R>(
    interface: &mut wasmtime::component::LinkerInstance<'_, CallState>,
    name: &str,
    function: impl Fn(StoreContextMut<'_, CallState>, P) -> wasmtime::Result<R> + Send + Sync + 'static,
) -> wasmtime::Result<()>
where
    P: ComponentNamedList + Lift + 'static,
    R: ComponentNamedList + Lower + 'static,
{
    interface.func_wrap(name, function)
}

/// Reads the names of one look-up within the limits of the call.
///
/// The names are read one by one: a guest's list may claim to be longer than its memory, and its
/// elements may share one string.
fn read_names(store: &mut StoreContextMut<'_, CallState>, names: &WasmList<WasmStr>) -> wasmtime::Result<Vec<String>> {
    let state = store.data_mut();
    let lookups = u64::try_from(names.len()).unwrap_or(u64::MAX).saturating_add(1);
    state.reads.lookups = state.reads.lookups.saturating_add(lookups);
    if state.reads.lookups > state.usage.limits.lookups {
        return Err(LimitExceeded("lookups").into());
    }
    let (max_bytes, max_total_bytes) = (state.usage.limits.hostcall_bytes, state.usage.limits.lookup_bytes);
    let mut bytes = 0u64;
    let mut read = Vec::with_capacity(names.len());
    for index in 0..names.len() {
        let Some(name) = names.get(&mut *store, index) else { break };
        let text = name?.to_str(&*store)?.into_owned();
        let text_bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        bytes = bytes.saturating_add(text_bytes);
        if bytes > max_bytes {
            return Err(LimitExceeded("hostcall_bytes").into());
        }
        // The read set keeps each name until the call ends, also names that the bundle does not have.
        let reads = &mut store.data_mut().reads;
        reads.bytes = reads.bytes.saturating_add(text_bytes);
        if reads.bytes > max_total_bytes {
            return Err(LimitExceeded("lookup_bytes").into());
        }
        read.push(text);
    }
    Ok(read)
}
