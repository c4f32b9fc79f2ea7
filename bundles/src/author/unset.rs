//! Checks of `unset` entries: a merge patch (RFC 7396) that addresses a key inside a list or a scalar replaces that
//! value by an object. All lineages that apply a layer are checked, so that the author learns of it before a resolver
//! does it.

use std::collections::BTreeMap;

use error_code::Code;
use serde_json::{Map, Value};

use super::Place;
use crate::condition::Condition;
use crate::limits::BundleLimits;
use crate::lineage::lineage;
use crate::manifest::{Layer, Manifest};
use crate::names::{ProfileName, shown};
use crate::pointer::Pointer;

/// An entry of an `unset` list.
pub(crate) struct Unset {
    /// Pointer to the layer in the manifest.
    pub(crate) layer: Pointer,
    /// Keys of the pointer, at least one.
    pub(crate) keys: Vec<String>,
    /// Number of leading keys that are objects set by the same layer.
    pub(crate) own: usize,
    pub(crate) place: Place,
}

/// Problem with one entry.
pub(crate) struct UnsetCheck<'u> {
    pub(crate) place: &'u Place,
    /// `true` if no lineage has an object at this place.
    pub(crate) is_certain: bool,
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) help: String,
}

/// Kinds of values that a place may hold when a layer is applied.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Kinds {
    absent: bool,
    object: bool,
    list: bool,
    scalar: bool,
}

impl Kinds {
    const ABSENT: Self = Self { absent: true, object: false, list: false, scalar: false };
    const OBJECT: Self = Self { absent: false, object: true, list: false, scalar: false };

    fn or(self, other: Self) -> Self {
        Self {
            absent: self.absent || other.absent,
            object: self.object || other.object,
            list: self.list || other.list,
            scalar: self.scalar || other.scalar,
        }
    }

    fn noun(self) -> &'static str {
        match (self.list, self.scalar) {
            (true, true) => "a list or a scalar",
            (true, false) => "a list",
            _ => "a scalar",
        }
    }
}

/// Maximum number of steps over layers and keys. A folder at every limit would take longer than a person waits.
const MAX_STEPS: usize = 1 << 21;

/// Checks every entry against all lineages that apply its layer.
pub(crate) fn check<'u>(manifest: &Manifest, unsets: &'u [Unset], limits: &BundleLimits) -> Vec<UnsetCheck<'u>> {
    if unsets.is_empty() {
        return Vec::new();
    }
    let mut of_layer: BTreeMap<&Pointer, Vec<usize>> = BTreeMap::new();
    for (index, unset) in unsets.iter().enumerate() {
        of_layer.entry(&unset.layer).or_default().push(index);
    }
    // For each entry and each of its keys, the kinds of values in all lineages.
    let mut found: Vec<Vec<Kinds>> = unsets.iter().map(|unset| vec![Kinds::default(); unset.keys.len()]).collect();
    let mut steps = 0;
    for profile in manifest.profiles.keys() {
        // The missing lineage has a diagnostic of its own.
        let Ok(lineage) = lineage(&manifest.profiles, profile, limits.lineage) else { continue };
        let layers = applied(manifest, &lineage);
        for (at, (pointer, layer)) in layers.iter().enumerate() {
            for index in of_layer.get(pointer).into_iter().flatten() {
                let (Some(unset), Some(found)) = (unsets.get(*index), found.get_mut(*index)) else { continue };
                for (depth, kinds) in found.iter_mut().enumerate() {
                    steps += at + 1;
                    if steps > MAX_STEPS {
                        return Vec::new();
                    }
                    let keys = unset.keys.get(..=depth).unwrap_or_default();
                    *kinds = kinds.or(before(layers.get(..at).unwrap_or_default(), layer, keys));
                }
            }
        }
    }
    unsets.iter().zip(found).filter_map(|(unset, found)| judge(unset, &found)).collect()
}

