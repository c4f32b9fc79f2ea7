//! Limits concurrent connections: in total, per token and per workspace.
//!
//! A connection is idle until a request on it is authenticated, and again once its answer is sent. In between it is
//! in use, and counts against the shares of the request's token and workspace. A request above a share is refused, so
//! one token cannot occupy all places.
//!
//! A new connection that finds no place evicts another one: the one that has been idle for longest, or else a stalled
//! one of the token or workspace that uses most of its share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

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
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ServerLimits;

/// The connections of a service. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    places: Arc<Semaphore>,
    table: Arc<Mutex<Table>>,
    became_idle: Arc<Notify>,
    evicted: Counter,
    began: Instant,
    limit: u32,
    /// Connections that a token or workspace without a share of its own may have in use.
    share: u32,
}

/// A token or workspace that connections and event streams count against.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The token with this id.
    Token(Box<str>),
    /// The workspace with this id.
    Workspace(Box<str>),
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<u64, Entry>,
    /// Idle connections, the one that has been idle for longest first.
    idle: BTreeMap<u64, u64>,
    usage: HashMap<Owner, Usage>,
    /// Counts up; numbers connections and orders the idle ones.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    state: State,
    owners: Vec<Owner>,
    /// Milliseconds after [`Connections::began`] at which bytes last moved.
    moved: Arc<AtomicU64>,
    evicted: CancellationToken,
}

/// Connections in use of one owner.
#[derive(Debug, Default)]
struct Usage {
    /// The share of the owner, or the common one where that is larger: an owner with a small share is not evicted
    /// before others for using all of it.
    weight: u32,
    connections: BTreeSet<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Idle since this tick of [`Table::clock`].
    Idle(u64),
    /// An authenticated request is being answered.
    InUse,
    /// The answer is complete. A part of it may still have to be sent.
    Answered,
    Evicted,
}

/// Error returned for a request that would put its owner above its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareReached {
    /// Connections that the owner may have in use.
    pub share: u32,
}

/// Time without a byte read or written after which a connection in use counts as stalled.
const STALLED: Duration = Duration::from_secs(1);

/// Interval at which a new connection without a place looks for stalled connections.
const RETRY: Duration = Duration::from_millis(100);

impl Connections {
    /// Allows as many connections as the limits say, at least one. `evicted` counts evictions.
    pub(crate) fn new(limits: &ServerLimits, evicted: Counter) -> Self {
        let limit = limits.connections.max(1);
        Self {
            places: Arc::new(Semaphore::new(limit as usize)),
            table: Arc::default(),
            became_idle: Arc::default(),
            evicted,
            began: Instant::now(),
            limit,
            share: limits.connection_share(),
        }
    }

    /// Takes a place for a new connection, which is idle at first. Evicts another connection if all places are
    /// taken; waits while there is none to evict.
    pub(crate) async fn take(&self) -> Option<Arc<Connection>> {
        let place = loop {
            if let Ok(place) = self.places.clone().try_acquire_owned() {
                break place;
            }
            let became_idle = self.became_idle.notified();
            let place = self.places.clone().acquire_owned();
            if self.evict() {
                self.evicted.inc();
                break place.await.ok()?;
            }
            tokio::select! {
                biased;
                place = place => break place.ok()?,
                () = became_idle => {}
                () = tokio::time::sleep(RETRY) => {}
            }
        };
        let (moved, evicted) = (Arc::new(AtomicU64::new(self.elapsed_ms())), CancellationToken::new());
        let id = self.table().add(moved.clone(), evicted.clone());
        Some(Arc::new(Connection { of: self.clone(), id, moved, evicted, _place: place }))
    }

    /// Evicts the connection that has been idle for longest, or a stalled one.
    fn evict(&self) -> bool {
        let before = self.elapsed_ms().checked_sub(STALLED.as_millis() as u64);
        let mut table = self.table();
        let victim = table.idle.first_key_value().map(|(_, id)| *id);
        match victim.or_else(|| table.stalled(before?)) {
            Some(id) => table.evict(id),
            None => false,
        }
    }

    /// Returns the connections that a token may have in use: its own share, or the common one.
    fn share_of(&self, own: Option<NonZeroU32>) -> u32 {
        own.map_or(self.share, |own| own.get().min(self.limit))
    }

    fn elapsed_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn add(&mut self, moved: Arc<AtomicU64>, evicted: CancellationToken) -> u64 {
        let id = self.tick();
        self.idle.insert(id, id);
        self.entries.insert(id, Entry { state: State::Idle(id), owners: Vec::new(), moved, evicted });
        id
    }

    /// Returns the connection that has been stalled for longest, of the owner that uses most of its share among
    /// those that have stalled ones.
    fn stalled(&self, before: u64) -> Option<u64> {
        let mut usage: Vec<&Usage> = self.usage.values().collect();
        usage.sort_by_key(|usage| {
            std::cmp::Reverse((usage.connections.len() as u64).saturating_mul(1 << 32) / u64::from(usage.weight.max(1)))
        });
        usage.into_iter().find_map(|usage| {
            let stalled = usage.connections.iter().filter_map(|id| {
                let moved = self.entries.get(id)?.moved.load(Ordering::Relaxed);
                (moved <= before).then_some((moved, *id))
            });
            stalled.min().map(|(_, id)| id)
        })
    }

    fn evict(&mut self, id: u64) -> bool {
        self.release(id);
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        entry.state = State::Evicted;
        entry.evicted.cancel();
        true
    }

    /// Takes a connection out of all indexes.
    fn release(&mut self, id: u64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let State::Idle(since) = entry.state {
            self.idle.remove(&since);
        }
        for owner in entry.owners.drain(..) {
            if let Some(usage) = self.usage.get_mut(&owner) {
                usage.connections.remove(&id);
                if usage.connections.is_empty() {
                    self.usage.remove(&owner);
                }
            }
        }
    }

