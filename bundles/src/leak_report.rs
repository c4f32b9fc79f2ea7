//! Which texts of a bundle are scanned for leaks, and what of that an author accepted.
//!
//! The one list of places: the builder and every Runtime scan exactly these. Names, digests and
//! numbers have closed grammars, yet they are scanned too where a value could be spelled in them.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::blob::Blob;
use crate::definition;
use crate::json_place::{self, Part};
use crate::leaks::{self, Keys, Kind, Leak, Place};
use crate::manifest::{Acceptance, Manifest};
use crate::pointer::Pointer;

/// A finding: which text, which rule, where in the text. Never the value.
#[derive(Clone)]
pub struct Finding {
    /// Where the text stands: a pointer into the manifest, also for the text of a blob. A key that
    /// holds a leak itself is withheld from it.
    pub pointer: Pointer,
    /// Where in the document that is the text, if it is one: a pointer into the schema of a tool or the definition of a
    /// workflow. Keys are withheld from it in the same way.
    pub inside: Option<Pointer>,
    /// What was found, and where in the text.
    pub leak: Leak,
    /// Whether the manifest accepts it.
    pub accepted: bool,
    /// The pointer with nothing withheld. It may hold the value.
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
        write!(f, ": {} (rule `{}`)", rule.what(), rule.id())
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = f.debug_struct("Finding");
        said.field("pointer", &self.pointer)
            .field("inside", &self.inside)
            .field("leak", &self.leak)
            .field("accepted", &self.accepted)
            .finish()
    }
}

/// Which text of a place it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    /// The value there.
    Value,
    /// The key of the value there.
    Key,
    /// The blob that is named there.
    Blob,
}

/// Most findings that are reported of one manifest or blob. More would tell an author nothing new.
pub const MOST_FINDINGS: usize = 1000;

/// Most findings in one schema whose place is told exactly.
const MOST_LOCATED: usize = 64;

/// Scans every text of a manifest.
pub fn scan_manifest(manifest: &Manifest) -> Vec<Finding> {
    Scanner::new(manifest, MOST_FINDINGS).manifest(manifest)
}

/// Scans the text of one blob, which the manifest names at `pointer`.
pub fn scan_blob(manifest: &Manifest, pointer: &Pointer, blob: &Blob) -> Vec<Finding> {
    Scanner::new(manifest, MOST_FINDINGS).blob(pointer, blob)
}

/// As [`scan_manifest`], only until something is found that is not accepted.
pub(crate) fn scan_manifest_to_first(manifest: &Manifest) -> Vec<Finding> {
    Scanner::new(manifest, 1).manifest(manifest)
}

struct Scanner<'a> {
    accepted: &'a [Acceptance],
    /// Keys and indexes down to the text: a pointer is made where something is found, not before.
    path: Vec<Step<'a>>,
    found: Vec<Finding>,
    /// How many findings may be told still.
    left: usize,
    /// References of the schema, with the keys that judge what they lead to.
    references: Vec<(Keys, &'a str)>,
    /// `true` if the texts were scanned before, and are judged by their keys alone: those of a workflow's definition, and
    /// the target of a reference by the keys at the reference.
    is_only_by_keys: bool,
}

/// Keys of an object whose value names what stands under `value` beside it.
const NAMING_KEYS: [&str; 8] = ["name", "key", "id", "label", "env", "variable", "header", "field"];

