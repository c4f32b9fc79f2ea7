//! `yoi resolver replay`: repeats recorded resolutions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use bundles::comparison::{Difference, differences};
use bundles::{Acceptances, Admission, Blob, Bundle, Digest, VerifiedManifest};
use component_host::{BundleView, Limits, Resolver, Sandbox};
use runtime_api::Code;
use serde::Serialize;
use serde_json::Value;
use worker_runtime::blob_store::{BlobCondition, BlobError, BlobStore, ObjectBlobs};
use worker_runtime::{DataFolder, RECORD_BOUNDS, Record, shipped};

use crate::bundle_source;
use crate::error::CliError;
use crate::files;
use crate::output::Output;
use crate::sandbox::{self, CacheArgs, ComponentRef, LimitsArgs};
use crate::text::Rows;

/// Repeats recorded resolutions and compares the results byte for byte.
///
/// A record names its bundle and its resolver by digest. The command looks for them in the program itself, in the bundles and
/// components of the options, and in the data folder of a Runtime. `--resolver` uses another resolver and shows the
/// differences.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Record, as `yoi resolve --record` writes it. With `--data` also the digest of a record of a worker.
    #[arg(required = true, value_name = "RECORD")]
    records: Vec<DigestOrPath>,
    /// Resolver, as a digest or `PATH`. Default: the resolver of the record.
    #[arg(long, value_name = "RESOLVER", env = "YOI_RESOLVER")]
    resolver: Option<DigestOrPath>,
    /// Bundle of a record. Can be repeated.
    #[arg(long, value_name = "BUNDLE", env = "YOI_BUNDLE")]
    bundle: Vec<PathBuf>,
    /// Resolver component of a record. Can be repeated.
    #[arg(long, value_name = "PATH", env = "YOI_COMPONENT")]
    component: Vec<ComponentRef>,
    /// Data folder of a Runtime that is not running.
    #[arg(long, value_name = "FOLDER", env = "YOI_DATA")]
    data: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

/// A stored object named by its digest, or a file.
#[derive(Debug, Clone)]
enum DigestOrPath {
    Digest(Digest),
    Path(PathBuf),
}

impl FromStr for DigestOrPath {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Path(text.into()), Self::Digest))
    }
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    same: bool,
    records: Vec<ReplayResult>,
}

/// Result of the replay of one record.
#[derive(Serialize)]
struct ReplayResult {
    record: Digest,
    bundle: Digest,
    resolver: Digest,
    outcome: Outcome,
    /// JSON pointers of the differences.
    differs: Vec<String>,
    /// Differences with the recorded and the new values.
    differences: Vec<Difference>,
    /// Error of the replay, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// The new record has the same bytes.
    Identical,
    /// The resolution is the same. The resolver, the engine or the cost differs.
    SameResolution,
    /// The resolution fails as recorded. The resolver, the engine or the cost differs.
    SameFailure,
    /// The resolution differs, or a recorded failure does not happen any more.
    Differs,
    /// The resolution fails, unlike the recorded one.
    Fails,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limits = args.limits.read()?;
    let sandbox = sandbox::start(&args.cache, limits.clone(), output)?;
    let records = crate::block_on(async {
        let sources = Sources::gather(args, &limits).await?;
        let mut records = Vec::with_capacity(args.records.len());
        for record in &args.records {
            records.push(replay(record, args.resolver.as_ref(), &sources, &sandbox).await?);
        }
        Ok::<_, CliError>(records)
    })??;
    let is_same =
        |one: &ReplayResult| matches!(one.outcome, Outcome::Identical | Outcome::SameResolution | Outcome::SameFailure);
    let same = records.iter().all(is_same);
    let document = Document { schema: "yoi.resolver-replay/1", same, records };
    output.result(&document, || text(&document));
    Ok(ExitCode::from(if same { 0 } else { Code::DigestMismatch.exit_code() }))
}

/// Bundles and components that records can name.
struct Sources<'a> {
    limits: &'a Limits,
    bundles: BTreeMap<Digest, Bundle>,
    components: BTreeMap<Digest, Vec<u8>>,
    stored: Option<ObjectBlobs>,
}

impl<'a> Sources<'a> {
    async fn gather(args: &Args, limits: &'a Limits) -> Result<Self, CliError> {
        let mut sources = Self { limits, bundles: BTreeMap::new(), components: BTreeMap::new(), stored: None };
        for path in [Path::new("builtin")].into_iter().chain(args.bundle.iter().map(PathBuf::as_path)) {
            let bundle = bundle_source::open(path, &limits.bundle)?.bundle;
            sources.bundles.insert(bundle.digest(), bundle);
        }
        sources.add_component(shipped::RESOLVER.to_vec());
        for component in &args.component {
            sources.add_component(component.read(limits)?);
        }
        if let Some(DigestOrPath::Path(path)) = &args.resolver {
            sources.add_component(files::read(path, max_component_bytes(limits), "component")?);
        }
        if let Some(folder) = &args.data {
            crate::runtime::require_data_folder(folder)?;
            sources.stored = Some(DataFolder::open(folder).await?.blobs());
        }
        Ok(sources)
    }

    fn add_component(&mut self, bytes: Vec<u8>) {
        self.components.insert(Digest::of(&bytes), bytes);
    }

