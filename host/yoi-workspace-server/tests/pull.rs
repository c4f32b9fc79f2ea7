//! Runtimes that poll the Backend, through a real HTTP server.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::http::Method;
use axum::routing::post;
use backend_api::audit::Action;
use backend_api::body::IssuedBackendToken;
use backend_api::fleet::{Access, Condition};
use backend_api::pull::{OperationId, PollRequest, PollResponse, SentAnswer};
use backend_client::BackendClient;
use bundles::{Digest, WorkspaceId};
use bytes::Bytes;
use runtime_api::Code;
use runtime_api::call::ToolCall;
use runtime_api::desired::{DesiredBundle, Generation};
use runtime_api::worker::WorkerState;
use runtime_client::{Client, ClientError, ClientOptions};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use worker_runtime::Runtime;
use worker_runtime::token::Scope;
use yoi_workspace_server::pull::agent::{PullAgent, RetryWaits};
use yoi_workspace_server::pull::{PullLimits, PulledRuntime};
use yoi_workspace_server::runtime_link::{EmbeddedRuntime, RuntimeLink};
use yoi_workspace_server::visibility::Names;
use yoi_workspace_server::{Backend, LinkError, RuntimeEntry};

use crate::support::served::{Served, serve_backend, token, tool_bundle, tool_config, tool_runtime};
use crate::support::{World, config, desire, name, open_rules, runtime, until};
use crate::workers::{all_scopes, code, outcomes, plain};

/// A Backend behind a socket, with the Runtimes `nat` and `other` that poll.
struct Fleet {
    world: World,
    backend: Backend,
    served: Served,
    pulled: PulledRuntime,
}

/// Waits that do not slow tests down.
const WAITS: RetryWaits = RetryWaits { min: Duration::from_millis(5), max: Duration::from_millis(50) };

fn limits() -> PullLimits {
    PullLimits { hold: Duration::from_millis(300), silence: Duration::from_secs(20), ..PullLimits::default() }
}

impl Fleet {
    async fn new() -> Self {
        let mut world = World::new(&["acme"]).await;
        let pulled = PulledRuntime::new(limits());
        for (named, link) in [("nat", pulled.clone()), ("other", PulledRuntime::new(limits()))] {
            let entry = RuntimeEntry { rules: open_rules(), access: Access::Pulled, link: Arc::new(link) };
            world.runtimes.insert(name(named), entry);
        }
        let backend = world.open().await;
        let served = serve_backend(&backend, 0).await;
        Self { world, backend, served, pulled }
    }

    async fn pull_token(&self, runtime: &str) -> SecretString {
        let admin = token(self.backend.catalogue(), &[Scope::Operator], &[]).await;
        let client = BackendClient::new(self.served.options(admin)).expect("a client");
        let IssuedBackendToken { token, .. } = client.issue_pull_token(&name(runtime)).await.expect("a token");
        token.into()
    }

    fn client(&self, token: SecretString) -> Client {
        let options = ClientOptions { workspace: None, ..self.served.options(token) };
        Client::new(options).expect("a client")
    }

    async fn in_sync(&self, named: &str) {
        until(&self.backend, named, "acme", |condition| *condition == Condition::InSync).await;
    }
}

