//! Counts for the sections of one core module.

use super::{
    ItemKind, StructureRefusal,
    body::{self, Signatures},
    reading::BudgetMeter,
};
use wasmparser::{BinaryReader, CompositeInnerType, ElementItems, ExternalKind, Payload, RecGroup, SubType, TypeRef};

/// Time for compiling one item of an element segment, in microseconds, at worst.
const MICROS_PER_ELEMENT: u64 = 40;
/// Time for compiling one core type, in microseconds, at worst.
const MICROS_PER_TYPE: u64 = 90;

/// Resources that one instantiation of a core module or component needs, including everything inside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Footprint {
    pub(super) instances: u64,
    pub(super) core_instances: u64,
    pub(super) memories: u64,
    pub(super) tables: u64,
    pub(super) inlined_items: u64,
    pub(super) memory_pages: u64,
    pub(super) table_elements: u64,
}

impl Footprint {
    pub(super) fn add(&mut self, other: Self) {
        let Self { instances, core_instances, memories, tables, inlined_items, memory_pages, table_elements } = self;
        for (total, more) in [
            (instances, other.instances),
            (core_instances, other.core_instances),
            (memories, other.memories),
            (tables, other.tables),
            (inlined_items, other.inlined_items),
            (memory_pages, other.memory_pages),
            (table_elements, other.table_elements),
        ] {
            *total = total.saturating_add(more);
        }
    }
}

/// The state of reading one core module.
#[derive(Debug, Default)]
pub(super) struct Module {
    pub(super) footprint: Footprint,
    signatures: Signatures,
    /// Number of imported functions, which precede the defined ones.
    imported: usize,
    /// Number of function bodies read so far.
    read: usize,
}

