//! Checks of sizes: texts, keys, lists, nesting and blobs, each against a named limit.

use std::collections::{BTreeMap, BTreeSet};

use error_code::Code;
use serde_json::{Map, Value};

use super::{Checker, Violation};
use crate::digest::Digest;
use crate::limits::BundleLimits;
use crate::manifest::{Manifest, Permissions, Profile};
use crate::names::shown;
use crate::one_line::is_plain;
use crate::pointer::Pointer;

/// Returns violations for free objects with a key that is too long or not printable. This check runs first, because
/// other errors name a place by all keys above it.
pub(crate) fn keys(manifest: &Manifest, limits: &BundleLimits) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut look = |pointer: Pointer, object: &Map<String, Value>| {
        let (longest, allowed) = (longest_key(object), limits.key_bytes);
        if longest > allowed {
            let message = format!("key exceeds limit `key_bytes` ({longest} > {allowed} bytes)");
            let help = "shorten the key, and move long text to a value".to_owned();
            found.push(Violation { code: Code::TooLarge, pointer, message, help, wanted: None, newer: false });
        } else if any_key(object, &|key| !is_plain(key)) {
            let message = "key contains control or bidirectional formatting characters".to_owned();
            found.push(Violation {
                code: Code::ControlCharacter,
                pointer,
                message,
                help: PLAIN.to_owned(),
                wanted: None,
                newer: false,
            });
        }
    };
    for (name, model) in &manifest.models {
        look(Pointer::root().key("models").key(name).key("parameters"), &model.parameters);
    }
    for (name, profile) in &manifest.profiles {
        for (index, layer) in profile.layers.iter().enumerate() {
            look(Pointer::root().key("profiles").key(name).key("layers").index(index).key("settings"), &layer.settings);
        }
    }
    found
}

const PLAIN: &str = "remove these characters and write the text on one line";

fn any_key(object: &Map<String, Value>, is_meant: &impl Fn(&str) -> bool) -> bool {
    fn inside(value: &Value, is_meant: &impl Fn(&str) -> bool) -> bool {
        match value {
            Value::Object(map) => any_key(map, is_meant),
            Value::Array(list) => list.iter().any(|value| inside(value, is_meant)),
            _ => false,
        }
    }
    object.iter().any(|(key, value)| is_meant(key) || inside(value, is_meant))
}

fn longest_key(object: &Map<String, Value>) -> usize {
    fn inside(value: &Value) -> usize {
        match value {
            Value::Object(map) => longest_key(map),
            Value::Array(list) => list.iter().map(inside).max().unwrap_or_default(),
            _ => 0,
        }
    }
    object.iter().map(|(key, value)| key.len().max(inside(value))).max().unwrap_or_default()
}

