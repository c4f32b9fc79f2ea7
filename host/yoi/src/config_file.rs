//! Reads the config of a host. An error shows the place in the file, but no value of the file.

use std::path::Path;

use bundles::WorkspaceId;
use host_policy::{ConfigError, MAX_CONFIG_BYTES, RuntimeConfig};
use runtime_api::Code;
use serde_json::json;
use worker_runtime::InvalidLimit;

use crate::carets;
use crate::error::CliError;
use crate::files;
use crate::runtime::Settings;

/// Reads the policy of a config.
pub(crate) fn read(path: &Path) -> Result<RuntimeConfig, CliError> {
    Ok(parse(&text(path)?, path)?.0)
}

/// Reads the text of a config.
pub(crate) fn text(path: &Path) -> Result<String, CliError> {
    files::read_text(path, MAX_CONFIG_BYTES, "config")
}

/// Parses a config with the tables that configure the service. `path` is shown in errors.
pub(crate) fn parse(text: &str, path: &Path) -> Result<(RuntimeConfig, Settings), CliError> {
    let (policy, settings) = RuntimeConfig::from_toml_with::<Settings>(text, &Settings::TABLES)
        .map_err(|error| config_error(error, path))?;
    match settings.invalid_limit() {
        Some((table, InvalidLimit { name, expected })) => {
            Err(config_error(ConfigError::invalid_limit(text, table, name, &expected), path))
        }
        None => Ok((policy, settings)),
    }
}

/// Returns the named workspace, or else the only one of the config.
pub(crate) fn workspace(config: &RuntimeConfig, named: Option<&WorkspaceId>) -> Result<WorkspaceId, CliError> {
    let all: Vec<&WorkspaceId> = config.workspaces().collect();
    let names = || all.iter().take(8).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match (named, all.as_slice()) {
        (Some(named), all) if all.contains(&named) => Ok(named.clone()),
        (None, [only]) => Ok((*only).clone()),
        (_, []) => Err(CliError::new(
            Code::NotFound,
            "the config has no workspace",
            "write a table `[workspaces.ID]` with the `signatures` of the workspace",
        )),
        (Some(named), _) => Err(CliError::new(
            Code::NotFound,
            format!("workspace `{named}` not found in the config"),
            format!("name a workspace of the config: {}", names()),
        )),
        (None, several) => Err(CliError::new(
            Code::Usage,
            format!("the config has {} workspaces", several.len()),
            format!("name one with `--workspace`: {}", names()),
        )),
    }
}

pub(crate) fn config_error(error: ConfigError, path: &Path) -> CliError {
    if error.place().is_none() {
        return error.into();
    }
    let diagnostics = error.diagnostics(&files::shown(path));
    let text = carets::render(&diagnostics);
    CliError::from(error).with_details(json!({ "diagnostics": diagnostics.list })).with_diagnostics(text)
}
