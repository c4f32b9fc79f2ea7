//! Brings a bundle to a Runtime: only what the Runtime lacks, and only while the policy allows it.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bundles::{Digest, Manifest, WorkspaceId};
use bytes::Bytes;
use runtime_api::Code;
use runtime_api::desired::{AcknowledgedBundle, DesiredBundle};

use crate::link_error::LinkError;
use crate::runtime_link::{RuntimeLink, SignedManifest};

/// Maximum number of uploads of a manifest. The first one usually reports missing blobs. If a further one does, the Runtime
/// was restarted or blobs were removed meanwhile. More uploads would let a Runtime that reports blobs for ever get many copies
/// of a bundle before the reconciler makes it wait.
const MAX_MANIFEST_UPLOADS: usize = 3;

/// Maximum number of new blobs that are sent before the manifest. With more of them, the report of the missing blobs takes less
/// time than a question about each.
const MAX_BLOBS_BEFORE_MANIFEST: usize = 8;

/// Source of the bundles and blobs that are delivered.
#[async_trait]
pub trait BundleSource: Send + Sync {
    /// Returns the manifest of a bundle of the workspace.
    async fn manifest(&self, workspace: &WorkspaceId, digest: Digest) -> Result<SignedManifest, LinkError>;

    /// Returns a blob of the workspace. `None` if the workspace does not have it.
    async fn blob(&self, workspace: &WorkspaceId, digest: Digest) -> Result<Option<Bytes>, LinkError>;
}

/// Brings the desired bundle to a Runtime and sets its desired state. `held` is the bundle that the Runtime acknowledged before.
/// `is_allowed` is checked before each transfer, so that a change of the policy ends a delivery.
pub async fn deliver(
    source: &dyn BundleSource,
    link: &dyn RuntimeLink,
    workspace: &WorkspaceId,
    desired: &DesiredBundle,
    held: Option<Digest>,
    is_allowed: impl Fn() -> bool + Send + Sync,
) -> Result<AcknowledgedBundle, LinkError> {
    let check = || if is_allowed() { Ok(()) } else { Err(LinkError::NotAllowed) };
    check()?;
    let signed = source.manifest(workspace, desired.bundle).await?;
    let manifest = parse(&signed).ok_or(LinkError::Source(Code::BundleDamaged))?;
    // Before the bundle, so that workers have their plugins as soon as the bundle is there. A package that the Backend does
    // not have may be on the Runtime already; otherwise the Runtime reports it as missing.
    let mut first: BTreeSet<Digest> = manifest.packages().map(|(_, package)| package.digest).collect();
    // A small change needs one upload of the manifest instead of two, and the manifest is often larger than the change.
    first.extend(new_blobs(source, workspace, &manifest, held).await);
    for digest in first {
        check()?;
        if !link.has_blob(workspace, digest).await?
            && let Some(content) = source.blob(workspace, digest).await?
        {
            check()?;
            link.put_blob(workspace, digest, content).await?;
        }
    }
    let carried = manifest.carried();
    let mut sent = BTreeMap::new();
    for _ in 0..MAX_MANIFEST_UPLOADS {
        check()?;
        let Some(missing) = link.put_manifest(workspace, &signed).await? else {
            check()?;
            let state = link.set_desired(workspace, desired).await?;
            // A Runtime that acknowledges another decision than this one would get it again at once, for ever.
            let is_same = (state.generation, state.bundle) == (desired.generation, desired.bundle);
            return if is_same { Ok(state) } else { Err(LinkError::Unsupported) };
        };
        for digest in missing {
            // A Runtime may only ask for blobs of this bundle, and not again and again.
            let times = sent.entry(digest).or_insert(0_usize);
            *times += 1;
            if !carried.contains(&digest) || *times >= MAX_MANIFEST_UPLOADS {
                return Err(LinkError::Unsupported);
            }
            let content = source.blob(workspace, digest).await?.ok_or(LinkError::Source(Code::BlobNotFound))?;
            check()?;
            link.put_blob(workspace, digest, content).await?;
        }
    }
    Err(LinkError::Busy(Code::BlobsVanished))
}

fn parse(manifest: &SignedManifest) -> Option<Manifest> {
    serde_json::from_slice(&manifest.manifest).ok()
}

