//! How a command fails: a code, a sentence, a remedy, details, and the exit code that goes with it.

use bundles::signature::SignatureRefusal;
use component_host::{InvalidLimits, LoadError, SandboxError};
use host_policy::{ConfigError, Refusal};
use serde_json::{Value, json};
use worker_runtime::ResolveError;

/// A failure that a person or a program is told.
#[derive(Debug)]
pub(crate) struct CliError {
    /// The stable machine word.
    pub(crate) code: &'static str,
    /// What is wrong, in a sentence.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: String,
    /// More, for programs.
    pub(crate) details: Value,
    /// What is shown to people instead of the message and help, where one sentence is not enough.
    pub(crate) text: Option<String>,
}

impl CliError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: help.into(), details: json!({}), text: None }
    }

    pub(crate) fn with_details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    pub(crate) fn with_text(mut self, text: String) -> Self {
        self.text = Some(text);
        self
    }

    pub(crate) fn exit_code(&self) -> u8 {
        exit_code(self.code)
    }
}

/// 1 failed, 2 usage, 3 invalid, 4 denied, 5 not found, 6 the guest trapped, lied or went over a
/// limit.
pub(crate) fn exit_code(code: &str) -> u8 {
    match code {
        "usage" => 2,
        "denied" | "no_model" | "unmet_capability" | "bundle_unsigned" | "signing_key_unknown" => 4,
        "not_found" | "unknown_profile" | "unknown_field_asked" => 5,
        "resolver_misbehaved" | "resolver_trapped" | "limit_exceeded" | "compile_limit_exceeded" => 6,
        "failed" | "busy" | "compiler_failed" | "sandbox_unavailable" | "unwritable" => 1,
        _ => 3,
    }
}

impl From<ResolveError> for CliError {
    fn from(error: ResolveError) -> Self {
        let details = match &error {
            ResolveError::Failed(failure) => serde_json::to_value(failure).unwrap_or_default(),
            ResolveError::Misbehaved(misbehaved) => json!({ "field": misbehaved.field, "problem": misbehaved.problem }),
            ResolveError::Call(component_host::CallError::Limit { limit }) => json!({ "limit": limit }),
            ResolveError::Call(component_host::CallError::Trap { reason }) => json!({ "reason": reason }),
            ResolveError::Call(_) => json!({}),
        };
        Self::new(error.code(), error.to_string(), error.help()).with_details(details)
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> Self {
        let details = match &error {
            LoadError::ForeignImport { imports } => json!({ "imports": imports }),
            LoadError::CompileLimit { limit } | LoadError::Exceeds { limit } => json!({ "limit": limit }),
            LoadError::Structure(component_host::structure::Refusal::OverBudget { limit, actual, allowed }) => {
                json!({ "limit": limit, "actual": actual, "allowed": allowed })
            }
            _ => json!({}),
        };
        Self::new(error.code(), error.to_string(), error.help()).with_details(details)
    }
}

impl From<SandboxError> for CliError {
    fn from(error: SandboxError) -> Self {
        Self::new(error.code(), error.to_string(), error.help())
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::new(error.code(), error.to_string(), error.help())
    }
}

impl From<SignatureRefusal> for CliError {
    fn from(error: SignatureRefusal) -> Self {
        let details = match &error {
            SignatureRefusal::Unsigned { signed, needed } => json!({ "signed": signed, "needed": needed }),
            SignatureRefusal::UnknownKey { keys, signed, needed } => {
                json!({ "unknown": keys, "signed": signed, "needed": needed })
            }
            SignatureRefusal::Invalid(_) => json!({}),
        };
        Self::new(error.code(), error.to_string(), error.help()).with_details(details)
    }
}

impl From<InvalidLimits> for CliError {
    fn from(error: InvalidLimits) -> Self {
        Self::new(
            "invalid_limits",
            error.to_string(),
            "`yoi resolver run --help` names the sections; every limit may be left out",
        )
    }
}

/// All refusals at once.
pub(crate) fn refused(refusals: &[Refusal]) -> CliError {
    let required = refusals.iter().filter(|refusal| refusal.need == bundles::Need::Required).count();
    let message = format!("this host refuses the worker: {required} of what it requires is not granted");
    let mut text = message.clone();
    for refusal in refusals {
        let need = if refusal.need == bundles::Need::Required { "required" } else { "optional" };
        text.push_str(&format!(
            "\n  {} ({need}): {} [{}]\n    help: {}",
            refusal.subject,
            refusal.reason,
            refusal.rule.code(),
            refusal.remedy
        ));
    }
    CliError::new("denied", message, "each refusal names what would grant it")
        .with_details(json!({ "refusals": refusals }))
        .with_text(text)
}
