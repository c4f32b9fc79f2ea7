//! `yoi backend advance`: moves a rollout on.

use std::process::ExitCode;

use backend_api::body::AdvanceRequest;
use backend_api::desired::Stage;
use clap::builder::BoolishValueParser;

use super::{select, stage};
use crate::error::CliError;
use crate::output::Output;
use crate::remote::BackendArgs;

/// Moves a rollout on to another stage, or to all Runtimes of the workspace.
///
/// A rollout is halted while a Runtime refuses its bundle.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// New stage: a percentage (`50%`) or labels (`ring=canary`). Default: all Runtimes.
    #[arg(long, value_name = "STAGE", env = "YOI_STAGE", value_parser = stage::parse)]
    stage: Option<Stage>,
    /// Goes on although a Runtime refuses the bundle.
    #[arg(long, env = "YOI_DESPITE_REFUSALS", value_parser = BoolishValueParser::new())]
    despite_refusals: bool,
    #[command(flatten)]
    backend: BackendArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let request = AdvanceRequest { stage: args.stage.clone(), despite_refusals: args.despite_refusals };
    let view = args.backend.send(|client| async move { client.advance(&request).await })?;
    select::print(&view, output);
    Ok(ExitCode::SUCCESS)
}
