//! `yoi runtime init`: a config to begin with, which works as it is.

use std::path::PathBuf;
use std::process::ExitCode;

use bundles::WorkspaceId;
use serde_json::json;

use crate::error::CliError;
use crate::files;
use crate::output::Output;

/// Writes a config to begin with: commented, and working as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to write it. A file that is there stays.
    #[arg(default_value = "runtime.toml")]
    path: PathBuf,
    /// The workspace that it grants something to.
    #[arg(long, value_name = "ID", default_value = "my-team", env = "YOI_WORKSPACE")]
    workspace: WorkspaceId,
}

const TEMPLATE: &str = include_str!("runtime.toml");

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    if std::fs::symlink_metadata(&args.path).is_ok() {
        let message = format!("there is `{}` already", files::shown(&args.path));
        return Err(CliError::new("already_there", message, "name another file, or remove that one"));
    }
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
        format!("wrote {path}; now make a token, and start the service:\n  {}\n  {}\n", next[0], next[1])
    });
    Ok(ExitCode::SUCCESS)
}