impl Checker<'_> {
    pub(super) fn texts(&mut self) {
        let manifest = self.manifest;
        let workspace = Pointer::root().key("workspace");
        self.text(workspace.key("name"), &manifest.workspace.name);
        self.text(workspace.key("description"), &manifest.workspace.description);
        self.text(workspace.key("repository"), &manifest.workspace.repository);
        for (key, value) in &manifest.workspace.labels {
            self.text(workspace.key("labels").key(key), value);
        }
        let provenance = Pointer::root().key("provenance");
        for (key, value) in [
            ("source", &manifest.provenance.source),
            ("repository", &manifest.provenance.repository),
            ("builder", &manifest.provenance.builder),
        ] {
            self.text(provenance.key(key), value.as_deref().unwrap_or_default());
        }
        for (name, tool) in &manifest.tools {
            self.text(Pointer::root().key("tools").key(name).key("description"), &tool.description);
        }
        for (name, plugin) in &manifest.plugins {
            self.text(Pointer::root().key("plugins").key(name).key("description"), &plugin.description);
        }
        for (name, model) in &manifest.models {
            let pointer = Pointer::root().key("models").key(name).key("model");
            if model.model.is_empty() {
                self.report(
                    Code::InvalidField,
                    pointer.clone(),
                    format!("missing name of model `{}` at its provider", shown(name.as_str())),
                    "write the provider's name for it",
                );
            }
            self.text(pointer, &model.model);
            self.depth(&Pointer::root().key("models").key(name).key("parameters"), &model.parameters);
        }
        let whole = if manifest.accepted.is_empty() { None } else { serde_json::to_value(manifest).ok() };
        for (index, accepted) in manifest.accepted.iter().enumerate() {
            let pointer = Pointer::root().key("accepted").index(index);
            // The marker `(withheld)` is accepted, because another text would be one more place to hide a path.
            let field = accepted.field.strip_suffix("/(withheld)").unwrap_or(&accepted.field);
            if whole.as_ref().is_some_and(|whole| whole.pointer(field).is_none()) {
                self.report(
                    Code::DanglingName,
                    pointer.key("field"),
                    "field of an accepted finding not found in this bundle".to_owned(),
                    "write the field as in the finding, or remove the entry",
                );
            }
            if leak_scan::rule(&accepted.rule).is_none() {
                self.report(
                    Code::UnknownRule,
                    pointer.key("rule"),
                    format!("rule `{}` not found", shown(&accepted.rule)),
                    "a check of the bundle lists the rules",
                );
            }
            if accepted.reason.trim().is_empty() {
                self.report(
                    Code::InvalidField,
                    pointer.key("reason"),
                    "missing reason of an accepted finding".to_owned(),
                    "state why it is not a leak",
                );
            }
            self.text(pointer.key("field"), &accepted.field);
            self.text(pointer.key("reason"), &accepted.reason);
        }
    }

    pub(super) fn counts(&mut self) {
        let root = Pointer::root();
        let (manifest, limits) = (self.manifest, self.limits);
        self.most("profiles", limits.profiles, manifest.profiles.len(), root.key("profiles"), "profiles");
        self.most(
            "list_items",
            limits.list_items,
            manifest.workspace.labels.len(),
            root.key("workspace").key("labels"),
            "labels",
        );
        self.most("list_items", limits.list_items, manifest.accepted.len(), root.key("accepted"), "accepted findings");
    }

    /// A package counts once, with the larger size if two plugins declare different ones.
    fn packages(&mut self) {
        let mut sizes: BTreeMap<Digest, u64> = BTreeMap::new();
        for (_, package) in self.manifest.packages() {
            let size = sizes.entry(package.digest).or_default();
            *size = (*size).max(package.size.into());
        }
        let (actual, allowed) = (sizes.into_values().sum::<u64>(), self.limits.packages_bytes as u64);
        if actual > allowed {
            let largest = self.manifest.packages().max_by_key(|(_, package)| package.size);
            self.found.push(Violation {
                code: Code::TooLarge,
                pointer: largest.map(|(pointer, _)| pointer).unwrap_or_else(Pointer::root),
                message: format!("plugin packages exceed limit `packages_bytes` ({actual} > {allowed} bytes)"),
                help: "use fewer or smaller packages, or raise `packages_bytes`".to_owned(),
                wanted: None,
                newer: true,
            });
        }
    }

    pub(super) fn blobs(&mut self) {
        let limits = self.limits;
        let refs = self.manifest.blobs();
        let blobs: BTreeSet<_> = refs.iter().map(|(_, blob)| blob.digest).collect();
        self.most("blobs", limits.blobs, blobs.len(), Pointer::root(), "blobs");
        for (pointer, blob) in refs {
            let package = pointer.ends_with("package");
            let (limit, allowed) =
                if package { ("package_bytes", limits.package_bytes) } else { ("blob_bytes", limits.blob_bytes) };
            self.most(limit, allowed, usize::try_from(blob.size).unwrap_or(usize::MAX), pointer, "bytes");
        }
        self.packages();
        for (name, plugin) in &self.manifest.plugins {
            let at = Pointer::root().key("plugins").key(name);
            self.most("list_items", limits.list_items, plugin.surfaces.len(), at.key("surfaces"), "surfaces");
            // The rule is newer than the first release.
            let surfaces = super::surfaces(&at.key("surfaces"), &plugin.surfaces).into_iter();
            self.found.extend(surfaces.map(|violation| Violation { newer: true, ..violation }));
            self.most("plugin_tools", limits.plugin_tools, plugin.tools.len(), at.key("tools"), "tools");
            self.most("list_items", limits.list_items, plugin.ingress.len(), at.key("ingress"), "ingress names");
            self.found.extend(permissions(&at.key("permissions"), &plugin.permissions, limits));
        }
    }

    pub(super) fn most(&mut self, limit: &'static str, allowed: usize, actual: usize, pointer: Pointer, what: &str) {
        self.found.extend(excess((limit, allowed), actual, pointer, what));
    }

    pub(super) fn text(&mut self, pointer: Pointer, text: &str) {
        self.found.extend(unfit_text(pointer, text, self.limits));
    }

    /// Checks the nesting of a free object as part of the manifest.
    pub(super) fn depth(&mut self, at: &Pointer, object: &Map<String, Value>) {
        let allowed = self.limits.json_depth;
        // The pointer has one key for each level above the object.
        let above = at.as_str().matches('/').count() + 1;
        let inside = object.values().map(levels).max().unwrap_or_default();
        if !object.is_empty() && above + inside > allowed {
            let message = format!("nesting exceeds limit `json_depth` ({allowed} levels)");
            let deepest = object.iter().find(|(_, value)| levels(value) == inside).map(|(key, _)| at.key(key));
            self.report(Code::TooDeep, deepest.unwrap_or_else(|| at.clone()), message, "flatten the value");
        }
    }
}

