//! Blocking work that ends when the caller's future is dropped.
//!
//! Work checks a [`CancelGate`] between two steps, and does everything with an external effect in
//! [`CancelGate::commit`]. Dropping the caller's future closes the gate: the next check fails and no commit begins. A
//! running commit, which is a single system call, is awaited. When the drop returns, the effect of the call is
//! therefore final.

use std::sync::{Arc, Mutex, PoisonError};

use super::error::FsError;

/// Gate that is open until the caller's future is dropped.
#[derive(Debug, Clone, Default)]
pub(super) struct CancelGate(Arc<Mutex<bool>>);

impl CancelGate {
    /// Returns an error if the call was cancelled.
    pub(super) fn check(&self) -> Result<(), FsError> {
        self.commit(|| ())
    }

    /// Runs an irreversible action, unless the call was cancelled. The action must be short, because dropping the
    /// future waits for it.
    pub(super) fn commit<T>(&self, act: impl FnOnce() -> T) -> Result<T, FsError> {
        let closed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *closed { Err(FsError::Cancelled) } else { Ok(act()) }
    }

    fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

/// Closes the gate when it is dropped, which waits for a running commit.
struct CloseOnDrop(CancelGate);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Runs work on a blocking thread.
pub(super) async fn blocking<T, F>(work: F) -> Result<T, FsError>
where
    T: Send + 'static,
    F: FnOnce(&CancelGate) -> Result<T, FsError> + Send + 'static,
{
    let gate = CancelGate::default();
    let _caller = CloseOnDrop(gate.clone());
    let done = tokio::task::spawn_blocking(move || {
        gate.check()?;
        work(&gate)
    });
    // The work does not panic, but the runtime may shut down before the work begins.
    done.await.unwrap_or(Err(FsError::Cancelled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_committed_after_the_caller_is_dropped() {
        let gate = CancelGate::default();
        let caller = CloseOnDrop(gate.clone());
        assert_eq!((gate.check(), gate.commit(|| 7)), (Ok(()), Ok(7)));
        drop(caller);
        assert_eq!(gate.commit(|| unreachable!("the gate is closed")), Err::<(), _>(FsError::Cancelled));
    }

    #[test]
    fn dropping_waits_for_a_running_commit() {
        let gate = CancelGate::default();
        let caller = CloseOnDrop(gate.clone());
        let (begun, begins) = std::sync::mpsc::channel();
        let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
        let working = std::thread::spawn(move || {
            gate.commit(|| {
                begun.send(()).expect("heard");
                goes_on.recv().is_ok()
            })
        });
        begins.recv().expect("begun");
        let dropping = std::thread::spawn(move || drop(caller));
        assert!(!dropping.is_finished());
        go_on.send(()).expect("heard");
        dropping.join().expect("dropped");
        assert_eq!(working.join().expect("done"), Ok(true));
    }
}
