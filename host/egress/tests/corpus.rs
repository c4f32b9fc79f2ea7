//! The corpora of URLs through the host calls of real components. Every verdict is that of the pure decision, and nothing
//! is dialled that the decision does not allow.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bundles::manifest::Effect;
use component_host::compile::cache::CompileCache;
use component_host::host_api::{Clocks, HostApi, LogLine, Random};
use component_host::{Allocation, Invocation, PluginLimits, Sandbox, SandboxConfig, ToolPlugin};
use egress::{
    Dialer, Egress, EgressLimits, EgressSettings, FixedPermissions, NameResolver, NetworkPermissions,
    RequiredPermissions, ResolveError, TlsRoots,
};
use host_policy::{AddressPolicy, CaseError, EgressCase, PermissionSet};
use hyper::Response;
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;

use crate::component::Plugin;
use crate::support::http_peer::{Authority, Peer, echo, full};
use crate::support::{NAME, Secrets};

/// Names and addresses of one case. Everything that is dialled is recorded, and leads to the server of the case.
#[derive(Debug, Default)]
struct CaseNetwork {
    /// Answers to the look-ups of a name, in order. `None` never comes.
    names: Mutex<BTreeMap<String, Vec<Option<Vec<IpAddr>>>>>,
    looked_up: Mutex<Vec<String>>,
    dialled: Mutex<Vec<SocketAddr>>,
    server: Option<SocketAddr>,
}

#[async_trait]
impl NameResolver for CaseNetwork {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        self.looked_up.lock().expect("names").push(name.to_owned());
        let answer = {
            let mut names = self.names.lock().expect("names");
            let answers = names.get_mut(name).ok_or(ResolveError::NotFound)?;
            if answers.len() > 1 {
                answers.remove(0)
            } else {
                answers.first().cloned().ok_or(ResolveError::NotFound)?
            }
        };
        match answer {
            Some(addresses) => Ok(addresses),
            None => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Dialer for CaseNetwork {
    async fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        self.dialled.lock().expect("addresses").push(address);
        TcpStream::connect(self.server.ok_or(std::io::ErrorKind::ConnectionRefused)?).await
    }
}

fn addresses(value: &Value) -> Option<Vec<IpAddr>> {
    let list = value.as_array()?.iter();
    Some(list.filter_map(|address| address.as_str()?.parse().ok()).collect())
}

impl CaseNetwork {
    fn of(fields: &Map<String, Value>, server: Option<SocketAddr>) -> Self {
        let mut names: BTreeMap<String, Vec<Option<Vec<IpAddr>>>> = BTreeMap::new();
        for (name, answer) in fields.get("dns").and_then(Value::as_object).into_iter().flatten() {
            names.insert(name.clone(), vec![addresses(answer)]);
        }
        for (name, answers) in fields.get("dns_sequence").and_then(Value::as_object).into_iter().flatten() {
            names.insert(name.clone(), answers.as_array().expect("answers").iter().map(addresses).collect());
        }
        Self { names: Mutex::new(names), server, ..Self::default() }
    }

    fn looked_up(&self) -> Vec<String> {
        self.looked_up.lock().expect("names").clone()
    }

    fn dialled(&self) -> Vec<SocketAddr> {
        self.dialled.lock().expect("addresses").clone()
    }
}

#[derive(Debug)]
struct Nothing;

impl Clocks for Nothing {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn wall(&self) -> Duration {
        Duration::ZERO
    }
}

impl Random for Nothing {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        bytes.fill(0);
        Ok(())
    }
}

fn component(example: &str) -> Vec<u8> {
    let path = crate::root().join("tests/guests/plugins/examples").join(example).join("component.wasm");
    std::fs::read(path).expect("a committed component")
}

/// Returns a tool that opens a connection. It fails with the code of a refusal.
fn opening(url: &str) -> Vec<u8> {
    let bytes: String = url.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    // The result is at 2048, and the case of its failure at 2056: 0 is `denied`, 1 is `invalid-url`.
    let call = format!(
        "(call $open (i32.const 4096) (i32.const {}) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
           (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048))
         (if (i32.load8_u (i32.const 2048)) (then
           (if (i32.eqz (i32.load8_u (i32.const 2056))) (then
             (return (call $failure (i32.const 1) (i32.load (i32.const 2064)) (i32.load (i32.const 2068))
               (i32.load (i32.const 2072)) (i32.load (i32.const 2076))))))
           (if (i32.eq (i32.load8_u (i32.const 2056)) (i32.const 1)) (then
             (return (call $failure (i32.const 0) (i32.const 64) (i32.const 11) (i32.const 64) (i32.const 11)))))))
         (call $output (i32.const 32) (i32.const 4))",
        url.len()
    );
    let data = "(data (i32.const 32) \"null\") (data (i32.const 64) \"invalid_url\")";
    Plugin::tool()
        .with("imports", include_str!("../../../tests/guests/plugins/network.wat.in"))
        .with("data", format!("{data} (data (i32.const 4096) \"{bytes}\")"))
        .with("call", call)
        .bytes()
}

