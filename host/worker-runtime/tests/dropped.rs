//! Abandoned work ends: ten thousand calls and uploads, dropped at random moments through the library and over TCP,
//! leave no thread, task, socket, file, permit or instance behind.

use std::fs;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bundles::{Digest, WorkspaceId};
use bytes::Bytes;
use component_host::{BundleView, Resolver};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use host_policy::Request;
use runtime_api::call::ToolCall;
use runtime_service::{Hosts, ServerLimits, ServiceOptions, router};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::runtime::{Builder, Handle};
use worker_runtime::blob_store::{BlobCondition, SourceError, source_from};
use worker_runtime::metadata::SqliteMetadata;
use worker_runtime::token::{Entropy, Scope, TokenError, TokenGrant};
use worker_runtime::{DataFolder, Runtime, RuntimeLimits};

use crate::support::hostile;
use crate::support::wire::{HOST, Wire, head};
use crate::support::{World, bundle_of, id, name, plain, put, sandbox};

/// Number of dropped requests, and number of those over TCP.
const DROPS: u64 = 10_000;
const OVER_TCP: u64 = 1_000;

/// Number of concurrent workspaces, and clients of each.
const LANES: u64 = 4;
const CLIENTS: u64 = 2;

/// Inflight limit of exactly the largest blob, which can only be received if no reservation is left.
const INFLIGHT: u64 = 40 << 20;

/// Twenty times the 50 ms within which all work should have ended.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

pub(crate) const SEED: &str = "YOI_DROPPED_SEED";

#[test]
fn ten_thousand_dropped_calls_and_uploads_leak_nothing() {
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
    eprintln!("{SEED}={seed}");
    // Runs in a child process, because the counters cover all threads of a process.
    let done = Command::new(std::env::current_exe().expect("the test binary"))
        .args(["--exact", "dropped::child_process_that_drops_calls", "--ignored", "--test-threads=1", "--nocapture"])
        .env(SEED, seed.to_string())
        .output()
        .expect("the test binary runs");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{}{}", said(&done.stdout), said(&done.stderr));
    assert!(said(&done.stdout).contains("1 passed"), "{}", said(&done.stdout));
}

/// Run as a child process by another test.
#[test]
#[ignore = "is started by another test, in a process of its own"]
fn child_process_that_drops_calls() {
    let seed = std::env::var(SEED).expect("a seed").parse().expect("a number");
    let mut threads = Builder::new_multi_thread();
    // Idle blocking threads end soon, so that they can be counted.
    threads.worker_threads(2).thread_keep_alive(Duration::from_millis(1)).enable_all();
    threads.build().expect("threads").block_on(drop_all(seed));
}

/// Deterministic numbers from a seed.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % most
    }

    /// Returns a moment that is usually early and sometimes late.
    pub(crate) fn moment(&mut self) -> Moment {
        let most = 1 << self.below(12);
        let count = 1 + self.below(most);
        if self.below(2) == 0 { Moment::Polls(count) } else { Moment::After(Duration::from_micros(100 * count)) }
    }
}

/// Moment at which a future is dropped.
pub(crate) enum Moment {
    /// After a number of polls.
    Polls(u64),
    /// After a duration.
    After(Duration),
}

