//! Content of a workspace: atomic, retained while in use, and invisible to other workspaces.

use std::time::Duration;

use bundles::Digest;
use futures_util::{StreamExt, TryStreamExt};
use worker_runtime::blob_store::{self, BlobStore, SourceError};
use worker_runtime::content::{Content, ContentError, PutBundle};
use worker_runtime::metadata::{Batch, Key};
use worker_runtime::{DataFolder, Runtime, RuntimeLimits};

use crate::support::faulty::Fault;
use crate::support::scene::Scene;
use crate::support::{World, acme, bundle, bundle_of, id, name, plain, put};

fn code<T: std::fmt::Debug>(result: Result<T, ContentError>) -> &'static str {
    result.expect_err("refused").code().as_str()
}

async fn put_blob(runtime: &Runtime, text: &str) -> Result<Digest, ContentError> {
    let digest = Digest::of(text);
    runtime.content(&acme()).put_blob(digest, blob_store::source_from(text.to_owned()), None).await.map(|_| digest)
}

#[tokio::test]
async fn bundle_is_stored_only_when_all_blobs_are_stored() {
    let runtime = World::default().open().await;
    let content = runtime.content(&acme());
    let bundle = bundle(1);
    let manifest = bundle.manifest_bytes().to_vec();
    let mut left: Vec<Digest> = bundle.blobs().map(|(digest, _)| *digest).collect();
    while !left.is_empty() {
        let answer = content.put_manifest(bundle.digest(), manifest.clone().into()).await.expect("an answer");
        assert_eq!(answer, PutBundle::Missing(left.clone()));
        assert_eq!(code(content.bundle(bundle.digest()).await), "bundle_not_found");
        assert_eq!(code(content.manifest(bundle.digest()).await), "bundle_not_found");
        let digest = left.remove(0);
        let blob = bundle.blob(&digest).expect("a blob").to_vec();
        content.put_blob(digest, blob_store::source_from(blob), None).await.expect("kept");
    }
    for known in [false, true, true] {
        let answer = content.put_manifest(bundle.digest(), manifest.clone().into()).await.expect("an answer");
        assert_eq!(answer, PutBundle::Stored { known });
    }
    assert_eq!(content.manifest(bundle.digest()).await.expect("there"), manifest);
    assert_eq!(content.bundles(None, 10).await.expect("a list").len(), 1);
    assert_eq!(content.newest_revision().await.expect("known").map(|(revision, _)| revision.get()), Some(1));
}

#[tokio::test]
async fn bundle_is_verified_from_recent_blobs_if_cached() {
    for (recent_blob_bytes, is_read) in [(1 << 20, false), (0, true)] {
        let limits = RuntimeLimits { recent_blob_bytes, ..RuntimeLimits::default() };
        let scene = Scene::of(World { limits, ..World::default() }).await;
        let (content, bundle) = (scene.content(), bundle(1));
        for (digest, blob) in bundle.blobs() {
            let announced = Some(blob.len() as u64);
            content.put_blob(*digest, blob_store::source_from(blob.to_vec()), announced).await.expect("kept");
        }
        // From here on, every read of a blob finds damage.
        scene.blobs.fails(Fault::Damaged);
        let put = content.put_manifest(bundle.digest(), bundle.manifest_bytes().to_vec().into()).await;
        assert_eq!(put.is_err(), is_read, "{put:?}");
    }
}

