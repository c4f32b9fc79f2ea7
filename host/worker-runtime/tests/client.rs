//! The client with a local Runtime, and with servers that misbehave.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use bundles::signature::{Envelope, SigningKey};
use bundles::{Contents, Digest};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use runtime_api::call::ToolCall;
use runtime_api::referrer::Referrer;
use runtime_client::{
    Client, ClientError, ClientOptions, ConnectError, RetryPolicy, StreamItem, Timeouts, UnexpectedResponse,
};
use runtime_service::{Hosts, RuntimeService, ServerLimits, ServiceOptions, ShutdownSummary};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::{Barrier, oneshot};
use tokio::task::JoinHandle;
use worker_runtime::blob_store::{self, SourceError};
use worker_runtime::event::EventKind;
use worker_runtime::token::{Entropy, Scope, TokenError, TokenGrant};
use worker_runtime::worker::{CreateWorkerRequest, StopReason, WorkerState};
use worker_runtime::{Runtime, RuntimeLimits};

use crate::support::{World, acme, bundle, bundle_of, id, name, plain, put, trusted};

/// Environment variable for the child process without certificates.
const NO_CERTIFICATES: &str = "YOI_NO_CERTIFICATES";

/// Run as a child process by another test.
#[test]
#[ignore = "is run by another test, on a system without certificates"]
fn child_process_without_certificates() {
    if std::env::var_os(NO_CERTIFICATES).is_none() {
        return;
    }
    let made = |url: &str| Client::new(ClientOptions::new(url, "yoi_token".to_owned().into())).map(drop);
    assert_eq!(made("https://runtime.example.com"), Err(ClientError::NoTls));
    // Without TLS no certificates are needed.
    assert_eq!(made("http://127.0.0.1:7070"), Ok(()));
}

#[test]
fn missing_certificates_and_failed_connection_have_different_errors() {
    let nowhere = tempfile::tempdir().expect("a folder").path().join("nowhere");
    let mut child = crate::disk::watched::child("client::child_process_without_certificates");
    child.env(NO_CERTIFICATES, "1").env("SSL_CERT_FILE", &nowhere).env("SSL_CERT_DIR", &nowhere);
    let ended = child.output().expect("started");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));

    let options = ClientOptions::new("https://runtime.example.com", "yoi_token".to_owned().into());
    let options = ClientOptions { certificates: vec![b"no certificate".to_vec()], ..options };
    let told = Client::new(options).expect_err("it is none");
    assert_eq!((&told, told.code()), (&ClientError::NoTls, "no_tls"));
    assert!(!told.help().is_empty() && !format!("{told} {told:?}").contains("example.com"), "{told:?}");
}

#[derive(Debug)]
struct Sevens;

impl Entropy for Sevens {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), TokenError> {
        bytes.fill(7);
        Ok(())
    }
}

pub(crate) async fn token(runtime: &Runtime) -> SecretString {
    let grant = TokenGrant {
        name: name("test"),
        scopes: Scope::ALL.into_iter().collect(),
        workspaces: [acme(), name("other")].into(),
        expires_at: None,
        connections: None,
        event_streams: None,
    };
    runtime.management().issue_token(grant, &Sevens).await.expect("a token").1
}

/// Serves on a local port (0 selects a free one) until a message is sent or the sender is dropped.
async fn serve(runtime: &Runtime, port: u16) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<ShutdownSummary>) {
    serve_as(runtime, port, &[]).await
}

/// Serves under additional host names.
pub(crate) async fn serve_as(
    runtime: &Runtime,
    port: u16,
    names: &[String],
) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<ShutdownSummary>) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let hosts = names.iter().cloned().chain([address.to_string()]).collect();
    let hosts = Hosts { hosts, ..Hosts::default() };
    let limits = ServerLimits { requests_per_second: 1_000_000, ..ServerLimits::default() };
    let service = RuntimeService::new(runtime.clone(), ServiceOptions { hosts, limits, ..ServiceOptions::default() });
    let (stop, stopped) = oneshot::channel();
    let serve = async move { service.serve(listener, async move { drop(stopped.await) }).await };
    (address, stop, tokio::spawn(serve))
}

/// A Runtime that is served during the test, and the options of its client.
async fn served(world: &World) -> (Runtime, ClientOptions) {
    let runtime = world.open().await;
    let (address, stop, _) = serve(&runtime, 0).await;
    std::mem::forget(stop);
    let options = ClientOptions::new(format!("http://{address}"), token(&runtime).await);
    (runtime, ClientOptions { workspace: Some(acme()), ..options })
}

pub async fn client(world: &World) -> (Runtime, Client) {
    let (runtime, options) = served(world).await;
    (runtime, Client::new(options).expect("a client"))
}

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    result.expect_err("refused").code().to_owned()
}

fn say(text: &str) -> ToolCall {
    ToolCall { input: json!({ "text": text }), confirmed: false }
}

