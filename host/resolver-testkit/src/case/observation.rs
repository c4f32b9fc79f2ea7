//! Actual values of a case: the resolution and, with a config, the worker that the host allows.

use std::collections::BTreeMap;

use bundles::{Authority, Need};
use component_host::{BundleView, Resolver};
use error_code::Code;
use host_policy::{HostPolicy, Refusal, Resolution, ResolvedWorkerSpec, enforce, refusal_summary};
use serde_json::{Value, json};
use worker_runtime::{Inputs, Resolutions, ResolveError};

use super::Field;

/// Actual values of a case. A field that the outcome does not have is absent: a failure has no tools.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    values: BTreeMap<Field, Value>,
    /// Message of a failure or a refusal.
    message: Option<String>,
}

impl Observation {
    /// Creates the observation of a resolution that failed.
    pub fn of_failure(code: Code, message: impl Into<String>) -> Self {
        Self { values: BTreeMap::from([(Field::Failure, json!(code))]), message: Some(message.into()) }
    }

    /// Creates an observation with these values.
    #[cfg(test)]
    pub(super) fn made_up(values: impl IntoIterator<Item = (Field, Value)>) -> Self {
        Self { values: values.into_iter().collect(), message: None }
    }

    /// Creates the observation of a resolution and, if a policy was enforced, of its result.
    fn of_resolution(resolution: &Resolution, enforced: Option<&Result<ResolvedWorkerSpec, Vec<Refusal>>>) -> Self {
        let spec = match enforced {
            None => None,
            Some(Ok(spec)) => Some(spec),
            Some(Err(refusals)) => return Self::of_refusals(refusals),
        };
        let wishes = |need: Need| {
            let wishes = resolution.wishes().iter().filter(|wish| wish.need == need);
            wishes.map(|wish| wish.authority.to_string()).collect::<Vec<_>>()
        };
        let tools: Vec<&str> = match spec {
            Some(spec) => spec.tools().iter().map(|tool| tool.name.as_str()).collect(),
            None => resolution.tools().iter().map(|name| name.as_str()).collect(),
        };
        let mut values = BTreeMap::from([
            (Field::Model, json!(resolution.model().map_or("", |name| name.as_str()))),
            (Field::Instructions, resolution.instructions().iter().map(|one| json!(one.name)).collect()),
            (Field::Tools, json!(tools)),
            (Field::Plugins, json!(spec.map_or_else(|| resolution.plugins(), ResolvedWorkerSpec::plugins))),
            (Field::Workflows, json!(resolution.workflows())),
            (Field::Language, json!(resolution.language())),
            (Field::Requires, json!(wishes(Need::Required))),
            (Field::Wants, json!(wishes(Need::Optional))),
            (Field::Settings, json!(resolution.settings())),
        ]);
        if let Some(spec) = spec {
            let grants: Vec<Authority> = spec.authorities().collect();
            values.insert(Field::Grants, json!(grants));
            values.insert(Field::Narrowed, rules(spec.narrowed(), Need::Optional));
        }
        Self { values: values.into_iter().map(|(field, value)| (field, sorted(field, value))).collect(), message: None }
    }

    fn of_refusals(refusals: &[Refusal]) -> Self {
        let mut observation = Self::of_failure(Code::Denied, refusal_summary(refusals));
        observation.values.insert(Field::Refused, rules(refusals, Need::Required));
        observation.values.insert(Field::Narrowed, rules(refusals, Need::Optional));
        observation
    }

    /// Returns the value of a field, or `None` if the outcome does not have it.
    pub fn value(&self, field: Field) -> Option<&Value> {
        self.values.get(&field)
    }

    /// Returns the message of a failure or a refusal.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// Returns the fields that a new case states.
    pub(super) fn stated(&self) -> impl Iterator<Item = (Field, &Value)> {
        // The code of a refusal is always `denied`, so the refusals say more.
        let is_refused = self.values.contains_key(&Field::Refused);
        let stated = self.values.iter().filter(move |(field, _)| !(is_refused && **field == Field::Failure));
        stated.map(|(field, value)| (*field, value))
    }
}

fn rules(refusals: &[Refusal], need: Need) -> Value {
    let refusals = refusals.iter().filter(|refusal| refusal.need == need);
    refusals.map(|refusal| (refusal.subject.clone(), json!(refusal.rule.code()))).collect()
}

/// Sorts a list whose order has no meaning. Only instructions are read in order.
pub(super) fn sorted(field: Field, mut value: Value) -> Value {
    if let (Value::Array(list), true) = (&mut value, field != Field::Instructions) {
        list.sort_by(|one, two| one.as_str().cmp(&two.as_str()));
    }
    value
}

/// Resolves a profile and enforces the policy of a host, if there is one.
///
/// # Errors
///
/// A failure that does not depend on the inputs alone, such as an exceeded deadline. It says nothing about the profile.
pub async fn observe(
    resolver: &Resolver,
    view: &BundleView,
    inputs: &Inputs,
    policy: Option<HostPolicy<'_>>,
) -> Result<Observation, ResolveError> {
    match Resolutions::with_capacity(0).resolve(resolver, view, inputs).await {
        Ok(resolved) => {
            let resolution = resolved.resolution();
            let enforced = policy.map(|policy| enforce(view.bundle().manifest(), resolution, policy));
            Ok(Observation::of_resolution(resolution, enforced.as_ref()))
        }
        Err(error) if error.is_deterministic() => Ok(Observation::of_failure(error.code(), error.to_string())),
        Err(error) => Err(error),
    }
}
