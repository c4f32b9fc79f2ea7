//! What an operator sees of requests: numbers, and one line of the log each. Neither holds anything
//! that a client sent but the route that it asked for, the id of its token and its workspace.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use bundles::WorkspaceId;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use super::Service;
use crate::token::TokenId;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWorkspace {
    workspace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reloaded {
    outcome: &'static str,
}

/// The numbers of one service.
#[derive(Debug)]
pub(crate) struct Observed {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    connections: Gauge,
    connections_ended: Counter,
    pub(super) event_streams: Gauge,
    reloads: Family<Reloaded, Counter>,
    stored_bytes: Family<OfWorkspace, Gauge<u64, AtomicU64>>,
    bundles: Family<OfWorkspace, Gauge<u64, AtomicU64>>,
    workers: Family<OfWorkspace, Gauge<u64, AtomicU64>>,
    running: Family<OfWorkspace, Gauge>,
    queued: Family<OfWorkspace, Gauge>,
}

fn histogram() -> Histogram {
    Histogram::new([0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0])
}

impl Default for Observed {
    fn default() -> Self {
        let mut this = Self {
            registry: Registry::with_prefix("yoi"),
            requests: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            connections: Gauge::default(),
            connections_ended: Counter::default(),
            event_streams: Gauge::default(),
            reloads: Family::default(),
            stored_bytes: Family::default(),
            bundles: Family::default(),
            workers: Family::default(),
            running: Family::default(),
            queued: Family::default(),
        };
        let registry = &mut this.registry;
        registry.register("http_requests", "Requests that were answered", this.requests.clone());
        let seconds = this.seconds.clone();
        registry.register_with_unit("http_request", "Time until the head of the answer", Unit::Seconds, seconds);
        registry.register("http_connections", "Connections that are open", this.connections.clone());
        let ended = this.connections_ended.clone();
        registry.register("http_connections_ended", "Quiet connections that were ended to make place", ended);
        registry.register("event_streams", "Streams of events that are open", this.event_streams.clone());
        registry.register("config_reloads", "Configs that were read while running", this.reloads.clone());
        let stored = this.stored_bytes.clone();
        registry.register_with_unit("workspace_stored", "What a workspace has stored", Unit::Bytes, stored);
        registry.register("workspace_bundles", "Bundles of a workspace", this.bundles.clone());
        registry.register("workspace_workers", "Workers of a workspace, stopped ones included", this.workers.clone());
        registry.register("workspace_running_calls", "Calls and resolutions that run", this.running.clone());
        registry.register("workspace_queued_calls", "Calls and resolutions that wait", this.queued.clone());
        this
    }
}

/// Counts something for as long as it is there.
#[derive(Debug)]
pub(crate) struct Counted(Gauge);

impl Counted {
    pub(super) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Observed {
    pub(super) fn connection(&self) -> Counted {
        Counted::new(&self.connections)
    }

    pub(super) fn connections_ended(&self) -> Counter {
        self.connections_ended.clone()
    }

    pub(super) fn reloaded(&self, outcome: &'static str) {
        self.reloads.get_or_create(&Reloaded { outcome }).inc();
    }

    /// All numbers, in the text form of OpenMetrics.
    pub(super) async fn text(&self, service: &Service) -> Result<String, crate::metadata::MetadataError> {
        let management = service.runtime.management();
        for workspace in management.tenants().await? {
            let usage = management.usage(&workspace).await?;
            let (running, queued) = management.load(&workspace);
            let label = OfWorkspace { workspace: workspace.to_string() };
            self.stored_bytes.get_or_create(&label).set(usage.bytes);
            self.bundles.get_or_create(&label).set(usage.bundles);
            self.workers.get_or_create(&label).set(usage.workers);
            self.running.get_or_create(&label).set(running.into());
            self.queued.get_or_create(&label).set(queued.into());
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        Ok(text)
    }
}

/// Who asks, as it turns out while a request is looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Who(Arc<(OnceLock<TokenId>, OnceLock<WorkspaceId>)>);

impl Who {
    pub(super) fn is_token(&self, token: &TokenId) {
        let _ = self.0.0.set(token.clone());
    }

    pub(super) fn is_workspace(&self, workspace: &WorkspaceId) {
        let _ = self.0.1.set(workspace.clone());
    }
}

/// The code of a problem, for the log.
#[derive(Debug, Clone)]
pub(super) struct Code(pub(super) String);

pub(super) async fn observe(State(service): State<Arc<Service>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = word(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let who = Who::default();
    request.extensions_mut().insert(who.clone());
    let response = next.run(request).await;
    let (took, status) = (began.elapsed(), response.status());
    let code = match response.extensions().get::<Code>() {
        Some(Code(code)) => code.as_str(),
        None => "ok",
    };
    let answered = Answered { method, route: route.clone(), status: status.as_u16(), code: code.to_owned() };
    service.observed.requests.get_or_create(&answered).inc();
    service.observed.seconds.get_or_create(&Route { route: route.clone() }).observe(took.as_secs_f64());
    let token = who.0.0.get().map(TokenId::as_str).unwrap_or_default();
    let workspace = who.0.1.get().map(WorkspaceId::as_str).unwrap_or_default();
    let (status, ms) = (status.as_u16(), took.as_millis() as u64);
    if status >= StatusCode::INTERNAL_SERVER_ERROR.as_u16() {
        tracing::warn!(target: "yoi::http", method, route, status, code, ms, token, workspace, "answered");
    } else {
        tracing::info!(target: "yoi::http", method, route, status, code, ms, token, workspace, "answered");
    }
    response
}

/// A method is a word of the client's; only known ones are counted.
fn word(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "POST" => "POST",
        "DELETE" => "DELETE",
        _ => "other",
    }
}
