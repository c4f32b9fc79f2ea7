//! `/v1/events`: what happens in a workspace, as it happens. Who was away says the number of the last
//! event that it saw, and gets what came after; where some of that is kept no more, it is told of a gap.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Frame, KeepAlive, KeepAliveStream, Sse};
use futures_util::stream::{self, BoxStream, StreamExt};
use serde::Deserialize;
use serde_json::json;

use super::access::{Asked, Tenant};
use super::{Problem, Service};
use crate::event::Event;
use crate::runtime::{Seen, Subscription};

#[derive(Debug, Deserialize)]
pub(super) struct From {
    after: Option<u64>,
}

type Frames = BoxStream<'static, Result<Frame, Infallible>>;

pub(super) async fn subscribe(
    State(service): State<Arc<Service>>,
    tenant: Tenant,
    Asked(From { after }): Asked<From>,
    headers: HeaderMap,
) -> Result<Sse<KeepAliveStream<Frames>>, Problem> {
    // What a browser sends when it connects again counts more than what the page asked for first.
    let after = match headers.get("last-event-id") {
        Some(seen) => seen.to_str().ok().and_then(|seen| seen.parse().ok()).ok_or_else(Problem::query)?,
        None => after.unwrap_or(0),
    };
    let frames = match tenant.read()? {
        Some(workspace) => frames(service.runtime.observation(workspace).subscribe(after).await?),
        // Nothing ever happens there.
        None => stream::pending().boxed(),
    };
    let alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(frames).keep_alive(alive))
}

/// Ends where the store does not answer: the client connects again, and says where it was.
fn frames(subscription: Subscription) -> Frames {
    let next = |mut subscription: Subscription| async move {
        let seen = subscription.next().await.ok()?;
        Some((Ok(frame(&seen)), subscription))
    };
    stream::unfold(subscription, next).boxed()
}

fn frame(seen: &Seen) -> Frame {
    match seen {
        Seen::Event(event) => Frame::default().id(event.number.to_string()).event(name(event)).data(data(event)),
        Seen::Gap { after, first_kept } => Frame::default()
            .id((first_kept - 1).to_string())
            .event("gap")
            .data(json!({ "after": after, "first_kept": first_kept }).to_string()),
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
