//! `yoi plugin show`: shows what a plugin offers and requests.

use std::cmp::Reverse;
use std::path::PathBuf;
use std::process::ExitCode;

use bundles::manifest::{Effect, PermissionRequest};
use bundles::plugin::PluginManifest;
use bundles::{SecretPlacement, UrlPermission};
use serde_json::{Value, json};

use super::source;
use crate::error::CliError;
use crate::output::Output;
use crate::sandbox::LimitsArgs;
use crate::text::{Rows, bytes};

/// Shows what a plugin offers and requests. A request does not grant access.
///
/// The component is neither compiled nor run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with a `plugin.toml` and a `component.wasm`, or packed file.
    package: PathBuf,
    #[command(flatten)]
    limits: LimitsArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let package = source::open(&args.package, &args.limits.read()?.bundle)?;
    let manifest = package.manifest();
    let mut document = super::summary(&package, "yoi.plugin-show/1");
    document.insert("description".to_owned(), json!(manifest.description()));
    document.insert("requested".to_owned(), requested(manifest));
    document.insert("config".to_owned(), json!(manifest.config()));
    output.result(&document, || {
        let mut rows = Rows::default();
        rows.row("plugin", format!("{} {}", manifest.name(), manifest.version()));
        rows.noted("", "", manifest.description());
        rows.noted("package", package.digest(), bytes(package.blob().bytes().len() as u64));
        rows.row("world", manifest.world());
        or_none(&mut rows, "surfaces", manifest.surfaces().iter().map(|surface| (surface, "")));
        let mut tools: Vec<_> = manifest.tools().iter().collect();
        // The most that a plugin can do comes first.
        tools.sort_by_key(|(_, tool)| Reverse(tool.effect()));
        let tools = tools
            .into_iter()
            .map(|(name, tool)| (format!("{name} ({}):", effect_words(tool.effect())), tool.description()));
        or_none(&mut rows, "tools", tools);
        or_none(&mut rows, "request targets", targets(&manifest.permissions().requests));
        or_none(&mut rows, "websocket targets", targets(&manifest.permissions().websockets));
        let secrets = manifest.permissions().secrets.iter().map(|secret| {
            let placement = secret.placement.as_ref().map(SecretPlacement::to_string).unwrap_or_default();
            (format!("{}, sent as `{placement}`:", secret.what), &secret.reason)
        });
        or_none(&mut rows, "secrets", secrets);
        or_none(&mut rows, "ingress", manifest.ingress().iter().map(|(name, text)| (format!("{name}:"), text)));
        let config = if manifest.config().is_some() { "a value that the grant gives" } else { "none" };
        rows.row("config", config);
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}

/// Returns the requested lists, each by its name.
fn requested(manifest: &PluginManifest) -> Value {
    let asked = manifest.permissions();
    let tools = manifest.tools().iter().map(|(name, tool)| {
        json!({
            "name": name, "effect": tool.effect(), "description": tool.description(),
            "input": tool.input(), "output": tool.output(),
        })
    });
    let ingress = manifest.ingress().iter().map(|(name, text)| json!({ "name": name, "description": text }));
    json!({
        "surfaces": manifest.surfaces(),
        "tools": tools.collect::<Vec<_>>(),
        "requests": asked.requests,
        "websockets": asked.websockets,
        "secrets": asked.secrets,
        "ingress": ingress.collect::<Vec<_>>(),
    })
}

fn targets(list: &[PermissionRequest<UrlPermission>]) -> impl Iterator<Item = (String, &String)> {
    list.iter().map(|target| (format!("{}:", target.what), &target.reason))
}

fn effect_words(effect: Effect) -> &'static str {
    match effect {
        Effect::None => "computes only",
        Effect::Read => "reads remote systems",
        Effect::Write => "writes files",
        Effect::External => "changes remote systems",
    }
}

/// Adds a row for each value, or the row `none`. A missing row could be overlooked.
fn or_none<T: std::fmt::Display, N: std::fmt::Display>(
    rows: &mut Rows,
    label: &str,
    values: impl Iterator<Item = (T, N)>,
) {
    let mut values = values.peekable();
    match values.peek() {
        Some(_) => rows.noted_list(label, values),
        None => rows.row(label, "none"),
    }
}
