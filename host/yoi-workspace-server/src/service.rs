//! The Backend's HTTP API.
//!
//! The Runtime that keeps the bundles also keeps the tokens, and its service answers for blobs, lists of bundles and health.
//! So a Backend authenticates, limits and logs requests exactly like a Runtime. The routes here are those that a Runtime does
//! not have.

mod audit;
mod bundles;
mod completion;
mod desired;
mod fleet;
mod openapi;
mod problem;
mod pull;
mod sessions;
mod tokens;
mod workers;

use std::collections::BTreeSet;
use std::sync::Arc;

use ::bundles::WorkspaceId;
use axum::Router;
use axum::extract::FromRef;
use axum::serve::Listener;
use backend_api::audit::Actor;
use backend_api::token::BackendScope;
use http_edge::ShutdownSummary;
use runtime_api::token::{Scope, TokenSummary};
use runtime_service::{RuntimeService, Service, ServiceOptions};
use worker_runtime::token::Entropy;

use crate::backend::Backend;

pub(crate) use completion::run_to_end;
pub use openapi::openapi_json;

/// A Backend with its routes.
#[derive(Debug, Clone)]
pub struct BackendService {
    state: BackendState,
    content: RuntimeService,
}

/// State of the routes.
#[derive(Debug, Clone)]
pub(crate) struct BackendState {
    pub(crate) backend: Backend,
    content: Arc<Service>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) sessions: crate::pages::SessionTable,
}

impl FromRef<BackendState> for Arc<Service> {
    fn from_ref(state: &BackendState) -> Self {
        state.content.clone()
    }
}

impl BackendService {
    /// Creates the service of a Backend.
    pub fn new(backend: Backend, options: ServiceOptions) -> Self {
        let entropy = options.entropy.clone();
        let options = ServiceOptions { scope_name: BackendScope::name_of, ..options };
        let options = crate::pages::with_own_origins(options);
        let content = RuntimeService::new(backend.catalogue().clone(), options);
        let sessions = crate::pages::SessionTable::default();
        Self { state: BackendState { backend, content: content.state(), entropy, sessions }, content }
    }

    /// Returns all routes of the API, and the pages.
    pub fn router(&self) -> Router {
        let (routes, _) = openapi::routes().split_for_parts();
        let (content, _) = runtime_service::content_routes().split_for_parts();
        let content = content.with_state(self.state.content.clone());
        let pages = crate::pages::router().with_state(self.state.clone());
        self.content.wrap(routes.with_state(self.state.clone()).merge(content).merge(pages))
    }

    /// Serves the routes until `stop` completes. Then waits until the requests in flight have ended, for at most
    /// `shutdown_ms`.
    pub async fn serve<L: Listener>(&self, listener: L, stop: impl Future<Output = ()>) -> ShutdownSummary {
        self.content.serve_router(self.router(), listener, stop).await
    }
}

impl BackendState {
    /// Returns the workspaces that the holder of a token may read: those of the token, and all of them with the scope `admin`.
    fn readable(&self, token: &TokenSummary) -> BTreeSet<WorkspaceId> {
        let mut workspaces = self.backend.workspaces();
        if !token.grant.scopes.contains(&Scope::Operator) {
            workspaces.retain(|workspace| token.grant.workspaces.contains(workspace));
        }
        workspaces
    }
}

fn actor(token: &TokenSummary) -> Actor {
    Actor::Token { token: token.id.clone() }
}