impl Module {
    /// Counts one payload of the module. Payloads of other kinds are ignored.
    pub(super) fn payload<'a>(
        &mut self,
        payload: Payload<'a>,
        meter: &mut BudgetMeter<'a, '_>,
    ) -> Result<(), StructureRefusal> {
        match payload {
            Payload::TypeSection(section) => {
                let mut reader = meter.reader(section.range())?;
                for _ in 0..reader.read_var_u32()? {
                    self.signatures.types.extend(recursion_group(&mut reader, meter)?);
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    meter.name(import.module)?;
                    meter.name(import.name)?;
                    meter.count(|counts| &mut counts.imports, 1)?;
                    meter.list_core_import(&import)?;
                    match import.ty {
                        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                            self.signatures.functions.push(ty);
                            self.imported += 1;
                        }
                        TypeRef::Tag(tag) => self.signatures.tags.push(tag.func_type_idx),
                        TypeRef::Table(_) | TypeRef::Memory(_) | TypeRef::Global(_) => {}
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for function in section {
                    meter.count(|counts| &mut counts.functions, 1)?;
                    self.signatures.functions.push(function?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let table = table?;
                    self.footprint.tables = self.footprint.tables.saturating_add(1);
                    self.footprint.table_elements = self.footprint.table_elements.saturating_add(table.ty.initial);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory?;
                    self.footprint.memories = self.footprint.memories.saturating_add(1);
                    let pages = pages(memory.initial, memory.page_size_log2);
                    self.footprint.memory_pages = self.footprint.memory_pages.saturating_add(pages);
                }
            }
            Payload::TagSection(section) => {
                for tag in section {
                    self.signatures.tags.push(tag?.func_type_idx);
                    meter.count(|counts| &mut counts.types, 1)?;
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    global?;
                    meter.count(|counts| &mut counts.globals, 1)?;
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    meter.name(export.name)?;
                    meter.count(|counts| &mut counts.exports, 1)?;
                    meter.list_core_export(&export)?;
                }
            }
            Payload::StartSection { .. } => meter.count(|counts| &mut counts.start_functions, 1)?,
            Payload::ElementSection(section) => {
                for segment in section {
                    meter.count(|counts| &mut counts.element_segments, 1)?;
                    let items = match segment?.items {
                        ElementItems::Functions(items) => items.count(),
                        ElementItems::Expressions(_, items) => items.count(),
                    };
                    meter.count(|counts| &mut counts.elements, items.into())?;
                    meter.count(|counts| &mut counts.effort, u64::from(items).saturating_mul(MICROS_PER_ELEMENT))?;
                }
            }
            Payload::DataSection(section) => {
                for segment in section {
                    let segment = segment?;
                    meter.count(|counts| &mut counts.data_segments, 1)?;
                    meter.count(|counts| &mut counts.data_bytes, segment.data.len() as u64)?;
                }
            }
            Payload::CodeSectionEntry(code) => {
                let index = self.imported.saturating_add(self.read);
                let ty = self.signatures.functions.get(index).copied();
                let ty = ty.ok_or_else(|| {
                    StructureRefusal::malformed(code.range().start, "a function body without a function")
                })?;
                self.read += 1;
                body::count(&code, ty, &self.signatures, meter)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Reads and counts one recursion group of core types.
///
/// The claimed number of types is counted before the group is read, because the parser allocates memory for all of
/// them.
pub(super) fn recursion_group<'a>(
    reader: &mut BinaryReader<'a>,
    meter: &mut BudgetMeter<'a, '_>,
) -> Result<Vec<SubType>, StructureRefusal> {
    const GROUP: u8 = 0x4e;
    let mut ahead = reader.clone();
    let claimed = if ahead.read_u8()? == GROUP { ahead.read_var_u32()? } else { 1 };
    meter.count(|counts| &mut counts.types, claimed.into())?;
    meter.count(|counts| &mut counts.effort, u64::from(claimed).saturating_mul(MICROS_PER_TYPE))?;
    if claimed as usize > ahead.bytes_remaining().saturating_add(1) {
        return Err(StructureRefusal::malformed(ahead.original_position(), "more types than bytes"));
    }
    let types: Vec<_> = reader.read::<RecGroup>()?.into_types().collect();
    for ty in &types {
        meter.raise(|counts| &mut counts.largest_signature, parts(ty))?;
    }
    Ok(types)
}

/// Returns the number of parameters and results of a function type, or of fields of a structure.
pub(super) fn parts(ty: &SubType) -> u64 {
    match &ty.composite_type.inner {
        CompositeInnerType::Func(function) => (function.params().len() + function.results().len()) as u64,
        CompositeInnerType::Struct(structure) => structure.fields.len() as u64,
        CompositeInnerType::Array(_) | CompositeInnerType::Cont(_) => 1,
    }
}

/// Converts a number of pages of size 2^`log2` to pages of 64 KiB.
fn pages(initial: u64, log2: Option<u32>) -> u64 {
    const DEFAULT_LOG2: u32 = 16;
    let bytes = u128::from(initial) << log2.unwrap_or(DEFAULT_LOG2).min(64);
    u64::try_from(bytes.div_ceil(1 << DEFAULT_LOG2)).unwrap_or(u64::MAX)
}

/// Returns the kind of a core import.
pub(super) const fn kind(ty: &TypeRef) -> ItemKind {
    match ty {
        TypeRef::Func(_) | TypeRef::FuncExact(_) => ItemKind::Function,
        TypeRef::Table(_) => ItemKind::Table,
        TypeRef::Memory(_) => ItemKind::Memory,
        TypeRef::Global(_) => ItemKind::Global,
        TypeRef::Tag(_) => ItemKind::Tag,
    }
}

/// Returns the kind of a core export.
pub(super) const fn export_kind(kind: ExternalKind) -> ItemKind {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => ItemKind::Function,
        ExternalKind::Table => ItemKind::Table,
        ExternalKind::Memory => ItemKind::Memory,
        ExternalKind::Global => ItemKind::Global,
        ExternalKind::Tag => ItemKind::Tag,
    }
}
