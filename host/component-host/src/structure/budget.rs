//! Limits on the structure of a component.
//!
//! A single list declares every limit. It generates [`Counts`], the actual numbers, and [`Budget`], the
//! allowed numbers, with the same field names. A refusal therefore names a field that a user can set.

use serde::{Deserialize, Serialize};

/// Declares [`Counts`] and [`Budget`] from one list of `name: with child, without child, for inspection`.
macro_rules! bounds {
    ($($(#[doc = $doc:literal])+ $name:ident: $child:expr, $alone:expr, $look:expr;)+) => {
        /// Counts of a component's parts. A count is the total over all nested modules and components unless its
        /// name says "largest", "longest" or "deepest". Counts saturate.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
        pub struct Counts {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        /// Upper limits on the parts of a component. [`Budget::default`] is for a compiler in a child process that
        /// can be killed, [`Budget::without_child`] for a compiler in this process.
        ///
        /// In TOML an absent field has its value from [`Budget::default`]; an unknown field is refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Budget {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Budget {
            /// Returns the budget for a compiler whose time and memory are not limited by a child process. A
            /// component within it compiles in seconds at worst.
            #[must_use]
            pub const fn without_child() -> Self {
                Self { $($name: $alone,)+ }
            }

            /// Returns the budget for inspecting a component, which may be one that would be refused. It limits
            /// the cost of reading, not of compiling.
            #[must_use]
            pub const fn for_inspection() -> Self {
                Self { $($name: $look,)+ }
            }

            /// Returns every limit by name, in the order of declaration.
            #[must_use]
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),+]
            }

            /// Returns a budget with the smaller value of each limit.
            #[must_use]
            pub fn min(&self, other: &Self) -> Self {
                Self { $($name: self.$name.min(other.$name),)+ }
            }

            /// Returns the first exceeded limit: its name, the actual and the allowed number.
            pub(super) fn exceeded(&self, counts: &Counts) -> Option<(&'static str, u64, u64)> {
                $(if counts.$name > self.$name {
                    return Some((stringify!($name), counts.$name, self.$name));
                })+
                None
            }
        }

        impl Counts {
            /// Returns every count by name, in the order of declaration.
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
const UNLIMITED: u64 = u64::MAX;

// Each description ends with the largest count in components that toolchains build from trivial resolvers. "QuickJS"
// is JavaScript on QuickJS (1.6 MB), "StarlingMonkey" is JavaScript on StarlingMonkey (12.6 MB), "Python" is CPython
// (18.4 MB). The QuickJS component is within both budgets; the others are within the budget with a child.
bounds! {
    /// Bytes of the component. All other costs are at least linear in it. Python: 18,386,857.
    bytes: 32 * MIB, 4 * MIB, 512 * MIB;
    /// Depth of nested components, instance types and component types; the outermost has depth 1. A recursive parser
    /// without this limit overflows its stack. QuickJS: 4.
    nesting: 16, 16, 100;
    /// Sections of components and modules. Each has a fixed cost in addition to its bytes. QuickJS: 777.
    sections: 4096, 2048, UNLIMITED;
    /// Defined core modules. Each is compiled with its own metadata. Python: 38.
    core_modules: 128, 32, UNLIMITED;
    /// Components defined inside the outermost component. QuickJS: 24.
    components: 128, 64, UNLIMITED;
    /// Core and component instances that one instantiation creates, including the outermost. They are counted as a
    /// tree: the instances inside a component count each time that component is instantiated. A component of 2 kB can
    /// request 2^100 instances, and the compiler visits them all. Python: 41.
    instances: 1024, 256, UNLIMITED;
    /// Core instances that one instantiation creates. A host has a fixed number of slots for them. Python: 38.
    core_instances: 256, 128, UNLIMITED;
    /// Definitions, aliases, arguments and uses of types that a compiler visits when it inlines the tree of
    /// instantiations. A use of a type counts once for each part of the type. A million items take 8 s and 2.6 GB.
    /// QuickJS: 11,537.
    inlined_items: 100_000, 30_000, UNLIMITED;
    /// Defined component and core types. Each distinct core type takes 0.1 ms. Python: 1,485.
    types: 8192, 4096, UNLIMITED;
    /// Fields, cases, parameters and declarations of all component types. QuickJS: 1,531.
    type_parts: 50_000, 10_000, UNLIMITED;
    /// Parts of the largest type after expanding all its references. A few bytes per level double the number:
    /// 400,000 parts in 452 bytes take 5 s and 2.4 GB. QuickJS: 384.
    largest_type: 10_000, 4000, UNLIMITED;
    /// Depth of types nested in each other by reference. All samples: 12.
    type_depth: 64, 64, UNLIMITED;
    /// Parameters plus results of the largest core function type, or fields of the largest structure. A call of two
    /// bytes moves all of them: 7 kB of calls with 1,000 parameters and results take 10 s and 1 GB. Python: 19.
    largest_signature: 64, 32, UNLIMITED;
    /// Imports of components and modules. Python: 2,429.
    imports: 8192, 1024, UNLIMITED;
    /// Functions and resources of the interfaces that the outermost component imports and exports. They are listed
    /// by name, and one large interface can be imported under many names. Python: 6.
    listed_items: 4096, 4096, 65_536;
    /// Exports of components and modules. Python: 4,472.
    exports: 20_000, 2048, UNLIMITED;
    /// Aliases of exports and of outer items. Python: 1,457.
    aliases: 10_000, 2048, UNLIMITED;
    /// Canonical functions: lifts, lowers and built-ins. Each is compiled to a trampoline. QuickJS: 92.
    canonical_functions: 2048, 512, UNLIMITED;
    /// Bytes of the longest name. Python: 162.
    longest_name: 4 * KIB, 4 * KIB, UNLIMITED;
    /// Estimated processor time for compiling functions, types and element segments, in microseconds. The estimate
    /// uses the number of moved operands, of values that are live at the same time, and of branches and loops in each
    /// function. It is about twice the real time for components of toolchains, and between a quarter and twenty times
    /// the real time for components made to be slow. StarlingMonkey: 27.8 s (real: 15.4 s), QuickJS: 4.1 s (real:
    /// 2.5 s).
    effort: 90_000_000, 10_000_000, UNLIMITED;
    /// Core functions with a body. Each takes 0.06 ms in addition to its bytes. Python: 13,482.
    functions: 50_000, 8192, UNLIMITED;
    /// Bytes of the largest function body, including its locals. Python: 426,843.
    largest_body: MIB, 128 * KIB, UNLIMITED;
    /// Bytes of all function bodies. StarlingMonkey: 9,203,391.
    code_bytes: 24 * MIB, 3 * MIB, UNLIMITED;
    /// Parameters plus locals of the function with the most. The cost of register allocation is quadratic: 16,000
    /// locals that are live at the same time take 16 s. Python: 273.
    largest_locals: 1024, 256, UNLIMITED;
    /// Locals of all functions. StarlingMonkey: 51,824.
    locals: 1_000_000, 100_000, UNLIMITED;
    /// Deepest operand stack of a function. The cost is quadratic: 30,000 operands in 238 kB take 18 s.
    /// StarlingMonkey: 64.
    largest_stack: 512, 128, UNLIMITED;
    /// Depth of nested blocks in a function. 50,000 nested conditions take longer than 25 s. Python: 782.
    deepest_block: 2048, 1024, UNLIMITED;
    /// Depth of nested loops in a function. Every loop carries all locals that are written inside it: 1,500 loops
    /// around 1,000 locals in 31 kB take 35 s and 2.5 GB. QuickJS: 21.
    deepest_loop: 64, 32, UNLIMITED;
    /// Loops of the function with the most. The cost is quadratic: 8,000 loops in 120 kB take 9 s.
    /// StarlingMonkey: 392.
    largest_loops: 1024, 256, UNLIMITED;
    /// Branches of the function with the most: conditions, loops, targets of branch tables, parameters and results of
    /// blocks, and checks inside other operators. Memory use is quadratic: 32,000 branches can take 1 GB. Python:
    /// 15,886.
    largest_branches: 32_768, 4096, UNLIMITED;
    /// Largest product of the branches and the locals of a function. Every branch may have to pass every local.
    /// StarlingMonkey: 351,848.
    largest_flow: 4_000_000, 400_000, UNLIMITED;
    /// Defined tables, or tables that one instantiation creates if those are more. QuickJS: 3.
    tables: 256, 64, UNLIMITED;
    /// Initial elements of all defined tables, or of the tables that one instantiation creates if those are more. A
    /// compiler lays out up to a million elements for a segment of ten bytes: 16 such modules in 936 bytes take
    /// 226 MB. StarlingMonkey: 7,692.
    table_elements: 65_536, 32_768, UNLIMITED;
    /// Defined memories, or memories that one instantiation creates if those are more. QuickJS: 3.
    memories: 64, 32, UNLIMITED;
    /// Initial pages of 64 KiB of all defined memories, or of the memories that one instantiation creates if those
    /// are more. Python: 197.
    memory_pages: 1024, 1024, UNLIMITED;
    /// Defined globals. Python: 871.
    globals: 8192, 2048, UNLIMITED;
    /// Start functions. They run at every instantiation. QuickJS: 2.
    start_functions: 64, 16, UNLIMITED;
    /// Data segments. StarlingMonkey: 10,000.
    data_segments: 40_000, 16_384, UNLIMITED;
    /// Bytes of data segments. Python: 11,061,028.
    data_bytes: 32 * MIB, 4 * MIB, UNLIMITED;
    /// Element segments. Python: 8.
    element_segments: 1024, 256, UNLIMITED;
    /// Items of element segments. A segment that does not fit into its table is initialised by compiled code, which
    /// takes 0.04 ms per item to compile. StarlingMonkey: 7,691.
    elements: 65_536, 16_384, UNLIMITED;
    /// Bytes of custom sections: names and debugging information. Python: 415,924.
    custom_bytes: 16 * MIB, 2 * MIB, UNLIMITED;
}
