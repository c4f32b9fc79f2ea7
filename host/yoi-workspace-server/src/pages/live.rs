//! `/live`: tells open pages that something visible to the session changed.
//!
//! The stream contains no data but digests. A page that hears of another digest than its own is loaded again, so the checks
//! of a page hold for what it shows later too.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bundles::Digest;
use futures_util::stream::{self, StreamExt};
use runtime_api::Code;
use runtime_service::{ApiProblem, Service};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::access::Visitor;
use super::problem::PageProblem;
use crate::backend::Backend;
use crate::service::BackendState;
use crate::sessions::Session;

/// Minimum time between two events.
const MIN_PAUSE: Duration = Duration::from_millis(400);

/// Pause after a digest, as a multiple of the time that it took, so that a stream takes at most a twentieth of a processor
/// even if the fleet is large.
const PAUSE_FACTOR: u32 = 19;

/// Time between two checks of a stream's session. A stream ends at most this long after its session.
const SESSION_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Time after which an idle stream sends a comment, so that proxies and browsers do not close it.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Returns a digest of everything that the pages of a session show, except times of answers.
pub(super) fn visible_digest(backend: &Backend, session: &Session) -> Digest {
    let readable = session.readable(backend);
    let mut runtimes = backend.runtimes(&readable);
    runtimes.iter_mut().for_each(|runtime| runtime.last_seen = None);
    let (of_workspaces, of_all) = backend.0.activity.count(readable.iter());
    let of_all = session.is_admin().then_some(of_all);
    let visible = json!([readable, runtimes, of_workspaces, of_all]);
    Digest::of(visible.to_string())
}

/// Sends an event with the current digest, and one after each change.
pub(super) async fn stream(State(state): State<BackendState>, visitor: Visitor) -> Result<Response, PageProblem> {
    let guard = state.sessions.open_stream(&visitor.session.id).ok_or_else(|| {
        ApiProblem::new(Code::RateLimited, "the session has too many event streams", "close other windows")
            .with_retry_after(Duration::from_secs(10))
    })?;
    let service = Arc::<Service>::from_ref(&state);
    let visitor = Arc::new(visitor);
    let ended = {
        let (state, visitor) = (state.clone(), visitor.clone());
        async move {
            let ended = async {
                loop {
                    tokio::time::sleep(SESSION_CHECK_INTERVAL).await;
                    if !visitor.is_still_open(&state).await {
                        return;
                    }
                }
            };
            tokio::select! {
                () = service.stopped() => {}
                () = ended => {}
            }
        }
    };
    let watch = Watch { changes: state.backend.0.activity.subscribe(), sent: None, not_before: Instant::now() };
    let next = move |mut watch: Watch| {
        let (state, visitor) = (state.clone(), visitor.clone());
        async move {
            let digest = watch.next(|| visible_digest(&state.backend, &visitor.session)).await?;
            Some((Ok::<_, Infallible>(Event::default().event("changed").data(digest.hex())), watch))
        }
    };
    let events = stream::unfold(watch, next).take_until(ended).map(move |event| {
        // The closure owns the guard, so the stream counts until the browser disconnects.
        let _guard = &guard;
        event
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_INTERVAL)).into_response())
}

/// Waits for other digests.
#[derive(Debug)]
struct Watch {
    changes: watch::Receiver<()>,
    /// The newest digest that was sent.
    sent: Option<Digest>,
    /// Time before which no digest is computed, so that changes gather.
    not_before: Instant,
}

impl Watch {
    /// Returns the next digest: the first one at once. `None` if there are no further changes.
    async fn next(&mut self, digest: impl Fn() -> Digest) -> Option<Digest> {
        loop {
            if self.sent.is_some() {
                self.changes.changed().await.ok()?;
                tokio::time::sleep_until(self.not_before).await;
            }
            self.changes.mark_unchanged();
            let began = Instant::now();
            let current = digest();
            self.not_before = Instant::now() + (began.elapsed() * PAUSE_FACTOR).max(MIN_PAUSE);
            if self.sent.replace(current) != Some(current) {
                return Some(current);
            }
        }
    }
}
