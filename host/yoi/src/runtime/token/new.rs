//! `yoi runtime token new`: issues a token.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use bundles::WorkspaceId;
use runtime_api::Code;
use secrecy::ExposeSecret;
use worker_runtime::token::{Scope, SystemEntropy, TokenError, TokenGrant, TokenId};
use worker_runtime::worker::DisplayName;

use super::TargetArgs;
use crate::error::CliError;
use crate::files::NewSecretFile;
use crate::new_token;
use crate::output::Output;

/// Issues a token and shows it once. The service stores only a hash of the token.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the token.
    #[arg(long, value_name = "NAME", env = "YOI_NAME")]
    name: DisplayName,
    /// Scopes, separated by commas: `read`, `bundles`, `workers`, `call`, `ingress`, `status`, and `operator` for the operation of the Runtime, including issuing tokens.
    #[arg(long, value_name = "SCOPE", env = "YOI_SCOPE", value_delimiter = ',', required = true)]
    scope: Vec<Scope>,
    /// Workspace that the token serves. Can be repeated.
    #[arg(long, value_name = "ID", env = "YOI_WORKSPACE", value_delimiter = ',')]
    workspace: Vec<WorkspaceId>,
    /// Time at which the token expires, such as `2027-01-31T00:00:00Z`. Default: never.
    #[arg(long, value_name = "TIME", env = "YOI_EXPIRES")]
    expires: Option<jiff::Timestamp>,
    /// Maximum number of concurrent connections. Default: the share of `connection_share_percent` in the config. A token that
    /// serves many workspaces may need more.
    #[arg(long, value_name = "N", env = "YOI_CONNECTIONS", value_parser = connections)]
    connections: Option<NonZeroU32>,
    /// Maximum number of concurrent event streams. Default: `event_streams` in the config.
    #[arg(long, value_name = "N", env = "YOI_STREAMS", value_parser = streams)]
    streams: Option<NonZeroU32>,
    /// Writes the token to a new file that only its owner can read, instead of showing it.
    #[arg(long, short, value_name = "FILE", env = "YOI_OUT")]
    out: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
}

fn connections(text: &str) -> Result<NonZeroU32, TokenError> {
    text.parse().map_err(|_| TokenError::InvalidLimit("connections"))
}

fn streams(text: &str) -> Result<NonZeroU32, TokenError> {
    text.parse().map_err(|_| TokenError::InvalidLimit("event_streams"))
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let grant = TokenGrant {
        name: args.name.clone(),
        scopes: args.scope.iter().copied().collect(),
        workspaces: args.workspace.iter().cloned().collect(),
        expires_at: args.expires,
        connections: args.connections,
        event_streams: args.streams.map(NonZeroU32::get),
    };
    if grant.workspaces.is_empty() && grant.scopes.iter().any(|scope| *scope != Scope::Operator) {
        return Err(CliError::new(
            Code::Usage,
            "the token would serve no workspace",
            "pass `--workspace ID`; only the scope `operator` needs no workspace",
        ));
    }
    if grant.expires_at.is_some_and(|until| until <= jiff::Timestamp::now()) {
        return Err(CliError::new(
            Code::Usage,
            "the token would be expired",
            "pass a future time with `--expires TIME`",
        ));
    }
    // Create the file first: if this fails, no token is issued that is then lost.
    let file = args.out.as_deref().map(|path| NewSecretFile::create(path, "token file")).transpose()?;
    let remote_grant = grant.clone();
    let (summary, token) = args.target.run(
        |management| async move { management.issue_token(grant, &SystemEntropy).await },
        |client| async move { client.issue_token(remote_grant).await },
    )?;
    let printed = new_token::print(&summary.id, token.expose_secret(), args.out.as_deref().zip(file), output);
    printed.map_err(|error| revoke_lost(args, &summary.id, error))
}

/// Revokes a token that could not be written to its file. Returns the error of the write. If the revocation fails too, the help
/// text says that the token is still valid.
fn revoke_lost(args: &Args, id: &TokenId, error: CliError) -> CliError {
    let revoked = args.target.run(
        |management| async move { management.revoke_token(id).await },
        |client| async move { client.revoke_token(id).await },
    );
    match revoked {
        Ok(_) => error,
        Err(_) => {
            let help = format!(
                "{}; the lost token {id} is still valid, revoke it with `yoi runtime token revoke {id}`",
                error.help
            );
            CliError { help, ..error }
        }
    }
}
