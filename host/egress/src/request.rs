//! HTTP exchanges: one request and one response over a connection of their own.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use component_host::host_api::{
    IncomingResponse, Method, OutgoingRequest, RequestFailure, Requests, Side, Unreachable,
};
use error_code::Code;
use host_policy::EgressRequest;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::access::{Access, NetworkAccess, PermittedConnection};
use crate::credential::SecretEcho;
use crate::failure::Failure;
use crate::limits::{EgressLimits, size};
use crate::tls::{Protocol, Stream, is_http2};

/// Smallest buffer of the HTTP/1.1 implementation.
const MIN_HEAD_BYTES: usize = 8192;

#[async_trait]
impl Requests for NetworkAccess {
    async fn send(&self, request: OutgoingRequest) -> Result<IncomingResponse, RequestFailure> {
        let access = self.0.clone();
        // Checked on the thread of the guest, whose processor time is limited.
        let checked = access.checked_request(&request)?;
        let exchange = self.0.shared.tasks.spawn(async move { access.exchange(checked, request).await });
        Ok(AbortOnDrop(exchange).join().await?)
    }
}

/// A task that ends when its owner stops waiting.
pub(crate) struct AbortOnDrop<T>(pub(crate) JoinHandle<T>);

impl<T> AbortOnDrop<Result<T, Failure>> {
    pub(crate) async fn join(mut self) -> Result<T, Failure> {
        // The task ends early only if the runtime shuts down.
        (&mut self.0).await.unwrap_or(Err(Failure::Cancelled))
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn method(method: Method) -> bundles::Method {
    match method {
        Method::Get => bundles::Method::Get,
        Method::Head => bundles::Method::Head,
        Method::Post => bundles::Method::Post,
        Method::Put => bundles::Method::Put,
        Method::Patch => bundles::Method::Patch,
        Method::Delete => bundles::Method::Delete,
    }
}

impl Access {
    fn checked_request(&self, outgoing: &OutgoingRequest) -> Result<EgressRequest, Failure> {
        self.begin()?;
        let allowed = self.shared.limits.request_bytes;
        if outgoing.body.len() as u64 > allowed {
            return Err(Failure::too_large(Side::Sent, allowed));
        }
        Ok(EgressRequest::request(method(outgoing.method), &outgoing.url, outgoing.headers.clone())?)
    }

    async fn exchange(&self, request: EgressRequest, outgoing: OutgoingRequest) -> Result<IncomingResponse, Failure> {
        let limits = &self.shared.limits;
        let longest = Duration::from_millis(limits.exchange_ms);
        let deadline = Instant::now() + outgoing.timeout.map_or(longest, |wanted| wanted.min(longest));
        let _place = self.quota.request()?;
        let credential = outgoing.credential.as_deref();
        let dialled = self.connect(request, Protocol::Http, credential, &outgoing.headers, deadline).await?;
        let PermittedConnection { stream, permit, secret } = dialled;
        let is_http2 = is_http2(&stream);
        let url = permit.permitted.request().url();
        let mut headers = HeaderMap::new();
        for (name, value) in &outgoing.headers {
            headers.append(header_name(name)?, header_value(value)?);
        }
        let echo = self.sent_secrets(secret.as_ref());
        if let Some(secret) = secret {
            headers.insert(secret.name, secret.value);
        }
        // In HTTP/2, the URL has the host.
        let target = if is_http2 {
            url.as_str()
        } else {
            headers.insert(header::HOST, header_value(&authority(url))?);
            &url[url::Position::BeforePath..]
        };
        let mut request = Request::builder()
            .method(method(outgoing.method).as_str())
            .uri(target)
            .body(Full::new(Bytes::from(outgoing.body)))
            .map_err(|_| Failure::InvalidUrl("the URL cannot be sent".to_owned()))?;
        *request.headers_mut() = headers;
        let exchange = async {
            match is_http2 {
                true => over_http2(stream, request, limits, &echo).await,
                false => over_http1(stream, request, limits, &echo).await,
            }
        };
        let exchange = self.while_permitted(|| self.check_again(&permit), exchange);
        timeout_at(deadline, exchange).await.map_err(|_| Failure::TimedOut)?
    }
}

/// Returns host and port of a URL, as in the header `host`.
pub(crate) fn authority(url: &url::Url) -> String {
    url[url::Position::BeforeHost..url::Position::AfterPort].to_owned()
}

/// The policy has checked names and values, so that an error is not expected.
pub(crate) fn header_name(name: &str) -> Result<HeaderName, Failure> {
    let invalid = |_| Failure::denied(Code::InvalidHeaderName, "invalid header name");
    HeaderName::from_bytes(name.as_bytes()).map_err(invalid)
}

pub(crate) fn header_value(value: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(value).map_err(|_| Failure::denied(Code::InvalidHeaderValue, "invalid header value"))
}

/// Returns the settings of HTTP/1.1 on the client's side, which the handshake of a WebSocket uses too.
pub(crate) fn http1(limits: &EgressLimits) -> hyper::client::conn::http1::Builder {
    let mut builder = hyper::client::conn::http1::Builder::new();
    let bytes = size(limits.response_header_bytes).max(MIN_HEAD_BYTES);
    builder.max_headers(size(limits.response_headers)).max_buf_size(bytes);
    builder
}

async fn over_http1(
    stream: Stream,
    request: Request<Full<Bytes>>,
    limits: &EgressLimits,
    echo: &SecretEcho,
) -> Result<IncomingResponse, Failure> {
    let failed = |error: hyper::Error| Failure::of_http(&error, limits.response_header_bytes);
    let (mut sender, connection) = http1(limits).handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let exchange = async {
        let response = first_byte(limits, sender.send_request(request)).await?.map_err(failed)?;
        read(response, limits, echo).await
    };
    driven(exchange, connection).await
}

async fn over_http2(
    stream: Stream,
    request: Request<Full<Bytes>>,
    limits: &EgressLimits,
    echo: &SecretEcho,
) -> Result<IncomingResponse, Failure> {
    let failed = |error: hyper::Error| Failure::of_http(&error, limits.response_header_bytes);
    let tasks = Tasks::default();
    let mut builder = hyper::client::conn::http2::Builder::new(tasks.executor());
    builder.max_header_list_size(limits.response_header_bytes);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let exchange = async {
        let response = first_byte(limits, sender.send_request(request)).await?.map_err(failed)?;
        read(response, limits, echo).await
    };
    driven(exchange, connection).await
}

/// Waits for the head of a response.
pub(crate) async fn first_byte<T>(limits: &EgressLimits, response: impl Future<Output = T>) -> Result<T, Failure> {
    let wait = Duration::from_millis(limits.first_byte_ms);
    tokio::time::timeout(wait, response).await.map_err(|_| Failure::TimedOut)
}

/// Runs an exchange together with its connection, which moves the bytes.
pub(crate) async fn driven<T, E>(
    exchange: impl Future<Output = Result<T, Failure>>,
    connection: impl Future<Output = Result<(), E>>,
) -> Result<T, Failure> {
    let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
    tokio::select! {
        biased;
        result = &mut exchange => return result,
        // Also an error of the connection reaches the exchange.
        _ = &mut connection => {}
    }
    exchange.await
}

/// Reads a response within the limits.
async fn read(
    response: Response<Incoming>,
    limits: &EgressLimits,
    echo: &SecretEcho,
) -> Result<IncomingResponse, Failure> {
    let (head, body) = response.into_parts();
    if head.status == hyper::StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failure::Unreachable(Unreachable::Protocol));
    }
    check_headers(&head.headers, limits, echo)?;
    let is_stream = |value: &HeaderValue| {
        let kind = value.as_bytes().split(|byte| matches!(byte, b';' | b',')).next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    };
    if head.headers.get_all(header::CONTENT_TYPE).iter().any(is_stream) {
        let message = "the response is an event stream, but a request has a single response";
        return Err(Failure::denied(Code::EventStreamRefused, message));
    }
    let body = read_body(body, limits).await?;
    if echo.is_in(&body) {
        return Err(Failure::secret_echoed());
    }
    let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    Ok(IncomingResponse { status: head.status.as_u16(), headers: headers.collect(), body })
}

