//! Leak scan of a bundle: scanned texts, and findings that the author accepted.
//!
//! The builder and every Runtime scan exactly the same texts. Names, digests and numbers have closed grammars, but are
//! scanned too if a value could be spelled in them.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use error_code::Code;
use leak_scan::{KeyContext, Kind, Leak, Place};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::blob::Blob;
use crate::definition;
use crate::json_place::{self, Part};
use crate::manifest::{Acceptance, Manifest};
use crate::plugin::PluginManifest;
use crate::pointer::Pointer;

/// A finding in a bundle: text, rule and span, never the value.
#[derive(Clone)]
pub struct Finding {
    /// Pointer into the manifest, also for the text of a blob. A key that contains a leak is withheld.
    pub pointer: Pointer,
    /// Pointer into the document, if the text is the schema of a tool or the definition of a workflow. Keys that
    /// contain a leak are withheld.
    pub inside: Option<Pointer>,
    /// Rule and span in the text.
    pub leak: Leak,
    /// `true` if the manifest accepts the finding.
    pub accepted: bool,
    /// Pointer with nothing withheld. It may contain the value.
    pub(crate) exact: Pointer,
    pub(crate) text: Text,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.leak.rule;
        write!(f, "`{}` holds {}", self.pointer, rule.kind().noun())?;
        if let Some(inside) = &self.inside {
            write!(f, " at `{inside}`")?;
        }
        write!(f, ": {} (rule `{}`)", rule.description(), rule.id())
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Finding");
        debug
            .field("pointer", &self.pointer)
            .field("inside", &self.inside)
            .field("leak", &self.leak)
            .field("accepted", &self.accepted)
            .finish()
    }
}

/// Scanned text at a place in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    /// The value.
    Value,
    /// The key of the value.
    Key,
    /// The blob named by the value.
    Blob,
}

/// Maximum number of findings that are reported for one manifest or blob.
pub const MAX_FINDINGS: usize = 1000;

/// Maximum number of findings in one schema that are reported with their exact place.
const MAX_LOCATED_FINDINGS: usize = 64;

/// Scans every text of a manifest.
pub fn scan_manifest(manifest: &Manifest) -> Vec<Finding> {
    Scanner::new(manifest, MAX_FINDINGS).manifest(manifest)
}

/// Scans the text of one blob, which the manifest names at `pointer`.
pub fn scan_blob(manifest: &Manifest, pointer: &Pointer, blob: &Blob) -> Vec<Finding> {
    Scanner::new(manifest, MAX_FINDINGS).blob(pointer, blob)
}

/// Like [`scan_manifest`], but stops at the first finding that is not accepted.
pub(crate) fn scan_manifest_to_first(manifest: &Manifest) -> Vec<Finding> {
    Scanner::new(manifest, 1).manifest(manifest)
}

/// Scans every text of a package's manifest: its values, and each schema by its keywords.
pub(crate) fn scan_plugin(manifest: &PluginManifest) -> Vec<Finding> {
    // As for a bundle, the serialized manifest is the list of texts.
    let Ok(mut value) = serde_json::to_value(manifest) else { return Vec::new() };
    for (at, _) in manifest.schemas() {
        if let Some(schema) = value.pointer_mut(at.as_str()) {
            *schema = Value::Null;
        }
    }
    let mut values = Scanner::of(&[], MAX_FINDINGS);
    values.value(Place::Text, None, &value);
    let mut found = values.found;
    for (at, schema) in manifest.schemas() {
        let mut inner = Scanner::of(&[], MAX_FINDINGS.saturating_sub(found.len()));
        inner.schema(KeyContext::default(), schema);
        inner.referenced(schema);
        found.extend(inner.found.into_iter().map(|finding| Finding {
            pointer: shown(&at).join(finding.pointer.as_str()),
            exact: at.join(finding.exact.as_str()),
            ..finding
        }));
    }
    found
}

