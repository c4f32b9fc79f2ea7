//! Placements: the Runtimes on which a profile could run, and what the others lack.

use std::sync::Arc;

use backend_api::audit::Actor;
use backend_api::fleet::{Access, Condition};
use backend_api::placement::Placement;
use backend_client::BackendClient;
use runtime_api::Code;
use runtime_api::worker::CreateWorkerRequest;
use serde_json::json;
use worker_runtime::token::Scope;
use yoi_workspace_server::RuntimeEntry;
use yoi_workspace_server::pull::PulledRuntime;
use yoi_workspace_server::visibility::{Names, Rules, RuntimeRules};

use crate::support::served::{serve_backend, token, tool_bundle, tool_config, tool_runtime};
use crate::support::{World, any, config, desire, name, open_rules, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_names_what_each_runtime_lacks() {
    let full = tool_runtime(tool_config("secrets = [\"token\"]\n")).await;
    let without_secret = tool_runtime(tool_config("")).await;
    let bare = tool_runtime(config(&["acme"])).await;
    let elsewhere = RuntimeRules { rules: Rules { accepted: Names::Only([].into()), ..any() }, ..open_rules() };
    let mut world = World::new(&["acme"]).await.with_embedded("full", &full).with_embedded("bare", &bare);
    world = world.with_embedded("secretless", &without_secret);
    let pulled = |rules| RuntimeEntry { rules, access: Access::Pulled, link: Arc::new(PulledRuntime::default()) };
    world.runtimes.insert(name("silent"), pulled(open_rules()));
    world.runtimes.insert(name("hidden"), pulled(elsewhere));
    let backend = world.open().await;
    let digest = desire(&backend, &tool_bundle(1)).await;
    for runtime in ["full", "bare", "secretless"] {
        until(&backend, runtime, "acme", |condition| *condition == Condition::InSync).await;
    }
    let served = serve_backend(&backend, 0).await;
    let workers = token(backend.catalogue(), &[Scope::Workers], &["acme"]).await;
    let client = BackendClient::new(served.options(workers)).expect("a client");
    let request =
        |profile: &str| CreateWorkerRequest { bundle: None, ..CreateWorkerRequest::of_bundle(name(profile), digest) };

    let table = client.placements(&request("trusted")).await.expect("a table");
    assert_eq!(table.bundle, Some(digest));
    let secret = json!({ "subject": "secret:token", "need": "required", "rule": "secret_not_granted" });
    let tool = json!({ "subject": "tool:echo", "need": "required", "rule": "unsupported_declaration" });
    assert_eq!(
        serde_json::to_value(&table.runtimes).expect("JSON"),
        json!([
            { "runtime": "bare", "can_run": false, "missing": [secret, tool] },
            { "runtime": "full", "can_run": true },
            { "runtime": "secretless", "can_run": false, "missing": [secret] },
            { "runtime": "silent", "can_run": false, "code": "runtime_unreachable" },
        ])
    );
    // The table agrees with the Runtimes.
    for Placement { runtime, can_run, .. } in table.runtimes {
        let (acme, worker) = (name("acme"), name(runtime.as_str()));
        let trusted = request("trusted");
        let created = backend.create_worker(&Actor::Local, &acme, &worker, &trusted, Some(&runtime));
        assert_eq!(created.await.is_ok(), can_run, "{runtime}");
    }
    let codes = async |request: CreateWorkerRequest| {
        let table = client.placements(&request).await.expect("a table");
        table.runtimes.into_iter().map(|placement| placement.code).collect::<Vec<_>>()
    };
    let unknown = Some(Code::UnknownProfile);
    assert_eq!(codes(request("absent")).await, [unknown, unknown, unknown, Some(Code::RuntimeUnreachable)]);
    let required = CreateWorkerRequest { required_capabilities: vec![name("gpu")], ..request("plain") };
    let table = client.placements(&required).await.expect("a table");
    assert_eq!(table.runtimes[1].code, Some(Code::UnmetCapability));
    assert_eq!(table.runtimes[1].missing[0].subject.to_string(), "capability:gpu");
}
