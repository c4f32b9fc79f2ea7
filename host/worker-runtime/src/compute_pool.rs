//! Thread pool for computations: guests, verification of bundles, and validation against tool schemas.
//!
//! The pool's threads have a lower priority than the threads that serve requests. A computation that takes more than
//! 100 ms moves to a second set of threads, whose priority is lower still. A loop that burns all its fuel then takes
//! little time from resolutions of a millisecond.
//!
//! A computation holds a compute slot of its workspace until it has really ended, even if its caller is gone. A
//! workspace therefore has at most one requested computation at a time. Work that waits, for example a plugin for the
//! network, holds no slot meanwhile. Scans that are started in advance are in `content::scan_queue`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
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

    /// Runs asynchronous work, which holds one of `slots` whenever it computes. Dropping the future aborts the work at its
    /// next yield. Returns `None` if the work panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        slots: Arc<Semaphore>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let work = InTurns { work: Box::pin(work), slots, turn: Turn::Ended };
        let long = self.long.as_ref()?.handle().clone();
        let task = self.threads.as_ref()?.spawn(async move {
            match (UntilLong { work: Some(Box::pin(work)), cpu_time: Duration::ZERO }).await {
                Ok(done) => Some(done),
                Err(rest) => AbortOnDrop(long.spawn(rest)).join().await,
            }
        });
        AbortOnDrop(task).join().await??.ok()
    }

    /// Runs blocking work, which holds one of `slots`. Once started, it runs to its end. Returns `None` if the work panics.
    pub(crate) async fn run_blocking<T: Send + 'static>(
        &self,
        slots: Arc<Semaphore>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let slot = slots.acquire_owned().await.ok()?;
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
    // Components of plugins are loaded here. A child process compiles them, and its pipes need the I/O driver.
    builder.thread_name("yoi-computing").enable_all();
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

/// Runs a future in turns: stretches of computation, each with one of `slots`. A turn ends when the future waits for
/// something outside, and its slot is then free for other work.
struct InTurns<F> {
    work: Pin<Box<F>>,
    slots: Arc<Semaphore>,
    turn: Turn,
}

enum Turn {
    Ended,
    Acquiring(Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>),
    Running { _slot: OwnedSemaphorePermit },
}

impl<F: Future> Future for InTurns<F> {
    type Output = Result<F::Output, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut self.turn {
                Turn::Ended => self.turn = Turn::Acquiring(Box::pin(self.slots.clone().acquire_owned())),
                Turn::Acquiring(slot) => self.turn = Turn::Running { _slot: ready!(slot.as_mut().poll(context))? },
                Turn::Running { .. } => {
                    let woken = Arc::new(WakeFlag { woken: AtomicBool::new(false), task: context.waker().clone() });
                    let waker = Waker::from(woken.clone());
                    if let Poll::Ready(done) = self.work.as_mut().poll(&mut Context::from_waker(&waker)) {
                        return Poll::Ready(Ok(done));
                    }
                    // A guest that is interrupted to let other tasks run wakes its task at once. Its turn goes on.
                    if !woken.woken.load(Ordering::Acquire) {
                        self.turn = Turn::Ended;
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

/// Waker of a task that records whether it was used.
struct WakeFlag {
    woken: AtomicBool,
    task: Waker,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake_by_ref();
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
        let slots = Arc::new(Semaphore::new(1));
        let threads = pool.run(slots.clone(), compute(5)).await.expect("done");
        let (begun, rest) = (threads[0], threads[4]);
        assert_ne!(begun, rest, "it moved");
        let rounds_before = threads.iter().take_while(|thread| **thread == begun).count();
        assert!(
            rounds_before <= 2 && threads[rounds_before..].iter().all(|thread| *thread == rest),
            "and stayed there"
        );
        assert_eq!(slots.available_permits(), 1);
        let short = pool.run(slots.clone(), compute(1)).await.expect("done");
        assert_eq!(short[0], begun, "the next computation starts on the first thread");
    }

    #[tokio::test]
    async fn abandoned_long_computation_is_aborted() {
        let pool = ComputePool::start(1).expect("threads");
        let slots = Arc::new(Semaphore::new(1));
        let endless = pool.run(slots.clone(), compute(u32::MAX));
        assert!(tokio::time::timeout(LONG_COMPUTATION * 3, endless).await.is_err(), "it does not end");
        // One reference is left when the task is dropped with its slot.
        let ended = async {
            while Arc::strong_count(&slots) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG_COMPUTATION * 20, ended).await.expect("the slot is released");
        assert_eq!(slots.available_permits(), 1);
    }

    #[tokio::test]
    async fn work_that_waits_holds_no_slot_and_gets_one_again_before_it_computes() {
        let pool = ComputePool::start(2).expect("threads");
        let slots = Arc::new(Semaphore::new(1));
        let (started, is_started) = tokio::sync::oneshot::channel();
        let (reply, replied) = tokio::sync::oneshot::channel();
        let free = slots.clone();
        let waiting = pool.run(slots.clone(), async move {
            started.send(free.available_permits()).expect("received");
            let reply: &str = replied.await.expect("a reply");
            (reply, free.available_permits())
        });
        let other = async {
            assert_eq!(is_started.await, Ok(0), "it holds the slot while it computes");
            let slot = slots.clone().acquire_owned().await.expect("a slot of the work that waits");
            reply.send("reply").expect("received");
            assert!(pool.run_blocking(Arc::new(Semaphore::new(1)), || ()).await.is_some());
            drop(slot);
        };
        let (done, ()) = tokio::join!(waiting, other);
        assert_eq!(done, Some(("reply", 0)));
        assert_eq!(slots.available_permits(), 1);
    }

    /// Future that interrupts itself once, as the engine does with a guest.
    struct Interrupted(bool);

    impl Future for Interrupted {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn interrupted_work_keeps_its_slot() {
        let pool = ComputePool::start(1).expect("threads");
        let slots = Arc::new(Semaphore::new(1));
        let steps = Arc::new(Mutex::new(Vec::new()));
        let work = |name: &'static str| {
            let steps = steps.clone();
            async move {
                for _ in 0..100 {
                    steps.lock().expect("not poisoned").push(name);
                    Interrupted(false).await;
                }
            }
        };
        let (one, other) = (pool.run(slots.clone(), work("one")), pool.run(slots.clone(), work("other")));
        assert_eq!(tokio::join!(one, other), (Some(()), Some(())));
        let mut steps = std::mem::take(&mut *steps.lock().expect("not poisoned"));
        steps.dedup();
        assert_eq!(steps.len(), 2, "one after the other: {steps:?}");
    }
}