/// Polls a future until a moment, and drops it. Returns `true` if the future had ended.
pub(crate) async fn give_up<F: Future>(future: F, moment: Moment) -> bool {
    let mut left = match moment {
        Moment::After(time) => return tokio::time::timeout(time, future).await.is_ok(),
        Moment::Polls(count) => count,
    };
    let mut future = pin!(future);
    poll_fn(move |context| {
        if future.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        left -= 1;
        if left == 0 {
            return Poll::Ready(false);
        }
        // The timer also drops futures that nothing wakes.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// Returns content in chunks, with yields between them.
fn in_pieces(content: Vec<u8>, piece: usize) -> BoxStream<'static, Result<Bytes, SourceError>> {
    let content = Bytes::from(content);
    let pieces = (0..content.len().div_ceil(piece)).map(move |number| {
        let start = number * piece;
        content.slice(start..content.len().min(start + piece))
    });
    stream::iter(pieces)
        .then(|piece| async move {
            tokio::task::yield_now().await;
            Ok(piece)
        })
        .boxed()
}

/// Resources of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ProcessResources {
    threads: usize,
    descriptors: usize,
    tasks: usize,
    unfinished: usize,
}

impl ProcessResources {
    fn now(folder: &Path) -> Self {
        let count = |path: &Path| fs::read_dir(path).expect("a folder").count();
        Self {
            threads: count(Path::new("/proc/self/task")),
            descriptors: count(Path::new("/proc/self/fd")),
            tasks: Handle::current().metrics().num_alive_tasks(),
            unfinished: count(&folder.join("staging")),
        }
    }
}

impl ProcessResources {
    /// `true` if no resource was added. The count before may have included idle threads of a busy machine.
    fn is_no_more_than(&self, before: &Self) -> bool {
        let rest = |has: &Self| (has.descriptors, has.tasks, has.unfinished);
        self.threads <= before.threads && rest(self) == rest(before)
    }
}

#[derive(Debug)]
struct Sevens;

impl Entropy for Sevens {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), TokenError> {
        bytes.fill(7);
        Ok(())
    }
}

/// Requests of one workspace that are dropped, with their inputs.
#[derive(Clone)]
struct Lane {
    runtime: Runtime,
    workspace: WorkspaceId,
    bundle: Digest,
    /// A resolver that never ends.
    endless: Digest,
    address: SocketAddr,
    token: Arc<str>,
}

fn lane_name(number: u64) -> String {
    format!("lane-{number}")
}

fn config() -> String {
    let capabilities: Vec<String> = (0..16).map(|bit| format!("\"cap-{bit}\"")).collect();
    let lane = |number| format!("[workspaces.{}]\nsignatures = {{ posture = \"none\" }}\n", lane_name(number));
    format!(
        "[host]\ncapabilities = [\"tool:echo\", {}]\n{}",
        capabilities.join(", "),
        (0..LANES).map(lane).collect::<String>()
    )
}

/// Returns a request that is unique to the number.
fn asked(bundle: Digest, number: u64) -> worker_runtime::worker::CreateWorkerRequest {
    let mut request = plain(bundle);
    let bits = (0..16).filter(|bit| number >> bit & 1 == 1);
    request.required_capabilities = bits.map(|bit| name(&format!("cap-{bit}"))).collect();
    request
}

impl Lane {
    /// Drops one request. Returns `true` if it had ended before.
    async fn drop_one(&self, dice: &mut Rng, number: u64) -> bool {
        let (content, moment) = (self.runtime.content(&self.workspace), dice.moment());
        match dice.below(8) {
            0..3 => {
                // Every fourth blob is too large for memory.
                let bytes = if dice.below(4) == 0 { 5 << 18 } else { dice.below(100_000) as usize };
                let mut blob = vec![7; bytes];
                blob.extend_from_slice(&number.to_le_bytes());
                let (digest, bytes) = (Digest::of(&blob), blob.len() as u64);
                let piece = 1 + dice.below(200_000) as usize;
                give_up(content.put_blob(digest, in_pieces(blob, piece), Some(bytes)), moment).await
            }
            3 => {
                let bundle = bundle_of(self.workspace.as_str(), 2 + number, &[]);
                let manifest = Bytes::copy_from_slice(bundle.manifest_bytes());
                give_up(content.put_manifest(bundle.digest(), manifest), moment).await
            }
            4..6 => {
                let mut request = asked(self.bundle, number);
                request.allow_older = true;
                if dice.below(4) == 0 {
                    request.resolver = Some(self.endless);
                }
                let catalogue = self.runtime.catalogue(&self.workspace);
                give_up(catalogue.create(id(&format!("w{number}")), request), moment).await
            }
            _ => {
                let input = json!({ "do": if dice.below(2) == 0 { "hang" } else { "answer" } });
                let call = ToolCall { input, confirmed: false };
                let interaction = self.runtime.interaction(&self.workspace);
                give_up(interaction.call(&id("worker"), &name("echo"), call), moment).await
            }
        }
    }

