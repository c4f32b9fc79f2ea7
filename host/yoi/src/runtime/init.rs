//! `yoi runtime init`: writes a config file.

use std::path::PathBuf;
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
    files::require_new(&args.path)?;
    let text = TEMPLATE.replace("my-team", args.workspace.as_str());
    files::write(&args.path, text.as_bytes(), "config")?;
    let path = files::shown(&args.path);
    let next = [
        format!(
            "yoi runtime token new --config {path} --name first --workspace {} --scope read,bundles,workers,call --out token",
            args.workspace
        ),
        format!("yoi runtime serve --config {path}"),
    ];
    let document = json!({ "schema": "yoi.runtime-init/1", "config": path, "next": next });
    output.result(&document, || {
        format!("wrote {path}; issue a token and start the service:\n  {}\n  {}\n", next[0], next[1])
    });
    Ok(ExitCode::SUCCESS)
}
