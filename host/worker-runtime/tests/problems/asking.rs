//! Problems of authentication, authorization and the form of requests.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::serve::Listener;
use futures_util::stream;
use runtime_service::{ServerLimits, ServiceOptions};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use worker_runtime::RuntimeLimits;
use worker_runtime::blob_store::{SourceError, source_from};
use worker_runtime::token::{Entropy, Scope, TokenError, TokenGrant};

use super::{Case, both, http};
use crate::support::api::{Api, MANIFEST};
use crate::support::provoked::provoked;
use crate::support::scene::Scene;
use crate::support::{START_MS, World, acme, bundle, bundle_of, name};

/// A random source that always fails.
#[derive(Debug)]
struct FailingEntropy;

impl Entropy for FailingEntropy {
    fn fill(&self, _: &mut [u8]) -> Result<(), TokenError> {
        Err(TokenError::NoEntropy)
    }
}

/// A listener without connections.
struct EmptyListener;

impl Listener for EmptyListener {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        std::future::pending().await
    }

    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }
}

fn grant(seconds: i64) -> TokenGrant {
    let until = jiff::Timestamp::from_millisecond(START_MS + seconds * 1000).expect("a time");
    TokenGrant {
        name: name("short"),
        scopes: Scope::ALL.into_iter().collect(),
        workspaces: std::iter::once(acme()).collect(),
        expires_at: Some(until),
        connections: None,
        event_streams: None,
    }
}

/// A token that was valid.
async fn expired(scene: &Scene) -> SecretString {
    let (_, token) = scene.management().issue_token(grant(1), &scene.api.entropy).await.expect("a token");
    scene.world.clock.advance(Duration::from_secs(2));
    token
}

fn narrow() -> World {
    World { limits: RuntimeLimits { inflight_bytes: 1 << 16, ..RuntimeLimits::default() }, ..World::default() }
}

fn new_token() -> Value {
    json!({ "name": "ci", "scopes": ["read"], "workspaces": ["acme"] })
}

fn blob(content: &str) -> String {
    format!("/v1/blobs/{}", bundles::Digest::of(content))
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = tokens();
    cases.extend(requests());
    cases.extend(bodies());
    cases
}

fn tokens() -> Vec<Case> {
    vec![
        both!(
            "unauthenticated",
            rest: async { Scene::new().await.api.get("/v1/workers", "yoi_0_0").await },
            library: async {
                let token = SecretString::from("yoi_0_0".to_owned());
                provoked(Scene::new().await.management().authenticate(&token).await)
            },
        ),
        both!(
            "token_expired",
            rest: async {
                let scene = Scene::new().await;
                let token = expired(&scene).await;
                scene.api.get("/v1/workers", secrecy::ExposeSecret::expose_secret(&token)).await
            },
            library: async {
                let scene = Scene::new().await;
                let token = expired(&scene).await;
                provoked(scene.management().authenticate(&token).await)
            },
        ),
        both!(
            "token_not_found",
            rest: async { Scene::new().await.ask("DELETE", "/v1/tokens/00000000000000ff").await },
            library: async { provoked(Scene::new().await.management().revoke_token(&name("00000000000000ff")).await) },
        ),
        both!(
            "no_entropy",
            rest: async {
                let options = ServiceOptions { entropy: Arc::new(FailingEntropy), ..ServiceOptions::default() };
                Scene::with(World::default(), options).await.json("POST", "/v1/tokens", &new_token()).await
            },
            library: async { provoked(Scene::new().await.management().issue_token(grant(1), &FailingEntropy).await) },
        ),
        http!("scope_missing", "whoever holds a face may use it: scopes are of tokens", async {
            let scene = Scene::new().await;
            let (_, reader) = scene.api.token(&[Scope::Read], &["acme"]).await;
            scene.api.get("/v1/runtime", &reader).await
        }),
        both!(
            "workspace_denied",
            rest: async { Scene::new().await.ask("DELETE", "/v1/workers/w?workspace=other").await },
            library: async {
                let scene = Scene::new().await;
                let other = bundle_of("other", 1, &[]);
                let put = scene.content().put_manifest(other.digest(), other.manifest_bytes().to_vec().into()).await;
                provoked(put)
            },
        ),
        http!("workspace_unnamed", "a face is one of a workspace from the beginning", async {
            let scene = Scene::new().await;
            let (_, both) = scene.api.token(&Scope::ALL, &["acme", "other"]).await;
            scene.api.get("/v1/workers", &both).await
        }),
    ]
}

