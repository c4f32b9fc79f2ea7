//! Limits of the sandbox. An error that a limit causes carries the name of its field.
//!
//! In TOML every field is optional and defaults to the value below. Unknown fields are refused.

mod plugin;

use std::num::NonZeroU64;

use bundles::BundleLimits;
use serde::{Deserialize, Serialize};
use toml::de::{DeTable, DeValue};

use crate::call::InstanceLimits;
use crate::structure::Budget;
use crate::world::World;

pub use plugin::PluginLimits;

const MIB: u64 = 1 << 20;

/// All limits of a host, read from one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Limits on the structure of a component, checked before compilation.
    pub structure: Budget,
    /// Limits on compiling a component.
    pub compile: CompileLimits,
    /// Shares of the guests that run at the same time.
    pub pools: PoolLimits,
    /// Limits on one resolution.
    pub resolution: ResolutionLimits,
    /// Limits on one tool call, or on one turn of a service.
    pub plugin: PluginLimits,
    /// Limits on a bundle.
    pub bundle: BundleLimits,
}

/// Limits on compiling one component in a child process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompileLimits {
    /// Processor time of the compiling process over all its threads, in milliseconds, rounded up to
    /// whole seconds. A Python component of 18 MB takes about 20 seconds.
    pub compile_ms: u64,
    /// Wall-clock time after which the compiling process is killed, in milliseconds. A process that gets too little
    /// processor time can exceed this limit, so exceeding it does not mean that the component is at fault.
    pub compile_wall_ms: u64,
    /// Address space of the compiling process, in bytes.
    pub compile_memory_bytes: u64,
    /// Machine code of one component, in bytes.
    pub compiled_bytes: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            compile_ms: 120_000,
            compile_wall_ms: 900_000,
            compile_memory_bytes: 4096 * MIB,
            compiled_bytes: 256 * MIB,
        }
    }
}

/// Shares of the guests that run at the same time. Each kind of guest has a pool of its own, so that no kind can use
/// up the places of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolLimits {
    /// Resolutions. They only compute and end within milliseconds, so a few for each processor are enough. A further
    /// one is refused as busy.
    pub resolutions: u64,
    /// Tool calls. A call keeps its instance while it waits for the network. A further call waits for its turn. All
    /// calls together can take this many times `memory_bytes` of `[plugin]`.
    pub tool_calls: u64,
    /// Running services: one for each worker and plugin. A further one is not started.
    pub services: u64,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { resolutions: 32, tool_calls: 64, services: 64 }
    }
}

impl PoolLimits {
    /// Largest size of a pool. The address space of a process has room for some ten thousand memories.
    const MAX: u64 = 512;

    /// Returns a size as the engine takes it.
    pub(crate) fn size(limit: u64) -> u32 {
        u32::try_from(limit.min(Self::MAX)).unwrap_or(u32::MAX)
    }
}

/// Limits on one resolution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResolutionLimits {
    /// Fuel, about one unit for each WebAssembly instruction. Consumption is the same on every host, and so
    /// is the result. The built-in resolver uses some hundred thousand units, a Python one some ten million.
    pub fuel: NonZeroU64,
    /// Processor time of instantiation, call, lifting and post-return, in milliseconds. Fuel runs out first
    /// except in operations that move much data at once.
    pub deadline_ms: u64,
    /// Wall-clock time of the same work, in milliseconds. It catches a call that gets too little processor time.
    pub wall_ms: u64,
    /// Bytes of all linear memories together.
    pub memory_bytes: u64,
    /// Elements of all tables together.
    pub table_elements: u64,
    /// Core instances. Toolchains create several for one component.
    pub instances: u64,
    /// Linear memories.
    pub memories: u64,
    /// Tables.
    pub tables: u64,
    /// Bytes that the host copies in one call across the boundary. They cost memory and time of the host.
    pub hostcall_bytes: u64,
    /// Open handles at a time. A resolution needs one.
    pub handles: u64,
    /// Look-ups in the bundle, plus the names in all of them together.
    pub lookups: u64,
    /// Bytes of the names and of the returned profiles of all look-ups together. Fuel does not count the time
    /// and the memory that the host needs for them. A resolver needs each profile of a chain once.
    pub lookup_bytes: u64,
}

impl Default for ResolutionLimits {
    fn default() -> Self {
        Self {
            fuel: NonZeroU64::new(2_000_000_000).unwrap_or(NonZeroU64::MIN),
            deadline_ms: 10_000,
            wall_ms: 60_000,
            memory_bytes: 64 * MIB,
            table_elements: 16 << 10,
            instances: 64,
            memories: 8,
            tables: 32,
            hostcall_bytes: 8 * MIB,
            handles: 64,
            lookups: 16 << 10,
            lookup_bytes: 16 * MIB,
        }
    }
}

impl ResolutionLimits {
    /// Capacity of the engine. Larger limits are refused when they are read.
    pub(crate) const CEILING: Ceiling =
        Ceiling { memory_bytes: 64 << 20, table_elements: 16 << 10, instances: 64, memories: 8, tables: 32 };

