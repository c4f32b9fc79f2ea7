//! Differences between two manifests, and the recorded resolutions that they can affect.

use std::collections::{BTreeMap, BTreeSet};

use bundles::manifest::Manifest;
use bundles::{Digest, reachable};
use host_policy::Proposal;
use runtime_api::Code;

use crate::record::{Record, missing_name};

/// The values of two resolutions that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComparedValues {
    /// Resolutions with the declarations that they name.
    Resolutions,
    /// The same, after the policy of a host was enforced.
    Workers,
}

/// The parts of two manifests that differ, as far as resolutions and their enforcement use them.
///
/// A resolver is a function of facts, request and look-ups, and the read set has all look-ups. The host verifies the answer
/// with the profiles that the request reaches and with the declarations that the answer names. The resolver may not have
/// looked these up, so they count too.
#[derive(Debug)]
pub struct BundleDelta<'a> {
    before: &'a Manifest,
    /// Names that differ, that are new or that are gone, by kind.
    names: BTreeMap<&'static str, BTreeSet<&'a str>>,
    /// New names, in the form in which a read set has missing names.
    added: BTreeSet<Digest>,
    /// A profile is new or gone.
    profile_names: bool,
    language: bool,
    policy: bool,
    workspace: bool,
}

impl<'a> BundleDelta<'a> {
    /// Compares two manifests.
    pub fn new(before: &'a Manifest, after: &'a Manifest) -> Self {
        let mut delta = Self {
            before,
            names: BTreeMap::new(),
            added: BTreeSet::new(),
            profile_names: !before.profiles.keys().eq(after.profiles.keys()),
            language: before.language != after.language,
            policy: before.policy != after.policy,
            // The grants, and thereby the facts, of another workspace are other ones.
            workspace: before.workspace.id != after.workspace.id,
        };
        delta.add("profile", &before.profiles, &after.profiles);
        delta.add("prompt", &before.prompts, &after.prompts);
        delta.add("tool", &before.tools, &after.tools);
        delta.add("plugin", &before.plugins, &after.plugins);
        delta.add("workflow", &before.workflows, &after.workflows);
        delta.add("model", &before.models, &after.models);
        // The host compares the tools that a plugin offers with the tools that the bundle declares.
        for (name, plugin) in &before.plugins {
            if plugin.tools.keys().any(|tool| delta.has("tool", tool.as_str())) {
                delta.names.entry("plugin").or_default().insert(name.as_str());
            }
        }
        delta
    }

    fn add<K: Ord + AsRef<str>, V: PartialEq>(
        &mut self,
        kind: &'static str,
        before: &'a BTreeMap<K, V>,
        after: &'a BTreeMap<K, V>,
    ) {
        let changed = before.iter().filter(|(name, value)| after.get(*name) != Some(*value)).map(|(name, _)| name);
        let added = after.keys().filter(|name| !before.contains_key(*name));
        let names = self.names.entry(kind).or_default();
        names.extend(changed.map(|name| name.as_ref()));
        for name in added {
            names.insert(name.as_ref());
            self.added.insert(missing_name(kind, name.as_ref()));
        }
    }

    fn has(&self, kind: &str, name: &str) -> bool {
        self.names.get(kind).is_some_and(|names| names.contains(name))
    }

    /// `true` if no resolution can differ.
    pub fn is_empty(&self) -> bool {
        !self.language && !self.policy && !self.workspace && self.names.values().all(BTreeSet::is_empty)
    }

    /// `true` if the recorded resolution with the old bundle can differ with the new one. `false` is a proof, if the record
    /// is genuine: the result is the same.
    pub fn affects(&self, record: &Record, comparison: ComparedValues) -> bool {
        if self.is_empty() {
            return false;
        }
        if self.workspace || self.policy && comparison == ComparedValues::Workers {
            return true;
        }
        // Version 1 has no read set.
        let Some(reads) = record.reads() else { return true };
        reads.found.iter().any(|read| self.has(&read.kind, &read.name))
            || reads.missing.iter().any(|digest| self.added.contains(digest))
            || self.has_reached_profile(record)
            || match (record.proposal(), record.failure()) {
                (Some(proposal), _) => self.has_named(proposal),
                (None, Some(failure)) => self.concerns_failure(&failure.code),
                (None, None) => true,
            }
    }

    fn has_reached_profile(&self, record: &Record) -> bool {
        let profile = record.request().profile();
        self.has("profile", profile.as_str())
            || reachable(&self.before.profiles, profile, usize::MAX)
                .is_ok_and(|profiles| profiles.iter().any(|name| self.has("profile", name.as_str())))
    }

    fn has_named(&self, proposal: &Proposal) -> bool {
        let any = |kind, names: &[String]| names.iter().any(|name| self.has(kind, name));
        self.language && proposal.language.is_none()
            || proposal.model.as_ref().is_some_and(|name| self.has("model", name))
            || any("prompt", &proposal.instructions)
            || any("tool", &proposal.tools)
            || any("plugin", &proposal.plugins)
            || any("workflow", &proposal.workflows)
    }