    /// Closes a connection in the middle of a request or before its response.
    async fn close_one(&self, dice: &mut Rng, number: u64) {
        let of = &self.workspace;
        let (method, path, body) = match dice.below(4) {
            0 => {
                let mut blob = vec![9; 5 << 18];
                blob.extend_from_slice(&number.to_le_bytes());
                ("PUT", format!("/v1/blobs/{}?workspace={of}", Digest::of(&blob)), blob)
            }
            1 => {
                let request = asked(self.bundle, number);
                let mut request = serde_json::to_value(request).expect("JSON");
                request["allow_older"] = json!(true);
                request["resolver"] = json!(self.endless);
                ("PUT", format!("/v1/workers/h{number}?workspace={of}"), request.to_string().into_bytes())
            }
            _ => {
                let path = format!("/v1/workers/worker/tools/echo?workspace={of}");
                ("POST", path, br#"{"input":{"do":"hang"}}"#.to_vec())
            }
        };
        let mut request = head(method, &path, &self.token, "application/json", body.len()).into_bytes();
        request.extend_from_slice(&body);
        // Half of the requests are sent completely.
        let sent = if dice.below(2) == 0 { request.len() } else { dice.below(request.len() as u64) as usize };
        let mut wire = Wire::connect(self.address).await.expect("connected");
        give_up(wire.send(&request[..sent]), dice.moment()).await;
        give_up(wire.answer(), dice.moment()).await;
    }
}

async fn drop_all(seed: u64) {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("data");
    let data = DataFolder::open(&folder).await.expect("opened");
    let metadata = SqliteMetadata::open(data.metadata_file()).await.expect("opened");
    let limits = RuntimeLimits { inflight_bytes: INFLIGHT, history_entries: 100_000, ..RuntimeLimits::default() };
    let world = World {
        blobs: Arc::new(data.blobs()),
        metadata: Arc::new(metadata),
        limits,
        config: config(),
        ..World::default()
    };
    let runtime = world.open().await;
    let endless = hostile::all().into_iter().find(|one| one.name == "loop_in_resolve").expect("it is there").bytes;
    let endless_digest = Digest::of(&endless);
    let resolver = sandbox().load(&endless).await.expect("a resolver");
    runtime.management().admit_resolver(endless_digest, endless.into()).await.expect("admitted");
    let hosts = Hosts { hosts: std::iter::once(HOST.to_owned()).collect(), ..Hosts::default() };
    let limits = ServerLimits { requests_per_second: 1_000_000, ..ServerLimits::default() };
    let routes = router(runtime.clone(), ServiceOptions { hosts, limits, ..ServiceOptions::default() });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let grant = TokenGrant {
        name: name("test"),
        scopes: Scope::ALL.into_iter().collect(),
        workspaces: (0..LANES).map(|number| name(&lane_name(number))).collect(),
        expires_at: None,
        connections: None,
        event_streams: None,
    };
    let (_, token) = runtime.management().issue_token(grant, &Sevens).await.expect("a token");
    let mut lanes = Vec::new();
    for number in 0..LANES {
        let workspace: WorkspaceId = name(&lane_name(number));
        let bundle = put(&runtime.content(&workspace), &bundle_of(workspace.as_str(), 1, &[])).await;
        runtime.catalogue(&workspace).create(id("worker"), plain(bundle)).await.expect("a worker");
        let token = token.expose_secret().into();
        lanes.push(Lane { runtime: runtime.clone(), workspace, bundle, endless: endless_digest, address, token });
    }
    let before = settled(&folder, None).await;

    let each = (DROPS - OVER_TCP) / LANES / CLIENTS;
    let over_tcp = OVER_TCP / LANES / CLIENTS;
    let clients: Vec<_> = (0..LANES * CLIENTS)
        .map(|client| {
            let lane = lanes[(client % LANES) as usize].clone();
            let mut dice = Rng(seed ^ client.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            tokio::spawn(async move {
                let mut ended = 0;
                for number in 0..each {
                    ended += u64::from(lane.drop_one(&mut dice, client * 100_000 + number).await);
                }
                for number in each..each + over_tcp {
                    lane.close_one(&mut dice, client * 100_000 + number).await;
                }
                ended
            })
        })
        .collect();
    let mut ended = 0;
    for client in clients {
        ended += client.await.expect("a client");
    }
    // The moments cover all phases: many requests end before they are dropped, and many do not.
    let dropped = DROPS - OVER_TCP;
    assert!((dropped / 50..dropped * 49 / 50).contains(&ended), "{ended} of {dropped} ended");

    let after = settled(&folder, Some(&before)).await;
    assert!(after.is_no_more_than(&before), "{after:?}, and before {before:?}");
    everything_works(&lanes, &resolver).await;
    world.metadata.check().await.expect("whole");
    // Uploads that no manifest names do not remain as files forever, and all other files are unchanged.
    runtime.management().collect_strays().await.expect("collected");
    assert_eq!(runtime.management().collect_strays().await.expect("collected"), 0);
    everything_works(&lanes, &resolver).await;
    let checked = runtime.management().check().await.expect("checked");
    assert!(checked.iter().all(|(_, condition)| matches!(condition, BlobCondition::Sound(_))));
}

/// Waits until the resources equal those before, or a timeout. Without a previous count, waits until they are stable.
async fn settled(folder: &Path, before: Option<&ProcessResources>) -> ProcessResources {
    let began = Instant::now();
    let (mut last, mut since) = (ProcessResources::now(folder), began);
    loop {
        tokio::task::yield_now().await;
        let now = ProcessResources::now(folder);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        let is_settled = match before {
            Some(before) => last.is_no_more_than(before),
            None => since.elapsed() > ENDS_WITHIN / 10,
        };
        if is_settled || began.elapsed() > ENDS_WITHIN {
            return last;
        }
    }
}

/// Checks that nothing is held: the largest blob is received, each workspace has its permits, and every slot of the
/// sandbox is free.
async fn everything_works(lanes: &[Lane], resolver: &Resolver) {
    for lane in lanes {
        let content = lane.runtime.content(&lane.workspace);
        let blob = vec![1; 100_000];
        content.put_blob(Digest::of(&blob), source_from(blob), None).await.expect("room for the largest");
        let bundle = put(&content, &bundle_of(lane.workspace.as_str(), 1_000_000, &[])).await;
        lane.runtime.catalogue(&lane.workspace).create(id("last"), plain(bundle)).await.expect("a turn");
        let call = ToolCall { input: json!({ "text": "hello" }), confirmed: false };
        let interaction = lane.runtime.interaction(&lane.workspace);
        interaction.call(&id("last"), &name("echo"), call).await.expect("an answer");
    }
    let first = &lanes[0];
    let mut wire = Wire::connect(first.address).await.expect("connected");
    let body = r#"{"input":{"text":"again"}}"#;
    let path = format!("/v1/workers/last/tools/echo?workspace={}", first.workspace);
    let answer = wire.ask_json("POST", &path, &first.token, body).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let view = BundleView::new(bundle_of("lane-0", 1, &[]));
    let facts = first.runtime.management().facts(&first.workspace);
    let request = Request::new(name("plain"), []);
    let mut all: Vec<_> = (0..32).map(|_| Box::pin(resolver.resolve(&view, &facts, &request))).collect();
    for one in &mut all {
        let answer = poll_fn(|context| Poll::Ready(one.as_mut().poll(context))).await;
        assert!(answer.is_pending(), "{answer:?}");
    }
}