    /// Reads a blob of the data folder. `what` names the blob in errors.
    async fn blob(&self, digest: Digest, max_bytes: usize, what: &str) -> Result<Arc<[u8]>, CliError> {
        let missing = || {
            let message = format!("{what} `{digest}` not found");
            CliError::new(Code::BlobNotFound, message, "name its location with `--bundle`, `--component` or `--data`")
        };
        let stored = self.stored.as_ref().ok_or_else(missing)?;
        match stored.get(digest, max_bytes as u64).await {
            Ok(bytes) => Ok(Arc::from(&*bytes)),
            Err(BlobError::NotFound(_)) => Err(missing()),
            // Blobs are stored within their limits, so a larger file is damaged.
            Err(BlobError::TooLarge { .. }) if stored.check(digest).await? == BlobCondition::Damaged => {
                Err(BlobError::Damaged(digest).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn bundle(&self, digest: Digest) -> Result<Bundle, CliError> {
        if let Some(bundle) = self.bundles.get(&digest) {
            return Ok(bundle.clone());
        }
        let limits = &self.limits.bundle;
        let failed = |error: bundles::BundleError| CliError::of_library(error.code(), error.to_string(), error.help());
        let manifest = self.blob(digest, limits.manifest_bytes, "bundle").await?;
        // The Runtime judged the accepted findings when it admitted the bundle.
        let verified = VerifiedManifest::admit(Blob::new(manifest), limits, Acceptances::Honour, Admission::Stored);
        let verified = verified.map_err(failed)?;
        let mut blobs = Vec::new();
        for (pointer, blob) in verified.manifest().blobs() {
            // Plugin packages are not part of a bundle.
            if !pointer.as_str().starts_with("/plugins/") {
                blobs.push(self.blob(blob.digest, limits.blob_bytes, "blob").await?);
            }
        }
        verified.complete(blobs, limits).map_err(failed)
    }

    async fn resolver(&self, digest: Digest, sandbox: &Sandbox) -> Result<Resolver, CliError> {
        match self.components.get(&digest) {
            Some(bytes) => Ok(sandbox.load(bytes).await?),
            None => Ok(sandbox.load(&self.blob(digest, max_component_bytes(self.limits), "resolver").await?).await?),
        }
    }

    async fn record(&self, named: &DigestOrPath) -> Result<Arc<[u8]>, CliError> {
        let (_, max_bytes) = RECORD_BOUNDS.bytes;
        match named {
            DigestOrPath::Digest(digest) => self.blob(*digest, max_bytes, "record").await,
            DigestOrPath::Path(path) => Ok(Arc::from(files::read(path, max_bytes, "record")?)),
        }
    }
}

fn max_component_bytes(limits: &Limits) -> usize {
    usize::try_from(limits.structure.bytes).unwrap_or(usize::MAX)
}

async fn replay(
    named: &DigestOrPath,
    other: Option<&DigestOrPath>,
    sources: &Sources<'_>,
    sandbox: &Sandbox,
) -> Result<ReplayResult, CliError> {
    let bytes = sources.record(named).await?;
    let record = Record::from_json(&bytes).map_err(|error| {
        let message = format!("invalid resolution record {}: {error}", shown(named));
        CliError::new(error.code(), message, "name a file that `yoi resolve --record` wrote, or the record of a worker")
    })?;
    let digests = *record.digests();
    let used = match other {
        None => digests.resolver,
        Some(DigestOrPath::Digest(digest)) => *digest,
        Some(DigestOrPath::Path(path)) => {
            Digest::of(files::read(path, max_component_bytes(sources.limits), "component")?)
        }
    };
    let view = BundleView::new(sources.bundle(digests.bundle).await?);
    let resolver = sources.resolver(used, sandbox).await?;
    let replayed = |outcome, differences: Vec<Difference>, error| ReplayResult {
        record: Digest::of(&bytes),
        bundle: digests.bundle,
        resolver: used,
        outcome,
        differs: differences.iter().map(|one| one.pointer.clone()).collect(),
        differences,
        error,
    };
    let again = match record.replay(&resolver, &view).await {
        Ok(again) => again,
        Err(error) => return Ok(replayed(Outcome::Fails, Vec::new(), Some(error.to_string()))),
    };
    let again_bytes = again.to_json();
    if again_bytes == *bytes {
        return Ok(replayed(Outcome::Identical, Vec::new(), None));
    }
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let mut differs = differences(Some(&read(&bytes)), Some(&read(&again_bytes)));
    let same = again.digests().resolution == digests.resolution && again.digests().facts == digests.facts;
    let outcome = match (record.failure(), again.failure()) {
        (Some(recorded), Some(failure)) if recorded == failure => Outcome::SameFailure,
        (_, Some(failure)) => return Ok(replayed(Outcome::Fails, differs, Some(failure.message.clone()))),
        (None, None) if same => {
            // Two resolvers may write the same resolution in different ways.
            differs.retain(|one| !one.pointer.starts_with("/proposal"));
            Outcome::SameResolution
        }
        _ => Outcome::Differs,
    };
    Ok(replayed(outcome, differs, None))
}

fn shown(named: &DigestOrPath) -> String {
    match named {
        DigestOrPath::Digest(digest) => digest.to_string(),
        DigestOrPath::Path(path) => format!("`{}`", files::shown(path)),
    }
}

fn text(document: &Document) -> String {
    let mut text = String::new();
    for replayed in &document.records {
        let mut rows = Rows::default();
        rows.row("record", replayed.record);
        rows.row("bundle", replayed.bundle);
        rows.row("resolver", replayed.resolver);
        rows.row(
            "outcome",
            match replayed.outcome {
                Outcome::Identical => "identical, byte for byte",
                Outcome::SameResolution => "the same resolution",
                Outcome::SameFailure => "the same failure",
                Outcome::Differs => "a different resolution",
                Outcome::Fails => "the resolver failed",
            },
        );
        rows.list("error", &replayed.error);
        rows.list("differs", replayed.differences.iter().map(Difference::line));
        text.push_str(&rows.into_text());
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}
