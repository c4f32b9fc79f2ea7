//! What may be in a component before a compiler sees it.
//!
//! One list names every bound once. From it come [`Counts`], what was counted, and [`Budget`], what is
//! allowed: the same names, so that a refusal always names a field that a person can find and set.

use serde::{Deserialize, Serialize};

/// Declares [`Counts`] and [`Budget`] from one list of `name: with a child, without a child, to look at only`.
macro_rules! bounds {
    ($($(#[doc = $doc:literal])+ $name:ident: $child:expr, $alone:expr, $look:expr;)+) => {
        /// What was counted in a component. Every count is a total over all nested modules and components unless
        /// it says "largest" or "deepest"; counts saturate instead of wrapping.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
        pub struct Counts {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        /// The most of everything that a component may hold. [`Budget::default`] is for a compiler in a child
        /// process that can be killed, [`Budget::without_child`] for a compiler in this process.
        ///
        /// From TOML, a field that is absent keeps its value from [`Budget::default`]; an unknown field is refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Budget {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Budget {
            /// The budget where no child process bounds the compiler's time and memory: what remains compiles
            /// in seconds at worst.
            #[must_use]
            pub const fn without_child() -> Self {
                Self { $($name: $alone,)+ }
            }

            /// What is read at most to show a component to a person, who may well want to see one that would be
            /// refused. It bounds the reading, not what a compiler would make of it.
            #[must_use]
            pub const fn to_look_at() -> Self {
                Self { $($name: $look,)+ }
            }

            /// Every bound by name, in the order of declaration.
            #[must_use]
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),+]
            }

            /// Each bound at its smaller value of the two.
            #[must_use]
            pub fn min(&self, other: &Self) -> Self {
                Self { $($name: self.$name.min(other.$name),)+ }
            }

            /// The first bound that the counts exceed: its name, what was counted, what is allowed.
            pub(super) fn exceeded(&self, counts: &Counts) -> Option<(&'static str, u64, u64)> {
                $(if counts.$name > self.$name {
                    return Some((stringify!($name), counts.$name, self.$name));
                })+
                None
            }
        }

        impl Counts {
            /// Every count by name, in the order of declaration.
            #[must_use]
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),+]
            }
        }

        impl Default for Budget {
            fn default() -> Self {
                Self { $($name: $child,)+ }
            }
        }
    };
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const ANY: u64 = u64::MAX;

bounds! {
    /// Bytes of the component. Python components are 18 MB, StarlingMonkey's 12 MB; parsing and hashing are linear in it.
    bytes: 32 * MIB, 8 * MIB, 512 * MIB;
    /// Deepest nesting of components and of instance and component types, the outermost being 1. Tool-built
    /// components reach 4. A parser that recurses into types without a bound would run out of stack.
    nesting: 16, 16, 100;
    /// Sections of components and modules. A component of many tiny sections is all overhead.
    sections: 4096, 2048, ANY;
    /// Core modules defined. Each is compiled with its own metadata, and may claim an image of its memory.
    core_modules: 128, 32, ANY;
    /// Components defined inside the outermost.
    components: 128, 32, ANY;
    /// Core and component instances that one instantiation makes, counted as a tree: what a component instantiates
    /// counts each time that component is instantiated. 2 kB can ask for 2^100 of them, and the compiler walks them all.
    instances: 1024, 256, ANY;
    /// Definitions, aliases, arguments and uses of types that a compiler visits when it inlines the tree of
    /// instantiations; a use of a type counts as many times as the type has parts.
    inlined_items: 200_000, 50_000, ANY;
    /// Component and core types defined.
    types: 20_000, 10_000, ANY;
    /// Fields, cases, parameters and declarations of all component types.
    type_parts: 100_000, 25_000, ANY;
    /// Parts of the largest type when everything it refers to is written out: shared parts make a type of a few
    /// bytes a level double at each.
    largest_type: 10_000, 5_000, ANY;
    /// Deepest nesting of one type in another, by reference.
    type_depth: 64, 64, ANY;
    /// Most parameters and results of one core function type. A call of two bytes moves them all.
    largest_signature: 128, 64, ANY;
    /// Imports of components and modules.
    imports: 4096, 1024, ANY;
    /// Functions and resources inside the interfaces that the outermost component imports and exports. They are
    /// listed by name, and one interface of many can be imported under many names.
    listed_items: 4096, 4096, 65_536;
    /// Exports of components and modules.
    exports: 20_000, 5_000, ANY;
    /// Aliases of exports and of outer items.
    aliases: 20_000, 5_000, ANY;
    /// Canonical functions: lifts, lowers and built-ins. Each becomes a compiled trampoline.
    canonical_functions: 4096, 1024, ANY;
    /// Bytes of the longest name.
    longest_name: 16 * KIB, 4 * KIB, ANY;
    /// Core functions with a body. Each costs fixed work beside its bytes.
    functions: 60_000, 20_000, ANY;
    /// Bytes of the largest function body, locals included. Register allocation is worse than linear in it.
    largest_body: 512 * KIB, 128 * KIB, ANY;
    /// Bytes of all function bodies.
    code_bytes: 24 * MIB, 6 * MIB, ANY;
    /// Parameters and locals of the function that has most.
    largest_locals: 4096, 1024, ANY;
    /// Locals of all functions.
    locals: 2_000_000, 500_000, ANY;
    /// Operands that all operators of all functions take and give: a call of two bytes may move as many as its
    /// signature has.
    operands: 100_000_000, 10_000_000, ANY;
    /// Deepest operand stack of a function.
    largest_stack: 4096, 1024, ANY;
    /// Estimated microseconds that one core compiles, over all functions.
    effort: 100_000_000, 10_000_000, ANY;
    /// Deepest nesting of loops in a function.
    deepest_loop: 64, 32, ANY;
    /// Deepest nesting of blocks in a function.
    deepest_block: 4096, 1024, ANY;
    /// Loops of the function that has most.
    largest_loops: 4096, 1024, ANY;
    /// Branches of the function that has most: blocks, conditions, and every target of a table of them.
    largest_branches: 100_000, 20_000, ANY;
    /// Product of branches and locals of the function where it is largest.
    largest_flow: 100_000_000, 10_000_000, ANY;
    /// Tables defined.
    tables: 256, 64, ANY;
    /// Initial elements of all tables that are defined, or that one instantiation makes if that is more. A host
    /// gives 16,384 of them; a compiler lays out up to a million for a segment of ten bytes.
    table_elements: 65_536, 16_384, ANY;
    /// Memories defined.
    memories: 64, 16, ANY;
    /// Initial pages of 64 KiB of all memories that are defined, or that one instantiation makes if that is more.
    /// A host gives 64 MiB.
    memory_pages: 1024, 1024, ANY;
    /// Globals defined.
    globals: 20_000, 10_000, ANY;
    /// Core start functions. They run at every instantiation.
    start_functions: 64, 16, ANY;
    /// Data segments.
    data_segments: 20_000, 10_000, ANY;
    /// Bytes of data segments.
    data_bytes: 32 * MIB, 8 * MIB, ANY;
    /// Bytes between the first and the last byte that a module's data segments set, over all modules. A compiler
    /// may lay them out as one image, however few they are.
    data_span: 64 * MIB, 16 * MIB, ANY;
    /// Element segments.
    element_segments: 4096, 1024, ANY;
    /// Items of element segments.
    elements: 200_000, 50_000, ANY;
    /// Bytes of custom sections: names and debugging information.
    custom_bytes: 16 * MIB, 4 * MIB, ANY;
}
