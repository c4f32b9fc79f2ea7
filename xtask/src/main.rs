//! Project tasks, run as `cargo xtask <task>`.

mod guest;
mod lock;
mod source;
mod toolchain;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Project tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Components that are committed next to their source: the default resolver and the example plugins in Rust.
    #[command(subcommand)]
    Guest(guest::Command),
}

#[allow(clippy::print_stdout, clippy::print_stderr)] // a task talks to the person who runs it
fn main() -> ExitCode {
    let Args { task: Task::Guest(command) } = Args::parse();
    match command.run() {
        Ok(reports) => {
            for report in reports {
                println!("{report}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}
