//! `yoi resolver activate`.

use std::process::ExitCode;

use super::registry::{self, ResolverName};
use crate::error::CliError;
use crate::output::Output;
use crate::remote::ServerArgs;

/// Activates a resolver of a service.
///
/// Requests that name no resolver use it from now on, unless the config of the service pins one. Requests in flight end on
/// the resolver with which they began. `yoi resolver rollback` goes back.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Digest of the resolver, or 4 or more of its first digits.
    resolver: ResolverName,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let digest = args.resolver.on(&args.server)?;
    registry::change(&args.server, output, |client| async move { client.activate_resolver(digest).await })
}
