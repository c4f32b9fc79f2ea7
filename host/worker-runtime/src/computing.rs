//! Threads that compute: guests, the verification of bundles, the schemas of tools. They have a lower
//! priority than the threads that answer, so whoever computes never keeps others from being answered.
//!
//! A guest that computes long goes on among threads of a priority that is lower still: so a loop that runs
//! until its fuel is used up takes little from resolutions of a millisecond.
//!
//! A computation holds the place of its workspace until it has really ended, also where nobody waits for
//! it any more: so one workspace has one going that was asked for, and never leaves more behind. What it may have
//! scanned ahead besides is in `content::scan_queue`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// How much nicer these threads are than others: a third of their share, where both have work.
const NICER: i32 = 5;

/// How much nicer those are that compute long: a tenth of the share of others.
const MUCH_NICER: i32 = 10;

/// What computes for so long computes long. A resolver in a language that brings its own engine takes less.
const LONG: Duration = Duration::from_millis(100);

/// More would be of no use to any machine, and one that cannot start them does not say so as an error.
pub(crate) const MOST: u32 = 256;

/// How long a thread that has verified something waits for more.
const KEPT: Duration = Duration::from_millis(100);

/// Threads that compute.
#[derive(Debug)]
pub(crate) struct Computing {
    threads: Option<Runtime>,
    /// Those of what computes long.
    long: Option<Runtime>,
}

/// Ends a task when nobody waits for it any more.
struct Awaited<T>(JoinHandle<T>);

impl<T> Drop for Awaited<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Awaited<T> {
    /// What the task came to; none if it died.
    async fn done(mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }
}

impl Computing {
    /// Starts so many threads, and half as many, one at the least, for what computes long.
    pub(crate) fn start(threads: u32) -> io::Result<Self> {
        let threads = usize::try_from(threads.clamp(1, MOST)).unwrap_or(1);
        let few = threads.div_ceil(2);
        try_threads(threads + few)?;
        let mut computing = Self { threads: Some(started(threads, NICER)?), long: None };
        computing.long = Some(started(few, MUCH_NICER)?);
        Ok(computing)
    }

    /// Does work that lets others run now and then. `place` is given back when it has ended. Dropping
    /// the future ends the work where it next lets others run.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        place: impl Send + 'static,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let work = async move {
            let done = work.await;
            drop(place);
            done
        };
        let long = self.long.as_ref()?.handle().clone();
        let task = self.threads.as_ref()?.spawn(async move {
            match (Beginning { work: Some(Box::pin(work)), spent: Duration::ZERO }).await {
                Ok(done) => Some(done),
                Err(rest) => Awaited(long.spawn(rest)).done().await,
            }
        });
        Awaited(task).done().await?
    }

    /// Does work that goes on to its end once it has begun. `place` is given back then.
    pub(crate) async fn block<T: Send + 'static>(
        &self,
        place: impl Send + 'static,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let task = self.threads.as_ref()?.spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        Awaited(task).done().await
    }

    /// Begins work that somebody may want later, behind all that waits. It goes on to its end.
    pub(crate) fn begin(&self, work: impl FnOnce() + Send + 'static) {
        if let Some(threads) = &self.threads {
            threads.spawn_blocking(work);
        }
    }

    /// The same, from such work.
    pub(crate) fn begin_more(work: impl FnOnce() + Send + 'static) {
        if let Ok(threads) = Handle::try_current() {
            threads.spawn_blocking(work);
        }
    }
}

/// Threads that are so much nicer than the one that starts them.
fn started(threads: usize, nicer: i32) -> io::Result<Runtime> {
    // Told as what it comes to: a thread that another of them starts has the priority of that one already.
    #[cfg(target_os = "linux")]
    let nice = rustix::process::getpriority_process(None).unwrap_or_default().saturating_add(nicer).min(19);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).max_blocking_threads(threads).thread_keep_alive(KEPT);
    builder.thread_name("yoi-computing").enable_time();
    builder.on_thread_start(move || {
        // Where it may not be had, all are equal.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(None, nice);
        #[cfg(not(target_os = "linux"))]
        let _ = nicer;
    });
    builder.build()
}

/// How long this thread has computed, which others do not make longer.
fn computed() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

/// The beginning of some work, and the rest of it where it computes long.
struct Beginning<F> {
    work: Option<Pin<Box<F>>>,
    /// How long it has computed.
    spent: Duration,
}

impl<F: Future> Future for Beginning<F> {
    type Output = Result<F::Output, Pin<Box<F>>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let begun = computed();
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Ok(done));
        }
        self.spent += computed().saturating_sub(begun);
        if self.spent >= LONG {
            return Poll::Ready(Err(work));
        }
        self.work = Some(work);
        Poll::Pending
    }
}

/// Whether the system gives so many threads at a time. tokio panics where it gets none, and where it gets fewer than it
/// was told, what waits for the others waits for ever.
fn try_threads(threads: usize) -> io::Result<()> {
    let all_are_there = Mutex::new(());
    std::thread::scope(|scope| {
        let not_yet = all_are_there.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = (0..threads)
            .try_for_each(|_| std::thread::Builder::new().spawn_scoped(scope, || drop(all_are_there.lock())).map(drop));
        drop(not_yet);
        begun
    })
}

impl Drop for Computing {
    fn drop(&mut self) {
        // Waiting for them could be for ever: the last to let go may be one of them.
        for threads in [self.threads.take(), self.long.take()].into_iter().flatten() {
            threads.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computes for a while each time that it is asked, and lets others run between.
    async fn computes(times: u32) -> Vec<std::thread::ThreadId> {
        let mut threads = Vec::new();
        for _ in 0..times {
            let begun = computed();
            while computed() - begun < LONG / 2 {
                std::hint::spin_loop();
            }
            threads.push(std::thread::current().id());
            tokio::task::yield_now().await;
        }
        threads
    }

    #[tokio::test]
    async fn what_computes_long_goes_on_elsewhere_and_gives_its_place_back_at_its_end() {
        let computing = Computing::start(1).expect("threads");
        let place = std::sync::Arc::new(());
        let threads = computing.run(place.clone(), computes(5)).await.expect("done");
        let (begun, rest) = (threads[0], threads[4]);
        assert_ne!(begun, rest, "it went on elsewhere");
        let of_beginning = threads.iter().take_while(|thread| **thread == begun).count();
        assert!(of_beginning <= 2 && threads[of_beginning..].iter().all(|thread| *thread == rest), "and stayed there");
        assert_eq!(std::sync::Arc::strong_count(&place), 1);
        let short = computing.run(place.clone(), computes(1)).await.expect("done");
        assert_eq!(short[0], begun, "another beginning");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_ends_elsewhere_too() {
        let computing = Computing::start(1).expect("threads");
        let place = std::sync::Arc::new(());
        let endless = computing.run(place.clone(), computes(u32::MAX));
        assert!(tokio::time::timeout(LONG * 3, endless).await.is_err(), "it does not end");
        let ended = async {
            while std::sync::Arc::strong_count(&place) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG * 20, ended).await.expect("it was given back");
    }
}
