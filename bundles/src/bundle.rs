//! Verified bundles: a manifest that is canonical, sound and free of leaks, and all blobs that it names. Verification
//! is the only way to construct a [`Bundle`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use error_code::Code;
use tool_schema::{Fault, Schema};

use crate::blob::Blob;
use crate::canonical::{JsonError, parse, read_canonical};
use crate::check::{self, Violation};
use crate::digest::Digest;
use crate::leak_report::{self, Finding};
use crate::limits::BundleLimits;
use crate::manifest::Manifest;
use crate::pointer::Pointer;

/// Treatment of leak findings that a manifest accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptances {
    /// Accepted findings pass.
    Honour,
    /// Every finding refuses the bundle.
    Refuse,
}

/// Set of rules that a bundle is opened under.
///
/// Rules are added over time. Every rule refuses an incoming bundle. A rule that is newer than the first release does
/// not refuse a bundle that is already stored. Its violation is one of [`Bundle::findings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Every rule refuses the bundle.
    Incoming,
    /// Violations of newer rules become findings.
    Stored,
}

/// Limit on the findings of a stored bundle's manifest, and on those of its blobs.
const MAX_FINDINGS: usize = 100;

/// Applies the rules while a bundle is opened and collects the findings.
struct Verdict {
    acceptances: Acceptances,
    admission: Admission,
    findings: Vec<BundleError>,
}

impl Verdict {
    fn new(acceptances: Acceptances, admission: Admission) -> Self {
        Self { acceptances, admission, findings: Vec::new() }
    }

    /// Returns `error`, or records it as a finding if a stored bundle violates a newer rule.
    fn refuse(&mut self, error: BundleError) -> Result<(), BundleError> {
        if self.admission == Admission::Incoming || !error.is_newer_rule() {
            return Err(error);
        }
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(error);
        }
        Ok(())
    }

    fn violations(&mut self, violations: Vec<Violation>) -> Result<(), BundleError> {
        let (newer, older): (Vec<_>, Vec<_>) = match self.admission {
            Admission::Incoming => (Vec::new(), violations),
            Admission::Stored => violations.into_iter().partition(|violation| violation.newer),
        };
        if !older.is_empty() {
            return Err(BundleError::Unsound(older));
        }
        newer.into_iter().try_for_each(|violation| self.refuse(BundleError::Unsound(vec![violation])))
    }

    fn leaks(&mut self, findings: Vec<Finding>) -> Result<(), BundleError> {
        for finding in findings {
            if !(finding.accepted && self.acceptances == Acceptances::Honour) {
                self.refuse(BundleError::Leak(Box::new(finding)))?;
            }
        }
        Ok(())
    }
}

/// Error returned when bytes are not a valid bundle. Messages name places, never content.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The manifest is not valid canonical JSON.
    #[error("invalid manifest: {0}")]
    Manifest(#[from] JsonError),
    /// The manifest violates a rule.
    #[error("{}", first(.0))]
    Unsound(Vec<Violation>),
    /// A text contains a credential or a host path.
    #[error("{0}")]
    Leak(Box<Finding>),
    /// Blobs that the manifest names are missing.
    #[error("{} blobs not found, the first is {}", .0.len(), .0.first().map(Digest::to_string).unwrap_or_default())]
    MissingBlobs(Vec<Digest>),
    /// The manifest does not name this blob.
    #[error("blob {0} is not named by the manifest")]
    UnlistedBlob(Digest),
    /// The size of a blob differs from the manifest.
    #[error("size of blob `{pointer}` differs from the manifest ({actual} instead of {declared} bytes)")]
    WrongSize {
        /// Place in the manifest.
        pointer: Pointer,
        /// Size declared in the manifest, in bytes.
        declared: u32,
        /// Size of the blob, in bytes.
        actual: usize,
    },
    /// The single-file form of the bundle is larger than allowed.
    #[error("bundle exceeds limit `bundle_bytes` ({actual} > {allowed} bytes as one file)")]
    TooLarge {
        /// Size in bytes.
        actual: usize,
        /// Maximum size in bytes.
        allowed: usize,
    },
    /// A prompt or workflow definition is not UTF-8.
    #[error("invalid text `{0}`: not UTF-8")]
    NotText(Pointer),
    /// A tool schema is not a JSON object.
    #[error("invalid schema `{pointer}`: {problem}")]
    InvalidSchema {
        /// Place in the manifest.
        pointer: Pointer,
        /// Error in the JSON text.
        problem: JsonError,
    },
    /// A tool schema is not a valid JSON Schema.
    #[error("invalid schema `{pointer}` {}", first_fault(.faults))]
    FaultySchema {
        /// Place of the schema in the manifest.
        pointer: Pointer,
        /// The faults, at least one.
        faults: Vec<Fault>,
    },
}

