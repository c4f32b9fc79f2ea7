//! `yoi runtime`: runs a Runtime as a service, and manages a running one.

mod backend;
mod bundles;
mod check;
mod gaps;
mod gc;
pub(crate) mod init;
pub(crate) mod logs;
pub(crate) mod open;
pub(crate) mod packages;
mod put;
mod records;
pub(crate) mod reload;
mod remove;
pub(crate) mod serve;
pub(crate) mod settings;
mod status;
mod token;
mod who_uses;

use std::process::ExitCode;

use crate::error::CliError;
use crate::output::Output;

pub(crate) use gaps::host_tool_names;
pub(crate) use open::{is_data_folder, require_data_folder};
pub(crate) use records::worker_records;
pub(crate) use settings::Settings;

/// Runs a Runtime as a service, and manages a running one.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Writes a config file.
    Init(init::Args),
    /// Runs the service until it receives SIGTERM or SIGINT.
    Serve(serve::Args),
    /// Issues, lists and revokes tokens.
    #[command(subcommand)]
    Token(token::Command),
    // These variants have no doc comments: they would replace the longer help texts of the arguments.
    Status(status::Args),
    Put(put::Args),
    Bundles(bundles::Args),
    Remove(remove::Args),
    WhoUses(who_uses::Args),
    /// Verifies the data folder and the config of a service.
    Check(check::Args),
    /// Removes unused blobs.
    Gc(gc::Args),
}

pub(crate) fn run(command: &Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::Init(args) => init::run(args, output),
        Command::Serve(args) => serve::run(args, output),
        Command::Token(command) => token::run(command, output),
        Command::Status(args) => status::run(args, output),
        Command::Put(args) => put::run(args, output),
        Command::Bundles(args) => bundles::run(args, output),
        Command::Remove(args) => remove::run(args, output),
        Command::WhoUses(args) => who_uses::run(args, output),
        Command::Check(args) => check::run(args, output),
        Command::Gc(args) => gc::run(args, output),
    }
}
