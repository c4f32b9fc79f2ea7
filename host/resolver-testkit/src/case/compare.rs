//! Comparison of expected and actual values.

use serde::Serialize;
use serde_json::Value;

use super::{Case, Field, Observation};

/// An expected value that differs from the actual one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mismatch {
    /// The field.
    pub field: Field,
    /// Line of the expected value in the file, or of the case if it does not state the field. From 1.
    pub line: usize,
    /// The expected value. `None` if no failure was expected.
    pub expected: Option<Value>,
    /// The actual value. `None` if the outcome does not have the field.
    pub actual: Option<Value>,
}

impl Case {
    /// `true` if the case states no expectations. Such a case fails until they are written.
    pub fn is_unfinished(&self) -> bool {
        self.expect.is_none()
    }

    /// Compares the stated values with the actual ones. A case that states no failure expects that the profile resolves
    /// and, with a config, that the host allows the worker.
    pub fn compare(&self, actual: &Observation) -> Vec<Mismatch> {
        if let Some(mismatch) = self.unexpected_failure(actual) {
            return vec![mismatch];
        }
        let expectations = self.expect.iter().flatten();
        let different = expectations.filter(|expected| actual.value(expected.field) != Some(&expected.value));
        let mismatch = |expected: &super::Expectation| Mismatch {
            field: expected.field,
            line: expected.line,
            expected: Some(expected.value.clone()),
            actual: actual.value(expected.field).cloned(),
        };
        different.map(mismatch).collect()
    }

    /// Returns the failure or the refusals, if the case states neither. The other fields are then absent and not compared.
    fn unexpected_failure(&self, actual: &Observation) -> Option<Mismatch> {
        let states_failure = [Field::Failure, Field::Refused].iter().any(|field| self.expectation(*field).is_some());
        let fields = [Field::Refused, Field::Failure].into_iter();
        let (field, value) = fields.filter_map(|field| Some((field, actual.value(field)?))).next()?;
        (!states_failure).then(|| Mismatch { field, line: self.line, expected: None, actual: Some(value.clone()) })
    }
}
