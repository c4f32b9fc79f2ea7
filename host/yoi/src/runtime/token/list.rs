//! `yoi runtime token list`: lists the tokens.

use std::process::ExitCode;

use serde_json::json;
use worker_runtime::token::TokenSummary;

use super::TargetArgs;
use crate::error::CliError;
use crate::output::Output;
use crate::text::Rows;

/// Lists the tokens without their secret part.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let tokens = args
        .target
        .run(|management| async move { management.tokens().await }, |client| async move { client.tokens().await })?;
    output.result(&json!({ "schema": "yoi.tokens/1", "tokens": tokens }), || text(&tokens));
    Ok(ExitCode::SUCCESS)
}

fn text(tokens: &[TokenSummary]) -> String {
    if tokens.is_empty() {
        return "no tokens; issue one with `yoi runtime token new`\n".to_owned();
    }
    let mut rows = Rows::default();
    for token in tokens {
        let scopes: Vec<&str> = token.grant.scopes.iter().map(|scope| scope.as_str()).collect();
        let workspaces: Vec<&str> = token.grant.workspaces.iter().map(|workspace| workspace.as_str()).collect();
        let mut line = format!("{:?}: {}", token.grant.name.as_str(), scopes.join(", "));
        if !workspaces.is_empty() {
            line.push_str(&format!(" in {}", workspaces.join(", ")));
        }
        if let Some(connections) = token.grant.connections {
            line.push_str(&format!("; {connections} connections"));
        }
        if let Some(streams) = token.grant.event_streams {
            line.push_str(&format!("; {streams} streams"));
        }
        match (token.revoked_at, token.grant.expires_at) {
            (Some(at), _) => line.push_str(&format!("; revoked {at}")),
            (None, Some(until)) => line.push_str(&format!("; until {until}")),
            (None, None) => {}
        }
        rows.row(token.id.as_str(), line);
    }
    rows.into_text()
}
