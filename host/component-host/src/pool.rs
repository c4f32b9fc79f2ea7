//! The pool of one kind of guest: an engine of its own, so that no kind can use up the instances of another one.

use std::pin::pin;

use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::call::CallState;
use crate::engine::Ticker;
use crate::error::SandboxError;
use crate::meter::CpuMeter;

/// Engine, ticker and imports of one kind of guest.
pub(crate) struct Pool<W: 'static> {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<CallState<W>>,
    pub(crate) ticker: Ticker,
}

impl<W> Pool<W> {
    pub(crate) fn start(
        engine: wasmtime::Result<Engine>,
        linker: fn(&Engine) -> wasmtime::Result<Linker<CallState<W>>>,
    ) -> Result<Self, SandboxError> {
        let engine = engine.map_err(SandboxError::Engine)?;
        let ticker = Ticker::start(&engine).map_err(SandboxError::Thread)?;
        let linker = linker(&engine).map_err(SandboxError::Engine)?;
        Ok(Self { engine, linker, ticker })
    }

    /// Runs a future of a guest that may wait for the host. The epoch advances only while the future is polled, so that a
    /// waiting guest does not keep the ticker awake.
    pub(crate) async fn run<F: Future>(&self, meter: &CpuMeter, future: F) -> F::Output {
        let mut future = pin!(meter.count(future));
        std::future::poll_fn(|context| {
            let _advancing = self.ticker.call();
            future.as_mut().poll(context)
        })
        .await
    }
}
