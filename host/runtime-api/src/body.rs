//! Bodies of requests and responses that are not a domain type by themselves, and media types.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;

use bundles::{Digest, WorkspaceId};
use serde::{Deserialize, Serialize};

use crate::bundle::{BundleFinding, BundleSummary};
use crate::event::Event;
use crate::history::Entry;
use crate::log::LogEntry;
use crate::resolver::ResolverSummary;
use crate::runtime::{Capabilities, RuntimeSummary, WorkspaceUsage};
use crate::service::ServiceSummary;
use crate::token::{Scope, TokenGrant, TokenSummary};
use crate::worker::{DisplayName, FailedResolutionSummary, WorkerId, WorkerSummary};

/// Media type of a manifest without signatures.
pub const MANIFEST: &str = "application/vnd.yoi.config-bundle.v1+json";
/// Media type of a manifest inside an envelope with signatures.
pub const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// Media type of a WebAssembly component.
pub const COMPONENT: &str = "application/wasm";

macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $of:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct $name { $($(#[$field_doc])* pub $field: $of),* }
    )*};
}

bodies! {
    /// A stored blob.
    StoredBlob {
        /// Digest of the blob.
        digest: Digest,
        /// Size of the blob in bytes.
        bytes: u64,
    }
    /// Response to a manifest whose blobs are not all stored. The bundle was not stored.
    MissingBlobs {
        /// Digest of the bundle.
        digest: Digest,
        /// Blobs to upload before the manifest is sent again.
        missing: Vec<Digest>,
    }
    /// A page of bundles, ordered by digest.
    BundlePage {
        /// Bundles of the page.
        bundles: Vec<BundleSummary>,
        /// Value of `after` for the next page. Absent if this is the last page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<Digest>,
    }
    /// Referrers of a bundle.
    BundleReferrers {
        /// Digest of the bundle.
        digest: Digest,
        /// At most 100 referrers, as `worker:ID` or `pin:NAME`.
        users: Vec<String>,
    }
    /// Violations of newer rules by a stored bundle.
    BundleFindings {
        /// Digest of the bundle.
        digest: Digest,
        /// Violations.
        findings: Vec<BundleFinding>,
    }
    /// Response to the creation of a worker.
    CreatedWorkerBody {
        /// Summary of the worker.
        #[serde(flatten)]
        worker: WorkerSummary,
        /// Violations of newer rules by its bundle, if there are any. A tool whose schema violates one accepts no calls.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        bundle_findings: Vec<BundleFinding>,
    }
    /// A page of workers, ordered by id.
    WorkerPage {
        /// Workers of the page.
        workers: Vec<WorkerSummary>,
        /// Value of `after` for the next page. Absent if this is the last page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<WorkerId>,
    }
    /// A page of a worker's history, ordered by number.
    HistoryPage {
        /// Entries of the page.
        entries: Vec<Entry>,
        /// Value of `after` for the next page. Absent if this is the last page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    }
    /// A page of a Runtime's own events, ordered by number.
    EventPage {
        /// Events of the page.
        events: Vec<Event>,
        /// Value of `after` for the next page. Absent if this is the last page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    }
    /// A page of the log lines of a worker's plugins, ordered by number.
    LogPage {
        /// Lines of the page.
        lines: Vec<LogEntry>,
        /// Value of `after` for the next page. Absent if this is the last page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    }
    /// Services of a worker.
    ServiceList {
        /// All services, ordered by plugin.
        services: Vec<ServiceSummary>,
    }
    /// Resolutions that failed.
    FailedResolutionList {
        /// The recorded failed resolutions of the workspace, the oldest first.
        failures: Vec<FailedResolutionSummary>,
    }
    /// Resolvers of a Runtime.
    ResolverList {
        /// All resolvers, including revoked ones.
        resolvers: Vec<ResolverSummary>,
    }
    /// Description of a Runtime.
    RuntimeInfo {
        /// Summary of the Runtime.
        runtime: RuntimeSummary,
        /// Capabilities of the Runtime.
        capabilities: Capabilities,
        /// Storage used by each workspace that the config names.
        usage: BTreeMap<WorkspaceId, WorkspaceUsage>,
    }
    /// Tokens of a Runtime.
    TokenList {
        /// All tokens, without their secrets.
        tokens: Vec<TokenSummary>,
    }
    /// Readiness of a service, check by check.
    Readiness {
        /// `true` if all checks succeeded.
        ready: bool,
        /// Results of the checks.
        checks: Vec<ReadinessCheck>,
    }
    /// Result of one readiness check.
    ReadinessCheck {
        /// Name of the part that was checked.
        name: String,
        /// `ok`, or an error code.
        outcome: String,
    }
}

/// Request to issue a token. It differs from a [`TokenGrant`] in that unknown fields are refused, and in that a limit of 0
/// can be read, so that the service can name the limit in its error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct IssueTokenRequest {
    /// Name for people.
    pub name: DisplayName,
    /// Permissions.
    pub scopes: BTreeSet<Scope>,
    /// Workspaces in which the permissions hold.
    #[serde(default)]
    pub workspaces: BTreeSet<WorkspaceId>,
    /// Time from which the token is invalid. Absent if it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant, required = false))]
    pub expires_at: Option<jiff::Timestamp>,
    /// Limit of concurrent connections, which replaces the service's `connection_share_percent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, required = false))]
    pub connections: Option<u32>,
    /// Limit of concurrent event streams, which replaces the service's `event_streams`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, required = false))]
    pub event_streams: Option<u32>,
}

impl From<TokenGrant> for IssueTokenRequest {
    fn from(grant: TokenGrant) -> Self {
        let TokenGrant { name, scopes, workspaces, expires_at, connections, event_streams } = grant;
        let connections = connections.map(NonZeroU32::get);
        Self { name, scopes, workspaces, expires_at, connections, event_streams }
    }
}

/// A token that was issued. The service never shows its secret again.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IssuedToken {
    /// The token with its secret, as it is sent in the `Authorization` header.
    pub token: String,
    /// Summary of the token.
    #[serde(flatten)]
    pub summary: TokenSummary,
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken").field("summary", &self.summary).finish_non_exhaustive()
    }
}
