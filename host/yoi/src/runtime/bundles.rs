//! `yoi runtime bundles`: lists the bundles of a workspace.

use std::process::ExitCode;

use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::{MAX_LIST_ITEMS, RemoteArgs};
use crate::text::{Rows, bytes, count, time};

/// Lists the bundles of a workspace, newest revision first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let mut bundles = args.remote.send(|client| async move { client.bundles(None, MAX_LIST_ITEMS).await })?;
    bundles.sort_by_key(|bundle| std::cmp::Reverse(bundle.revision));
    output.result(&json!({ "schema": "yoi.runtime-bundles/1", "bundles": bundles }), || {
        if bundles.is_empty() {
            return "no bundles; upload one with `yoi runtime put BUNDLE`\n".to_owned();
        }
        let mut rows = Rows::default();
        for bundle in &bundles {
            let blobs = usize::try_from(bundle.blobs).unwrap_or(usize::MAX);
            let mut note = format!("{}, {}, {}", bytes(bundle.bytes), count(blobs, "blob"), time(bundle.stored_at));
            if !bundle.signed_by.is_empty() {
                note.push_str(&format!(", signed by {}", bundle.signed_by.join(" and ")));
            }
            if let Some(at) = bundle.revoked_at {
                note.push_str(&format!(", revoked {}", time(at)));
            }
            rows.noted(&bundle.revision.to_string(), bundle.digest, note);
        }
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}
