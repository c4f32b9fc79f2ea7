//! Threads that compute: guests, the verification of bundles, the schemas of tools. They have a lower
//! priority than the threads that answer, so whoever computes never keeps others from being answered.
//!
//! A computation holds the place of its workspace until it has really ended, also where nobody waits for
//! it any more: so one workspace has one going, and never leaves more behind.

use std::future::Future;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// How much nicer these threads are than others: a third of their share, where both have work.
#[cfg(target_os = "linux")]
const NICER: i32 = 5;

/// More would be of no use to any machine, and one that cannot start them does not say so as an error.
const MOST: u32 = 256;

/// How long a thread that has verified something waits for more.
const KEPT: Duration = Duration::from_millis(100);

/// Threads that compute.
#[derive(Debug)]
pub(crate) struct Computing(Option<Runtime>);

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
    /// Starts so many threads.
    pub(crate) fn start(threads: u32) -> io::Result<Self> {
        let threads = usize::try_from(threads.clamp(1, MOST)).unwrap_or(1);
        try_threads(threads)?;
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(threads).max_blocking_threads(threads).thread_keep_alive(KEPT);
        builder.thread_name("yoi-computing").enable_time();
        #[cfg(target_os = "linux")]
        builder.on_thread_start(|| {
            // Where it may not be had, all are equal.
            let _ = rustix::process::nice(NICER);
        });
        Ok(Self(Some(builder.build()?)))
    }

    /// Does work that lets others run now and then. `place` is given back when it has ended. Dropping
    /// the future ends the work where it next lets others run.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        place: impl Send + 'static,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let task = self.0.as_ref()?.spawn(async move {
            let done = work.await;
            drop(place);
            done
        });
        Awaited(task).done().await
    }

    /// Does work that goes on to its end once it has begun. `place` is given back then.
    pub(crate) async fn block<T: Send + 'static>(
        &self,
        place: impl Send + 'static,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let task = self.0.as_ref()?.spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        Awaited(task).done().await
    }

    /// Begins work that somebody may want later, behind all that waits. It goes on to its end.
    pub(crate) fn begin(&self, work: impl FnOnce() + Send + 'static) {
        if let Some(threads) = &self.0 {
            threads.spawn_blocking(work);
        }
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
        if let Some(threads) = self.0.take() {
            threads.shutdown_background();
        }
    }
}
