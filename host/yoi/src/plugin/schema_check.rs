//! Validation of values by the schemas of a plugin.

use bundles::BundleLimits;
use serde_json::Value;
use tool_schema::{Schema, ValidationError, Work};
use worker_runtime::RuntimeLimits;

/// Checks values against schemas of a manifest, within limits.
pub(super) struct SchemaCheck {
    pattern_bytes: usize,
    schema_work: u64,
}

impl SchemaCheck {
    /// Creates a check with the default limit `schema_work` of a Runtime.
    pub(super) fn new(limits: &BundleLimits) -> Self {
        Self { pattern_bytes: limits.pattern_bytes, schema_work: RuntimeLimits::default().schema_work }
    }

    /// Returns the place and the reason of the first mismatch, as the end of a sentence.
    pub(super) fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        // The schemas of a verified manifest have no faults.
        let schema = Schema::parse(schema, self.pattern_bytes).map_err(|_| ": the schema is invalid".to_owned())?;
        match schema.validate(value, &mut Work::new(self.schema_work)) {
            Ok(()) => Ok(()),
            Err(ValidationError::Mismatch(mismatch)) if mismatch.pointer.is_empty() => Err(format!(": {mismatch}")),
            Err(ValidationError::Mismatch(mismatch)) => Err(format!(" at `{}`: {mismatch}", mismatch.pointer)),
            Err(ValidationError::Incomplete(cause)) => Err(format!(": {cause}")),
        }
    }
}
