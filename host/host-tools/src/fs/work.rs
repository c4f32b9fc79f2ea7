//! Blocking work that ends when nobody waits for it any more.
//!
//! Work passes a [`Gate`] between any two pieces, and does what can be seen from outside in
//! [`Gate::commit`]. Once the caller's future is dropped the gate is shut: the next pass fails, no commit
//! begins, and one that is under way, which is one system call long, is waited for. So what a dropped call
//! did is decided when the drop returns.

use std::sync::{Arc, Mutex, PoisonError};

use super::refusal::Refusal;

/// What work passes as long as its caller is there.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<Mutex<bool>>);

impl Gate {
    /// Goes on, where somebody still waits.
    pub(super) fn pass(&self) -> Result<(), Refusal> {
        self.commit(|| ())
    }

    /// Does what cannot be taken back, where somebody still waits. It must not take long.
    pub(super) fn commit<T>(&self, act: impl FnOnce() -> T) -> Result<T, Refusal> {
        let shut = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *shut { Err(Refusal::Ended) } else { Ok(act()) }
    }

    fn shut(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

/// Shuts the gate when it is dropped.
struct Caller(Gate);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.shut();
    }
}

/// Does blocking work on a thread that is there for it.
pub(super) async fn blocking<T, F>(work: F) -> Result<T, Refusal>
where
    T: Send + 'static,
    F: FnOnce(&Gate) -> Result<T, Refusal> + Send + 'static,
{
    let gate = Gate::default();
    let _caller = Caller(gate.clone());
    let done = tokio::task::spawn_blocking(move || {
        gate.pass()?;
        work(&gate)
    });
    // It does not panic; but its threads may have been ended before it began.
    done.await.unwrap_or(Err(Refusal::Ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_committed_once_the_caller_is_gone() {
        let gate = Gate::default();
        let caller = Caller(gate.clone());
        assert_eq!((gate.pass(), gate.commit(|| 7)), (Ok(()), Ok(7)));
        drop(caller);
        assert_eq!(gate.commit(|| unreachable!("the gate is shut")), Err::<(), _>(Refusal::Ended));
    }

    #[test]
    fn dropping_waits_for_a_commit_that_is_under_way() {
        let gate = Gate::default();
        let caller = Caller(gate.clone());
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