fn requests() -> Vec<Case> {
    vec![
        http!("host_denied", "the name by which a service is asked is in the request's head", async {
            Scene::new().await.send("GET", "/livez", &[("host", "evil.test")], Body::empty()).await
        }),
        http!("origin_denied", "the page that asks is in the request's head", async {
            Scene::new().await.send("GET", "/livez", &[("origin", "https://evil.test")], Body::empty()).await
        }),
        http!("rate_limited", "how often a token asks is counted where requests come in", async {
            let api = Api::rated(&World::default(), 1).await;
            let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
            for _ in 0..20 {
                let answer = api.get("/v1/workers", &token).await;
                if !answer.status.is_success() {
                    return answer;
                }
            }
            panic!("twenty at once are too many")
        }),
        http!("stopping", "a Runtime is dropped; only what serves it is stopped", async {
            let scene = Scene::new().await;
            scene.api.service.serve(EmptyListener, async {}).await;
            scene.ask("GET", "/readyz").await
        }),
        http!("invalid_request", "the types of the library hold nothing that is not understood", async {
            Scene::new().await.ask("GET", "/v1/blobs/x").await
        }),
        http!("not_found", "only paths can name what there is not at all", async {
            Scene::new().await.ask("GET", "/v1/nothing").await
        }),
        http!("method_not_allowed", "only requests have methods that a path does not take", async {
            Scene::new().await.ask("PATCH", "/v1/workers").await
        }),
        http!("precondition_failed", "`If-Match` and `If-None-Match` are header fields", async {
            let (scene, digest) = Scene::with_bundle().await;
            let path = format!("/v1/config-bundles/{digest}");
            scene.send("DELETE", &path, &[("if-match", "\"x\"")], Body::empty()).await
        }),
    ]
}

fn bodies() -> Vec<Case> {
    vec![
        http!("unsupported_media_type", "a face takes bytes of one kind in each function", async {
            let path = format!("/v1/config-bundles/{}", bundle(1).digest());
            Scene::new().await.json("PUT", &path, &json!({})).await
        }),
        http!("body_too_large", "what is handed to a face is in memory already", async {
            let scene = Scene::new().await;
            let large = "x".repeat(100_000);
            scene.api.ask("PUT", "/v1/workers/w", &scene.token, large, "application/json").await
        }),
        http!("body_too_slow", "the library waits for whoever hands it content", async {
            let scene = Scene::new().await;
            tokio::time::pause();
            let body = Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
            scene.send("PUT", &blob("x"), &[], body).await
        }),
        both!(
            "body_incomplete",
            rest: async {
                let pieces = [Ok("x"), Err(std::io::Error::other("gone away"))];
                Scene::new().await.send("PUT", &blob("xy"), &[], Body::from_stream(stream::iter(pieces))).await
            },
            library: async {
                let pieces = Box::pin(stream::iter([Ok("x".into()), Err(SourceError)]));
                let digest = bundles::Digest::of("xy");
                provoked(Scene::new().await.content().put_blob(digest, pieces, None).await)
            },
        ),
        both!(
            "busy",
            rest: async { Scene::of(narrow()).await.manifest(&bundle(1)).await },
            library: async {
                let scene = Scene::of(narrow()).await;
                provoked(scene.content().put_blob(bundles::Digest::of("x"), source_from("x"), Some(1 << 20)).await)
            },
        ),
        both!(
            "deadline_exceeded",
            rest: async {
                let scene = Scene::with_worker().await;
                tokio::time::pause();
                scene.post("echo", &json!({ "do": "hang" })).await
            },
            library: async {
                let scene = Scene::with_worker().await;
                tokio::time::pause();
                provoked(scene.call("echo", json!({ "do": "hang" })).await)
            },
        ),
    ]
}

/// The limits can give a request less time than a call.
#[test]
fn request_timeout_is_reported_as_problem() {
    let answer = super::run(Box::pin(async {
        let limits = ServerLimits { request_ms: 1000, ..ServerLimits::default() };
        let scene = Scene::with(World::default(), ServiceOptions { limits, ..ServiceOptions::default() }).await;
        tokio::time::pause();
        let body = Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
        scene
            .send("PUT", &format!("/v1/config-bundles/{}", bundle(1).digest()), &[("content-type", MANIFEST)], body)
            .await
    }));
    assert_eq!(answer.code(), (504, "deadline_exceeded".to_owned()));
}
