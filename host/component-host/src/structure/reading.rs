//! The walk over a binary: a single pass in byte order that stops at the first exceeded limit.
//!
//! Allocations depend on the actual size of the input, never on a size that the input claims.

use super::{
    Budget, Counts, ExternItem, ItemKind, Producers, Structure, StructureRefusal,
    module::{self, Footprint, Module},
    names,
    scope::{Arena, Item, Scope},
};
use std::ops::Range;
use wasmparser::{BinaryReader, Encoding, Parser, Payload};

/// Limit on the nesting for every budget, because types are read recursively.
const MAX_NESTING: u64 = 100;

/// Counts and lists the parts of a binary and compares the counts with a budget.
pub(super) struct BudgetMeter<'a, 'b> {
    bytes: &'a [u8],
    budget: &'b Budget,
    pub(super) counts: Counts,
    pub(super) imports: Vec<ExternItem>,
    pub(super) exports: Vec<ExternItem>,
    producers: Producers,
    /// `true` if the binary is a core module, whose own imports and exports are listed.
    outermost_module: bool,
}

impl<'a> BudgetMeter<'a, '_> {
    /// Adds `more` to the count selected by `field`. Fails if the count exceeds the budget.
    pub(super) fn count(&mut self, field: impl Fn(&mut Counts) -> &mut u64, more: u64) -> Result<(), StructureRefusal> {
        let count = field(&mut self.counts);
        *count = count.saturating_add(more);
        self.check()
    }

    /// Raises the count selected by `field` to at least `value`. Fails if the count exceeds the budget.
    pub(super) fn raise(
        &mut self,
        field: impl Fn(&mut Counts) -> &mut u64,
        value: u64,
    ) -> Result<(), StructureRefusal> {
        let count = field(&mut self.counts);
        if value <= *count {
            // The current count was already checked. This path is hot: function bodies call it for every operator.
            return Ok(());
        }
        *count = value;
        self.check()
    }

    fn check(&self) -> Result<(), StructureRefusal> {
        match self.budget.exceeded(&self.counts) {
            Some((limit, actual, allowed)) => Err(StructureRefusal::OverBudget { limit, actual, allowed }),
            None => Ok(()),
        }
    }

    /// Counts the length of a name.
    pub(super) fn name(&mut self, name: &str) -> Result<(), StructureRefusal> {
        self.raise(|counts| &mut counts.longest_name, name.len() as u64)
    }

    /// Returns a reader of a part of the input, which reports offsets in the whole input.
    pub(super) fn reader(&self, range: Range<usize>) -> Result<BinaryReader<'a>, StructureRefusal> {
        let start = range.start;
        let part = self.bytes.get(range).ok_or_else(|| StructureRefusal::malformed(start, "unexpected end"))?;
        Ok(BinaryReader::new(part, start))
    }

    pub(super) fn list_core_import(&mut self, import: &wasmparser::Import<'_>) -> Result<(), StructureRefusal> {
        if self.outermost_module {
            self.count(|counts| &mut counts.listed_items, 1)?;
            let name = names::shown(&names::joined(import.module, '.', import.name));
            self.imports.push(ExternItem::new(name, module::kind(&import.ty)));
        }
        Ok(())
    }

    pub(super) fn list_core_export(&mut self, export: &wasmparser::Export<'_>) -> Result<(), StructureRefusal> {
        if self.outermost_module {
            self.count(|counts| &mut counts.listed_items, 1)?;
            self.exports.push(ExternItem::new(names::shown(export.name), module::export_kind(export.kind)));
        }
        Ok(())
    }
}

/// The state of the walk.
pub(super) struct Walk<'a, 'b> {
    pub(super) meter: BudgetMeter<'a, 'b>,
    pub(super) arena: Arena<'a>,
    /// Open components, the outermost first; in a type section also the open types with their own index spaces.
    pub(super) scopes: Vec<Scope<'a>>,
    /// The core module that is being read.
    module: Option<Module>,
    /// Sum over all core modules, instantiated or not.
    defined: Footprint,
}

