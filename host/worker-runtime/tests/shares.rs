//! Limits of connections and event streams per token and workspace, over sockets. One holder does not block others.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::StatusCode;
use bundles::Digest;
use runtime_service::ServerLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use worker_runtime::token::Scope;

use crate::support::World;
use crate::support::api::Api;

/// Twenty times the duration of a response on a busy machine.
const IN_TIME: Duration = Duration::from_secs(20);

const CONFIG: &str = "
[workspaces.acme]
signatures = { posture = 'none' }
[workspaces.other]
signatures = { posture = 'none' }
[workspaces.third]
signatures = { posture = 'none' }
[workspaces.fourth]
signatures = { posture = 'none' }
[workspaces.fifth]
signatures = { posture = 'none' }
";

struct TestServer {
    api: Api,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl TestServer {
    async fn new(limits: ServerLimits) -> Self {
        // Timeouts are long, so that nothing ends by itself during a test.
        let (head_ms, write_ms, body_grace_ms) = (3_600_000, 3_600_000, 3_600_000);
        let limits = ServerLimits { head_ms, write_ms, body_grace_ms, ..limits };
        let api = Api::within(&World { config: CONFIG.to_owned(), ..World::default() }, limits).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let service = api.service.clone();
        let serving = tokio::spawn(async move {
            let _ = service.serve(listener, std::future::pending()).await;
        });
        Self { api, address, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }

    /// Starts an upload whose last bytes never arrive.
    async fn stalled_upload(&self, token: &str, workspace: &str) -> TcpStream {
        let mut stream = self.connect().await;
        let path = format!("/v1/blobs/{}?workspace={workspace}", Digest::of("never"));
        let mut request = head("PUT", &path, token, "content-length: 115000\r\n").into_bytes();
        request.extend([b'x'; 114_990]);
        // A refusal may arrive before all of the request is written.
        let _ = stream.write_all(&request).await;
        stream
    }

    async fn stream(&self, token: &str, workspace: &str) -> (u16, TcpStream) {
        let mut stream = self.connect().await;
        let asked = head("GET", &format!("/v1/events?workspace={workspace}"), token, "");
        stream.write_all(asked.as_bytes()).await.expect("written");
        (status(&mut stream).await.expect("an answer"), stream)
    }

    /// Returns the status of a request on a new connection, within the deadline.
    async fn asked(&self, token: &str, workspace: &str) -> Option<u16> {
        let asked = async {
            let mut stream = self.connect().await;
            let asked = head("GET", &format!("/v1/workers?workspace={workspace}"), token, "connection: close\r\n");
            stream.write_all(asked.as_bytes()).await.ok()?;
            status(&mut stream).await
        };
        tokio::time::timeout(IN_TIME, asked).await.ok()?
    }

    /// Repeats a request until its status is as expected. The service notices opened and closed connections with a
    /// delay.
    async fn asked_until(&self, token: &str, workspace: &str, expected: u16) {
        let asked = async { while self.asked(token, workspace).await != Some(expected) {} };
        tokio::time::timeout(IN_TIME, asked).await.unwrap_or_else(|_| panic!("never {expected}"));
    }

    /// Returns the connections that are neither refused nor evicted.
    async fn held(&self, streams: Vec<TcpStream>) -> Vec<TcpStream> {
        let mut held = Vec::new();
        for mut stream in streams {
            let answered = tokio::time::timeout(Duration::from_millis(50), status(&mut stream)).await;
            if answered.is_err() {
                held.push(stream);
            }
        }
        held
    }
}

fn head(method: &str, path: &str, token: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: runtime.test:7070\r\nauthorization: Bearer {token}\r\n{more}\r\n")
}

async fn status(stream: &mut TcpStream) -> Option<u16> {
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.ok()?;
    std::str::from_utf8(&line).ok()?.split(' ').nth(1)?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_uploads_do_not_block_connections_of_other_tenants() {
    let served = TestServer::new(ServerLimits { connections: 32, ..ServerLimits::default() }).await;
    let (_, attacker) = served.api.token(&Scope::ALL, &["acme"]).await;
    let (_, honest) = served.api.token(&Scope::ALL, &["other"]).await;
    let mut stalled = Vec::new();
    for _ in 0..48 {
        stalled.push(served.stalled_upload(&attacker, "acme").await);
    }
    for _ in 0..8 {
        assert_eq!(served.asked(&honest, "other").await, Some(200));
    }
    let held = served.held(stalled).await;
    assert!(held.len() <= 8, "{} are more than a quarter of 32", held.len());
    // The token itself is refused with the name of its limit.
    assert_eq!(served.asked(&attacker, "acme").await, Some(429));
    drop(held);
    served.asked_until(&attacker, "acme", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_workspace_share_one_limit_unless_a_token_has_its_own() {
    let served = TestServer::new(ServerLimits { connections: 16, ..ServerLimits::default() }).await;
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let (_, token) = served.api.token(&Scope::ALL, &["acme"]).await;
        stalled.push(served.stalled_upload(&token, "acme").await);
    }
    let (_, another) = served.api.token(&Scope::ALL, &["acme", "other"]).await;
    served.asked_until(&another, "acme", 429).await;
    assert_eq!(served.asked(&another, "other").await, Some(200));
    let (summary, larger) = served.api.token_with(&Scope::ALL, &["acme", "other"], Some(6), None).await;
    assert_eq!(summary.grant.connections.map(u32::from), Some(6));
    assert_eq!(served.asked(&larger, "acme").await, Some(200), "the operator gave it a larger share");
    for _ in 0..8 {
        stalled.push(served.stalled_upload(&larger, "other").await);
    }
    assert_eq!(served.held(stalled).await.len(), 4 + 6);
    let (_, smaller) = served.api.token_with(&Scope::ALL, &["third"], Some(1), None).await;
    let one = served.stalled_upload(&smaller, "third").await;
    served.asked_until(&smaller, "third", 429).await;
    drop(one);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_connections_stall_token_with_largest_used_share_loses_one() {
    let served = TestServer::new(ServerLimits { connections: 8, ..ServerLimits::default() }).await;
    let (_, honest) = served.api.token(&Scope::ALL, &["other"]).await;
    let mut following = served.stream(&honest, "other").await;
    assert_eq!(following.0, 200);
    let mut stalled = Vec::new();
    for workspace in ["acme", "third", "fourth", "fifth"] {
        let (_, token) = served.api.token(&Scope::ALL, &[workspace]).await;
        for _ in 0..2 {
            stalled.push(served.stalled_upload(&token, workspace).await);
        }
    }
    for _ in 0..4 {
        assert_eq!(served.asked(&honest, "other").await, Some(200));
    }
    // The stream holds half of its share; each of the others held all of it.
    let mut rest = [0; 1024];
    let head = tokio::time::timeout(IN_TIME, following.1.read(&mut rest)).await.expect("in time").expect("read");
    assert!(head > 0, "the rest of the head");
    let ended = tokio::time::timeout(Duration::from_millis(100), following.1.read(&mut rest)).await;
    assert!(ended.is_err(), "the stream goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_events_are_bounded_by_token_and_by_workspace() {
    let limits = ServerLimits { event_streams: 2, workspace_event_streams: 3, ..ServerLimits::default() };
    let served = TestServer::new(limits).await;
    let mut open = Vec::new();
    let (_, first) = served.api.token(&Scope::ALL, &["acme"]).await;
    let (_, second) = served.api.token(&Scope::ALL, &["acme", "other"]).await;
    let (_, backend) = served.api.token_with(&Scope::ALL, &["acme", "other"], None, Some(5)).await;
    for (token, workspace, expected) in [
        (&first, "acme", 200),
        (&first, "acme", 200),
        (&first, "acme", 503),
        (&second, "acme", 200),
        // Three streams of the workspace.
        (&second, "acme", 503),
        (&second, "other", 200),
        (&second, "other", 503),
        (&backend, "acme", 200),
        (&backend, "other", 200),
        (&backend, "other", 200),
        (&backend, "acme", 200),
        // Five streams of all its tokens, which is the limit of the token with the largest one.
        (&backend, "acme", 503),
        (&backend, "other", 200),
        (&backend, "other", 503),
    ] {
        let (status, stream) = served.stream(token, workspace).await;
        assert_eq!(status, expected, "stream {} about {workspace}", open.len());
        open.push(stream);
    }
    let (_, third) = served.api.token(&Scope::ALL, &["acme"]).await;
    let over = served.api.get("/v1/events?workspace=acme", &third).await;
    assert_eq!(
        (over.code(), &over.json()["details"]["limit"]),
        ((503, "busy".to_owned()), &"workspace_event_streams".into())
    );
    assert!(over.headers.contains_key("retry-after"));
    drop(open);
    let again = async { while served.stream(&first, "acme").await.0 != 200 {} };
    assert!(tokio::time::timeout(IN_TIME, again).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn refusal_of_a_share_names_limit_and_retry_time() {
    let served = TestServer::new(ServerLimits { connections: 4, ..ServerLimits::default() }).await;
    let (_, token) = served.api.token(&Scope::ALL, &["acme"]).await;
    let (_, _stream) = served.stream(&token, "acme").await;
    let mut refused = served.connect().await;
    let asked = head("GET", "/v1/workers", &token, "connection: close\r\n");
    refused.write_all(asked.as_bytes()).await.expect("written");
    let mut answer = String::new();
    refused.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    for said in
        ["retry-after: 1", r#""code":"rate_limited""#, r#""limit":"connections""#, r#""allowed":1"#, "a larger share"]
    {
        assert!(answer.contains(said), "{said}: {answer}");
    }
}

#[tokio::test]
async fn lookups_of_unknown_tokens_do_not_block_valid_tokens() {
    let world = World::default();
    let tokens = {
        let api = Api::new(&world).await;
        let mut tokens = Vec::new();
        for _ in 0..100 {
            tokens.push(api.token(&Scope::ALL, &["acme"]).await);
        }
        tokens
    };
    // After a restart the service knows no token.
    let api = Api::new(&world).await;
    api.entropy.0.store(200, std::sync::atomic::Ordering::SeqCst);
    let mut limited = 0;
    let unknown = |number: usize| format!("yoi_{number:016x}_{:064x}", 7);
    for number in 0..200 {
        limited += usize::from(api.get("/v1/workers", &unknown(number)).await.status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(limited > 50, "{limited}");
    for (number, (summary, token)) in tokens.iter().enumerate() {
        assert_eq!(api.get("/v1/workers", token).await.status, StatusCode::OK);
        // A valid id with another secret is an unknown token.
        let wrong = format!("yoi_{}_{number:064x}", summary.id);
        let answer = api.get("/v1/workers", &wrong).await.status;
        assert!(matches!(answer, StatusCode::TOO_MANY_REQUESTS | StatusCode::UNAUTHORIZED), "{answer}");
    }
    // A newly issued token is known at once, and a revoked token is unknown.
    let (_, new) = api.token(&Scope::ALL, &["acme"]).await;
    assert_eq!(api.get("/v1/workers", &new).await.status, StatusCode::OK);
    api.runtime.management().revoke_token(&tokens[0].0.id).await.expect("revoked");
    for number in 0..100 {
        api.get("/v1/workers", &unknown(number)).await;
    }
    let refused = api.get("/v1/workers", &tokens[0].1).await.status;
    assert!(matches!(refused, StatusCode::TOO_MANY_REQUESTS | StatusCode::UNAUTHORIZED), "{refused}");
    assert_eq!(api.get("/v1/workers", &tokens[1].1).await.status, StatusCode::OK);
}
