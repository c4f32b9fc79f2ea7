//! The resolvers of a Runtime: taken in before anything may ask for them, named by digest, and revoked
//! for good.

use bundles::Digest;
use bytes::Bytes;
use component_host::LoadError;
use content_store::blob_store::{self, BlobError};
use content_store::metadata::MetadataError;
use runtime_api::resolver::ResolverSummary;

use super::Management;
use crate::ledger::{
    ATTEMPTS, Change, ChangeError, Mark, ResolverRow, Revoked, holders_key, resolver_key, resolvers_key,
};

/// Why a resolver is not taken in, or not revoked.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    /// The component is none, or not one that may run here.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The bytes have another digest.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The metadata store says no.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// It was revoked, and stays so.
    #[error("resolver {0} is revoked")]
    Revoked(Digest),
    /// There is no such resolver.
    #[error("there is no resolver {0}")]
    NotFound(Digest),
    /// There are as many as there may be.
    #[error("there are {0} resolvers, which is all that there may be (`resolvers`)")]
    Full(u64),
    /// Others changed the same again and again.
    #[error("others changed the same at the same time")]
    Contended,
}

impl From<ChangeError> for ResolverError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Store(error) => Self::Metadata(error),
            ChangeError::Conflict | ChangeError::Full { .. } => Self::Contended,
        }
    }
}

impl ResolverError {
    /// The stable machine word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Load(error) => error.code(),
            Self::Blob(error) => error.code(),
            Self::Metadata(error) => error.code(),
            Self::Revoked(_) => "resolver_revoked",
            Self::NotFound(_) => "resolver_not_found",
            Self::Full(_) => "store_full",
            Self::Contended => "contended",
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Load(error) => error.help().to_owned(),
            Self::Blob(error) => error.help().to_owned(),
            Self::Metadata(error) => error.help().to_owned(),
            Self::Revoked(_) => "use another version".to_owned(),
            Self::NotFound(_) => "put it first".to_owned(),
            Self::Full(_) => "revoke one that nobody needs, or raise the limit of that name".to_owned(),
            Self::Contended => "try again".to_owned(),
        }
    }
}

/// Who holds resolvers: the Runtime itself, which is no workspace.
const RUNTIME: &str = "~runtime";

impl Management {
    /// All resolvers that are known here, those that are revoked too, in the order of their digests.
    pub async fn resolvers(&self) -> Result<Vec<ResolverSummary>, MetadataError> {
        let rows = self.shared.ledger.rows::<ResolverRow>(&resolvers_key(), None, usize::MAX).await?;
        let shipped = self.shared.shipped.digest();
        let mut all: Vec<ResolverSummary> = rows
            .into_iter()
            .filter_map(|(key, row)| Some(self.resolver_summary(key.last().parse().ok()?, Some(row))))
            .collect();
        if all.iter().all(|resolver| resolver.digest != shipped) {
            all.push(self.resolver_summary(shipped, None));
        }
        all.sort_unstable_by_key(|resolver| resolver.digest);
        Ok(all)
    }

    /// What is known of a resolver.
    pub async fn resolver(&self, digest: Digest) -> Result<ResolverSummary, ResolverError> {
        let row = self.shared.ledger.row::<ResolverRow>(&resolver_key(&digest)).await?.map(|row| row.value);
        if row.is_none() && digest != self.shared.shipped.digest() {
            return Err(ResolverError::NotFound(digest));
        }
        Ok(self.resolver_summary(digest, row))
    }

    /// The component itself.
    pub async fn component(&self, digest: Digest) -> Result<Bytes, ResolverError> {
        if digest == self.shared.shipped.digest() {
            return Ok(Bytes::from_static(crate::shipped::RESOLVER));
        }
        let bytes = self.resolver(digest).await?.bytes;
        Ok(self.shared.blobs.get_sized(digest, bytes).await?)
    }

    fn resolver_summary(&self, digest: Digest, row: Option<ResolverRow>) -> ResolverSummary {
        let shipped = digest == self.shared.shipped.digest();
        let bytes = row.as_ref().map_or(crate::shipped::RESOLVER.len() as u64, |row| row.bytes);
        ResolverSummary {
            digest,
            bytes,
            active: shipped,
            admitted_at: row.as_ref().filter(|_| !shipped).map(|row| row.at),
            revoked_at: row.and_then(|row| row.revoked).map(|revoked| revoked.at),
        }
    }

    /// Takes a resolver in: examined, compiled and kept, before anything may ask for it.
    pub async fn admit_resolver(&self, digest: Digest, component: Bytes) -> Result<(), ResolverError> {
        let actual = Digest::of(&component);
        if actual != digest {
            return Err(BlobError::DigestMismatch { declared: digest, actual }.into());
        }
        let key = resolver_key(&digest);
        let known = self.shared.ledger.row::<ResolverRow>(&key).await?;
        if known.as_ref().is_some_and(|row| row.value.revoked.is_some()) {
            return Err(ResolverError::Revoked(digest));
        }
        if known.is_none() {
            let there = self.resolvers().await?;
            let may_be_named =
                there.iter().filter(|resolver| !resolver.active && resolver.revoked_at.is_none()).count();
            if may_be_named as u64 >= self.shared.limits.resolvers {
                return Err(ResolverError::Full(may_be_named as u64));
            }
        }
        let resolver = self.shared.sandbox.load(&component).await?;
        let bytes = component.len() as u64;
        let _kept = self.shared.stripes.keeping(&digest).await;
        self.shared.blobs.put(digest, blob_store::whole(component), bytes).await?;
        if known.is_none() {
            let row = ResolverRow { bytes, at: self.shared.ledger.now(), revoked: None };
            let change = Change::default()
                .expect::<ResolverRow>(&key, None)
                .put(&key, &row)
                .put(&holders_key(&digest).part(RUNTIME), &Mark {});
            match self.shared.ledger.commit_globally(change).await {
                // Somebody else has just taken it in.
                Ok(()) | Err(ChangeError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.shared.resolvers.insert(digest, resolver);
        Ok(())
    }

    /// Declares that a resolver must not be used any more. Its workers take no more calls from here on,
    /// and are stopped.
    pub async fn revoke_resolver(&self, digest: Digest) -> Result<(), ResolverError> {
        let key = resolver_key(&digest);
        for _ in 0..ATTEMPTS {
            let found = self.shared.ledger.row::<ResolverRow>(&key).await?;
            let before = match &found {
                Some(row) => row.value.clone(),
                None if digest == self.shared.shipped.digest() => ResolverRow {
                    bytes: crate::shipped::RESOLVER.len() as u64,
                    at: self.shared.ledger.now(),
                    revoked: None,
                },
                None => return Err(ResolverError::NotFound(digest)),
            };
            let revoked = before.revoked.clone().unwrap_or(Revoked { at: self.shared.ledger.now() });
            let row = ResolverRow { revoked: Some(revoked), ..before };
            let change = Change::default().expect(&key, found.as_ref()).put(&key, &row);
            match self.shared.ledger.commit_globally(change).await {
                Err(ChangeError::Conflict) => {}
                done => {
                    done?;
                    self.shared.resolvers.remove(&digest);
                    return Ok(self.stop_workers_of(digest).await?);
                }
            }
        }
        Err(ResolverError::Contended)
    }
}
