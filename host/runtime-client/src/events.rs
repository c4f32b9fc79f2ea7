//! Events of a workspace. [`Events`] reconnects by itself and continues after the last event: each event arrives once and in
//! order, or a [`StreamItem::Gap`] says that events may be missing.

use std::time::Duration;

use futures_util::{Stream, stream};
use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use runtime_api::event::{Cursor, Event};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::request::Response;
use super::sse::{Frame, FrameDecoder};
use super::{Client, ClientError, UnexpectedResponse};

/// An item of a stream of events.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamItem {
    /// An event.
    Event(Event),
    /// An event of a kind that this version does not know.
    Other {
        /// Number of the event.
        number: u64,
        /// Name of the kind: lower-case letters, digits and `_`.
        kind: String,
    },
    /// Events may have been missed. Either the Runtime deleted those between the two numbers, or the Runtime was restored
    /// from a backup and does not have the last event that the client saw. In the second case `first_kept` can be less than
    /// `after`.
    Gap {
        /// Number of the last event that the client saw.
        after: u64,
        /// Number of the next event.
        first_kept: u64,
    },
}

/// A stream of the events after a cursor.
pub struct Events {
    client: Client,
    path: Vec<String>,
    /// Position of the last event that was returned.
    after: Cursor,
    response: Option<Response>,
    decoder: FrameDecoder,
    /// `true` until the first frame of the current response.
    is_first_frame: bool,
    /// Number of failed attempts since the last data.
    failed_attempts: u32,
}

const EVENT_STREAM: &str = "text/event-stream";
/// Wait before the first retry. Each further retry waits twice as long.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Maximum wait before a retry.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

impl Client {
    /// Returns past and future events after a cursor. Sends nothing before the first call of [`Events::next`].
    pub fn events(&self, after: impl Into<Cursor>) -> Events {
        self.events_at(["v1", "events"], after)
    }

    /// Like [`events`](Self::events), from another route that sends events in the same form.
    pub fn events_at<'a>(&self, path: impl IntoIterator<Item = &'a str>, after: impl Into<Cursor>) -> Events {
        Events {
            client: self.clone(),
            path: path.into_iter().map(str::to_owned).collect(),
            after: after.into(),
            response: None,
            decoder: FrameDecoder::default(),
            is_first_frame: true,
            failed_attempts: 0,
        }
    }
}

impl Events {
    /// Waits for the next item. Reconnects if the stream ends or is silent, up to the limit of the client's
    /// [`RetryPolicy`](super::RetryPolicy). The next call after an error connects again. The method is cancel-safe.
    pub async fn next(&mut self) -> Result<StreamItem, ClientError> {
        loop {
            match self.read().await {
                Ok(item) => return Ok(item),
                Err(error) => {
                    self.response = None;
                    let retries = self.client.shared.retries;
                    if !is_transient(&error) || self.failed_attempts >= retries.max_retries {
                        self.failed_attempts = 0;
                        return Err(error);
                    }
                    let backoff = FIRST_BACKOFF.saturating_mul(1 << self.failed_attempts.min(10)).min(MAX_BACKOFF);
                    self.failed_attempts += 1;
                    sleep(backoff).await;
                }
            }
        }
    }

    /// Returns the number of the last event that was returned or that a gap skipped.
    pub fn seen(&self) -> u64 {
        self.after.number()
    }

    /// Returns the position after the last returned item. Another process can continue there.
    pub fn cursor(&self) -> Cursor {
        self.after
    }

    /// Returns the items as a [`Stream`], which ends after the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<StreamItem, ClientError>> + Send {
        stream::unfold(Some(self), |events| async move {
            let mut events = events?;
            let next = events.next().await;
            let rest = next.is_ok().then_some(events);
            Some((next, rest))
        })
    }

    async fn read(&mut self) -> Result<StreamItem, ClientError> {
        let silence = self.client.shared.timeouts.silence;
        loop {
            let invalid = |_| ClientError::Unexpected(UnexpectedResponse::Body);
            if let Some(frame) = self.decoder.next().map_err(invalid)? {
                return self.item(&frame);
            }
            let response = match &mut self.response {
                Some(response) => response,
                closed => {
                    let response = subscribe(&self.client, &self.path, self.after).await?;
                    self.decoder = FrameDecoder::default();
                    self.is_first_frame = true;
                    closed.insert(response)
                }
            };
            let piece = timeout(silence, response.piece()).await;
            let piece = piece.map_err(|_| ClientError::TimedOut { within: silence })??;
            self.decoder.push(piece.ok_or(ClientError::Interrupted)?);
            self.failed_attempts = 0;
        }
    }

    /// Parses a frame. It must continue after the last item.
    fn item(&mut self, frame: &Frame) -> Result<StreamItem, ClientError> {
        #[derive(Deserialize)]
        struct Gap {
            after: u64,
            first_kept: u64,
        }
        const CONTRADICTION: ClientError = ClientError::Unexpected(UnexpectedResponse::Contradiction);
        let id: Cursor = frame.id.parse().map_err(|_| ClientError::Unexpected(UnexpectedResponse::Body))?;
        let after = self.after.number();
        let checked_number =
            |number: u64| if id.number() == number && number > after { Ok(number) } else { Err(CONTRADICTION) };
        let is_first = std::mem::replace(&mut self.is_first_frame, false);
        let item = if frame.event == "gap" {
            let gap: Gap = read(&frame.data)?;
            // A Runtime that does not know the cursor starts again from its first event. It says so in the first frame.
            let is_unknown_cursor = is_first && after > 0;
            let is_next = id.number() > after || is_unknown_cursor;
            if gap.after != after || gap.first_kept.checked_sub(1) != Some(id.number()) || !is_next {
                return Err(CONTRADICTION);
            }
            StreamItem::Gap { after: gap.after, first_kept: gap.first_kept }
        } else if let Ok(event) = serde_json::from_str::<Event>(&frame.data) {
            checked_number(event.number)?;
            StreamItem::Event(event)
        } else {
            read::<serde_json::Map<String, serde_json::Value>>(&frame.data)?;
            let is_name_byte = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
            if frame.event.is_empty() || frame.event.len() > 64 || !frame.event.bytes().all(is_name_byte) {
                return Err(ClientError::Unexpected(UnexpectedResponse::Body));
            }
            StreamItem::Other { number: checked_number(id.number())?, kind: frame.event.clone() }
        };
        self.after = id;
        Ok(item)
    }
}

fn read<'de, T: Deserialize<'de>>(data: &'de str) -> Result<T, ClientError> {
    serde_json::from_str(data).map_err(|_| ClientError::Unexpected(UnexpectedResponse::Body))
}

async fn subscribe(client: &Client, path: &[String], after: Cursor) -> Result<Response, ClientError> {
    let request = client
        .request(Method::GET, path.iter().map(String::as_str))
        .header(ACCEPT, HeaderValue::from_static(EVENT_STREAM));
    let cursor =
        HeaderValue::from_str(&after.to_string()).map_err(|_| ClientError::Unexpected(UnexpectedResponse::Body))?;
    let response = request.header(HeaderName::from_static("last-event-id"), cursor).send().await?;
    if response.has_media_type(EVENT_STREAM) {
        Ok(response)
    } else {
        Err(ClientError::Unexpected(UnexpectedResponse::Body))
    }
}

/// Returns `true` if a retry can succeed.
fn is_transient(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable(_) | ClientError::Interrupted | ClientError::TimedOut { .. } => true,
        ClientError::Problem(problem) => matches!(problem.status(), 429 | 503),
        _ => false,
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("after", &self.after).finish_non_exhaustive()
    }
}
