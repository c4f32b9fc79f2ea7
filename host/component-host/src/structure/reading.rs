//! The walk over a binary: one pass, in the order of the bytes, that stops at the first bound that is passed.
//!
//! Nothing is ever built in the size that the input claims, only in the size that it has.

use super::{
    Budget, Counts, Item as Named, Kind, Producers, Refusal, Structure,
    module::{self, Footprint, Module},
    names,
    scope::{Arena, Item, Scope},
};
use std::ops::Range;
use wasmparser::{BinaryReader, Encoding, Parser, Payload};

/// Depth beyond which no budget allows nesting: reading a type calls itself once a level.
const DEEPEST: u64 = 100;

/// What is counted and listed, against what is allowed.
pub(super) struct Meter<'a, 'b> {
    bytes: &'a [u8],
    budget: &'b Budget,
    pub(super) counts: Counts,
    pub(super) imports: Vec<Named>,
    pub(super) exports: Vec<Named>,
    producers: Producers,
    /// Whether the outermost thing is a core module, whose imports and exports are listed.
    outermost_module: bool,
}

impl<'a> Meter<'a, '_> {
    /// Adds to a count and refuses when the budget is passed.
    pub(super) fn count(&mut self, of: impl Fn(&mut Counts) -> &mut u64, more: u64) -> Result<(), Refusal> {
        let count = of(&mut self.counts);
        *count = count.saturating_add(more);
        self.check()
    }

    /// Raises a count to what was seen and refuses when the budget is passed.
    pub(super) fn most(&mut self, of: impl Fn(&mut Counts) -> &mut u64, seen: u64) -> Result<(), Refusal> {
        let count = of(&mut self.counts);
        if seen <= *count {
            // Held against the budget when it was raised to this. Bodies ask for every operator.
            return Ok(());
        }
        *count = seen;
        self.check()
    }

    fn check(&self) -> Result<(), Refusal> {
        match self.budget.exceeded(&self.counts) {
            Some((limit, actual, allowed)) => Err(Refusal::OverBudget { limit, actual, allowed }),
            None => Ok(()),
        }
    }

    pub(super) fn name(&mut self, name: &str) -> Result<(), Refusal> {
        self.most(|counts| &mut counts.longest_name, name.len() as u64)
    }

    /// A reader of a part of the input that knows where it is.
    pub(super) fn reader(&self, range: Range<usize>) -> Result<BinaryReader<'a>, Refusal> {
        let start = range.start;
        let part = self.bytes.get(range).ok_or_else(|| Refusal::malformed(start, "unexpected end"))?;
        Ok(BinaryReader::new(part, start))
    }

    pub(super) fn list_core_import(&mut self, import: &wasmparser::Import<'_>) -> Result<(), Refusal> {
        if self.outermost_module {
            self.count(|counts| &mut counts.listed_items, 1)?;
            let name = names::shown(&names::joined(import.module, '.', import.name));
            self.imports.push(Named::new(name, module::kind(&import.ty)));
        }
        Ok(())
    }

    pub(super) fn list_core_export(&mut self, export: &wasmparser::Export<'_>) -> Result<(), Refusal> {
        if self.outermost_module {
            self.count(|counts| &mut counts.listed_items, 1)?;
            self.exports.push(Named::new(names::shown(export.name), module::export_kind(export.kind)));
        }
        Ok(())
    }
}

/// What is being read, outermost first.
pub(super) struct Reading<'a, 'b> {
    pub(super) meter: Meter<'a, 'b>,
    pub(super) arena: Arena<'a>,
    /// Components, and inside a type section also the types that have index spaces of their own.
    pub(super) scopes: Vec<Scope<'a>>,
    module: Option<Module>,
    /// What all modules together define.
    defined: Footprint,
}

impl<'a> Reading<'a, '_> {
    /// The innermost scope. Outside of every component there is none, and what is found there is malformed.
    pub(super) fn scope(&mut self, offset: usize) -> Result<&mut Scope<'a>, Refusal> {
        self.scopes.last_mut().ok_or_else(|| Refusal::malformed(offset, "this belongs into a component"))
    }

    /// Opens the index spaces of a component or of a type.
    pub(super) fn enter(&mut self) -> Result<(), Refusal> {
        let depth = self.scopes.len() as u64 + 1;
        self.meter.most(|counts| &mut counts.nesting, depth)?;
        if depth > DEEPEST {
            return Err(Refusal::OverBudget { limit: "nesting", actual: depth, allowed: DEEPEST });
        }
        self.scopes.push(Scope::default());
        Ok(())
    }

    fn payload(&mut self, payload: Payload<'a>) -> Result<(), Refusal> {
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
                return Err(Refusal::malformed(range.start, "a section of an unknown kind"));
            }
            payload => match &mut self.module {
                Some(module) => module.payload(payload, &mut self.meter)?,
                None => self.component_payload(payload)?,
            },
        }
        Ok(())
    }

    /// Closes a module or a component and gives it an index in the component around it.
    fn end(&mut self) -> Result<(), Refusal> {
        let item = if let Some(module) = self.module.take() {
            self.meter.count(|counts| &mut counts.core_modules, 1)?;
            // A compiler lays tables out for every module, whether or not one is ever instantiated.
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
        if let (Some(item), Some(around)) = (item, self.scopes.last_mut()) {
            around.define(item);
        }
        Ok(())
    }

    /// Counts what an instantiation of the outermost component has come to so far.
    pub(super) fn total(&mut self, footprint: Footprint) -> Result<(), Refusal> {
        self.meter.most(|counts| &mut counts.instances, footprint.instances)?;
        self.meter.most(|counts| &mut counts.core_instances, footprint.core_instances)?;
        self.meter.most(|counts| &mut counts.memories, footprint.memories)?;
        self.meter.most(|counts| &mut counts.tables, footprint.tables)?;
        self.meter.most(|counts| &mut counts.inlined_items, footprint.inlined_items)?;
        self.meter.most(|counts| &mut counts.memory_pages, footprint.memory_pages)?;
        self.meter.most(|counts| &mut counts.table_elements, footprint.table_elements)
    }
}

/// Reads a whole component or core module.
pub(super) fn read(bytes: &[u8], budget: &Budget) -> Result<Structure, Refusal> {
    let mut reading = Reading {
        meter: Meter {
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
    reading.meter.count(|counts| &mut counts.bytes, bytes.len() as u64)?;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        if payload.as_section().is_some() {
            reading.meter.count(|counts| &mut counts.sections, 1)?;
        }
        reading.payload(payload)?;
        if let [outermost] = reading.scopes.as_slice() {
            let footprint = outermost.footprint;
            reading.total(footprint)?;
        }
    }
    let kind = if reading.meter.outermost_module { Kind::Module } else { Kind::Component };
    let Meter { counts, imports, exports, producers, .. } = reading.meter;
    Ok(Structure { kind, imports, exports, producers, counts })
}