/// The guests that send what a case asks for.
struct Guests {
    sandbox: Sandbox,
    fetch: ToolPlugin,
}

impl Guests {
    async fn load() -> Self {
        let cache = CompileCache::open(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled")).expect("a cache");
        let config = SandboxConfig { allocation: Allocation::Pooled, cache: Some(cache), ..SandboxConfig::default() };
        let sandbox = Sandbox::new(config).expect("a sandbox");
        let fetch = sandbox.load_tool(&component("web-fetch")).await.expect("a tool");
        Self { sandbox, fetch }
    }

    /// Sends the request of a case. Returns the code of its failure.
    async fn request(&self, case: &EgressCase<'_>, host: HostApi) -> Result<(), String> {
        let method = case.text("method");
        let tool = if matches!(method, "GET" | "HEAD") { "web.fetch" } else { "web.send" };
        let headers: BTreeMap<String, String> = case.headers().into_iter().collect();
        let invocation = Invocation {
            id: "1".to_owned(),
            tool: tool.parse().expect("a name"),
            input: json!({ "url": case.text("url"), "method": method, "headers": headers }),
            remaining: Duration::from_secs(10),
        };
        let run = self.fetch.call(&invocation, host, &PluginLimits::default()).await;
        run.result.expect("an answer").map(drop).map_err(|failure| failure.code.as_str().to_owned())
    }

    /// Opens the connection of a case. Returns the code of its failure.
    async fn connection(&self, case: &EgressCase<'_>, host: HostApi) -> Result<(), String> {
        let plugin = self.sandbox.load_tool(&opening(case.text("url"))).await.expect("a tool");
        let (input, remaining) = (json!({}), Duration::from_secs(10));
        let invocation = Invocation { id: "1".to_owned(), tool: "open".parse().expect("a name"), input, remaining };
        let run = plugin.call(&invocation, host, &PluginLimits::default()).await;
        run.result.expect("an answer").map(drop).map_err(|failure| failure.code.as_str().to_owned())
    }
}

fn corpus(name: &str) -> Option<Value> {
    match std::fs::read(crate::root().join("../shared/corpora/url").join(name)) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).expect("the corpus is JSON")),
        Err(_) => {
            eprintln!("skipped: the corpus `{name}` is missing");
            None
        }
    }
}

/// Returns the interfaces of an instance on a network.
fn host_api(network: &Arc<CaseNetwork>, permissions: NetworkPermissions, authority: &Authority) -> HostApi {
    let egress = Egress::new(EgressSettings {
        names: network.clone(),
        dialer: network.clone(),
        roots: TlsRoots::Only(vec![authority.root()]),
        limits: EgressLimits { connect_ms: 300, open_ms: 300, ..EgressLimits::default() },
        addresses: AddressPolicy::with_test_net_3(),
    });
    let (permissions, secrets) = (Arc::new(FixedPermissions::new(permissions)), Arc::new(Secrets(BTreeMap::new())));
    let access = Arc::new(egress.expect("egress").access(
        "team".parse().expect("an id"),
        permissions,
        secrets,
        Effect::External,
    ));
    HostApi {
        requests: access.clone(),
        websockets: access,
        log: Arc::new(Mutex::<Vec<LogLine>>::default()),
        clocks: Arc::new(Nothing),
        random: Arc::new(Nothing),
    }
}

