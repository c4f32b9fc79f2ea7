//! Text output of `yoi resolve`.

use std::collections::BTreeSet;

use bundles::manifest::Manifest;
use bundles::{Need, ToolName, one_line};
use host_policy::explain::Explanation;
use host_policy::{Refusal, ResolvedWorkerSpec};
use serde_json::{Map, Value};
use worker_runtime::ComputedResolution;

use crate::text::{Rows, bytes, grouped};

/// Formats a resolution.
pub(super) fn resolution(
    manifest: &Manifest,
    resolved: &ComputedResolution,
    spec: Option<&ResolvedWorkerSpec>,
    unanswered: &BTreeSet<ToolName>,
) -> String {
    let resolution = resolved.resolution();
    let mut rows = Rows::default();
    let lineage: Vec<&str> = resolution.lineage().iter().map(|name| name.as_str()).collect();
    rows.row("profile", lineage.join(" > "));
    match resolution.model().and_then(|name| manifest.models.get_key_value(name)) {
        Some((name, model)) => rows.noted("model", name, format!("{} / {}", model.provider, model.model)),
        None => rows.noted("model", "", "none: no active layer names a model"),
    }
    rows.noted_list(
        "instructions",
        resolution.instructions().iter().map(|prompt| (&prompt.name, prompt.digest.short())),
    );
    let tools: Vec<&ToolName> = match spec {
        Some(spec) => spec.tools().iter().map(|tool| &tool.name).collect(),
        None => resolution.tools().iter().collect(),
    };
    let note = |name| match unanswered.contains(name) {
        true => format!("{}; this Runtime has no provider for it", tool(manifest, name)),
        false => tool(manifest, name),
    };
    rows.noted_list("tools", tools.iter().map(|name| (name, note(name))));
    rows.list("plugins", spec.map_or_else(|| resolution.plugins(), ResolvedWorkerSpec::plugins));
    rows.list("workflows", resolution.workflows());
    rows.row("language", resolution.language());
    let mut settings = Vec::new();
    leaves(resolution.settings(), "", &mut settings);
    rows.list("settings", settings);
    match spec {
        Some(spec) => granted(&mut rows, spec),
        None => {
            rows.noted_list("wishes", resolution.wishes().iter().map(|wish| (&wish.authority, need(wish.need))));
            rows.row("granted", "nothing: this is a proposal. Pass --config to enforce the policy of a host");
        }
    }
    let cost = resolved.cost();
    let lookups = crate::text::count(resolved.reads().count(), "name");
    rows.row("cost", format!("{} fuel, {} of memory, {lookups} read", grouped(cost.fuel), bytes(cost.memory_bytes)));
    let digests = resolved.digests();
    for (label, digest) in
        [("bundle", digests.bundle), ("resolver", digests.resolver), ("resolution", resolved.resolution().digest())]
    {
        rows.noted(label, "", digest);
    }
    rows.into_text()
}

fn granted(rows: &mut Rows, spec: &ResolvedWorkerSpec) {
    rows.noted_list("mounts", spec.mounts().iter().map(|mount| (&mount.label, mount.access.as_str())));
    rows.list("secrets", spec.secrets());
    rows.list("egress", spec.egress());
    rows.row("shell", if spec.shell() { "yes" } else { "no" });
    rows.row("git", spec.git().map_or("no", |git| git.access.as_str()));
    rows.noted_list("narrowed", spec.narrowed().iter().map(narrowed));
}

fn narrowed(refusal: &Refusal) -> (String, String) {
    (format!("{}: {}", refusal.subject, refusal.reason), format!("[{}]", refusal.rule.code()))
}

fn need(need: Need) -> &'static str {
    match need {
        Need::Required => "required",
        Need::Optional => "optional",
    }
}

/// Returns the source and the effect of a tool.
fn tool(manifest: &Manifest, name: &ToolName) -> String {
    match manifest.tools.get(name) {
        Some(tool) => {
            let effect = serde_json::to_value(tool.effect)
                .ok()
                .and_then(|word| word.as_str().map(str::to_owned))
                .unwrap_or_default();
            format!("{}, effect {effect}", tool.source)
        }
        None => String::new(),
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

/// Formats explanations: an overview, or one explanation in detail.
pub(super) fn explanations(explanations: &[Explanation], in_detail: bool) -> String {
    let bold = anstyle::Style::new().bold();
    let mut text = String::new();
    if !in_detail {
        text.push_str(&format!("\n{bold}why{bold:#}\n"));
    }
    for explanation in explanations {
        let value = match (&explanation.value, explanation.subject.contains('`')) {
            (Some(value), false) => format!(" = {value}"),
            (Some(value), true) if explanation.subject.starts_with("setting") => format!(" = {value}"),
            _ => String::new(),
        };
        let (subject, verdict) =
            (one_line(&explanation.subject), one_line(&format!("{value}: {}", explanation.verdict)));
        text.push_str(&format!("{bold}{subject}{bold:#}{verdict}\n"));
        for entry in &explanation.layers {
            // The overview lists only the other layers: the verdict names the deciding one.
            if entry.won && !in_detail {
                continue;
            }
            let mark = if entry.won { "decides" } else { "" };
            let inactive = entry
                .unmet
                .as_ref()
                .map(|unmet| format!(" (inactive: `{unmet}` is not satisfied)"))
                .unwrap_or_default();
            let mark = if mark.is_empty() { String::new() } else { format!("  <- {mark}") };
            let line = format!("`{}`, layer {} {}{inactive}{mark}", entry.profile, entry.layer, entry.says);
            text.push_str(&format!("    {}\n", one_line(&line)));
        }
        if let Some(refusal) = explanation.refused.as_ref().filter(|_| in_detail) {
            let host = format!("{} [{}]", refusal.reason, refusal.rule.code());
            text.push_str(&format!("    host: {}\n    help: {}\n", one_line(&host), one_line(&refusal.remedy)));
        }
    }
    text
}
