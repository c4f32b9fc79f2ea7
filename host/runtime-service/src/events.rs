//! `/v1/events`: the events of a workspace as server-sent events.
//!
//! A client that reconnects sends the cursor of the last event that it saw. It receives the events after the cursor, or a gap
//! if it may have missed some.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Frame, KeepAlive, KeepAliveStream, Sse};
use bundles::WorkspaceId;
use futures_util::stream::{BoxStream, StreamExt};
use http_edge::{GaugeGuard, Owner, ServerLimits};
use prometheus_client::metrics::gauge::Gauge;
use runtime_api::Code;
use runtime_api::event::{Cursor, Event, PositionedItem, SubscriptionItem};
use runtime_api::token::{TokenId, TokenSummary};
use serde::Deserialize;
use serde_json::json;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use worker_runtime::Busy;

use super::access::{Authorized, ReadScope, WorkspaceQuery};
use super::extract::QueryParams;
use super::{ApiProblem, Service};

/// Position after which a client wants events, as a query parameter.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// The `id` of the last frame that the client saw.
    #[param(value_type = Option<String>)]
    after: Option<Cursor>,
}

impl EventQuery {
    /// Returns the position of the header `Last-Event-ID` if there is one, and that of the parameter otherwise. A browser
    /// repeats the URL when it reconnects, and adds the header. So the header is newer than the parameter.
    pub fn position(self, headers: &HeaderMap) -> Result<Cursor, ApiProblem> {
        match headers.get("last-event-id") {
            Some(value) => value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(invalid_last_event_id),
            None => Ok(self.after.unwrap_or(Cursor::START)),
        }
    }
}

/// Describes one frame of a stream of events.
#[derive(Debug)]
pub struct EventFrame;

impl PartialSchema for EventFrame {
    fn schema() -> RefOr<Schema> {
        let number = || ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        let gap = ObjectBuilder::new()
            .property("after", number().description(Some("Number of the last received event")))
            .property("first_kept", number().description(Some("Number of the next event")))
            .required("after")
            .required("first_kept");
        let content = OneOfBuilder::new().item(Ref::from_schema_name(Event::name())).item(gap);
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let data = text()
            .description(Some("The event, or the numbers between which events are missing"))
            .content_media_type("application/json")
            .content_schema(Some(content));
        ObjectBuilder::new()
            .description(Some("A frame of a stream of server-sent events"))
            .property("id", text().description(Some("Position after the event, for `after` and `Last-Event-ID`")))
            .property("event", text().description(Some("Kind of the event as in its data, or `gap`")))
            .property("data", data)
            .required("id")
            .required("event")
            .required("data")
            .into()
    }
}

impl ToSchema for EventFrame {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Event::name().into_owned(), Event::schema()));
        Event::schemas(schemas);
    }
}

/// Limits the open streams of each token and workspace.
#[derive(Debug)]
pub(crate) struct StreamLimiter {
    max_of_token: u32,
    max_of_workspace: u32,
    open: Arc<Mutex<HashMap<Owner, u32>>>,
}

/// Counts an open stream until it is dropped.
struct StreamGuard {
    owners: Vec<Owner>,
    open: Arc<Mutex<HashMap<Owner, u32>>>,
    _gauge: GaugeGuard,
}

impl StreamLimiter {
    pub(super) fn new(limits: &ServerLimits) -> Self {
        Self {
            max_of_token: limits.event_streams,
            max_of_workspace: limits.workspace_event_streams,
            open: Arc::default(),
        }
    }

    /// Counts a stream for its token and its workspace. Fails if one of them has reached its limit.
    fn open(&self, token: &TokenSummary, workspace: &WorkspaceId, gauge: &Gauge) -> Result<StreamGuard, Busy> {
        let granted = token.grant.event_streams;
        // A token whose own limit is larger than that of a workspace may use it in each of its workspaces.
        let max_of_workspace = self.max_of_workspace.max(granted.unwrap_or(0));
        let owners = [
            (Owner::Token(token.id.as_str().into()), granted.unwrap_or(self.max_of_token), "event_streams"),
            (Owner::Workspace(workspace.as_str().into()), max_of_workspace, "workspace_event_streams"),
        ];
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = owners.iter().find(|(owner, max, _)| open.get(owner).copied().unwrap_or(0) >= *max);
        if let Some((.., limit)) = reached {
            return Err(Busy::new(limit));
        }
        let owners: Vec<Owner> = owners.into_iter().map(|(owner, ..)| owner).collect();
        for owner in &owners {
            *open.entry(owner.clone()).or_default() += 1;
        }
        Ok(StreamGuard { owners, open: self.open.clone(), _gauge: GaugeGuard::new(gauge) })
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for owner in &self.owners {
            let Some(count) = open.get_mut(owner) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(owner);
            }
        }
    }
}

