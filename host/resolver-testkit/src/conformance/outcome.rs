//! The outcome of a run, verified as a host does it.

use bundles::BundleLimits;
use component_host::{Run, RunError};
use host_policy::{Failure, InvalidAnswer, Resolution, verify_answer};
use serde_json::{Value, json};

use super::scenario::Scenario;

/// Outcome of one run.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A resolution that a host accepts.
    Resolved(Box<Resolution>),
    /// A failure that a host confirms.
    Failed(Failure),
    /// An answer that a host refuses.
    Invalid(InvalidAnswer),
    /// The run ended without an answer.
    Ended(RunError),
}

impl Outcome {
    /// Verifies the answer of a run.
    pub fn of(scenario: &Scenario, run: &Run) -> Self {
        let answer = match &run.answer {
            Ok(answer) => answer.clone(),
            Err(error) => return Self::Ended(error.clone()),
        };
        let (manifest, limits) = (scenario.view().bundle().manifest(), BundleLimits::default());
        match verify_answer(manifest, scenario.facts(), scenario.request(), &limits, answer) {
            Ok(Ok(resolution)) => Self::Resolved(Box::new(resolution)),
            Ok(Err(failure)) => Self::Failed(failure),
            Err(invalid) => Self::Invalid(invalid),
        }
    }

    /// Returns the outcome in the form of the case corpus. A refused answer and an error have forms of their own.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Resolved(resolution) => {
                let mut value = serde_json::to_value(resolution).unwrap_or_default();
                let names: Vec<&str> = resolution.instructions().iter().map(|prompt| prompt.name.as_str()).collect();
                if let Some(fields) = value.as_object_mut() {
                    fields.insert("instructions".to_owned(), json!(names));
                }
                json!({ "resolved": value })
            }
            Self::Failed(failure) => {
                let fields = serde_json::to_value(failure).unwrap_or_default();
                let keys = ["profile", "capabilities", "models", "declaration"];
                let detail = keys.iter().find_map(|key| fields.get(*key));
                json!({ "failed": { "code": failure.code(), "detail": detail } })
            }
            Self::Invalid(invalid) => {
                json!({ "refused": { "field": invalid.field, "problem": invalid.problem } })
            }
            Self::Ended(error) => json!({ "ended": { "code": error.code(), "message": error.to_string() } }),
        }
    }
}
