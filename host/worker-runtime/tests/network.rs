//! Plugins that use the network, through the whole Runtime: requests, secrets, and a service over WebSocket.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bundles::BundleLimits;
use bundles::plugin::Package;
use host_policy::RuntimeConfig;
use hyper::Response;
use runtime_api::call::ToolCall;
use runtime_api::service::ServiceState;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use worker_runtime::egress::EgressLimits;
use worker_runtime::secret::{SecretError, SecretSource};
use worker_runtime::token::Scope;
use worker_runtime::worker::CreateWorkerRequest;
use worker_runtime::{Runtime, RuntimeLimits};

use crate::plugin_examples::{packed, world};
use crate::services::{until, until_running};
use crate::support::api::Api;
use crate::support::peers::http_peer::{Answer, Authority, Peer, behind_tls, drain, echo, full};
use crate::support::peers::ws_peer::{CLOSE, TEXT, WsPeer, close_payload};
use crate::support::peers::{Internet, NAME, PATIENCE};
use crate::support::plugin_scene::{MANIFEST, Packed, history, run, service};
use crate::support::plugins::Plugin;
use crate::support::{CONFIG, World, acme, id, name, sandbox_within};

/// Both versions of HTTP.
const HTTP: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Name of a chat server.
const CHAT: &str = "chat.example.com";

/// Message of the chat gateway on an open connection.
const HEARTBEAT: &str = "{\"type\":\"heartbeat\"}";

/// Value of every secret.
const SECRET: &str = "canary-secret-7f3a91";

/// A host on which every secret has the same value.
#[derive(Debug)]
struct OneSecret;

#[async_trait::async_trait]
impl SecretSource for OneSecret {
    async fn get(&self, _: &bundles::SecretRef) -> Result<secrecy::SecretString, SecretError> {
        Ok(SECRET.to_owned().into())
    }
}

/// Limits that are the same for the tests of this file.
fn limits() -> EgressLimits {
    EgressLimits { instance_requests_per_second: 1000, workspace_requests_per_second: 1000, ..EgressLimits::default() }
}

async fn call(runtime: &Runtime, tool: &str, input: Value) -> Result<Value, (String, String)> {
    let call = ToolCall { input, confirmed: true };
    let called = runtime.interaction(&acme()).call(&id("w"), &name(tool), call).await;
    called.map(|called| called.output).map_err(|error| (error.recorded_code().to_owned(), error.to_string()))
}

/// Returns the lines that grant a plugin with effects and `more` lines.
fn config(packed: &Packed, more: &str) -> String {
    format!("{}effects = [\"external\", \"read\"]\n{more}\n", packed.config())
}

async fn reload(runtime: &Runtime, config: &str) {
    let config = RuntimeConfig::from_toml(config).expect("a config");
    runtime.management().reload(config).await.expect("reloaded");
}

async fn open(packed: &Packed, internet: &Arc<Internet>, authority: &Authority, config: String) -> Runtime {
    let egress = Some(internet.egress(authority, limits()));
    let world = World { config, egress, secrets: Arc::new(OneSecret), ..world() };
    let runtime = world.open().await;
    packed.put_package(&runtime).await;
    packed.create(&runtime).await;
    runtime
}

/// Returns a line that grants requests to [`NAME`].
fn requests(paths: &str) -> String {
    format!("requests = [{{ scheme = \"https\", host = \"{NAME}\", methods = [\"GET\"], path_prefixes = [{paths}] }}]")
}