impl<'a> Walk<'a, '_> {
    /// Returns the innermost scope. Content outside of every component is malformed.
    pub(super) fn scope(&mut self, offset: usize) -> Result<&mut Scope<'a>, StructureRefusal> {
        self.scopes
            .last_mut()
            .ok_or_else(|| StructureRefusal::malformed(offset, "this is only allowed inside a component"))
    }

    /// Opens the scope of a component or of a type.
    pub(super) fn enter(&mut self) -> Result<(), StructureRefusal> {
        let depth = self.scopes.len() as u64 + 1;
        self.meter.raise(|counts| &mut counts.nesting, depth)?;
        if depth > MAX_NESTING {
            return Err(StructureRefusal::OverBudget { limit: "nesting", actual: depth, allowed: MAX_NESTING });
        }
        self.scopes.push(Scope::default());
        Ok(())
    }

    fn payload(&mut self, payload: Payload<'a>) -> Result<(), StructureRefusal> {
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } => self.module = Some(Module::default()),
            Payload::Version { encoding: Encoding::Component, .. } => self.enter()?,
            Payload::CustomSection(section) => {
                self.meter.name(section.name())?;
                self.meter.count(|counts| &mut counts.custom_bytes, section.range().len() as u64)?;
                if section.name() == "producers" {
                    self.meter.producers.add(section.data_reader());
                }
            }
            Payload::End(_) => self.end()?,
            Payload::UnknownSection { range, .. } => {
                return Err(StructureRefusal::malformed(range.start, "unknown section"));
            }
            payload => match &mut self.module {
                Some(module) => module.payload(payload, &mut self.meter)?,
                None => self.component_payload(payload)?,
            },
        }
        Ok(())
    }

    /// Closes a module or a component and gives it an index in the component around it.
    fn end(&mut self) -> Result<(), StructureRefusal> {
        let item = if let Some(module) = self.module.take() {
            self.meter.count(|counts| &mut counts.core_modules, 1)?;
            // A compiler lays out the tables of every module, even of one that is never instantiated.
            self.defined.add(module.footprint);
            self.total(self.defined)?;
            Some(Item::Module(module.footprint))
        } else if let Some(scope) = self.scopes.pop() {
            let info = scope.finish(&mut self.arena);
            if self.scopes.is_empty() {
                return self.total(info.footprint);
            }
            self.meter.count(|counts| &mut counts.components, 1)?;
            Some(Item::Component(self.arena.add_component(info)))
        } else {
            None
        };
        if let (Some(item), Some(enclosing)) = (item, self.scopes.last_mut()) {
            enclosing.define(item);
        }
        Ok(())
    }

    /// Raises the counts to those of `footprint`.
    pub(super) fn total(&mut self, footprint: Footprint) -> Result<(), StructureRefusal> {
        self.meter.raise(|counts| &mut counts.instances, footprint.instances)?;
        self.meter.raise(|counts| &mut counts.core_instances, footprint.core_instances)?;
        self.meter.raise(|counts| &mut counts.memories, footprint.memories)?;
        self.meter.raise(|counts| &mut counts.tables, footprint.tables)?;
        self.meter.raise(|counts| &mut counts.inlined_items, footprint.inlined_items)?;
        self.meter.raise(|counts| &mut counts.memory_pages, footprint.memory_pages)?;
        self.meter.raise(|counts| &mut counts.table_elements, footprint.table_elements)
    }
}

/// Reads a whole component or core module.
pub(super) fn read(bytes: &[u8], budget: &Budget) -> Result<Structure, StructureRefusal> {
    let mut walk = Walk {
        meter: BudgetMeter {
            bytes,
            budget,
            counts: Counts::default(),
            imports: Vec::new(),
            exports: Vec::new(),
            producers: Producers::default(),
            outermost_module: Parser::is_core_wasm(bytes),
        },
        arena: Arena::default(),
        scopes: Vec::new(),
        module: None,
        defined: Footprint::default(),
    };
    walk.meter.count(|counts| &mut counts.bytes, bytes.len() as u64)?;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        if payload.as_section().is_some() {
            walk.meter.count(|counts| &mut counts.sections, 1)?;
        }
        walk.payload(payload)?;
        if let [outermost] = walk.scopes.as_slice() {
            let footprint = outermost.footprint;
            walk.total(footprint)?;
        }
    }
    let kind = if walk.meter.outermost_module { ItemKind::Module } else { ItemKind::Component };
    let BudgetMeter { counts, imports, exports, producers, .. } = walk.meter;
    Ok(Structure { kind, imports, exports, producers, counts })
}
