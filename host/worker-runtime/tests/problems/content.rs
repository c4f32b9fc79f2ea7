//! Problems of blobs and bundles: refused, not found, in use; and failing stores.

use axum::body::Body;
use bundles::signature::{Envelope, SigningKey};
use bundles::{Bundle, Digest};
use runtime_api::desired::DesiredBundle;
use serde_json::json;
use worker_runtime::RuntimeLimits;
use worker_runtime::blob_store::source_from;
use worker_runtime::token::Scope;

use super::{Case, both};
use crate::signatures::{config, key};
use crate::support::api::{Answer, MANIFEST};
use crate::support::faulty::Fault;
use crate::support::provoked::{ErrorReport, provoked};
use crate::support::scene::{MovedFolder, Scene};
use crate::support::{World, bundle, bundle_of, name, put};

const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

/// A bundle with the revision of another one.
fn rival() -> Bundle {
    bundle_of("acme", 1, &[("prompts/hello.md", "Be unkind.")])
}

fn path(digest: Digest) -> String {
    format!("/v1/config-bundles/{digest}")
}

fn blob(content: &str) -> String {
    format!("/v1/blobs/{}", Digest::of(content))
}

async fn put_blob(scene: &Scene, content: &'static str) -> ErrorReport {
    provoked(scene.content().put_blob(Digest::of(content), source_from(content), None).await)
}

async fn put_manifest(scene: &Scene, bundle: &Bundle) -> ErrorReport {
    provoked(scene.content().put_manifest(bundle.digest(), bundle.manifest_bytes().to_vec().into()).await)
}

/// A config that requires a signature of the first key.
async fn signed() -> (Scene, SigningKey) {
    let trusted = key(1);
    (Scene::of(World { config: config(&[&trusted]), ..World::default() }).await, trusted)
}

/// An envelope that an untrusted key signed, and one that it signed with the id of the trusted key.
fn envelopes(trusted: &SigningKey) -> (Vec<u8>, Vec<u8>) {
    let stranger = key(2);
    let envelope = Envelope::sign(bundle(1).manifest_bytes().clone(), &stranger).to_json();
    let text = String::from_utf8(envelope.clone()).expect("text");
    let (his, theirs) = (stranger.public_key().id().to_string(), trusted.public_key().id().to_string());
    (envelope, text.replace(&his, &theirs).into_bytes())
}

async fn put_envelope(scene: &Scene, envelope: Vec<u8>) -> Answer {
    scene.api.ask("PUT", &path(bundle(1).digest()), &scene.token, envelope, ENVELOPE).await
}

/// A workspace that the config does not name.
async fn unnamed() -> (Scene, Bundle) {
    (Scene::new().await, bundle_of("elsewhere", 1, &[]))
}

/// A bundle, and then one failing store.
async fn with(blobs: Option<Fault>, metadata: Option<Fault>) -> Scene {
    let (scene, _) = Scene::with_bundle().await;
    scene.blobs.fails(blobs);
    scene.metadata.fails(metadata);
    scene
}

pub(super) fn cases() -> Vec<Case> {
    [blobs(), bundles(), signatures(), stores()].into_iter().flatten().collect()
}

fn blobs() -> Vec<Case> {
    vec![
        both!(
            "digest_mismatch",
            rest: async { Scene::new().await.send("PUT", &blob("x"), &[], Body::from("y")).await },
            library: async {
                provoked(Scene::new().await.content().put_blob(Digest::of("x"), source_from("y"), None).await)
            },
        ),
        both!(
            "too_large",
            rest: async {
                let length = [("content-length", "1000000000000")];
                Scene::new().await.send("PUT", &blob("x"), &length, Body::from("x")).await
            },
            library: async {
                provoked(Scene::new().await.content().put_blob(Digest::of("x"), source_from("x"), Some(1 << 40)).await)
            },
        ),
        both!(
            "blob_not_found",
            rest: async { Scene::new().await.ask("GET", &blob("x")).await },
            library: async { provoked(Scene::new().await.content().blob(Digest::of("x")).await) },
        ),
    ]
}