#[tokio::test]
async fn missing_blobs_are_sent_and_worker_of_bundle_answers() {
    let (_, client) = client(&World::default()).await;
    client.live().await.expect("live");
    client.ready().await.expect("ready");
    let contents = Contents::from(bundle(1));
    let digest = contents.bundle().digest();
    let sent = client.put_bundle(&contents).await.expect("taken");
    let blobs: Vec<(Digest, usize)> = contents.bundle().blobs().map(|(digest, blob)| (*digest, blob.len())).collect();
    assert_eq!((sent.known, sent.uploaded.len(), sent.bundle.digest), (false, blobs.len(), digest));
    assert_eq!(sent.uploaded_bytes, blobs.iter().map(|(_, bytes)| *bytes as u64).sum::<u64>());
    let again = client.put_bundle(&contents).await.expect("taken");
    assert_eq!((again.known, again.uploaded.len(), again.uploaded_bytes, &again.bundle), (true, 0, 0, &sent.bundle));
    // The next revision shares unchanged blobs.
    let next = client.put_bundle(&bundle(2).into()).await.expect("taken");
    assert_eq!((next.known, next.uploaded.len()), (false, 0));
    assert_eq!(client.manifest(digest).await.expect("there"), contents.bundle().manifest_bytes().to_vec());
    for (blob, bytes) in &blobs {
        let got = client.blob(*blob, *bytes).await.expect("there");
        assert_eq!(Digest::of(&got), *blob);
        assert_eq!(client.blob(*blob, bytes - 1).await, Err(ClientError::TooLarge { allowed: *bytes as u64 - 1 }));
    }

    let request = worker_runtime::worker::CreateWorkerRequest { allow_older: true, ..plain(digest) };
    let made = client.create_worker(&id("w"), &request).await.expect("a worker");
    assert!(made.new && made.worker.request == request);
    assert!(!client.create_worker(&id("w"), &request).await.expect("the same worker").new);
    let unknown = CreateWorkerRequest { profile: name("nobody"), ..request.clone() };
    assert_eq!(code(client.create_worker(&id("v"), &unknown).await), "unknown_profile");
    let failures = client.failed_resolutions().await.expect("a list");
    assert_eq!(failures.iter().map(|failure| failure.profile.as_ref()).collect::<Vec<_>>(), ["nobody"]);
    assert_eq!(client.worker(&id("w")).await.expect("there"), made.worker);
    let called = client.call(&id("w"), &name("echo"), &say("hello")).await.expect("an answer");
    assert_eq!((called.entry, called.output), (2, json!({ "said": "hello" })));
    let entries = client.history(&id("w"), 0, 10).await.expect("a history");
    assert_eq!(entries.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(
        client.users(digest).await.expect("users").iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["worker:w"]
    );

    let Err(ClientError::Problem(problem)) = client.remove_bundle(digest).await else { panic!("in use") };
    assert_eq!((problem.status(), problem.code()), (409, "in_use"));
    assert_eq!(problem.details()["users"], json!(["worker:w"]));
    assert_eq!(problem.help(), "stop the workers that use it and remove its pins");
    let stopped = client.stop_worker(&id("w")).await.expect("stopped");
    assert!(matches!(stopped.state, WorkerState::Stopped { reason: StopReason::Requested, .. }));
    assert_eq!(client.workers(None, 10).await.expect("a list"), [stopped]);
    client.remove_worker(&id("w")).await.expect("removed");
    assert_eq!(code(client.remove_worker(&id("w")).await), "worker_not_found");
    assert_eq!(client.workers(None, 10).await, Ok(Vec::new()));
    client.remove_bundle(digest).await.expect("removed");
    assert_eq!(code(client.remove_bundle(digest).await), "bundle_not_found");
    assert_eq!(client.bundles(None, 10).await.expect("a list"), [next.bundle]);

    let status = client.runtime().await.expect("the operator");
    assert_eq!(status.runtime.workspaces, [acme(), name("other")]);
    assert!(status.capabilities.tools.contains(&name("echo")));
    assert_eq!(status.usage[&acme()].bundles, 1);
    let readiness = client.readiness().await.expect("told");
    assert!(readiness.ready && readiness.checks.iter().any(|check| check.name == "blobs" && check.outcome == "ok"));
    // Content of another workspace is not found.
    let other = client.in_workspace(name("other"));
    assert_eq!(other.workers(None, 10).await, Ok(Vec::new()));
    assert_eq!(code(other.worker(&id("w")).await), "worker_not_found");
}

#[tokio::test]
async fn pinned_bundle_cannot_be_removed_and_revoked_one_cannot_be_used() {
    let (runtime, client) = client(&World::default()).await;
    let digest = put(&runtime.content(&acme()), &bundle(1)).await;
    client.pin(digest, &id("release")).await.expect("pinned");
    assert_eq!(client.users(digest).await.expect("users"), [Referrer::Pin(id("release"))]);
    assert_eq!(code(client.remove_bundle(digest).await), "in_use");
    client.create_worker(&id("w"), &plain(digest)).await.expect("a worker");
    assert!(client.revoke_bundle(digest).await.expect("revoked").revoked_at.is_some());
    let reason = StopReason::BundleRevoked;
    assert!(
        matches!(client.worker(&id("w")).await.expect("there").state, WorkerState::Stopped { reason: why, .. } if why == reason)
    );
    assert_eq!(code(client.create_worker(&id("v"), &plain(digest)).await), "bundle_revoked");
    client.unpin(digest, &id("release")).await.expect("not pinned");
    client.unpin(digest, &id("release")).await.expect("not pinned still");
    client.remove_bundle(digest).await.expect("removed");
}

#[tokio::test]
async fn blobs_are_sent_a_few_at_a_time() {
    let bundle = bundle_of("acme", 1, &[("prompts/more.md", "Say more.")]);
    assert_eq!(bundle.blobs().count(), 4);
    let contents = Contents::from(bundle.clone());
    let summary = json!({
        "digest": bundle.digest(), "revision": "1", "bytes": 0, "blobs": 4, "stored_at": "2026-01-01T00:00:00Z", "signed_by": [],
    });
    let missing: Vec<Digest> = bundle.blobs().map(|(digest, _)| *digest).collect();
    // Each upload waits until a second one runs. A third concurrent one would be counted.
    let (pair, now, most) = (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (all, kept) = (now.clone(), most.clone());
    let blob = move |Path(digest): Path<String>, body: Bytes| async move {
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        pair.wait().await;
        now.fetch_sub(1, Ordering::SeqCst);
        Json(json!({ "digest": digest, "bytes": body.len() }))
    };
    let first = AtomicUsize::new(0);
    let manifest = move || {
        let is_first = first.fetch_add(1, Ordering::SeqCst) == 0;
        let told = if is_first { json!({ "digest": Digest::of(b""), "missing": missing }) } else { summary.clone() };
        let status = if is_first { StatusCode::ACCEPTED } else { StatusCode::CREATED };
        std::future::ready((status, Json(told)))
    };
    let manifest = Arc::new(manifest);
    let routes = axum::Router::new()
        .route("/v1/blobs/{digest}", axum::routing::put(blob))
        .route("/v1/config-bundles/{digest}", axum::routing::put(move || manifest()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let options = ClientOptions { max_concurrent_uploads: 2, ..ClientOptions::without_token(url) };
    let sent = Client::new(options).expect("a client").put_bundle(&contents).await.expect("taken");
    assert_eq!((sent.uploaded.len(), kept.load(Ordering::SeqCst), all.load(Ordering::SeqCst)), (4, 2, 0));
}

/// Runs garbage collection in a loop, with a retention time of zero.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bundles_are_put_while_garbage_is_collected() {
    let limits = RuntimeLimits { unused_blob_seconds: 0, ..RuntimeLimits::default() };
    let (runtime, client) = client(&World { limits, ..World::default() }).await;
    let collecting = tokio::spawn(async move {
        loop {
            runtime.management().collect_garbage().await.expect("collected");
            // Operations in memory never wait. Without this yield, tasks that the collection wakes never run.
            tokio::task::yield_now().await;
        }
    });
    for revision in 1..=20 {
        let prompt = format!("Be kind, in revision {revision}.");
        let bundle = bundle_of("acme", revision, &[("prompts/hello.md", &prompt)]);
        let sent = client.put_bundle(&bundle.into()).await.expect("taken");
        assert!(!sent.known && sent.uploaded.contains(&Digest::of(&prompt)));
    }
    collecting.abort();
}

#[tokio::test]
async fn signed_bundle_is_sent_in_its_envelope() {
    let fill = |bytes: &mut [u8]| -> Result<(), ()> {
        bytes.fill(1);
        Ok(())
    };
    let key = SigningKey::generate(fill).expect("a key");
    let posture = format!("signatures = {{ posture = \"required\", keys = [\"{}\"] }}", key.public_key());
    let config = format!("[workspaces.acme]\n{posture}\n[workspaces.other]\n{posture}\n");
    let (_, client) = client(&World { config, ..World::default() }).await;
    let bundle = bundle(1);
    assert_eq!(code(client.put_bundle(&bundle.clone().into()).await), "bundle_unsigned");
    let envelope = Envelope::sign(bundle.manifest_bytes().clone(), &key);
    let signed = Contents::new(bundle, Some(envelope)).expect("an envelope of it");
    let sent = client.put_bundle(&signed).await.expect("taken");
    assert_eq!(sent.bundle.signed_by, [key.public_key().id().to_string()]);
}

#[tokio::test]
async fn list_of_several_pages_is_read_completely() {
    let (runtime, client) = client(&World::default()).await;
    let digest = put(&runtime.content(&acme()), &bundle(1)).await;
    for worker in ["a", "b", "c"] {
        runtime.catalogue(&acme()).create(id(worker), plain(digest)).await.expect("a worker");
    }
    for _ in 0..600 {
        runtime.interaction(&acme()).call(&id("a"), &name("echo"), say("x")).await.expect("an answer");
    }
    let numbers = |entries: Vec<worker_runtime::history::Entry>| {
        entries.into_iter().map(|entry| entry.number).collect::<Vec<_>>()
    };
    let all = client.history(&id("a"), 0, usize::MAX).await.expect("a history");
    assert_eq!(numbers(all), (1..=1200).collect::<Vec<u64>>());
    assert_eq!(numbers(client.history(&id("a"), 1, 1001).await.expect("a history")), (2..=1002).collect::<Vec<u64>>());
    assert_eq!(client.history(&id("a"), 1200, 10).await, Ok(Vec::new()));
    let ids = |workers: Vec<worker_runtime::worker::WorkerSummary>| {
        workers.into_iter().map(|worker| worker.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(client.workers(Some(&id("a")), 1).await.expect("a list")), ["b"]);
    assert_eq!(ids(client.workers(Some(&id("a")), 7).await.expect("a list")), ["b", "c"]);
}

#[tokio::test]
async fn blob_is_streamed_and_never_stored_partially() {
    let (_, client) = client(&World::default()).await;
    let piece = Bytes::from_static(&[9; 100_000]);
    let digest = Digest::of(piece.repeat(30));
    let pieces = |count: usize| stream::iter(vec![Ok::<_, SourceError>(piece.clone()); count]);
    let whole = client.put_blob_from(digest, pieces(30).boxed(), 3_000_000).await;
    assert_eq!(whole, Ok(false));
    let known = client.put_blob(digest, piece.repeat(30).into()).await;
    assert_eq!(known, Ok(true));
    let wrong = client.put_blob_from(digest, pieces(29).boxed(), 2_900_000).await;
    assert_eq!(code(wrong), "digest_mismatch");
    let other = Digest::of(piece.repeat(2));
    let broken = pieces(1).chain(stream::iter([Err(SourceError)])).boxed();
    assert_eq!(client.put_blob_from(other, broken, 200_000).await, Err(ClientError::Source));
    assert_eq!(code(client.blob(other, 200_000).await), "blob_not_found");
    // Content that is shorter or longer than announced: no more bytes are sent than announced.
    assert!(client.put_blob_from(other, pieces(1).boxed(), 200_000).await.is_err());
    let more = client.put_blob_from(Digest::of(piece.repeat(3)), pieces(3).boxed(), 200_000).await;
    assert_eq!(code(more), "digest_mismatch");
    assert_eq!(code(client.blob(other, 200_000).await), "blob_not_found");
    assert!(client.put_blob_from(other, blob_store::source_from(piece.repeat(2)), 200_000).await.is_ok());
}

#[tokio::test]
async fn file_is_uploaded_in_pieces_and_a_blob_of_another_workspace_is_not_found() {
    let (runtime, client) = client(&World::default()).await;
    let content = vec![7; 1_000_000];
    let digest = Digest::of(&content);
    let file = || {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&content).and_then(|()| std::io::Seek::rewind(&mut file)).expect("written");
        file
    };
    runtime
        .content(&name("other"))
        .put_blob(digest, blob_store::source_from(content.clone()), None)
        .await
        .expect("put");
    assert_eq!(client.has_blob(digest).await, Ok(Some(false)));
    // Only the announced bytes are sent, and the Runtime compares them with the digest.
    assert_eq!(code(client.put_blob_file(digest, file(), 999_999).await), "digest_mismatch");
    assert!(client.put_blob_file(digest, file(), 1_000_001).await.is_err());
    assert_eq!(client.has_blob(digest).await, Ok(Some(false)));
    assert_eq!(client.put_blob_file(digest, file(), 1_000_000).await, Ok(false));
    assert_eq!(client.has_blob(digest).await, Ok(Some(true)));
    assert_eq!(client.put_blob_file(digest, file(), 1_000_000).await, Ok(true));
}

#[tokio::test]
async fn refusal_is_received_before_the_body_was_read() {
    let limits = RuntimeLimits { inflight_bytes: 1 << 20, ..RuntimeLimits::default() };
    let (_, options) = served(&World { limits, ..World::default() }).await;
    let retries = RetryPolicy { max_retries: 0, ..RetryPolicy::default() };
    let client = Client::new(ClientOptions { retries, ..options }).expect("a client");
    let content = Bytes::from(vec![7; 16 << 20]);
    let digest = Digest::of(&content);
    for _ in 0..10 {
        assert_eq!(code(client.put_blob(digest, content.clone()).await), "busy");
        let source = stream::iter(
            content.chunks(1 << 16).map(|piece| Ok::<_, SourceError>(content.slice_ref(piece))).collect::<Vec<_>>(),
        );
        assert_eq!(code(client.put_blob_from(digest, source.boxed(), 16 << 20).await), "busy");
    }
}

#[tokio::test]
async fn refusal_contains_all_fields_of_the_problem() {
    let config = crate::support::CONFIG.replace("secrets = [\"token\"]", "");
    let (runtime, client) = client(&World { config, ..World::default() }).await;
    let digest = put(&runtime.content(&acme()), &bundle(1)).await;
    let Err(ClientError::Problem(denied)) = client.create_worker(&id("w"), &trusted(digest)).await else {
        panic!("not granted")
    };
    assert_eq!((denied.status(), denied.code()), (403, "denied"));
    let refusal = &denied.details()["refusals"][0];
    assert_eq!((&refusal["subject"], &refusal["rule"]), (&json!("secret:token"), &json!("secret_not_granted")));
    assert_eq!(code(client.worker(&id("w")).await), "worker_not_found");
    client.create_worker(&id("w"), &plain(digest)).await.expect("a worker");
    let call = |input: Value| ToolCall { input, confirmed: false };
    let refused = client.call(&id("w"), &name("echo"), &call(json!({ "do": "refuse" }))).await;
    let Err(ClientError::Problem(refused)) = refused else { panic!("refused") };
    assert_eq!((refused.code(), refused.detail(), refused.help()), ("tool_refused", "no echo today", "shout"));
    assert_eq!(refused.details(), &json!({ "tool_code": "echo_refused" }));
    assert_eq!(code(client.call(&id("w"), &name("echo"), &call(json!({ "no": 1 }))).await), "invalid_input");
    assert_eq!(code(client.call(&id("w"), &name("nothing"), &call(json!({}))).await), "tool_not_found");
}

#[tokio::test]
async fn invalid_token_is_reported_without_its_text() {
    let (_, options) = served(&World::default()).await;
    let with = |token: Option<&str>| {
        Client::new(ClientOptions { token: token.map(|token| token.to_owned().into()), ..options.clone() })
    };
    let without = with(None).expect("a client");
    without.live().await.expect("live");
    without.ready().await.expect("ready");
    for client in [without, with(Some("yoi_CANARY")).expect("a client")] {
        let error = client.workers(None, 1).await.expect_err("unknown");
        assert_eq!(error.code(), "unauthenticated");
        assert!(!format!("{error} {error:?} {}", error.help()).contains("CANARY"));
    }
    let good = options.token.as_ref().expect("a token").expose_secret();
    assert!(with(Some(good)).expect("a client").workers(None, 1).await.is_ok());
}

#[tokio::test]
async fn events_are_streamed_and_gaps_are_reported() {
    let limits = RuntimeLimits { kept_events: 3, ..RuntimeLimits::default() };
    let (runtime, client) = client(&World { limits, ..World::default() }).await;
    let content = runtime.content(&acme());
    let mut events = client.events(0);
    let one = bundle(1);
    let (first, digest) = tokio::join!(events.next(), put(&content, &one));
    let Ok(StreamItem::Event(first)) = first else { panic!("{first:?}") };
    assert_eq!(first.number, 1);
    assert!(matches!(first.kind, EventKind::BundleStored { bundle, .. } if bundle == digest));
    for number in 2..6 {
        // Received before the next events are recorded, because only three are kept.
        put(&content, &bundle(number)).await;
        assert!(matches!(events.next().await, Ok(StreamItem::Event(event)) if event.number == number));
    }
    assert_eq!(events.seen(), 5);
    let seen: Vec<_> = client.events(1).into_stream().take(4).collect().await;
    assert_eq!(seen[0], Ok(StreamItem::Gap { after: 1, first_kept: 3 }));
    let numbers = seen[1..].iter().map(|seen| match seen {
        Ok(StreamItem::Event(event)) => event.number,
        other => panic!("{other:?}"),
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [3, 4, 5]);
}

#[tokio::test]
async fn list_with_pages_limited_by_bytes_is_read_completely() {
    let (runtime, client) = client(&World::default()).await;
    crate::pages::called(&runtime, 150).await;
    for (after, most, count) in [(0, 1000, 300), (10, 250, 250), (299, 1000, 1), (300, 1000, 0)] {
        let entries = client.history(&id("w"), after, most).await.expect("a history");
        let numbers: Vec<u64> = entries.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, (after + 1..=after + count).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn stream_continues_after_service_restart() {
    let runtime = World::default().open().await;
    let (address, stop, stopped) = serve(&runtime, 0).await;
    let options = ClientOptions::new(format!("http://{address}"), token(&runtime).await);
    let client = Client::new(ClientOptions { workspace: Some(acme()), ..options }).expect("a client");
    let mut events = client.events(0);
    put(&runtime.content(&acme()), &bundle(1)).await;
    assert!(matches!(events.next().await, Ok(StreamItem::Event(event)) if event.number == 1));
    stop.send(()).expect("served");
    assert_eq!(stopped.await.expect("ended"), ShutdownSummary { cut: 0 });
    put(&runtime.content(&acme()), &bundle(2)).await;
    let (_, _stop, _) = serve(&runtime, address.port()).await;
    assert!(matches!(events.next().await, Ok(StreamItem::Event(event)) if event.number == 2));
}

/// A scripted server. It reads a request and sends the response of the script for the number of the request. AfterResponse it
/// keeps or closes the connection.
struct ScriptedServer {
    options: ClientOptions,
    heard: Arc<Mutex<Vec<String>>>,
}

enum AfterResponse {
    /// Closes the connection.
    End,
    /// Sends no more and keeps the connection open.
    Hang,
    /// Repeats these bytes endlessly.
    Repeat(Vec<u8>),
}

fn stranger(script: impl Fn(usize, &str) -> (Vec<u8>, AfterResponse) + Send + 'static) -> ScriptedServer {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let said = heard.clone();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for (number, connection) in listener.incoming().enumerate() {
            let mut connection = connection.expect("a connection");
            let request = request(&mut connection);
            said.lock().expect("not poisoned").push(request.clone());
            let (answer, then) = script(number, &request);
            let _ = connection.write_all(&answer);
            match then {
                AfterResponse::End => {}
                AfterResponse::Hang => kept.push(connection),
                AfterResponse::Repeat(more) => while connection.write_all(&more).is_ok() {},
            }
        }
    });
    let options = ClientOptions::new(format!("http://{address}"), "yoi_CANARY".to_owned().into());
    ScriptedServer { options, heard }
}

fn request(connection: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && connection.read(&mut byte).is_ok_and(|read| read == 1) {
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).expect("text").to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    connection.read_exact(&mut vec![0; length]).expect("a body");
    text
}

/// Returns a complete response, after which the connection is closed.
fn answer(status: &str, kind: &str, more: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

fn problem(status: u16, code: &str) -> String {
    json!({ "status": status, "code": code, "detail": "a\u{1b}[2J\nb", "help": "c" }).to_string()
}

fn short(options: ClientOptions) -> Client {
    let short = Duration::from_millis(200);
    let timeouts = Timeouts { response: short, transfer: short, work: short, silence: short };
    Client::new(ClientOptions { timeouts, ..options }).expect("a client")
}

#[tokio::test]
async fn responses_are_bounded_and_typed() {
    let summary = json!({ "workers": [] }).to_string();
    let list = |ids: &[&str]| {
        let worker = |id: &&str| {
            json!({
                "id": id, "request": { "profile": "plain" }, "bundle": Digest::of(b""), "resolver": Digest::of(b""),
                "record": Digest::of(b""), "policy": Digest::of(b""), "created_at": "2026-01-01T00:00:00Z", "state": "running",
            })
        };
        answer("200 OK", JSON, "", &json!({ "workers": ids.iter().map(worker).collect::<Vec<_>>() }).to_string())
    };
    let head = |more: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{more}\r\n");
    let no_http = ClientError::Unexpected(UnexpectedResponse::NotHttp);
    let no_body = ClientError::Unexpected(UnexpectedResponse::Body);
    let too_large = ClientError::Unexpected(UnexpectedResponse::TooLarge);
    let contradiction = ClientError::Unexpected(UnexpectedResponse::Contradiction);
    let status = |status| ClientError::Unexpected(UnexpectedResponse::Status(status));
    let moved = "Location: http://169.254.169.254/\r\n";
    let cases: Vec<(&str, Vec<u8>, AfterResponse, ClientError)> = vec![
        ("not HTTP", b"220 smtp.example.com ESMTP\r\n".to_vec(), AfterResponse::End, no_http.clone()),
        (
            "a head without an end",
            b"HTTP/1.1 200 OK\r\n".to_vec(),
            AfterResponse::Repeat(b"X-A: aaaaaaaaaaaaaaaa\r\n".repeat(1000)),
            no_http.clone(),
        ),
        (
            "one header without an end",
            b"HTTP/1.1 200 OK\r\nX-A: ".to_vec(),
            AfterResponse::Repeat(vec![b'a'; 10_000]),
            no_http,
        ),
        ("nothing", Vec::new(), AfterResponse::End, ClientError::Interrupted),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-".to_vec(), AfterResponse::End, ClientError::Interrupted),
        ("half a body", head("Content-Length: 14\r\n").into_bytes(), AfterResponse::End, ClientError::Interrupted),
        (
            "half a chunk",
            (head("Transfer-Encoding: chunked\r\n") + "e\r\n{\"wor").into_bytes(),
            AfterResponse::End,
            ClientError::Interrupted,
        ),
        ("a body without an end", head("").into_bytes(), AfterResponse::Repeat(vec![b' '; 10_000]), too_large.clone()),
        (
            "a body said to be large",
            head("Content-Length: 99999999999\r\n").into_bytes(),
            AfterResponse::Hang,
            too_large.clone(),
        ),
        ("no JSON", answer("200 OK", JSON, "", "{"), AfterResponse::End, no_body.clone()),
        ("deep JSON", answer("200 OK", JSON, "", &"[".repeat(90_000)), AfterResponse::End, no_body.clone()),
        ("other JSON", answer("200 OK", JSON, "", "{\"workers\":7}"), AfterResponse::End, no_body.clone()),
        ("a page", answer("200 OK", "text/html", "", &summary), AfterResponse::End, no_body),
        (
            "a redirect",
            answer("302 Found", JSON, moved, ""),
            AfterResponse::End,
            ClientError::Unexpected(UnexpectedResponse::Redirect),
        ),
        ("a failure of a proxy", answer("502 Bad Gateway", "text/html", "", "<html>"), AfterResponse::End, status(502)),
        ("a problem that is none", answer("404 Not Found", PROBLEM, "", "{}"), AfterResponse::End, status(404)),
        (
            "a problem of another status",
            answer("404 Not Found", PROBLEM, "", &problem(500, "a")),
            AfterResponse::End,
            status(404),
        ),
        (
            "a problem without an end",
            b"HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json\r\n\r\n".to_vec(),
            AfterResponse::Repeat(vec![b' '; 10_000]),
            too_large,
        ),
        ("a list out of order", list(&["b", "a"]), AfterResponse::End, contradiction.clone()),
        ("a list with one twice", list(&["a", "a"]), AfterResponse::End, contradiction.clone()),
        ("a list of more than was asked", list(&["a", "b", "c", "d"]), AfterResponse::End, contradiction),
    ];
    for (what, said, then, expected) in cases {
        let then = Mutex::new(Some(then));
        let stranger =
            stranger(move |_, _| (said.clone(), then.lock().expect("once").take().unwrap_or(AfterResponse::End)));
        let options = ClientOptions { max_response_bytes: 100_000, ..stranger.options };
        let error = Client::new(options).expect("a client").workers(None, 3).await.expect_err(what);
        assert_eq!(error, expected, "{what}");
        assert!(!format!("{error} {error:?} {}", error.help()).contains("CANARY"), "{what}");
        assert!(!format!("{error} {error:?}").contains("127.0.0.1"), "{what}: {error:?}");
        assert_eq!(stranger.heard.lock().expect("heard").len(), 1, "{what}");
    }
    // A valid neighbour of the cases above.
    let good = stranger(move |_, _| (list(&["a", "b"]), AfterResponse::End));
    assert_eq!(Client::new(good.options).expect("a client").workers(None, 3).await.expect("a list").len(), 2);
}

#[tokio::test]
async fn token_is_sent_only_to_the_runtime() {
    let elsewhere = stranger(|_, _| (answer("200 OK", JSON, "", "{\"workers\":[]}"), AfterResponse::End));
    let moved = format!("Location: {}/v1/workers\r\n", elsewhere.options.base_url);
    let stranger = stranger(move |_, _| (answer("307 Temporary Redirect", JSON, &moved, ""), AfterResponse::End));
    let client = Client::new(stranger.options).expect("a client");
    assert_eq!(client.workers(None, 1).await, Err(ClientError::Unexpected(UnexpectedResponse::Redirect)));
    assert!(stranger.heard.lock().expect("heard")[0].contains("authorization: bearer yoi_canary\r\n"));
    assert!(elsewhere.heard.lock().expect("heard").is_empty());
}

#[tokio::test]
async fn content_with_wrong_digest_is_not_returned() {
    let blob = |body: &'static str| {
        let stranger =
            stranger(move |_, _| (answer("200 OK", "application/octet-stream", "", body), AfterResponse::End));
        Client::new(stranger.options).expect("a client")
    };
    let right = Digest::of(b"right");
    assert_eq!(blob("right").blob(right, 5).await, Ok(Bytes::from_static(b"right")));
    let actual = Digest::of(b"wrong");
    assert_eq!(blob("wrong").blob(right, 5).await, Err(ClientError::DigestMismatch { declared: right, actual }));
    assert_eq!(blob("wrong").manifest(right).await, Err(ClientError::DigestMismatch { declared: right, actual }));
    assert_eq!(blob("right and more").blob(right, 5).await, Err(ClientError::TooLarge { allowed: 5 }));
    let endless = stranger(|_, _| (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), AfterResponse::Repeat(vec![0; 10_000])));
    let endless = Client::new(endless.options).expect("a client");
    assert_eq!(endless.blob(right, 1_000_000).await, Err(ClientError::TooLarge { allowed: 1_000_000 }));
}

#[tokio::test]
async fn uploads_have_a_bounded_number_of_attempts() {
    let contents = Contents::from(bundle(1));
    let (named, _) = contents.bundle().blobs().next().expect("a blob");
    let missing = |digest: Digest| {
        let kept = |digest: &str, bytes: usize| json!({ "digest": digest, "bytes": bytes }).to_string();
        let lacks = json!({ "digest": Digest::of(b""), "missing": [digest] }).to_string();
        let bytes = contents.bundle().blob(named).expect("there").len();
        let blob = named.to_string();
        stranger(move |_, request| match request.starts_with("put /v1/blobs/") {
            true => (answer("201 Created", JSON, "", &kept(&blob, bytes)), AfterResponse::End),
            false => (answer("202 Accepted", JSON, "", &lacks), AfterResponse::End),
        })
    };
    let contradiction = ClientError::Unexpected(UnexpectedResponse::Contradiction);
    for (digest, requests, told) in [
        (*named, 15, ClientError::BlobsVanished { missing: 1, sent: 7 }),
        (Digest::of(b"/etc/passwd"), 1, contradiction.clone()),
        (contents.bundle().digest(), 1, contradiction),
    ] {
        let stranger = missing(digest);
        let client = Client::new(stranger.options).expect("a client");
        assert_eq!(client.put_bundle(&contents).await, Err(told));
        assert_eq!(stranger.heard.lock().expect("heard").len(), requests, "{digest}");
    }
}

#[tokio::test]
async fn slow_responses_time_out() {
    let timed_out = ClientError::TimedOut { within: Duration::from_millis(200) };
    for said in [
        Vec::new(),
        b"HTTP/1.1 200 OK\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{".to_vec(),
        b"HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json\r\nContent-Length: 9\r\n\r\n{".to_vec(),
    ] {
        let slow = stranger(move |_, _| (said.clone(), AfterResponse::Hang));
        assert_eq!(short(slow.options).workers(None, 1).await, Err(timed_out.clone()));
    }
    // A silent stream is requested again, and fails if it stays silent.
    let silent = stranger(|_, _| (STREAM.as_bytes().to_vec(), AfterResponse::Hang));
    let options = ClientOptions { retries: RetryPolicy { max_retries: 1, ..RetryPolicy::default() }, ..silent.options };
    assert_eq!(short(options).events(0).next().await, Err(timed_out));
    assert_eq!(silent.heard.lock().expect("heard").len(), 2);
}

#[tokio::test]
async fn closed_port_is_reported_as_unreachable() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    for host in [address.to_string(), format!("localhost:{}", address.port())] {
        let options = ClientOptions::new(format!("http://{host}"), "yoi_CANARY".to_owned().into());
        let client = Client::new(options).expect("a client");
        assert_eq!(client.live().await, Err(ClientError::Unreachable(ConnectError::Refused)));
        let events = Client::new(ClientOptions {
            retries: RetryPolicy { max_retries: 1, ..RetryPolicy::default() },
            ..ClientOptions::without_token(format!("http://{host}"))
        });
        let error = events.expect("a client").events(0).next().await;
        assert_eq!(error, Err(ClientError::Unreachable(ConnectError::Refused)));
    }
}

#[tokio::test]
async fn busy_service_is_retried_a_bounded_number_of_times() {
    let busy = |after: &str| answer("503 Service Unavailable", PROBLEM, after, &problem(503, "busy"));
    let (now, later, unsaid) = ("Retry-After: 0\r\n", "Retry-After: 6\r\n", "");
    let list = || answer("200 OK", JSON, "", "{\"workers\":[]}");
    for (after, busy_for, requests, is_answered) in
        [(now, 3, 4, true), (now, 9, 4, false), (later, 1, 1, false), (unsaid, 1, 1, false)]
    {
        let stranger =
            stranger(move |number, _| (if number < busy_for { busy(after) } else { list() }, AfterResponse::End));
        let client = Client::new(stranger.options).expect("a client");
        let answered = client.workers(None, 1).await;
        assert_eq!(answered.is_ok(), is_answered, "{after}: {answered:?}");
        assert_eq!(stranger.heard.lock().expect("heard").len(), requests, "{after}");
        if let Err(ClientError::Problem(problem)) = answered {
            assert_eq!((problem.code(), problem.detail()), ("busy", "a\\u{1b}[2J\\nb"));
        }
    }
    // Calls and single-use sources are not retried.
    let stranger = stranger(move |_, _| (busy(now), AfterResponse::End));
    let client = Client::new(stranger.options).expect("a client");
    assert_eq!(code(client.call(&id("w"), &name("echo"), &say("x")).await), "busy");
    let source = blob_store::source_from(Bytes::from_static(b"x"));
    assert_eq!(code(client.put_blob_from(Digest::of(b"x"), source, 1).await), "busy");
    assert_eq!(stranger.heard.lock().expect("heard").len(), 2);
    assert_eq!(code(client.stop_worker(&id("w")).await), "busy");
    assert_eq!(stranger.heard.lock().expect("heard").len(), 6);
}

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

fn frame(number: u64) -> String {
    let data =
        json!({ "number": number, "at": "2026-01-01T00:00:00Z", "event": "bundle_removed", "bundle": Digest::of(b"") });
    format!("id: {number}\nevent: bundle_removed\ndata: {data}\n\n")
}

/// Reads a stream that is split into these parts. Returns the items, and the position that each request sent.
async fn seen(parts: Vec<String>, count: usize) -> (Vec<Result<StreamItem, ClientError>>, Vec<String>) {
    let stranger = stranger(move |number, _| match parts.get(number) {
        Some(part) => ([STREAM, part].concat().into_bytes(), AfterResponse::End),
        None => (Vec::new(), AfterResponse::End),
    });
    let client = Client::new(stranger.options).expect("a client");
    let seen = client.events(0).into_stream().take(count).collect().await;
    let heard = stranger.heard.lock().expect("heard");
    let last =
        |request: &String| request.lines().find_map(|line| Some(line.strip_prefix("last-event-id: ")?.to_owned()));
    let last = heard.iter().filter_map(last).collect();
    (seen, last)
}

#[tokio::test]
async fn interrupted_stream_resumes_at_its_position() {
    let whole = [frame(1), frame(2)].concat();
    // At every split, no event is lost or repeated.
    for cut in (0..=whole.len()).step_by(17) {
        let first = whole[..cut].to_owned();
        let ended = first.matches("\n\n").count() as u64;
        let rest: String = (ended + 1..=3).map(frame).collect();
        let (seen, last) = seen(vec![first, rest], 3).await;
        let numbers = seen.iter().map(|seen| match seen {
            Ok(StreamItem::Event(event)) => event.number,
            other => panic!("{cut}: {other:?}"),
        });
        assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 3], "{cut}");
        assert_eq!(last, ["0".to_owned(), ended.to_string()], "{cut}");
    }
}

