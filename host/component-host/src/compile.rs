//! Compilation of components, which neither fuel nor the limits of a store bound.
//!
//! With a helper program, a child process compiles under limits on time and memory and can be killed.
//! Without one, only a tighter structural [`Budget`] bounds the work. Compiled code comes from this
//! host's compiler or from its own [`cache`], never from outside.

pub mod cache;
pub mod child;

use std::ffi::OsString;
use std::path::PathBuf;

use bundles::Digest;
use wasmtime::Engine;

use crate::error::LoadError;
use crate::limits::Limits;
use crate::structure::{self, Budget, Structure};

/// The process that compiles.
#[derive(Debug, Clone, Default)]
pub enum Compiler {
    /// This process. Components must be within [`Budget::without_child`].
    #[default]
    InProcess,
    /// A child process, which must call [`child::main`].
    Child {
        /// The program, often the running executable.
        program: PathBuf,
        /// Arguments of the program.
        arguments: Vec<OsString>,
    },
}

impl Compiler {
    /// Checks the structure of a component before it is compiled. The cost of the check is bounded.
    pub(crate) fn examine(&self, component: &[u8], limits: &Limits) -> Result<Structure, LoadError> {
        let budget = match self {
            Self::Child { .. } => limits.structure,
            Self::InProcess => limits.structure.min(&Budget::without_child()),
        };
        Ok(structure::check(component, &budget)?)
    }

    /// Compiles `component`, which must have passed [`Compiler::examine`], to machine code.
    pub(crate) async fn compile(
        &self,
        engine: &Engine,
        component: &[u8],
        limits: &Limits,
    ) -> Result<Vec<u8>, LoadError> {
        let compiled = match self {
            Self::InProcess => compile_in_process(engine, component)?,
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

/// Compiles in this process and catches panics. The compiler contains assertions, and a component has made
/// one fail before.
fn compile_in_process(engine: &Engine, component: &[u8]) -> Result<Vec<u8>, LoadError> {
    let compile = || engine.precompile_component(component);
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(compile)) {
        Ok(Ok(compiled)) => Ok(compiled),
        Ok(Err(_)) => Err(LoadError::Invalid),
        Err(_) => Err(LoadError::Compiler { problem: "the compiler panicked" }),
    }
}

/// Identifies compiled code by the component and the engine that it was compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CompiledKey {
    /// Digest of the component.
    pub component: Digest,
    /// Hash of the engine's version and configuration.
    pub engine: u64,
}

impl CompiledKey {
    pub(crate) fn new(component: Digest, engine: &Engine) -> Self {
        use std::hash::{Hash, Hasher};
        // `DefaultHasher::new` has fixed keys, so every process of one build computes the same number.
        let mut hasher = std::hash::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self { component, engine: hasher.finish() }
    }
}
