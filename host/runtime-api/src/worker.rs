//! Workers: ids, requests, states and summaries.

use std::fmt;
use std::str::FromStr;

use bundles::{Capability, Digest, Need, ProfileName, shown};
use host_policy::{ProfileSelector, Refusal};
use serde::{Deserialize, Serialize};

use crate::bundle::BundleFinding;

/// Id of a worker in its workspace: 1–64 letters, digits, `-`, `_` or `.`, starting with a letter or digit.
///
/// The caller chooses the id, so creating a worker is idempotent: a request that is sent twice creates one worker.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(Box<str>);

/// Error returned for a text that is not a [`WorkerId`].
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid worker id `{}`: expected 1–64 letters, digits, `-`, `_` or `.`, starting with a letter or digit",
    shown(.0)
)]
pub struct InvalidWorkerId(String);

impl fmt::Debug for InvalidWorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvalidWorkerId({self})")
    }
}

impl WorkerId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkerId {
    type Err = InvalidWorkerId;

    fn from_str(text: &str) -> Result<Self, InvalidWorkerId> {
        let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if first && text.len() <= 64 && text.bytes().all(rest) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidWorkerId(text.to_owned()))
        }
    }
}

/// Summary of a recorded resolution that failed, whose worker the host denied, or that differed from the accepted comparison
/// after the activation of a resolver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct FailedResolutionSummary {
    /// Digest of the record, which is a blob of the workspace.
    pub record: Digest,
    /// Time of the first occurrence.
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
    pub at: jiff::Timestamp,
    /// The requested profile.
    pub profile: ProfileName,
    /// The bundle.
    pub bundle: Digest,
    /// The resolver.
    pub resolver: Digest,
    /// Error code: that of the failure, `denied`, or `changes_not_accepted`.
    pub code: String,
}

/// Text for people about a worker or token: not blank, at most `MAX_BYTES` bytes, and no control characters but line
/// breaks and tabs.
#[derive(Clone, PartialEq, Eq)]
pub struct Text<const MAX_BYTES: usize>(Box<str>);

/// Name for people.
pub type DisplayName = Text<128>;

/// Purpose of a worker. Resolvers do not see it, so it cannot change what a worker may do.
pub type Intent = Text<4096>;

/// Error returned for a string that is not a [`Text`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid text: expected 1–{max_bytes} bytes without control characters")]
pub struct InvalidText {
    max_bytes: usize,
}

impl<const MAX_BYTES: usize> Text<MAX_BYTES> {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX_BYTES: usize> FromStr for Text<MAX_BYTES> {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let plain = text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t'));
        if plain && !text.trim().is_empty() && text.len() <= MAX_BYTES {
            Ok(Self(text.into()))
        } else {
            Err(InvalidText { max_bytes: MAX_BYTES })
        }
    }
}

/// Shows the length only: texts of people do not belong into logs.
impl<const MAX_BYTES: usize> fmt::Debug for Text<MAX_BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Implements serde through `FromStr` and `as_str`.
macro_rules! as_text {
    ({$($generics:tt)*} $name:ty) => {
        impl<$($generics)*> Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de, $($generics)*> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for WorkerId {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        let words = "letters, digits, `-`, `_` and `.`, beginning with a letter or digit";
        bundles::openapi::text(words, Some("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"), Some(64))
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for WorkerId {}

#[cfg(feature = "openapi")]
impl<const MAX_BYTES: usize> utoipa::PartialSchema for Text<MAX_BYTES> {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        let printable = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x08\x0b-\x1f\x7f-\x9f]*$";
        bundles::openapi::text("text without control characters", Some(printable), Some(MAX_BYTES))
    }
}

#[cfg(feature = "openapi")]
impl<const MAX_BYTES: usize> utoipa::ToSchema for Text<MAX_BYTES> {
    fn name() -> std::borrow::Cow<'static, str> {
        format!("Text{MAX_BYTES}").into()
    }
}

as_text!({} WorkerId);
as_text!({const MAX_BYTES: usize} Text<MAX_BYTES>);

/// Request to create a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateWorkerRequest {
    /// Profile: `NAME` of the bundle, or `builtin:NAME`.
    pub profile: ProfileSelector,
    /// Digest of the bundle. Absent for a profile of the built-in bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Digest>,
    /// Purpose of the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    /// Capabilities that the host must have. At most [`MAX_REQUIRED_CAPABILITIES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_capabilities: Vec<Capability>,
    /// Name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<DisplayName>,
    /// Digest of the resolver to use. Absent for the active one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<Digest>,
    /// `true` if the bundle may be older than the newest one that was stored in the workspace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_older: bool,
}

/// Maximum number of capabilities in one request.
pub const MAX_REQUIRED_CAPABILITIES: usize = 256;

impl CreateWorkerRequest {
    /// Returns a request for a profile of a bundle, with all other fields empty.
    pub fn of_bundle(profile: bundles::ProfileName, bundle: Digest) -> Self {
        Self::of(ProfileSelector::Bundle(profile), Some(bundle))
    }

    /// Returns a request for a profile of the built-in bundle, with all other fields empty.
    pub fn builtin(profile: bundles::ProfileName) -> Self {
        Self::of(ProfileSelector::Builtin(profile), None)
    }