enum Step<'a> {
    /// A key, and what the keys above it say where it may be a value of theirs: `tokens = { "…" = true }`.
    Key(&'a str, Option<Keys>),
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
        // The manifest's own JSON is the list of its texts: a field added later cannot be forgotten.
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
        self.tell(blob.leaks(), Text::Blob, &shown(pointer), pointer);
        if pointer.as_str().starts_with("/workflows/") {
            self.definition_of(pointer, blob);
        }
        self.found
    }

    fn tell(&mut self, leaks: &[Leak], text: Text, shown: &Pointer, exact: &Pointer) {
        if leaks.is_empty() {
            return;
        }
        let there = |field: &str| field == shown.as_str() || field == exact.as_str();
        let here: Vec<&Acceptance> = self.accepted.iter().filter(|accepted| there(&accepted.field)).collect();
        // The credential in an address of a host is what has to be revoked.
        let (secrets, paths): (Vec<&Leak>, Vec<&Leak>) =
            leaks.iter().partition(|leak| leak.rule.kind() == Kind::Secret);
        for leak in secrets.into_iter().chain(paths).cloned() {
            let accepted = here.iter().any(|accepted| accepted.rule == leak.rule.id());
            self.left = if accepted { self.left } else { self.left.saturating_sub(1) };
            let exact = exact.clone();
            self.found.push(Finding { pointer: shown.clone(), inside: None, leak, accepted, exact, text });
        }
    }

    fn text(&mut self, place: Place, keys: Option<Keys>, which: Text, text: &str) {
        let named = keys.and_then(|keys| keys.secret_in(text));
        if self.is_only_by_keys && named.is_none() {
            return;
        }
        let mut leaks = leaks::scan(place, text);
        // What has the shape of a secret is named by its shape.
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
                self.tell(&leaks, which, &shown, &exact);
            }
        }
    }

    /// Scans the schema of a tool, string by string. What is no JSON is refused elsewhere, and scanned as one text here.
    fn schema_of(&mut self, pointer: &Pointer, blob: &Blob) {
        let text = String::from_utf8_lossy(blob.as_ref());
        let Ok(value) = serde_json::from_str::<Value>(&text) else {
            return self.tell(&leaks::scan(Place::Text, &text), Text::Blob, &shown(pointer), pointer);
        };
        let mut inner = Scanner::of(&[], self.left);
        inner.schema(Keys::default(), &value);
        inner.referenced(&value);
        for (number, finding) in inner.found.into_iter().enumerate() {
            let part = if finding.text == Text::Key { Part::Key } else { Part::Value };
            // Each is a walk through the text.
            let string = (number < MOST_LOCATED).then(|| json_place::find(&text, &finding.exact, part)).flatten();
            let span = string.map_or(0..text.len(), |string| within(&text, string, finding.leak.span.clone()));
            self.tell_inside(finding, span, pointer);
        }
    }

    /// Judges the values of a workflow's definition by their keys, if it is data. The text is judged beside that.
    fn definition_of(&mut self, pointer: &Pointer, blob: &Blob) {
        let text = String::from_utf8_lossy(blob.as_ref());
        let Some(value) = definition::read(&text) else { return };
        let mut inner = Scanner::of(&[], self.left);
        inner.is_only_by_keys = true;
        inner.value(Place::Text, Some(Keys::default()), &value);
        for (number, finding) in inner.found.into_iter().enumerate() {
            // Strings with escapes are not found.
            let string = if finding.text == Text::Key {
                finding.exact.as_str().rsplit('/').next().map(|key| key.replace("~1", "/").replace("~0", "~"))
            } else {
                value.pointer(finding.exact.as_str()).and_then(Value::as_str).map(str::to_owned)
            };
            let string = string.filter(|string| number < MOST_LOCATED && !string.is_empty());
            let start = string.as_ref().and_then(|string| text.find(string.as_str()));
            let span = start.zip(string).map_or(0..text.len(), |(start, string)| start..start + string.len());
            let is_told = blob.leaks().iter().any(|leak| {
                leak.rule.kind() == Kind::Secret && leak.span.start < span.end && span.start < leak.span.end
            });
            if start.is_none() || !is_told {
                self.tell_inside(finding, span, pointer);
            }
        }
    }

    /// Tells a finding in a document, which `pointer` names, at `span` of its text.
    fn tell_inside(&mut self, finding: Finding, span: Range<usize>, pointer: &Pointer) {
        let leak = Leak { rule: finding.leak.rule, span };
        let before = self.found.len();
        self.tell(std::slice::from_ref(&leak), Text::Blob, &shown(pointer), pointer);
        for found in self.found.iter_mut().skip(before) {
            found.inside = Some(finding.pointer.clone());
        }
    }

    /// Scans a schema. `keys` is the name of the property that it is of, which judges its `default`, `const`, `enum` and
    /// `examples`; what else a schema says of a property is no value of it.
    fn schema(&mut self, keys: Keys, value: &'a Value) {
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
                    let own = Keys::default().below(None, key);
                    if let ("$ref", Value::String(reference)) = (key.as_str(), value)
                        && keys != Keys::default()
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
                        // No keyword is telling: this is a property that stands at the wrong place, or an annotation.
                        (_, Value::String(text)) => self.text(Place::Text, Some(own), Text::Value, text),
                        _ => self.schema(if own == Keys::default() { keys } else { own }, value),
                    }
                    self.path.pop();
                }
            }
            _ => {}
        }
    }

    /// Scans what references lead to, each target once for all references that say the same of it. What is judged
    /// without them was scanned before.
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

    /// Follows a reference within the document, and makes the way there the path.
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
            self.schema(Keys::default().below(None, name), schema);
            self.path.pop();
        }
    }

    /// Scans a value. `keys` are those above it in free data, whose keys an author chooses.
    fn value(&mut self, place: Place, keys: Option<Keys>, value: &'a Value) {
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
                    let keys = keys.map(|keys| before.map_or(keys, |text| keys.behind(text)));
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

    fn object(&mut self, place: Place, keys: Option<Keys>, map: &'a Map<String, Value>) {
        // A permission is an object with a host; its paths lie on that remote host.
        let plugin = self.key(0) == Some("plugins") && self.key(2) == Some("permissions");
        let permission = plugin && map.contains_key("scheme") && map.contains_key("host");
        let parent = match self.path.last() {
            Some(Step::Key(key, _)) => Some(*key),
            _ => None,
        };
        // `{ name = "API_KEY", value = "…" }`
        let named = NAMING_KEYS.iter().find_map(|name| {
            let (_, value) = map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
            value.as_str()
        });
        let keys = keys.or_else(|| self.is_free().then(Keys::default));
        for (key, value) in map {
            let below = keys.map(|keys| match named.filter(|_| key.eq_ignore_ascii_case("value")) {
                Some(name) => keys.below(None, name),
                None => keys.below(parent, key),
            });
            self.path.push(Step::Key(key, keys));
            self.text(Place::ObjectKey, keys, Text::Key, key);
            // An accepted finding names pointers, which look like paths and are checked to be fields
            // elsewhere; its reason is a text like any other.
            let pointer = self.key(0) == Some("accepted") && self.path.len() == 3 && key == "field";
            self.value(if permission || pointer { Place::UrlTarget } else { place }, below, value);
            self.path.pop();
        }
    }

    /// `true` if the object at the path is one whose keys the author chooses: settings, parameters, labels.
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

    /// Whether the field holds an authority: a wish, something dropped, the ceiling.
    fn holds_authority(&self) -> bool {
        match (self.key(0), self.key(1), self.key(2)) {
            (Some("policy"), Some("authorities"), _) => true,
            (Some("profiles"), _, Some("layers")) => matches!(self.key(4), Some("wishes" | "drops")),
            _ => false,
        }
    }
}

