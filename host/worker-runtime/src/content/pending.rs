//! Pending puts of bundles. The blobs that their manifests name are protected from garbage collection.
//!
//! Pending puts are kept in memory only. After a restart, the client's next attempt to put the manifest protects the
//! blobs again.

use std::collections::VecDeque;

use bundles::Digest;
use jiff::{SignedDuration, Timestamp};

/// Time for which a put protects blobs.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(1);

/// Limit on the pending puts of one workspace. Beyond it, the oldest put is dropped.
const MAX_PUTS: usize = 64;

/// Limit on the blobs of all pending puts of one workspace. Their digests take 2 MiB.
const MAX_BLOBS: usize = 1 << 16;

/// Pending puts of one workspace, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct PendingPuts(VecDeque<PendingPut>);

#[derive(Debug)]
struct PendingPut {
    bundle: Digest,
    since: Timestamp,
    /// Sorted digests.
    blobs: Vec<Digest>,
}

impl PendingPut {
    fn is_expired(&self, now: Timestamp) -> bool {
        now.duration_since(self.since) >= MAX_AGE
    }
}

impl PendingPuts {
    /// Protects the blobs of a bundle. Does not extend the time of a put that is already pending.
    pub(crate) fn begin(&mut self, bundle: Digest, mut blobs: Vec<Digest>, now: Timestamp) {
        self.0.retain(|put| !put.is_expired(now));
        if self.0.iter().any(|put| put.bundle == bundle) {
            return;
        }
        blobs.sort_unstable();
        blobs.dedup();
        self.0.push_back(PendingPut { bundle, since: now, blobs });
        let mut blobs: usize = self.0.iter().map(|put| put.blobs.len()).sum();
        while self.0.len() > MAX_PUTS || blobs > MAX_BLOBS {
            let Some(oldest) = self.0.pop_front() else { return };
            blobs -= oldest.blobs.len();
        }
    }

    /// Ends a put. The stored bundle itself protects its blobs from now on.
    pub(crate) fn end(&mut self, bundle: Digest) {
        self.0.retain(|put| put.bundle != bundle);
    }

    /// `true` if a pending put needs the blob.
    pub(crate) fn protects(&self, blob: &Digest, now: Timestamp) -> bool {
        self.0.iter().any(|put| !put.is_expired(now) && put.blobs.binary_search(blob).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(numbers: std::ops::Range<usize>) -> Vec<Digest> {
        numbers.map(|number| Digest::of(number.to_string())).collect()
    }

    #[test]
    fn a_put_protects_its_blobs_until_it_ends_or_an_hour_has_passed() {
        let mut puts = PendingPuts::default();
        let (begun, minute) = (Timestamp::UNIX_EPOCH, SignedDuration::from_mins(1));
        let (one, other) = (Digest::of("one"), Digest::of("other"));
        puts.begin(one, digests(0..3), begun);
        puts.begin(other, digests(2..4), begun + minute);
        // Another attempt does not extend the hour.
        puts.begin(one, digests(0..3), begun + minute);
        let protected = |puts: &PendingPuts, now| -> Vec<bool> {
            digests(0..5).iter().map(|blob| puts.protects(blob, now)).collect()
        };
        assert_eq!(protected(&puts, begun + MAX_AGE - minute), [true, true, true, true, false]);
        assert_eq!(protected(&puts, begun + MAX_AGE), [false, false, true, true, false]);
        assert_eq!(protected(&puts, begun + MAX_AGE + minute), [false; 5]);
        puts.end(one);
        assert_eq!(protected(&puts, begun), [false, false, true, true, false]);
    }

    #[test]
    fn oldest_puts_are_dropped_beyond_the_limits() {
        let mut puts = PendingPuts::default();
        let now = Timestamp::UNIX_EPOCH;
        let bundles = digests(0..MAX_PUTS + 1);
        bundles.iter().for_each(|bundle| puts.begin(*bundle, vec![*bundle], now));
        let kept = |puts: &PendingPuts| bundles.iter().filter(|bundle| puts.protects(bundle, now)).count();
        assert_eq!((kept(&puts), puts.protects(&bundles[0], now)), (MAX_PUTS, false));
        puts.begin(Digest::of("large"), digests(1000..1000 + MAX_BLOBS), now);
        assert_eq!(kept(&puts), 0);
        assert!(puts.protects(&Digest::of("1000"), now));
    }
}
