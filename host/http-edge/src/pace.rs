//! Time limits of requests: a body must arrive at a minimum pace, and a response must begin in time. So a client that
//! sends a byte now and then does not occupy a connection for long.

use std::fmt;
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
use runtime_api::Code;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{HttpEdge, Problem, ServerLimits};

/// Error of a body that arrives too slowly.
#[derive(Debug)]
struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body arrived too slowly")
    }
}

impl std::error::Error for TooSlow {}

/// A request body that fails when it arrives too slowly.
struct PacedBody {
    body: Body,
    limits: ServerLimits,
    began: Instant,
    received: u64,
    until: Pin<Box<Sleep>>,
    /// Set when the body was too slow. The reader of the body may replace the error by one of its own, so the error alone
    /// does not tell.
    too_slow: Arc<AtomicBool>,
}

impl http_body::Body for PacedBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            if let Some(Ok(frame)) = &frame {
                this.received += frame.data_ref().map_or(0, Bytes::len) as u64;
                let until = this.began + this.limits.body_timeout(this.received);
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

/// Limits the time of a request, and the pace of its body.
pub(crate) async fn limit(State(edge): State<Arc<HttpEdge>>, request: Request, next: Next) -> Response {
    let limits = edge.limits.clone();
    let (began, too_slow) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let timeout = limits.request_timeout();
    let request = request.map(|body| {
        let until = Box::pin(sleep_until(began + limits.body_timeout(0)));
        Body::new(PacedBody { body, limits, began, received: 0, until, too_slow: too_slow.clone() })
    });
    let response = tokio::time::timeout(timeout, next.run(request)).await;
    if too_slow.load(Ordering::Acquire) {
        return closing(Problem::new(
            Code::BodyTooSlow,
            "the body arrived too slowly",
            "send it faster, or in several smaller requests",
        ));
    }
    response.unwrap_or_else(|_| {
        closing(Problem::new(
            Code::DeadlineExceeded,
            "the request was not answered in time (`request_ms`)",
            "send the request again: acknowledged changes are kept, and no change is half done",
        ))
    })
}

/// Returns the response with `Connection: close`, because the rest of the body is not read.
fn closing(problem: Problem) -> Response {
    let mut response = problem.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
