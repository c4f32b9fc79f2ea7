//! `yoi backend token`: issues, lists and revokes tokens. The first token is issued in the data folder, before the Backend runs.
//! A running Backend requires a token with the scope `admin`.

mod list;
mod new;
mod revoke;

use std::path::PathBuf;
use std::process::ExitCode;

use backend_client::BackendClient;
use runtime_client::ClientError;
use worker_runtime::Management;
use worker_runtime::token::TokenError;

use super::config;
use crate::error::CliError;
use crate::output::Output;
use crate::remote::BackendServerArgs;

/// Issues, lists and revokes tokens.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Issues a token and shows it once.
    New(new::Args),
    /// Lists the tokens without their secret part.
    List(list::Args),
    /// Revokes a token.
    Revoke(revoke::Args),
}

/// Arguments that name a config or a running Backend.
#[derive(Debug, Clone, clap::Args)]
struct TargetArgs {
    /// Config of a Backend that is not running. Without it, the command uses a running Backend.
    #[arg(long, value_name = "FILE", env = "YOI_BACKEND_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    server: BackendServerArgs,
}

impl TargetArgs {
    /// Runs `local` on the data folder of the config, or `remote` on a running Backend.
    fn run<T, F, G>(
        &self,
        local: impl FnOnce(Management) -> F,
        remote: impl FnOnce(BackendClient) -> G,
    ) -> Result<T, CliError>
    where
        F: Future<Output = Result<T, TokenError>>,
        G: Future<Output = Result<T, ClientError>>,
    {
        let Some(path) = &self.config else { return self.server.send(remote) };
        crate::block_on(async { Ok(local(config::read(path)?.open_tokens().await?.management()).await?) })?
    }
}

pub(crate) fn run(command: &Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::New(args) => new::run(args, output),
        Command::List(args) => list::run(args, output),
        Command::Revoke(args) => revoke::run(args, output),
    }
}
