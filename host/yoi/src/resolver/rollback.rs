//! `yoi resolver rollback`.

use std::process::ExitCode;

use super::registry;
use crate::error::CliError;
use crate::output::Output;
use crate::remote::ServerArgs;

/// Activates the resolver that was active before.
///
/// Several calls go back step by step. Resolvers that were revoked or removed since are skipped.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    registry::change(&args.server, output, |client| async move { client.rollback_resolver().await })
}
