//! Which texts of a bundle are scanned for leaks, and what of that an author accepted.
//!
//! The one list of places: the builder and every Runtime scan exactly these. Names, digests and
//! numbers have closed grammars, yet they are scanned too where a value could be spelled in them.

use std::fmt;

use serde_json::{Map, Value};

use crate::blob::Blob;
use crate::leaks::{self, Leak, Place};
use crate::manifest::{Acceptance, Manifest};
use crate::pointer::Pointer;

/// A finding: which text, which rule, where in the text. Never the value.
#[derive(Clone)]
pub struct Finding {
    /// Where the text stands: a pointer into the manifest, also for the text of a blob. A key that
    /// holds a leak itself is withheld from it.
    pub pointer: Pointer,
    /// What was found, and where in the text.
    pub leak: Leak,
    /// Whether the manifest accepts it.
    pub accepted: bool,
    /// The pointer with nothing withheld. It may hold the value.
    pub(crate) exact: Pointer,
    pub(crate) text: Text,
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = f.debug_struct("Finding");
        said.field("pointer", &self.pointer).field("leak", &self.leak).field("accepted", &self.accepted).finish()
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
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Scanner<'a> {
    fn new(manifest: &'a Manifest, most: usize) -> Self {
        Self { accepted: &manifest.accepted, path: Vec::new(), found: Vec::new(), left: most }
    }

    fn manifest(self, manifest: &Manifest) -> Vec<Finding> {
        // The manifest's own JSON is the list of its texts: a field added later cannot be forgotten.
        let Ok(value) = serde_json::to_value(manifest) else { return Vec::new() };
        let mut scanner = Scanner { accepted: self.accepted, path: Vec::new(), found: Vec::new(), left: self.left };
        scanner.value(Place::Text, &value);
        scanner.found
    }

    fn blob(mut self, pointer: &Pointer, blob: &Blob) -> Vec<Finding> {
        if pointer.as_str().starts_with("/tools/") {
            let text = String::from_utf8_lossy(blob.as_ref());
            self.tell(&leaks::scan(Place::Text, &text), Text::Blob, pointer);
        } else {
            self.tell(blob.leaks(), Text::Blob, pointer);
        }
        self.found
    }

    fn tell(&mut self, leaks: &[Leak], text: Text, exact: &Pointer) {
        if leaks.is_empty() {
            return;
        }
        let shown = shown(exact);
        let there = |field: &str| field == shown.as_str() || field == exact.as_str();
        let here: Vec<&Acceptance> = self.accepted.iter().filter(|accepted| there(&accepted.field)).collect();
        for leak in leaks.iter().cloned() {
            let accepted = here.iter().any(|accepted| accepted.rule == leak.rule.id());
            self.left = if accepted { self.left } else { self.left.saturating_sub(1) };
            self.found.push(Finding { pointer: shown.clone(), leak, accepted, exact: exact.clone(), text });
        }
    }

    fn text(&mut self, place: Place, which: Text, text: &str) {
        let leaks = leaks::scan(place, text);
        if !leaks.is_empty() {
            let exact = self.path.iter().fold(Pointer::root(), |pointer, step| match step {
                Step::Key(key) => pointer.key(key),
                Step::Index(index) => pointer.index(*index),
            });
            self.tell(&leaks, which, &exact);
        }
    }

    fn value(&mut self, place: Place, value: &'a Value) {
        if self.left == 0 {
            return;
        }
        match value {
            Value::String(text) => match text.strip_prefix("egress:").filter(|_| self.holds_authority()) {
                Some(url) => self.text(Place::UrlTarget, Text::Value, url),
                None => self.text(place, Text::Value, text),
            },
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    self.path.push(Step::Index(index));
                    self.value(place, value);
                    self.path.pop();
                }
            }
            Value::Object(map) => self.object(place, map),
            _ => {}
        }
    }

    fn object(&mut self, place: Place, map: &'a Map<String, Value>) {
        // A permission is an object with a host; its paths lie on that remote host.
        let plugin = self.key(0) == Some("plugins") && self.key(2) == Some("permissions");
        let permission = plugin && map.contains_key("scheme") && map.contains_key("host");
        for (key, value) in map {
            self.path.push(Step::Key(key));
            self.text(Place::ObjectKey, Text::Key, key);
            // An accepted finding names pointers, which look like paths and are checked to be fields
            // elsewhere; its reason is a text like any other.
            let pointer = self.key(0) == Some("accepted") && self.path.len() == 3 && key == "field";
            self.value(if permission || pointer { Place::UrlTarget } else { place }, value);
            self.path.pop();
        }
    }

    fn key(&self, at: usize) -> Option<&str> {
        match self.path.get(at)? {
            Step::Key(key) => Some(key),
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

/// The pointer without the keys that hold a leak themselves, or that are too long to be read.
fn shown(pointer: &Pointer) -> Pointer {
    const MOST: usize = 128;
    let keys = pointer.as_str().split('/').skip(1);
    keys.fold(Pointer::root(), |shown, key| {
        let plain = key.len() <= MOST && !key.chars().any(char::is_control);
        let key = key.replace("~1", "/").replace("~0", "~");
        if plain && leaks::scan(Place::ObjectKey, &key).is_empty() { shown.key(key) } else { shown.key("(withheld)") }
    })
}
