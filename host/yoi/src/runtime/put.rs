//! `yoi runtime put`: uploads a bundle to a Runtime.

use std::path::PathBuf;
use std::process::ExitCode;

use ::bundles::Contents;
use ::bundles::signature::EnvelopeError;
use runtime_api::Code;
use serde_json::json;

use super::packages::{self, Beside, PackageState};
use crate::bundle_source;
use crate::error::CliError;
use crate::output::Output;
use crate::remote::RemoteArgs;
use crate::sandbox::LimitsArgs;
use crate::text::{Rows, bytes, count, time};

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
    let source = bundle_source::open(&args.bundle, &limits)?;
    if source.builtin {
        let message = "every Runtime has the built-in bundle";
        return Err(CliError::new(Code::Usage, message, "create workers from it with `--profile builtin:NAME`"));
    }
    let envelope = match &args.signature {
        Some(path) => Some(bundle_source::read_envelope(path, &source.bundle, &limits)?),
        None => source.envelope.clone(),
    };
    if let Some(built) = &source.built {
        bundle_source::note_warnings(&built.diagnostics, output);
    }
    let mut packages = packages::named(source.bundle.manifest());
    let beside = Beside::find(&args.bundle, &source, &packages, &limits)?;
    let failed = |error: EnvelopeError| CliError::of_library(error.code(), error.to_string(), error.help());
    let contents = Contents::new(source.bundle, envelope).map_err(failed)?;
    let manifest = contents.bundle().manifest();
    let remote = args.remote.with_default_workspace(&manifest.workspace.id);
    let (upload, to_send) = (&contents, &mut packages);
    // First the packages: once the bundle is stored, a worker can be created that selects their plugins.
    let sent = remote.send(|client| async move {
        beside.send(&client, to_send).await?;
        client.put_bundle(upload).await
    })?;
    for package in &packages {
        let where_else = match package.state {
            PackageState::Sent | PackageState::Known => continue,
            PackageState::Missing => ", and the Runtime does not have it",
            PackageState::Unknown => "; the Runtime does not tell whether it has the package",
        };
        let (plugin, digest) = (&package.plugin, package.digest);
        output.note(&format!(
            "warning: package of plugin `{plugin}` not found beside the bundle{where_else}: {digest}\n  \
             help: workers go on without the plugin until the package is put: copy the package into `plugins` beside the \
             bundle, and run this command again"
        ));
    }
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
