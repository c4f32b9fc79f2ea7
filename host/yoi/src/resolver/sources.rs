//! The records, bundles and resolvers that `replay` and `compare` work on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use bundles::{Acceptances, Admission, Blob, Bundle, Digest, VerifiedManifest};
use component_host::{Limits, Resolver, Sandbox};
use runtime_api::Code;
use worker_runtime::blob_store::{BlobCondition, BlobError, BlobStore};
use worker_runtime::metadata::SqliteMetadata;
use worker_runtime::{DataFolder, RECORD_BOUNDS, Record, shipped};

use crate::bundle_source;
use crate::error::CliError;
use crate::files;
use crate::sandbox::ComponentRef;

/// Maximum number of files of a folder of records.
const MAX_FILES: usize = 10_000;

/// Arguments that name the bundles and components of records.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct SourceArgs {
    /// Bundle of a record. Can be repeated.
    #[arg(long, value_name = "BUNDLE", env = "YOI_BUNDLE")]
    bundle: Vec<PathBuf>,
    /// Resolver component of a record. Can be repeated.
    #[arg(long, value_name = "PATH", env = "YOI_COMPONENT")]
    component: Vec<ComponentRef>,
    /// Data folder of a Runtime that is not running. Without records, all of its recorded resolutions are used.
    #[arg(long, value_name = "FOLDER", env = "YOI_DATA")]
    pub(super) data: Option<PathBuf>,
}

/// A stored object named by its digest, or a file or folder.
#[derive(Debug, Clone)]
pub(super) enum DigestOrPath {
    Digest(Digest),
    Path(PathBuf),
}

impl FromStr for DigestOrPath {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Path(text.into()), Self::Digest))
    }
}

/// Bundles and components that records can name.
pub(super) struct Sources<'a> {
    limits: &'a Limits,
    bundles: BTreeMap<Digest, Bundle>,
    /// Bundles that the arguments name.
    named: Vec<Digest>,
    components: BTreeMap<Digest, Vec<u8>>,
    stored: Option<DataFolder>,
}

impl<'a> Sources<'a> {
    pub(super) async fn gather(args: &SourceArgs, limits: &'a Limits) -> Result<Self, CliError> {
        let mut sources =
            Self { limits, bundles: BTreeMap::new(), named: Vec::new(), components: BTreeMap::new(), stored: None };
        let builtin = bundle_source::open(Path::new("builtin"), &limits.bundle)?.bundle;
        sources.bundles.insert(builtin.digest(), builtin);
        for path in &args.bundle {
            let bundle = bundle_source::open(path, &limits.bundle)?.bundle;
            sources.named.push(bundle.digest());
            sources.bundles.insert(bundle.digest(), bundle);
        }
        sources.add_component(shipped::RESOLVER.to_vec());
        for component in &args.component {
            sources.add_component(component.read(limits)?);
        }
        if let Some(folder) = &args.data {
            crate::runtime::require_data_folder(folder)?;
            sources.stored = Some(DataFolder::open(folder).await?);
        }
        Ok(sources)
    }

    /// Adds a component and returns its digest.
    pub(super) fn add_component(&mut self, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        self.components.insert(digest, bytes);
        digest
    }

    /// Returns the digest of a named resolver, and adds its component if a file is named.
    pub(super) fn add_resolver(&mut self, named: &DigestOrPath) -> Result<Digest, CliError> {
        match named {
            DigestOrPath::Digest(digest) => Ok(*digest),
            DigestOrPath::Path(path) if bundle_source::is_builtin(path) => Ok(Digest::of(shipped::RESOLVER)),
            DigestOrPath::Path(path) => {
                let component = files::read(path, max_component_bytes(self.limits), "component")?;
                Ok(self.add_component(component))
            }
        }
    }

