//! `yoi runtime token`: who may ask a service for what. Done on the machine of the service, in its data
//! folder, while it does not run; a running one is asked by who holds an operator's token.

mod list;
mod new;
mod revoke;

use std::path::PathBuf;
use std::process::ExitCode;

use worker_runtime::Runtime;

use super::open;
use crate::error::CliError;
use crate::output::Output;

/// Makes, lists and revokes the tokens that let clients in.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes a token, and shows it this one time.
    New(new::Args),
    /// Lists the tokens, without what lets anybody in.
    List(list::Args),
    /// Refuses a token from here on.
    Revoke(revoke::Args),
}

/// Whose tokens.
#[derive(Debug, Clone, clap::Args)]
struct WhereArgs {
    /// The config of a service that is not running.
    #[arg(long, value_name = "FILE", env = "YOI_CONFIG")]
    config: PathBuf,
}

impl WhereArgs {
    async fn open(&self) -> Result<Runtime, CliError> {
        let config = open::read(&self.config)?;
        let data = config.data();
        // The first token is made before the service has ever run.
        drop(worker_runtime::DataFolder::open(&data).await?);
        open::upkeep(&data).await
    }
}

pub(crate) fn run(command: &Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::New(args) => new::run(args, output),
        Command::List(args) => list::run(args, output),
        Command::Revoke(args) => revoke::run(args, output),
    }
}
