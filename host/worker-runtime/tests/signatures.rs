//! Signature requirements, checked when a bundle is put and again when a worker is created.

use bundles::signature::{Envelope, SigningKey};
use bundles::{Bundle, Digest};
use host_policy::RuntimeConfig;
use worker_runtime::content::{Content, ContentError, PutBundle};
use worker_runtime::{OpenError, Runtime, SystemClock, blob_store};

use crate::support::{World, acme, bundle, id, plain, put};

pub(crate) fn key(seed: u8) -> SigningKey {
    let fill = |bytes: &mut [u8]| -> Result<(), ()> {
        bytes.fill(seed);
        Ok(())
    };
    SigningKey::generate(fill).expect("a key")
}

pub(crate) fn config(keys: &[&SigningKey]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("\"{}\"", key.public_key())).collect();
    format!(
        "[workspaces.acme]\nsignatures = {{ posture = \"required\", keys = [{}], threshold = 1 }}\n",
        keys.join(", ")
    )
}

fn unsigned() -> String {
    "[workspaces.acme]\nsignatures = { posture = \"none\" }\n".to_owned()
}

async fn blobs(content: &Content, bundle: &Bundle) {
    for (digest, blob) in bundle.blobs() {
        content.put_blob(*digest, blob_store::source_from(blob.to_vec()), None).await.expect("kept");
    }
}

async fn signed(content: &Content, bundle: &Bundle, key: &SigningKey) -> Result<PutBundle, ContentError> {
    let envelope = Envelope::sign(bundle.manifest_bytes().clone(), key).to_json();
    content.put_signed_bundle(bundle.digest(), envelope.into()).await
}

fn code<T: std::fmt::Debug>(result: Result<T, ContentError>) -> &'static str {
    result.expect_err("refused").code().as_str()
}

#[tokio::test]
async fn unsigned_wrongly_signed_and_unknown_key_have_different_errors() {
    let (trusted, stranger) = (key(1), key(2));
    let runtime = World { config: config(&[&trusted]), ..World::default() }.open().await;
    let content = runtime.content(&acme());
    let bundle = bundle(1);
    blobs(&content, &bundle).await;
    let plain = content.put_manifest(bundle.digest(), bundle.manifest_bytes().to_vec().into()).await;
    assert_eq!(code(plain), "bundle_unsigned");
    assert_eq!(code(signed(&content, &bundle, &stranger).await), "signing_key_unknown");
    let envelope =
        String::from_utf8(Envelope::sign(bundle.manifest_bytes().clone(), &stranger).to_json()).expect("text");
    let forged = envelope.replace(&stranger.public_key().id().to_string(), &trusted.public_key().id().to_string());
    assert_eq!(code(content.put_signed_bundle(bundle.digest(), forged.into()).await), "signature_invalid");
    assert_eq!(code(content.put_signed_bundle(bundle.digest(), "{}".into()).await), "invalid_field");
    assert_eq!(code(content.bundle(bundle.digest()).await), "bundle_not_found");
    signed(&content, &bundle, &trusted).await.expect("taken");
    let told = content.bundle(bundle.digest()).await.expect("there");
    assert_eq!(told.signed_by, [trusted.public_key().id().to_string()]);
    assert_eq!(code(content.put_signed_bundle(Digest::of("x"), envelope.into()).await), "digest_mismatch");
}

#[tokio::test]
async fn current_signature_policy_applies_and_signatures_can_be_added_later() {
    let trusted = key(1);
    let world = World { config: unsigned(), ..World::default() };
    let runtime = world.open().await;
    let content = runtime.content(&acme());
    let bundle = bundle(1);
    put(&content, &bundle).await;
    let demand = RuntimeConfig::from_toml(&config(&[&trusted])).expect("a config");
    runtime.management().reload(demand).await.expect("reloaded");
    let create = || async { runtime.catalogue(&acme()).create(id("w"), plain(bundle.digest())).await };
    assert_eq!(create().await.expect_err("refused").code(), "bundle_unsigned");
    let put = signed(&content, &bundle, &trusted).await.expect("taken");
    assert_eq!(put, PutBundle::Stored { known: true });
    // The profile selects a tool that this config does not offer, which is the next error.
    assert_eq!(create().await.expect_err("refused").code(), "denied");
    world.clock.advance(std::time::Duration::from_secs(1 << 20));
    content.collect_garbage().await.expect("collected");
    assert_eq!(create().await.expect_err("refused").code(), "denied", "the envelope is used");
}

#[tokio::test]
async fn config_without_signature_posture_is_refused() {
    let silent = RuntimeConfig::from_toml("[workspaces.acme]\n").expect("a config");
    let clock = std::sync::Arc::new(SystemClock);
    let error = Runtime::builder().clock(clock).config(silent.clone()).open().await.expect_err("refused");
    assert!(matches!(&error, OpenError::Config(_)), "{error}");
    assert_eq!(error.code(), "no_signature_posture");
    let runtime = World { config: unsigned(), ..World::default() }.open().await;
    assert_eq!(runtime.management().reload(silent).await.expect_err("refused").code(), "no_signature_posture");
    let bundle = bundle(1);
    put(&runtime.content(&acme()), &bundle).await;
    // A workspace that the config does not name cannot put content.
    let other = crate::support::bundle_of("elsewhere", 1, &[]);
    let content = runtime.content(&crate::support::name("elsewhere"));
    let refused = content.put_manifest(other.digest(), other.manifest_bytes().to_vec().into()).await;
    assert_eq!(code(refused), "no_signature_posture");
}
