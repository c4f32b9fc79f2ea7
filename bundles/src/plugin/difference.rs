//! Comparison of a bundle with a package that it names.
//!
//! A reviewer reads the bundle, so everything in the descriptor must be what the package states. The comparison covers
//! the serialized descriptor, so a field that is added later cannot be forgotten.

use error_code::Code;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use super::manifest::{PluginManifest, normal};
use crate::bundle::Bundle;
use crate::canonical::parse_unique;
use crate::manifest::{BlobRef, Plugin};
use crate::names::PluginName;
use crate::one_line::one_line;
use crate::pointer::Pointer;
use crate::tool_source::ToolSource;

/// A difference between a bundle and a package that it names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Place in the bundle's manifest. Inside a tool's `input` or `output`, the place in its schema follows.
    pub pointer: Pointer,
    /// Value in the package, or `None` if the package has none.
    pub expected: Option<Value>,
    /// Value in the bundle, or `None` if the bundle has none.
    pub found: Option<Value>,
}

impl Difference {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        Code::DescriptorMismatch
    }

    /// Returns the recommended action.
    pub fn help(&self) -> &'static str {
        "write the value of the package, or name the package by its file and leave the field out"
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` differs from the package: ", self.pointer)?;
        match (&self.expected, &self.found) {
            (Some(expected), Some(found)) => write!(f, "expected {}, found {}", short(expected), short(found)),
            (Some(expected), None) => write!(f, "{} is missing", short(expected)),
            (None, Some(found)) => write!(f, "unexpected {}", short(found)),
            (None, None) => Ok(()),
        }
    }
}

/// Returns a value as JSON on one line with at most 80 characters.
fn short(value: &Value) -> String {
    const MOST: usize = 80;
    let text = one_line(&value.to_string());
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("`{}…`", text.get(..end).unwrap_or_default()),
        None => format!("`{text}`"),
    }
}

/// Returns every difference between the bundle's entry for the plugin `name` and the manifest of `package`. Compares
/// the descriptor and, for each tool of the bundle that comes from the plugin, the effect and the content of the
/// schemas. The descriptions of these tools are the bundle's own.
pub fn differences(bundle: &Bundle, name: &PluginName, manifest: &PluginManifest, package: BlobRef) -> Vec<Difference> {
    let at = Pointer::root().key("plugins").key(name);
    let mut found = Comparison::default();
    let Some(plugin) = bundle.manifest().plugins.get(name) else {
        found.report(at, json(&manifest.descriptor(package)).into(), None);
        return found.0;
    };
    if name != &manifest.name {
        found.report(at.clone(), Some(json!(manifest.name)), Some(json!(name)));
    }
    found.descriptor(&at, &manifest.descriptor(package), plugin);
    let source = ToolSource::Plugin(name.clone());
    for (tool_name, tool) in bundle.manifest().tools.iter().filter(|(_, tool)| tool.source == source) {
        let at = Pointer::root().key("tools").key(tool_name);
        let Some(offered) = manifest.tools.get(tool_name) else {
            found.report(at.key("source"), None, Some(json!(source)));
            continue;
        };
        found.value(&at.key("effect"), &json(&offered.effect), &json(&tool.effect));
        for (key, expected, blob) in [("input", &offered.input, tool.input), ("output", &offered.output, tool.output)] {
            let bytes = blob.and_then(|blob| bundle.blob(&blob.digest));
            let schema = bytes.and_then(|bytes| normal(&parse_unique(bytes).ok()?).ok());
            match schema {
                Some(schema) => found.value(&at.key(key), expected, &schema),
                None => found.report(at.key(key), Some(expected.clone()), None),
            }
        }
    }
    found.0
}

/// Serializes a value whose types all have a JSON form.
fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

#[derive(Default)]
struct Comparison(Vec<Difference>);

impl Comparison {
    fn report(&mut self, pointer: Pointer, expected: Option<Value>, found: Option<Value>) {
        self.0.push(Difference { pointer, expected, found });
    }

    /// Compares descriptors. The order of their lists has no meaning.
    fn descriptor(&mut self, at: &Pointer, expected: &Plugin, found: &Plugin) {
        let fields = |plugin: &Plugin| match json(plugin) {
            Value::Object(mut fields) => {
                // Lists of permissions are compared like the other lists.
                if let Some(Value::Object(lists)) = fields.remove("permissions") {
                    fields.extend(lists.into_iter().map(|(kind, list)| (format!("permissions/{kind}"), list)));
                }
                fields
            }
            _ => serde_json::Map::new(),
        };
        let (expected, found) = (fields(expected), fields(found));
        let keys: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
        for key in keys {
            let at = at.join(&format!("/{key}"));
            match (expected.get(key), found.get(key)) {
                (Some(Value::Array(expected)), Some(Value::Array(found))) => self.set(&at, expected, found),
                (Some(expected), Some(found)) => self.value(&at, expected, found),
                (expected, found) => self.report(at, expected.cloned(), found.cloned()),
            }
        }
    }

    /// Compares lists without order. Entries are matched by the member `what`, or as a whole.
    fn set(&mut self, at: &Pointer, expected: &[Value], found: &[Value]) {
        let key = |entry: &Value| entry.get("what").unwrap_or(entry).to_string();
        let mut left: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for entry in expected.iter().rev() {
            left.entry(key(entry)).or_default().push(entry);
        }
        for (index, entry) in found.iter().enumerate() {
            match left.get_mut(&key(entry)).and_then(Vec::pop) {
                Some(expected) => self.value(&at.index(index), expected, entry),
                None => self.report(at.index(index), None, Some(entry.clone())),
            }
        }
        for missing in left.into_values().flatten() {
            self.report(at.clone(), Some(missing.clone()), None);
        }
    }

    /// Compares values, member by member. The order of lists counts.
    fn value(&mut self, at: &Pointer, expected: &Value, found: &Value) {
        match (expected, found) {
            _ if expected == found => {}
            (Value::Object(expected), Value::Object(found)) => {
                let keys: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
                for key in keys {
                    match (expected.get(key), found.get(key)) {
                        (Some(expected), Some(found)) => self.value(&at.key(key), expected, found),
                        (expected, found) => self.report(at.key(key), expected.cloned(), found.cloned()),
                    }
                }
            }
            _ => self.report(at.clone(), Some(expected.clone()), Some(found.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Map;

    use super::*;
    use crate::canonical::to_canonical;
    use crate::limits::BundleLimits;
    use crate::manifest::Effect;
    use crate::plugin::tests::{SAMPLE, parse};
    use crate::{Acceptances, Blob, Digest};

    fn package() -> BlobRef {
        BlobRef { digest: Digest::of("package"), size: 7 }
    }

    /// Returns the manifest of a bundle that uses all tools of a plugin, and its blobs.
    fn bundle_of(plugin: &PluginManifest) -> (Value, Vec<Blob>) {
        let mut tools = Map::new();
        let mut blobs = Vec::new();
        for (name, tool) in plugin.tools() {
            // The spelling of a schema does not matter.
            let mut blob = |schema: &Value| {
                let blob = Blob::new(serde_json::to_string_pretty(schema).expect("JSON").into_bytes());
                let reference = json!({ "digest": blob.digest(), "size": blob.bytes().len() });
                blobs.push(blob);
                reference
            };
            let (input, output) = (blob(tool.input()), blob(tool.output()));
            let source = format!("plugin:{}", plugin.name());
            let tool = json!({ "source": source, "effect": tool.effect(), "input": input, "output": output });
            tools.insert(name.as_str().to_owned(), tool);
        }
        let mut manifest = json!({
            "schema": "yoi.config-bundle/1", "workspace": { "id": "acme" }, "revision": "1", "language": "en",
            "created_at": "2026-06-25T15:49:30Z",
            "plugins": { plugin.name().as_str(): plugin.descriptor(package()) },
        });
        if !tools.is_empty() {
            manifest["tools"] = tools.into();
        }
        (manifest, blobs)
    }

    fn open(manifest: &Value, blobs: Vec<Blob>) -> Option<Bundle> {
        let bytes = to_canonical(manifest).expect("JSON");
        Bundle::open(bytes.into(), blobs, &BundleLimits::default(), Acceptances::Honour).ok()
    }

    fn pointers(found: &[Difference]) -> Vec<&str> {
        found.iter().map(|difference| difference.pointer.as_str()).collect()
    }

    fn leaves(at: &Pointer, value: &Value, found: &mut Vec<Pointer>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| leaves(&at.key(key), value, found)),
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(index, value)| leaves(&at.index(index), value, found))
            }
            _ => found.push(at.clone()),
        }
    }

    #[test]
    fn derived_descriptor_has_no_difference_and_any_changed_field_is_reported_at_its_place() {
        let plugin = parse(SAMPLE).expect("the sample");
        let (manifest, blobs) = bundle_of(&plugin);
        let bundle = open(&manifest, blobs.clone()).expect("a bundle");
        assert_eq!(differences(&bundle, plugin.name(), &plugin, package()), []);

        let at = Pointer::root().key("plugins").key(plugin.name());
        let mut places = Vec::new();
        leaves(&at, manifest.pointer(at.as_str()).expect("a descriptor"), &mut places);
        let others = [
            json!("other"),
            json!("none"),
            json!("read"),
            json!("tools"),
            json!("GET"),
            json!("https"),
            json!("/other"),
            json!("1.9.9"),
            json!("yoi:runtime/tool@1.0.1"),
            json!("x-other"),
            json!(12),
            json!(Digest::of("other")),
            json!("other.example.com"),
            json!(false),
        ];
        let mut reported = 0;
        for place in places {
            let mut seen = false;
            for other in &others {
                let mut changed = manifest.clone();
                let value = changed.pointer_mut(place.as_str()).expect("a place");
                if value == other {
                    continue;
                }
                *value = other.clone();
                // Another effect must stand in the tool too.
                let Some(bundle) = open(&changed, blobs.clone()) else { continue };
                let found = differences(&bundle, plugin.name(), &plugin, package());
                let field = |pointer: &str| pointer.split('/').take(4).collect::<Vec<_>>().join("/");
                let is_reported = found.iter().any(|one| field(one.pointer.as_str()) == field(place.as_str()));
                assert!(is_reported, "{place} {other}: {found:?}");
                seen = true;
            }
            reported += usize::from(seen);
        }
        assert!(reported > 15, "{reported}");
    }

    /// Removes the value at a place, or returns `None` if it is the root.
    fn without(manifest: &Value, place: &Pointer) -> Option<Value> {
        let mut changed = manifest.clone();
        let parent = place.parent()?;
        let key = place.as_str().rsplit('/').next()?.replace("~1", "/").replace("~0", "~");
        match changed.pointer_mut(parent.as_str())? {
            Value::Object(members) => drop(members.remove(&key)),
            Value::Array(items) => drop(items.remove(key.parse().ok()?)),
            _ => return None,
        }
        Some(changed)
    }

    #[test]
    fn every_removed_part_is_reported() {
        let plugin = parse(SAMPLE).expect("the sample");
        let (manifest, blobs) = bundle_of(&plugin);
        let at = Pointer::root().key("plugins").key(plugin.name());
        let mut places = Vec::new();
        leaves(&at, manifest.pointer(at.as_str()).expect("a descriptor"), &mut places);
        let mut reported = 0;
        for mut place in places {
            while place != at {
                let changed = without(&manifest, &place).expect("a place");
                if let Some(bundle) = open(&changed, blobs.clone()) {
                    let found = differences(&bundle, plugin.name(), &plugin, package());
                    // The removed part, what it was in, or the parts that were in it.
                    let is_at = |one: &Difference| {
                        let (one, place) = (one.pointer.as_str(), place.as_str());
                        place.starts_with(one) || one.starts_with(place)
                    };
                    assert!(found.iter().any(is_at), "{place}: {found:?}");
                    reported += 1;
                }
                place = place.parent().expect("a place below the descriptor");
            }
        }
        assert!(reported > 15, "{reported}");
    }

    #[test]
    fn difference_names_the_place_and_both_values() {
        let plugin = parse(SAMPLE).expect("the sample");
        let (mut manifest, mut blobs) = bundle_of(&plugin);
        let descriptor = manifest.pointer_mut("/plugins/issue-tracker").expect("a descriptor");
        descriptor["version"] = json!("1.3.0");
        descriptor["permissions"]["secrets"][0]["placement"]["header"] = json!("x-api-key");
        descriptor["permissions"]["requests"].as_array_mut().expect("a list").remove(0);
        descriptor.as_object_mut().expect("an object").remove("ingress");
        let tool = manifest.pointer_mut("/tools/issues.search").expect("a tool");
        tool.as_object_mut().expect("an object").remove("output");
        let blob =
            Blob::new(br#"{"type":"object","required":["words"],"properties":{"words":{"type":"number"}}}"#.to_vec());
        tool["input"] = json!({ "digest": blob.digest(), "size": blob.bytes().len() });
        blobs.push(blob);
        let used = manifest.to_string();
        blobs.retain(|blob| used.contains(&blob.digest().to_string()));
        let bundle = open(&manifest, blobs).expect("a bundle");
        let found = differences(&bundle, plugin.name(), &plugin, package());
        insta::assert_snapshot!(found.iter().map(|one| format!("{one}\n")).collect::<String>());
    }

    #[test]
    fn plugin_of_another_name_or_without_entry_differs() {
        let plugin = parse(SAMPLE).expect("the sample");
        let (manifest, blobs) = bundle_of(&plugin);
        let renamed: Value =
            serde_json::from_str(&manifest.to_string().replace("issue-tracker\"", "tickets\"")).expect("JSON");
        let bundle = open(&renamed, blobs.clone()).expect("a bundle");
        let name = "tickets".parse().expect("a name");
        assert_eq!(pointers(&differences(&bundle, &name, &plugin, package())), ["/plugins/tickets"]);
        let bundle = open(&manifest, blobs).expect("a bundle");
        assert_eq!(pointers(&differences(&bundle, &name, &plugin, package())), ["/plugins/tickets"]);
        let mut more = plugin.clone();
        more.tools.remove("issues.create");
        let found = differences(&bundle, plugin.name(), &more, package());
        assert_eq!(pointers(&found), ["/plugins/issue-tracker/tools/issues.create", "/tools/issues.create/source"]);
    }

    proptest! {
        #[test]
        fn descriptor_equals_its_manifest_and_order_does_not_matter(
            effects in proptest::collection::btree_map("[a-z]{1,8}", 0..3usize, 0..6),
            hosts in proptest::collection::btree_set("[a-z]{1,8}", 0..6),
            ingress in proptest::collection::btree_set("[a-z]{1,8}", 0..4),
            is_reversed: bool,
        ) {
            let mut plugin = parse(SAMPLE).expect("the sample");
            let tool = plugin.tools.values().next().expect("a tool").clone();
            let effect = |index: usize| [Effect::None, Effect::Read, Effect::External][index];
            plugin.tools = effects
                .iter()
                .map(|(name, index)| {
                    let mut tool = tool.clone();
                    tool.effect = effect(*index);
                    (name.parse().expect("a name"), tool)
                })
                .collect();
            let mut target = plugin.permissions.requests[0].clone();
            plugin.permissions.requests = hosts
                .iter()
                .map(|host| {
                    let mut value = json(&target.what);
                    value["host"] = json!(format!("{host}.example.com"));
                    target.what = serde_json::from_value(value).expect("a target");
                    target.clone()
                })
                .collect();
            plugin.ingress = ingress.iter().map(|name| (name.parse().expect("a name"), String::new())).collect();
            let (mut manifest, mut blobs) = bundle_of(&plugin);
            let requests = manifest.pointer_mut("/plugins/issue-tracker/permissions/requests");
            if let Some(Value::Array(requests)) = requests.filter(|_| is_reversed) {
                requests.reverse();
            }
            blobs.dedup_by_key(|blob| blob.digest());
            let bundle = open(&manifest, blobs).expect("a bundle");
            prop_assert_eq!(differences(&bundle, plugin.name(), &plugin, package()), []);
        }
    }
}
