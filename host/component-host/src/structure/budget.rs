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

// Beside each reason: the most that was counted in components that tools build from trivial resolvers. "QuickJS" is
// JavaScript on QuickJS (1.6 MB), "StarlingMonkey" is JavaScript on StarlingMonkey (12.6 MB), "Python" is CPython
// (18.4 MB). What QuickJS needs passes both budgets; what the others need passes the one with a child.
bounds! {
    /// Bytes of the component. Everything else is at least linear in it. Python: 18,386,857.
    bytes: 32 * MIB, 4 * MIB, 512 * MIB;
    /// Deepest nesting of components and of instance and component types, the outermost being 1. A parser that enters
    /// types without a bound runs out of stack. QuickJS: 4.
    nesting: 16, 16, 100;
    /// Sections of components and modules. Each is fixed work beside its bytes. QuickJS: 777.
    sections: 4096, 2048, ANY;
    /// Core modules defined. Each is compiled with metadata of its own. Python: 38.
    core_modules: 128, 32, ANY;
    /// Components defined inside the outermost. QuickJS: 24.
    components: 128, 64, ANY;
    /// Core and component instances that one instantiation makes, the outermost included, counted as a tree: what a
    /// component instantiates counts each time that component is instantiated. A component of 2 kB can ask for 2^100,
    /// and the compiler walks them all. Python: 41.
    instances: 1024, 256, ANY;
    /// Core instances among them, which is what a host has a number of places for. Python: 38.
    core_instances: 256, 128, ANY;
    /// Definitions, aliases, arguments and uses of types that a compiler visits when it inlines the tree of
    /// instantiations; a use of a type counts as many times as the type has parts. A million take 8 s and 2.6 GB.
    /// QuickJS: 11,537.
    inlined_items: 100_000, 30_000, ANY;
    /// Component and core types defined. Each distinct core type takes 0.1 ms. Python: 1,485.
    types: 8192, 4096, ANY;
    /// Fields, cases, parameters and declarations of all component types. QuickJS: 1,531.
    type_parts: 50_000, 10_000, ANY;
    /// Parts of the largest type when everything that it refers to is written out: a few bytes a level double it.
    /// 400,000 parts in 452 bytes take 5 s and 2.4 GB. QuickJS: 384.
    largest_type: 10_000, 4000, ANY;
    /// Deepest nesting of one type in another, by reference. All samples: 12.
    type_depth: 64, 64, ANY;
    /// Most parameters and results of one core function type, or fields of a structure. A call of two bytes moves them
    /// all: 7 kB of calls with a thousand each way take 10 s and 1 GB. Python: 19.
    largest_signature: 64, 32, ANY;
    /// Imports of components and modules. Python: 2,429.
    imports: 8192, 1024, ANY;
    /// Functions and resources inside the interfaces that the outermost component imports and exports. They are
    /// listed by name, and one interface of many can be imported under many names. Python: 6.
    listed_items: 4096, 4096, 65_536;
    /// Exports of components and modules. Python: 4,472.
    exports: 20_000, 2048, ANY;
    /// Aliases of exports and of outer items. Python: 1,457.
    aliases: 10_000, 2048, ANY;
    /// Canonical functions: lifts, lowers and built-ins. Each becomes a compiled trampoline. QuickJS: 92.
    canonical_functions: 2048, 512, ANY;
    /// Bytes of the longest name. Python: 162.
    longest_name: 4 * KIB, 4 * KIB, ANY;
    /// Estimated microseconds that one core compiles functions, types and element segments. The estimate follows what
    /// makes compilers slow: operands moved, values alive at once, branches and loops a function. It is about twice
    /// what tool-built components take and, for what was made to be hard, between a quarter of the truth and
    /// twenty times it. StarlingMonkey: 27.8 s (took 15.4 s), QuickJS: 4.1 s (took 2.5 s).
    effort: 90_000_000, 10_000_000, ANY;
    /// Core functions with a body. Each takes 0.06 ms beside its bytes. Python: 13,482.
    functions: 50_000, 8192, ANY;
    /// Bytes of the largest function body, locals included. Python: 426,843.
    largest_body: MIB, 128 * KIB, ANY;
    /// Bytes of all function bodies. StarlingMonkey: 9,203,391.
    code_bytes: 24 * MIB, 3 * MIB, ANY;
    /// Parameters and locals of the function that has most. Placing them is quadratic: 16,000 alive at once take
    /// 16 s. Python: 273.
    largest_locals: 1024, 256, ANY;
    /// Locals of all functions. StarlingMonkey: 51,824.
    locals: 1_000_000, 100_000, ANY;
    /// Deepest operand stack of a function. Quadratic as well: 30,000 in 238 kB take 18 s. StarlingMonkey: 64.
    largest_stack: 512, 128, ANY;
    /// Deepest nesting of blocks in a function. 50,000 conditions in each other take longer than 25 s. Python: 782.
    deepest_block: 2048, 1024, ANY;
    /// Deepest nesting of loops in a function. Every loop carries all locals that are written inside: 1,500 loops
    /// around 1,000 locals in 31 kB take 35 s and 2.5 GB. QuickJS: 21.
    deepest_loop: 64, 32, ANY;
    /// Loops of the function that has most. Quadratic: 8,000 in 120 kB take 9 s. StarlingMonkey: 392.
    largest_loops: 1024, 256, ANY;
    /// Branches of the function that has most: conditions, loops, targets of tables, values that blocks take and give,
    /// and checks inside other operators. Memory is quadratic in it: 32,000 can take 1 GB. Python: 15,886.
    largest_branches: 32_768, 4096, ANY;
    /// Product of branches and locals of the function where it is largest: every branch may have to bring every local.
    /// StarlingMonkey: 351,848.
    largest_flow: 4_000_000, 400_000, ANY;
    /// Tables that are defined, or that one instantiation makes if that is more. QuickJS: 3.
    tables: 256, 64, ANY;
    /// Initial elements of all tables that are defined, or that one instantiation makes if that is more. A compiler
    /// lays out up to a million for a segment of ten bytes: 16 such modules in 936 bytes take 226 MB.
    /// StarlingMonkey: 7,692.
    table_elements: 65_536, 32_768, ANY;
    /// Memories that are defined, or that one instantiation makes if that is more. QuickJS: 3.
    memories: 64, 32, ANY;
    /// Initial pages of 64 KiB of all memories that are defined, or that one instantiation makes if that is more.
    /// Python: 197.
    memory_pages: 1024, 1024, ANY;
    /// Globals defined. Python: 871.
    globals: 8192, 2048, ANY;
    /// Start functions. They run at every instantiation. QuickJS: 2.
    start_functions: 64, 16, ANY;
    /// Data segments. StarlingMonkey: 10,000.
    data_segments: 40_000, 16_384, ANY;
    /// Bytes of data segments. Python: 11,061,028.
    data_bytes: 32 * MIB, 4 * MIB, ANY;
    /// Element segments. Python: 8.
    element_segments: 1024, 256, ANY;
    /// Items of element segments. A segment that does not fit its table is run as code, 0.04 ms an item.
    /// StarlingMonkey: 7,691.
    elements: 65_536, 16_384, ANY;
    /// Bytes of custom sections: names and debugging information. Python: 415,924.
    custom_bytes: 16 * MIB, 2 * MIB, ANY;
}