    /// Reads the named records, in order. A folder stands for the files in it. Without names, the records of the data folder.
    pub(super) async fn records(&self, named: &[DigestOrPath]) -> Result<Vec<(Digest, Record)>, CliError> {
        let mut names = Vec::new();
        for one in named {
            match one {
                DigestOrPath::Path(path) if path.is_dir() => names.extend(files_in(path)?.map(DigestOrPath::Path)),
                one => names.push(one.clone()),
            }
        }
        if let Some(folder) = self.stored.as_ref().filter(|_| named.is_empty()) {
            let metadata = Arc::new(SqliteMetadata::open(folder.metadata_file()).await?);
            let recorded = worker_runtime::recorded_resolutions(metadata).await?;
            names.extend(recorded.into_iter().map(DigestOrPath::Digest));
        }
        let mut records = Vec::with_capacity(names.len());
        for name in &names {
            records.push(self.record(name).await?);
        }
        if records.is_empty() {
            let help = "name records, a folder with records, or a data folder with recorded resolutions";
            return Err(CliError::new(Code::NothingToCompare, "there are no records", help));
        }
        Ok(records)
    }

    /// Reads a blob of the data folder. `what` names the blob in errors.
    async fn blob(&self, digest: Digest, max_bytes: usize, what: &str) -> Result<Arc<[u8]>, CliError> {
        let missing = || {
            let message = format!("{what} `{digest}` not found");
            CliError::new(Code::BlobNotFound, message, "name its location with `--bundle`, `--component` or `--data`")
        };
        let stored = self.stored.as_ref().ok_or_else(missing)?.blobs();
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

    /// Returns the limits.
    pub(super) fn limits(&self) -> &Limits {
        self.limits
    }

    /// Returns the bundles that the arguments name.
    pub(super) fn named_bundles(&self) -> impl Iterator<Item = &Bundle> {
        self.named.iter().filter_map(|digest| self.bundles.get(digest))
    }

    /// Returns a bundle.
    pub(super) async fn bundle(&self, digest: Digest) -> Result<Bundle, CliError> {
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

    /// Loads a resolver.
    pub(super) async fn resolver(&self, digest: Digest, sandbox: &Sandbox) -> Result<Resolver, CliError> {
        match self.components.get(&digest) {
            Some(bytes) => Ok(sandbox.load(bytes).await?),
            None => Ok(sandbox.load(&self.blob(digest, max_component_bytes(self.limits), "resolver").await?).await?),
        }
    }

    async fn record(&self, named: &DigestOrPath) -> Result<(Digest, Record), CliError> {
        let (_, max_bytes) = RECORD_BOUNDS.bytes;
        let bytes = match named {
            DigestOrPath::Digest(digest) => self.blob(*digest, max_bytes, "record").await?,
            DigestOrPath::Path(path) => Arc::from(files::read(path, max_bytes, "record")?),
        };
        let record = Record::from_json(&bytes).map_err(|error| {
            let message = format!("invalid resolution record {}: {error}", shown(named));
            let help =
                "name a file that `yoi resolve --record` wrote, a folder of such files, or the record of a worker";
            CliError::new(error.code(), message, help)
        })?;
        Ok((Digest::of(&bytes), record))
    }
}

/// Returns the files of a folder, ordered by name.
fn files_in(folder: &Path) -> Result<impl Iterator<Item = PathBuf> + use<>, CliError> {
    let unreadable = |error: std::io::Error| files::unreadable(folder, "folder", &error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)?.take(MAX_FILES + 1) {
        let entry = entry.map_err(unreadable)?;
        if entry.file_type().map_err(unreadable)?.is_file() {
            paths.push(entry.path());
        }
    }
    if paths.len() > MAX_FILES {
        let message = format!("folder `{}` exceeds limit `files` ({MAX_FILES})", files::shown(folder));
        return Err(CliError::new(Code::TooLarge, message, "split the folder"));
    }
    paths.sort();
    Ok(paths.into_iter())
}

fn shown(named: &DigestOrPath) -> String {
    match named {
        DigestOrPath::Digest(digest) => digest.to_string(),
        DigestOrPath::Path(path) => format!("`{}`", files::shown(path)),
    }
}

fn max_component_bytes(limits: &Limits) -> usize {
    usize::try_from(limits.structure.bytes).unwrap_or(usize::MAX)
}
