//! Problems of creating workers: contradictory requests, refused profiles, and resolvers that lie, trap, exceed limits
//! or do not understand.

use std::io::Write;
use std::sync::OnceLock;

use bundles::{Bundle, Digest};
use component_host::compile::Compiler;
use component_host::{Sandbox, SandboxConfig};
use host_policy::RuntimeConfig;
use runtime_api::comparison::{ActivateRequest, ComparisonState};
use serde_json::{Value, json};
use worker_runtime::RuntimeLimits;
use worker_runtime::worker::CreateWorkerRequest;

use super::{Case, both};
use crate::support::api::Answer;
use crate::support::faulty::Fault;
use crate::support::hostile::{self, Hostile};
use crate::support::provoked::{ErrorReport, provoked};
use crate::support::scene::Scene;
use crate::support::{CONFIG, World, acme, bundle, bundle_of, compile_cache, id, name, plain, put, trusted, variant};

/// Returns a hostile resolver.
pub(crate) fn resolver(name: &str) -> Vec<u8> {
    static ALL: OnceLock<Vec<Hostile>> = OnceLock::new();
    let all = ALL.get_or_init(hostile::all);
    all.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("no `{name}`")).bytes.clone()
}

/// A Runtime whose config pins the resolver that ships inside.
async fn pinned() -> Scene {
    let shipped = Digest::of(worker_runtime::shipped::RESOLVER);
    let config = CONFIG.replace("[host]", &format!("[host]\nresolver = \"{shipped}\""));
    Scene::of(World { config, ..World::default() }).await
}

/// A Runtime that was opened again after the component of a resolver was lost.
async fn lost() -> (Scene, CreateWorkerRequest) {
    let (digest, component) = variant(1);
    let world = World::default();
    let runtime = world.open().await;
    runtime.management().admit_resolver(digest, component.into()).await.expect("admitted");
    world.blobs.remove(digest).await.expect("removed");
    let scene = Scene::of(world).await;
    let bundle = put(&scene.content(), &bundle(1)).await;
    (scene, CreateWorkerRequest { resolver: Some(digest), ..plain(bundle) })
}

async fn admitted(resolver: &'static str) -> (Scene, CreateWorkerRequest) {
    let (scene, digest) = Scene::with_bundle().await;
    let component = self::resolver(resolver);
    let request = CreateWorkerRequest { resolver: Some(Digest::of(&component)), ..plain(digest) };
    scene.management().admit_resolver(Digest::of(&component), component.into()).await.expect("admitted");
    (scene, request)
}

async fn asks(resolver: &'static str) -> Answer {
    let (scene, request) = admitted(resolver).await;
    let made = scene.json("PUT", "/v1/workers/w", &json!(request)).await;
    let resolved = scene.json("POST", "/v1/resolve", &json!(request)).await;
    assert_eq!(made.code(), resolved.code());
    made
}

async fn creates(resolver: &'static str) -> ErrorReport {
    let (scene, request) = admitted(resolver).await;
    provoked(scene.catalogue().create(id("w"), request).await)
}

/// A host whose compiler is missing. Components in the compile cache still run.
async fn without_compiler() -> Scene {
    World::default().open().await;
    let compiler = Compiler::Child { program: "/nowhere".into(), arguments: Vec::new() };
    let config = SandboxConfig { compiler, cache: Some(compile_cache()), ..SandboxConfig::default() };
    let sandbox = Sandbox::new(config).expect("a sandbox");
    Scene::of(World { sandbox, ..World::default() }).await
}

/// Creates a worker in a process without free address space.
fn with_little_address_space() -> (Answer, ErrorReport) {
    let test = ["--exact", "problems::workers::child_process_with_little_address_space", "--ignored", "--nocapture"];
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -v 3145728 && exec \"$0\" \"$@\""]);
    let output = limited.arg(std::env::current_exe().expect("this binary")).args(test).output().expect("runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    let answer = printed.lines().find_map(|line| line.strip_prefix("answer ")).expect("an answer");
    let (status, problem): (u16, Value) = serde_json::from_str(answer).expect("JSON");
    let mut headers = axum::http::HeaderMap::new();
    headers.insert("content-type", axum::http::HeaderValue::from_static("application/problem+json"));
    let status = axum::http::StatusCode::from_u16(status).expect("a status");
    let answer = Answer { status, headers, body: problem.to_string().into_bytes() };
    (answer, ErrorReport::read(&printed).remove(0))
}