/// The bytes of a JSON text where a span of one of its strings stands; the whole string where that has escapes.
fn within(text: &str, string: Range<usize>, span: Range<usize>) -> Range<usize> {
    let inside = string.start + 1..string.end.saturating_sub(1);
    match text.get(inside.clone()) {
        Some(plain) if !plain.contains('\\') => inside.start + span.start..(inside.start + span.end).min(inside.end),
        _ => inside,
    }
}

/// The pointer without the keys that hold a leak themselves, or that are too long to be read.
fn shown(pointer: &Pointer) -> Pointer {
    let keys = pointer.as_str().split('/').skip(1);
    keys.fold(Pointer::root(), |shown, key| {
        let key = key.replace("~1", "/").replace("~0", "~");
        shown.key(shown_key(&key, None))
    })
}

/// The key as a pointer may show it. `keys` are those above it, which may promise that it is a secret.
fn shown_key(key: &str, keys: Option<Keys>) -> &str {
    const MOST: usize = 128;
    let is_plain = key.len() <= MOST && !key.chars().any(char::is_control);
    let is_secret = || keys.is_some_and(|keys| keys.secret_in(key).is_some());
    if is_plain && !is_secret() && leaks::scan(Place::ObjectKey, key).is_empty() { key } else { "(withheld)" }
}
