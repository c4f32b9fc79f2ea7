//! Content of one workspace: blobs, and bundles that name them.
//!
//! A blob is stored once, even if several workspaces put it, and only those workspaces can read it. A bundle is stored
//! only when its manifest and all blobs that it carries are stored and verified together. Content that is in use is
//! never removed.

mod desired;
mod error;
mod garbage;
pub(crate) mod pending;
pub(crate) mod scan_queue;
mod stored_blobs;
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

use crate::ledger::{
    BlobRow, BundleRow, Change, Decision, Mark, Page, RevisionRow, Row, Usage, blob_key, bundle_key, bundles_key,
    newest_key, packages_recorded_key, revision_key, uses_key,
};
use crate::tenants::InflightReservation;
use crate::workspace::Workspace;

use stored_blobs::PutGuard;

pub use error::ContentError;
pub(crate) use stored_blobs::StoredBlobs;

/// The blobs and bundles of one workspace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Content {
    pub(crate) workspace: Workspace,
}

/// Result of putting a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutBundle {
    /// The bundle is stored.
    Stored {
        /// `true` if the bundle was already stored.
        known: bool,
    },
    /// The bundle was not stored because these blobs are missing. Put them, and then the manifest again.
    Missing(Vec<Digest>),
}

/// Maximum number of attempts at putting a bundle whose blobs are collected meanwhile.
const PUT_ATTEMPTS: usize = 16;

