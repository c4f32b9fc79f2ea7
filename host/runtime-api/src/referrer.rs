//! References to bundles and blobs.

use std::fmt;
use std::str::FromStr;

use bundles::Digest;
use serde::Serialize;

use crate::worker::WorkerId;

/// Something that refers to a bundle or a blob, and so keeps it from being removed.
///
/// The text form is `bundle:DIGEST`, `manifest`, `worker:ID`, `pin:NAME`, `failure`, `corpus` or `desired`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Referrer {
    /// A bundle whose manifest names the blob.
    Bundle(Digest),
    /// The bundle whose manifest is this blob.
    Manifest,
    /// A worker that was created from the bundle, or whose resolution record is this blob.
    Worker(WorkerId),
    /// A pin with this name.
    Pin(WorkerId),
    /// A failed resolution whose record is this blob.
    Failure,
    /// The records with which resolvers are compared. The blob is one of them.
    Corpus,
    /// The desired state of the workspace, which names the bundle.
    Desired,
}

/// Error returned for a text that is not a [`Referrer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid referrer: expected `bundle:DIGEST`, `manifest`, `worker:ID`, `pin:NAME`, `failure`, `corpus` or `desired`"
)]
pub struct InvalidReferrer;

impl fmt::Display for Referrer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle(digest) => write!(f, "bundle:{digest}"),
            Self::Manifest => f.write_str("manifest"),
            Self::Worker(id) => write!(f, "worker:{id}"),
            Self::Pin(name) => write!(f, "pin:{name}"),
            Self::Failure => f.write_str("failure"),
            Self::Corpus => f.write_str("corpus"),
            Self::Desired => f.write_str("desired"),
        }
    }
}

impl FromStr for Referrer {
    type Err = InvalidReferrer;

    fn from_str(text: &str) -> Result<Self, InvalidReferrer> {
        let parsed = match text.split_once(':') {
            None if text == "manifest" => Some(Self::Manifest),
            None if text == "failure" => Some(Self::Failure),
            None if text == "corpus" => Some(Self::Corpus),
            None if text == "desired" => Some(Self::Desired),
            Some(("bundle", digest)) => digest.parse().map(Self::Bundle).ok(),
            Some(("worker", id)) => id.parse().map(Self::Worker).ok(),
            Some(("pin", name)) => name.parse().map(Self::Pin).ok(),
            _ => None,
        };
        parsed.ok_or(InvalidReferrer)
    }
}

impl Serialize for Referrer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