#[tokio::test(flavor = "multi_thread")]
async fn request_is_allowed_refused_and_repaired_by_the_grant() {
    let packed = packed("web-fetch").expect("committed");
    let authority = Authority::new();
    let peer = Peer::tls(&authority, &[NAME], &HTTP, rustls::ALL_VERSIONS, echo);
    let internet = Arc::new(Internet::default());
    internet.add(NAME, peer.address);
    let runtime = open(&packed, &internet, &authority, config(&packed, &requests("\"/v1\""))).await;
    let fetch = async |path: &str| call(&runtime, "web.fetch", json!({ "url": format!("https://{NAME}{path}") })).await;

    let fetched = fetch("/v1/a?b=c").await.expect("a response");
    assert_eq!(fetched["status"], 200);
    let seen: Value = serde_json::from_str(fetched["body"].as_str().expect("text")).expect("JSON");
    assert_eq!(
        (&seen["method"], &seen["path"], &seen["version"]),
        (&json!("GET"), &json!("/v1/a"), &json!("HTTP/2.0"))
    );

    let (code, message) = fetch("/v2").await.expect_err("not granted");
    assert_eq!(code, "not_granted", "{message}");
    assert_eq!(internet.dialled().len(), 1);
    reload(&runtime, &config(&packed, &requests("\"/v1\", \"/v2\""))).await;
    assert_eq!(fetch("/v2").await.expect("repaired")["status"], 200);
    reload(&runtime, &config(&packed, &requests("\"/v2\""))).await;
    assert_eq!(fetch("/v1").await.expect_err("narrowed").0, "not_granted");

    // Other methods, names and kinds need permissions of their own.
    let send = call(&runtime, "web.send", json!({ "url": format!("https://{NAME}/v2"), "method": "POST" })).await;
    assert_eq!(send.expect_err("not granted").0, "not_granted");
    for (url, code) in [
        ("https://other.example/v2", "not_granted"),
        ("http://peer.example/v2", "not_declared_nor_granted"),
        ("wss://peer.example/v2", "scheme_not_allowed"),
        ("https://peer.example@other.example/v2", "invalid_url"),
        ("https://127.0.0.1/v2", "not_granted"),
    ] {
        let refused = call(&runtime, "web.fetch", json!({ "url": url })).await.expect_err(url);
        assert_eq!(refused.0, code, "{url}: {}", refused.1);
    }
    assert_eq!(internet.dialled().len(), 2);
    // A plugin that is not granted any more has no tools, and nothing to send a request with.
    reload(&runtime, CONFIG).await;
    assert_eq!(fetch("/v2").await.expect_err("revoked").0, "not_granted");
}

