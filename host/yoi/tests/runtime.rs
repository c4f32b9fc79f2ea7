//! `yoi runtime`: a service from its first config to its end, and the maintenance of its data.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use worker_runtime::metadata::{Batch, Key, MetadataStore, SqliteMetadata};
use worker_runtime::{DataFolder, Runtime, SystemClock, blob_store};

use crate::support::{Place, examples, snapshot};

/// More than twenty times the expected time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// A running service.
pub(crate) struct ServiceProcess {
    child: Child,
    pub(crate) address: String,
}

impl ServiceProcess {
    /// Starts a service and waits until it listens.
    pub(crate) fn start(place: &Place, config: &str) -> Self {
        let mut command = place.command();
        command.args(["runtime", "serve", "--config", config, "--log-format", "json"]);
        let log = std::fs::File::create(place.path().join("log")).expect("a log");
        Self::of(command.stderr(log), || std::fs::read_to_string(place.path().join("log")).unwrap_or_default())
    }

    pub(crate) fn of(command: &mut Command, log: impl Fn() -> String) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("started");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on http://").map(str::to_owned);
        Self { child, address: address.unwrap_or_else(|| panic!("{line}{}", log())) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal).expect("sent");
    }

    /// Stops the service with SIGTERM and returns its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().expect("ended").code()
    }

    /// Sends a request on a new connection and returns the status and the body.
    fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).expect("connected");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
             content-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).unwrap_or_else(|_| json!(body)))
    }

    fn config_outcome(&self) -> Value {
        let (_, verbose) = self.ask("GET", "/readyz?verbose", "", "");
        let checks = verbose["checks"].as_array().expect("checks");
        checks.iter().find(|check| check["name"] == "config").expect("one of the config")["outcome"].clone()
    }
}

