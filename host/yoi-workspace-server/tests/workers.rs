//! Workers through the Backend: embedded and remote Runtimes behave in the same way, and the Backend finds the owner.

use std::sync::Arc;

use backend_api::audit::{Action, Actor};
use backend_api::fleet::Condition;
use bundles::{Digest, RuntimeName, WorkspaceId};
use bytes::Bytes;
use futures_util::StreamExt;
use host_policy::RuntimeConfig;
use runtime_api::Code;
use runtime_api::call::ToolCall;
use runtime_api::event::{Cursor, EventKind, PositionedItem, SubscriptionItem};
use runtime_api::worker::{CreateWorkerRequest, WorkerId, WorkerState};
use runtime_client::{Client, ClientError};
use serde_json::json;
use worker_runtime::Runtime;
use worker_runtime::token::Scope;
use yoi_workspace_server::runtime_link::{EmbeddedRuntime, RuntimeLink};
use yoi_workspace_server::visibility::{Names, Rules, RuntimeRules};
use yoi_workspace_server::{Backend, LinkError};

use crate::support::served::{
    BACKEND_SCOPES, Served, impatient, remote, serve_backend, serve_runtime, token, tool_bundle, tool_config,
    tool_runtime,
};
use crate::support::{World, any, desire, manifest, name, open_rules, until};

pub(crate) fn plain() -> CreateWorkerRequest {
    CreateWorkerRequest { bundle: None, ..CreateWorkerRequest::of_bundle(name("plain"), tool_bundle(1).digest()) }
}

/// Puts the bundle with the tool on a Runtime.
async fn with_bundle(link: &dyn RuntimeLink) {
    let (acme, bundle) = (name("acme"), tool_bundle(1));
    for (digest, blob) in bundle.blobs() {
        link.put_blob(&acme, *digest, Bytes::from(blob.to_vec())).await.expect("stored");
    }
    assert_eq!(link.put_manifest(&acme, &manifest(&bundle)).await, Ok(None));
}

