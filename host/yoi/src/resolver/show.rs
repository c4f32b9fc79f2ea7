//! `yoi resolver show`.

use std::process::ExitCode;

use super::registry::{self, ResolverName};
use crate::error::CliError;
use crate::output::Output;
use crate::remote::ServerArgs;

/// Shows a resolver of a service.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Digest of the resolver, or 4 or more of its first digits.
    resolver: ResolverName,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let digest = args.resolver.on(&args.server)?;
    let listed = args.server.send(|client| async move { client.resolvers().await })?;
    let found = listed.into_iter().find(|resolver| resolver.digest == digest).ok_or_else(|| {
        CliError::new(
            "resolver_not_found",
            format!("resolver {digest} not found"),
            "list them with `yoi resolver list`",
        )
    })?;
    registry::print(&found, output);
    Ok(ExitCode::SUCCESS)
}
