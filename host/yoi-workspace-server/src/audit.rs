//! The audit log: entries that are committed together with the changes that they describe.

use backend_api::audit::{Action, Actor, AuditEntry};
use content_store::metadata::{Batch, Key, MetadataError};
use content_store::records::{Page, Records};
use jiff::Timestamp;
use runtime_api::Code;

/// Number of entries that are kept.
const MAX_ENTRIES: u64 = 100_000;

fn entries_key() -> Key {
    Key::new("audit")
}

fn entry_key(number: u64) -> Key {
    entries_key().part(format_args!("{number:020}"))
}

fn sequence_key() -> Key {
    Key::new("audit-sequence").part("number")
}

/// Adds an entry to a batch.
pub(crate) async fn add_entry(
    records: &Records,
    batch: Batch,
    at: Timestamp,
    actor: &Actor,
    action: Action,
    refused: Option<Code>,
) -> Result<Batch, MetadataError> {
    let (key, found) = (sequence_key(), records.row::<u64>(&sequence_key()).await?);
    let number = found.as_ref().map_or(0, |row| row.value) + 1;
    let entry = AuditEntry { number, at, actor: actor.clone(), action, refused };
    let batch = batch.expect_row(&key, found.as_ref()).put_row(&key, &number).put_row(&entry_key(number), &entry);
    Ok(match number.checked_sub(MAX_ENTRIES).filter(|oldest| *oldest > 0) {
        Some(oldest) => batch.delete(&entry_key(oldest)),
        None => batch,
    })
}

/// Returns a page of entries after another one, oldest first.
pub(crate) async fn page(records: &Records, after: u64, limit: usize) -> Result<Page<AuditEntry>, MetadataError> {
    let Page { items, more } = records.page(&entries_key(), Some(&entry_key(after)), limit).await?;
    Ok(Page { items: items.into_iter().map(|(_, entry)| entry).collect(), more })
}

/// Returns at most `limit` entries before another one, the newest first.
pub(crate) async fn newest(
    records: &Records,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<AuditEntry>, MetadataError> {
    let last = records.row::<u64>(&sequence_key()).await?.map_or(0, |row| row.value);
    let end = before.map_or(last, |before| before.saturating_sub(1).min(last));
    // The numbers have no gaps.
    let mut next = end.saturating_sub(limit as u64);
    let mut entries = Vec::new();
    while next < end {
        let portion = usize::try_from(end - next).unwrap_or(usize::MAX);
        let Page { items, .. } = page(records, next, portion).await?;
        let Some(newest) = items.last() else { break };
        next = newest.number;
        entries.extend(items);
    }
    entries.reverse();
    Ok(entries)
}
