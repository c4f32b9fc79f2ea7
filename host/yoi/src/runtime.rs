//! `yoi runtime`: a Runtime, its bundles and its state.

mod bundles;
mod put;
mod remove;
mod status;
mod who_uses;

use std::process::ExitCode;

use crate::error::CliError;
use crate::output::Output;

/// Sends bundles to a Runtime, and shows what is there.
// What a command is for stands with its arguments: here it would hide the rest of its help.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Put(put::Args),
    Bundles(bundles::Args),
    Remove(remove::Args),
    WhoUses(who_uses::Args),
    Status(status::Args),
}

pub(crate) fn run(command: &Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::Put(args) => put::run(args, output),
        Command::Bundles(args) => bundles::run(args, output),
        Command::Remove(args) => remove::run(args, output),
        Command::WhoUses(args) => who_uses::run(args, output),
        Command::Status(args) => status::run(args, output),
    }
}
