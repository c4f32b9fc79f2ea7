//! What happened in a workspace, in the order in which it happened. An event tells names, digests and
//! numbers; content is fetched by who may.

use std::fmt;
use std::str::FromStr;

use bundles::{Digest, Revision, ToolName};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::worker::{StopReason, SuspensionReason, WorkerId};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct Event {
    /// Counts from 1 in its workspace, without gaps, also across restarts.
    pub number: u64,
    /// When.
    #[cfg_attr(feature = "service", schema(schema_with = bundles::openapi::instant))]
    pub at: jiff::Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A bundle is there.
    BundleStored {
        /// Its digest.
        bundle: Digest,
        /// Its revision.
        revision: Revision,
    },
    /// A bundle is there no more.
    BundleRemoved {
        /// Its digest.
        bundle: Digest,
    },
    /// A bundle must not be used any more.
    BundleRevoked {
        /// Its digest.
        bundle: Digest,
    },
    /// A worker is there.
    WorkerCreated {
        /// Its id.
        worker: WorkerId,
        /// Its bundle.
        bundle: Digest,
        /// Whether the bundle is older than the newest one, which somebody asked for.
        older: bool,
    },
    /// A worker takes no more calls.
    WorkerStopped {
        /// Its id.
        worker: WorkerId,
        /// Why.
        reason: StopReason,
    },
    /// A stopped worker was removed with its history.
    WorkerRemoved {
        /// Its id, which another worker may have after this event.
        worker: WorkerId,
    },
    /// A change of the config suspended a worker.
    WorkerSuspended {
        /// Its id.
        worker: WorkerId,
        /// The cause.
        reason: SuspensionReason,
        /// The cause in a sentence.
        detail: String,
        /// What removes the cause.
        remedy: String,
    },
    /// A change of the config ended the suspension of a worker.
    WorkerResumed {
        /// Its id.
        worker: WorkerId,
    },
    /// A tool call has ended.
    CallEnded {
        /// The worker.
        worker: WorkerId,
        /// The number of the call's end in the worker's history.
        entry: u64,
        /// The tool.
        tool: ToolName,
        /// `ok`, or the code of the error.
        outcome: String,
    },
    /// The host's config was changed, and something of it concerns this workspace.
    ConfigChanged {
        /// The digest of what is granted now.
        policy: Digest,
    },
}

/// Marks the events that one opening of a Runtime wrote.
///
/// Each opening takes a random epoch. So two events that have the same number, because the store was restored
/// from a backup in between, have different epochs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Epoch(u64);

impl Epoch {
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        getrandom::u64().map(Self)
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

    pub(crate) fn new(epoch: Option<Epoch>, number: u64) -> Self {
        if number == 0 { Self::START } else { Self { epoch, number } }
    }

    /// Returns the number of the last event that was seen; 0 if none was.
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
