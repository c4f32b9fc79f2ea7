//! What goes over the wire: the bodies of requests and answers that are no domain type by themselves.

use std::collections::BTreeSet;

use bundles::{Digest, WorkspaceId};
use serde::{Deserialize, Serialize};

use crate::content::{BundleFinding, BundleSummary};
use crate::history::Entry;
use crate::runtime::{Capabilities, ResolverSummary, RuntimeSummary, WorkspaceUsage};
use crate::token::{Scope, TokenSummary};
use crate::worker::{DisplayName, WorkerId, WorkerSummary};

/// A manifest by itself.
pub const MANIFEST: &str = "application/vnd.yoi.config-bundle.v1+json";
/// A manifest inside the envelope that signs it.
pub const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// A component.
pub const COMPONENT: &str = "application/wasm";

macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $of:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
        pub struct $name { $($(#[$field_doc])* pub $field: $of),* }
    )*};
}

bodies! {
    /// A blob that is kept.
    KeptBlob {
        /// Its digest.
        digest: Digest,
        /// Its bytes.
        bytes: u64,
    }
    /// A bundle of which nothing was kept.
    MissingBlobs {
        /// The bundle.
        digest: Digest,
        /// Blobs to put first; then put the manifest again.
        missing: Vec<Digest>,
    }
    /// A page of bundles, in the order of their digests.
    Bundles {
        /// The bundles.
        bundles: Vec<BundleSummary>,
        /// The `after` of the next page. Absent if this is the last one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<Digest>,
    }
    /// Who uses a bundle.
    Users {
        /// The bundle.
        digest: Digest,
        /// `worker:ID`, `pin:NAME`: at most a hundred.
        users: Vec<String>,
    }
    /// Violations of newer rules by a stored bundle.
    BundleFindings {
        /// The bundle.
        digest: Digest,
        /// The violations.
        findings: Vec<BundleFinding>,
    }
    /// A worker that was made, or was there before.
    CreatedWorker {
        /// The worker.
        #[serde(flatten)]
        worker: WorkerSummary,
        /// Violations of newer rules by its bundle, if there are any. A tool whose schema is among them takes no calls.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        bundle_findings: Vec<BundleFinding>,
    }
    /// A page of workers, in the order of their ids.
    Workers {
        /// The workers.
        workers: Vec<WorkerSummary>,
        /// The `after` of the next page. Absent if this is the last one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<WorkerId>,
    }
    /// A page of a worker's history, in order.
    History {
        /// The entries.
        entries: Vec<Entry>,
        /// The `after` of the next page. Absent if this is the last one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    }
    /// The resolvers of a Runtime.
    Resolvers {
        /// The resolvers.
        resolvers: Vec<ResolverSummary>,
    }
    /// What a Runtime is.
    About {
        /// The Runtime.
        runtime: RuntimeSummary,
        /// What it can do.
        capabilities: Capabilities,
        /// What each workspace that its config names has stored.
        usage: std::collections::BTreeMap<WorkspaceId, WorkspaceUsage>,
    }
    /// The tokens of a Runtime.
    Tokens {
        /// The tokens, without what lets anybody in.
        tokens: Vec<TokenSummary>,
    }
    /// Whether a service can do its work, part by part.
    Readiness {
        /// Whether all of it can.
        ready: bool,
        /// The parts.
        checks: Vec<Check>,
    }
    /// A part that a service needs.
    Check {
        /// Which one.
        name: String,
        /// `ok`, or the code of what is wrong.
        outcome: String,
    }
}

/// A token that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What people call it.
    pub name: DisplayName,
    /// What its holder may do.
    pub scopes: BTreeSet<Scope>,
    /// Where.
    #[serde(default)]
    pub workspaces: BTreeSet<WorkspaceId>,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "service", schema(schema_with = bundles::openapi::instant, required = false))]
    pub expires_at: Option<jiff::Timestamp>,
    /// Connections that it may have in use at a time, instead of the service's `connection_share_percent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "service", schema(minimum = 1, required = false))]
    pub connections: Option<u32>,
    /// Streams of events that it may have open at a time, instead of the service's `event_streams`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "service", schema(minimum = 1, required = false))]
    pub event_streams: Option<u32>,
}

/// A token that was made. Nobody sees it again.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct IssuedToken {
    /// The token itself, which lets its holder in.
    pub token: String,
    /// What is known of it.
    #[serde(flatten)]
    pub summary: TokenSummary,
}

impl std::fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedToken").field("summary", &self.summary).finish_non_exhaustive()
    }
}
