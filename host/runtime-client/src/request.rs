//! One request and its response.
//!
//! [`Request`] adds what all requests have in common: token, workspace, timeout and retries. [`Response`] limits the size of a
//! body and checks its media type. The methods of [`Client`] in the other modules build one request each; a client of another
//! API over the same content can build its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};

use super::fault::transport_error;
use super::{BodyStream, Client, ClientError, ProblemDocument, UnexpectedResponse};

/// Maximum size of a problem document. The problem of a denied worker lists every refusal.
const MAX_PROBLEM_BYTES: usize = 4 << 20;

/// Media type of a blob.
pub(super) const OCTET_STREAM: &str = "application/octet-stream";

/// Header with which the Runtime recognises a repeated request.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request under construction.
#[must_use]
pub struct Request<'a> {
    client: &'a Client,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Body,
    timeout: Duration,
    /// Status outside 2xx that is a success for this request.
    accepted: Option<StatusCode>,
}

enum Body {
    Empty,
    Bytes(Bytes),
    /// A stream can be sent only once.
    Stream(Option<BodyStream>),
    /// A value that cannot be serialized as JSON. No request of this client has one.
    Unserializable,
}

/// A successful response whose body has not been read.
pub struct Response {
    response: reqwest::Response,
    deadline: Instant,
    timeout: Duration,
    max_json_bytes: usize,
}

impl Client {
    /// Creates a request. `path` holds the segments below the base URL, without percent-encoding.
    pub fn request<'a>(&self, method: Method, path: impl IntoIterator<Item = &'a str>) -> Request<'_> {
        let mut url = self.shared.base.clone();
        // Succeeds, because a URL with a host has a path.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if let Some(workspace) = &self.workspace {
            url.query_pairs_mut().append_pair("workspace", workspace.as_ref());
        }
        let headers = self.shared.authorization.iter().map(|value| (AUTHORIZATION, value.clone())).collect();
        Request {
            client: self,
            method,
            url,
            headers,
            body: Body::Empty,
            timeout: self.shared.timeouts.response,
            accepted: None,
        }
    }
}

impl Request<'_> {
    /// Adds a query parameter.
    pub fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.url.query_pairs_mut().append_pair(name, &value.to_string());
        self
    }

    /// Sets a header.
    pub fn header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    /// Sets the body.
    pub fn body(self, media_type: &'static str, body: Bytes) -> Self {
        let request = self.header(CONTENT_TYPE, HeaderValue::from_static(media_type));
        Self { body: Body::Bytes(body), ..request }
    }

    /// Sets the body to JSON.
    pub fn json(self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(json) => self.body("application/json", json.into()),
            Err(_) => Self { body: Body::Unserializable, ..self },
        }
    }

    /// Sets the body to a stream of `bytes` bytes.
    pub(super) fn stream(self, stream: BodyStream, bytes: u64) -> Self {
        let request = self.header(CONTENT_TYPE, HeaderValue::from_static(OCTET_STREAM)).header(CONTENT_LENGTH, bytes);
        Self { body: Body::Stream(Some(stream)), ..request }
    }

    /// Replaces the timeout, which is that of short requests by default.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Accepts one more status as success, if the body is JSON and not a problem document.
    pub(super) fn accept_status(self, status: StatusCode) -> Self {
        Self { accepted: Some(status), ..self }
    }

    /// Sends the request and parses the response as JSON.
    pub async fn send_json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        self.send().await?.json().await
    }

    /// Sends the request and ignores the body of the response.
    pub async fn send_ignore_body(self) -> Result<(), ClientError> {
        self.send().await.map(drop)
    }

    /// Sends the request, with retries. Returns an error for an error status and for an invalid response.
    pub async fn send(mut self) -> Result<Response, ClientError> {
        let retries = self.client.shared.retries;
        // All methods but POST are idempotent, POST is with a key, and a stream cannot be sent again.
        let is_idempotent = self.method != Method::POST || self.headers.contains_key(IDEMPOTENCY_KEY);
        let is_repeatable = is_idempotent && !matches!(self.body, Body::Stream(_));
        let mut retries_left = if is_repeatable { retries.max_retries } else { 0 };
        loop {
            let problem = match self.send_once().await {
                Err(ClientError::Problem(problem)) => problem,
                other => return other,
            };
            let wait = problem.retry_after().filter(|wait| *wait <= retries.max_wait && retries_left > 0);
            match wait.filter(|_| matches!(problem.status(), 429 | 503)) {
                Some(wait) => sleep(wait).await,
                None => return Err(ClientError::Problem(problem)),
            }
            retries_left -= 1;
        }
    }

    async fn send_once(&mut self) -> Result<Response, ClientError> {
        let timeout = self.timeout;
        let deadline = Instant::now() + timeout;
        let shared = &self.client.shared;
        let mut request = shared.http.request(self.method.clone(), self.url.clone()).headers(self.headers.clone());
        // Set when the stream of the caller fails, so that its failure can be told from one of the connection.
        let stream_failed = Arc::new(AtomicBool::new(false));
        match &mut self.body {
            Body::Empty => {}
            Body::Bytes(body) => request = request.body(body.clone()),
            Body::Stream(stream) => {
                let stream = stream.take().ok_or(ClientError::Source)?;
                let failed = stream_failed.clone();
                let stream = stream.inspect(move |piece| failed.store(piece.is_err(), Ordering::Relaxed));
                request = request.body(reqwest::Body::wrap_stream(stream));
            }
            Body::Unserializable => return Err(ClientError::Source),
        }
        let response = match timeout_at(deadline, request.send()).await {
            Err(_) => return Err(ClientError::TimedOut { within: timeout }),
            Ok(Err(_)) if stream_failed.load(Ordering::Relaxed) => return Err(ClientError::Source),
            Ok(Err(error)) => return Err(transport_error(&error, timeout)),
            Ok(Ok(response)) => response,
        };
        let response = Response { response, deadline, timeout, max_json_bytes: shared.max_response_bytes };
        let status = response.status();
        if status.is_success() || self.accepted == Some(status) && response.has_media_type("application/json") {
            Ok(response)
        } else {
            Err(response.into_error(status).await)
        }
    }
}

