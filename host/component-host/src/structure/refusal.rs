//! Why bytes are not a component that a compiler may see.

use super::names;

/// Why a component was refused on its bytes alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Neither a component nor a core module.
    #[error("this is not WebAssembly")]
    NotWasm,
    /// The text form, which is never accepted in place of the binary one.
    #[error("this is WebAssembly text, not a binary component")]
    Text,
    /// A core module: it has no interface types and no world.
    #[error("this is a core module, not a component")]
    CoreModule,
    /// It begins like WebAssembly and cannot be read to its end.
    #[error("the component is malformed at byte {offset}: {message}")]
    Malformed {
        /// Bytes from the beginning.
        offset: u64,
        /// What was wrong, without control characters and short.
        message: String,
    },
    /// There is more of something than the budget allows.
    #[error("it exceeds limit `{limit}` ({actual} > {allowed})")]
    OverBudget {
        /// The field of [`Budget`](super::Budget).
        limit: &'static str,
        /// How much was counted when reading stopped; there may be more.
        actual: u64,
        /// How much is allowed.
        allowed: u64,
    },
}

impl Refusal {
    /// The stable word for this refusal.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotWasm => "not_wasm",
            Self::Text => "wasm_text",
            Self::CoreModule => "core_module",
            Self::Malformed { .. } => "malformed_component",
            Self::OverBudget { .. } => "over_budget",
        }
    }

    pub(super) fn malformed(offset: usize, message: &str) -> Self {
        Self::Malformed { offset: offset as u64, message: names::shown(message) }
    }
}

impl From<wasmparser::Error> for Refusal {
    fn from(error: wasmparser::Error) -> Self {
        Self::malformed(error.offset(), error.message())
    }
}
