//! Every bound of the sandbox, by name. An error that a bound causes carries the field's name.
//!
//! As TOML, every field may be left out and then has the value below; unknown fields are refused.

use std::num::NonZeroU64;

use bundles::BundleLimits;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::structure::Budget;

const MIB: u64 = 1 << 20;

/// All limits of a host, as one file says them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// What a component may consist of, counted before it is compiled.
    pub structure: Budget,
    /// What compiling it may cost.
    pub compile: CompileLimits,
    /// What one resolution may cost.
    pub resolution: ResolutionLimits,
    /// What a bundle may be.
    pub bundle: BundleLimits,
}

/// What compiling one component may cost, in a process of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompileLimits {
    /// Processor time of the compiling process over all its threads, in milliseconds, rounded up to
    /// whole seconds. Eighteen megabytes of Python take some twenty seconds.
    pub compile_ms: u64,
    /// Wall-clock time until the compiling process is killed. A backstop for a process that does not
    /// get to compute: it says nothing about the component.
    pub compile_wall_ms: u64,
    /// Address space of the compiling process.
    pub compile_memory_bytes: u64,
    /// Machine code that one component may become.
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

/// What one resolution may cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResolutionLimits {
    /// Fuel: about one a WebAssembly instruction. The same on every host, so that the verdict is too.
    /// The resolver that ships uses some hundred thousand, a Python one some ten million.
    pub fuel: NonZeroU64,
    /// Processor time over instantiation, call, lifting and post-return. A backstop: fuel ends first
    /// but for operations that move much data at once.
    pub deadline_ms: u64,
    /// Wall-clock time of the same. A backstop for a machine on which the call does not get to compute.
    pub wall_ms: u64,
    /// Bytes of all linear memories together.
    #[serde(deserialize_with = "at_most::<_, { ResolutionLimits::CEILING.memory_bytes as u64 }>")]
    pub memory_bytes: u64,
    /// Elements of all tables together.
    #[serde(deserialize_with = "at_most::<_, { ResolutionLimits::CEILING.table_elements as u64 }>")]
    pub table_elements: u64,
    /// Core instances, which toolchains make several of.
    #[serde(deserialize_with = "at_most::<_, { ResolutionLimits::CEILING.instances as u64 }>")]
    pub instances: u64,
    /// Linear memories.
    #[serde(deserialize_with = "at_most::<_, { ResolutionLimits::CEILING.memories as u64 }>")]
    pub memories: u64,
    /// Tables.
    #[serde(deserialize_with = "at_most::<_, { ResolutionLimits::CEILING.tables as u64 }>")]
    pub tables: u64,
    /// Bytes that one crossing may have the host copy, which is memory and time of the host.
    pub hostcall_bytes: u64,
    /// Handles that are open at a time. A resolution needs one.
    pub handles: u64,
    /// Look-ups into the bundle, and names asked for in all of them together.
    pub lookups: u64,
    /// Bytes of profiles that the host hands over in all look-ups together. Copying them is time of
    /// the host that fuel does not count; a resolver reads each profile of a chain once.
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
    /// What an engine makes room for. Limits above these are refused where they are read.
    pub(crate) const CEILING: Ceiling =
        Ceiling { memory_bytes: 64 << 20, table_elements: 16 << 10, instances: 64, memories: 8, tables: 32 };

    /// WebAssembly stack, which is part of the engine. Deep recursion ends in `stack_bytes`.
    pub(crate) const STACK_BYTES: usize = 512 << 10;
}

/// The allowed number of each limit, for messages.
impl ResolutionLimits {
    /// Returns what the limit of that name allows.
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

/// Reads a limit for which an engine makes room up to `MOST`: one above it would not be kept.
fn at_most<'de, D: Deserializer<'de>, const MOST: u64>(deserializer: D) -> Result<u64, D::Error> {
    match u64::deserialize(deserializer)? {
        limit if limit > MOST => Err(D::Error::custom(format!("more than the {MOST} that an engine makes room for"))),
        limit => Ok(limit),
    }
}

/// What a pool has room for, a slot.
pub(crate) struct Ceiling {
    pub(crate) memory_bytes: usize,
    pub(crate) table_elements: usize,
    pub(crate) instances: u32,
    pub(crate) memories: u32,
    pub(crate) tables: u32,
}

/// A limits file that is none.
#[derive(Debug, thiserror::Error)]
#[error("the limits are not understood: line {line}, column {column}: {problem}")]
pub struct InvalidLimits {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: String,
}

impl Limits {
    /// Reads limits from TOML.
    pub fn from_toml(text: &str) -> Result<Self, InvalidLimits> {
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or_default();
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            InvalidLimits {
                line: before.matches('\n').count() + 1,
                column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
                problem: error.message().lines().next().unwrap_or_default().to_owned(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_set_by_its_name() {
        let limits = Limits::from_toml("[resolution]\nfuel = 7\n[bundle]\nlineage = 3\n").expect("limits");
        assert_eq!((limits.resolution.fuel.get(), limits.bundle.lineage), (7, 3));
        assert_eq!(limits.compile, CompileLimits::default());
        let error = Limits::from_toml("[resolution]\nfule = 7\n").expect_err("no such limit");
        assert_eq!((error.line, error.column), (2, 1));
    }

    #[test]
    fn a_limit_that_would_not_be_kept_is_refused() {
        let most = ResolutionLimits::default();
        for (name, most) in [
            ("memory_bytes", most.memory_bytes),
            ("table_elements", most.table_elements),
            ("instances", most.instances),
            ("memories", most.memories),
            ("tables", most.tables),
        ] {
            let limits = |value: u64| Limits::from_toml(&format!("[resolution]\n{name} = {value}\n"));
            assert_eq!(limits(most).expect("the most").resolution, ResolutionLimits::default());
            let error = limits(most + 1).expect_err("more");
            assert_eq!(error.line, 2);
            assert_eq!(error.problem, format!("more than the {most} that an engine makes room for"));
        }
    }
}
