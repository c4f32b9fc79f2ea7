//! Client of the API's router, without a network.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use bundles::Bundle;
use runtime_service::{Hosts, RuntimeService, ServerLimits, ServiceOptions};
use secrecy::ExposeSecret;
use serde_json::Value;
use tower::ServiceExt;
use worker_runtime::Runtime;
use worker_runtime::token::{Entropy, Scope, TokenError, TokenGrant, TokenSummary};

use super::{World, name};

/// Deterministic entropy from a counter.
#[derive(Debug)]
pub struct CounterEntropy(pub std::sync::atomic::AtomicU8);

impl Entropy for CounterEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), TokenError> {
        bytes.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
        Ok(())
    }
}

/// A Runtime with the router of its service.
pub struct Api {
    pub runtime: Runtime,
    pub service: RuntimeService,
    pub router: Router,
    pub entropy: CounterEntropy,
}

/// A complete response.
pub struct Answer {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(&self.body)))
    }

    pub fn code(&self) -> (u16, String) {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        assert!(!problem["detail"].as_str().expect("a sentence").is_empty());
        assert!(!problem["help"].as_str().expect("a remedy").is_empty());
        (self.status.as_u16(), problem["code"].as_str().expect("a code").to_owned())
    }
}

pub const MANIFEST: &str = "application/vnd.yoi.config-bundle.v1+json";

impl Api {
    pub async fn new(world: &World) -> Self {
        Self::within(world, ServerLimits::default()).await
    }

    /// Creates a service with limits, but with a high request rate.
    pub async fn within(world: &World, limits: ServerLimits) -> Self {
        Self::exactly(world, ServerLimits { requests_per_second: 10_000, ..limits }).await
    }

    pub async fn rated(world: &World, requests_per_second: u32) -> Self {
        Self::exactly(world, ServerLimits { requests_per_second, ..ServerLimits::default() }).await
    }

    async fn exactly(world: &World, limits: ServerLimits) -> Self {
        Self::with(world, ServiceOptions { limits, ..ServiceOptions::default() }).await
    }

    /// Creates a service with options, except for its host names.
    pub async fn with(world: &World, options: ServiceOptions) -> Self {
        Self::serving(world.open().await, options)
    }

    /// Creates a service of a Runtime.
    pub fn of(runtime: Runtime) -> Self {
        Self::serving(runtime, ServiceOptions::default())
    }

    fn serving(runtime: Runtime, options: ServiceOptions) -> Self {
        let hosts = Hosts {
            hosts: std::iter::once("runtime.test:7070".to_owned()).collect(),
            origins: std::iter::once("https://console.test".to_owned()).collect(),
        };
        let service = RuntimeService::new(runtime.clone(), ServiceOptions { hosts, ..options });
        Self { runtime, router: service.router(), service, entropy: CounterEntropy(1.into()) }
    }

    pub async fn token(&self, scopes: &[Scope], workspaces: &[&str]) -> (TokenSummary, String) {
        self.token_with(scopes, workspaces, None, None).await
    }

    /// Issues a token with its own limits of connections and event streams.
    pub async fn token_with(
        &self,
        scopes: &[Scope],
        workspaces: &[&str],
        connections: Option<u32>,
        event_streams: Option<u32>,
    ) -> (TokenSummary, String) {
        let grant = TokenGrant {
            name: name("test"),
            scopes: scopes.iter().copied().collect(),
            workspaces: workspaces.iter().map(|id| name(id)).collect(),
            expires_at: None,
            connections: connections.and_then(std::num::NonZeroU32::new),
            event_streams,
        };
        let (summary, token) = self.runtime.management().issue_token(grant, &self.entropy).await.expect("a token");
        (summary, token.expose_secret().to_owned())
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), 1 << 24).await.expect("a body").to_vec();
        Answer { status, headers, body }
    }

    pub async fn ask(&self, method: &str, path: &str, token: &str, body: impl Into<Body>, kind: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "runtime.test:7070")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, kind);
        self.send(request.body(body.into()).expect("a request")).await
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.ask("GET", path, token, "", "").await
    }

    pub async fn put_json(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.ask("PUT", path, token, body.to_string(), "application/json").await
    }

    pub async fn bring(&self, token: &str, bundle: &Bundle) {
        for (digest, blob) in bundle.blobs() {
            let put = self.ask("PUT", &format!("/v1/blobs/{digest}"), token, blob.to_vec(), "").await;
            assert!(put.status.is_success(), "{:?}", put.json());
        }
        let path = format!("/v1/config-bundles/{}", bundle.digest());
        let put = self.ask("PUT", &path, token, bundle.manifest_bytes().to_vec(), MANIFEST).await;
        assert_eq!(put.status, StatusCode::CREATED);
    }
}
