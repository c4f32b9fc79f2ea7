//! What happens in a workspace, as it happens. A stream that is cut off goes on where it was: every event
//! comes once and in order, and where events may have been missed, a gap is returned.

use std::time::Duration;

use futures_util::{Stream, stream};
use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use runtime_api::event::{Cursor, Event};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::ask::Answer;
use super::sse::{Frame, Frames};
use super::{Client, ClientError, Unexpected};

/// What is seen next.
#[derive(Debug, Clone, PartialEq)]
pub enum Watched {
    /// An event.
    Event(Event),
    /// An event of a kind that this version does not know.
    Other {
        /// Its number.
        number: u64,
        /// What the Runtime calls it; lower-case letters, digits and `_`.
        kind: String,
    },
    /// Events may have been missed: those between the two numbers were deleted, or the Runtime does not have the
    /// event that was seen last, because it was restored from a backup. Then `first_kept` may be less than `after`.
    Gap {
        /// The number of the last event that was seen.
        after: u64,
        /// The number of the event that comes next.
        first_kept: u64,
    },
}

/// Events after a cursor.
pub struct Events {
    client: Client,
    /// The last event that was seen.
    after: Cursor,
    open: Option<Answer>,
    frames: Frames,
    /// `true` until the first frame of the stream that is open.
    begins: bool,
    /// Attempts in a row that came to nothing.
    failed: u32,
}

const STREAM: &str = "text/event-stream";
/// Before it is tried the second time, and twice as long before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Client {
    /// Returns all events after a cursor: those that happened, and those that will. Nothing is sent before
    /// [`Events::next`] is called.
    pub fn events(&self, after: impl Into<Cursor>) -> Events {
        let after = after.into();
        Events { client: self.clone(), after, open: None, frames: Frames::default(), begins: true, failed: 0 }
    }
}

impl Events {
    /// Waits for what comes next. A stream that ends or falls silent is asked for again, as often as the
    /// client's [`Retries`](super::Retries) say without anything coming. After an error the next call asks
    /// again. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Watched, ClientError> {
        loop {
            match self.read().await {
                Ok(watched) => return Ok(watched),
                Err(error) => {
                    self.open = None;
                    let retries = self.client.shared.retries;
                    if !passes(&error) || self.failed >= retries.most {
                        self.failed = 0;
                        return Err(error);
                    }
                    let pause = FIRST_PAUSE.saturating_mul(1 << self.failed.min(10)).min(LONGEST_PAUSE);
                    self.failed += 1;
                    sleep(pause).await;
                }
            }
        }
    }

    /// Returns the number of the last event that was seen.
    pub fn seen(&self) -> u64 {
        self.after.number()
    }

    /// Returns the position after what [`next`](Self::next) returned last, to go on from in another process.
    pub fn cursor(&self) -> Cursor {
        self.after
    }

    /// The same as a stream, which ends with the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Watched, ClientError>> + Send {
        stream::unfold(Some(self), |events| async move {
            let mut events = events?;
            let next = events.next().await;
            let rest = next.is_ok().then_some(events);
            Some((next, rest))
        })
    }

    async fn read(&mut self) -> Result<Watched, ClientError> {
        let silence = self.client.shared.deadlines.silence;
        loop {
            let unexpected = |_| ClientError::Unexpected(Unexpected::Body);
            while let Some(frame) = self.frames.next().map_err(unexpected)? {
                if let Some(watched) = self.watched(&frame)? {
                    return Ok(watched);
                }
            }
            let open = match &mut self.open {
                Some(open) => open,
                closed => {
                    let answer = asked(&self.client, self.after).await?;
                    self.frames = Frames::default();
                    self.begins = true;
                    closed.insert(answer)
                }
            };
            let piece = timeout(silence, open.piece()).await;
            let piece = piece.map_err(|_| ClientError::TimedOut { within: silence })??;
            self.frames.take(piece.ok_or(ClientError::Interrupted)?);
            self.failed = 0;
        }
    }

    /// What a frame says, which must go on from what was seen.
    fn watched(&mut self, frame: &Frame) -> Result<Option<Watched>, ClientError> {
        #[derive(Deserialize)]
        struct Gap {
            after: u64,
            first_kept: u64,
        }
        const CONTRADICTION: ClientError = ClientError::Unexpected(Unexpected::Contradiction);
        let id: Cursor = frame.id.parse().map_err(|_| ClientError::Unexpected(Unexpected::Body))?;
        let after = self.after.number();
        let number =
            |number: u64| if id.number() == number && number > after { Ok(number) } else { Err(CONTRADICTION) };
        let begins = std::mem::replace(&mut self.begins, false);
        let watched = if frame.event == "gap" {
            let gap: Gap = read(&frame.data)?;
            // A Runtime that does not know the cursor begins anew, with the first answer to it.
            let is_unknown = begins && after > 0;
            let goes_on = id.number() > after || is_unknown;
            if gap.after != after || gap.first_kept.checked_sub(1) != Some(id.number()) || !goes_on {
                return Err(CONTRADICTION);
            }
            Watched::Gap { after: gap.after, first_kept: gap.first_kept }
        } else if let Ok(event) = serde_json::from_str::<Event>(&frame.data) {
            number(event.number)?;
            Watched::Event(event)
        } else {
            read::<serde_json::Map<String, serde_json::Value>>(&frame.data)?;
            let word = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
            if frame.event.is_empty() || frame.event.len() > 64 || !frame.event.bytes().all(word) {
                return Err(ClientError::Unexpected(Unexpected::Body));
            }
            Watched::Other { number: number(id.number())?, kind: frame.event.clone() }
        };
        self.after = id;
        Ok(Some(watched))
    }
}

fn read<'de, T: Deserialize<'de>>(data: &'de str) -> Result<T, ClientError> {
    serde_json::from_str(data).map_err(|_| ClientError::Unexpected(Unexpected::Body))
}

async fn asked(client: &Client, after: Cursor) -> Result<Answer, ClientError> {
    let ask = client.ask(Method::GET, ["v1", "events"]).header(ACCEPT, HeaderValue::from_static(STREAM));
    let cursor = HeaderValue::from_str(&after.to_string()).map_err(|_| ClientError::Unexpected(Unexpected::Body))?;
    let answer = ask.header(HeaderName::from_static("last-event-id"), cursor).send().await?;
    if answer.is(STREAM) { Ok(answer) } else { Err(ClientError::Unexpected(Unexpected::Body)) }
}

/// Whether it may be better in a while.
fn passes(error: &ClientError) -> bool {
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
