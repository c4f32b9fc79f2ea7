//! The error type of the commands.

use bundles::signature::SignatureRefusal;
use component_host::{InvalidLimits, LoadError, SandboxError};
use host_policy::ConfigError;
use runtime_api::Code;
use serde_json::{Value, json};
use worker_runtime::blob_store::BlobError;
use worker_runtime::content::ContentError;
use worker_runtime::metadata::MetadataError;
use worker_runtime::token::TokenError;
use worker_runtime::{DataFolderError, OpenError, ResolveError};

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

    pub(crate) fn exit_code(&self) -> u8 {
        exit_code(&self.code)
    }
}

/// Returns the exit code of an error code: 1 failed, 2 usage, 3 invalid, 4 denied, 5 not found, 6 the guest trapped, returned
/// an invalid answer or exceeded a limit. Unknown codes, which other versions may send, get 1.
pub(crate) fn exit_code(code: &str) -> u8 {
    listed(code).unwrap_or(1)
}

/// Lists every error code of the project. A test fails for a code that is missing here.
#[rustfmt::skip]
fn listed(code: &str) -> Option<u8> {
    Some(match code {
        "address_unavailable" | "already_there" | "blobs_vanished" | "busy" | "cache_damaged" | "cache_not_a_folder" | "cache_not_private"
        | "cache_unavailable" | "compiler_failed" | "contended" | "data_folder_moved" | "data_folder_not_a_folder" | "data_folder_not_private" | "duplicate_tool" | "failed" | "history_full"
        | "in_use" | "mount_unavailable" | "no_clock" | "no_commit" | "no_entropy" | "no_threads" | "not_committed"
        | "restart_needed" | "sandbox_unavailable" | "stopping" | "secret_not_private" | "secret_unavailable" | "secret_unusable" | "store_full"
        | "resolver_active" | "resolver_unavailable" | "store_in_use" | "store_newer" | "store_unavailable" | "unreadable" | "unwritable" | "worker_exists"
        | "worker_stopped" | "worker_not_stopped" | "worker_suspended" | "call_ended" | "file_changed" | "file_exists" | "file_in_use" | "file_unavailable"
        | "body_too_slow" | "interrupted" | "mount_full" | "no_tls" | "rate_limited" | "timed_out" | "tool_panicked" | "tool_refused"
        | "unexpected_answer" | "unreachable" | "secrets_not_a_folder" | "secrets_not_private" | "secrets_unavailable" => 1,
        "no_token" | "usage" | "workspace_unnamed" => 2,
        "ambiguous_url" | "blob_damaged" | "body_incomplete" | "bundle_damaged" | "bundle_unnamed" | "bundle_unwanted"
        | "contract_mismatch" | "control_character" | "core_module" | "dangling_name" | "default_port_written" | "descriptor_mismatch"
        | "digest_mismatch" | "duplicate_key" | "duplicate_name" | "earlier_time" | "foreign_import"
        | "host_not_normal" | "host_path_in_bundle" | "inheritance_conflict" | "inheritance_cycle"
        | "invalid_bundle" | "invalid_component" | "invalid_config" | "invalid_digest" | "invalid_envelope"
        | "invalid_field" | "invalid_host" | "invalid_input" | "invalid_json" | "invalid_key" | "invalid_limits"
        | "invalid_method" | "invalid_name" | "invalid_output" | "invalid_path" | "invalid_permission"
        | "invalid_pointer" | "invalid_public_key" | "invalid_schema" | "invalid_scheme" | "invalid_signing_key"
        | "invalid_toml" | "invalid_type" | "invalid_value" | "invalid_version" | "list_not_normal"
        | "malformed_component" | "mark_missing" | "metadata_foreign" | "mark_without_meaning" | "metadata_damaged" | "method_missing"
        | "method_on_websocket" | "missing_blobs" | "missing_export" | "missing_field" | "missing_file"
        | "no_bundle" | "not_a_bundle" | "not_a_file" | "not_a_package" | "not_canonical" | "not_utf8" | "not_wasm" | "over_budget"
        | "path_missing" | "port_zero" | "revision_conflict" | "revision_older" | "secret_exposed"
        | "secret_in_bundle" | "signature_invalid" | "too_deep" | "too_large" | "too_many_capabilities"
        | "unexpected_file" | "unknown_field" | "unknown_rule" | "unknown_surface" | "unlisted_blob" | "unsafe_number"
        | "missing_schema" | "unknown_condition" | "unset_into_value" | "unset_nothing" | "unused_declaration"
        | "unsupported_schema" | "unsupported_world" | "unused_acceptance" | "wasm_text" | "wildcard_too_wide" | "wrong_size"
        | "body_too_large" | "file_too_large" | "insecure_url" | "invalid_glob" | "invalid_request" | "invalid_token"
        | "invalid_url" | "method_not_allowed" | "precondition_failed" | "unsupported_media_type" | "link_loop" | "not_a_folder" | "text_too_large" => 3,
        "address_never_dialled" | "bundle_policy_denied" | "bundle_required" | "bundle_revoked"
        | "bundle_unsigned" | "calls_used_up" | "confirmation_required" | "denied" | "egress_not_granted" | "egress_unavailable"
        | "git_not_granted" | "git_read_only" | "header_not_allowed" | "header_name_too_long" | "header_value_too_long" | "headers_too_large" | "invalid_header_name"
        | "invalid_header_value" | "localhost_not_loopback" | "invalid_subprotocols" | "malformed_url" | "model_not_granted"
        | "mount_not_granted" | "mount_read_only" | "no_address" | "no_model" | "no_signature_posture"
        | "not_declared" | "not_declared_nor_granted" | "not_granted" | "plugin_not_granted" | "resolver_pinned" | "resolver_revoked"
        | "scheme_not_allowed" | "secret_not_granted" | "shell_not_granted" | "signing_key_unknown"
        | "special_address_not_declared" | "special_address_not_declared_nor_granted"
        | "special_address_not_granted" | "token_expired" | "too_many_headers" | "tool_without_authority"
        | "tls_missing" | "tool_without_plugin" | "unauthenticated" | "unmet_capability" | "unsupported_declaration"
        | "url_too_long" | "user_info" | "workspace_denied"
        | "host_denied" | "origin_denied" | "scope_missing" | "file_access_not_kept" | "file_forbidden" | "file_read_only" | "outside_mount" | "path_not_allowed" | "secrets_read_only" => 4,
        "blob_not_found" | "bundle_missing" | "bundle_not_found" | "file_not_found" | "not_found" | "resolver_not_found" | "secret_not_found"
        | "token_not_found" | "tool_not_found" | "unknown_field_asked" | "unknown_profile" | "worker_not_found" => 5,
        "compile_limit_exceeded" | "deadline_exceeded" | "limit_exceeded" | "plugin_malformed" | "plugin_trapped" | "resolver_malformed"
        | "resolver_misbehaved" | "resolver_trapped" | "service_ended" | "service_failed" => 6,
        _ => return None,
    })
}

impl From<ResolveError> for CliError {
    fn from(error: ResolveError) -> Self {
        let details = match &error {
            ResolveError::Failed(failure) => serde_json::to_value(failure).unwrap_or_default(),
            ResolveError::Misbehaved(misbehaved) => json!({ "field": misbehaved.field, "problem": misbehaved.problem }),
            ResolveError::Call(component_host::CallError::Limit { limit, allowed }) => {
                json!({ "limit": limit, "allowed": allowed })
            }
            ResolveError::Call(component_host::CallError::Trap { reason }) => json!({ "reason": reason }),
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
from_library_errors!(BlobError, ContentError, DataFolderError, MetadataError, OpenError, TokenError);

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
