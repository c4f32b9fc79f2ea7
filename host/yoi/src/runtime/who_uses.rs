//! `yoi runtime who-uses`: why a bundle does not go away.

use std::process::ExitCode;

use ::bundles::Digest;
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::RemoteArgs;

/// Says who uses a bundle.
///
/// Workers and pins, and bundles where the digest is that of a blob; at most a hundred of them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The digest of a bundle or a blob.
    digest: Digest,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let users = args.remote.ask(|client| async move { client.users(args.digest).await })?;
    let document = json!({ "schema": "yoi.runtime-users/1", "digest": args.digest, "users": users });
    output.result(&document, || {
        if users.is_empty() {
            return "nothing here uses it\n".to_owned();
        }
        users.iter().map(|user| format!("{user}\n")).collect()
    });
    Ok(ExitCode::SUCCESS)
}
