//! Bodies that must come in at some pace, and requests that must have their answer by some time: a
//! client that sends a byte now and then holds nothing for long.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::{Problem, Service, ServiceLimits};

/// A body came in too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the body came in too slowly")]
struct TooSlow;

struct Paced {
    body: Body,
    limits: ServiceLimits,
    began: Instant,
    seen: u64,
    until: Pin<Box<Sleep>>,
    /// What reads the body may tell its failure in words of its own; this says which it was.
    too_slow: Arc<AtomicBool>,
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            if let Some(Ok(frame)) = &frame {
                this.seen += frame.data_ref().map_or(0, Bytes::len) as u64;
                let until = this.began + this.limits.body(this.seen);
                this.until.as_mut().reset(until);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        std::task::ready!(this.until.as_mut().poll(context));
        this.too_slow.store(true, Ordering::Release);
        Poll::Ready(Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bounds the time of a request, and of its body.
pub(super) async fn bounded(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let limits = service.limits.clone();
    let (began, too_slow) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let deadline = limits.request();
    let request = request.map(|body| {
        let until = Box::pin(sleep_until(began + limits.body(0)));
        Body::new(Paced { body, limits, began, seen: 0, until, too_slow: too_slow.clone() })
    });
    let answer = timeout(deadline, next.run(request)).await;
    if too_slow.load(Ordering::Acquire) {
        return closing(Problem::new(
            "body_too_slow",
            "the body came in too slowly",
            "send it faster, or in smaller pieces by themselves",
        ));
    }
    answer.unwrap_or_else(|_| {
        closing(Problem::new(
            "deadline_exceeded",
            "the request was not done in the time that it has",
            "ask again: what was acknowledged is kept, and nothing is half done",
        ))
    })
}

/// What is left of the body is not waited for.
fn closing(problem: Problem) -> Response {
    let mut response = problem.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
