//! Comparison of the resolutions of a request with two bundles.

use std::collections::BTreeSet;

use bundles::WorkspaceId;
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
    /// Workspace whose policy is enforced: that of the bundle, or any one for the built-in bundle.
    pub workspace: WorkspaceId,
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
    /// Error code, if the request fails in the same way with both bundles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
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
    ///
    /// # Errors
    ///
    /// A failure that does not depend on the inputs alone, such as an exceeded deadline. It says nothing about the bundles.
    pub async fn of_request(
        &self,
        facts: [&Facts; 2],
        request: &Request,
        known: Option<&Record>,
    ) -> Result<ImpactEffect, ResolveError> {
        let comparison = if self.config.is_some() { ComparedValues::Workers } else { ComparedValues::Resolutions };
        let is_same_host = facts[0] == facts[1];
        let known = known.filter(|record| self.is_record_of(record, facts[0], request));
        let is_unaffected = |record: &Record| is_same_host && !self.delta.affects(record, comparison);
        let unaffected = |record: &Record, computed| ImpactEffect {
            fields: Vec::new(),
            values: Vec::new(),
            failure: record.failure().map(|failure| failure.code.clone()),
            computed,
        };
        if let Some(known) = known.filter(|known| is_unaffected(known)) {
            return Ok(unaffected(known, 0));
        }
        let recorded = known.and_then(|record| self.recorded(record));
        let (before, computed) = match recorded {
            Some(value) => (value, 1),
            None => {
                let (record, value) = self.resolved(self.before, facts[0], request).await?;
                if is_unaffected(&record) {
                    return Ok(unaffected(&record, 1));
                }
                (value, 2)
            }
        };
        let (record, after) = self.resolved(self.after, facts[1], request).await?;
        let fields = different_fields(&before, &after);
        let failure = record.failure().filter(|_| fields.is_empty()).map(|failure| failure.code.clone());
        Ok(ImpactEffect { fields, values: differences(Some(&before), Some(&after)), failure, computed })
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

    /// Resolves a request with one of the bundles. Returns the record and the value.
    async fn resolved(
        &self,
        side: &BundleSide,
        facts: &Facts,
        request: &Request,
    ) -> Result<(Record, Value), ResolveError> {
        let inputs = Inputs::new(facts.clone(), request.clone());
        match Resolutions::with_capacity(0).run(self.resolver, &side.view, &inputs).await {
            Ok(resolved) => {
                let record = Record::new(&inputs, &resolved, *resolved.digests());
                Ok((record, self.value(side, Ok(resolved.resolution()))))
            }
            Err(failed) if failed.error.is_deterministic() => {
                Ok((Record::of_failure(&inputs, &failed), self.value(side, Err(failed.error.to_string()))))
            }
            Err(failed) => Err(failed.error),
        }
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
            let policy = HostPolicy { config, workspace: &side.workspace, builtin: side.builtin, package_faults: None };
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
