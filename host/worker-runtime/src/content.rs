//! What one workspace has brought: blobs, and the bundles that name them.
//!
//! A blob is kept once, whoever brings it, and is seen only by who brought it. A bundle is there when
//! its manifest and every blob that it needs are there and verified together, and not before. Nothing
//! that is used goes away.

pub(crate) mod ahead;
mod error;
mod garbage;
pub(crate) mod pending;
mod uses;

use std::sync::Arc;

use bundles::manifest::BlobRef;
use bundles::signature::{Envelope, Posture};
use bundles::{
    Acceptances, Admission, Blob, Bundle, BundleError, Digest, Manifest, Pointer, Revision, VerifiedManifest,
    WorkspaceId,
};
use bytes::Bytes;
use component_host::BundleView;
use futures_util::stream::{self, StreamExt};
use host_policy::RuntimeConfig;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, RwLockReadGuard};

use crate::blob_store::{self, Put, Source};
use crate::event::EventKind;
use crate::ledger::{
    ATTEMPTS, BlobRow, BundleRow, Change, ChangeError, Mark, Page, RevisionRow, Row, Usage, blob_key, bundle_key,
    bundles_key, holder_key, newest_key, packages_recorded_key, revision_key, uses_key,
};
use crate::runtime::Shared;
#[cfg(feature = "service")]
use crate::tenants::Inflight;

pub use error::ContentError;
pub use garbage::Collected;
pub use uses::User;

/// The blobs and bundles of one workspace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Content {
    pub(crate) shared: Arc<Shared>,
    pub(crate) workspace: WorkspaceId,
}

/// What became of a manifest that was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutBundle {
    /// The bundle is there.
    Stored {
        /// Whether it was there before.
        known: bool,
    },
    /// Nothing was kept. These blobs are missing; put them, and then the manifest again.
    Missing(Vec<Digest>),
}

/// What is told of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct BundleSummary {
    /// Its digest.
    pub digest: Digest,
    /// Its revision.
    pub revision: Revision,
    /// Bytes of the manifest and of all blobs that travel with it. Plugin packages do not count.
    pub bytes: u64,
    /// Blobs that travel with it.
    pub blobs: u32,
    /// Since when it is here.
    #[cfg_attr(feature = "service", schema(schema_with = bundles::openapi::instant))]
    pub stored_at: jiff::Timestamp,
    /// The ids of the keys that signed it, as far as they were asked for.
    pub signed_by: Vec<String>,
    /// Since when it must not be used any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "service", schema(schema_with = bundles::openapi::instant, required = false))]
    pub revoked_at: Option<jiff::Timestamp>,
}

/// Violation of a rule that is newer than the stored bundle that violates it.
///
/// The same bundle is refused where it comes in now. Texts name places and never hold content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct BundleFinding {
    /// Code of the refusal.
    pub code: String,
    /// Place in the manifest, as a JSON pointer. `None` for the manifest as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Description of the violation.
    pub message: String,
}

impl From<&BundleError> for BundleFinding {
    fn from(error: &BundleError) -> Self {
        let pointer = error.pointer().map(|pointer| pointer.as_str().to_owned());
        Self { code: error.code().to_owned(), pointer, message: error.to_string() }
    }
}

/// What is held from the end of a blob's content until its rows are written.
type Settling<'a> = (Option<OwnedSemaphorePermit>, RwLockReadGuard<'a, ()>);

