//! `yoi plugin disable`: removes the grant of a plugin.

use std::process::ExitCode;

use serde_json::json;

use super::grants::ChangeArgs;
use crate::error::CliError;
use crate::files;
use crate::output::Output;
use crate::text::Rows;

/// Removes the grant of a plugin from the config of a host.
///
/// A Runtime that uses the config refuses further calls of the plugin within 2 seconds. Comments and other tables of the
/// config stay as they are.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the plugin, or digest of its package. A prefix of at least 4 digits is enough.
    #[arg(value_name = "NAME|DIGEST")]
    plugin: String,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let mut change = args.change.open()?;
    let removed = change.find(&args.plugin)?;
    let mut list = Vec::new();
    for digest in &removed {
        list.extend(change.plugins.get(digest).map(|grant| (*digest, grant.name.clone())));
        change.remove(digest);
    }
    let workspace = change.workspace.clone();
    change.write()?;
    let entries: Vec<_> = list.iter().map(|(digest, name)| json!({ "digest": digest, "name": name })).collect();
    let document = json!({ "schema": "yoi.plugin-disable/1", "workspace": workspace, "removed": entries });
    output.result(&document, || {
        let mut rows = Rows::default();
        rows.row("workspace", &workspace);
        rows.noted_list("removed", list.iter().map(|(digest, name)| (name, digest)));
        rows.row("config", format!("wrote {}", files::shown(&args.change.config)));
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}
