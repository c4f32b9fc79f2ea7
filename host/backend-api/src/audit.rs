//! Audit log of the Backend: every administrative action, in order.

use std::collections::BTreeSet;

use bundles::{Digest, Revision, RuntimeName, WorkspaceId};
use error_code::Code;
use runtime_api::desired::Generation;
use runtime_api::token::TokenId;
use runtime_api::worker::WorkerId;
use serde::{Deserialize, Serialize};

use crate::desired::Stage;
use crate::session::SessionId;
use crate::token::BackendScope;

/// Entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// Number of the entry, from 1, without gaps.
    pub number: u64,
    /// Time of the action.
    #[cfg_attr(feature = "openapi", schema(schema_with = bundles::openapi::instant))]
    pub at: jiff::Timestamp,
    /// Author of the action.
    #[serde(flatten)]
    pub actor: Actor,
    /// The action.
    #[serde(flatten)]
    pub action: Action,
    /// Error code, if the action was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, required = false))]
    pub refused: Option<Code>,
}

/// Author of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "actor", rename_all = "snake_case")]
pub enum Actor {
    /// The Backend itself.
    Backend,
    /// A program that embeds the Backend, or the command line on its data folder.
    Local,
    /// The holder of a token.
    Token {
        /// Id of the token.
        token: TokenId,
    },
    /// A person on the pages.
    Session {
        /// Id of the session.
        session: SessionId,
        /// Id of the token that issued the login link.
        token: TokenId,
    },
}

/// An administrative action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// A bundle was published.
    Publish {
        /// Workspace of the bundle.
        workspace: WorkspaceId,
        /// Digest of the bundle.
        bundle: Digest,
        /// Revision of the bundle.
        revision: Revision,
    },
    /// A bundle became the desired one.
    SetDesired {
        /// Workspace of the bundle.
        workspace: WorkspaceId,
        /// Digest of the bundle.
        bundle: Digest,
        /// Number of the decision. Absent if it was refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>, required = false))]
        generation: Option<Generation>,
        /// First stage of the rollout. Absent if the bundle is for all Runtimes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false))]
        stage: Option<Stage>,
    },
    /// The earlier bundle became the desired one again.
    RollBack {
        /// The workspace.
        workspace: WorkspaceId,
        /// Digest of the bundle. Absent if there was none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false))]
        bundle: Option<Digest>,
    },
    /// A rollout went on to another stage.
    AdvanceRollout {
        /// The workspace.
        workspace: WorkspaceId,
        /// The new stage. Absent if the rollout goes on to all Runtimes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false))]
        stage: Option<Stage>,
    },
    /// The generation was raised above one that a Runtime had acknowledged and this Backend did not know.
    RaiseGeneration {
        /// The workspace.
        workspace: WorkspaceId,
        /// The new generation.
        #[cfg_attr(feature = "openapi", schema(value_type = u64))]
        generation: Generation,
    },
    /// All Runtimes of a workspace were read again at once.
    Sync {
        /// The workspace.
        workspace: WorkspaceId,
    },
    /// A Runtime was read again at once.
    ReadRuntime {
        /// The Runtime.
        runtime: RuntimeName,
    },
    /// A Runtime was added by a request, or replaced.
    RegisterRuntime {
        /// The Runtime.
        runtime: RuntimeName,
    },
    /// A Runtime that a request had added was removed.
    RemoveRuntime {
        /// The Runtime.
        runtime: RuntimeName,
    },
    /// A worker was created, or the same request was repeated.
    CreateWorker {
        /// Workspace of the worker.
        workspace: WorkspaceId,
        /// Id of the worker.
        worker: WorkerId,
        /// Runtime of the worker. Absent if the request was refused before one was chosen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false))]
        runtime: Option<RuntimeName>,
    },
    /// A worker was stopped.
    StopWorker {
        /// Workspace of the worker.
        workspace: WorkspaceId,
        /// Id of the worker.
        worker: WorkerId,
        /// Runtime of the worker. Absent if the Backend has no such worker.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false))]
        runtime: Option<RuntimeName>,
    },
    /// A stopped worker was removed.
    RemoveWorker {
        /// Workspace of the worker.
        workspace: WorkspaceId,
        /// Id of the worker.
        worker: WorkerId,
        /// Runtime of the worker. Absent if the Backend has no such worker.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false))]
        runtime: Option<RuntimeName>,
    },
    /// A token was issued.
    IssueToken {
        /// Id of the token. Absent if the request was refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false))]
        issued: Option<TokenId>,
    },
    /// A token with which a Runtime polls the Backend was issued.
    IssuePullToken {
        /// The Runtime.
        runtime: RuntimeName,
        /// Id of the token. Absent if the request was refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(required = false))]
        issued: Option<TokenId>,
    },
    /// A token was revoked.
    RevokeToken {
        /// Id of the token.
        revoked: TokenId,
    },
    /// A login link was issued.
    IssueLoginLink {
        /// Permissions of the session.
        scopes: BTreeSet<BackendScope>,
        /// Workspaces in which the permissions hold.
        workspaces: BTreeSet<WorkspaceId>,
    },
    /// A login link was used. The actor is the new session.
    LogIn,
    /// A session was ended by its own person.
    LogOut,
    /// A session was ended by an administrator.
    EndSession {
        /// Id of the session.
        ended: SessionId,
    },
}

impl Action {
    /// Returns the workspace of the action. `None` if it concerns the Backend as a whole.
    pub fn workspace(&self) -> Option<&WorkspaceId> {
        match self {
            Self::Publish { workspace, .. }
            | Self::SetDesired { workspace, .. }
            | Self::RollBack { workspace, .. }
            | Self::AdvanceRollout { workspace, .. }
            | Self::RaiseGeneration { workspace, .. }
            | Self::Sync { workspace }
            | Self::CreateWorker { workspace, .. }
            | Self::StopWorker { workspace, .. }
            | Self::RemoveWorker { workspace, .. } => Some(workspace),
            Self::ReadRuntime { .. }
            | Self::RegisterRuntime { .. }
            | Self::RemoveRuntime { .. }
            | Self::IssuePullToken { .. }
            | Self::IssueToken { .. }
            | Self::RevokeToken { .. }
            | Self::IssueLoginLink { .. }
            | Self::LogIn
            | Self::LogOut
            | Self::EndSession { .. } => None,
        }
    }
}
