//! `yoi runtime token`: who may ask a service for what. The first one is made in the data folder, before the
//! service runs; a running one is asked by who holds an operator's token.

mod list;
mod new;
mod revoke;

use std::path::PathBuf;
use std::process::ExitCode;

use runtime_client::{Client, ClientError};
use worker_runtime::Management;
use worker_runtime::token::TokenError;

use super::open::Kept;
use crate::error::CliError;
use crate::output::Output;
use crate::remote::ServerArgs;

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
    /// The config of a service that is not running; else a running one is asked.
    #[arg(long, value_name = "FILE", env = "YOI_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

impl WhereArgs {
    /// Does it in the data folder of the config, or asks the service that runs.
    fn either<T, F, G>(
        &self,
        here: impl FnOnce(Management) -> F,
        there: impl FnOnce(Client) -> G,
    ) -> Result<T, CliError>
    where
        F: Future<Output = Result<T, TokenError>>,
        G: Future<Output = Result<T, ClientError>>,
    {
        let Some(config) = &self.config else { return self.server.ask(there) };
        crate::block_on(async { Ok(here(Kept::of_new_config(config).await?.runtime().await?.management()).await?) })?
    }
}

pub(crate) fn run(command: &Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::New(args) => new::run(args, output),
        Command::List(args) => list::run(args, output),
        Command::Revoke(args) => revoke::run(args, output),
    }
}
