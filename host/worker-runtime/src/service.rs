//! The Runtime over HTTP: the same faces, for who holds a token.
//!
//! Handlers extract, call the library, and map. A request passes the checks of [`access`] first: which
//! host and origin it is for, who asks, how often, for which workspace. What fails is a
//! [`Problem`](problem::Problem).

mod access;
mod blobs;
mod bundles;
mod events;
mod health;
mod problem;
mod workers;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};

use crate::runtime::Runtime;

pub use access::Hosts;
pub use problem::{Problem, REGISTRY};

/// What the service needs beside a Runtime.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// Names under which clients may ask for this service.
    pub hosts: Hosts,
    /// Requests of one token a second, on average; twice as many at once.
    pub requests_per_second: u32,
}

#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) runtime: Runtime,
    pub(crate) hosts: Hosts,
    pub(crate) rates: access::Rates,
}

/// All routes of the API.
pub fn router(runtime: Runtime, options: ServiceOptions) -> Router {
    let rates = access::Rates::new(options.requests_per_second);
    let service = Arc::new(Service { runtime, hosts: options.hosts, rates });
    Router::new()
        .route("/v1/config-bundles", get(bundles::list))
        .route("/v1/config-bundles/{digest}", put(bundles::put).get(bundles::get).delete(bundles::remove))
        .route("/v1/config-bundles/{digest}/users", get(bundles::users))
        .route("/v1/blobs/{digest}", put(blobs::put).get(blobs::get))
        .route("/v1/workers", get(workers::list))
        .route("/v1/workers/{id}", put(workers::create).get(workers::get).delete(workers::stop))
        .route("/v1/workers/{id}/tools/{tool}", post(workers::call))
        .route("/v1/workers/{id}/history", get(workers::history))
        .route("/v1/events", get(events::subscribe))
        .route("/v1/runtime", get(health::runtime))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .fallback(access::not_found)
        .method_not_allowed_fallback(access::method_not_allowed)
        // Each handler bounds its own body, by what it is for.
        .layer(DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn_with_state(service.clone(), access::host_and_origin))
        .with_state(service)
}
