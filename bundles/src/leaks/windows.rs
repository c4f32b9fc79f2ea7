//! The parts of a text that are worth reading again in another way. A long prompt with one dash in it, or one line that
//! ends within a name, says the same everywhere else.

use std::ops::Range;

use super::Place;
use super::ascii::{is_url_safe, part};

/// How far around a spot a rule may look: longer than any name, value or header that one reads, also where a reading
/// makes less of it than it has bytes.
pub(super) const MARGIN: usize = 1 << 11;

/// The same for rules of tokens alone, but for keys that go over lines. Where they look further, they stay within a run
/// of characters without white space, and no part that is read again ends there.
pub(super) const MARGIN_OF_TOKENS: usize = 1 << 10;

/// Letters of base64 in one run that may go on in the next line, and with it a key or what was encoded.
const LONG_RUN: usize = 40;

/// The surroundings of the places where a text can be read in another way, in order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Spots(Vec<Range<usize>>);

impl Spots {
    /// Adds a place, which ends behind all that were added, and so many bytes on each side.
    pub(super) fn add(&mut self, place: Range<usize>, margin: usize) {
        let around = place.start.saturating_sub(margin)..place.end + margin;
        match self.0.last_mut() {
            Some(last) if last.end >= around.start => {
                *last = last.start.min(around.start)..last.end.max(around.end);
            }
            _ => self.0.push(around),
        }
    }

    /// Whether there is no such place.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The parts of a text around them, each from the beginning of a line to the end of one, and none within a key or
    /// a long run of base64 that goes over lines. They do not overlap. A text that is no prompt is short, and some of
    /// its rules are about the whole of it: it is one part.
    pub(super) fn windows(&self, place: Place, text: &str) -> Vec<Range<usize>> {
        let bytes = text.as_bytes();
        if place != Place::Prompt {
            return self.0.first().map(|_| 0..bytes.len()).into_iter().collect();
        }
        let mut windows: Vec<Range<usize>> = Vec::new();
        for spot in &self.0 {
            // No byte is looked at for two spots: a text of one long line has many, and one window.
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

/// The last place before `index` where a line begins and nothing goes on from the line before it; `from` where there
/// is none behind that.
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

/// The first place behind `index` where a line ends and nothing goes on in the next one.
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

/// Whether the lines around a line feed are of words.
fn is_between(bytes: &[u8], feed: usize) -> bool {
    let before = part(bytes, 0, feed).rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
    let behind = part(bytes, feed + 1, bytes.len()).split(|&byte| byte == b'\n').next().unwrap_or_default();
    is_of_words(before) && is_of_words(behind)
}

fn is_of_words(line: &[u8]) -> bool {
    let is_run = |byte: &u8| is_url_safe(*byte) || matches!(byte, b'+' | b'/' | b'=');
    line.split(|byte| !is_run(byte)).all(|run| run.len() < LONG_RUN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spots(places: &[usize]) -> Spots {
        let mut spots = Spots::default();
        for &place in places {
            spots.add(place..place + 1, MARGIN);
        }
        spots
    }

    fn only(windows: &[Range<usize>]) -> Range<usize> {
        assert_eq!(windows.len(), 1);
        windows[0].clone()
    }

    #[test]
    fn what_is_far_from_every_spot_is_not_read_again() {
        let text = "a line of words\n".repeat(2000);
        let windows = spots(&[9_000, 9_100, 20_005]).windows(Place::Prompt, &text);
        assert_eq!(windows.len(), 2);
        for window in &windows {
            assert!(window.start.is_multiple_of(16) && window.end % 16 == 15, "{window:?}");
            assert!(window.len() < 3 * MARGIN, "{window:?}");
        }
        assert!(windows[0].contains(&9_000) && windows[0].contains(&9_100) && windows[1].contains(&20_005));
        assert_eq!(only(&spots(&[5]).windows(Place::Text, &text)), 0..text.len());
        assert!(Spots::default().windows(Place::Prompt, &text).is_empty());
    }

    #[test]
    fn a_spot_with_less_around_it_takes_nothing_from_the_one_before() {
        let mut spots = Spots::default();
        spots.add(9_000..9_001, MARGIN);
        spots.add(9_100..9_101, MARGIN_OF_TOKENS);
        let text = "a line of words\n".repeat(2000);
        let window = only(&spots.windows(Place::Prompt, &text));
        assert!(window.start <= 9_000 - MARGIN && window.end >= 9_001 + MARGIN, "{window:?}");
    }

    #[test]
    fn a_key_over_lines_is_not_cut() {
        let key = format!("{}\n", "QUJD".repeat(16)).repeat(200);
        let text = format!("words before\nwords\n{key}words\nwords behind\n");
        let middle = text.len() / 2;
        assert_eq!(only(&spots(&[middle]).windows(Place::Prompt, &text)), 13..text.len() - 14);
        let one_line = "x".repeat(100_000);
        assert_eq!(only(&spots(&[5_000, 50_000, 95_000]).windows(Place::Prompt, &one_line)), 0..one_line.len());
    }
}
