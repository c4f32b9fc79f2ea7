//! What one workspace has brought: blobs, and the bundles that name them.
//!
//! A blob is kept once, whoever brings it, and is seen only by who brought it. A bundle is there when
//! its manifest and every blob that it needs are there and verified together, and not before. Nothing
//! that is used goes away.

mod error;
mod garbage;
pub(crate) mod pending;
pub(crate) mod scan_queue;
mod uses;

use bundles::manifest::BlobRef;
use bundles::signature::{Envelope, Posture};
use bundles::{
    Acceptances, Admission, Blob, Bundle, BundleError, Digest, Manifest, Pointer, Revision, VerifiedManifest,
};
use bytes::Bytes;
use component_host::BundleView;
use content_store::blob_store::{self, BlobSource, PutOutcome};
use futures_util::stream::{self, StreamExt};
use host_policy::RuntimeConfig;
use runtime_api::bundle::{BundleFinding, BundleSummary};
use runtime_api::event::EventKind;
use runtime_api::referrer::Referrer;
use tokio::sync::{OwnedSemaphorePermit, RwLockReadGuard};

use crate::ledger::{
    ATTEMPTS, BlobRow, BundleRow, Change, ChangeError, Mark, Page, RevisionRow, Row, Usage, blob_key, bundle_key,
    bundles_key, holder_key, newest_key, packages_recorded_key, revision_key, uses_key,
};
use crate::tenants::Inflight;
use crate::workspace::Workspace;

pub use error::ContentError;

/// The blobs and bundles of one workspace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Content {
    pub(crate) workspace: Workspace,
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

/// What is held from the end of a blob's content until its rows are written.
type Settling<'a> = (Option<OwnedSemaphorePermit>, RwLockReadGuard<'a, ()>);

impl Content {
    /// Keeps a blob. `expected` is how many bytes the sender announced, if it did. Once this returns the
    /// blob is durable and belongs to the workspace.
    pub async fn put_blob(
        &self,
        digest: Digest,
        source: BlobSource<'_>,
        expected: Option<u64>,
    ) -> Result<PutOutcome, ContentError> {
        if self.workspace.shared.config.load().grants(&self.workspace.id).signatures.is_none() {
            return Err(ContentError::NoPosture(self.workspace.id.clone()));
        }
        let limits = &self.workspace.shared.sandbox.limits().bundle;
        let most = limits.package_bytes.max(limits.blob_bytes) as u64;
        if let Some(bytes) = expected.filter(|bytes| *bytes > most) {
            return Err(ContentError::TooLarge { limit: "package_bytes", actual: bytes, allowed: most });
        }
        let expected = expected.unwrap_or(most);
        let _inflight = self.workspace.shared.tenants.inflight(&self.workspace.id, expected)?;
        let key = blob_key(&self.workspace.id, &digest);
        if !self.workspace.shared.ledger.is_there(&key).await? {
            self.workspace.shared.room_for(&self.workspace.id, expected).await?;
        }
        // What is small enough to be scanned is brought together first.
        if expected <= limits.blob_bytes as u64 {
            return self.put_gathered(digest, source, expected).await;
        }
        let mut settling = None;
        let source = self.then_settle(digest, source, &mut settling);
        let put = self.workspace.shared.blobs.put(digest, source, expected.min(most)).await?;
        // Whether another workspace has it is nothing that this one is told.
        Ok(PutOutcome { existed: self.own(digest, put.bytes).await?, ..put })
    }

    /// Keeps a blob that is brought together in memory. It is remembered for the bundle that names it.
    async fn put_gathered(
        &self,
        digest: Digest,
        source: BlobSource<'_>,
        expected: u64,
    ) -> Result<PutOutcome, ContentError> {
        let blob = blob_store::collect_blob(source, expected).await?;
        if blob.digest() != digest {
            return Err(blob_store::BlobError::DigestMismatch { declared: digest, actual: blob.digest() }.into());
        }
        let Workspace { shared, id } = &self.workspace;
        shared.scan_queue.push(&shared.computing, id, &self.workspace.tenant(), blob.clone());
        let put = {
            // Only now: who sends slowly must keep nobody from either.
            let _storing = self.workspace.shared.tenants.storing(&self.workspace.id).await?;
            let _kept = self.workspace.shared.stripes.keeping(&digest).await;
            let put = self.workspace.shared.blobs.put_hashed(blob.clone()).await?;
            PutOutcome { existed: self.own(digest, put.bytes).await?, ..put }
        };
        self.workspace.shared.recent.remember(&self.workspace.id, blob);
        Ok(put)
    }

