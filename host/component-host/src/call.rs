//! One call of a guest: its store, its bounds, and what became of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::{ComponentNamedList, Lift, Linker, Lower, Resource, ResourceType, WasmList, WasmStr};
use wasmtime::{Engine, ResourceLimiter, Store, StoreContextMut, Trap, UpdateDeadline};

use crate::bindings::yoi::resolver::bundle::Kind;
use crate::error::CallError;
use crate::handle::{BundleView, Handle, Read, Record, kind_name};
use crate::limits::ResolutionLimits;
use crate::meter::Meter;

/// What one call cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Fuel that was used: the same on every host, for the same component and input.
    pub fuel: u64,
    /// Most bytes of linear memory.
    pub memory_bytes: u64,
    /// Wall-clock time.
    pub elapsed: Duration,
}

/// What a store holds: the bundle's view, the record, and the account of what was used.
pub(crate) struct CallState {
    /// None while a component is only taken in.
    view: Option<BundleView>,
    record: Record,
    account: Account,
}

/// A bound that a guest ran into. Travels through the engine as an error and comes out by its name.
#[derive(Debug, thiserror::Error)]
#[error("limit `{0}`")]
struct LimitHit(&'static str);

struct Account {
    limits: ResolutionLimits,
    memory_bytes: u64,
    table_elements: u64,
}

fn grow(used: &mut u64, current: usize, desired: usize, limit: u64, name: &'static str) -> wasmtime::Result<bool> {
    let more = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX);
    let total = used.saturating_add(more);
    if total > limit {
        // An error and not "no": a guest that goes on with less would be another resolution.
        return Err(LimitHit(name).into());
    }
    *used = total;
    Ok(true)
}

impl ResourceLimiter for Account {
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

/// A store for one call, whose processor time `meter` counts.
pub(crate) fn store(
    engine: &Engine,
    view: Option<BundleView>,
    limits: &ResolutionLimits,
    meter: &Arc<Meter>,
) -> wasmtime::Result<Store<CallState>> {
    let account = Account { limits: limits.clone(), memory_bytes: 0, table_elements: 0 };
    let mut store = Store::new(engine, CallState { view, record: Record::default(), account });
    store.limiter(|state| &mut state.account);
    store.set_fuel(limits.fuel.get())?;
    store.set_hostcall_fuel(usize::try_from(limits.hostcall_bytes).unwrap_or(usize::MAX));
    store.set_max_component_handles(usize::try_from(limits.handles).unwrap_or(usize::MAX));
    let (deadline, wall) = (Duration::from_millis(limits.deadline_ms), Duration::from_millis(limits.wall_ms));
    let (started, meter) = (Instant::now(), meter.clone());
    store.epoch_deadline_callback(move |_| {
        if meter.used() >= deadline {
            Err(LimitHit("deadline_ms").into())
        } else if started.elapsed() >= wall {
            Err(LimitHit("wall_ms").into())
        } else {
            Ok(UpdateDeadline::Yield(1))
        }
    });
    // Without this the callback is never asked: a new store has no deadline.
    store.set_epoch_deadline(1);
    Ok(store)
}

/// What a call cost and read, taken from its store. The store is used up: after whatever happened
/// in it, nothing runs in it again.
pub(crate) fn settle(store: Store<CallState>, limits: &ResolutionLimits, started: Instant) -> (Cost, Vec<Read>) {
    let left = store.get_fuel().unwrap_or_default();
    let state = store.into_data();
    let cost = Cost {
        fuel: limits.fuel.get().saturating_sub(left),
        memory_bytes: state.account.memory_bytes,
        elapsed: started.elapsed(),
    };
    (cost, state.record.into_reads())
}

/// Which of the outcomes an engine's error is.
pub(crate) fn classify(error: &wasmtime::Error, limits: &ResolutionLimits) -> CallError {
    let hit = |limit| CallError::Limit { limit, allowed: limits.allowed(limit) };
    if let Some(LimitHit(limit)) = error.downcast_ref() {
        return hit(*limit);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return hit("fuel"),
        Some(Trap::Interrupt) => return hit("deadline_ms"),
        Some(Trap::StackOverflow) => return hit("stack_bytes"),
        Some(trap) => return CallError::Trap { reason: trap.to_string() },
        None => {}
    }
    if is_out_of_memory(error) {
        return CallError::OutOfMemory;
    }
    // The engine has no types for these; its words are pinned by tests that provoke each.
    let text = format!("{error:#}");
    match limit_in(&text) {
        Some(limit) => hit(limit),
        None if text.contains("maximum concurrent") => CallError::Busy,
        // What is left is data that does not fit the contract's types. The text may quote the guest.
        None => CallError::Malformed,
    }
}

/// Returns `true` if the system refused memory or address space to this process. An instance reserves 4 GiB of
/// address space for each of its memories.
pub(crate) fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    let refused = |cause: &(dyn std::error::Error + 'static)| {
        let by_system = cause.downcast_ref::<rustix::io::Errno>() == Some(&rustix::io::Errno::NOMEM);
        let by_library = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        by_system || by_library == Some(std::io::ErrorKind::OutOfMemory)
    };
    error.is::<wasmtime::OutOfMemory>() || error.chain().any(refused)
}