/// Returns a violation if there are more items than a limit allows.
pub(super) fn excess(
    (limit, allowed): (&'static str, usize),
    actual: usize,
    pointer: Pointer,
    what: &str,
) -> Option<Violation> {
    (actual > allowed).then(|| {
        let message = format!("{what} exceed limit `{limit}` ({actual} > {allowed})");
        Violation::new(Code::TooLarge, pointer, message, "split it, or remove some items")
    })
}

/// Returns a violation if a text is too long or not one line. Line ends would break the rows of a listing.
pub(super) fn unfit_text(pointer: Pointer, text: &str, limits: &BundleLimits) -> Option<Violation> {
    let allowed = limits.text_bytes;
    if text.len() > allowed {
        let message = format!("text exceeds limit `text_bytes` ({} > {allowed} bytes)", text.len());
        Some(Violation::new(Code::TooLarge, pointer, message, "move long text to a prompt"))
    } else if !is_plain(text) {
        let message = "text contains control or bidirectional formatting characters".to_owned();
        Some(Violation::new(Code::ControlCharacter, pointer, message, PLAIN))
    } else {
        None
    }
}

/// Returns violations for the permissions that a plugin requests: their number and their reasons.
pub(super) fn permissions(at: &Pointer, asked: &Permissions, limits: &BundleLimits) -> Vec<Violation> {
    let lists = [
        ("requests", asked.requests.iter().map(|asked| &asked.reason).collect::<Vec<_>>()),
        ("websockets", asked.websockets.iter().map(|asked| &asked.reason).collect()),
        ("secrets", asked.secrets.iter().map(|asked| &asked.reason).collect()),
    ];
    let mut found = Vec::new();
    for (kind, reasons) in lists {
        let at = at.key(kind);
        found.extend(excess(("list_items", limits.list_items), reasons.len(), at.clone(), "permissions"));
        for (index, reason) in reasons.into_iter().enumerate() {
            let at = at.index(index).key("reason");
            if reason.trim().is_empty() {
                let message = "missing reason of a permission".to_owned();
                let help = "state its purpose for the person who decides";
                found.push(Violation::new(Code::InvalidField, at.clone(), message, help));
            }
            found.extend(unfit_text(at, reason, limits));
        }
    }
    found
}

/// Returns the size of the settings of all layers of one profile, in bytes.
pub(super) fn settings_bytes(profile: &Profile) -> usize {
    let bytes = |settings: &Map<String, Value>| serde_json::to_vec(settings).map_or(usize::MAX, |text| text.len());
    let written = profile.layers.iter().map(|layer| &layer.settings).filter(|settings| !settings.is_empty());
    written.map(bytes).fold(0, usize::saturating_add)
}

/// Returns the levels of arrays and objects. Parsing limits the depth, so recursion is safe.
fn levels(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(levels).max().unwrap_or_default(),
        Value::Object(map) => 1 + map.values().map(levels).max().unwrap_or_default(),
        _ => 0,
    }
}
