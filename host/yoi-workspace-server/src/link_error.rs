//! Error of an operation on a Runtime, the same for embedded and remote Runtimes.

use runtime_api::Code;
use runtime_api::desired::Generation;

/// Error of an operation on a Runtime. It holds codes and numbers, and no text of the Runtime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No connection could be opened, or it broke.
    #[error("the Runtime cannot be reached")]
    Unreachable,
    /// There was no complete answer in time.
    #[error("the Runtime does not answer in time")]
    TimedOut,
    /// The Runtime does not accept the token, or the token does not have the scope or the workspace.
    #[error("the Runtime does not accept the token (`{0}`)")]
    Unauthorized(Code),
    /// The answer is not one of a Runtime, or of a version that this program does not understand.
    #[error("the Runtime gives an answer that this program does not understand")]
    Unsupported,
    /// The Runtime cannot do it now.
    #[error("the Runtime cannot do it now (`{0}`)")]
    Busy(Code),
    /// The Runtime refused.
    #[error("the Runtime refused (`{code}`)")]
    Refused {
        /// Error code.
        code: Code,
        /// Generation that the Runtime acknowledged, for [`Code::GenerationOlder`].
        acknowledged: Option<Generation>,
    },
    /// The Backend itself cannot read what it should deliver.
    #[error("the Backend cannot read the bundle (`{0}`)")]
    Source(Code),
    /// The policy of the Backend does not allow the workspace on the Runtime.
    #[error("the policy does not allow the workspace on the Runtime")]
    NotAllowed,
}

impl LinkError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreachable => Code::Unreachable,
            Self::TimedOut => Code::TimedOut,
            Self::Unsupported => Code::UnexpectedAnswer,
            Self::Unauthorized(code) | Self::Busy(code) | Self::Source(code) => *code,
            Self::Refused { code, .. } => *code,
            Self::NotAllowed => Code::NotGranted,
        }
    }

    /// Returns `true` if the error says something about the Runtime as a whole, and nothing about one workspace.
    pub fn concerns_runtime(&self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::Unsupported)
    }
}