#[tokio::test(flavor = "multi_thread")]
async fn tool_has_no_more_effect_than_it_declares() {
    let example = packed("web-fetch").expect("committed");
    let authority = Authority::new();
    let peer = Peer::tls(&authority, &[NAME], &HTTP, rustls::ALL_VERSIONS, echo);
    let internet = Arc::new(Internet::default());
    internet.add(NAME, peer.address);
    // The code of `web.send` is the same, and its manifest claims that it only reads.
    let manifest = example.manifest.replace("effect = \"external\"", "effect = \"read\"");
    let package = Package::open(example.package, &BundleLimits::default()).expect("a package");
    let packed = Packed::with_manifest(package.component(), &manifest);
    let granted = requests("\"/\"").replace("[\"GET\"]", "[\"GET\", \"POST\"]");
    let runtime = open(&packed, &internet, &authority, config(&packed, &granted)).await;
    let url = format!("https://{NAME}/");
    assert_eq!(call(&runtime, "web.fetch", json!({ "url": url })).await.expect("a response")["status"], 200);
    let sent = call(&runtime, "web.send", json!({ "url": url, "method": "POST" })).await;
    assert_eq!(sent.expect_err("another effect").0, "effect_not_declared");
    assert_eq!(internet.dialled().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_above_the_rate_of_a_workspace_are_refused_with_their_code() {
    let example = packed("web-fetch").expect("committed");
    let neighbour = Packed { workspace: "other".to_owned(), ..example.clone() };
    let authority = Authority::new();
    let peer = Peer::tls(&authority, &[NAME], &HTTP, rustls::ALL_VERSIONS, echo);
    let internet = Arc::new(Internet::default());
    internet.add(NAME, peer.address);
    let granted =
        |packed: &Packed| format!("{}effects = [\"external\", \"read\"]\n{}\n", packed.grant(), requests("\"/\""));
    let config = format!("{CONFIG}\n{}{}", granted(&example), granted(&neighbour));
    let egress = Some(internet.egress(&authority, EgressLimits { workspace_requests_per_second: 1, ..limits() }));
    let runtime = World { config, egress, ..world() }.open().await;
    for packed in [&example, &neighbour] {
        packed.put_package(&runtime).await;
        packed.create(&runtime).await;
    }
    let fetch = async |workspace: &str| {
        let call = ToolCall { input: json!({ "url": format!("https://{NAME}/") }), confirmed: true };
        let called = runtime.interaction(&name(workspace)).call(&id("w"), &name("web.fetch"), call).await;
        called.map(drop).map_err(|error| error.recorded_code().to_owned())
    };
    assert_eq!(fetch("acme").await, Ok(()));
    // A call takes much less than a second.
    let mut outcome = Ok(());
    for _ in 0..100 {
        if outcome.is_ok() {
            outcome = fetch("acme").await;
        }
    }
    assert_eq!(outcome, Err("rate_limited".to_owned()));
    assert_eq!(fetch("other").await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_egress_a_plugin_gets_egress_unavailable() {
    let packed = packed("web-fetch").expect("committed");
    let runtime = packed.worker(&World { config: String::new(), ..world() }).await;
    reload(&runtime, &config(&packed, &requests("\"/\""))).await;
    let refused = call(&runtime, "web.fetch", json!({ "url": format!("https://{NAME}/") })).await;
    assert_eq!(refused.expect_err("no network").0, "egress_unavailable");
}

/// Answers like an issue tracker, and echoes the credential for one query.
fn tracker(parts: &hyper::http::request::Parts) -> Answer {
    let credential = parts.headers.get("authorization").map(|value| value.as_bytes().to_vec()).unwrap_or_default();
    let (status, body) = match (parts.method.as_str(), parts.uri.path(), parts.uri.query()) {
        _ if credential != format!("Bearer {SECRET}").as_bytes() => (401, b"{}".to_vec()),
        ("GET", "/api/v2/search", Some("q=echo")) => (200, credential),
        ("GET", "/api/v2/search", _) => (200, json!([{ "id": 7, "title": "Disk is full" }]).to_string().into_bytes()),
        ("POST", "/api/v2/tickets", _) => (201, json!({ "id": 8 }).to_string().into_bytes()),
        _ => (404, b"{}".to_vec()),
    };
    Ok(Response::builder().status(status).body(full(body)).expect("a response"))
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_reaches_the_remote_system_and_nothing_else() {
    const TRACKER: &str = "tracker.example.com";
    let Some(packed) = packed("issue-tracker") else { return };
    let authority = Authority::new();
    let peer = Peer::tls(&authority, &[TRACKER], &HTTP, rustls::ALL_VERSIONS, tracker);
    let internet = Arc::new(Internet::default());
    internet.add(TRACKER, peer.address);
    let target = |method: &str, path: &str| {
        format!(
            "{{ scheme = \"https\", host = \"{TRACKER}\", methods = [\"{method}\"], path_prefixes = [\"{path}\"] }}"
        )
    };
    let requests = format!("requests = [{}, {}]", target("GET", "/api/v2/search"), target("POST", "/api/v2/tickets"));
    let secrets = "secrets = [{ name = \"issue-tracker-token\", header = \"authorization\", prefix = \"Bearer \" }]";
    let granted = config(&packed, &format!("{requests}\n{secrets}"));
    let runtime = open(&packed, &internet, &authority, granted.clone()).await;

    let found = call(&runtime, "issues.search", json!({ "query": "disk" })).await.expect("tickets");
    assert_eq!(found.to_string().matches("Disk is full").count(), 1, "{found}");
    let created = call(&runtime, "issues.create", json!({ "title": "Disk" })).await.expect("a ticket");
    assert!(created.to_string().contains('8'), "{created}");
    let echoed = call(&runtime, "issues.search", json!({ "query": "echo" })).await.expect_err("echoed");
    assert_eq!(echoed.0, "secret_echoed", "{}", echoed.1);

    let dialled = internet.dialled().len();
    reload(&runtime, &config(&packed, &requests)).await;
    let refused = call(&runtime, "issues.search", json!({ "query": "disk" })).await.expect_err("no secret");
    assert_eq!(refused.0, "secret_not_granted", "{}", refused.1);
    reload(&runtime, &granted.replace("Bearer ", "Token ")).await;
    let refused = call(&runtime, "issues.search", json!({ "query": "disk" })).await.expect_err("another place");
    assert_eq!(refused.0, "secret_not_granted", "{}", refused.1);
    assert_eq!(internet.dialled().len(), dialled);

    let logs = runtime.observation(&acme()).plugin_logs(&id("w"), 0).await.expect("logs");
    let told = format!("{:?} {logs:?} {echoed:?} {refused:?}", history(&runtime).await);
    assert!(!told.contains(SECRET), "{told}");
}

/// A chat server. It reports what its clients send, and sends what it is told.
struct Chat {
    peer: WsPeer,
    heard: UnboundedReceiver<String>,
    say: Arc<Mutex<Option<UnboundedSender<String>>>>,
}

impl Chat {
    async fn new() -> Self {
        let (report, heard) = unbounded_channel();
        let say: Arc<Mutex<Option<UnboundedSender<String>>>> = Arc::default();
        let current = say.clone();
        let peer = WsPeer::scripted(move |mut wire| {
            let (report, current) = (report.clone(), current.clone());
            async move {
                wire.accept_with(&["Sec-WebSocket-Protocol: chat.v1"]).await;
                let (sender, mut texts) = unbounded_channel::<String>();
                *current.lock().expect("a sender") = Some(sender);
                let (mut reader, mut writer) = (wire.reader, wire.writer);
                loop {
                    tokio::select! {
                        text = texts.recv() => match text.as_deref() {
                            Some("close") | None => return,
                            Some(text) => drop(writer.frame(true, 0, TEXT, text.as_bytes()).await),
                        },
                        frame = reader.read_frame() => match frame {
                            Some(frame) if frame.opcode == CLOSE => {
                                drop(report.send("closed".to_owned()));
                                writer.frame(true, 0, CLOSE, &frame.payload).await;
                                return;
                            }
                            Some(frame) => drop(report.send(String::from_utf8_lossy(&frame.payload).into_owned())),
                            None => return,
                        },
                    }
                }
            }
        })
        .await;
        Self { peer, heard, say }
    }

    fn say(&self, text: &str) {
        self.say.lock().expect("a sender").as_ref().expect("a client").send(text.to_owned()).expect("a client");
    }

    /// Waits until a client has sent a text.
    async fn hears(&mut self, expected: &str) {
        let hear = async {
            while let Some(text) = self.heard.recv().await {
                if text == expected {
                    return;
                }
            }
            panic!("no `{expected}`");
        };
        tokio::time::timeout(PATIENCE, hear).await.expect(expected);
    }
}

/// Waits until the worker's chat has received texts, and returns them.
async fn received(runtime: &Runtime, count: usize) -> Vec<String> {
    until("messages", async || {
        let recent = call(runtime, "chat.recent", json!({})).await.map_err(|error| error.1)?;
        let texts: Vec<String> =
            serde_json::from_value(recent["messages"].clone()).map_err(|error| error.to_string())?;
        if texts.len() == count { Ok(texts) } else { Err(recent.to_string()) }
    })
    .await
}

fn open_connections(runtime: &Runtime) -> u32 {
    runtime.management().open_connections().get(&acme()).copied().unwrap_or_default()
}

async fn until_open(runtime: &Runtime, count: u32) {
    until("connections", async || match open_connections(runtime) {
        now if now == count => Ok(()),
        now => Err(format!("{now} open")),
    })
    .await;
}

/// `true` if `/metrics` has this number of open WebSockets.
async fn has_websockets(api: &Api, token: &str, count: u32) -> bool {
    let text = String::from_utf8(api.get("/metrics", token).await.body).expect("text");
    text.contains(&format!("yoi_workspace_websockets{{workspace=\"acme\"}} {count}\n"))
}

/// Returns a config that grants the chat gateway connections to [`CHAT`] below a path.
fn chat_config(packed: &Packed, path: &str) -> String {
    config(
        packed,
        &format!(
            "websockets = [{{ scheme = \"wss\", host = \"{CHAT}\", path_prefixes = [\"{path}\"], subprotocols = [\"chat.v1\"] }}]\n\
             secrets = [{{ name = \"chat-token\", header = \"authorization\", prefix = \"Bearer \" }}]\n\
             config = {{ url = \"wss://{CHAT}/gateway\", heartbeat_ms = 100 }}"
        ),
    )
}

/// Returns the TLS configuration of a chat server.
fn chat_tls(authority: &Authority) -> Arc<rustls::ServerConfig> {
    authority.server(&[CHAT], &[b"http/1.1"], rustls::ALL_VERSIONS)
}

#[tokio::test(flavor = "multi_thread")]
async fn service_keeps_a_websocket_with_heartbeat_and_reconnect() {
    let packed = packed("chat-gateway").expect("committed");
    let authority = Authority::new();
    let mut chat = Chat::new().await;
    let internet = Arc::new(Internet::default());
    internet.add(CHAT, behind_tls(chat_tls(&authority), chat.peer.address).await);
    let grant = |path: &str| chat_config(&packed, path);
    let runtime = open(&packed, &internet, &authority, grant("/gateway")).await;
    until_running(&runtime).await;
    chat.hears(HEARTBEAT).await;
    let head = chat.peer.heads().remove(0).to_lowercase();
    assert!(head.contains("sec-websocket-protocol: chat.v1"), "{head}");
    assert!(head.contains(&format!("authorization: bearer {SECRET}")), "{head}");

    // A message wakes the service.
    chat.say("hello");
    assert_eq!(received(&runtime, 1).await, ["hello"]);
    call(&runtime, "chat.send", json!({ "text": "hi" })).await.expect("sent");
    chat.hears("{\"text\":\"hi\",\"type\":\"message\"}").await;

    // The plugin connects again by itself, after a second at the earliest.
    chat.say("close");
    until("a second connection", async || match chat.peer.accepted() {
        2 => Ok(()),
        count => Err(format!("{count} connections")),
    })
    .await;
    chat.hears(HEARTBEAT).await;
    chat.say("again");
    assert_eq!(received(&runtime, 2).await, ["hello", "again"]);
    assert_eq!(open_connections(&runtime), 1);
    let api = Api::of(runtime.clone());
    let (_, token) = api.token(&[Scope::Operator], &[]).await;
    assert!(has_websockets(&api, &token, 1).await);

    // Messages are not entries of the history, and neither is the secret.
    let told = format!("{:?}", history(&runtime).await);
    assert!(!told.contains(SECRET) && !told.contains("heartbeat"), "{told}");

    // A narrowed grant closes the connection.
    reload(&runtime, &grant("/elsewhere")).await;
    chat.hears("closed").await;
    until_open(&runtime, 0).await;
    reload(&runtime, &grant("/gateway")).await;
    until_open(&runtime, 1).await;
    // So does the end of the worker.
    runtime.catalogue(&acme()).stop(&id("w")).await.expect("stopped");
    chat.hears("closed").await;
    until_open(&runtime, 0).await;
    assert!(has_websockets(&api, &token, 0).await);
    let services = runtime.observation(&acme()).services(&id("w")).await.expect("services");
    assert!(!services.iter().any(|service| matches!(service.state, ServiceState::Running { .. })), "{services:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn websocket_of_a_service_is_closed_on_shutdown() {
    let packed = packed("chat-gateway").expect("committed");
    let authority = Authority::new();
    let mut chat = Chat::new().await;
    let internet = Arc::new(Internet::default());
    internet.add(CHAT, behind_tls(chat_tls(&authority), chat.peer.address).await);
    let egress = Some(internet.egress(&authority, limits()));
    let config = chat_config(&packed, "/gateway");
    let world = World { config, egress, secrets: Arc::new(OneSecret), ..world() };
    let runtime = world.open().await;
    packed.put_package(&runtime).await;
    packed.create(&runtime).await;
    chat.hears(HEARTBEAT).await;
    runtime.management().stop_services().await;
    chat.hears("closed").await;
    until_open(&runtime, 0).await;
    drop(runtime);

    // A Runtime that is dropped closes its connections as well.
    let runtime = world.open().await;
    chat.hears(HEARTBEAT).await;
    drop(runtime);
    chat.hears("closed").await;
}

/// An hour, in milliseconds. No test waits for so long.
const HOUR_MS: u64 = 3_600_000;

/// Opens a connection to [`CHAT`], and traps if it is refused. The handle is at 2056.
fn open_chat() -> String {
    format!(
        "(call $open (i32.const 4096) (i32.const {}) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
           (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048))
         (if (i32.load8_u (i32.const 2048)) (then unreachable))",
        chat_url().len()
    )
}

fn chat_url() -> String {
    format!("wss://{CHAT}/")
}

/// Packs a plugin that may connect to [`CHAT`]. Returns the package and the config that grants it.
fn chatting(plugin: Plugin, manifest: &str) -> (Packed, String) {
    let plugin = plugin
        .with("imports", include_str!("../../../tests/guests/plugins/network.wat.in"))
        .with("data", format!("(data (i32.const 4096) \"{}\")", chat_url()));
    let target = format!("scheme = \"wss\"\nhost = \"{CHAT}\"\npath_prefixes = [\"/\"]\n");
    let manifest = manifest.replace("effect = \"none\"", "effect = \"external\"");
    let manifest = format!("{manifest}[[websockets]]\n{target}reason = \"Waits for messages.\"\n");
    let packed = Packed::with_manifest(&plugin.bytes(), &manifest);
    let config = config(&packed, &format!("websockets = [{{ {} }}]", target.trim().replace('\n', ", ")));
    (packed, config)
}

/// Returns a world in which nothing that waits for [`CHAT`] times out.
async fn patient(server: SocketAddr, config: String) -> World {
    let (authority, internet) = (Authority::new(), Arc::new(Internet::default()));
    internet.add(CHAT, behind_tls(chat_tls(&authority), server).await);
    let egress =
        EgressLimits { receive_ms: HOUR_MS, idle_ms: HOUR_MS, open_ms: HOUR_MS, first_byte_ms: HOUR_MS, ..limits() };
    let egress = Some(internet.egress(&authority, egress));
    let limits = RuntimeLimits { call_ms: HOUR_MS, ..RuntimeLimits::default() };
    let sandbox = sandbox_within(|limits| limits.plugin.deadline_ms = HOUR_MS);
    World { config, egress, limits, sandbox, ..World::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn websocket_is_closed_when_its_call_is_dropped() {
    // Sends its input, and waits for a message for an hour.
    let call = format!(
        "{} (call $say (i32.load (i32.const 2056)) (i32.const 0) (local.get $input) (local.get $input_length)
           (i32.const 2200))
         (call $receive (i32.load (i32.const 2056)) (i32.const {HOUR_MS}) (i32.const 2200))
         (call $output (local.get $input) (local.get $input_length))",
        open_chat()
    );
    let (packed, config) = chatting(Plugin::tool().with("call", call), MANIFEST);
    let mut peer = WsPeer::sends(Vec::new()).await;
    let runtime = patient(peer.address, config).await.open().await;
    packed.put_package(&runtime).await;
    packed.create(&runtime).await;
    for _ in 0..3 {
        let caller = runtime.clone();
        let call = tokio::spawn(async move { run(&caller, json!({})).await });
        assert_eq!(peer.heard().await.expect("a message").payload, b"{}");
        assert_eq!(open_connections(&runtime), 1);
        call.abort();
        let close = peer.close_heard().await.expect("a close frame");
        assert_eq!(close.payload, close_payload(1000, b""));
        until_open(&runtime, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn start_that_waits_for_the_network_does_not_delay_its_workspace() {
    let (reached, mut connections) = unbounded_channel();
    let silent = Peer::tcp(move |stream| {
        let reached = reached.clone();
        async move {
            reached.send(()).expect("a test");
            drain(stream).await;
        }
    });
    let start = format!("{} (call $turn)", open_chat());
    let (packed, config) = chatting(Plugin::service().with("start", start), &service(""));
    let runtime = patient(silent.address, config).await.open().await;
    packed.put_package(&runtime).await;
    let created = async {
        packed.create(&runtime).await;
        connections.recv().await.expect("the start of the first worker");
        let request = CreateWorkerRequest::of_bundle(name("main"), packed.bundle().digest());
        runtime.catalogue(&acme()).create(id("v"), request).await.expect("a worker");
        connections.recv().await.expect("the start of the second worker");
    };
    tokio::time::timeout(PATIENCE, created).await.expect("both workers");
    for worker in ["v", "w"] {
        let services = runtime.observation(&acme()).services(&id(worker)).await.expect("services");
        assert!(matches!(services[0].state, ServiceState::Starting), "{services:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_calls_leave_no_connection() {
    let packed = packed("web-fetch").expect("committed");
    let authority = Authority::new();
    // Answers after a time that some of the calls do not wait for.
    let peer = Peer::tcp(|stream| async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        drop(stream);
    });
    let internet = Arc::new(Internet::default());
    internet.add(NAME, peer.address);
    let runtime = open(&packed, &internet, &authority, config(&packed, &requests("\"/\""))).await;
    let mut random = crate::dropped::Rng(0x51ed_270b);
    for _ in 0..100 {
        let call = call(&runtime, "web.fetch", json!({ "url": format!("https://{NAME}/") }));
        let _ = tokio::time::timeout(Duration::from_micros(random.below(4000)), call).await;
    }
    peer.closed().await;
    let (running, queued) = runtime.management().load(&acme());
    assert_eq!((running, queued), (0, 0));
}
