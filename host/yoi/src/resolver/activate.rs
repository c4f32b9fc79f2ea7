//! `yoi resolver activate`.

use std::process::ExitCode;

use bundles::Digest;
use runtime_api::comparison::ActivateRequest;

use super::registry::{self, Target};
use crate::error::CliError;
use crate::output::Output;

/// Activates a resolver of a service.
///
/// Requests that name no resolver use it from now on, unless the config of the service pins one. Requests in flight end on
/// the resolver with which they began. `yoi resolver rollback` goes back.
///
/// The resolver must have been compared with the active one: `yoi resolver compare active RESOLVER`. If workers could do more,
/// profiles newly fail or the cost grows too much, the command exits with 4 unless `--accept` names exactly these changes.
/// Afterwards the service repeats a share of its resolutions with the previous resolver, and goes back by itself at a change
/// that was not accepted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Accepts exactly the changes with this digest, which the comparison shows.
    #[arg(long, value_name = "DIGEST")]
    accept: Option<Digest>,
    /// Activates the resolver without a comparison. Nothing is repeated with the previous one afterwards.
    #[arg(long, conflicts_with = "accept")]
    unchecked: bool,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let digest = args.target.digest()?;
    let request = ActivateRequest { accept: args.accept, unchecked: args.unchecked };
    registry::change(
        &args.target.server,
        output,
        |client| async move { client.activate_resolver(digest, &request).await },
    )
}
