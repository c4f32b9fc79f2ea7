//! Comparison of the resolutions of a request with two bundles.

use std::collections::BTreeSet;

use bundles::comparison::{Difference, differences};
use bundles::manifest::Manifest;
use component_host::{BundleView, Resolver};
use host_policy::{Facts, HostPolicy, Request, Resolution, ResolvedWorkerSpec, RuntimeConfig, enforce};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::delta::{BundleDelta, ComparedValues};
use crate::error::ResolveError;
use crate::record::Record;
use crate::report::ReportedValues;
use crate::resolutions::{Inputs, Resolutions};

/// A bundle of a comparison.
#[derive(Debug, Clone)]
pub struct BundleSide {
    /// The bundle.
    pub view: BundleView,
    /// `true` for the built-in bundle.
    pub builtin: bool,
}

impl BundleSide {
    fn manifest(&self) -> &Manifest {
        self.view.bundle().manifest()
    }
}

/// Effect of a new bundle on one request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImpactEffect {
    /// Names of the fields that differ. Empty if the result is the same.
    pub fields: Vec<String>,
    /// The values that differ.
    pub values: Vec<Difference>,
    /// Number of resolutions that were computed, 0 to 2.
    #[serde(skip)]
    pub computed: usize,
}

/// Effect of a new bundle on requests, with one resolver and, if there is a config, on one host.
#[derive(Debug)]
pub struct Impact<'a> {
    resolver: &'a Resolver,
    before: &'a BundleSide,
    after: &'a BundleSide,
    config: Option<&'a RuntimeConfig>,
    delta: BundleDelta<'a>,
}

impl<'a> Impact<'a> {
    /// Compares two bundles. With a config, its policy is enforced on each resolution.
    pub fn new(
        resolver: &'a Resolver,
        before: &'a BundleSide,
        after: &'a BundleSide,
        config: Option<&'a RuntimeConfig>,
    ) -> Self {
        let delta = BundleDelta::new(before.manifest(), after.manifest());
        Self { resolver, before, after, config, delta }
    }

    /// `true` if a record is a resolution of this request with the old bundle and this resolver.
    pub fn is_record_of(&self, record: &Record, facts: &Facts, request: &Request) -> bool {
        record.request() == request && record.facts() == facts && self.is_comparable(record)
    }

    /// `true` if a record is a resolution with the old bundle and this resolver.
    pub fn is_comparable(&self, record: &Record) -> bool {
        let digests = record.digests();
        digests.bundle == self.before.view.bundle().digest() && digests.resolver == self.resolver.digest()
    }

    /// Returns the effect on a request. `facts` are those with the old and with the new bundle. `known` is a record of the
    /// request with the old bundle, which saves one resolution, or both if the read set did not change.
    pub async fn of_request(&self, facts: [&Facts; 2], request: &Request, known: Option<&Record>) -> ImpactEffect {
        let comparison = if self.config.is_some() { ComparedValues::Workers } else { ComparedValues::Resolutions };
        let is_same_host = facts[0] == facts[1];
        let known = known.filter(|record| self.is_record_of(record, facts[0], request));
        let is_unaffected = |record: &Record| is_same_host && !self.delta.affects(record, comparison);
        if known.is_some_and(is_unaffected) {
            return ImpactEffect { fields: Vec::new(), values: Vec::new(), computed: 0 };
        }
        let recorded = known.and_then(|record| self.recorded(record));
        let (before, computed) = match recorded {
            Some(value) => (value, 1),
            None => {
                let inputs = Inputs::new(facts[0].clone(), request.clone());
                let run = Resolutions::with_capacity(0).run(self.resolver, &self.before.view, &inputs).await;
                let record = match &run {
                    Ok(resolved) => Record::new(&inputs, resolved, *resolved.digests()),
                    Err(failed) => Record::of_failure(&inputs, failed),
                };
                let is_certain = run.as_ref().err().is_none_or(|failed| failed.error.is_deterministic());
                if is_certain && is_unaffected(&record) {
                    return ImpactEffect { fields: Vec::new(), values: Vec::new(), computed: 1 };
                }
                let result = run.as_ref().map(|resolved| resolved.resolution()).map_err(|failed| &failed.error);
                (self.value(self.before, result.map_err(ToString::to_string)), 2)
            }
        };
        let after = self.resolved(self.after, facts[1], request).await;
        ImpactEffect {
            fields: different_fields(&before, &after),
            values: differences(Some(&before), Some(&after)),
            computed,
        }
    }

