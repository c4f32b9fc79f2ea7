//! Whether a manifest is sound: every name leads somewhere, inheritance has one order, nothing is
//! larger than its bound.
//!
//! The builder and every Runtime that receives a bundle run this same code. It says everything that
//! is wrong at once, by JSON pointer; where the author wrote it is the builder's to add.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::author::nearest;
use crate::limits::BundleLimits;
use crate::lineage::{LineageError, lineage};
use crate::manifest::{Amend, BlobRef, Layer, Manifest, Profile, Workflow};
use crate::names::{ProfileName, shown};
use crate::pointer::Pointer;
use crate::tool_source::ToolSource;

/// One thing that is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The stable machine word.
    pub code: &'static str,
    /// Where, in the manifest.
    pub pointer: Pointer,
    /// What, in a sentence.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// Where the name that leads nowhere would be declared, where it is the name of a declaration.
    pub wanted: Option<Pointer>,
}

/// Everything that is wrong with `manifest`, in the order of the manifest.
pub(crate) fn check(manifest: &Manifest, limits: &BundleLimits) -> Vec<Violation> {
    let mut checker = Checker { manifest, limits, found: keys(manifest, limits), compared: 0 };
    checker.texts();
    checker.counts();
    checker.blobs();
    for (name, profile) in &manifest.profiles {
        checker.profile(name, profile);
    }
    checker.tools();
    checker.policy();
    checker.found
}

