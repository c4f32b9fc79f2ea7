//! Clocks that a program passes to a Runtime. No other code in this crate reads the system clock for the time of day.

use std::fmt;

/// Source of the current time for a Runtime.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> jiff::Timestamp;
}

/// The system clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }
}

/// A clock for tests, which changes only when a test advances it.
#[derive(Debug)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    /// Creates a clock set to a number of milliseconds after 1970-01-01T00:00Z.
    pub fn at(milliseconds: i64) -> Self {
        Self(std::sync::atomic::AtomicI64::new(milliseconds))
    }

    /// Advances the clock, in whole milliseconds.
    pub fn advance(&self, by: std::time::Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_add(by, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> jiff::Timestamp {
        let milliseconds = self.0.load(std::sync::atomic::Ordering::SeqCst);
        jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}
