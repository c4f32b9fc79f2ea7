//! Bundles of the simulation, and the results of their verification, remembered by digest.
//!
//! Building and verifying a bundle takes longer than simulating a Runtime for a minute, and both give the same result for the
//! same input. They are done once for all simulated Runtimes and seeds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bundles::{
    Acceptances, Blob, BuildOptions, BundleLimits, Digest, Folder, Revision, VerifiedManifest, WorkspaceId, build,
};
use bytes::Bytes;
use runtime_api::Code;
use yoi_workspace_server::runtime_link::SignedManifest;

/// A published bundle.
#[derive(Debug)]
pub struct PublishedBundle {
    pub manifest: SignedManifest,
    pub blobs: BTreeMap<Digest, Bytes>,
}

/// A verified manifest, as a Runtime needs it.
#[derive(Debug)]
pub struct AdmittedManifest {
    pub workspace: WorkspaceId,
    pub revision: Revision,
    pub carried: BTreeSet<Digest>,
    verified: VerifiedManifest,
}

type Remembered<K, V> = LazyLock<Mutex<BTreeMap<K, V>>>;

static BUNDLES: Remembered<(WorkspaceId, u64), Arc<PublishedBundle>> = LazyLock::new(Mutex::default);
static MANIFESTS: Remembered<Digest, Result<Arc<AdmittedManifest>, Code>> = LazyLock::new(Mutex::default);
static COMPLETE: Remembered<Digest, Result<(), Code>> = LazyLock::new(Mutex::default);

fn remembered<K: Ord, V: Clone>(all: &Remembered<K, V>, key: K, create: impl FnOnce() -> V) -> V {
    all.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert_with(create).clone()
}

/// Returns the bundle of a workspace with this revision. One prompt changes with each revision, one belongs to the workspace,
/// and one is the same in all workspaces.
pub fn bundle(workspace: &WorkspaceId, revision: u64) -> Arc<PublishedBundle> {
    remembered(&BUNDLES, (workspace.clone(), revision), || {
        let prompts = [
            ("rule", format!("Follow rule {revision} of {workspace}.")),
            ("conduct", format!("You work for {workspace}.")),
            ("manners", "Be kind and brief.".to_owned()),
        ];
        built(workspace, revision, &prompts)
    })
}

/// Builds a bundle with these prompts.
pub fn built(workspace: &WorkspaceId, revision: u64, prompts: &[(&str, String)]) -> Arc<PublishedBundle> {
    let names: Vec<String> = prompts.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let files = [
        (
            "bundle.toml".to_owned(),
            format!(
                "schema = \"yoi.config-bundle/1\"\nrevision = {revision}\ncreated_at = \"2026-06-25T15:49:30Z\"\n\
                 language = \"en\"\n[workspace]\nid = \"{workspace}\"\n"
            ),
        ),
        ("profiles/plain.toml".to_owned(), format!("instructions = [{}]\n", names.join(", "))),
    ];
    let prompts = prompts.iter().map(|(name, text)| (format!("prompts/{name}.md"), text.clone()));
    let files = files.into_iter().chain(prompts).map(|(path, text)| (path, text.into_bytes()));
    let output = build(&Folder::from_files(files), &BuildOptions::default(), &BundleLimits::default());
    let bundle = output.expect("a bundle").bundle;
    let manifest = Bytes::from_owner(bundle.manifest_bytes().clone());
    let blobs = bundle.blobs().map(|(digest, blob)| (*digest, Bytes::from_owner(blob.clone()))).collect();
    let manifest = SignedManifest { digest: bundle.digest(), manifest, envelope: None };
    Arc::new(PublishedBundle { manifest, blobs })
}

/// Verifies a manifest like a Runtime.
pub fn admit(manifest: &SignedManifest) -> Result<Arc<AdmittedManifest>, Code> {
    let digest = Digest::of(&manifest.manifest);
    if digest != manifest.digest {
        return Err(Code::DigestMismatch);
    }
    remembered(&MANIFESTS, digest, || {
        let blob = Blob::new(&*manifest.manifest);
        let verified = VerifiedManifest::open(blob, &BundleLimits::default(), Acceptances::Refuse);
        let verified = verified.map_err(|error| error.code())?;
        let manifest = verified.manifest();
        Ok(Arc::new(AdmittedManifest {
            workspace: manifest.workspace.id.clone(),
            revision: manifest.revision,
            carried: manifest.carried(),
            verified,
        }))
    })
}

/// Verifies the blobs of a manifest like a Runtime.
pub fn complete(manifest: &AdmittedManifest, blobs: impl Iterator<Item = Bytes>) -> Result<(), Code> {
    remembered(&COMPLETE, manifest.verified.digest(), || {
        let blobs = blobs.map(|blob| Blob::new(&*blob));
        let bundle = manifest.verified.clone().complete(blobs, &BundleLimits::default());
        bundle.map(drop).map_err(|error| error.code())
    })
}