    /// Size of the WebAssembly stack. It is fixed in the engine. Recursion that exceeds it is reported as the
    /// limit `stack_bytes`.
    pub(crate) const STACK_BYTES: usize = 512 << 10;
}

impl ResolutionLimits {
    pub(crate) fn instance(&self) -> InstanceLimits {
        InstanceLimits {
            fuel: self.fuel.get(),
            deadline_ms: self.deadline_ms,
            wall_ms: Some(self.wall_ms),
            memory_bytes: self.memory_bytes.min(Self::CEILING.memory_bytes as u64),
            table_elements: self.table_elements,
            instances: self.instances,
            memories: self.memories,
            tables: self.tables,
            hostcall_bytes: self.hostcall_bytes,
            handles: self.handles,
        }
    }

    /// Returns the value of the limit called `limit`, for messages.
    pub(crate) fn allowed(&self, limit: &str) -> u64 {
        match limit {
            "fuel" => self.fuel.get(),
            "deadline_ms" => self.deadline_ms,
            "wall_ms" => self.wall_ms,
            "memory_bytes" => self.memory_bytes,
            "table_elements" => self.table_elements,
            "instances" => self.instances,
            "memories" => self.memories,
            "tables" => self.tables,
            "hostcall_bytes" => self.hostcall_bytes,
            "handles" => self.handles,
            "lookups" => self.lookups,
            "lookup_bytes" => self.lookup_bytes,
            "stack_bytes" => Self::STACK_BYTES as u64,
            _ => 0,
        }
    }
}

/// Capacity of one slot of an instance pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ceiling {
    pub(crate) memory_bytes: usize,
    pub(crate) table_elements: usize,
    pub(crate) instances: u32,
    pub(crate) memories: u32,
    pub(crate) tables: u32,
}

/// Error returned for an invalid limits file.
#[derive(Debug, thiserror::Error)]
#[error("invalid limits: line {line}, column {column}: {problem}")]
pub struct InvalidLimits {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The problem, as reported by the TOML parser.
    pub problem: String,
}

impl Limits {
    /// Returns the value of a limit on calls in a world, for messages.
    pub(crate) fn allowed(&self, world: World, limit: &str) -> u64 {
        match world {
            World::Resolver => self.resolution.allowed(limit),
            World::Tool | World::Service => self.plugin.allowed(limit),
        }
    }

    /// Parses limits from TOML.
    pub fn from_toml(text: &str) -> Result<Self, InvalidLimits> {
        let invalid = |start: usize, problem: String| {
            let before = text.get(..start).unwrap_or_default();
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
            InvalidLimits { line: before.matches('\n').count() + 1, column, problem }
        };
        let told = |error: toml::de::Error| {
            let problem = error.message().lines().next().unwrap_or_default().to_owned();
            invalid(error.span().map_or(0, |span| span.start), problem)
        };
        let written = DeTable::parse(text).map_err(told)?;
        if let Some((start, problem)) = out_of_range(written.get_ref()) {
            return Err(invalid(start, problem));
        }
        toml::from_str(text).map_err(told)
    }
}

/// Limits of which a zero would refuse every resolver or every bundle. A zero of another limit means none of what it
/// bounds.
const NEEDED: [(&str, &[&str]); 6] = [
    (
        "structure",
        &[
            "bytes",
            "nesting",
            "sections",
            "core_modules",
            "instances",
            "core_instances",
            "inlined_items",
            "types",
            "imports",
            "listed_items",
            "exports",
            "canonical_functions",
            "longest_name",
            "effort",
            "functions",
            "largest_body",
            "code_bytes",
            "memories",
            "memory_pages",
        ],
    ),
    ("compile", &["compile_ms", "compile_wall_ms", "compile_memory_bytes", "compiled_bytes"]),
    ("pools", &["resolutions", "tool_calls", "services"]),
    (
        "plugin",
        &[
            "fuel",
            "deadline_ms",
            "memory_bytes",
            "instances",
            "memories",
            "hostcall_bytes",
            "input_bytes",
            "output_bytes",
        ],
    ),
    (
        "resolution",
        &[
            "fuel",
            "deadline_ms",
            "wall_ms",
            "memory_bytes",
            "instances",
            "memories",
            "hostcall_bytes",
            "handles",
            "lookups",
            "lookup_bytes",
        ],
    ),
    (
        "bundle",
        &["manifest_bytes", "json_depth", "blob_bytes", "bundle_bytes", "profiles", "lineage", "layers", "files"],
    ),
];

/// The largest number of each limit for which an engine makes room: a larger one would not be kept.
const ENGINE: [(&str, &str, u64); 13] = [
    ("pools", "resolutions", PoolLimits::MAX),
    ("pools", "tool_calls", PoolLimits::MAX),
    ("pools", "services", PoolLimits::MAX),
    ("resolution", "memory_bytes", ResolutionLimits::CEILING.memory_bytes as u64),
    ("resolution", "table_elements", ResolutionLimits::CEILING.table_elements as u64),
    ("resolution", "instances", ResolutionLimits::CEILING.instances as u64),
    ("resolution", "memories", ResolutionLimits::CEILING.memories as u64),
    ("resolution", "tables", ResolutionLimits::CEILING.tables as u64),
    ("plugin", "memory_bytes", PluginLimits::CEILING.memory_bytes as u64),
    ("plugin", "table_elements", PluginLimits::CEILING.table_elements as u64),
    ("plugin", "instances", PluginLimits::CEILING.instances as u64),
    ("plugin", "memories", PluginLimits::CEILING.memories as u64),
    ("plugin", "tables", PluginLimits::CEILING.tables as u64),
];

