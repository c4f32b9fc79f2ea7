//! What can go wrong with a component: when the engine is made, when it is loaded, when it is
//! called. Messages hold the component's digest, names of interfaces and of limits; never text that
//! a guest made up, a path, or what the engine says to itself.

use crate::structure::Refusal;

/// The sandbox cannot be made on this machine.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The engine refuses its configuration.
    #[error("the WebAssembly engine cannot be started on this machine")]
    Engine(#[source] wasmtime::Error),
    /// No thread for the epoch.
    #[error("a thread cannot be started")]
    Thread(#[source] std::io::Error),
}

impl SandboxError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        "sandbox_unavailable"
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        "allow the process more address space (`ulimit -v`) and threads"
    }
}

/// A component is not taken in.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoadError {
    /// Its structure is refused before anything is compiled.
    #[error("the component is refused: {0}")]
    Structure(#[from] Refusal),
    /// It imports what no resolver may have.
    #[error("the component imports what a resolver may not have: {}", list(.imports))]
    ForeignImport {
        /// The imports, by full name.
        imports: Vec<String>,
    },
    /// It does not export what a resolver must.
    #[error("the component does not export `{export}`")]
    MissingExport {
        /// The export, by full name.
        export: &'static str,
    },
    /// A function has other types than the contract says, or is none of the contract's.
    #[error("the component does not fit the contract `yoi:runtime/resolver@1.0.0`")]
    Link,
    /// The compiler refuses it.
    #[error("the component is not valid WebAssembly for this engine")]
    Invalid,
    /// Compiling it passes a bound.
    #[error("compiling the component {}", exceeds(.limit, *.allowed))]
    CompileLimit {
        /// The limit's name.
        limit: &'static str,
        /// What the limit allows.
        allowed: u64,
    },
    /// It asks for more than a resolution may have, before it has done anything.
    #[error("the component {}", exceeds(.limit, *.allowed))]
    Exceeds {
        /// The limit's name.
        limit: &'static str,
        /// What the limit allows.
        allowed: u64,
    },
    /// The system refuses this process the memory or address space that an instance needs.
    #[error("this process has not enough memory or address space to run a component")]
    OutOfMemory,
    /// The compiling process cannot be started, or died without saying why.
    #[error("the component could not be compiled: {problem}")]
    Compiler {
        /// What happened.
        problem: &'static str,
    },
}

/// Way in which a limit was exceeded, with the clock if the limit is a time.
fn exceeds(limit: &str, allowed: u64) -> String {
    match limit {
        "deadline_ms" | "compile_ms" => format!("took more than {allowed} ms of processor time (`{limit}`)"),
        "wall_ms" | "compile_wall_ms" => format!("did not end within {allowed} ms of wall-clock time (`{limit}`)"),
        limit => format!("exceeds limit `{limit}` ({allowed} allowed)"),
    }
}

/// Remedy if the system refuses memory.
const MORE_ADDRESS_SPACE: &str =
    "allow the process more address space (`ulimit -v`): each memory of a component reserves 4 GiB of it";

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl LoadError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Structure(refusal) => refusal.code(),
            Self::ForeignImport { .. } => "foreign_import",
            Self::MissingExport { .. } => "missing_export",
            Self::Link => "contract_mismatch",
            Self::Invalid => "invalid_component",
            Self::CompileLimit { .. } => "compile_limit_exceeded",
            Self::Exceeds { .. } => "limit_exceeded",
            Self::OutOfMemory => "sandbox_unavailable",
            Self::Compiler { .. } => "compiler_failed",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Structure(_) => "build it as a component, without what it does not need",
            Self::ForeignImport { .. } => {
                "build it without these, for example with stubbed WASI: a resolver gets the bundle and nothing else"
            }
            Self::MissingExport { .. } | Self::Link => "build it against the world `resolver` in `wit/`",
            Self::Invalid => "build it without engine features that are off here (memory64, threads, GC and the like)",
            Self::CompileLimit { limit: "compile_wall_ms", .. } => {
                "try again when the machine is less busy, or raise the limit of that name"
            }
            Self::CompileLimit { .. } => "raise the limit of that name if you trust the component's author",
            Self::Exceeds { .. } => "build it with less memory, fewer tables or fewer instances",
            Self::OutOfMemory => MORE_ADDRESS_SPACE,
            Self::Compiler { .. } => {
                "try again with more memory free; if it fails again, build the component otherwise"
            }
        }
    }
}

/// A call did not end in an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// A bound was passed.
    #[error("the resolver {}", exceeds(.limit, *.allowed))]
    Limit {
        /// The limit's name.
        limit: &'static str,
        /// What the limit allows.
        allowed: u64,
    },
    /// The guest trapped.
    #[error("the resolver trapped: {reason}")]
    Trap {
        /// The engine's name for the trap.
        reason: String,
    },
    /// What the guest handed over is no value of the contract's types.
    #[error("the resolver handed over data that is no value of the contract's types")]
    Malformed,
    /// The system refuses this process the memory or address space that an instance needs.
    #[error("this process has not enough memory or address space to run a resolver")]
    OutOfMemory,
    /// All places of the pool are taken.
    #[error("no place is free to run a resolver in")]
    Busy,
}

impl CallError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Limit { .. } => "limit_exceeded",
            Self::Trap { .. } => "resolver_trapped",
            Self::Malformed => "resolver_malformed",
            Self::OutOfMemory => "sandbox_unavailable",
            Self::Busy => "busy",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Limit { limit: "wall_ms", .. } => {
                "try again when the machine is less busy, or raise the limit of that name"
            }
            Self::Limit { .. } => "use another resolver, or raise the limit of that name",
            Self::Trap { .. } | Self::Malformed => "use another resolver, or run this one by itself to see why",
            Self::OutOfMemory => MORE_ADDRESS_SPACE,
            Self::Busy => "try again",
        }
    }
}