/// Run as a child process by another test: creates the worker.
#[test]
#[ignore = "is run by another test, with little address space"]
fn child_process_with_little_address_space() {
    super::run(Box::pin(async {
        let (scene, digest) = Scene::with_bundle().await;
        let answer = scene.json("PUT", "/v1/workers/w", &json!(plain(digest))).await;
        let line = format!("\nanswer {}\n", json!([answer.status.as_u16(), answer.json()]));
        std::io::stdout().write_all(line.as_bytes()).expect("somebody reads");
        provoked(scene.catalogue().create(id("w"), plain(digest)).await).report();
    }));
}

/// A scene with these bundles, and a request.
async fn refused(config: &str, bundles: &[Bundle], request: &CreateWorkerRequest) -> (Answer, ErrorReport) {
    let scene = Scene::of(World { config: config.to_owned(), ..World::default() }).await;
    for bundle in bundles {
        put(&scene.content(), bundle).await;
    }
    let answer = scene.json("PUT", "/v1/workers/w", &json!(request)).await;
    (answer, provoked(scene.catalogue().create(id("w"), request.clone()).await))
}

/// The same with the built-in resolver and one bundle.
macro_rules! refused {
    ($code:literal, $config:expr, $bundles:expr, $request:expr $(,)?) => {
        both!(
            $code,
            rest: async { refused($config, &$bundles, &$request).await.0 },
            library: async { refused($config, &$bundles, &$request).await.1 },
        )
    };
}

fn without_secrets() -> &'static str {
    static CONFIG_WITHOUT: OnceLock<String> = OnceLock::new();
    CONFIG_WITHOUT.get_or_init(|| CONFIG.replace("secrets = [\"token\"]", ""))
}

fn needing(capabilities: usize) -> CreateWorkerRequest {
    let required_capabilities = (0..capabilities).map(|number| name(&format!("x{number}"))).collect();
    CreateWorkerRequest { required_capabilities, ..plain(bundle(1).digest()) }
}

/// A bundle whose profile `plain` requires a model.
fn modelled() -> Bundle {
    let manifest = "schema = \"yoi.config-bundle/1\"\nrevision = 1\ncreated_at = \"2026-06-25T15:49:30Z\"\n\
        language = \"en\"\n[workspace]\nid = \"acme\"\n\
        [models.large]\nprovider = \"anthropic\"\nmodel = \"m\"\n[tools.echo]\nsource = \"host\"\neffect = \"none\"\n\
        [tools.secretive]\nsource = \"host\"\neffect = \"none\"\n";
    bundle_of("acme", 1, &[("bundle.toml", manifest), ("profiles/plain.toml", "models = [\"large\"]")])
}

fn of(profile: &str, bundle: &Bundle) -> CreateWorkerRequest {
    CreateWorkerRequest::of_bundle(name(profile), bundle.digest())
}

pub(super) fn cases() -> Vec<Case> {
    [workers(), requests(), resolvers()].into_iter().flatten().collect()
}

/// Withdraws a grant that the worker requires.
async fn narrow(scene: &Scene) {
    let narrower = CONFIG.replace("secrets = [\"token\"]", "");
    scene.management().reload(RuntimeConfig::from_toml(&narrower).expect("a config")).await.expect("reloaded");
}

/// A Runtime that was reopened with a bundle whose content is damaged or missing.
async fn opened_again(fault: Option<Fault>) -> (Scene, Digest) {
    let world = World::default();
    let digest = put(&world.open().await.content(&acme()), &bundle(1)).await;
    if fault.is_none() {
        world.blobs.remove(digest).await.expect("removed");
    }
    let scene = Scene::of(world).await;
    scene.blobs.fails(fault);
    (scene, digest)
}