fn bundles() -> Vec<Case> {
    vec![
        both!(
            "bundle_not_found",
            rest: async { Scene::new().await.ask("GET", &path(Digest::of("x"))).await },
            library: async { provoked(Scene::new().await.content().bundle(Digest::of("x")).await) },
        ),
        both!(
            "bundle_revoked",
            rest: async {
                let (scene, digest) = Scene::with_bundle().await;
                assert!(scene.ask("POST", &format!("{}/revoke", path(digest))).await.status.is_success());
                scene.manifest(&bundle(1)).await
            },
            library: async {
                let (scene, digest) = Scene::with_bundle().await;
                scene.catalogue().revoke_bundle(digest).await.expect("revoked");
                put_manifest(&scene, &bundle(1)).await
            },
        ),
        both!(
            "revision_conflict",
            rest: async { Scene::with_bundle().await.0.manifest(&rival()).await },
            library: async { put_manifest(&Scene::with_bundle().await.0, &rival()).await },
        ),
        both!(
            "generation_older",
            rest: async {
                let (scene, digest) = Scene::with_bundle().await;
                let body = json!({ "generation": 2, "bundle": digest });
                assert!(scene.json("PUT", "/v1/desired", &body).await.status.is_success());
                scene.json("PUT", "/v1/desired", &json!({ "generation": 1, "bundle": digest })).await
            },
            library: async {
                let (scene, digest) = Scene::with_bundle().await;
                let desired = |generation: u64| DesiredBundle {
                    generation: generation.try_into().expect("a generation"),
                    bundle: digest,
                    allow_older: false,
                };
                scene.content().set_desired(desired(2)).await.expect("acknowledged");
                provoked(scene.content().set_desired(desired(1)).await)
            },
        ),
        both!(
            "in_use",
            rest: async {
                let (scene, digest) = Scene::with_bundle().await;
                assert!(scene.ask("PUT", &format!("{}/pins/p", path(digest))).await.status.is_success());
                scene.ask("DELETE", &path(digest)).await
            },
            library: async {
                let (scene, digest) = Scene::with_bundle().await;
                scene.content().pin(digest, name("p")).await.expect("pinned");
                provoked(scene.content().remove_bundle(digest).await)
            },
        ),
    ]
}

fn signatures() -> Vec<Case> {
    vec![
        both!(
            "no_signature_posture",
            rest: async {
                let (scene, bundle) = unnamed().await;
                let (_, token) = scene.api.token(&Scope::ALL, &["elsewhere"]).await;
                let manifest = bundle.manifest_bytes().to_vec();
                scene.api.ask("PUT", &path(bundle.digest()), &token, manifest, MANIFEST).await
            },
            library: async {
                let (scene, bundle) = unnamed().await;
                let content = scene.api.runtime.content(&name("elsewhere"));
                provoked(content.put_manifest(bundle.digest(), bundle.manifest_bytes().to_vec().into()).await)
            },
        ),
        both!(
            "bundle_unsigned",
            rest: async { signed().await.0.manifest(&bundle(1)).await },
            library: async { put_manifest(&signed().await.0, &bundle(1)).await },
        ),
        both!(
            "signing_key_unknown",
            rest: async {
                let (scene, trusted) = signed().await;
                put_envelope(&scene, envelopes(&trusted).0).await
            },
            library: async {
                let (scene, trusted) = signed().await;
                let envelope = envelopes(&trusted).0.into();
                provoked(scene.content().put_signed_bundle(bundle(1).digest(), envelope).await)
            },
        ),
        both!(
            "signature_invalid",
            rest: async {
                let (scene, trusted) = signed().await;
                put_envelope(&scene, envelopes(&trusted).1).await
            },
            library: async {
                let (scene, trusted) = signed().await;
                let envelope = envelopes(&trusted).1.into();
                provoked(scene.content().put_signed_bundle(bundle(1).digest(), envelope).await)
            },
        ),
    ]
}