#[tokio::test]
async fn restored_runtime_reports_a_gap_and_restarts_the_stream() {
    let of = |epoch: &str, number: u64| frame(number).replace("id: ", &format!("id: {epoch}-"));
    let (one, two) = ("00000000000000a1", "00000000000000b2");
    let gap = "id: 0\nevent: gap\ndata: {\"after\":3,\"first_kept\":1}\n\n";
    let before: String = (1..=3).map(|number| of(one, number)).collect();
    let after: String = [gap.to_owned(), of(one, 1), of(two, 2)].concat();
    let (all, last) = seen(vec![before.clone(), after, of(two, 3)], 7).await;
    let numbers = all.iter().map(|seen| match seen {
        Ok(StreamItem::Event(event)) => event.number,
        Ok(StreamItem::Gap { after: 3, first_kept: 1 }) => 0,
        other => panic!("{other:?}"),
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 3, 0, 1, 2, 3]);
    assert_eq!(last, ["0".to_owned(), format!("{one}-3"), format!("{two}-2")]);
    // The first frame decides for the whole stream whether its position is known.
    let (all, _) = seen(vec![[before, gap.to_owned()].concat()], 4).await;
    assert_eq!(all[3], Err(ClientError::Unexpected(UnexpectedResponse::Contradiction)));
}

