//! A plugin's tool compared with a tool of the host through the same path, and the sandboxed call alone compared with the
//! same JSON work.

use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use component_host::host_api::{Clocks, HostApi, LogLine, NoEgress, Random};
use component_host::{Invocation, PluginLimits, Sandbox, ToolPlugin};
use serde_json::Value;

use crate::Outcome;
use crate::measure::{median, thread_time};
use crate::scene::{self, EchoTool, Scene};

/// Calls in one turn.
const CALLS: usize = 50;

/// A ratio with the seconds of its denominator.
pub(crate) struct Overhead {
    pub(crate) ratio: f64,
    pub(crate) base: f64,
}

/// Returns the ratio of a plugin's tool ÷ a host tool, in elapsed time through the whole Runtime.
pub(crate) async fn through_the_runtime(scene: &Scene, rounds: usize) -> Outcome<Overhead> {
    let input = scene::input();
    let turn = async |tool| {
        let started = Instant::now();
        for _ in 0..CALLS {
            scene.call(0, tool, input.clone()).await?;
        }
        Outcome::Ok(started.elapsed().as_secs_f64() / CALLS as f64)
    };
    let (mut ratios, mut bases) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let (host, plugin) = (turn(EchoTool::Host).await?, turn(EchoTool::Plugin).await?);
        if round > 0 {
            ratios.push(plugin / host);
            bases.push(host);
        }
    }
    Ok(Overhead { ratio: median(ratios), base: median(bases) })
}

/// Interfaces without effect.
#[derive(Debug)]
struct Nothing;

impl Clocks for Nothing {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn wall(&self) -> Duration {
        Duration::ZERO
    }
}

impl Random for Nothing {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        bytes.fill(0);
        Ok(())
    }
}

pub(crate) fn host_api() -> HostApi {
    HostApi {
        requests: Arc::new(NoEgress),
        websockets: Arc::new(NoEgress),
        log: Arc::new(Mutex::<Vec<LogLine>>::default()),
        clocks: Arc::new(Nothing),
        random: Arc::new(Nothing),
    }
}

pub(crate) fn invocation() -> Outcome<Invocation> {
    let remaining = Duration::from_secs(10);
    Ok(Invocation { id: "1".to_owned(), tool: "plugin.echo".parse()?, input: scene::input(), remaining })
}

pub(crate) async fn call(plugin: &ToolPlugin, invocation: &Invocation, limits: &PluginLimits) -> Outcome<()> {
    let run = plugin.call(invocation, host_api(), limits).await;
    black_box(run.result.map_err(|error| error.to_string())?.map_err(|failure| failure.message)?);
    Ok(())
}

/// Returns the ratio of a sandboxed call ÷ writing and reading the same JSON twice, in processor time. The sandboxed call
/// writes the input and reads the output; the guest would do the same.
pub(crate) async fn alone(sandbox: &Sandbox, rounds: usize) -> Outcome<Overhead> {
    let plugin = sandbox.load_tool(&scene::component()).await?;
    let (invocation, limits) = (invocation()?, PluginLimits::default());
    let native = || {
        let mut value = invocation.input.clone();
        for _ in 0..2 {
            value = serde_json::from_slice::<Value>(&serde_json::to_vec(black_box(&value))?)?;
        }
        black_box(value);
        Outcome::Ok(())
    };
    let (mut ratios, mut bases) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let started = thread_time();
        for _ in 0..CALLS {
            call(&plugin, &invocation, &limits).await?;
        }
        let sandboxed = (thread_time() - started).as_secs_f64() / CALLS as f64;
        let started = thread_time();
        for _ in 0..CALLS {
            native()?;
        }
        let base = (thread_time() - started).as_secs_f64() / CALLS as f64;
        if round > 0 {
            ratios.push(sandboxed / base);
            bases.push(base);
        }
    }
    Ok(Overhead { ratio: median(ratios), base: median(bases) })
}
