//! `yoi resolver`: looking at resolver components, and trying one by itself.

mod inspect;
mod replay;
mod run;

use std::process::ExitCode;

use crate::error::CliError;
use crate::output::Output;

/// Looks at and tries resolver components.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Shows what a component consists of, without compiling or running it.
    Inspect(inspect::Args),
    /// Does recorded resolutions again, and says whether they come out the same.
    Replay(replay::Args),
    /// Does one resolution with a component, by itself, and says how it ended.
    Run(run::Args),
}

pub(crate) fn run(command: &Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::Inspect(args) => inspect::run(args, output),
        Command::Replay(args) => replay::run(args, output),
        Command::Run(args) => run::run(args, output),
    }
}
