//! Events from outside, which are delivered to a worker's services.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Maximum length of an [`EventId`] in bytes.
const MAX_ID_BYTES: usize = 128;

/// Id of an event, which its sender chooses: 1 to 128 visible ASCII characters. A sender that repeats a request with the
/// same id causes no second event. Two ingress names of a worker have separate ids.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Box<str>);

/// Error returned for a text that is not an [`EventId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid event id: expected 1–128 visible ASCII characters without spaces")]
pub struct InvalidEventId;

impl EventId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventId {
    type Err = InvalidEventId;

    fn from_str(text: &str) -> Result<Self, InvalidEventId> {
        let is_valid = (1..=MAX_ID_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_valid { Ok(Self(text.into())) } else { Err(InvalidEventId) }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for EventId {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        bundles::openapi::text("visible ASCII characters", Some("^[!-~]{1,128}$"), Some(MAX_ID_BYTES))
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for EventId {}

/// An event that was accepted. It is durable, and its number does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AcceptedEvent {
    /// Number of the entry in the worker's history. A repeated request gets the number of the first one.
    pub entry: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_visible_ascii_within_its_length() {
        for good in ["1", "7f3a-…".trim_end_matches('…'), "\"quoted\"", "a/b?c=d", &"x".repeat(128)] {
            assert_eq!(good.parse::<EventId>().map(|id| id.to_string()).as_deref(), Ok(good));
        }
        for bad in ["", " ", "a b", "a\n", "é", "\u{7f}", &"x".repeat(129)] {
            assert_eq!(bad.parse::<EventId>(), Err(InvalidEventId), "{bad:?}");
        }
    }
}
