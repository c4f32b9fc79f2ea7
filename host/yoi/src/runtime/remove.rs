//! `yoi runtime remove`: removes a bundle.

use std::process::ExitCode;

use ::bundles::Digest;
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::RemoteArgs;

/// Removes an unused bundle.
///
/// Its revision stays taken. The next garbage collection removes its blobs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Digest of the bundle.
    digest: Digest,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    args.remote.send(|client| async move { client.remove_bundle(args.digest).await })?;
    let document = json!({ "schema": "yoi.runtime-remove/1", "digest": args.digest });
    output.result(&document, || format!("removed {}\n", args.digest));
    Ok(ExitCode::SUCCESS)
}
