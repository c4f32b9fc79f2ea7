//! Concurrent calls over eight workspaces, and the throughput of two threads.

use std::time::Instant;

use component_host::{PluginLimits, Sandbox};
use futures_util::future::try_join_all;

use crate::measure::median;
use crate::scene::{self, EchoTool, Scene, WORKSPACES};
use crate::{Outcome, overhead};

/// Calls of each client in one turn.
const CALLS: usize = 20;

pub(crate) struct Load {
    /// 99th percentile ÷ median of the latencies of 64 clients.
    pub(crate) tail: f64,
    /// Throughput of 64 clients ÷ that of 8.
    pub(crate) throughput: f64,
}

/// Returns the latencies of all calls and the calls per second of some clients, which call without a pause.
async fn turn(scene: &Scene, clients: usize) -> Outcome<(Vec<f64>, f64)> {
    let started = Instant::now();
    let client = async |client: usize| {
        let mut latencies = Vec::with_capacity(CALLS);
        for _ in 0..CALLS {
            let started = Instant::now();
            scene.call(client % WORKSPACES, EchoTool::Plugin, scene::input()).await?;
            latencies.push(started.elapsed().as_secs_f64());
        }
        Outcome::Ok(latencies)
    };
    let latencies: Vec<f64> = try_join_all((0..clients).map(client)).await?.into_iter().flatten().collect();
    let per_second = latencies.len() as f64 / started.elapsed().as_secs_f64();
    Ok((latencies, per_second))
}

pub(crate) async fn latencies(scene: &Scene, rounds: usize) -> Outcome<Load> {
    let (mut tails, mut throughputs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let (_, few) = turn(scene, WORKSPACES).await?;
        let (mut latencies, many) = turn(scene, 8 * WORKSPACES).await?;
        latencies.sort_by(f64::total_cmp);
        let at = |share: usize| latencies.get(latencies.len() * share / 100).copied().unwrap_or_default();
        if round > 0 {
            tails.push(at(99) / at(50));
            throughputs.push(many / few);
        }
    }
    Ok(Load { tail: median(tails), throughput: median(throughputs) })
}

/// Returns the throughput of two threads ÷ one thread, each with calls of its own.
pub(crate) async fn two_vs_one(sandbox: &Sandbox, rounds: usize) -> Outcome<f64> {
    let plugin = sandbox.load_tool(&scene::component()).await?;
    let throughput = |threads: usize| -> Outcome<f64> {
        let started = Instant::now();
        std::thread::scope(|scope| {
            let work = || -> Result<(), String> {
                let runtime = crate::sandboxed::runtime().map_err(|error| error.to_string())?;
                runtime.block_on(async {
                    let invocation = overhead::invocation().map_err(|error| error.to_string())?;
                    for _ in 0..CALLS * 20 {
                        let limits = PluginLimits::default();
                        overhead::call(&plugin, &invocation, &limits).await.map_err(|error| error.to_string())?;
                    }
                    Ok(())
                })
            };
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            running.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?)
        })?;
        Ok((threads * CALLS * 20) as f64 / started.elapsed().as_secs_f64())
    };
    let mut ratios = Vec::new();
    for round in 0..=rounds {
        let ratio = throughput(2)? / throughput(1)?;
        if round > 0 {
            ratios.push(ratio);
        }
    }
    Ok(median(ratios))
}
