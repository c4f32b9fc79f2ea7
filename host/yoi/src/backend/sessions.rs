//! `yoi backend sessions`: lists the sessions of the pages, or ends one.

use std::process::ExitCode;

use backend_api::session::{SessionId, SessionSummary};
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::BackendServerArgs;
use crate::text::{Rows, time};

/// Lists the open sessions of people on the pages, or ends one of them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Id of a session to end.
    #[arg(long, value_name = "ID", env = "YOI_END")]
    end: Option<SessionId>,
    #[command(flatten)]
    backend: BackendServerArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    if let Some(id) = &args.end {
        let ended = args.backend.send(|client| async move { client.end_session(id).await })?;
        let document = json!({ "schema": "yoi.backend-session-end/1", "session": ended });
        output.result(&document, || format!("ended session {}\n", ended.id));
        return Ok(ExitCode::SUCCESS);
    }
    let sessions = args.backend.send(|client| async move { client.sessions().await })?;
    output.result(&json!({ "schema": "yoi.backend-sessions/1", "sessions": sessions }), || text(&sessions));
    Ok(ExitCode::SUCCESS)
}

fn text(sessions: &[SessionSummary]) -> String {
    if sessions.is_empty() {
        return "no sessions; issue a login link with `yoi backend login`\n".to_owned();
    }
    let mut rows = Rows::default();
    for session in sessions {
        let scopes: Vec<&str> = session.scopes.iter().map(|scope| scope.as_str()).collect();
        let workspaces: Vec<&str> = session.workspaces.iter().map(|workspace| workspace.as_str()).collect();
        let mut line = format!("{} of token {}", scopes.join(", "), session.token);
        if !workspaces.is_empty() {
            line.push_str(&format!(" in {}", workspaces.join(", ")));
        }
        line.push_str(&format!(", until {}", session.ends_at));
        rows.noted(session.id.as_str(), line, format!("used {}", time(session.used_at)));
    }
    rows.into_text()
}
