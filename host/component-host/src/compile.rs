//! Compiling a component: the one thing that neither fuel nor a store's limits bound.
//!
//! Where there is a helper program, a child process compiles, with bounds on its time and memory,
//! and can be killed. Where there is none, only a tighter structural budget stands before the
//! compiler. Compiled code is kept in a cache of this host's own; none is ever taken from outside.

pub mod cache;
pub mod child;

use std::ffi::OsString;
use std::path::PathBuf;

use bundles::Digest;
use wasmtime::Engine;

use crate::error::LoadError;
use crate::limits::Limits;
use crate::structure::{self, Budget, Structure};

/// Who compiles.
#[derive(Debug, Clone, Default)]
pub enum Compiler {
    /// This process, behind [`Budget::without_child`].
    #[default]
    InProcess,
    /// A child process: the program is started with these arguments and must call
    /// [`child::main`].
    Child {
        /// The program, often the running one.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<OsString>,
    },
}

impl Compiler {
    /// Looks at a component before anything else may. Cheap, and bounded by itself.
    pub(crate) fn examine(&self, component: &[u8], limits: &Limits) -> Result<Structure, LoadError> {
        let budget = match self {
            Self::Child { .. } => limits.structure,
            Self::InProcess => tighter(&limits.structure),
        };
        Ok(structure::check(component, &budget)?)
    }

    /// Machine code for `component`, which has been examined.
    pub(crate) async fn compile(
        &self,
        engine: &Engine,
        component: &[u8],
        limits: &Limits,
    ) -> Result<Vec<u8>, LoadError> {
        let compiled = match self {
            Self::InProcess => in_process(engine, component)?,
            Self::Child { program, arguments } => {
                child::compile(program, arguments, component, &limits.compile).await?
            }
        };
        if u64::try_from(compiled.len()).unwrap_or(u64::MAX) > limits.compile.compiled_bytes {
            return Err(LoadError::CompileLimit { limit: "compiled_bytes", allowed: limits.compile.compiled_bytes });
        }
        Ok(compiled)
    }
}

/// The compiler asserts things of its own work, and a component has made such an assertion fail
/// before; that must not end the process that embeds it.
fn in_process(engine: &Engine, component: &[u8]) -> Result<Vec<u8>, LoadError> {
    let compile = || engine.precompile_component(component);
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(compile)) {
        Ok(Ok(compiled)) => Ok(compiled),
        Ok(Err(_)) => Err(LoadError::Invalid),
        Err(_) => Err(LoadError::Compiler { problem: "the compiler gave up on it" }),
    }
}

/// Each bound at its smaller value of the two.
fn tighter(asked: &Budget) -> Budget {
    asked.min(&Budget::without_child())
}

/// What compiled code is known by: the component, and the engine that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CompiledKey {
    /// The component.
    pub component: Digest,
    /// Engine version and configuration.
    pub engine: u64,
}

impl CompiledKey {
    pub(crate) fn new(component: Digest, engine: &Engine) -> Self {
        use std::hash::{Hash, Hasher};
        // The default hasher has fixed keys, so the number is the same in every process of one build.
        let mut hasher = std::hash::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        // An entry says that the component was found to fit this contract.
        "yoi:runtime/resolver@1.0.0".hash(&mut hasher);
        Self { component, engine: hasher.finish() }
    }
}
