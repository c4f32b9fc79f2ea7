//! `yoi runtime put`: uploads a bundle to a Runtime.

use std::path::PathBuf;
use std::process::ExitCode;

use ::bundles::Contents;
use ::bundles::signature::EnvelopeError;
use runtime_api::Code;
use serde_json::json;

use crate::bundle_source;
use crate::error::CliError;
use crate::output::Output;
use crate::remote::RemoteArgs;
use crate::sandbox::LimitsArgs;
use crate::text::{Rows, bytes, count, time};

/// Uploads a bundle with the blobs that the Runtime lacks.
///
/// The default of `--workspace` is the workspace of the bundle. The command is idempotent.
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
    let source = bundle_source::open(&args.bundle, &limits)?;
    if source.builtin {
        let message = "every Runtime has the built-in bundle";
        return Err(CliError::new(Code::Usage, message, "create workers from it with `--profile builtin:NAME`"));
    }
    let envelope = match &args.signature {
        Some(path) => Some(bundle_source::read_envelope(path, &source.bundle, &limits)?),
        None => source.envelope,
    };
    if let Some(built) = &source.built {
        bundle_source::note_warnings(&built.diagnostics, output);
    }
    let failed = |error: EnvelopeError| CliError::of_library(error.code(), error.to_string(), error.help());
    let contents = Contents::new(source.bundle, envelope).map_err(failed)?;
    let manifest = contents.bundle().manifest();
    let remote = args.remote.with_default_workspace(&manifest.workspace.id);
    let upload = &contents;
    let sent = remote.send(|client| async move { client.put_bundle(upload).await })?;
    let blobs = contents.bundle().blobs().count();
    let document = json!({
        "schema": "yoi.runtime-put/1",
        "workspace": manifest.workspace.id,
        "known": sent.known,
        "sent": sent.uploaded,
        "sent_bytes": sent.uploaded_bytes,
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
        rows.list("signed by", &sent.bundle.signed_by);
        format!("{}\n{}", sent.bundle.digest, rows.into_text())
    });
    Ok(ExitCode::SUCCESS)
}
