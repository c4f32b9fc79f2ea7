//! `yoi runtime init`: writes a config file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bundles::WorkspaceId;
use serde_json::json;

use crate::error::CliError;
use crate::files;
use crate::output::Output;

/// Writes a commented config file that works without changes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File to write. It must not exist.
    #[arg(default_value = "runtime.toml")]
    path: PathBuf,
    /// Workspace with grants in the config.
    #[arg(long, value_name = "ID", default_value = "my-team", env = "YOI_WORKSPACE")]
    workspace: WorkspaceId,
}

const TEMPLATE: &str = include_str!("runtime.toml");

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let text = TEMPLATE.replace("my-team", args.workspace.as_str());
    let workspace = &args.workspace;
    let steps = |path: &str| {
        [
            format!(
                "yoi runtime token new --config {path} --name first --workspace {workspace} --scope read,bundles,workers,call --out token"
            ),
            format!("yoi runtime serve --config {path}"),
        ]
    };
    write_new("yoi.runtime-init/1", "issue a token and start the service", &args.path, &text, steps, output)
}

/// Writes a config to a new file, and prints the commands that come next.
pub(crate) fn write_new(
    schema: &str,
    next: &str,
    path: &Path,
    text: &str,
    steps: impl FnOnce(&str) -> [String; 2],
    output: &Output,
) -> Result<ExitCode, CliError> {
    files::require_new(path)?;
    files::write(path, text.as_bytes(), "config")?;
    let path = files::shown(path);
    let steps = steps(&path);
    let document = json!({ "schema": schema, "config": path, "next": steps });
    output.result(&document, || format!("wrote {path}; {next}:\n  {}\n  {}\n", steps[0], steps[1]));
    Ok(ExitCode::SUCCESS)
}