#[tokio::test]
async fn content_with_wrong_digest_is_refused() {
    let runtime = World::default().open().await;
    let content = runtime.content(&acme());
    let digest = Digest::of("a");
    for announced in [None, Some(1)] {
        assert_eq!(code(content.put_blob(digest, blob_store::source_from("b"), announced).await), "digest_mismatch");
    }
    for announced in [None, Some(1)] {
        let cut = futures_util::stream::iter([Ok("a".into()), Err(SourceError)]).boxed();
        assert_eq!(code(content.put_blob(digest, cut, announced).await), "body_incomplete");
    }
    assert_eq!(code(content.put_blob(digest, blob_store::source_from("aa"), Some(1)).await), "too_large");
    assert_eq!(code(content.put_blob(digest, blob_store::source_from("a"), Some(1 << 40)).await), "too_large");
    assert_eq!(code(content.blob(digest).await), "blob_not_found");
    content.put_blob(digest, blob_store::source_from("a"), Some(1)).await.expect("kept");
    assert_eq!(content.blob(digest).await.expect("there"), "a");
    let manifest = bundle(1).manifest_bytes().to_vec();
    assert_eq!(code(content.put_manifest(digest, manifest.clone().into()).await), "digest_mismatch");
    let damaged = manifest[1..].to_vec();
    assert_eq!(code(content.put_manifest(Digest::of(&damaged), damaged.into()).await), "invalid_json");
}

/// A file whose size differs from the recorded one is damaged, even if it is longer than every limit.
#[tokio::test]
async fn blob_file_of_wrong_size_is_damaged_and_repaired_by_put() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = DataFolder::open(folder.path().join("data")).await.expect("opened");
    let limits = RuntimeLimits { recent_blob_bytes: 0, open_bundles: 0, ..RuntimeLimits::default() };
    let world = World { blobs: std::sync::Arc::new(data.blobs()), limits, ..World::default() };
    let runtime = world.open().await;
    let content = runtime.content(&acme());
    let bundle = bundle(1);
    put(&content, &bundle).await;
    let blobs = bundle.blobs().map(|(digest, bytes)| (*digest, bytes.len() as u64));
    let all = blobs.chain([(bundle.digest(), bundle.manifest_bytes().len() as u64)]);
    for (digest, recorded) in all {
        for size in [recorded + 1, 20 << 30, recorded - 1] {
            let hex = digest.hex();
            let file = folder.path().join("data/blobs/sha256").join(&hex[..2]).join(&hex);
            let file = std::fs::OpenOptions::new().write(true).open(file).expect("a file");
            file.set_len(size).expect("resized");
            assert_eq!(code(content.blob(digest).await), "blob_damaged", "{size} bytes");
            put(&content, &bundle).await;
            assert_eq!(content.blob(digest).await.expect("healed").len() as u64, recorded);
        }
    }
    let set_aside: Vec<Digest> = data.blobs().quarantined().try_collect().await.expect("listed");
    assert_eq!(set_aside.len(), 3 * (bundle.blobs().count() + 1));
}

#[tokio::test]
async fn revision_belongs_to_one_bundle_permanently() {
    let world = World::default();
    let runtime = world.open().await;
    let content = runtime.content(&acme());
    let (one, other) = (bundle(3), bundle_of("acme", 3, &[("prompts/hello.md", "Be brief.")]));
    put(&content, &one).await;
    for (digest, blob) in other.blobs() {
        content.put_blob(*digest, blob_store::source_from(blob.to_vec()), None).await.expect("kept");
    }
    let again = || content.put_manifest(other.digest(), other.manifest_bytes().to_vec().into());
    assert_eq!(code(again().await), "revision_conflict");
    content.remove_bundle(one.digest()).await.expect("nothing uses it");
    assert_eq!(code(again().await), "revision_conflict");
    put(&content, &one).await;
    // Every other revision is accepted, including an older one.
    put(&content, &bundle(2)).await;
    put(&content, &bundle(4)).await;
    assert_eq!(content.newest_revision().await.expect("known").map(|(revision, _)| revision.get()), Some(4));
}

