//! `yoi backend token list`: lists the tokens.

use std::process::ExitCode;

use backend_api::body::BackendTokenSummary;
use serde_json::json;

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
    let tokens = args.target.run(
        |management| async move {
            Ok(management.tokens().await?.into_iter().map(BackendTokenSummary::from).collect::<Vec<_>>())
        },
        |client| async move { client.tokens().await },
    )?;
    output.result(&json!({ "schema": "yoi.backend-tokens/1", "tokens": tokens }), || text(&tokens));
    Ok(ExitCode::SUCCESS)
}

fn text(tokens: &[BackendTokenSummary]) -> String {
    if tokens.is_empty() {
        return "no tokens; issue one with `yoi backend token new`\n".to_owned();
    }
    let mut rows = Rows::default();
    for token in tokens {
        let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
        let workspaces: Vec<&str> = token.workspaces.iter().map(|workspace| workspace.as_str()).collect();
        let mut line = format!("{:?}: {}", token.name.as_str(), scopes.join(", "));
        if !workspaces.is_empty() {
            line.push_str(&format!(" in {}", workspaces.join(", ")));
        }
        match (token.revoked_at, token.expires_at) {
            (Some(at), _) => line.push_str(&format!("; revoked {at}")),
            (None, Some(until)) => line.push_str(&format!("; until {until}")),
            (None, None) => {}
        }
        rows.row(token.id.as_str(), line);
    }
    rows.into_text()
}
