//! What may be how large: texts, keys, lists, nesting and blobs, each within a named limit.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Checker, Violation};
use crate::digest::Digest;
use crate::limits::BundleLimits;
use crate::manifest::{Manifest, Profile};
use crate::names::shown;
use crate::one_line::is_plain;
use crate::pointer::Pointer;

/// The free objects with a key that is too long or is more than one line of letters. It is the first
/// thing to know of a manifest: places are told by all keys above them.
pub(crate) fn keys(manifest: &Manifest, limits: &BundleLimits) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut look = |pointer: Pointer, object: &Map<String, Value>| {
        let (longest, allowed) = (longest_key(object), limits.key_bytes);
        if longest > allowed {
            let message = format!("a key of {longest} bytes is longer than the {allowed} allowed (`key_bytes`)");
            let help = "shorten it; long text belongs into a value".to_owned();
            found.push(Violation { code: "too_large", pointer, message, help, wanted: None, newer: false });
        } else if any_key(object, &|key| !is_plain(key)) {
            let message = "a key holds control characters, or such as turn round what is read".to_owned();
            found.push(Violation {
                code: "control_character",
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

const PLAIN: &str = "take them out and write it on one line; people read this on a terminal";

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
                self.say(
                    "invalid_field",
                    pointer.clone(),
                    format!("model `{}` does not say which model it is", shown(name.as_str())),
                    "write the provider's name for it",
                );
            }
            self.text(pointer, &model.model);
            self.depth(&Pointer::root().key("models").key(name).key("parameters"), &model.parameters);
        }
        let whole = if manifest.accepted.is_empty() { None } else { serde_json::to_value(manifest).ok() };
        for (index, accepted) in manifest.accepted.iter().enumerate() {
            let pointer = Pointer::root().key("accepted").index(index);
            // A text of its own would be one more place for a path to hide in.
            let field = accepted.field.strip_suffix("/(withheld)").unwrap_or(&accepted.field);
            if whole.as_ref().is_some_and(|whole| whole.pointer(field).is_none()) {
                self.say(
                    "dangling_name",
                    pointer.key("field"),
                    "an accepted finding names a field that this bundle does not have".to_owned(),
                    "name the field as the finding names it, or take it out",
                );
            }
            if crate::leaks::rule(&accepted.rule).is_none() {
                self.say(
                    "unknown_rule",
                    pointer.key("rule"),
                    format!("there is no rule `{}`", shown(&accepted.rule)),
                    "a check of the bundle lists the rules",
                );
            }
            if accepted.reason.trim().is_empty() {
                self.say(
                    "invalid_field",
                    pointer.key("reason"),
                    "an accepted finding needs a reason".to_owned(),
                    "say why it is no leak",
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

    /// A package counts once, with the larger size where two plugins declare different ones.
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
                code: "too_large",
                pointer: largest.map(|(pointer, _)| pointer).unwrap_or_else(Pointer::root),
                message: format!(
                    "the plugin packages have {actual} bytes together, more than the {allowed} allowed (`packages_bytes`)"
                ),
                help: "use fewer or smaller packages, or raise the limit of that name".to_owned(),
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
            self.surfaces(&at.key("surfaces"), &plugin.surfaces);
            let asked = &plugin.permissions;
            let reasons = [
                ("requests", asked.requests.iter().map(|asked| &asked.reason).collect::<Vec<_>>()),
                ("websockets", asked.websockets.iter().map(|asked| &asked.reason).collect()),
                ("secrets", asked.secrets.iter().map(|asked| &asked.reason).collect()),
                ("mounts", asked.mounts.iter().map(|asked| &asked.reason).collect()),
            ];
            for (kind, reasons) in reasons {
                let at = at.key("permissions").key(kind);
                self.most("list_items", limits.list_items, reasons.len(), at.clone(), "permissions");
                for (index, reason) in reasons.into_iter().enumerate() {
                    let at = at.index(index).key("reason");
                    if reason.trim().is_empty() {
                        self.say(
                            "invalid_field",
                            at.clone(),
                            "a permission needs a reason".to_owned(),
                            "say what it is for: a person decides by it",
                        );
                    }
                    self.text(at, reason);
                }
            }
        }
    }

    pub(super) fn most(&mut self, limit: &'static str, allowed: usize, actual: usize, pointer: Pointer, what: &str) {
        if actual > allowed {
            self.say(
                "too_large",
                pointer,
                format!("{actual} {what} are more than the {allowed} allowed (`{limit}`)"),
                "split it, or take some out",
            );
        }
    }

    /// A text of one line: the rows of a listing are told apart by their ends.
    pub(super) fn text(&mut self, pointer: Pointer, text: &str) {
        let allowed = self.limits.text_bytes;
        if text.len() > allowed {
            let message = format!("{} bytes of text are more than the {allowed} allowed (`text_bytes`)", text.len());
            self.say("too_large", pointer, message, "long text belongs into a prompt");
        } else if !is_plain(text) {
            let message = "a text holds control characters, or such as turn round what is read".to_owned();
            self.say("control_character", pointer, message, PLAIN);
        }
    }

    /// A free object, as part of the manifest's own levels.
    pub(super) fn depth(&mut self, at: &Pointer, object: &Map<String, Value>) {
        let allowed = self.limits.json_depth;
        // The pointer has one key for each level above the object.
        let above = at.as_str().matches('/').count() + 1;
        let inside = object.values().map(levels).max().unwrap_or_default();
        if !object.is_empty() && above + inside > allowed {
            let message = format!("arrays and objects are nested deeper than {allowed} (`json_depth`)");
            let deepest = object.iter().find(|(_, value)| levels(value) == inside).map(|(key, _)| at.key(key));
            self.say("too_deep", deepest.unwrap_or_else(|| at.clone()), message, "flatten the value");
        }
    }
}

/// Bytes of the settings of all layers of one profile.
pub(super) fn settings_bytes(profile: &Profile) -> usize {
    let bytes = |settings: &Map<String, Value>| serde_json::to_vec(settings).map_or(usize::MAX, |text| text.len());
    let written = profile.layers.iter().map(|layer| &layer.settings).filter(|settings| !settings.is_empty());
    written.map(bytes).fold(0, usize::saturating_add)
}

/// Levels of arrays and objects. What is parsed is bounded in depth, so this may recurse.
fn levels(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(levels).max().unwrap_or_default(),
        Value::Object(map) => 1 + map.values().map(levels).max().unwrap_or_default(),
        _ => 0,
    }
}