impl Response {
    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Returns `true` if the body has the media type, with any parameters.
    pub fn has_media_type(&self, media_type: &str) -> bool {
        let value = self.response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(';').next().is_some_and(|value| value.trim().eq_ignore_ascii_case(media_type))
    }

    /// Returns the next piece of the body. No timeout applies; the caller must set one.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        self.response.chunk().await.map_err(|error| transport_error(&error, self.timeout))
    }

    /// Reads the body of at most `max_bytes` bytes.
    pub(super) async fn bytes(&mut self, max_bytes: usize) -> Result<Bytes, ClientError> {
        let too_large = ClientError::TooLarge { allowed: max_bytes as u64 };
        if self.response.content_length().is_some_and(|announced| announced > max_bytes as u64) {
            return Err(too_large);
        }
        let mut body = BytesMut::new();
        loop {
            match timeout_at(self.deadline, self.piece()).await {
                Err(_) => return Err(ClientError::TimedOut { within: self.timeout }),
                Ok(piece) => match piece? {
                    None => return Ok(body.freeze()),
                    Some(piece) if body.len() + piece.len() > max_bytes => return Err(too_large),
                    Some(piece) => body.extend_from_slice(&piece),
                },
            }
        }
    }

    /// Reads the body and parses it as JSON.
    pub async fn json<T: DeserializeOwned>(mut self) -> Result<T, ClientError> {
        if !self.has_media_type("application/json") {
            return Err(ClientError::Unexpected(UnexpectedResponse::Body));
        }
        let body = self.bytes(self.max_json_bytes).await.map_err(unexpected_size)?;
        serde_json::from_slice(&body).map_err(|_| ClientError::Unexpected(UnexpectedResponse::Body))
    }

    /// Reads the error of a response with an error status.
    async fn into_error(mut self, status: StatusCode) -> ClientError {
        if status.is_redirection() {
            return ClientError::Unexpected(UnexpectedResponse::Redirect);
        }
        let unknown = ClientError::Unexpected(UnexpectedResponse::Status(status.as_u16()));
        if !self.has_media_type("application/problem+json") {
            return unknown;
        }
        let seconds: Option<u64> =
            self.response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        // Ignore a wait of more than a day. It makes no sense.
        let retry_after = seconds.filter(|seconds| *seconds <= 86_400).map(Duration::from_secs);
        match self.bytes(MAX_PROBLEM_BYTES).await.map_err(unexpected_size) {
            Ok(body) => match ProblemDocument::parse(status.as_u16(), &body, retry_after) {
                Some(problem) => ClientError::Problem(Box::new(problem)),
                None => unknown,
            },
            Err(error) => error,
        }
    }
}

/// Turns [`ClientError::TooLarge`], which means a limit of the caller, into the error of an oversized response.
fn unexpected_size(error: ClientError) -> ClientError {
    match error {
        ClientError::TooLarge { .. } => ClientError::Unexpected(UnexpectedResponse::TooLarge),
        error => error,
    }
}
