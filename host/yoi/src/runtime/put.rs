//! `yoi runtime put`: a bundle on its way to a Runtime.

use std::path::PathBuf;
use std::process::ExitCode;

use ::bundles::Contents;
use ::bundles::signature::EnvelopeError;
use serde_json::json;

use crate::bundle_source;
use crate::error::CliError;
use crate::output::Output;
use crate::remote::RemoteArgs;
use crate::sandbox::LimitsArgs;
use crate::text::{Rows, bytes, count, time};

/// Sends a bundle, with what the Runtime does not have of it.
///
/// It goes to the workspace that it is of. Sending it again changes nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder with a `bundle.toml`, or a built bundle; a signed one is sent with its signatures.
    bundle: PathBuf,
    /// An envelope that travels apart from the bundle, instead of the one beside its manifest.
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
        let message = "the bundle that ships inside is on every Runtime already";
        return Err(CliError::new("usage", message, "make workers of it with `--profile builtin:NAME`"));
    }
    let envelope = match &args.signature {
        Some(path) => Some(bundle_source::read_envelope(path, &source.bundle, &limits)?),
        None => source.envelope,
    };
    if let Some(built) = &source.built {
        bundle_source::note_warnings(&built.diagnostics, output);
    }
    let told = |error: EnvelopeError| CliError::of_library(error.code(), error.to_string(), error.help());
    let contents = Contents::new(source.bundle, envelope).map_err(told)?;
    let manifest = contents.bundle().manifest();
    let remote = args.remote.or_workspace(&manifest.workspace.id);
    let whole = &contents;
    let sent = remote.ask(|client| async move { client.put_bundle(whole).await })?;
    let blobs = contents.bundle().blobs().count();
    let document = json!({
        "schema": "yoi.runtime-put/1",
        "workspace": manifest.workspace.id,
        "known": sent.known,
        "sent": sent.sent,
        "sent_bytes": sent.sent_bytes,
        "bundle": sent.bundle,
    });
    output.result(&document, || {
        let mut rows = Rows::default();
        rows.row("workspace", &manifest.workspace.id);
        rows.row("revision", sent.bundle.revision);
        rows.noted("stored", time(sent.bundle.stored_at), if sent.known { "it was there before" } else { "" });
        match sent.sent.len() {
            0 => rows.row("sent", "its manifest: the blobs are there"),
            some => rows.noted("sent", format!("{some} of its {}", count(blobs, "blob")), bytes(sent.sent_bytes)),
        }
        rows.list("signed by", &sent.bundle.signed_by);
        format!("{}\n{}", sent.bundle.digest, rows.into_text())
    });
    Ok(ExitCode::SUCCESS)
}
