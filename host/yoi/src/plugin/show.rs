//! `yoi plugin show`: shows what a plugin offers and requests.

use std::cmp::Reverse;
use std::path::PathBuf;
use std::process::ExitCode;

use bundles::manifest::{Effect, PermissionRequest};
use bundles::plugin::PluginManifest;
use bundles::{SecretPlacement, UrlPermission};
use host_policy::PluginReview;
use serde_json::{Value, json};

use super::card::{self, or_none};
use super::grants::HostArgs;
use super::source;
use crate::error::CliError;
use crate::output::Output;
use crate::sandbox::LimitsArgs;
use crate::text::{Rows, bytes};

/// Shows what a plugin offers and requests. A request does not grant access.
///
/// With `--config`, each list is compared with the grant of the workspace: what is granted, what is missing, and what is
/// granted but not requested (grant-only).
///
/// The component is neither compiled nor run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with a `plugin.toml` and a `component.wasm`, or packed file.
    package: PathBuf,
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    limits: LimitsArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let package = source::open(&args.package, &args.limits.read()?.bundle)?;
    let manifest = package.manifest();
    let host = args.host.read(&package)?;
    let (review, is_compared) = host.review(manifest);
    let mut document = super::summary(&package, "yoi.plugin-show/1");
    document.insert("description".to_owned(), json!(manifest.description()));
    document.insert("requested".to_owned(), requested(manifest, &review));
    document.insert("config".to_owned(), json!(manifest.config()));
    host.add_to(&mut document, &review);
    output.result(&document, || {
        let mut rows = Rows::default();
        rows.row("plugin", format!("{} {}", manifest.name(), manifest.version()));
        rows.noted("", "", manifest.description());
        rows.noted("package", package.digest(), bytes(package.blob().bytes().len() as u64));
        rows.row("world", manifest.world());
        host.rows(&mut rows);
        card::SURFACES.all(&mut rows, "surfaces", &review, is_compared);
        let mut tools: Vec<_> = manifest.tools().iter().collect();
        // The most that a plugin can do comes first.
        tools.sort_by_key(|(_, tool)| Reverse(tool.effect()));
        let tools = tools
            .into_iter()
            .map(|(name, tool)| (format!("{name} ({}):", effect_words(tool.effect())), tool.description()));
        or_none(&mut rows, "tools", tools);
        card::TOOLS.compared(&mut rows, &review, is_compared);
        card::EFFECTS.all(&mut rows, "effects", &review, is_compared);
        or_none(&mut rows, "request targets", targets(&manifest.permissions().requests));
        card::REQUESTS.compared(&mut rows, &review, is_compared);
        or_none(&mut rows, "websocket targets", targets(&manifest.permissions().websockets));
        card::WEBSOCKETS.compared(&mut rows, &review, is_compared);
        let secrets = manifest.permissions().secrets.iter().map(|secret| {
            let placement = secret.placement.as_ref().map(SecretPlacement::to_string).unwrap_or_default();
            (format!("{}, sent as `{placement}`:", secret.what), &secret.reason)
        });
        or_none(&mut rows, "secrets", secrets);
        card::SECRETS.compared(&mut rows, &review, is_compared);
        or_none(&mut rows, "ingress", manifest.ingress().iter().map(|(name, text)| (format!("{name}:"), text)));
        card::INGRESS.compared(&mut rows, &review, is_compared);
        let config = if manifest.config().is_some() { "a value that the grant gives" } else { "none" };
        rows.row("config", config);
        rows.into_text()
    });
    Ok(ExitCode::SUCCESS)
}

/// Returns the requested lists, each by its name.
fn requested(manifest: &PluginManifest, review: &PluginReview) -> Value {
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
        "effects": review.requested().effects,
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
