//! `yoi bundle sign`: signs a bundle.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bundles::signature::{Envelope, EnvelopeError};
use bundles::{Contents, archive};
use clap::builder::BoolishValueParser;
use serde_json::json;

use crate::bundle_source::{self, Source};
use crate::error::CliError;
use crate::files;
use crate::key;
use crate::output::Output;
use crate::sandbox::LimitsArgs;
use crate::text::Rows;

/// Signs a bundle, so that a host can require the signature.
///
/// The signature covers the bytes of the manifest and is stored beside it in a DSSE envelope. The digest of the bundle does
/// not change. Existing signatures stay, so several keys can sign one after the other.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with a `bundle.toml`, or built bundle.
    bundle: PathBuf,
    /// File with the signing key, as `yoi key new` writes it.
    #[arg(long, value_name = "FILE", env = "YOI_KEY")]
    key: PathBuf,
    /// Path of the signed bundle. Default: the built file itself, or else `WORKSPACE-REVISION.yoi` in the current folder; with
    /// `--detached`, `WORKSPACE-REVISION.dsse.json`.
    #[arg(long, short, value_name = "FILE", alias = "output", env = "YOI_OUTPUT")]
    out: Option<PathBuf>,
    /// Writes only the envelope, to a file of its own.
    #[arg(long, env = "YOI_DETACHED", value_parser = BoolishValueParser::new())]
    detached: bool,
    #[command(flatten)]
    limits: LimitsArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let key = key::read_signing(&args.key)?;
    let source = bundle_source::open(&args.bundle, &args.limits.read()?.bundle)?;
    let failed = |error: EnvelopeError| CliError::of_library(error.code(), error.to_string(), error.help());
    let envelope = match &source.envelope {
        Some(before) => {
            let mut envelope = before.clone();
            envelope.add(&key).map_err(failed)?;
            envelope
        }
        None => Envelope::sign(Arc::clone(source.bundle.manifest_bytes()), &key),
    };
    let manifest = source.bundle.manifest();
    let path = args.out.clone().unwrap_or_else(|| default_path(args, &source));
    if args.detached {
        files::write(&path, &envelope.to_json(), "envelope")?;
    } else {
        let contents = Contents::new(source.bundle.clone(), Some(envelope.clone())).map_err(failed)?;
        files::write(&path, &archive::pack_contents(&contents), "bundle")?;
    }
    if let Some(built) = &source.built {
        bundle_source::note_warnings(&built.diagnostics, output);
    }
    let id = key.public_key().id();
    let document = json!({
        "schema": "yoi.bundle-sign/1",
        "path": files::shown(&path),
        "detached": args.detached,
        "digest": source.bundle.digest(),
        "workspace": manifest.workspace.id,
        "revision": manifest.revision,
        "key_id": id,
        "signatures": envelope.claimed_key_ids().map(|id| json!({ "key_id": id })).collect::<Vec<_>>(),
    });
    output.result(&document, || {
        let what = if args.detached { "the envelope of " } else { "" };
        let mut rows = Rows::default();
        rows.row("signed by", id);
        rows.list("also by", envelope.claimed_key_ids().filter(|other| *other != id));
        format!(
            "{}\nwrote {}: {what}workspace {}, revision {}\n{}",
            source.bundle.digest(),
            files::shown(&path),
            manifest.workspace.id,
            manifest.revision,
            rows.into_text()
        )
    });
    Ok(ExitCode::SUCCESS)
}

fn default_path(args: &Args, source: &Source) -> PathBuf {
    let manifest = source.bundle.manifest();
    let name = format!("{}-{}", manifest.workspace.id, manifest.revision);
    let given = Path::new(&args.bundle);
    if args.detached {
        format!("{name}.dsse.json").into()
    } else if !source.builtin && given.is_file() {
        given.to_path_buf()
    } else {
        format!("{name}.yoi").into()
    }
}
