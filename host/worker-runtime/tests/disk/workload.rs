//! Workload of a writer on a Runtime, step by step, and the state that must exist after each step. The same workload is
//! used for all kinds of interruptions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use bundles::{Bundle, Digest, WorkspaceId};
use bytes::Bytes;
use component_host::compile::cache::CompileCache;
use component_host::{Allocation, Sandbox, SandboxConfig};
use futures_util::TryStreamExt;
use host_policy::RuntimeConfig;
use runtime_api::call::ToolCall;
use serde_json::{Value, json};
use worker_runtime::blob_store::{BlobCondition, BlobStore, ObjectBlobs, source_from};
use worker_runtime::content::PutBundle;
use worker_runtime::history::{EntryKind, Payload};
use worker_runtime::metadata::{MetadataStore, SqliteMetadata};
use worker_runtime::worker::WorkerState;
use worker_runtime::{DataFolder, ManualClock, Runtime, RuntimeLimits};

use crate::support::{Echo, START_MS, bundle_of, id, name, plain};

/// Workspaces, one for each writer.
pub(super) const WRITERS: usize = 8;

/// A Runtime on a folder, and its metadata store.
pub(super) struct OpenRuntime {
    pub(super) runtime: Runtime,
    blobs: ObjectBlobs,
    metadata: Arc<SqliteMetadata>,
}

impl OpenRuntime {
    /// Returns the digests of all quarantined blobs.
    pub(super) async fn quarantined(&self) -> Vec<Digest> {
        self.blobs.quarantined().try_collect().await.expect("listed")
    }
}

/// Returns an engine whose compile cache is in `cache`.
pub(super) fn sandbox(cache: &Path) -> Sandbox {
    let cache = Some(CompileCache::open(cache).expect("a cache"));
    let allocation = Allocation::OnDemand;
    Sandbox::new(SandboxConfig { cache, allocation, ..SandboxConfig::default() }).expect("a sandbox")
}

/// An error: its code, and its other texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: String,
    pub(super) text: String,
}

macro_rules! failure {
    ($error:expr) => {{
        let error = $error;
        Failure { code: error.code().to_string(), text: format!("{error} {error:?} {}", error.help()) }
    }};
}

pub(super) use failure;

/// Opens the stores of a folder.
pub(super) async fn stores(root: &Path) -> Result<(ObjectBlobs, Arc<SqliteMetadata>), Failure> {
    let folder = DataFolder::open(root).await.map_err(|error| failure!(error))?;
    let metadata = SqliteMetadata::open(folder.metadata_file()).await.map_err(|error| failure!(error))?;
    Ok((folder.blobs(), Arc::new(metadata)))
}

pub(super) async fn open(root: &Path, sandbox: &Sandbox) -> Result<OpenRuntime, Failure> {
    let (blobs, metadata) = stores(root).await?;
    let mut config = "[host]\ncapabilities = ['tool:echo']\n".to_owned();
    for writer in 0..WRITERS {
        config += &format!("[workspaces.team-{writer}]\nsignatures = {{ posture = 'none' }}\n");
    }
    let limits = RuntimeLimits {
        // Unused content can be collected at once.
        unused_blob_seconds: 0,
        // Bundles are not cached, so every use reads from the store.
        open_bundles: 0,
        recent_blob_bytes: 0,
        running_calls_of_all: 64,
        ..RuntimeLimits::default()
    };
    let runtime = Runtime::builder()
        .blobs(Arc::new(blobs.clone()))
        .metadata(metadata.clone())
        .clock(Arc::new(ManualClock::at(START_MS)))
        .limits(limits)
        .config(RuntimeConfig::from_toml(&config).expect("a config"))
        .sandbox(sandbox.clone())
        .tool(Arc::new(Echo(name("echo"))))
        .open()
        .await
        .map_err(|error| failure!(error))?;
    Ok(OpenRuntime { runtime, blobs, metadata })
}

/// One step of a round. Steps are idempotent, so a failed one can be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Puts a blob of the round's bundle.
    Blob(u64, usize),
    /// Puts a blob that no bundle names and that is uploaded in parts.
    Loose(u64),
    /// Puts the round's bundle.
    Bundle(u64),
    /// Creates a worker of the bundle.
    Worker(u64),
    /// Calls the worker with an input of this number of bytes.
    Call(u64, usize),
    /// Stops the round's worker.
    Stop(u64),
    /// Removes the round's bundle.
    Remove(u64),
    /// Collects unused content.
    Collect,
}

