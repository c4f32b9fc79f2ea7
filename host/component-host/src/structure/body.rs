//! Counts for one function body.
//!
//! The operators are read but not validated. A compiler's cost depends on the number of values that are live at
//! the same time, the depth and number of branches, and the number of moved operands.

use super::{StructureRefusal, reading::BudgetMeter};
use wasmparser::{
    BlockType, ContType, FrameKind, FuncType, FunctionBody, ModuleArity, Operator, OperatorsReader, RefType, SubType,
};

/// The types, functions and tags of a module that its bodies refer to.
#[derive(Debug, Default)]
pub(super) struct Signatures {
    pub(super) types: Vec<SubType>,
    /// Type index of each function, imported functions first.
    pub(super) functions: Vec<u32>,
    pub(super) tags: Vec<u32>,
}

impl Signatures {
    fn parameters(&self, ty: u32) -> u64 {
        match self.types.get(ty as usize).map(|ty| &ty.composite_type.inner) {
            Some(wasmparser::CompositeInnerType::Func(function)) => function.params().len() as u64,
            _ => 0,
        }
    }
}

/// An open block.
struct Frame {
    ty: BlockType,
    kind: FrameKind,
    /// Height of the operand stack below the parameters of the block.
    base: u64,
}

/// Operands of one operator that fit into registers.
const REGISTER_OPERANDS: u64 = 8;

/// The state of reading one body.
struct Body<'s> {
    signatures: &'s Signatures,
    frames: Vec<Frame>,
    /// Height of the operand stack.
    height: u64,
    locals: u64,
    /// Loops around the current operator.
    open_loops: u64,
    operands: u64,
    /// Operands of each operator beyond [`REGISTER_OPERANDS`], in total.
    spilled_operands: u64,
    /// Values carried by loops: each write to a local counts once for each open loop around it.
    loop_carried: u64,
    largest_stack: u64,
    deepest_block: u64,
    deepest_loop: u64,
    loops: u64,
    branches: u64,
}

/// Counts the body of a function with the type index `ty`.
pub(super) fn count<'a>(
    body: &FunctionBody<'a>,
    ty: u32,
    signatures: &Signatures,
    meter: &mut BudgetMeter<'a, '_>,
) -> Result<(), StructureRefusal> {
    let bytes = body.range().len() as u64;
    meter.count(|counts| &mut counts.code_bytes, bytes)?;
    meter.raise(|counts| &mut counts.largest_body, bytes)?;

    let mut locals = signatures.parameters(ty);
    meter.raise(|counts| &mut counts.largest_locals, locals)?;
    for group in body.get_locals_reader()? {
        // The encoding holds the number of locals of each type: six bytes can declare four billion.
        let more = u64::from(group?.0);
        locals = locals.saturating_add(more);
        meter.raise(|counts| &mut counts.largest_locals, locals)?;
        meter.count(|counts| &mut counts.locals, more)?;
    }

    let mut state = Body::new(signatures, locals);
    state.open(BlockType::FuncType(ty), FrameKind::Block, 0);
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        state.operator(&mut operators)?;
        state.check_budget(meter)?;
    }
    operators.finish()?;
    meter.count(|counts| &mut counts.effort, state.effort())
}

impl<'s> Body<'s> {
    fn new(signatures: &'s Signatures, locals: u64) -> Self {
        Self {
            signatures,
            frames: Vec::new(),
            height: 0,
            locals,
            open_loops: 0,
            operands: 0,
            spilled_operands: 0,
            loop_carried: 0,
            largest_stack: 0,
            deepest_block: 0,
            deepest_loop: 0,
            loops: 0,
            branches: 0,
        }
    }

