//! Metrics and the request log. Both hold nothing that a client sent, except the route, the id of its token and its
//! workspace.

use std::sync::{Arc, OnceLock};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use runtime_api::Code;
use tokio::time::Instant;

use crate::HttpEdge;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabelSet {
    method: &'static str,
    route: String,
    status: u16,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabelSet {
    route: String,
}

/// Metrics of one HTTP server.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Family<RequestLabelSet, Counter>,
    seconds: Family<RouteLabelSet, Histogram, fn() -> Histogram>,
    pub(crate) connections: Gauge,
    pub(crate) connections_evicted: Counter,
}

fn histogram() -> Histogram {
    Histogram::new([0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0])
}

impl Default for HttpMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            connections: Gauge::default(),
            connections_evicted: Counter::default(),
        }
    }
}

impl HttpMetrics {
    /// Adds the metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("http_requests", "Answered requests", self.requests.clone());
        let seconds = self.seconds.clone();
        registry.register_with_unit("http_request", "Time until the head of the response", Unit::Seconds, seconds);
        registry.register("http_connections", "Open connections", self.connections.clone());
        let evicted = self.connections_evicted.clone();
        registry.register("http_connections_ended", "Idle or stalled connections that were evicted", evicted);
    }
}

/// Counts one in a gauge until it is dropped.
#[derive(Debug)]
pub struct GaugeGuard(Gauge);

impl GaugeGuard {
    /// Adds one to the gauge.
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Labels of a request for the request log. A route finds it in the request's extensions and sets the labels as soon as it
/// knows them.
#[derive(Debug, Clone, Default)]
pub struct RequestLabels(Arc<(OnceLock<String>, OnceLock<String>)>);

impl RequestLabels {
    /// Sets the id of the token. Only the first call has an effect.
    pub fn set_token(&self, id: &str) {
        let _ = self.0.0.set(id.to_owned());
    }

    /// Sets the workspace. Only the first call has an effect.
    pub fn set_workspace(&self, workspace: &str) {
        let _ = self.0.1.set(workspace.to_owned());
    }
}

/// Error code of a response, for the request log.
#[derive(Debug, Clone)]
pub(crate) struct ResponseCode(pub(crate) Code);

pub(crate) async fn observe(State(edge): State<Arc<HttpEdge>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = known_method(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let labels = RequestLabels::default();
    request.extensions_mut().insert(labels.clone());
    let response = next.run(request).await;
    let (elapsed, status) = (began.elapsed(), response.status());
    let code = match response.extensions().get::<ResponseCode>() {
        Some(ResponseCode(code)) => code.as_str(),
        None => "ok",
    };
    let label_set = RequestLabelSet { method, route: route.clone(), status: status.as_u16(), code: code.to_owned() };
    edge.metrics.requests.get_or_create(&label_set).inc();
    edge.metrics.seconds.get_or_create(&RouteLabelSet { route: route.clone() }).observe(elapsed.as_secs_f64());
    let token = labels.0.0.get().map(String::as_str).unwrap_or_default();
    let workspace = labels.0.1.get().map(String::as_str).unwrap_or_default();
    let (status, ms) = (status.as_u16(), elapsed.as_millis() as u64);
    if status >= StatusCode::INTERNAL_SERVER_ERROR.as_u16() {
        tracing::warn!(target: "yoi::http", method, route, status, code, ms, token, workspace, "answered");
    } else {
        tracing::info!(target: "yoi::http", method, route, status, code, ms, token, workspace, "answered");
    }
    response
}

/// Returns the method, or `other` for one that no route has: the client chooses the word, and each distinct word would take
/// memory in the metrics.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "POST" => "POST",
        "DELETE" => "DELETE",
        _ => "other",
    }
}
