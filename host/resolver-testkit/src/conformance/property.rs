//! The properties of every resolver, in the order in which they are reported.
//!
//! A property judges one scenario. Base properties judge how a run ended, the properties of `purity` compare it with further
//! runs, and those of `laws` compare its resolution with the stated meaning. A property that does not apply is not violated.

use component_host::{ResolutionLimits, RunError};
use serde_json::{Value, json};

use super::error::KitError;
use super::laws::Applied;
use super::outcome::Outcome;
use super::purity;
use super::run::{Session, Trial};

/// A violation of a property.
#[derive(Debug, Clone)]
pub(super) struct Violation {
    /// The problem, in a few words.
    pub(super) problem: String,
    pub(super) expected: Option<Value>,
    pub(super) found: Option<Value>,
}

impl Violation {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), expected: None, found: None }
    }

    pub(super) fn of(problem: impl Into<String>, expected: Value, found: Value) -> Self {
        Self { problem: problem.into(), expected: Some(expected), found: Some(found) }
    }

    pub(super) fn unless_equal(expected: Value, found: Value) -> Result<(), Self> {
        if expected == found { Ok(()) } else { Err(Self::of("the answer has another value", expected, found)) }
    }
}

macro_rules! properties {
    ($($property:ident = $check:literal: $claim:literal;)*) => {
        /// A property of every resolver.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Property { $($property,)* }

        impl Property {
            /// All properties.
            pub(super) const ALL: &[Self] = &[$(Self::$property,)*];

            /// Returns the name of the check.
            pub(super) const fn check(self) -> &'static str {
                match self { $(Self::$property => $check,)* }
            }

            /// Returns the statement that the check proves.
            pub(super) const fn claim(self) -> &'static str {
                match self { $(Self::$property => $claim,)* }
            }
        }
    };
}

properties! {
    Answers = "contract/answers": "every call ends with an answer, and never with a trap";
    Verified = "contract/verified": "a host accepts every answer";
    Fuel = "limits/fuel": "no call exceeds the default limit `fuel`";
    Memory = "limits/memory": "no call exceeds the default limit `memory_bytes`";
    OtherLimits = "limits/other": "no call exceeds another limit";
    Repetition = "purity/repetition": "the same call has the same answer, look-ups and fuel each time";
    Hosts = "purity/hosts": "the same call has the same answer, look-ups and fuel on every host, however its facts are written";
    UnusedFacts = "purity/unused_facts": "facts that no condition and no list names change nothing";
    UnusedEntries = "purity/unused_entries": "entries of the bundle that the profile does not reach change nothing";
    LookUps = "purity/look_ups": "exactly the lineage and the names of the resolution are looked up";
    Names = "purity/names": "other names in another order give the same resolution with these names";
    Failures = "laws/failures": "a resolution fails exactly when it must, with the first failure in the contract's order";
    Lineage = "laws/lineage": "the lineage is the C3 linearisation";
    Conditions = "laws/conditions": "a layer counts if and only if all of its conditions hold";
    Append = "laws/append": "`append` adds names at the end, and the first of several equal names stays";
    Replace = "laws/replace": "`replace` discards what came before";
    Deny = "laws/deny": "a denied tool is absent, whatever the order of the layers";
    Model = "laws/model": "the model is the first of the list that the host offers";
    Language = "laws/language": "the last layer with a language decides it";
    Wishes = "laws/wishes": "drops take wishes back, and `required` takes precedence";
    Settings = "laws/settings": "settings are combined by JSON Merge Patch (RFC 7396)";
    Origins = "laws/origins": "the origin of a value is the layer that wrote it";
    Reference = "laws/reference": "every answer is the answer of the reference resolver";
}