#[tokio::test]
async fn content_of_another_workspace_is_not_found() {
    let runtime = World::default().open().await;
    let (acme, other) = (runtime.content(&acme()), runtime.content(&name("other")));
    let bundle = bundle(1);
    put(&acme, &bundle).await;
    let (blob, bytes) = bundle.blobs().next().expect("a blob");
    assert_eq!(code(other.blob(*blob).await), "blob_not_found");
    assert_eq!(code(other.blob_size(*blob).await), "blob_not_found");
    assert_eq!(code(other.bundle(bundle.digest()).await), "bundle_not_found");
    assert_eq!(code(other.manifest(bundle.digest()).await), "bundle_not_found");
    assert_eq!(code(other.remove_bundle(bundle.digest()).await), "bundle_not_found");
    assert!(other.bundles(None, 10).await.expect("a list").is_empty());
    assert_eq!(code(other.referrers(*blob).await), "bundle_not_found");
    assert_eq!(code(other.referrers(bundle.digest()).await), "bundle_not_found");
    assert_eq!(acme.referrers(bundle.digest()).await.expect("a list"), []);
    // A manifest that names stored digests gives no access: the other workspace still has to put the same prompts.
    let same = bundle_of("other", 1, &[]);
    let answer = other.put_manifest(same.digest(), same.manifest_bytes().to_vec().into()).await.expect("an answer");
    assert!(matches!(answer, PutBundle::Missing(missing) if missing.contains(blob)));
    let manifest = bundle.manifest_bytes().to_vec();
    assert_eq!(code(other.put_manifest(bundle.digest(), manifest.into()).await), "workspace_denied");
    // Putting the blobs gives access.
    other.put_blob(*blob, blob_store::source_from(bytes.to_vec()), None).await.expect("stored");
    assert_eq!(other.blob(*blob).await.expect("there"), bytes.to_vec());
}

#[tokio::test]
async fn content_in_use_is_not_removed() {
    let world = World::default();
    let runtime = world.open().await;
    let content = runtime.content(&acme());
    let bundle = put(&content, &bundle(1)).await;
    let worker = id("w");
    runtime.catalogue(&acme()).create(worker.clone(), plain(bundle)).await.expect("a worker");
    content.pin(bundle, id("release")).await.expect("pinned");
    let told = |users: Vec<runtime_api::referrer::Referrer>| users.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(told(content.referrers(bundle).await.expect("a list")), ["pin:release", "worker:w"]);
    assert_eq!(code(content.remove_bundle(bundle).await), "in_use");
    content.unpin(bundle, id("release")).await.expect("unpinned");
    assert_eq!(code(content.remove_bundle(bundle).await), "in_use");
    world.clock.advance(Duration::from_secs(1 << 20));
    assert_eq!(content.collect_garbage().await.expect("collected").blobs, 0);
    runtime.catalogue(&acme()).stop(&worker).await.expect("stopped");
    content.remove_bundle(bundle).await.expect("nothing uses it");
    assert!(content.collect_garbage().await.expect("collected").blobs > 0);
}

#[tokio::test]
async fn unused_blobs_are_collected_after_their_retention_time() {
    let world = World::default();
    let runtime = world.open().await;
    let (content, other) = (runtime.content(&acme()), runtime.content(&name("other")));
    let digest = put_blob(&runtime, "unused").await.expect("kept");
    other.put_blob(digest, blob_store::source_from("unused"), None).await.expect("kept");
    assert_eq!(content.collect_garbage().await.expect("collected").young, 1);
    world.clock.advance(Duration::from_secs(world.limits.unused_blob_seconds));
    let collected = content.collect_garbage().await.expect("collected");
    assert_eq!((collected.blobs, collected.bytes), (1, 6));
    assert_eq!(code(content.blob(digest).await), "blob_not_found");
    assert_eq!(other.blob(digest).await.expect("the other one's"), "unused");
    assert_eq!(runtime.management().usage(&acme()).await.expect("known").bytes, 0);
    other.collect_garbage().await.expect("collected");
    assert_eq!(world.blobs.size(digest).await.expect("an answer"), None);
}

/// A process that ends between writing a blob and its rows leaves a blob without owner.
#[tokio::test]
async fn only_blobs_without_workspace_are_collected_as_strays() {
    let world = World::default();
    let runtime = world.open().await;
    let content = runtime.content(&acme());
    let bundle = put(&content, &bundle(1)).await;
    runtime.catalogue(&acme()).create(id("w"), plain(bundle)).await.expect("a worker");
    put_blob(&runtime, "young, and not used yet").await.expect("kept");
    let resolver = worker_runtime::shipped::RESOLVER;
    runtime.management().admit_resolver(Digest::of(resolver), resolver.into()).await.expect("admitted");
    let held: Vec<_> = runtime.management().check().await.expect("checked");
    let left = Digest::of("left behind");
    world.blobs.put(left, blob_store::source_from("left behind"), 100).await.expect("put");
    assert_eq!(runtime.management().collect_strays().await.expect("collected"), 1);
    assert_eq!(runtime.management().check().await.expect("checked"), held);
    assert_eq!(runtime.management().collect_strays().await.expect("collected"), 0);
}