/// Checks the number and the size of the headers of a response, and that none contains the secret.
pub(crate) fn check_headers(headers: &HeaderMap, limits: &EgressLimits, echo: &SecretEcho) -> Result<(), Failure> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > size(limits.response_headers) || bytes as u64 > u64::from(limits.response_header_bytes) {
        return Err(Failure::too_large(Side::Received, limits.response_header_bytes.into()));
    }
    // A name in HTTP is not case-sensitive, so a secret in a name would come in lower case.
    match headers.iter().any(|(name, value)| echo.is_in(value.as_bytes()) || echo.is_in(name.as_str().as_bytes())) {
        true => Err(Failure::secret_echoed()),
        false => Ok(()),
    }
}

async fn read_body(mut body: Incoming, limits: &EgressLimits) -> Result<Vec<u8>, Failure> {
    let too_large = || Failure::too_large(Side::Received, limits.response_bytes);
    if body.size_hint().lower() > limits.response_bytes {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::of_http(&error, limits.response_header_bytes))?;
        let Ok(data) = frame.into_data() else { continue };
        if (bytes.len() + data.len()) as u64 > limits.response_bytes {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Tasks of an HTTP/2 connection. They end when it is dropped.
#[derive(Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

#[derive(Clone)]
struct TaskExecutor(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    fn executor(&self) -> TaskExecutor {
        TaskExecutor(self.0.clone())
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        // A task holds the executor and with it the set, so that dropping the set alone would end nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

impl<F> hyper::rt::Executor<F> for TaskExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(async move {
            task.await;
        });
    }
}
