//! `yoi plugin enable`: grants a package to a workspace.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use bundles::ToolName;
use bundles::plugin::PluginManifest;
use clap::builder::BoolishValueParser;
use host_policy::{PermissionLists, PluginGrant, PluginReview};
use runtime_api::Code;
use serde_json::json;

use super::grants::ChangeArgs;
use super::schema_check::SchemaCheck;
use super::{card, source};
use crate::error::CliError;
use crate::files;
use crate::output::Output;
use crate::sandbox::LimitsArgs;
use crate::text::{Rows, bytes};

/// Grants a package to a workspace, in the config of a host.
///
/// The grant has everything that the package requests, with the chosen tools and their effects. It replaces the grant of
/// another package of the same plugin. A grant that allows more than the earlier one is refused without
/// `--accept-widening` (exit code 4). Comments and other tables of the config stay as they are.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with a `plugin.toml` and a `component.wasm`, or packed file.
    package: PathBuf,
    #[command(flatten)]
    change: ChangeArgs,
    /// Tool to grant. Can be repeated. Default: the tools of the earlier grant.
    #[arg(long, value_name = "NAME", env = "YOI_TOOL", value_delimiter = ',', conflicts_with = "all")]
    tool: Vec<ToolName>,
    /// Grants all tools.
    #[arg(long, env = "YOI_ALL_TOOLS", value_parser = BoolishValueParser::new())]
    all: bool,
    /// Accepts a grant that allows more than the earlier one.
    // No variable: one that stays set would accept every later grant as well.
    #[arg(long)]
    accept_widening: bool,
    #[command(flatten)]
    limits: LimitsArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limits = args.limits.read()?.bundle;
    let package = source::open(&args.package, &limits)?;
    let (manifest, digest) = (package.manifest(), package.digest());
    let mut change = args.change.open()?;
    let replaced = change.others(manifest.name().as_str(), &digest);
    let before = change.plugins.get(&digest).cloned();
    let earlier: Vec<PluginGrant> =
        before.iter().chain(replaced.iter().filter_map(|other| change.plugins.get(other))).cloned().collect();
    let mut grant = PluginGrant::of_requests(manifest, &tools(args, manifest, &earlier)?);
    // A package without a config schema refuses every config.
    grant.config = earlier.first().filter(|_| manifest.config().is_some()).and_then(|grant| grant.config.clone());
    let widened = earlier
        .iter()
        .fold(PermissionLists::granted_by(&grant), |rest, old| rest.without(&PermissionLists::granted_by(old)));
    if !earlier.is_empty() && !widened.is_empty() && !args.accept_widening {
        return Err(widens(&widened));
    }
    let review = PluginReview::new(manifest, Some(&grant));
    let is_changed = before.as_ref() != Some(&grant) || !replaced.is_empty();
    let config_fault = config_fault(manifest, &grant, &SchemaCheck::new(&limits));
    let mut document = super::summary(&package, "yoi.plugin-enable/1");
    for (name, value) in [
        ("workspace", json!(change.workspace)),
        ("changed", json!(is_changed)),
        ("replaced", json!(replaced)),
        ("grant", json!(grant)),
        ("widened", json!((!earlier.is_empty()).then_some(&widened))),
        ("needs_config", json!(config_fault.is_some())),
    ] {
        document.insert(name.to_owned(), value);
    }
    let workspace = change.workspace.clone();
    if is_changed {
        change.put(digest, grant, &replaced)?;
        change.write()?;
    }
    output.result(&document, || {
        let mut rows = Rows::default();
        rows.row("plugin", format!("{} {}", manifest.name(), manifest.version()));
        rows.noted("package", digest, bytes(package.blob().bytes().len() as u64));
        rows.row("workspace", &workspace);
        rows.list("replaces", &replaced);
        card::statements(&mut rows, &review, true);
        if !earlier.is_empty() {
            card::or_none(&mut rows, "widens", card::items(&widened).into_iter().map(|item| (item, "")));
        }
        if let Some(fault) = &config_fault {
            let place = format!("[workspaces.{workspace}.plugins.\"{digest}\"]");
            rows.row("next", format!("{fault}: write `config` under {place}"));
        }
        let config = files::shown(&args.change.config);
        rows.row("config", if is_changed { format!("wrote {config}") } else { format!("{config} is unchanged") });
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}

/// Returns the reason why the plugin would be refused because of its config.
fn config_fault(manifest: &PluginManifest, grant: &PluginGrant, check: &SchemaCheck) -> Option<String> {
    let schema = manifest.config()?;
    // A Runtime uses an empty config if the grant has none.
    let mismatch = check.check(schema, &json!(grant.config.clone().unwrap_or_default())).err()?;
    Some(match grant.config {
        Some(_) => format!("the config of the earlier grant does not match the schema of this package{mismatch}"),
        None => "the plugin needs a config".to_owned(),
    })
}

/// Returns the tools to grant.
fn tools(args: &Args, manifest: &PluginManifest, earlier: &[PluginGrant]) -> Result<BTreeSet<ToolName>, CliError> {
    if args.all {
        return Ok(manifest.tools().keys().cloned().collect());
    }
    if let Some(unknown) = args.tool.iter().find(|tool| !manifest.tools().contains_key(*tool)) {
        let offered: Vec<String> = manifest.tools().keys().map(|tool| format!("`{tool}`")).collect();
        let help = match offered.is_empty() {
            true => "use `--all`: the plugin has no tools".to_owned(),
            false => format!("name a tool of the plugin: {}", offered.join(", ")),
        };
        return Err(CliError::new(Code::NotFound, format!("tool `{unknown}` not found in the plugin"), help));
    }
    if args.tool.is_empty() && earlier.is_empty() {
        let message = format!("plugin `{}` has no earlier grant, so the tools to grant are unknown", manifest.name());
        return Err(CliError::new(
            Code::Usage,
            message,
            "name each tool with `--tool`, or grant all of them with `--all`",
        ));
    }
    let earlier = earlier.iter().flat_map(|grant| grant.tools.iter().cloned());
    Ok(if args.tool.is_empty() { earlier.collect() } else { args.tool.iter().cloned().collect() })
}

fn widens(widened: &PermissionLists) -> CliError {
    let message = "the grant would allow more than the earlier one";
    let help = "review the package, and accept the listed permissions with `--accept-widening`";
    let mut text = message.to_owned();
    for item in card::items(widened) {
        text.push_str(&format!("\n  {}", bundles::one_line(&item)));
    }
    text.push_str(&format!("\n  help: {help}"));
    CliError::new(Code::GrantWidens, message, help).with_details(json!({ "widened": widened })).with_text(text)
}
