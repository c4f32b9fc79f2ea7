//! One request and its answer. A route's method says what it asks for in a line; what holds for all of
//! them stands here: who asks, for which workspace, how long, how often, and what an answer may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};

use super::fault::on_the_way;
use super::{BodyStream, Client, ClientError, Problem, Unexpected};

/// Most bytes of a problem document. A worker that is denied is told every refusal.
const PROBLEM_BYTES: usize = 4 << 20;

/// Bytes of which nothing is said.
pub(super) const BYTES: &str = "application/octet-stream";

/// A request that is being put together.
pub(super) struct Ask<'a> {
    client: &'a Client,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Body,
    within: Duration,
    /// A status that is an answer like those of success.
    also: Option<StatusCode>,
}

/// What is sent.
enum Body {
    Nothing,
    Whole(Bytes),
    /// What comes in pieces can be sent once.
    Pieces(Option<BodyStream>),
    /// What is no JSON, which no request of this client is.
    Unwritable,
}

/// An answer that is no failure: its status, and its body, which was not read yet.
pub(super) struct Answer {
    response: Response,
    until: Instant,
    within: Duration,
    answer_bytes: usize,
}

impl Client {
    /// Begins a request. The path goes below the base URL, name by name.
    pub(super) fn ask<'a>(&self, method: Method, path: impl IntoIterator<Item = &'a str>) -> Ask<'_> {
        let mut url = self.shared.base.clone();
        // A URL with a host has a path.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if let Some(workspace) = &self.workspace {
            url.query_pairs_mut().append_pair("workspace", workspace.as_ref());
        }
        let headers = self.shared.authorization.iter().map(|value| (AUTHORIZATION, value.clone())).collect();
        Ask {
            client: self,
            method,
            url,
            headers,
            body: Body::Nothing,
            within: self.shared.deadlines.answer,
            also: None,
        }
    }
}

