//! HTTP requests against real servers, well-behaved and misbehaving ones.

use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use bundles::manifest::Effect;
use bytes::Bytes;
use component_host::host_api::{
    IncomingResponse, Method, OutgoingRequest, RequestFailure, Side, SizeLimit, Unreachable, WebSocketFailure,
};
use egress::{EgressLimits, NetworkPermissions, RequiredPermissions, TlsRoots};
use futures_util::stream;
use host_policy::PermissionSet;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::http::request::Parts;
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use crate::support::http_peer::{
    Answer, Authority, Body, Peer, certificate_params, drain, echo, finish, full, self_signed_server,
};
use crate::support::{self, NAME, Network, NoAnswer, PATIENCE, SECRET, everything, get};

type Outcome = Result<IncomingResponse, RequestFailure>;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

const HTTP1: &[&[u8]] = &[b"http/1.1"];
const HTTP2: &[&[u8]] = &[b"h2"];
const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];
const NO_ALPN: &[&[u8]] = &[];

/// Returns limits with 1000 bytes for a body.
fn small() -> EgressLimits {
    EgressLimits { response_bytes: 1000, ..EgressLimits::default() }
}

/// Returns the answer of a server: a head without its last line, and a body.
fn answer(head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), body.as_ref()].concat()
}

/// Sends a GET request to a peer, with limits.
async fn get_with(peer: &Peer, limits: EgressLimits) -> Outcome {
    Network::to(peer.address, limits).get(&peer.url("/")).await
}

/// Returns the values of a header of a response.
fn values<'a>(response: &'a IncomingResponse, name: &str) -> Vec<&'a [u8]> {
    let headers = response.headers.iter().filter(|(other, _)| other == name);
    headers.map(|(_, value)| value.as_slice()).collect()
}

/// Returns the values of a header of a request that a peer has read.
fn sent_values<'a>(request: &'a str, name: &str) -> Vec<&'a str> {
    let head = request.split("\r\n\r\n").next().unwrap_or_default();
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    headers.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
}

/// Returns the code of a denial.
fn code(outcome: Outcome) -> &'static str {
    match outcome {
        Err(RequestFailure::Denied(denial)) => denial.code,
        other => panic!("not denied: {other:?}"),
    }
}

fn unreachable(part: Unreachable) -> Outcome {
    Err(RequestFailure::Unreachable(part))
}

fn too_large(side: Side, bytes: u64) -> Outcome {
    Err(RequestFailure::TooLarge(SizeLimit { side, bytes }))
}

/// `true` if the response exceeded a size limit.
fn is_too_large(outcome: &Outcome) -> bool {
    matches!(outcome, Err(RequestFailure::TooLarge(SizeLimit { side: Side::Received, .. })))
}

/// `true` if the server closed the connection too early or violated the protocol.
fn is_broken(outcome: &Outcome) -> bool {
    matches!(outcome, Err(RequestFailure::Unreachable(Unreachable::Reset | Unreachable::Protocol)))
}

#[tokio::test]
async fn response_arrives_with_status_headers_and_body() {
    let peer = Peer::answering(
        b"HTTP/1.1 418 Teapot\r\nX-Answer: Yes\r\nx-twice: 1\r\nX-Twice: 2\r\nX-Bytes: \xff\xfe\r\nX-Empty:\r\n\
          Content-Length: 5\r\n\r\nh\0\xffl\n",
    );
    let response = get_with(&peer, small()).await.expect("a response");
    assert_eq!(response.status, 418);
    assert_eq!(response.body, b"h\0\xffl\n");
    assert_eq!(values(&response, "x-answer"), [b"Yes"]);
    assert_eq!(values(&response, "x-twice"), [b"1", b"2"]);
    assert_eq!(values(&response, "x-bytes"), [b"\xff\xfe"]);
    assert_eq!(values(&response, "x-empty"), [b""]);
}

#[tokio::test]
async fn request_arrives_with_method_path_headers_and_body() {
    let methods = [
        (Method::Get, "GET", ""),
        (Method::Head, "HEAD", ""),
        (Method::Delete, "DELETE", ""),
        (Method::Post, "POST", "hello"),
        (Method::Put, "PUT", "hello"),
        (Method::Patch, "PATCH", "hello"),
    ];
    for (method, name, body) in methods {
        let peer = Peer::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let headers = [("X-Test", "1"), ("x-test", "2"), ("Content-Type", "text/plain")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let url = peer.url("/a/b%20c?q=1&r=%2F#fragment");
        let request = OutgoingRequest { method, headers, body: body.into(), ..get(&url) };
        Network::to(peer.address, small()).send(request).await.expect("a response");

        let seen = peer.seen();
        assert_eq!(seen.len(), 1, "{name}");
        let sent = &seen[0];
        assert_eq!(sent.lines().next(), Some(format!("{name} /a/b%20c?q=1&r=%2F HTTP/1.1").as_str()));
        assert_eq!(sent_values(sent, "host"), [peer.address.to_string()], "{name}");
        assert_eq!(sent_values(sent, "x-test"), ["1", "2"], "{name}");
        assert_eq!(sent_values(sent, "content-type"), ["text/plain"], "{name}");
        assert_eq!(sent.split_once("\r\n\r\n").map(|(_, body)| body), Some(body), "{name}");
        let length = sent_values(sent, "content-length");
        match body {
            "" => assert!(length.is_empty() || length == ["0"], "{name}: {length:?}"),
            body => assert_eq!(length, [body.len().to_string()], "{name}"),
        }
        assert!(!sent.contains("fragment"), "{name}");
    }
}

#[tokio::test]
async fn host_adds_no_header_that_changes_the_exchange() {
    let peer = Peer::answering(OK);
    get_with(&peer, small()).await.expect("a response");
    let sent = peer.seen().remove(0);
    for name in [
        "accept-encoding",
        "authorization",
        "cookie",
        "expect",
        "http2-settings",
        "keep-alive",
        "origin",
        "proxy-connection",
        "referer",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-forwarded-for",
    ] {
        assert!(sent_values(&sent, name).is_empty(), "{name}: {sent}");
    }
    assert!(sent_values(&sent, "connection").iter().all(|value| *value == "close"), "{sent}");
}

#[tokio::test]
async fn body_ends_where_its_framing_says() {
    const CHUNKED: &str = "200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-trailer";
    let cases: [(&str, Method, Vec<u8>, u16, &[u8]); 12] = [
        ("HEAD", Method::Head, answer("200 OK\r\ncontent-length: 5", ""), 200, b""),
        ("HEAD of a body above the limit", Method::Head, answer("200 OK\r\ncontent-length: 5000", ""), 200, b""),
        ("204", Method::Get, answer("204 No Content", ""), 204, b""),
        ("304 with the length of the full response", Method::Get, answer("304 X\r\ncontent-length: 5", ""), 304, b""),
        ("an empty body", Method::Get, answer("200 OK\r\ncontent-length: 0", ""), 200, b""),
        ("an empty body until the end", Method::Get, answer("200 OK", ""), 200, b""),
        ("a body until the end", Method::Get, answer("200 OK", "hello"), 200, b"hello"),
        ("a response without a reason", Method::Get, answer("200 \r\ncontent-length: 5", "hello"), 200, b"hello"),
        ("HTTP/1.0", Method::Get, b"HTTP/1.0 200 OK\r\n\r\nhello".to_vec(), 200, b"hello"),
        (
            "chunks with an extension and trailers",
            Method::Post,
            answer(CHUNKED, "5;name=value\r\nhello\r\n6\r\n world\r\n0\r\nx-trailer: 1\r\n\r\n"),
            200,
            b"hello world",
        ),
        ("no chunk", Method::Get, answer(CHUNKED, "0\r\n\r\n"), 200, b""),
        (
            "interim responses",
            Method::Get,
            answer(
                "100 Continue\r\n\r\nHTTP/1.1 103 X\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5",
                "hello",
            ),
            200,
            b"hello",
        ),
    ];
    for (name, method, raw, status, body) in cases {
        let peer = Peer::answering(raw);
        let request = OutgoingRequest { method, ..get(&peer.url("/")) };
        let response = Network::to(peer.address, small()).send(request).await;
        let response = response.unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
        assert_eq!((response.status, response.body.as_slice()), (status, body), "{name}");
        for absent in ["x-trailer", "link"] {
            assert!(values(&response, absent).is_empty(), "{name}: {absent}");
        }
    }
}

#[tokio::test]
async fn redirect_is_returned_and_not_followed() {
    let target = Peer::answering(OK);
    for status in [301, 302, 303, 307, 308] {
        let peer = Peer::answering(OK);
        for location in [target.url("/"), peer.url("/other"), "/other".to_owned(), format!("//{}/", target.address)] {
            let head = format!("{status} X\r\nLocation: {location}\r\nRefresh: 0; url={location}\r\ncontent-length: 0");
            let peer = Peer::answering(answer(&head, ""));
            // Both servers are covered, so that no missing permission hides a second request.
            let mut permissions = everything(peer.address.port());
            let others = everything(target.address.port());
            let (list, others) = (permissions.requests.targets.as_slice(), others.requests.targets.as_slice());
            let set = Arc::new(PermissionSet::new(list.iter().chain(others).cloned()));
            permissions.requests = RequiredPermissions { targets: set.clone(), grants: set };
            let network = Network::with(permissions, small(), TlsRoots::Only(Vec::new()));

            let response = network.get(&peer.url("/")).await.expect("a response");
            assert_eq!(response.status, status);
            assert_eq!(values(&response, "location"), [location.as_bytes()]);
            assert_eq!(peer.accepted().await, 1, "{status} {location}");
        }
        assert_eq!(peer.accepted().await, 0);
    }
    assert_eq!(target.accepted().await, 0);
}

#[tokio::test]
async fn compressed_body_is_not_decoded() {
    // 60,000 zeros, compressed with gzip.
    let bomb = [
        b"\x1f\x8b\x08\0\0\0\0\0\x02\x03\xed\xc1\x31\x01\0\0\0\xc2\xa0\xf5\x4f\x6d\x0d\x0f\xa0".as_slice(),
        [0_u8; 58].as_slice(),
        b"\xbe\x0c\x05\xaa\x27\x51\x60\xea\0\0".as_slice(),
    ]
    .concat();
    for (encoding, body) in [
        ("gzip", bomb.as_slice()),
        ("gzip", b"\x1f\x8bnot gzip".as_slice()),
        ("deflate", b"anything".as_slice()),
        ("br", b"\xff\xff\xff".as_slice()),
        ("zstd, gzip", b"\x28\xb5\x2f\xfd".as_slice()),
    ] {
        let peer = Peer::answering(answer(&format!("200 OK\r\ncontent-encoding: {encoding}"), body));
        let response = get_with(&peer, small()).await.expect("a response");
        assert_eq!(response.body, body, "{encoding}");
        assert_eq!(values(&response, "content-encoding"), [encoding.as_bytes()]);
    }
}

#[tokio::test]
async fn each_request_has_a_connection_of_its_own_and_no_cookies() {
    let cookies = "200 OK\r\nset-cookie: a=1; Path=/\r\nset-cookie: b=2\r\nconnection: keep-alive\r\ncontent-length: 0";
    let peer = Peer::answering(answer(cookies, ""));
    let network = Network::to(peer.address, small());
    for _ in 0..3 {
        network.get(&peer.url("/")).await.expect("a response");
    }
    let seen = peer.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|sent| sent_values(sent, "cookie").is_empty()), "{seen:?}");
    assert_eq!(peer.accepted().await, 3);
}

