//! A Runtime that is served on a local port by the test process, and `yoi` as its client.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bundles::{Authority, ToolName};
use component_host::{Allocation, Sandbox, SandboxConfig};
use host_policy::RuntimeConfig;
use runtime_service::{Hosts, ServerLimits, ServiceOptions, router};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use worker_runtime::token::{Entropy, Scope, TokenError, TokenGrant};
use worker_runtime::tool::{HostTool, ToolContext, ToolError};
use worker_runtime::{ManualClock, Runtime};

use crate::support::{CommandOutput, Place};

pub(crate) const CONFIG: &str = r#"
[host]
capabilities = ["tool:echo"]
[workspaces.team]
signatures = { posture = "none" }
[workspaces.other]
signatures = { posture = "none" }
"#;

/// Entropy that is predictable and different for each token.
#[derive(Debug, Default)]
struct CountingEntropy(std::sync::atomic::AtomicU8);

impl Entropy for CountingEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), TokenError> {
        bytes.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
        Ok(())
    }
}

/// A tool that returns its input, or fails on request.
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
        match input["text"].as_str() {
            Some("refuse") => Err(ToolError::Refused {
                code: "echo_refused".into(),
                message: "no echo today".to_owned(),
                help: "shout",
            }),
            _ => Ok(json!({ "said": input["text"] })),
        }
    }
}

pub(crate) struct TestService {
    pub(crate) place: Place,
    pub(crate) url: String,
    pub(crate) token: String,
    runtime: Runtime,
    entropy: CountingEntropy,
}

/// Returns the async runtime of all services, which lives as long as the tests.
fn serving() -> &'static tokio::runtime::Runtime {
    static SERVING: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let new = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    SERVING.get_or_init(|| new().expect("a runtime"))
}

/// Returns the sandbox of all tests. Starting an engine takes longer than most tests.
fn sandbox() -> Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    let new = || {
        let config = SandboxConfig { allocation: Allocation::Pooled, ..SandboxConfig::default() };
        Sandbox::new(config).expect("a sandbox")
    };
    SANDBOX.get_or_init(new).clone()
}

impl TestService {
    /// Starts a Runtime, and creates the folder `team`, from which a bundle can be built.
    pub(crate) fn new() -> Self {
        let runtime = Runtime::builder()
            .clock(Arc::new(ManualClock::at(1_782_000_000_000)))
            .config(RuntimeConfig::from_toml(CONFIG).expect("a config"))
            .sandbox(sandbox())
            .tool(Arc::new(Echo("echo".parse().expect("a name"))));
        let runtime = serving().block_on(runtime.open()).expect("a runtime");
        let listener = serving().block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let hosts = Hosts { hosts: [address.to_string()].into(), ..Hosts::default() };
        let limits = ServerLimits { requests_per_second: 100_000, ..ServerLimits::default() };
        let router = router(runtime.clone(), ServiceOptions { hosts, limits, ..ServiceOptions::default() });
        serving().spawn(async move { axum::serve(listener, router).await });
        let place = Place::new();
        team(&place, 1);
        let mut served = Self {
            place,
            url: format!("http://{address}"),
            token: String::new(),
            runtime,
            entropy: CountingEntropy::default(),
        };
        served.token = served.token(&Scope::ALL, &["team"]);
        served
    }

    /// Replaces the config.
    pub(crate) fn reload(&self, config: &str) {
        let config = RuntimeConfig::from_toml(config).expect("a config");
        serving().block_on(self.runtime.management().reload(config)).expect("reloaded");
    }

    /// Issues a token.
    pub(crate) fn token(&self, scopes: &[Scope], workspaces: &[&str]) -> String {
        let grant = TokenGrant {
            name: "test".parse().expect("a name"),
            scopes: scopes.iter().copied().collect(),
            workspaces: workspaces.iter().map(|id| id.parse().expect("an id")).collect(),
            expires_at: None,
            connections: None,
            event_streams: None,
        };
        let issued = serving().block_on(self.runtime.management().issue_token(grant, &self.entropy));
        issued.expect("a token").1.expose_secret().to_owned()
    }

    pub(crate) fn yoi(&self, arguments: &[&str]) -> CommandOutput {
        self.with_env(arguments, &[])
    }

    /// Like [`TestService::yoi`], with environment variables that are added or replaced.
    pub(crate) fn with_env(&self, arguments: &[&str], more: &[(&str, &str)]) -> CommandOutput {
        let environment = [("YOI_URL", self.url.as_str()), ("YOI_TOKEN", self.token.as_str())];
        self.place.with_env(arguments, &[&environment, more].concat())
    }

    /// Returns a command with its output and exit code.
    pub(crate) fn transcript(&self, arguments: &[&str]) -> String {
        let said = self.yoi(arguments);
        let shown: Vec<_> = arguments
            .iter()
            .map(|one| if one.contains([' ', '"']) { format!("'{one}'") } else { (*one).to_owned() })
            .collect();
        format!("$ yoi {}\n{}{}[{}]\n\n", shown.join(" "), said.stdout, said.stderr, said.code)
    }

    /// Returns the JSON output of a command and its exit code.
    pub(crate) fn json(&self, arguments: &[&str]) -> (Value, i32) {
        let said = self.yoi(&[arguments, &["--format", "json"]].concat());
        let value: Value = serde_json::from_str(&said.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", said.stdout, said.stderr));
        assert!(value["schema"].is_string(), "{value}");
        (value, said.code)
    }

    /// Uploads the folder `team` and returns the digest of the bundle.
    pub(crate) fn put(&self) -> String {
        let (put, code) = self.json(&["runtime", "put", "team"]);
        assert_eq!(code, 0, "{put}");
        put["bundle"]["digest"].as_str().expect("a digest").to_owned()
    }
}

/// Writes the folder `team`.
pub(crate) fn team(place: &Place, revision: u64) {
    let folder = Path::new("team");
    let manifest = format!(
        r#"
schema = "yoi.config-bundle/1"
revision = {revision}
created_at = "2026-06-25T15:49:30Z"
language = "en"
[workspace]
id = "team"
[tools.echo]
source = "host"
effect = "none"
input = "schemas/echo.input.json"
"#
    );
    let schema = r#"{"type":"object","properties":{"text":{"type":"string"}},"additionalProperties":false}"#;
    for (file, text) in [
        ("bundle.toml", manifest.as_str()),
        ("schemas/echo.input.json", schema),
        ("prompts/hello.md", "Be kind and brief."),
        ("profiles/plain.toml", "instructions = [\"hello\"]\ntools_allow = [\"echo\"]\n"),
        (
            "profiles/trusted.toml",
            "extends = [\"plain\"]\nrequires = [\"secret:github-token\", \"mount:repo:write\"]\nwants = [\"shell\"]\n",
        ),
    ] {
        place.write(folder.join(file).to_str().expect("UTF-8"), text);
    }
}