/// Returns the blobs that the bundle held by the Runtime does not have. Empty if there are many, or if the held bundle is not
/// known.
async fn new_blobs(
    source: &dyn BundleSource,
    workspace: &WorkspaceId,
    manifest: &Manifest,
    held: Option<Digest>,
) -> BTreeSet<Digest> {
    let Some(held) = held else { return BTreeSet::new() };
    let held = source.manifest(workspace, held).await.ok().as_ref().and_then(parse);
    let new: BTreeSet<Digest> = match held {
        Some(held) => manifest.carried().difference(&held.carried()).copied().collect(),
        None => BTreeSet::new(),
    };
    if new.len() <= MAX_BLOBS_BEFORE_MANIFEST { new } else { BTreeSet::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundles::Bundle;
    use host_policy::Facts;
    use jiff::Timestamp;
    use runtime_api::desired::Generation;
    use runtime_api::runtime::RuntimeStatus;
    use std::sync::Mutex;

    /// A Runtime that reports the same blobs as missing, as often as it is asked, and acknowledges a decision.
    #[derive(Debug)]
    struct Stubborn {
        missing: BTreeSet<Digest>,
        acknowledges: AcknowledgedBundle,
        uploads: Mutex<usize>,
    }

    #[async_trait]
    impl RuntimeLink for Stubborn {
        async fn status(&self) -> Result<RuntimeStatus, LinkError> {
            Err(LinkError::Unsupported)
        }

        async fn facts(&self, _: &WorkspaceId, _: Digest) -> Result<Facts, LinkError> {
            Err(LinkError::Unsupported)
        }

        async fn put_manifest(
            &self,
            _: &WorkspaceId,
            _: &SignedManifest,
        ) -> Result<Option<BTreeSet<Digest>>, LinkError> {
            Ok((!self.missing.is_empty()).then(|| self.missing.clone()))
        }

        async fn has_blob(&self, _: &WorkspaceId, _: Digest) -> Result<bool, LinkError> {
            Ok(false)
        }

        async fn put_blob(&self, _: &WorkspaceId, _: Digest, _: Bytes) -> Result<(), LinkError> {
            *self.uploads.lock().expect("not poisoned") += 1;
            Ok(())
        }

        async fn set_desired(&self, _: &WorkspaceId, _: &DesiredBundle) -> Result<AcknowledgedBundle, LinkError> {
            Ok(self.acknowledges)
        }
    }

    /// A source with one bundle.
    struct Single(Bundle);

    #[async_trait]
    impl BundleSource for Single {
        async fn manifest(&self, _: &WorkspaceId, digest: Digest) -> Result<SignedManifest, LinkError> {
            let manifest = Bytes::from_owner(self.0.manifest_bytes().clone());
            Ok(SignedManifest { digest, manifest, envelope: None })
        }

        async fn blob(&self, _: &WorkspaceId, digest: Digest) -> Result<Option<Bytes>, LinkError> {
            Ok(self.0.blob(&digest).cloned().map(Bytes::from_owner))
        }
    }

    /// Delivers the built-in bundle, and returns the number of uploads.
    async fn delivered(missing: usize, acknowledged: u64) -> (Result<AcknowledgedBundle, LinkError>, usize) {
        let source = Single(bundles::builtin().expect("a bundle"));
        let acknowledged_at = Timestamp::UNIX_EPOCH;
        let generation = acknowledged.try_into().expect("a generation");
        let bundle = source.0.digest();
        let missing = source.0.blobs().map(|(digest, _)| *digest).take(missing).collect();
        let acknowledges = AcknowledgedBundle { generation, bundle, acknowledged_at };
        let link = Stubborn { missing, acknowledges, uploads: Mutex::default() };
        let workspace = source.0.manifest().workspace.id.clone();
        let desired = DesiredBundle { generation: Generation::FIRST, bundle, allow_older: false };
        let result = deliver(&source, &link, &workspace, &desired, None, || true).await;
        let uploads = *link.uploads.lock().expect("not poisoned");
        (result, uploads)
    }

    #[tokio::test]
    async fn acknowledgement_of_another_decision_is_not_an_acknowledgement() {
        assert!(delivered(0, 1).await.0.is_ok());
        assert_eq!(delivered(0, 2).await.0, Err(LinkError::Unsupported));
    }

    #[tokio::test]
    async fn runtime_that_always_reports_a_blob_as_missing_gets_it_twice() {
        assert_eq!(delivered(1, 1).await, (Err(LinkError::Unsupported), 2));
    }

    #[tokio::test]
    async fn new_blobs_are_those_that_the_held_bundle_does_not_have() {
        /// A source in which one bundle has no prompt `b`.
        struct Pair(Bundle, Bundle);

        #[async_trait]
        impl BundleSource for Pair {
            async fn manifest(&self, _: &WorkspaceId, digest: Digest) -> Result<SignedManifest, LinkError> {
                let bundle = [&self.0, &self.1].into_iter().find(|bundle| bundle.digest() == digest);
                let bundle = bundle.ok_or(LinkError::Source(Code::BundleNotFound))?;
                let manifest = Bytes::from_owner(bundle.manifest_bytes().clone());
                Ok(SignedManifest { digest, manifest, envelope: None })
            }

            async fn blob(&self, _: &WorkspaceId, _: Digest) -> Result<Option<Bytes>, LinkError> {
                Ok(None)
            }
        }

        let bundle = |prompts: usize| {
            let toml = "schema = \"yoi.config-bundle/1\"\nrevision = 1\ncreated_at = \"2026-06-25T15:49:30Z\"\n\
                        language = \"en\"\n[workspace]\nid = \"acme\"\n";
            let names: Vec<String> = (0..prompts).map(|number| format!("\"p{number}\"")).collect();
            let mut files = vec![
                ("bundle.toml".to_owned(), toml.into()),
                ("profiles/plain.toml".to_owned(), format!("instructions = [{}]\n", names.join(", ")).into_bytes()),
            ];
            let prompt = |number| (format!("prompts/p{number}.md"), format!("Rule {number}.").into_bytes());
            files.extend((0..prompts).map(prompt));
            let (folder, limits) = (bundles::Folder::from_files(files), bundles::BundleLimits::default());
            bundles::build(&folder, &bundles::BuildOptions::default(), &limits).expect("a bundle").bundle
        };
        let workspace: WorkspaceId = "acme".parse().expect("an id");
        for (before, after, expected) in [(1, 2, 1), (2, 1, 0), (1, 9, 8), (1, 10, 0)] {
            let source = Pair(bundle(before), bundle(after));
            let held = Some(source.0.digest());
            let new = new_blobs(&source, &workspace, source.1.manifest(), held).await;
            assert_eq!(new.len(), expected, "{before} {after}");
            assert!(new.iter().all(|digest| source.0.blob(digest).is_none() && source.1.blob(digest).is_some()));
            let unknown = Some(Digest::of("unknown"));
            assert!(new_blobs(&source, &workspace, source.1.manifest(), unknown).await.is_empty());
        }
    }
}