fn first(violations: &[Violation]) -> String {
    match violations {
        [] => "invalid manifest".to_owned(),
        [one] => one.message.clone(),
        [one, rest @ ..] => format!("{} (and {} more)", one.message, rest.len()),
    }
}

fn first_fault(faults: &[Fault]) -> String {
    match faults {
        [] => String::new(),
        [one] => one.to_string(),
        [one, rest @ ..] => format!("{one} (and {} more)", rest.len()),
    }
}

impl BundleError {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Manifest(error) => error.code(),
            Self::Unsound(violations) => violations.first().map_or(Code::InvalidBundle, |violation| violation.code),
            Self::Leak(finding) => leak_report::error_code(finding.leak.rule.kind()),
            Self::MissingBlobs(_) => Code::MissingBlobs,
            Self::UnlistedBlob(_) => Code::UnlistedBlob,
            Self::WrongSize { .. } => Code::WrongSize,
            Self::TooLarge { .. } => Code::TooLarge,
            Self::NotText(_) => Code::NotUtf8,
            Self::InvalidSchema { .. } | Self::FaultySchema { .. } => Code::InvalidSchema,
        }
    }

    /// Returns the recommended action.
    pub fn help(&self) -> String {
        match self {
            Self::Manifest(error) => error.help().to_owned(),
            Self::Unsound(violations) => violations.first().map(|violation| violation.help.clone()).unwrap_or_default(),
            Self::Leak(_) => {
                "remove it and build the bundle again, or accept the finding by name if this host allows that"
                    .to_owned()
            }
            Self::MissingBlobs(_) => "send the missing blobs, or build the bundle again".to_owned(),
            Self::UnlistedBlob(_) => "send only blobs that the manifest names".to_owned(),
            Self::WrongSize { .. } | Self::InvalidSchema { .. } => {
                "correct the file and build the bundle again".to_owned()
            }
            Self::FaultySchema { faults, .. } => {
                faults.first().map(|fault| fault.problem.help()).unwrap_or_default().to_owned()
            }
            Self::TooLarge { .. } => "make the bundle smaller, or raise `bundle_bytes`".to_owned(),
            Self::NotText(_) => "save the file as UTF-8".to_owned(),
        }
    }

    /// `true` if a stored bundle may be older than the rule that it violates.
    ///
    /// The scan that admitted the bundle knew every leak that its author accepted. It may not have known other leaks.
    pub fn is_newer_rule(&self) -> bool {
        match self {
            Self::Unsound(violations) => violations.iter().all(|violation| violation.newer),
            Self::Leak(finding) => !finding.accepted,
            Self::FaultySchema { .. } => true,
            Self::Manifest(_)
            | Self::MissingBlobs(_)
            | Self::UnlistedBlob(_)
            | Self::WrongSize { .. }
            | Self::TooLarge { .. }
            | Self::NotText(_)
            | Self::InvalidSchema { .. } => false,
        }
    }

    /// Returns the place in the manifest, if the error has one.
    pub fn pointer(&self) -> Option<&Pointer> {
        match self {
            Self::Unsound(violations) => violations.first().map(|violation| &violation.pointer),
            Self::Leak(finding) => Some(&finding.pointer),
            Self::WrongSize { pointer, .. }
            | Self::NotText(pointer)
            | Self::InvalidSchema { pointer, .. }
            | Self::FaultySchema { pointer, .. } => Some(pointer),
            _ => None,
        }
    }
}

/// A verified bundle. Cheap to clone.
#[derive(Clone)]
pub struct Bundle(Arc<Inner>);