#[tokio::test]
async fn full_workspace_refuses_puts_and_still_reads() {
    let limits = RuntimeLimits { stored_bytes: 20, ..RuntimeLimits::default() };
    let runtime = World { limits, ..World::default() }.open().await;
    let content = runtime.content(&acme());
    let text = "0123456789";
    let put = |text: String| {
        let digest = Digest::of(&text);
        let bytes = text.len() as u64;
        content.put_blob(digest, blob_store::source_from(text), Some(bytes))
    };
    for digit in 0..2 {
        put(format!("{digit}{}", &text[1..])).await.expect("kept");
    }
    assert_eq!(code(put(format!("x{text}")).await), "store_full");
    assert_eq!(code(put("x".to_owned()).await), "store_full");
    // Stored blobs can be put again and read.
    put(format!("0{}", &text[1..])).await.expect("kept");
    content.blob(Digest::of(format!("0{}", &text[1..]))).await.expect("there");
}

#[tokio::test]
async fn bundle_with_leak_is_refused_and_acceptance_requires_config() {
    let leak = "\n[[accept]]\nrule = \"host_path.home\"\nfield = \"/prompts/hello/text\"\nreason = \"An example.\"\n";
    let manifest = bundle_files(leak);
    let accepted = bundle_of("acme", 1, &[("bundle.toml", &manifest), ("prompts/hello.md", "See ~/notes.")]);
    let strict = World::default().open().await;
    let content = strict.content(&acme());
    for (digest, blob) in accepted.blobs() {
        content.put_blob(*digest, blob_store::source_from(blob.to_vec()), None).await.expect("kept");
    }
    let refused = content.put_manifest(accepted.digest(), accepted.manifest_bytes().to_vec().into()).await;
    assert_eq!(code(refused), "host_path_in_bundle");
    assert_eq!(code(content.bundle(accepted.digest()).await), "bundle_not_found");
    let lenient = "[workspaces.acme]\nsignatures = { posture = \"none\" }\naccept_leak_findings = true\n".to_owned();
    let lenient = World { config: lenient, ..World::default() }.open().await;
    put(&lenient.content(&acme()), &accepted).await;
}

fn bundle_files(more: &str) -> String {
    format!(
        "schema = \"yoi.config-bundle/1\"\nrevision = 1\ncreated_at = \"2026-06-25T15:49:30Z\"\nlanguage = \"en\"\n[workspace]\nid = \"acme\"\n[tools.echo]\nsource = \"host\"\neffect = \"none\"\n[tools.secretive]\nsource = \"host\"\neffect = \"none\"\n{more}"
    )
}

#[tokio::test]
async fn acknowledged_content_survives_restart() {
    let world = World::default();
    let bundle = put(&world.open().await.content(&acme()), &bundle(1)).await;
    let runtime = world.open().await;
    assert_eq!(runtime.content(&acme()).bundle(bundle).await.expect("there").revision.get(), 1);
    runtime.catalogue(&acme()).create(id("w"), plain(bundle)).await.expect("a worker");
}

/// Generates a bundle that names plugin packages by digest and declared size.
fn with_packages(packages: &[(Digest, usize)]) -> bundles::Bundle {
    let files: Vec<(String, String)> = packages
        .iter()
        .enumerate()
        .map(|(number, (digest, size))| {
            let package = format!("package = {{ digest = \"{digest}\", size = {size} }}");
            let rest = "world = \"yoi:runtime/tool@1.0.0\"\ndescription = \"Does something.\"\nsurfaces = [\"tools\"]";
            (format!("plugins/plugin-{number}.toml"), format!("version = \"1.0.0\"\n{package}\n{rest}\n"))
        })
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    bundle_of("acme", 1, &files)
}

