//! Errors of a worker that the policy of a host denies, with all refusals. The host is this one or that of a Runtime.

use bundles::one_line;
use host_policy::Refusal;
use runtime_api::Code;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::CliError;

/// The parts of a refusal that are printed. All are text, because a Runtime of another version may have unknown rules. A
/// Backend passes on no texts of a Runtime, so its refusals have no `reason` and no `remedy`.
#[derive(Deserialize)]
struct RefusalText {
    subject: String,
    need: String,
    rule: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    remedy: String,
}

/// Returns the error of a worker that this host denies.
pub(crate) fn refused(refusals: &[Refusal]) -> CliError {
    let message = host_policy::refusal_summary(refusals);
    denied(&message, &json!(refusals)).unwrap_or_else(|| CliError::new(Code::Denied, message, ""))
}

/// Returns the error of a denied worker with its refusals in JSON, or `None` if the JSON is not a list of refusals.
pub(crate) fn denied(message: &str, refusals: &Value) -> Option<CliError> {
    let shown: Vec<RefusalText> = Deserialize::deserialize(refusals).ok()?;
    let mut text = one_line(message);
    for RefusalText { subject, need, rule, reason, remedy } in &shown {
        let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        text.push_str(&format!("\n  {}", one_line(&format!("{subject} ({need}){reason} [{rule}]"))));
        if !remedy.is_empty() {
            text.push_str(&format!("\n    help: {}", one_line(remedy)));
        }
    }
    let error = CliError::new(Code::Denied, message, "grant what each refusal names");
    Some(error.with_details(json!({ "refusals": refusals })).with_text(text))
}
