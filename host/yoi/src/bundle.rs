//! `yoi bundle`: making, checking, showing and comparing bundles.

mod build;
mod bump;
mod check;
mod commit;
mod diff;
mod new;
mod show;
mod sign;

use std::process::ExitCode;

use crate::error::CliError;
use crate::output::Output;

/// Makes, checks and compares bundles.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Writes a folder to begin from.
    New(new::Args),
    /// Raises the revision and the time in a folder's `bundle.toml`.
    Bump(bump::Args),
    /// Builds a folder into a bundle: the same folder, the same digest, on every machine.
    Build(build::Args),
    /// Says whether something is a bundle, what was proved of it and what was scanned for.
    Check(check::Args),
    /// Shows what is in a bundle.
    Show(show::Args),
    /// Signs a bundle, so that a host can demand to know who stands behind it.
    Sign(sign::Args),
    /// Says what differs between two bundles, and which profiles resolve differently.
    Diff(diff::Args),
}

pub(crate) fn run(command: &Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::New(args) => new::run(args, output),
        Command::Bump(args) => bump::run(args, output),
        Command::Build(args) => build::run(args, output),
        Command::Check(args) => check::run(args, output),
        Command::Show(args) => show::run(args, output),
        Command::Sign(args) => sign::run(args, output),
        Command::Diff(args) => diff::run(args, output),
    }
}

/// What `bundle build`, `check` and `show` say about a bundle as a whole.
pub(crate) fn summary(bundle: &bundles::Bundle) -> serde_json::Value {
    let manifest = bundle.manifest();
    serde_json::json!({
        "digest": bundle.digest(),
        "workspace": manifest.workspace.id,
        "revision": manifest.revision,
        "created_at": manifest.created_at,
        "manifest_bytes": bundle.manifest_bytes().len(),
        "blobs": bundle.blobs().count(),
        "blob_bytes": bundle.blobs().map(|(_, bytes)| bytes.len()).sum::<usize>(),
        "profiles": manifest.profiles.len(),
        "prompts": manifest.prompts.len(),
        "workflows": manifest.workflows.len(),
        "tools": manifest.tools.len(),
        "plugins": manifest.plugins.len(),
        "models": manifest.models.len(),
    })
}
