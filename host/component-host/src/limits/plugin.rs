//! Limits on calls of plugins.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::{Ceiling, MIB, ResolutionLimits};
use crate::call::InstanceLimits;

/// Limits on one tool call, or on one turn of a service. Memories, tables, instances, handles and connections of a
/// service are limited for its whole life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginLimits {
    /// Fuel, about one unit for each WebAssembly instruction. Reading a JSON input and writing it again takes about 900
    /// units for each byte on QuickJS and in Python, and 2,800 on StarlingMonkey.
    pub fuel: NonZeroU64,
    /// Processor time of instantiation, call, host calls, lifting and post-return, in milliseconds. Waiting for the
    /// network does not count: the caller's deadline bounds it.
    pub deadline_ms: u64,
    /// Bytes of all linear memories together. A tool starts with 1.4 MB on QuickJS, 9.5 MB on StarlingMonkey and 13 MB in
    /// Python; a library that it imports can take tens of megabytes.
    pub memory_bytes: u64,
    /// Elements of all tables together. StarlingMonkey has 7,692.
    pub table_elements: u64,
    /// Core instances. Toolchains create several for one component: Python 38.
    pub instances: u64,
    /// Linear memories. QuickJS has three.
    pub memories: u64,
    /// Tables.
    pub tables: u64,
    /// Open handles at a time.
    pub handles: u64,
    /// Bytes that a guest passes in one host call or in one result. They cost memory and time of the host.
    pub hostcall_bytes: u64,
    /// Calls of functions of the host. Fuel does not count the time that the host needs for them.
    pub host_calls: u64,
    /// WebSocket connections that are open at the same time.
    pub connections: u64,
    /// Bytes of the input as JSON text; for a service also of its config and of an event.
    pub input_bytes: u64,
    /// Bytes of the output as JSON text.
    pub output_bytes: u64,
    /// Bytes of the message of a failure. The rest of a longer one is cut off.
    pub failure_message_bytes: u64,
    /// Log lines. Further lines are dropped and counted.
    pub log_lines: u64,
    /// Bytes of one log line. The rest of a longer one is cut off.
    pub log_line_bytes: u64,
    /// Bytes of all log lines together. A line that does not fit is dropped and counted.
    pub log_bytes: u64,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            fuel: NonZeroU64::new(10_000_000_000).unwrap_or(NonZeroU64::MIN),
            deadline_ms: 10_000,
            memory_bytes: 128 * MIB,
            table_elements: 16 << 10,
            instances: 64,
            memories: 8,
            tables: 32,
            handles: 64,
            hostcall_bytes: 8 * MIB,
            host_calls: 10_000,
            connections: 8,
            input_bytes: MIB,
            output_bytes: MIB,
            failure_message_bytes: 4096,
            log_lines: 256,
            log_line_bytes: 1024,
            log_bytes: 64 << 10,
        }
    }
}

impl PluginLimits {
    /// Capacity of the engine. Larger limits are refused when they are read.
    pub(crate) const CEILING: Ceiling = Ceiling { memory_bytes: 256 << 20, ..ResolutionLimits::CEILING };

    pub(crate) fn instance(&self) -> InstanceLimits {
        InstanceLimits {
            fuel: self.fuel.get(),
            deadline_ms: self.deadline_ms,
            wall_ms: None,
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
            "memory_bytes" => self.memory_bytes,
            "table_elements" => self.table_elements,
            "instances" => self.instances,
            "memories" => self.memories,
            "tables" => self.tables,
            "handles" => self.handles,
            "hostcall_bytes" => self.hostcall_bytes,
            "host_calls" => self.host_calls,
            "input_bytes" => self.input_bytes,
            "output_bytes" => self.output_bytes,
            "stack_bytes" => ResolutionLimits::STACK_BYTES as u64,
            _ => 0,
        }
    }
}
