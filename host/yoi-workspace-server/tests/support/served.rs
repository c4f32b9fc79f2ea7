//! Runtimes and Backends behind real sockets, and a bundle with a tool.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bundles::{Authority, BuildOptions, Bundle, BundleLimits, Folder, ToolName};
use host_policy::RuntimeConfig;
use runtime_client::{Client, ClientOptions, RetryPolicy, Timeouts};
use runtime_service::{Hosts, RuntimeService, ServerLimits, ServiceOptions};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use worker_runtime::token::{Scope, SystemEntropy, TokenGrant};
use worker_runtime::tool::{HostTool, ToolContext, ToolError};
use worker_runtime::{ManualClock, Runtime};
use yoi_workspace_server::Backend;
use yoi_workspace_server::runtime_link::RemoteRuntime;
use yoi_workspace_server::service::BackendService;

use super::{START_MS, name, sandbox};

/// A tool that returns its input. On request it refuses, panics or returns an invalid output.
#[derive(Debug)]
struct Echo(ToolName);

#[async_trait]
impl HostTool for Echo {
    fn name(&self) -> &ToolName {
        &self.0
    }

    fn needs(&self) -> &[Authority] {
        &[]
    }

    async fn call(&self, _: ToolContext, input: Value) -> Result<Value, ToolError> {
        match input["do"].as_str() {
            Some("refuse") => Err(ToolError::Refused {
                code: "echo_refused".into(),
                message: "CANARY of a tool".to_owned(),
                help: "CANARY of a tool",
            }),
            Some("lie") => Ok(json!(7)),
            Some("panic") => panic!("the tool is broken"),
            _ => Ok(json!({ "said": input["text"] })),
        }
    }
}

/// Returns a config for `acme` that offers the tool `echo`.
pub fn tool_config(more: &str) -> RuntimeConfig {
    let text = format!(
        "[host]\ncapabilities = [\"tool:echo\"]\n[workspaces.acme]\nsignatures = {{ posture = \"none\" }}\n{more}"
    );
    RuntimeConfig::from_toml(&text).expect("a config")
}

/// Returns a Runtime with the tool `echo`.
pub async fn tool_runtime(config: RuntimeConfig) -> Runtime {
    let builder = Runtime::builder().clock(Arc::new(ManualClock::at(START_MS))).config(config).sandbox(sandbox());
    builder.tool(Arc::new(Echo(name("echo")))).open().await.expect("a Runtime")
}

/// Returns a bundle of `acme` with the profiles `plain`, which has the tool `echo`, and `trusted`, which requires a secret.
pub fn tool_bundle(revision: u64) -> Bundle {
    let manifest = format!(
        "schema = \"yoi.config-bundle/1\"\nrevision = {revision}\ncreated_at = \"2026-06-25T15:49:30Z\"\n\
         language = \"en\"\n[workspace]\nid = \"acme\"\n[tools.echo]\nsource = \"host\"\neffect = \"none\"\n\
         input = \"schemas/in.json\"\noutput = \"schemas/out.json\"\n"
    );
    let input = r#"{"type":"object","properties":{"text":{"type":"string"},"do":{"type":"string"}},"additionalProperties":false}"#;
    let files = [
        ("bundle.toml", manifest),
        ("schemas/in.json", input.to_owned()),
        ("schemas/out.json", r#"{"type":"object"}"#.to_owned()),
        ("prompts/hello.md", format!("Be kind in revision {revision}.")),
        ("profiles/plain.toml", "instructions = [\"hello\"]\ntools_allow = [\"echo\"]\n".to_owned()),
        ("profiles/curious.toml", "extends = [\"plain\"]\nwants = [\"secret:token\"]\n".to_owned()),
        ("profiles/trusted.toml", "extends = [\"plain\"]\nrequires = [\"secret:token\"]\n".to_owned()),
    ];
    let folder = Folder::from_files(files.map(|(path, text)| (path.to_owned(), text.into_bytes())));
    let built = bundles::build(&folder, &BuildOptions::default(), &BundleLimits::default());
    built.unwrap_or_else(|diagnostics| panic!("{:#?}", diagnostics.list)).bundle
}

/// Issues a token of a Runtime, or of a Backend's catalogue.
pub async fn token(runtime: &Runtime, scopes: &[Scope], workspaces: &[&str]) -> SecretString {
    let grant = TokenGrant {
        name: name("test"),
        scopes: scopes.iter().copied().collect(),
        workspaces: workspaces.iter().map(|id| name(id)).collect(),
        expires_at: None,
        connections: None,
        event_streams: None,
    };
    runtime.management().issue_token(grant, &SystemEntropy).await.expect("a token").1
}

/// A server that stops when it is dropped.
pub struct Served {
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<()>,
}

impl Served {
    /// Stops the server, and returns when its port is free.
    pub async fn stop(self) {
        drop(self.stop);
        self.ended.await.expect("stopped");
    }

    pub fn options(&self, token: SecretString) -> ClientOptions {
        ClientOptions {
            workspace: Some(name("acme")),
            retries: RetryPolicy { max_retries: 0, max_wait: Duration::ZERO },
            ..ClientOptions::new(format!("http://{}", self.address), token)
        }
    }
}

fn options(address: SocketAddr) -> ServiceOptions {
    let hosts = Hosts { hosts: [address.to_string()].into(), ..Hosts::default() };
    let limits = ServerLimits { requests_per_second: 1_000_000, shutdown_ms: 0, ..ServerLimits::default() };
    ServiceOptions { hosts, limits, ..ServiceOptions::default() }
}

async fn bind(port: u16) -> (tokio::net::TcpListener, SocketAddr) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// Serves a Runtime.
pub async fn serve_runtime(runtime: &Runtime) -> Served {
    let (listener, address) = bind(0).await;
    let service = RuntimeService::new(runtime.clone(), options(address));
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(async move {
        service.serve(listener, async move { drop(stopped.await) }).await;
    });
    Served { address, stop, ended }
}

/// Serves a Backend on a port; 0 selects a free one.
pub async fn serve_backend(backend: &Backend, port: u16) -> Served {
    let (listener, address) = bind(port).await;
    let service = BackendService::new(backend.clone(), options(address));
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(async move {
        service.serve(listener, async move { drop(stopped.await) }).await;
    });
    Served { address, stop, ended }
}

/// Returns the access to a served Runtime with these scopes in `acme`.
pub async fn remote(runtime: &Runtime, served: &Served, scopes: &[Scope]) -> RemoteRuntime {
    let options = served.options(token(runtime, scopes, &["acme"]).await);
    RemoteRuntime::from(Client::new(options).expect("a client"))
}

/// Returns the access to an address with a short timeout.
pub fn impatient(address: SocketAddr) -> RemoteRuntime {
    let short = Duration::from_millis(200);
    let options = ClientOptions {
        timeouts: Timeouts { response: short, transfer: short, work: short, silence: short },
        retries: RetryPolicy { max_retries: 0, max_wait: Duration::ZERO },
        ..ClientOptions::new(format!("http://{address}"), "yoi_token".to_owned().into())
    };
    RemoteRuntime::from(Client::new(options).expect("a client"))
}

/// Scopes of the token that a Backend has for a Runtime.
pub const BACKEND_SCOPES: [Scope; 5] = [Scope::Status, Scope::Read, Scope::Bundles, Scope::Workers, Scope::Call];