/// A writer, in a workspace of its own.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    pub(super) workspace: WorkspaceId,
    /// Bundles of the rounds so far. Building one takes longer than storing it.
    made: Arc<Mutex<BTreeMap<u64, Arc<Bundle>>>>,
}

impl Writer {
    pub(super) fn new(number: usize) -> Self {
        Self { workspace: name(&format!("team-{number}")), made: Arc::default() }
    }

    /// Returns the bundle of a round. Rounds share everything but the prompt.
    pub(super) fn bundle(&self, round: u64) -> Arc<Bundle> {
        let make = || {
            let prompt = format!("Be kind and brief, in round {round} of {}.", self.workspace);
            Arc::new(bundle_of(self.workspace.as_str(), round + 1, &[("prompts/hello.md", &prompt)]))
        };
        self.made.lock().expect("no panic").entry(round).or_insert_with(make).clone()
    }

    fn blobs(&self, round: u64) -> Vec<(Digest, Bytes)> {
        self.bundle(round).blobs().map(|(digest, blob)| (*digest, Bytes::copy_from_slice(blob))).collect()
    }

    /// Larger than content that is verified in memory.
    fn loose(&self, round: u64) -> (Digest, Bytes) {
        let line = format!("round {round} of {}\n", self.workspace);
        let content = Bytes::from(line.repeat((1 << 20) / line.len() + 2));
        (Digest::of(&content), content)
    }

    /// Returns the blob that a step puts.
    fn blob(&self, step: Step) -> Option<(Digest, Bytes)> {
        match step {
            Step::Blob(round, index) => Some(self.blobs(round).swap_remove(index)),
            Step::Loose(round) => Some(self.loose(round)),
            _ => None,
        }
    }

    fn worker(round: u64) -> String {
        format!("w-{round}")
    }

    fn input(round: u64, bytes: usize) -> Value {
        json!({ "text": format!("round {round} {}", "x".repeat(bytes)) })
    }

    /// Returns the steps of a round. Every second bundle is removed again, after its worker.
    pub(super) fn steps(&self, round: u64) -> Vec<Step> {
        let mut steps: Vec<Step> = (0..self.blobs(round).len()).map(|index| Step::Blob(round, index)).collect();
        if round.is_multiple_of(4) {
            steps.push(Step::Loose(round));
        }
        steps.extend([Step::Bundle(round), Step::Worker(round), Step::Call(round, 10)]);
        if round.is_multiple_of(2) {
            steps.extend([Step::Call(round, 5000), Step::Stop(round), Step::Remove(round)]);
        }
        if round.is_multiple_of(4) {
            steps.push(Step::Collect);
        }
        steps
    }

    /// Returns the steps that put the bundle of the round.
    pub(super) fn bundle_alone(&self, round: u64) -> impl Iterator<Item = Step> {
        let blobs = self.blobs(round).len();
        (0..blobs).map(move |index| Step::Blob(round, index)).chain([Step::Bundle(round)])
    }

    pub(super) async fn perform(&self, runtime: &Runtime, step: Step) -> Result<(), Failure> {
        let content = runtime.content(&self.workspace);
        match step {
            Step::Blob(..) | Step::Loose(_) => {
                let (digest, blob) = self.blob(step).expect("a blob");
                let bytes = Some(blob.len() as u64);
                content.put_blob(digest, source_from(blob), bytes).await.map(drop).map_err(|error| failure!(error))
            }
            Step::Bundle(round) => {
                let bundle = self.bundle(round);
                let manifest = bundle.manifest_bytes().to_vec().into();
                let put = content.put_manifest(bundle.digest(), manifest).await.map_err(|error| failure!(error))?;
                assert!(matches!(put, PutBundle::Stored { .. }), "{put:?}");
                Ok(())
            }
            Step::Worker(round) => {
                let made = runtime.catalogue(&self.workspace);
                let request = plain(self.bundle(round).digest());
                made.create(id(&Self::worker(round)), request).await.map(drop).map_err(|error| failure!(error))
            }
            Step::Call(round, bytes) => {
                let call = ToolCall { input: Self::input(round, bytes), confirmed: false };
                let (worker, tool) = (id(&Self::worker(round)), name("echo"));
                let called = runtime.interaction(&self.workspace).call(&worker, &tool, call).await;
                called.map(drop).map_err(|error| failure!(error))
            }
            Step::Stop(round) => {
                let stopped = runtime.catalogue(&self.workspace).stop(&id(&Self::worker(round))).await;
                stopped.map(drop).map_err(|error| failure!(error))
            }
            Step::Remove(round) => match content.remove_bundle(self.bundle(round).digest()).await {
                Err(error) if error.code() == "bundle_not_found" => Ok(()),
                removed => removed.map_err(|error| failure!(error)),
            },
            Step::Collect => content.collect_garbage().await.map(drop).map_err(|error| failure!(error)),
        }
    }
}

