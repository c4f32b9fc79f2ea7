//! `yoi runtime remove`: one bundle less.

use std::process::ExitCode;

use ::bundles::Digest;
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::RemoteArgs;

/// Removes a bundle that nothing uses.
///
/// Its revision stays taken; its blobs go when garbage is collected.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The bundle's digest.
    digest: Digest,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    args.remote.ask(|client| async move { client.remove_bundle(args.digest).await })?;
    let document = json!({ "schema": "yoi.runtime-remove/1", "digest": args.digest });
    output.result(&document, || format!("removed {}\n", args.digest));
    Ok(ExitCode::SUCCESS)
}