fn stores() -> Vec<Case> {
    vec![
        both!(
            "blob_damaged",
            rest: async {
                let scene = with(Some(Fault::Damaged), None).await;
                scene.ask("GET", &path(bundle(1).digest())).await
            },
            library: async {
                let scene = with(Some(Fault::Damaged), None).await;
                provoked(scene.content().manifest(bundle(1).digest()).await)
            },
        ),
        // The space of the machine, and that of the workspace.
        both!(
            "store_full",
            rest: async {
                let scene = with(Some(Fault::Full), None).await;
                scene.send("PUT", &blob("x"), &[], Body::from("x")).await
            },
            library: async { put_blob(&with(Some(Fault::Full), None).await, "x").await },
        ),
        both!(
            "store_full",
            rest: async {
                let scene = with(None, Some(Fault::Full)).await;
                scene.send("PUT", &blob("x"), &[], Body::from("x")).await
            },
            library: async { put_blob(&with(None, Some(Fault::Full)).await, "x").await },
        ),
        both!(
            "store_full",
            rest: async {
                let limits = RuntimeLimits { stored_bytes: 10, ..RuntimeLimits::default() };
                let scene = Scene::of(World { limits, ..World::default() }).await;
                let (content, length) = ("more than ten", [("content-length", "13")]);
                scene.send("PUT", &blob(content), &length, Body::from(content)).await
            },
            library: async {
                let limits = RuntimeLimits { stored_bytes: 10, ..RuntimeLimits::default() };
                put_blob(&Scene::of(World { limits, ..World::default() }).await, "more than ten").await
            },
        ),
        both!(
            "store_unavailable",
            rest: async {
                let scene = with(Some(Fault::Unavailable), None).await;
                scene.ask("GET", &path(bundle(1).digest())).await
            },
            library: async {
                let scene = with(Some(Fault::Unavailable), None).await;
                provoked(scene.content().manifest(bundle(1).digest()).await)
            },
        ),
        both!(
            "store_unavailable",
            rest: async { with(None, Some(Fault::Unavailable)).await.ask("GET", "/readyz").await },
            library: async {
                let scene = with(None, Some(Fault::Unavailable)).await;
                provoked(scene.management().summary().await)
            },
        ),
        both!(
            "data_folder_moved",
            rest: async {
                let moved = MovedFolder::new().await;
                moved.scene.send("PUT", &blob("x"), &[], Body::from("x")).await
            },
            library: async { put_blob(&MovedFolder::new().await.scene, "x").await },
        ),
        both!(
            "metadata_damaged",
            rest: async { with(None, Some(Fault::Damaged)).await.ask("GET", "/v1/workers").await },
            library: async {
                let scene = with(None, Some(Fault::Damaged)).await;
                provoked(scene.catalogue().list(None, 1).await)
            },
        ),
        both!(
            "contended",
            rest: async {
                let scene = with(None, Some(Fault::Conflict)).await;
                scene.send("PUT", &blob("x"), &[], Body::from("x")).await
            },
            library: async { put_blob(&with(None, Some(Fault::Conflict)).await, "x").await },
        ),
    ]
}

/// Content that no bundle names can be put as well.
#[tokio::test]
async fn service_recovers_when_its_stores_recover() {
    let scene = with(Some(Fault::Full), Some(Fault::Conflict)).await;
    assert_eq!(put_blob(&scene, "x").await.code, "store_full");
    scene.blobs.fails(None);
    assert_eq!(put_blob(&scene, "x").await.code, "contended");
    scene.metadata.fails(None);
    scene.content().put_blob(Digest::of("x"), source_from("x"), None).await.expect("kept");
    put(&scene.content(), &bundle(2)).await;
}
