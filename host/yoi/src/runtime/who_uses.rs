//! `yoi runtime who-uses`: lists the users of a bundle or blob, which prevent its removal.

use std::process::ExitCode;

use ::bundles::Digest;
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::RemoteArgs;

/// Lists the users of a bundle or a blob, at most 100.
///
/// Workers and pins use a bundle. Bundles use a blob.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Digest of a bundle or a blob.
    digest: Digest,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let users = args.remote.send(|client| async move { client.users(args.digest).await })?;
    let document = json!({ "schema": "yoi.runtime-users/1", "digest": args.digest, "users": users });
    output.result(&document, || {
        if users.is_empty() {
            return "no users\n".to_owned();
        }
        users.iter().map(|user| format!("{user}\n")).collect()
    });
    Ok(ExitCode::SUCCESS)
}
