//! `yoi bundle new`: creates an authoring folder.

use std::path::PathBuf;
use std::process::ExitCode;

use bundles::WorkspaceId;
use runtime_api::Code;
use serde_json::json;

use crate::error::CliError;
use crate::files;
use crate::output::Output;

/// Creates an authoring folder with a small, commented bundle.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder to create. It must not exist.
    folder: PathBuf,
    /// Workspace of the bundle.
    #[arg(long, value_name = "ID", default_value = "my-team", env = "YOI_WORKSPACE")]
    workspace: WorkspaceId,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    files::create_folder(&args.folder)?;
    let mut written = Vec::new();
    for (name, bytes) in crate::demo::example::files("minimal") {
        let path = args.folder.join(&name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| files::unwritable(folder, "folder", error.kind()))?;
        }
        let bytes = if name == "bundle.toml" { with_workspace(&bytes, &args.workspace)? } else { bytes };
        files::write(&path, &bytes, "file")?;
        written.push(name);
    }
    let document = json!({ "schema": "yoi.bundle-new/1", "folder": files::shown(&args.folder), "workspace": args.workspace, "files": written });
    output.result(&document, || {
        let folder = files::shown(&args.folder);
        format!("wrote {} into {folder}\n\nnext:\n  yoi bundle check {folder}\n  yoi bundle test {folder}\n  yoi resolve {folder} --profile assistant --explain\n", crate::text::count(written.len(), "file"))
    });
    Ok(ExitCode::SUCCESS)
}

fn with_workspace(bytes: &[u8], workspace: &WorkspaceId) -> Result<Vec<u8>, CliError> {
    let broken = || CliError::new(Code::Failed, "the example of this program is invalid", "report this as a bug");
    let text = std::str::from_utf8(bytes).map_err(|_| broken())?;
    let mut document: toml_edit::DocumentMut = text.parse().map_err(|_| broken())?;
    let section = document.get_mut("workspace").and_then(|section| section.as_table_like_mut()).ok_or_else(broken)?;
    section.insert("id", toml_edit::value(workspace.as_str()));
    section.remove("name");
    Ok(document.to_string().into_bytes())
}
