//! `yoi resolver replay`: recorded resolutions, done again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use bundles::{Acceptances, Admission, Blob, Bundle, Digest, VerifiedManifest};
use component_host::{BundleView, Limits, Resolver, Sandbox};
use serde::Serialize;
use serde_json::Value;
use worker_runtime::blob_store::{BlobCondition, BlobError, BlobStore, ObjectBlobs};
use worker_runtime::{DataFolder, RECORD_BOUNDS, Record, shipped};

use crate::bundle_source;
use crate::differences::{Difference, differences};
use crate::error::{CliError, exit_code};
use crate::files;
use crate::output::Output;
use crate::sandbox::{self, CacheArgs, ComponentRef, LimitsArgs};
use crate::text::Rows;

/// Does recorded resolutions again, and says whether they come out the same, byte for byte.
///
/// What a record names by digest is looked for in what ships inside, in the bundles and components that are
/// given, and in a Runtime's data folder. With `--resolver` another resolver answers, and what it would
/// change is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A record, as `yoi resolve --record` writes it; with `--data` also the digest of a worker's record.
    #[arg(required = true, value_name = "RECORD")]
    records: Vec<Named>,
    /// The resolver that is asked, as a digest or `PATH`; by default the one that the record names.
    #[arg(long, value_name = "RESOLVER", env = "YOI_RESOLVER")]
    resolver: Option<Named>,
    /// A bundle that records name. May be repeated.
    #[arg(long, value_name = "BUNDLE", env = "YOI_BUNDLE")]
    bundle: Vec<PathBuf>,
    /// A resolver component that records name. May be repeated.
    #[arg(long, value_name = "PATH", env = "YOI_COMPONENT")]
    component: Vec<ComponentRef>,
    /// The data folder of a Runtime that is not running.
    #[arg(long, value_name = "FOLDER", env = "YOI_DATA")]
    data: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitsArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Something named by its digest, or by where it is.
#[derive(Debug, Clone)]
enum Named {
    Digest(Digest),
    Path(PathBuf),
}

impl FromStr for Named {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Path(text.into()), Self::Digest))
    }
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    same: bool,
    records: Vec<Replayed>,
}

/// How one record came out.
#[derive(Serialize)]
struct Replayed {
    record: Digest,
    bundle: Digest,
    resolver: Digest,
    outcome: Outcome,
    /// Where the new record has something else, as JSON pointers.
    differs: Vec<String>,
    /// The same with the values that were recorded and those that came out now.
    differences: Vec<Difference>,
    /// Why there is no new record, where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// The same bytes.
    Identical,
    /// The same resolution, computed by another resolver or engine, or at another cost.
    SameResolution,
    /// Another resolution.
    Differs,
    /// None: the resolver fails where it did not.
    Fails,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let limits = args.limits.read()?;
    let sandbox = sandbox::start(&args.cache, limits.clone(), output)?;
    let records = crate::block_on(async {
        let known = Known::gather(args, &limits).await?;
        let mut records = Vec::with_capacity(args.records.len());
        for record in &args.records {
            records.push(replay(record, args.resolver.as_ref(), &known, &sandbox).await?);
        }
        Ok::<_, CliError>(records)
    })??;
    let resolves_alike = |one: &Replayed| matches!(one.outcome, Outcome::Identical | Outcome::SameResolution);
    let same = records.iter().all(resolves_alike);
    let document = Document { schema: "yoi.resolver-replay/1", same, records };
    output.result(&document, || text(&document));
    Ok(ExitCode::from(if same { 0 } else { exit_code("digest_mismatch") }))
}

/// Everything that records may name.
struct Known<'a> {
    limits: &'a Limits,
    bundles: BTreeMap<Digest, Bundle>,
    components: BTreeMap<Digest, Vec<u8>>,
    stored: Option<ObjectBlobs>,
}

impl<'a> Known<'a> {
    async fn gather(args: &Args, limits: &'a Limits) -> Result<Self, CliError> {
        let mut known = Self { limits, bundles: BTreeMap::new(), components: BTreeMap::new(), stored: None };
        for path in [Path::new("builtin")].into_iter().chain(args.bundle.iter().map(PathBuf::as_path)) {
            let bundle = bundle_source::open(path, &limits.bundle)?.bundle;
            known.bundles.insert(bundle.digest(), bundle);
        }
        known.component(shipped::RESOLVER.to_vec());
        for component in &args.component {
            known.component(component.read(limits)?);
        }
        if let Some(Named::Path(path)) = &args.resolver {
            known.component(files::read(path, most(limits), "component")?);
        }
        if let Some(folder) = &args.data {
            crate::runtime::is_there(folder)?;
            known.stored = Some(DataFolder::open(folder).await?.blobs());
        }
        Ok(known)
    }