struct Inner {
    manifest: VerifiedManifest,
    blobs: BTreeMap<Digest, Blob>,
    findings: Vec<BundleError>,
}

/// A verified manifest, without its blobs: canonical, sound and free of leaks. Cheap to clone.
#[derive(Clone)]
pub struct VerifiedManifest(Arc<VerifiedManifestInner>);

struct VerifiedManifestInner {
    manifest: Manifest,
    blob: Blob,
    acceptances: Acceptances,
    admission: Admission,
    findings: Vec<BundleError>,
}

impl VerifiedManifest {
    /// Verifies an incoming manifest.
    pub fn open(blob: Blob, limits: &BundleLimits, acceptances: Acceptances) -> Result<Self, BundleError> {
        Self::admit(blob, limits, acceptances, Admission::Incoming)
    }

    /// Verifies a manifest under the rules of `admission`, which also apply to its blobs ([`Self::complete`]).
    pub fn admit(
        blob: Blob,
        limits: &BundleLimits,
        acceptances: Acceptances,
        admission: Admission,
    ) -> Result<Self, BundleError> {
        let mut verdict = Verdict::new(acceptances, admission);
        let manifest = read_manifest(blob.bytes(), limits, &mut verdict)?;
        Ok(Self(Arc::new(VerifiedManifestInner { manifest, blob, acceptances, admission, findings: verdict.findings })))
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// Returns the digest of the manifest's bytes.
    pub fn digest(&self) -> Digest {
        self.0.blob.digest()
    }

    /// Verifies the blobs and returns the bundle. Plugin packages may be absent, because they travel beside bundles.
    pub fn complete(
        self,
        blobs: impl IntoIterator<Item = impl Into<Blob>>,
        limits: &BundleLimits,
    ) -> Result<Bundle, BundleError> {
        let digested = |blob: Blob| (blob.digest(), blob);
        let blobs: BTreeMap<Digest, Blob> = blobs.into_iter().map(|blob| digested(blob.into())).collect();
        // The size is that of the single-file form, so every bundle opened here can be packed and opened again.
        // Packages travel beside the bundle, and the manifest declares their sizes.
        let carried = self.manifest().carried();
        let counted = blobs.iter().filter(|(digest, _)| carried.contains(digest)).map(|(_, blob)| blob.bytes().len());
        let actual = crate::canonical_tar::packed_bytes([self.0.blob.bytes().len()].into_iter().chain(counted));
        if actual > limits.bundle_bytes {
            return Err(BundleError::TooLarge { actual, allowed: limits.bundle_bytes });
        }
        let mut verdict = Verdict::new(self.0.acceptances, self.0.admission);
        check_blobs(&self.0.manifest, &blobs, limits, &mut verdict)?;
        Ok(Bundle(Arc::new(Inner { manifest: self, blobs, findings: verdict.findings })))
    }
}

impl std::fmt::Debug for VerifiedManifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedManifest").field("digest", &self.digest()).finish_non_exhaustive()
    }
}

impl Bundle {
    /// Verifies a manifest and its blobs. Plugin packages may be absent, because they travel beside bundles.
    pub fn open(
        bytes: Arc<[u8]>,
        blobs: impl IntoIterator<Item = impl Into<Blob>>,
        limits: &BundleLimits,
        acceptances: Acceptances,
    ) -> Result<Self, BundleError> {
        VerifiedManifest::open(Blob::new(bytes), limits, acceptances)?.complete(blobs, limits)
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        self.0.manifest.manifest()
    }

    /// Returns the bytes of the manifest, which the digest covers.
    pub fn manifest_bytes(&self) -> &Arc<[u8]> {
        self.0.manifest.0.blob.bytes()
    }

    /// Returns the digest of the manifest's bytes. It covers all named blobs.
    pub fn digest(&self) -> Digest {
        self.0.manifest.digest()
    }

    /// Returns the violations of newer rules by a bundle opened as [`Admission::Stored`], at most 100 for the manifest
    /// and 100 for the blobs. Empty for all other bundles.
    pub fn findings(&self) -> impl Iterator<Item = &BundleError> {
        self.0.manifest.0.findings.iter().chain(&self.0.findings)
    }

