//! Errors of resolutions, and the classes of their outcomes.

use component_host::RunError;
use host_policy::{Failure, InvalidAnswer};
use runtime_api::Code;
use serde::Serialize;

/// Class of the outcome of a resolution, for tests of resolver components.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The resolver returned a resolution, which the host has verified.
    Resolved,
    /// The resolver reported a failure, which the host has confirmed, such as an unknown profile.
    Failed,
    /// The resolver returned an answer that contradicts its inputs.
    Misbehaved,
    /// The component was rejected when it was loaded.
    RefusedLoad,
    /// The component does not implement the resolver contract.
    RefusedLink,
    /// A limit was exceeded.
    Limit,
    /// The component trapped, or returned a malformed value.
    Trap,
    /// This process could not run the component, for a reason that is independent of the component.
    Unavailable,
}

/// Error returned by a resolution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The resolver reported a failure, which the host has confirmed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The resolver returned an answer that contradicts its inputs.
    #[error(transparent)]
    Misbehaved(#[from] InvalidAnswer),
    /// The call of the resolver failed.
    #[error(transparent)]
    Call(#[from] RunError),
}

impl ResolveError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Failed(failure) => failure.code(),
            Self::Misbehaved(_) => Code::ResolverMisbehaved,
            Self::Call(error) => error.code(),
        }
    }

    /// Returns the remedy.
    pub fn help(&self) -> String {
        match self {
            Self::Failed(failure) => failure.help(),
            Self::Misbehaved(_) => "use another resolver; the answer of this one was discarded".to_owned(),
            Self::Call(error) => error.help().to_owned(),
        }
    }

    /// `true` if the same inputs cause the same error on every host and at every time.
    pub fn is_deterministic(&self) -> bool {
        match self {
            Self::Failed(_) | Self::Misbehaved(_) => true,
            Self::Call(RunError::Limit { limit, .. }) => !matches!(*limit, "deadline_ms" | "wall_ms"),
            Self::Call(RunError::Trap { .. } | RunError::Malformed) => true,
            Self::Call(RunError::Busy | RunError::OutOfMemory) => false,
        }
    }

    /// Returns the class of the outcome.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Failed(_) => Outcome::Failed,
            Self::Misbehaved(_) => Outcome::Misbehaved,
            Self::Call(RunError::Limit { .. } | RunError::Busy) => Outcome::Limit,
            Self::Call(RunError::OutOfMemory) => Outcome::Unavailable,
            Self::Call(RunError::Trap { .. } | RunError::Malformed) => Outcome::Trap,
        }
    }
}