    /// Reads and counts one operator.
    fn operator(&mut self, operators: &mut OperatorsReader<'_>) -> Result<(), StructureRefusal> {
        let (operator, offset) = operators.read_with_offset()?;
        let unknown = || StructureRefusal::malformed(offset, "an operator refers to an undefined index");
        let (taken, given) = operator.operator_arity(self).ok_or_else(unknown)?;
        let base = self.frames.last().map_or(0, |frame| frame.base);
        self.height = self.height.saturating_sub(taken.into()).max(base);
        let below = self.height;
        self.height = self.height.saturating_add(given.into());
        let mut moved = u64::from(taken).saturating_add(given.into());

        match &operator {
            Operator::Loop { blockty } => self.open(*blockty, FrameKind::Loop, below),
            Operator::If { blockty } => {
                self.branch(1);
                self.open(*blockty, FrameKind::Block, below);
            }
            Operator::Block { blockty } | Operator::Try { blockty } => {
                self.open(*blockty, FrameKind::Block, below);
            }
            Operator::TryTable { try_table } => {
                moved = moved.saturating_add(try_table.catches.len() as u64);
                self.open(try_table.ty, FrameKind::Block, below);
            }
            Operator::Else | Operator::Catch { .. } | Operator::CatchAll => {
                self.height = base.saturating_add(given.into());
            }
            Operator::End | Operator::Delegate { .. } => {
                if let Some(Frame { kind: FrameKind::Loop, .. }) = self.frames.pop() {
                    self.open_loops = self.open_loops.saturating_sub(1);
                }
                self.height = base.saturating_add(given.into());
            }
            Operator::BrTable { targets } => {
                // Every target takes the same operands as the default target.
                moved = moved.saturating_mul(u64::from(targets.len()).saturating_add(1));
                self.branch(targets.len().into());
                self.height = base;
            }
            Operator::BrIf { .. } => self.branch(1),
            Operator::LocalSet { .. } | Operator::LocalTee { .. } => {
                self.loop_carried = self.loop_carried.saturating_add(self.open_loops);
            }
            Operator::Br { .. }
            | Operator::Return
            | Operator::Unreachable
            | Operator::Throw { .. }
            | Operator::ThrowRef
            | Operator::Rethrow { .. }
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. } => self.height = base,
            operator => self.branch(hidden_branches(operator)),
        }
        self.operands = self.operands.saturating_add(moved);
        self.spilled_operands = self.spilled_operands.saturating_add(moved.saturating_sub(REGISTER_OPERANDS));
        self.largest_stack = self.largest_stack.max(self.height);
        Ok(())
    }

    /// Opens a block.
    fn open(&mut self, ty: BlockType, kind: FrameKind, base: u64) {
        if let (BlockType::FuncType(index), Some(_)) = (ty, self.frames.last()) {
            // Every branch to a block must supply each value that the block takes or returns.
            self.branch(self.sub_type_at(index).map_or(0, super::module::parts));
        }
        if kind == FrameKind::Loop {
            self.branch(1);
            self.loops += 1;
            self.open_loops += 1;
            self.deepest_loop = self.deepest_loop.max(self.open_loops);
        }
        self.frames.push(Frame { ty, kind, base });
        self.deepest_block = self.deepest_block.max(self.frames.len() as u64);
    }

    fn branch(&mut self, more: u64) {
        self.branches = self.branches.saturating_add(more);
    }

    /// Compares the counts so far with the budget, so that reading stops early.
    fn check_budget(&self, meter: &mut BudgetMeter<'_, '_>) -> Result<(), StructureRefusal> {
        meter.raise(|counts| &mut counts.largest_stack, self.largest_stack)?;
        meter.raise(|counts| &mut counts.deepest_block, self.deepest_block)?;
        meter.raise(|counts| &mut counts.deepest_loop, self.deepest_loop)?;
        meter.raise(|counts| &mut counts.largest_loops, self.loops)?;
        meter.raise(|counts| &mut counts.largest_branches, self.branches)?;
        meter.raise(|counts| &mut counts.largest_flow, self.branches.saturating_mul(self.locals))
    }

    /// Estimates the processor time for compiling this body, in microseconds.
    fn effort(&self) -> u64 {
        let square = |value: u64| value.saturating_mul(value);
        let nanoseconds = [
            50_000,
            self.operands.saturating_mul(2_000),
            self.spilled_operands.saturating_mul(7_000),
            self.loop_carried.saturating_mul(5_000),
            square(self.loops).saturating_mul(140),
            square(self.largest_stack).saturating_mul(20),
            square(self.locals).saturating_mul(60),
            square(self.deepest_block).saturating_mul(17),
            square(self.branches).saturating_mul(10),
            self.branches.saturating_mul(self.locals).saturating_mul(1_000),
            self.branches.saturating_mul(20_000),
        ];
        nanoseconds.iter().fold(0u64, |sum, part| sum.saturating_add(*part)) / 1_000
    }
}

/// Returns the number of branches that a compiler generates for an operator that is not a branch: checks of bounds
/// and signatures, and calls into the host.
fn hidden_branches(operator: &Operator<'_>) -> u64 {
    match operator {
        Operator::CallIndirect { .. }
        | Operator::CallRef { .. }
        | Operator::TableGet { .. }
        | Operator::MemoryGrow { .. }
        | Operator::MemoryFill { .. }
        | Operator::MemoryCopy { .. }
        | Operator::MemoryInit { .. } => 2,
        Operator::TableGrow { .. }
        | Operator::TableFill { .. }
        | Operator::TableCopy { .. }
        | Operator::TableInit { .. } => 6,
        _ => 0,
    }
}

impl ModuleArity for Body<'_> {
    fn sub_type_at(&self, index: u32) -> Option<&SubType> {
        self.signatures.types.get(index as usize)
    }

    fn tag_type_arity(&self, index: u32) -> Option<(u32, u32)> {
        let ty = *self.signatures.tags.get(index as usize)?;
        self.sub_type_arity(self.sub_type_at(ty)?)
    }

    fn type_index_of_function(&self, index: u32) -> Option<u32> {
        self.signatures.functions.get(index as usize).copied()
    }

    // Continuations and typed references need WebAssembly proposals that the engine does not enable.
    fn func_type_of_cont_type(&self, _: &ContType) -> Option<&FuncType> {
        None
    }

    fn sub_type_of_ref_type(&self, _: &RefType) -> Option<&SubType> {
        None
    }

    fn control_stack_height(&self) -> u32 {
        u32::try_from(self.frames.len()).unwrap_or(u32::MAX)
    }

    fn label_block(&self, depth: u32) -> Option<(BlockType, FrameKind)> {
        let frame = self.frames.iter().nth_back(depth as usize)?;
        Some((frame.ty, frame.kind))
    }
}
