//! Problems of calls: before the tool, in the tool, and after it.

use std::sync::Arc;

use bundles::Bundle;
use serde_json::{Value, json};
use worker_runtime::RuntimeLimits;
use worker_runtime::secret::SecretDirectory;

use super::{Case, both, http};
use crate::support::api::Answer;
use crate::support::plugin_scene::{self, MANIFEST, Packed};
use crate::support::plugins::Plugin;
use crate::support::provoked::{ErrorReport, provoked};
use crate::support::scene::Scene;
use crate::support::{CONFIG, World, bundle, bundle_of};

/// The same call over REST and through the library.
macro_rules! called {
    ($code:literal, $scene:expr, $tool:literal, $input:tt $(,)?) => {
        both!(
            $code,
            rest: async { $scene.await.post($tool, &json!($input)).await },
            library: async { provoked($scene.await.call($tool, json!($input)).await) },
        )
    };
}

/// A worker with a mount whose folder does not exist.
fn mounted() -> (World, Bundle) {
    let config = CONFIG
        .replace("[workspaces.other]", "mounts.repo = { path = '/nowhere', access = 'read' }\n[workspaces.other]");
    let trusted =
        "extends = [\"plain\"]\ntools_allow = [\"secretive\"]\nrequires = [\"secret:token\", \"mount:repo:read\"]";
    (World { config, ..World::default() }, bundle_of("acme", 1, &[("profiles/trusted.toml", trusted)]))
}

async fn with_mount() -> Scene {
    let (world, bundle) = mounted();
    Scene::with_worker_in(world, &bundle).await
}

/// A worker whose bundle denies its own tool `echo`.
async fn with_denied_tool() -> Scene {
    let bundle = r#"
        schema = "yoi.config-bundle/1"
        revision = 1
        created_at = "2026-06-25T15:49:30Z"
        language = "en"
        workspace.id = "acme"
        tools.echo = { source = "host", effect = "none" }
        tools.secretive = { source = "host", effect = "none" }
        policy.tools.deny = ["echo"]
        "#;
    let files = [("bundle.toml", bundle), ("schemas/echo.input.json", "{}"), ("schemas/echo.output.json", "{}")];
    Scene::with_worker_in(World::default(), &bundle_of("acme", 1, &files)).await
}

/// A worker with a plugin.
async fn with_plugin(plugin: Plugin, manifest: &str) -> Scene {
    let packed = Packed::with_manifest(&plugin.bytes(), manifest);
    let scene = Scene::of(World { config: packed.config(), ..World::default() }).await;
    packed.put_package(&scene.api.runtime).await;
    packed.create(&scene.api.runtime).await;
    scene
}

async fn with_tool(call: &str) -> Scene {
    with_plugin(Plugin::tool().with("call", call), MANIFEST).await
}

/// A worker with a service that does not start.
async fn with_service() -> Scene {
    with_plugin(Plugin::service().with("start", "unreachable"), &plugin_scene::service("")).await
}

/// A worker whose service has the ingress `hook`, with a queue for no event.
async fn with_full_queue() -> Scene {
    let limits = RuntimeLimits { ingress_queue: 0, ..RuntimeLimits::default() };
    let packed = plugin_scene::with_hook(&Plugin::service());
    let scene = Scene::of(World { config: packed.config(), limits, ..World::default() }).await;
    packed.put_package(&scene.api.runtime).await;
    packed.create(&scene.api.runtime).await;
    scene
}

/// A worker with two services that have the ingress `hook`.
async fn with_two_hooks() -> Scene {
    let one = plugin_scene::with_hook(&Plugin::service());
    let manifest = one.manifest.replace("name = \"p\"", "name = \"q\"").replace("p.run", "q.run");
    let other = Packed::with_manifest(&Plugin::service().bytes(), &manifest);
    let grant = format!(
        "[workspaces.acme.plugins.\"{}\"]\nname = \"q\"\nsurfaces = [\"ingress\", \"service\", \"tools\"]\n",
        other.digest()
    );
    let scene = Scene::of(World { config: one.config() + &grant, ..World::default() }).await;
    let descriptor = |packed: &Packed| {
        let package = format!("{{ digest = \"{}\", size = {} }}", packed.digest(), packed.package.len());
        let tool = if packed.manifest.contains("q.run") { "q.run" } else { "p.run" };
        format!(
            "version = \"1.0.0\"\npackage = {package}\nworld = \"yoi:runtime/service@1.0.0\"\n\
             description = \"A plugin of a test.\"\nsurfaces = [\"ingress\", \"service\", \"tools\"]\n\
             ingress = [\"hook\"]\ntools = {{ \"{tool}\" = \"none\" }}\n"
        )
    };
    for packed in [&one, &other] {
        packed.put_package(&scene.api.runtime).await;
    }
    let files = [
        ("plugins/p.toml", &*descriptor(&one)),
        ("plugins/q.toml", &descriptor(&other)),
        ("profiles/main.toml", "plugins = [\"p\", \"q\"]\n"),
    ];
    let bundle = crate::support::put(&scene.content(), &bundle_of("acme", 1, &files)).await;
    let request = worker_runtime::worker::CreateWorkerRequest::of_bundle(crate::support::name("main"), bundle);
    scene.catalogue().create(crate::support::id("w"), request).await.expect("a worker");
    scene
}

