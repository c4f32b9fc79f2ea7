//! Processor time of one call, summed over the threads that poll it.
//!
//! A guest runs only while its future is polled, and an executor may poll it on a different thread each
//! time. The time between two polls is not counted, because it depends on the load of the machine.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Measures the processor time of one future.
#[derive(Debug, Default)]
pub(crate) struct CpuMeter {
    /// Processor time of the finished polls, in nanoseconds.
    finished_polls: AtomicU64,
    /// CPU clock of the polling thread at the start of the current poll, in nanoseconds.
    poll_start: AtomicU64,
}

impl CpuMeter {
    /// Runs a future to completion and measures its polls.
    pub(crate) async fn count<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|context| {
            self.poll_start.store(thread_time(), Ordering::Relaxed);
            let polled = future.as_mut().poll(context);
            self.finished_polls.fetch_add(self.current_poll(), Ordering::Relaxed);
            polled
        })
        .await
    }

    /// Starts again from zero. Must not be called inside the measured future.
    pub(crate) fn reset(&self) {
        self.finished_polls.store(0, Ordering::Relaxed);
    }

    /// Returns the processor time so far. Must be called inside the measured future.
    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.finished_polls.load(Ordering::Relaxed).saturating_add(self.current_poll()))
    }

    fn current_poll(&self) -> u64 {
        thread_time().saturating_sub(self.poll_start.load(Ordering::Relaxed))
    }
}

/// Returns the processor time of the current thread, in nanoseconds.
#[cfg(unix)]
fn thread_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// Returns the wall-clock time since the first call, in nanoseconds: a substitute on systems without a CPU
/// clock for each thread.
#[cfg(not(unix))]
fn thread_time() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    u64::try_from(START.get_or_init(std::time::Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::task::{Context, Poll, Waker};

    const WORK: Duration = Duration::from_millis(20);

    /// Uses `WORK` of processor time, independently of the load of the machine.
    fn compute() {
        let end = thread_time() + WORK.as_nanos() as u64;
        while thread_time() < end {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn polls_on_several_threads_are_summed_and_the_time_between_them_is_not_counted() {
        let meter = CpuMeter::default();
        let mut polls = 0;
        let counted = meter.count(std::future::poll_fn(|_| {
            compute();
            polls += 1;
            if polls == 3 { Poll::Ready(()) } else { Poll::Pending }
        }));
        let mut counted = pin!(counted);
        let mut poll = || counted.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(poll(), Poll::Pending);
        assert_eq!(std::thread::scope(|scope| scope.spawn(&mut poll).join().expect("polled")), Poll::Pending);
        for _ in 0..20 {
            compute();
        }
        assert_eq!(poll(), Poll::Ready(()));
        let used = Duration::from_nanos(meter.finished_polls.load(Ordering::Relaxed));
        assert!((3 * WORK..20 * WORK).contains(&used), "{used:?}");
    }
}