impl Property {
    /// Judges one scenario.
    pub(super) async fn judge(
        self,
        session: &mut Session<'_>,
        trial: &Trial<'_>,
    ) -> Result<Result<(), Violation>, KitError> {
        if let Outcome::Ended(error) = &trial.outcome {
            return Ok(self.judge_end(error));
        }
        Ok(match self {
            Self::Answers | Self::OtherLimits => Ok(()),
            Self::Verified => match &trial.outcome {
                Outcome::Invalid(invalid) => Err(Violation::new(invalid.to_string())),
                _ => Ok(()),
            },
            Self::Fuel => within("fuel", ResolutionLimits::default().fuel.get(), trial.run.cost.fuel),
            Self::Memory => {
                within("memory_bytes", ResolutionLimits::default().memory_bytes, trial.run.cost.memory_bytes)
            }
            Self::Repetition => purity::repetition(session, trial).await?,
            Self::Hosts => purity::hosts(session, trial).await?,
            Self::UnusedFacts => purity::unused_facts(session, trial).await?,
            Self::UnusedEntries => purity::unused_entries(session, trial).await?,
            Self::LookUps => purity::look_ups(trial),
            Self::Names => purity::names(session, trial).await?,
            Self::Conditions => purity::conditions(session, trial).await?,
            Self::Origins => origins(trial),
            Self::Reference => Violation::unless_equal(trial.reference.to_json(), trial.outcome.to_json()),
            law => law.judge_law(trial),
        })
    }

    /// Judges a run that ended without an answer.
    fn judge_end(self, error: &RunError) -> Result<(), Violation> {
        let is_violated = match error {
            RunError::Limit { limit: "fuel", .. } => self == Self::Fuel,
            RunError::Limit { limit: "memory_bytes", .. } => self == Self::Memory,
            RunError::Limit { .. } => self == Self::OtherLimits,
            RunError::Trap { .. } | RunError::Malformed | RunError::OutOfMemory | RunError::Busy => {
                self == Self::Answers
            }
        };
        if is_violated { Err(Violation::new(error.to_string())) } else { Ok(()) }
    }

    /// Judges a resolution by one law. Where a failure is expected, only the law about failures applies.
    fn judge_law(self, trial: &Trial<'_>) -> Result<(), Violation> {
        let scenario = trial.scenario;
        let Some(applied) = Applied::of(scenario) else {
            let profile = json!({ "failed": { "code": "unknown_profile", "detail": scenario.request().profile() } });
            return if self == Self::Failures { failures(trial, Some(profile)) } else { Ok(()) };
        };
        let failure = applied.failure(scenario);
        if self == Self::Failures {
            return failures(trial, failure);
        }
        let (None, Outcome::Resolved(found)) = (failure, &trial.outcome) else { return Ok(()) };
        match self {
            Self::Lineage => applied.check_lineage(found),
            Self::Append => applied.check_lists(false, found),
            Self::Replace => applied.check_lists(true, found),
            Self::Deny => applied.check_tools(found),
            Self::Model => applied.check_model(scenario, found),
            Self::Language => applied.check_language(scenario, found),
            Self::Wishes => applied.check_wishes(found),
            Self::Settings => applied.check_settings(found),
            _ => Ok(()),
        }
    }
}

fn within(limit: &str, allowed: u64, actual: u64) -> Result<(), Violation> {
    if actual <= allowed {
        return Ok(());
    }
    Err(Violation::new(format!("the resolver exceeds limit `{limit}` ({actual} > {allowed})")))
}

fn failures(trial: &Trial<'_>, expected: Option<Value>) -> Result<(), Violation> {
    let found = trial.outcome.to_json();
    match expected {
        Some(expected) if expected == found => Ok(()),
        Some(expected) => Err(Violation::of("the resolution must fail", expected, found)),
        // The resolver reported a failure, and the host may have refused it.
        None if matches!(trial.run.answer, Ok(Err(_))) => {
            Err(Violation::of("the resolution must not fail", trial.reference.to_json(), found))
        }
        None => Ok(()),
    }
}

/// Compares origins with those of the reference, if all values are the same.
fn origins(trial: &Trial<'_>) -> Result<(), Violation> {
    let (Outcome::Resolved(found), Outcome::Resolved(reference)) = (&trial.outcome, &trial.reference) else {
        return Ok(());
    };
    let values = |outcome: &Outcome| {
        let mut json = outcome.to_json();
        if let Some(fields) = json.get_mut("resolved").and_then(Value::as_object_mut) {
            fields.remove("origins");
        }
        json
    };
    if values(&trial.outcome) != values(&trial.reference) {
        return Ok(());
    }
    Violation::unless_equal(json!(reference.origins()), json!(found.origins()))
}
