//! The work limit of a validation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Units of work between two checks of the stop flag.
const POLL_INTERVAL: u64 = 4096;

/// The remaining work of a validation.
///
/// One unit takes between 5 and 120 ns. A keyword that compares a small value costs one unit, the look-up of a property
/// costs four.
#[derive(Debug)]
pub struct Work {
    limit: u64,
    left: u64,
    /// The stop flag is checked when `left` falls to this number.
    next_poll: u64,
    stop: Option<Arc<AtomicBool>>,
}

/// Error returned when a validation ends without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IncompleteValidation {
    /// The work limit was exceeded.
    #[error("validation exceeds limit `schema_work` ({limit})")]
    Work {
        /// Value of the limit, in units.
        limit: u64,
    },
    /// Applications of subschemas are nested too deeply.
    #[error("validation nests schemas deeper than {limit} levels")]
    Depth {
        /// Allowed number of levels.
        limit: usize,
    },
    /// The stop flag was set.
    #[error("validation was stopped")]
    Stopped,
}

impl Work {
    /// Creates a limit of `limit` units.
    pub fn new(limit: u64) -> Self {
        Self { limit, left: limit, next_poll: limit, stop: None }
    }

    /// Stops the validation soon after `stop` becomes `true`.
    pub fn stopped_by(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Returns the number of used units.
    pub fn spent(&self) -> u64 {
        self.limit - self.left
    }

    /// Uses `units` of the work.
    pub(crate) fn charge(&mut self, units: u64) -> Result<(), IncompleteValidation> {
        self.left = self.left.checked_sub(units).ok_or(self.exhausted())?;
        if self.left <= self.next_poll {
            self.next_poll = self.left.saturating_sub(POLL_INTERVAL);
            if self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                return Err(IncompleteValidation::Stopped);
            }
        }
        Ok(())
    }

    /// Returns the error for an exceeded limit.
    pub(crate) fn exhausted(&self) -> IncompleteValidation {
        IncompleteValidation::Work { limit: self.limit }
    }

    /// Uses the work for looking up or comparing a text of `bytes` bytes.
    pub(crate) fn charge_text(&mut self, bytes: usize) -> Result<(), IncompleteValidation> {
        self.charge(4 + bytes as u64 / 64)
    }
}
