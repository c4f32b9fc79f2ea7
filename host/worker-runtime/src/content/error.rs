//! Why a workspace's content is not kept, not found or not taken away.

use bundles::signature::{EnvelopeError, SignatureRefusal};
use bundles::{BundleError, Digest, Revision, WorkspaceId};
use content_store::blob_store::BlobError;
use content_store::metadata::MetadataError;
use runtime_api::referrer::Referrer;

use crate::ledger::ChangeError;
use crate::tenants::Busy;

/// What went wrong with a workspace's content.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The blob store says no.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The metadata store says no.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The workspace has as much going as it may.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The manifest, or a blob of it, is not what a bundle may hold.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The manifest is not signed as the workspace's config demands.
    #[error(transparent)]
    Signature(#[from] SignatureRefusal),
    /// The envelope is none.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The config does not name the workspace, or does not say who must have signed its bundles.
    #[error("the host's config does not say who must have signed bundles of workspace `{0}`")]
    NoPosture(WorkspaceId),
    /// The manifest is of another workspace.
    #[error("the manifest is of another workspace")]
    OtherWorkspace,
    /// The workspace has no such bundle.
    #[error("there is no bundle {0}")]
    BundleNotFound(Digest),
    /// The workspace has no such blob.
    #[error("there is no blob {0}")]
    BlobNotFound(Digest),
    /// The bundle must not be used any more.
    #[error("bundle {0} is revoked")]
    BundleRevoked(Digest),
    /// Another bundle has this revision.
    #[error("revision {} is bundle {held_by}", revision.get())]
    RevisionConflict {
        /// The revision.
        revision: Revision,
        /// The bundle that has it.
        held_by: Digest,
    },
    /// What was to be removed is used.
    #[error("{digest} is in use, first by `{}`", users.first().map(Referrer::to_string).unwrap_or_default())]
    InUse {
        /// What was to be removed.
        digest: Digest,
        /// Who uses it; at most a hundred of them.
        users: Vec<Referrer>,
    },
    /// The workspace may not store more.
    #[error("the workspace's limit `{limit}` is reached ({allowed} allowed)")]
    Full {
        /// The limit.
        limit: &'static str,
        /// What the limit allows.
        allowed: u64,
    },
    /// Larger than allowed.
    #[error("{actual} bytes are more than the {allowed} allowed (`{limit}`)")]
    TooLarge {
        /// The limit.
        limit: &'static str,
        /// Bytes that there are or were announced.
        actual: u64,
        /// Bytes that are allowed.
        allowed: u64,
    },
    /// Others changed the same again and again.
    #[error("others changed the same at the same time")]
    Contended,
}

impl From<ChangeError> for ContentError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Conflict => Self::Contended,
            ChangeError::Full { limit, allowed } => Self::Full { limit, allowed },
            ChangeError::Store(error) => Self::Metadata(error),
        }
    }
}

impl ContentError {
    /// Whether it says nothing about the content: the store did not answer now, and may another time.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Busy(_)
                | Self::Metadata(_)
                | Self::Contended
                | Self::Blob(BlobError::Unavailable { .. } | BlobError::Full | BlobError::Moved)
        )
    }

    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Blob(error) => error.code(),
            Self::Metadata(error) => error.code(),
            Self::Busy(error) => error.code(),
            Self::Bundle(error) => error.code(),
            Self::Signature(error) => error.code(),
            Self::Envelope(error) => error.code(),
            Self::NoPosture(_) => "no_signature_posture",
            Self::OtherWorkspace => "workspace_denied",
            Self::BundleNotFound(_) => "bundle_not_found",
            Self::BlobNotFound(_) => "blob_not_found",
            Self::BundleRevoked(_) => "bundle_revoked",
            Self::RevisionConflict { .. } => "revision_conflict",
            Self::InUse { .. } => "in_use",
            Self::Full { .. } => "store_full",
            Self::TooLarge { .. } => "too_large",
            Self::Contended => "contended",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        let plain = match self {
            Self::Blob(error) => error.help(),
            Self::Metadata(error) => error.help(),
            Self::Busy(error) => error.help(),
            Self::Bundle(error) => return error.help(),
            Self::Signature(error) => error.help(),
            Self::Envelope(error) => error.help(),
            Self::NoPosture(workspace) => {
                return format!(
                    "write `signatures = {{ posture = \"none\" }}` under [workspaces.{workspace}] in the host's config, or name the keys that must have signed"
                );
            }
            Self::OtherWorkspace => "put it where its `workspace.id` says",
            Self::BundleNotFound(_) => "put it first; the list of bundles has those that are there",
            Self::BlobNotFound(_) => "put it first",
            Self::BundleRevoked(_) => "use another revision",
            Self::RevisionConflict { .. } => "raise the revision and build the bundle again",
            Self::InUse { .. } => "stop or move what uses it, or take its pin away",
            Self::Full { .. } => "remove what is not used, or raise the limit of that name",
            Self::TooLarge { .. } => "make it smaller, or raise the limit of that name",
            Self::Contended => "try again",
        };
        plain.to_owned()
    }
}
