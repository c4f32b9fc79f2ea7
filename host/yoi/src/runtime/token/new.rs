//! `yoi runtime token new`.

use std::process::ExitCode;

use bundles::WorkspaceId;
use secrecy::ExposeSecret;
use serde_json::json;
use worker_runtime::token::{Scope, SystemEntropy, TokenGrant};
use worker_runtime::worker::DisplayName;

use super::WhereArgs;
use crate::error::CliError;
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
    #[command(flatten)]
    at: WhereArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let grant = TokenGrant {
        name: args.name.clone(),
        scopes: args.scope.iter().copied().collect(),
        workspaces: args.workspace.iter().cloned().collect(),
        expires_at: args.expires,
    };
    if grant.workspaces.is_empty() && grant.scopes.iter().any(|scope| *scope != Scope::Operator) {
        return Err(CliError::new(
            "usage",
            "the token would be good for no workspace",
            "name one: `--workspace ID`; only the scope `operator` goes without",
        ));
    }
    let again = grant.clone();
    let (summary, token) = args.at.either(
        |management| async move { management.issue_token(grant, &SystemEntropy).await },
        |client| async move { client.issue_token(again).await },
    )?;
    let document = json!({ "schema": "yoi.token/1", "token": token.expose_secret(), "id": summary.id });
    output.note(&format!("note: token {} is shown this one time; keep it where only its holder reads it", summary.id));
    output.result(&document, || format!("{}\n", token.expose_secret()));
    Ok(ExitCode::SUCCESS)
}
