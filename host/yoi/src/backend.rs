//! `yoi backend`: runs a Backend, and manages a running one.

mod advance;
mod audit;
mod bundles;
mod compare;
mod config;
mod explain;
mod init;
mod login;
mod placements;
mod publish;
mod rollback;
mod runtimes;
mod select;
mod serve;
mod sessions;
mod stage;
mod status;
mod sync;
mod token;

use std::process::ExitCode;

use crate::error::CliError;
use crate::output::Output;

/// Runs a Backend, which brings the right bundle to every Runtime, and manages a running one.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Writes a config file.
    Init(init::Args),
    /// Runs the Backend until it receives SIGTERM or SIGINT.
    Serve(serve::Args),
    /// Issues, lists and revokes tokens.
    #[command(subcommand)]
    Token(token::Command),
    // These variants have no doc comments: they would replace the longer help texts of the arguments.
    Publish(publish::Args),
    Bundles(bundles::Args),
    Compare(compare::Args),
    Use(select::Args),
    Advance(advance::Args),
    Rollback(rollback::Args),
    Runtimes(runtimes::Args),
    Status(status::Args),
    Sync(sync::Args),
    Explain(explain::Args),
    Placements(placements::Args),
    Audit(audit::Args),
    Login(login::Args),
    Sessions(sessions::Args),
}

pub(crate) fn run(command: &Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::Init(args) => init::run(args, output),
        Command::Serve(args) => serve::run(args, output),
        Command::Token(command) => token::run(command, output),
        Command::Publish(args) => publish::run(args, output),
        Command::Bundles(args) => bundles::run(args, output),
        Command::Compare(args) => compare::run(args, output),
        Command::Use(args) => select::run(args, output),
        Command::Advance(args) => advance::run(args, output),
        Command::Rollback(args) => rollback::run(args, output),
        Command::Runtimes(args) => runtimes::run(args, output),
        Command::Status(args) => status::run(args, output),
        Command::Sync(args) => sync::run(args, output),
        Command::Explain(args) => explain::run(args, output),
        Command::Placements(args) => placements::run(args, output),
        Command::Audit(args) => audit::run(args, output),
        Command::Login(args) => login::run(args, output),
        Command::Sessions(args) => sessions::run(args, output),
    }
}
