//! What a component binary is made of, read without compiling or running it.
//!
//! Compilation is the one thing that no fuel, deadline or store limit bounds: two kilobytes can cost a compiler
//! a gigabyte, or never end. So everything that could drive its cost is counted here first, in one pass that is
//! itself bounded, and held against a [`Budget`]. This module never names the engine and never compiles anything.

mod body;
mod budget;
mod component;
#[cfg(test)]
mod each_bound;
#[cfg(test)]
mod hard_to_compile;
mod module;
mod names;
mod producers;
mod reading;
mod refusal;
#[cfg(test)]
mod robustness;
mod scope;
mod types;

pub use budget::{Budget, Counts};
pub use producers::Producers;
pub use refusal::Refusal;

use serde::Serialize;
use wasmparser::Parser;

/// What something is that has a name in a component or a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A component.
    Component,
    /// A core module.
    Module,
    /// An interface: an instance of functions, resources and types.
    Interface,
    /// A function.
    Function,
    /// A type.
    Type,
    /// A value.
    Value,
    /// A core table.
    Table,
    /// A core memory.
    Memory,
    /// A core global.
    Global,
    /// A core exception tag.
    Tag,
}

/// Something that the outermost component imports or exports. Names are escaped and cut so that they can be shown;
/// a name that is in its grammar and not absurdly long stands as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    name: String,
    kind: Kind,
    functions: Vec<String>,
    resources: Vec<String>,
    others: Vec<String>,
}

impl Item {
    fn new(name: String, kind: Kind) -> Self {
        Self { name, kind, functions: Vec::new(), resources: Vec::new(), others: Vec::new() }
    }

    /// The full name, as in `yoi:resolver/bundle@1.0.0`. For a core module `module.field`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Names of the functions of an interface, methods included, sorted.
    #[must_use]
    pub fn functions(&self) -> &[String] {
        &self.functions
    }

    /// Names of the resources of an interface, sorted.
    #[must_use]
    pub fn resources(&self) -> &[String] {
        &self.resources
    }

    /// Whether it holds types alone: whoever offers it gives nothing that can be called or held.
    #[must_use]
    pub fn is_types_only(&self) -> bool {
        match self.kind {
            Kind::Interface => self.functions.is_empty() && self.resources.is_empty() && self.others.is_empty(),
            Kind::Type => self.resources.is_empty(),
            _ => false,
        }
    }
}

/// What a component, or to look at it a core module, is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Structure {
    kind: Kind,
    imports: Vec<Item>,
    exports: Vec<Item>,
    producers: Producers,
    counts: Counts,
}

impl Structure {
    /// Reads a component or a core module of any size that is reasonable to look at
    /// ([`Budget::to_look_at`]), whether or not a compiler may see it.
    ///
    /// # Errors
    ///
    /// [`Refusal`] where the bytes are not WebAssembly, are text, are malformed, or are too much even to look at.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        Self::read_within(bytes, &Budget::to_look_at())
    }

    fn read_within(bytes: &[u8], budget: &Budget) -> Result<Self, Refusal> {
        const MAGIC: &[u8] = b"\0asm";
        let cut_short = !bytes.is_empty() && MAGIC.starts_with(bytes);
        if !bytes.starts_with(MAGIC) && !cut_short {
            return Err(if is_text(bytes) { Refusal::Text } else { Refusal::NotWasm });
        }
        reading::read(bytes, budget)
    }

    /// [`Kind::Component`] or [`Kind::Module`].
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Bytes of the whole binary.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.counts.bytes
    }

    /// What the outermost component imports, in the order of the binary.
    #[must_use]
    pub fn imports(&self) -> &[Item] {
        &self.imports
    }

    /// What the outermost component exports, in the order of the binary.
    #[must_use]
    pub fn exports(&self) -> &[Item] {
        &self.exports
    }

    /// The tools that the component and its modules name.
    #[must_use]
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// Everything that was counted.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Holds what was already read against a budget.
    ///
    /// # Errors
    ///
    /// [`Refusal::CoreModule`], or [`Refusal::OverBudget`] with the first bound that is passed.
    pub fn check(&self, budget: &Budget) -> Result<(), Refusal> {
        if self.kind != Kind::Component {
            return Err(Refusal::CoreModule);
        }
        match budget.exceeded(&self.counts) {
            Some((limit, actual, allowed)) => Err(Refusal::OverBudget { limit, actual, allowed }),
            None => Ok(()),
        }
    }
}

/// Reads a component and refuses it as soon as a bound is passed. This is what stands before every compilation.
///
/// # Errors
///
/// [`Refusal`] for whatever is not a binary component within the budget.
pub fn check(bytes: &[u8], budget: &Budget) -> Result<Structure, Refusal> {
    if Parser::is_core_wasm(bytes) {
        return Err(Refusal::CoreModule);
    }
    let structure = Structure::read_within(bytes, budget)?;
    structure.check(budget)?;
    Ok(structure)
}

/// Whether the bytes look like the text form: they begin, after blanks, with a parenthesis or a comment.
fn is_text(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    text.starts_with(b"(") || text.starts_with(b";;")
}
