//! `yoi backend compare`: compares two published bundles.

use std::process::ExitCode;

use ::bundles::Digest;
use ::bundles::comparison::{ManifestChange, changes};
use ::bundles::manifest::Manifest;
use bytes::Bytes;
use runtime_api::Code;
use serde_json::json;

use crate::bundle::add_changes;
use crate::error::CliError;
use crate::output::Output;
use crate::remote::BackendArgs;
use crate::text::Rows;
use crate::worker::BundleName;

/// Compares two published bundles of a workspace: what was added, removed and changed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Old bundle: a digest, its first hex digits, `newest`, or the folder or file of the bundle.
    before: BundleName,
    /// New bundle.
    #[arg(default_value = "newest")]
    after: BundleName,
    #[command(flatten)]
    backend: BackendArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let (before, remote) = args.before.find(&args.backend.remote())?;
    let (after, _) = args.after.find(&remote)?;
    let (old, new) =
        remote.send(|client| async move { Ok((client.manifest(before).await?, client.manifest(after).await?)) })?;
    let changes = changes(&parse(&old)?, &parse(&new)?);
    let document = json!({ "schema": "yoi.backend-compare/1", "before": before, "after": after, "changes": changes });
    output.result(&document, || text(before, after, &changes));
    Ok(ExitCode::SUCCESS)
}

fn parse(manifest: &Bytes) -> Result<Manifest, CliError> {
    serde_json::from_slice(manifest).map_err(|_| {
        let help = "use a program of the version of the Backend";
        CliError::new(
            Code::InvalidBundle,
            "the Backend returned a manifest that this version does not understand",
            help,
        )
    })
}

fn text(before: Digest, after: Digest, changes: &[ManifestChange]) -> String {
    if before == after {
        return format!("the same bundle: {before}\n");
    }
    let mut rows = Rows::default();
    rows.row("before", before);
    rows.row("after", after);
    add_changes(&mut rows, changes);
    rows.into_text()
}
