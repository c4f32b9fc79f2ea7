//! The error of the structure check.

use error_code::Code;

use super::names;

/// Error returned for bytes that are not a component within the budget.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StructureRefusal {
    /// The bytes are neither a component nor a core module.
    #[error("this is not WebAssembly")]
    NotWasm,
    /// The bytes are the text format. Only the binary format is accepted.
    #[error("this is WebAssembly text, not a binary component")]
    Text,
    /// The bytes are a core module, which has no interface types and no world.
    #[error("this is a core module, not a component")]
    CoreModule,
    /// The bytes begin like WebAssembly and are malformed.
    #[error("malformed component at byte {offset}: {message}")]
    Malformed {
        /// Offset from the start, in bytes.
        offset: u64,
        /// The problem, escaped and shortened.
        message: String,
    },
    /// A count exceeds the budget.
    #[error("it exceeds limit `{limit}` ({actual} > {allowed})")]
    OverBudget {
        /// Field of [`Budget`](super::Budget).
        limit: &'static str,
        /// Count when reading stopped. The whole component may have more.
        actual: u64,
        /// Value of the limit.
        allowed: u64,
    },
}

impl StructureRefusal {
    /// Returns the stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::NotWasm => Code::NotWasm,
            Self::Text => Code::WasmText,
            Self::CoreModule => Code::CoreModule,
            Self::Malformed { .. } => Code::MalformedComponent,
            Self::OverBudget { .. } => Code::OverBudget,
        }
    }

    pub(super) fn malformed(offset: usize, message: &str) -> Self {
        Self::Malformed { offset: offset as u64, message: names::shown(message) }
    }
}

impl From<wasmparser::Error> for StructureRefusal {
    fn from(error: wasmparser::Error) -> Self {
        Self::malformed(error.offset(), error.message())
    }
}
