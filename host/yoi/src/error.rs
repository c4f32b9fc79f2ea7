//! The error type of the commands.

use bundles::signature::SignatureRefusal;
use component_host::{InvalidLimits, LoadError, SandboxError};
use host_policy::ConfigError;
use resolver_testkit::conformance::KitError;
use runtime_api::Code;
use serde_json::{Value, json};
use worker_runtime::blob_store::BlobError;
use worker_runtime::content::ContentError;
use worker_runtime::metadata::MetadataError;
use worker_runtime::token::TokenError;
use worker_runtime::{DataFolderError, OpenError, ResolveError};
use yoi_workspace_server::BackendError;

use crate::advice;

/// Error of a command.
#[derive(Debug)]
pub(crate) struct CliError {
    /// Stable error code.
    pub(crate) code: Code,
    /// Code of another machine that this version does not know. It is shown instead of `code`, which is `failed`.
    pub(crate) unknown_code: Option<Box<str>>,
    /// Description of the error, one sentence.
    pub(crate) message: String,
    /// Remedy, one imperative sentence.
    pub(crate) help: String,
    /// More fields for programs.
    pub(crate) details: Value,
    /// Text for people that replaces `message` and `help` if one sentence is not enough.
    pub(crate) text: Option<Box<Text>>,
}

/// Text for people.
#[derive(Debug)]
pub(crate) enum Text {
    /// Text after `error[code]:`.
    Error(String),
    /// Diagnostics. Each starts with its own `error[code]`.
    Diagnostics(String),
}

impl CliError {
    pub(crate) fn new(code: Code, message: impl Into<String>, help: impl Into<String>) -> Self {
        let (message, help) = (message.into(), help.into());
        Self { code, unknown_code: None, message, help, details: json!({}), text: None }
    }

    /// Creates an error with the code of another machine, which may run another version.
    pub(crate) fn of_response(word: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        match word.parse() {
            Ok(code) => Self::new(code, message, help),
            Err(_) => Self { unknown_code: Some(word.into()), ..Self::new(Code::Failed, message, help) },
        }
    }

    /// Converts the error of a library. Help texts of libraries name no commands; see [`advice`].
    pub(crate) fn of_library(code: Code, message: String, help: impl AsRef<str>) -> Self {
        Self::new(code, message, advice::with_command(help.as_ref()))
    }

    pub(crate) fn with_details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// Sets diagnostics as the text for people.
    pub(crate) fn with_diagnostics(mut self, text: String) -> Self {
        self.text = Some(Box::new(Text::Diagnostics(text.trim_end().to_owned())));
        self
    }

    pub(crate) fn with_text(mut self, text: String) -> Self {
        self.text = Some(Box::new(Text::Error(text)));
        self
    }

    /// Appends text for people.
    pub(crate) fn followed_by(mut self, more: &str) -> Self {
        let text = match self.text.take().map(|text| *text) {
            Some(Text::Diagnostics(text)) => Text::Diagnostics(format!("{text}\n\n{more}")),
            Some(Text::Error(text)) => Text::Error(format!("{text}\n\n{more}")),
            None => Text::Error(format!("{}\n\n{more}", self.message)),
        };
        self.text = Some(Box::new(text));
        self
    }

    /// Returns the error code as it is shown.
    pub(crate) fn shown_code(&self) -> &str {
        self.unknown_code.as_deref().unwrap_or(self.code.as_str())
    }
}

impl From<ResolveError> for CliError {
    fn from(error: ResolveError) -> Self {
        let details = match &error {
            ResolveError::Failed(failure) => serde_json::to_value(failure).unwrap_or_default(),
            ResolveError::Misbehaved(misbehaved) => json!({ "field": misbehaved.field, "problem": misbehaved.problem }),
            ResolveError::Call(component_host::RunError::Limit { limit, allowed }) => {
                json!({ "limit": limit, "allowed": allowed })
            }
            ResolveError::Call(component_host::RunError::Trap { reason }) => json!({ "reason": reason }),
            ResolveError::Call(_) => json!({}),
        };
        Self::of_library(error.code(), error.to_string(), error.help()).with_details(details)
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> Self {
        let details = match &error {
            LoadError::ForeignImport { imports, .. } => json!({ "imports": imports }),
            LoadError::CompileLimit { limit, allowed } | LoadError::Exceeds { limit, allowed } => {
                json!({ "limit": limit, "allowed": allowed })
            }
            LoadError::Structure(component_host::structure::StructureRefusal::OverBudget {
                limit,
                actual,
                allowed,
            }) => {
                json!({ "limit": limit, "actual": actual, "allowed": allowed })
            }
            _ => json!({}),
        };
        Self::of_library(error.code(), error.to_string(), error.help()).with_details(details)
    }
}

macro_rules! from_library_errors {
    ($($error:ty),*) => {$(
        impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::of_library(error.code(), error.to_string(), error.help())
            }
        }
    )*};
}
from_library_errors!(
    BackendError,
    BlobError,
    ContentError,
    DataFolderError,
    KitError,
    MetadataError,
    OpenError,
    TokenError
);

impl From<SandboxError> for CliError {
    fn from(error: SandboxError) -> Self {
        Self::of_library(error.code(), error.to_string(), error.help())
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::of_library(error.code(), error.to_string(), error.help())
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
        Self::of_library(error.code(), error.to_string(), error.help()).with_details(details)
    }
}

impl From<InvalidLimits> for CliError {
    fn from(error: InvalidLimits) -> Self {
        Self::new(
            Code::InvalidLimits,
            error.to_string(),
            "see `docs/limits.toml` for the names of the limits; each limit is optional",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_code_of_another_machine_is_shown_and_exits_as_a_failure() {
        let unknown = CliError::of_response("a_code_of_another_version", "message", "help");
        assert_eq!((unknown.shown_code(), unknown.code), ("a_code_of_another_version", Code::Failed));
        assert_eq!(unknown.code.exit_code(), 1);
        let known = CliError::of_response("worker_not_found", "message", "help");
        assert_eq!((known.shown_code(), known.code), ("worker_not_found", Code::WorkerNotFound));
    }
}
