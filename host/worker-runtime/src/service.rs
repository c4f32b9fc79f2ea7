//! The Runtime over HTTP: the same faces, for who holds a token.
//!
//! Handlers extract, call the library, and map. A request passes the checks of `access` first: which
//! host and origin it is for, who asks, how often, for which workspace. What fails is a
//! [`Problem`]. [`RuntimeService::router`] has the routes, for who serves them with
//! others; [`RuntimeService::serve`] serves them by themselves, with bounds on what a client may hold.

mod access;
mod blobs;
mod bundles;
mod connections;
mod events;
mod health;
mod limits;
mod observe;
mod openapi;
mod outgoing;
mod pace;
mod problem;
mod resolvers;
mod server;
mod tokens;
mod upkeep;
mod workers;

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use tokio_util::sync::CancellationToken;

use crate::runtime::Runtime;
use crate::token::{Entropy, SystemEntropy};

pub use access::Hosts;
pub use limits::ServiceLimits;
pub use openapi::openapi_json;
pub use problem::{Problem, REGISTRY};
pub use server::Stopped;

/// What the service needs beside a Runtime.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// Names under which clients may ask for this service.
    pub hosts: Hosts,
    /// What one client may take.
    pub limits: ServiceLimits,
    /// Where tokens come from.
    pub entropy: Arc<dyn Entropy>,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self { hosts: Hosts::default(), limits: ServiceLimits::default(), entropy: Arc::new(SystemEntropy) }
    }
}

/// A Runtime with its routes. Cheap to clone; all clones are one service.
#[derive(Debug, Clone)]
pub struct RuntimeService(Arc<Service>);

#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) runtime: Runtime,
    pub(crate) hosts: Hosts,
    pub(crate) limits: ServiceLimits,
    pub(crate) rates: access::Rates,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) observed: observe::Observed,
    pub(crate) streams: events::Streams,
    /// Cancelled where the service is being stopped.
    pub(crate) closing: CancellationToken,
    /// Components on their way out, which belong to no workspace.
    pub(crate) components: Arc<tokio::sync::Semaphore>,
    /// Whether the stores answered a short while ago.
    pub(crate) readiness: tokio::sync::Mutex<Option<health::Looked>>,
    /// The code of the mistake in the newest config, where that is not in force.
    pub(crate) config_refused: Mutex<Option<&'static str>>,
}

impl RuntimeService {
    /// The service of a Runtime.
    pub fn new(runtime: Runtime, options: ServiceOptions) -> Self {
        Self(Arc::new(Service {
            runtime,
            hosts: options.hosts,
            rates: access::Rates::new(options.limits.requests_per_second),
            streams: events::Streams::new(&options.limits),
            limits: options.limits,
            entropy: options.entropy,
            observed: observe::Observed::default(),
            closing: CancellationToken::new(),
            components: Arc::new(tokio::sync::Semaphore::new(resolvers::COMPONENTS_OUT)),
            readiness: tokio::sync::Mutex::new(None),
            config_refused: Mutex::new(None),
        }))
    }

    /// All routes of the API.
    pub fn router(&self) -> Router {
        let (routes, _) = openapi::routes().split_for_parts();
        let service = &self.0;
        routes
            .fallback(access::not_found)
            .method_not_allowed_fallback(access::method_not_allowed)
            // Each handler bounds its own body, by what it is for.
            .layer(DefaultBodyLimit::disable())
            .layer(from_fn_with_state(service.clone(), pace::bounded))
            .layer(from_fn_with_state(service.clone(), access::host_and_origin))
            .layer(from_fn_with_state(service.clone(), observe::observe))
            .with_state(service.clone())
    }

    /// Notes how the newest config was taken, for who asks whether the service is ready: the code of its
    /// mistake, or none; `restart_needed` where only a part of it is in force.
    pub fn config_read(&self, refused: Option<&'static str>) {
        let outcome = match refused {
            None => "in_force",
            Some("restart_needed") => "restart_needed",
            Some(_) => "refused",
        };
        self.0.observed.reloaded(outcome);
        *self.0.config_refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
    }
}

/// All routes of the API.
pub fn router(runtime: Runtime, options: ServiceOptions) -> Router {
    RuntimeService::new(runtime, options).router()
}