    /// Checks that an owner with `share` connections may have this one in use.
    fn has_room(&self, id: u64, owner: &Owner, share: u32) -> Result<(), ShareReached> {
        match self.usage.get(owner).map(|usage| &usage.connections) {
            Some(held) if held.len() >= share as usize && !held.contains(&id) => Err(ShareReached { share }),
            _ => Ok(()),
        }
    }

    fn count(&mut self, id: u64, owner: Owner, weight: u32) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let usage = self.usage.entry(owner.clone()).or_default();
        usage.weight = weight;
        if usage.connections.insert(id) {
            entry.owners.push(owner);
        }
    }
}

/// A connection. Dropping it frees its place.
#[derive(Debug)]
pub(crate) struct Connection {
    of: Connections,
    id: u64,
    moved: Arc<AtomicU64>,
    evicted: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Completes when the connection must be closed.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// Marks the connection as in use by a token. Returns `None` if it is evicted.
    fn begin(&self, token: &str, own_share: Option<NonZeroU32>) -> Option<Result<(), ShareReached>> {
        let share = self.of.share_of(own_share);
        let mut table = self.of.table();
        let state = table.entries.get(&self.id).map(|entry| entry.state);
        if matches!(state, None | Some(State::Evicted)) {
            return None;
        }
        let owner = Owner::Token(token.into());
        if let Err(reached) = table.has_room(self.id, &owner, share) {
            return Some(Err(reached));
        }
        // Releases the counts of an earlier request too, whose answer may not be sent yet.
        table.release(self.id);
        if let Some(entry) = table.entries.get_mut(&self.id) {
            entry.state = State::InUse;
        }
        table.count(self.id, owner, share.max(self.of.share));
        Some(Ok(()))
    }

    /// Counts the connection, which is in use, against a workspace as well.
    fn count(&self, workspace: &str, own_share: Option<NonZeroU32>) -> Result<(), ShareReached> {
        // A token with a larger share has it in each of its workspaces.
        let share = self.of.share_of(own_share).max(self.of.share);
        let mut table = self.of.table();
        if table.entries.get(&self.id).is_none_or(|entry| entry.state != State::InUse) {
            return Ok(());
        }
        let owner = Owner::Workspace(workspace.into());
        table.has_room(self.id, &owner, share)?;
        table.count(self.id, owner, share);
        Ok(())
    }

    fn set_answered(&self) {
        let mut table = self.of.table();
        if let Some(entry) = table.entries.get_mut(&self.id).filter(|entry| entry.state == State::InUse) {
            entry.state = State::Answered;
        }
    }

    /// Marks the connection as idle if its answer is complete: all of it is sent.
    fn set_flushed(&self) {
        let mut table = self.of.table();
        if table.entries.get(&self.id).is_none_or(|entry| entry.state != State::Answered) {
            return;
        }
        table.release(self.id);
        let since = table.tick();
        table.idle.insert(since, self.id);
        if let Some(entry) = table.entries.get_mut(&self.id) {
            entry.state = State::Idle(since);
        }
        self.of.became_idle.notify_one();
    }

    fn set_moved(&self) {
        self.moved.store(self.of.elapsed_ms(), Ordering::Relaxed);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut table = self.of.table();
        table.release(self.id);
        table.entries.remove(&self.id);
    }
}

/// The connection of a request, in the extensions of the request.
#[derive(Debug, Clone)]
pub struct RequestConnection(Arc<Connection>);

impl RequestConnection {
    /// Marks the connection as in use by a token until the response is sent. `own_share` replaces the common share. Never
    /// completes if the connection was evicted.
    pub async fn mark_authenticated(&self, token: &str, own_share: Option<NonZeroU32>) -> Result<(), ShareReached> {
        match self.0.begin(token, own_share) {
            Some(counted) => counted,
            None => std::future::pending().await,
        }
    }

    /// Counts the connection, which is in use, against the share of a workspace as well. `own_share` is the one of the token.
    pub fn mark_workspace(&self, workspace: &str, own_share: Option<NonZeroU32>) -> Result<(), ShareReached> {
        self.0.count(workspace, own_share)
    }
}

/// Guard of a request that is being answered.
#[derive(Debug)]
struct AnswerGuard(Arc<Connection>);

impl Drop for AnswerGuard {
    fn drop(&mut self) {
        self.0.set_answered();
    }
}

/// Answers the requests of one connection.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionService {
    pub(crate) router: TowerToHyperService<Router>,
    pub(crate) connection: Arc<Connection>,
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let guard = AnswerGuard(self.connection.clone());
        request.extensions_mut().insert(RequestConnection(self.connection.clone()));
        let answer = self.router.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| Answer { body, _guard: guard })) })
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Body,
    _guard: AnswerGuard,
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

/// The stream of a connection, which notes when bytes move and when all of them are written: hyper flushes it then.
#[derive(Debug)]
pub(crate) struct TrackedIo<Io> {
    pub(crate) io: Pin<Box<Io>>,
    pub(crate) connection: Arc<Connection>,
}

impl<Io> TrackedIo<Io> {
    fn noted(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(bytes)) if bytes > 0) {
            self.connection.set_moved();
        }
        written
    }
}

impl<Io: AsyncRead> AsyncRead for TrackedIo<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = self.io.as_mut().poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.connection.set_moved();
        }
        read
    }
}

impl<Io: AsyncWrite> AsyncWrite for TrackedIo<Io> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.io.as_mut().poll_write(context, bytes);
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.io.as_mut().poll_write_vectored(context, pieces);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.io.as_mut().poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.connection.set_flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(context)
    }
}
