//! Changes single bytes on the disk: of a stored bundle, of a record, of the compile cache. Damaged data is never
//! served or run, it is reported, and putting it again repairs it.
//!
//! The compile cache has one large entry. An ordinary run flips a sample of its bytes. This command flips every one:
//!
//! ```text
//! YOI_EVERY_BYTE=1 cargo test -p worker-runtime --test runner byte_of_the_compile_cache
//! ```

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bundles::Digest;
use bytes::Bytes;
use component_host::compile::cache::CompileCache;
use component_host::compile::{CompiledKey, Compiler};
use component_host::{Allocation, Sandbox, SandboxConfig};
use runtime_api::call::ToolCall;
use serde_json::json;
use worker_runtime::CallError;
use worker_runtime::blob_store::{BlobCondition, source_from};
use worker_runtime::content::{Content, PutBundle};
use worker_runtime::shipped::RESOLVER;

use super::recording::Chance;
use super::watched::folder;
use super::workload::{self, OpenRuntime, Step, Writer};
use crate::support::{id, name, plain};

fn flip(file: &Path, index: usize) {
    let mut content = fs::read(file).expect("there");
    content[index] ^= 0x20;
    fs::write(file, content).expect("written");
}

fn place_of(root: &Path, digest: Digest) -> PathBuf {
    let hex = digest.hex();
    root.join("blobs/sha256").join(&hex[..2]).join(hex)
}

/// Checks that reading the blob fails with one of these codes.
async fn is_not_served(content: &Content, digest: Digest, codes: &[&str], context: &str) {
    let served = content.blob(digest).await;
    let code = served.map_or_else(|error| error.code().as_str(), |_| "served");
    assert!(codes.contains(&code), "{context}: {code}");
}

#[tokio::test]
async fn no_flipped_byte_of_a_stored_bundle_is_served_or_run() {
    let place = folder();
    let root = place.path().join("data");
    let writer = Writer::new(0);
    let opened = workload::open(&root, &workload::sandbox(&place.path().join("cache"))).await.expect("opened");
    for step in writer.bundle_alone(1) {
        writer.perform(&opened.runtime, step).await.expect("done");
    }
    let bundle = writer.bundle(1);
    let manifest = (bundle.digest(), Bytes::copy_from_slice(bundle.manifest_bytes()));
    let blobs = bundle.blobs().map(|(digest, blob)| (*digest, Bytes::copy_from_slice(blob)));
    let (content, catalogue) = (opened.runtime.content(&writer.workspace), opened.runtime.catalogue(&writer.workspace));
    let mut flipped = 0;
    for (digest, right) in [manifest].into_iter().chain(blobs) {
        for index in 0..right.len() {
            let context = format!("byte {index} of {digest}");
            flip(&place_of(&root, digest), index);
            let by_check = index % 2 == 0;
            if by_check {
                let checked = opened.runtime.management().check().await.expect("checked");
                let wrong: Vec<_> =
                    checked.into_iter().filter(|(_, found)| !matches!(found, BlobCondition::Sound(_))).collect();
                assert_eq!(wrong, [(digest, BlobCondition::Damaged)], "{context}");
            }
            let run = catalogue.create(id(&format!("w-{flipped}")), plain(bundle.digest())).await;
            let code = run.expect_err(&context).code();
            assert_eq!(code, "bundle_damaged", "{context}");
            is_not_served(&content, digest, &["blob_not_found"], &context).await;
            assert!(opened.quarantined().await.contains(&digest), "{context}: is not named");
            if digest == bundle.digest() {
                let put = content.put_manifest(digest, right.clone()).await.expect(&context);
                assert_eq!(put, PutBundle::Stored { known: true }, "{context}");
            } else {
                let put = content.put_blob(digest, source_from(right.clone()), None).await.expect(&context);
                assert!(put.existed, "{context}");
            }
            assert_eq!(content.blob(digest).await.expect(&context), right, "{context}");
            flipped += 1;
        }
    }
    catalogue.create(id("healed"), plain(bundle.digest())).await.expect("made");
    let checked = opened.runtime.management().check().await.expect("checked");
    assert!(checked.iter().all(|(_, found)| matches!(found, BlobCondition::Sound(_))), "{checked:?}");
    eprintln!("{flipped} bytes were flipped");
}

/// A worker whose record is damaged takes no calls until the record is repaired.
#[tokio::test]
async fn worker_with_a_flipped_byte_in_its_record_accepts_no_calls() {
    let place = folder();
    let root = place.path().join("data");
    let sandbox = workload::sandbox(&place.path().join("cache"));
    let writer = Writer::new(0);
    let open = async || workload::open(&root, &sandbox).await.expect("opened");
    let call = async |opened: &OpenRuntime| {
        let call = ToolCall { input: json!({ "text": "hello" }), confirmed: false };
        opened.runtime.interaction(&writer.workspace).call(&id("w-1"), &name("echo"), call).await
    };
    let opened = open().await;
    for step in writer.bundle_alone(1).chain([Step::Worker(1)]) {
        writer.perform(&opened.runtime, step).await.expect("done");
    }
    let record = opened.runtime.catalogue(&writer.workspace).get(&id("w-1")).await.expect("there").record;
    let right = opened.runtime.content(&writer.workspace).blob(record).await.expect("there");
    drop(opened);
    for index in (0..right.len()).step_by(13).chain([right.len() - 1]) {
        let context = format!("byte {index} of {}", right.len());
        flip(&place_of(&root, record), index);
        // A Runtime that has nothing cached.
        let opened = open().await;
        let refused = call(&opened).await.map_err(|error| error.code().as_str());
        assert_eq!(refused, Err("worker_suspended"), "{context}");
        let content = opened.runtime.content(&writer.workspace);
        is_not_served(&content, record, &["blob_not_found"], &context).await;
        assert!(opened.quarantined().await.contains(&record), "{context}: is not named");
        content.put_blob(record, source_from(right.clone()), None).await.expect(&context);
        call(&opened).await.unwrap_or_else(|error: CallError| panic!("{context}: {error}"));
    }
}

