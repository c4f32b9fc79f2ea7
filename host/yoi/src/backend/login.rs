//! `yoi backend login`: issues a login link for the pages.

use std::process::ExitCode;

use ::bundles::WorkspaceId;
use backend_api::session::LoginLinkRequest;
use backend_api::token::BackendScope;
use serde_json::json;
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::BackendServerArgs;

/// Issues a login link for the pages of the Backend.
///
/// Open the link in a browser and press its button within ten minutes. The link works once, for any person who has it.
/// The session has the permissions of the token, or the fewer ones that are named, and ends with the token.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scope of the session: `read`, `publish`, `workers` or `admin`. Can be repeated. Default: those of the token.
    #[arg(long, value_name = "SCOPE", env = "YOI_SCOPE", value_delimiter = ',')]
    scope: Vec<BackendScope>,
    /// Workspace of the session. Can be repeated. Default: those of the token.
    #[arg(long, value_name = "ID", env = "YOI_WORKSPACE", value_delimiter = ',')]
    workspace: Vec<WorkspaceId>,
    #[command(flatten)]
    backend: BackendServerArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let request = LoginLinkRequest {
        scopes: (!args.scope.is_empty()).then(|| args.scope.iter().copied().collect()),
        workspaces: (!args.workspace.is_empty()).then(|| args.workspace.iter().cloned().collect()),
    };
    let link = args.backend.send(|client| async move { client.issue_login_link(&request).await })?;
    let url = Zeroizing::new(format!("{}{}", args.backend.url().trim_end_matches('/'), link.path));
    output.note(&format!("note: the link works once, until {}", link.expires_at));
    let document = json!({ "schema": "yoi.backend-login/1", "url": *url, "expires_at": link.expires_at });
    output.result(&document, || format!("{}\n", *url));
    Ok(ExitCode::SUCCESS)
}
