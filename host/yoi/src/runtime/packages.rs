//! The plugin packages that a bundle names: finds them beside the bundle, and uploads those that the Runtime lacks.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use bundles::plugin::Package;
use bundles::{Blob, BundleLimits, Digest, Digester, Manifest, PluginName};
use bytes::Bytes;
use cap_std::fs::Dir;
use runtime_client::{Client, ClientError};
use serde::Serialize;

use crate::bundle_source::{self, Source};
use crate::error::CliError;
use crate::progress::Progress;

/// The package of a plugin of a bundle.
#[derive(Debug, Serialize)]
pub(crate) struct NamedPackage {
    pub(crate) plugin: PluginName,
    pub(crate) digest: Digest,
    pub(crate) bytes: u32,
    pub(crate) state: PackageState,
}

/// State of a package after the upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PackageState {
    /// The package was sent.
    Sent,
    /// The Runtime had the package.
    Known,
    /// The package is neither beside the bundle nor at the Runtime.
    Missing,
    /// The package is not beside the bundle, and the Runtime does not tell whether it has the package.
    Unknown,
}

/// Packages beside a bundle, by digest.
#[derive(Debug, Default)]
pub(crate) struct Beside(BTreeMap<Digest, Content>);

#[derive(Debug)]
enum Content {
    Packed(Blob),
    /// A packed file with the right digest, at its beginning.
    File(File),
}

/// Returns the packages that a manifest names. Their state is not known yet.
pub(crate) fn named(manifest: &Manifest) -> Vec<NamedPackage> {
    let plugins = manifest.plugins.iter();
    let named = plugins.map(|(name, plugin)| NamedPackage {
        plugin: name.clone(),
        digest: plugin.package.digest,
        bytes: plugin.package.size,
        state: PackageState::Unknown,
    });
    named.collect()
}

impl Beside {
    /// Finds named packages. Those of an authoring folder are in it; those of a built bundle are in the folder `plugins`
    /// beside it, as packed files or as folders.
    pub(crate) fn find(
        path: &Path,
        source: &Source,
        named: &[NamedPackage],
        limits: &BundleLimits,
    ) -> Result<Self, CliError> {
        let mut found = Self::default();
        let folder = match &source.built {
            Some(built) => {
                let packages = built.packages.iter().map(|package| package.blob().clone());
                found.0.extend(packages.map(|blob| (blob.digest(), Content::Packed(blob))));
                path.to_owned()
            }
            None => path.parent().map(Path::to_owned).unwrap_or_default(),
        };
        let plugins: PathBuf = [folder.as_path(), Path::new("plugins")].iter().collect();
        if named.iter().any(|package| !found.0.contains_key(&package.digest)) && plugins.is_dir() {
            found.search(&bundle_source::open_dir(&plugins)?, named, limits);
        }
        Ok(found)
    }

    /// Searches a folder. Entries that cannot be read are no packages of the bundle.
    fn search(&mut self, folder: &Dir, named: &[NamedPackage], limits: &BundleLimits) {
        for entry in folder.entries().into_iter().flatten().take(limits.files).flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let content = if kind.is_dir() {
                let package = entry.open_dir().ok().and_then(|inside| Package::read(&inside, limits).ok());
                package.map(|package| (package.digest(), Content::Packed(package.blob().clone())))
            } else if kind.is_file() && Path::new(&entry.file_name()).extension().is_some_and(|tar| tar == "tar") {
                // Files of other sizes are not read.
                let size = entry.metadata().map_or(0, |metadata| metadata.len());
                let is_named = named.iter().any(|package| u64::from(package.bytes) == size);
                let file = entry.open().ok().filter(|_| is_named && size <= limits.package_bytes as u64);
                file.and_then(|file| hashed(file.into_std(), size))
            } else {
                None
            };
            self.0.extend(content.filter(|(digest, _)| named.iter().any(|package| package.digest == *digest)));
        }
    }

    /// Uploads each package that the Runtime does not have or for which the token may not ask, and sets the state of
    /// each.
    pub(crate) async fn send(mut self, client: &Client, named: &mut [NamedPackage]) -> Result<(), ClientError> {
        let (progress, all) = (Progress::new("packages"), named.len());
        for (finished, package) in named.iter_mut().enumerate() {
            progress.set(finished, all);
            let has = client.has_blob(package.digest).await?;
            package.state = match (has, self.0.remove(&package.digest)) {
                (Some(true), _) => PackageState::Known,
                (Some(false), None) => PackageState::Missing,
                (None, None) => PackageState::Unknown,
                (_, Some(content)) => match content.send(client, package.digest, package.bytes.into()).await? {
                    true => PackageState::Known,
                    false => PackageState::Sent,
                },
            };
        }
        Ok(())
    }
}

impl Content {
    async fn send(self, client: &Client, digest: Digest, bytes: u64) -> Result<bool, ClientError> {
        match self {
            Self::Packed(blob) => client.put_blob(digest, Bytes::from_owner(blob)).await,
            Self::File(file) => client.put_blob_file(digest, file, bytes).await,
        }
    }
}

/// Hashes a file of `size` bytes in pieces.
fn hashed(mut file: File, size: u64) -> Option<(Digest, Content)> {
    let mut digester = Digester::default();
    let mut piece = Vec::new();
    let mut content = (&file).take(size);
    while content.by_ref().take(1 << 16).read_to_end(&mut piece).ok()? > 0 {
        digester.update(&piece);
        piece.clear();
    }
    file.rewind().ok()?;
    Some((digester.finish(), Content::File(file)))
}
