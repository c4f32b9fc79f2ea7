//! Folder form of a built bundle: `manifest.json`, `blobs/sha256/<hex>`, and `signature.dsse.json` if it is signed. The
//! envelope is stored in the spelling of its signer.

use cap_std::fs::Dir;
use error_code::Code;

use crate::archive::{BLOBS, MANIFEST};
use crate::bundle::{Acceptances, Bundle, BundleError};
use crate::contents::Contents;
use crate::folder::{FolderError, read_file};
use crate::limits::BundleLimits;
use crate::signature::{ENVELOPE, Envelope, EnvelopeError};

/// Error returned when a folder is not a built bundle.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The folder cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The content is not a valid bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The envelope is invalid or belongs to another bundle.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

impl LayoutError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Folder(error) => error.code(),
            Self::Bundle(error) => error.code(),
            Self::Envelope(error) => error.code(),
        }
    }

    /// Returns the recommended action.
    pub fn help(&self) -> String {
        match self {
            Self::Folder(error) => error.help().to_owned(),
            Self::Bundle(error) => error.help(),
            Self::Envelope(error) => error.help().to_owned(),
        }
    }
}

/// Reads and verifies a built bundle. Signatures are ignored. Only files that the manifest names are opened.
pub fn read(dir: &Dir, limits: &BundleLimits, acceptances: Acceptances) -> Result<Bundle, LayoutError> {
    let manifest = read_file(dir, MANIFEST, limits.manifest_bytes, "manifest_bytes")?;
    let named = crate::bundle::open_manifest(&manifest, limits, acceptances)?;
    let carried = named.carried();
    let mut blobs = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut total = 0usize;
    for (pointer, blob) in named.blobs() {
        let file = format!("{BLOBS}/{}", blob.digest.hex());
        let package = pointer.ends_with("package");
        if !seen.insert(blob.digest) || (package && !dir.is_file(&file)) {
            continue;
        }
        let (allowed, limit) =
            if package { (limits.package_bytes, "package_bytes") } else { (limits.blob_bytes, "blob_bytes") };
        let bytes = match read_file(dir, &file, allowed, limit) {
            Err(FolderError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => continue,
            other => other?,
        };
        // Packages travel beside a bundle, and the manifest declares their sizes.
        total += if carried.contains(&blob.digest) { bytes.len() } else { 0 };
        if total > limits.bundle_bytes {
            return Err(BundleError::TooLarge { actual: total, allowed: limits.bundle_bytes }.into());
        }
        blobs.push(bytes);
    }
    Ok(Bundle::open(manifest, blobs, limits, acceptances)?)
}

/// Reads and verifies a built bundle and reads its envelope. [`judge`](crate::signature::judge) checks the signatures.
pub fn read_contents(dir: &Dir, limits: &BundleLimits, acceptances: Acceptances) -> Result<Contents, LayoutError> {
    let bundle = read(dir, limits, acceptances)?;
    let envelope = match read_file(dir, ENVELOPE, limits.envelope_bytes(), "manifest_bytes") {
        Ok(json) => Some(Envelope::parse(&json, limits)?),
        Err(FolderError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    Ok(Contents::new(bundle, envelope)?)
}

/// Writes a bundle into an empty folder, without an envelope.
pub fn write(dir: &Dir, bundle: &Bundle) -> std::io::Result<()> {
    dir.create_dir_all(BLOBS)?;
    for (digest, bytes) in bundle.blobs() {
        dir.write(format!("{BLOBS}/{}", digest.hex()), bytes)?;
    }
    // The manifest is written last, because a folder without a manifest is not a bundle.
    dir.write(MANIFEST, bundle.manifest_bytes())
}

/// Writes a bundle into an empty folder, with its envelope if there is one.
pub fn write_contents(dir: &Dir, contents: &Contents) -> std::io::Result<()> {
    if let Some(envelope) = contents.envelope() {
        dir.write(ENVELOPE, envelope.to_json())?;
    }
    write(dir, contents.bundle())
}