    /// Returns the bytes of a blob that travels with the bundle.
    pub fn blob(&self, digest: &Digest) -> Option<&Arc<[u8]>> {
        self.0.blobs.get(digest).map(Blob::bytes)
    }

    /// Returns all blobs that travel with the bundle, by digest.
    pub fn blobs(&self) -> impl Iterator<Item = (&Digest, &Arc<[u8]>)> {
        self.0.blobs.iter().map(|(digest, blob)| (digest, blob.bytes()))
    }
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle").field("digest", &self.digest()).field("blobs", &self.0.blobs.len()).finish()
    }
}

/// Verifies a manifest without its blobs: canonical, sound and free of leaks.
pub fn open_manifest(bytes: &[u8], limits: &BundleLimits, acceptances: Acceptances) -> Result<Manifest, BundleError> {
    read_manifest(bytes, limits, &mut Verdict::new(acceptances, Admission::Incoming))
}

fn read_manifest(bytes: &[u8], limits: &BundleLimits, verdict: &mut Verdict) -> Result<Manifest, BundleError> {
    let manifest: Manifest = read_canonical(bytes, limits.manifest())?;
    verdict.violations(check::keys(&manifest, limits))?;
    // The leak scan runs first, because other errors repeat names, and a name may contain a leak.
    verdict.leaks(match verdict.admission {
        Admission::Incoming => leak_report::scan_manifest_to_first(&manifest),
        // All findings are collected, because an accepted finding must not hide one that refuses the bundle.
        Admission::Stored => leak_report::scan_manifest(&manifest),
    })?;
    verdict.violations(check::check(&manifest, limits))?;
    Ok(manifest)
}

fn check_blobs(
    manifest: &Manifest,
    blobs: &BTreeMap<Digest, Blob>,
    limits: &BundleLimits,
    verdict: &mut Verdict,
) -> Result<(), BundleError> {
    let refs = manifest.blobs();
    let named: BTreeSet<Digest> = refs.iter().map(|(_, blob)| blob.digest).collect();
    if let Some(unlisted) = blobs.keys().find(|digest| !named.contains(digest)) {
        return Err(BundleError::UnlistedBlob(*unlisted));
    }
    let needed = |pointer: &Pointer| !pointer.as_str().starts_with("/plugins/");
    let mut missing: Vec<Digest> = refs
        .iter()
        .filter(|(pointer, blob)| needed(pointer) && !blobs.contains_key(&blob.digest))
        .map(|(_, blob)| blob.digest)
        .collect();
    missing.dedup();
    if !missing.is_empty() {
        return Err(BundleError::MissingBlobs(missing));
    }
    let mut judged = BTreeSet::new();
    for (pointer, blob) in refs {
        let Some(content) = blobs.get(&blob.digest) else { continue };
        let bytes = content.bytes();
        if usize::try_from(blob.size) != Ok(bytes.len()) {
            return Err(BundleError::WrongSize { pointer, declared: blob.size, actual: bytes.len() });
        }
        if pointer.as_str().starts_with("/plugins/") {
            continue;
        }
        if std::str::from_utf8(bytes).is_err() {
            return Err(BundleError::NotText(pointer));
        }
        let mut schema = None;
        if pointer.as_str().starts_with("/tools/") {
            let document = parse(bytes, limits.schema())
                .map_err(|problem| BundleError::InvalidSchema { pointer: pointer.clone(), problem })?;
            if !document.is_object() {
                let problem = JsonError::Shape { problem: "expected an object".to_owned(), unknown_field: false };
                return Err(BundleError::InvalidSchema { pointer, problem });
            }
            schema = Some(document);
        }
        verdict.leaks(leak_report::scan_blob(manifest, &pointer, content))?;
        // The leak scan runs first, because faults are reported with the keys around them, and a key may contain a
        // leak. Many tools may share one schema.
        if let Some(document) = schema
            && judged.insert(blob.digest)
            && let Err(faults) = Schema::parse(&document, limits.pattern_bytes)
        {
            verdict.refuse(BundleError::FaultySchema { pointer, faults })?;
        }
    }
    Ok(())
}
