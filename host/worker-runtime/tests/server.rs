//! Serving over connections: their limits and timeouts, and the shutdown of a service. The connections are in memory,
//! so the tests control the time.

use std::time::Duration;

use axum::serve::Listener;
use runtime_service::{ServerLimits, ShutdownSummary};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use worker_runtime::token::Scope;

use crate::support::World;
use crate::support::api::Api;

/// A listener for connections that the test creates.
struct InMemory(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for InMemory {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.recv().await {
            Some(connection) => (connection, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<()> {
        Ok(())
    }
}

struct TestServer {
    api: Api,
    connect: mpsc::UnboundedSender<DuplexStream>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<ShutdownSummary>,
}

impl TestServer {
    async fn new(limits: ServerLimits) -> Self {
        let api = Api::within(&World::default(), limits).await;
        let (connect, accept) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let service = api.service.clone();
        let served = tokio::spawn(async move {
            let stopped = async move { drop(stopped.await) };
            service.serve(InMemory(accept), stopped).await
        });
        Self { api, connect, stop: Some(stop), served }
    }

    /// Creates a connection with buffers of a given size.
    fn connect_with(&self, bytes: usize) -> DuplexStream {
        let (here, there) = tokio::io::duplex(bytes);
        self.connect.send(there).expect("served");
        here
    }

    fn connect(&self) -> DuplexStream {
        self.connect_with(1 << 20)
    }
}

fn head(method: &str, path: &str, token: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: runtime.test:7070\r\nauthorization: Bearer {token}\r\n{more}\r\n")
}

/// Reads until the end of the connection.
async fn rest(connection: &mut DuplexStream) -> String {
    let mut text = Vec::new();
    // A reset connection has ended too.
    let _ = connection.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

fn code(answer: &str) -> (&str, String) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let problem: serde_json::Value = serde_json::from_str(body.trim()).expect("a problem");
    (head.split(' ').nth(1).expect("a status"), problem["code"].as_str().expect("a code").to_owned())
}

#[tokio::test(start_paused = true)]
async fn incomplete_request_head_times_out() {
    let served = TestServer::new(ServerLimits::default()).await;
    let mut slow = served.connect();
    let began = tokio::time::Instant::now();
    for byte in b"GET /livez HTTP/1.1\r\nhost: runtime.test:7070\r\nx: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy" {
        if slow.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(rest(&mut slow).await.is_empty());
    let allowed = Duration::from_millis(ServerLimits::default().head_ms);
    assert!((allowed..allowed + Duration::from_secs(2)).contains(&began.elapsed()), "{:?}", began.elapsed());
    // A connection without requests is closed as well.
    let mut idle = served.connect();
    idle.write_all(head("GET", "/livez", "", "").as_bytes()).await.expect("written");
    assert!(rest(&mut idle).await.ends_with("ok\n"));
}

#[tokio::test(start_paused = true)]
async fn slow_request_body_is_cut_off() {
    let served = TestServer::new(ServerLimits::default()).await;
    let (_, token) = served.api.token(&Scope::ALL, &["acme"]).await;
    for path in [format!("/v1/blobs/{}", bundles::Digest::of(b"x")), "/v1/workers/w".to_owned()] {
        let mut slow = served.connect();
        let asked = head("PUT", &path, &token, "content-length: 4000\r\n");
        slow.write_all(asked.as_bytes()).await.expect("written");
        let began = tokio::time::Instant::now();
        for _ in 0..4000 {
            if slow.write_all(b"x").await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            if began.elapsed() > Duration::from_secs(11) {
                break;
            }
        }
        let answer = rest(&mut slow).await;
        assert_eq!(code(&answer), ("408", "body_too_slow".to_owned()));
        assert!(answer.contains("connection: close"));
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
    // The same bytes in the same time, with a faster end, are accepted.
    let blob = "x".repeat(40_000);
    let mut good = served.connect();
    let path = format!("/v1/blobs/{}", bundles::Digest::of(&blob));
    let asked = head("PUT", &path, &token, "content-length: 40000\r\nconnection: close\r\n");
    good.write_all(asked.as_bytes()).await.expect("written");
    for piece in blob.as_bytes().chunks(4000) {
        good.write_all(piece).await.expect("written");
        tokio::time::sleep(Duration::from_millis(990)).await;
    }
    assert!(rest(&mut good).await.starts_with("HTTP/1.1 201"));
}

#[tokio::test]
async fn request_is_answered_by_its_deadline() {
    let limits = ServerLimits { request_ms: 60_000, ..ServerLimits::default() };
    let served = TestServer::new(limits).await;
    let (_, token) = served.api.token(&Scope::ALL, &["acme"]).await;
    let bundle = crate::support::bundle(1);
    served.api.bring(&token, &bundle).await;
    let worker = serde_json::json!({ "profile": "plain", "bundle": bundle.digest() });
    assert!(served.api.put_json("/v1/workers/w", &token, &worker).await.status.is_success());
    let body = r#"{"input":{"do":"hang","text":"x"}}"#;
    let more = format!("content-length: {}\r\n", body.len());
    let mut hanging = served.connect();
    let asked = head("POST", "/v1/workers/w/tools/echo", &token, &more) + body;
    hanging.write_all(asked.as_bytes()).await.expect("written");
    // Paused only now: computations run on other threads, for which a paused clock does not wait.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    assert_eq!(code(&rest(&mut hanging).await), ("504", "deadline_exceeded".to_owned()));
    assert!((Duration::from_secs(60)..Duration::from_secs(62)).contains(&began.elapsed()), "{:?}", began.elapsed());
    // The call was dropped with its request, so the next one receives the run permit.
    tokio::time::resume();
    let call = r#"{"input":{"text":"again"}}"#;
    let called = served.api.ask("POST", "/v1/workers/w/tools/echo", &token, call, "application/json").await;
    assert!(called.status.is_success(), "{:?}", called.json());
}

#[tokio::test(start_paused = true)]
async fn oversized_request_head_is_refused() {
    let served = TestServer::new(ServerLimits::default()).await;
    let field = format!("x: {}\r\n", "y".repeat(20_000));
    let many: String = (0..70).map(|number| format!("x{number}: y\r\n")).collect();
    for more in [field, many] {
        let mut connection = served.connect();
        connection.write_all(head("GET", "/livez", "", &more).as_bytes()).await.expect("written");
        assert!(rest(&mut connection).await.starts_with("HTTP/1.1 431"));
    }
    let few: String = (0..20).map(|number| format!("x{number}: {}\r\n", "y".repeat(500))).collect();
    let mut connection = served.connect();
    connection
        .write_all(head("GET", "/livez", "", &format!("{few}connection: close\r\n")).as_bytes())
        .await
        .expect("written");
    assert!(rest(&mut connection).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_read_its_response_is_disconnected() {
    let served = TestServer::new(ServerLimits::default()).await;
    let (_, token) = served.api.token(&Scope::ALL, &["acme"]).await;
    let blob = "x".repeat(1 << 20);
    let path = format!("/v1/blobs/{}", bundles::Digest::of(&blob));
    let put = served.api.ask("PUT", &path, &token, blob, "").await;
    assert!(put.status.is_success());
    let mut stuck = served.connect_with(64);
    let began = tokio::time::Instant::now();
    stuck.write_all(head("GET", &path, &token, "").as_bytes()).await.expect("written");
    // Reads a little, and then pauses for longer than allowed.
    stuck.read_exact(&mut [0; 32]).await.expect("a beginning");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(rest(&mut stuck).await.len() < 1 << 19);
    assert!(began.elapsed() < Duration::from_secs(61));
}

/// Requests all bundles and waits for the response. Returns `None` if the connection was closed.
async fn asked(connection: &mut DuplexStream, token: &str) -> Option<()> {
    connection.write_all(head("GET", "/v1/config-bundles", token, "").as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(connection.read_u8().await.ok()?);
    }
    let answer = String::from_utf8(answer).ok()?.to_ascii_lowercase();
    let (_, bytes) = answer.split_once("content-length: ")?;
    let mut body = vec![0; bytes.lines().next()?.parse().ok()?];
    connection.read_exact(&mut body).await.ok()?;
    answer.starts_with("http/1.1 200").then_some(())
}

/// Twenty times the expected duration.
const IN_TIME: Duration = Duration::from_secs(30);

#[tokio::test]
async fn longest_stalled_connection_is_evicted_first() {
    let limits = ServerLimits { connections: 2, connection_share_percent: 100, ..ServerLimits::default() };
    let served = TestServer::new(limits).await;
    let (_, token) = served.api.token(&Scope::ALL, &["acme"]).await;
    let blob = "x".repeat(100_000);
    let path = format!("/v1/blobs/{}", bundles::Digest::of(&blob));
    let mut upload = served.connect();
    let headers = "content-length: 100000\r\nconnection: close\r\n";
    upload.write_all(head("PUT", &path, &token, headers).as_bytes()).await.expect("written");
    upload.write_all(blob.as_bytes()).await.expect("written");
    assert!(rest(&mut upload).await.starts_with("HTTP/1.1 201"));
    let mut events = served.connect();
    events.write_all(head("GET", "/v1/events", &token, "").as_bytes()).await.expect("written");
    events.read_exact(&mut [0; 15]).await.expect("a head");
    // The service has written all of the blob to the buffers when a part of it has arrived.
    let mut slow = served.connect_with(64);
    slow.write_all(head("GET", &path, &token, "connection: close\r\n").as_bytes()).await.expect("written");
    let mut seen = [0; 300];
    slow.read_exact(&mut seen).await.expect("a beginning");
    let mut third = served.connect();
    let answered = tokio::time::timeout(IN_TIME, asked(&mut third, &token)).await;
    assert!(answered.is_ok_and(|answer| answer.is_some()), "one of the two makes room");
    assert!(rest(&mut slow).await.ends_with(&"x".repeat(99_000)), "the other one goes on");
    assert!(tokio::time::timeout(IN_TIME, events.read_to_end(&mut Vec::new())).await.is_ok());
}

#[tokio::test]
async fn connection_without_authenticated_request_is_evicted_first() {
    // Timeouts are long, so that no connection ends by itself.
    let (head_ms, write_ms) = (3_600_000, 3_600_000);
    let limits =
        ServerLimits { connections: 3, connection_share_percent: 100, head_ms, write_ms, ..ServerLimits::default() };
    let served = TestServer::new(limits).await;
    let (_, token) = served.api.token(&Scope::ALL, &["acme"]).await;
    let mut honest = served.connect();
    assert!(asked(&mut honest, &token).await.is_some());
    let mut idle = Vec::new();
    for number in 0..20 {
        let mut connection = served.connect_with(64);
        match number % 3 {
            0 => connection.write_all(b"GET /livez HTTP/1.1\r\nhost: ").await.expect("half a head"),
            // Sends a request and does not read the response.
            1 => connection.write_all(b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("a head"),
            _ => {}
        }
        idle.push(connection);
        // The honest client sends a request between two new connections, so it is never idle for the longest time.
        assert!(asked(&mut honest, &token).await.is_some(), "{number}");
    }
    let mut other = served.connect();
    assert!(asked(&mut other, &token).await.is_some(), "another one finds a place, too");
    for ended in idle.iter_mut().take(18) {
        assert!(rest(ended).await.len() < 1000);
    }
    let (_, operator) = served.api.token(&[Scope::Operator], &[]).await;
    let metrics = String::from_utf8(served.api.get("/metrics", &operator).await.body).expect("text");
    let ended = metrics.lines().find_map(|line| line.strip_prefix("yoi_http_connections_ended_total "));
    assert_eq!(ended, Some("19"));
}

#[tokio::test(start_paused = true)]
async fn shutdown_completes_running_requests_and_accepts_no_new_ones() {
    let mut served = TestServer::new(ServerLimits::default()).await;
    let (_, token) = served.api.token(&Scope::ALL, &["acme"]).await;
    // An active upload, an event stream, and an idle connection.
    let blob = "x".repeat(50_000);
    let path = format!("/v1/blobs/{}", bundles::Digest::of(&blob));
    let mut upload = served.connect();
    upload.write_all(head("PUT", &path, &token, "content-length: 50000\r\n").as_bytes()).await.expect("written");
    upload.write_all(&blob.as_bytes()[..25_000]).await.expect("written");
    let mut events = served.connect();
    events.write_all(head("GET", "/v1/events", &token, "").as_bytes()).await.expect("written");
    let mut idle = served.connect();
    idle.write_all(head("GET", "/livez", "", "").as_bytes()).await.expect("written");
    let mut seen = [0; 15];
    events.read_exact(&mut seen).await.expect("a head");
    idle.read_exact(&mut seen).await.expect("a head");
    served.stop.take().expect("once").send(()).expect("served");
    assert!(rest(&mut events).await.contains("text/event-stream"));
    assert!(rest(&mut idle).await.ends_with("ok\n"));
    let not_ready = served.api.get("/readyz", "").await;
    assert_eq!(not_ready.code(), (503, "stopping".to_owned()));
    upload.write_all(&blob.as_bytes()[25_000..]).await.expect("written");
    assert!(rest(&mut upload).await.starts_with("HTTP/1.1 201"));
    assert_eq!(served.served.await.expect("stopped"), ShutdownSummary { cut: 0 });
    assert!(served.connect.send(tokio::io::duplex(1).1).is_err());
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_shutdown_timeout_are_cut_and_leave_nothing() {
    let mut served = TestServer::new(ServerLimits { shutdown_ms: 5000, ..ServerLimits::default() }).await;
    let (_, token) = served.api.token(&Scope::ALL, &["acme"]).await;
    let digest = bundles::Digest::of("x".repeat(50_000));
    let mut upload = served.connect();
    let asked = head("PUT", &format!("/v1/blobs/{digest}"), &token, "content-length: 50000\r\n");
    upload.write_all(asked.as_bytes()).await.expect("written");
    upload.write_all(&[b'x'; 40_000]).await.expect("written");
    tokio::task::yield_now().await;
    served.stop.take().expect("once").send(()).expect("served");
    assert_eq!((&mut served.served).await.expect("stopped"), ShutdownSummary { cut: 1 });
    assert!(rest(&mut upload).await.is_empty());
    assert_eq!(served.api.get(&format!("/v1/blobs/{digest}"), &token).await.code(), (404, "blob_not_found".to_owned()));
}

#[tokio::test]
async fn timeouts_beyond_clock_range_are_accepted() {
    let limits = ServerLimits {
        head_ms: u64::MAX,
        body_grace_ms: u64::MAX,
        request_ms: u64::MAX,
        write_ms: u64::MAX,
        shutdown_ms: u64::MAX,
        headers: usize::MAX,
        ..ServerLimits::default()
    };
    let mut served = TestServer::new(limits).await;
    let mut connection = served.connect();
    let asked = head("GET", "/livez", "", "connection: close\r\n");
    connection.write_all(asked.as_bytes()).await.expect("written");
    assert!(rest(&mut connection).await.ends_with("ok\n"));
    served.stop.take().expect("once").send(()).expect("served");
    assert_eq!(served.served.await.expect("stopped"), ShutdownSummary { cut: 0 });
}
