//! Error of operations on the content of a workspace.

use bundles::signature::{EnvelopeError, SignatureRefusal};
use bundles::{BundleError, Digest, Revision, WorkspaceId};
use content_store::blob_store::BlobError;
use content_store::metadata::MetadataError;
use runtime_api::Code;
use runtime_api::desired::Generation;
use runtime_api::referrer::Referrer;

use crate::ledger::ChangeError;
use crate::tenants::Busy;

/// Error returned by operations on the content of a workspace.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The blob store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The metadata store failed.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The workspace has reached a concurrency limit.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The manifest or a blob of the bundle is invalid.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The manifest does not have the signatures that the workspace's config requires.
    #[error(transparent)]
    Signature(#[from] SignatureRefusal),
    /// The envelope is malformed.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The config does not name the workspace, or has no `signatures` for it.
    #[error("the host's config has no `signatures` for workspace `{0}`")]
    NoPosture(WorkspaceId),
    /// The manifest belongs to another workspace.
    #[error("the manifest belongs to another workspace")]
    OtherWorkspace,
    /// No bundle of the workspace has this digest.
    #[error("bundle `{0}` not found")]
    BundleNotFound(Digest),
    /// No blob of the workspace has this digest.
    #[error("blob `{0}` not found")]
    BlobNotFound(Digest),
    /// The bundle is revoked.
    #[error("bundle `{0}` is revoked")]
    BundleRevoked(Digest),
    /// Another bundle has the same revision.
    #[error("revision {} already belongs to bundle `{held_by}`", revision.get())]
    RevisionConflict {
        /// The revision.
        revision: Revision,
        /// The bundle that has it.
        held_by: Digest,
    },
    /// The bundle is older than the newest one, and the request does not allow an older bundle.
    #[error("revision {} is older than the newest revision {}", revision.get(), newest.get())]
    RevisionOlder {
        /// Revision of the bundle.
        revision: Revision,
        /// Newest revision that was ever stored in the workspace.
        newest: Revision,
    },
    /// The decision about the desired bundle is not newer than the acknowledged one.
    #[error("generation {generation} is not newer than the acknowledged generation {acknowledged}")]
    GenerationOlder {
        /// Number of the decision.
        generation: Generation,
        /// Number of the acknowledged decision.
        acknowledged: Generation,
    },
    /// The bundle to be removed is in use.
    #[error("bundle `{digest}` is in use (first referrer: `{}`)", users.first().map(Referrer::to_string).unwrap_or_default())]
    InUse {
        /// The bundle.
        digest: Digest,
        /// At most 100 referrers.
        users: Vec<Referrer>,
    },
    /// The workspace has reached a storage limit.
    #[error("limit `{limit}` of the workspace reached ({allowed})")]
    Full {
        /// Name of the limit.
        limit: &'static str,
        /// Value of the limit.
        allowed: u64,
    },
    /// The content exceeds a size limit.
    #[error("the content exceeds limit `{limit}` ({actual} > {allowed} bytes)")]
    TooLarge {
        /// Name of the limit.
        limit: &'static str,
        /// Actual or announced size in bytes.
        actual: u64,
        /// Value of the limit in bytes.
        allowed: u64,
    },
    /// Every attempt conflicted with a concurrent change.
    #[error("the operation conflicted with concurrent changes")]
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
    /// `true` if a retry can succeed, because the error is not about the content itself.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Busy(_)
                | Self::Metadata(_)
                | Self::Contended
                | Self::Blob(BlobError::Unavailable { .. } | BlobError::Full | BlobError::Moved)
        )
    }

    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Blob(error) => error.code(),
            Self::Metadata(error) => error.code(),
            Self::Busy(error) => error.code(),
            Self::Bundle(error) => error.code(),
            Self::Signature(error) => error.code(),
            Self::Envelope(error) => error.code(),
            Self::NoPosture(_) => Code::NoSignaturePosture,
            Self::OtherWorkspace => Code::WorkspaceDenied,
            Self::BundleNotFound(_) => Code::BundleNotFound,
            Self::BlobNotFound(_) => Code::BlobNotFound,
            Self::BundleRevoked(_) => Code::BundleRevoked,
            Self::RevisionConflict { .. } => Code::RevisionConflict,
            Self::RevisionOlder { .. } => Code::RevisionOlder,
            Self::GenerationOlder { .. } => Code::GenerationOlder,
            Self::InUse { .. } => Code::InUse,
            Self::Full { .. } => Code::StoreFull,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::Contended => Code::Contended,
        }
    }

    /// Returns the remedy.
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
                    "write `signatures = {{ posture = \"none\" }}` under [workspaces.{workspace}] in the host's config, or list the keys that must sign"
                );
            }
            Self::OtherWorkspace => "put it into the workspace that its `workspace.id` names",
            Self::BundleNotFound(_) => "put the bundle first, or list the bundles to find its digest",
            Self::BlobNotFound(_) => "put the blob first",
            Self::BundleRevoked(_) => "use a bundle with another revision",
            Self::RevisionConflict { .. } => "raise the revision and build the bundle again",
            Self::RevisionOlder { .. } => "use the newest bundle, or allow an older one with `allow_older`",
            Self::GenerationOlder { .. } => "read the acknowledged generation, and decide again with a higher one",
            Self::InUse { .. } => "stop the workers that use it and remove its pins",
            Self::Full { .. } => "remove unused bundles and workers, or raise the limit",
            Self::TooLarge { .. } => "make the content smaller, or raise the limit",
            Self::Contended => "retry the operation",
        };
        plain.to_owned()
    }
}