    fn concerns_failure(&self, code: &str) -> bool {
        match code.parse() {
            // The host suggests the profile with the most similar name.
            Ok(Code::UnknownProfile) => self.profile_names,
            // The host confirmed these by the look-ups and the profiles that the request reaches.
            Ok(Code::NoModel | Code::UnmetCapability | Code::UnsupportedDeclaration) => false,
            // The answer, which was refused, may have named anything.
            Ok(_) | Err(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use host_policy::{Facts, Request};
    use serde_json::{Value, json};

    use super::*;

    fn manifest(more: &Value) -> Manifest {
        let mut manifest = json!({
            "schema": "yoi.config-bundle/1", "workspace": { "id": "acme" }, "revision": "1", "language": "en",
            "created_at": "2026-06-25T15:49:30Z", "profiles": { "base": {}, "child": { "extends": ["base"] } },
            "models": { "m": { "provider": "p", "model": "one" } },
        });
        for (key, value) in more.as_object().expect("an object") {
            manifest[key] = value.clone();
        }
        serde_json::from_value(manifest).expect("a manifest")
    }

    /// Returns the record of an answer, of a resolver that looked up these names.
    fn record(answer: &Value, found: &Value, missing: &[Digest]) -> Record {
        let facts = Facts::bare("linux".parse().expect("a name"), "x86_64".parse().expect("a name"));
        let request = Request::new("child".parse().expect("a name"), []);
        let digest = Digest::of("");
        let mut digests = json!({ "bundle": digest, "resolver": digest, "facts": digest, "request": digest });
        let mut record = json!({
            "schema": "yoi.resolution-record/2", "facts": facts, "request": request, "fuel": "1", "engine": "e",
            "memory_bytes": "1", "reads": { "found": found, "missing": missing },
        });
        if answer.get("code").is_some() {
            record["failure"] = answer.clone();
        } else {
            digests["resolution"] = json!(digest);
            let mut proposal = serde_json::to_value(Proposal::default()).expect("JSON");
            for (key, value) in answer.as_object().expect("an object") {
                proposal[key] = value.clone();
            }
            record["proposal"] = proposal;
        }
        record["digests"] = digests;
        serde_json::from_value(record).expect("a record")
    }

    fn affects(after: &Value, record: &Record, comparison: ComparedValues) -> bool {
        let (before, after) = (manifest(&json!({})), manifest(after));
        BundleDelta::new(&before, &after).affects(record, comparison)
    }

    #[test]
    fn parts_without_influence_affect_nothing() {
        let trivial = record(&json!({}), &json!([]), &[]);
        for after in [json!({}), json!({ "revision": "2" }), json!({ "created_at": "2027-06-25T15:49:30Z" })] {
            assert!(!affects(&after, &trivial, ComparedValues::Workers), "{after}");
        }
    }

    #[test]
    fn name_affects_the_resolutions_that_looked_it_up_or_answered_it() {
        let other = json!({ "models": { "m": { "provider": "p", "model": "two" } } });
        let reads =
            |answer: &Value, found: &Value| affects(&other, &record(answer, found, &[]), ComparedValues::Resolutions);
        assert!(!reads(&json!({}), &json!([{ "kind": "prompt", "name": "m" }])));
        assert!(reads(&json!({}), &json!([{ "kind": "model", "name": "m" }])));
        assert!(reads(&json!({ "model": "m" }), &json!([])));
    }

    #[test]
    fn new_name_affects_the_resolutions_that_missed_it() {
        let after = json!({ "tools": { "t": { "source": "host", "effect": "read" } } });
        let missed = |name| {
            affects(&after, &record(&json!({}), &json!([]), &[missing_name("tool", name)]), ComparedValues::Resolutions)
        };
        assert!(missed("t") && !missed("u"));
    }

    #[test]
    fn ancestor_affects_a_resolution_whose_resolver_did_not_look_it_up() {
        let trivial = record(&json!({}), &json!([]), &[]);
        let profiles =
            |base: Value| json!({ "profiles": { "base": base, "child": { "extends": ["base"] }, "new": {} } });
        assert!(affects(&profiles(json!({ "description": "other" })), &trivial, ComparedValues::Resolutions));
        assert!(!affects(&profiles(json!({})), &trivial, ComparedValues::Resolutions));
    }

    #[test]
    fn field_of_the_manifest_affects_the_resolutions_that_use_it() {
        let (with, without) =
            (record(&json!({ "language": "de" }), &json!([]), &[]), record(&json!({}), &json!([]), &[]));
        let language = json!({ "language": "fr" });
        assert!(
            !affects(&language, &with, ComparedValues::Resolutions)
                && affects(&language, &without, ComparedValues::Resolutions)
        );
        let policy = json!({ "policy": { "authorities": { "deny": ["shell"] } } });
        assert!(
            affects(&policy, &with, ComparedValues::Workers) && !affects(&policy, &with, ComparedValues::Resolutions)
        );
        assert!(affects(&json!({ "workspace": { "id": "other" } }), &with, ComparedValues::Resolutions));
    }

    #[test]
    fn failure_is_affected_by_what_confirmed_it() {
        let failure = |code: &str| record(&json!({ "code": code, "message": "m" }), &json!([]), &[]);
        let model = json!({ "models": {} });
        assert!(!affects(&model, &failure("no_model"), ComparedValues::Resolutions));
        assert!(affects(&model, &failure("resolver_misbehaved"), ComparedValues::Resolutions));
        let profile = json!({ "profiles": { "base": {}, "child": { "extends": ["base"] }, "new": {} } });
        assert!(affects(&profile, &failure("unknown_profile"), ComparedValues::Resolutions));
        assert!(!affects(&profile, &failure("unmet_capability"), ComparedValues::Resolutions));
    }
}