/// Returns the stable error code of a bundle that is refused for a finding of this kind.
pub fn error_code(kind: Kind) -> Code {
    match kind {
        Kind::Secret => Code::SecretInBundle,
        Kind::HostPath => Code::HostPathInBundle,
    }
}

struct Scanner<'a> {
    accepted: &'a [Acceptance],
    /// Keys and indexes down to the current text. A pointer is created only for a finding.
    path: Vec<Step<'a>>,
    found: Vec<Finding>,
    /// Number of findings that may still be reported.
    left: usize,
    /// References of the schema, with the keys that apply to their targets.
    references: Vec<(KeyContext, &'a str)>,
    /// `true` if the texts were scanned before and only their keys are judged now. Applies to workflow definitions and
    /// to the targets of references.
    is_only_by_keys: bool,
}

/// Keys of an object whose value is the name of the `value` beside it.
const NAMING_KEYS: [&str; 8] = ["name", "key", "id", "label", "env", "variable", "header", "field"];

enum Step<'a> {
    /// A key and the context of the keys above it, if the key itself may be a secret: `tokens = { "…" = true }`.
    Key(&'a str, Option<KeyContext>),
    Index(usize),
}

impl<'a> Scanner<'a> {
    fn new(manifest: &'a Manifest, most: usize) -> Self {
        Self::of(&manifest.accepted, most)
    }

    fn of(accepted: &'a [Acceptance], left: usize) -> Self {
        Self { accepted, path: Vec::new(), found: Vec::new(), left, references: Vec::new(), is_only_by_keys: false }
    }

    fn manifest(self, manifest: &Manifest) -> Vec<Finding> {
        // The serialized manifest is the list of texts, so a field added later cannot be forgotten.
        let Ok(value) = serde_json::to_value(manifest) else { return Vec::new() };
        let mut scanner = Scanner::of(self.accepted, self.left);
        scanner.value(Place::Text, None, &value);
        scanner.found
    }

    fn blob(mut self, pointer: &Pointer, blob: &Blob) -> Vec<Finding> {
        if pointer.as_str().starts_with("/tools/") {
            self.schema_of(pointer, blob);
            return self.found;
        }
        self.report(blob.leaks(), Text::Blob, &shown(pointer), pointer);
        if pointer.as_str().starts_with("/workflows/") {
            self.definition_of(pointer, blob);
        }
        self.found
    }

    fn report(&mut self, leaks: &[Leak], text: Text, shown: &Pointer, exact: &Pointer) {
        if leaks.is_empty() {
            return;
        }
        let is_field = |field: &str| field == shown.as_str() || field == exact.as_str();
        let here: Vec<&Acceptance> = self.accepted.iter().filter(|accepted| is_field(&accepted.field)).collect();
        // Credentials are reported first, because they must be revoked.
        let (secrets, paths): (Vec<&Leak>, Vec<&Leak>) =
            leaks.iter().partition(|leak| leak.rule.kind() == Kind::Secret);
        for leak in secrets.into_iter().chain(paths).cloned() {
            let accepted = here.iter().any(|accepted| accepted.rule == leak.rule.id());
            self.left = if accepted { self.left } else { self.left.saturating_sub(1) };
            let exact = exact.clone();
            self.found.push(Finding { pointer: shown.clone(), inside: None, leak, accepted, exact, text });
        }
    }

