//! The laws of resolution, stated independently of any resolver.
//!
//! Each law computes one field of the expected resolution from the verified bundle and compares it. The host's own C3 gives
//! the order of the layers.

use std::collections::{BTreeMap, BTreeSet};

use bundles::manifest::{Amend, Layer};
use bundles::{Authority, BundleLimits, Need, ProfileName, lineage};
use host_policy::Resolution;
use serde_json::{Map, Value, json};

use super::property::Violation;
use super::scenario::Scenario;

/// The selected profile with its ancestors, and the layers that count, in their order of application.
pub(super) struct Applied<'a> {
    lineage: Vec<&'a ProfileName>,
    layers: Vec<&'a Layer>,
}

impl<'a> Applied<'a> {
    /// Returns `None` if the selected profile does not exist.
    pub(super) fn of(scenario: &'a Scenario) -> Option<Self> {
        let profiles = &scenario.view().bundle().manifest().profiles;
        let lineage = lineage(profiles, scenario.request().profile(), BundleLimits::default().lineage).ok()?;
        let layers = lineage.iter().rev().filter_map(|name| profiles.get(*name)).flat_map(|profile| &profile.layers);
        let layers = layers.filter(|layer| layer.when.iter().all(|condition| scenario.facts().holds(condition)));
        Some(Self { layers: layers.collect(), lineage })
    }

    /// Returns the expected failure, in the form of the case corpus.
    pub(super) fn failure(&self, scenario: &Scenario) -> Option<Value> {
        let failed = |code: &str, detail: Value| Some(json!({ "failed": { "code": code, "detail": detail } }));
        let required = scenario.request().required_capabilities().iter();
        let lacking: Vec<_> = required.filter(|name| !scenario.facts().capabilities.contains(*name)).collect();
        if !lacking.is_empty() {
            return failed("unmet_capability", json!(lacking));
        }
        let models = self.list(|layer| layer.models.as_ref());
        if !models.is_empty() && self.model(scenario).is_none() {
            return failed("no_model", json!(models));
        }
        None
    }

    pub(super) fn check_lineage(&self, found: &Resolution) -> Result<(), Violation> {
        Violation::unless_equal(json!(self.lineage), json!(found.lineage()))
    }

    pub(super) fn check_model(&self, scenario: &Scenario, found: &Resolution) -> Result<(), Violation> {
        Violation::unless_equal(json!(self.model(scenario)), json!(found.model()))
    }

    /// Checks the lists to which the layers only append (`replaced` is `false`), or that a layer replaces.
    pub(super) fn check_lists(&self, replaced: bool, found: &Resolution) -> Result<(), Violation> {
        let prompts: Vec<&str> = found.instructions().iter().map(|prompt| prompt.name.as_str()).collect();
        self.check_list(replaced, |layer| layer.instructions.as_ref(), json!(prompts))?;
        self.check_list(replaced, |layer| layer.plugins.as_ref(), json!(found.plugins()))?;
        self.check_list(replaced, |layer| layer.workflows.as_ref(), json!(found.workflows()))
    }

    fn check_list<T: AsRef<str> + 'a>(
        &self,
        replaced: bool,
        list: impl Fn(&'a Layer) -> Option<&'a Amend<T>>,
        found: Value,
    ) -> Result<(), Violation> {
        let is_replaced = self.layers.iter().any(|layer| matches!(list(layer), Some(Amend::Replace(_))));
        if is_replaced == replaced { Violation::unless_equal(json!(self.list(list)), found) } else { Ok(()) }
    }

    pub(super) fn check_tools(&self, found: &Resolution) -> Result<(), Violation> {
        let denied: BTreeSet<&str> = self.list(|layer| layer.tools_deny.as_ref()).into_iter().collect();
        let mut allowed = self.list(|layer| layer.tools_allow.as_ref());
        allowed.retain(|name| !denied.contains(name));
        Violation::unless_equal(json!(allowed), json!(found.tools()))
    }

    pub(super) fn check_language(&self, scenario: &Scenario, found: &Resolution) -> Result<(), Violation> {
        let last = self.layers.iter().rev().find_map(|layer| layer.language.as_ref());
        let expected = last.unwrap_or(&scenario.view().bundle().manifest().language);
        Violation::unless_equal(json!(expected), json!(found.language()))
    }

    pub(super) fn check_wishes(&self, found: &Resolution) -> Result<(), Violation> {
        let mut wishes: BTreeMap<&Authority, Need> = BTreeMap::new();
        for layer in &self.layers {
            for dropped in &layer.drops {
                wishes.retain(|authority, _| !authority.is_same_resource(dropped));
            }
            for wish in &layer.wishes {
                // Required sorts before optional, and takes precedence.
                wishes.entry(&wish.authority).and_modify(|need| *need = wish.need.min(*need)).or_insert(wish.need);
            }
        }
        let expected: Vec<Value> =
            wishes.iter().map(|(authority, need)| json!({ "authority": authority, "need": need })).collect();
        Violation::unless_equal(json!(expected), json!(found.wishes()))
    }

    pub(super) fn check_settings(&self, found: &Resolution) -> Result<(), Violation> {
        let mut expected = Map::new();
        for layer in &self.layers {
            merge(&mut expected, &layer.settings);
        }
        Violation::unless_equal(expected.into(), json!(found.settings()))
    }

    fn model(&self, scenario: &Scenario) -> Option<&'a str> {
        let offered = |name: &&str| scenario.facts().models.contains(*name);
        self.list(|layer| layer.models.as_ref()).into_iter().find(offered)
    }

    /// Returns a list after all layers. Of several equal names the first stays.
    fn list<T: AsRef<str> + 'a>(&self, list: impl Fn(&'a Layer) -> Option<&'a Amend<T>>) -> Vec<&'a str> {
        let mut names: Vec<&str> = Vec::new();
        let mut seen = BTreeSet::new();
        for amend in self.layers.iter().filter_map(|layer| list(layer)) {
            if matches!(amend, Amend::Replace(_)) {
                names.clear();
                seen.clear();
            }
            names.extend(amend.names().iter().map(AsRef::as_ref).filter(|name| seen.insert(*name)));
        }
        names
    }
}

/// Applies a JSON merge patch as RFC 7396 states it.
fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.remove(key);
            }
            Value::Object(patch) => {
                let mut inner = match target.remove(key) {
                    Some(Value::Object(inner)) => inner,
                    _ => Map::new(),
                };
                merge(&mut inner, patch);
                target.insert(key.clone(), inner.into());
            }
            value => {
                target.insert(key.clone(), value.clone());
            }
        }
    }
}
