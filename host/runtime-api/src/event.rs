//! Events of a workspace, in the order in which they happened. An event holds names, digests and numbers, and no
//! content.

use std::fmt;
use std::str::FromStr;

use bundles::{Digest, PluginName, ProfileName, Revision, ToolName};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::desired::Generation;
use crate::worker::{StopReason, SuspensionReason, WorkerId};

/// An event of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Number of the event in its workspace, from 1, without gaps, also across restarts.
    pub number: u64,
    /// Time of the event.
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
    pub at: jiff::Timestamp,
    /// Content of the event.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Kind of an event, with its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A bundle was stored.
    BundleStored {
        /// Digest of the bundle.
        bundle: Digest,
        /// Revision of the bundle.
        revision: Revision,
    },
    /// A bundle was removed.
    BundleRemoved {
        /// Digest of the bundle.
        bundle: Digest,
    },
    /// A bundle was revoked.
    BundleRevoked {
        /// Digest of the bundle.
        bundle: Digest,
    },
    /// The Runtime acknowledged a decision of a Backend.
    DesiredChanged {
        /// Digest of the bundle that the workspace should use.
        bundle: Digest,
        /// Number of the decision.
        #[cfg_attr(feature = "openapi", schema(value_type = u64))]
        generation: Generation,
    },
    /// A worker was created.
    WorkerCreated {
        /// Id of the worker.
        worker: WorkerId,
        /// Digest of its bundle.
        bundle: Digest,
        /// `true` if the bundle is older than the newest one, which the request allowed.
        older: bool,
    },
    /// A worker was stopped.
    WorkerStopped {
        /// Id of the worker.
        worker: WorkerId,
        /// Cause.
        reason: StopReason,
    },
    /// A stopped worker was removed with its history.
    WorkerRemoved {
        /// Id of the worker. Another worker may have this id after the event.
        worker: WorkerId,
    },
    /// A change of the config suspended a worker.
    WorkerSuspended {
        /// Id of the worker.
        worker: WorkerId,
        /// Cause.
        reason: SuspensionReason,
        /// Cause, in a sentence.
        detail: String,
        /// Change that ends the suspension.
        remedy: String,
    },
    /// A change of the config ended the suspension of a worker.
    WorkerResumed {
        /// Id of the worker.
        worker: WorkerId,
    },
    /// A tool call ended.
    CallEnded {
        /// Id of the worker.
        worker: WorkerId,
        /// Number of the entry that ends the call in the worker's history.
        entry: u64,
        /// Name of the tool.
        tool: ToolName,
        /// `ok`, or the error code.
        outcome: String,
    },
    /// The instance of a service ended with an error, and another one is started.
    ServiceRestarting {
        /// Id of the worker.
        worker: WorkerId,
        /// Plugin of the service.
        plugin: PluginName,
        /// Error code.
        code: String,
    },
    /// The instance of a service ended with an error, and no other one is started.
    ServiceStopped {
        /// Id of the worker.
        worker: WorkerId,
        /// Plugin of the service.
        plugin: PluginName,
        /// Error code.
        code: String,
    },
    /// A resolver was admitted. Events of resolvers belong to the Runtime and to no workspace.
    ResolverAdmitted {
        /// Digest of the resolver.
        resolver: Digest,
    },
    /// A resolver was activated.
    ResolverActivated {
        /// Digest of the resolver.
        resolver: Digest,
        /// Digest of the resolver that was active before.
        previous: Digest,
        /// Digest of the changes that a comparison showed. Absent if the resolver was activated without a comparison.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false))]
        change_set: Option<Digest>,
    },
    /// An earlier resolver was activated again.
    ResolverRolledBack {
        /// Digest of the resolver.
        resolver: Digest,
        /// Digest of the resolver that was active before.
        previous: Digest,
    },
    /// A live resolution differed from the accepted comparison, so the previous resolver is activated again.
    ResolverDiverged {
        /// Digest of the resolver.
        resolver: Digest,
        /// Profile of the resolution.
        profile: ProfileName,
        /// JSON pointer of the value that differed.
        field: String,
    },
    /// A resolver was revoked.
    ResolverRevoked {
        /// Digest of the resolver.
        resolver: Digest,
    },
    /// A resolver was removed.
    ResolverRemoved {
        /// Digest of the resolver.
        resolver: Digest,
    },
    /// The config of the host was changed in a part that concerns the workspace.
    ConfigChanged {
        /// Digest of the policy that is in force now.
        policy: Digest,
    },
}