    fn text(&mut self, place: Place, keys: Option<KeyContext>, which: Text, text: &str) {
        let named = keys.and_then(|keys| keys.find_secret(text));
        if self.is_only_by_keys && named.is_none() {
            return;
        }
        let mut leaks = leak_scan::scan(place, text);
        // A finding by the shape of the secret replaces one by its name.
        let has_shape = leaks.iter().any(|leak| leak.rule.kind() == Kind::Secret);
        if self.is_only_by_keys {
            leaks.clear();
        }
        leaks.extend(named.filter(|_| !has_shape));
        if !leaks.is_empty() {
            let exact = self.path.iter().fold(Pointer::root(), |pointer, step| match step {
                Step::Key(key, _) => pointer.key(key),
                Step::Index(index) => pointer.index(*index),
            });
            let shown = self.path.iter().fold(Pointer::root(), |pointer, step| match step {
                Step::Key(key, keys) => pointer.key(shown_key(key, *keys)),
                Step::Index(index) => pointer.index(*index),
            });
            let is_told = |found: &Finding| found.exact == exact && found.text == which;
            if !self.is_only_by_keys || !self.found.iter().any(is_told) {
                self.report(&leaks, which, &shown, &exact);
            }
        }
    }

    /// Scans the schema of a tool, string by string. A schema that is not JSON is refused elsewhere and scanned as one
    /// text here.
    fn schema_of(&mut self, pointer: &Pointer, blob: &Blob) {
        let text = String::from_utf8_lossy(blob.as_ref());
        let Ok(value) = serde_json::from_str::<Value>(&text) else {
            return self.report(&leak_scan::scan(Place::Text, &text), Text::Blob, &shown(pointer), pointer);
        };
        let mut inner = Scanner::of(&[], self.left);
        inner.schema(KeyContext::default(), &value);
        inner.referenced(&value);
        for (number, finding) in inner.found.into_iter().enumerate() {
            let part = if finding.text == Text::Key { Part::Key } else { Part::Value };
            // Each lookup is a pass over the text.
            let string =
                (number < MAX_LOCATED_FINDINGS).then(|| json_place::find(&text, &finding.exact, part)).flatten();
            let span = string.map_or(0..text.len(), |string| within(&text, string, finding.leak.span.clone()));
            self.report_inside(finding, span, pointer);
        }
    }

    /// Judges the values of a workflow definition by their keys, if the definition is data. The text is scanned
    /// separately.
    fn definition_of(&mut self, pointer: &Pointer, blob: &Blob) {
        let text = String::from_utf8_lossy(blob.as_ref());
        let Some(value) = definition::read(&text) else { return };
        let mut inner = Scanner::of(&[], self.left);
        inner.is_only_by_keys = true;
        inner.value(Place::Text, Some(KeyContext::default()), &value);
        for (number, finding) in inner.found.into_iter().enumerate() {
            // Strings with escapes are not found in the text.
            let string = if finding.text == Text::Key {
                finding.exact.as_str().rsplit('/').next().map(|key| key.replace("~1", "/").replace("~0", "~"))
            } else {
                value.pointer(finding.exact.as_str()).and_then(Value::as_str).map(str::to_owned)
            };
            let string = string.filter(|string| number < MAX_LOCATED_FINDINGS && !string.is_empty());
            let start = string.as_ref().and_then(|string| text.find(string.as_str()));
            let span = start.zip(string).map_or(0..text.len(), |(start, string)| start..start + string.len());
            let is_told = blob.leaks().iter().any(|leak| {
                leak.rule.kind() == Kind::Secret && leak.span.start < span.end && span.start < leak.span.end
            });
            if start.is_none() || !is_told {
                self.report_inside(finding, span, pointer);
            }
        }
    }

    /// Reports a finding in the document at `pointer`, at `span` of its text.
    fn report_inside(&mut self, finding: Finding, span: Range<usize>, pointer: &Pointer) {
        let leak = Leak { rule: finding.leak.rule, span };
        let before = self.found.len();
        self.report(std::slice::from_ref(&leak), Text::Blob, &shown(pointer), pointer);
        for found in self.found.iter_mut().skip(before) {
            found.inside = Some(finding.pointer.clone());
        }
    }