/// Starts the server of a case, which answers every request alike.
fn server(authority: &Authority, case: &EgressCase<'_>, server: &Value) -> Peer {
    let url: url::Url = case.text("url").parse().expect("a URL");
    let status = server["status"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status");
    let mut headers: Vec<(String, String)> = Vec::new();
    headers.extend(server["location"].as_str().map(|location| ("location".to_owned(), location.to_owned())));
    for header in server["headers"].as_array().into_iter().flatten() {
        let text = |place: usize| header[place].as_str().expect("text").to_owned();
        headers.push((text(0), text(1)));
    }
    let names = [url.host_str().expect("a host")];
    Peer::tls(authority, &names, &[b"http/1.1"], rustls::ALL_VERSIONS, move |_| {
        let response = Response::builder().status(status);
        let response = headers.iter().fold(response, |response, (name, value)| response.header(name, value));
        Ok(response.body(full("")).expect("a response"))
    })
}

/// Codes of exchanges that were allowed, and failed because there is no server.
const ALLOWED: [&str; 5] = ["unreachable_connect", "unreachable_tls", "unreachable_reset", "timed_out", "refused"];

#[tokio::test(flavor = "multi_thread")]
async fn verdict_through_a_component_is_that_of_the_pure_decision() {
    let Some(corpus) = corpus("permission_cases.json") else { return };
    let (guests, authority) = (Guests::load().await, Authority::new());
    let policy = AddressPolicy::with_test_net_3();
    let (mut judged, mut wrong) = (0, Vec::new());
    for fields in corpus["cases"].as_array().expect("cases").iter().filter_map(Value::as_object) {
        for marks_every_host in [false, true] {
            let case = EgressCase::new(fields, marks_every_host);
            let is_websocket = case.text("api") == "websocket";
            // The contract has no other methods, so a component cannot even ask for one.
            let is_method = matches!(case.request(), Err(CaseError::Method));
            if is_method {
                continue;
            }
            let peer = fields.get("server").map(|answer| server(&authority, &case, answer));
            let network = Arc::new(CaseNetwork::of(fields, peer.as_ref().map(|peer| peer.address)));
            let keys = RequiredPermissions {
                targets: Arc::new(case.permissions("targets")),
                grants: Arc::new(case.permissions("grants")),
            };
            let permissions =
                NetworkPermissions { requests: keys.clone(), websockets: keys, ..NetworkPermissions::default() };
            let host = || host_api(&network, permissions.clone(), &authority);
            let repeats = fields.get("repeat").and_then(Value::as_u64).unwrap_or(1);
            let mut verdict = Ok(());
            for _ in 0..repeats {
                verdict = match is_websocket {
                    true => guests.connection(&case, host()).await,
                    false => guests.request(&case, host()).await,
                };
            }
            judged += 1;
            let allowed = case.check(&policy);
            let (id, dialled) = (case.text("id"), network.dialled());
            let expected = match &allowed {
                Ok(_) => None,
                Err(CaseError::Refused(refusal)) if refusal.is_invalid_url() => Some("invalid_url"),
                Err(error) => Some(error.code()),
            };
            let is_right = match (expected, &verdict) {
                (None, Ok(())) => true,
                (None, Err(code)) => ALLOWED.contains(&code.as_str()),
                (Some(expected), Err(code)) => expected == code || hangs(fields),
                (Some(_), Ok(())) => false,
            };
            if !is_right {
                wrong.push(format!("{id}: expected {expected:?}, got {verdict:?}"));
            }
            let checked = allowed.map(|checked| checked.as_slice().to_vec()).unwrap_or_default();
            let never = case.list("never_connect");
            for address in &dialled {
                assert!(checked.contains(address), "{id}: {address} was dialled");
                assert!(!never.contains(&json!(address.ip().to_string())), "{id}: {address} was dialled");
            }
            for seen in peer.iter().flat_map(Peer::seen) {
                let is_forbidden = |path: &Value| seen.contains(path.as_str().expect("a path"));
                assert!(!case.list("never_path").iter().any(is_forbidden), "{id}: {seen}");
            }
        }
    }
    assert!(judged > 200, "{judged}");
    assert!(wrong.is_empty(), "{} of {judged}:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_looks_its_name_up_once_and_a_rebound_or_mixed_answer_is_refused() {
    const SPECIAL: Result<(), &str> = Err("special_address_not_declared_nor_granted");
    let (guests, authority) = (Guests::load().await, Authority::new());
    let peer = Peer::tls(&authority, &[NAME], &[b"http/1.1"], rustls::ALL_VERSIONS, echo);
    for (answers, verdicts) in [
        (json!([["203.0.113.7"]]), &[Ok(()), Ok(())][..]),
        // The name is bound to another address after it was checked.
        (json!([["203.0.113.7"], ["127.0.0.1"]]), &[Ok(()), SPECIAL, SPECIAL]),
        (json!([["203.0.113.7"], ["10.0.0.1"], ["203.0.113.7"]]), &[Ok(()), SPECIAL, Ok(())]),
        (json!([["203.0.113.7"], ["169.254.169.254"]]), &[Ok(()), SPECIAL]),
        (json!([["127.0.0.1"], ["203.0.113.7"]]), &[SPECIAL, Ok(())]),
        // One address of several must not be dialled.
        (json!([["203.0.113.7", "10.0.0.1"]]), &[SPECIAL]),
        (json!([["::1", "203.0.113.7"]]), &[SPECIAL]),
        (json!([["203.0.113.7", "::ffff:127.0.0.1", "203.0.113.8"]]), &[SPECIAL]),
    ] {
        for (api, scheme, methods) in [("request", "https", json!(["GET"])), ("websocket", "wss", json!([]))] {
            let target = json!({ "scheme": scheme, "host": NAME, "methods": methods, "path_prefixes": ["/"] });
            let url = format!("{scheme}://{NAME}/");
            let fields = json!({
                "api": api, "method": "GET", "url": url, "targets": [target], "grants": [target],
                "dns_sequence": { NAME: answers },
            });
            let fields = fields.as_object().expect("an object");
            let case = EgressCase::new(fields, false);
            let network = Arc::new(CaseNetwork::of(fields, Some(peer.address)));
            let set = Arc::new(case.permissions("targets"));
            assert_eq!(set.as_slice().len(), 1);
            let keys = RequiredPermissions { targets: set.clone(), grants: set };
            let permissions =
                NetworkPermissions { requests: keys.clone(), websockets: keys, ..NetworkPermissions::default() };
            // One instance makes all requests, so that nothing of an earlier one can be used again.
            let host = host_api(&network, permissions, &authority);
            for (place, expected) in verdicts.iter().enumerate() {
                let verdict = match api {
                    "request" => guests.request(&case, host.clone()).await,
                    _ => guests.connection(&case, host.clone()).await,
                };
                assert_eq!(verdict, expected.map_err(str::to_owned), "{api} {answers} {place}");
                assert_eq!(network.looked_up(), vec![NAME; place + 1], "{api} {answers}");
            }
            let allowed = verdicts.iter().filter(|verdict| verdict.is_ok()).count();
            let address = SocketAddr::from(([203, 0, 113, 7], 443));
            assert_eq!(network.dialled(), vec![address; allowed], "{api} {answers}");
        }
    }
}

/// `true` if a name of the case is never resolved.
fn hangs(fields: &Map<String, Value>) -> bool {
    let names = fields.get("dns").and_then(Value::as_object);
    names.is_some_and(|names| names.values().any(|answer| answer == "hang"))
}

#[tokio::test(flavor = "multi_thread")]
async fn url_that_the_standard_refuses_is_never_dialled() {
    let Some(corpus) = corpus("urltestdata.json") else { return };
    let (guests, authority) = (Guests::load().await, Authority::new());
    let network = Arc::new(CaseNetwork::default());
    let everything = |scheme: &str, methods: &[&str]| {
        let value = json!({
            "scheme": scheme, "host": "*", "methods": methods, "path_prefixes": ["/"], "broad": true, "local": true, "metadata": true
        });
        serde_json::from_value::<bundles::UrlPermission>(value).expect("a permission")
    };
    let all = PermissionSet::new([everything("http", &["GET"]), everything("https", &["GET"]), everything("ws", &[])]);
    let keys = RequiredPermissions { targets: Arc::new(all.clone()), grants: Arc::new(all) };
    let permissions = NetworkPermissions { requests: keys.clone(), websockets: keys, ..NetworkPermissions::default() };
    let mut refused = 0;
    for case in corpus.as_array().expect("cases") {
        let fails = case["failure"] == json!(true) && case["base"].is_null();
        let Some(input) = case["input"].as_str().filter(|_| fails) else { continue };
        let fields = json!({ "api": "request", "method": "GET", "url": input });
        let case = EgressCase::new(fields.as_object().expect("an object"), false);
        let failed = guests.request(&case, host_api(&network, permissions.clone(), &authority)).await;
        let code = failed.expect_err(input);
        assert!(matches!(code.as_str(), "invalid_url" | "scheme_not_allowed" | "malformed_url"), "{input:?}: {code}");
        refused += 1;
    }
    assert!(refused > 100, "{refused}");
    assert_eq!(network.dialled(), []);
}
