//! Running a host tool so that its panics do not leave it.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The tool panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Future of a tool's call, which turns a panic into [`Panicked`].
///
/// The tool's code runs where the call is made, where it is polled, and where it is dropped, which also happens at a
/// deadline or when the caller goes away. A panic in any of these places would unwind through the Runtime: the
/// workspace's turn would come back, but neither history nor events would have an end of the call.
pub(crate) struct Contained<F, C>(State<F, C>);

enum State<F, C> {
    /// The call was not made yet.
    Call(F),
    Running(Pin<Box<C>>),
    Done,
}

impl<F, C> Contained<F, C>
where
    F: FnOnce() -> C + Unpin,
    C: Future,
{
    /// Makes the call when it is first polled.
    pub(crate) fn new(call: F) -> Self {
        Self(State::Call(call))
    }
}

impl<F, C> Contained<F, C> {
    /// Drops what is left of the call. Returns an error if that panics.
    fn finish(&mut self) -> Result<(), Panicked> {
        let left = std::mem::replace(&mut self.0, State::Done);
        contained(|| drop(left))
    }
}

impl<F, C> Future for Contained<F, C>
where
    F: FnOnce() -> C + Unpin,
    C: Future,
{
    type Output = Result<C::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Call(_) = self.0
            && let State::Call(call) = std::mem::replace(&mut self.0, State::Done)
        {
            match contained(|| Box::pin(call())) {
                Ok(running) => self.0 = State::Running(running),
                Err(panicked) => return Poll::Ready(Err(panicked)),
            }
        }
        let State::Running(running) = &mut self.0 else { return Poll::Ready(Err(Panicked)) };
        let output = match contained(|| running.as_mut().poll(context)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panicked) => Err(panicked),
        };
        let finished = self.finish();
        Poll::Ready(output.and_then(|output| finished.map(|()| output)))
    }
}

impl<F, C> Drop for Contained<F, C> {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.finish();
    }
}

fn contained<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(discard)
}

/// A payload is the tool's too, and its destructor may panic as well. What that one panics with is not dropped.
fn discard(payload: Box<dyn Any + Send>) -> Panicked {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
    Panicked
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics when it is dropped.
    struct Falls;

    impl Drop for Falls {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    async fn holds(falls: Falls) -> u8 {
        std::future::pending::<()>().await;
        drop(falls);
        1
    }

    async fn falls_later() -> u8 {
        tokio::task::yield_now().await;
        panic!("polled");
    }

    /// The payload's destructor panics too.
    async fn falls_badly() -> u8 {
        std::panic::panic_any(Falls)
    }

    #[tokio::test]
    async fn a_panic_is_caught_where_the_call_is_made_polled_and_dropped() {
        assert_eq!(Contained::new(|| async { 1 }).await, Ok(1));
        assert_eq!(Contained::new(|| -> std::future::Ready<u8> { panic!("made") }).await, Err(Panicked));
        assert_eq!(Contained::new(falls_later).await, Err(Panicked));
        assert_eq!(Contained::new(falls_badly).await, Err(Panicked));
        // Polled, and dropped with what it holds; and dropped before.
        let mut held = Contained::new(|| holds(Falls));
        assert!(futures_util::poll!(&mut held).is_pending());
        drop(held);
        let falls = Falls;
        drop(Contained::new(move || holds(falls)));
    }

    /// Ready, and panics when it is dropped afterwards.
    struct Last;

    impl Future for Last {
        type Output = u8;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
            Poll::Ready(1)
        }
    }

    impl Drop for Last {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[tokio::test]
    async fn an_answer_whose_future_cannot_be_dropped_is_a_panic() {
        assert_eq!(Contained::new(|| Last).await, Err(Panicked));
    }
}
