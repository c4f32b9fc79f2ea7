//! Log lines of plugins, for the operator.
//!
//! Lines are kept in memory, apart from histories, and are lost when the process ends. A worker has at most
//! [`MAX_LOG_BYTES`], and [`MAX_LOGGED_WORKERS`] workers have lines: older lines, and lines of the worker that has been
//! silent for longest, make room.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bundles::{PluginName, WorkspaceId, one_line};
use component_host::host_api::{LogLevel, LogLine};
use runtime_api::log::{LogEntry, LogSeverity};
use runtime_api::worker::WorkerId;

use crate::clock::Clock;

/// Maximum size of the kept lines of one worker, in bytes of text.
pub const MAX_LOG_BYTES: usize = 64 << 10;

/// Maximum number of workers with kept lines.
pub const MAX_LOGGED_WORKERS: usize = 1024;

/// Worker that log lines and services belong to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PluginOwner {
    pub(crate) workspace: WorkspaceId,
    pub(crate) worker: WorkerId,
}

/// Log lines of all workers.
#[derive(Debug)]
pub(crate) struct PluginLogs {
    clock: Arc<dyn Clock>,
    logs: Mutex<Logs>,
}

#[derive(Debug, Default)]
struct Logs {
    each: HashMap<PluginOwner, WorkerLog>,
    /// Number of lines that were written, over all workers. It orders workers by their newest line.
    written: u64,
}

#[derive(Debug, Default)]
struct WorkerLog {
    lines: VecDeque<LogEntry>,
    bytes: usize,
    /// Number of the newest line.
    newest: u64,
    /// Value of [`Logs::written`] at the newest line.
    last_write: u64,
}

impl PluginLogs {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, logs: Mutex::default() }
    }

    /// Adds a line.
    pub(crate) fn write(&self, owner: &PluginOwner, plugin: &PluginName, line: LogLine) {
        let at = self.clock.now();
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.written += 1;
        let written = logs.written;
        if !logs.each.contains_key(owner) && logs.each.len() >= MAX_LOGGED_WORKERS {
            let silent = logs.each.iter().min_by_key(|(_, log)| log.last_write).map(|(owner, _)| owner.clone());
            silent.and_then(|silent| logs.each.remove(&silent));
        }
        let log = logs.each.entry(owner.clone()).or_default();
        log.last_write = written;
        log.newest += 1;
        let severity = match line.level {
            LogLevel::Debug => LogSeverity::Debug,
            LogLevel::Info => LogSeverity::Info,
            LogLevel::Warn => LogSeverity::Warn,
            LogLevel::Error => LogSeverity::Error,
        };
        // Control characters of a guest could forge lines on a terminal.
        let text = one_line(&line.text);
        log.bytes += text.len();
        let (number, is_truncated) = (log.newest, line.is_truncated);
        log.lines.push_back(LogEntry { number, at, plugin: plugin.clone(), severity, text, is_truncated });
        while log.bytes > MAX_LOG_BYTES && log.lines.len() > 1 {
            log.bytes -= log.lines.pop_front().map_or(0, |oldest| oldest.text.len());
        }
    }

    /// Returns the kept lines of a worker after a number, the oldest first.
    pub(crate) fn lines(&self, owner: &PluginOwner, after: u64) -> Vec<LogEntry> {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = logs.each.get(owner).into_iter().flat_map(|log| &log.lines);
        lines.filter(|line| line.number > after).cloned().collect()
    }

    /// Forgets the lines of a worker that is removed. Another worker can get its id.
    pub(crate) fn forget(&self, owner: &PluginOwner) {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).each.remove(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn owner(worker: usize) -> PluginOwner {
        let worker = format!("w{worker}").parse().expect("an id");
        PluginOwner { workspace: "acme".parse().expect("an id"), worker }
    }

    fn write(logs: &PluginLogs, worker: usize, text: &str) {
        let line = LogLine { level: LogLevel::Info, text: text.to_owned(), is_truncated: false };
        logs.write(&owner(worker), &"p".parse().expect("a name"), line);
    }

    #[test]
    fn oldest_lines_of_a_worker_make_room_and_numbers_go_on() {
        let logs = PluginLogs::new(Arc::new(ManualClock::at(7)));
        let text = "x".repeat(MAX_LOG_BYTES / 4);
        for _ in 0..6 {
            write(&logs, 0, &text);
        }
        let numbers = |after| logs.lines(&owner(0), after).iter().map(|line| line.number).collect::<Vec<_>>();
        assert_eq!((numbers(0), numbers(5)), (vec![3, 4, 5, 6], vec![6]));
        logs.forget(&owner(0));
        assert_eq!(numbers(0), [0; 0]);
    }

    #[test]
    fn worker_that_is_silent_for_longest_makes_room() {
        let logs = PluginLogs::new(Arc::new(ManualClock::at(7)));
        for worker in 0..MAX_LOGGED_WORKERS {
            write(&logs, worker, "line");
        }
        write(&logs, 0, "again");
        write(&logs, MAX_LOGGED_WORKERS, "line");
        assert_eq!((logs.lines(&owner(0), 0).len(), logs.lines(&owner(1), 0).len()), (2, 0));
    }

    #[test]
    fn line_of_a_guest_is_shown_as_one_line() {
        let logs = PluginLogs::new(Arc::new(ManualClock::at(7)));
        write(&logs, 0, "a\n2026-01-01 ERROR forged\u{1b}[2J");
        assert!(!logs.lines(&owner(0), 0)[0].text.contains(['\n', '\u{1b}']));
    }
}
