//! `yoi backend init`: writes a config file.

use std::path::PathBuf;
use std::process::ExitCode;

use ::bundles::WorkspaceId;

use crate::error::CliError;
use crate::output::Output;
use crate::runtime::init::write_new;

/// Writes a commented config file that works without changes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File to write. It must not exist.
    #[arg(default_value = "backend.toml")]
    path: PathBuf,
    /// Workspace in the config.
    #[arg(long, value_name = "ID", default_value = "my-team", env = "YOI_WORKSPACE")]
    workspace: WorkspaceId,
}

const TEMPLATE: &str = include_str!("backend.toml");

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let text = TEMPLATE.replace("my-team", args.workspace.as_str());
    let workspace = &args.workspace;
    let steps = |path: &str| {
        [
            format!(
                "yoi backend token new --config {path} --name first --workspace {workspace} --scope read,publish,workers,admin --out backend-token"
            ),
            format!("yoi backend serve --config {path}"),
        ]
    };
    write_new("yoi.backend-init/1", "issue a token and start the Backend", &args.path, &text, steps, output)
}