impl Content {
    /// Keeps a blob. `expected` is how many bytes the sender announced, if it did. Once this returns the
    /// blob is durable and belongs to the workspace.
    pub async fn put_blob(
        &self,
        digest: Digest,
        source: Source<'_>,
        expected: Option<u64>,
    ) -> Result<Put, ContentError> {
        if self.shared.config.load().grants(&self.workspace).signatures.is_none() {
            return Err(ContentError::NoPosture(self.workspace.clone()));
        }
        let limits = &self.shared.sandbox.limits().bundle;
        let most = limits.package_bytes.max(limits.blob_bytes) as u64;
        if let Some(bytes) = expected.filter(|bytes| *bytes > most) {
            return Err(ContentError::TooLarge { limit: "package_bytes", actual: bytes, allowed: most });
        }
        let expected = expected.unwrap_or(most);
        let _inflight = self.shared.tenants.inflight(&self.workspace, expected)?;
        let key = blob_key(&self.workspace, &digest);
        if !self.shared.ledger.is_there(&key).await? {
            self.shared.room_for(&self.workspace, expected).await?;
        }
        // What is small enough to be scanned is brought together first.
        if expected <= limits.blob_bytes as u64 {
            return self.put_gathered(digest, source, expected).await;
        }
        let mut settling = None;
        let source = self.then_settle(digest, source, &mut settling);
        let put = self.shared.blobs.put(digest, source, expected.min(most)).await?;
        // Whether another workspace has it is nothing that this one is told.
        Ok(Put { known: self.own(digest, put.bytes).await?, ..put })
    }

    /// Keeps a blob that is brought together in memory. It is remembered for the bundle that names it.
    async fn put_gathered(&self, digest: Digest, source: Source<'_>, expected: u64) -> Result<Put, ContentError> {
        let blob = blob_store::gathered(source, expected).await?;
        if blob.digest() != digest {
            return Err(blob_store::BlobError::DigestMismatch { declared: digest, actual: blob.digest() }.into());
        }
        ahead::look(&self.shared.tenants, &self.shared.computing, &self.workspace, blob.clone());
        let put = {
            // Only now: who sends slowly must keep nobody from either.
            let _storing = self.shared.tenants.storing(&self.workspace).await?;
            let _kept = self.shared.stripes.keeping(&digest).await;
            let put = self.shared.blobs.put_whole(blob.clone()).await?;
            Put { known: self.own(digest, put.bytes).await?, ..put }
        };
        self.shared.recent.remember(&self.workspace, blob);
        Ok(put)
    }

