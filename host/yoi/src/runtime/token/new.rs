//! `yoi runtime token new`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use bundles::WorkspaceId;
use secrecy::ExposeSecret;
use serde_json::json;
use worker_runtime::token::{Scope, SystemEntropy, TokenError, TokenGrant, TokenId};
use worker_runtime::worker::DisplayName;
use zeroize::Zeroizing;

use super::WhereArgs;
use crate::error::CliError;
use crate::files::{self, SecretFile};
use crate::output::Output;

/// Makes a token, and shows it this one time: only a hash of it is kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What people call it.
    #[arg(long, value_name = "NAME", env = "YOI_NAME")]
    name: DisplayName,
    /// What its holder may do: `read`, `bundles`, `workers`, `call`, and `operator` for who runs the
    /// Runtime, which includes making tokens.
    #[arg(long, value_name = "SCOPE", env = "YOI_SCOPE", value_delimiter = ',', required = true)]
    scope: Vec<Scope>,
    /// A workspace that it is good for. May be repeated.
    #[arg(long, value_name = "ID", env = "YOI_WORKSPACE", value_delimiter = ',')]
    workspace: Vec<WorkspaceId>,
    /// Until when it is good, as `2027-01-31T00:00:00Z`. By default until it is revoked.
    #[arg(long, value_name = "TIME", env = "YOI_EXPIRES")]
    expires: Option<jiff::Timestamp>,
    /// Connections that it may have in use at a time. By default the share that `connection_share_percent` in the
    /// config gives; a token that serves many workspaces may need more.
    #[arg(long, value_name = "N", env = "YOI_CONNECTIONS", value_parser = connections)]
    connections: Option<NonZeroU32>,
    /// Streams of events that it may have open at a time. By default `event_streams` in the config.
    #[arg(long, value_name = "N", env = "YOI_STREAMS", value_parser = streams)]
    streams: Option<NonZeroU32>,
    /// Writes the token into a new file that only its owner can read, instead of showing it.
    #[arg(long, short, value_name = "FILE", env = "YOI_OUT")]
    out: Option<PathBuf>,
    #[command(flatten)]
    at: WhereArgs,
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
            "usage",
            "the token would be good for no workspace",
            "name one: `--workspace ID`; only the scope `operator` goes without",
        ));
    }
    if grant.expires_at.is_some_and(|until| until <= jiff::Timestamp::now()) {
        return Err(CliError::new(
            "usage",
            "the token would be good for no time",
            "name a time to come: `--expires TIME`",
        ));
    }
    // Before there is a token that nobody would have.
    let file = args.out.as_deref().map(|path| SecretFile::begin(path, "token file")).transpose()?;
    let again = grant.clone();
    let (summary, token) = args.at.either(
        |management| async move { management.issue_token(grant, &SystemEntropy).await },
        |client| async move { client.issue_token(again).await },
    )?;
    if let (Some(path), Some(file)) = (&args.out, file) {
        let line = Zeroizing::new(format!("{}\n", token.expose_secret()));
        file.finish(line.as_bytes()).map_err(|error| unhad(args, &summary.id, error))?;
        let document = json!({ "schema": "yoi.token/1", "id": summary.id, "file": files::shown(path) });
        output.result(&document, || format!("wrote token {} to {}\n", summary.id, files::shown(path)));
        return Ok(ExitCode::SUCCESS);
    }
    let document = json!({ "schema": "yoi.token/1", "id": summary.id, "token": token.expose_secret() });
    output.note(&format!("note: token {} is shown this one time; keep it where only its holder reads it", summary.id));
    output.result(&document, || format!("{}\n", token.expose_secret()));
    Ok(ExitCode::SUCCESS)
}

/// Revokes a token that nobody has, for it could not be written. The error is the writing's; where the token
/// stays good, it says so.
fn unhad(args: &Args, id: &TokenId, error: CliError) -> CliError {
    let revoked = args.at.either(
        |management| async move { management.revoke_token(id).await },
        |client| async move { client.revoke_token(id).await },
    );
    match revoked {
        Ok(_) => error,
        Err(_) => {
            let help = format!("{}; token {id} is good and nobody has it: `yoi runtime token revoke {id}`", error.help);
            CliError { help, ..error }
        }
    }
}
