//! Requests that change something run to their end, even if the client goes away.
//!
//! The server drops the future of a request when its connection ends. A change could then be committed without its entry in the
//! audit log, or without reaching the reconciler.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Runs a request in a task of its own, unless it only reads.
pub(crate) async fn run_to_end(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match tokio::spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::body::Body;
    use axum::http::Method;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use tokio::sync::{Notify, Semaphore};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn change_ends_after_its_client_has_gone_and_a_read_does_not() {
        let (begun, go_on, ended) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let handler = {
            let (begun, go_on, ended) = (begun.clone(), go_on.clone(), ended.clone());
            move || async move {
                begun.notify_one();
                let _permit = go_on.acquire().await;
                ended.add_permits(1);
            }
        };
        let router: Router = Router::new().route("/", get(handler.clone()).put(handler)).layer(from_fn(run_to_end));
        for method in [Method::GET, Method::PUT] {
            let request = Request::builder().method(method).body(Body::empty()).expect("a request");
            let client = tokio::spawn(router.clone().oneshot(request));
            begun.notified().await;
            client.abort();
            assert!(client.await.expect_err("the client has gone").is_cancelled());
        }
        go_on.add_permits(1);
        ended.acquire().await.expect("one handler ends").forget();
        assert_eq!((ended.available_permits(), go_on.available_permits()), (0, 1));
    }
}