    /// Scans a schema. `keys` are those of the property that the schema describes. They apply to its `default`,
    /// `const`, `enum` and `examples`. Other strings of a schema are not values of the property.
    fn schema(&mut self, keys: KeyContext, value: &'a Value) {
        if self.left == 0 {
            return;
        }
        match value {
            Value::String(text) => self.text(Place::Text, None, Text::Value, text),
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    self.path.push(Step::Index(index));
                    self.schema(keys, value);
                    self.path.pop();
                }
            }
            Value::Object(map) => {
                for (key, value) in map {
                    self.path.push(Step::Key(key, None));
                    self.text(Place::ObjectKey, None, Text::Key, key);
                    let own = KeyContext::default().with_key(None, key);
                    if let ("$ref", Value::String(reference)) = (key.as_str(), value)
                        && keys != KeyContext::default()
                    {
                        self.references.push((keys, reference));
                    }
                    match (key.as_str(), value) {
                        (
                            "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
                            Value::Object(map),
                        ) => {
                            self.properties(map);
                        }
                        ("default" | "const" | "example", _) => self.value(Place::Text, Some(keys), value),
                        ("enum" | "examples", Value::Array(list)) => {
                            for (index, value) in list.iter().enumerate() {
                                self.path.push(Step::Index(index));
                                self.value(Place::Text, Some(keys), value);
                                self.path.pop();
                            }
                        }
                        // No keyword is a name for a secret, so this is a misplaced property or an annotation.
                        (_, Value::String(text)) => self.text(Place::Text, Some(own), Text::Value, text),
                        _ => self.schema(if own == KeyContext::default() { keys } else { own }, value),
                    }
                    self.path.pop();
                }
            }
            _ => {}
        }
    }

    /// Scans the targets of references, each target once for each distinct `keys`. Findings without keys were reported
    /// before.
    fn referenced(&mut self, root: &'a Value) {
        self.is_only_by_keys = true;
        let mut seen = HashSet::new();
        while let Some((keys, reference)) = self.references.pop() {
            self.path.clear();
            if let Some(target) = self.descend(root, reference)
                && seen.insert((std::ptr::from_ref(target), keys))
            {
                self.schema(keys, target);
            }
        }
    }

    /// Follows a reference within the document and sets the path to its target.
    fn descend(&mut self, root: &'a Value, reference: &str) -> Option<&'a Value> {
        let fragment = percent_decode_str(reference.strip_prefix('#')?).decode_utf8().ok()?;
        fragment.split('/').skip(1).try_fold(root, |value, segment| {
            let (step, value) = match value {
                Value::Object(map) => {
                    let (key, value) = map.get_key_value(&segment.replace("~1", "/").replace("~0", "~"))?;
                    (Step::Key(key, None), value)
                }
                Value::Array(list) => {
                    let index = segment.parse().ok()?;
                    (Step::Index(index), list.get(index)?)
                }
                _ => return None,
            };
            self.path.push(step);
            Some(value)
        })
    }

    fn properties(&mut self, map: &'a Map<String, Value>) {
        for (name, schema) in map {
            self.path.push(Step::Key(name, None));
            self.text(Place::ObjectKey, None, Text::Key, name);
            self.schema(KeyContext::default().with_key(None, name), schema);
            self.path.pop();
        }
    }

    /// Scans a value. `keys` are those above it in a free object, whose keys the author chooses.
    fn value(&mut self, place: Place, keys: Option<KeyContext>, value: &'a Value) {
        if self.left == 0 {
            return;
        }
        match value {
            Value::String(text) => match text.strip_prefix("egress:").filter(|_| self.holds_authority()) {
                Some(url) => self.text(Place::UrlTarget, keys, Text::Value, url),
                None => self.text(place, keys, Text::Value, text),
            },
            Value::Array(list) => {
                let mut before = None;
                for (index, value) in list.iter().enumerate() {
                    let keys = keys.map(|keys| before.map_or(keys, |text| keys.after_item(text)));
                    self.path.push(Step::Index(index));
                    self.value(place, keys, value);
                    self.path.pop();
                    before = value.as_str();
                }
            }
            Value::Object(map) => self.object(place, keys, map),
            _ => {}
        }
    }

    fn object(&mut self, place: Place, keys: Option<KeyContext>, map: &'a Map<String, Value>) {
        // A permission is an object with a host. Its paths are on that remote host.
        let is_of_bundle = self.key(0) == Some("plugins") && self.key(2) == Some("permissions");
        let is_of_package = self.key(0) == Some("permissions");
        let permission = (is_of_bundle || is_of_package) && map.contains_key("scheme") && map.contains_key("host");
        let parent = match self.path.last() {
            Some(Step::Key(key, _)) => Some(*key),
            _ => None,
        };
        // `{ name = "API_KEY", value = "…" }`
        let named = NAMING_KEYS.iter().find_map(|name| {
            let (_, value) = map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
            value.as_str()
        });
        let keys = keys.or_else(|| self.is_free().then(KeyContext::default));
        for (key, value) in map {
            let below = keys.map(|keys| match named.filter(|_| key.eq_ignore_ascii_case("value")) {
                Some(name) => keys.with_key(None, name),
                None => keys.with_key(parent, key),
            });
            self.path.push(Step::Key(key, keys));
            self.text(Place::ObjectKey, keys, Text::Key, key);
            // An accepted finding names a pointer, which looks like a path. Another check requires it to be a field.
            // Its reason is a text like any other.
            let pointer = self.key(0) == Some("accepted") && self.path.len() == 3 && key == "field";
            self.value(if permission || pointer { Place::UrlTarget } else { place }, below, value);
            self.path.pop();
        }
    }

    /// `true` if the author chooses the keys of the object at the path: settings, parameters, labels.
    fn is_free(&self) -> bool {
        match (self.key(0), self.key(2), self.key(4)) {
            (Some("profiles"), Some("layers"), Some("settings")) => self.path.len() == 5,
            (Some("models"), Some("parameters"), _) => self.path.len() == 3,
            (Some("workspace"), _, _) => self.path.len() == 2 && self.key(1) == Some("labels"),
            _ => false,
        }
    }

    fn key(&self, at: usize) -> Option<&str> {
        match self.path.get(at)? {
            Step::Key(key, _) => Some(key),
            Step::Index(_) => None,
        }
    }

    /// `true` if the field holds an authority: a wish, a drop or the ceiling.
    fn holds_authority(&self) -> bool {
        match (self.key(0), self.key(1), self.key(2)) {
            (Some("policy"), Some("authorities"), _) => true,
            (Some("profiles"), _, Some("layers")) => matches!(self.key(4), Some("wishes" | "drops")),
            _ => false,
        }
    }
}

