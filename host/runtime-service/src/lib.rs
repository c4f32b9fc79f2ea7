//! The Runtime's HTTP API.
//!
//! A handler extracts, calls the library and maps the result. Errors are [`ApiProblem`]s. Before a handler runs, `http-edge`
//! checks host, origin and limits, and the extractors of `access` check token, rate, scope and workspace.
//! [`RuntimeService::serve`] serves the routes. [`RuntimeService::router`] returns them, for programs that serve them together
//! with other routes.

pub mod access;
mod blobs;
mod bundles;
mod download;
pub mod events;
pub mod extract;
mod garbage;
mod health;
mod metrics;
mod openapi;
mod problem;
mod resolvers;
mod status;
mod tokens;
mod workers;

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::serve::Listener;
use http_edge::{HttpEdge, TokenRates};
use runtime_api::Code;
use runtime_api::token::Scope;
use worker_runtime::Runtime;
use worker_runtime::token::{Entropy, SystemEntropy};

pub use http_edge::{Hosts, ServerLimits, ShutdownSummary};
pub use openapi::{SecuritySchemes, add_problem_responses, content_routes, openapi_json};
pub use problem::ApiProblem;

/// Options of a service.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// Allowed hosts and origins.
    pub hosts: Hosts,
    /// Limits of the server.
    pub limits: ServerLimits,
    /// Source of randomness for tokens.
    pub entropy: Arc<dyn Entropy>,
    /// Returns the name of a scope in error messages.
    pub scope_name: fn(Scope) -> &'static str,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            hosts: Hosts::default(),
            limits: ServerLimits::default(),
            entropy: Arc::new(SystemEntropy),
            scope_name: Scope::as_str,
        }
    }
}

/// A Runtime with its routes. Clones share one service.
#[derive(Debug, Clone)]
pub struct RuntimeService(Arc<Service>);

/// State of the routes. Routes of other APIs have it in their own state, for the extractors of [`access`].
#[derive(Debug)]
pub struct Service {
    pub(crate) runtime: Runtime,
    pub(crate) edge: Arc<HttpEdge>,
    pub(crate) rates: TokenRates,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) scope_name: fn(Scope) -> &'static str,
    pub(crate) metrics: metrics::ServiceMetrics,
    pub(crate) streams: events::StreamLimiter,
    /// Limits concurrent downloads of components, which belong to no workspace.
    pub(crate) component_downloads: Arc<tokio::sync::Semaphore>,
    /// Result of the last readiness check.
    pub(crate) readiness: tokio::sync::Mutex<Option<health::CachedReadiness>>,
    /// Error code of the newest config, if it is not in force.
    pub(crate) config_refused: Mutex<Option<Code>>,
}

impl RuntimeService {
    /// Creates the service of a Runtime.
    pub fn new(runtime: Runtime, options: ServiceOptions) -> Self {
        let edge = HttpEdge::new(options.hosts, options.limits);
        Self(Arc::new(Service {
            runtime,
            rates: TokenRates::new(edge.limits().requests_per_second),
            streams: events::StreamLimiter::new(edge.limits()),
            entropy: options.entropy,
            scope_name: options.scope_name,
            metrics: metrics::ServiceMetrics::new(edge.metrics()),
            edge,
            component_downloads: Arc::new(tokio::sync::Semaphore::new(resolvers::MAX_COMPONENT_DOWNLOADS)),
            readiness: tokio::sync::Mutex::new(None),
            config_refused: Mutex::new(None),
        }))
    }

    /// Returns all routes of the API.
    pub fn router(&self) -> Router {
        let (routes, _) = openapi::routes().split_for_parts();
        self.wrap(routes.with_state(self.0.clone()))
    }

    /// Returns the state of the routes.
    pub fn state(&self) -> Arc<Service> {
        self.0.clone()
    }

    /// Adds to routes what all routes of a service have: limits, checks of the `Host` header, the request log, metrics, and
    /// problems for unknown paths and methods. Each handler has its own limit for the body.
    pub fn wrap(&self, routes: Router) -> Router {
        let routes = routes
            .fallback(access::not_found)
            .method_not_allowed_fallback(access::method_not_allowed)
            .layer(DefaultBodyLimit::disable());
        self.0.edge.wrap(routes)
    }

    /// Serves the routes until `stop` completes. Then waits until the requests in flight have ended, for at most
    /// `shutdown_ms`.
    pub async fn serve<L: Listener>(&self, listener: L, stop: impl Future<Output = ()>) -> ShutdownSummary {
        self.serve_router(self.router(), listener, stop).await
    }

    /// Serves other routes like [`serve`](Self::serve). They must have come from [`wrap`](Self::wrap).
    pub async fn serve_router<L: Listener>(
        &self,
        router: Router,
        listener: L,
        stop: impl Future<Output = ()>,
    ) -> ShutdownSummary {
        self.0.edge.serve(router, listener, stop).await
    }

    /// Records the result of reading the newest config, which `/readyz` and the metrics show: `None` if it is in force,
    /// otherwise the error code, or `restart_needed` if only a part of it is in force.
    pub fn config_read(&self, refused: Option<Code>) {
        let outcome = match refused {
            None => "in_force",
            Some(Code::RestartNeeded) => "restart_needed",
            Some(_) => "refused",
        };
        self.0.metrics.count_reload(outcome);
        *self.0.config_refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
    }
}

impl Service {
    /// Waits until the service stops. A request that is held open should then end.
    pub async fn closing(&self) {
        self.edge.closing().cancelled().await;
    }
}

/// Returns all routes of the API.
pub fn router(runtime: Runtime, options: ServiceOptions) -> Router {
    RuntimeService::new(runtime, options).router()
}
