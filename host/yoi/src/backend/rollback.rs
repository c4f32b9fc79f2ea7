//! `yoi backend rollback`: makes the previous desired bundle the desired one again.

use std::process::ExitCode;

use super::select;
use crate::error::CliError;
use crate::output::Output;
use crate::remote::BackendArgs;

/// Makes the previous desired bundle the desired one again.
///
/// Each call goes back by one bundle. The rollback is a new generation, so Runtimes follow it like any other decision.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    backend: BackendArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let view = args.backend.send(|client| async move { client.roll_back().await })?;
    select::print(&view, output);
    Ok(ExitCode::SUCCESS)
}
