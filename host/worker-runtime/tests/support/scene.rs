//! A service with stores that can be set to fail, and a token with all scopes.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, header};
use bundles::{Bundle, Digest};
use runtime_api::call::{CallResult, ToolCall};
use runtime_service::ServiceOptions;
use serde_json::Value;
use worker_runtime::blob_store::BlobStore;
use worker_runtime::content::Content;
use worker_runtime::metadata::{MetadataStore, SqliteMetadata};
use worker_runtime::token::Scope;
use worker_runtime::{CallError, Catalogue, DataFolder, Management};

use super::api::{Answer, Api, MANIFEST};
use super::faulty::Faulty;
use super::{World, acme, bundle, id, name, put, trusted};

/// A service with failing stores and a token with all scopes.
pub struct Scene {
    pub world: World,
    pub api: Api,
    pub token: String,
    pub blobs: Arc<Faulty<dyn BlobStore>>,
    pub metadata: Arc<Faulty<dyn MetadataStore>>,
}

/// A scene whose data folder was moved after it was opened.
pub struct MovedFolder {
    pub scene: Scene,
    _above: tempfile::TempDir,
}

impl MovedFolder {
    pub async fn new() -> Self {
        let above = tempfile::tempdir().expect("a folder");
        let folder = DataFolder::open(above.path().join("data")).await.expect("opened");
        let metadata = SqliteMetadata::open(folder.metadata_file()).await.expect("opened");
        let world = World { blobs: Arc::new(folder.blobs()), metadata: Arc::new(metadata), ..World::default() };
        let scene = Scene::of(world).await;
        put(&scene.content(), &bundle(1)).await;
        std::fs::rename(above.path().join("data"), above.path().join("moved")).expect("moved");
        Self { scene, _above: above }
    }
}

impl Scene {
    pub async fn new() -> Self {
        Self::of(World::default()).await
    }

    pub async fn of(world: World) -> Self {
        Self::with(world, ServiceOptions::default()).await
    }

    pub async fn with(world: World, options: ServiceOptions) -> Self {
        let (blobs, metadata) = (Arc::new(Faulty::new(world.blobs)), Arc::new(Faulty::new(world.metadata)));
        let world = World { blobs: blobs.clone(), metadata: metadata.clone(), ..world };
        let api = Api::with(&world, options).await;
        let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
        Self { world, api, token, blobs, metadata }
    }

    /// Creates a scene with a bundle.
    pub async fn with_bundle() -> (Self, Digest) {
        let scene = Self::new().await;
        let digest = put(&scene.content(), &bundle(1)).await;
        (scene, digest)
    }

    /// Creates a scene with a worker `w` that has all tools of the bundle.
    pub async fn with_worker() -> Self {
        Self::with_worker_in(World::default(), &bundle(1)).await
    }

    pub async fn with_worker_in(world: World, bundle: &Bundle) -> Self {
        let scene = Self::of(world).await;
        let digest = put(&scene.content(), bundle).await;
        scene.catalogue().create(id("w"), trusted(digest)).await.expect("a worker");
        scene
    }

    pub fn content(&self) -> Content {
        self.api.runtime.content(&acme())
    }

    pub fn catalogue(&self) -> Catalogue {
        self.api.runtime.catalogue(&acme())
    }

    pub fn interaction(&self) -> worker_runtime::Interaction {
        self.api.runtime.interaction(&acme())
    }

    pub fn management(&self) -> Management {
        self.api.runtime.management()
    }

    /// Calls a tool of the worker.
    pub async fn call(&self, tool: &str, input: Value) -> Result<CallResult, CallError> {
        let call = ToolCall { input, confirmed: true };
        self.api.runtime.interaction(&acme()).call(&id("w"), &name(tool), call).await
    }

    /// Sends a request without a body.
    pub async fn ask(&self, method: &str, path: &str) -> Answer {
        self.api.ask(method, path, &self.token, "", "").await
    }

    /// Sends a request with a JSON body.
    pub async fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.api.ask(method, path, &self.token, body.to_string(), "application/json").await
    }

    /// Calls a tool of the worker over REST.
    pub async fn post(&self, tool: &str, input: &Value) -> Answer {
        let call = serde_json::json!({ "input": input, "confirmed": true });
        self.json("POST", &format!("/v1/workers/w/tools/{tool}"), &call).await
    }

    /// Puts a manifest.
    pub async fn manifest(&self, bundle: &Bundle) -> Answer {
        let path = format!("/v1/config-bundles/{}", bundle.digest());
        self.api.ask("PUT", &path, &self.token, bundle.manifest_bytes().to_vec(), MANIFEST).await
    }

    /// Sends a streamed body, with these header fields in addition to the default ones.
    pub async fn send(&self, method: &str, path: &str, fields: &[(&str, &str)], body: Body) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (field, value) in [("host", "runtime.test:7070")].iter().chain(fields) {
            // A given field replaces the default one.
            request.headers_mut().expect("a head").insert(name::<header::HeaderName>(field), name(value));
        }
        let bearer = format!("Bearer {}", self.token);
        self.api.send(request.header(header::AUTHORIZATION, bearer).body(body).expect("a request")).await
    }
}
