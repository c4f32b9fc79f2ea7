//! Pages of long lists are bounded by their bytes, and the store reads them in small portions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use runtime_api::call::ToolCall;
use serde_json::{Value, json};
use worker_runtime::Runtime;
use worker_runtime::metadata::{Batch, CommitError, Key, MemoryMetadata, MetadataError, MetadataStore, VersionedValue};
use worker_runtime::token::Scope;
use worker_runtime::worker::CreateWorkerRequest;

use crate::support::api::Api;
use crate::support::{World, acme, bundle, id, name, put, trusted};

/// Limit of the service on a page: 256 KiB of rows and the JSON around them.
const PAGE_BYTES: usize = (256 << 10) + 1024;

/// A metadata store that records the largest requested scan.
#[derive(Debug, Default)]
struct ScanRecorder {
    store: MemoryMetadata,
    longest: AtomicUsize,
}

#[async_trait]
impl MetadataStore for ScanRecorder {
    async fn get(&self, key: &Key) -> Result<Option<VersionedValue>, MetadataError> {
        self.store.get(key).await
    }

    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<(Key, VersionedValue)>, MetadataError> {
        self.longest.fetch_max(most, Ordering::Relaxed);
        self.store.scan(prefix, after, most).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.store.commit(batch).await
    }

    async fn check(&self) -> Result<(), MetadataError> {
        self.store.check().await
    }
}

/// Creates a worker with a history of calls of a few kilobytes each.
pub async fn called(runtime: &Runtime, calls: usize) {
    let bundle = put(&runtime.content(&acme()), &bundle(1)).await;
    runtime.catalogue(&acme()).create(id("w"), trusted(bundle)).await.expect("a worker");
    for number in 0..calls {
        let text = format!("{number} {}", "x".repeat(3000));
        let call = ToolCall { input: json!({ "text": text }), confirmed: true };
        runtime.interaction(&acme()).call(&id("w"), &name("echo"), call).await.expect("called");
    }
}

/// ScanRecorder all pages of a list, and returns the items of each.
async fn pages(api: &Api, token: &str, path: &str, field: &str, limit: usize) -> Vec<Vec<Value>> {
    let (mut pages, mut after) = (Vec::new(), String::new());
    loop {
        let answer = api.get(&format!("{path}?limit={limit}{after}"), token).await;
        assert!(answer.body.len() <= PAGE_BYTES, "{}", answer.body.len());
        let page = answer.json();
        pages.push(page[field].as_array().expect("items").clone());
        match &page["next"] {
            Value::Null => return pages,
            Value::String(next) => after = format!("&after={next}"),
            next => after = format!("&after={next}"),
        }
    }
}

#[tokio::test]
async fn pages_are_bounded_by_bytes_and_report_more_items() {
    let reads = Arc::new(ScanRecorder::default());
    let api = Api::new(&World { metadata: reads.clone(), ..World::default() }).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    called(&api.runtime, 150).await;
    let history = "/v1/workers/w/history";
    let all = pages(&api, &token, history, "entries", 1000).await;
    // 900 KB in total.
    assert!((3..=6).contains(&all.len()), "{}", all.len());
    let numbers: Vec<u64> =
        all.into_iter().flatten().map(|entry| entry["number"].as_u64().expect("a number")).collect();
    assert_eq!(numbers, (1..=300).collect::<Vec<_>>());
    // A page that is limited by its number of entries, and one that ends with the list.
    let lengths = async |limit| -> Vec<usize> {
        pages(&api, &token, history, "entries", limit).await.iter().map(Vec::len).collect()
    };
    assert_eq!(lengths(60).await, [60; 5]);
    assert_eq!(lengths(70).await, [70, 70, 70, 70, 20]);
    assert_eq!(api.runtime.observation(&acme()).history(&id("w"), 0, 1000).await.expect("read").len(), 300);
    assert_eq!(api.runtime.observation(&acme()).history(&id("w"), 10, 200).await.expect("read").len(), 200);
    assert!(reads.longest.load(Ordering::Relaxed) <= 64);
}

#[tokio::test]
async fn worker_and_bundle_lists_report_more_items() {
    let api = Api::new(&World::default()).await;
    let (_, token) = api.token(&Scope::ALL, &["acme"]).await;
    for revision in 1..=3 {
        put(&api.runtime.content(&acme()), &bundle(revision)).await;
        let request = CreateWorkerRequest::builtin(name("companion"));
        api.runtime.catalogue(&acme()).create(id(&format!("w{revision}")), request).await.expect("a worker");
    }
    for (path, field) in [("/v1/workers", "workers"), ("/v1/config-bundles", "bundles")] {
        for (limit, lengths) in [(1, vec![1, 1, 1]), (2, vec![2, 1]), (3, vec![3]), (1000, vec![3])] {
            let pages = pages(&api, &token, path, field, limit).await;
            assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), lengths, "{path} {limit}");
        }
    }
    // A worker that does not exist, and one without history.
    assert_eq!(pages(&api, &token, "/v1/workers/w1/history", "entries", 10).await, [Vec::<Value>::new()]);
}