    /// Returns the value of a record, without a resolver. `None` if the record contradicts the bundle.
    fn recorded(&self, record: &Record) -> Option<Value> {
        match record.failure() {
            Some(failure) => Some(self.value(self.before, Err(failure.message.clone()))),
            None => {
                let limits = &self.resolver.limits().bundle;
                let resolution = record.restore(self.before.manifest(), limits).ok()?;
                Some(self.value(self.before, Ok(&resolution)))
            }
        }
    }

    /// Resolves a request with one of the bundles.
    async fn resolved(&self, side: &BundleSide, facts: &Facts, request: &Request) -> Value {
        let inputs = Inputs::new(facts.clone(), request.clone());
        let run = Resolutions::with_capacity(0).resolve(self.resolver, &side.view, &inputs).await;
        let result = run.as_ref().map(|resolved| resolved.resolution()).map_err(ResolveError::to_string);
        self.value(side, result)
    }

    /// Returns the values of a result. They contain the declarations instead of only their names, so that a changed
    /// declaration is a difference.
    fn value(&self, side: &BundleSide, result: Result<&Resolution, String>) -> Value {
        let manifest = side.manifest();
        let resolution = match result {
            Ok(resolution) => resolution,
            Err(message) => return json!({ "error": message }),
        };
        let enforced = self.config.map(|config| {
            let policy =
                HostPolicy { config, workspace: &manifest.workspace.id, builtin: side.builtin, package_faults: None };
            enforce(manifest, resolution, policy)
        });
        let (spec, refused) = match enforced {
            Some(Ok(spec)) => (Some(spec), None),
            Some(Err(refusals)) => (None, Some(refusals)),
            None => (None, None),
        };
        let values = serde_json::to_value(ReportedValues::new(manifest, resolution, spec.as_ref()));
        let Ok(Value::Object(mut fields)) = values else { return Value::Null };
        fields.extend(refused.map(|refused| ("refused".to_owned(), json!(refused))));
        declare(&mut fields, manifest, resolution, spec.as_ref());
        Value::Object(fields)
    }
}

/// Replaces names by names with their declarations.
fn declare(
    fields: &mut Map<String, Value>,
    manifest: &Manifest,
    resolution: &Resolution,
    spec: Option<&ResolvedWorkerSpec>,
) {
    let tools: Vec<_> = match spec {
        Some(spec) => spec.tools().iter().map(|tool| &tool.name).collect(),
        None => resolution.tools().iter().collect(),
    };
    let plugins = spec.map_or_else(|| resolution.plugins(), ResolvedWorkerSpec::plugins);
    let tools = tools.into_iter().map(|name| json!([name, manifest.tools.get(name)]));
    let plugins = plugins.iter().map(|name| json!([name, manifest.plugins.get(name)]));
    let workflows = resolution.workflows().iter().map(|name| json!([name, manifest.workflows.get(name)]));
    fields.insert("tools".to_owned(), tools.collect());
    fields.insert("plugins".to_owned(), plugins.collect());
    fields.insert("workflows".to_owned(), workflows.collect());
}

fn different_fields(one: &Value, two: &Value) -> Vec<String> {
    let (Some(one), Some(two)) = (one.as_object(), two.as_object()) else { return Vec::new() };
    let fields: BTreeSet<&String> = one.keys().chain(two.keys()).collect();
    fields.into_iter().filter(|field| one.get(*field) != two.get(*field)).cloned().collect()
}
