//! Errors of starting the engine, of loading a component, and of calling it.
//!
//! Messages contain names of interfaces and limits. They never contain text of a guest other than escaped
//! import names, a path, or a message of the engine.

use error_code::Code;

use crate::compile::child::WALL_LIMIT;
use crate::structure::StructureRefusal;
use crate::world::World;

/// Error returned if the sandbox cannot be created on this machine.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The engine rejected its configuration.
    #[error("failed to start the WebAssembly engine on this machine")]
    Engine(#[source] wasmtime::Error),
    /// The thread that advances the epoch could not be started.
    #[error("failed to start a thread")]
    Thread(#[source] std::io::Error),
}

impl SandboxError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        Code::SandboxUnavailable
    }

    /// Returns a help line for the user.
    pub fn help(&self) -> &'static str {
        "allow the process more address space (`ulimit -v`) and threads"
    }
}

/// Error returned for a component that cannot be loaded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoadError {
    /// The component failed the structure check before compilation.
    #[error("the component is refused: {0}")]
    Structure(#[from] StructureRefusal),
    /// The component has imports that its world does not allow.
    #[error("the component has imports that are not allowed for {}: {}", .world.noun(), list(.imports))]
    ForeignImport {
        /// World that the component was loaded for.
        world: World,
        /// Full names of the imports.
        imports: Vec<String>,
    },
    /// The component lacks an export that its world requires.
    #[error("the component does not export `{export}`")]
    MissingExport {
        /// World that the component was loaded for.
        world: World,
        /// Full name of the export.
        export: &'static str,
    },
    /// A function has other types than in the contract, or is not part of the contract.
    #[error("the component does not fit the contract `{}`", .world.name())]
    Link {
        /// World that the component was loaded for.
        world: World,
    },
    /// The compiler rejected the component.
    #[error("the component is not valid WebAssembly for this engine")]
    Invalid,
    /// Compiling the component exceeded a limit.
    #[error("compiling the component {}", exceeds(.limit, *.allowed))]
    CompileLimit {
        /// Name of the limit.
        limit: &'static str,
        /// Value of the limit.
        allowed: u64,
    },
    /// Instantiating the component would exceed a limit on its calls.
    #[error("the component {}", exceeds(.limit, *.allowed))]
    Exceeds {
        /// Name of the limit.
        limit: &'static str,
        /// Value of the limit.
        allowed: u64,
    },
    /// The system refused memory or address space that an instance needs.
    #[error("not enough memory or address space in this process to run a component")]
    OutOfMemory,
    /// The compiler failed for a reason other than the component.
    #[error("failed to compile the component: {problem}")]
    Compiler {
        /// The problem.
        problem: &'static str,
    },
}

/// Describes an exceeded limit, with the kind of clock if the limit is a time.
fn exceeds(limit: &str, allowed: u64) -> String {
    match limit {
        "deadline_ms" | "compile_ms" => format!("took more than {allowed} ms of processor time (`{limit}`)"),
        "wall_ms" | "compile_wall_ms" => format!("did not end within {allowed} ms of wall-clock time (`{limit}`)"),
        limit => format!("exceeds limit `{limit}` ({allowed} allowed)"),
    }
}

/// Help line for the case that the system refuses memory.
const OUT_OF_MEMORY_HELP: &str =
    "allow the process more address space (`ulimit -v`): each memory of a component reserves 4 GiB of it";

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl LoadError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Structure(refusal) => refusal.code(),
            Self::ForeignImport { .. } => Code::ForeignImport,
            Self::MissingExport { .. } => Code::MissingExport,
            Self::Link { .. } => Code::ContractMismatch,
            Self::Invalid => Code::InvalidComponent,
            Self::CompileLimit { .. } => Code::CompileLimitExceeded,
            Self::Exceeds { .. } => Code::LimitExceeded,
            Self::OutOfMemory => Code::SandboxUnavailable,
            Self::Compiler { .. } => Code::CompilerFailed,
        }
    }

    /// `true` if the same component can be loaded later. A compiler that could not be started, got too little processor
    /// time, or had too little memory says nothing about the component.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Compiler { .. } | Self::OutOfMemory | Self::CompileLimit { limit: WALL_LIMIT, .. })
    }

    /// Returns a help line for the user.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Structure(_) => "build a component, and remove the parts that it does not need",
            Self::ForeignImport { world: World::Resolver, .. } => {
                "build the component without these imports, for example with stubbed WASI; a resolver may import only its bundle"
            }
            Self::ForeignImport { .. } => {
                "build the component without these imports, for example with stubbed WASI; a plugin may import only `yoi:host`"
            }
            Self::MissingExport { world, .. } | Self::Link { world } => match world {
                World::Resolver => "build the component against the world `resolver` in `wit/`",
                World::Tool => "build the component against the world `tool` in `wit/`",
                World::Service => "build the component against the world `service` in `wit/`",
            },
            Self::Invalid => "build the component without the disabled features (memory64, threads, GC and others)",
            Self::CompileLimit { limit: WALL_LIMIT, .. } => {
                "try again when the machine is less busy, or raise the named limit"
            }
            Self::CompileLimit { .. } => "raise the named limit if you trust the component's author",
            Self::Exceeds { .. } => "build the component with less memory, fewer tables or fewer instances",
            Self::OutOfMemory => OUT_OF_MEMORY_HELP,
            Self::Compiler { .. } => {
                "try again with more free memory; if it fails again, build the component with another toolchain"
            }
        }
    }
}