type Frames = BoxStream<'static, Result<Frame, Infallible>>;

/// A response with server-sent events.
pub type EventResponse = Sse<KeepAliveStream<Frames>>;

/// Sends the events of a workspace as server-sent events.
///
/// A client that sends the `id` of the last frame that it saw, as `after` or as `Last-Event-ID`, receives the events after
/// that frame. An `id` consists of an epoch and the number of an event. A frame `gap` tells the client that it may have missed
/// events: the server deleted some, or the server was restored from a backup and does not have the last event that the client
/// saw. The stream ends when the token is revoked or expires, and when the service stops.
#[utoipa::path(get, path = "/v1/events", tag = "observation", operation_id = "events", security(("token" = [])),
    params(WorkspaceQuery, EventQuery, ("Last-Event-ID" = Option<String>, Header,
        description = "The `id` of the last frame that the client saw")),
    responses((status = 200, description = "Frames, until the token is no longer valid or the service stops",
        body = EventFrame, content_type = "text/event-stream")))]
pub(super) async fn subscribe(
    State(service): State<Arc<Service>>,
    authorized: Authorized<ReadScope>,
    QueryParams(query): QueryParams<EventQuery>,
    headers: HeaderMap,
) -> Result<EventResponse, ApiProblem> {
    let subscription = service.runtime.observation(authorized.workspace()).subscribe(query.position(&headers)?).await?;
    // The stream ends if the store fails: the client reconnects and sends its cursor.
    let items = subscription.into_stream().take_while(|item| std::future::ready(item.is_ok()));
    respond(
        service,
        authorized.token(),
        authorized.workspace(),
        items.filter_map(|item| std::future::ready(item.ok())).boxed(),
    )
}

/// Sends items as server-sent events, until they end, the token is no longer valid, or the service stops.
pub fn respond(
    service: Arc<Service>,
    token: &TokenSummary,
    workspace: &WorkspaceId,
    items: BoxStream<'static, PositionedItem>,
) -> Result<EventResponse, ApiProblem> {
    let guard = service.streams.open(token, workspace, &service.metrics.event_streams)?;
    let end = wait_for_end(service, token.id.clone());
    let frames = items.take_until(end).map(move |PositionedItem { cursor, item }| {
        // The closure owns the guard, so the stream counts until the client disconnects.
        let _guard = &guard;
        Ok(frame(&item).id(cursor.to_string()))
    });
    Ok(Sse::new(frames.boxed()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_INTERVAL)))
}

fn invalid_last_event_id() -> ApiProblem {
    let detail = "invalid header `Last-Event-ID`: expected the `id` of a frame, which is 16 hexadecimal digits, `-` \
        and a number, as `00f1e2d3c4b5a697-42`";
    ApiProblem::new(
        Code::InvalidRequest,
        detail,
        "send the `id` of the last frame that you received, or omit the header",
    )
}

/// Time after which an idle stream sends a comment, so that proxies and clients do not close it.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Time between two checks of a stream's token. A stream ends at most this long after its token was revoked.
const TOKEN_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Waits until the service stops or the token is no longer valid.
async fn wait_for_end(service: Arc<Service>, token: TokenId) {
    let revoked = async {
        loop {
            tokio::time::sleep(TOKEN_CHECK_INTERVAL).await;
            if !matches!(service.runtime.management().is_token_valid(&token).await, Ok(true)) {
                return;
            }
        }
    };
    tokio::select! {
        () = service.stopped() => {}
        () = revoked => {}
    }
}

impl Service {
    /// Completes when the service stops. Long-lived responses should end then.
    pub async fn stopped(&self) {
        self.edge.closing().cancelled().await;
    }
}

fn frame(item: &SubscriptionItem) -> Frame {
    match item {
        SubscriptionItem::Event(event) => Frame::default().event(name(event)).data(data(event)),
        SubscriptionItem::Gap { after, first_kept } => {
            Frame::default().event("gap").data(json!({ "after": after, "first_kept": first_kept }).to_string())
        }
    }
}

fn data(event: &Event) -> String {
    // An event holds only names, digests and numbers, so it can always be serialized.
    serde_json::to_string(event).unwrap_or_default()
}

fn name(event: &Event) -> String {
    let value = serde_json::to_value(&event.kind).unwrap_or_default();
    value.get("event").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}
