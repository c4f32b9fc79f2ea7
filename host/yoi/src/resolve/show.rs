//! A resolution for people.

use bundles::manifest::Manifest;
use bundles::{Need, ToolName};
use host_policy::explain::Explanation;
use host_policy::{Refusal, ResolvedWorkerSpec};
use serde_json::{Map, Value};
use worker_runtime::Resolved;

use crate::text::{Rows, bytes, dim, grouped};

/// The whole resolution.
pub(super) fn resolution(manifest: &Manifest, resolved: &Resolved, spec: Option<&ResolvedWorkerSpec>) -> String {
    let resolution = resolved.resolution();
    let mut rows = Rows::default();
    let lineage: Vec<&str> = resolution.lineage().iter().map(|name| name.as_str()).collect();
    rows.row("profile", lineage.join(dim(" > ").as_str()));
    match resolution.model().and_then(|name| manifest.models.get_key_value(name)) {
        Some((name, model)) => {
            rows.row("model", format!("{name} {}", dim(format!("{} / {}", model.provider, model.model))))
        }
        None => rows.row("model", dim("none: no layer that counts names one")),
    }
    rows.list(
        "instructions",
        resolution.instructions().iter().map(|prompt| format!("{} {}", prompt.name, dim(prompt.digest.short()))),
    );
    let tools: Vec<&ToolName> = match spec {
        Some(spec) => spec.tools().iter().map(|tool| &tool.name).collect(),
        None => resolution.tools().iter().collect(),
    };
    rows.list("tools", tools.iter().map(|name| tool(manifest, name)));
    rows.list("plugins", spec.map_or_else(|| resolution.plugins(), ResolvedWorkerSpec::plugins));
    rows.list("workflows", resolution.workflows());
    rows.row("language", resolution.language());
    let mut settings = Vec::new();
    leaves(resolution.settings(), "", &mut settings);
    rows.list("settings", settings);
    match spec {
        Some(spec) => granted(&mut rows, spec),
        None => {
            rows.list(
                "wishes",
                resolution.wishes().iter().map(|wish| format!("{} {}", wish.authority, dim(need(wish.need)))),
            );
            rows.row("granted", "nothing: this is a proposal. Give --config to enforce a host's policy");
        }
    }
    let cost = resolved.cost();
    let lookups = crate::text::count(resolved.reads().len(), "name");
    rows.row("cost", format!("{} fuel, {} of memory, {lookups} read", grouped(cost.fuel), bytes(cost.memory_bytes)));
    let digests = resolved.digests();
    for (label, digest) in
        [("bundle", digests.bundle), ("resolver", digests.resolver), ("resolution", digests.resolution)]
    {
        rows.row(label, dim(digest));
    }
    rows.into_text()
}

fn granted(rows: &mut Rows, spec: &ResolvedWorkerSpec) {
    rows.list("mounts", spec.mounts().iter().map(|mount| format!("{} {}", mount.label, dim(mount.access.as_str()))));
    rows.list("secrets", spec.secrets());
    rows.list("egress", spec.egress());
    rows.row("shell", if spec.shell() { "yes" } else { "no" });
    rows.row("git", spec.git().map_or("no", |git| git.access.as_str()));
    rows.list("narrowed", spec.narrowed().iter().map(narrowed));
}

fn narrowed(refusal: &Refusal) -> String {
    format!("{}: {} {}", refusal.subject, refusal.reason, dim(format!("[{}]", refusal.rule.code())))
}

fn need(need: Need) -> &'static str {
    match need {
        Need::Required => "required",
        Need::Optional => "optional",
    }
}

fn tool(manifest: &Manifest, name: &ToolName) -> String {
    match manifest.tools.get(name) {
        Some(tool) => {
            let effect = serde_json::to_value(tool.effect)
                .ok()
                .and_then(|word| word.as_str().map(str::to_owned))
                .unwrap_or_default();
            format!("{name} {}", dim(format!("{}, effect {effect}", tool.source)))
        }
        None => name.to_string(),
    }
}

fn leaves(map: &Map<String, Value>, at: &str, lines: &mut Vec<String>) {
    for (key, value) in map {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match value {
            Value::Object(inner) if !inner.is_empty() => leaves(inner, &path, lines),
            value => lines.push(format!("{path} = {value}")),
        }
    }
}

/// Why everything is as it is, or one thing at length.
pub(super) fn explanations(explanations: &[Explanation], at_length: bool) -> String {
    let bold = anstyle::Style::new().bold();
    let mut text = String::new();
    if !at_length {
        text.push_str(&format!("\n{bold}why{bold:#}\n"));
    }
    for explanation in explanations {
        let value = match (&explanation.value, explanation.subject.contains('`')) {
            (Some(value), false) => format!(" = {value}"),
            (Some(value), true) if explanation.subject.starts_with("setting") => format!(" = {value}"),
            _ => String::new(),
        };
        text.push_str(&format!("{bold}{}{bold:#}{value}: {}\n", explanation.subject, explanation.verdict));
        for says in &explanation.layers {
            // In the overview only what lost: the verdict has named what won.
            if says.won && !at_length {
                continue;
            }
            let mark = if says.won { "gave it" } else { "" };
            let waiting = says
                .unmet
                .as_ref()
                .map(|unmet| format!(" (does not count here: `{unmet}` does not hold)"))
                .unwrap_or_default();
            let mark = if mark.is_empty() { String::new() } else { format!("  <- {mark}") };
            text.push_str(&format!("    `{}`, layer {} {}{waiting}{mark}\n", says.profile, says.layer, says.says));
        }
        if let Some(refusal) = explanation.refused.as_ref().filter(|_| at_length) {
            text.push_str(&format!(
                "    host: {} [{}]\n    help: {}\n",
                refusal.reason,
                refusal.rule.code(),
                refusal.remedy
            ));
        }
    }
    text
}
