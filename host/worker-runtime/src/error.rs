//! Why there is no resolution, as one type with one code for each reason.

use component_host::CallError;
use host_policy::{Failure, InvalidAnswer};
use serde::Serialize;

/// How an attempt to resolve ended, as a class that a test of a component looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A resolution, every word of which the host has checked.
    Resolved,
    /// A failure that the host has found as well: no such profile, no model.
    Failed,
    /// An answer that is not so.
    Misbehaved,
    /// The component was not taken in.
    RefusedLoad,
    /// The component does not fit the contract.
    RefusedLink,
    /// A bound was passed.
    Limit,
    /// The component trapped, or handed over what is no value.
    Trap,
    /// This process could not run the component, whatever the component is.
    Unavailable,
}

/// There is no resolution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The resolver says why not, and is right.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The resolver says what is not so.
    #[error(transparent)]
    Misbehaved(#[from] InvalidAnswer),
    /// The resolver says nothing.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl ResolveError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Failed(failure) => failure.code(),
            Self::Misbehaved(_) => "resolver_misbehaved",
            Self::Call(error) => error.code(),
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Failed(failure) => failure.help(),
            Self::Misbehaved(_) => "use another resolver: nothing of what this one said was taken over".to_owned(),
            Self::Call(error) => error.help().to_owned(),
        }
    }

    /// The class of the outcome.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Failed(_) => Outcome::Failed,
            Self::Misbehaved(_) => Outcome::Misbehaved,
            Self::Call(CallError::Limit { .. } | CallError::Busy) => Outcome::Limit,
            Self::Call(CallError::OutOfMemory) => Outcome::Unavailable,
            Self::Call(CallError::Trap { .. } | CallError::Malformed) => Outcome::Trap,
        }
    }
}