    fn component(&mut self, bytes: Vec<u8>) {
        self.components.insert(Digest::of(&bytes), bytes);
    }

    /// A blob of the data folder.
    async fn blob(&self, digest: Digest, most: usize, what: &str) -> Result<Arc<[u8]>, CliError> {
        let missing = || {
            let message = format!("{what} {digest} is not here");
            CliError::new("blob_not_found", message, "name where it is: `--bundle`, `--component` or `--data`")
        };
        let stored = self.stored.as_ref().ok_or_else(missing)?;
        match stored.get(digest, most as u64).await {
            Ok(bytes) => Ok(Arc::from(&*bytes)),
            Err(BlobError::NotFound(_)) => Err(missing()),
            // A file that has become longer is damaged, and not too large.
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
        let told = |error: bundles::BundleError| CliError::of_library(error.code(), error.to_string(), error.help());
        let manifest = self.blob(digest, limits.manifest_bytes, "bundle").await?;
        // A Runtime took it in: what its author accepted was judged then.
        let verified = VerifiedManifest::admit(Blob::new(manifest), limits, Acceptances::Honour, Admission::Stored);
        let verified = verified.map_err(told)?;
        let mut blobs = Vec::new();
        for (pointer, blob) in verified.manifest().blobs() {
            // Packages of plugins travel beside bundles.
            if !pointer.as_str().starts_with("/plugins/") {
                blobs.push(self.blob(blob.digest, limits.blob_bytes, "blob").await?);
            }
        }
        verified.complete(blobs, limits).map_err(told)
    }

    async fn resolver(&self, digest: Digest, sandbox: &Sandbox) -> Result<Resolver, CliError> {
        match self.components.get(&digest) {
            Some(bytes) => Ok(sandbox.load(bytes).await?),
            None => Ok(sandbox.load(&self.blob(digest, most(self.limits), "resolver").await?).await?),
        }
    }

    async fn record(&self, named: &Named) -> Result<Arc<[u8]>, CliError> {
        let (_, most) = RECORD_BOUNDS.bytes;
        match named {
            Named::Digest(digest) => self.blob(*digest, most, "record").await,
            Named::Path(path) => Ok(Arc::from(files::read(path, most, "record")?)),
        }
    }
}

fn most(limits: &Limits) -> usize {
    usize::try_from(limits.structure.bytes).unwrap_or(usize::MAX)
}

async fn replay(
    named: &Named,
    other: Option<&Named>,
    known: &Known<'_>,
    sandbox: &Sandbox,
) -> Result<Replayed, CliError> {
    let bytes = known.record(named).await?;
    let record = Record::from_json(&bytes).map_err(|error| {
        let message = format!("{} is no resolution record: {error}", shown(named));
        CliError::new(error.code(), message, "name a file that `yoi resolve --record` wrote, or a worker's record")
    })?;
    let digests = *record.digests();
    let asked = match other {
        None => digests.resolver,
        Some(Named::Digest(digest)) => *digest,
        Some(Named::Path(path)) => Digest::of(files::read(path, most(known.limits), "component")?),
    };
    let view = BundleView::new(known.bundle(digests.bundle).await?);
    let resolver = known.resolver(asked, sandbox).await?;
    let told = |outcome, differences: Vec<Difference>, error| Replayed {
        record: Digest::of(&bytes),
        bundle: digests.bundle,
        resolver: asked,
        outcome,
        differs: differences.iter().map(|one| one.pointer.clone()).collect(),
        differences,
        error,
    };
    let again = match record.replay(&resolver, &view).await {
        Ok(again) => again,
        Err(error) => return Ok(told(Outcome::Fails, Vec::new(), Some(error.to_string()))),
    };
    let again_bytes = again.to_json();
    if again_bytes == *bytes {
        return Ok(told(Outcome::Identical, Vec::new(), None));
    }
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let mut differs = differences(Some(&read(&bytes)), Some(&read(&again_bytes)));
    let same = again.digests().resolution == digests.resolution && again.digests().facts == digests.facts;
    if same {
        // How a resolver spells and orders an answer that means the same is its own affair.
        differs.retain(|one| !one.pointer.starts_with("/proposal"));
    }
    Ok(told(if same { Outcome::SameResolution } else { Outcome::Differs }, differs, None))
}

fn shown(named: &Named) -> String {
    match named {
        Named::Digest(digest) => digest.to_string(),
        Named::Path(path) => format!("`{}`", files::shown(path)),
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
                Outcome::Differs => "another resolution",
                Outcome::Fails => "the resolver fails",
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
