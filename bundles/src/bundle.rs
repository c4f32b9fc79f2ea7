//! A verified bundle: a manifest that is canonical, sound and free of leaks, and every blob it
//! names. Having one is the proof; there is no other way to make it than to verify it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tool_schema::{Fault, Schema};

use crate::blob::Blob;
use crate::canonical::{JsonError, parse, read_canonical};
use crate::check::{self, Violation};
use crate::digest::Digest;
use crate::leak_report::{self, Finding};
use crate::limits::BundleLimits;
use crate::manifest::Manifest;
use crate::pointer::Pointer;

/// Whether findings of the leak scan that a manifest accepts are honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptances {
    /// As the author wrote them.
    Honour,
    /// Not at all: every finding refuses the bundle.
    Refuse,
}

/// Set of rules that a bundle is opened under.
///
/// Rules are added over time. Every rule refuses a bundle that comes in. A rule that is newer than the first release
/// does not refuse a bundle that is already stored: the violation is one of [`Bundle::findings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Every rule refuses.
    Incoming,
    /// Newer rules become findings.
    Stored,
}

/// Limit on the findings of a stored bundle's manifest, and on those of its blobs.
const MAX_FINDINGS: usize = 100;

/// Applies the rules of one opening, and keeps the findings.
struct Verdict {
    acceptances: Acceptances,
    admission: Admission,
    findings: Vec<BundleError>,
}

impl Verdict {
    fn new(acceptances: Acceptances, admission: Admission) -> Self {
        Self { acceptances, admission, findings: Vec::new() }
    }

    /// Refuses with `error`, or keeps it as a finding where a newer rule meets a stored bundle.
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

/// Why bytes are no bundle. Messages speak of places, never of content.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The manifest is not the JSON it should be.
    #[error("the manifest is {0}")]
    Manifest(#[from] JsonError),
    /// The manifest is not sound.
    #[error("{}", first(.0))]
    Unsound(Vec<Violation>),
    /// A credential or a host path.
    #[error("{0}")]
    Leak(Box<Finding>),
    /// Blobs that the manifest names and that are not there.
    #[error("{} blobs are missing, the first is {}", .0.len(), .0.first().map(Digest::to_string).unwrap_or_default())]
    MissingBlobs(Vec<Digest>),
    /// A blob that the manifest does not name.
    #[error("blob {0} is not named by the manifest")]
    UnlistedBlob(Digest),
    /// A blob of another size than the manifest says.
    #[error("`{pointer}` says {said} bytes and its blob has {actual}")]
    WrongSize {
        /// Where.
        pointer: Pointer,
        /// Bytes that the manifest says.
        said: u32,
        /// Bytes that there are.
        actual: usize,
    },
    /// More bytes than a bundle may have in its single-file form.
    #[error("the bundle has {actual} bytes as one file, more than the {allowed} allowed (`bundle_bytes`)")]
    TooLarge {
        /// Bytes that there are.
        actual: usize,
        /// Bytes that are allowed.
        allowed: usize,
    },
    /// A prompt or definition that is not UTF-8.
    #[error("the text of `{0}` is not UTF-8")]
    NotText(Pointer),
    /// A tool schema that is no JSON object.
    #[error("the schema `{pointer}` is {problem}")]
    InvalidSchema {
        /// Where.
        pointer: Pointer,
        /// What is wrong with its JSON.
        problem: JsonError,
    },
    /// A tool schema with faults.
    #[error("the schema `{pointer}` is invalid {}", first_fault(.faults))]
    FaultySchema {
        /// The place of the schema in the manifest.
        pointer: Pointer,
        /// The faults, at least one.
        faults: Vec<Fault>,
    },
}

fn first(violations: &[Violation]) -> String {
    match violations {
        [] => "the manifest is not sound".to_owned(),
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
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Manifest(error) => error.code(),
            Self::Unsound(violations) => violations.first().map_or("invalid_bundle", |violation| violation.code),
            Self::Leak(finding) => finding.leak.rule.kind().code(),
            Self::MissingBlobs(_) => "missing_blobs",
            Self::UnlistedBlob(_) => "unlisted_blob",
            Self::WrongSize { .. } => "wrong_size",
            Self::TooLarge { .. } => "too_large",
            Self::NotText(_) => "not_utf8",
            Self::InvalidSchema { .. } | Self::FaultySchema { .. } => "invalid_schema",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Manifest(error) => error.help().to_owned(),
            Self::Unsound(violations) => violations.first().map(|violation| violation.help.clone()).unwrap_or_default(),
            Self::Leak(_) => {
                "build the bundle without it; its author may accept a finding by name, where this host allows that"
                    .to_owned()
            }
            Self::MissingBlobs(_) => "send them, or build the bundle again".to_owned(),
            Self::UnlistedBlob(_) => "a bundle carries what its manifest names and nothing else".to_owned(),
            Self::WrongSize { .. } | Self::InvalidSchema { .. } => {
                "mend the file and build the bundle again".to_owned()
            }
            Self::FaultySchema { faults, .. } => {
                faults.first().map(|fault| fault.problem.help()).unwrap_or_default().to_owned()
            }
            Self::TooLarge { .. } => "make it smaller, or raise the limit of that name".to_owned(),
            Self::NotText(_) => "save the file as UTF-8".to_owned(),
        }
    }

    /// `true` if a stored bundle may have been taken in before the rule that it violates existed.
    ///
    /// A leak that its author accepted was known when the bundle came in; one that nobody accepted was not.
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