fn workers() -> Vec<Case> {
    vec![
        both!(
            "worker_not_found",
            rest: async { Scene::new().await.ask("GET", "/v1/workers/w").await },
            library: async { provoked(Scene::new().await.catalogue().get(&id("w")).await) },
        ),
        both!(
            "bundle_missing",
            rest: async {
                let (scene, digest) = opened_again(None).await;
                scene.json("PUT", "/v1/workers/w", &json!(plain(digest))).await
            },
            library: async {
                let (scene, digest) = opened_again(None).await;
                provoked(scene.catalogue().create(id("w"), plain(digest)).await)
            },
        ),
        both!(
            "bundle_damaged",
            rest: async {
                let (scene, digest) = opened_again(Some(Fault::Damaged)).await;
                scene.json("PUT", "/v1/workers/w", &json!(plain(digest))).await
            },
            library: async {
                let (scene, digest) = opened_again(Some(Fault::Damaged)).await;
                provoked(scene.catalogue().create(id("w"), plain(digest)).await)
            },
        ),
        both!(
            "worker_exists",
            rest: async {
                let scene = Scene::with_worker().await;
                scene.json("PUT", "/v1/workers/w", &json!(plain(bundle(1).digest()))).await
            },
            library: async {
                let scene = Scene::with_worker().await;
                provoked(scene.catalogue().create(id("w"), plain(bundle(1).digest())).await)
            },
        ),
        both!(
            "worker_stopped",
            rest: async {
                let scene = Scene::with_worker().await;
                assert!(scene.ask("DELETE", "/v1/workers/w").await.status.is_success());
                scene.post("echo", &json!({})).await
            },
            library: async {
                let scene = Scene::with_worker().await;
                scene.catalogue().stop(&id("w")).await.expect("stopped");
                provoked(scene.call("echo", json!({})).await)
            },
        ),
        both!(
            "worker_stopped",
            rest: async {
                let scene = Scene::with_worker().await;
                assert!(scene.ask("DELETE", "/v1/workers/w").await.status.is_success());
                scene.ask("GET", "/v1/workers/w/spec").await
            },
            library: async {
                let scene = Scene::with_worker().await;
                scene.catalogue().stop(&id("w")).await.expect("stopped");
                provoked(scene.catalogue().spec(&id("w")).await)
            },
        ),
        both!(
            "worker_not_stopped",
            rest: async { Scene::with_worker().await.ask("POST", "/v1/workers/w/remove").await },
            library: async { provoked(Scene::with_worker().await.catalogue().remove(&id("w")).await) },
        ),
        both!(
            "worker_suspended",
            rest: async {
                let scene = Scene::with_worker().await;
                narrow(&scene).await;
                scene.post("echo", &json!({})).await
            },
            library: async {
                let scene = Scene::with_worker().await;
                narrow(&scene).await;
                provoked(scene.call("echo", json!({})).await)
            },
        ),
    ]
}

fn requests() -> Vec<Case> {
    vec![
        refused!("bundle_unnamed", CONFIG, [], CreateWorkerRequest { bundle: None, ..plain(bundle(1).digest()) }),
        refused!(
            "bundle_unwanted",
            CONFIG,
            [],
            CreateWorkerRequest { bundle: Some(bundle(1).digest()), ..CreateWorkerRequest::builtin(name("companion")) },
        ),
        refused!("too_many_capabilities", CONFIG, [bundle(1)], needing(257)),
        refused!("unmet_capability", CONFIG, [bundle(1)], needing(256)),
        refused!("revision_older", CONFIG, [bundle(1), bundle(2)], plain(bundle(1).digest())),
        refused!("denied", without_secrets(), [bundle(1)], trusted(bundle(1).digest())),
        refused!("unknown_profile", CONFIG, [bundle(1)], of("nobody", &bundle(1))),
        refused!("no_model", CONFIG, [modelled()], of("plain", &modelled())),
    ]
}

fn shipped_digest() -> Digest {
    Digest::of(worker_runtime::shipped::RESOLVER)
}

fn comparison_path() -> String {
    format!("/v1/resolvers/{}/comparison", shipped_digest())
}

/// A Runtime with a worker and an admitted resolver. Every resolver costs too much.
async fn candidate() -> (Scene, Digest) {
    let limits = RuntimeLimits { comparison_cost_percent: 1, ..RuntimeLimits::default() };
    let scene = Scene::with_worker_in(World { limits, ..World::default() }, &bundle(1)).await;
    let (digest, component) = variant(1);
    scene.management().admit_resolver(digest, component.into()).await.expect("admitted");
    (scene, digest)
}

/// Like [`candidate`], with a comparison that ended.
async fn compared() -> (Scene, Digest) {
    let (scene, digest) = candidate().await;
    let mut status = scene.management().compare_resolver(digest).await.expect("begun");
    while let ComparisonState::Running { .. } = status.state {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        status = scene.management().comparison(digest).await.expect("a comparison");
    }
    (scene, digest)
}