impl EventKind {
    /// Returns the worker of an event that concerns one.
    pub fn worker(&self) -> Option<&WorkerId> {
        match self {
            Self::WorkerCreated { worker, .. }
            | Self::WorkerStopped { worker, .. }
            | Self::WorkerRemoved { worker }
            | Self::WorkerSuspended { worker, .. }
            | Self::WorkerResumed { worker }
            | Self::CallEnded { worker, .. }
            | Self::ServiceRestarting { worker, .. }
            | Self::ServiceStopped { worker, .. } => Some(worker),
            Self::BundleStored { .. }
            | Self::BundleRemoved { .. }
            | Self::BundleRevoked { .. }
            | Self::DesiredChanged { .. }
            | Self::ResolverAdmitted { .. }
            | Self::ResolverActivated { .. }
            | Self::ResolverRolledBack { .. }
            | Self::ResolverDiverged { .. }
            | Self::ResolverRevoked { .. }
            | Self::ResolverRemoved { .. }
            | Self::ConfigChanged { .. } => None,
        }
    }
}

/// An item of a subscription to the events of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionItem {
    /// An event.
    Event(Event),
    /// Events may have been missed. Either the events between the two numbers were deleted, or the store lacks the last
    /// received event because it was restored from a backup. In the second case `first_kept` may be less than `after`.
    Gap {
        /// Number of the last received event.
        after: u64,
        /// Number of the next event.
        first_kept: u64,
    },
}

/// An item of a subscription, with the position after it. A new subscription from this position continues without a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionedItem {
    /// The position.
    pub cursor: Cursor,
    /// The item.
    pub item: SubscriptionItem,
}

/// Number that identifies one opening of a Runtime. Each event holds the epoch in which it was written.
///
/// Each opening takes a random epoch. Two events with the same number, of which one was lost when the store was restored
/// from a backup, therefore have different epochs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl From<u64> for Epoch {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

/// A position in the events of a workspace: the last event that a subscriber saw, by its epoch and its number.
///
/// The text form is `EPOCH-NUMBER`, with 16 hexadecimal digits of epoch. A number alone is the position of an event
/// that was written before events had epochs; `0` is the position before the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    epoch: Option<Epoch>,
    number: u64,
}

/// Error returned for a text that is not a [`Cursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid event cursor: expected a number, or 16 hexadecimal digits, `-` and a number")]
pub struct InvalidCursor;

impl Cursor {
    /// The position before the first event.
    pub const START: Self = Self { epoch: None, number: 0 };

    /// Returns the position after the event `number` of `epoch`. Events of earlier versions have no epoch.
    pub fn new(epoch: Option<Epoch>, number: u64) -> Self {
        if number == 0 { Self::START } else { Self { epoch, number } }
    }

    /// Returns the number of the last event that the subscriber saw, or 0.
    pub fn number(self) -> u64 {
        self.number
    }
}

impl From<u64> for Cursor {
    fn from(number: u64) -> Self {
        Self::new(None, number)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        if text.len() != 16 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(InvalidCursor);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| InvalidCursor)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.epoch {
            Some(epoch) => write!(f, "{epoch}-{}", self.number),
            None => write!(f, "{}", self.number),
        }
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (epoch, number) = match text.split_once('-') {
            Some((epoch, number)) => (Some(epoch.parse()?), number),
            None => (None, text),
        };
        // `u64::from_str` takes a sign.
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidCursor);
        }
        Ok(Self::new(epoch, number.parse().map_err(|_| InvalidCursor)?))
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        for text in ["0", "7", "18446744073709551615", "00000000000000ff-1", "fedcba9876543210-10"] {
            assert_eq!(text.parse::<Cursor>().map(|cursor| cursor.to_string()), Ok(text.to_owned()));
        }
        // The position before the first event is the same in every epoch.
        assert_eq!("fedcba9876543210-0".parse(), Ok(Cursor::START));
    }

    #[test]
    fn other_texts_are_no_cursor() {
        for text in [
            "",
            "-",
            "+1",
            "-1",
            " 1",
            "x",
            "1-1",
            "fedcba9876543210-",
            "fedcba9876543210--1",
            "fedcba9876543210-+1",
            "FEDCBA9876543210-1",
            "fedcba98765432100-1",
            "18446744073709551616",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
