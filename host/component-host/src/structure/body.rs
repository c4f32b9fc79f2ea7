//! Counts inside one function body. Operators are read, not validated: what a compiler's cost follows is how many
//! values live at once, how deep and how often control branches, and how many operands move.

use super::{Refusal, reading::Meter};
use wasmparser::{
    BlockType, ContType, FrameKind, FuncType, FunctionBody, ModuleArity, Operator, OperatorsReader, RefType, SubType,
};

/// The types and functions of a module that its bodies refer to.
#[derive(Debug, Default)]
pub(super) struct Signatures {
    pub(super) types: Vec<SubType>,
    /// The type of each function, imported ones first.
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

/// A block that is open, and the height of the operand stack below its parameters.
struct Frame {
    ty: BlockType,
    kind: FrameKind,
    base: u64,
}

/// Operands of one operator that a compiler places without further ado.
const FEW: u64 = 8;

/// One body while it is read.
struct Body<'s> {
    signatures: &'s Signatures,
    frames: Vec<Frame>,
    height: u64,
    locals: u64,
    /// Loops that are open.
    open_loops: u64,
    operands: u64,
    /// Operands of operators beyond the [`FEW`] that fit into registers.
    crowded: u64,
    /// Values that loops carry: each write to a local, as often as loops are open around it.
    carried: u64,
    largest_stack: u64,
    deepest_block: u64,
    deepest_loop: u64,
    loops: u64,
    branches: u64,
}

/// Counts one body of a function of the given type.
pub(super) fn count<'a>(
    body: &FunctionBody<'a>,
    ty: u32,
    signatures: &Signatures,
    meter: &mut Meter<'a, '_>,
) -> Result<(), Refusal> {
    let bytes = body.range().len() as u64;
    meter.count(|counts| &mut counts.code_bytes, bytes)?;
    meter.most(|counts| &mut counts.largest_body, bytes)?;

    let mut locals = signatures.parameters(ty);
    meter.most(|counts| &mut counts.largest_locals, locals)?;
    for group in body.get_locals_reader()? {
        // The encoding says how many there are of each type: six bytes can declare four thousand million.
        let more = u64::from(group?.0);
        locals = locals.saturating_add(more);
        meter.most(|counts| &mut counts.largest_locals, locals)?;
        meter.count(|counts| &mut counts.locals, more)?;
    }

    let mut state = Body::new(signatures, locals);
    state.open(BlockType::FuncType(ty), FrameKind::Block, 0);
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        state.operator(&mut operators)?;
        state.compare(meter)?;
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
            crowded: 0,
            carried: 0,
            largest_stack: 0,
            deepest_block: 0,
            deepest_loop: 0,
            loops: 0,
            branches: 0,
        }
    }

    fn operator(&mut self, operators: &mut OperatorsReader<'_>) -> Result<(), Refusal> {
        let (operator, offset) = operators.read_with_offset()?;
        let unknown = || Refusal::malformed(offset, "an operator refers to what is not there");
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
                // Each target takes the operands that the default takes.
                moved = moved.saturating_mul(u64::from(targets.len()).saturating_add(1));
                self.branch(targets.len().into());
                self.height = base;
            }
            Operator::BrIf { .. } => self.branch(1),
            Operator::LocalSet { .. } | Operator::LocalTee { .. } => {
                self.carried = self.carried.saturating_add(self.open_loops);
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
            operator => self.branch(branches_inside(operator)),
        }
        self.operands = self.operands.saturating_add(moved);
        self.crowded = self.crowded.saturating_add(moved.saturating_sub(FEW));
        self.largest_stack = self.largest_stack.max(self.height);
        Ok(())
    }

    fn open(&mut self, ty: BlockType, kind: FrameKind, base: u64) {
        if let (BlockType::FuncType(index), Some(_)) = (ty, self.frames.last()) {
            // Every value that a block takes or gives is one that each branch to it has to bring.
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

    /// Holds what was read so far against the budget, so that a body is not read to its end in vain.
    fn compare(&self, meter: &mut Meter<'_, '_>) -> Result<(), Refusal> {
        meter.most(|counts| &mut counts.largest_stack, self.largest_stack)?;
        meter.most(|counts| &mut counts.deepest_block, self.deepest_block)?;
        meter.most(|counts| &mut counts.deepest_loop, self.deepest_loop)?;
        meter.most(|counts| &mut counts.largest_loops, self.loops)?;
        meter.most(|counts| &mut counts.largest_branches, self.branches)?;
        meter.most(|counts| &mut counts.largest_flow, self.branches.saturating_mul(self.locals))
    }

    /// Estimated microseconds that one core compiles this body.
    fn effort(&self) -> u64 {
        let square = |of: u64| of.saturating_mul(of);
        let nanoseconds = [
            50_000,
            self.operands.saturating_mul(2_000),
            self.crowded.saturating_mul(7_000),
            self.carried.saturating_mul(5_000),
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

/// Branches that a compiler makes of one operator that is none itself: checks of bounds and signatures, and calls
/// into the host.
fn branches_inside(operator: &Operator<'_>) -> u64 {
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

    // Continuations and references to types of the module's own need proposals that no engine here has.
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