fn resolvers() -> Vec<Case> {
    fn named(digest: Digest) -> Value {
        json!({ "profile": "plain", "bundle": bundle(1).digest(), "resolver": digest })
    }
    vec![
        both!(
            "resolver_not_found",
            rest: async {
                let (scene, _) = Scene::with_bundle().await;
                scene.json("PUT", "/v1/workers/w", &named(Digest::of("x"))).await
            },
            library: async {
                let (scene, digest) = Scene::with_bundle().await;
                let request = CreateWorkerRequest { resolver: Some(Digest::of("x")), ..plain(digest) };
                provoked(scene.catalogue().create(id("w"), request).await)
            },
        ),
        both!(
            "resolver_not_found",
            rest: async {
                Scene::new().await.ask("POST", &format!("/v1/resolvers/{}/revoke", Digest::of("x"))).await
            },
            library: async { provoked(Scene::new().await.management().revoke_resolver(Digest::of("x")).await) },
        ),
        both!(
            "resolver_active",
            rest: async {
                let path = format!("/v1/resolvers/{}/revoke", Digest::of(worker_runtime::shipped::RESOLVER));
                Scene::new().await.ask("POST", &path).await
            },
            library: async {
                let shipped = Digest::of(worker_runtime::shipped::RESOLVER);
                provoked(Scene::new().await.management().revoke_resolver(shipped).await)
            },
        ),
        both!(
            "nothing_to_compare",
            rest: async { Scene::new().await.ask("POST", &comparison_path()).await },
            library: async { provoked(Scene::new().await.management().compare_resolver(shipped_digest()).await) },
        ),
        both!(
            "comparison_not_found",
            rest: async { Scene::new().await.ask("GET", &comparison_path()).await },
            library: async { provoked(Scene::new().await.management().comparison(shipped_digest()).await) },
        ),
        both!(
            "comparison_required",
            rest: async {
                let (scene, digest) = candidate().await;
                scene.json("POST", &format!("/v1/resolvers/{digest}/activate"), &json!({})).await
            },
            library: async {
                let (scene, digest) = candidate().await;
                provoked(scene.management().activate_resolver(digest, ActivateRequest::default()).await)
            },
        ),
        both!(
            "changes_not_accepted",
            rest: async {
                let (scene, digest) = compared().await;
                scene.json("POST", &format!("/v1/resolvers/{digest}/activate"), &json!({})).await
            },
            library: async {
                let (scene, digest) = compared().await;
                provoked(scene.management().activate_resolver(digest, ActivateRequest::default()).await)
            },
        ),
        both!(
            "resolver_pinned",
            rest: async { pinned().await.ask("POST", "/v1/resolvers/rollback").await },
            library: async { provoked(pinned().await.management().rollback_resolver().await) },
        ),
        both!(
            "resolver_unavailable",
            rest: async {
                let (scene, request) = lost().await;
                scene.json("PUT", "/v1/workers/w", &json!(request)).await
            },
            library: async {
                let (scene, request) = lost().await;
                provoked(scene.catalogue().create(id("w"), request).await)
            },
        ),
        both!(
            "resolver_revoked",
            rest: async {
                let (scene, request) = admitted("unreachable").await;
                let path = format!("/v1/resolvers/{}/revoke", request.resolver.expect("named"));
                assert!(scene.ask("POST", &path).await.status.is_success());
                scene.json("PUT", "/v1/workers/w", &json!(request)).await
            },
            library: async {
                let (scene, request) = admitted("unreachable").await;
                scene.management().revoke_resolver(request.resolver.expect("named")).await.expect("revoked");
                provoked(scene.catalogue().create(id("w"), request).await)
            },
        ),
        both!(
            "resolver_revoked",
            rest: async {
                let (scene, request) = admitted("unreachable").await;
                let digest = request.resolver.expect("named");
                scene.management().revoke_resolver(digest).await.expect("revoked");
                let path = format!("/v1/resolvers/{digest}");
                scene.api.ask("PUT", &path, &scene.token, resolver("unreachable"), "application/wasm").await
            },
            library: async {
                let (scene, request) = admitted("unreachable").await;
                let digest = request.resolver.expect("named");
                scene.management().revoke_resolver(digest).await.expect("revoked");
                provoked(scene.management().admit_resolver(digest, resolver("unreachable").into()).await)
            },
        ),
        both!(
            "unsupported_declaration",
            rest: asks("declaration_not_understood"),
            library: creates("declaration_not_understood"),
        ),
        both!("resolver_misbehaved", rest: asks("invented_cycle"), library: creates("invented_cycle")),
        both!("resolver_trapped", rest: asks("unreachable"), library: creates("unreachable")),
        both!(
            "sandbox_unavailable",
            rest: async { with_little_address_space().0 },
            library: async { with_little_address_space().1 },
        ),
        both!("resolver_malformed", rest: asks("text_not_utf8"), library: creates("text_not_utf8")),
        both!(
            "compiler_failed",
            rest: async {
                let component = resolver("text_beyond_memory");
                let path = format!("/v1/resolvers/{}", Digest::of(&component));
                let scene = without_compiler().await;
                scene.api.ask("PUT", &path, &scene.token, component, "application/wasm").await
            },
            library: async {
                let component = resolver("text_beyond_memory");
                let digest = Digest::of(&component);
                provoked(without_compiler().await.management().admit_resolver(digest, component.into()).await)
            },
        ),
        both!("limit_exceeded", rest: asks("grow_memory_at_once"), library: creates("grow_memory_at_once")),
    ]
}
