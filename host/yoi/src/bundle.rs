//! `yoi bundle`: creates, checks, shows and compares bundles.

mod build;
mod bump;
mod check;
mod commit;
mod diff;
mod new;
mod show;
mod sign;
mod test;

use std::process::ExitCode;

use crate::error::CliError;
use crate::output::Output;

pub(crate) use diff::add_changes;

/// Creates, checks and compares bundles.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Creates an authoring folder with a small bundle.
    New(new::Args),
    /// Updates the revision and the time in the `bundle.toml` of a folder.
    Bump(bump::Args),
    /// Builds a bundle from a folder, with the same digest on every machine.
    Build(build::Args),
    /// Verifies a bundle and scans it for credentials and host paths.
    Check(check::Args),
    /// Shows the content of a bundle.
    Show(show::Args),
    /// Signs a bundle, so that a host can require the signature.
    Sign(sign::Args),
    /// Runs the test cases of a bundle.
    Test(test::Args),
    /// Compares two bundles and the resolutions of their profiles.
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
        Command::Test(args) => test::run(args, output),
        Command::Diff(args) => diff::run(args, output),
    }
}

/// Returns the summary of a bundle in the JSON output of `bundle build`, `check` and `show`.
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
