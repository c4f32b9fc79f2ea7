//! Runs calls of host tools so that a panic of a tool ends only its call.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Error for a tool that panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ToolPanic;

/// Future of a tool's call, which turns a panic into [`ToolPanic`].
///
/// Code of the tool runs when the call is created, when its future is polled, and when the future is dropped. A drop
/// also happens at a deadline and when the client disconnects. A panic in any of these places would unwind through the
/// Runtime: the run permit would be released, but the end of the call would be missing in the history and the events.
pub(crate) struct CatchPanic<F, C>(State<F, C>);

enum State<F, C> {
    /// The call is not created yet.
    Call(F),
    Running(Pin<Box<C>>),
    Done,
}

impl<F, C> CatchPanic<F, C>
where
    F: FnOnce() -> C + Unpin,
    C: Future,
{
    /// Returns a future that creates the call when it is first polled.
    pub(crate) fn new(call: F) -> Self {
        Self(State::Call(call))
    }
}

impl<F, C> CatchPanic<F, C> {
    /// Drops the rest of the call. Returns an error if the drop panics.
    fn finish(&mut self) -> Result<(), ToolPanic> {
        let rest = std::mem::replace(&mut self.0, State::Done);
        catch_panic(|| drop(rest))
    }
}

impl<F, C> Future for CatchPanic<F, C>
where
    F: FnOnce() -> C + Unpin,
    C: Future,
{
    type Output = Result<C::Output, ToolPanic>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Call(_) = self.0
            && let State::Call(call) = std::mem::replace(&mut self.0, State::Done)
        {
            match catch_panic(|| Box::pin(call())) {
                Ok(running) => self.0 = State::Running(running),
                Err(panicked) => return Poll::Ready(Err(panicked)),
            }
        }
        let State::Running(running) = &mut self.0 else { return Poll::Ready(Err(ToolPanic)) };
        let output = match catch_panic(|| running.as_mut().poll(context)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panicked) => Err(panicked),
        };
        let finished = self.finish();
        Poll::Ready(output.and_then(|output| finished.map(|()| output)))
    }
}

impl<F, C> Drop for CatchPanic<F, C> {
    fn drop(&mut self) {
        // No caller is left that could receive the error.
        let _ = self.finish();
    }
}

fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, ToolPanic> {
    catch_unwind(AssertUnwindSafe(work)).map_err(discard)
}

/// Drops the payload of a panic. The payload is a value of the tool, so its destructor can panic too. The payload of
/// that second panic is leaked, because dropping it could panic again.
fn discard(payload: Box<dyn Any + Send>) -> ToolPanic {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    ToolPanic
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics when it is dropped.
    struct PanicOnDrop;

    impl Drop for PanicOnDrop {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    async fn hold(value: PanicOnDrop) -> u8 {
        std::future::pending::<()>().await;
        drop(value);
        1
    }

    async fn panic_after_yield() -> u8 {
        tokio::task::yield_now().await;
        panic!("polled");
    }

    /// The payload's destructor panics too.
    async fn panic_twice() -> u8 {
        std::panic::panic_any(PanicOnDrop)
    }

    #[tokio::test]
    async fn panic_is_caught_when_call_is_created_polled_or_dropped() {
        assert_eq!(CatchPanic::new(|| async { 1 }).await, Ok(1));
        assert_eq!(CatchPanic::new(|| -> std::future::Ready<u8> { panic!("made") }).await, Err(ToolPanic));
        assert_eq!(CatchPanic::new(panic_after_yield).await, Err(ToolPanic));
        assert_eq!(CatchPanic::new(panic_twice).await, Err(ToolPanic));
        // Dropped after the first poll, and dropped before it.
        let mut held = CatchPanic::new(|| hold(PanicOnDrop));
        assert!(futures_util::poll!(&mut held).is_pending());
        drop(held);
        let value = PanicOnDrop;
        drop(CatchPanic::new(move || hold(value)));
    }

    /// A future that is ready at once and panics when it is dropped.
    struct ReadyThenPanic;

    impl Future for ReadyThenPanic {
        type Output = u8;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
            Poll::Ready(1)
        }
    }

    impl Drop for ReadyThenPanic {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[tokio::test]
    async fn panic_in_drop_replaces_the_output() {
        assert_eq!(CatchPanic::new(|| ReadyThenPanic).await, Err(ToolPanic));
    }
}
