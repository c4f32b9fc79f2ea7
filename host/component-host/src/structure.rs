//! The structure of a component binary, read without compiling or running it.
//!
//! No fuel, deadline or store limit bounds compilation: a component of two kilobytes can make a compiler use
//! a gigabyte or never end. Therefore everything that affects the cost is counted first, in one pass that is
//! itself bounded, and compared with a [`Budget`]. This module does not use the engine. Start with [`check`].

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
pub use refusal::StructureRefusal;

use serde::Serialize;
use wasmparser::Parser;

/// The kind of a binary, an import or an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ItemKind {
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

/// An import or export of the outermost component. Names are escaped and shortened for display, which does not
/// change valid names of up to 256 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExternItem {
    name: String,
    kind: ItemKind,
    functions: Vec<String>,
    resources: Vec<String>,
    others: Vec<String>,
}

impl ExternItem {
    fn new(name: String, kind: ItemKind) -> Self {
        Self { name, kind, functions: Vec::new(), resources: Vec::new(), others: Vec::new() }
    }

    /// Returns the full name, such as `yoi:resolver/bundle@1.0.0`; for a core module `module.field`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the kind of the item.
    #[must_use]
    pub fn kind(&self) -> ItemKind {
        self.kind
    }

    /// Returns the sorted names of an interface's functions and methods.
    #[must_use]
    pub fn functions(&self) -> &[String] {
        &self.functions
    }

    /// Returns the sorted names of an interface's resources.
    #[must_use]
    pub fn resources(&self) -> &[String] {
        &self.resources
    }

    /// `true` if the item consists of types only, without functions and resources.
    #[must_use]
    pub fn is_types_only(&self) -> bool {
        match self.kind {
            ItemKind::Interface => self.functions.is_empty() && self.resources.is_empty() && self.others.is_empty(),
            ItemKind::Type => self.resources.is_empty(),
            _ => false,
        }
    }
}

/// The structure of a component, or of a core module for inspection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Structure {
    kind: ItemKind,
    imports: Vec<ExternItem>,
    exports: Vec<ExternItem>,
    producers: Producers,
    counts: Counts,
}

impl Structure {
    /// Reads a component or a core module for inspection, within [`Budget::for_inspection`]. The result may be too
    /// expensive to compile.
    ///
    /// # Errors
    ///
    /// [`StructureRefusal`] if the bytes are not WebAssembly, are text, are malformed, or exceed the budget.
    pub fn read(bytes: &[u8]) -> Result<Self, StructureRefusal> {
        Self::read_within(bytes, &Budget::for_inspection())
    }

    fn read_within(bytes: &[u8], budget: &Budget) -> Result<Self, StructureRefusal> {
        const MAGIC: &[u8] = b"\0asm";
        let cut_short = !bytes.is_empty() && MAGIC.starts_with(bytes);
        if !bytes.starts_with(MAGIC) && !cut_short {
            return Err(if is_text(bytes) { StructureRefusal::Text } else { StructureRefusal::NotWasm });
        }
        reading::read(bytes, budget)
    }

    /// Returns [`ItemKind::Component`] or [`ItemKind::Module`].
    #[must_use]
    pub fn kind(&self) -> ItemKind {
        self.kind
    }

    /// Returns the length of the binary, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.counts.bytes
    }

    /// Returns the imports of the outermost component, in the order of the binary.
    #[must_use]
    pub fn imports(&self) -> &[ExternItem] {
        &self.imports
    }

    /// Returns the exports of the outermost component, in the order of the binary.
    #[must_use]
    pub fn exports(&self) -> &[ExternItem] {
        &self.exports
    }

    /// Returns the tools that the component and its modules name as their producers.
    #[must_use]
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// Returns all counts.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Compares the counts with a budget.
    ///
    /// # Errors
    ///
    /// [`StructureRefusal::CoreModule`], or [`StructureRefusal::OverBudget`] with the first exceeded limit.
    pub fn check(&self, budget: &Budget) -> Result<(), StructureRefusal> {
        if self.kind != ItemKind::Component {
            return Err(StructureRefusal::CoreModule);
        }
        match budget.exceeded(&self.counts) {
            Some((limit, actual, allowed)) => Err(StructureRefusal::OverBudget { limit, actual, allowed }),
            None => Ok(()),
        }
    }
}

/// Reads a component and stops at the first exceeded limit. This check runs before every compilation.
///
/// # Errors
///
/// [`StructureRefusal`] if the bytes are not a binary component within the budget.
pub fn check(bytes: &[u8], budget: &Budget) -> Result<Structure, StructureRefusal> {
    if Parser::is_core_wasm(bytes) {
        return Err(StructureRefusal::CoreModule);
    }
    let structure = Structure::read_within(bytes, budget)?;
    structure.check(budget)?;
    Ok(structure)
}

/// `true` if the bytes look like the text format: after white space, they begin with a parenthesis or a comment.
fn is_text(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    text.starts_with(b"(") || text.starts_with(b";;")
}