/// Performs operations and returns their results as texts.
pub(crate) async fn outcomes(link: &dyn RuntimeLink) -> Vec<String> {
    let (acme, bundle) = (name("acme"), tool_bundle(1).digest());
    let worker: WorkerId = name("w");
    let of = |profile: &str| CreateWorkerRequest::of_bundle(name(profile), bundle);
    let mut seen = Vec::new();
    macro_rules! see {
        ($what:expr) => {{
            let result = $what.await;
            seen.push(format!("{}: {result:?}", stringify!($what)));
        }};
    }
    let call = |text: &str| Bytes::from(text.to_owned());
    let echo = name("echo");
    see!(link.create_worker(&acme, &worker, &of("plain")));
    with_bundle(link).await;
    see!(link.create_worker(&acme, &worker, &of("plain")));
    see!(link.create_worker(&acme, &worker, &of("plain")));
    see!(link.create_worker(&acme, &worker, &of("trusted")));
    see!(link.create_worker(&acme, &name("v"), &of("trusted")));
    see!(link.create_worker(&acme, &name("v"), &of("absent")));
    see!(link.create_worker(&acme, &name("v"), &plain()));
    see!(link.create_worker(&name("other"), &worker, &CreateWorkerRequest::builtin(name("absent"))));
    see!(link.create_worker(&acme, &name("x"), &of("plain")));
    see!(link.worker(&acme, &worker));
    see!(link.worker(&acme, &name("absent")));
    see!(link.worker_spec(&acme, &worker));
    see!(link.worker_spec(&acme, &name("absent")));
    see!(link.workers(&acme, None, 1));
    see!(link.workers(&acme, Some(&worker), 10));
    for text in [
        r#"{"input":{"text":"hello"}}"#,
        r#"{"input":{"do":"refuse"}}"#,
        r#"{"input":{"do":"lie"}}"#,
        r#"{"input":{"do":"panic"}}"#,
        r#"{"input":{"text":7}}"#,
        r#"{"input":{"text":"a","text":"b"}}"#,
        "not JSON",
    ] {
        see!(link.call_tool(&acme, &worker, &echo, call(text)));
    }
    see!(link.call_tool(&acme, &worker, &echo, call(&format!(r#"{{"input":{{"text":"{}"}}}}"#, "x".repeat(1 << 20)))));
    see!(link.call_tool(&acme, &worker, &echo, call(&format!(r#"{{"input":{{"text":"{}"}}}}"#, "x".repeat(2 << 20)))));
    see!(link.call_tool(&acme, &worker, &name("absent"), call(r#"{"input":{}}"#)));
    see!(link.call_tool(&acme, &name("absent"), &echo, call(r#"{"input":{}}"#)));
    see!(link.history(&acme, &worker, 0, 3));
    see!(link.history(&acme, &worker, 3, 100));
    see!(link.history(&acme, &name("absent"), 0, 3));
    see!(link.worker_services(&acme, &worker));
    see!(async {
        let summary = link.worker(&acme, &worker).await.expect("a worker");
        link.record(&acme, summary.record).await
    });
    see!(link.record(&acme, Digest::of("absent")));
    see!(async {
        let events: Vec<PositionedItem> = link.events(&acme, Cursor::START).await?.take(3).collect().await;
        // The rest of a cursor is the epoch of the Runtime.
        Ok::<_, LinkError>(events.into_iter().map(|item| (item.cursor.number(), item.item)).collect::<Vec<_>>())
    });
    see!(async {
        let mut unknown = link.events(&acme, Cursor::from(1000)).await?;
        Ok::<_, LinkError>(unknown.next().await.map(|item| item.item))
    });
    see!(link.remove_worker(&acme, &worker));
    see!(link.stop_worker(&acme, &worker));
    see!(link.stop_worker(&acme, &worker));
    see!(link.stop_worker(&acme, &name("absent")));
    see!(link.worker_spec(&acme, &worker));
    see!(link.call_tool(&acme, &worker, &echo, call(r#"{"input":{}}"#)));
    see!(link.remove_worker(&acme, &worker));
    see!(link.remove_worker(&acme, &worker));
    see!(link.worker(&acme, &worker));
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_and_remote_runtimes_give_the_same_answers_and_errors() {
    let runtimes = [tool_runtime(tool_config("")).await, tool_runtime(tool_config("")).await];
    let served = serve_runtime(&runtimes[1]).await;
    let embedded = outcomes(&EmbeddedRuntime::from(runtimes[0].clone())).await;
    let remote = outcomes(&remote(&runtimes[1], &served, &BACKEND_SCOPES).await).await;
    for (embedded, remote) in embedded.iter().zip(&remote) {
        // The token serves only `acme`, which an embedded Runtime has no means to limit.
        if !embedded.contains("\"other\"") {
            assert_eq!(embedded, remote);
        }
    }
    let all = embedded.join("\n");
    for code in
        ["WorkerExists", "Denied", "UnknownProfile", "ToolRefused", "InvalidOutput", "ToolPanicked", "WorkerStopped"]
    {
        assert!(all.contains(code), "{code} is not in {all}");
    }
    assert!(all.contains("SecretNotGranted") && all.contains("Word(\"echo_refused\")"), "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_the_connection_have_types() {
    let runtime = tool_runtime(tool_config("")).await;
    let served = serve_runtime(&runtime).await;
    let (acme, worker) = (name("acme"), name("w"));
    let reader = remote(&runtime, &served, &[Scope::Read]).await;
    let refused = reader.stop_worker(&acme, &worker).await;
    assert_eq!(refused, Err(LinkError::Unauthorized(Code::ScopeMissing)));
    let unknown = impatient(served.address);
    assert_eq!(unknown.worker(&acme, &worker).await, Err(LinkError::Unauthorized(Code::Unauthenticated)));

    // The queue of a listener that accepts nothing completes the connection, and no response follows.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    assert_eq!(impatient(address).worker(&acme, &worker).await, Err(LinkError::TimedOut));
    drop(silent);
    assert_eq!(impatient(address).worker(&acme, &worker).await, Err(LinkError::Unreachable));

    // A server that is not a Runtime.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, axum::Router::new()).await });
    assert_eq!(impatient(address).worker(&acme, &worker).await, Err(LinkError::Unsupported));
}

/// A Backend behind a socket with two embedded Runtimes that have the desired bundle, and a client with all scopes.
struct Fleet {
    backend: Backend,
    runtimes: [Runtime; 2],
    client: Client,
    served: Served,
}

pub(crate) async fn all_scopes(backend: &Backend, served: &Served) -> Client {
    let scopes = [Scope::Read, Scope::Bundles, Scope::Workers, Scope::Operator];
    Client::new(served.options(token(backend.catalogue(), &scopes, &["acme"]).await)).expect("a client")
}

impl Fleet {
    async fn new() -> Self {
        let runtimes = [tool_runtime(tool_config("")).await, tool_runtime(tool_config("")).await];
        let world = World::new(&["acme"]).await.with_embedded("one", &runtimes[0]).with_embedded("two", &runtimes[1]);
        let backend = world.open().await;
        desire(&backend, &tool_bundle(1)).await;
        for runtime in ["one", "two"] {
            until(&backend, runtime, "acme", |condition| *condition == Condition::InSync).await;
        }
        let served = serve_backend(&backend, 0).await;
        let client = all_scopes(&backend, &served).await;
        Self { backend, runtimes, client, served }
    }

    async fn owner(&self, id: &str) -> RuntimeName {
        self.backend.worker(&name("acme"), &name(id)).await.expect("a worker").runtime
    }

    async fn audit(&self) -> Vec<(Action, Option<Code>)> {
        let page = self.backend.audit_page(0, 1000).await.expect("the audit log");
        page.items.into_iter().map(|entry| (entry.action, entry.refused)).collect()
    }
}

pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Code {
    let error = result.expect_err("refused");
    let text = format!("{error:?}");
    assert!(!text.contains("CANARY") && !text.contains("127.0.0.1"), "{text}");
    error.known_code().expect("a code")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_of_a_runtime_uses_workers_of_the_fleet() {
    let fleet = Fleet::new().await;
    let client = &fleet.client;
    let created = client.create_worker(&name("a"), &plain()).await.expect("created");
    assert_eq!((created.new, created.worker.request.bundle), (true, Some(tool_bundle(1).digest())));
    client.create_worker(&name("b"), &plain()).await.expect("created");
    client.create_worker(&name("c"), &plain()).await.expect("created");
    // The fewest workers first, then by name.
    for (id, runtime) in [("a", "one"), ("b", "two"), ("c", "one")] {
        assert_eq!(fleet.owner(id).await, name(runtime), "{id}");
    }
    assert!(!client.create_worker(&name("b"), &plain()).await.expect("found").new);
    // A repeated request has the same bundle, even if another one is desired now.
    desire(&fleet.backend, &tool_bundle(2)).await;
    until(&fleet.backend, "one", "acme", |condition| *condition == Condition::InSync).await;
    assert!(!client.create_worker(&name("a"), &plain()).await.expect("found").new);

    let listed = client.workers(None, 100).await.expect("a list");
    assert_eq!(listed.iter().map(|worker| worker.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(client.workers(Some(&name("a")), 1).await.expect("a list")[0].id, name("b"));
    let call = ToolCall { input: json!({ "text": "hello" }), confirmed: false };
    let result = client.call(&name("b"), &name("echo"), &call).await.expect("a result");
    assert_eq!(result.output, json!({ "said": "hello" }));
    let refuse = ToolCall { input: json!({ "do": "refuse" }), confirmed: false };
    let refused = client.call(&name("b"), &name("echo"), &refuse).await;
    let Err(ClientError::Problem(problem)) = &refused else { panic!("{refused:?}") };
    assert_eq!(problem.details(), &json!({ "runtime": "two", "tool_code": "echo_refused" }));
    assert_eq!(code(refused), Code::ToolRefused);
    let history = client.history(&name("b"), 0, 10).await.expect("a history");
    assert_eq!(history.len(), 4);
    assert!(!format!("{history:?}").contains("CANARY"));
    let spec = client.worker_spec(&name("b")).await.expect("a spec");
    assert_eq!(spec["tools"][0]["name"], "echo");
    assert!(client.worker_services(&name("b")).await.expect("services").is_empty());

    assert_eq!(code(client.remove_worker(&name("b")).await), Code::WorkerNotStopped);
    let stopped = client.stop_worker(&name("b")).await.expect("stopped");
    assert!(matches!(stopped.state, WorkerState::Stopped { .. }));
    assert_eq!(code(client.call(&name("b"), &name("echo"), &call).await), Code::WorkerStopped);
    client.remove_worker(&name("b")).await.expect("removed");
    assert_eq!(code(client.worker(&name("b")).await), Code::WorkerNotFound);
    assert_eq!(code(client.stop_worker(&name("b")).await), Code::WorkerNotFound);

    let worker = |action: &Action| {
        Some(match action {
            Action::CreateWorker { worker, runtime, .. } => ("create", worker.to_string(), runtime.clone()),
            Action::StopWorker { worker, runtime, .. } => ("stop", worker.to_string(), runtime.clone()),
            Action::RemoveWorker { worker, runtime, .. } => ("remove", worker.to_string(), runtime.clone()),
            _ => return None,
        })
    };
    let audit: Vec<_> = fleet.audit().await;
    let audit: Vec<_> = audit.iter().filter_map(|(action, refused)| Some((worker(action)?, *refused))).collect();
    let entry = |action, id: &str, runtime: Option<&str>, refused| {
        ((action, id.to_owned(), runtime.map(name::<RuntimeName>)), refused)
    };
    assert_eq!(
        audit,
        [
            entry("create", "a", Some("one"), None),
            entry("create", "b", Some("two"), None),
            entry("create", "c", Some("one"), None),
            entry("create", "b", Some("two"), None),
            entry("create", "a", Some("one"), None),
            entry("remove", "b", Some("two"), Some(Code::WorkerNotStopped)),
            entry("stop", "b", Some("two"), None),
            entry("remove", "b", Some("two"), None),
            entry("stop", "b", None, Some(Code::WorkerNotFound)),
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_creation_frees_the_id_and_is_in_the_audit_log() {
    let fleet = Fleet::new().await;
    let (acme, worker): (WorkspaceId, WorkerId) = (name("acme"), name("w"));
    let trusted = CreateWorkerRequest {
        bundle: None,
        ..CreateWorkerRequest::of_bundle(name("trusted"), tool_bundle(1).digest())
    };
    let create = |request: CreateWorkerRequest, on: Option<RuntimeName>| {
        let (backend, acme, worker) = (fleet.backend.clone(), acme.clone(), name("w"));
        async move { backend.create_worker(&Actor::Local, &acme, &worker, &request, on.as_ref()).await }
    };
    let refused = create(trusted, Some(name("one"))).await.expect_err("denied");
    assert_eq!(refused.code(), Code::Denied);
    assert_eq!(code(fleet.client.worker(&worker).await), Code::WorkerNotFound);
    assert!(matches!(
        fleet.audit().await.last(),
        Some((Action::CreateWorker { runtime: Some(runtime), .. }, Some(Code::Denied))) if *runtime == name("one")
    ));
    // The id is free for another Runtime, and then belongs to it.
    let created = create(plain(), Some(name("two"))).await.expect("created");
    assert_eq!((created.new, created.view.runtime), (true, name("two")));
    let elsewhere = create(plain(), Some(name("one"))).await.expect_err("it is elsewhere");
    assert_eq!(elsewhere.code(), Code::WorkerExists);
    let other = CreateWorkerRequest::builtin(name("absent"));
    assert_eq!(create(other, None).await.expect_err("it exists").code(), Code::WorkerExists);
    assert_eq!(fleet.owner("w").await, name("two"));
    let unknown = create(plain(), Some(name("absent"))).await.expect_err("no such Runtime");
    assert_eq!(unknown.code(), Code::WorkerExists);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policy_is_checked_on_each_operation() {
    let runtime = tool_runtime(tool_config("")).await;
    let link = Arc::new(EmbeddedRuntime::from(runtime.clone()));
    let world = World::new(&["acme"]).await.with("one", open_rules(), link.clone());
    let backend = world.open().await;
    desire(&backend, &tool_bundle(1)).await;
    until(&backend, "one", "acme", |condition| *condition == Condition::InSync).await;
    let acme = name("acme");
    backend.create_worker(&Actor::Local, &acme, &name("w"), &plain(), None).await.expect("created");

    let other =
        RuntimeRules { rules: Rules { accepted: Names::Only([name("other")].into()), ..any() }, ..open_rules() };
    let world = World { runtimes: Default::default(), ..world }.with("one", other, link);
    let backend = world.open().await;
    let served = serve_backend(&backend, 0).await;
    let client = all_scopes(&backend, &served).await;
    let call = ToolCall { input: json!({}), confirmed: false };
    assert_eq!(code(client.worker(&name("w")).await), Code::RuntimeNotAllowed);
    assert_eq!(code(client.worker_spec(&name("w")).await), Code::RuntimeNotAllowed);
    assert_eq!(code(client.call(&name("w"), &name("echo"), &call).await), Code::RuntimeNotAllowed);
    assert_eq!(code(client.history(&name("w"), 0, 10).await), Code::RuntimeNotAllowed);
    assert_eq!(code(client.stop_worker(&name("w")).await), Code::RuntimeNotAllowed);
    assert_eq!(code(client.remove_worker(&name("w")).await), Code::RuntimeNotAllowed);
    assert_eq!(code(client.create_worker(&name("v"), &plain()).await), Code::NoRuntime);
    let page = backend.workers(&acme, None, 10).await.expect("a page");
    assert_eq!((page.workers.len(), page.unavailable[0].code), (0, Code::RuntimeNotAllowed));
    // Nothing reached the Runtime.
    let worker = runtime.catalogue(&acme).get(&name("w")).await.expect("a worker");
    assert_eq!(worker.state, WorkerState::Running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_runtime_keeps_the_id_and_hides_no_workers_of_others() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let runtime = tool_runtime(tool_config("")).await;
    let world = World::new(&["acme"]).await.with_embedded("one", &runtime);
    let world = world.with("silent", open_rules(), Arc::new(impatient(address)));
    let backend = world.open().await;
    desire(&backend, &tool_bundle(1)).await;
    until(&backend, "one", "acme", |condition| *condition == Condition::InSync).await;
    let served = serve_backend(&backend, 0).await;
    let client = all_scopes(&backend, &served).await;
    // Only the Runtime that answers is chosen.
    for id in ["b", "c"] {
        client.create_worker(&name(id), &plain()).await.expect("created");
    }
    let (acme, builtin) = (name("acme"), CreateWorkerRequest::builtin(name("coder")));
    let on = Some(name("silent"));
    let timed_out = backend.create_worker(&Actor::Local, &acme, &name("a"), &builtin, on.as_ref()).await;
    assert_eq!(timed_out.expect_err("no answer").code(), Code::RuntimeTimedOut);
    // The worker may exist there, so the id stays with this Runtime.
    assert_eq!(code(client.create_worker(&name("a"), &builtin).await), Code::RuntimeTimedOut);
    assert_eq!(code(client.worker(&name("a")).await), Code::RuntimeTimedOut);
    let listed = client.workers(None, 1).await.expect("a list");
    assert_eq!(listed.iter().map(|worker| worker.id.as_str()).collect::<Vec<_>>(), ["b"]);
    let page = backend.workers(&acme, None, 10).await.expect("a page");
    assert_eq!(page.workers.len(), 2);
    assert_eq!((&page.unavailable[0].runtime, page.unavailable[0].code), (&name("silent"), Code::RuntimeTimedOut));
    drop(silent);
    assert_eq!(code(client.stop_worker(&name("a")).await), Code::RuntimeUnreachable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusal_after_a_lost_answer_does_not_free_the_id() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let world = World::new(&["acme"]).await.with("silent", open_rules(), Arc::new(impatient(address)));
    let (acme, worker, builtin) = (name("acme"), name("w"), CreateWorkerRequest::builtin(name("coder")));
    let create = async |backend: &Backend, on: Option<RuntimeName>| {
        let created = backend.create_worker(&Actor::Local, &acme, &worker, &builtin, on.as_ref()).await;
        created.map(|created| created.view.runtime).map_err(|error| error.code())
    };
    let on = |runtime: &str| Some(name::<RuntimeName>(runtime));
    assert_eq!(create(&world.open().await, on("silent")).await, Err(Code::RuntimeTimedOut));

    // The worker may exist, so another Runtime must not get the id, although the policy refuses before any request is sent.
    let forbidden =
        RuntimeRules { rules: Rules { accepted: Names::Only([name("other")].into()), ..any() }, ..open_rules() };
    let runtime = tool_runtime(tool_config("")).await;
    let world = World { runtimes: Default::default(), ..world }
        .with("silent", forbidden, Arc::new(impatient(address)))
        .with_embedded("one", &runtime);
    let backend = world.open().await;
    for _ in 0..2 {
        assert_eq!(create(&backend, None).await, Err(Code::RuntimeNotAllowed));
        assert_eq!(create(&backend, on("one")).await, Err(Code::WorkerExists));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_a_runtime_do_not_leave_the_backend() {
    let fleet = Fleet::new().await;
    // A suspended worker, whose Runtime explains the suspension with lines of its config.
    fleet.client.create_worker(&name("w"), &plain()).await.expect("created");
    let without =
        RuntimeConfig::from_toml("[workspaces.other]\nsignatures = { posture = \"none\" }\n").expect("a config");
    for runtime in &fleet.runtimes {
        runtime.management().replace_config(without.clone()).expect("in force");
    }
    let own = fleet.runtimes[0].catalogue(&name("acme")).get(&name("w")).await.expect("a worker");
    let seen = fleet.client.worker(&name("w")).await.expect("a worker");
    let (WorkerState::Suspended(own), WorkerState::Suspended(seen)) = (own.state, seen.state) else {
        panic!("running")
    };
    assert_eq!(own.reason, seen.reason);
    assert!(own.detail != seen.detail && own.remedy != seen.remedy, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_worker_come_from_its_runtime_and_end_with_the_policy() {
    let fleet = Fleet::new().await;
    for id in ["a", "b", "c"] {
        fleet.client.create_worker(&name(id), &plain()).await.expect("created");
    }
    let call = ToolCall { input: json!({ "do": "refuse" }), confirmed: false };
    for id in ["a", "c"] {
        assert_eq!(code(fleet.client.call(&name(id), &name("echo"), &call).await), Code::ToolRefused);
    }
    let read = |after: Cursor| {
        let backend = fleet.backend.clone();
        async move { backend.worker_events(&name("acme"), &name("c"), after).await.expect("events") }
    };
    let kind = |item: &PositionedItem| match &item.item {
        SubscriptionItem::Event(event) => event.kind.clone(),
        gap => panic!("{gap:?}"),
    };
    let seen: Vec<PositionedItem> = read(Cursor::START).await.take(2).collect().await;
    assert!(matches!(kind(&seen[0]), EventKind::WorkerCreated { worker, .. } if worker == name("c")));
    assert!(matches!(kind(&seen[1]), EventKind::CallEnded { outcome, .. } if outcome == "echo_refused"), "{seen:?}");
    // A stream continues after the last event, and receives those to come.
    let mut rest = read(seen[0].cursor).await;
    assert_eq!(rest.next().await.as_ref(), Some(&seen[1]));
    fleet.client.stop_worker(&name("c")).await.expect("stopped");
    let stopped = rest.next().await.expect("an event");
    assert!(matches!(kind(&stopped), EventKind::WorkerStopped { .. }));

    // The same events over HTTP, with the client of a Runtime's events.
    let client = backend_client::BackendClient::from(fleet.client.clone());
    let mut events = client.worker_events(&name("c"), seen[0].cursor);
    for _ in [&seen[1], &stopped] {
        events.next().await.expect("an event");
    }
    assert_eq!(events.cursor(), stopped.cursor);
    assert_eq!(code(client.worker_events(&name("none"), 0).next().await), Code::WorkerNotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scopes_of_the_backend_separate_reading_from_changes() {
    let fleet = Fleet::new().await;
    fleet.client.create_worker(&name("w"), &plain()).await.expect("created");
    let reader = token(fleet.backend.catalogue(), &[Scope::Read], &["acme"]).await;
    let reader = Client::new(fleet.served.options(reader)).expect("a client");
    assert!(reader.worker(&name("w")).await.is_ok() && reader.workers(None, 10).await.is_ok());
    let call = ToolCall { input: json!({}), confirmed: false };
    assert_eq!(code(reader.call(&name("w"), &name("echo"), &call).await), Code::ScopeMissing);
    assert_eq!(code(reader.stop_worker(&name("w")).await), Code::ScopeMissing);
    assert_eq!(code(reader.create_worker(&name("v"), &plain()).await), Code::ScopeMissing);
    let stranger = token(fleet.backend.catalogue(), &[Scope::Read, Scope::Workers], &[]).await;
    let stranger = Client::new(fleet.served.options(stranger)).expect("a client");
    assert_eq!(code(stranger.worker(&name("w")).await), Code::WorkerNotFound);
    assert_eq!(code(stranger.stop_worker(&name("w")).await), Code::WorkspaceDenied);
}