/// Returns the range of a span of one of the strings in a JSON text. If the string has escapes, returns the whole
/// string.
fn within(text: &str, string: Range<usize>, span: Range<usize>) -> Range<usize> {
    let inside = string.start + 1..string.end.saturating_sub(1);
    match text.get(inside.clone()) {
        Some(plain) if !plain.contains('\\') => inside.start + span.start..(inside.start + span.end).min(inside.end),
        _ => inside,
    }
}

/// Returns the pointer without keys that contain a leak or are too long.
fn shown(pointer: &Pointer) -> Pointer {
    let keys = pointer.as_str().split('/').skip(1);
    keys.fold(Pointer::root(), |shown, key| {
        let key = key.replace("~1", "/").replace("~0", "~");
        shown.key(shown_key(&key, None))
    })
}

/// Returns the key in a form that a pointer may show. `keys` are those above it, which may denote that the key itself
/// is a secret.
fn shown_key(key: &str, keys: Option<KeyContext>) -> &str {
    const MOST: usize = 128;
    let is_plain = key.len() <= MOST && !key.chars().any(char::is_control);
    let is_secret = || keys.is_some_and(|keys| keys.find_secret(key).is_some());
    if is_plain && !is_secret() && leak_scan::scan(Place::ObjectKey, key).is_empty() { key } else { "(withheld)" }
}
