//! Shared code of the benchmarks: measurements, figures, generated bundles, the sandbox, a test server, and a TCP
//! client.
#![allow(dead_code, reason = "each benchmark uses a part")]

pub(crate) mod figures;
pub(crate) mod generated;
#[path = "../../../../tests/support/hostile.rs"]
#[allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "shared with the tests"
)]
pub(crate) mod hostile;
pub(crate) mod measure;
pub(crate) mod sandboxed;
pub(crate) mod server;
#[path = "../../tests/support/wire.rs"]
pub(crate) mod wire;

use std::process::ExitCode;

/// Result of a benchmark step. Errors are only printed.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Returns the exit code of a benchmark, and prints its error if it failed.
pub(crate) fn exit_code(outcome: Outcome<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "benchmarks print their results")]
pub(crate) fn print(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "errors go to standard error")]
pub(crate) fn print_error(text: &str) {
    eprintln!("{text}");
}