#[tokio::test]
async fn stream_accepts_only_consistent_frames() {
    let gap = |id: u64, after: u64, first_kept: u64| {
        format!("id: {id}\nevent: gap\ndata: {}\n\n", json!({ "after": after, "first_kept": first_kept }))
    };
    let told = |text: String| async move { seen(vec![text], 1).await.0.remove(0) };
    assert_eq!(told(gap(6, 0, 7)).await, Ok(StreamItem::Gap { after: 0, first_kept: 7 }));
    let new = "id: 1\nevent: worker_moved\ndata: {\"number\":1,\"event\":\"worker_moved\"}\n\n";
    assert_eq!(told(new.to_owned()).await, Ok(StreamItem::Other { number: 1, kind: "worker_moved".to_owned() }));
    for bad in [
        frame(0),
        gap(6, 1, 7),
        gap(6, 0, 8),
        gap(0, 0, 1),
        gap(0, 0, 0),
        frame(2).replace("id: 2", "id: 3"),
        frame(2).replace("id: 2", "id: -2"),
        frame(2).replace("id: 2\n", ""),
        new.replace("worker_moved", "Worker\u{1b}[2J"),
        new.replace("{\"number\":1,\"event\":\"worker_moved\"}", "no JSON"),
        format!("data: {}", "x".repeat(100_000)),
    ] {
        let answered = told(bad.clone()).await;
        assert!(matches!(answered, Err(ClientError::Unexpected(_))), "{bad:.80}: {answered:?}");
    }
    let not_a_stream = stranger(|_, _| (answer("200 OK", JSON, "", "{}"), AfterResponse::End));
    let client = Client::new(not_a_stream.options).expect("a client");
    assert_eq!(client.events(0).next().await, Err(ClientError::Unexpected(UnexpectedResponse::Body)));
}