    fn of(profile: ProfileSelector, bundle: Option<Digest>) -> Self {
        Self {
            profile,
            bundle,
            intent: None,
            required_capabilities: Vec::new(),
            display_name: None,
            resolver: None,
            allow_older: false,
        }
    }
}

/// State of a worker. A suspension is not stored: it is derived from the stored worker and the config in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WorkerState {
    /// The worker accepts calls.
    Running,
    /// The worker accepts no calls until the cause is removed.
    Suspended(Suspension),
    /// The worker accepts no calls. This state is final.
    Stopped {
        /// Cause.
        reason: StopReason,
        /// Time at which the worker was stopped.
        #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
        at: jiff::Timestamp,
    },
}

/// Cause for which a worker was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// A client requested it.
    Requested,
    /// The resolver of the worker was revoked.
    ResolverRevoked,
    /// The bundle of the worker was revoked.
    BundleRevoked,
}

/// Cause of a suspension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SuspensionReason {
    /// The config does not grant something that the worker requires.
    PolicyDenied,
    /// The signatures of the bundle do not satisfy the config.
    SignatureRefused,
    /// The bundle, or a blob of it, is not in the store.
    BundleMissing,
    /// The bundle, or a blob of it, is damaged.
    BundleDamaged,
    /// The bundle is revoked.
    BundleRevoked,
    /// The bundle is no longer accepted, for example because of its size or a leak finding.
    BundleRefused,
    /// The record of the worker's resolution is not in the store.
    RecordMissing,
    /// The record of the worker's resolution is damaged.
    RecordDamaged,
}

/// Cause of a suspension, with the change that ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Suspension {
    /// Cause.
    pub reason: SuspensionReason,
    /// Cause in a sentence, with the grants that are missing.
    pub detail: String,
    /// Change that ends the suspension, such as a line of the config.
    pub remedy: String,
}

/// Maximum number of refusals that a suspension names.
const MAX_NAMED_REFUSALS: usize = 4;

impl Suspension {
    /// Creates a suspension.
    pub fn new(reason: SuspensionReason, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), remedy: remedy.into() }
    }

    /// Creates a suspension that names the required permissions which the config does not grant.
    pub fn denied(refusals: &[Refusal]) -> Self {
        let required: Vec<&Refusal> = refusals.iter().filter(|refusal| refusal.need == Need::Required).collect();
        let list = |text: fn(&Refusal) -> String| {
            let mut named: Vec<String> = required.iter().take(MAX_NAMED_REFUSALS).map(|one| text(one)).collect();
            if let Some(more) = required.len().checked_sub(MAX_NAMED_REFUSALS).filter(|more| *more > 0) {
                named.push(format!("and {more} more"));
            }
            named.join("; ")
        };
        let detail = list(|refusal| format!("`{}` is not granted: {}", refusal.subject, refusal.reason));
        Self::new(SuspensionReason::PolicyDenied, detail, list(|refusal| refusal.remedy.clone()))
    }
}

impl StopReason {
    /// Returns the cause as a clause.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Requested => "it was stopped",
            Self::ResolverRevoked => "its resolver was revoked",
            Self::BundleRevoked => "its bundle was revoked",
        }
    }
}

/// Summary of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerSummary {
    /// Id of the worker.
    pub id: WorkerId,
    /// Request that created the worker.
    pub request: CreateWorkerRequest,
    /// Digest of the bundle, which may be the built-in one.
    pub bundle: Digest,
    /// Digest of the resolver that resolved the worker.
    pub resolver: Digest,
    /// Digest of the resolution record.
    pub record: Digest,
    /// Digest of the policy under which the worker was created.
    pub policy: Digest,
    /// Time at which the worker was created.
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
    pub created_at: jiff::Timestamp,
    /// State of the worker.
    #[serde(flatten)]
    pub state: WorkerState,
}

/// Result of creating a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedWorker {
    /// Summary of the worker.
    pub worker: WorkerSummary,
    /// `true` if the request created the worker, `false` if an equal request had created it before.
    pub new: bool,
    /// Violations of newer rules by its bundle. A tool whose schema violates one accepts no calls.
    pub findings: Vec<BundleFinding>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_id_cannot_contain_a_path() {
        for good in ["a", "7", "0197a1f0-7c3e-7cc1-9d3e-2b1f0c9a7e55", "Build_1.2", &"x".repeat(64)] {
            assert_eq!(good.parse::<WorkerId>().map(|id| id.to_string()).as_deref(), Ok(good));
        }
        for bad in ["", ".", "-a", "a/b", "a b", "a\u{1f}b", "ä", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<WorkerId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_request_is_read_strictly_and_its_texts_stay_out_of_debug_output() {
        let request: CreateWorkerRequest = serde_json::from_str(
            r#"{"profile":"builtin:coder","intent":"CANARY","display_name":"CANARY","required_capabilities":["git"]}"#,
        )
        .expect("a request");
        assert!(!format!("{request:?}").contains("CANARY"));
        for bad in [
            r#"{"profile":"coder","extra":1}"#,
            r#"{"profile":"../coder"}"#,
            r#"{"profile":"coder","bundle":"sha256:0"}"#,
            r#"{"profile":"coder","display_name":"a\u001b[2J"}"#,
            r#"{"profile":"coder","intent":" "}"#,
            "{}",
        ] {
            assert!(serde_json::from_str::<CreateWorkerRequest>(bad).is_err(), "{bad}");
        }
    }
}
