//! WebSocket connections to a server that can violate the protocol.
//!
//! Numbers such as `5.6` in the names of cases are those of the Autobahn test suite, seen from the client.

use std::collections::BTreeSet;
use std::fs;
use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use component_host::host_api::{
    Connection, Message, OutgoingConnection, Side, SizeLimit, Unreachable, WebSocketFailure,
};
use egress::{EgressLimits, NetworkPermissions, RequiredPermissions};
use host_policy::PermissionSet;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::support::http_peer::{Authority, behind_tls, self_signed_server};
use crate::support::ws_peer::{
    BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, SWITCH, TEXT, Wire, WsPeer, close_payload, fragments, frame, header,
};
use crate::support::{self, NAME, Network, NoAnswer, PATIENCE, SECRET, everything, receive};

const PROTOCOL: WebSocketFailure = WebSocketFailure::Unreachable(Unreachable::Protocol);
const RESET: WebSocketFailure = WebSocketFailure::Unreachable(Unreachable::Reset);

/// A valid text in Greek, of 11 bytes.
const KOSME: &str = "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}";

// Limits, and the end of a connection.

/// Returns limits whose rates no test reaches.
fn generous() -> EgressLimits {
    EgressLimits {
        instance_requests_per_second: 1_000_000,
        workspace_requests_per_second: 1_000_000,
        messages_per_second: 1_000_000,
        bytes_per_second: 500_000_000,
        receive_ms: 60_000,
        ..EgressLimits::default()
    }
}

async fn until(mut condition: impl FnMut() -> bool) {
    let polled = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, polled).await.expect("the condition");
}

/// Waits until no connection is open.
async fn gone(network: &Network) {
    until(|| network.open_connections() == 0).await;
}

fn text(value: &str) -> Message {
    Message::Text(value.to_owned())
}

fn closed(code: u16, reason: &str) -> WebSocketFailure {
    WebSocketFailure::Closed { code: Some(code), reason: reason.to_owned() }
}

fn too_large(side: Side, bytes: u64) -> WebSocketFailure {
    WebSocketFailure::TooLarge(SizeLimit { side, bytes })
}

/// Returns the code of a refusal by the host.
fn denial(failure: &WebSocketFailure) -> &'static str {
    match failure {
        WebSocketFailure::Denied(denial) => denial.code,
        other => panic!("not denied: {other:?}"),
    }
}

async fn send(socket: &mut Box<dyn Connection>, message: Message) -> Result<(), WebSocketFailure> {
    timeout(PATIENCE, socket.send(message)).await.expect("an end")
}

/// Sends a text and receives its echo. Waits if a rate is exceeded.
async fn round_trip(socket: &mut Box<dyn Connection>, value: &str) {
    let sent = async {
        while let Err(failure) = socket.send(text(value)).await {
            match failure {
                WebSocketFailure::RateLimited(wait) => sleep(wait).await,
                other => panic!("not sent: {other:?}"),
            }
        }
    };
    timeout(PATIENCE, sent).await.expect("an end");
    assert_eq!(receive(socket).await, Ok(Some(text(value))));
}

/// Returns the failure of a handshake.
async fn refused(network: &Network, outgoing: OutgoingConnection) -> WebSocketFailure {
    network.open_with(outgoing).await.expect_err("a failure")
}

/// Starts a server that answers the handshake by a template, in one write with the frames after it.
async fn answering(template: &str, frames: Vec<u8>) -> WsPeer {
    let template = template.to_owned();
    WsPeer::scripted(move |mut wire| {
        let bytes = [wire.answer(&template).as_bytes(), &frames[..]].concat();
        async move {
            wire.write(&bytes).await;
            wire.listen().await;
        }
    })
    .await
}

// Frames that the server sends, and what the guest receives.

/// Frames of a server, the texts that the guest receives, and the failure after them, if the connection ends.
struct Case {
    name: String,
    sent: Vec<u8>,
    texts: Vec<String>,
    end: Option<WebSocketFailure>,
}

fn case(name: &str, frames: &[Vec<u8>], texts: &[&str], end: Option<WebSocketFailure>) -> Case {
    let texts = texts.iter().map(|text| (*text).to_owned()).collect();
    Case { name: name.to_owned(), sent: frames.concat(), texts, end }
}

fn good() -> Vec<u8> {
    frame(true, 0, TEXT, b"good")
}

fn ping(payload: &[u8]) -> Vec<u8> {
    frame(true, 0, PING, payload)
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(true, 0, CLOSE, &close_payload(code, reason))
}

/// Sends the frames of a case in writes of a size.
async fn check(case: &Case, write: usize) {
    let name = format!("{}, in writes of at most {write} bytes", case.name);
    let peer = WsPeer::sends(case.sent.chunks(write).map(<[u8]>::to_vec).collect()).await;
    let network = Network::to(peer.address, generous());
    let mut socket = network.open(&peer.url()).await.expect(&name);
    for expected in &case.texts {
        assert_eq!(receive(&mut socket).await, Ok(Some(text(expected))), "{name}");
    }
    match &case.end {
        Some(failure) => {
            assert_eq!(receive(&mut socket).await.as_ref(), Err(failure), "{name}");
            assert!(receive(&mut socket).await.is_err(), "{name}");
            assert!(socket.try_receive().is_err(), "{name}");
            gone(&network).await;
        }
        None => assert_eq!(socket.try_receive(), Ok(None), "{name}"),
    }
}

/// Checks each case in one write, and short ones byte by byte too.
async fn check_all(cases: &[Case]) {
    for case in cases {
        check(case, usize::MAX).await;
        if case.sent.len() <= 400 {
            check(case, 1).await;
        }
    }
}

/// Sends messages to an echo server, and receives them again.
async fn check_echo(name: &str, messages: Vec<Message>, limits: EgressLimits, fragment: usize, write: usize) {
    let mut peer = WsPeer::echo_in(fragment, write).await;
    let network = Network::to(peer.address, limits);
    let mut socket = network.open(&peer.url()).await.expect(name);
    for message in messages {
        assert_eq!(send(&mut socket, message.clone()).await, Ok(()), "{name}");
        // Not `assert_eq`, which would print megabytes.
        assert!(receive(&mut socket).await == Ok(Some(message)), "{name}");
        let sent = peer.heard().await.expect("a frame");
        assert!(sent.masked && sent.rsv == 0, "{name}");
    }
    assert_eq!(socket.try_receive(), Ok(None), "{name}");
}

fn text_and_binary(length: usize) -> Vec<Message> {
    vec![Message::Text("*".repeat(length)), Message::Binary(vec![0xfe; length])]
}

// Chapter 1: messages.

