//! Metadata in memory, for tests and for Runtimes without persistent data.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;

use super::{Batch, CommitError, Key, MetadataError, MetadataStore, VersionedValue};

/// Metadata store in memory.
#[derive(Default)]
pub struct MemoryMetadata(RwLock<Records>);

#[derive(Default)]
struct Records {
    records: BTreeMap<String, VersionedValue>,
    batches: u64,
}

#[async_trait]
impl MetadataStore for MemoryMetadata {
    async fn get(&self, key: &Key) -> Result<Option<VersionedValue>, MetadataError> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).records.get(key.as_str()).cloned())
    }

    async fn get_all(&self, keys: &[Key]) -> Result<Vec<Option<VersionedValue>>, MetadataError> {
        let records = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Ok(keys.iter().map(|key| records.records.get(key.as_str()).cloned()).collect())
    }

    async fn scan(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, VersionedValue)>, MetadataError> {
        let (first, end) = prefix.range();
        let start = match after {
            Some(after) if after.as_str() >= first.as_str() => Bound::Excluded(after.as_str().to_owned()),
            _ => Bound::Included(first),
        };
        if let Bound::Excluded(start) = &start
            && *start >= end
        {
            return Ok(Vec::new());
        }
        let records = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = records.records.range((start, Bound::Excluded(end)));
        Ok(found.take(limit).map(|(key, record)| (Key(key.clone()), record.clone())).collect())
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let mut records = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let version = |key: &Key| records.records.get(key.as_str()).map(|record| record.version);
        if !batch.expected.iter().all(|(key, found)| version(key) == *found) {
            return Err(CommitError::Conflict);
        }
        records.batches += 1;
        let version = records.batches;
        for (key, change) in batch.changes {
            match change {
                None => records.records.remove(key.as_str()),
                Some(value) => records.records.insert(key.0, VersionedValue { value, version }),
            };
        }
        Ok(())
    }

    /// Does nothing, because memory is not checked.
    async fn check(&self) -> Result<(), MetadataError> {
        Ok(())
    }
}

impl std::fmt::Debug for MemoryMetadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryMetadata").finish_non_exhaustive()
    }
}
