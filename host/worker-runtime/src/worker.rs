//! What a worker is asked for with, and what is told of it.

use std::fmt;
use std::str::FromStr;

use bundles::{Capability, Digest, Need, shown};
use host_policy::{ProfileSelector, Refusal};
use serde::{Deserialize, Serialize};

/// A worker's name in its workspace, chosen by whoever asks for it: asking twice makes one worker.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(Box<str>);

/// A text that names no worker.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is no worker id: 1 to 64 of letters, digits, `-`, `_` and `.`, beginning with a letter or digit",
    shown(.0)
)]
pub struct InvalidWorkerId(String);

impl fmt::Debug for InvalidWorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvalidWorkerId({self})")
    }
}

impl WorkerId {
    /// The id as text.
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

/// Text that people write about a worker: one line of it, or more.
#[derive(Clone, PartialEq, Eq)]
pub struct Text<const MOST_BYTES: usize>(Box<str>);

/// A name that people call a worker by.
pub type DisplayName = Text<128>;

/// What a worker is for. It stays with the host: a resolver does not see it, so it cannot change
/// what a worker may do.
pub type Intent = Text<4096>;

/// A text that is too long, empty, or holds what changes a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is empty, has more than {most_bytes} bytes, or holds control characters")]
pub struct InvalidText {
    most_bytes: usize,
}

impl<const MOST_BYTES: usize> Text<MOST_BYTES> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MOST_BYTES: usize> FromStr for Text<MOST_BYTES> {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let plain = text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t'));
        if plain && !text.trim().is_empty() && text.len() <= MOST_BYTES {
            Ok(Self(text.into()))
        } else {
            Err(InvalidText { most_bytes: MOST_BYTES })
        }
    }
}

/// What people wrote is not for logs.
impl<const MOST_BYTES: usize> fmt::Debug for Text<MOST_BYTES> {
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

/// Serde through the one spelling.
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
#[cfg(feature = "service")]
impl utoipa::PartialSchema for WorkerId {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        let words = "letters, digits, `-`, `_` and `.`, beginning with a letter or digit";
        bundles::openapi::text(words, Some("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"), Some(64))
    }
}

#[cfg(feature = "service")]
impl utoipa::ToSchema for WorkerId {}

#[cfg(feature = "service")]
impl<const MOST_BYTES: usize> utoipa::PartialSchema for Text<MOST_BYTES> {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        let printable = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x08\x0b-\x1f\x7f-\x9f]*$";
        bundles::openapi::text("text without control characters", Some(printable), Some(MOST_BYTES))
    }
}

#[cfg(feature = "service")]
impl<const MOST_BYTES: usize> utoipa::ToSchema for Text<MOST_BYTES> {
    fn name() -> std::borrow::Cow<'static, str> {
        format!("Text{MOST_BYTES}").into()
    }
}

as_text!({} WorkerId);
as_text!({const MOST_BYTES: usize} Text<MOST_BYTES>);

/// What a worker is asked for with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateWorkerRequest {
    /// The profile: `NAME` of the bundle, or `builtin:NAME`.
    pub profile: ProfileSelector,
    /// The bundle; none for a profile that ships inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Digest>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    /// What the host must be able to do for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_capabilities: Vec<Capability>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<DisplayName>,
    /// The resolver, where it is not to be the active one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<Digest>,
    /// Whether a bundle may be used that is older than the newest one that was acknowledged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_older: bool,
}

/// Most capabilities that one request may name.
pub const MAX_REQUIRED_CAPABILITIES: usize = 256;

impl CreateWorkerRequest {
    /// A worker of a profile of a bundle.
    pub fn of_bundle(profile: bundles::ProfileName, bundle: Digest) -> Self {
        Self::of(ProfileSelector::Bundle(profile), Some(bundle))
    }

    /// A worker of a profile that ships inside.
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

/// State of a worker. A suspension is derived from what is stored and from the config that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WorkerState {
    /// The worker takes calls.
    Running,
    /// The worker takes no calls until the cause is removed.
    Suspended(Suspension),
    /// The worker takes no calls, and never will again.
    Stopped {
        /// Why.
        reason: StopReason,
        /// Since when.
        #[cfg_attr(feature = "service", schema(schema_with = bundles::openapi::instant))]
        at: jiff::Timestamp,
    },
}

/// Why a worker takes no more calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Somebody stopped it.
    Requested,
    /// Its resolver was revoked.
    ResolverRevoked,
    /// Its bundle was revoked.
    BundleRevoked,
}

/// Cause of a suspension, as a stable word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
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
    /// The bundle is not accepted any more, for example because of its size or a leak finding.
    BundleRefused,
    /// The record of the worker's resolution is not in the store.
    RecordMissing,
    /// The record of the worker's resolution is damaged.
    RecordDamaged,
}

/// Cause of a suspension and what removes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Suspension {
    /// The cause.
    pub reason: SuspensionReason,
    /// The cause in a sentence, with the grants that are missing.
    pub detail: String,
    /// What removes the cause, such as the line of the config.
    pub remedy: String,
}

/// Refusals that a suspension names.
const MAX_NAMED_REFUSALS: usize = 4;

impl Suspension {
    pub(crate) fn new(reason: SuspensionReason, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), remedy: remedy.into() }
    }

    /// Names what the config does not grant.
    pub(crate) fn denied(refusals: &[Refusal]) -> Self {
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
    /// The reason in words.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Requested => "it was stopped",
            Self::ResolverRevoked => "its resolver was revoked",
            Self::BundleRevoked => "its bundle was revoked",
        }
    }
}

/// What is told of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct WorkerSummary {
    /// Its id.
    pub id: WorkerId,
    /// What it was asked for with.
    pub request: CreateWorkerRequest,
    /// The bundle that it is made from, which may be the one that ships inside.
    pub bundle: Digest,
    /// The resolver that resolved it.
    pub resolver: Digest,
    /// The resolution record.
    pub record: Digest,
    /// What the host granted when it was made, as a digest.
    pub policy: Digest,
    /// Since when it is there.
    #[cfg_attr(feature = "service", schema(schema_with = bundles::openapi::instant))]
    pub created_at: jiff::Timestamp,
    /// Whether it takes calls.
    #[serde(flatten)]
    pub state: WorkerState,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_no_room_for_a_path_or_a_key() {
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