#[tokio::test(flavor = "multi_thread")]
async fn text_and_binary_messages_of_all_length_encodings_are_echoed() {
    let lengths = [0, 125, 126, 127, 128, 65535, 65536];
    for (place, length) in lengths.into_iter().enumerate() {
        let name = format!("1.1.{0} and 1.2.{0}: {length} bytes", place + 1);
        check_echo(&name, text_and_binary(length), generous(), usize::MAX, usize::MAX).await;
        let name = format!("1.1.8 and 1.2.8: {length} bytes in writes of 997 bytes");
        check_echo(&name, text_and_binary(length), generous(), usize::MAX, 997).await;
        if length <= 128 {
            check_echo("byte by byte", text_and_binary(length), generous(), usize::MAX, 1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_in_the_same_packet_as_the_handshake_answer_are_received() {
    let frames = [good(), frame(true, 0, BINARY, &[0xff]), ping(b"early")].concat();
    let mut peer = answering(&format!("{SWITCH}\r\n"), frames).await;
    let network = Network::to(peer.address, generous());
    let mut socket = network.open(&peer.url()).await.expect("open");
    assert_eq!(receive(&mut socket).await, Ok(Some(text("good"))));
    assert_eq!(receive(&mut socket).await, Ok(Some(Message::Binary(vec![0xff]))));
    assert_eq!(peer.heard().await, Some(pong(b"early")));
}

// Chapter 2: pings and pongs.

/// Returns the pong that a client sends.
fn pong(payload: &[u8]) -> Frame {
    Frame { fin: true, rsv: 0, opcode: PONG, masked: true, payload: payload.to_vec() }
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_answered_while_the_guest_does_nothing() {
    let cases: [(&str, Vec<u8>, usize); 6] = [
        ("2.1 without payload", Vec::new(), usize::MAX),
        ("2.2 text", b"Hello, world!".to_vec(), usize::MAX),
        ("2.3 binary", vec![0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff], usize::MAX),
        ("one byte", vec![0xff], usize::MAX),
        ("2.4 with 125 bytes", vec![0xfe; 125], usize::MAX),
        ("2.6 with 125 bytes, byte by byte", vec![0xfe; 125], 1),
    ];
    for (name, payload, write) in cases {
        let writes = ping(&payload).chunks(write).map(<[u8]>::to_vec).collect();
        let mut peer = WsPeer::sends(writes).await;
        let network = Network::to(peer.address, generous());
        let mut socket = network.open(&peer.url()).await.expect(name);
        assert_eq!(peer.heard().await, Some(pong(&payload)), "{name}");
        assert_eq!(socket.try_receive(), Ok(None), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_pings_are_answered_in_order_and_the_last_one_in_any_case() {
    for (name, write) in [("2.10 in one write", usize::MAX), ("2.11 byte by byte", 1)] {
        let payloads: Vec<Vec<u8>> = (0..10).map(|place| format!("payload-{place}").into_bytes()).collect();
        let sent: Vec<u8> = payloads.iter().flat_map(|payload| ping(payload)).collect();
        let mut peer = WsPeer::sends(sent.chunks(write).map(<[u8]>::to_vec).collect()).await;
        let network = Network::to(peer.address, generous());
        let _socket = network.open(&peer.url()).await.expect(name);
        // A client may answer only the latest of several pings (RFC 6455, section 5.5.3).
        let mut unanswered = payloads.iter();
        while !unanswered.as_slice().is_empty() {
            let answer = peer.heard().await.expect(name);
            assert_eq!((answer.opcode, answer.masked), (PONG, true), "{name}");
            assert!(unanswered.any(|payload| *payload == answer.payload), "{name}: {answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unsolicited_pongs_are_ignored_and_long_pings_are_refused() {
    check_all(&[
        case("2.5 ping with 126 bytes", &[good(), ping(&[0xfe; 126])], &["good"], Some(PROTOCOL)),
        case("pong with 126 bytes", &[good(), frame(true, 0, PONG, &[0xfe; 126])], &["good"], Some(PROTOCOL)),
        case("2.7 pong without payload", &[frame(true, 0, PONG, b""), good()], &["good"], None),
        case("2.8 pong with payload", &[frame(true, 0, PONG, b"unsolicited"), good()], &["good"], None),
    ])
    .await;

    let frames = [frame(true, 0, PONG, b"unsolicited"), ping(b"our ping")].concat();
    let mut peer = WsPeer::sends(vec![frames]).await;
    let network = Network::to(peer.address, generous());
    let _socket = network.open(&peer.url()).await.expect("open");
    assert_eq!(peer.heard().await, Some(pong(b"our ping")), "2.9 pong and ping");
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_inside_a_fragmented_message_are_answered() {
    let frames = [
        frame(false, 0, TEXT, b"fragment1"),
        ping(b"one"),
        frame(false, 0, CONTINUATION, b"fragment2"),
        ping(b"two"),
        frame(true, 0, CONTINUATION, b"fragment3"),
    ];
    for (name, write) in [("5.20 in one write", usize::MAX), ("5.8 byte by byte", 1)] {
        let writes = frames.concat().chunks(write).map(<[u8]>::to_vec).collect();
        let mut peer = WsPeer::sends(writes).await;
        let network = Network::to(peer.address, generous());
        let mut socket = network.open(&peer.url()).await.expect(name);
        assert_eq!(receive(&mut socket).await, Ok(Some(text("fragment1fragment2fragment3"))), "{name}");
        loop {
            let answer = peer.heard().await.expect(name);
            assert_eq!((answer.opcode, answer.masked), (PONG, true), "{name}");
            if answer.payload == b"two" {
                break;
            }
            assert_eq!(answer.payload, b"one", "{name}");
        }
    }
}

// Chapters 3 and 4: reserved bits and opcodes.

#[tokio::test(flavor = "multi_thread")]
async fn frames_with_reserved_bits_are_refused_after_a_good_message() {
    let mut cases = Vec::new();
    for rsv in 1..=7 {
        for (kind, opcode, payload) in [
            ("text", TEXT, b"bad".to_vec()),
            ("binary", BINARY, vec![0x00, 0xff]),
            ("ping", PING, b"bad".to_vec()),
            ("pong", PONG, Vec::new()),
            ("close", CLOSE, close_payload(1000, b"")),
        ] {
            let frames = [good(), frame(true, rsv, opcode, &payload), good()];
            cases.push(case(&format!("3.{rsv} reserved bits {rsv} in a {kind}"), &frames, &["good"], Some(PROTOCOL)));
        }
        let frames = [good(), frame(false, 0, TEXT, b"a"), frame(true, rsv, CONTINUATION, b"b")];
        cases.push(case(&format!("reserved bits {rsv} in a continuation"), &frames, &["good"], Some(PROTOCOL)));
    }
    check_all(&cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_with_reserved_opcodes_are_refused_after_a_good_message() {
    let mut cases = Vec::new();
    for (chapter, first) in [("4.1", 3), ("4.2", 11)] {
        for place in 0..5 {
            for payload in [&b""[..], b"payload"] {
                let name = format!("{chapter}.{} opcode {} with {payload:?}", place + 1, first + place);
                let frames = [good(), frame(true, 0, first + place, payload), ping(b"")];
                cases.push(case(&name, &frames, &["good"], Some(PROTOCOL)));
            }
        }
    }
    check_all(&cases).await;
}

// Chapter 5: fragments.

#[tokio::test(flavor = "multi_thread")]
async fn fragments_are_joined_and_control_frames_between_them_are_allowed() {
    let first = frame(false, 0, TEXT, b"fragment1");
    let last = frame(true, 0, CONTINUATION, b"fragment2");
    let joined = &["fragment1fragment2"];
    let five = [
        frame(false, 0, TEXT, b"fragment1"),
        frame(false, 0, CONTINUATION, b"fragment2"),
        ping(b"pongme 1!"),
        frame(false, 0, CONTINUATION, b"fragment3"),
        frame(false, 0, CONTINUATION, b"fragment4"),
        ping(b"pongme 2!"),
        frame(true, 0, CONTINUATION, b"fragment5"),
    ];
    let mut cases = vec![
        case("5.3 two fragments", &[first.clone(), last.clone()], joined, None),
        case("5.6 a ping between", &[first.clone(), ping(b"ping"), last.clone()], joined, None),
        case("a pong between", &[first.clone(), frame(true, 0, PONG, b"pong"), last.clone()], joined, None),
        case("5.19 five fragments", &five, &["fragment1fragment2fragment3fragment4fragment5"], None),
        case(
            "two messages",
            &[first.clone(), last.clone(), good(), first, last],
            &[joined[0], "good", joined[0]],
            None,
        ),
    ];
    for fragment in 1..=7 {
        let frames = [fragments(TEXT, b"abcdefg", fragment), good()];
        cases.push(case(&format!("fragments of {fragment} bytes"), &frames, &["abcdefg", "good"], None));
    }
    check_all(&cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_fragments_are_refused() {
    let start = |payload: &[u8]| frame(false, 0, TEXT, payload);
    let more = |payload: &[u8]| frame(false, 0, CONTINUATION, payload);
    let last = |payload: &[u8]| frame(true, 0, CONTINUATION, payload);
    let whole = |payload: &[u8]| frame(true, 0, TEXT, payload);
    let in_fragments = |opcode: u8| [frame(false, 0, opcode, b"fragment1"), last(b"fragment2")];
    let binary_inside = [start(b"fragment1"), frame(true, 0, BINARY, b"fragment2")];
    check_all(&[
        case("5.1 ping in two fragments", &in_fragments(PING), &[], Some(PROTOCOL)),
        case("5.2 pong in two fragments", &in_fragments(PONG), &[], Some(PROTOCOL)),
        case("close in two fragments", &in_fragments(CLOSE), &[], Some(PROTOCOL)),
        case("5.9 last fragment without a start", &[last(b"non-continuation"), whole(b"text")], &[], Some(PROTOCOL)),
        case("5.12 fragment without a start", &[more(b"non-continuation"), whole(b"text")], &[], Some(PROTOCOL)),
        case(
            "5.15 fragment after the last one",
            &[start(b"fragment1"), last(b"fragment2"), more(b"fragment3"), whole(b"fragment4")],
            &["fragment1fragment2"],
            Some(PROTOCOL),
        ),
        case(
            "5.16 fragment before the start",
            &[more(b"fragment1"), start(b"fragment2"), last(b"fragment3")],
            &[],
            Some(PROTOCOL),
        ),
        case(
            "5.17 last fragment before the start",
            &[last(b"fragment1"), start(b"fragment2"), last(b"fragment3")],
            &[],
            Some(PROTOCOL),
        ),
        case("5.18 message inside of a message", &[start(b"fragment1"), whole(b"fragment2")], &[], Some(PROTOCOL)),
        case("start inside of a message", &[start(b"fragment1"), start(b"fragment2")], &[], Some(PROTOCOL)),
        case("binary inside of a text", &binary_inside, &[], Some(PROTOCOL)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn masked_frames_of_a_server_are_refused() {
    for (name, opcode, payload) in
        [("text", TEXT, b"bad".to_vec()), ("ping", PING, Vec::new()), ("close", CLOSE, close_payload(1000, b""))]
    {
        let peer = WsPeer::scripted(move |mut wire| {
            let payload = payload.clone();
            async move {
                wire.accept().await;
                wire.frame(true, 0, TEXT, b"good").await;
                wire.masked_frame(true, 0, opcode, &payload).await;
                wire.listen().await;
            }
        })
        .await;
        let network = Network::to(peer.address, generous());
        let mut socket = network.open(&peer.url()).await.expect(name);
        assert_eq!(receive(&mut socket).await, Ok(Some(text("good"))), "{name}");
        assert_eq!(receive(&mut socket).await, Err(PROTOCOL), "{name}");
        gone(&network).await;
    }
}

// Chapter 6: UTF-8.

/// Byte sequences of the sections 6.5 to 6.23, with their numbers.
fn utf8_sequences() -> Vec<(String, Vec<u8>)> {
    fn list(sequences: &[&[u8]]) -> Vec<Vec<u8>> {
        sequences.iter().map(|sequence| sequence.to_vec()).collect()
    }
    let lonely = |first: u8, end: u8| (first..end).flat_map(|byte| [byte, b' ']).collect::<Vec<u8>>();
    let truncated = list(&[
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xf8\x80\x80\x80",
        b"\xfc\x80\x80\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xfb\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf",
    ]);
    let mut continuations = list(&[
        b"\x80",
        b"\xbf",
        b"\x80\xbf",
        b"\x80\xbf\x80",
        b"\x80\xbf\x80\xbf",
        b"\x80\xbf\x80\xbf\x80",
        b"\x80\xbf\x80\xbf\x80\xbf",
    ]);
    continuations.push((0x80..0xbf).collect());
    let mut noncharacters = list(&[b"\xef\xbf\xbe", b"\xef\xbf\xbf"]);
    for plane in 1..=16_u32 {
        for last in [0xfffe, 0xffff] {
            let character = char::from_u32((plane << 16) | last).expect("a character");
            noncharacters.push(character.to_string().into_bytes());
        }
    }
    let groups = [
        // Valid.
        vec![
            b"hello\x24world".to_vec(),
            b"hello\xc2\xa2world".to_vec(),
            b"hello\xe2\x82\xacworld".to_vec(),
            b"hello\xf0\xa4\xad\xa2world".to_vec(),
            KOSME.as_bytes().to_vec(),
        ],
        // All prefixes of a text, some of which end inside of a code point.
        (1..=KOSME.len()).map(|end| KOSME.as_bytes()[..end].to_vec()).collect(),
        // First sequence of each length.
        list(&[b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"]),
        list(&[b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"]),
        // Last sequence of each length.
        list(&[b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"]),
        list(&[b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"]),
        // Around the surrogates, and above U+10FFFF.
        list(&[b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80"]),
        continuations,
        // Start bytes without a continuation.
        vec![lonely(0xc0, 0xdf), lonely(0xe0, 0xef), lonely(0xf0, 0xf7), lonely(0xf8, 0xfb), lonely(0xfc, 0xfd)],
        truncated.clone(),
        vec![truncated.concat()],
        // Bytes that never occur.
        list(&[b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"]),
        // Overlong.
        list(&[
            b"\xc0\xaf",
            b"\xe0\x80\xaf",
            b"\xf0\x80\x80\xaf",
            b"\xf8\x80\x80\x80\xaf",
            b"\xfc\x80\x80\x80\x80\xaf",
        ]),
        list(&[
            b"\xc1\xbf",
            b"\xe0\x9f\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf8\x87\xbf\xbf\xbf",
            b"\xfc\x83\xbf\xbf\xbf\xbf",
        ]),
        list(&[
            b"\xc0\x80",
            b"\xe0\x80\x80",
            b"\xf0\x80\x80\x80",
            b"\xf8\x80\x80\x80\x80",
            b"\xfc\x80\x80\x80\x80\x80",
        ]),
        // Surrogates, alone and in pairs.
        list(&[
            b"\xed\xa0\x80",
            b"\xed\xad\xbf",
            b"\xed\xae\x80",
            b"\xed\xaf\xbf",
            b"\xed\xb0\x80",
            b"\xed\xbe\x80",
            b"\xed\xbf\xbf",
        ]),
        list(&[
            b"\xed\xa0\x80\xed\xb0\x80",
            b"\xed\xa0\x80\xed\xbf\xbf",
            b"\xed\xad\xbf\xed\xb0\x80",
            b"\xed\xad\xbf\xed\xbf\xbf",
            b"\xed\xae\x80\xed\xb0\x80",
            b"\xed\xae\x80\xed\xbf\xbf",
            b"\xed\xaf\xbf\xed\xb0\x80",
            b"\xed\xaf\xbf\xed\xbf\xbf",
        ]),
        noncharacters,
        (0xb9..=0xbf).map(|last| vec![0xef, 0xbf, last]).collect(),
    ];
    let mut sequences = Vec::new();
    for (group, list) in groups.into_iter().enumerate() {
        for (place, sequence) in list.into_iter().enumerate() {
            sequences.push((format!("6.{}.{}", group + 5, place + 1), sequence));
        }
    }
    sequences
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_received_only_if_they_are_valid_utf8() {
    let (mut valid, mut invalid) = (0, 0);
    for (name, sequence) in utf8_sequences() {
        let decoded = std::str::from_utf8(&sequence).ok();
        match decoded {
            Some(_) => valid += 1,
            None => invalid += 1,
        }
        for (way, frames) in
            [("in one frame", frame(true, 0, TEXT, &sequence)), ("in fragments", fragments(TEXT, &sequence, 1))]
        {
            let name = format!("{name} {sequence:x?} {way}");
            match decoded {
                Some(decoded) => check(&case(&name, &[good(), frames], &["good", decoded], None), usize::MAX).await,
                None => check(&case(&name, &[good(), frames], &["good"], Some(PROTOCOL)), usize::MAX).await,
            }
        }
    }
    // Guards the list, not the host.
    assert_eq!((valid, invalid), (63, 69));
}

#[tokio::test(flavor = "multi_thread")]
async fn utf8_is_checked_over_all_fragments_of_a_text() {
    let hello = "Hello-\u{b5}@\u{df}\u{f6}\u{e4}\u{fc}\u{e0}\u{e1}-UTF-8!!";
    let (bytes, boundary) = (hello.as_bytes(), "Hello-\u{b5}@\u{df}\u{f6}\u{e4}".len());
    let invalid = [KOSME.as_bytes(), b"\xed\xa0\x80", b"edited"].concat();
    let three = |opcode_payloads: [&[u8]; 3]| {
        let [first, second, third] = opcode_payloads;
        [frame(false, 0, TEXT, first), frame(false, 0, CONTINUATION, second), frame(true, 0, CONTINUATION, third)]
    };
    let split = |place: usize| [frame(false, 0, TEXT, &bytes[..place]), frame(true, 0, CONTINUATION, &bytes[place..])];
    let out_of_range = three([KOSME.as_bytes(), b"\xf4\x90\x80\x80", b"edited"]);
    check_all(&[
        case("6.1.1 empty", &[frame(true, 0, TEXT, b"")], &[""], None),
        case("6.1.2 three empty fragments", &three([b"", b"", b""]), &[""], None),
        case(
            "6.1.3 empty first and last fragments",
            &three([b"", b"middle frame payload", b""]),
            &["middle frame payload"],
            None,
        ),
        case("6.2.1 one frame", &[frame(true, 0, TEXT, bytes)], &[hello], None),
        case("6.2.2 fragments of whole code points", &split(boundary), &[hello], None),
        case("fragments that split a code point", &split(boundary - 1), &[hello], None),
        case("6.2.3 fragments of one byte", &[fragments(TEXT, bytes, 1)], &[hello], None),
        case("6.2.4 fragments of one byte", &[fragments(TEXT, KOSME.as_bytes(), 1)], &[KOSME], None),
        case("6.3.1 invalid in one frame", &[frame(true, 0, TEXT, &invalid)], &[], Some(PROTOCOL)),
        case("6.3.2 invalid in fragments of one byte", &[fragments(TEXT, &invalid, 1)], &[], Some(PROTOCOL)),
        case("6.4.1 above U+10FFFF", &out_of_range, &[], Some(PROTOCOL)),
        case("6.4.2 split before the invalid byte", &three([b"ok\xf4", b"\x90", b"edited"]), &[], Some(PROTOCOL)),
        case(
            "fragments with valid parts of an invalid text",
            &three([b"a\xc2", b"b\xc2", b"\xa2"]),
            &[],
            Some(PROTOCOL),
        ),
        case("text that ends inside of a code point", &three([b"a", b"b", b"\xe2\x82"]), &[], Some(PROTOCOL)),
        case("6.4.1 without its last fragment", &out_of_range[..2], &[], Some(PROTOCOL)),
    ])
    .await;
}

// Chapter 7: closing.

#[tokio::test(flavor = "multi_thread")]
async fn close_of_the_peer_is_reported_with_its_code_and_reason_and_answered() {
    let codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
    let longest = "r".repeat(123);
    let mut cases: Vec<(String, u16, &str)> = Vec::new();
    for (place, code) in codes.into_iter().enumerate() {
        cases.push((format!("7.7.{} code {code}", place + 1), code, ""));
        cases.push((format!("7.3.4 code {code} with a reason"), code, "Hello World!"));
    }
    cases.push(("7.3.5 reason of 123 bytes".to_owned(), 1000, longest.as_str()));
    cases.push(("reason in Greek".to_owned(), 1000, KOSME));
    for (name, code, reason) in cases {
        let mut peer = WsPeer::sends(vec![[good(), close(code, reason.as_bytes())].concat()]).await;
        let network = Network::to(peer.address, generous());
        let mut socket = network.open(&peer.url()).await.expect(&name);
        assert_eq!(receive(&mut socket).await, Ok(Some(text("good"))), "{name}");
        assert_eq!(receive(&mut socket).await, Err(closed(code, reason)), "{name}");
        let reply = peer.close_heard().await.expect(&name);
        let allowed = [code.to_be_bytes(), 1000_u16.to_be_bytes()];
        assert!(reply.masked && allowed.iter().any(|code| reply.payload.starts_with(code)), "{name}: {reply:?}");
        gone(&network).await;
        assert!(send(&mut socket, text("late")).await.is_err(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn close_without_a_code_is_reported_without_one() {
    let mut peer = WsPeer::sends(vec![frame(true, 0, CLOSE, b"")]).await;
    let network = Network::to(peer.address, generous());
    let mut socket = network.open(&peer.url()).await.expect("open");
    let expected = WebSocketFailure::Closed { code: None, reason: String::new() };
    assert_eq!(receive(&mut socket).await, Err(expected), "7.3.1");
    assert!(peer.close_heard().await.is_some(), "7.3.1");
    gone(&network).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_close_frames_are_protocol_violations() {
    let mut cases = vec![
        case("7.3.2 payload of one byte", &[good(), frame(true, 0, CLOSE, &[0x03])], &["good"], Some(PROTOCOL)),
        case("7.3.6 reason of 124 bytes", &[good(), close(1000, &[b'r'; 124])], &["good"], Some(PROTOCOL)),
        case(
            "7.5.1 reason that is not UTF-8",
            &[good(), close(1000, &[KOSME.as_bytes(), b"\xed\xa0\x80", b"edited"].concat())],
            &["good"],
            Some(PROTOCOL),
        ),
    ];
    let codes = [
        ("7.9.1", 0),
        ("7.9.2", 999),
        ("7.9.3", 1004),
        ("7.9.4", 1005),
        ("7.9.5", 1006),
        ("7.9.6", 1016),
        ("7.9.7", 1100),
        ("7.9.8", 2000),
        ("7.9.9", 2999),
        ("7.13.1", 5000),
        ("7.13.2", 65535),
    ];
    for (name, code) in codes {
        let name = format!("{name} code {code}");
        cases.push(case(&name, &[good(), close(code, b"")], &["good"], Some(PROTOCOL)));
        cases.push(case(&format!("{name} with a reason"), &[good(), close(code, b"why")], &["good"], Some(PROTOCOL)));
    }
    check_all(&cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_after_the_close_of_the_peer_is_ignored() {
    let long = "*".repeat(256 << 10);
    check_all(&[
        case("7.1.1 message before", &[good(), close(1000, b"")], &["good"], Some(closed(1000, ""))),
        case("7.1.2 second close", &[close(1000, b"first"), close(1001, b"second")], &[], Some(closed(1000, "first"))),
        case("7.1.3 ping", &[close(1000, b""), ping(b"late")], &[], Some(closed(1000, ""))),
        case("7.1.4 text", &[close(1000, b""), frame(true, 0, TEXT, b"late")], &[], Some(closed(1000, ""))),
        case(
            "7.1.5 last fragment",
            &[frame(false, 0, TEXT, b"fragment1"), close(1000, b""), frame(true, 0, CONTINUATION, b"fragment2")],
            &[],
            Some(closed(1000, "")),
        ),
        case(
            "7.1.6 long message before, and a ping",
            &[frame(true, 0, TEXT, long.as_bytes()), close(1000, b""), ping(b"")],
            &[long.as_str()],
            Some(closed(1000, "")),
        ),
        case("invalid frame", &[close(4000, b"bye"), frame(true, 7, 15, b"late")], &[], Some(closed(4000, "bye"))),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_connection_that_ends_without_a_close_frame_is_reset() {
    let cases = [
        ("after a message", good()),
        ("inside of a frame header", [good(), vec![0x81]].concat()),
        ("inside of a frame", [good(), vec![0x81, 5, b'a']].concat()),
        ("inside of a fragmented message", [good(), frame(false, 0, TEXT, b"fragment1")].concat()),
    ];
    for (name, bytes) in cases {
        let peer = WsPeer::scripted(move |mut wire| {
            let bytes = bytes.clone();
            async move {
                wire.accept().await;
                wire.write(&bytes).await;
                wire.close().await;
            }
        })
        .await;
        let network = Network::to(peer.address, generous());
        let mut socket = network.open(&peer.url()).await.expect(name);
        assert_eq!(receive(&mut socket).await, Ok(Some(text("good"))), "{name}");
        assert_eq!(receive(&mut socket).await, Err(RESET), "{name}");
        assert!(receive(&mut socket).await.is_err(), "{name}");
        assert!(send(&mut socket, text("late")).await.is_err(), "{name}");
        gone(&network).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn close_returns_although_the_peer_never_answers() {
    let peer = WsPeer::scripted(|mut wire| async move {
        wire.accept().await;
        // Reads the close too, and does not answer.
        while wire.read_frame().await.is_some() {}
    })
    .await;
    let network = Network::to(peer.address, EgressLimits { send_ms: 200, ..generous() });
    let mut socket = network.open(&peer.url()).await.expect("open");
    // The peer is not polite, so the result does not matter.
    let _ = timeout(PATIENCE, socket.close(1000, "")).await.expect("an end");
    gone(&network).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn close_of_the_guest_reaches_the_peer_and_ends_the_connection() {
    for (code, reason) in [(3000, "bye"), (1000, ""), (4999, &*"r".repeat(123))] {
        let mut peer = WsPeer::echo().await;
        let network = Network::to(peer.address, generous());
        let mut socket = network.open(&peer.url()).await.expect("open");
        assert_eq!(timeout(PATIENCE, socket.close(code, reason)).await.expect("an end"), Ok(()));
        let heard = peer.close_heard().await.expect("a close frame");
        assert_eq!((heard.masked, heard.payload), (true, close_payload(code, reason.as_bytes())));
        gone(&network).await;
        assert!(matches!(send(&mut socket, text("late")).await, Err(WebSocketFailure::Closed { .. })));
        assert!(matches!(receive(&mut socket).await, Err(WebSocketFailure::Closed { .. })));
        assert!(matches!(socket.try_receive(), Err(WebSocketFailure::Closed { .. })));
        let again = timeout(PATIENCE, socket.close(1000, "")).await.expect("an end");
        assert!(matches!(again, Ok(()) | Err(WebSocketFailure::Closed { .. })), "{again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_connection_is_closed_with_the_code_1000() {
    let mut peer = WsPeer::echo().await;
    let network = Network::to(peer.address, generous());
    let mut socket = network.open(&peer.url()).await.expect("open");
    round_trip(&mut socket, "hello").await;
    assert_eq!(network.open_connections(), 1);
    drop(socket);
    let heard = peer.close_heard().await.expect("a close frame");
    assert_eq!(heard.payload.get(..2), Some(&1000_u16.to_be_bytes()[..]));
    gone(&network).await;
}

// Chapter 9, and limits on sizes.

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_within_raised_limits_are_echoed() {
    let limits = EgressLimits { message_bytes: 16 << 20, frame_bytes: 16 << 20, ..generous() };
    for (place, kibibytes) in [64, 256, 1024, 4096].into_iter().enumerate() {
        let messages = || text_and_binary(kibibytes << 10);
        let name = format!("9.1.{0} and 9.2.{0}: {kibibytes} KiB in one frame", place + 1);
        check_echo(&name, messages(), limits.clone(), usize::MAX, usize::MAX).await;
        let name = format!("9.3.4 and 9.4.4: {kibibytes} KiB in fragments of 4 KiB");
        check_echo(&name, messages(), limits.clone(), 4 << 10, usize::MAX).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_frames_above_the_limits_are_too_large() {
    let limits = EgressLimits { frame_bytes: 1000, message_bytes: 1500, ..generous() };
    let announced = |length: u64| [&[0x82, 127][..], &length.to_be_bytes()].concat();
    let received = |bytes: u64| Some(too_large(Side::Received, bytes));
    let cases: [(&str, Vec<u8>, usize, Option<WebSocketFailure>); 6] = [
        ("longest frame", frame(true, 0, BINARY, &[7; 1000]), 1000, None),
        ("longer frame", frame(true, 0, BINARY, &[7; 1001]), 0, received(1000)),
        ("header of a frame of a tebibyte", announced(1 << 40), 0, received(1000)),
        ("longest message in fragments", fragments(BINARY, &[7; 1500], 600), 1500, None),
        ("longer message in fragments", fragments(BINARY, &[7; 1501], 600), 0, received(1500)),
        ("longer message in fragments of one byte", fragments(BINARY, &[7; 1501], 1), 0, received(1500)),
    ];
    for (name, bytes, length, end) in cases {
        let peer = WsPeer::sends(vec![good(), bytes]).await;
        let network = Network::to(peer.address, limits.clone());
        let mut socket = network.open(&peer.url()).await.expect(name);
        assert_eq!(receive(&mut socket).await, Ok(Some(text("good"))), "{name}");
        match end {
            None => assert_eq!(receive(&mut socket).await, Ok(Some(Message::Binary(vec![7; length]))), "{name}"),
            Some(failure) => {
                assert_eq!(receive(&mut socket).await, Err(failure), "{name}");
                gone(&network).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn own_message_above_the_limit_is_too_large() {
    let limits = EgressLimits { message_bytes: 1500, ..generous() };
    for longest in text_and_binary(1500) {
        let peer = WsPeer::echo().await;
        let network = Network::to(peer.address, limits.clone());
        let mut socket = network.open(&peer.url()).await.expect("open");
        assert_eq!(send(&mut socket, longest.clone()).await, Ok(()));
        assert_eq!(receive(&mut socket).await, Ok(Some(longest)));
    }
    for longer in text_and_binary(1501) {
        let peer = WsPeer::echo().await;
        let network = Network::to(peer.address, limits.clone());
        let mut socket = network.open(&peer.url()).await.expect("open");
        assert_eq!(send(&mut socket, longer).await, Err(too_large(Side::Sent, 1500)));
    }
}

// Limits on rates and queues.

#[tokio::test(flavor = "multi_thread")]
async fn messages_above_the_rate_are_refused_and_the_connection_stays_open() {
    let peer = WsPeer::echo().await;
    let network = Network::to(peer.address, EgressLimits { messages_per_second: 5, ..generous() });
    let mut socket = network.open(&peer.url()).await.expect("open");
    let (mut sent, mut limited) = (0, None);
    // On a slow machine, more than five fit into the time that the loop takes.
    while sent < 1000 && limited.is_none() {
        match send(&mut socket, text(&sent.to_string())).await {
            Ok(()) => sent += 1,
            Err(WebSocketFailure::RateLimited(wait)) => limited = Some(wait),
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(sent >= 5, "{sent}");
    let wait = limited.expect("a refusal");
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
    sleep(wait).await;
    assert_eq!(send(&mut socket, text("later")).await, Ok(()));
    for place in 0..sent {
        assert_eq!(receive(&mut socket).await, Ok(Some(text(&place.to_string()))));
    }
    assert_eq!(receive(&mut socket).await, Ok(Some(text("later"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_of_pings_is_answered_within_the_rate() {
    let pongs = Arc::new(AtomicUsize::new(0));
    let counted = pongs.clone();
    let mut peer = WsPeer::scripted(move |mut wire| {
        let pongs = counted.clone();
        async move {
            wire.accept().await;
            if wire.number > 0 {
                return wire.echo(usize::MAX, usize::MAX).await;
            }
            let Wire { mut reader, mut writer, .. } = wire;
            let flood = ping(b"flood").repeat(10_000);
            let writing = async {
                writer.write(&flood).await;
                pending::<()>().await;
            };
            let reading = async {
                while let Some(frame) = reader.read_frame().await {
                    match frame.opcode {
                        PONG => _ = pongs.fetch_add(1, Ordering::SeqCst),
                        CLOSE => break,
                        _ => {}
                    }
                }
            };
            tokio::select! {
                () = writing => {}
                () = reading => {}
            }
        }
    })
    .await;
    let limits = EgressLimits::default();
    let rate = limits.messages_per_second as usize;
    let network = Network::to(peer.address, limits);
    let started = Instant::now();
    let mut socket = network.open(&peer.url()).await.expect("open");
    until(|| pongs.load(Ordering::SeqCst) > 0).await;
    sleep(Duration::from_secs(1)).await;
    let answered = pongs.load(Ordering::SeqCst);
    // One burst, and one second more than have passed.
    let allowed = rate * (started.elapsed().as_secs() as usize + 2);
    assert!(answered <= allowed, "{answered} > {allowed}");

    match send(&mut socket, text("alive")).await {
        Ok(()) => loop {
            let heard = peer.heard().await.expect("the message");
            if heard.opcode == TEXT {
                assert_eq!(heard.payload, b"alive");
                break;
            }
        },
        // The pongs have used up the rate.
        Err(WebSocketFailure::RateLimited(_)) => {}
        Err(_) => gone(&network).await,
    }
    drop(socket);
    let mut second = network.open(&peer.url()).await.expect("a second connection");
    round_trip(&mut second, "hello").await;
    drop(second);
    gone(&network).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_is_slowed_down_while_the_guest_does_not_receive() {
    const MESSAGES: u32 = 10_000;
    const BYTES: usize = 8 << 10;
    let written = Arc::new(AtomicUsize::new(0));
    let counted = written.clone();
    let peer = WsPeer::scripted(move |mut wire| {
        let written = counted.clone();
        async move {
            wire.accept().await;
            let mut payload = vec![0; BYTES];
            for place in 0..MESSAGES {
                payload[..4].copy_from_slice(&place.to_be_bytes());
                if !wire.frame(true, 0, BINARY, &payload).await {
                    return;
                }
                written.fetch_add(BYTES, Ordering::SeqCst);
            }
            wire.listen().await;
        }
    })
    .await;
    let network = Network::to(peer.address, generous());
    let mut socket = network.open(&peer.url()).await.expect("open");
    sleep(Duration::from_secs(1)).await;
    let buffered = written.load(Ordering::SeqCst);
    assert!(buffered < 64 << 20, "{buffered}");
    for place in 0..MESSAGES {
        match receive(&mut socket).await {
            Ok(Some(Message::Binary(bytes))) => {
                assert_eq!((bytes.len(), &bytes[..4]), (BYTES, &place.to_be_bytes()[..]));
            }
            other => panic!("{place}: {:?}", other.map(|_| "another message")),
        }
    }
    assert_eq!(socket.try_receive(), Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn message_to_a_peer_that_does_not_read_times_out() {
    let peer = WsPeer::scripted(|mut wire| async move {
        wire.accept().await;
        pending::<()>().await;
    })
    .await;
    let network = Network::to(peer.address, EgressLimits { send_ms: 200, ..generous() });
    let mut socket = network.open(&peer.url()).await.expect("open");
    let mut sent = 0;
    let failure = loop {
        match send(&mut socket, Message::Binary(vec![0; 1 << 20])).await {
            Ok(()) => sent += 1,
            Err(failure) => break failure,
        }
        assert!(sent < 200, "no buffer has {sent} MiB");
    };
    assert_eq!(failure, WebSocketFailure::TimedOut);
    gone(&network).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_a_workspace_are_limited() {
    let peer = WsPeer::echo().await;
    let network = Network::to(peer.address, EgressLimits { workspace_connections: 2, ..generous() });
    let first = network.open(&peer.url()).await.expect("a first");
    let _second = network.open(&peer.url()).await.expect("a second");
    assert_eq!(refused(&network, support::connection(&peer.url())).await, WebSocketFailure::TooManyConnections(2));
    assert_eq!(peer.accepted(), 2);
    drop(first);
    until(|| network.open_connections() == 1).await;
    let mut third = network.open(&peer.url()).await.expect("a third");
    round_trip(&mut third, "hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_above_the_rate_are_refused() {
    let peer = WsPeer::echo().await;
    let network = Network::to(peer.address, EgressLimits { instance_requests_per_second: 1, ..generous() });
    let mut first = network.open(&peer.url()).await.expect("the first handshake");
    // Handshakes without permission count too, and take much less than a second.
    let is_limited = async {
        for _ in 0..1000 {
            match refused(&network, support::connection("ws://other.example/")).await {
                WebSocketFailure::RateLimited(wait) => return wait > Duration::ZERO && wait <= Duration::from_secs(1),
                failure => assert_eq!(denial(&failure), "not_declared_nor_granted"),
            }
        }
        false
    };
    assert!(is_limited.await);
    round_trip(&mut first, "hello").await;
    network.another("team").open(&peer.url()).await.expect("the first handshake of another instance");
    assert_eq!(peer.accepted(), 2);
}

// Timers.

#[tokio::test(flavor = "multi_thread")]
async fn idle_connection_times_out() {
    let peer = WsPeer::sends(Vec::new()).await;
    let network = Network::to(peer.address, EgressLimits { idle_ms: 200, ..generous() });
    let mut socket = network.open(&peer.url()).await.expect("open");
    assert_eq!(receive(&mut socket).await, Err(WebSocketFailure::TimedOut));
    gone(&network).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_with_steady_messages_ends_with_its_lifetime() {
    let peer = WsPeer::scripted(|mut wire| async move {
        wire.accept().await;
        while wire.frame(true, 0, TEXT, b"tick").await {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let limits = EgressLimits { lifetime_ms: 300, send_ms: 200, ..generous() };
    let network = Network::to(peer.address, limits);
    let mut socket = network.open(&peer.url()).await.expect("open");
    let received = async {
        loop {
            match receive(&mut socket).await {
                Ok(message) => assert_eq!(message, Some(text("tick"))),
                Err(failure) => break failure,
            }
        }
    };
    let failure = timeout(PATIENCE, received).await.expect("an end");
    assert!(matches!(failure, WebSocketFailure::TimedOut | WebSocketFailure::Closed { .. }), "{failure:?}");
    gone(&network).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receive_without_a_message_returns_none_and_the_connection_stays_open() {
    let peer = WsPeer::echo().await;
    let network = Network::to(peer.address, generous());
    let mut socket = network.open(&peer.url()).await.expect("open");
    assert_eq!(socket.try_receive(), Ok(None));
    let received = timeout(PATIENCE, socket.receive(Duration::from_millis(50))).await.expect("an end");
    assert_eq!(received, Ok(None));
    let received = timeout(PATIENCE, socket.receive(Duration::ZERO)).await.expect("an end");
    assert_eq!(received, Ok(None));
    round_trip(&mut socket, "hello").await;

    let network = Network::to(peer.address, EgressLimits { receive_ms: 50, ..generous() });
    let mut socket = network.open(&peer.url()).await.expect("open");
    assert_eq!(receive(&mut socket).await, Ok(None), "the limit of the host is lower than what the guest asks for");
}

#[tokio::test(flavor = "multi_thread")]
async fn handshake_that_is_never_answered_times_out() {
    let peer = WsPeer::scripted(|wire| async move {
        pending::<()>().await;
        drop(wire);
    })
    .await;
    let network = Network::to(peer.address, EgressLimits { open_ms: 200, ..generous() });
    assert_eq!(refused(&network, support::connection(&peer.url())).await, WebSocketFailure::TimedOut);
    gone(&network).await;

    let network = Network::to(peer.address, EgressLimits { open_ms: 60_000, ..generous() });
    let timeout = Some(Duration::from_millis(200));
    let outgoing = OutgoingConnection { timeout, ..support::connection(&peer.url()) };
    assert_eq!(refused(&network, outgoing).await, WebSocketFailure::TimedOut, "as the plugin asks");
    gone(&network).await;
}

// Handshakes.

#[tokio::test]
async fn connection_that_is_never_established_times_out() {
    let address = SocketAddr::from(([127, 0, 0, 1], 9));
    let hour = 3_600_000;
    for limits in [
        EgressLimits { connect_ms: 100, open_ms: hour, ..generous() },
        EgressLimits { connect_ms: hour, open_ms: 100, ..generous() },
    ] {
        let network = Network::with_dialer(address, limits, NoAnswer);
        let failure = refused(&network, support::connection(&format!("ws://{address}/"))).await;
        assert_eq!(failure, WebSocketFailure::TimedOut);
        gone(&network).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_verifies_the_server_before_the_handshake() {
    const HTTP1: &[&[u8]] = &[b"http/1.1"];
    let authority = Authority::new();
    let of = |authority: &Authority, name: &str| authority.server(&[name], HTTP1, rustls::ALL_VERSIONS);
    for (name, config, is_valid) in [
        ("a valid certificate", of(&authority, NAME), true),
        ("another name", of(&authority, "other.example"), false),
        ("a name below", of(&authority, "a.peer.example"), false),
        ("an unknown authority", of(&Authority::new(), NAME), false),
        ("a self-signed certificate", self_signed_server(&[NAME], HTTP1, rustls::ALL_VERSIONS), false),
    ] {
        let peer = WsPeer::echo().await;
        let front = behind_tls(config, peer.address).await;
        let network = Network::to_tls(front, generous(), authority.root());
        let outgoing = support::connection(&format!("wss://{NAME}:{}/", front.port()));
        if is_valid {
            let mut socket = network.open_with(outgoing).await.expect("open");
            round_trip(&mut socket, "hello").await;
        } else {
            assert_eq!(refused(&network, outgoing).await, WebSocketFailure::Unreachable(Unreachable::Tls), "{name}");
            assert_eq!(peer.accepted(), 0, "{name}");
            gone(&network).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_answers_to_a_handshake_are_refused() {
    let other = |from: &str, to: &str| {
        assert!(SWITCH.contains(from));
        format!("{}\r\n", SWITCH.replace(from, to))
    };
    let with = |line: &str| format!("{SWITCH}{line}\r\n\r\n");
    let status = |line: &str| format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n");
    let cases = [
        ("status 200", status("200 OK"), WebSocketFailure::Refused(200)),
        ("status 401", status("401 Unauthorized"), WebSocketFailure::Refused(401)),
        ("status 403", status("403 Forbidden"), WebSocketFailure::Refused(403)),
        ("status 500", status("500 Internal Server Error"), WebSocketFailure::Refused(500)),
        ("status 302", status("302 Found\r\nLocation: /other"), WebSocketFailure::Refused(302)),
        ("status 307", status("307 Temporary Redirect\r\nLocation: /other"), WebSocketFailure::Refused(307)),
        ("accept value of another key", other("<accept>", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), PROTOCOL),
        ("accept value that is no base64", other("<accept>", "x"), PROTOCOL),
        ("no accept value", other("Sec-WebSocket-Accept: <accept>\r\n", ""), PROTOCOL),
        ("no `Upgrade`", other("Upgrade: websocket\r\n", ""), PROTOCOL),
        ("`Upgrade` to another protocol", other("Upgrade: websocket", "Upgrade: h2c"), PROTOCOL),
        ("no `Connection`", other("Connection: Upgrade\r\n", ""), PROTOCOL),
        ("`Connection` without `Upgrade`", other("Connection: Upgrade", "Connection: keep-alive"), PROTOCOL),
        ("subprotocol", with("Sec-WebSocket-Protocol: chat.v1"), PROTOCOL),
        ("extension", with("Sec-WebSocket-Extensions: permessage-deflate"), PROTOCOL),
        ("not HTTP", "SSH-2.0-OpenSSH_9.9\r\n\r\n".to_owned(), PROTOCOL),
    ];
    for (name, template, expected) in cases {
        let peer = answering(&template, Vec::new()).await;
        let network = Network::to(peer.address, generous());
        assert_eq!(refused(&network, support::connection(&peer.url())).await, expected, "{name}");
        gone(&network).await;
        assert_eq!(peer.accepted(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unusual_answers_to_a_handshake_are_accepted() {
    let cases = [
        ("lower case", SWITCH.to_lowercase().replace("http/1.1", "HTTP/1.1")),
        ("upper case of `WebSocket`", SWITCH.replace("websocket", "WebSocket")),
        (
            "more than one word in `Connection`",
            SWITCH.replace("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
        ),
        ("another header", format!("{SWITCH}X-Other: 1\r\n")),
    ];
    for (name, template) in cases {
        let peer = answering(&format!("{template}\r\n"), good()).await;
        let network = Network::to(peer.address, generous());
        let mut socket = network.open(&peer.url()).await.expect(name);
        assert_eq!(receive(&mut socket).await, Ok(Some(text("good"))), "{name}");
        assert_eq!(socket.subprotocol(), None, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handshake_fails_if_the_connection_ends_before_its_answer() {
    for (name, bytes) in [("nothing", ""), ("a part of the answer", "HTTP/1.1 101 Switching Protocols\r\nUpgr")] {
        let peer = WsPeer::scripted(move |mut wire| async move {
            wire.write(bytes.as_bytes()).await;
            wire.close().await;
        })
        .await;
        let network = Network::to(peer.address, generous());
        let failure = refused(&network, support::connection(&peer.url())).await;
        assert!(failure == RESET || failure == PROTOCOL, "{name}: {failure:?}");
        gone(&network).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_of_headers_in_the_answer_to_a_handshake_is_refused() {
    let finished = Arc::new(AtomicUsize::new(0));
    let counted = finished.clone();
    let endless = WsPeer::scripted(move |mut wire| {
        let finished = counted.clone();
        async move {
            wire.write(SWITCH.split_inclusive("\r\n").next().unwrap_or_default().as_bytes()).await;
            let value = "a".repeat(1000);
            for place in 0..65_536 {
                if !wire.write(format!("x-flood-{place}: {value}\r\n").as_bytes()).await {
                    return;
                }
            }
            finished.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let mut many = SWITCH.to_owned();
    for place in 0..500 {
        many.push_str(&format!("x-{place}: 1\r\n"));
    }
    let many = answering(&format!("{many}\r\n"), good()).await;
    let long = answering(&format!("{SWITCH}x-long: {}\r\n\r\n", "a".repeat(256 << 10)), good()).await;
    for (name, peer) in [("endless", &endless), ("many", &many), ("long", &long)] {
        let network = Network::to(peer.address, generous());
        let failure = refused(&network, support::connection(&peer.url())).await;
        let is_too_large = matches!(
            failure,
            WebSocketFailure::TooLarge(SizeLimit { side: Side::Received, .. })
                | WebSocketFailure::Unreachable(Unreachable::Protocol)
        );
        assert!(is_too_large, "{name}: {failure:?}");
        gone(&network).await;
        assert_eq!(peer.accepted(), 1, "{name}");
    }
    assert_eq!(finished.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn subprotocol_is_the_one_that_the_peer_selects_of_those_requested() {
    let selected = |value: &str| format!("{SWITCH}Sec-WebSocket-Protocol: {value}\r\n\r\n");
    let both = ["chat.v2", "chat.v1"];
    let cases: [(&str, &[&str], String, Result<Option<&str>, WebSocketFailure>); 7] = [
        ("the second", &both, selected("chat.v1"), Ok(Some("chat.v1"))),
        ("the first", &both, selected("chat.v2"), Ok(Some("chat.v2"))),
        ("none", &both, format!("{SWITCH}\r\n"), Ok(None)),
        ("not requested", &both[..1], selected("chat.v1"), Err(PROTOCOL)),
        ("unknown", &both, selected("chat.v3"), Err(PROTOCOL)),
        ("in upper case", &both, selected("CHAT.V1"), Err(PROTOCOL)),
        ("two", &both, selected("chat.v2, chat.v1"), Err(PROTOCOL)),
    ];
    for (name, requested, template, expected) in cases {
        let peer = answering(&template, good()).await;
        let network = Network::to(peer.address, generous());
        let subprotocols: Vec<String> = requested.iter().map(|name| (*name).to_owned()).collect();
        let outgoing = OutgoingConnection { subprotocols, ..support::connection(&peer.url()) };
        match (network.open_with(outgoing).await, expected) {
            (Ok(mut socket), Ok(expected)) => {
                assert_eq!(socket.subprotocol(), expected, "{name}");
                assert_eq!(receive(&mut socket).await, Ok(Some(text("good"))), "{name}");
            }
            (Err(failure), Err(expected)) => assert_eq!(failure, expected, "{name}"),
            (opened, expected) => panic!("{name}: {opened:?} instead of {expected:?}"),
        }
        let heads = peer.heads();
        let sent = header(&heads[0], "sec-websocket-protocol").expect("subprotocols");
        assert_eq!(sent.split(',').map(str::trim).collect::<Vec<_>>(), requested, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_permission_are_denied_before_anything_is_sent() {
    let peer = WsPeer::echo().await;
    let (url, port) = (peer.url(), peer.address.port());
    let plain = support::connection;
    let cases = [
        (
            "subprotocol",
            OutgoingConnection { subprotocols: vec!["chat.v1".to_owned(), "other".to_owned()], ..plain(&url) },
            "not_declared_nor_granted",
        ),
        ("`http`", plain(&url.replace("ws:", "http:")), "scheme_not_allowed"),
        ("`https`", plain(&url.replace("ws:", "https:")), "scheme_not_allowed"),
        ("port", plain(&format!("ws://127.0.0.1:{}/", port ^ 1)), "not_declared_nor_granted"),
        ("host of `ws`", plain(&format!("ws://127.0.0.2:{port}/")), "not_declared_nor_granted"),
        ("host of `wss`", plain(&format!("wss://other.example:{port}/")), "not_declared_nor_granted"),
        ("secret", OutgoingConnection { credential: Some("other".to_owned()), ..plain(&url) }, "secret_not_declared"),
    ];
    let network = Network::to(peer.address, generous());
    for (name, outgoing, code) in cases {
        assert_eq!(denial(&refused(&network, outgoing).await), code, "{name}");
        gone(&network).await;
    }
    assert_eq!(peer.accepted(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_of_a_handshake_has_the_credential_and_no_header_of_a_browser() {
    let peer = WsPeer::echo().await;
    let network = Network::to(peer.address, generous());
    let url = format!("{}path?query=1", peer.url());
    let outgoing = OutgoingConnection { credential: Some("token".to_owned()), ..support::connection(&url) };
    let mut with = network.open_with(outgoing).await.expect("open with a credential");
    round_trip(&mut with, "hello").await;
    let mut without = network.open(&url).await.expect("open without a credential");
    round_trip(&mut without, "hello").await;

    let heads = peer.heads();
    assert_eq!(heads.len(), 2);
    assert_eq!(header(&heads[0], "authorization"), Some(&*format!("Bearer {SECRET}")));
    assert_eq!(header(&heads[1], "authorization"), None);
    for head in &heads {
        assert!(head.starts_with("GET /path?query=1 HTTP/1.1\r\n"), "{head}");
        assert_eq!(header(head, "host"), Some(&*peer.address.to_string()));
        assert_eq!(header(head, "upgrade").map(str::to_lowercase).as_deref(), Some("websocket"));
        assert_eq!(header(head, "connection").map(str::to_lowercase).as_deref(), Some("upgrade"));
        assert_eq!(header(head, "sec-websocket-version"), Some("13"));
        for absent in ["origin", "cookie", "sec-websocket-extensions", "sec-websocket-protocol"] {
            assert_eq!(header(head, absent), None);
        }
    }
    let keys: Vec<&str> = heads.iter().filter_map(|head| header(head, "sec-websocket-key")).collect();
    assert_eq!(STANDARD.decode(keys[0]).expect("base64").len(), 16);
    assert_ne!(keys[0], keys[1]);
}

// Secrets in what the peer sends.

#[tokio::test(flavor = "multi_thread")]
async fn secret_that_the_peer_sends_back_does_not_reach_the_guest() {
    let forms = [
        ("raw", SECRET.to_owned()),
        ("raw in a text", format!("{{\"token\":\"{SECRET}\"}}")),
        ("base64", STANDARD.encode(SECRET)),
        ("base64 of basic authentication", STANDARD.encode(format!("user:{SECRET}"))),
        ("base64 with one byte before", STANDARD.encode(format!("x{SECRET}"))),
    ];
    for (form, value) in forms {
        let bytes = value.as_bytes();
        let plain = format!("{SWITCH}\r\n");
        let echo = format!("{SWITCH}X-Echo: {value}\r\n\r\n");
        let text_received = || Ok(Some(text(&value)));
        let cases = [
            ("text", plain.clone(), frame(true, 0, TEXT, bytes), text_received()),
            ("text in fragments", plain.clone(), fragments(TEXT, bytes, 7), text_received()),
            ("binary", plain.clone(), frame(true, 0, BINARY, bytes), Ok(Some(Message::Binary(bytes.to_vec())))),
            ("reason of a close", plain, close(4000, bytes), Err(closed(4000, &value))),
            ("header of the handshake", echo, good(), Ok(Some(text("good")))),
        ];
        for (place, template, frames, received) in cases {
            let name = format!("{form}, {place}");
            let peer = answering(&template, frames).await;
            let network = Network::to(peer.address, generous());
            let url = peer.url();
            let outgoing = OutgoingConnection { credential: Some("token".to_owned()), ..support::connection(&url) };
            let mut opened = network.open_with(outgoing).await;
            let failure = match &mut opened {
                Ok(socket) => receive(socket).await.expect_err(&name),
                Err(failure) => failure.clone(),
            };
            assert_eq!(denial(&failure), "secret_echoed", "{name}");
            assert!(!format!("{failure:?}").contains(SECRET) && !format!("{failure:?}").contains(&value), "{name}");
            gone(&network).await;
            if let Ok(socket) = &mut opened {
                assert!(receive(socket).await.is_err(), "{name}");
            }

            // An instance that has not sent the secret gets the same response.
            let network = Network::to(peer.address, generous());
            let mut socket = network.open(&url).await.expect(&name);
            assert_eq!(receive(&mut socket).await, received, "{name} without a credential");
        }
    }
}

// Permissions that change while a connection is open.

fn nothing() -> Arc<PermissionSet> {
    Arc::new(PermissionSet::new([]))
}

/// Returns permissions for a path and subprotocols of a peer.
fn narrow(port: u16, path: &str, subprotocols: &[&str]) -> NetworkPermissions {
    let permission = support::permission(json!({
        "scheme": "ws",
        "host": "127.0.0.1",
        "port": port,
        "path_prefixes": [path],
        "subprotocols": subprotocols,
    }));
    let set = Arc::new(PermissionSet::new([permission]));
    NetworkPermissions { websockets: RequiredPermissions { targets: set.clone(), grants: set }, ..everything(port) }
}

/// Returns a connection with a subprotocol and a credential.
fn full(url: &str) -> OutgoingConnection {
    OutgoingConnection {
        subprotocols: vec!["chat.v1".to_owned()],
        credential: Some("token".to_owned()),
        ..support::connection(url)
    }
}

async fn chat() -> WsPeer {
    WsPeer::scripted(|mut wire| async move {
        wire.accept_with(&["Sec-WebSocket-Protocol: chat.v1"]).await;
        wire.echo(usize::MAX, usize::MAX).await;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_ends_when_its_permission_is_withdrawn() {
    let changes: [(&str, fn(u16) -> Option<NetworkPermissions>); 8] = [
        ("plugin", |_| None),
        ("grant", |port| {
            let websockets = RequiredPermissions { grants: nothing(), ..everything(port).websockets };
            Some(NetworkPermissions { websockets, ..everything(port) })
        }),
        ("target", |port| {
            let websockets = RequiredPermissions { targets: nothing(), ..everything(port).websockets };
            Some(NetworkPermissions { websockets, ..everything(port) })
        }),
        ("all WebSockets", |port| {
            let websockets = RequiredPermissions { targets: nothing(), grants: nothing() };
            Some(NetworkPermissions { websockets, ..everything(port) })
        }),
        ("port", |port| Some(everything(port ^ 1))),
        ("path", |port| Some(narrow(port, "/other", &["chat.v1"]))),
        ("subprotocol", |port| Some(narrow(port, "/", &["chat.v2"]))),
        ("secret", |port| Some(NetworkPermissions { granted_secrets: Arc::default(), ..everything(port) })),
    ];
    for (name, change) in changes {
        let mut peer = chat().await;
        let network = Network::to(peer.address, generous());
        let mut socket = network.open_with(full(&peer.url())).await.expect(name);
        round_trip(&mut socket, "hello").await;
        match change(peer.address.port()) {
            Some(permissions) => network.permissions.set(permissions),
            None => network.permissions.revoke(),
        }
        let failure = receive(&mut socket).await.expect_err(name);
        assert!(matches!(failure, WebSocketFailure::Denied(_)), "{name}: {failure:?}");
        assert!(send(&mut socket, text("late")).await.is_err(), "{name}");
        assert!(peer.close_heard().await.is_some(), "{name}");
        gone(&network).await;
        let again = refused(&network, full(&peer.url())).await;
        assert!(matches!(again, WebSocketFailure::Denied(_)), "{name}: {again:?}");
        assert_eq!(peer.accepted(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handshake_ends_when_its_permission_is_withdrawn() {
    let peer = WsPeer::scripted(|wire| wire.listen()).await;
    let network = Network::to(peer.address, generous());
    let withdrawing = async {
        until(|| !peer.heads().is_empty()).await;
        network.permissions.revoke();
    };
    let (failure, ()) = tokio::join!(refused(&network, full(&peer.url())), withdrawing);
    assert_eq!(denial(&failure), "plugin_not_granted");
    gone(&network).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_stays_open_while_the_permissions_cover_it() {
    let peer = chat().await;
    let port = peer.address.port();
    let network = Network::to(peer.address, generous());
    let mut socket = network.open_with(full(&peer.url())).await.expect("open");
    let no_requests = RequiredPermissions { targets: nothing(), grants: nothing() };
    let changes = [
        ("the same", everything(port)),
        ("no requests", NetworkPermissions { requests: no_requests, ..everything(port) }),
        ("only what is needed", narrow(port, "/", &["chat.v1"])),
        ("more again", everything(port)),
    ];
    for (name, permissions) in changes {
        network.permissions.set(permissions);
        for _ in 0..20 {
            round_trip(&mut socket, name).await;
        }
    }
    assert_eq!(network.open_connections(), 1);
}

// Polling, and operations that are dropped.

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_reported_and_does_not_take_the_message() {
    let peer = WsPeer::echo().await;
    let network = Network::to(peer.address, generous());
    let mut socket = network.open(&peer.url()).await.expect("open");
    for value in ["first", "second"] {
        let is_pending = poll_fn(|context| Poll::Ready(socket.poll_readable(context).is_pending())).await;
        assert!(is_pending, "{value}");
        assert_eq!(send(&mut socket, text(value)).await, Ok(()));
        for _ in 0..3 {
            let readable = poll_fn(|context| socket.poll_readable(context));
            timeout(PATIENCE, readable).await.expect("readable");
        }
        match value {
            "first" => assert_eq!(socket.try_receive(), Ok(Some(text(value)))),
            _ => assert_eq!(receive(&mut socket).await, Ok(Some(text(value)))),
        }
    }

    network.permissions.revoke();
    let readable = poll_fn(|context| socket.poll_readable(context));
    timeout(PATIENCE, readable).await.expect("readable at the end");
    assert!(socket.try_receive().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn receives_that_are_dropped_lose_no_message() {
    const MESSAGES: usize = 300;
    let peer = WsPeer::scripted(|mut wire| async move {
        wire.accept().await;
        for place in 0..MESSAGES {
            wire.frame(true, 0, TEXT, place.to_string().as_bytes()).await;
            if place % 7 == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        wire.listen().await;
    })
    .await;
    let network = Network::to(peer.address, generous());
    let mut socket = network.open(&peer.url()).await.expect("open");
    let received = async {
        let mut received = Vec::new();
        while received.len() < MESSAGES {
            if let Ok(message) = timeout(Duration::from_micros(200), socket.receive(PATIENCE)).await {
                received.push(message);
            }
        }
        received
    };
    let received = timeout(PATIENCE, received).await.expect("all messages");
    for (place, message) in received.into_iter().enumerate() {
        assert_eq!(message, Ok(Some(text(&place.to_string()))));
    }
}

/// Returns the number of sockets of this process with an address at one of their ends. Other tests run in the same
/// process, so its file descriptors cannot be counted as a whole.
fn sockets(address: SocketAddr) -> usize {
    let descriptors = fs::read_dir("/proc/self/fd").expect("file descriptors");
    let held: BTreeSet<String> = descriptors
        .filter_map(|descriptor| {
            let target = fs::read_link(descriptor.ok()?.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    let end = format!("0100007F:{:04X}", address.port());
    let table = fs::read_to_string("/proc/self/net/tcp").expect("sockets");
    let is_counted = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.len() > 9 && (fields[1] == end || fields[2] == end) && held.contains(fields[9])
    };
    table.lines().skip(1).filter(is_counted).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_dropped_at_any_moment_leave_no_connection_behind() {
    let peer = WsPeer::echo().await;
    let url = peer.url();
    let network = Network::to(peer.address, EgressLimits { workspace_connections: 1000, ..generous() });
    let before = sockets(peer.address);
    assert_eq!(before, 1, "the listener");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    for _ in 0..1000 {
        let moment = Duration::from_micros(random(4000));
        let kind = random(3);
        if kind == 0 {
            // The result does not matter here and below.
            let _ = timeout(moment, network.websockets.open(support::connection(&url))).await;
            continue;
        }
        let mut socket = network.open(&url).await.expect("open");
        if kind == 1 {
            let _ = timeout(moment, socket.receive(PATIENCE)).await;
        } else {
            let message = Message::Binary(vec![7; random(300_000) as usize]);
            let _ = timeout(moment, socket.send(message)).await;
        }
    }
    gone(&network).await;
    until(|| sockets(peer.address) == before).await;
    let mut socket = network.open(&url).await.expect("open");
    round_trip(&mut socket, "hello").await;
}
