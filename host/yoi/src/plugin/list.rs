//! `yoi plugin list`: lists the plugins that a config grants.

use std::path::PathBuf;
use std::process::ExitCode;

use bundles::WorkspaceId;
use host_policy::{PermissionLists, PluginGrant};
use serde_json::{Value, json};

use super::card;
use crate::config_file;
use crate::error::CliError;
use crate::output::Output;
use crate::text::Rows;

/// Lists the plugins that a config grants, with everything that each grant allows.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Config of the host (TOML).
    #[arg(long, value_name = "FILE", env = "YOI_CONFIG")]
    config: PathBuf,
    /// Workspace whose grants are listed. Default: all workspaces of the config.
    #[arg(long, value_name = "ID", env = "YOI_WORKSPACE")]
    workspace: Option<WorkspaceId>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let config = config_file::read(&args.config)?;
    let workspaces: Vec<WorkspaceId> = match &args.workspace {
        Some(named) => vec![config_file::workspace(&config, Some(named))?],
        None => config.workspaces().cloned().collect(),
    };
    let mut list = Vec::new();
    for workspace in workspaces {
        let plugins = config.grants(&workspace).plugins;
        list.extend(plugins.into_iter().map(|(digest, grant)| (workspace.clone(), digest, grant)));
    }
    let entries = list.iter().map(|(workspace, digest, grant)| {
        let mut entry = fields(grant);
        entry.insert("workspace".to_owned(), json!(workspace));
        entry.insert("digest".to_owned(), json!(digest));
        entry
    });
    let document = json!({ "schema": "yoi.plugin-list/1", "plugins": entries.collect::<Vec<_>>() });
    output.result(&document, || {
        if list.is_empty() {
            return "the config grants no plugins\n".to_owned();
        }
        let mut rows = Rows::default();
        for (workspace, digest, grant) in &list {
            rows.noted("plugin", &grant.name, format!("for workspace {workspace}"));
            rows.row("  package", digest);
            card::or_none(
                &mut rows,
                "  granted",
                card::items(&PermissionLists::granted_by(grant)).into_iter().map(|item| (item, "")),
            );
            if grant.config.is_some() {
                rows.row("  config", "given");
            }
        }
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}

/// Returns the fields of a grant. The config of a plugin can contain anything, so only its presence is shown.
fn fields(grant: &PluginGrant) -> serde_json::Map<String, Value> {
    let Value::Object(mut fields) = json!(grant) else { return serde_json::Map::new() };
    let config = fields.remove("config");
    fields.insert("has_config".to_owned(), json!(config.is_some()));
    fields
}