/// Acknowledged state of a writer.
#[derive(Debug, Clone)]
pub(super) struct ExpectedState {
    pub(super) writer: Writer,
    blobs: BTreeMap<Digest, Bytes>,
    /// Collected blobs.
    gone: BTreeSet<Digest>,
    bundles: BTreeMap<Digest, Arc<Bundle>>,
    removed: BTreeSet<Digest>,
    workers: BTreeMap<String, ExpectedWorker>,
}

#[derive(Debug, Clone, Default)]
struct ExpectedWorker {
    stopped: bool,
    said: Vec<Value>,
}

impl ExpectedState {
    pub(super) fn nothing(writer: Writer) -> Self {
        Self {
            writer,
            blobs: BTreeMap::new(),
            gone: BTreeSet::new(),
            bundles: BTreeMap::new(),
            removed: BTreeSet::new(),
            workers: BTreeMap::new(),
        }
    }

    /// Records an acknowledged step.
    pub(super) fn acknowledged(&mut self, step: Step) {
        match step {
            Step::Blob(..) | Step::Loose(_) => {
                let blob = self.writer.blob(step).expect("a blob");
                self.gone.remove(&blob.0);
                self.blobs.extend([blob]);
            }
            Step::Bundle(round) => {
                let bundle = self.writer.bundle(round);
                self.removed.remove(&bundle.digest());
                self.bundles.insert(bundle.digest(), bundle);
            }
            Step::Worker(round) => drop(self.workers.entry(Writer::worker(round)).or_default()),
            Step::Call(round, bytes) => {
                let said = json!({ "said": Writer::input(round, bytes)["text"] });
                self.workers.entry(Writer::worker(round)).or_default().said.push(said);
            }
            Step::Stop(round) => self.workers.entry(Writer::worker(round)).or_default().stopped = true,
            Step::Remove(round) => {
                let digest = self.writer.bundle(round).digest();
                self.bundles.remove(&digest);
                self.removed.insert(digest);
            }
            Step::Collect => self.may_be_collected(),
        }
    }

    /// Blobs that no bundle names may have been collected.
    fn may_be_collected(&mut self) {
        let named: BTreeSet<Digest> =
            self.bundles.values().flat_map(|bundle| bundle.blobs().map(|(d, _)| *d)).collect();
        self.gone.extend(self.blobs.extract_if(.., |digest, _| !named.contains(digest)).map(|(digest, _)| digest));
    }

    /// Checks that everything acknowledged exists and is undamaged. `begun` is a step that was interrupted, and may
    /// have happened or not. `context` is part of the panic message.
    pub(super) async fn check(&self, opened: &OpenRuntime, begun: Option<Step>, context: &str) {
        let runtime = &opened.runtime;
        let content = runtime.content(&self.writer.workspace);
        let mut blobs = self.blobs.clone();
        if begun == Some(Step::Collect) {
            let mut collected = self.clone();
            collected.may_be_collected();
            blobs = collected.blobs;
        }
        for (digest, bytes) in &blobs {
            let found = content.blob(*digest).await;
            let found = found.unwrap_or_else(|error| panic!("{context}: blob {digest}: {error}"));
            assert!(found == *bytes, "{context}: blob {digest} is not what was put");
        }
        let coming = begun.and_then(|step| self.writer.blob(step)).map(|(digest, _)| digest);
        for digest in self.gone.iter().filter(|digest| coming.as_ref() != Some(digest)) {
            let found = content.blob_size(*digest).await.map_err(|error| error.code().as_str());
            assert_eq!(found, Err("blob_not_found"), "{context}: blob {digest} was collected");
        }
        let (comes, goes) = match begun {
            Some(Step::Bundle(round)) => (Some(self.writer.bundle(round)), None),
            Some(Step::Remove(round)) => (None, Some(self.writer.bundle(round).digest())),
            _ => (None, None),
        };
        let listed = content.bundles(None, usize::MAX).await;
        let listed: BTreeSet<Digest> = listed.expect(context).into_iter().map(|bundle| bundle.digest).collect();
        for digest in self.bundles.keys().filter(|digest| goes.as_ref() != Some(digest)) {
            assert!(listed.contains(digest), "{context}: bundle {digest} is lost");
        }
        for digest in &listed {
            let coming = comes.as_ref().filter(|bundle| bundle.digest() == *digest);
            let bundle = self.bundles.get(digest).or(coming);
            let bundle = bundle.unwrap_or_else(|| panic!("{context}: bundle {digest} came from nowhere"));
            let manifest = content.manifest(*digest).await;
            assert!(
                manifest.is_ok_and(|manifest| *manifest == **bundle.manifest_bytes()),
                "{context}: {digest} is half"
            );
            for (blob, bytes) in bundle.blobs().filter(|(blob, _)| !blobs.contains_key(*blob)) {
                assert!(content.blob(*blob).await.is_ok_and(|found| *found == **bytes), "{context}: {digest} is half");
            }
        }
        self.check_workers(runtime, begun, context).await;
        let usage = runtime.management().usage(&self.writer.workspace).await.expect(context);
        assert_eq!(usage.bundles, listed.len() as u64, "{context}: the account of bundles");
    }