/// Error returned for a call that ended without an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The resolver exceeded a limit.
    #[error("the resolver {}", exceeds(.limit, *.allowed))]
    Limit {
        /// Name of the limit.
        limit: &'static str,
        /// Value of the limit.
        allowed: u64,
    },
    /// The guest trapped.
    #[error("the resolver trapped: {reason}")]
    Trap {
        /// The engine's name for the trap.
        reason: String,
    },
    /// The guest passed a value that does not fit the contract's types.
    #[error("the resolver passed a value that does not fit the contract's types")]
    Malformed,
    /// The system refused memory or address space that an instance needs.
    #[error("not enough memory or address space in this process to run a resolver")]
    OutOfMemory,
    /// All slots of the instance pool are in use.
    #[error("too many concurrent resolver calls")]
    Busy,
}

impl RunError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Limit { .. } => Code::LimitExceeded,
            Self::Trap { .. } => Code::ResolverTrapped,
            Self::Malformed => Code::ResolverMalformed,
            Self::OutOfMemory => Code::SandboxUnavailable,
            Self::Busy => Code::Busy,
        }
    }

    /// Returns a help line for the user.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Limit { limit: "wall_ms", .. } => "try again when the machine is less busy, or raise the named limit",
            Self::Limit { .. } => "use another resolver, or raise the named limit",
            Self::Trap { .. } | Self::Malformed => "use another resolver, or run this one separately to find the cause",
            Self::OutOfMemory => OUT_OF_MEMORY_HELP,
            Self::Busy => "try again",
        }
    }
}

/// Error returned for a call or turn of a plugin that ended without an answer.
///
/// No text of the guest is in it, apart from the message of [`PluginError::Reported`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// The plugin exceeded a limit.
    #[error("the plugin {}", exceeds(.limit, *.allowed))]
    Limit {
        /// Name of the limit.
        limit: &'static str,
        /// Value of the limit.
        allowed: u64,
    },
    /// The guest trapped.
    #[error("the plugin trapped: {reason}")]
    Trap {
        /// The engine's name for the trap.
        reason: String,
    },
    /// The guest passed a value that does not fit the contract's types.
    #[error("the plugin passed a value that does not fit the contract's types")]
    Malformed,
    /// The output of a tool is not JSON text.
    #[error("the output of the plugin is not JSON text")]
    InvalidOutput,
    /// The code of a tool failure does not have the form that the contract defines.
    #[error("the plugin reported a failure with an invalid code")]
    InvalidFailureCode,
    /// The service reported that it cannot start or continue.
    #[error("the service reported an error")]
    Reported {
        /// Text of the plugin for the operator. It may contain control characters.
        message: String,
    },
    /// The service has ended: it trapped, exceeded a limit, or a turn was dropped.
    #[error("the service has ended")]
    Ended,
    /// The host's source of random bytes failed.
    #[error("the host has no random bytes for the plugin")]
    RandomUnavailable,
    /// The system refused memory or address space that an instance needs.
    #[error("not enough memory or address space in this process to run a plugin")]
    OutOfMemory,
    /// All slots of the instance pool are in use.
    #[error("too many concurrent plugin calls")]
    Busy,
}

impl PluginError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Limit { .. } => Code::LimitExceeded,
            Self::Trap { .. } => Code::PluginTrapped,
            Self::Malformed | Self::InvalidOutput | Self::InvalidFailureCode => Code::PluginMalformed,
            Self::Reported { .. } => Code::ServiceFailed,
            Self::Ended => Code::ServiceEnded,
            Self::RandomUnavailable | Self::OutOfMemory => Code::SandboxUnavailable,
            Self::Busy => Code::Busy,
        }
    }

    /// Returns a help line for the user.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Limit { limit: "input_bytes", .. } => "pass a smaller input, or raise the named limit",
            Self::Limit { limit: "services", .. } => "stop workers with services, or raise the named limit",
            Self::Limit { .. } => "use another plugin, or raise the named limit",
            Self::Trap { .. } | Self::Malformed | Self::InvalidOutput | Self::InvalidFailureCode => {
                "use another plugin, or run this one separately to find the cause"
            }
            Self::Reported { .. } => "read the message and the log of the plugin",
            Self::Ended => "start the service again",
            Self::RandomUnavailable => "give the process access to the system's random bytes",
            Self::OutOfMemory => OUT_OF_MEMORY_HELP,
            Self::Busy => "try again",
        }
    }
}

impl From<RunError> for PluginError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Limit { limit, allowed } => Self::Limit { limit, allowed },
            RunError::Trap { reason } => Self::Trap { reason },
            RunError::Malformed => Self::Malformed,
            RunError::OutOfMemory => Self::OutOfMemory,
            RunError::Busy => Self::Busy,
        }
    }
}
