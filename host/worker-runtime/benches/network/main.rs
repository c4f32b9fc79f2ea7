//! Network access of plugins: requests and WebSocket messages through a guest compared with the same by a native client,
//! the memory of an open WebSocket, and the look-up of a permission.
//!
//! `cargo bench -p worker-runtime --bench network` prints a table and writes `bench/network.json` in the target folder. The
//! variants of a ratio take turns in one run. A missed target is marked; nothing fails. With `-- --quick` few rounds run,
//! to check that the benchmark works.

mod access;
#[path = "../../../../tests/guests/plugins/component.rs"]
#[allow(dead_code, unreachable_pub, clippy::expect_used, clippy::panic, reason = "shared with the tests")]
mod component;
mod permissions;
mod requests;
#[path = "../support/mod.rs"]
mod support;
mod websockets;

use std::process::ExitCode;

use crate::figures::{Figure, Target};

pub(crate) use support::{Outcome, figures, measure, print, sandboxed};

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
    let look_up = permissions::thousand_vs_ten(rounds)?;
    let (figures, details) = threads.block_on(async {
        let request = requests::guest_vs_native(&sandbox, rounds).await?;
        let echo = websockets::guest_vs_native(&sandbox, rounds).await?;
        let memory = websockets::bytes_of_one(if is_quick { 20 } else { 200 }).await?;
        let at_most = |name, measured, limit| Figure { name, measured, target: Target::AtMost(limit) };
        let figures = [
            at_most("get_vs_native", request.ratio, 1.5),
            at_most("echo_vs_native", echo.ratio, 2.0),
            at_most("websocket_kib", memory / 1024.0, 64.0),
            at_most("look_up_1000_vs_10", look_up, 3.0),
        ];
        let microseconds = |seconds: f64| format!("{:.0} µs", seconds * 1e6);
        let details = format!(
            "a native GET {}, a native echo over an open WebSocket {}",
            microseconds(request.base),
            microseconds(echo.base)
        );
        Outcome::Ok((figures, details))
    })?;
    print(&figures::table(&figures));
    print(&details);
    if is_quick { Ok(()) } else { figures::write("network", &figures) }
}