/// Returns the place of the first limit whose value is out of its range, and the problem. Names that are no limits are
/// for the reader of the types to refuse.
fn out_of_range(written: &DeTable<'_>) -> Option<(usize, String)> {
    let tables = written.iter();
    let sections =
        tables.filter_map(|(section, limits)| Some((section.get_ref().as_ref(), limits.get_ref().as_table()?)));
    let mut found: Option<(usize, String)> = None;
    for (section, limits) in sections {
        for (name, value) in limits {
            let name = name.get_ref().as_ref();
            let needed = NEEDED.iter().find(|(of, _)| *of == section).is_some_and(|(_, names)| names.contains(&name));
            let engine = ENGINE.iter().find(|(of, limit, _)| *of == section && *limit == name).map(|(.., most)| *most);
            let (least, most) = (u64::from(needed), engine.unwrap_or(i64::MAX as u64));
            let is_right = number(value.get_ref()).is_some_and(|number| (least..=most).contains(&number));
            let start = value.span().start;
            if is_right || !is_limit(section, name) || found.as_ref().is_some_and(|(first, _)| *first <= start) {
                continue;
            }
            let why = if engine.is_some() { ", for which an engine makes room" } else { "" };
            let expected = match engine {
                Some(most) => format!("a whole number from {least} to {most}{why}"),
                None => format!("a whole number of at least {least}"),
            };
            found = Some((start, format!("invalid limit `{name}`: expected {expected}")));
        }
    }
    found
}

/// `true` if there is a limit of that name.
fn is_limit(section: &str, name: &str) -> bool {
    toml::Table::try_from(Limits::default())
        .is_ok_and(|limits| limits.get(section).and_then(|limits| limits.get(name)).is_some())
}

fn number(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_set_by_its_name() {
        let limits = Limits::from_toml("[resolution]\nfuel = 7\n[bundle]\nlineage = 3\n").expect("limits");
        assert_eq!((limits.resolution.fuel.get(), limits.bundle.lineage), (7, 3));
        assert_eq!(limits.compile, CompileLimits::default());
        let error = Limits::from_toml("[resolution]\nfule = 7\n").expect_err("no such limit");
        assert_eq!((error.line, error.column), (2, 1));
    }

    #[test]
    fn limit_above_the_capacity_of_the_engine_is_refused() {
        let defaults = ResolutionLimits::default();
        for (name, capacity) in [
            ("memory_bytes", defaults.memory_bytes),
            ("table_elements", defaults.table_elements),
            ("instances", defaults.instances),
            ("memories", defaults.memories),
            ("tables", defaults.tables),
        ] {
            let limits = |value: u64| Limits::from_toml(&format!("[resolution]\n{name} = {value}\n"));
            assert_eq!(limits(capacity).expect("the capacity").resolution, ResolutionLimits::default());
            let error = limits(capacity + 1).expect_err("more");
            assert_eq!(error.line, 2);
            let least = u64::from(!name.starts_with("table"));
            let expected = format!("a whole number from {least} to {capacity}, for which an engine makes room");
            assert_eq!(error.problem, format!("invalid limit `{name}`: expected {expected}"));
        }
    }

    #[test]
    fn a_zero_with_which_nothing_would_pass_is_refused_with_its_place() {
        let all = toml::Table::try_from(Limits::default()).expect("TOML");
        for (section, limits) in &all {
            let needed = NEEDED.iter().find(|(of, _)| of == section).expect("a section").1;
            assert!(needed.iter().all(|name| limits.get(name).is_some()), "{needed:?}");
            for name in limits.as_table().expect("a table").keys() {
                let read = |value: &str| Limits::from_toml(&format!("\n[{section}]\n{name} = {value}\n"));
                read("1").expect("one is enough");
                match read("0") {
                    Ok(_) => assert!(!needed.contains(&name.as_str()), "{name}"),
                    Err(error) => {
                        assert!(needed.contains(&name.as_str()), "{name}");
                        assert_eq!((error.line, error.column), (3, name.len() + 4));
                        let begins = format!("invalid limit `{name}`: expected a whole number ");
                        assert!(error.problem.starts_with(&begins), "{error}");
                    }
                }
                for value in ["-1", "1.5", "\"many\"", "true", "[1]", "99999999999999999999"] {
                    let error = read(value).expect_err(value);
                    assert!(error.problem.starts_with(&format!("invalid limit `{name}`: expected ")), "{error}");
                }
            }
        }
        // The first in the file, and another spelling of zero.
        let error = Limits::from_toml("[resolution]\nwall_ms = 0x0\nfuel = 0\n").expect_err("zero");
        assert_eq!((error.line, error.problem.contains("`wall_ms`")), (2, true), "{error}");
    }
}
