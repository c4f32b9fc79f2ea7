//! What the benchmarks share: measuring, figures and where they go, made bundles, the sandbox, stores
//! on this machine, and a client over TCP.
#![allow(dead_code, reason = "no benchmark uses all of it")]

pub(crate) mod figures;
#[path = "../../../../tests/support/hostile.rs"]
#[allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "shared with the tests"
)]
pub(crate) mod hostile;
pub(crate) mod made;
pub(crate) mod measure;
pub(crate) mod sandboxed;
pub(crate) mod served;
#[path = "../../tests/support/wire.rs"]
pub(crate) mod wire;

use std::process::ExitCode;

/// What a benchmark comes to. Whatever goes wrong in one is for a person to read.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Ends a benchmark's program, saying what went wrong where something did.
pub(crate) fn ended(outcome: Outcome<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "what a bench is for")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "where a program says what went wrong")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}
