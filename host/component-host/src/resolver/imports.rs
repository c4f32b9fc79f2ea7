//! The import of a resolver: a read-only bundle, whose look-ups are recorded and limited.

use std::sync::Arc;

use wasmtime::component::{ComponentNamedList, Lift, Linker, Lower, Resource, ResourceType, WasmList, WasmStr};
use wasmtime::{Engine, StoreContextMut};

use super::bundle_view::{BundleView, Handle, ReadSet, kind_name};
use crate::bindings::resolver::yoi::resolver::bundle::Kind;
use crate::call::{CallState, LimitExceeded};
use crate::limits::ResolutionLimits;

/// Host data of a resolution.
pub(crate) struct Lookups {
    pub(super) view: BundleView,
    pub(super) reads: ReadSet,
    pub(super) limits: ResolutionLimits,
}

impl Lookups {
    pub(crate) fn new(view: BundleView, limits: ResolutionLimits) -> Self {
        Self { view, reads: ReadSet::default(), limits }
    }
}

/// Returns the linker with the only import of a resolver: its bundle.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<CallState<Lookups>>> {
    let mut linker = Linker::new(engine);
    // `types` holds only types, which need no definition.
    linker.instance("yoi:resolver/types@1.0.0")?;
    let mut bundle = linker.instance("yoi:resolver/bundle@1.0.0")?;
    bundle.resource("handle", ResourceType::host::<Handle>(), |_, _| Ok(()))?;
    // Defined by hand, because the generated bindings would copy every profile.
    wrap(&mut bundle, "[method]handle.profiles", |mut store, (_, names): (Resource<Handle>, WasmList<WasmStr>)| {
        let found = look_up(&mut store, &names, "profile", |view, name| {
            let (name, converted) = view.profile(name)?;
            Some((name, converted.clone()))
        })?;
        let state = &mut store.data_mut().world;
        state.reads.bytes += found.iter().flatten().map(|converted| converted.bytes).sum::<u64>();
        // Checked before the profiles are copied into the guest. Its memory limit does not bound the copying,
        // because the guest's allocator may return the same address for every copy.
        if state.reads.bytes > state.limits.lookup_bytes {
            return Err(LimitExceeded("lookup_bytes").into());
        }
        let profiles = found.into_iter().map(|converted| converted.map(|converted| converted.profile));
        Ok((profiles.collect::<Vec<_>>(),))
    })?;
    wrap(
        &mut bundle,
        "[method]handle.declares",
        |mut store, (_, kind, names): (Resource<Handle>, Kind, WasmList<WasmStr>)| {
            let found =
                look_up(&mut store, &names, kind_name(kind), |view, name| Some((view.declared(kind, name)?, ())))?;
            Ok((found.iter().map(Option::is_some).collect::<Vec<bool>>(),))
        },
    )?;
    Ok(linker)
}

fn wrap<P, R>(
    interface: &mut wasmtime::component::LinkerInstance<'_, CallState<Lookups>>,
    name: &str,
    function: impl Fn(StoreContextMut<'_, CallState<Lookups>>, P) -> wasmtime::Result<R> + Send + Sync + 'static,
) -> wasmtime::Result<()>
where
    P: ComponentNamedList + Lift + 'static,
    R: ComponentNamedList + Lower + 'static,
{
    interface.func_wrap(name, function)
}

/// Answers and records the names of one look-up, within the limits of the call.
///
/// The names are read one by one: a guest's list may claim to be longer than its memory, and its
/// elements may share one string.
fn look_up<T>(
    store: &mut StoreContextMut<'_, CallState<Lookups>>,
    names: &WasmList<WasmStr>,
    kind: &'static str,
    answer: impl Fn(&BundleView, &str) -> Option<(Arc<str>, T)>,
) -> wasmtime::Result<Vec<Option<T>>> {
    let state = &mut store.data_mut().world;
    let lookups = u64::try_from(names.len()).unwrap_or(u64::MAX).saturating_add(1);
    state.reads.lookups = state.reads.lookups.saturating_add(lookups);
    if state.reads.lookups > state.limits.lookups {
        return Err(LimitExceeded("lookups").into());
    }
    let (max_bytes, max_total_bytes) = (state.limits.hostcall_bytes, state.limits.lookup_bytes);
    let view = state.view.clone();
    let mut bytes = 0u64;
    let mut answers = Vec::with_capacity(names.len());
    for index in 0..names.len() {
        let Some(name) = names.get(&mut *store, index) else { break };
        let text = name?.to_str(&*store)?;
        let text_bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        bytes = bytes.saturating_add(text_bytes);
        if bytes > max_bytes {
            return Err(LimitExceeded("hostcall_bytes").into());
        }
        let (name, answer) = match answer(&view, &text) {
            Some((name, answer)) => (name, Some(answer)),
            None => (text.into(), None),
        };
        // The read set keeps each name until the call ends, also names that the bundle does not have.
        let reads = &mut store.data_mut().world.reads;
        reads.bytes = reads.bytes.saturating_add(text_bytes);
        if reads.bytes > max_total_bytes {
            return Err(LimitExceeded("lookup_bytes").into());
        }
        reads.add(kind, name, answer.is_some());
        answers.push(answer);
    }
    Ok(answers)
}
