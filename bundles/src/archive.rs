//! Single-file form of a bundle: a tar of the manifest, the envelope if there is one, and the blobs.
//!
//! Entries are `manifest.json`, then `signature.dsse.json` in canonical form, then `blobs/sha256/<hex>` by digest,
//! without times, owners or modes. A file that does not match this byte for byte is refused: packing an unpacked bundle
//! must give the same bytes.

use std::collections::BTreeMap;

use error_code::Code;

use crate::bundle::{Acceptances, Bundle, BundleError};
use crate::canonical_tar::{self, TarProblem};
use crate::contents::Contents;
use crate::digest::Digest;
use crate::limits::BundleLimits;
use crate::signature::{ENVELOPE, Envelope, EnvelopeError};

/// Name of the manifest in every form of a bundle.
pub const MANIFEST: &str = "manifest.json";

/// Folder of the blobs in every form of a bundle.
pub const BLOBS: &str = "blobs/sha256";

/// Error returned when a file is not a valid bundle.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file is larger than allowed.
    #[error("file exceeds limit `bundle_bytes` ({actual} > {allowed} bytes)")]
    TooLarge {
        /// Size of the file, in bytes.
        actual: usize,
        /// Maximum size, in bytes.
        allowed: usize,
    },
    /// The file is not the tar of a bundle.
    #[error("file is not a built bundle")]
    NotABundle,
    /// The content of the tar is not a valid bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The envelope is invalid or belongs to another bundle.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

impl ArchiveError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code::TooLarge,
            Self::NotABundle => Code::NotABundle,
            Self::Bundle(error) => error.code(),
            Self::Envelope(error) => error.code(),
        }
    }

    /// Returns the recommended action.
    pub fn help(&self) -> String {
        match self {
            Self::TooLarge { .. } => "make the bundle smaller, or raise `bundle_bytes`".to_owned(),
            Self::NotABundle => "build or fetch the bundle again".to_owned(),
            Self::Bundle(error) => error.help(),
            Self::Envelope(error) => error.help().to_owned(),
        }
    }
}

/// Packs a bundle into one file, without an envelope. The bytes are the same on every machine.
pub fn pack(bundle: &Bundle) -> Vec<u8> {
    let blobs = bundle.blobs().map(|(digest, bytes)| (*digest, bytes.as_ref()));
    pack_parts(bundle.manifest_bytes(), None, blobs)
}

/// Packs a bundle into one file, with its envelope if there is one.
pub fn pack_contents(contents: &Contents) -> Vec<u8> {
    let bundle = contents.bundle();
    let blobs = bundle.blobs().map(|(digest, bytes)| (*digest, bytes.as_ref()));
    let envelope = contents.envelope().map(Envelope::to_json);
    pack_parts(bundle.manifest_bytes(), envelope.as_deref(), blobs)
}

fn pack_parts<'a>(
    manifest: &[u8],
    envelope: Option<&[u8]>,
    blobs: impl Iterator<Item = (Digest, &'a [u8])>,
) -> Vec<u8> {
    let files = [(MANIFEST.to_owned(), manifest)].into_iter().chain(envelope.map(|json| (ENVELOPE.to_owned(), json)));
    canonical_tar::pack(files.chain(blobs.map(|(digest, bytes)| (format!("{BLOBS}/{}", digest.hex()), bytes))))
}

/// Reads and verifies a bundle in its single-file form. Signatures are ignored.
pub fn unpack(bytes: &[u8], limits: &BundleLimits, acceptances: Acceptances) -> Result<Bundle, ArchiveError> {
    Ok(unpack_contents(bytes, limits, acceptances)?.into_bundle())
}

/// Reads and verifies a bundle in its single-file form and reads its envelope. [`judge`](crate::signature::judge)
/// checks the signatures.
pub fn unpack_contents(
    bytes: &[u8],
    limits: &BundleLimits,
    acceptances: Acceptances,
) -> Result<Contents, ArchiveError> {
    // The envelope does not count against `bundle_bytes`, so signing never makes a bundle too large.
    if bytes.len() > limits.archive_bytes() {
        return Err(ArchiveError::TooLarge { actual: bytes.len(), allowed: limits.bundle_bytes });
    }
    let parts = read_parts(bytes).map_err(|_| ArchiveError::NotABundle)?;
    // Each blob once and in order, so that a bundle has only one single-file form.
    let blobs: BTreeMap<Digest, &[u8]> = parts.blobs.iter().map(|blob| (Digest::of(blob), *blob)).collect();
    if pack_parts(parts.manifest, parts.envelope, blobs.into_iter()) != bytes {
        return Err(ArchiveError::NotABundle);
    }
    let envelope = parts.envelope.map(|json| read_envelope(json, limits)).transpose()?;
    let bundle = Bundle::open(parts.manifest.into(), parts.blobs, limits, acceptances)?;
    Ok(Contents::new(bundle, envelope)?)
}

fn read_envelope(json: &[u8], limits: &BundleLimits) -> Result<Envelope, ArchiveError> {
    let envelope = Envelope::parse(json, limits)?;
    if envelope.to_json() == json { Ok(envelope) } else { Err(ArchiveError::NotABundle) }
}

struct Parts<'a> {
    manifest: &'a [u8],
    envelope: Option<&'a [u8]>,
    blobs: Vec<&'a [u8]>,
}

/// Reads the files by position. Packing them again checks their names.
fn read_parts(bytes: &[u8]) -> Result<Parts<'_>, TarProblem> {
    let mut parts = Parts { manifest: &[], envelope: None, blobs: Vec::new() };
    let mut index = 0;
    canonical_tar::entries(bytes, |entry| {
        match index {
            0 => parts.manifest = entry.content,
            1 if entry.name == ENVELOPE.as_bytes() => parts.envelope = Some(entry.content),
            _ => parts.blobs.push(entry.content),
        }
        index += 1;
        Ok::<_, TarProblem>(())
    })?;
    Ok(parts)
}
