//! Counts inside one core module: sections are read item by item, bodies only as far as their locals.

use super::{Kind, Refusal, reading::Meter};
use wasmparser::{
    BinaryReader, CompositeInnerType, ConstExpr, DataKind, ElementItems, ExternalKind, FunctionBody, Operator, Payload,
    RecGroup, TypeRef,
};

/// What one instantiation of a core module asks of the store, and what one of a component asks in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Footprint {
    pub(super) instances: u64,
    pub(super) inlined_items: u64,
    pub(super) memory_pages: u64,
    pub(super) table_elements: u64,
}

impl Footprint {
    pub(super) fn add(&mut self, other: Self) {
        self.instances = self.instances.saturating_add(other.instances);
        self.inlined_items = self.inlined_items.saturating_add(other.inlined_items);
        self.memory_pages = self.memory_pages.saturating_add(other.memory_pages);
        self.table_elements = self.table_elements.saturating_add(other.table_elements);
    }
}

/// One core module while it is read.
#[derive(Debug, Default)]
pub(super) struct Module {
    pub(super) footprint: Footprint,
    /// Parameters of each type, zero where it is no function.
    parameters: Vec<u32>,
    /// The type of each function that has a body.
    bodies: Vec<u32>,
    /// The next of `bodies`.
    next: usize,
    /// Where the data that is put into memory begins and ends.
    span: Option<(u64, u64)>,
}

impl Module {
    /// Counts one payload of the module. What is not of a module is left alone.
    pub(super) fn payload<'a>(&mut self, payload: Payload<'a>, meter: &mut Meter<'a, '_>) -> Result<(), Refusal> {
        match payload {
            Payload::TypeSection(section) => {
                let mut reader = meter.reader(section.range())?;
                for _ in 0..reader.read_var_u32()? {
                    self.recursion_group(&mut reader, meter)?;
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    meter.name(import.module)?;
                    meter.name(import.name)?;
                    meter.count(|counts| &mut counts.imports, 1)?;
                    meter.list_core_import(&import)?;
                }
            }
            Payload::FunctionSection(section) => {
                for function in section {
                    meter.count(|counts| &mut counts.functions, 1)?;
                    self.bodies.push(function?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let table = table?;
                    meter.count(|counts| &mut counts.tables, 1)?;
                    self.footprint.table_elements = self.footprint.table_elements.saturating_add(table.ty.initial);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory?;
                    meter.count(|counts| &mut counts.memories, 1)?;
                    let pages = pages(memory.initial, memory.page_size_log2);
                    self.footprint.memory_pages = self.footprint.memory_pages.saturating_add(pages);
                }
            }
            Payload::TagSection(section) => {
                for tag in section {
                    tag?;
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
                }
            }
            Payload::DataSection(section) => {
                for segment in section {
                    let segment = segment?;
                    meter.count(|counts| &mut counts.data_segments, 1)?;
                    meter.count(|counts| &mut counts.data_bytes, segment.data.len() as u64)?;
                    if let DataKind::Active { offset_expr, .. } = segment.kind {
                        self.placed(constant(&offset_expr)?, segment.data.len() as u64);
                    }
                }
                let (first, last) = self.span.unwrap_or_default();
                meter.count(|counts| &mut counts.data_span, last.saturating_sub(first))?;
            }
            Payload::CodeSectionEntry(body) => self.body(&body, meter)?,
            _ => {}
        }
        Ok(())
    }

    fn recursion_group<'a>(&mut self, reader: &mut BinaryReader<'a>, meter: &mut Meter<'a, '_>) -> Result<(), Refusal> {
        for (parameters, _) in recursion_group(reader, meter)? {
            self.parameters.push(parameters);
        }
        Ok(())
    }

    /// Notes where an active segment lies. Where its offset is not a plain constant no image can hold it.
    fn placed(&mut self, offset: Option<u64>, length: u64) {
        let Some(offset) = offset.filter(|_| length > 0) else {
            return;
        };
        let end = offset.saturating_add(length);
        let (first, last) = self.span.unwrap_or((offset, end));
        self.span = Some((first.min(offset), last.max(end)));
    }

    fn body<'a>(&mut self, body: &FunctionBody<'a>, meter: &mut Meter<'a, '_>) -> Result<(), Refusal> {
        let bytes = body.range().len() as u64;
        meter.count(|counts| &mut counts.code_bytes, bytes)?;
        meter.most(|counts| &mut counts.largest_body, bytes)?;

        let parameters =
            self.bodies.get(self.next).and_then(|&index| self.parameters.get(index as usize)).copied().unwrap_or(0);
        self.next += 1;
        let mut locals = u64::from(parameters);
        meter.most(|counts| &mut counts.largest_locals, locals)?;
        for group in body.get_locals_reader()? {
            // The encoding says how many there are of each type: four bytes can declare four thousand million.
            let count = u64::from(group?.0);
            locals = locals.saturating_add(count);
            meter.most(|counts| &mut counts.largest_locals, locals)?;
            meter.count(|counts| &mut counts.locals, count)?;
        }
        meter.most(|counts| &mut counts.largest_pressure, bytes.saturating_mul(locals))
    }
}

