//! Thread pool for computations: guests, verification of bundles, and validation against tool schemas.
//!
//! The pool's threads have a lower priority than the threads that serve requests. A computation that takes more than
//! 100 ms moves to a second set of threads, whose priority is lower still. A loop that burns all its fuel then takes
//! little time from resolutions of a millisecond.
//!
//! A computation holds the compute slot of its workspace until it has really ended, even if its caller is gone. A
//! workspace therefore has at most one requested computation at a time. Scans that are started in advance are in
//! `content::scan_queue`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Niceness of the pool's threads, relative to the process. When both have work, a thread of the pool gets a third of
/// the processor time of another thread.
const NICENESS: i32 = 5;

/// Niceness of threads that run long computations, relative to the process. They get a tenth of the processor time of
/// another thread.
const LONG_NICENESS: i32 = 10;

/// Processor time after which a computation is long. A resolver that brings its own language engine takes less.
const LONG_COMPUTATION: Duration = Duration::from_millis(100);

/// Limit on the number of threads. No machine benefits from more, and tokio panics if the system cannot start them.
pub(crate) const MAX_THREADS: u32 = 256;

/// Time for which an idle thread for blocking work is kept alive.
const THREAD_KEEP_ALIVE: Duration = Duration::from_millis(100);

/// Thread pool for computations.
#[derive(Debug)]
pub(crate) struct ComputePool {
    threads: Option<Runtime>,
    /// Threads for long computations.
    long: Option<Runtime>,
}

/// Handle of a task, which aborts the task when it is dropped.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> AbortOnDrop<T> {
    /// Returns the result of the task, or `None` if it panicked.
    async fn join(mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }
}

impl ComputePool {
    /// Starts threads, and half as many (at least one) for long computations.
    pub(crate) fn start(threads: u32) -> io::Result<Self> {
        let threads = usize::try_from(threads.clamp(1, MAX_THREADS)).unwrap_or(1);
        let long_threads = threads.div_ceil(2);
        check_threads_available(threads + long_threads)?;
        let mut pool = Self { threads: Some(start_threads(threads, NICENESS)?), long: None };
        pool.long = Some(start_threads(long_threads, LONG_NICENESS)?);
        Ok(pool)
    }

    /// Runs asynchronous work. Drops `slot` when the work has ended. Dropping the future aborts the work at its next
    /// yield. Returns `None` if the work panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        slot: impl Send + 'static,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let work = async move {
            let done = work.await;
            drop(slot);
            done
        };
        let long = self.long.as_ref()?.handle().clone();
        let task = self.threads.as_ref()?.spawn(async move {
            match (UntilLong { work: Some(Box::pin(work)), cpu_time: Duration::ZERO }).await {
                Ok(done) => Some(done),
                Err(rest) => AbortOnDrop(long.spawn(rest)).join().await,
            }
        });
        AbortOnDrop(task).join().await?
    }

    /// Runs blocking work. Once started, it runs to its end, and then `slot` is dropped. Returns `None` if the work
    /// panics.
    pub(crate) async fn run_blocking<T: Send + 'static>(
        &self,
        slot: impl Send + 'static,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let task = self.threads.as_ref()?.spawn_blocking(move || {
            let done = work();
            drop(slot);
            done
        });
        AbortOnDrop(task).join().await
    }

    /// Queues blocking work whose result no caller waits for, behind all other blocking work.
    pub(crate) fn spawn(&self, work: impl FnOnce() + Send + 'static) {
        if let Some(threads) = &self.threads {
            threads.spawn_blocking(work);
        }
    }

    /// Queues such work from a thread of the pool.
    pub(crate) fn spawn_from_pool(work: impl FnOnce() + Send + 'static) {
        if let Ok(threads) = Handle::try_current() {
            threads.spawn_blocking(work);
        }
    }
}

