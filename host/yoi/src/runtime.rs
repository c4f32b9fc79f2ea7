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
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Sends a bundle, with what the Runtime does not have of it.
    Put(put::Args),
    /// Lists the bundles of a workspace.
    Bundles(bundles::Args),
    /// Removes a bundle that nothing uses.
    Remove(remove::Args),
    /// Says who uses a bundle.
    WhoUses(who_uses::Args),
    /// Says whether a Runtime is there and can work, and what it is.
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
