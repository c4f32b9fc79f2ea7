//! `yoi backend bundles`: lists the published bundles of a workspace.

use std::process::ExitCode;

use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::remote::{BackendArgs, MAX_LIST_ITEMS};
use crate::text::{Rows, bytes, count, time};

/// Lists the published bundles of a workspace, newest revision first, and marks the desired one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    backend: BackendArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let (mut bundles, workspace) = args.backend.send(|client| async move {
        Ok((client.content().bundles(None, MAX_LIST_ITEMS).await?, client.desired().await?))
    })?;
    bundles.sort_by_key(|bundle| std::cmp::Reverse(bundle.revision));
    let desired = workspace.desired.as_ref().map(|desired| desired.target.bundle);
    let document = json!({ "schema": "yoi.backend-bundles/1", "desired": desired, "bundles": bundles });
    output.result(&document, || {
        if bundles.is_empty() {
            return "no bundles; publish one with `yoi backend publish BUNDLE`\n".to_owned();
        }
        let mut rows = Rows::default();
        for bundle in &bundles {
            let blobs = usize::try_from(bundle.blobs).unwrap_or(usize::MAX);
            let mut note = format!("{}, {}, {}", bytes(bundle.bytes), count(blobs, "blob"), time(bundle.stored_at));
            if desired == Some(bundle.digest) {
                note.push_str(", desired");
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