/// A cache of one entry, and the file whose bytes are flipped.
struct CacheFolder {
    cache: CompileCache,
    key: CompiledKey,
    entry: PathBuf,
    beside: PathBuf,
    length: usize,
}

impl CacheFolder {
    fn new(folder: &Path) -> Self {
        let sandbox = workload::sandbox(folder);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("started");
        runtime.block_on(sandbox.load(RESOLVER)).expect("compiled");
        let entries = fs::read_dir(folder).expect("listed").map(|entry| entry.expect("one").path());
        let entry = entries.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "cwasm"));
        let entry = entry.expect("an entry");
        let (component, engine) = entry.file_stem().unwrap().to_str().unwrap().split_once('-').expect("two parts");
        let key = CompiledKey {
            component: format!("sha256:{component}").parse().expect("a digest"),
            engine: u64::from_str_radix(engine, 16).expect("a number"),
        };
        let beside = folder.join("beside");
        fs::copy(&entry, &beside).expect("copied");
        #[allow(clippy::permissions_set_readonly_false, reason = "of a file whose bytes are flipped")]
        {
            let mut permissions = fs::metadata(&beside).expect("there").permissions();
            permissions.set_readonly(false);
            fs::set_permissions(&beside, permissions).expect("set");
        }
        fs::remove_file(&entry).expect("removed");
        let length = fs::metadata(&beside).expect("there").len() as usize;
        let cache = CompileCache::open(folder).expect("a cache");
        Self { cache, key, entry, beside, length }
    }

    /// Runs a function while one byte of the entry is changed.
    fn with(&self, index: usize, work: impl FnOnce()) {
        let file = OpenOptions::new().read(true).write(true).open(&self.beside).expect("opened");
        let mut byte = [0];
        file.read_exact_at(&mut byte, index as u64).expect("read");
        file.write_all_at(&[byte[0] ^ 0x20], index as u64).expect("written");
        fs::hard_link(&self.beside, &self.entry).expect("linked");
        work();
        assert!(!self.entry.exists(), "byte {index}: it is kept");
        file.write_all_at(&byte, index as u64).expect("written");
    }
}

#[test]
fn no_flipped_byte_of_the_compile_cache_is_accepted() {
    let every = std::env::var_os("YOI_EVERY_BYTE").is_some();
    let mut chance = Chance::new("flips in the compile cache");
    let place = folder();
    let folders = [place.path().join("one"), place.path().join("other")];
    let caches = folders.map(|folder| CacheFolder::new(&folder));
    let length = caches[0].length;
    let sampled = (0..2000).chain(length - 2000..length);
    let bytes: Vec<usize> = match every {
        true => (0..length).collect(),
        false => sampled.chain((0..30_000).map(|_| chance.below(length as u64) as usize)).collect(),
    };
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        for (cached, bytes) in caches.iter().zip(bytes.chunks(bytes.len().div_ceil(2))) {
            scope.spawn(move || {
                for index in bytes {
                    let flipped = || assert!(cached.cache.get(&cached.key, 1 << 30).is_none(), "byte {index}");
                    cached.with(*index, flipped);
                }
            });
        }
    });
    eprintln!("{} of {length} bytes were flipped in {:?}", bytes.len(), began.elapsed());
    // Only the flipped byte caused the refusals.
    fs::rename(&caches[0].beside, &caches[0].entry).expect("renamed");
    assert!(caches[0].cache.get(&caches[0].key, 1 << 30).is_some());
}

#[test]
fn flipped_machine_code_is_never_run_and_compiled_again() {
    let mut chance = Chance::new("machine code that is not run");
    let place = folder();
    let folder = place.path().join("cache");
    let cached = CacheFolder::new(&folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("started");
    let nobody = Compiler::Child { program: place.path().join("no-such-program"), arguments: Vec::new() };
    let cache = Some(CompileCache::open(&folder).expect("a cache"));
    let config =
        SandboxConfig { cache, compiler: nobody, allocation: Allocation::OnDemand, ..SandboxConfig::default() };
    let cannot_compile = Sandbox::new(config).expect("a sandbox");
    for _ in 0..200 {
        let index = chance.below(cached.length as u64) as usize;
        cached.with(index, || {
            let loaded = runtime.block_on(cannot_compile.load(RESOLVER));
            assert_eq!(loaded.map(drop).map_err(|error| error.code().as_str()), Err("compiler_failed"), "byte {index}");
        });
    }
    runtime.block_on(workload::sandbox(&folder).load(RESOLVER)).expect("compiled again");
    assert!(cached.entry.exists(), "and kept");
    runtime.block_on(cannot_compile.load(RESOLVER)).expect("found in the cache");
}
