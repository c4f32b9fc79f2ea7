//! Selects the parts of a text that are read again as a view. Most of a long prompt with one dash or one broken name is
//! the same in every view.

use std::ops::Range;

use crate::Place;
use crate::ascii::{is_url_safe, part};

/// Number of bytes around a spot that a rule may read. Longer than any name, value or header that a rule reads, even if
/// the view is shorter than the text.
pub(crate) const MARGIN_BYTES: usize = 1 << 11;

/// Like [`MARGIN_BYTES`], for token rules only and without keys that span lines. Rules that read further stay inside a
/// run without white space, and no window ends inside such a run.
pub(crate) const TOKEN_MARGIN_BYTES: usize = 1 << 10;

/// Length of a base64 run that may continue on the next line as part of a key or of encoded text, in bytes.
const LONG_RUN_BYTES: usize = 40;

/// Surroundings of the places where a view differs from the text, in order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Spots(Vec<Range<usize>>);

impl Spots {
    /// Adds a place with `margin` bytes on each side. Places must be added in order of their ends.
    pub(crate) fn add(&mut self, place: Range<usize>, margin: usize) {
        let around = place.start.saturating_sub(margin)..place.end + margin;
        match self.0.last_mut() {
            Some(last) if last.end >= around.start => {
                *last = last.start.min(around.start)..last.end.max(around.end);
            }
            _ => self.0.push(around),
        }
    }

    /// `true` if there is no place.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the parts of the text around the places. Each part consists of whole lines and does not split a key or a
    /// long base64 run that spans lines. Parts do not overlap. Text outside prompts is short, and some rules judge it
    /// as a whole, so it is one part.
    pub(crate) fn windows(&self, place: Place, text: &str) -> Vec<Range<usize>> {
        let bytes = text.as_bytes();
        if place != Place::Prompt {
            return self.0.first().map(|_| 0..bytes.len()).into_iter().collect();
        }
        let mut windows: Vec<Range<usize>> = Vec::new();
        for spot in &self.0 {
            // No byte is read for two spots. A text of one long line has many spots and one window.
            let read = windows.last().map_or(0, |last| last.end);
            if read >= spot.end.min(bytes.len()) {
                continue;
            }
            let window = line_before(bytes, read, spot.start)..line_behind(bytes, spot.end);
            match windows.last_mut() {
                Some(last) if last.end >= window.start => last.end = window.end,
                _ => windows.push(window),
            }
        }
        windows
    }
}

/// Returns the last line start before `index` at which nothing continues from the line before, or `from` if there is
/// none.
fn line_before(bytes: &[u8], from: usize, index: usize) -> usize {
    let mut end = index.min(bytes.len());
    while let Some(feed) = part(bytes, from, end).iter().rposition(|&byte| byte == b'\n') {
        if is_between(bytes, from + feed) {
            return from + feed + 1;
        }
        end = from + feed;
    }
    from
}

/// Returns the first line end after `index` at which nothing continues on the next line.
fn line_behind(bytes: &[u8], index: usize) -> usize {
    let mut start = index.min(bytes.len());
    while let Some(feed) = part(bytes, start, bytes.len()).iter().position(|&byte| byte == b'\n') {
        let feed = start + feed;
        if is_between(bytes, feed) {
            return feed;
        }
        start = feed + 1;
    }
    bytes.len()
}

/// `true` if the lines on both sides of a line feed consist of words.
fn is_between(bytes: &[u8], feed: usize) -> bool {
    let before = part(bytes, 0, feed).rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
    let behind = part(bytes, feed + 1, bytes.len()).split(|&byte| byte == b'\n').next().unwrap_or_default();
    is_of_words(before) && is_of_words(behind)
}

fn is_of_words(line: &[u8]) -> bool {
    let is_run = |byte: &u8| is_url_safe(*byte) || matches!(byte, b'+' | b'/' | b'=');
    line.split(|byte| !is_run(byte)).all(|run| run.len() < LONG_RUN_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spots(places: &[usize]) -> Spots {
        let mut spots = Spots::default();
        for &place in places {
            spots.add(place..place + 1, MARGIN_BYTES);
        }
        spots
    }

    fn only(windows: &[Range<usize>]) -> Range<usize> {
        assert_eq!(windows.len(), 1);
        windows[0].clone()
    }

    #[test]
    fn text_far_from_every_spot_is_not_read_again() {
        let text = "a line of words\n".repeat(2000);
        let windows = spots(&[9_000, 9_100, 20_005]).windows(Place::Prompt, &text);
        assert_eq!(windows.len(), 2);
        for window in &windows {
            assert!(window.start.is_multiple_of(16) && window.end % 16 == 15, "{window:?}");
            assert!(window.len() < 3 * MARGIN_BYTES, "{window:?}");
        }
        assert!(windows[0].contains(&9_000) && windows[0].contains(&9_100) && windows[1].contains(&20_005));
        assert_eq!(only(&spots(&[5]).windows(Place::Text, &text)), 0..text.len());
        assert!(Spots::default().windows(Place::Prompt, &text).is_empty());
    }

    #[test]
    fn spot_with_a_smaller_margin_keeps_the_margin_of_the_previous_one() {
        let mut spots = Spots::default();
        spots.add(9_000..9_001, MARGIN_BYTES);
        spots.add(9_100..9_101, TOKEN_MARGIN_BYTES);
        let text = "a line of words\n".repeat(2000);
        let window = only(&spots.windows(Place::Prompt, &text));
        assert!(window.start <= 9_000 - MARGIN_BYTES && window.end >= 9_001 + MARGIN_BYTES, "{window:?}");
    }

    #[test]
    fn key_that_spans_lines_is_not_split() {
        let key = format!("{}\n", "QUJD".repeat(16)).repeat(200);
        let text = format!("words before\nwords\n{key}words\nwords behind\n");
        let middle = text.len() / 2;
        assert_eq!(only(&spots(&[middle]).windows(Place::Prompt, &text)), 13..text.len() - 14);
        let one_line = "x".repeat(100_000);
        assert_eq!(only(&spots(&[5_000, 50_000, 95_000]).windows(Place::Prompt, &one_line)), 0..one_line.len());
    }
}
