//! The single-file form: a tar of the manifest, its envelope if there is one, and its blobs, in one
//! spelling.
//!
//! `manifest.json` first, then `signature.dsse.json` in canonical form, then `blobs/sha256/<hex>` by
//! digest, with no times, owners or modes of any machine. Whatever is not exactly that is refused:
//! packing what was unpacked must give the same bytes again.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use crate::bundle::{Acceptances, Bundle, BundleError};
use crate::contents::Contents;
use crate::digest::Digest;
use crate::limits::BundleLimits;
use crate::signature::{ENVELOPE, Envelope, EnvelopeError};

/// The name of the manifest in every form of a bundle.
pub const MANIFEST: &str = "manifest.json";

/// The folder of the blobs in every form of a bundle.
pub const BLOBS: &str = "blobs/sha256";

/// Why a file is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Larger than allowed.
    #[error("the file has {actual} bytes, more than the {allowed} allowed (`bundle_bytes`)")]
    TooLarge {
        /// Bytes that there are.
        actual: usize,
        /// Bytes that are allowed.
        allowed: usize,
    },
    /// Not a bundle's tar.
    #[error("the file is no built bundle")]
    NotABundle,
    /// The tar is a bundle's, its content is not.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The tar is a bundle's, its envelope is none, or none of that bundle.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

impl ArchiveError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::NotABundle => "not_a_bundle",
            Self::Bundle(error) => error.code(),
            Self::Envelope(error) => error.code(),
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::TooLarge { .. } => "make it smaller, or raise the limit of that name".to_owned(),
            Self::NotABundle => "build the bundle again, or fetch it again".to_owned(),
            Self::Bundle(error) => error.help(),
            Self::Envelope(error) => error.help().to_owned(),
        }
    }
}

/// A bundle as one file, without an envelope. The same bundle gives the same bytes on every machine.
pub fn pack(bundle: &Bundle) -> Vec<u8> {
    let blobs = bundle.blobs().map(|(digest, bytes)| (*digest, bytes.as_ref()));
    pack_parts(bundle.manifest_bytes(), None, blobs)
}

/// A bundle as one file, with its envelope where it has one.
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
    let mut tar = tar::Builder::new(Vec::new());
    tar.mode(tar::HeaderMode::Deterministic);
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, name, bytes)
    };
    // Writing to memory does not fail, and every name is short.
    let mut done = add(MANIFEST, manifest);
    if let Some(envelope) = envelope {
        done = done.and_then(|()| add(ENVELOPE, envelope));
    }
    for (digest, bytes) in blobs {
        done = done.and_then(|()| add(&format!("{BLOBS}/{}", digest.hex()), bytes));
    }
    done.and_then(|()| tar.into_inner()).unwrap_or_default()
}

/// Bytes of a tar of files of these sizes: a header and whole blocks for each, two blocks at the end.
pub(crate) fn packed_bytes(files: impl Iterator<Item = usize>) -> usize {
    const BLOCK: usize = 512;
    files.map(|bytes| BLOCK + bytes.next_multiple_of(BLOCK)).sum::<usize>() + 2 * BLOCK
}

/// Reads and verifies a bundle in its single-file form, signed or not. Who signed is left out.
pub fn unpack(bytes: &[u8], limits: &BundleLimits, acceptances: Acceptances) -> Result<Bundle, ArchiveError> {
    Ok(unpack_contents(bytes, limits, acceptances)?.into_bundle())
}

/// Reads and verifies a bundle in its single-file form, and reads the envelope that is in it. Whether
/// its signatures are good is for [`judge`](crate::signature::judge) to say.
pub fn unpack_contents(
    bytes: &[u8],
    limits: &BundleLimits,
    acceptances: Acceptances,
) -> Result<Contents, ArchiveError> {
    // An envelope does not count against `bundle_bytes`: signing makes no bundle too large.
    if bytes.len() > limits.archive_bytes() {
        return Err(ArchiveError::TooLarge { actual: bytes.len(), allowed: limits.bundle_bytes });
    }
    let parts = read_parts(bytes).ok_or(ArchiveError::NotABundle)?;
    // Each once and in order, which is what makes two files of one bundle the same.
    let blobs: BTreeMap<Digest, &[u8]> = parts.blobs.iter().map(|blob| (Digest::of(blob), blob.as_ref())).collect();
    if pack_parts(&parts.manifest, parts.envelope.as_deref(), blobs.into_iter()) != bytes {
        return Err(ArchiveError::NotABundle);
    }
    let envelope = parts.envelope.map(|json| read_envelope(&json, limits)).transpose()?;
    let bundle = Bundle::open(parts.manifest, parts.blobs, limits, acceptances)?;
    Ok(Contents::new(bundle, envelope)?)
}

fn read_envelope(json: &[u8], limits: &BundleLimits) -> Result<Envelope, ArchiveError> {
    let envelope = Envelope::parse(json, limits)?;
    if envelope.to_json() == json { Ok(envelope) } else { Err(ArchiveError::NotABundle) }
}

struct Parts {
    manifest: Arc<[u8]>,
    envelope: Option<Vec<u8>>,
    blobs: Vec<Arc<[u8]>>,
}

/// The files by their place; whether their names are right shows when they are packed again.
fn read_parts(bytes: &[u8]) -> Option<Parts> {
    let mut tar = tar::Archive::new(bytes);
    let mut parts = Parts { manifest: Arc::default(), envelope: None, blobs: Vec::new() };
    // Raw: extensions of the format would have the reader hold names and sizes of its own.
    for (index, entry) in tar.entries().ok()?.raw(true).enumerate() {
        let entry = entry.ok()?;
        if entry.header().entry_type() != tar::EntryType::Regular {
            return None;
        }
        let is_envelope = index == 1 && entry.path_bytes().as_ref() == ENVELOPE.as_bytes();
        let mut content = Vec::new();
        entry.take(bytes.len() as u64).read_to_end(&mut content).ok()?;
        match index {
            0 => parts.manifest = content.into(),
            _ if is_envelope => parts.envelope = Some(content),
            _ => parts.blobs.push(content.into()),
        }
    }
    Some(parts)
}
