//! `yoi resolver show`.

use std::process::ExitCode;

use runtime_api::Code;

use super::registry::{self, Target};
use crate::error::CliError;
use crate::output::Output;

/// Shows a resolver of a service.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let digest = args.target.digest()?;
    let listed = args.target.server.send(|client| async move { client.resolvers().await })?;
    let found = listed.into_iter().find(|resolver| resolver.digest == digest).ok_or_else(|| {
        CliError::new(
            Code::ResolverNotFound,
            format!("resolver {digest} not found"),
            "list them with `yoi resolver list`",
        )
    })?;
    registry::print(&found, output);
    Ok(ExitCode::SUCCESS)
}
