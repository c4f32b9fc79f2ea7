//! `yoi backend use`: makes a published bundle the desired one.

use std::process::ExitCode;

use backend_api::body::{SetDesiredRequest, WorkspaceView};
use backend_api::desired::Stage;
use clap::builder::BoolishValueParser;
use serde_json::json;

use super::stage;
use crate::error::CliError;
use crate::output::Output;
use crate::remote::BackendArgs;
use crate::text::Rows;
use crate::worker::BundleName;

/// Makes a published bundle the desired one, for all Runtimes of the workspace or for a stage.
///
/// The Backend brings the bundle to the Runtimes that the policy allows. With `--stage` the other Runtimes keep the earlier
/// bundle until `yoi backend advance`. The command is idempotent.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Bundle: a digest, its first hex digits, `newest`, or the folder or file of the bundle.
    bundle: BundleName,
    /// Allows a bundle that is older than the newest one.
    #[arg(long, env = "YOI_ALLOW_OLDER", value_parser = BoolishValueParser::new())]
    allow_older: bool,
    /// Only these Runtimes get the bundle first: a percentage (`25%`) or labels (`ring=canary`).
    #[arg(long, value_name = "STAGE", env = "YOI_STAGE", value_parser = stage::parse)]
    stage: Option<Stage>,
    #[command(flatten)]
    backend: BackendArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let (bundle, remote) = args.bundle.find(&args.backend.remote())?;
    let request = SetDesiredRequest { bundle, allow_older: args.allow_older, stage: args.stage.clone() };
    let view =
        remote.send(|client| async move { backend_client::BackendClient::from(client).set_desired(&request).await })?;
    print(&view, output);
    Ok(ExitCode::SUCCESS)
}

/// Prints the desired state of a workspace.
pub(super) fn print(view: &WorkspaceView, output: &Output) {
    let document = json!({ "schema": "yoi.backend-desired/1", "workspace": view });
    output.result(&document, || {
        let mut rows = Rows::default();
        rows.row("workspace", &view.id);
        let Some(desired) = &view.desired else {
            rows.row("desired", "nothing");
            return rows.into_text();
        };
        rows.row("bundle", desired.target.bundle);
        rows.row("generation", desired.target.generation);
        if let Some(rollout) = &desired.rollout {
            let note = if view.halted { "halted: a Runtime refuses the bundle" } else { "" };
            rows.noted("stage", &rollout.stage, note);
            match &rollout.previous {
                Some(previous) => rows.row("others", previous.bundle),
                None => rows.row("others", "nothing"),
            }
        }
        rows.into_text()
    });
}