/// The limit that the engine speaks of, by what it says of it.
pub(crate) fn limit_in(text: &str) -> Option<&'static str> {
    let said = |words: &str| text.contains(words);
    if said("fuel allocated for hostcalls has been exhausted") {
        Some("hostcall_bytes")
    } else if said("store handle limit exceeded") {
        Some("handles")
    } else if said("instance count too high") || said("core module instances") {
        Some("instances")
    } else if said("memory count too high") || said("Wasm linear memories") || said("defined memories count") {
        Some("memories")
    } else if said("table count too high") || said("tables, which exceeds") || said("defined tables count") {
        Some("tables")
    } else if said("minimum byte size") {
        Some("memory_bytes")
    } else if said("minimum element size") {
        Some("table_elements")
    } else {
        None
    }
}

/// Offers the bundle, and nothing else.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    // `types` holds only types, which need no definition.
    linker.instance("yoi:resolver/types@1.0.0")?;
    let mut bundle = linker.instance("yoi:resolver/bundle@1.0.0")?;
    bundle.resource("handle", ResourceType::host::<Handle>(), |_, _| Ok(()))?;
    // Written out and not generated, because the generated form would copy every profile.
    wrap(&mut bundle, "[method]handle.profiles", |mut store, (_, names): (Resource<Handle>, WasmList<WasmStr>)| {
        let names = read_names(&mut store, &names)?;
        let state = store.data_mut();
        let mut found = Vec::with_capacity(names.len());
        for name in &names {
            let handed = state.view.as_ref().and_then(|view| view.profile(name));
            state.record.add("profile", name, handed.is_some());
            state.record.handed_bytes += handed.as_ref().map_or(0, |handed| handed.bytes);
            // Before anything is copied: where the guest puts it may be one place again and again.
            if state.record.handed_bytes > state.account.limits.lookup_bytes {
                return Err(LimitHit("lookup_bytes").into());
            }
            found.push(handed.map(|handed| handed.profile));
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
                state.record.add(kind_name(kind), name, *found);
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

/// The names of one look-up, within what a resolution may ask. They are read one by one, because a
/// list may say that it is longer than the guest's memory and share its strings.
fn read_names(store: &mut StoreContextMut<'_, CallState>, names: &WasmList<WasmStr>) -> wasmtime::Result<Vec<String>> {
    let account = store.data_mut();
    let asked = u64::try_from(names.len()).unwrap_or(u64::MAX).saturating_add(1);
    account.record.lookups = account.record.lookups.saturating_add(asked);
    if account.record.lookups > account.account.limits.lookups {
        return Err(LimitHit("lookups").into());
    }
    let most = account.account.limits.hostcall_bytes;
    let mut bytes = 0u64;
    let mut read = Vec::with_capacity(names.len());
    for index in 0..names.len() {
        let Some(name) = names.get(&mut *store, index) else { break };
        let text = name?.to_str(&*store)?.into_owned();
        bytes = bytes.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        if bytes > most {
            return Err(LimitHit("hostcall_bytes").into());
        }
        read.push(text);
    }
    Ok(read)
}
