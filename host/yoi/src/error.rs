//! The error type of the commands, and the exit code of each error code.

use std::borrow::Cow;

use bundles::signature::SignatureRefusal;
use component_host::{InvalidLimits, LoadError, SandboxError};
use host_policy::ConfigError;
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
    pub(crate) code: Cow<'static, str>,
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
    pub(crate) fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), help: help.into(), details: json!({}), text: None }
    }

    /// Converts the error of a library. Help texts of libraries name no commands; see [`advice`].
    pub(crate) fn of_library(code: &'static str, message: String, help: impl AsRef<str>) -> Self {
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

    /// Returns the code if it is one of this program. A code that another machine sent can be any word and becomes `failed`.
    pub(crate) fn own_code(&self) -> &'static str {
        match self.code {
            Cow::Borrowed(code) => code,
            Cow::Owned(_) => "failed",
        }
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
            "invalid_limits",
            error.to_string(),
            "see `docs/limits.toml` for the names of the limits; each limit is optional",
        )
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use super::*;

    /// Returns the literals that are codes: those in `fn code()`, and the first argument of calls that create an error or a
    /// diagnostic.
    fn codes(source: &str) -> Vec<String> {
        let source = source.split("#[cfg(test)]").next().unwrap_or_default();
        let literal = |text: &str| {
            let word = text.split('"').nth(1)?;
            let plain = word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
            (plain && !word.is_empty()).then(|| word.to_owned())
        };
        let mut found = Vec::new();
        for body in source.split("fn code(").skip(1) {
            let indent = if body.contains("\n    }\n") { "\n    }\n" } else { "\n}\n" };
            let body = body.split(indent).next().unwrap_or_default();
            // The literals of an attribute are feature names.
            let body: String = body.lines().filter(|line| !line.trim_start().starts_with("#[")).collect();
            found.extend(body.split('"').skip(1).step_by(2).map(str::to_owned));
        }
        for before in ["CliError::new(", "code: "] {
            let made = source.split(before).skip(1).map(str::trim_start);
            found.extend(made.filter(|after| after.starts_with('"')).filter_map(literal));
        }
        for call in [".say(", ".tell(", ".tell_file(", ".at("] {
            for arguments in source.split(call).skip(1) {
                // Only up to the end of the call.
                found.extend(literal(arguments.split(';').next().unwrap_or_default()));
            }
        }
        found
    }

    /// Folders of the packages whose errors reach the command line.
    pub(crate) const PACKAGES: [&str; 13] = [
        "bundles",
        "bundles/leak-scan",
        "bundles/tool-schema",
        "host/component-host",
        "host/content-store",
        "host/host-policy",
        "host/host-tools",
        "host/http-edge",
        "host/runtime-api",
        "host/runtime-client",
        "host/runtime-service",
        "host/worker-runtime",
        "host/yoi",
    ];

    pub(crate) fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_code_of_the_project_has_an_exit_code() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut files = Vec::new();
        for package in PACKAGES {
            sources(&root.join(package).join("src"), &mut files);
        }
        let mut unlisted = BTreeMap::new();
        let mut seen = 0;
        for file in files {
            for code in codes(&std::fs::read_to_string(&file).expect("read")) {
                seen += 1;
                if listed(&code).is_none() {
                    unlisted.insert(code, file.clone());
                }
            }
        }
        assert!(seen > 150, "{seen}");
        assert!(unlisted.is_empty(), "no exit code for {unlisted:?}");
    }

    #[test]
    fn every_code_of_the_http_api_has_an_exit_code() {
        let registry = runtime_service::REGISTRY;
        let unlisted: Vec<_> = registry.iter().filter(|(code, _)| listed(code).is_none()).collect();
        assert!(unlisted.is_empty() && registry.len() > 50, "{unlisted:?}");
        assert_eq!(exit_code("a_code_of_another_version"), 1);
    }

    #[test]
    fn an_error_of_the_operating_system_is_a_failure_and_not_invalid_input() {
        for code in ["unreadable", "unwritable", "already_there", "no_commit", "not_committed"] {
            assert_eq!(exit_code(code), 1, "{code}");
        }
        assert_eq!(["usage", "dangling_name", "denied", "not_found", "limit_exceeded"].map(exit_code), [2, 3, 4, 5, 6]);
    }
}