/// Reads one group of core types and counts it: for each the number of its parameters and of its results.
///
/// The number of types that a group claims is counted before it is read, since the parser makes room for them all.
pub(super) fn recursion_group<'a>(
    reader: &mut BinaryReader<'a>,
    meter: &mut Meter<'a, '_>,
) -> Result<Vec<(u32, u32)>, Refusal> {
    const GROUP: u8 = 0x4e;
    let mut ahead = reader.clone();
    let claimed = if ahead.read_u8()? == GROUP { ahead.read_var_u32()? } else { 1 };
    meter.count(|counts| &mut counts.types, claimed.into())?;
    if claimed as usize > ahead.bytes_remaining().saturating_add(1) {
        return Err(Refusal::malformed(ahead.original_position(), "more types than bytes"));
    }
    let mut signatures = Vec::new();
    for ty in reader.read::<RecGroup>()?.types() {
        let (parameters, results) = match &ty.composite_type.inner {
            CompositeInnerType::Func(function) => (function.params().len() as u32, function.results().len() as u32),
            _ => (0, 0),
        };
        meter.most(|counts| &mut counts.largest_signature, u64::from(parameters) + u64::from(results))?;
        signatures.push((parameters, results));
    }
    Ok(signatures)
}

/// Pages of 64 KiB, whatever size of page the memory counts in.
fn pages(initial: u64, log2: Option<u32>) -> u64 {
    const USUAL: u32 = 16;
    let bytes = u128::from(initial) << log2.unwrap_or(USUAL).min(64);
    u64::try_from(bytes.div_ceil(1 << USUAL)).unwrap_or(u64::MAX)
}

/// What a core import is.
pub(super) const fn kind(ty: &TypeRef) -> Kind {
    match ty {
        TypeRef::Func(_) | TypeRef::FuncExact(_) => Kind::Function,
        TypeRef::Table(_) => Kind::Table,
        TypeRef::Memory(_) => Kind::Memory,
        TypeRef::Global(_) => Kind::Global,
        TypeRef::Tag(_) => Kind::Tag,
    }
}

/// What a core export is.
pub(super) const fn export_kind(kind: ExternalKind) -> Kind {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => Kind::Function,
        ExternalKind::Table => Kind::Table,
        ExternalKind::Memory => Kind::Memory,
        ExternalKind::Global => Kind::Global,
        ExternalKind::Tag => Kind::Tag,
    }
}

/// The value of an expression that is one integer constant.
fn constant(expression: &ConstExpr<'_>) -> Result<Option<u64>, Refusal> {
    let mut operators = expression.get_operators_reader();
    let first = operators.read()?;
    let second = operators.read()?;
    Ok(match (first, second) {
        (Operator::I32Const { value }, Operator::End) => Some(u64::from(value as u32)),
        (Operator::I64Const { value }, Operator::End) => Some(value as u64),
        _ => None,
    })
}