/// The free objects with a key that is too long. It is the first thing to know of a manifest: places
/// are told by all keys above them.
pub(crate) fn keys(manifest: &Manifest, limits: &BundleLimits) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut look = |pointer: Pointer, object: &Map<String, Value>| {
        let (longest, allowed) = (longest_key(object), limits.key_bytes);
        if longest > allowed {
            let message = format!("a key of {longest} bytes is longer than the {allowed} allowed (`key_bytes`)");
            let help = "shorten it; long text belongs into a value".to_owned();
            found.push(Violation { code: "too_large", pointer, message, help, wanted: None });
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

struct Checker<'a> {
    manifest: &'a Manifest,
    limits: &'a BundleLimits,
    found: Vec<Violation>,
    /// Names that were compared to suggest one.
    compared: usize,
}

/// Most names to compare over all. Each costs a microsecond or ten, and a manifest can name what is
/// not there a hundred thousand times.
const MOST_COMPARED: usize = 1 << 14;

impl Checker<'_> {
    fn say(&mut self, code: &'static str, pointer: Pointer, message: String, help: impl Into<String>) {
        self.found.push(Violation { code, pointer, message, help: help.into(), wanted: None });
    }

    fn dangling<'n>(
        &mut self,
        pointer: Pointer,
        message: String,
        wanted: Pointer,
        name: &str,
        known: impl Iterator<Item = &'n str>,
    ) {
        let left = MOST_COMPARED.saturating_sub(self.compared);
        let mut compared = 0;
        let help = suggestion(name, known.take(left).inspect(|_| compared += 1));
        self.compared += compared;
        self.found.push(Violation { code: "dangling_name", pointer, message, help, wanted: Some(wanted) });
    }

    fn most(&mut self, limit: &'static str, allowed: usize, actual: usize, pointer: Pointer, what: &str) {
        if actual > allowed {
            self.say(
                "too_large",
                pointer,
                format!("{actual} {what} are more than the {allowed} allowed (`{limit}`)"),
                "split it, or take some out",
            );
        }
    }

    fn text(&mut self, pointer: Pointer, text: &str) {
        let allowed = self.limits.text_bytes;
        if text.len() > allowed {
            let message = format!("{} bytes of text are more than the {allowed} allowed (`text_bytes`)", text.len());
            self.say("too_large", pointer, message, "long text belongs into a prompt");
        } else if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            self.say(
                "control_character",
                pointer,
                "a text holds control characters".to_owned(),
                "take them out; people read this on a terminal",
            );
        }
    }

    /// A free object, as part of the manifest's own levels.
    fn depth(&mut self, at: &Pointer, object: &Map<String, Value>) {
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

    fn texts(&mut self) {
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
                    "`yoi bundle check` lists the rules",
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

    fn counts(&mut self) {
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

    fn blobs(&mut self) {
        let limits = self.limits;
        let refs = blob_refs(self.manifest);
        let blobs: BTreeSet<_> = refs.iter().map(|(_, blob)| blob.digest).collect();
        self.most("blobs", limits.blobs, blobs.len(), Pointer::root(), "blobs");
        for (pointer, blob) in refs {
            let package = pointer.ends_with("package");
            let (limit, allowed) =
                if package { ("package_bytes", limits.package_bytes) } else { ("blob_bytes", limits.blob_bytes) };
            self.most(limit, allowed, usize::try_from(blob.size).unwrap_or(usize::MAX), pointer, "bytes");
        }
        for (name, plugin) in &self.manifest.plugins {
            let at = Pointer::root().key("plugins").key(name);
            self.most("list_items", limits.list_items, plugin.surfaces.len(), at.key("surfaces"), "surfaces");
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

    fn profile(&mut self, name: &ProfileName, profile: &Profile) {
        let at = Pointer::root().key("profiles").key(name);
        self.text(at.key("description"), &profile.description);
        self.most("parents", self.limits.parents, profile.extends.len(), at.key("extends"), "parents");
        self.most("layers", self.limits.layers, profile.layers.len(), at.key("layers"), "layers");
        let mut seen = BTreeSet::new();
        // What has no order for a plain reason is not told a second time as a conflict.
        let mut plain = true;
        for (index, parent) in profile.extends.iter().enumerate() {
            let at = at.key("extends").index(index);
            if !seen.insert(parent) {
                plain = false;
                self.say(
                    "duplicate_name",
                    at.clone(),
                    format!("`{}` extends `{}` twice", shown(name.as_str()), shown(parent.as_str())),
                    "keep one of the two",
                );
            }
            if !self.manifest.profiles.contains_key(parent) {
                plain = false;
                let (name, parent) = (shown(name.as_str()), parent.as_str());
                self.dangling(
                    at,
                    format!("`{name}` extends `{}`, which is no profile of this bundle", shown(parent)),
                    Pointer::root().key("profiles").key(parent),
                    parent,
                    self.manifest.profiles.keys().map(ProfileName::as_str),
                );
            }
        }
        if plain {
            self.lineage(name, at.key("extends"));
        }
        for (index, layer) in profile.layers.iter().enumerate() {
            self.layer(name, layer, &at.key("layers").index(index));
        }
    }

    fn lineage(&mut self, name: &ProfileName, at: Pointer) {
        let error = match lineage(&self.manifest.profiles, name, self.limits.lineage) {
            // What an ancestor lacks is said at the ancestor.
            Ok(_) | Err(LineageError::Unknown(_)) => return,
            Err(error) => error,
        };
        let message = error.to_string();
        match error {
            LineageError::Cycle(ring) if ring.first() == Some(name) => {
                self.say("inheritance_cycle", at, message, "take one `extends` out of the ring");
            }
            LineageError::Conflict(profile) if profile == *name => {
                self.say(
                    "inheritance_conflict",
                    at,
                    message,
                    "name the parents in the order in which their own parents and siblings name them",
                );
            }
            LineageError::TooLong { .. } => self.say("too_deep", at, message, "flatten the chain"),
            _ => {}
        }
    }

    fn layer(&mut self, profile: &ProfileName, layer: &Layer, at: &Pointer) {
        let manifest = self.manifest;
        let by = format!("profile `{}`", shown(profile.as_str()));
        self.names(
            &by,
            "model",
            layer.models.as_ref(),
            &at.key("models"),
            |name| manifest.models.contains_key(name),
            manifest.models.keys(),
        );
        self.names(
            &by,
            "prompt",
            layer.instructions.as_ref(),
            &at.key("instructions"),
            |name| manifest.prompts.contains_key(name),
            manifest.prompts.keys(),
        );
        for (field, amend) in [("tools_allow", &layer.tools_allow), ("tools_deny", &layer.tools_deny)] {
            self.names(
                &by,
                "tool",
                amend.as_ref(),
                &at.key(field),
                |name| manifest.tools.contains_key(name),
                manifest.tools.keys(),
            );
        }
        self.names(
            &by,
            "plugin",
            layer.plugins.as_ref(),
            &at.key("plugins"),
            |name| manifest.plugins.contains_key(name),
            manifest.plugins.keys(),
        );
        self.names(
            &by,
            "workflow",
            layer.workflows.as_ref(),
            &at.key("workflows"),
            |name| manifest.workflows.contains_key(name),
            manifest.workflows.keys(),
        );
        self.depth(&at.key("settings"), &layer.settings);
        for (field, count) in [("when", layer.when.len()), ("wishes", layer.wishes.len()), ("drops", layer.drops.len())]
        {
            self.most("list_items", self.limits.list_items, count, at.key(field), "items");
        }
    }

    fn names<'n, T: AsRef<str> + 'n>(
        &mut self,
        by: &str,
        what: &str,
        amend: Option<&Amend<T>>,
        at: &Pointer,
        declared: impl Fn(&T) -> bool,
        known: impl Iterator<Item = &'n T> + Clone,
    ) {
        let Some(amend) = amend else { return };
        let at = at.key(match amend {
            Amend::Append(_) => "append",
            Amend::Replace(_) => "replace",
        });
        self.most("list_items", self.limits.list_items, amend.names().len(), at.clone(), "names");
        for (index, name) in amend.names().iter().enumerate() {
            if !declared(name) {
                let name = name.as_ref();
                self.dangling(
                    at.index(index),
                    format!("{by} names {what} `{}`, which this bundle does not declare", shown(name)),
                    Pointer::root().key(format!("{what}s")).key(name),
                    name,
                    known.clone().map(AsRef::as_ref),
                );
            }
        }
    }

    fn tools(&mut self) {
        for (name, tool) in &self.manifest.tools {
            let at = Pointer::root().key("tools").key(name);
            self.most(
                "list_items",
                self.limits.list_items,
                tool.policy.paths.len(),
                at.key("policy").key("paths"),
                "globs",
            );
            if let ToolSource::Plugin(plugin) = &tool.source
                && !self.manifest.plugins.contains_key(plugin)
            {
                let (name, plugin) = (shown(name.as_str()), plugin.as_str());
                self.dangling(
                    at.key("source"),
                    format!("tool `{name}` comes from plugin `{}`, which this bundle does not declare", shown(plugin)),
                    Pointer::root().key("plugins").key(plugin),
                    plugin,
                    self.manifest.plugins.keys().map(AsRef::as_ref),
                );
            }
        }
    }

    fn policy(&mut self) {
        let (manifest, at) = (self.manifest, Pointer::root().key("policy"));
        let lists = |allow: &Option<Vec<_>>| allow.as_ref().map(|allow| Amend::Append(allow.clone()));
        let tools = &manifest.policy.tools;
        let known = |name: &crate::names::ToolName| manifest.tools.contains_key(name);
        for (field, amend) in [("allow", lists(&tools.allow)), ("deny", Some(Amend::Append(tools.deny.clone())))] {
            self.ceiling("tool", amend, at.key("tools").key(field), known, manifest.tools.keys());
        }
        let plugins = &manifest.policy.plugins;
        let lists = |allow: &Option<Vec<_>>| allow.as_ref().map(|allow| Amend::Append(allow.clone()));
        let known = |name: &crate::names::PluginName| manifest.plugins.contains_key(name);
        for (field, amend) in [("allow", lists(&plugins.allow)), ("deny", Some(Amend::Append(plugins.deny.clone())))] {
            self.ceiling("plugin", amend, at.key("plugins").key(field), known, manifest.plugins.keys());
        }
        let authorities = &manifest.policy.authorities;
        let allow = authorities.allow.as_ref().map_or(0, Vec::len);
        for (field, count) in [("allow", allow), ("deny", authorities.deny.len())] {
            let at = at.key("authorities").key(field);
            self.most("list_items", self.limits.list_items, count, at, "authorities");
        }
    }

    fn ceiling<'n, T: AsRef<str> + 'n>(
        &mut self,
        what: &str,
        list: Option<Amend<T>>,
        at: Pointer,
        declared: impl Fn(&T) -> bool,
        known: impl Iterator<Item = &'n T> + Clone,
    ) {
        let Some(list) = list else { return };
        self.most("list_items", self.limits.list_items, list.names().len(), at.clone(), "names");
        for (index, name) in list.names().iter().enumerate() {
            if !declared(name) {
                let name = name.as_ref();
                self.dangling(
                    at.index(index),
                    format!("the policy names {what} `{}`, which this bundle does not declare", shown(name)),
                    Pointer::root().key(format!("{what}s")).key(name),
                    name,
                    known.clone().map(AsRef::as_ref),
                );
            }
        }
    }
}

/// Every blob that a manifest names, with where it names it.
pub(crate) fn blob_refs(manifest: &Manifest) -> Vec<(Pointer, BlobRef)> {
    let root = Pointer::root();
    let mut refs = Vec::new();
    for (name, plugin) in &manifest.plugins {
        refs.push((root.key("plugins").key(name).key("package"), plugin.package));
    }
    for (name, prompt) in &manifest.prompts {
        refs.push((root.key("prompts").key(name).key("text"), prompt.text));
    }
    for (name, tool) in &manifest.tools {
        for (key, schema) in [("input", tool.input), ("output", tool.output)] {
            refs.extend(schema.map(|blob| (root.key("tools").key(name).key(key), blob)));
        }
    }
    for (name, workflow) in &manifest.workflows {
        if let Workflow::Definition(blob) = workflow {
            refs.push((root.key("workflows").key(name).key("definition"), *blob));
        }
    }
    refs
}

/// Levels of arrays and objects. What is parsed is bounded in depth, so this may recurse.
fn levels(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(levels).max().unwrap_or_default(),
        Value::Object(map) => 1 + map.values().map(levels).max().unwrap_or_default(),
        _ => 0,
    }
}

fn suggestion<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "declare it, or take the name out".to_owned(),
    }
}
