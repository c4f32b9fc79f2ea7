//! `yoi backend token`: issues, lists and revokes tokens. The first token is issued in the data folder, before the Backend runs.
//! A running Backend requires a token with the scope `admin`.

mod list;
mod new;
mod revoke;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use backend_client::BackendClient;
use runtime_api::token::TokenId;
use runtime_client::ClientError;
use serde_json::json;
use worker_runtime::Management;
use worker_runtime::token::TokenError;
use zeroize::Zeroizing;

use super::config;
use crate::error::CliError;
use crate::files::{self, NewSecretFile};
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

/// Prints a new token, or writes it to a file.
pub(super) fn print(
    id: &TokenId,
    token: String,
    out: Option<(&Path, NewSecretFile<'_>)>,
    output: &Output,
) -> Result<ExitCode, CliError> {
    let token = Zeroizing::new(token);
    if let Some((path, file)) = out {
        let line = Zeroizing::new(format!("{}\n", *token));
        file.finish(line.as_bytes()).map_err(|error| {
            let help = format!("{}; revoke the lost token: `yoi backend token revoke {id}`", error.help);
            CliError { help, ..error }
        })?;
        let document = json!({ "schema": "yoi.token/1", "id": id, "file": files::shown(path) });
        output.result(&document, || format!("wrote token {id} to {}\n", files::shown(path)));
        return Ok(ExitCode::SUCCESS);
    }
    let document = json!({ "schema": "yoi.token/1", "id": id, "token": *token });
    output.note(&format!("note: token {id} is shown only once; store it where only its owner can read it"));
    output.result(&document, || format!("{}\n", *token));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn run(command: &Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::New(args) => new::run(args, output),
        Command::List(args) => list::run(args, output),
        Command::Revoke(args) => revoke::run(args, output),
    }
}
