//! Places for connections, and who goes when there is none for another one: the connection that has had nothing to be
//! answered for longest. So who opens many and asks for nothing takes places from himself, and from others only while
//! they are as quiet.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use futures_util::future::BoxFuture;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The connections of a service. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    places: Arc<Semaphore>,
    quiet: Arc<Mutex<Quiet>>,
    became_quiet: Arc<Notify>,
}

/// Connections that have nothing to be answered, by when they had last.
#[derive(Debug, Default)]
struct Quiet {
    since: BTreeMap<u64, CancellationToken>,
    /// Counts up: only the order matters.
    now: u64,
}

/// A connection. When it is dropped there is a place for another one.
#[derive(Debug)]
pub(super) struct Connection {
    of: Connections,
    gone: CancellationToken,
    state: Mutex<State>,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum State {
    /// Since then.
    Quiet(u64),
    /// So many requests are being answered.
    Asked(usize),
}

impl Connections {
    pub(super) fn new(most: u32) -> Self {
        let places = Arc::new(Semaphore::new(most.max(1) as usize));
        Self { places, quiet: Arc::default(), became_quiet: Arc::default() }
    }

    /// Takes a connection, which is quiet at first. Where there is no place, the quietest goes; where none is quiet,
    /// this waits until one is. Says, too, whether one had to go.
    pub(super) async fn take(&self) -> Option<(Arc<Connection>, bool)> {
        let mut had_to_go = false;
        let place = loop {
            if let Ok(place) = self.places.clone().try_acquire_owned() {
                break place;
            }
            let became_quiet = self.became_quiet.notified();
            had_to_go = self.end_quietest();
            let place = self.places.clone().acquire_owned();
            if had_to_go {
                // It gives its place back. One is enough.
                break place.await.ok()?;
            }
            tokio::select! {
                biased;
                place = place => break place.ok()?,
                () = became_quiet => {}
            }
        };
        let gone = CancellationToken::new();
        let since = self.quiet().begin(gone.clone());
        let state = Mutex::new(State::Quiet(since));
        Some((Arc::new(Connection { of: self.clone(), gone, state, _place: place }), had_to_go))
    }

    fn end_quietest(&self) -> bool {
        let quietest = self.quiet().since.pop_first();
        quietest.is_some_and(|(_, gone)| {
            gone.cancel();
            true
        })
    }

    fn quiet(&self) -> MutexGuard<'_, Quiet> {
        self.quiet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Quiet {
    fn begin(&mut self, gone: CancellationToken) -> u64 {
        self.now += 1;
        self.since.insert(self.now, gone);
        self.now
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

    fn asked(self: &Arc<Self>) -> Asked {
        let mut state = self.state();
        *state = match *state {
            State::Quiet(since) => {
                self.of.quiet().since.remove(&since);
                State::Asked(1)
            }
            State::Asked(requests) => State::Asked(requests + 1),
        };
        drop(state);
        Asked(self.clone())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let State::Quiet(since) = *self.state() {
            self.of.quiet().since.remove(&since);
        }
    }
}

/// A request that is being answered, until all of its answer was taken.
#[derive(Debug)]
struct Asked(Arc<Connection>);

impl Drop for Asked {
    fn drop(&mut self) {
        let mut state = self.0.state();
        *state = match *state {
            State::Asked(requests) if requests > 1 => State::Asked(requests - 1),
            State::Asked(_) => {
                let since = self.0.of.quiet().begin(self.0.gone.clone());
                self.0.of.became_quiet.notify_one();
                State::Quiet(since)
            }
            State::Quiet(since) => State::Quiet(since),
        };
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

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let asked = self.connection.asked();
        let answered = self.router.call(request);
        Box::pin(async move { Ok(answered.await?.map(|body| Answer { body, _asked: asked })) })
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    _asked: Asked,
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