/// Starts threads with the niceness of the calling thread plus `niceness`.
fn start_threads(threads: usize, niceness: i32) -> io::Result<Runtime> {
    // An absolute value: a thread that is started by another thread of the pool inherits the niceness of that thread.
    #[cfg(target_os = "linux")]
    let nice = rustix::process::getpriority_process(None).unwrap_or_default().saturating_add(niceness).min(19);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).max_blocking_threads(threads).thread_keep_alive(THREAD_KEEP_ALIVE);
    builder.thread_name("yoi-computing").enable_time();
    builder.on_thread_start(move || {
        // If the system refuses, the thread runs with the normal priority.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(None, nice);
        #[cfg(not(target_os = "linux"))]
        let _ = niceness;
    });
    builder.build()
}

/// Returns the processor time of this thread. Unlike elapsed time, it does not grow while other threads run.
fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

/// Runs a future until it ends or has used [`LONG_COMPUTATION`]. In the second case it resolves to the unfinished
/// future.
struct UntilLong<F> {
    work: Option<Pin<Box<F>>>,
    /// Processor time that the work has used.
    cpu_time: Duration,
}

impl<F: Future> Future for UntilLong<F> {
    type Output = Result<F::Output, Pin<Box<F>>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let started = thread_cpu_time();
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Ok(done));
        }
        self.cpu_time += thread_cpu_time().saturating_sub(started);
        if self.cpu_time >= LONG_COMPUTATION {
            return Poll::Ready(Err(work));
        }
        self.work = Some(work);
        Poll::Pending
    }
}

/// Checks that the system can start this many threads at once.
///
/// tokio panics if it cannot start a thread. If it gets fewer threads than configured, tasks that wait for the missing
/// threads wait forever.
fn check_threads_available(threads: usize) -> io::Result<()> {
    let all_started = Mutex::new(());
    std::thread::scope(|scope| {
        let hold = all_started.lock().unwrap_or_else(PoisonError::into_inner);
        let started = (0..threads)
            .try_for_each(|_| std::thread::Builder::new().spawn_scoped(scope, || drop(all_started.lock())).map(drop));
        drop(hold);
        started
    })
}

impl Drop for ComputePool {
    fn drop(&mut self) {
        // The last owner of the pool may be one of its own threads, which cannot wait for itself to end.
        for threads in [self.threads.take(), self.long.take()].into_iter().flatten() {
            threads.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes for half of [`LONG_COMPUTATION`] and yields, as often as given. Returns the thread of each round.
    async fn compute(times: u32) -> Vec<std::thread::ThreadId> {
        let mut threads = Vec::new();
        for _ in 0..times {
            let started = thread_cpu_time();
            while thread_cpu_time() - started < LONG_COMPUTATION / 2 {
                std::hint::spin_loop();
            }
            threads.push(std::thread::current().id());
            tokio::task::yield_now().await;
        }
        threads
    }

    #[tokio::test]
    async fn long_computation_moves_to_other_thread_and_releases_slot_at_its_end() {
        let pool = ComputePool::start(1).expect("threads");
        let slot = std::sync::Arc::new(());
        let threads = pool.run(slot.clone(), compute(5)).await.expect("done");
        let (begun, rest) = (threads[0], threads[4]);
        assert_ne!(begun, rest, "it moved");
        let rounds_before = threads.iter().take_while(|thread| **thread == begun).count();
        assert!(
            rounds_before <= 2 && threads[rounds_before..].iter().all(|thread| *thread == rest),
            "and stayed there"
        );
        assert_eq!(std::sync::Arc::strong_count(&slot), 1);
        let short = pool.run(slot.clone(), compute(1)).await.expect("done");
        assert_eq!(short[0], begun, "the next computation starts on the first thread");
    }

    #[tokio::test]
    async fn abandoned_long_computation_is_aborted() {
        let pool = ComputePool::start(1).expect("threads");
        let slot = std::sync::Arc::new(());
        let endless = pool.run(slot.clone(), compute(u32::MAX));
        assert!(tokio::time::timeout(LONG_COMPUTATION * 3, endless).await.is_err(), "it does not end");
        let ended = async {
            while std::sync::Arc::strong_count(&slot) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG_COMPUTATION * 20, ended).await.expect("the slot is released");
    }
}
