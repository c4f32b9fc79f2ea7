//! Which texts of a bundle are scanned for leaks, and what of that an author accepted.
//!
//! The one list of places: the builder and every Runtime scan exactly these. Names, digests and
//! numbers have closed grammars, yet they are scanned too where a value could be spelled in them.

use std::fmt;

use serde_json::{Map, Value};

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

/// Scans every text of a manifest.
pub fn scan_manifest(manifest: &Manifest) -> Vec<Finding> {
    let mut scanner = Scanner { accepted: &manifest.accepted, found: Vec::new() };
    // The manifest's own JSON is the list of its texts: a field added later cannot be forgotten.
    if let Ok(value) = serde_json::to_value(manifest) {
        scanner.value(&Pointer::root(), Place::Text, &value);
    }
    scanner.found
}

/// Scans the text of one blob, which the manifest names at `pointer`.
pub fn scan_blob(manifest: &Manifest, pointer: &Pointer, bytes: &[u8]) -> Vec<Finding> {
    let mut scanner = Scanner { accepted: &manifest.accepted, found: Vec::new() };
    let place = if pointer.as_str().starts_with("/tools/") { Place::Text } else { Place::Prompt };
    scanner.text(pointer, place, Text::Blob, &String::from_utf8_lossy(bytes));
    scanner.found
}

struct Scanner<'a> {
    accepted: &'a [Acceptance],
    found: Vec<Finding>,
}

impl Scanner<'_> {
    fn text(&mut self, pointer: &Pointer, place: Place, which: Text, text: &str) {
        for leak in leaks::scan(place, text) {
            let shown = shown(pointer);
            let there = |field: &str| field == shown.as_str() || field == pointer.as_str();
            let by_name = |accepted: &Acceptance| accepted.rule == leak.rule.id() && there(&accepted.field);
            let accepted = self.accepted.iter().any(by_name);
            self.found.push(Finding { pointer: shown, leak, accepted, exact: pointer.clone(), text: which });
        }
    }

    fn value(&mut self, pointer: &Pointer, place: Place, value: &Value) {
        match value {
            Value::String(text) => match text.strip_prefix("egress:").filter(|_| holds_authority(pointer)) {
                Some(url) => self.text(pointer, Place::UrlTarget, Text::Value, url),
                None => self.text(pointer, place, Text::Value, text),
            },
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    self.value(&pointer.index(index), place, value);
                }
            }
            Value::Object(map) => self.object(pointer, place, map),
            _ => {}
        }
    }

    fn object(&mut self, pointer: &Pointer, place: Place, map: &Map<String, Value>) {
        // A permission is an object with a host; its paths lie on that remote host.
        let plugin = pointer.as_str().starts_with("/plugins/") && pointer.as_str().contains("/permissions/");
        let permission = plugin && map.contains_key("scheme") && map.contains_key("host");
        for (key, value) in map {
            let at = pointer.key(key);
            self.text(&at, Place::ObjectKey, Text::Key, key);
            self.value(&at, if permission { Place::UrlTarget } else { self.place_of(&at, place) }, value);
        }
    }

    fn place_of(&self, pointer: &Pointer, place: Place) -> Place {
        // An accepted finding names pointers, which look like paths and are checked to be rules and
        // fields elsewhere; its reason is a text like any other.
        if pointer.as_str().starts_with("/accepted/") && pointer.ends_with("field") { Place::UrlTarget } else { place }
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

/// Whether the field holds an authority: a wish, something dropped, the ceiling.
fn holds_authority(pointer: &Pointer) -> bool {
    let mut parts = pointer.as_str().split('/').skip(1);
    match (parts.next(), parts.nth(1), parts.nth(1)) {
        (Some("policy"), ..) => pointer.as_str().starts_with("/policy/authorities/"),
        (Some("profiles"), Some("layers"), Some(field)) => matches!(field, "wishes" | "drops"),
        _ => false,
    }
}
