//! `yoi backend login`: prints a link that opens the pages in a browser.

use std::process::ExitCode;

use ::bundles::WorkspaceId;
use backend_api::session::LoginLinkRequest;
use backend_api::token::BackendScope;
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::BackendServerArgs;
use crate::text::time;

/// Prints a link that opens the pages of the Backend in a browser.
///
/// The link works once, within ten minutes, for whoever has it. The session has the scopes and workspaces of the token, or fewer
/// of them. The token needs the scope `admin`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scope of the session. Can be repeated. Default: those of the token.
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
    let url = format!("{}{}", args.backend.url().trim_end_matches('/'), link.path);
    output.note(&format!("note: the link works once, until {}", time(link.expires_at)));
    output.result(&json!({ "schema": "yoi.backend-login/1", "url": url, "expires_at": link.expires_at }), || {
        format!("{url}\n")
    });
    Ok(ExitCode::SUCCESS)
}
