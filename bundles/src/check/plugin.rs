//! Checks of a package's manifest: texts and counts within the limits, no duplicates, and agreement between surfaces,
//! world, tools, ingress and config.

use error_code::Code;
use std::collections::BTreeSet;

use serde_json::Value;

use super::extent::{excess, permissions, unfit_text};
use super::{Violation, surfaces};
use crate::canonical::{JsonError, parse, to_canonical};
use crate::limits::BundleLimits;
use crate::plugin::{PluginManifest, PluginWorld};
use crate::pointer::Pointer;

/// Returns the violations inside of fields.
pub(crate) fn fields(manifest: &PluginManifest, limits: &BundleLimits) -> Vec<Violation> {
    let root = Pointer::root();
    let mut found = surfaces(&root.key("surfaces"), manifest.surfaces());
    found.extend(description(&root, manifest.description(), limits));
    found.extend(excess(("plugin_tools", limits.plugin_tools), manifest.tools().len(), root.key("tools"), "tools"));
    for (name, tool) in manifest.tools() {
        found.extend(description(&root.key("tools").key(name), tool.description(), limits));
    }
    let ingress = root.key("ingress");
    found.extend(excess(("list_items", limits.list_items), manifest.ingress().len(), ingress.clone(), "ingress names"));
    for (name, text) in manifest.ingress() {
        found.extend(description(&ingress.key(name), text, limits));
    }
    found.extend(permissions(&root.key("permissions"), manifest.permissions(), limits));
    found.extend(excessive_paths(manifest, limits));
    found.extend(duplicates(manifest));
    found.extend(manifest.schemas().filter_map(|(at, schema)| unfit_schema(at, schema, limits)));
    found
}

/// Returns the violations between fields. A surface is declared exactly if something makes use of it, so that a grant of
/// surfaces means what it says.
pub(crate) fn agreement(manifest: &PluginManifest) -> Vec<Violation> {
    let root = Pointer::root();
    let is_service = manifest.world() == PluginWorld::Service;
    let uses = [
        ("tools", !manifest.tools().is_empty(), "the manifest has tools"),
        ("service", is_service, "the world is that of a service"),
        ("ingress", !manifest.ingress().is_empty(), "the manifest has ingress names"),
    ];
    let mut found = Vec::new();
    for (surface, is_used, fact) in uses {
        let is_declared = manifest.surfaces().iter().any(|declared| declared.as_str() == surface);
        let (message, help) = match (is_declared, is_used) {
            (false, true) => (format!("missing surface `{surface}`: {fact}"), format!("add `{surface}` to `surfaces`")),
            (true, false) => {
                (format!("surface `{surface}` is declared without use"), format!("remove `{surface}` from `surfaces`"))
            }
            _ => continue,
        };
        found.push(Violation::new(Code::InvalidField, root.key("surfaces"), message, help));
    }
    for (field, is_present) in [("ingress", !manifest.ingress().is_empty()), ("config", manifest.config().is_some())] {
        if is_present && !is_service {
            let message = format!("`{field}` requires the world of a service");
            let help = format!("write `world = \"{}\"`, or remove `{field}`", PluginWorld::Service);
            found.push(Violation::new(Code::InvalidField, root.key(field), message, help));
        }
    }
    found
}

fn description(at: &Pointer, text: &str, limits: &BundleLimits) -> Option<Violation> {
    let at = at.key("description");
    if text.trim().is_empty() {
        let message = "missing description".to_owned();
        return Some(Violation::new(Code::InvalidField, at, message, "describe it in a sentence"));
    }
    unfit_text(at, text, limits)
}

/// A person reads every path, and comparing two lists takes the product of their paths.
fn excessive_paths(manifest: &PluginManifest, limits: &BundleLimits) -> impl Iterator<Item = Violation> {
    let asked = manifest.permissions();
    let lists = [("requests", &asked.requests), ("websockets", &asked.websockets)];
    lists.into_iter().filter_map(|(kind, list)| {
        let paths = list.iter().map(|target| target.what.path_prefixes().count()).sum();
        let at = Pointer::root().key("permissions").key(kind);
        // A list with too many targets is reported for that.
        let is_short = list.len() <= limits.list_items;
        excess(("list_items", limits.list_items), paths, at, "paths of targets").filter(|_| is_short)
    })
}

/// A target or secret that is requested twice would have two reasons or two placements.
fn duplicates(manifest: &PluginManifest) -> Vec<Violation> {
    let at = Pointer::root().key("permissions");
    let asked = manifest.permissions();
    let mut found = Vec::new();
    let mut targets = BTreeSet::new();
    for (kind, list) in [("requests", &asked.requests), ("websockets", &asked.websockets)] {
        for (index, target) in list.iter().enumerate() {
            if !targets.insert(&target.what) {
                let message = format!("duplicate target `{}`", target.what);
                let help = "remove one of the two";
                found.push(Violation::new(Code::DuplicateName, at.key(kind).index(index), message, help));
            }
        }
    }
    let mut secrets = BTreeSet::new();
    for (index, secret) in asked.secrets.iter().enumerate() {
        if !secrets.insert(&secret.what) {
            let message = format!("duplicate secret `{}`", secret.what);
            let help = "remove one of the two: a secret has one placement";
            found.push(Violation::new(Code::DuplicateName, at.key("secrets").index(index), message, help));
        }
    }
    found
}

/// A schema must also fit into a bundle, as a blob.
fn unfit_schema(at: Pointer, schema: &Value, limits: &BundleLimits) -> Option<Violation> {
    let judged: Result<Value, JsonError> = to_canonical(schema).and_then(|bytes| parse(&bytes, limits.schema()));
    let error = judged.err()?;
    Some(Violation::new(error.code(), at, format!("invalid schema: {error}"), error.help()))
}