impl Ask<'_> {
    /// With something in the query.
    pub(super) fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.url.query_pairs_mut().append_pair(name, &value.to_string());
        self
    }

    /// With a header.
    pub(super) fn header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    /// With a body.
    pub(super) fn body(self, kind: &'static str, body: Bytes) -> Self {
        let ask = self.header(CONTENT_TYPE, HeaderValue::from_static(kind));
        Self { body: Body::Whole(body), ..ask }
    }

    /// With a body in JSON.
    pub(super) fn json(self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(json) => self.body("application/json", json.into()),
            Err(_) => Self { body: Body::Unwritable, ..self },
        }
    }

    /// With so many bytes that come in pieces.
    pub(super) fn source(self, source: BodyStream, bytes: u64) -> Self {
        let ask = self.header(CONTENT_TYPE, HeaderValue::from_static(BYTES)).header(CONTENT_LENGTH, bytes);
        Self { body: Body::Pieces(Some(source)), ..ask }
    }

    /// With another deadline than that of what is answered at once.
    pub(super) fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// Where also that status is an answer, if it comes in JSON and not as a problem.
    pub(super) fn also(self, status: StatusCode) -> Self {
        Self { also: Some(status), ..self }
    }

    /// Sends it and answers what is in the answer.
    pub(super) async fn answer<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        self.send().await?.json().await
    }

    /// Sends it, where only whether it was done is of interest.
    pub(super) async fn done(self) -> Result<(), ClientError> {
        self.send().await.map(drop)
    }

    /// Sends it. A failure is an error; so is what no Runtime answers.
    pub(super) async fn send(mut self) -> Result<Answer, ClientError> {
        let retries = self.client.shared.retries;
        // Doing it twice is doing it once, and it is there to be sent twice.
        let repeatable = self.method != Method::POST && !matches!(self.body, Body::Pieces(_));
        let mut left = if repeatable { retries.most } else { 0 };
        loop {
            let problem = match self.once().await {
                Err(ClientError::Problem(problem)) => problem,
                done => return done,
            };
            let wait = problem.retry_after().filter(|wait| *wait <= retries.longest_wait && left > 0);
            match wait.filter(|_| matches!(problem.status(), 429 | 503)) {
                Some(wait) => sleep(wait).await,
                None => return Err(ClientError::Problem(problem)),
            }
            left -= 1;
        }
    }

    async fn once(&mut self) -> Result<Answer, ClientError> {
        let within = self.within;
        let until = Instant::now() + within;
        let shared = &self.client.shared;
        let mut request = shared.http.request(self.method.clone(), self.url.clone()).headers(self.headers.clone());
        let broken = Arc::new(AtomicBool::new(false));
        match &mut self.body {
            Body::Nothing => {}
            Body::Whole(body) => request = request.body(body.clone()),
            Body::Pieces(source) => {
                let source = source.take().ok_or(ClientError::Source)?;
                let broken = broken.clone();
                let told = source.inspect(move |piece| broken.store(piece.is_err(), Ordering::Relaxed));
                request = request.body(reqwest::Body::wrap_stream(told));
            }
            Body::Unwritable => return Err(ClientError::Source),
        }
        let response = match timeout_at(until, request.send()).await {
            Err(_) => return Err(ClientError::TimedOut { within }),
            Ok(Err(_)) if broken.load(Ordering::Relaxed) => return Err(ClientError::Source),
            Ok(Err(error)) => return Err(on_the_way(&error, within)),
            Ok(Ok(response)) => response,
        };
        let answer = Answer { response, until, within, answer_bytes: shared.answer_bytes };
        let status = answer.status();
        if status.is_success() || self.also == Some(status) && answer.is("application/json") {
            Ok(answer)
        } else {
            Err(answer.failure(status).await)
        }
    }
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Whether the body says that it is of a kind.
    pub(super) fn is(&self, kind: &str) -> bool {
        let said = self.response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        said.split(';').next().is_some_and(|said| said.trim().eq_ignore_ascii_case(kind))
    }

    /// The next piece of the body, however long that takes: who asks for more than an answer has deadlines
    /// of its own.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.response.chunk().await.map_err(|error| on_the_way(&error, self.within))
    }

    /// The body, of at most so many bytes.
    pub(super) async fn bytes(&mut self, most: usize) -> Result<Bytes, ClientError> {
        let allowed = ClientError::TooLarge { allowed: most as u64 };
        if self.response.content_length().is_some_and(|said| said > most as u64) {
            return Err(allowed);
        }
        let mut body = BytesMut::new();
        loop {
            match timeout_at(self.until, self.piece()).await {
                Err(_) => return Err(ClientError::TimedOut { within: self.within }),
                Ok(piece) => match piece? {
                    None => return Ok(body.freeze()),
                    Some(piece) if body.len() + piece.len() > most => return Err(allowed),
                    Some(piece) => body.extend_from_slice(&piece),
                },
            }
        }
    }

    /// The body, which is JSON.
    pub(super) async fn json<T: DeserializeOwned>(mut self) -> Result<T, ClientError> {
        if !self.is("application/json") {
            return Err(ClientError::Unexpected(Unexpected::Body));
        }
        let body = self.bytes(self.answer_bytes).await.map_err(unasked)?;
        serde_json::from_slice(&body).map_err(|_| ClientError::Unexpected(Unexpected::Body))
    }

    async fn failure(mut self, status: StatusCode) -> ClientError {
        if status.is_redirection() {
            return ClientError::Unexpected(Unexpected::Redirect);
        }
        let unknown = ClientError::Unexpected(Unexpected::Status(status.as_u16()));
        if !self.is("application/problem+json") {
            return unknown;
        }
        let said = self.response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        // A longer time than a day means that nobody knows.
        let retry_after = said.filter(|seconds| *seconds <= 86_400).map(Duration::from_secs);
        match self.bytes(PROBLEM_BYTES).await.map_err(unasked) {
            Ok(body) => match Problem::read(status.as_u16(), &body, retry_after) {
                Some(problem) => ClientError::Problem(Box::new(problem)),
                None => unknown,
            },
            Err(error) => error,
        }
    }
}

/// Nobody asked for so many bytes: it is the server that sends more than any answer has.
fn unasked(error: ClientError) -> ClientError {
    match error {
        ClientError::TooLarge { .. } => ClientError::Unexpected(Unexpected::TooLarge),
        error => error,
    }
}
