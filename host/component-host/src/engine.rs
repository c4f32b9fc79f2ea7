//! The engine: one configuration for everything that is compiled and run here.
//!
//! Features that nothing needs are off. What decides about compiled code (features, tunables) does
//! not depend on how instances are allocated, so a compiling child process and every host agree.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::{Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::limits::ResolutionLimits;

/// How instances get their memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Allocation {
    /// Mapped for each instance, and unmapped after it.
    OnDemand,
    /// From a pool that gives every page back after use.
    #[default]
    Pooled,
    /// From a pool that keeps pages. Halves the cost of a call, and is sound only where memory is
    /// never swapped: what was swapped out is not seen when a slot is cleaned, so a later tenant
    /// could read it. See [`memory_is_never_swapped`](crate::memory_is_never_swapped).
    PooledResident,
}

/// Bytes of each slot that stay in memory, where they may: what the shipped resolver begins with.
const RESIDENT_BYTES: usize = 2 << 20;

/// Calls that a pool has room for at a time.
pub(crate) const CONCURRENT_CALLS: u32 = 32;

/// How often a running guest is interrupted to look at its deadline and to let others run.
pub(crate) const TICK: Duration = Duration::from_millis(1);

pub(crate) fn engine(allocation: Allocation) -> wasmtime::Result<Engine> {
    Engine::new(&config(allocation))
}

fn config(allocation: Allocation) -> Config {
    let ceiling = ResolutionLimits::CEILING;
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_memory64(false)
        // The engine's own adapters between the components of one component copy from one memory to
        // another; without this it cannot compile what JavaScript toolchains build.
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
        // Names of a guest's own functions are the guest's own text: none of it leaves.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .native_unwind_info(false)
        // A slot of the pool is as large as a memory may become, for every strategy, because
        // compiled code depends on it.
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        .memory_may_move(false);
    match allocation {
        Allocation::OnDemand => {
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        }
        Allocation::Pooled | Allocation::PooledResident => {
            let mut pool = PoolingAllocationConfig::new();
            pool.total_component_instances(CONCURRENT_CALLS)
                .total_stacks(CONCURRENT_CALLS)
                .total_core_instances(CONCURRENT_CALLS * ceiling.instances)
                .max_core_instances_per_component(ceiling.instances)
                .total_memories(CONCURRENT_CALLS * 2)
                .max_memories_per_component(ceiling.memories)
                .max_memories_per_module(ceiling.memories)
                .max_memory_size(ceiling.memory_bytes)
                .total_tables(CONCURRENT_CALLS * 4)
                .max_tables_per_component(ceiling.tables)
                .max_tables_per_module(ceiling.tables)
                .table_elements(ceiling.table_elements)
                .max_component_instance_size(1 << 20)
                .max_core_instance_size(1 << 20)
                .max_unused_warm_slots(CONCURRENT_CALLS);
            if allocation == Allocation::PooledResident {
                pool.linear_memory_keep_resident(RESIDENT_BYTES)
                    .table_keep_resident(ceiling.table_elements * 8)
                    .async_stack_keep_resident(64 << 10)
                    .pagemap_scan(Enabled::Auto);
            }
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        }
    }
    config
}

/// Raises the engine's epoch while calls run, and sleeps while none does. It holds the engine
/// weakly: an engine that is dropped ends its ticker.
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
    /// Whether the ticker waits to be woken. Waking it is a system call, which a call that follows
    /// another within a tick does not need.
    waits: bool,
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

    /// Ticks until the guard is dropped.
    pub(crate) fn call(&self) -> CallGuard {
        self.change(|running| running.calls += 1);
        CallGuard(self.0.clone())
    }

    fn change(&self, change: impl FnOnce(&mut Running)) {
        let waits = {
            let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut running);
            std::mem::take(&mut running.waits)
        };
        if waits {
            self.0.changed.notify_one();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.change(|running| running.closed = true);
    }
}

/// A call that runs.
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
                running.waits = true;
                running = state.changed.wait(running).unwrap_or_else(PoisonError::into_inner);
            }
            if running.closed {
                return;
            }
        }
        std::thread::sleep(TICK);
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
    }
}