impl Content {
    /// Stores a blob. `expected` is the size that the sender announced, if any. When the method returns, the blob is
    /// durable and belongs to the workspace.
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
        let max_bytes = limits.package_bytes.max(limits.blob_bytes) as u64;
        if let Some(bytes) = expected.filter(|bytes| *bytes > max_bytes) {
            return Err(ContentError::TooLarge { limit: "package_bytes", actual: bytes, allowed: max_bytes });
        }
        let expected = expected.unwrap_or(max_bytes);
        let _inflight = self.workspace.shared.tenants.reserve_inflight(&self.workspace.id, expected)?;
        let key = blob_key(&self.workspace.id, &digest);
        if !self.workspace.shared.ledger.exists(&key).await? {
            self.workspace.shared.check_free_space(&self.workspace.id, expected).await?;
        }
        // A blob that is small enough to be scanned is buffered first.
        if expected <= limits.blob_bytes as u64 {
            return self.put_buffered(digest, source, expected).await;
        }
        let mut guard = None;
        let source = self.acquire_put_at_end(digest, source, &mut guard);
        let put = self.workspace.shared.blobs.put(digest, source, expected.min(max_bytes)).await?;
        // The answer must not reveal that another workspace has the blob.
        Ok(PutOutcome { existed: self.record_blob(digest, put.bytes).await?, ..put })
    }

    /// Stores a blob that is buffered in memory, and caches it for the bundle that names it.
    async fn put_buffered(
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
        shared.scan_queue.push(&shared.compute_pool, id, &self.workspace.tenant(), blob.clone());
        let put = {
            // Acquired after the content was received, so that a slow sender does not hold them.
            let _guard = self.workspace.acquire_put(&[digest]).await?;
            let put = self.workspace.shared.blobs.put_hashed(blob.clone()).await?;
            PutOutcome { existed: self.record_blob(digest, put.bytes).await?, ..put }
        };
        self.workspace.shared.recent.insert(&self.workspace.id, blob);
        Ok(put)
    }

    /// Returns the same content with an empty chunk at its end, which acquires the guard of the put. It is acquired after
    /// the content was received, so that a slow sender does not hold it.
    fn acquire_put_at_end<'a, 'held: 'a>(
        &'held self,
        digest: Digest,
        source: BlobSource<'a>,
        guard: &'a mut Option<PutGuard<'held>>,
    ) -> BlobSource<'a> {
        let acquire = async move {
            *guard = self.workspace.acquire_put(&[digest]).await.ok();
            Ok(Bytes::new())
        };
        source.chain(stream::once(acquire)).boxed()
    }

    /// Reserves bytes of `inflight_bytes` for a request body until the result is dropped.
    pub fn reserve_body(&self, bytes: usize) -> Result<InflightReservation, ContentError> {
        Ok(self.workspace.shared.tenants.reserve_inflight(&self.workspace.id, bytes as u64)?)
    }

    /// Records that a stored blob belongs to the workspace. Returns `true` if it already did.
    async fn record_blob(&self, digest: Digest, bytes: u64) -> Result<bool, ContentError> {
        let tenant = self.workspace.tenant();
        let _changing = tenant.changing.lock().await;
        let Workspace { shared, id } = &self.workspace;
        let decide = || async {
            Ok(match shared.ledger.row::<BlobRow>(&blob_key(id, &digest)).await? {
                Some(row) => match self.renewal(digest, &row) {
                    Some(change) => Decision::Commit(change, true),
                    None => Decision::Keep(true),
                },
                None => Decision::Commit(self.workspace.add_blob(Change::default(), digest, bytes), false),
            })
        };
        shared.ledger.update(id, decide).await
    }

    /// Returns the change that restarts `unused_blob_seconds` of a blob. The restart is necessary because a client does
    /// not send a blob that is reported as stored. Returns `None` in the first quarter of that time, so that repeated
    /// requests seldom write.
    fn renewal(&self, digest: Digest, row: &Row<BlobRow>) -> Option<Change> {
        let at = self.workspace.shared.ledger.now();
        let age = at.as_second().saturating_sub(row.value.at.as_second());
        let interval = i64::try_from(self.workspace.shared.limits.unused_blob_seconds / 4).unwrap_or(i64::MAX);
        let key = blob_key(&self.workspace.id, &digest);
        let renewed = BlobRow { at, ..row.value };
        (age > interval).then(|| Change::default().expect(&key, Some(row)).put(&key, &renewed))
    }

    /// Returns the size of a blob of this workspace in bytes, and restarts its retention time. An unused blob is then
    /// kept for at least three quarters of `unused_blob_seconds`, unless the store cannot be written to.
    pub async fn confirm_blob(&self, digest: Digest) -> Result<u64, ContentError> {
        let bytes = self.blob_size(digest).await?;
        match self.renew_blob(digest).await {
            // The size is known even if the store cannot be written to.
            Err(error) if error.is_temporary() => Ok(bytes),
            confirmed => confirmed,
        }
    }

    async fn renew_blob(&self, digest: Digest) -> Result<u64, ContentError> {
        let tenant = self.workspace.tenant();
        let _changing = tenant.changing.lock().await;
        let found = self.workspace.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace.id, &digest)).await?;
        let row = found.ok_or(ContentError::BlobNotFound(digest))?;
        if let Some(change) = self.renewal(digest, &row) {
            self.workspace.shared.ledger.commit(&self.workspace.id, change).await?;
        }
        Ok(row.value.bytes)
    }

    /// Returns the size of a blob of this workspace in bytes.
    pub async fn blob_size(&self, digest: Digest) -> Result<u64, ContentError> {
        let row = self.workspace.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace.id, &digest)).await?;
        row.map(|row| row.value.bytes).ok_or(ContentError::BlobNotFound(digest))
    }

    /// Returns the content of a blob of this workspace.
    pub async fn blob(&self, digest: Digest) -> Result<Bytes, ContentError> {
        let bytes = self.blob_size(digest).await?;
        Ok(self.workspace.shared.blobs.get_sized(digest, bytes).await?)
    }

    /// `true` if a blob was found damaged and moved out of the store.
    pub(crate) async fn is_set_aside(&self, digest: Digest) -> Result<bool, ContentError> {
        let mut set_aside = self.workspace.shared.blobs.quarantined();
        while let Some(found) = set_aside.next().await {
            if found? == digest {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Stores the missing blobs of a bundle, and then its manifest. The bundle is durable when the method returns.
    pub async fn put_bundle(&self, bundle: &Bundle) -> Result<BundleSummary, ContentError> {
        for _ in 0..PUT_ATTEMPTS {
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

    /// Stores an unsigned bundle by its manifest, or returns the blobs that are missing. The bundle is durable when the
    /// method returns [`PutBundle::Stored`]. Fails if the workspace's config requires signatures.
    pub async fn put_manifest(&self, digest: Digest, manifest: Bytes) -> Result<PutBundle, ContentError> {
        self.put(digest, manifest, None).await
    }

    /// Stores a bundle by a signed envelope whose payload is the manifest. Otherwise like
    /// [`put_manifest`](Self::put_manifest).
    pub async fn put_signed_bundle(&self, digest: Digest, envelope: Bytes) -> Result<PutBundle, ContentError> {
        let parsed = Envelope::parse(&envelope, &self.workspace.shared.sandbox.limits().bundle)?;
        let manifest = Bytes::copy_from_slice(parsed.payload());
        self.put(digest, manifest, Some((envelope, parsed))).await
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
        let verified = self.verify_manifest(blob.clone(), acceptances, admission).await?;
        let parsed = verified.manifest();
        if parsed.workspace.id != self.workspace.id {
            return Err(ContentError::OtherWorkspace);
        }
        let signed_by = self.workspace.shared.signers(
            &config,
            &self.workspace.id,
            &manifest,
            envelope.as_ref().map(|(_, envelope)| envelope),
        )?;
        self.check_revision_free(parsed.revision, digest).await?;
        if known.as_ref().is_some_and(|row| row.value.revoked_at.is_some()) {
            return Err(ContentError::BundleRevoked(digest));
        }
        self.begin_put(digest, parsed).await;
        let (stored, missing) = self.carried_blobs(parsed).await?;
        if !missing.is_empty() {
            return Ok(PutBundle::Missing(missing));
        }
        let packages: Vec<_> = parsed.packages().collect();
        if known.is_none() {
            self.check_package_sizes(&packages).await?;
        }
        let bundle = self.complete_bundle(verified, &stored).await?;
        let was_stored = {
            let manifest_bytes = manifest.len() as u64;
            let envelope = envelope.map(|(bytes, _)| Blob::new(&*bytes));
            let signature = envelope.as_ref().map(Blob::digest);
            let mut blobs = vec![(blob, Referrer::Manifest)];
            blobs.extend(envelope.map(|envelope| (envelope, Referrer::Bundle(digest))));
            let bytes = blobs.iter().map(|(blob, _)| blob.bytes().len() as u64).fold(0, u64::saturating_add);
            self.workspace.shared.check_free_space(&self.workspace.id, bytes).await?;
            let new_blobs = self.workspace.store(blobs).await?;
            let row = BundleRow {
                revision: bundle.manifest().revision,
                bytes: stored.iter().map(|(_, bytes)| *bytes).fold(manifest_bytes, u64::saturating_add),
                blobs: u32::try_from(stored.len()).unwrap_or(u32::MAX),
                stored_at: self.workspace.shared.ledger.now(),
                signed_by,
                envelope: signature,
                revoked_at: None,
            };
            self.commit_bundle(digest, row, &stored, &packages, &new_blobs).await?
        };
        self.workspace.tenant().pending().end(digest);
        self.workspace.shared.views.insert(digest, BundleView::new(bundle));
        Ok(PutBundle::Stored { known: was_stored })
    }

    /// Protects all blobs that a manifest names from garbage collection while the bundle is being put.
    async fn begin_put(&self, bundle: Digest, manifest: &Manifest) {
        let named = manifest.blobs().into_iter().map(|(_, blob)| blob.digest).collect();
        let tenant = self.workspace.tenant();
        tenant.pending().begin(bundle, named, self.workspace.shared.ledger.now());
        // A collection decides under this lock. A collection that decided earlier has committed when the lock is free,
        // so the rows that are read below show its result.
        drop(tenant.changing.lock().await);
    }

    /// Returns the blobs that a bundle carries: the stored ones with their sizes, and the missing ones.
    async fn carried_blobs(&self, manifest: &Manifest) -> Result<(Vec<(Digest, u64)>, Vec<Digest>), ContentError> {
        let (mut stored, mut missing) = (Vec::new(), Vec::new());
        for digest in manifest.carried() {
            match self.workspace.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace.id, &digest)).await? {
                Some(row) => stored.push((digest, row.value.bytes)),
                None => missing.push(digest),
            }
        }
        Ok((stored, missing))
    }

    /// Checks that the declared size of each stored package is its real size.
    async fn check_package_sizes(&self, packages: &[(Pointer, BlobRef)]) -> Result<(), ContentError> {
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

    /// Verifies the blobs of a manifest and returns the bundle.
    async fn complete_bundle(
        &self,
        manifest: VerifiedManifest,
        blobs: &[(Digest, u64)],
    ) -> Result<Bundle, ContentError> {
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
        self.run_verification(move || manifest.complete(contents, &limits)).await
    }

    async fn verify_manifest(
        &self,
        manifest: Blob,
        acceptances: Acceptances,
        admission: Admission,
    ) -> Result<VerifiedManifest, ContentError> {
        let limits = self.workspace.shared.sandbox.limits().bundle.clone();
        self.run_verification(move || VerifiedManifest::admit(manifest, &limits, acceptances, admission)).await
    }

    /// Runs a verification in the compute pool. The leak scan is too slow for the threads that serve requests.
    async fn run_verification<T: Send + 'static>(
        &self,
        verify: impl FnOnce() -> Result<T, BundleError> + Send + 'static,
    ) -> Result<T, ContentError> {
        let slot = self.workspace.shared.tenants.compute_slot(&self.workspace.id);
        Ok(self.workspace.shared.compute_pool.run_blocking(slot, verify).await.ok_or(ContentError::Contended)??)
    }

    /// Writes all rows of a bundle in one commit. Returns `true` if the bundle was already stored. A new envelope
    /// replaces that of a stored bundle.
    async fn commit_bundle(
        &self,
        digest: Digest,
        row: BundleRow,
        blobs: &[(Digest, u64)],
        packages: &[(Pointer, BlobRef)],
        new_blobs: &StoredBlobs<'_>,
    ) -> Result<bool, ContentError> {
        let tenant = self.workspace.tenant();
        let _changing = tenant.changing.lock().await;
        let decide = || async {
            let key = bundle_key(&self.workspace.id, &digest);
            let known = self.workspace.shared.ledger.row::<BundleRow>(&key).await?;
            if known.as_ref().is_some_and(|known| row.envelope.is_none() || known.value.envelope == row.envelope) {
                return Ok(Decision::Keep(true));
            }
            let mut change = self.claim_revision(row.revision, digest).await?.expect(&key, known.as_ref());
            for (blob, _) in blobs {
                let blob_row = self.workspace.shared.ledger.row::<BlobRow>(&blob_key(&self.workspace.id, blob)).await?;
                // Collected since the blobs were looked up.
                let Some(blob_row) = blob_row else { return Err(ContentError::Contended) };
                change = change
                    .expect(&blob_key(&self.workspace.id, blob), Some(&blob_row))
                    .put(&uses_key(&self.workspace.id, blob).part(Referrer::Bundle(digest)), &Mark {});
            }
            // A package may be put after the bundle. Its use is recorded now, so that it is never unused.
            for (_, package) in packages {
                change =
                    change.put(&uses_key(&self.workspace.id, &package.digest).part(Referrer::Bundle(digest)), &Mark {});
            }
            change = new_blobs.add_rows(change).await?;
            change = match &known {
                None => change
                    .put(&key, &row)
                    .add_usage(Usage { bundles: 1, ..Usage::default() })
                    .event(EventKind::BundleStored { bundle: digest, revision: row.revision }),
                Some(known) => {
                    let replaced = known.value.envelope.filter(|envelope| Some(*envelope) != row.envelope);
                    if let Some(replaced) = replaced {
                        change = change.delete(&uses_key(&self.workspace.id, &replaced).part(Referrer::Bundle(digest)));
                    }
                    let signed =
                        BundleRow { signed_by: row.signed_by.clone(), envelope: row.envelope, ..known.value.clone() };
                    change.put(&key, &signed)
                }
            };
            Ok(Decision::Commit(change, known.is_some()))
        };
        self.workspace.shared.ledger.update(&self.workspace.id, decide).await
    }

    /// Checks that no other bundle has the revision. A revision belongs to its first bundle even after that bundle was
    /// removed.
    async fn check_revision_free(&self, revision: Revision, digest: Digest) -> Result<(), ContentError> {
        let row = self.workspace.shared.ledger.row::<RevisionRow>(&revision_key(&self.workspace.id, revision)).await?;
        match row.map(|row| row.value.bundle).filter(|bundle| *bundle != digest) {
            Some(held_by) => Err(ContentError::RevisionConflict { revision, held_by }),
            None => Ok(()),
        }
    }

    /// Returns the change that assigns a revision to a bundle, and updates the newest revision.
    async fn claim_revision(&self, revision: Revision, digest: Digest) -> Result<Change, ContentError> {
        self.check_revision_free(revision, digest).await?;
        let claim = RevisionRow { revision, bundle: digest };
        let key = revision_key(&self.workspace.id, revision);
        let found = self.workspace.shared.ledger.row::<RevisionRow>(&key).await?;
        let mut change = Change::default().expect(&key, found.as_ref()).put(&key, &claim);
        let key = newest_key(&self.workspace.id);
        let newest = self.workspace.shared.ledger.row::<RevisionRow>(&key).await?;
        if newest.is_none() {
            // This is the first bundle, so every bundle of the workspace records its use of packages when it is put.
            change = change.put(&packages_recorded_key(&self.workspace.id), &Mark {});
        }
        if newest.as_ref().is_none_or(|row| row.value.revision < revision) {
            change = change.expect(&key, newest.as_ref()).put(&key, &claim);
        }
        Ok(change)
    }

    /// Returns the newest revision that was ever stored, with its bundle. The bundle may have been removed.
    pub async fn newest_revision(&self) -> Result<Option<(Revision, Digest)>, ContentError> {
        let row = self.workspace.shared.ledger.row::<RevisionRow>(&newest_key(&self.workspace.id)).await?;
        Ok(row.map(|row| (row.value.revision, row.value.bundle)))
    }

    /// Returns the summary of a bundle.
    pub async fn bundle(&self, digest: Digest) -> Result<BundleSummary, ContentError> {
        let row = self.workspace.shared.ledger.row::<BundleRow>(&bundle_key(&self.workspace.id, &digest)).await?;
        row.map(|row| summary(digest, row.value)).ok_or(ContentError::BundleNotFound(digest))
    }

    /// Returns the manifest of a bundle, byte for byte as it was put.
    pub async fn manifest(&self, digest: Digest) -> Result<Bytes, ContentError> {
        self.bundle(digest).await?;
        self.blob(digest).await
    }

    /// Returns the envelope with the signatures of a bundle, if it was put with one.
    pub async fn envelope(&self, digest: Digest) -> Result<Option<Bytes>, ContentError> {
        let row = self.workspace.shared.ledger.row::<BundleRow>(&bundle_key(&self.workspace.id, &digest)).await?;
        match row.ok_or(ContentError::BundleNotFound(digest))?.value.envelope {
            Some(envelope) => self.blob(envelope).await.map(Some),
            None => Ok(None),
        }
    }

    /// Returns at most `limit` bundles in the order of their digests, starting after `after`.
    pub async fn bundles(&self, after: Option<Digest>, limit: usize) -> Result<Vec<BundleSummary>, ContentError> {
        let (mut bundles, mut after) = (Vec::new(), after);
        loop {
            let page = self.bundles_page(after, limit.saturating_sub(bundles.len())).await?;
            bundles.extend(page.items);
            match bundles.last() {
                Some(last) if page.more && bundles.len() < limit => after = Some(last.digest),
                _ => return Ok(bundles),
            }
        }
    }

    /// Returns a page of bundles in the order of their digests, starting after `after`. A page has at most `limit`
    /// bundles and 256 KiB of rows.
    pub async fn bundles_page(&self, after: Option<Digest>, limit: usize) -> Result<Page<BundleSummary>, ContentError> {
        let after = after.map(|digest| bundle_key(&self.workspace.id, &digest));
        let below = bundles_key(&self.workspace.id);
        let Page { items, more } =
            self.workspace.shared.ledger.page::<BundleRow>(&below, after.as_ref(), limit).await?;
        let items = items.into_iter().filter_map(|(key, row)| Some(summary(key.last().parse().ok()?, row)));
        Ok(Page { items: items.collect(), more })
    }

    /// Returns the violations of a stored bundle against rules that are newer than the bundle. Opens the bundle even if
    /// it is revoked or the config does not allow its use.
    pub async fn findings(&self, digest: Digest) -> Result<Vec<BundleFinding>, ContentError> {
        self.bundle(digest).await?;
        let view = self.open_bundle(digest, Acceptances::Honour).await?;
        Ok(view.bundle().findings().map(BundleFinding::from).collect())
    }

    /// Checks that a stored bundle has the signatures that a config requires. The requirements may have changed since
    /// the bundle was put.
    async fn check_signatures(
        &self,
        digest: Digest,
        envelope: Option<Digest>,
        config: &RuntimeConfig,
    ) -> Result<(), ContentError> {
        let required = config.grants(&self.workspace.id).signatures;
        if matches!(required, Some(Posture::None)) {
            return Ok(());
        }
        let manifest = self.blob(digest).await?;
        let envelope = match envelope {
            None => None,
            Some(envelope) => {
                let bytes = self.blob(envelope).await?;
                Some(Envelope::parse(&bytes, &self.workspace.shared.sandbox.limits().bundle)?)
            }
        };
        self.workspace.shared.signers(config, &self.workspace.id, &manifest, envelope.as_ref()).map(drop)
    }

    /// Opens and verifies a bundle of this workspace under the config that is in force.
    pub(crate) async fn view(&self, digest: Digest) -> Result<BundleView, ContentError> {
        self.view_under(digest, &self.workspace.shared.config.load_full()).await
    }

    /// Opens and verifies a bundle of this workspace if a config allows its use.
    pub(crate) async fn view_under(&self, digest: Digest, config: &RuntimeConfig) -> Result<BundleView, ContentError> {
        let row = self.workspace.shared.ledger.row::<BundleRow>(&bundle_key(&self.workspace.id, &digest)).await?;
        let row = row.ok_or(ContentError::BundleNotFound(digest))?;
        if row.value.revoked_at.is_some() {
            return Err(ContentError::BundleRevoked(digest));
        }
        self.check_signatures(digest, row.value.envelope, config).await?;
        self.open_bundle(digest, self.workspace.shared.acceptances(config, &self.workspace.id)).await
    }

    /// Opens and verifies a stored bundle without checking revocation and signatures.
    async fn open_bundle(&self, digest: Digest, acceptances: Acceptances) -> Result<BundleView, ContentError> {
        if let Some(view) = self.workspace.shared.views.get(&digest) {
            // The bundle may have been opened under another config, which honoured accepted findings.
            if acceptances == Acceptances::Honour || view.bundle().manifest().accepted.is_empty() {
                return Ok(view);
            }
        }
        let manifest = Blob::new(&*self.blob(digest).await?);
        let verified = self.verify_manifest(manifest, acceptances, Admission::Stored).await?;
        let (stored, missing) = self.carried_blobs(verified.manifest()).await?;
        if let Some(missing) = missing.first() {
            return Err(ContentError::BlobNotFound(*missing));
        }
        let view = BundleView::new(self.complete_bundle(verified, &stored).await?);
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