    async fn check_workers(&self, runtime: &Runtime, begun: Option<Step>, context: &str) {
        let (catalogue, observation) =
            (runtime.catalogue(&self.writer.workspace), runtime.observation(&self.writer.workspace));
        let content = runtime.content(&self.writer.workspace);
        let listed = catalogue.list(None, usize::MAX).await.expect(context);
        for id in self.workers.keys() {
            assert!(listed.iter().any(|worker| worker.id.as_str() == id), "{context}: worker {id} is lost");
        }
        for worker in &listed {
            let id = worker.id.as_str();
            let begun_with = |step: fn(u64) -> Step| {
                let round = id.strip_prefix("w-").and_then(|round| round.parse().ok());
                round.is_some_and(|round| begun == Some(step(round)))
            };
            let made = ExpectedWorker::default();
            let expected = match self.workers.get(id) {
                Some(expected) => expected,
                None if begun_with(Step::Worker) => &made,
                None => panic!("{context}: worker {id} came from nowhere"),
            };
            let stopped = worker.state != WorkerState::Running;
            assert!(
                stopped == expected.stopped || begun_with(Step::Stop),
                "{context}: worker {id} is {:?}",
                worker.state
            );
            if !stopped {
                catalogue.spec(&worker.id).await.unwrap_or_else(|error| panic!("{context}: {id}: {error}"));
            }
            let mut said = Vec::new();
            for entry in observation.history(&worker.id, 0, usize::MAX).await.expect(context) {
                let what = match entry.kind {
                    EntryKind::CallBegan { input, .. } => (input, false),
                    EntryKind::CallEnded { output, .. } => (output, true),
                    EntryKind::CallFailed { .. }
                    | EntryKind::EventReceived { .. }
                    | EntryKind::EventHandled { .. }
                    | EntryKind::EventFailed { .. } => continue,
                };
                let value = match what.0 {
                    Payload::Json(value) => value,
                    Payload::Blob { digest, .. } => {
                        let bytes = content.blob(digest).await;
                        let bytes = bytes.unwrap_or_else(|error| panic!("{context}: {id}: {error}"));
                        serde_json::from_slice(&bytes).expect(context)
                    }
                };
                if what.1 {
                    said.push(value);
                }
            }
            let mut left = said.iter();
            let all = expected.said.iter().all(|wanted| left.any(|found| found == wanted));
            assert!(all, "{context}: {id} said {} of {}", said.len(), expected.said.len());
        }
        let usage = runtime.management().usage(&self.writer.workspace).await.expect(context);
        assert_eq!(usage.workers, listed.len() as u64, "{context}: the account of workers");
    }
}

/// Removes the unowned content that an interrupted process left. It is at most that of one step.
pub(super) async fn collect_strays(opened: &OpenRuntime, context: &str) {
    let management = opened.runtime.management();
    management.collect_strays().await.expect(context);
    assert_eq!(management.collect_strays().await.expect(context), 0, "{context}");
}

/// Checks that the content of every blob matches its digest, and that all records are undamaged.
pub(super) async fn check_all(opened: &OpenRuntime, context: &str) {
    let checked = opened.runtime.management().check().await.expect(context);
    for (digest, condition) in checked {
        assert!(matches!(condition, BlobCondition::Sound(_)), "{context}: {digest} is {condition:?}");
    }
    assert_eq!(opened.metadata.check().await, Ok(()), "{context}");
    assert!(opened.quarantined().await.is_empty(), "{context}");
}