    /// The same content; at its end it waits for the workspace's place at the disk, and until nobody removes
    /// the blob. Not before: who sends slowly must keep nobody from either.
    fn then_settle<'a, 'held: 'a>(
        &'held self,
        digest: Digest,
        source: BlobSource<'a>,
        settling: &'a mut Option<Settling<'held>>,
    ) -> BlobSource<'a> {
        let wait = async move {
            let place = self.workspace.shared.tenants.storing(&self.workspace.id).await.ok();
            *settling = Some((place, self.workspace.shared.stripes.keeping(&digest).await));
            Ok(Bytes::new())
        };
        source.chain(stream::once(wait)).boxed()
    }

    /// Reserves memory for a request body of the workspace until the result is dropped.
    pub fn incoming(&self, bytes: usize) -> Result<Inflight, ContentError> {
        Ok(self.workspace.shared.tenants.inflight(&self.workspace.id, bytes as u64)?)
    }

    /// Records that a blob, which is in the store, belongs to the workspace. Returns `true` if it did before.
    async fn own(&self, digest: Digest, bytes: u64) -> Result<bool, ContentError> {
        let tenant = self.workspace.tenant();
        let _changing = tenant.changing.lock().await;
        for _ in 0..ATTEMPTS {
            let found = self.workspace.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace.id, &digest)).await?;
            let change = match &found {
                Some(row) => match self.renewal(digest, row) {
                    Some(change) => change,
                    None => return Ok(true),
                },
                None => self.owning(Change::default(), digest, bytes),
            };
            match self.workspace.shared.ledger.commit(&self.workspace.id, change).await {
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
        let at = self.workspace.shared.ledger.now();
        let age = at.as_second().saturating_sub(row.value.at.as_second());
        let often = i64::try_from(self.workspace.shared.limits.unused_blob_seconds / 4).unwrap_or(i64::MAX);
        let key = blob_key(&self.workspace.id, &digest);
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
        let tenant = self.workspace.tenant();
        let _changing = tenant.changing.lock().await;
        let found = self.workspace.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace.id, &digest)).await?;
        let row = found.ok_or(ContentError::BlobNotFound(digest))?;
        if let Some(change) = self.renewal(digest, &row) {
            self.workspace.shared.ledger.commit(&self.workspace.id, change).await?;
        }
        Ok(row.value.bytes)
    }

    /// The rows of a blob that is new to the workspace.
    pub(crate) fn owning(&self, change: Change, digest: Digest, bytes: u64) -> Change {
        let at = self.workspace.shared.ledger.now();
        change
            .expect::<BlobRow>(&blob_key(&self.workspace.id, &digest), None)
            .put(&blob_key(&self.workspace.id, &digest), &BlobRow { bytes, at })
            .put(&holder_key(&digest, &self.workspace.id), &Mark {})
            .takes(Usage::bytes(bytes))
    }

    /// Bytes of a blob of this workspace.
    pub async fn blob_size(&self, digest: Digest) -> Result<u64, ContentError> {
        let row = self.workspace.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace.id, &digest)).await?;
        row.map(|row| row.value.bytes).ok_or(ContentError::BlobNotFound(digest))
    }

    /// The content of a blob of this workspace.
    pub async fn blob(&self, digest: Digest) -> Result<Bytes, ContentError> {
        let bytes = self.blob_size(digest).await?;
        Ok(self.workspace.shared.blobs.get_sized(digest, bytes).await?)
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
                self.put_blob(digest, blob_store::source_from(Bytes::from_owner(blob)), Some(bytes)).await?;
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
        let read = Envelope::parse(&envelope, &self.workspace.shared.sandbox.limits().bundle)?;
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
        let known = self.workspace.shared.ledger.row::<BundleRow>(&bundle_key(&self.workspace.id, &digest)).await?;
        let admission = if known.is_some() { Admission::Stored } else { Admission::Incoming };
        let config = self.workspace.shared.config.load_full();
        let acceptances = self.workspace.shared.acceptances(&config, &self.workspace.id);
        let verified = self.verified(blob.clone(), acceptances, admission).await?;
        let read = verified.manifest();
        if read.workspace.id != self.workspace.id {
            return Err(ContentError::OtherWorkspace);
        }
        let signed_by = self.workspace.shared.signers(
            &config,
            &self.workspace.id,
            &manifest,
            envelope.as_ref().map(|(_, read)| read),
        )?;
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
            self.workspace.shared.room_for(&self.workspace.id, most.saturating_add(more)).await?;
            // The place at the disk first, as everywhere: two that wait for the same two must do so in one order.
            let _storing = self.workspace.shared.tenants.storing(&self.workspace.id).await?;
            let signature = envelope.as_ref().map(Blob::digest);
            let _kept = self.workspace.shared.stripes.keeping_both(&digest, &signature.unwrap_or(digest)).await;
            self.workspace.shared.blobs.put_hashed(blob).await?;
            let mut own = vec![(digest, most, Referrer::Manifest)];
            if let Some(envelope) = envelope {
                own.push((envelope.digest(), more, Referrer::Bundle(digest)));
                self.workspace.shared.blobs.put_hashed(envelope).await?;
            }
            let row = BundleRow {
                revision: opened.manifest().revision,
                bytes: here.iter().map(|(_, bytes)| *bytes).fold(most, u64::saturating_add),
                blobs: u32::try_from(here.len()).unwrap_or(u32::MAX),
                stored_at: self.workspace.shared.ledger.now(),
                signed_by,
                envelope: signature,
                revoked_at: None,
            };
            self.acknowledge(digest, row, &here, &packages, &own).await?
        };
        self.workspace.tenant().pending().end(digest);
        self.workspace.shared.views.insert(digest, BundleView::new(opened));
        Ok(PutBundle::Stored { known: put })
    }

    /// Protects everything that a manifest names from collection, for as long as the bundle is being put.
    async fn begin_put(&self, bundle: Digest, manifest: &Manifest) {
        let named = manifest.blobs().into_iter().map(|(_, blob)| blob.digest).collect();
        let tenant = self.workspace.tenant();
        tenant.pending().begin(bundle, named, self.workspace.shared.ledger.now());
        // A collection decides under this lock. One that decided before is over when the rows are read.
        drop(tenant.changing.lock().await);
    }

    /// The blobs that travel with a bundle: those that are here with their sizes, and those that are not.
    async fn blobs_of(&self, manifest: &Manifest) -> Result<(Vec<(Digest, u64)>, Vec<Digest>), ContentError> {
        let (mut here, mut missing) = (Vec::new(), Vec::new());
        for digest in manifest.carried() {
            match self.workspace.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace.id, &digest)).await? {
                Some(row) => here.push((digest, row.value.bytes)),
                None => missing.push(digest),
            }
        }
        Ok((here, missing))
    }

    /// Refuses a bundle that declares another size than that of a package that is here.
    async fn packages_have_their_sizes(&self, packages: &[(Pointer, BlobRef)]) -> Result<(), ContentError> {
        for (pointer, package) in packages {
            let row =
                self.workspace.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace.id, &package.digest)).await?;
            if let Some(actual) = row.map(|row| row.value.bytes).filter(|actual| *actual != u64::from(package.size)) {
                let actual = usize::try_from(actual).unwrap_or(usize::MAX);
                return Err(BundleError::WrongSize { pointer: pointer.clone(), declared: package.size, actual }.into());
            }
        }
        Ok(())
    }

    /// The bundle of a manifest whose blobs are here.
    async fn complete(&self, manifest: VerifiedManifest, blobs: &[(Digest, u64)]) -> Result<Bundle, ContentError> {
        let limits = self.workspace.shared.sandbox.limits().bundle.clone();
        let total = blobs.iter().map(|(_, bytes)| *bytes).fold(0, u64::saturating_add);
        if total > limits.bundle_bytes as u64 {
            let allowed = limits.bundle_bytes as u64;
            return Err(ContentError::TooLarge { limit: "bundle_bytes", actual: total, allowed });
        }
        let mut contents = Vec::with_capacity(blobs.len());
        for (digest, bytes) in blobs {
            contents.push(match self.workspace.shared.recent.get(&self.workspace.id, *digest) {
                Some(blob) => blob,
                None => Blob::new(&*self.workspace.shared.blobs.get_sized(*digest, *bytes).await?),
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
        let limits = self.workspace.shared.sandbox.limits().bundle.clone();
        self.computed(move || VerifiedManifest::admit(manifest, &limits, acceptances, admission)).await
    }

    /// Verifies where it keeps nobody from being answered: scanning for leaks takes a while.
    async fn computed<T: Send + 'static>(
        &self,
        verify: impl FnOnce() -> Result<T, BundleError> + Send + 'static,
    ) -> Result<T, ContentError> {
        let place = self.workspace.shared.tenants.computing(&self.workspace.id).await?;
        Ok(self.workspace.shared.computing.block(place, verify).await.ok_or(ContentError::Contended)??)
    }

    /// Writes all rows of a bundle at once. Whether it was there before. A bundle that is there and comes
    /// with another signature has that one from now on.
    async fn acknowledge(
        &self,
        digest: Digest,
        row: BundleRow,
        blobs: &[(Digest, u64)],
        packages: &[(Pointer, BlobRef)],
        own: &[(Digest, u64, Referrer)],
    ) -> Result<bool, ContentError> {
        let tenant = self.workspace.tenant();
        let _changing = tenant.changing.lock().await;
        for _ in 0..ATTEMPTS {
            let key = bundle_key(&self.workspace.id, &digest);
            let known = self.workspace.shared.ledger.row::<BundleRow>(&key).await?;
            if known.as_ref().is_some_and(|known| row.envelope.is_none() || known.value.envelope == row.envelope) {
                return Ok(true);
            }
            let mut change = self.claiming_revision(row.revision, digest).await?.expect(&key, known.as_ref());
            for (blob, _) in blobs {
                let blob_row = self.workspace.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace.id, blob)).await?;
                // Collected since it was found.
                let Some(blob_row) = blob_row else { return Err(ContentError::Contended) };
                change = change
                    .expect(&blob_key(&self.workspace.id, blob), Some(&blob_row))
                    .put(&uses_key(&self.workspace.id, blob).part(Referrer::Bundle(digest)), &Mark {});
            }
            // A package may come later, and is in use as soon as it does.
            for (_, package) in packages {
                change =
                    change.put(&uses_key(&self.workspace.id, &package.digest).part(Referrer::Bundle(digest)), &Mark {});
            }
            for (blob, bytes, user) in own {
                if !self.workspace.shared.ledger.is_there(&blob_key(&self.workspace.id, blob)).await? {
                    change = self.owning(change, *blob, *bytes);
                }
                change = change.put(&uses_key(&self.workspace.id, blob).part(user), &Mark {});
            }
            change = match &known {
                None => change
                    .put(&key, &row)
                    .takes(Usage { bundles: 1, ..Usage::default() })
                    .event(EventKind::BundleStored { bundle: digest, revision: row.revision }),
                Some(known) => {
                    let before = known.value.envelope.filter(|before| Some(*before) != row.envelope);
                    if let Some(before) = before {
                        change = change.delete(&uses_key(&self.workspace.id, &before).part(Referrer::Bundle(digest)));
                    }
                    let signed =
                        BundleRow { signed_by: row.signed_by.clone(), envelope: row.envelope, ..known.value.clone() };
                    change.put(&key, &signed)
                }
            };
            match self.workspace.shared.ledger.commit(&self.workspace.id, change).await {
                Err(ChangeError::Conflict) => {}
                done => return Ok(done.map(|()| known.is_some())?),
            }
        }
        Err(ContentError::Contended)
    }

    /// A revision belongs to the first bundle that had it, for ever.
    async fn revision_is_free(&self, revision: Revision, digest: Digest) -> Result<(), ContentError> {
        let row = self.workspace.shared.ledger.row::<RevisionRow>(&revision_key(&self.workspace.id, revision)).await?;
        match row.map(|row| row.value.bundle).filter(|bundle| *bundle != digest) {
            Some(held_by) => Err(ContentError::RevisionConflict { revision, held_by }),
            None => Ok(()),
        }
    }

    async fn claiming_revision(&self, revision: Revision, digest: Digest) -> Result<Change, ContentError> {
        self.revision_is_free(revision, digest).await?;
        let held = RevisionRow { revision, bundle: digest };
        let key = revision_key(&self.workspace.id, revision);
        let found = self.workspace.shared.ledger.row::<RevisionRow>(&key).await?;
        let mut change = Change::default().expect(&key, found.as_ref()).put(&key, &held);
        let key = newest_key(&self.workspace.id);
        let newest = self.workspace.shared.ledger.row::<RevisionRow>(&key).await?;
        if newest.is_none() {
            // The first bundle: every bundle from here on records its use of packages itself.
            change = change.put(&packages_recorded_key(&self.workspace.id), &Mark {});
        }
        if newest.as_ref().is_none_or(|row| row.value.revision < revision) {
            change = change.expect(&key, newest.as_ref()).put(&key, &held);
        }
        Ok(change)
    }

    /// The newest revision that was ever acknowledged, and the bundle that has it.
    pub async fn newest(&self) -> Result<Option<(Revision, Digest)>, ContentError> {
        let row = self.workspace.shared.ledger.row::<RevisionRow>(&newest_key(&self.workspace.id)).await?;
        Ok(row.map(|row| (row.value.revision, row.value.bundle)))
    }

    /// What is known of a bundle.
    pub async fn bundle(&self, digest: Digest) -> Result<BundleSummary, ContentError> {
        let row = self.workspace.shared.ledger.row::<BundleRow>(&bundle_key(&self.workspace.id, &digest)).await?;
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
        let after = after.map(|digest| bundle_key(&self.workspace.id, &digest));
        let below = bundles_key(&self.workspace.id);
        let Page { items, more } = self.workspace.shared.ledger.page::<BundleRow>(&below, after.as_ref(), most).await?;
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
        let demanded = config.grants(&self.workspace.id).signatures;
        if matches!(demanded, Some(Posture::None)) {
            return Ok(());
        }
        let manifest = self.blob(digest).await?;
        let read = match envelope {
            None => None,
            Some(envelope) => {
                let bytes = self.blob(envelope).await?;
                Some(Envelope::parse(&bytes, &self.workspace.shared.sandbox.limits().bundle)?)
            }
        };
        self.workspace.shared.signers(config, &self.workspace.id, &manifest, read.as_ref()).map(drop)
    }

    /// A bundle of this workspace, open and verified.
    pub(crate) async fn view(&self, digest: Digest) -> Result<BundleView, ContentError> {
        self.view_under(digest, &self.workspace.shared.config.load_full()).await
    }

    /// A bundle of this workspace, open and verified, where a config allows its use.
    pub(crate) async fn view_under(&self, digest: Digest, config: &RuntimeConfig) -> Result<BundleView, ContentError> {
        let row = self.workspace.shared.ledger.row::<BundleRow>(&bundle_key(&self.workspace.id, &digest)).await?;
        let row = row.ok_or(ContentError::BundleNotFound(digest))?;
        if row.value.revoked_at.is_some() {
            return Err(ContentError::BundleRevoked(digest));
        }
        self.is_signed(digest, row.value.envelope, config).await?;
        self.opened(digest, self.workspace.shared.acceptances(config, &self.workspace.id)).await
    }

    /// Opens and verifies a stored bundle, whatever may be done with it.
    async fn opened(&self, digest: Digest, acceptances: Acceptances) -> Result<BundleView, ContentError> {
        if let Some(view) = self.workspace.shared.views.get(&digest) {
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
        self.workspace.shared.views.insert(digest, view.clone());
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