/// An agent that stops when it is dropped.
struct Agent(#[expect(dead_code, reason = "stops the agent when it is dropped")] oneshot::Sender<()>);

fn poll_with(client: Client, runtime: &Runtime, workspaces: Names<WorkspaceId>) -> Agent {
    let agent = PullAgent::new(client, runtime.clone(), workspaces, WAITS);
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(async move { agent.run(async move { drop(stopped.await) }).await });
    Agent(stop)
}

async fn acknowledged(runtime: &Runtime) -> Option<Digest> {
    runtime.content(&name("acme")).desired().await.expect("read").map(|state| state.bundle)
}

/// Sends a poll that does not come from an agent.
async fn poll(client: &Client, request: &PollRequest) -> Result<PollResponse, ClientError> {
    client.request(Method::POST, ["v1", "pull"]).json(request).send_json().await
}

fn waiting(poller: u64) -> PollRequest {
    PollRequest { poller: poller.into(), wait: true, held: BTreeSet::new(), answer: None }
}

async fn blob(client: &Client, operation: OperationId, digest: Digest) -> Result<Bytes, ClientError> {
    client.content(["v1", "pull", "blobs", &operation.to_string()], digest, 1 << 20).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runtime_that_polls_gets_the_desired_bundle_and_runs_workers() {
    let fleet = Fleet::new().await;
    let runtime = tool_runtime(tool_config("")).await;
    let _agent = poll_with(fleet.client(fleet.pull_token("nat").await), &runtime, Names::All);
    let digest = desire(&fleet.backend, &tool_bundle(1)).await;
    fleet.in_sync("nat").await;
    assert_eq!(acknowledged(&runtime).await, Some(digest));
    let view = fleet.backend.runtime(&name("nat"), &[name("acme")].into()).expect("a Runtime");
    assert_eq!((view.access, view.report.expect("a report").id), (Access::Pulled, runtime.management().id().clone()));

    let client = all_scopes(&fleet.backend, &fleet.served).await;
    let created = client.create_worker(&name("w"), &plain()).await.expect("created");
    assert_eq!(created.worker.bundle, digest);
    let call = ToolCall { input: json!({ "text": "hello" }), confirmed: false };
    let result = client.call(&name("w"), &name("echo"), &call).await.expect("a result");
    assert_eq!(result.output, json!({ "said": "hello" }));
    let stopped = client.stop_worker(&name("w")).await.expect("stopped");
    assert!(matches!(stopped.state, WorkerState::Stopped { .. }));
    // The worker is on the Runtime.
    assert_eq!(runtime.catalogue(&name("acme")).get(&name("w")).await.expect("a worker"), stopped);
    // The other Runtime has never polled.
    until(
        &fleet.backend,
        "other",
        "acme",
        |condition| matches!(condition, Condition::Unavailable(failure) if failure.code == Code::Unreachable),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulled_and_embedded_runtimes_give_the_same_answers_and_errors() {
    let fleet = Fleet::new().await;
    let runtimes = [tool_runtime(tool_config("")).await, tool_runtime(tool_config("")).await];
    let client = fleet.client(fleet.pull_token("nat").await);
    let _agent = poll_with(client, &runtimes[0], Names::Only([name("acme")].into()));
    while fleet.pulled.status().await == Err(LinkError::Unreachable) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // The policy of this Backend knows only `acme`.
    let pulled = outcomes(&fleet.pulled).await;
    let embedded = outcomes(&EmbeddedRuntime::from(runtimes[1].clone())).await;
    assert_eq!(pulled.len(), embedded.len());
    for (embedded, pulled) in embedded.iter().zip(&pulled) {
        match embedded.contains("\"other\"") {
            true => assert!(pulled.ends_with("Err(NotAllowed)"), "{pulled}"),
            false => assert_eq!(embedded, pulled),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runtime_refuses_what_its_config_and_its_settings_do_not_name() {
    let fleet = Fleet::new().await;
    let (one, two) = (runtime(config(&["else"])).await, runtime(config(&["acme"])).await);
    let _one = poll_with(fleet.client(fleet.pull_token("nat").await), &one, Names::All);
    let only_else = Names::Only([name("else")].into());
    let _two = poll_with(fleet.client(fleet.pull_token("other").await), &two, only_else);
    desire(&fleet.backend, &tool_bundle(1)).await;
    let refused = |code| move |condition: &Condition| *condition == Condition::Refused { code };
    until(&fleet.backend, "nat", "acme", refused(Code::NoSignaturePosture)).await;
    until(&fleet.backend, "other", "acme", refused(Code::WorkspaceDenied)).await;
    assert_eq!((acknowledged(&one).await, acknowledged(&two).await), (None, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runtime_refuses_an_older_generation() {
    let fleet = Fleet::new().await;
    let runtime = tool_runtime(tool_config("")).await;
    let _agent = poll_with(fleet.client(fleet.pull_token("nat").await), &runtime, Names::All);
    for revision in [1, 2] {
        desire(&fleet.backend, &tool_bundle(revision)).await;
        fleet.in_sync("nat").await;
    }
    let older = DesiredBundle { generation: Generation::FIRST, bundle: tool_bundle(1).digest(), allow_older: true };
    let refused = fleet.pulled.set_desired(&name("acme"), &older).await.expect_err("it is older");
    let LinkError::Refused { code, acknowledged: Some(newest), .. } = refused else { panic!("{refused:?}") };
    assert_eq!((code, newest.get()), (Code::GenerationOlder, 2));
    assert_eq!(acknowledged(&runtime).await, Some(tool_bundle(2).digest()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_of_the_backend_and_of_the_runtime_interrupt_nothing() {
    let mut fleet = Fleet::new().await;
    let runtime = tool_runtime(tool_config("")).await;
    let token = fleet.pull_token("nat").await;
    let agent = poll_with(fleet.client(token.clone()), &runtime, Names::All);
    desire(&fleet.backend, &tool_bundle(1)).await;
    fleet.in_sync("nat").await;

    // The Backend starts again at the same address, with the same records and an empty queue.
    let port = fleet.served.address.port();
    fleet.served.stop().await;
    let link = Arc::new(PulledRuntime::new(limits()));
    fleet.world.runtimes.get_mut("nat").expect("an entry").link = link;
    fleet.backend = fleet.world.open().await;
    fleet.served = serve_backend(&fleet.backend, port).await;
    desire(&fleet.backend, &tool_bundle(2)).await;
    fleet.in_sync("nat").await;
    assert_eq!(acknowledged(&runtime).await, Some(tool_bundle(2).digest()));

    // The Runtime starts again: another process polls with the same token.
    drop(agent);
    let _agent = poll_with(fleet.client(token), &runtime, Names::All);
    desire(&fleet.backend, &tool_bundle(3)).await;
    fleet.in_sync("nat").await;
    assert_eq!(acknowledged(&runtime).await, Some(tool_bundle(3).digest()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_of_a_runtime_polls_for_this_runtime_and_does_nothing_else() {
    let fleet = Fleet::new().await;
    let own = fleet.client(fleet.pull_token("nat").await);
    assert_eq!(poll(&own, &waiting(1)).await, Ok(PollResponse::default()));
    assert_eq!(code(own.in_workspace(name("acme")).worker(&name("w")).await), Code::ScopeMissing);
    assert_eq!(
        code(own.in_workspace(name("acme")).put_blob(Digest::of("x"), Bytes::from_static(b"x")).await),
        Code::ScopeMissing
    );
    let unknown = fleet.client("yoi_token".to_owned().into());
    assert_eq!(code(poll(&unknown, &waiting(1)).await), Code::Unauthenticated);
    // A token of the catalogue without a Runtime.
    for scopes in [&[Scope::Operator][..], &[Scope::Status][..]] {
        let other = fleet.client(token(fleet.backend.catalogue(), scopes, &["acme"]).await);
        assert_eq!(code(poll(&other, &waiting(1)).await), Code::ScopeMissing);
    }
    // Nobody but the operator issues such tokens, and only for Runtimes that poll.
    assert_eq!(
        code(own.request(Method::POST, ["v1", "runtimes", "nat", "token"]).send().await.map(drop)),
        Code::ScopeMissing
    );
    let admin = fleet.client(token(fleet.backend.catalogue(), &[Scope::Operator], &[]).await);
    let issue =
        async |runtime| admin.request(Method::POST, ["v1", "runtimes", runtime, "token"]).send().await.map(drop);
    assert_eq!(code(issue("absent").await), Code::RuntimeNotFound);
    let audit = fleet.backend.audit_page(0, 100).await.expect("the audit log").items;
    let pulls: Vec<_> = audit.iter().filter(|entry| matches!(entry.action, Action::IssuePullToken { .. })).collect();
    assert_eq!(pulls.iter().map(|entry| entry.refused).collect::<Vec<_>>(), [None, Some(Code::RuntimeNotFound)]);
    // The newest of two processes polls.
    let first = waiting(1);
    let (earlier, newer) = tokio::join!(poll(&own, &first), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        poll(&own, &waiting(2)).await
    });
    assert_eq!((code(earlier), newer), (Code::PullSuperseded, Ok(PollResponse::default())));
    assert_eq!(code(poll(&own, &waiting(1)).await), Code::PullSuperseded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_blob_of_an_own_operation_in_progress_can_be_read() {
    let fleet = Fleet::new().await;
    let own = fleet.client(fleet.pull_token("nat").await);
    let other = fleet.client(fleet.pull_token("other").await);
    assert_eq!(poll(&own, &waiting(1)).await, Ok(PollResponse::default()));
    let (content, digest) = (Bytes::from_static(b"content"), Digest::of("content"));
    let put = {
        let (pulled, content) = (fleet.pulled.clone(), content.clone());
        tokio::spawn(async move { pulled.put_blob(&name("acme"), digest, content).await })
    };
    let sent = loop {
        if let Some(sent) = poll(&own, &waiting(1)).await.expect("a response").operations.pop() {
            break sent;
        }
    };
    assert_eq!(sent.operation["digest"], json!(digest));
    assert_eq!(blob(&own, sent.id, digest).await, Ok(content));
    assert_eq!(code(blob(&other, sent.id, digest).await), Code::BlobNotFound);
    assert_eq!(code(blob(&own, OperationId::from(7), digest).await), Code::BlobNotFound);
    let answer = SentAnswer { operation: sent.id, outcome: json!({ "answer": { "answer": "done" } }) };
    let answer = |poller: u64| PollRequest { wait: false, answer: Some(answer.clone()), ..waiting(poller) };
    // An answer in the name of another Runtime has no effect.
    assert_eq!(poll(&other, &answer(9)).await, Ok(PollResponse::default()));
    assert!(!put.is_finished());
    assert_eq!(poll(&own, &answer(1)).await, Ok(PollResponse::default()));
    assert_eq!(put.await.expect("ended"), Ok(()));
    assert_eq!(code(blob(&own, sent.id, digest).await), Code::BlobNotFound);
    // A body that is not a poll is refused, and an invalid answer fails only its operation.
    let bad = own.request(Method::POST, ["v1", "pull"]).json(&json!({ "poller": "x" })).send().await;
    assert_eq!(code(bad.map(drop)), Code::InvalidRequest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runtime_answers_that_it_does_not_know_an_operation_of_a_newer_backend() {
    let runtime = tool_runtime(tool_config("")).await;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<Value>();
    let operations = Arc::new(Mutex::new(vec![json!({
        "operations": [
            { "id": "0000000000000001", "operation": { "operation": "format_disk" } },
            { "id": "0000000000000002", "operation": { "operation": "worker", "workspace": "acme", "worker": "w" } },
        ],
        "more": "a field of a newer version",
    })]));
    let handler = move |Json(request): Json<Value>| {
        let (sender, operations) = (sender.clone(), operations.clone());
        async move {
            sender.send(request.clone()).expect("received");
            let next = if request["wait"] == true { operations.lock().expect("a lock").pop() } else { None };
            Json(next.unwrap_or_else(|| json!({ "operations": [] })))
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/v1/pull", post(handler))).await });
    let options = ClientOptions::new(format!("http://{address}"), "yoi_token".to_owned().into());
    let _agent = poll_with(Client::new(options).expect("a client"), &runtime, Names::All);
    let mut answers = std::collections::BTreeMap::new();
    while answers.len() < 2 {
        let request = receiver.recv().await.expect("a request");
        if let Some(answer) = request.get("answer") {
            answers.insert(answer["operation"].as_str().expect("an id").to_owned(), answer["outcome"].clone());
        }
    }
    assert_eq!(answers["0000000000000001"], json!("unsupported"));
    assert_eq!(answers["0000000000000002"]["refused"]["code"], "worker_not_found");
}
