//! `/v1/events`: what happens in a workspace, as it happens. A client that was away sends the
//! cursor of the last event that it saw, and gets the events after it, or a gap if it may have missed some.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Frame, KeepAlive, KeepAliveStream, Sse};
use bundles::WorkspaceId;
use futures_util::stream::{self, BoxStream, StreamExt};
use http_edge::{GaugeGuard, Owner, ServerLimits};
use prometheus_client::metrics::gauge::Gauge;
use runtime_api::event::{Cursor, Event};
use runtime_api::token::{TokenId, TokenSummary};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use worker_runtime::{Busy, Subscription, SubscriptionItem};

use super::access::{Asked, Named, Tenant};
use super::{Problem, Service};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct From {
    /// The last event that was seen: the `id` of its frame.
    #[param(value_type = Option<String>)]
    after: Option<Cursor>,
}

/// Counts the open streams of each token and workspace.
#[derive(Debug)]
pub(crate) struct Streams {
    of_token: u32,
    of_workspace: u32,
    open: Arc<Mutex<HashMap<Owner, u32>>>,
}

/// A stream that is open.
struct Open {
    owners: Vec<Owner>,
    all: Arc<Mutex<HashMap<Owner, u32>>>,
    _counted: GaugeGuard,
}

impl Streams {
    pub(super) fn new(limits: &ServerLimits) -> Self {
        let (of_token, of_workspace) = (limits.event_streams, limits.workspace_event_streams);
        Self { of_token, of_workspace, open: Arc::default() }
    }

    /// Counts a stream of a token and of its workspace.
    fn open(&self, token: &TokenSummary, workspace: &WorkspaceId, gauge: &Gauge) -> Result<Open, Busy> {
        let own = token.grant.event_streams;
        // A token with a larger number of its own has it in each of its workspaces.
        let of_workspace = self.of_workspace.max(own.unwrap_or(0));
        let owners = [
            (Owner::Token(token.id.as_str().into()), own.unwrap_or(self.of_token), "event_streams"),
            (Owner::Workspace(workspace.as_str().into()), of_workspace, "workspace_event_streams"),
        ];
        let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., limit)) = owners.iter().find(|(of, most, _)| all.get(of).copied().unwrap_or(0) >= *most) {
            return Err(Busy::new(limit));
        }
        let owners: Vec<Owner> = owners.into_iter().map(|(owner, ..)| owner).collect();
        for owner in &owners {
            *all.entry(owner.clone()).or_default() += 1;
        }
        Ok(Open { owners, all: self.open.clone(), _counted: GaugeGuard::new(gauge) })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for owner in &self.owners {
            let Some(open) = all.get_mut(owner) else { continue };
            *open = open.saturating_sub(1);
            if *open == 0 {
                all.remove(owner);
            }
        }
    }
}

type Frames = BoxStream<'static, Result<Frame, Infallible>>;

/// Follows what happens in a workspace, as server-sent events.
///
/// A client that sends the `id` of the last frame it saw, as `after` or as `Last-Event-ID`, gets the events after it.
/// An `id` is an epoch and the number of an event. A frame `gap` says that events may have been missed: the server
/// has deleted some, or does not have the event that the client saw last, because it was restored from a backup.
/// The stream ends when the token is revoked or expires, and when the service is stopped.
#[utoipa::path(get, path = "/v1/events", tag = "observation", operation_id = "events", security(("token" = [])),
    params(Named, From, ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last frame that was seen")),
    responses((status = 200, description = "Each frame's data is an `Event`", body = Event,
        content_type = "text/event-stream")))]
pub(super) async fn subscribe(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    Asked(From { after }): Asked<From>,
    headers: HeaderMap,
) -> Result<Sse<KeepAliveStream<Frames>>, Problem> {
    // What a browser sends when it connects again counts more than what the page asked for first.
    let after = match headers.get("last-event-id") {
        Some(seen) => seen.to_str().ok().and_then(|seen| seen.parse().ok()).ok_or_else(invalid_last_event_id)?,
        None => after.unwrap_or(Cursor::START),
    };
    let workspace = tenant.list()?;
    let open = service.streams.open(tenant.token(), workspace, &service.metrics.event_streams)?;
    let frames = frames(service.runtime.observation(workspace).subscribe(after).await?);
    let ended = ended(service, tenant.token().id.clone());
    let frames = frames.take_until(ended).map(move |frame| {
        let _held = &open;
        frame
    });
    let alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(frames.boxed()).keep_alive(alive))
}

fn invalid_last_event_id() -> Problem {
    let detail = "invalid header `Last-Event-ID`: expected the `id` of a frame, which is 16 hexadecimal digits, `-` \
        and a number, as `00f1e2d3c4b5a697-42`";
    Problem::new("invalid_request", detail, "send the `id` of the last frame that was seen, or leave the header out")
}

/// How long a stream may go on after its token was revoked.
const LOOKS_AGAIN: Duration = Duration::from_secs(5);

/// Waits until the service is stopped, or until the token is good no more.
async fn ended(service: Arc<Service>, token: TokenId) {
    let revoked = async {
        loop {
            tokio::time::sleep(LOOKS_AGAIN).await;
            if !matches!(service.runtime.management().is_token_valid(&token).await, Ok(true)) {
                return;
            }
        }
    };
    tokio::select! {
        () = service.edge.closing().cancelled() => {}
        () = revoked => {}
    }
}

/// Ends where the store does not answer: the client connects again, and says where it was.
fn frames(subscription: Subscription) -> Frames {
    let next = |mut subscription: Subscription| async move {
        let seen = subscription.next().await.ok()?;
        Some((Ok(frame(&seen).id(subscription.cursor().to_string())), subscription))
    };
    stream::unfold(subscription, next).boxed()
}

fn frame(seen: &SubscriptionItem) -> Frame {
    match seen {
        SubscriptionItem::Event(event) => Frame::default().event(name(event)).data(data(event)),
        SubscriptionItem::Gap { after, first_kept } => {
            Frame::default().event("gap").data(json!({ "after": after, "first_kept": first_kept }).to_string())
        }
    }
}

fn data(event: &Event) -> String {
    // Names, digests and numbers: there is nothing in it that JSON could not hold.
    serde_json::to_string(event).unwrap_or_default()
}

fn name(event: &Event) -> String {
    let value = serde_json::to_value(&event.kind).unwrap_or_default();
    value.get("event").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}
