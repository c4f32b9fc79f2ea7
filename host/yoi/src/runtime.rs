//! `yoi runtime`: running a Runtime as a service, and asking one.

mod bundles;
mod check;
mod gaps;
mod gc;
mod init;
mod logs;
mod open;
mod put;
mod reload;
mod remove;
mod serve;
mod settings;
mod status;
mod token;
mod who_uses;

use std::process::ExitCode;

use crate::error::CliError;
use crate::output::Output;

pub(crate) use gaps::host_tool_names;
pub(crate) use open::is_there;
pub(crate) use settings::Settings;

/// Runs a Runtime as a service, and asks one.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Writes a config to begin with.
    Init(init::Args),
    /// Runs the service until it is told to stop.
    Serve(serve::Args),
    /// Makes, lists and revokes the tokens that let clients in.
    #[command(subcommand)]
    Token(token::Command),
    // What these are for stands with their arguments: here it would hide the rest of their help.
    Status(status::Args),
    Put(put::Args),
    Bundles(bundles::Args),
    Remove(remove::Args),
    WhoUses(who_uses::Args),
    /// Reads everything that a data folder holds, and says what is sound.
    Check(check::Args),
    /// Takes away what nothing uses.
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
