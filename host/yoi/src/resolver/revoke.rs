//! `yoi resolver revoke`.

use std::process::ExitCode;

use super::registry::{self, ResolverName};
use crate::error::CliError;
use crate::output::Output;
use crate::remote::ServerArgs;

/// Revokes a resolver of a service, which is final.
///
/// Requests that name it are refused, and the workers that it resolved are stopped. The active resolver cannot be revoked:
/// activate another one first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Digest of the resolver, or 4 or more of its first digits.
    resolver: ResolverName,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let digest = args.resolver.on(&args.server)?;
    registry::change(&args.server, output, |client| async move { client.revoke_resolver(digest).await })
}
