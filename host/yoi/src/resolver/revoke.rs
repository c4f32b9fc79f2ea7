//! `yoi resolver revoke`.

use std::process::ExitCode;

use super::registry::{self, Target};
use crate::error::CliError;
use crate::output::Output;

/// Revokes a resolver of a service, which is final.
///
/// Requests that name it are refused, and the workers that it resolved are stopped. The active resolver cannot be revoked:
/// activate another one first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let digest = args.target.digest()?;
    registry::change(&args.target.server, output, |client| async move { client.revoke_resolver(digest).await })
}