fn packages(count: usize, bytes: usize) -> Vec<(Digest, Vec<u8>)> {
    let package = |number: usize| format!("package {number} ").into_bytes().into_iter().cycle().take(bytes).collect();
    (0..count).map(package).map(|package: Vec<u8>| (Digest::of(&package), package)).collect()
}

async fn bring(content: &Content, packages: &[(Digest, Vec<u8>)]) {
    for (digest, package) in packages {
        let announced = Some(package.len() as u64);
        content.put_blob(*digest, blob_store::source_from(package.clone()), announced).await.expect("stored");
    }
}

async fn are_here(content: &Content, packages: &[(Digest, Vec<u8>)]) -> bool {
    let mut here = Vec::new();
    for (digest, _) in packages {
        here.push(content.blob_size(*digest).await.is_ok());
    }
    assert!(here.iter().all(|one| *one == here[0]), "{here:?}");
    here[0]
}

#[tokio::test]
async fn package_is_in_use_by_its_bundle_in_either_order() {
    for bundle_is_first in [true, false] {
        let limits = RuntimeLimits { unused_blob_seconds: 0, open_bundles: 0, ..RuntimeLimits::default() };
        let world = World { limits, ..World::default() };
        let runtime = world.open().await;
        let content = runtime.content(&acme());
        // A package without referrer is garbage, and so are these packages until a bundle names them.
        let packages = packages(2, 1000);
        let declared: Vec<_> = packages.iter().map(|(digest, package)| (*digest, package.len())).collect();
        let bundle = with_packages(&declared);
        if bundle_is_first {
            assert_eq!(content.put_manifest(bundle.digest(), bundle.manifest_bytes().to_vec().into()).await.ok(), {
                let missing: Vec<Digest> = bundle.blobs().map(|(digest, _)| *digest).collect();
                Some(PutBundle::Missing(missing))
            });
            put(&content, &bundle).await;
            bring(&content, &packages).await;
        } else {
            bring(&content, &packages).await;
            put(&content, &bundle).await;
        }
        assert_eq!(content.collect_garbage().await.expect("collected").blobs, 0, "{bundle_is_first}");
        assert!(are_here(&content, &packages).await);
        let told = content.referrers(packages[0].0).await.expect("a list");
        assert_eq!(told, [runtime_api::referrer::Referrer::Bundle(bundle.digest())]);
        // The bundle is opened anew for each use.
        runtime.catalogue(&acme()).create(id("w"), plain(bundle.digest())).await.expect("a worker");
        let runtime = world.open().await;
        runtime.catalogue(&acme()).create(id("v"), plain(bundle.digest())).await.expect("a worker");
        let content = runtime.content(&acme());
        let summary = content.bundle(bundle.digest()).await.expect("there");
        assert_eq!(summary.blobs as usize, bundle.blobs().count(), "the same in both orders");
        for worker in ["w", "v"] {
            runtime.catalogue(&acme()).stop(&id(worker)).await.expect("stopped");
        }
        content.remove_bundle(bundle.digest()).await.expect("nothing uses it");
        assert!(content.collect_garbage().await.expect("collected").blobs >= 2);
        assert!(!are_here(&content, &packages).await);
    }
}

/// Both packages together exceed `bundle_bytes`.
#[tokio::test]
async fn packages_do_not_count_against_the_bytes_of_a_bundle() {
    for bundle_is_first in [true, false] {
        let limits = RuntimeLimits { open_bundles: 0, ..RuntimeLimits::default() };
        let runtime = World { limits, ..World::default() }.open().await;
        let content = runtime.content(&acme());
        let packages = packages(2, 40 << 20);
        let declared: Vec<_> = packages.iter().map(|(digest, package)| (*digest, package.len())).collect();
        let bundle = with_packages(&declared);
        if !bundle_is_first {
            bring(&content, &packages).await;
        }
        put(&content, &bundle).await;
        if bundle_is_first {
            bring(&content, &packages).await;
        }
        runtime.catalogue(&acme()).create(id("w"), plain(bundle.digest())).await.expect("a worker");
    }
}

