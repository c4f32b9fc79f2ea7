//! Findings of a scan: rule and span, never the value.
//!
//! [`Findings`] collects them with a limit for each rule. [`in_order`] produces the list that a scan returns.

use std::cmp::Reverse;
use std::ops::Range;

use crate::assignments;
use crate::rule::{Kind, LeakRule};

/// Maximum number of findings that one call of [`scan`](crate::scan()) reports. The limit bounds the memory that a
/// hostile text can use.
pub const MAX_FINDINGS: usize = 64;

/// A finding: the broken rule and its place. Contains no part of the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// The broken rule.
    pub rule: &'static LeakRule,
    /// Byte range in the scanned text, on character boundaries. The text in this range is the value. Do not print it.
    pub span: Range<usize>,
}

/// Findings of one pass, with spans in the text of that pass. Each rule has its own limit. Many findings of one
/// rule, which the author may have accepted, therefore do not displace those of another rule.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) leaks: Vec<Leak>,
    counts: Vec<(&'static LeakRule, usize)>,
}

impl Findings {
    pub(crate) fn push(&mut self, rule: &'static LeakRule, span: Range<usize>) {
        if span.start >= span.end {
            return;
        }
        let counted = match self.counts.iter().position(|(counted, _)| std::ptr::eq(*counted, rule)) {
            Some(counted) => counted,
            None => {
                self.counts.push((rule, 0));
                self.counts.len() - 1
            }
        };
        let Some((_, count)) = self.counts.get_mut(counted).filter(|(_, count)| *count < MAX_FINDINGS) else { return };
        // A finding that an earlier pass made does not count again.
        if self.leaks.iter().any(|leak| leak.span == span && std::ptr::eq(leak.rule, rule)) {
            return;
        }
        *count += 1;
        self.leaks.push(Leak { rule, span });
    }
}

/// Sorts findings by position and merges overlapping findings of the same rule. A finding by name is dropped if a rule
/// that knows the shape of the secret reports the same place.
pub(crate) fn in_order(text: &str, mut leaks: Vec<Leak>) -> Vec<Leak> {
    for leak in &mut leaks {
        leak.span = on_boundaries(text, leak.span.clone());
    }
    leaks.sort_by_key(|leak| (leak.span.start, Reverse(leak.span.end), leak.rule.id()));
    let overlap = |a: &Leak, b: &Leak| a.span.start < b.span.end && b.span.start < a.span.end;
    let is_by_name = |leak: &Leak| leak.rule == &assignments::ASSIGNMENT;
    // Beyond the limit, findings by name were not recorded, so the rule must stay reported.
    let is_cut = leaks.iter().filter(|leak| is_by_name(leak)).count() >= MAX_FINDINGS;
    let is_shadowed = |leak: &Leak| {
        let knows_shape =
            |other: &Leak| other.rule.kind() == Kind::Secret && !is_by_name(other) && overlap(leak, other);
        !is_cut && is_by_name(leak) && leaks.iter().any(knows_shape)
    };
    // End of the last finding of each rule.
    let mut ends: Vec<(&LeakRule, usize)> = Vec::new();
    let mut kept: Vec<Leak> = Vec::new();
    let mut repeated: Vec<Leak> = Vec::new();
    for leak in leaks.iter().filter(|leak| leak.span.start < leak.span.end && !is_shadowed(leak)) {
        match ends.iter_mut().find(|(rule, _)| *rule == leak.rule) {
            Some((_, end)) if leak.span.start < *end => *end = leak.span.end.max(*end),
            Some((_, end)) => {
                *end = leak.span.end;
                repeated.push(leak.clone());
            }
            None => {
                ends.push((leak.rule, leak.span.end));
                kept.push(leak.clone());
            }
        }
    }
    let room = MAX_FINDINGS.saturating_sub(kept.len());
    kept.extend(repeated.into_iter().take(room));
    kept.truncate(MAX_FINDINGS);
    kept.sort_by_key(|leak| (leak.span.start, Reverse(leak.span.end), leak.rule.id()));
    kept
}

fn on_boundaries(text: &str, span: Range<usize>) -> Range<usize> {
    let mut start = span.start.min(text.len());
    let mut end = span.end.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

#[cfg(test)]
mod tests {
    use crate::{Place, scan};

    #[test]
    fn secret_by_name_is_reported_after_many_that_a_rule_knows_by_shape() {
        let known: String = (10..80).map(|n| format!("token = ghp_{n}kQ7Zr2mVx9Lw4Tn8Bd6Hy1Jc3Pf5Ws0\n")).collect();
        let ids = |text: &str| scan(Place::Text, text).iter().map(|leak| leak.rule.id()).collect::<Vec<_>>();
        assert!(!ids(known.split_at(200).0).contains(&"secret.assignment"));
        assert!(ids(&(known + "password = Xq7-Lm2v9Rt4\n")).contains(&"secret.assignment"));
    }
}
