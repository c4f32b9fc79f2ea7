//! `yoi resolver activate`.

use std::process::ExitCode;

use super::registry::{self, Target};
use crate::error::CliError;
use crate::output::Output;

/// Activates a resolver of a service.
///
/// Requests that name no resolver use it from now on, unless the config of the service pins one. Requests in flight end on
/// the resolver with which they began. `yoi resolver rollback` goes back.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let digest = args.target.digest()?;
    registry::change(&args.target.server, output, |client| async move { client.activate_resolver(digest).await })
}
