//! `yoi runtime`: running a Runtime as a service, and asking one.

mod check;
mod gc;
mod init;
mod logs;
mod open;
mod reload;
mod serve;
mod settings;
mod token;

use std::process::ExitCode;

use crate::error::CliError;
use crate::output::Output;

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
        Command::Check(args) => check::run(args, output),
        Command::Gc(args) => gc::run(args, output),
    }
}
