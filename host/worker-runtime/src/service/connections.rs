//! Places for connections, and who goes when there is none for another one: the connection that has had nothing to be
//! answered for longest. What counts is asked with a token, and counts until all of its answer is on its way: so who
//! opens connections without one takes places from himself, and keeps out only those whose requests take longer to
//! come in than he takes to open as many connections as there are places.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use futures_util::future::BoxFuture;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The connections of a service. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    places: Arc<Semaphore>,
    quiet: Arc<Mutex<Quiet>>,
    became_quiet: Arc<Notify>,
    ended: Counter,
}

/// Connections that have nothing to be answered, by when they had last.
#[derive(Debug, Default)]
struct Quiet {
    since: BTreeMap<u64, Weak<Connection>>,
    /// Counts up: only the order matters.
    now: u64,
}

/// A connection. When it is dropped there is a place for another one.
#[derive(Debug)]
pub(super) struct Connection {
    of: Connections,
    /// Held before what is quiet, where both are.
    state: Mutex<State>,
    gone: CancellationToken,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Since then.
    Quiet(u64),
    /// A request with a token is being answered.
    Asked,
    /// Its answer is made, and some of it may have to be sent still.
    Answered,
    /// It is ended.
    Gone,
}

impl Connections {
    /// At most so many, one at the least. `ended` counts those that had to go.
    pub(super) fn new(most: u32, ended: Counter) -> Self {
        let places = Arc::new(Semaphore::new(most.max(1) as usize));
        Self { places, quiet: Arc::default(), became_quiet: Arc::default(), ended }
    }

    /// Takes a connection, which is quiet at first. Where there is no place, the quietest goes; where none is quiet,
    /// this waits until one is.
    pub(super) async fn take(&self) -> Option<Arc<Connection>> {
        let place = loop {
            if let Ok(place) = self.places.clone().try_acquire_owned() {
                break place;
            }
            let became_quiet = self.became_quiet.notified();
            let place = self.places.clone().acquire_owned();
            if self.end_quietest() {
                // It gives its place back. One is enough.
                self.ended.inc();
                break place.await.ok()?;
            }
            tokio::select! {
                biased;
                place = place => break place.ok()?,
                () = became_quiet => {}
            }
        };
        let of = self.clone();
        let mut quiet = self.quiet();
        quiet.now += 1;
        let since = quiet.now;
        let connection = Arc::new(Connection {
            of,
            state: Mutex::new(State::Quiet(since)),
            gone: CancellationToken::new(),
            _place: place,
        });
        quiet.since.insert(since, Arc::downgrade(&connection));
        Some(connection)
    }

    fn end_quietest(&self) -> bool {
        loop {
            let Some((since, quietest)) = self.quiet().since.pop_first() else { return false };
            // It may have asked for something since, or be gone.
            if quietest.upgrade().is_some_and(|quietest| quietest.end(since)) {
                return true;
            }
        }
    }

    fn quiet(&self) -> MutexGuard<'_, Quiet> {
        self.quiet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Ends when the connection must go.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection, if it has been quiet since then.
    fn end(&self, since: u64) -> bool {
        let mut state = self.state();
        let is_quiet = *state == State::Quiet(since);
        if is_quiet {
            *state = State::Gone;
            self.gone.cancel();
        }
        is_quiet
    }

    /// Whether it may be answered: not where it is gone.
    fn begin(&self) -> bool {
        let mut state = self.state();
        match *state {
            State::Quiet(since) => drop(self.of.quiet().since.remove(&since)),
            State::Asked | State::Answered => {}
            State::Gone => return false,
        }
        *state = State::Asked;
        true
    }

    fn answered(&self) {
        let mut state = self.state();
        if *state == State::Asked {
            *state = State::Answered;
        }
    }

    /// Nothing is left to be sent.
    fn flushed(self: &Arc<Self>) {
        let mut state = self.state();
        if *state == State::Answered {
            let mut quiet = self.of.quiet();
            quiet.now += 1;
            let since = quiet.now;
            quiet.since.insert(since, Arc::downgrade(self));
            *state = State::Quiet(since);
            self.of.became_quiet.notify_one();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let State::Quiet(since) = *self.state() {
            self.of.quiet().since.remove(&since);
        }
    }
}

/// The connection that a request came on.
#[derive(Debug, Clone)]
pub(super) struct Asking(Arc<Connection>);

impl Asking {
    /// The request has a token: its connection stays until it is answered. Never ready where that has been ended.
    pub(super) async fn is_of_somebody(&self) {
        if !self.0.begin() {
            std::future::pending().await
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
struct Answered(Arc<Connection>);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// Answers what is asked on one connection.
#[derive(Debug, Clone)]
pub(super) struct Answering {
    pub(super) router: TowerToHyperService<Router>,
    pub(super) connection: Arc<Connection>,
}

impl hyper::service::Service<Request<Incoming>> for Answering {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let answered = Answered(self.connection.clone());
        request.extensions_mut().insert(Asking(self.connection.clone()));
        let answer = self.router.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| Answer { body, _answered: answered })) })
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    _answered: Answered,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a connection is read from and written to. Hyper flushes it when it has written all that there was.
#[derive(Debug)]
pub(super) struct Flushed<Io> {
    pub(super) io: Pin<Box<Io>>,
    pub(super) connection: Arc<Connection>,
}

impl<Io: AsyncRead> AsyncRead for Flushed<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_read(context, buffer)
    }
}

impl<Io: AsyncWrite> AsyncWrite for Flushed<Io> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.io.as_mut().poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.connection.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(context)
    }
}
