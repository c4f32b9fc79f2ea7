//! `yoi resolver remove`.

use std::process::ExitCode;

use serde_json::json;

use super::registry::Target;
use crate::error::CliError;
use crate::output::Output;

/// Removes a resolver of a service that nothing uses.
///
/// Refused while it is active, while the config pins it, or while workers that it resolved run. A revoked resolver stays
/// listed, so that it cannot be added again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let digest = args.target.digest()?;
    args.target.server.send(|client| async move { client.remove_resolver(digest).await })?;
    output.result(&json!({ "schema": "yoi.resolver-remove/1", "resolver": digest }), || format!("removed {digest}\n"));
    Ok(ExitCode::SUCCESS)
}