/// Returns `count` short headers.
fn headers(count: usize) -> String {
    (0..count).map(|number| format!("\r\nx-{number}: {number}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn response_above_a_limit_is_too_large() {
    let limits = EgressLimits { response_headers: 20, response_header_bytes: 8192, ..small() };
    let chunked = "200 OK\r\ntransfer-encoding: chunked";
    let chunk = format!("100\r\n{}\r\n", "a".repeat(0x100));
    let bodies = [
        ("a long body", Peer::answering(answer("200 OK\r\ncontent-length: 1001", [b'a'; 1001]))),
        ("a huge length", Peer::flooding(answer("200 OK\r\ncontent-length: 9223372036854775807", ""), [b'a'; 512])),
        ("endless chunks", Peer::flooding(answer(chunked, ""), chunk)),
        ("an endless chunk", Peer::flooding(answer(chunked, "fffffffffffffff\r\n"), [b'a'; 512])),
        ("an endless body until the end", Peer::flooding(answer("200 OK", ""), [b'a'; 512])),
    ];
    for (name, peer) in &bodies {
        assert_eq!(get_with(peer, limits.clone()).await, too_large(Side::Received, 1000), "{name}");
        peer.closed().await;
    }
    let long = |bytes: usize| format!("200 OK\r\nx-long: {}\r\ncontent-length: 0", "a".repeat(bytes));
    let heads = [
        ("many headers", Peer::answering(answer(&format!("200 OK{}\r\ncontent-length: 0", headers(20)), ""))),
        ("a huge header", Peer::answering(answer(&long(20_000), ""))),
        ("an endless status line", Peer::flooding("HTTP/1.1 200 ", [b'a'; 512])),
        ("an endless header", Peer::flooding("HTTP/1.1 200 OK\r\nx-long: ", [b'a'; 512])),
        ("an endless header name", Peer::flooding("HTTP/1.1 200 OK\r\n", [b'a'; 512])),
        ("endless headers", Peer::flooding("HTTP/1.1 200 OK\r\n", "a: b\r\n".repeat(100))),
    ];
    for (name, peer) in &heads {
        let outcome = get_with(peer, limits.clone()).await;
        assert!(is_too_large(&outcome), "{name}: {outcome:?}");
        peer.closed().await;
    }
    // Limits of the HTTP library end these responses, so the failure may be another one.
    let others = [
        ("an endless chunk extension", Peer::flooding(answer(chunked, "5;"), [b'a'; 512])),
        ("an endless chunk size", Peer::flooding(answer(chunked, ""), [b'0'; 512])),
        ("endless trailers", Peer::flooding(answer(chunked, "0\r\n"), "a: b\r\n".repeat(100))),
    ];
    for (name, peer) in &others {
        let limits = EgressLimits { exchange_ms: 2_000, ..limits.clone() };
        let outcome = get_with(peer, limits).await;
        let is_late = outcome == Err(RequestFailure::TimedOut) && *name == "an endless chunk size";
        assert!(is_too_large(&outcome) || is_broken(&outcome) || is_late, "{name}: {outcome:?}");
        peer.closed().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_interim_responses_end() {
    let limits = EgressLimits { first_byte_ms: 500, ..small() };
    for status in ["100 Continue", "103 X\r\nlink: </a>"] {
        let peer = Peer::flooding(answer(status, ""), answer(status, "").repeat(20));
        let outcome = get_with(&peer, limits.clone()).await;
        let is_late = outcome == Err(RequestFailure::TimedOut);
        assert!(is_late || is_too_large(&outcome) || is_broken(&outcome), "{status}: {outcome:?}");
        peer.closed().await;
    }
}

#[tokio::test]
async fn response_within_the_limits_passes() {
    let limits = EgressLimits { response_headers: 20, response_header_bytes: 8192, ..small() };
    let body = "a".repeat(1000);
    let cases = [
        ("a body with a length", answer("200 OK\r\ncontent-length: 1000", &body)),
        ("a body until the end", answer("200 OK", &body)),
        (
            "chunks",
            answer(
                "200 OK\r\ntransfer-encoding: chunked",
                format!("1f4\r\n{}\r\n1F4\r\n{}\r\n0\r\n\r\n", &body[..500], &body[500..]),
            ),
        ),
        ("headers", answer(&format!("200 OK{}\r\ncontent-length: 1000", headers(19)), &body)),
        ("a long header", answer(&format!("200 OK\r\nx-long: {}\r\ncontent-length: 1000", "a".repeat(4000)), &body)),
    ];
    for (name, raw) in cases {
        let response = get_with(&Peer::answering(raw), limits.clone()).await;
        let response = response.unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
        assert_eq!(response.body, body.as_bytes(), "{name}");
    }
}

#[tokio::test]
async fn request_body_above_the_limit_is_not_sent() {
    let peer = Peer::answering(OK);
    let limits = EgressLimits { request_bytes: 1000, ..small() };
    let network = Network::to(peer.address, limits);
    let post = |bytes: usize| OutgoingRequest { method: Method::Post, body: vec![b'a'; bytes], ..get(&peer.url("/")) };
    assert_eq!(network.send(post(1001)).await, too_large(Side::Sent, 1000));
    assert_eq!(peer.accepted().await, 0);
    network.send(post(1000)).await.expect("a response");
    assert_eq!(sent_values(&peer.seen()[0], "content-length"), ["1000"]);
}

#[tokio::test]
async fn connection_that_ends_before_the_response_is_reset() {
    let cases: [(&str, Vec<u8>); 5] = [
        ("nothing", Vec::new()),
        ("half a status line", b"HTTP/1.1 20".to_vec()),
        ("half a head", b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
        ("a truncated body", answer("200 OK\r\ncontent-length: 10", "hello")),
        ("an interim response only", answer("100 Continue", "")),
    ];
    for (name, raw) in cases {
        assert_eq!(get_with(&Peer::answering(raw), small()).await, unreachable(Unreachable::Reset), "{name}");
    }
}

#[tokio::test]
async fn invalid_response_is_a_violation_of_the_protocol() {
    let chunked = "200 OK\r\ntransfer-encoding: chunked";
    let length = |values: &str| answer(&format!("200 OK\r\ncontent-length: {values}"), "hello");
    let cases: [(&str, Vec<u8>); 33] = [
        ("garbage", b"no protocol at all\r\n\r\n".to_vec()),
        ("only binary", vec![0; 100]),
        ("no status", b"HTTP/1.1\r\n\r\n".to_vec()),
        ("an unknown version", b"HTTP/9.9 200 OK\r\n\r\n".to_vec()),
        ("a version of HTTP/2 in text", b"HTTP/2 200 OK\r\n\r\n".to_vec()),
        ("a status of letters", answer("abc OK", "")),
        ("a short status", answer("20 OK", "")),
        ("a long status", answer("2000 OK", "")),
        ("a status below 100", answer("099 X", "")),
        ("HTTP/0.9", b"<html>hello</html>".to_vec()),
        ("a request", b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n".to_vec()),
        ("the settings of HTTP/2", b"\0\0\0\x04\0\0\0\0\0".to_vec()),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("TLS", b"\x15\x03\x03\0\x02\x02\x28".to_vec()),
        ("a negative length", length("-1")),
        ("a signed length", length("+5")),
        ("a length of letters", length("five")),
        ("a hexadecimal length", length("0x5")),
        ("an empty length", length("")),
        ("a length above 64 bits", length("99999999999999999999999999")),
        ("two lengths", length("5\r\ncontent-length: 6")),
        ("two lengths in a line", length("5, 6")),
        ("NUL in a header", answer("200 OK\r\nx-nul: a\0b\r\ncontent-length: 0", "")),
        ("NUL in a header name", answer("200 OK\r\nx-n\0ul: a\r\ncontent-length: 0", "")),
        ("a carriage return in a header", answer("200 OK\r\nx-return: a\rb\r\ncontent-length: 0", "")),
        ("a folded header", answer("200 OK\r\nx-folded: a\r\n b\r\ncontent-length: 0", "")),
        ("a header without a name", answer("200 OK\r\n: a\r\ncontent-length: 0", "")),
        ("space before a colon", answer("200 OK\r\nx-space : a\r\ncontent-length: 0", "")),
        ("a chunk size of letters", answer(chunked, "five\r\nhello\r\n0\r\n\r\n")),
        ("a negative chunk size", answer(chunked, "-5\r\nhello\r\n0\r\n\r\n")),
        ("a chunk size above 64 bits", answer(chunked, "10000000000000005\r\nhello\r\n0\r\n\r\n")),
        ("a chunk that is longer than its size", answer(chunked, "5\r\nhello world\r\n0\r\n\r\n")),
        ("an upgrade", answer("101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade", "hello")),
    ];
    for (name, raw) in cases {
        let outcome = get_with(&Peer::answering(raw), small()).await;
        assert!(is_broken(&outcome), "{name}: {outcome:?}");
    }
}

#[tokio::test]
async fn broken_connection_is_reported() {
    let chunked = "200 OK\r\ntransfer-encoding: chunked";
    let cases = [
        ("closed in a chunk", Peer::answering(answer(chunked, "5\r\nhel"))),
        ("closed after a chunk", Peer::answering(answer(chunked, "5\r\nhello\r\n"))),
        ("closed in a chunk size", Peer::answering(answer(chunked, "5"))),
        ("closed in the trailers", Peer::answering(answer(chunked, "0\r\nx-trailer: 1\r\n"))),
        ("closed at once", Peer::tcp(|stream: TcpStream| async move { drop(stream) })),
        // A socket with unread data resets its connection when it is closed.
        (
            "reset",
            Peer::tcp(|stream: TcpStream| async move {
                let _ = stream.readable().await;
                drop(stream);
            }),
        ),
        (
            "reset in a body",
            Peer::tcp(|mut stream: TcpStream| async move {
                let _ = stream.readable().await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
                drop(stream);
            }),
        ),
    ];
    for (name, peer) in &cases {
        let outcome = get_with(peer, small()).await;
        assert!(is_broken(&outcome), "{name}: {outcome:?}");
    }
}

/// Writes bytes, and then one byte every 10 ms until the client closes the connection.
async fn drip(mut stream: TcpStream, first: &'static [u8]) {
    let mut written = stream.write_all(first).await;
    while written.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        written = stream.write_all(b"a").await;
    }
}

/// Writes bytes, and then nothing until the client closes the connection.
async fn stall(mut stream: TcpStream, first: &'static [u8]) {
    if stream.write_all(first).await.is_ok() {
        drain(stream).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_times_out_and_closes_its_connection() {
    let first_byte = EgressLimits { first_byte_ms: 200, ..EgressLimits::default() };
    let exchange = EgressLimits { exchange_ms: 400, ..EgressLimits::default() };
    let default = EgressLimits::default();
    let (soon, late) = (Some(Duration::from_millis(100)), Some(Duration::from_secs(3600)));
    let cases = [
        ("no answer", &first_byte, None, Peer::raw(drain)),
        ("no answer at all", &exchange, None, Peer::raw(drain)),
        ("half a head", &first_byte, None, Peer::raw(|stream| stall(stream, b"HTTP/1.1 200 OK\r\nx-long: "))),
        ("a slow head", &first_byte, None, Peer::raw(|stream| drip(stream, b"HTTP/1.1 200 OK\r\nx-long: "))),
        ("a slower head", &exchange, None, Peer::raw(|stream| drip(stream, b"HTTP/1.1 200 OK\r\nx-long: "))),
        ("a slow body", &exchange, None, Peer::raw(|stream| drip(stream, b"HTTP/1.1 200 OK\r\n\r\n"))),
        (
            "a slow body with a length",
            &exchange,
            None,
            Peer::raw(|stream| drip(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")),
        ),
        (
            "a body that stops",
            &exchange,
            None,
            Peer::raw(|stream| stall(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")),
        ),
        ("a plugin that wants an early end", &default, soon, Peer::raw(drain)),
        ("a plugin that wants an end at once", &default, Some(Duration::ZERO), Peer::raw(drain)),
        ("a plugin that wants a late end", &exchange, late, Peer::raw(drain)),
    ];
    for (name, limits, timeout, peer) in &cases {
        let network = Network::to(peer.address, (*limits).clone());
        let request = OutgoingRequest { timeout: *timeout, ..get(&peer.url("/")) };
        assert_eq!(network.send(request).await, Err(RequestFailure::TimedOut), "{name}");
        peer.closed().await;
    }
}

/// Changes the permissions as soon as a request has reached a point, and returns its outcome.
async fn changed_when(reached: &Notify, network: &Network, url: &str, change: impl FnOnce()) -> Outcome {
    let changing = async {
        timeout(PATIENCE, reached.notified()).await.expect("the point");
        change();
    };
    tokio::join!(network.send(get_with_secret(url)), changing).0
}

/// Returns permissions for requests to a path of a peer, and for no WebSocket.
fn narrow(port: u16, path: &str, methods: &[&str]) -> NetworkPermissions {
    let permission = support::permission(json!({
        "scheme": "http",
        "host": "127.0.0.1",
        "port": port,
        "path_prefixes": [path],
        "methods": methods,
    }));
    let set = Arc::new(PermissionSet::new([permission]));
    let requests = RequiredPermissions { targets: set.clone(), grants: set };
    NetworkPermissions { requests, websockets: RequiredPermissions::default(), ..everything(port) }
}

#[tokio::test(flavor = "multi_thread")]
async fn exchange_ends_when_its_permission_is_withdrawn() {
    type Change = fn(u16) -> Option<NetworkPermissions>;
    let changes: [(&str, Change, &str); 7] = [
        ("plugin", |_| None, "plugin_not_granted"),
        (
            "grant",
            |port| {
                let requests = RequiredPermissions { grants: Arc::default(), ..everything(port).requests };
                Some(NetworkPermissions { requests, ..everything(port) })
            },
            "not_granted",
        ),
        (
            "target",
            |port| {
                let requests = RequiredPermissions { targets: Arc::default(), ..everything(port).requests };
                Some(NetworkPermissions { requests, ..everything(port) })
            },
            "not_declared",
        ),
        ("port", |port| Some(everything(port ^ 1)), "not_declared_nor_granted"),
        ("path", |port| Some(narrow(port, "/other", &["GET"])), "not_declared_nor_granted"),
        ("method", |port| Some(narrow(port, "/", &["POST"])), "not_declared_nor_granted"),
        (
            "secret",
            |port| Some(NetworkPermissions { granted_secrets: Arc::default(), ..everything(port) }),
            "secret_not_granted",
        ),
    ];
    let sent: [(&str, &[u8]); 3] = [
        ("before the head", b""),
        ("inside of the head", b"HTTP/1.1 200 OK\r\nx-long: "),
        ("inside of the body", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello"),
    ];
    for (place, first) in sent {
        for (name, change, expected) in changes {
            let reached = Arc::new(Notify::new());
            let peer = Peer::raw({
                let reached = reached.clone();
                move |mut stream| {
                    let reached = reached.clone();
                    async move {
                        stream.write_all(first).await.expect("written");
                        reached.notify_one();
                        drain(stream).await;
                    }
                }
            });
            let network = Network::to(peer.address, EgressLimits::default());
            let url = peer.url("/");
            let outcome = changed_when(&reached, &network, &url, || match change(peer.address.port()) {
                Some(permissions) => network.permissions.set(permissions),
                None => network.permissions.revoke(),
            });
            assert_eq!(code(outcome.await), expected, "{name}, {place}");
            peer.closed().await;
            // A new request gets the same refusal.
            assert_eq!(code(network.send(get_with_secret(&url)).await), expected, "{name}, {place}");
            assert_eq!(peer.accepted().await, 1, "{name}, {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exchange_ends_when_its_permission_is_withdrawn_before_it_is_connected() {
    let reached = Arc::new(Notify::new());
    // No answer to the TLS handshake.
    let peer = Peer::tcp({
        let reached = reached.clone();
        move |stream| {
            reached.notify_one();
            drain(stream)
        }
    });
    let network = Network::to(peer.address, EgressLimits::default());
    let outcome = changed_when(&reached, &network, &peer.tls_url("/"), || network.permissions.revoke()).await;
    assert_eq!(code(outcome), "plugin_not_granted");
    peer.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exchange_goes_on_while_the_permissions_cover_it() {
    let (reached, resumed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = Peer::raw({
        let (reached, resumed) = (reached.clone(), resumed.clone());
        move |mut stream| {
            let (reached, resumed) = (reached.clone(), resumed.clone());
            async move {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await.expect("written");
                reached.notify_one();
                resumed.notified().await;
                finish(stream, b"world").await;
            }
        }
    });
    let port = slow.address.port();
    let network = Network::to(slow.address, EgressLimits::default());
    let changing = async {
        timeout(PATIENCE, reached.notified()).await.expect("the first half");
        let no_websockets = NetworkPermissions { websockets: RequiredPermissions::default(), ..everything(port) };
        for permissions in [everything(port), no_websockets, narrow(port, "/", &["GET"]), everything(port)] {
            network.permissions.set(permissions);
            // The refusal of another request shows that the change is in force.
            assert_eq!(code(network.get(&format!("http://127.0.0.1:{}/", port ^ 1)).await), "not_declared_nor_granted");
        }
        resumed.notify_one();
    };
    let (outcome, ()) = tokio::join!(network.send(get_with_secret(&slow.url("/"))), changing);
    assert_eq!(outcome.expect("a response").body, b"helloworld");
}

#[tokio::test]
async fn timeout_of_a_plugin_can_be_any_number() {
    let peer = Peer::answering(OK);
    let request = OutgoingRequest { timeout: Some(Duration::MAX), ..get(&peer.url("/")) };
    Network::to(peer.address, small()).send(request).await.expect("a response");
}

#[tokio::test]
async fn port_without_a_listener_cannot_be_connected() {
    // A socket that is bound and does not listen keeps the port from being used by others.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let address = socket.local_addr().expect("an address");
    let network = Network::to(address, small());
    let outcome = network.get(&format!("http://{address}/")).await;
    assert_eq!(outcome, unreachable(Unreachable::Connect));
    drop(socket);
}

#[tokio::test]
async fn name_is_looked_up_and_an_unknown_one_is_not_found() {
    let peer = Peer::answering(OK);
    let network = Network::to(peer.address, small());
    let url = format!("http://{NAME}:{}/", peer.address.port());
    network.get(&url).await.expect("a response");
    assert_eq!(sent_values(&peer.seen()[0], "host"), [format!("{NAME}:{}", peer.address.port())]);

    network.names.0.lock().expect("names").remove(NAME);
    assert_eq!(network.get(&url).await, unreachable(Unreachable::Dns));
    assert_eq!(peer.accepted().await, 1);
}

#[tokio::test]
async fn names_come_only_from_the_resolver() {
    let peer = Peer::answering(OK);
    let network = Network::to(peer.address, small());
    let url = format!("http://localhost:{}/", peer.address.port());
    network.get(&url).await.expect("a response");
    // `/etc/hosts` and the C library still have an address of this name.
    network.names.0.lock().expect("names").remove("localhost");
    assert_eq!(network.get(&url).await, unreachable(Unreachable::Dns));
    assert_eq!(peer.accepted().await, 1);
}

/// Runs other tests of this program in a process whose environment names a proxy.
#[tokio::test]
async fn proxies_of_the_environment_are_ignored() {
    let tests = [
        "requests::response_arrives_with_status_headers_and_body",
        "requests::secret_is_sent_and_found_over_tls",
        "requests::name_is_looked_up_and_an_unknown_one_is_not_found",
        "websockets::close_without_a_code_is_reported_without_one",
    ];
    let proxy = Peer::answering(OK);
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(tests).arg("--exact").env_remove("NO_PROXY").env_remove("no_proxy");
    for variable in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "WSS_PROXY"] {
        for variable in [variable.to_owned(), variable.to_lowercase()] {
            command.env(variable, proxy.url(""));
        }
    }
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joined").expect("an end");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("4 passed"), "{text}");
    assert_eq!(proxy.accepted().await, 0);
}

#[tokio::test]
async fn event_stream_is_refused() {
    for (kind, is_stream) in [
        ("text/event-stream", true),
        ("text/event-stream; charset=utf-8", true),
        ("text/event-stream;charset=utf-8", true),
        ("Text/Event-Stream", true),
        ("text/plain; charset=utf-8", false),
        ("application/json", false),
    ] {
        // An event stream does not end by itself, so the head alone has to decide.
        let raw = answer(&format!("200 OK\r\nContent-Type: {kind}"), "data: 1\n\n");
        if is_stream {
            let peer = Peer::flooding(raw, "data: 2\n\n");
            let limits = EgressLimits { response_bytes: u64::MAX, ..EgressLimits::default() };
            assert_eq!(code(get_with(&peer, limits).await), "event_stream_refused", "{kind}");
            peer.closed().await;
        } else {
            let response = get_with(&Peer::answering(raw), small()).await.expect("a response");
            assert_eq!(response.body, b"data: 1\n\n", "{kind}");
        }
    }
}

#[tokio::test]
async fn header_that_only_the_host_may_write_is_refused() {
    let peer = Peer::answering(OK);
    let with = |name: &str, value: &str| OutgoingRequest {
        headers: vec![("x-test".to_owned(), "1".to_owned()), (name.to_owned(), value.to_owned())],
        ..get(&peer.url("/"))
    };
    for (name, value) in [
        ("host", "a.example"),
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("connection", "keep-alive"),
        ("upgrade", "websocket"),
        ("te", "trailers"),
        ("cookie", "a=1"),
        ("authorization", "Bearer a"),
        ("proxy-authorization", "Basic a"),
        ("sec-fetch-site", "same-origin"),
        ("expect", "100-continue"),
        ("accept", "text/event-stream"),
        ("accept", "application/json, TEXT/Event-Stream;q=0.5"),
    ] {
        let network = Network::to(peer.address, small());
        for name in [name.to_owned(), name.to_ascii_uppercase()] {
            assert_eq!(code(network.send(with(&name, value)).await), "header_not_allowed", "{name}");
        }
    }
    let network = Network::to(peer.address, small());
    for value in ["1\r\nhost: a.example", "1\n", "1\0", "é"] {
        assert_eq!(code(network.send(with("x-a", value)).await), "invalid_header_value", "{value:?}");
    }
    for name in ["", "x a", "x-a:", "x-a\r\nhost", "é"] {
        assert_eq!(code(network.send(with(name, "1")).await), "invalid_header_name", "{name:?}");
    }
    assert_eq!(peer.accepted().await, 0);
    network.send(with("accept", "application/json")).await.expect("a response");
    assert_eq!(sent_values(&peer.seen()[0], "accept"), ["application/json"]);
}

#[tokio::test]
async fn other_scheme_is_not_allowed() {
    let peer = Peer::answering(OK);
    let network = Network::to(peer.address, small());
    let schemes = ["ftp", "ws", "wss", "gopher", "http+unix"];
    let urls = schemes.map(|scheme| format!("{scheme}://{}/", peer.address));
    for url in urls.into_iter().chain(["file:///etc/hosts".to_owned(), "data:,a".to_owned()]) {
        assert_eq!(code(network.get(&url).await), "scheme_not_allowed", "{url}");
    }
    assert_eq!(peer.accepted().await, 0);
}

#[tokio::test]
async fn invalid_url_is_refused_and_its_password_is_not_shown() {
    let peer = Peer::answering(OK);
    let network = Network::to(peer.address, small());
    let address = peer.address;
    for url in [
        String::new(),
        "/".to_owned(),
        "no URL".to_owned(),
        "http://".to_owned(),
        format!("http:{address}/"),
        format!("http:///{address}/"),
        format!("http://user@{address}/"),
        format!("http://user:hunter2@{address}/"),
        format!("http://@{address}/"),
        format!(" http://{address}/"),
        format!("http://{address}/a\\b"),
        format!("http://{address}/\r\nhost:a"),
        "http://127.0.0.1:0/".to_owned(),
        "http://127.0.0.1:65536/".to_owned(),
        format!("http://{address}/{}", "a".repeat(100_000)),
    ] {
        match network.get(&url).await {
            Err(RequestFailure::InvalidUrl(reason)) => assert!(!reason.contains("hunter2"), "{reason}"),
            other => panic!("{url}: {other:?}"),
        }
    }
    assert_eq!(peer.accepted().await, 0);
}

#[tokio::test]
async fn url_that_no_permission_covers_is_not_contacted() {
    let (peer, other) = (Peer::answering(OK), Peer::answering(OK));
    let network = Network::to(peer.address, small());
    let port = peer.address.port();
    for url in [
        other.url("/"),
        format!("http://127.0.0.2:{port}/"),
        format!("http://a.{NAME}:{port}/"),
        format!("http://[::1]:{port}/"),
        "http://127.0.0.1/".to_owned(),
    ] {
        assert_eq!(code(network.get(&url).await), "not_declared_nor_granted", "{url}");
    }
    assert_eq!((peer.accepted().await, other.accepted().await), (0, 0));
}

#[tokio::test]
async fn tls_verifies_the_name_and_selects_the_version_of_http() {
    let authority = Authority::new();
    let cases: [(&[&[u8]], &'static SupportedProtocolVersion, &str); 7] = [
        (NO_ALPN, &TLS13, "HTTP/1.1"),
        (HTTP1, &TLS12, "HTTP/1.1"),
        (HTTP1, &TLS13, "HTTP/1.1"),
        (HTTP2, &TLS12, "HTTP/2.0"),
        (HTTP2, &TLS13, "HTTP/2.0"),
        (BOTH, &TLS12, "HTTP/2.0"),
        (BOTH, &TLS13, "HTTP/2.0"),
    ];
    for (alpn, tls, http) in cases {
        let peer = Peer::tls(&authority, &[NAME, "127.0.0.1"], alpn, &[tls], echo);
        let network = Network::to_tls(peer.address, small(), authority.root());
        let address_url = format!("https://{}/a/b?q=1#fragment", peer.address);
        for (url, host) in [
            (peer.tls_url("/a/b?q=1#fragment"), format!("{NAME}:{}", peer.address.port())),
            (address_url, peer.address.to_string()),
        ] {
            let headers = vec![("X-Test".to_owned(), "1".to_owned())];
            let request = OutgoingRequest { method: Method::Post, headers, body: b"hello".to_vec(), ..get(&url) };
            let response = network.send(request).await.unwrap_or_else(|failure| panic!("{http} {tls:?}: {failure:?}"));
            assert_eq!(response.status, 200);
            let sent: Value = serde_json::from_slice(&response.body).expect("JSON");
            assert_eq!(sent["version"], http);
            assert_eq!(sent["method"], "POST");
            assert_eq!(sent["path"], "/a/b");
            let value = |name: &str| -> Option<&str> {
                let headers = sent["headers"].as_array().expect("headers");
                headers.iter().find(|header| header[0] == name).and_then(|header| header[1].as_str())
            };
            match http {
                "HTTP/2.0" => assert_eq!(sent["authority"], host),
                _ => assert_eq!(value("host"), Some(host.as_str())),
            }
            assert_eq!(value("x-test"), Some("1"));
            assert_eq!(value("content-length"), Some("5"));
            for absent in ["accept-encoding", "cookie", "te", "upgrade", "transfer-encoding"] {
                assert_eq!(value(absent), None, "{absent}");
            }
        }
        assert_eq!(peer.seen().len(), 2);
        assert!(peer.seen().iter().all(|line| line.ends_with(http) && line.contains("/a/b?q=1 ")), "{:?}", peer.seen());
    }
}

/// Returns a server that answers the first bytes of a TLS client with these.
fn tls_garbage(bytes: &'static [u8]) -> Peer {
    Peer::tcp(move |stream: TcpStream| async move {
        let _ = stream.readable().await;
        finish(stream, bytes).await;
    })
}

#[tokio::test]
async fn server_without_valid_tls_gets_no_request() {
    // A `ServerHello` of TLS 1.0 that selects TLS_RSA_WITH_AES_128_CBC_SHA.
    const TLS10: &[u8] = b"\x16\x03\x01\0\x2a\x02\0\0\x26\x03\x01\
        \x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x03\x04\x05\x06\x07\x08\
        \x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x03\x04\x05\x06\x07\x08\0\0\x2f\0";
    let authority = Authority::new();
    let mut expired = certificate_params(&[NAME]);
    expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let mut future = certificate_params(&[NAME]);
    future.not_before = rcgen::date_time_ymd(4000, 1, 1);
    let both: &[&'static SupportedProtocolVersion] = &[&TLS12, &TLS13];
    let cases = [
        ("another name", Peer::tls(&authority, &["other.example"], HTTP1, both, echo)),
        ("a name below", Peer::tls(&authority, &["a.peer.example"], HTTP1, both, echo)),
        ("the address", Peer::tls(&authority, &["127.0.0.1"], HTTP1, both, echo)),
        ("no name", Peer::tls(&authority, &[], HTTP2, both, echo)),
        ("an unknown authority", Peer::tls(&Authority::new(), &[NAME], HTTP1, both, echo)),
        ("an unknown authority, TLS 1.2", Peer::tls(&Authority::new(), &[NAME], HTTP1, &[&TLS12], echo)),
        ("a self-signed certificate", Peer::tls_with(self_signed_server(&[NAME], HTTP1, both), echo)),
        ("an expired certificate", Peer::tls_with(authority.server_with(&expired, HTTP1, both), echo)),
        ("a certificate of the future", Peer::tls_with(authority.server_with(&future, HTTP1, both), echo)),
        ("no common protocol", Peer::tls(&authority, &[NAME], &[b"spdy/1"], both, echo)),
        ("TLS 1.0", tls_garbage(TLS10)),
        ("an alert", tls_garbage(&[0x15, 3, 3, 0, 2, 2, 40])),
        ("plain HTTP", tls_garbage(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")),
        ("garbage", tls_garbage(&[0xff; 100])),
    ];
    for (name, peer) in &cases {
        let network = Network::to_tls(peer.address, small(), authority.root());
        assert_eq!(network.get(&peer.tls_url("/")).await, unreachable(Unreachable::Tls), "{name}");
        peer.closed().await;
        assert!(peer.seen().is_empty(), "{name}: {:?}", peer.seen());
    }
    // A client without root certificates trusts nobody.
    let peer = Peer::tls(&authority, &[NAME], HTTP1, both, echo);
    assert_eq!(Network::to(peer.address, small()).get(&peer.tls_url("/")).await, unreachable(Unreachable::Tls));
    assert!(peer.seen().is_empty());
}

#[tokio::test]
async fn server_is_verified_with_roots_in_pem() {
    let (authority, other) = (Authority::new(), Authority::new());
    let peer = Peer::tls(&authority, &[NAME], BOTH, &[&TLS13], echo);
    let get = async |pem: String| {
        let roots = TlsRoots::from_pem(pem.as_bytes()).expect("roots");
        Network::with(everything(peer.address.port()), small(), roots).get(&peer.tls_url("/")).await
    };
    assert_eq!(get(authority.root_pem()).await.expect("a response").status, 200);
    assert_eq!(get(other.root_pem()).await, unreachable(Unreachable::Tls));
    let both = format!("# Two authorities.\n{}{}", other.root_pem(), authority.root_pem());
    assert_eq!(get(both).await.expect("a response").status, 200);
    assert_eq!(peer.seen().len(), 2);
}

#[tokio::test]
async fn connection_that_is_never_established_times_out() {
    let address = SocketAddr::from(([127, 0, 0, 1], 9));
    let limits = EgressLimits { connect_ms: 100, ..EgressLimits::default() };
    let network = Network::with_dialer(address, limits, NoAnswer);
    for scheme in ["http", "https"] {
        let outcome = network.get(&format!("{scheme}://{address}/")).await;
        assert_eq!(outcome, Err(RequestFailure::TimedOut), "{scheme}");
    }
    // A plugin can ask for less.
    let network =
        Network::with_dialer(address, EgressLimits { connect_ms: 3_600_000, ..EgressLimits::default() }, NoAnswer);
    let request = OutgoingRequest { timeout: Some(Duration::from_millis(100)), ..get(&format!("http://{address}/")) };
    assert_eq!(network.send(request).await, Err(RequestFailure::TimedOut));
}

/// Begins requests until one is above the rate. They are refused without a connection, which takes much less than a second.
async fn is_rate_limited(network: &Network) -> bool {
    for _ in 0..1000 {
        match network.get("http://other.example/").await {
            Err(RequestFailure::RateLimited(wait)) => {
                assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
                return true;
            }
            outcome => assert_eq!(code(outcome), "not_declared_nor_granted"),
        }
    }
    false
}

#[tokio::test]
async fn requests_above_the_rate_are_refused_for_an_instance_and_for_a_workspace() {
    let peer = Peer::answering(OK);
    let many = 1_000_000;
    let of = |instance, workspace| EgressLimits {
        instance_requests_per_second: instance,
        workspace_requests_per_second: workspace,
        ..EgressLimits::default()
    };
    let network = Network::to(peer.address, of(1, many));
    network.get(&peer.url("/")).await.expect("the first request");
    assert!(is_rate_limited(&network).await);
    // Another instance of the workspace has a rate of its own.
    let another = network.another("team");
    another.get(&peer.url("/")).await.expect("the first request");
    assert!(is_rate_limited(&another).await);

    let network = Network::to(peer.address, of(many, 1));
    network.get(&peer.url("/")).await.expect("the first request");
    assert!(is_rate_limited(&network.another("team")).await);
    network.another("neighbour").get(&peer.url("/")).await.expect("the first request of another workspace");

    assert!(!is_rate_limited(&Network::to(peer.address, of(many, many))).await);
    assert_eq!(peer.accepted().await, 4);
}

#[tokio::test]
async fn concurrent_requests_of_a_workspace_are_limited() {
    let (reached, release) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (arrivals, end) = (reached.clone(), release.clone());
    let peer = Peer::raw(move |stream| {
        let (arrivals, end) = (arrivals.clone(), end.clone());
        async move {
            arrivals.add_permits(1);
            end.acquire().await.expect("open").forget();
            finish(stream, OK).await;
        }
    });
    let url = peer.url("/");
    let network = Network::to(peer.address, EgressLimits { workspace_requests: 2, ..EgressLimits::default() });
    let (same, other) = (network.another("team"), network.another("neighbour"));
    let refused = async {
        reached.acquire_many(2).await.expect("open").forget();
        for network in [&network, &same] {
            let outcome = network.get(&url).await;
            assert!(matches!(outcome, Err(RequestFailure::RateLimited(wait)) if wait > Duration::ZERO), "{outcome:?}");
        }
        release.add_permits(3);
    };
    let (first, second, third, ()) = tokio::join!(network.get(&url), same.get(&url), other.get(&url), refused);
    for outcome in [first, second, third] {
        assert_eq!(outcome.expect("a response").body, b"ok");
    }
    assert_eq!(peer.accepted().await, 3);
    release.add_permits(1);
    network.get(&url).await.expect("a response, because there is a place again");
}

#[tokio::test]
async fn tls_handshake_without_an_end_times_out() {
    let peer = Peer::tcp(drain);
    let limits = EgressLimits { connect_ms: 300, ..EgressLimits::default() };
    let network = Network::to_tls(peer.address, limits, Authority::new().root());
    assert_eq!(network.get(&peer.tls_url("/")).await, Err(RequestFailure::TimedOut));
    peer.closed().await;
}

/// Returns a body without a length that does not end.
fn endless() -> Body {
    let frames = stream::repeat_with(|| Ok::<_, io::Error>(Frame::data(Bytes::from_static(&[0; 512]))));
    StreamBody::new(frames).boxed()
}

/// Returns a body that fails after five bytes.
fn failing() -> Body {
    let frames = [Ok(Frame::data(Bytes::from_static(b"hello"))), Err(io::Error::other("failed"))];
    StreamBody::new(stream::iter(frames)).boxed()
}

fn with_header(name: &str, value: &str) -> Answer {
    Ok(Response::builder().header(name, value).body(full("ok")).expect("a response"))
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_in_http2() {
    type Handler = fn(&Parts) -> Answer;
    let many: Handler = |_| {
        let headers =
            (0..200).fold(Response::builder(), |response, number| response.header(format!("x-{number}"), "1"));
        Ok(headers.body(full("ok")).expect("a response"))
    };
    let limits = EgressLimits { response_header_bytes: 8192, ..small() };
    let authority = Authority::new();
    let outcome = async |handler: Handler| {
        let peer = Peer::tls(&authority, &[NAME], HTTP2, &[&TLS13], handler);
        let network = Network::to_tls(peer.address, limits.clone(), authority.root());
        let outcome = network.get(&peer.tls_url("/")).await;
        peer.closed().await;
        outcome
    };
    let long: Handler = |_| Ok(Response::new(full(vec![0_u8; 5000])));
    let unending: Handler = |_| Ok(Response::new(endless()));
    for (name, handler) in [("a long body", long), ("an endless body", unending)] {
        assert_eq!(outcome(handler).await, too_large(Side::Received, 1000), "{name}");
    }
    let huge: Handler = |_| with_header("x-long", &"a".repeat(100_000));
    for (name, handler) in [("many headers", many), ("a huge header", huge)] {
        let outcome = outcome(handler).await;
        assert!(is_too_large(&outcome) || is_broken(&outcome), "{name}: {outcome:?}");
    }
    let reset: Handler = |_| Err(io::Error::other("failed"));
    let cut: Handler = |_| Ok(Response::new(failing()));
    for (name, handler) in [("a reset stream", reset), ("a stream that is reset in its body", cut)] {
        let outcome = outcome(handler).await;
        assert!(is_broken(&outcome), "{name}: {outcome:?}");
    }
    let events: Handler = |_| with_header("content-type", "text/event-stream");
    assert_eq!(code(outcome(events).await), "event_stream_refused");
    let exact: Handler = |_| Ok(Response::new(full(vec![b'a'; 1000])));
    assert_eq!(outcome(exact).await.expect("a response").body, [b'a'; 1000]);
    let large: Handler = |_| with_header("x-long", &"a".repeat(4000));
    assert_eq!(outcome(large).await.expect("a response").body, b"ok");
}

/// Returns a GET request with the secret `token`.
fn get_with_secret(url: &str) -> OutgoingRequest {
    OutgoingRequest { credential: Some("token".to_owned()), ..get(url) }
}

#[tokio::test]
async fn host_adds_a_secret_and_refuses_an_unknown_one() {
    let peer = Peer::answering(OK);
    let network = Network::to(peer.address, small());
    let url = peer.url("/");
    for name in ["unknown", "", "no name", "TOKEN"] {
        let request = OutgoingRequest { credential: Some(name.to_owned()), ..get(&url) };
        let outcome = network.send(request).await;
        assert!(matches!(outcome, Err(RequestFailure::Denied(_))), "{name}: {outcome:?}");
    }
    for name in ["authorization", "Authorization", "AUTHORIZATION"] {
        let headers = vec![(name.to_owned(), "Bearer of-the-plugin".to_owned())];
        let request = OutgoingRequest { headers, ..get_with_secret(&url) };
        assert_eq!(code(network.send(request).await), "header_not_allowed", "{name}");
    }
    assert_eq!(peer.accepted().await, 0);

    network.send(get_with_secret(&url)).await.expect("a response");
    assert_eq!(sent_values(&peer.seen()[0], "authorization"), [format!("Bearer {SECRET}")]);
    // The next request has no secret.
    network.get(&url).await.expect("a response");
    assert!(!peer.seen()[1].contains(SECRET));
}

/// Returns a response with a body of known length.
#[tokio::test]
async fn declared_effect_limits_methods_and_websockets() {
    let peer = Peer::answering(OK);
    for (effect, reading, changing) in [
        (Effect::None, false, false),
        (Effect::Read, true, false),
        (Effect::Write, true, false),
        (Effect::External, true, true),
    ] {
        let network = Network::with_effect(peer.address, effect);
        for (method, is_allowed) in [
            (Method::Get, reading),
            (Method::Head, reading),
            (Method::Post, changing),
            (Method::Put, changing),
            (Method::Patch, changing),
            (Method::Delete, changing),
        ] {
            let outcome = network.send(OutgoingRequest { method, ..get(&peer.url("/")) }).await;
            match is_allowed {
                true => assert_eq!(outcome.expect("a response").status, 200, "{effect:?} {method:?}"),
                false => assert_eq!(code(outcome), "effect_not_declared", "{effect:?} {method:?}"),
            }
        }
        let opened = network.open(&peer.url("/").replace("http", "ws")).await.expect_err("no WebSocket");
        let is_denied = matches!(opened, WebSocketFailure::Denied(denial) if denial.code == "effect_not_declared");
        assert_eq!(is_denied, !changing, "{effect:?}");
    }
}

#[tokio::test]
async fn secret_is_not_sent_unencrypted_to_another_machine() {
    let peer = Peer::answering(OK);
    let network = Network::to(peer.address, small());
    network.names.0.lock().expect("names").insert(NAME.to_owned(), vec![vec![[203, 0, 113, 7].into()]]);
    let url = format!("http://{NAME}:{}/", peer.address.port());
    assert_eq!(code(network.send(get_with_secret(&url)).await), "secret_needs_tls");
    // One address of another machine is enough.
    let addresses = vec![[127, 0, 0, 1].into(), [203, 0, 113, 7].into()];
    network.names.0.lock().expect("names").insert(NAME.to_owned(), vec![addresses]);
    assert_eq!(code(network.send(get_with_secret(&url)).await), "secret_needs_tls");
    assert_eq!(peer.accepted().await, 0);
}

#[tokio::test]
async fn secret_that_is_short_or_no_line_of_ascii_is_not_sent() {
    let peer = Peer::answering(OK);
    for (value, is_usable) in [
        ("12345678", true),
        ("1234567", false),
        ("", false),
        ("1234\n5678", false),
        ("1234\r\nhost: other", false),
        ("sécret-value", false),
        ("1234\u{0}5678", false),
    ] {
        let network = Network::with_secret(peer.address, small(), value);
        let outcome = network.send(get_with_secret(&peer.url("/"))).await;
        match is_usable {
            true => assert_eq!(outcome.expect("a response").status, 200),
            false => {
                assert!(!format!("{outcome:?}").contains("1234"), "{outcome:?}");
                assert_eq!(code(outcome), "secret_unusable", "{value:?}");
            }
        }
    }
    assert!(peer.seen().iter().all(|request| request.contains("authorization: Bearer 12345678")));
}

#[tokio::test]
async fn secret_of_an_earlier_request_is_searched_too() {
    let peer = Peer::answering(OK);
    let echoing = Peer::answering(ok(SECRET));
    let network = Network::to(peer.address, small());
    network.permissions.set(everything(peer.address.port()));
    network.send(get_with_secret(&peer.url("/"))).await.expect("a response");
    network.permissions.set(everything(echoing.address.port()));
    assert_eq!(code(network.get(&echoing.url("/")).await), "secret_echoed");
}

#[tokio::test]
async fn header_that_would_hide_or_replace_the_secret_is_refused_beside_it() {
    let peer = Peer::answering(OK);
    let network = Network::to(peer.address, small());
    for name in ["accept-encoding", "Range"] {
        let headers = vec![(name.to_owned(), "bytes=0-7".to_owned())];
        let request = OutgoingRequest { headers: headers.clone(), ..get_with_secret(&peer.url("/")) };
        assert_eq!(code(network.send(request).await), "header_not_allowed", "{name}");
        let request = OutgoingRequest { headers, ..get(&peer.url("/")) };
        assert_eq!(network.send(request).await.expect("a response").status, 200, "{name}");
    }
}

#[tokio::test]
async fn refusal_of_an_address_does_not_name_the_address() {
    let peer = Peer::answering(OK);
    let network = Network::to(peer.address, small());
    let addresses = vec![vec![[169, 254, 169, 254].into()], vec![[0, 0, 0, 0].into()]];
    network.names.0.lock().expect("names").insert(NAME.to_owned(), addresses);
    let url = format!("http://{NAME}:{}/", peer.address.port());
    for _ in 0..2 {
        let refused = network.get(&url).await.expect_err("refused");
        assert!(
            !format!("{refused:?}").contains("169.254") && !format!("{refused:?}").contains("0.0.0.0"),
            "{refused:?}"
        );
    }
}

fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    answer(&format!("200 OK\r\ncontent-length: {}", body.as_ref().len()), body)
}

#[tokio::test]
async fn response_that_contains_the_secret_is_refused() {
    let (start, end) = SECRET.split_at(10);
    let mut cases = vec![
        ("the body".to_owned(), ok(SECRET)),
        ("the middle of the body".to_owned(), ok(format!("{{\"authorization\": \"Bearer {SECRET}\"}}"))),
        ("the body of an error".to_owned(), answer("401 Unauthorized", format!("invalid token {SECRET}"))),
        ("a header".to_owned(), answer(&format!("200 OK\r\nx-echo: Bearer {SECRET}\r\ncontent-length: 0"), "")),
        ("a header name".to_owned(), answer(&format!("200 OK\r\nx-{SECRET}: 1\r\ncontent-length: 0"), "")),
        ("a redirect".to_owned(), answer(&format!("302 Found\r\nlocation: /?q={SECRET}\r\ncontent-length: 0"), "")),
        (
            "two chunks".to_owned(),
            answer(
                "200 OK\r\ntransfer-encoding: chunked",
                format!("{:x}\r\n{start}\r\n{:x}\r\n{end}\r\n0\r\n\r\n", start.len(), end.len()),
            ),
        ),
    ];
    for before in 0..3 {
        let text = [&b"\xfb\xff"[..before], SECRET.as_bytes(), b"\xff\xfe".as_slice()].concat();
        for (name, engine) in [
            ("standard", STANDARD),
            ("standard without padding", STANDARD_NO_PAD),
            ("URL-safe", URL_SAFE),
            ("URL-safe without padding", URL_SAFE_NO_PAD),
        ] {
            let encoded = engine.encode(&text);
            cases.push((format!("base64, {name}, after {before} bytes"), ok(format!("{{\"data\":\"{encoded}\"}}"))));
            let head = format!("200 OK\r\nx-echo: {encoded}\r\ncontent-length: 0");
            cases.push((format!("a header in base64, {name}, after {before} bytes"), answer(&head, "")));
        }
    }
    for (name, raw) in cases {
        let peer = Peer::answering(raw);
        let network = Network::to(peer.address, small());
        let outcome = network.send(get_with_secret(&peer.url("/"))).await;
        assert!(!format!("{outcome:?}").contains(SECRET), "{name}");
        let denial = match outcome {
            Err(RequestFailure::Denied(denial)) => denial,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(denial.code, "secret_echoed", "{name}");
        assert!(!denial.message.contains(SECRET), "{name}");
        // An instance that has not sent the secret gets the same response.
        let response = Network::to(peer.address, small()).get(&peer.url("/")).await;
        assert!(response.is_ok(), "{name}: {response:?}");
    }
}

#[tokio::test]
async fn response_with_a_part_of_the_secret_passes() {
    let (start, end) = SECRET.split_at(12);
    for body in [start.to_owned(), end.to_owned(), format!("{start} {end}"), STANDARD.encode(start), String::new()] {
        let peer = Peer::answering(ok(&body));
        let response = Network::to(peer.address, small()).send(get_with_secret(&peer.url("/"))).await;
        assert_eq!(response.expect("a response").body, body.as_bytes(), "{body}");
    }
}

#[tokio::test]
async fn secret_is_sent_and_found_over_tls() {
    let authority = Authority::new();
    for alpn in [HTTP1, HTTP2] {
        let silent = |parts: &Parts| -> Answer {
            let value = parts.headers.get("authorization").expect("a secret");
            assert_eq!(value.as_bytes(), format!("Bearer {SECRET}").as_bytes());
            Ok(Response::new(full("ok")))
        };
        let peer = Peer::tls(&authority, &[NAME], alpn, &[&TLS13], silent);
        let network = Network::to_tls(peer.address, small(), authority.root());
        let response = network.send(get_with_secret(&peer.tls_url("/"))).await;
        assert_eq!(response.expect("a response").body, b"ok");

        let peer = Peer::tls(&authority, &[NAME], alpn, &[&TLS13], echo);
        let network = Network::to_tls(peer.address, small(), authority.root());
        assert_eq!(code(network.send(get_with_secret(&peer.tls_url("/"))).await), "secret_echoed");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn dropped_request_closes_its_connection() {
    let open_files = || std::fs::read_dir("/proc/self/fd").expect("the open files").count();
    let peer = Peer::raw(|stream| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        finish(stream, OK).await;
    });
    let per_second = 1_000_000;
    let limits =
        EgressLimits { instance_requests_per_second: per_second, workspace_requests_per_second: per_second, ..small() };
    let network = Network::to(peer.address, limits);
    let url = peer.url("/");
    network.get(&url).await.expect("a response");
    peer.closed().await;

    let before = open_files();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..1000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let exchange = network.requests.send(get(&url));
        // The timer counts whole milliseconds, in which a connection is open already.
        if random.is_multiple_of(2) {
            let _ = tokio::time::timeout(Duration::from_micros(random % 3000), exchange).await;
        } else {
            let polls = async {
                for _ in 0..random % 300 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                biased;
                _ = exchange => {}
                () = polls => {}
            }
        }
    }
    peer.closed().await;
    // Other tests of this process open files too, and close them before they end.
    let closed = async {
        while open_files() > before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, closed).await.expect("as few open files as before");
    // More requests were dropped than may run at the same time, so their places are free again.
    network.get(&url).await.expect("a response");
}