    /// Where in the manifest, where one place is meant.
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

/// A manifest that was verified by itself: canonical, sound, free of leaks. Cheap to clone.
#[derive(Clone)]
pub struct VerifiedManifest(Arc<Verified>);

struct Verified {
    manifest: Manifest,
    blob: Blob,
    acceptances: Acceptances,
    admission: Admission,
    findings: Vec<BundleError>,
}

impl VerifiedManifest {
    /// Verifies a manifest that comes in.
    pub fn open(blob: Blob, limits: &BundleLimits, acceptances: Acceptances) -> Result<Self, BundleError> {
        Self::admit(blob, limits, acceptances, Admission::Incoming)
    }

    /// Verifies a manifest under the rules of `admission`, which hold for its blobs too ([`Self::complete`]).
    pub fn admit(
        blob: Blob,
        limits: &BundleLimits,
        acceptances: Acceptances,
        admission: Admission,
    ) -> Result<Self, BundleError> {
        let mut verdict = Verdict::new(acceptances, admission);
        let manifest = read_manifest(blob.bytes(), limits, &mut verdict)?;
        Ok(Self(Arc::new(Verified { manifest, blob, acceptances, admission, findings: verdict.findings })))
    }

    /// What it says.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// The digest of its bytes.
    pub fn digest(&self) -> Digest {
        self.0.blob.digest()
    }

    /// The bundle of this manifest and its blobs, if they are verified too. Plugin packages may be absent: they travel
    /// beside bundles.
    pub fn complete(
        self,
        blobs: impl IntoIterator<Item = impl Into<Blob>>,
        limits: &BundleLimits,
    ) -> Result<Bundle, BundleError> {
        let digested = |blob: Blob| (blob.digest(), blob);
        let blobs: BTreeMap<Digest, Blob> = blobs.into_iter().map(|blob| digested(blob.into())).collect();
        // Counted as one file, so that what is opened here can be carried and opened again. Packages travel beside it,
        // and the manifest declares their sizes.
        let carried = self.manifest().carried();
        let counted = blobs.iter().filter(|(digest, _)| carried.contains(digest)).map(|(_, blob)| blob.bytes().len());
        let actual = crate::archive::packed_bytes([self.0.blob.bytes().len()].into_iter().chain(counted));
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
    /// Verifies a manifest and its blobs. Plugin packages may be absent: they travel beside bundles.
    pub fn open(
        bytes: Arc<[u8]>,
        blobs: impl IntoIterator<Item = impl Into<Blob>>,
        limits: &BundleLimits,
        acceptances: Acceptances,
    ) -> Result<Self, BundleError> {
        VerifiedManifest::open(Blob::new(bytes), limits, acceptances)?.complete(blobs, limits)
    }

    /// What the bundle says.
    pub fn manifest(&self) -> &Manifest {
        self.0.manifest.manifest()
    }

    /// The manifest's bytes, which the digest covers.
    pub fn manifest_bytes(&self) -> &Arc<[u8]> {
        self.0.manifest.0.blob.bytes()
    }

    /// The digest of the manifest's bytes, and thereby of everything that it names.
    pub fn digest(&self) -> Digest {
        self.0.manifest.digest()
    }

    /// Violations of newer rules by a bundle that was opened as [`Admission::Stored`], at most 100 each of its manifest
    /// and of its blobs. Empty for every other bundle.
    pub fn findings(&self) -> impl Iterator<Item = &BundleError> {
        self.0.manifest.0.findings.iter().chain(&self.0.findings)
    }

    /// The bytes of a blob that travels with the bundle.
    pub fn blob(&self, digest: &Digest) -> Option<&Arc<[u8]>> {
        self.0.blobs.get(digest).map(Blob::bytes)
    }

    /// All blobs that travel with the bundle, by digest.
    pub fn blobs(&self) -> impl Iterator<Item = (&Digest, &Arc<[u8]>)> {
        self.0.blobs.iter().map(|(digest, blob)| (digest, blob.bytes()))
    }
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle").field("digest", &self.digest()).field("blobs", &self.0.blobs.len()).finish()
    }
}

/// Verifies a manifest by itself: canonical, sound, free of leaks.
pub fn open_manifest(bytes: &[u8], limits: &BundleLimits, acceptances: Acceptances) -> Result<Manifest, BundleError> {
    read_manifest(bytes, limits, &mut Verdict::new(acceptances, Admission::Incoming))
}

fn read_manifest(bytes: &[u8], limits: &BundleLimits, verdict: &mut Verdict) -> Result<Manifest, BundleError> {
    let manifest: Manifest = read_canonical(bytes, limits.manifest())?;
    verdict.violations(check::keys(&manifest, limits))?;
    // Before the rest: what is unsound is told by name, and a name may hold a leak.
    verdict.leaks(match verdict.admission {
        Admission::Incoming => leak_report::scan_manifest_to_first(&manifest),
        // A finding that is kept must not hide one that refuses.
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
            return Err(BundleError::WrongSize { pointer, said: blob.size, actual: bytes.len() });
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
        // After the leaks: faults are told by the keys around them, and a key may hold a leak.
        // Many tools may share one schema.
        if let Some(document) = schema
            && judged.insert(blob.digest)
            && let Err(faults) = Schema::parse(&document, limits.pattern_bytes)
        {
            verdict.refuse(BundleError::FaultySchema { pointer, faults })?;
        }
    }
    Ok(())
}