    /// The same content; at its end it waits for the workspace's place at the disk, and until nobody removes
    /// the blob. Not before: who sends slowly must keep nobody from either.
    fn then_settle<'a, 'held: 'a>(
        &'held self,
        digest: Digest,
        source: Source<'a>,
        settling: &'a mut Option<Settling<'held>>,
    ) -> Source<'a> {
        let wait = async move {
            let place = self.shared.tenants.storing(&self.workspace).await.ok();
            *settling = Some((place, self.shared.stripes.keeping(&digest).await));
            Ok(Bytes::new())
        };
        source.chain(stream::once(wait)).boxed()
    }

    /// Room for a body of this workspace that is held in memory, until what is returned is dropped.
    #[cfg(feature = "service")]
    pub(crate) fn incoming(&self, bytes: usize) -> Result<Inflight, ContentError> {
        Ok(self.shared.tenants.inflight(&self.workspace, bytes as u64)?)
    }

    /// Records that a blob, which is in the store, belongs to the workspace. Returns `true` if it did before.
    async fn own(&self, digest: Digest, bytes: u64) -> Result<bool, ContentError> {
        let tenant = self.shared.tenants.tenant(&self.workspace);
        let _changing = tenant.changing.lock().await;
        for _ in 0..ATTEMPTS {
            let found = self.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace, &digest)).await?;
            let change = match &found {
                Some(row) => match self.renewal(digest, row) {
                    Some(change) => change,
                    None => return Ok(true),
                },
                None => self.owning(Change::default(), digest, bytes),
            };
            match self.shared.ledger.commit(&self.workspace, change).await {
                Err(ChangeError::Conflict) => {}
                done => return Ok(done.map(|()| found.is_some())?),
            }
        }
        Err(ContentError::Contended)
    }

    /// Returns the change that starts `unused_blob_seconds` of a blob anew, because a client that is told that the blob
    /// is here does not send it. Returns `None` in the first quarter of that time, so that repeated requests seldom
    /// write.
    fn renewal(&self, digest: Digest, row: &Row<BlobRow>) -> Option<Change> {
        let at = self.shared.ledger.now();
        let age = at.as_second().saturating_sub(row.value.at.as_second());
        let often = i64::try_from(self.shared.limits.unused_blob_seconds / 4).unwrap_or(i64::MAX);
        let key = blob_key(&self.workspace, &digest);
        let renewed = BlobRow { at, ..row.value };
        (age > often).then(|| Change::default().expect(&key, Some(row)).put(&key, &renewed))
    }

    /// Returns the number of bytes of a blob of this workspace, for a client that relies on the answer. An unused blob
    /// is then kept for at least three quarters of `unused_blob_seconds`, unless the store cannot be written to.
    pub async fn confirm_blob(&self, digest: Digest) -> Result<u64, ContentError> {
        let bytes = self.blob_size(digest).await?;
        match self.own_again(digest).await {
            // What cannot be written can still be answered.
            Err(error) if error.is_passing() => Ok(bytes),
            confirmed => confirmed,
        }
    }

    async fn own_again(&self, digest: Digest) -> Result<u64, ContentError> {
        let tenant = self.shared.tenants.tenant(&self.workspace);
        let _changing = tenant.changing.lock().await;
        let found = self.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace, &digest)).await?;
        let row = found.ok_or(ContentError::BlobNotFound(digest))?;
        if let Some(change) = self.renewal(digest, &row) {
            self.shared.ledger.commit(&self.workspace, change).await?;
        }
        Ok(row.value.bytes)
    }

    /// The rows of a blob that is new to the workspace.
    pub(crate) fn owning(&self, change: Change, digest: Digest, bytes: u64) -> Change {
        let at = self.shared.ledger.now();
        change
            .expect::<BlobRow>(&blob_key(&self.workspace, &digest), None)
            .put(&blob_key(&self.workspace, &digest), &BlobRow { bytes, at })
            .put(&holder_key(&digest, &self.workspace), &Mark {})
            .takes(Usage::bytes(bytes))
    }

    /// Bytes of a blob of this workspace.
    pub async fn blob_size(&self, digest: Digest) -> Result<u64, ContentError> {
        let row = self.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace, &digest)).await?;
        row.map(|row| row.value.bytes).ok_or(ContentError::BlobNotFound(digest))
    }

    /// The content of a blob of this workspace.
    pub async fn blob(&self, digest: Digest) -> Result<Bytes, ContentError> {
        let bytes = self.blob_size(digest).await?;
        Ok(self.shared.blobs.get_sized(digest, bytes).await?)
    }

    /// Stores a bundle: the blobs that are missing, and then its manifest. The bundle is durable when this returns.
    pub async fn put_bundle(&self, bundle: &Bundle) -> Result<BundleSummary, ContentError> {
        for _ in 0..ATTEMPTS {
            let manifest = Bytes::from_owner(bundle.manifest_bytes().clone());
            let missing = match self.put_manifest(bundle.digest(), manifest).await? {
                PutBundle::Stored { .. } => return self.bundle(bundle.digest()).await,
                PutBundle::Missing(missing) => missing,
            };
            for digest in missing {
                let blob = bundle.blob(&digest).ok_or(ContentError::BlobNotFound(digest))?.clone();
                let bytes = blob.len() as u64;
                self.put_blob(digest, blob_store::whole(Bytes::from_owner(blob)), Some(bytes)).await?;
            }
        }
        Err(ContentError::Contended)
    }

    /// Stores a bundle whose blobs are all here, by its manifest, or says which blobs are missing. Once this returns
    /// `Stored` the bundle is durable. It must be signed as the workspace's config demands.
    pub async fn put_manifest(&self, digest: Digest, manifest: Bytes) -> Result<PutBundle, ContentError> {
        self.put(digest, manifest, None).await
    }

    /// Keeps a bundle that comes as a signed envelope, whose payload is the manifest.
    pub async fn put_signed_bundle(&self, digest: Digest, envelope: Bytes) -> Result<PutBundle, ContentError> {
        let read = Envelope::parse(&envelope, &self.shared.sandbox.limits().bundle)?;
        let manifest = Bytes::copy_from_slice(read.payload());
        self.put(digest, manifest, Some((envelope, read))).await
    }

    async fn put(
        &self,
        digest: Digest,
        manifest: Bytes,
        envelope: Option<(Bytes, Envelope)>,
    ) -> Result<PutBundle, ContentError> {
        let blob = Blob::new(&*manifest);
        if blob.digest() != digest {
            return Err(blob_store::BlobError::DigestMismatch { declared: digest, actual: blob.digest() }.into());
        }
        let known = self.shared.ledger.row::<BundleRow>(&bundle_key(&self.workspace, &digest)).await?;
        let admission = if known.is_some() { Admission::Stored } else { Admission::Incoming };
        let config = self.shared.config.load_full();
        let acceptances = self.shared.acceptances(&config, &self.workspace);
        let verified = self.verified(blob.clone(), acceptances, admission).await?;
        let read = verified.manifest();
        if read.workspace.id != self.workspace {
            return Err(ContentError::OtherWorkspace);
        }
        let signed_by =
            self.shared.signers(&config, &self.workspace, &manifest, envelope.as_ref().map(|(_, read)| read))?;
        self.revision_is_free(read.revision, digest).await?;
        if known.as_ref().is_some_and(|row| row.value.revoked_at.is_some()) {
            return Err(ContentError::BundleRevoked(digest));
        }
        self.begin_put(digest, read).await;
        let (here, missing) = self.blobs_of(read).await?;
        if !missing.is_empty() {
            return Ok(PutBundle::Missing(missing));
        }
        let packages: Vec<_> = read.packages().collect();
        if known.is_none() {
            self.packages_have_their_sizes(&packages).await?;
        }
        let opened = self.complete(verified, &here).await?;
        let put = {
            let most = manifest.len() as u64;
            let envelope = envelope.map(|(bytes, _)| Blob::new(&*bytes));
            let more = envelope.as_ref().map_or(0, |envelope| envelope.bytes().len() as u64);
            self.shared.room_for(&self.workspace, most.saturating_add(more)).await?;
            // The place at the disk first, as everywhere: two that wait for the same two must do so in one order.
            let _storing = self.shared.tenants.storing(&self.workspace).await?;
            let signature = envelope.as_ref().map(Blob::digest);
            let _kept = self.shared.stripes.keeping_both(&digest, &signature.unwrap_or(digest)).await;
            self.shared.blobs.put_whole(blob).await?;
            let mut own = vec![(digest, most, User::Manifest)];
            if let Some(envelope) = envelope {
                own.push((envelope.digest(), more, User::Bundle(digest)));
                self.shared.blobs.put_whole(envelope).await?;
            }
            let row = BundleRow {
                revision: opened.manifest().revision,
                bytes: here.iter().map(|(_, bytes)| *bytes).fold(most, u64::saturating_add),
                blobs: u32::try_from(here.len()).unwrap_or(u32::MAX),
                stored_at: self.shared.ledger.now(),
                signed_by,
                envelope: signature,
                revoked_at: None,
            };
            self.acknowledge(digest, row, &here, &packages, &own).await?
        };
        self.shared.tenants.tenant(&self.workspace).pending().end(digest);
        self.shared.views.insert(digest, BundleView::new(opened));
        Ok(PutBundle::Stored { known: put })
    }

    /// Protects everything that a manifest names from collection, for as long as the bundle is being put.
    async fn begin_put(&self, bundle: Digest, manifest: &Manifest) {
        let named = manifest.blobs().into_iter().map(|(_, blob)| blob.digest).collect();
        let tenant = self.shared.tenants.tenant(&self.workspace);
        tenant.pending().begin(bundle, named, self.shared.ledger.now());
        // A collection decides under this lock. One that decided before is over when the rows are read.
        drop(tenant.changing.lock().await);
    }

    /// The blobs that travel with a bundle: those that are here with their sizes, and those that are not.
    async fn blobs_of(&self, manifest: &Manifest) -> Result<(Vec<(Digest, u64)>, Vec<Digest>), ContentError> {
        let (mut here, mut missing) = (Vec::new(), Vec::new());
        for digest in manifest.carried() {
            match self.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace, &digest)).await? {
                Some(row) => here.push((digest, row.value.bytes)),
                None => missing.push(digest),
            }
        }
        Ok((here, missing))
    }

    /// Refuses a bundle that declares another size than that of a package that is here.
    async fn packages_have_their_sizes(&self, packages: &[(Pointer, BlobRef)]) -> Result<(), ContentError> {
        for (pointer, package) in packages {
            let row = self.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace, &package.digest)).await?;
            if let Some(actual) = row.map(|row| row.value.bytes).filter(|actual| *actual != u64::from(package.size)) {
                let actual = usize::try_from(actual).unwrap_or(usize::MAX);
                return Err(BundleError::WrongSize { pointer: pointer.clone(), said: package.size, actual }.into());
            }
        }
        Ok(())
    }

    /// The bundle of a manifest whose blobs are here.
    async fn complete(&self, manifest: VerifiedManifest, blobs: &[(Digest, u64)]) -> Result<Bundle, ContentError> {
        let limits = self.shared.sandbox.limits().bundle.clone();
        let total = blobs.iter().map(|(_, bytes)| *bytes).fold(0, u64::saturating_add);
        if total > limits.bundle_bytes as u64 {
            let allowed = limits.bundle_bytes as u64;
            return Err(ContentError::TooLarge { limit: "bundle_bytes", actual: total, allowed });
        }
        let mut contents = Vec::with_capacity(blobs.len());
        for (digest, bytes) in blobs {
            contents.push(match self.shared.recent.get(&self.workspace, *digest) {
                Some(blob) => blob,
                None => Blob::new(&*self.shared.blobs.get_sized(*digest, *bytes).await?),
            });
        }
        self.computed(move || manifest.complete(contents, &limits)).await
    }

    async fn verified(
        &self,
        manifest: Blob,
        acceptances: Acceptances,
        admission: Admission,
    ) -> Result<VerifiedManifest, ContentError> {
        let limits = self.shared.sandbox.limits().bundle.clone();
        self.computed(move || VerifiedManifest::admit(manifest, &limits, acceptances, admission)).await
    }

    /// Verifies where it keeps nobody from being answered: scanning for leaks takes a while.
    async fn computed<T: Send + 'static>(
        &self,
        verify: impl FnOnce() -> Result<T, BundleError> + Send + 'static,
    ) -> Result<T, ContentError> {
        let place = self.shared.tenants.computing(&self.workspace).await?;
        Ok(self.shared.computing.block(place, verify).await.ok_or(ContentError::Contended)??)
    }

    /// Writes all rows of a bundle at once. Whether it was there before. A bundle that is there and comes
    /// with another signature has that one from now on.
    async fn acknowledge(
        &self,
        digest: Digest,
        row: BundleRow,
        blobs: &[(Digest, u64)],
        packages: &[(Pointer, BlobRef)],
        own: &[(Digest, u64, User)],
    ) -> Result<bool, ContentError> {
        let tenant = self.shared.tenants.tenant(&self.workspace);
        let _changing = tenant.changing.lock().await;
        for _ in 0..ATTEMPTS {
            let key = bundle_key(&self.workspace, &digest);
            let known = self.shared.ledger.row::<BundleRow>(&key).await?;
            if known.as_ref().is_some_and(|known| row.envelope.is_none() || known.value.envelope == row.envelope) {
                return Ok(true);
            }
            let mut change = self.claiming_revision(row.revision, digest).await?.expect(&key, known.as_ref());
            for (blob, _) in blobs {
                let blob_row = self.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace, blob)).await?;
                // Collected since it was found.
                let Some(blob_row) = blob_row else { return Err(ContentError::Contended) };
                change = change
                    .expect(&blob_key(&self.workspace, blob), Some(&blob_row))
                    .put(&uses_key(&self.workspace, blob).part(User::Bundle(digest)), &Mark {});
            }
            // A package may come later, and is in use as soon as it does.
            for (_, package) in packages {
                change = change.put(&uses_key(&self.workspace, &package.digest).part(User::Bundle(digest)), &Mark {});
            }
            for (blob, bytes, user) in own {
                if !self.shared.ledger.is_there(&blob_key(&self.workspace, blob)).await? {
                    change = self.owning(change, *blob, *bytes);
                }
                change = change.put(&uses_key(&self.workspace, blob).part(user), &Mark {});
            }
            change = match &known {
                None => change
                    .put(&key, &row)
                    .takes(Usage { bundles: 1, ..Usage::default() })
                    .event(EventKind::BundleStored { bundle: digest, revision: row.revision }),
                Some(known) => {
                    let before = known.value.envelope.filter(|before| Some(*before) != row.envelope);
                    if let Some(before) = before {
                        change = change.delete(&uses_key(&self.workspace, &before).part(User::Bundle(digest)));
                    }
                    let signed =
                        BundleRow { signed_by: row.signed_by.clone(), envelope: row.envelope, ..known.value.clone() };
                    change.put(&key, &signed)
                }
            };
            match self.shared.ledger.commit(&self.workspace, change).await {
                Err(ChangeError::Conflict) => {}
                done => return Ok(done.map(|()| known.is_some())?),
            }
        }
        Err(ContentError::Contended)
    }

    /// A revision belongs to the first bundle that had it, for ever.
    async fn revision_is_free(&self, revision: Revision, digest: Digest) -> Result<(), ContentError> {
        let row = self.shared.ledger.row::<RevisionRow>(&revision_key(&self.workspace, revision)).await?;
        match row.map(|row| row.value.bundle).filter(|bundle| *bundle != digest) {
            Some(held_by) => Err(ContentError::RevisionConflict { revision, held_by }),
            None => Ok(()),
        }
    }

    async fn claiming_revision(&self, revision: Revision, digest: Digest) -> Result<Change, ContentError> {
        self.revision_is_free(revision, digest).await?;
        let held = RevisionRow { revision, bundle: digest };
        let key = revision_key(&self.workspace, revision);
        let found = self.shared.ledger.row::<RevisionRow>(&key).await?;
        let mut change = Change::default().expect(&key, found.as_ref()).put(&key, &held);
        let key = newest_key(&self.workspace);
        let newest = self.shared.ledger.row::<RevisionRow>(&key).await?;
        if newest.is_none() {
            // The first bundle: every bundle from here on records its use of packages itself.
            change = change.put(&packages_recorded_key(&self.workspace), &Mark {});
        }
        if newest.as_ref().is_none_or(|row| row.value.revision < revision) {
            change = change.expect(&key, newest.as_ref()).put(&key, &held);
        }
        Ok(change)
    }

    /// The newest revision that was ever acknowledged, and the bundle that has it.
    pub async fn newest(&self) -> Result<Option<(Revision, Digest)>, ContentError> {
        let row = self.shared.ledger.row::<RevisionRow>(&newest_key(&self.workspace)).await?;
        Ok(row.map(|row| (row.value.revision, row.value.bundle)))
    }

    /// What is known of a bundle.
    pub async fn bundle(&self, digest: Digest) -> Result<BundleSummary, ContentError> {
        let row = self.shared.ledger.row::<BundleRow>(&bundle_key(&self.workspace, &digest)).await?;
        row.map(|row| summary(digest, row.value)).ok_or(ContentError::BundleNotFound(digest))
    }

    /// The manifest of a bundle, as it was brought.
    pub async fn manifest(&self, digest: Digest) -> Result<Bytes, ContentError> {
        self.bundle(digest).await?;
        self.blob(digest).await
    }

    /// Returns at most so many bundles, in the order of their digests, after another one.
    pub async fn bundles(&self, after: Option<Digest>, most: usize) -> Result<Vec<BundleSummary>, ContentError> {
        let (mut bundles, mut after) = (Vec::new(), after);
        loop {
            let page = self.bundles_page(after, most.saturating_sub(bundles.len())).await?;
            bundles.extend(page.items);
            match bundles.last() {
                Some(last) if page.more && bundles.len() < most => after = Some(last.digest),
                _ => return Ok(bundles),
            }
        }
    }

    /// Returns a page of bundles, in the order of their digests, after another one: at most so many, and 256 KiB of
    /// them.
    pub async fn bundles_page(&self, after: Option<Digest>, most: usize) -> Result<Page<BundleSummary>, ContentError> {
        let after = after.map(|digest| bundle_key(&self.workspace, &digest));
        let below = bundles_key(&self.workspace);
        let Page { items, more } = self.shared.ledger.page::<BundleRow>(&below, after.as_ref(), most).await?;
        let items = items.into_iter().filter_map(|(key, row)| Some(summary(key.last().parse().ok()?, row)));
        Ok(Page { items: items.collect(), more })
    }

    /// Returns the rules that a stored bundle violates because they are newer than it. Opens the bundle, also one that
    /// is revoked or that the config refuses.
    pub async fn findings(&self, digest: Digest) -> Result<Vec<BundleFinding>, ContentError> {
        self.bundle(digest).await?;
        let view = self.opened(digest, Acceptances::Honour).await?;
        Ok(view.bundle().findings().map(BundleFinding::from).collect())
    }

    /// Checks that a stored bundle is signed as a config demands, which may be more than was demanded when it came in.
    async fn is_signed(
        &self,
        digest: Digest,
        envelope: Option<Digest>,
        config: &RuntimeConfig,
    ) -> Result<(), ContentError> {
        let demanded = config.grants(&self.workspace).signatures;
        if matches!(demanded, Some(Posture::None)) {
            return Ok(());
        }
        let manifest = self.blob(digest).await?;
        let read = match envelope {
            None => None,
            Some(envelope) => {
                let bytes = self.blob(envelope).await?;
                Some(Envelope::parse(&bytes, &self.shared.sandbox.limits().bundle)?)
            }
        };
        self.shared.signers(config, &self.workspace, &manifest, read.as_ref()).map(drop)
    }

    /// A bundle of this workspace, open and verified.
    pub(crate) async fn view(&self, digest: Digest) -> Result<BundleView, ContentError> {
        self.view_under(digest, &self.shared.config.load_full()).await
    }

    /// A bundle of this workspace, open and verified, where a config allows its use.
    pub(crate) async fn view_under(&self, digest: Digest, config: &RuntimeConfig) -> Result<BundleView, ContentError> {
        let row = self.shared.ledger.row::<BundleRow>(&bundle_key(&self.workspace, &digest)).await?;
        let row = row.ok_or(ContentError::BundleNotFound(digest))?;
        if row.value.revoked_at.is_some() {
            return Err(ContentError::BundleRevoked(digest));
        }
        self.is_signed(digest, row.value.envelope, config).await?;
        self.opened(digest, self.shared.acceptances(config, &self.workspace)).await
    }

    /// Opens and verifies a stored bundle, whatever may be done with it.
    async fn opened(&self, digest: Digest, acceptances: Acceptances) -> Result<BundleView, ContentError> {
        if let Some(view) = self.shared.views.get(&digest) {
            // What was opened under another config may not be what this one takes.
            if acceptances == Acceptances::Honour || view.bundle().manifest().accepted.is_empty() {
                return Ok(view);
            }
        }
        let manifest = Blob::new(&*self.blob(digest).await?);
        let verified = self.verified(manifest, acceptances, Admission::Stored).await?;
        let (here, missing) = self.blobs_of(verified.manifest()).await?;
        if let Some(missing) = missing.first() {
            return Err(ContentError::BlobNotFound(*missing));
        }
        let view = BundleView::new(self.complete(verified, &here).await?);
        self.shared.views.insert(digest, view.clone());
        Ok(view)
    }
}

fn summary(digest: Digest, row: BundleRow) -> BundleSummary {
    BundleSummary {
        digest,
        revision: row.revision,
        bytes: row.bytes,
        blobs: row.blobs,
        stored_at: row.stored_at,
        signed_by: row.signed_by,
        revoked_at: row.revoked_at,
    }
}
