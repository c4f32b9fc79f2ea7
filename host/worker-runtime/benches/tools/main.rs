//! Calls of plugin tools: overhead of the sandbox, latency of concurrent calls, and throughput of two threads.
//!
//! `cargo bench -p worker-runtime --bench tools` prints a table and writes `bench/tools.json` in the target folder. The
//! variants of a ratio take turns in one run. A missed target is marked; nothing fails. With `-- --quick` few rounds run,
//! to check that the benchmark works.
//!
//! All tools return their input, an object of 1 KiB. The plugin is a component of a few hundred bytes, so the figures show
//! the cost of the sandbox and not of a language.

#[path = "../../../../tests/guests/plugins/component.rs"]
#[allow(dead_code, unreachable_pub, clippy::expect_used, clippy::panic, reason = "shared with the tests")]
mod component;
mod concurrent;
mod overhead;
mod scene;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use crate::figures::{Figure, Target};

pub(crate) use support::{Outcome, figures, measure, print, sandboxed, server};

/// Returns the root folder of the workspace, for the contract from which the component is made.
pub(crate) fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn main() -> ExitCode {
    support::exit_code(run(std::env::args().any(|argument| argument == "--quick")))
}

fn run(is_quick: bool) -> Outcome<()> {
    let rounds = if is_quick { 3 } else { 41 };
    let folder = tempfile::tempdir()?;
    let sandbox = sandboxed::sandbox(Some(&folder.path().join("compiled")))?;
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (figures, details) = threads.block_on(async {
        let scene = scene::Scene::open(&sandbox).await?;
        let through = overhead::through_the_runtime(&scene, rounds).await?;
        let alone = overhead::alone(&sandbox, rounds).await?;
        let load = concurrent::latencies(&scene, rounds).await?;
        let threads = concurrent::two_vs_one(&sandbox, rounds).await?;
        let at_most = |name, measured, limit| Figure { name, measured, target: Target::AtMost(limit) };
        let at_least = |name, measured, limit| Figure { name, measured, target: Target::AtLeast(limit) };
        let figures = [
            at_most("plugin_vs_host_tool", through.ratio, 2.0),
            at_most("sandbox_vs_native_json", alone.ratio, 6.5),
            at_most("p99_vs_median_64", load.tail, 4.0),
            at_least("throughput_64_vs_8", load.throughput, 0.9),
            at_least("two_threads_vs_one", threads, 1.55),
        ];
        let microseconds = |seconds: f64| format!("{:.0} µs", seconds * 1e6);
        let details = format!(
            "a call of a host tool {}, of a plugin {}; the sandboxed call alone {}",
            microseconds(through.base),
            microseconds(through.base * through.ratio),
            microseconds(alone.base * alone.ratio)
        );
        Outcome::Ok((figures, details))
    })?;
    print(&figures::table(&figures));
    print(&details);
    if is_quick { Ok(()) } else { figures::write("tools", &figures) }
}