impl Drop for ServiceProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Writes the config of `init` with port 0, and returns a token with all scopes.
pub(crate) fn set_up(place: &Place) -> String {
    let said = place.yoi(&["runtime", "init", "--workspace", "acme"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    change(place, "listen = \"127.0.0.1:7070\"", "listen = \"127.0.0.1:0\"\nsecrets = \"secrets\"");
    token(place, "read,bundles,workers,call,operator")
}

fn token(place: &Place, scopes: &str) -> String {
    let arguments = ["runtime", "token", "new", "--config", "runtime.toml", "--name", "t", "--workspace", "acme"];
    let said = place.yoi(&[&arguments[..], &["--scope", scopes]].concat());
    assert_eq!(said.code, 0, "{}", said.stderr);
    said.stdout.trim().to_owned()
}

pub(crate) fn change(place: &Place, from: &str, to: &str) {
    let path = place.path().join("runtime.toml");
    let text = std::fs::read_to_string(&path).expect("a config");
    assert!(text.contains(from), "{from}");
    std::fs::write(path, text.replace(from, to)).expect("written");
}

#[test]
fn config_of_init_works_unchanged() {
    let place = Place::new();
    let said = place.yoi(&["runtime", "init"]);
    snapshot!("runtime_init", format!("{}{}", said.stdout, said.stderr));
    snapshot!("runtime_toml", std::fs::read_to_string(place.path().join("runtime.toml")).expect("a config"));
    let (again, code) = place.json(&["runtime", "init"]);
    assert_eq!((again["code"].as_str(), code), (Some("already_there"), 1));
    std::fs::remove_file(place.path().join("runtime.toml")).expect("removed");
    let token = set_up(&place);
    let serving = ServiceProcess::start(&place, "runtime.toml");
    assert_eq!(serving.ask("GET", "/livez", "", ""), (200, json!("ok\n")));
    let (status, about) = serving.ask("GET", "/v1/runtime", &token, "");
    assert_eq!((status, &about["runtime"]["workspaces"]), (200, &json!(["acme"])));
    assert_eq!(about["capabilities"]["tools"], json!(["fs.list", "fs.read", "fs.write"]));
    // No other process can use the folder while the service runs.
    let (error, code) = place.json(&["runtime", "token", "list", "--config", "runtime.toml"]);
    assert_eq!((error["code"].as_str(), code), (Some("store_in_use"), 1));
    // A running service issues tokens if the caller has the scope `operator`.
    let url = format!("http://{}", serving.address);
    let asking =
        |arguments: &[&str], token: &str| place.with_env(arguments, &[("YOI_URL", &url), ("YOI_TOKEN", token)]);
    let new = ["runtime", "token", "new", "--name", "ci", "--scope", "read", "--workspace", "acme"];
    let reader = asking(&new, &token);
    assert_eq!(reader.code, 0, "{}", reader.stderr);
    let reader = reader.stdout.trim();
    assert_eq!(serving.ask("GET", "/v1/workers", reader, "").0, 200);
    assert_eq!(asking(&new, reader).code, 4);
    assert_eq!(asking(&["runtime", "token", "list"], &token).stdout.lines().count(), 2);
    let reader_id = reader.split('_').nth(1).expect("an id");
    assert_eq!(asking(&["runtime", "token", "revoke", reader_id], &token).code, 0);
    assert_eq!(serving.ask("GET", "/v1/workers", reader, "").0, 401);
    let collected = asking(&["runtime", "gc"], &token);
    assert_eq!((collected.code, collected.stdout.lines().last()), (0, Some("no workspace  0 blobs")));
    assert_eq!(serving.stop(), Some(0));
    let (tokens, _) = place.json(&["runtime", "token", "list", "--config", "runtime.toml"]);
    let first = |one: &&Value| one["name"] == "t";
    let first = tokens["tokens"].as_array().expect("tokens").iter().find(first).expect("the first");
    let id = first["id"].as_str().expect("an id").to_owned();
    let revoked = place.yoi(&["runtime", "token", "revoke", "--config", "runtime.toml", &id]);
    assert_eq!((revoked.code, revoked.stdout), (0, format!("revoked {id}\n")));
    let serving = ServiceProcess::start(&place, "runtime.toml");
    assert_eq!(serving.ask("GET", "/v1/runtime", &token, "").0, 401);
}

#[test]
fn config_is_reloaded_as_a_whole_or_not_at_all() {
    let place = Place::new();
    let token = set_up(&place);
    std::fs::create_dir(place.path().join("repo")).expect("made");
    let repo = place.path().join("repo").to_str().expect("UTF-8").to_owned();
    let grant = format!("mounts.repo = {{ path = \"{repo}\", access = \"write\" }}\nsecrets = []");
    change(&place, "secrets = []", &grant);
    let serving = ServiceProcess::start(&place, "runtime.toml");
    let (status, made) = serving.ask("PUT", "/v1/workers/w", &token, r#"{"profile":"builtin:coder"}"#);
    assert_eq!(status, 201, "{made}");
    let mut files = 0;
    let mut write = || {
        files += 1;
        let input = json!({ "mount": "repo", "path": format!("{files}.txt"), "text": "hello" });
        let call = json!({ "input": input, "confirmed": true }).to_string();
        serving.ask("POST", "/v1/workers/w/tools/fs.write", &token, &call).0
    };
    assert_eq!(write(), 200);
    assert_eq!(std::fs::read(place.path().join("repo/1.txt")).expect("written"), b"hello");

    // A config with a mistake is reported and does not take effect.
    change(&place, "models = []", "modles = []");
    until("the mistake is seen", || serving.config_outcome() == "invalid_config");
    assert_eq!(write(), 200);
    change(&place, "modles = []", "models = []\n");
    until("the config is sound again", || serving.config_outcome() == "ok");
    // Settings of the service do not change until a restart.
    change(&place, "# running_calls = 1", "running_calls = 2");
    until("it is another service", || serving.config_outcome() == "restart_needed");
    assert_eq!(write(), 200);
    // The policy of the host changes without a restart.
    change(&place, "access = \"write\"", "access = \"read\"");
    until("the grant is narrow beside it", || write() == 409);
    assert_eq!(serving.config_outcome(), "restart_needed");
    change(&place, "access = \"read\"", "access = \"write\"");
    change(&place, "running_calls = 2", "# running_calls = 1");
    until("the config is sound again", || serving.config_outcome() == "ok" && write() == 200);
    // A narrower grant applies from the next call on.
    change(&place, "access = \"write\"", "access = \"read\"");
    serving.signal(rustix::process::Signal::HUP);
    until("the grant is narrow", || write() == 409);
    let log = || std::fs::read_to_string(place.path().join("log")).expect("a log");
    until("what it means for workers is told", || log().contains("\"worker\":\"w\""));
    assert_eq!(serving.stop(), Some(0));
    // The resolution of the worker can be replayed.
    let record = made["record"].as_str().expect("a digest");
    let (told, code) = place.json(&["resolver", "replay", record, "--data", "yoi-data"]);
    assert_eq!((&told["records"][0]["outcome"], code), (&json!("identical"), 0), "{told}");
    let log = log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    // No document has a duplicate key, of which a parser would choose one.
    for line in log.lines() {
        assert_eq!(line.matches("\"message\":").count(), 1, "{line}");
    }
    let told = |code: &str| lines.iter().any(|line| line["target"] == "yoi::config" && line["code"] == code);
    assert!(told("invalid_config") && told("restart_needed"), "{log}");
    let changed = lines.iter().find(|line| line["worker"] == "w").expect("what it means for the worker");
    assert_eq!((&changed["refused"], &changed["workspace"]), (&json!(true), &json!("acme")));
    assert!(!log.contains(place.path().to_str().expect("UTF-8")) && !log.contains("hello"), "{log}");
}

#[test]
fn config_is_compared_by_content_and_stays_in_force_while_its_file_is_missing() {
    let place = Place::new();
    let token = set_up(&place);
    std::fs::create_dir(place.path().join("repo")).expect("a folder");
    place.write("repo/a.txt", "hello");
    let repo = place.path().join("repo").to_str().expect("UTF-8").to_owned();
    change(&place, "secrets = []", &format!("mounts.repo = {{ path = \"{repo}\", access = \"write\" }}\nsecrets = []"));
    // All files have the same modification time, as in a reproducible image. A link switches between them.
    let config = place.path().join("runtime.toml");
    let text = std::fs::read_to_string(&config).expect("a config");
    let grant = "mounts.repo =";
    let without = text.replace(grant, "mounts.rep0 =");
    let epoch = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let write = |name: &str, text: &str| {
        let path = place.path().join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::File::options().write(true).open(&path).expect("a file").set_modified(epoch).expect("a time");
        path
    };
    let (granted, taken) = (write("granted.toml", &text), write("taken.toml", &without));
    let turn = |to: &std::path::Path| {
        let new = place.path().join("new");
        std::os::unix::fs::symlink(to, &new).expect("a link");
        std::fs::rename(&new, &config).expect("turned");
    };
    turn(&granted);
    let serving = ServiceProcess::start(&place, "runtime.toml");
    assert_eq!(serving.ask("PUT", "/v1/workers/w", &token, r#"{"profile":"builtin:coder"}"#).0, 201);
    let read = || {
        let call = json!({ "input": { "mount": "repo", "path": "a.txt" } }).to_string();
        serving.ask("POST", "/v1/workers/w/tools/fs.read", &token, &call).0
    };
    assert_eq!(read(), 200);
    turn(&taken);
    until("the grant is gone", || read() != 200);
    turn(&granted);
    until("the grant is back", || read() == 200);
    // The content changes, and the file, its length and its time do not.
    write("granted.toml", &without);
    until("the grant is gone", || read() != 200);
    write("granted.toml", &text);
    until("the grant is back", || read() == 200);
    // While the config cannot be read, the previous one stays in force.
    std::fs::rename(&granted, place.path().join("elsewhere")).expect("moved");
    until("it is told", || serving.config_outcome() == "not_found");
    assert_eq!(read(), 200);
    rustix::fs::mknodat(rustix::fs::CWD, &granted, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .expect("a FIFO");
    until("it is told", || serving.config_outcome() == "unreadable");
    std::fs::remove_file(&granted).expect("removed");
    write("granted.toml", &without);
    until("the next one is in force", || read() != 200);
    assert_eq!(serving.config_outcome(), "ok");
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn root_certificates_of_a_config_are_read_before_the_service_starts() {
    let place = Place::new();
    set_up(&place);
    change(&place, "# certificates = \"ca.pem\"", "certificates = \"ca.pem\"");
    let refusal = || {
        let (checked, code) = place.json(&["runtime", "check", "--config", "runtime.toml"]);
        (code, checked["config"]["refused"][0]["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(refusal(), (5, "not_found".to_owned()));
    place.write("ca.pem", "no certificate");
    assert_eq!(refusal(), (3, "invalid_config".to_owned()));
    let said = place.yoi(&["runtime", "serve", "--config", "runtime.toml"]);
    assert_eq!(said.code, 3);
    assert!(said.stderr.contains("help: let `certificates` under [egress] name a file"), "{}", said.stderr);
}

/// Starts an HTTPS server on `127.0.0.1` that answers every request with `ok`. Returns its port and its root certificate in
/// PEM.
fn https_server() -> (u16, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let pem =
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(certificate.der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        );
    let config = Arc::new(config.expect("certificate and key belong together"));
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(config.clone()).expect("a connection");
            let mut stream = StreamOwned::new(connection, stream.expect("a client"));
            let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
            while !head.ends_with(b"\r\n\r\n") {
                // A client that rejects the certificate closes the connection.
                match stream.read(&mut buffer) {
                    Ok(read) if read > 0 => head.extend_from_slice(&buffer[..read]),
                    _ => break,
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (port, pem)
}

#[test]
fn plugin_reaches_a_system_only_with_the_root_certificate_that_the_config_names() {
    let ((port, pem), (_, other)) = (https_server(), https_server());
    let place = Place::new();
    let token = set_up(&place);
    change(&place, "# certificates = \"ca.pem\"", "certificates = \"ca.pem\"");
    let example = examples().join("../../tests/guests/plugins/examples/web-fetch");
    let manifest = std::fs::read_to_string(example.join("plugin.toml")).expect("a manifest");
    let target = format!("host = \"127.0.0.1\"\nport = {port}");
    place.write("web-fetch/plugin.toml", manifest.replace("host = \"*\"\nbroad = true", &target));
    place.write("web-fetch/component.wasm", std::fs::read(example.join("component.wasm")).expect("a component"));
    place.write(
        "team/bundle.toml",
        "schema = \"yoi.config-bundle/1\"\nrevision = 1\ncreated_at = \"2026-06-25T15:49:30Z\"\nlanguage = \"en\"\n\
         [workspace]\nid = \"acme\"\n[tools.\"web.fetch\"]\nsource = \"plugin:web-fetch\"\n",
    );
    place.write("team/profiles/plain.toml", "plugins = [\"web-fetch\"]\ntools_allow = [\"web.fetch\"]\n");
    place.write("team/plugins/web-fetch.toml", "package = \"web-fetch.tar\"\n");
    for arguments in [
        &["plugin", "pack", "web-fetch", "-o", "team/plugins/web-fetch.tar"][..],
        &["plugin", "enable", "web-fetch", "--config", "runtime.toml", "--workspace", "acme", "--all"],
    ] {
        let (told, code) = place.json(arguments);
        assert_eq!(code, 0, "{told}");
    }
    for (root, is_trusted) in [(&other, false), (&pem, true)] {
        place.write("ca.pem", root);
        let serving = ServiceProcess::start(&place, "runtime.toml");
        let url = serving.url();
        let yoi = |arguments: &[&str]| {
            place.json_with(arguments, &[("YOI_URL", url.as_str()), ("YOI_TOKEN", token.as_str())])
        };
        for arguments in [&["runtime", "put", "team"][..], &["worker", "create", "w", "-p", "plain", "-b", "newest"]] {
            let (told, code) = yoi(arguments);
            assert_eq!(code, 0, "{told}");
        }
        let input = json!({ "url": format!("https://127.0.0.1:{port}/") }).to_string();
        let (called, code) = yoi(&["worker", "call", "w", "web.fetch", &input]);
        if is_trusted {
            assert_eq!((code, &called["output"]["body"]), (0, &json!("ok")), "{called}");
        } else {
            assert_eq!((code, &called["details"]["tool_code"]), (1, &json!("unreachable_tls")), "{called}");
        }
        assert_eq!(serving.stop(), Some(0));
    }
}

#[test]
fn config_change_during_startup_is_applied() {
    let place = Place::new();
    set_up(&place);
    change(&place, "# component_limits = \"limits.toml\"", "component_limits = \"limits\"");
    // The limits file is read after the config. As a FIFO, it blocks the start until the test writes to it.
    let fifo = place.path().join("limits");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("a FIFO");
    let serving = std::thread::scope(|scope| {
        let starting = scope.spawn(|| ServiceProcess::start(&place, "runtime.toml"));
        let limits = std::fs::OpenOptions::new().write(true).open(&fifo).expect("the service reads");
        change(&place, "models = []", "modles = []");
        drop(limits);
        starting.join().expect("started")
    });
    until("the mistake is seen", || serving.config_outcome() == "invalid_config");
}

#[test]
fn service_with_an_unread_log_answers() {
    const REQUESTS: usize = 3000;
    let place = Place::new();
    set_up(&place);
    let mut command = place.command();
    command.args(["runtime", "serve", "--config", "runtime.toml", "--log-format", "json"]);
    let mut serving = ServiceProcess::of(command.stderr(Stdio::piped()), String::new);
    // The pipe is open and never read. The log is longer than a pipe can buffer.
    let log = serving.child.stderr.take().expect("piped");
    let mut stream = TcpStream::connect(&serving.address).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("set");
    let request = format!("GET /livez HTTP/1.1\r\nhost: {}\r\n\r\n", serving.address);
    let mut answers = BufReader::new(stream.try_clone().expect("the same"));
    for asked in 0..REQUESTS {
        stream.write_all(request.as_bytes()).expect("written");
        let mut length = 0;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            let read = answers.read_line(&mut line).unwrap_or_else(|error| panic!("request {asked}: {error}"));
            assert_ne!(read, 0, "request {asked} has no answer");
            if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = bytes.trim().parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        answers.read_exact(&mut body).expect("a body");
        assert_eq!(body, b"ok\n");
    }
    drop((stream, answers));
    assert_eq!(serving.stop(), Some(0));
    drop(log);
}

/// Returns a schema with 2^40 applications of subschemas.
fn doubling_schema() -> String {
    let mut all = serde_json::Map::new();
    all.insert("a0".to_owned(), json!({ "not": { "type": "string" } }));
    for level in 1..=40 {
        let below = json!({ "$ref": format!("#/$defs/a{}", level - 1) });
        all.insert(format!("a{level}"), json!({ "allOf": [below, below] }));
    }
    json!({ "$ref": "#/$defs/a40", "$defs": all }).to_string()
}

#[test]
fn service_stops_in_time_during_an_expensive_validation() {
    let place = Place::new();
    let token = set_up(&place);
    for (default, long) in [
        ("# schema_work = 10_000_000", "schema_work = 9_223_372_036_854_775_807"),
        ("# call_ms = 120_000", "call_ms = 3_600_000"),
        ("# request_ms = 150_000", "request_ms = 7_200_000"),
        ("# shutdown_ms = 30_000", "shutdown_ms = 500"),
    ] {
        change(&place, default, long);
    }
    let bundle = "schema = \"yoi.config-bundle/1\"\nrevision = 1\ncreated_at = \"2026-06-25T15:49:30Z\"\n\
        language = \"en\"\n[workspace]\nid = \"acme\"\n\
        [tools.\"fs.read\"]\nsource = \"host\"\neffect = \"read\"\ninput = \"schemas/fs.read.input.json\"\n";
    place.write("team/bundle.toml", bundle);
    place.write("team/profiles/plain.toml", "tools_allow = [\"fs.read\"]\n");
    place.write("team/schemas/fs.read.input.json", doubling_schema());
    let mut serving = ServiceProcess::start(&place, "runtime.toml");
    let url = serving.url();
    let asked = [("YOI_URL", url.as_str()), ("YOI_TOKEN", token.as_str())];
    for arguments in [&["runtime", "put", "team"][..], &["worker", "create", "w", "-p", "plain", "-b", "newest"]] {
        let (told, code) = place.json_with(arguments, &asked);
        assert_eq!(code, 0, "{told}");
    }
    let body = json!({ "input": {} }).to_string();
    let mut call = TcpStream::connect(&serving.address).expect("connected");
    let request = format!(
        "POST /v1/workers/w/tools/fs.read HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        serving.address,
        body.len()
    );
    call.write_all(request.as_bytes()).expect("written");
    until("the call runs", || {
        let (_, metrics) = serving.ask("GET", "/metrics", &token, "");
        metrics.as_str().is_some_and(|text| text.contains("workspace_running_calls{workspace=\"acme\"} 1"))
    });
    serving.signal(rustix::process::Signal::TERM);
    // Twenty times the expected time, which is half a second and the time to end a process.
    let began = Instant::now();
    let mut ended = None;
    until("the service ends", || {
        assert!(began.elapsed() < Duration::from_secs(20), "the service goes on");
        ended = serving.child.try_wait().expect("a child");
        ended.is_some()
    });
    assert_eq!(ended.and_then(|status| status.code()), Some(0));
}

#[test]
fn public_address_without_tls_and_unusable_address_are_refused() {
    let place = Place::new();
    set_up(&place);
    change(&place, "listen = \"127.0.0.1:0\"", "listen = \"0.0.0.0:0\"");
    let said = place.yoi(&["runtime", "serve", "--config", "runtime.toml"]);
    snapshot!("runtime_tls_missing", format!("{}[{}]", said.stderr, said.code));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    change(&place, "0.0.0.0:0", &address);
    let (error, code) = place.json(&["runtime", "serve", "--config", "runtime.toml"]);
    assert_eq!((error["code"].as_str(), code), (Some("address_unavailable"), 1));
    change(&place, "# head_bytes = 16_384", "head_bytes = 0");
    let (error, code) = place.json(&["runtime", "serve", "--config", "runtime.toml"]);
    assert_eq!((error["code"].as_str(), code), (Some("invalid_limits"), 3), "{error}");
    change(&place, "head_bytes = 0", "# head_bytes = 16_384");
    change(&place, &address, "here");
    let said = place.yoi(&["runtime", "serve", "--config", "runtime.toml"]);
    snapshot!("runtime_config_mistake", format!("{}[{}]", said.stderr, said.code));
    let (error, code) = place.json(&["runtime", "serve", "--config", "nothing.toml"]);
    assert_eq!((error["code"].as_str(), code), (Some("not_found"), 5));
}

/// Creates a data folder with three blobs of one workspace and returns their digests.
fn kept(place: &Place) -> Vec<bundles::Digest> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let folder = DataFolder::open(place.path().join("data")).await.expect("a folder");
        let metadata = SqliteMetadata::open(folder.metadata_file()).await.expect("metadata");
        let config = "[workspaces.acme]\nsignatures = { posture = 'none' }";
        let builder = Runtime::builder()
            .clock(Arc::new(SystemClock))
            .config(host_policy::RuntimeConfig::from_toml(config).expect("a config"))
            .blobs(Arc::new(folder.blobs()));
        let runtime = builder.metadata(Arc::new(metadata)).open().await.expect("a runtime");
        let content = runtime.content(&"acme".parse().expect("an id"));
        let mut digests = Vec::new();
        for text in ["one", "two", "three"] {
            let digest = bundles::Digest::of(text);
            content.put_blob(digest, blob_store::source_from(text), None).await.expect("put");
            digests.push(digest);
        }
        digests
    })
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn check_names_damaged_and_missing_blobs() {
    let place = Place::new();
    let digests = kept(&place);
    let sound = place.yoi(&["runtime", "check", "data"]);
    assert_eq!((sound.code, sound.stdout.lines().next()), (0, Some("sound     3 blobs, 11 B")), "{}", sound.stdout);
    let all = files(&place.path().join("data"));
    let file = |digest: &bundles::Digest| {
        let hex = digest.to_string().trim_start_matches("sha256:").to_owned();
        all.iter().find(|path| path.to_string_lossy().contains(&hex)).expect("a file").clone()
    };
    std::fs::write(file(&digests[0]), "onf").expect("damaged");
    std::fs::remove_file(file(&digests[1])).expect("gone");
    let (told, code) = place.json(&["runtime", "check", "data"]);
    assert_eq!((&told["damaged"], &told["missing"], code), (&json!([digests[0]]), &json!([digests[1]]), 3));
    assert_eq!(told["sound"], json!([{ "digest": digests[2], "bytes": 5 }]));
    let said = place.yoi(&["runtime", "check", "data"]);
    snapshot!("runtime_check", format!("{}{}[{}]", said.stdout, said.stderr, said.code));
    let (error, code) = place.json(&["runtime", "check", "nowhere"]);
    assert_eq!((error["code"].as_str(), code), (Some("not_found"), 5));
    assert!(!place.path().join("nowhere").exists());
    // A check does not turn an empty folder into a data folder.
    std::fs::create_dir(place.path().join("empty")).expect("made");
    for arguments in [&["runtime", "check", "empty"][..], &["runtime", "gc", "--data", "empty"]] {
        let (error, code) = place.json(arguments);
        assert_eq!((error["code"].as_str(), code), (Some("not_found"), 5), "{error}");
    }
    assert_eq!(std::fs::read_dir(place.path().join("empty")).expect("read").count(), 0);
    // The metadata can be damaged too.
    let metadata = place.path().join("data/metadata.sqlite");
    let mut bytes = std::fs::read(&metadata).expect("rows");
    let end = bytes.len();
    bytes[end - 2000..].fill(0xee);
    std::fs::write(&metadata, bytes).expect("damaged");
    let (told, code) = place.json(&["runtime", "check", "data"]);
    assert_eq!((&told["metadata"], code), (&json!("metadata_damaged"), 3), "{told}");
    assert_eq!(told["sound"], json!([{ "digest": digests[2], "bytes": 5 }]));
}

/// Returns the metadata files of a data folder with their content.
fn metadata_files(place: &Place) -> Vec<(String, Vec<u8>)> {
    let names = ["metadata.sqlite", "metadata.sqlite-wal", "metadata.sqlite-mark"];
    let read =
        |name: &&str| std::fs::read(place.path().join("yoi-data").join(name)).map(|bytes| ((*name).into(), bytes));
    names.iter().filter_map(|name| read(name).ok()).collect()
}

#[test]
fn damaged_log_is_named_and_nothing_is_changed() {
    let place = Place::new();
    let token = set_up(&place);
    let mut serving = ServiceProcess::start(&place, "runtime.toml");
    let url = format!("http://{}", serving.address);
    for revision in 1..=5 {
        crate::served::team(&place, revision);
        let manifest = place.path().join("team/bundle.toml");
        let text = std::fs::read_to_string(&manifest).expect("written").replace("\"team\"", "\"acme\"");
        std::fs::write(&manifest, text).expect("written");
        let said = place.with_env(&["runtime", "put", "team"], &[("YOI_URL", &url), ("YOI_TOKEN", &token)]);
        assert_eq!(said.code, 0, "{}", said.stderr);
    }
    serving.child.kill().expect("killed");
    serving.child.wait().expect("ended");
    let right = metadata_files(&place);
    let (check, gc) = (["runtime", "check", "--config", "runtime.toml"], ["runtime", "gc", "--config", "runtime.toml"]);
    let log = place.path().join("yoi-data/metadata.sqlite-wal");
    let bytes = std::fs::read(&log).expect("a log");
    let blobs = files(&place.path().join("yoi-data/blobs"));
    let with_flip = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        bytes
    };
    let begin = bytes[..bytes.len() / 2].to_vec();
    let wrong = [Some(with_flip(bytes.len() / 2)), Some(with_flip(20)), Some(begin), Some(Vec::new()), None];
    for (number, wrong) in wrong.iter().enumerate() {
        match wrong {
            Some(wrong) => std::fs::write(&log, wrong).expect("written"),
            None => std::fs::remove_file(&log).expect("removed"),
        }
        let damaged = metadata_files(&place);
        let (told, code) = place.json(&check);
        assert_eq!((&told["metadata"], code), (&json!("metadata_damaged"), 3), "{number}: {told}");
        assert!(told["metadata_damage"]["message"].as_str().expect("a message").contains("its log"), "{told}");
        assert!(told["sound"].as_array().is_some_and(|sound| sound.len() == blobs.len()), "{told}");
        let said = place.yoi(&["runtime", "serve", "--config", "runtime.toml"]);
        assert_eq!((said.code, said.stdout.as_str()), (3, ""), "{number}: {}", said.stderr);
        assert!(
            said.stderr.starts_with("error[metadata_damaged]") && said.stderr.contains("backup"),
            "{}",
            said.stderr
        );
        let (error, code) = place.json(&gc);
        assert_eq!((error["code"].as_str(), code), (Some("metadata_damaged"), 3), "{number}: {error}");
        assert!(metadata_files(&place) == damaged, "{number}: the metadata is changed");
        assert_eq!(files(&place.path().join("yoi-data/blobs")).len(), blobs.len(), "{number}: blobs are gone");
    }
    // Applies the remedy for a log that is damaged in the middle.
    std::fs::write(&log, with_flip(bytes.len() / 2)).expect("written");
    let (told, _) = place.json(&check);
    let message = told["metadata_damage"]["message"].as_str().expect("a message").to_owned();
    let length = message.split(" bytes)").next().and_then(|before| before.rsplit(' ').next()).expect("a length");
    std::fs::write(&log, &bytes[..length.parse().expect("a number")]).expect("written");
    std::fs::remove_file(place.path().join("yoi-data/metadata.sqlite-mark")).expect("removed");
    let (told, _) = place.json(&check);
    assert_eq!(told["metadata"], json!("sound"), "{told}");
    // With the original files, all data is present.
    for (name, bytes) in right {
        std::fs::write(place.path().join("yoi-data").join(name), bytes).expect("written");
    }
    let (told, code) = place.json(&check);
    assert_eq!((&told["metadata"], code), (&json!("sound"), 0), "{told}");
    let serving = ServiceProcess::start(&place, "runtime.toml");
    let url = format!("http://{}", serving.address);
    let environment = [("YOI_URL", url.as_str()), ("YOI_TOKEN", token.as_str())];
    let listed = place.with_env(&["runtime", "bundles", "--format", "json"], &environment).stdout;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed["bundles"].as_array().map(Vec::len), Some(5), "{listed}");
}

#[test]
fn nothing_is_collected_while_metadata_is_damaged() {
    let place = Place::new();
    kept(&place);
    place.write("runtime.toml", "[service]\ndata = \"data\"\n[limits]\nunused_blob_seconds = 0\n");
    let gc = ["runtime", "gc", "--config", "runtime.toml"];
    let path = place.path().join("data/metadata.sqlite");
    let row = b"a row that no collection reads";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let metadata = SqliteMetadata::open(&path).await.expect("metadata");
        let batch = Batch::default().put(&Key::new("other"), row.to_vec());
        metadata.commit(batch).await.expect("committed");
    });
    let right = std::fs::read(&path).expect("rows");
    let blobs = files(&place.path().join("data/blobs"));
    let begin = right.windows(row.len()).position(|window| window == row).expect("the row");
    let mut wrong = right.clone();
    wrong[begin] ^= 1;
    std::fs::write(&path, wrong).expect("damaged");
    let (error, code) = place.json(&gc);
    assert_eq!((error["code"].as_str(), code), (Some("metadata_damaged"), 3), "{error}");
    assert_eq!(files(&place.path().join("data/blobs")), blobs);
    std::fs::write(&path, right).expect("mended");
    let (told, code) = place.json(&gc);
    assert_eq!((&told["workspaces"]["acme"]["blobs"], code), (&json!(3), 0), "{told}");
}

#[test]
fn check_names_config_entries_that_the_service_lacks() {
    let place = Place::new();
    set_up(&place);
    let repo = place.path().join("repo").to_str().expect("UTF-8").to_owned();
    let mount = |label: &str, folder: &str| format!("mounts.{label} = {{ path = \"{folder}\", access = \"read\" }}\n");
    let gone = mount("repo", &repo) + &mount("file", &format!("{repo}-file"));
    let here = mount("here", place.path().to_str().expect("UTF-8"));
    change(&place, "secrets = []", &format!("{gone}{here}secrets = []"));
    place.write("repo-file", "no folder");
    change(&place, "capabilities = [", "capabilities = [\"tool:git.log\", \"browser\", ");
    let check = ["runtime", "check", "--config", "runtime.toml"];
    let said = place.yoi(&check);
    snapshot!("runtime_check_config", format!("{}{}[{}]", said.stdout, said.stderr, said.code));
    assert!(!said.stdout.contains(&repo), "{}", said.stdout);
    let (told, _) = place.json(&check);
    let mounts = json!([{ "workspace": "acme", "mount": "file" }, { "workspace": "acme", "mount": "repo" }]);
    assert_eq!(told["config"]["unanswered_tools"], json!(["git.log"]));
    assert_eq!(told["config"]["unavailable_mounts"], mounts);
    let unknown = told["config"]["unknown_capabilities"].as_array().expect("a list");
    let unknown: Vec<_> = unknown.iter().map(|one| one["capability"].as_str().expect("a name")).collect();
    assert_eq!(unknown, ["browser"]);
    let log = || std::fs::read_to_string(place.path().join("log")).expect("a log");
    let serving = ServiceProcess::start(&place, "runtime.toml");
    let told = |what: &str| until(what, || log().contains(what));
    told("\"capability\":\"tool:git.log\"");
    told("\"mount\":\"repo\"");
    told("\"mount\":\"file\"");
    told("\"capability\":\"browser\"");
    // A reloaded config is checked too.
    change(&place, "tool:git.log", "tool:git.diff");
    told("\"capability\":\"tool:git.diff\"");
    let log = log();
    assert!(!log.contains(&repo) && !log.contains("tool:fs.read") && !log.contains("\"mount\":\"here\""), "{log}");
    assert_eq!(serving.stop(), Some(0));
    // A config without gaps has no warnings.
    std::fs::create_dir(place.path().join("repo")).expect("a folder");
    change(&place, "\"tool:git.diff\", \"browser\", ", "");
    change(&place, &mount("file", &format!("{repo}-file")), "");
    let (told, code) = place.json(&check);
    let nothing = json!({
        "unanswered_tools": [], "unknown_capabilities": [], "unavailable_mounts": [], "unavailable_secrets": [],
    });
    assert_eq!((&told["config"], code), (&nothing, 0));
}

#[test]
fn mistyped_capability_in_a_config_gets_a_suggestion() {
    let place = Place::new();
    set_up(&place);
    let check = ["runtime", "check", "--config", "runtime.toml"];
    let mut written = "capabilities = [".to_owned();
    for (capability, help) in [
        ("shel", "did you mean `shell`?"),
        ("gti", "did you mean `git`?"),
        ("fs.read", "did you mean `tool:fs.read`?"),
        ("tol:fs.read", "did you mean `tool:fs.read`?"),
        ("world:x", "`world:NAMESPACE:PACKAGE/WORLD@VERSION`"),
        ("world:yoi:runtime/tool", "did you mean `world:yoi:runtime/tool@1.0.0`?"),
        ("world:yoi:runtime/tol@1.0.0", "did you mean `world:yoi:runtime/tool@1.0.0`?"),
        ("docker", "write one of"),
    ] {
        let with = format!("capabilities = [\"{capability}\", ");
        change(&place, &written, &with);
        written = with;
        let (told, code) = place.json(&check);
        let unknown = &told["config"]["unknown_capabilities"];
        assert_eq!((code, unknown.as_array().map(Vec::len)), (0, Some(1)), "{told}");
        assert_eq!(unknown[0]["capability"], json!(capability));
        assert!(unknown[0]["help"].as_str().is_some_and(|told| told.contains(help)), "{unknown}");
        let said = place.yoi(&check);
        assert!(said.stdout.contains(capability) && said.stdout.contains(help), "{}", said.stdout);
    }
    for capability in ["shell", "git", "models", "gpu", "world:yoi:runtime/tool@1.0.0", "world:acme:tools/clock@0.2.0"]
    {
        let with = format!("capabilities = [\"{capability}\", ");
        change(&place, &written, &with);
        written = with;
        assert_eq!(place.json(&check).0["config"]["unknown_capabilities"], json!([]), "{capability}");
    }
    // A mistyped tool is reported with a suggestion.
    change(&place, &written, "capabilities = [\"tool:fs.reed\", ");
    let (told, _) = place.json(&check);
    assert_eq!(told["config"]["unanswered_tools"], json!(["fs.reed"]));
    assert!(place.yoi(&check).stdout.contains("did you mean `tool:fs.read`?"));
}

#[test]
fn config_is_checked_without_data_and_while_a_service_runs() {
    let place = Place::new();
    assert_eq!(place.yoi(&["runtime", "init"]).code, 0);
    change(&place, "listen = \"127.0.0.1:7070\"", "listen = \"127.0.0.1:0\"");
    change(&place, "# secrets = \"secrets\"", "secrets = \"secrets\"");
    let check = ["runtime", "check", "--config", "runtime.toml"];
    // The config is valid, and the output still reports that the data folder does not exist.
    let (told, code) = place.json(&check);
    assert_eq!((code, &told["schema"]), (5, &json!("yoi.runtime-check/1")), "{told}");
    assert_eq!((&told["metadata"], &told["not_checked"]["code"]), (&json!("not_checked"), &json!("not_found")));
    assert_eq!(told["config"]["unknown_capabilities"], json!([]));
    assert!(!place.path().join("yoi-data").exists() && !place.path().join("secrets").exists());
    // Findings come first.
    change(&place, "capabilities = [", "capabilities = [\"shel\", \"tool:git.log\", ");
    change(
        &place,
        "secrets = []",
        "secrets = [\"api\"]\nmounts.repo = { path = \"/nowhere/repo\", access = \"read\" }",
    );
    let said = place.yoi(&check);
    snapshot!("runtime_check_config_alone", format!("{}{}[{}]", said.stdout, said.stderr, said.code));
    assert!(!said.stdout.contains("/nowhere"), "{}", said.stdout);
    let (told, _) = place.json(&check);
    let found = &told["config"]["unavailable_secrets"][0];
    assert_eq!((&found["workspace"], &found["secret"]), (&json!("my-team"), &json!("api")), "{told}");
    assert_eq!(found["code"], json!("secret_not_found"));
    // A secret with a value is not reported.
    let set = place.yoi_given("value", &["secret", "set", "api", "--secrets", "secrets"]);
    assert_eq!(set.code, 0, "{}", set.stderr);
    assert_eq!(place.json(&check).0["config"]["unavailable_secrets"], json!([]));
    // A service uses the data.
    let serving = ServiceProcess::start(&place, "runtime.toml");
    let (told, code) = place.json(&check);
    assert_eq!((code, &told["not_checked"]["code"]), (1, &json!("store_in_use")), "{told}");
    assert_eq!(told["config"]["unanswered_tools"], json!(["git.log"]));
    assert_eq!(serving.stop(), Some(0));
    let (told, code) = place.json(&check);
    assert_eq!((code, &told["metadata"], told.get("not_checked")), (0, &json!("sound"), None), "{told}");
    // An error that keeps the service from starting determines the exit code.
    change(&place, "listen = \"127.0.0.1:0\"", "listen = \"0.0.0.0:0\"");
    let (told, code) = place.json(&check);
    assert_eq!((code, &told["config"]["refused"][0]["code"]), (4, &json!("tls_missing")), "{told}");
    assert_eq!(told["metadata"], json!("sound"), "the data is checked all the same");
    // A config that cannot be parsed names no data folder.
    change(&place, "[service]", "[servcie]");
    let (error, code) = place.json(&check);
    assert_eq!((code, &error["code"]), (3, &json!("invalid_config")), "{error}");
}

#[test]
fn limit_with_an_unusable_value_is_refused_with_its_line() {
    let place = Place::new();
    set_up(&place);
    let check = ["runtime", "check", "--config", "runtime.toml"];
    for (default, wrong, right) in [
        ("# event_streams = 16", "event_streams = 0", "event_streams = 1"),
        ("# workspace_event_streams = 64", "workspace_event_streams = 0", "workspace_event_streams = 1"),
        ("# connection_share_percent = 25", "connection_share_percent = 0", "connection_share_percent = 1"),
        ("# connection_share_percent = 25", "connection_share_percent = 101", "connection_share_percent = 100"),
        ("# call_ms = 120_000", "call_ms = 0", "call_ms = 1"),
    ] {
        change(&place, default, wrong);
        let (error, code) = place.json(&check);
        assert_eq!((code, &error["code"]), (3, &json!("invalid_limits")), "{error}");
        let message = error["message"].as_str().expect("a message");
        let name = wrong.split(' ').next().expect("a name");
        assert!(message.contains(&format!("invalid limit `{name}` under [")), "{message}");
        let text = std::fs::read_to_string(place.path().join("runtime.toml")).expect("a config");
        let line = text.lines().position(|line| line == wrong).expect("there") + 1;
        let found = &error["details"]["diagnostics"][0];
        assert_eq!((&found["line"], &found["column"]), (&json!(line), &json!(name.len() + 4)), "{error}");
        let said = place.yoi(&check).stderr;
        assert!(said.contains(&format!("runtime.toml:{line}:")) && said.contains(wrong), "{said}");
        change(&place, wrong, right);
        assert_eq!(place.yoi(&check).code, 0, "{right}");
        change(&place, right, default);
    }
}

#[test]
fn young_garbage_is_kept() {
    let place = Place::new();
    kept(&place);
    let said = place.yoi(&["runtime", "gc", "--data", "data"]);
    snapshot!("runtime_gc", format!("{}{}[{}]", said.stdout, said.stderr, said.code));
    let (told, code) = place.json(&["runtime", "gc", "--data", "data"]);
    assert_eq!((&told["workspaces"]["acme"]["young"], code), (&json!(3), 0));
}

#[test]
fn check_and_gc_use_the_config() {
    let place = Place::new();
    let digests = kept(&place);
    place.write("runtime.toml", "[service]\ndata = \"data\"\n[limits]\nunused_blob_seconds = 0\n");
    let check = ["runtime", "check", "--config", "runtime.toml"];
    let (told, code) = place.json(&check);
    assert_eq!((told["sound"].as_array().map(Vec::len), code), (Some(digests.len()), 0), "{told}");
    let (told, code) = place.json(&["runtime", "gc", "--config", "runtime.toml"]);
    assert_eq!((&told["workspaces"]["acme"]["blobs"], code), (&json!(3), 0), "{told}");
    assert_eq!(place.yoi(&["runtime", "check"]).code, 2);
    // FOLDER takes precedence over the config of the environment.
    let nothing = place.with_env(&["runtime", "check", "nowhere"], &[("YOI_CONFIG", "runtime.toml")]);
    assert_eq!(nothing.code, 5);
    // If the config names a bucket, its blobs are checked. This bucket is not available.
    place.write("secrets/key", "x");
    let bucket = "[service]\ndata = \"data\"\nsecrets = \"secrets\"\n[service.bucket]\nendpoint = \"http://127.0.0.1:1\"\n\
        name = \"b\"\naccess_key_id = \"k\"\nsecret_access_key = \"nothing\"\n";
    place.write("runtime.toml", bucket);
    let (error, code) = place.json(&["runtime", "gc", "--config", "runtime.toml"]);
    assert_eq!((error["schema"].as_str(), code != 0), (Some("yoi.error/1"), true), "{error}");
    let (told, code) = place.json(&check);
    assert_eq!((&told["not_checked"]["code"], code), (&json!("secrets_not_private"), 1), "{told}");
    let (error, code) = place.json(&["runtime", "check", "--config", "nothing.toml"]);
    assert_eq!((error["code"].as_str(), code), (Some("not_found"), 5));
}

#[test]
fn token_can_have_its_own_limits_of_connections_and_streams() {
    let place = Place::new();
    set_up(&place);
    let new = ["runtime", "token", "new", "--config", "runtime.toml", "--scope", "operator", "--name"];
    assert_eq!(place.yoi(&[&new[..], &["backend", "--connections", "512", "--streams", "1"]].concat()).code, 0);
    for (flag, limit) in [("--connections", "connections"), ("--streams", "event_streams")] {
        for value in ["0", "-1", "4294967296", "many"] {
            let said = place.yoi(&[&new[..], &["none", &format!("{flag}={value}")]].concat());
            let told = format!("invalid limit `{limit}`: expected a whole number from 1 to 4294967295");
            assert!(said.code == 2 && said.stderr.contains(&told), "{flag} {value}: {}", said.stderr);
        }
    }
    assert_eq!(place.yoi(&[&new[..], &["plain"]].concat()).code, 0);
    let list = ["runtime", "token", "list", "--config", "runtime.toml"];
    let listed = place.yoi(&list).stdout;
    assert!(listed.contains("\"backend\": operator; 512 connections; 1 streams\n"), "{listed}");
    assert!(listed.contains("\"plain\": operator\n"), "{listed}");
    let (told, _) = place.json(&list);
    let of = |name: &str| told["tokens"].as_array().expect("a list").iter().find(|token| token["name"] == name);
    let backend = of("backend").expect("a token");
    assert_eq!((&backend["connections"], &backend["event_streams"]), (&json!(512), &json!(1)));
    assert!(of("plain").expect("a token").get("connections").is_none());
}

#[test]
fn token_without_any_access_is_refused() {
    let place = Place::new();
    set_up(&place);
    let new = ["runtime", "token", "new", "--config", "runtime.toml", "--name", "x"];
    let (error, code) = place.json(&[&new[..], &["--scope", "read"]].concat());
    assert_eq!((error["code"].as_str(), code), (Some("usage"), 2));
    assert_eq!(place.yoi(&[&new[..], &["--scope", "operator"]].concat()).code, 0);
    assert_eq!(place.yoi(&[&new[..], &["--scope", "root"]].concat()).code, 2);
    let gone = [&new[..], &["--scope", "operator", "--expires", "2020-01-31T00:00:00Z"]].concat();
    let (error, code) = place.json(&gone);
    assert_eq!((error["code"].as_str(), code), (Some("usage"), 2), "{error}");
    let unknown = ["runtime", "token", "revoke", "--config", "runtime.toml", "00000000000000ff"];
    let (error, code) = place.json(&unknown);
    assert_eq!((error["code"].as_str(), code), (Some("token_not_found"), 5));
    // A token file is private, and an existing file is not overwritten.
    let out = [&new[..], &["--scope", "operator", "--out", "token"]].concat();
    assert_eq!(place.yoi(&out).code, 0);
    use std::os::unix::fs::PermissionsExt;
    let path = place.path().join("token");
    assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&path).expect("a token").starts_with("yoi_"));
    let (error, code) = place.json(&out);
    assert_eq!((error["code"].as_str(), code), (Some("already_there"), 1));
    // If the file cannot be written, no token is issued.
    for nowhere in ["nowhere/token", "token/token"] {
        let (error, code) = place.json(&[&new[..], &["--scope", "operator", "--out", nowhere]].concat());
        assert_eq!((error["code"].as_str(), code), (Some("unwritable"), 1), "{error}");
    }
    let listed = place.yoi(&["runtime", "token", "list", "--config", "runtime.toml"]).stdout;
    assert_eq!(listed.lines().count(), 3, "{listed}");
}

#[test]
fn service_polls_the_backend_of_its_config_with_the_named_token() {
    let place = Place::new();
    set_up(&place);
    let backend = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", backend.local_addr().expect("an address"));
    let table = format!("[backend]\nurl = \"{url}\"\ntoken = \"backend\"\nworkspaces = [\"acme\"]\n\n[host]");
    change(&place, "[host]", &table);
    // The secret has no value yet.
    let (told, _) = place.json(&["runtime", "check", "--config", "runtime.toml"]);
    assert_eq!(told["config"]["unavailable_secrets"][0]["secret"], json!("backend"), "{told}");
    let said = place.yoi(&["runtime", "serve", "--config", "runtime.toml"]);
    assert_eq!(said.code, 5, "{}", said.stderr);
    let set = place.yoi_given("yoi_the_token", &["secret", "set", "backend", "--secrets", "secrets"]);
    assert_eq!(set.code, 0, "{}", set.stderr);
    let serving = ServiceProcess::start(&place, "runtime.toml");
    let (mut connection, _) = backend.accept().expect("a connection");
    let mut request = String::new();
    while !request.contains("\"wait\":true") {
        let mut piece = [0; 4096];
        let read = connection.read(&mut piece).expect("read");
        assert!(read > 0, "{request}");
        request.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    assert!(request.starts_with("POST /v1/pull HTTP/1.1\r\n"), "{request}");
    assert!(request.to_ascii_lowercase().contains("authorization: bearer yoi_the_token\r\n"), "{request}");
    // A poll that is held does not keep the service from stopping.
    assert_eq!(serving.stop(), Some(0));
}