/// Returns the layers of a lineage with their places, in order of application.
fn applied<'m>(manifest: &'m Manifest, lineage: &[&ProfileName]) -> Vec<(Pointer, &'m Layer)> {
    let mut layers = Vec::new();
    for name in lineage.iter().rev() {
        let at = Pointer::root().key("profiles").key(name).key("layers");
        let own = manifest.profiles.get(*name).map(|profile| profile.layers.as_slice()).unwrap_or_default();
        layers.extend(own.iter().enumerate().map(|(index, layer)| (at.index(index), layer)));
    }
    layers
}

/// Returns the kinds of values that `keys` may hold when `layer` is applied after `earlier`.
fn before(earlier: &[(Pointer, &Layer)], layer: &Layer, keys: &[String]) -> Kinds {
    let mut kinds = Kinds::ABSENT;
    for (_, one) in earlier {
        if one.when.iter().any(|condition| layer.when.iter().any(|other| excludes(condition, other))) {
            continue;
        }
        let after = patched(&one.settings, keys, kinds);
        let is_certain = one.when.iter().all(|condition| layer.when.contains(condition));
        kinds = if is_certain { after } else { kinds.or(after) };
    }
    kinds
}

/// `true` if the two conditions never hold on the same host.
fn excludes(one: &Condition, other: &Condition) -> bool {
    match (one, other) {
        (Condition::Has(one), Condition::Lacks(other)) | (Condition::Lacks(one), Condition::Has(other)) => one == other,
        (Condition::Os(one), Condition::Os(other)) | (Condition::Arch(one), Condition::Arch(other)) => one != other,
        _ => false,
    }
}

/// Returns the kinds of values that `keys` may hold after a patch, if they were `kinds` before.
fn patched(patch: &Map<String, Value>, keys: &[String], kinds: Kinds) -> Kinds {
    let Some((first, rest)) = keys.split_first() else { return kinds };
    match patch.get(first) {
        None => kinds,
        Some(Value::Null) => Kinds::ABSENT,
        Some(Value::Object(_)) if rest.is_empty() => Kinds::OBJECT,
        Some(Value::Object(inside)) => patched(inside, rest, kinds),
        Some(_) if !rest.is_empty() => Kinds::ABSENT,
        Some(Value::Array(_)) => Kinds { list: true, ..Kinds::default() },
        Some(_) => Kinds { scalar: true, ..Kinds::default() },
    }
}

fn judge<'u>(unset: &'u Unset, found: &[Kinds]) -> Option<UnsetCheck<'u>> {
    let last = unset.keys.len().saturating_sub(1);
    let pointer_to = |depth: usize| {
        // Each key separately, because the whole pointer would look like a host path.
        let keys = unset.keys.iter().take(depth + 1).map(|key| shown(key));
        keys.fold(Pointer::root(), |pointer, key| pointer.key(key)).to_string()
    };
    let report = |is_certain, code, message, help: String| {
        Some(UnsetCheck { place: &unset.place, is_certain, code, message, help })
    };
    for (depth, kinds) in found.iter().enumerate().take(last).skip(unset.own) {
        if kinds.list || kinds.scalar {
            let is_certain = !kinds.absent && !kinds.object;
            let (parent, verb) = (pointer_to(depth), if is_certain { "holds" } else { "may hold" });
            let message = format!("`{parent}` {verb} {}, which this `unset` would replace by an object", kinds.noun());
            let help = format!("unset `{parent}` as a whole, or set it to the value that is meant");
            return report(is_certain, Code::UnsetIntoValue, message, help);
        }
    }
    // A layer that no lineage applies has a diagnostic of its own.
    let is_reached = *found.last()? != Kinds::default();
    if is_reached && found.iter().skip(unset.own).any(|kinds| *kinds == Kinds::ABSENT) {
        let message = format!("no earlier layer sets `{}`, so there is nothing to unset", pointer_to(last));
        return report(false, Code::UnsetNothing, message, "check the pointer, or remove it".to_owned());
    }
    None
}
