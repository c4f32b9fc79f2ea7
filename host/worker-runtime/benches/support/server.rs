//! Runtimes behind a TCP server, with local stores that sync every write. Includes tokens and bundles to upload.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use axum::Router;
use bundles::canonical::to_canonical;
use bundles::{Authority, Digest, ToolName, WorkspaceId};
use component_host::Sandbox;
use host_policy::RuntimeConfig;
use runtime_service::{Hosts, ServerLimits, ServiceOptions, router};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use worker_runtime::metadata::SqliteMetadata;
use worker_runtime::token::{Entropy, Scope, TokenError, TokenGrant};
use worker_runtime::tool::{HostTool, ToolContext, ToolError};
use worker_runtime::{DataFolder, Runtime, RuntimeBuilder, SystemClock};

use super::Outcome;
use super::wire::{HOST, Wire};

/// Media type of a manifest.
pub(crate) const MANIFEST: &str = "application/vnd.yoi.config-bundle.v1+json";

/// A bundle to upload, not verified yet.
#[derive(Debug, Clone)]
pub(crate) struct BundleUpload {
    pub(crate) manifest: Vec<u8>,
    pub(crate) blobs: Vec<Vec<u8>>,
}

/// Generates a small bundle with the given prompts. Its profile `plain` has the given host tools.
pub(crate) fn small_bundle(
    workspace: &str,
    revision: u64,
    prompts: Vec<Vec<u8>>,
    tools: &[&str],
) -> Outcome<BundleUpload> {
    let entry = |(number, text): (usize, &Vec<u8>)| {
        (format!("text-{number}"), json!({"text": {"digest": Digest::of(text), "size": text.len()}}))
    };
    let tool = |name: &&str| ((*name).to_owned(), json!({"source": "host", "effect": "none"}));
    let mut manifest = json!({
        "schema": "yoi.config-bundle/1",
        "workspace": {"id": workspace},
        "revision": revision.to_string(),
        "created_at": "2026-06-25T15:49:30Z",
        "language": "en",
        "profiles": {"plain": {"layers": [{}]}},
    });
    let mut add = |pointer: &str, key: &str, value: Value| {
        if let Some(Value::Object(object)) = manifest.pointer_mut(pointer) {
            object.insert(key.to_owned(), value);
        }
    };
    if !prompts.is_empty() {
        add("", "prompts", prompts.iter().enumerate().map(entry).collect::<Map<_, _>>().into());
    }
    if !tools.is_empty() {
        add("", "tools", tools.iter().map(tool).collect::<Map<_, _>>().into());
        add("/profiles/plain/layers/0", "tools_allow", json!({"append": tools}));
    }
    Ok(BundleUpload { manifest: to_canonical(&manifest)?, blobs: prompts })
}

impl BundleUpload {
    /// Returns the digest of the bundle.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// Returns the size of the manifest and all blobs in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.manifest.len() + self.blobs.iter().map(Vec::len).sum::<usize>()
    }

    /// Uploads each blob, and then the manifest.
    pub(crate) async fn put(&self, wire: &mut Wire, token: &str) -> Outcome<()> {
        let of = |digest: Digest, kind: &str| format!("/v1/{kind}/{digest}");
        let mut all: Vec<(String, &str, &[u8])> = Vec::with_capacity(self.blobs.len() + 1);
        for blob in &self.blobs {
            all.push((of(Digest::of(blob), "blobs"), "application/octet-stream", blob));
        }
        all.push((of(self.digest(), "config-bundles"), MANIFEST, &self.manifest));
        for (path, kind, body) in all {
            let answer = wire.ask("PUT", &path, token, kind, body).await?;
            if !matches!(answer.status, 200 | 201) {
                return Err(format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)).into());
            }
        }
        Ok(())
    }
}

/// Returns a builder for a Runtime with local files and SQLite in a folder.
pub(crate) async fn on_files(folder: &Path, config: &str, sandbox: &Sandbox) -> Outcome<RuntimeBuilder> {
    let data = DataFolder::open(folder.join("data")).await?;
    let metadata = SqliteMetadata::open(data.metadata_file()).await?;
    Ok(in_memory(config, sandbox)?.blobs(Arc::new(data.blobs())).metadata(Arc::new(metadata)))
}

/// Returns a builder for a Runtime with stores in memory.
pub(crate) fn in_memory(config: &str, sandbox: &Sandbox) -> Outcome<RuntimeBuilder> {
    let config = RuntimeConfig::from_toml(config)?;
    Ok(Runtime::builder().clock(Arc::new(SystemClock)).config(config).sandbox(sandbox.clone()))
}

/// Serves routes on a local port until the task is aborted.
pub(crate) async fn serve(routes: Router) -> Outcome<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let served = tokio::spawn(async move {
        // Runs until the task is aborted.
        let _ = axum::serve(listener, routes).await;
    });
    Ok((address, served))
}

/// Returns the routes of a Runtime with a request limit.
pub(crate) fn routes(runtime: &Runtime, requests_per_second: u32) -> Router {
    let hosts = Hosts { hosts: std::iter::once(HOST.to_owned()).collect(), ..Hosts::default() };
    let limits = ServerLimits { requests_per_second, ..ServerLimits::default() };
    router(runtime.clone(), ServiceOptions { hosts, limits, ..ServiceOptions::default() })
}

/// Issues a token with all scopes of a tenant.
pub(crate) async fn token(runtime: &Runtime, workspace: &WorkspaceId) -> Outcome<String> {
    let grant = TokenGrant {
        name: "bench".parse()?,
        scopes: [Scope::Read, Scope::Bundles, Scope::Workers, Scope::Call].into(),
        workspaces: std::iter::once(workspace.clone()).collect(),
        expires_at: None,
        connections: None,
        event_streams: None,
    };
    let (_, token) = runtime.management().issue_token(grant, &ENTROPY).await?;
    Ok(token.expose_secret().to_owned())
}

static ENTROPY: CounterEntropy = CounterEntropy(AtomicU64::new(0));

/// Deterministic entropy from a counter. The tokens are unique but predictable.
#[derive(Debug)]
struct CounterEntropy(AtomicU64);

impl Entropy for CounterEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), TokenError> {
        let number = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        for (byte, number) in bytes.iter_mut().zip(number.iter().cycle()) {
            *byte = *number;
        }
        Ok(())
    }
}

/// Function of a host tool, from input to output.
type ToolFunction = fn(Value) -> Value;

/// A host tool that calls a function.
#[derive(Debug)]
pub(crate) struct FunctionTool(ToolName, ToolFunction);

/// Creates a host tool that calls a function.
pub(crate) fn function_tool(name: &str, function: ToolFunction) -> Outcome<Arc<dyn HostTool>> {
    Ok(Arc::new(FunctionTool(name.parse()?, function)))
}

#[async_trait]
impl HostTool for FunctionTool {
    fn name(&self) -> &ToolName {
        &self.0
    }

    fn needs(&self) -> &[Authority] {
        &[]
    }

    async fn call(&self, _: ToolContext, input: Value) -> Result<Value, ToolError> {
        Ok((self.1)(input))
    }
}
