//! `yoi backend explain`: explains whether a workspace may be on a Runtime.

use std::process::ExitCode;

use ::bundles::{RuntimeName, WorkspaceId};
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::BackendServerArgs;
use crate::text::Rows;

/// Explains whether a workspace may be on a Runtime, rule by rule.
///
/// Exits with 4 if the workspace may not be there.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the Runtime.
    runtime: RuntimeName,
    /// Id of the workspace.
    workspace: WorkspaceId,
    #[command(flatten)]
    backend: BackendServerArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let explanation = args
        .backend
        .send(|client| async move { client.in_workspace(args.workspace.clone()).explain(&args.runtime).await })?;
    let allowed = explanation.decision.allowed;
    output.result(&json!({ "schema": "yoi.backend-explain/1", "explanation": explanation }), || {
        let mut rows = Rows::default();
        let verdict = if allowed { "allowed" } else { "not allowed" };
        rows.row(verdict, format!("workspace `{}` on Runtime `{}`", args.workspace, args.runtime));
        for (finding, sentence) in explanation.decision.findings.iter().zip(&explanation.sentences) {
            rows.row(if finding.allowed { "  yes" } else { "  no" }, &sentence.text);
            if let Some(help) = &sentence.help {
                rows.row("", format!("help: {help}"));
            }
        }
        rows.into_text()
    });
    Ok(if allowed { ExitCode::SUCCESS } else { ExitCode::from(4) })
}
