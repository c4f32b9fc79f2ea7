//! The engine and its configuration, for compiling and for running.
//!
//! Unused WebAssembly features are disabled. Settings that affect compiled code (features, tunables) do
//! not depend on [`Allocation`], so code of the compiling child process fits every host.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::{Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::limits::{Ceiling, ResolutionLimits};

/// Strategy for allocating the memory of instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Allocation {
    /// Maps memory for each instance and unmaps it afterwards.
    OnDemand,
    /// Takes memory from a pool and returns every page to the system after use.
    #[default]
    Pooled,
    /// Takes memory from a pool that keeps pages, which halves the cost of a call.
    ///
    /// This is sound only if memory is never swapped. Cleaning a slot overlooks pages that were swapped
    /// out, so a later guest could read them. See
    /// [`memory_is_never_swapped`](crate::memory_is_never_swapped).
    PooledResident,
}

/// Bytes of each pool slot that stay resident: the initial memory of the built-in resolver.
const RESIDENT_BYTES: usize = 2 << 20;

/// Size of an instance pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolSize {
    /// Instances of components.
    pub(crate) instances: u32,
    /// Memories for each instance. An instance may have more if others have fewer.
    pub(crate) memories_each: u32,
    /// Tables for each instance, in the same sense.
    pub(crate) tables_each: u32,
    /// Capacity of one slot.
    pub(crate) ceiling: Ceiling,
}

/// Interval at which a running guest is interrupted to check its deadline and to let other tasks run.
pub(crate) const EPOCH_INTERVAL: Duration = Duration::from_millis(1);

/// Creates an engine. If the pool does not fit into the address space, instances are allocated on demand.
pub(crate) fn engine(allocation: Allocation, size: PoolSize) -> wasmtime::Result<Engine> {
    let keeps_pages = match allocation {
        Allocation::OnDemand => return on_demand(),
        Allocation::Pooled => false,
        Allocation::PooledResident => true,
    };
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(size, keeps_pages)));
    Engine::new(&config).or_else(|_| on_demand())
}

/// Creates an engine that allocates instances on demand.
pub(crate) fn on_demand() -> wasmtime::Result<Engine> {
    Engine::new(config().allocation_strategy(InstanceAllocationStrategy::OnDemand))
}

/// Returns the settings that all engines share, so that compiled code fits each of them.
fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_memory64(false)
        // The engine's adapters between nested components copy between memories. Without multi-memory
        // the engine cannot compile components of JavaScript toolchains.
        .wasm_multi_memory(true)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false)
        .wasm_wide_arithmetic(false)
        .concurrency_support(false)
        .cranelift_nan_canonicalization(true)
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(ResolutionLimits::STACK_BYTES)
        .async_stack_size(ResolutionLimits::STACK_BYTES + (512 << 10))
        // A backtrace would contain function names, which are text of the guest.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .native_unwind_info(false)
        // The same for every allocation strategy, because compiled code depends on it: 4 GiB, the largest
        // possible size of a memory.
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        .memory_may_move(false);
    config
}

fn pool(size: PoolSize, keeps_pages: bool) -> PoolingAllocationConfig {
    let PoolSize { instances, memories_each, tables_each, ceiling } = size;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_stacks(instances)
        .total_core_instances(instances * ceiling.instances)
        .max_core_instances_per_component(ceiling.instances)
        .total_memories(instances * memories_each)
        .max_memories_per_component(ceiling.memories)
        .max_memories_per_module(ceiling.memories)
        .max_memory_size(ceiling.memory_bytes)
        .total_tables(instances * tables_each)
        .max_tables_per_component(ceiling.tables)
        .max_tables_per_module(ceiling.tables)
        .table_elements(ceiling.table_elements)
        .max_component_instance_size(1 << 20)
        .max_core_instance_size(1 << 20)
        .max_unused_warm_slots(instances);
    if keeps_pages {
        pool.linear_memory_keep_resident(RESIDENT_BYTES)
            .table_keep_resident(ceiling.table_elements * 8)
            .async_stack_keep_resident(64 << 10)
            .pagemap_scan(Enabled::Auto);
    }
    pool
}

/// A thread that increments the engine's epoch while calls run, and sleeps otherwise. It holds a weak
/// reference to the engine and ends when the engine is dropped.
#[derive(Debug)]
pub(crate) struct Ticker(Arc<State>);

#[derive(Debug, Default)]
struct State {
    running: Mutex<Running>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Running {
    calls: usize,
    closed: bool,
    /// `true` while the ticker sleeps. Only then does a new call wake it, which costs a system call.
    is_waiting: bool,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let state = Arc::new(State::default());
        let (weak, shared) = (engine.weak(), state.clone());
        std::thread::Builder::new()
            .name("yoi-epoch".to_owned())
            .stack_size(64 << 10)
            .spawn(move || tick(&weak, &shared))?;
        Ok(Self(state))
    }

    /// Registers a call. The epoch advances until the guard is dropped.
    pub(crate) fn call(&self) -> CallGuard {
        self.change(|running| running.calls += 1);
        CallGuard(self.0.clone())
    }

    fn change(&self, change: impl FnOnce(&mut Running)) {
        let was_waiting = {
            let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut running);
            std::mem::take(&mut running.is_waiting)
        };
        if was_waiting {
            self.0.changed.notify_one();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.change(|running| running.closed = true);
    }
}

/// Keeps the epoch advancing for one running call.
#[derive(Debug)]
pub(crate) struct CallGuard(Arc<State>);

impl Drop for CallGuard {
    fn drop(&mut self) {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.calls = running.calls.saturating_sub(1);
    }
}

fn tick(engine: &EngineWeak, state: &State) {
    loop {
        {
            let mut running = state.running.lock().unwrap_or_else(PoisonError::into_inner);
            while running.calls == 0 && !running.closed {
                running.is_waiting = true;
                running = state.changed.wait(running).unwrap_or_else(PoisonError::into_inner);
            }
            if running.closed {
                return;
            }
        }
        std::thread::sleep(EPOCH_INTERVAL);
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
    }
}