#[tokio::test]
async fn package_limit_applies_when_bundle_is_put_and_not_later() {
    let runtime = World::default().open().await;
    let content = runtime.content(&acme());
    let declared =
        |count: usize| -> Vec<_> { (0..count).map(|number| (Digest::of(number.to_string()), 40 << 20)).collect() };
    let most = bundles::BundleLimits::default().packages_bytes / (40 << 20);
    put(&content, &with_packages(&declared(most))).await;
    let roomy = bundles::BundleLimits { packages_bytes: usize::MAX, ..bundles::BundleLimits::default() };
    let manifest = {
        let within = with_packages(&declared(most));
        let mut manifest = within.manifest().clone();
        let mut more = manifest.plugins.values().next().expect("one").clone();
        more.package.digest = Digest::of("one more");
        manifest.plugins.insert(name("one-more"), more);
        bundles::canonical::to_canonical(&manifest).expect("canonical")
    };
    let opened = bundles::open_manifest(&manifest, &roomy, bundles::Acceptances::Honour);
    assert!(opened.is_ok(), "{opened:?}");
    let refused = content.put_manifest(Digest::of(&manifest), manifest.into()).await.expect_err("refused");
    assert_eq!(refused.code(), "too_large");
    assert!(refused.to_string().contains("`packages_bytes`"), "{refused}");
}

#[tokio::test]
async fn stored_package_of_undeclared_size_refuses_new_bundle_but_not_stored_one() {
    let limits = RuntimeLimits { open_bundles: 0, ..RuntimeLimits::default() };
    let runtime = World { limits, ..World::default() }.open().await;
    let content = runtime.content(&acme());
    let packages = packages(1, 1000);
    let bundle = with_packages(&[(packages[0].0, 999)]);
    for (digest, blob) in bundle.blobs() {
        content.put_blob(*digest, blob_store::source_from(blob.to_vec()), None).await.expect("stored");
    }
    bring(&content, &packages).await;
    let manifest = || bundle.manifest_bytes().to_vec().into();
    assert_eq!(code(content.put_manifest(bundle.digest(), manifest()).await), "wrong_size");
    let runtime = World { limits: RuntimeLimits { open_bundles: 0, ..RuntimeLimits::default() }, ..World::default() };
    let runtime = runtime.open().await;
    let content = runtime.content(&acme());
    put(&content, &bundle).await;
    bring(&content, &packages).await;
    runtime.catalogue(&acme()).create(id("w"), plain(bundle.digest())).await.expect("a worker");
}

/// Bundles of a release that did not record the use of packages that are put after the bundle.
#[tokio::test]
async fn a_package_of_an_older_data_folder_is_not_collected() {
    let limits = RuntimeLimits { unused_blob_seconds: 0, ..RuntimeLimits::default() };
    let world = World { limits, ..World::default() };
    let runtime = world.open().await;
    let content = runtime.content(&acme());
    let packages = packages(2, 1000);
    let declared: Vec<_> = packages.iter().map(|(digest, package)| (*digest, package.len())).collect();
    let bundle = with_packages(&declared);
    put(&content, &bundle).await;
    bring(&content, &packages).await;
    let mut batch = Batch::default().delete(&Key::new("packages-recorded").part("acme"));
    for (digest, _) in &packages {
        let used = Key::new("use").part("acme").part(digest).part(format_args!("bundle:{}", bundle.digest()));
        assert!(world.metadata.get(&used).await.expect("an answer").is_some());
        batch = batch.delete(&used);
    }
    world.metadata.commit(batch).await.expect("as it was");
    let unused = put_blob(&runtime, "of no bundle").await.expect("stored");
    // The packages of a damaged manifest are unknown, so nothing is collected until the manifest is restored.
    world.blobs.remove(bundle.digest()).await.expect("damaged");
    let runtime = world.open().await;
    let content = runtime.content(&acme());
    assert_eq!(content.collect_garbage().await.expect("collected").blobs, 0);
    content
        .put_blob(bundle.digest(), blob_store::source_from(bundle.manifest_bytes().to_vec()), None)
        .await
        .expect("healed");
    assert_eq!(content.collect_garbage().await.expect("collected").blobs, 1);
    assert_eq!(code(content.blob(unused).await), "blob_not_found");
    assert!(are_here(&content, &packages).await);
    content.remove_bundle(bundle.digest()).await.expect("nothing uses it");
    content.collect_garbage().await.expect("collected");
    assert!(!are_here(&content, &packages).await);
}

