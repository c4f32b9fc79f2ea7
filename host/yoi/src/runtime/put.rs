//! `yoi runtime put`: uploads a bundle to a Runtime.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::packages::PackageState;
use crate::error::CliError;
use crate::output::Output;
use crate::remote::RemoteArgs;
use crate::sandbox::LimitsArgs;
use crate::text::{Rows, bytes, count, time};
use crate::upload::Upload;

/// Uploads a bundle with the blobs and plugin packages that the Runtime lacks.
///
/// The packages of a folder are those that `yoi bundle build` uses. The packages of a built bundle are in the folder
/// `plugins` beside it, as packed files or as folders. Packages that are in neither place must be put later: until then,
/// workers go on without their plugins. The default of `--workspace` is the workspace of the bundle. The command is idempotent.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with a `bundle.toml`, or built bundle. Signatures are uploaded too.
    bundle: PathBuf,
    /// File with the envelope. Default: the envelope in the bundle.
    #[arg(long, value_name = "FILE", env = "YOI_SIGNATURE")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limits = args.limits.read()?.bundle;
    let mut upload = Upload::open(&args.bundle, args.signature.as_deref(), &limits, output)?;
    let remote = args.remote.with_default_workspace(&upload.contents.bundle().manifest().workspace.id);
    let to_send = &mut upload;
    let sent = remote.send(|client| async move {
        to_send.send_packages(&client).await?;
        client.put_bundle(&to_send.contents).await
    })?;
    upload.note_missing("the Runtime", output);
    let Upload { contents, packages, .. } = &upload;
    let manifest = contents.bundle().manifest();
    let blobs = contents.bundle().blobs().count();
    let document = json!({
        "schema": "yoi.runtime-put/1",
        "workspace": manifest.workspace.id,
        "known": sent.known,
        "sent": sent.uploaded,
        "sent_bytes": sent.uploaded_bytes,
        "packages": packages,
        "bundle": sent.bundle,
    });
    output.result(&document, || {
        let mut rows = Rows::default();
        rows.row("workspace", &manifest.workspace.id);
        rows.row("revision", sent.bundle.revision);
        rows.noted("stored", time(sent.bundle.stored_at), if sent.known { "before this upload" } else { "" });
        match sent.uploaded.len() {
            0 => rows.row("sent", "only the manifest; the Runtime has all blobs"),
            some => rows.noted("sent", format!("{some} of {}", count(blobs, "blob")), bytes(sent.uploaded_bytes)),
        }
        let of_state = |state| packages.iter().filter(move |package| package.state == state);
        if !packages.is_empty() {
            let (some, known) = (of_state(PackageState::Sent).count(), of_state(PackageState::Known).count());
            let size = of_state(PackageState::Sent).map(|package| u64::from(package.bytes)).sum();
            let total = count(packages.len(), "package");
            match (some, known) {
                (0, known) => rows.row("packages", format!("none sent; the Runtime has {known} of {total}")),
                (some, _) => rows.noted("packages", format!("sent {some} of {total}"), bytes(size)),
            }
        }
        rows.list("signed by", &sent.bundle.signed_by);
        format!("{}\n{}", sent.bundle.digest, rows.into_text())
    });
    Ok(ExitCode::SUCCESS)
}
