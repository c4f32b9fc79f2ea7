//! The work that one validation may do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Units between two looks at the stop flag.
const POLL_INTERVAL: u64 = 4096;

/// The work that a validation may still do. One unit takes between 5 and 120 ns: a keyword that compares a small value is
/// one, looking up a property four.
#[derive(Debug)]
pub struct Work {
    limit: u64,
    left: u64,
    next_poll: u64,
    stop: Option<Arc<AtomicBool>>,
}

/// Error returned when a validation ends without a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// The work is used up.
    #[error("validation exceeds limit `schema_work` ({limit})")]
    Work {
        /// Units that were allowed.
        limit: u64,
    },
    /// Schemas and values are nested too deeply in each other.
    #[error("validation nests schemas deeper than {limit}")]
    Depth {
        /// Levels that are allowed.
        limit: usize,
    },
    /// The stop flag was set.
    #[error("validation was stopped")]
    Stopped,
}

impl Work {
    /// Allows `limit` units.
    pub fn new(limit: u64) -> Self {
        Self { limit, left: limit, next_poll: limit, stop: None }
    }

    /// Ends the validation soon after `stop` becomes true.
    pub fn stopped_by(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Units that were spent.
    pub fn spent(&self) -> u64 {
        self.limit - self.left
    }

    pub(crate) fn charge(&mut self, units: u64) -> Result<(), Exhausted> {
        self.left = self.left.checked_sub(units).ok_or(self.exhausted())?;
        if self.left <= self.next_poll {
            self.next_poll = self.left.saturating_sub(POLL_INTERVAL);
            if self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                return Err(Exhausted::Stopped);
            }
        }
        Ok(())
    }

    /// The error of work that is used up.
    pub(crate) fn exhausted(&self) -> Exhausted {
        Exhausted::Work { limit: self.limit }
    }

    /// Charges for looking a text up, or comparing it, from its beginning to its end.
    pub(crate) fn charge_text(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.charge(4 + bytes as u64 / 64)
    }
}