#[tokio::test]
async fn blobs_of_pending_put_are_protected_for_one_hour() {
    let limits = RuntimeLimits { unused_blob_seconds: 0, ..RuntimeLimits::default() };
    let world = World { limits, ..World::default() };
    let runtime = world.open().await;
    let content = runtime.content(&acme());
    let bundle = bundle(1);
    let ask = || content.put_manifest(bundle.digest(), bundle.manifest_bytes().to_vec().into());
    let named: Vec<Digest> = bundle.blobs().map(|(digest, _)| *digest).collect();
    let bring = async || {
        for (digest, blob) in bundle.blobs() {
            content.put_blob(*digest, blob_store::source_from(blob.to_vec()), None).await.expect("stored");
            content.collect_garbage().await.expect("collected");
        }
    };
    // No manifest names these blobs.
    bring().await;
    assert_eq!(ask().await.expect("an answer"), PutBundle::Missing(named.clone()));
    bring().await;
    let unrelated = put_blob(&runtime, "of no bundle").await.expect("stored");
    let collected = content.collect_garbage().await.expect("collected");
    assert_eq!((collected.blobs, collected.young), (1, named.len() as u64));
    assert_eq!(code(content.blob(unrelated).await), "blob_not_found");
    // They count as stored bytes.
    let bytes = bundle.blobs().map(|(_, blob)| blob.len() as u64).sum::<u64>();
    assert_eq!(runtime.management().usage(&acme()).await.expect("known").bytes, bytes);
    world.clock.advance(Duration::from_secs(3599));
    assert_eq!(content.collect_garbage().await.expect("collected").blobs, 0);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(content.collect_garbage().await.expect("collected").blobs, named.len() as u64);
    // The next response to the manifest protects them again. Storing the bundle ends the protection.
    assert_eq!(ask().await.expect("an answer"), PutBundle::Missing(named.clone()));
    bring().await;
    assert_eq!(ask().await.expect("an answer"), PutBundle::Stored { known: false });
    assert_eq!(content.collect_garbage().await.expect("collected").young, 0);
    content.remove_bundle(bundle.digest()).await.expect("nothing uses it");
    assert_eq!(content.collect_garbage().await.expect("collected").blobs, named.len() as u64 + 1);
}

#[tokio::test]
async fn confirmed_blob_restarts_its_retention_time() {
    let limits = RuntimeLimits { unused_blob_seconds: 100, ..RuntimeLimits::default() };
    let scene = Scene::of(World { limits, ..World::default() }).await;
    let (content, text) = (scene.content(), "unused");
    let digest = put_blob(&scene.api.runtime, text).await.expect("stored");
    let path = format!("/v1/blobs/{digest}");
    for method in ["HEAD", "PUT"] {
        scene.world.clock.advance(Duration::from_secs(99));
        let body = if method == "PUT" { text } else { "" };
        assert_eq!(scene.api.ask(method, &path, &scene.token, body, "").await.status, 200, "{method}");
        scene.world.clock.advance(Duration::from_secs(99));
        assert_eq!(content.collect_garbage().await.expect("collected").young, 1, "{method}");
    }
    assert_eq!(scene.ask("GET", &path).await.status, 200);
    scene.world.clock.advance(Duration::from_secs(1));
    assert_eq!(content.collect_garbage().await.expect("collected").blobs, 1, "reading it is no promise");
    assert_eq!(scene.ask("HEAD", &path).await.status, 404);
}