/// The same event over REST and through the library.
macro_rules! sent {
    ($code:literal, $scene:expr) => {
        both!(
            $code,
            rest: async {
                let fields = [("idempotency-key", "e")];
                $scene.await.send("POST", "/v1/workers/w/ingress/hook", &fields, "{}".into()).await
            },
            library: async {
                use crate::support::{id, name};
                let event = name("e");
                provoked($scene.await.interaction().accept_event(&id("w"), &name("hook"), &event, b"{}").await)
            },
        )
    };
}

async fn within(limits: RuntimeLimits) -> Scene {
    Scene::with_worker_in(World { limits, ..World::default() }, &bundle(1)).await
}

/// A worker that reads a secret, after `prepare` has changed the file of the secret.
async fn fetching(prepare: fn(&std::path::Path)) -> (tempfile::TempDir, Scene) {
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("secrets");
    let secrets = Arc::new(SecretDirectory::open(&path).expect("a folder of secrets"));
    prepare(&path);
    (place, Scene::with_worker_in(World { secrets, ..World::default() }, &bundle(1)).await)
}

fn write(folder: &std::path::Path, content: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    let file = folder.join("token");
    std::fs::write(&file, content).expect("written");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).expect("set");
}

fn gone(folder: &std::path::Path) {
    std::fs::remove_dir_all(folder).expect("removed");
}

fn secret() -> Value {
    json!({ "secret": "token" })
}

async fn asks(prepare: fn(&std::path::Path)) -> Answer {
    let (_place, scene) = fetching(prepare).await;
    scene.post("secretive", &secret()).await
}

async fn fetches(prepare: fn(&std::path::Path)) -> ErrorReport {
    let (_place, scene) = fetching(prepare).await;
    provoked(scene.call("secretive", secret()).await)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        called!("tool_not_found", Scene::with_worker(), "other", {}),
        called!("invalid_input", Scene::with_worker(), "echo", { "text": 7 }),
        called!("invalid_output", Scene::with_worker(), "echo", { "do": "lie" }),
        called!("tool_panicked", Scene::with_worker(), "echo", { "do": "panic" }),
        called!("not_granted", Scene::with_worker(), "secretive", { "secret": "other" }),
        called!("not_granted", with_denied_tool(), "echo", {}),
        called!("plugin_trapped", with_tool("unreachable"), "p.run", {}),
        called!("plugin_malformed", with_tool("(call $output (i32.const 0) (i32.const 0))"), "p.run", {}),
        called!("service_ended", with_service(), "p.run", {}),
        sent!("ingress_not_found", Scene::with_worker()),
        sent!("ingress_queue_full", with_full_queue()),
        sent!("ingress_ambiguous", with_two_hooks()),
        called!("mount_unavailable", with_mount(), "secretive", { "mount": "repo" }),
        called!("too_large", within(RuntimeLimits { call_bytes: 1, ..RuntimeLimits::default() }), "echo", {},),
        called!("history_full", within(RuntimeLimits { history_entries: 1, ..RuntimeLimits::default() }), "echo", {},),
        both!(
            "confirmation_required",
            rest: async {
                let call = json!({ "input": {} });
                Scene::with_worker().await.json("POST", "/v1/workers/w/tools/secretive", &call).await
            },
            library: async {
                use crate::support::{acme, id, name};
                let interaction = Scene::with_worker().await.api.runtime.interaction(&acme());
                let call = runtime_api::call::ToolCall { input: json!({}), confirmed: false };
                provoked(interaction.call(&id("w"), &name("secretive"), call).await)
            },
        ),
        both!(
            "calls_used_up",
            rest: async {
                let scene = Scene::with_worker().await;
                for _ in 0..2 {
                    assert!(scene.post("secretive", &json!({})).await.status.is_success());
                }
                scene.post("secretive", &json!({})).await
            },
            library: async {
                let scene = Scene::with_worker().await;
                for _ in 0..2 {
                    scene.call("secretive", json!({})).await.expect("an answer");
                }
                provoked(scene.call("secretive", json!({})).await)
            },
        ),
        http!("tool_refused", "the library tells the tool's own word, which is `details.tool_code` here", async {
            let scene = Scene::with_worker().await;
            let answer = scene.post("echo", &json!({ "do": "refuse" })).await;
            let told = scene.call("echo", json!({ "do": "refuse" })).await.expect_err("refused");
            assert_eq!(answer.json()["details"]["tool_code"], told.recorded_code());
            answer
        }),
    ];
    cases.extend(secrets());
    cases
}

fn secrets() -> Vec<Case> {
    vec![
        both!("secret_not_found", rest: asks(|_| ()), library: fetches(|_| ())),
        both!(
            "secret_not_private",
            rest: asks(|folder| write(folder, "value", 0o644)),
            library: fetches(|folder| write(folder, "value", 0o644)),
        ),
        both!(
            "secret_unusable",
            rest: asks(|folder| write(folder, "", 0o600)),
            library: fetches(|folder| write(folder, "", 0o600)),
        ),
        both!("secret_unavailable", rest: asks(gone), library: fetches(gone)),
    ]
}
