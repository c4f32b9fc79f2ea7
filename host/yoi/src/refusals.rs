//! All refusals of a host's policy at once, from this host or from a Runtime that tells of its own.

use bundles::one_line;
use host_policy::Refusal;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::CliError;

/// What is shown of one refusal. A Runtime of another version may have rules that this one does not know.
#[derive(Deserialize)]
struct Shown {
    subject: String,
    need: String,
    rule: String,
    reason: String,
    remedy: String,
}

/// This host refuses the worker.
pub(crate) fn refused(refusals: &[Refusal]) -> CliError {
    let message = host_policy::refusal_summary(refusals);
    told(&message, &json!(refusals)).unwrap_or_else(|| CliError::new("denied", message, ""))
}

/// A worker is refused, which `message` says, for reasons that are written as a list of refusals.
pub(crate) fn told(message: &str, refusals: &Value) -> Option<CliError> {
    let shown: Vec<Shown> = Deserialize::deserialize(refusals).ok()?;
    let mut text = one_line(message);
    for Shown { subject, need, rule, reason, remedy } in &shown {
        let line = format!("{subject} ({need}): {reason} [{rule}]");
        text.push_str(&format!("\n  {}\n    help: {}", one_line(&line), one_line(remedy)));
    }
    let error = CliError::new("denied", message, "each refusal names what would grant it");
    Some(error.with_details(json!({ "refusals": refusals })).with_text(text))
}
