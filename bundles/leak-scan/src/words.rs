//! Search for the fixed words that rules start at: prefixes of tokens, landmarks and announcements.
//!
//! Each word is looked up only where it can occur. A word with punctuation is looked up at its punctuation, and a word
//! of letters at the start of a word of the text. Only the few words that can be inside a longer run are searched
//! everywhere. Most words are parts of tokens and are looked up in long runs without white space, which are rare in
//! prose.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, Input, MatchKind};

use crate::ascii::is_blank;
use crate::boundaries::{BLOCK, Bits};
use crate::credentials::ANNOUNCEMENTS;
use crate::providers::{Alphabet, PROVIDERS, Shape};
use crate::structured::{LANDMARKS, Landmark};
use crate::{LeakRule, credentials};

/// Meaning of a word.
#[derive(Clone, Copy)]
pub(crate) enum Meaning {
    /// The prefix of a token.
    Shape(&'static LeakRule, &'static Shape),
    /// A fixed part of a structured credential.
    Landmark(&'static Landmark),
    /// A word that announces a credential.
    Announcement(credentials::Announcement),
}

/// Occurrence of a word in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) start: usize,
    pub(crate) end: usize,
    word: u16,
}

impl Hit {
    /// Returns the meaning of the word.
    pub(crate) fn meaning(self) -> Option<Meaning> {
        FINDER.words.get(usize::from(self.word)).map(|word| word.meaning)
    }
}

/// Sorts by start, and by descending length for equal starts, because the longest word is the most specific.
pub(crate) fn in_order(hits: &mut [Hit]) {
    hits.sort_by_key(|hit| (hit.start, Reverse(hit.end), hit.word));
}

/// A word to search for.
struct Word {
    text: &'static [u8],
    any_case: bool,
    meaning: Meaning,
}

/// Place at which a word is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anchor {
    /// At its start, which is the start of a word of the text, or punctuation.
    Start,
    /// At its punctuation byte with this index.
    At(usize),
    /// Everywhere.
    Anywhere,
}

impl Word {
    /// Returns the anchor. A word that may follow letters directly has no [`Anchor::Start`].
    fn anchor(&self) -> Anchor {
        let is_punctuation = |byte: &u8| !byte.is_ascii_alphanumeric();
        let is_glued = match self.meaning {
            Meaning::Shape(_, shape) => shape.glued,
            Meaning::Landmark(landmark) => landmark.glued,
            Meaning::Announcement(announced) => announced.is_glued(),
        };
        match self.text.iter().position(is_punctuation) {
            Some(0) => Anchor::Start,
            // Spaces end all words of a text, and `en ` ends many, so a blank is not an anchor. The table treats a tab
            // as a space.
            Some(place) if !self.text.get(place).is_some_and(|byte| is_blank(*byte)) => Anchor::At(place),
            _ if !is_glued => Anchor::Start,
            _ => Anchor::Anywhere,
        }
    }

    fn stands_at(&self, bytes: &[u8], start: usize) -> bool {
        bytes
            .get(start..start + self.text.len())
            .is_some_and(|found| if self.any_case { found.eq_ignore_ascii_case(self.text) } else { found == self.text })
    }
}

struct Finder {
    words: Vec<Word>,
    /// Words inside long runs.
    prefixes: KeyTables,
    /// Words that may be outside long runs and are looked up at punctuation.
    by_punctuation: KeyTables,
    /// Words that may be outside long runs and start with a letter, by four bytes without case.
    by_word_start: Table,
    /// Words that may be anywhere inside a long run, with the number of each.
    anywhere: Option<AhoCorasick>,
    numbers: Vec<u16>,
}

/// Words by three of their bytes.
struct KeyTables {
    /// By the first three bytes.
    starts: Table,
    /// By the three bytes that end at the anchor.
    ends: Table,
}

static FINDER: LazyLock<Finder> = LazyLock::new(|| Finder::of(word_list()));

fn word_list() -> Vec<Word> {
    let shapes = PROVIDERS.iter().flat_map(|provider| {
        provider.shapes.iter().map(|shape| Word {
            text: shape.prefix.as_bytes(),
            any_case: false,
            meaning: Meaning::Shape(&provider.rule, shape),
        })
    });
    let landmarks = LANDMARKS.iter().map(|landmark| Word {
        text: landmark.word.as_bytes(),
        any_case: false,
        meaning: Meaning::Landmark(landmark),
    });
    let announcements = ANNOUNCEMENTS.iter().map(|(word, announced)| Word {
        text: word.as_bytes(),
        any_case: true,
        meaning: Meaning::Announcement(*announced),
    });
    shapes.chain(landmarks).chain(announcements).collect()
}

impl Finder {
    fn of(words: Vec<Word>) -> Self {
        let [mut prefixes, mut by_punctuation] = [const { (Vec::new(), Vec::new()) }; 2];
        let (mut by_word_start, mut numbers) = (Vec::new(), Vec::new());
        for (number, word) in (0..).zip(&words) {
            let entry = |key, offset| Entry { key, offset, word: number };
            let (starts, ends) = if word.is_of_run() { &mut prefixes } else { &mut by_punctuation };
            match word.anchor() {
                Anchor::Anywhere => numbers.push(number),
                Anchor::At(place) => ends.extend(word.keys_ending(place).into_iter().map(|key| entry(key, place))),
                Anchor::Start if !word.is_of_run() && word.text.first().is_some_and(u8::is_ascii_alphabetic) => {
                    let lead = word.lead();
                    by_word_start.extend(word.keys_folded(lead).into_iter().map(|key| entry(key, lead)));
                }
                Anchor::Start => starts.extend(word.keys(0).into_iter().map(|key| entry(key, 0))),
            }
        }
        let texts = numbers.iter().filter_map(|number| words.get(usize::from(*number))).map(|word| word.text);
        let anywhere = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(texts).ok();
        let tables = |(starts, ends)| KeyTables { starts: Table::of(starts), ends: Table::of(ends) };
        let [prefixes, by_punctuation] = [prefixes, by_punctuation].map(tables);
        Self { prefixes, by_punctuation, by_word_start: Table::of(by_word_start), anywhere, numbers, words }
    }
}

impl Word {
    /// `true` if the word only counts in a run of at least sixteen characters.
    fn is_of_run(&self) -> bool {
        match self.meaning {
            Meaning::Shape(..) => true,
            Meaning::Landmark(landmark) => !landmark.short,
            Meaning::Announcement(_) => false,
        }
    }

    /// Returns the offset of the bytes used for lookup. `with` is skipped, because it starts too many phrases.
    fn lead(&self) -> usize {
        if self.text.starts_with(b"with ") { 5 } else { 0 }
    }

    /// Returns the keys of the three bytes from `first` on, in all spellings. For a shorter word, every byte that may
    /// follow it is included.
    fn keys(&self, first: usize) -> Vec<u32> {
        let bytes: Vec<Vec<u8>> = (first..first + 3).map(|place| self.spellings(place)).collect();
        keys(&bytes)
    }

    /// Returns the keys of the four bytes from `first` on, ignoring case. For a shorter word, every byte is included.
    fn keys_folded(&self, first: usize) -> Vec<u32> {
        let bytes = (first..first + 4).map(|place| match self.text.get(place) {
            Some(byte) => vec![byte | 0x20],
            None => (0..=u8::MAX).map(|byte| byte | 0x20).collect(),
        });
        keys(&bytes.collect::<Vec<_>>())
    }

    /// Returns the keys of the three bytes that end at `last`.
    fn keys_ending(&self, last: usize) -> Vec<u32> {
        match last.checked_sub(2) {
            Some(first) => self.keys(first),
            // Any byte may precede the word.
            None => keys(&[(0..=u8::MAX).collect(), self.spellings(0), self.spellings(1)]),
        }
    }

    fn spellings(&self, place: usize) -> Vec<u8> {
        match self.text.get(place) {
            Some(byte) if self.any_case => vec![byte.to_ascii_lowercase(), byte.to_ascii_uppercase()],
            Some(byte) => vec![*byte],
            None => (0..=u8::MAX).filter(|byte| self.may_follow(*byte)).collect(),
        }
    }

    fn may_follow(&self, byte: u8) -> bool {
        match self.meaning {
            Meaning::Shape(_, shape) => shape.alphabet.has(byte),
            Meaning::Landmark(_) => Alphabet::Dotted.has(byte),
            Meaning::Announcement(_) => true,
        }
    }
}

fn keys(bytes: &[Vec<u8>]) -> Vec<u32> {
    bytes.iter().fold(vec![0], |keys, next| {
        let mut longer: Vec<u32> =
            keys.iter().flat_map(|key| next.iter().map(move |byte| key << 8 | u32::from(*byte))).collect();
        longer.sort_unstable();
        longer.dedup();
        longer
    })
}

/// Hash table of words by some of their bytes.
struct Table {
    /// Slots that have entries. Small enough to stay in the L1 cache.
    used: Box<[bool; SLOTS]>,
    /// For each slot, the range of its entries in `entries`.
    slots: Box<[(u16, u16); SLOTS]>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: u32,
    /// Number of bytes of the word before the position of the lookup.
    offset: usize,
    word: u16,
}

const SLOT_BITS: u32 = 13;
const SLOTS: usize = 1 << SLOT_BITS;

fn slot(key: u32) -> usize {
    // Fibonacci hashing: the high bits of the product depend on all bytes.
    (key.wrapping_mul(0x9e37_79b1) >> (32 - SLOT_BITS)) as usize
}

impl Table {
    fn of(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| slot(entry.key));
        let before = |number| entries.partition_point(|entry| slot(entry.key) < number) as u16;
        let mut slots = Box::new([(0, 0); SLOTS]);
        let mut used = Box::new([false; SLOTS]);
        for (number, (slot, used)) in slots.iter_mut().zip(used.iter_mut()).enumerate() {
            *slot = (before(number), before(number + 1));
            *used = slot.0 != slot.1;
        }
        Self { used, slots, entries }
    }

    #[inline(always)]
    fn has(&self, key: u32) -> bool {
        self.used.get(slot(key)).copied().unwrap_or_default()
    }

    fn of_key(&self, key: u32) -> impl Iterator<Item = &Entry> {
        let entries = self.slots.get(slot(key)).and_then(|&(from, to)| self.entries.get(usize::from(from)..to.into()));
        entries.unwrap_or_default().iter().filter(move |entry| entry.key == key)
    }
}

/// Returns the key of the three bytes from `first` on. Missing bytes are zeros, which occur in no word.
#[inline(always)]
fn key(bytes: &[u8], first: usize) -> u32 {
    four(bytes, first) >> 8
}

/// Returns the key of the three bytes that end at `last`, with zeros before the text.
#[inline(always)]
fn key_ending(bytes: &[u8], last: usize) -> u32 {
    match last.checked_sub(2) {
        Some(first) => key(bytes, first),
        None => key(bytes, 0) >> (8 * (2 - last)),
    }
}

/// Bits that distinguish lower case from upper case.
const CASE: u32 = 0x2020_2020;

/// Returns the key of the four bytes from `first` on, ignoring case.
#[inline(always)]
fn folded(bytes: &[u8], first: usize) -> u32 {
    four(bytes, first) | CASE
}

#[inline(always)]
fn four(bytes: &[u8], first: usize) -> u32 {
    match bytes.get(first..) {
        Some(&[a, b, c, d, ..]) => u32::from_be_bytes([a, b, c, d]),
        Some(&[a, b, c]) => u32::from_be_bytes([a, b, c, 0]),
        Some(&[a, b]) => u32::from_be_bytes([a, b, 0, 0]),
        Some(&[a]) => u32::from_be_bytes([a, 0, 0, 0]),
        _ => 0,
    }
}

/// Search for all words during one pass over a text.
#[derive(Clone, Copy)]
pub(crate) struct Words(&'static Finder);

impl Words {
    pub(crate) fn all() -> Self {
        Self(&FINDER)
    }

    /// Adds words that may be outside long runs and start at one of `starts`, relative to `first`.
    #[inline(always)]
    pub(crate) fn at_word_starts(self, bytes: &[u8], first: usize, starts: Bits, hits: &mut Vec<Hit>) {
        let by_word_start = &self.0.by_word_start;
        let near = bytes.get(first..).and_then(|rest| rest.first_chunk::<{ BLOCK + 4 }>());
        let mut left = starts;
        while left != Bits(0) {
            // Four starts share one branch, because known words are rare.
            let mut several = left;
            let is_known = |near: &[u8; BLOCK + 4]| {
                (0..4).fold(false, |known, _| {
                    let four = near.get(left.take_or_end()..).and_then(|rest| rest.first_chunk());
                    known | four.is_none_or(|four| by_word_start.has(u32::from_be_bytes(*four) | CASE))
                })
            };
            if near.is_none_or(is_known) {
                for place in several.by_ref().take(4) {
                    let key = folded(bytes, first + place);
                    if by_word_start.has(key) {
                        self.compare(by_word_start, key, bytes, first + place, hits);
                    }
                }
                left = several;
            }
        }
    }

    /// Adds words that may be outside long runs and have an anchor at `place`, which is punctuation.
    pub(crate) fn at_punctuation(self, bytes: &[u8], place: usize, hits: &mut Vec<Hit>) {
        self.compare_both(&self.0.by_punctuation, bytes, place, hits);
    }

    /// Adds words of a long run that start at `start`, except those with an anchor at punctuation.
    pub(crate) fn at_run_start(self, bytes: &[u8], start: usize, hits: &mut Vec<Hit>) {
        let key = key(bytes, start);
        if self.0.prefixes.starts.has(key) {
            self.compare(&self.0.prefixes.starts, key, bytes, start, hits);
        }
    }

    /// Adds words of a long run that have an anchor at `place`, which is punctuation.
    pub(crate) fn at_run_punctuation(self, bytes: &[u8], place: usize, hits: &mut Vec<Hit>) {
        self.compare_both(&self.0.prefixes, bytes, place, hits);
    }

    #[inline(always)]
    fn compare_both(self, words: &KeyTables, bytes: &[u8], place: usize, hits: &mut Vec<Hit>) {
        for (table, key) in [(&words.starts, key(bytes, place)), (&words.ends, key_ending(bytes, place))] {
            if table.has(key) {
                self.compare(table, key, bytes, place, hits);
            }
        }
    }

    #[inline(never)]
    fn compare(self, table: &Table, key: u32, bytes: &[u8], place: usize, hits: &mut Vec<Hit>) {
        for entry in table.of_key(key) {
            let (Some(start), Some(word)) =
                (place.checked_sub(entry.offset), self.0.words.get(usize::from(entry.word)))
            else {
                continue;
            };
            if word.stands_at(bytes, start) {
                hits.push(Hit { start, end: start + word.text.len(), word: entry.word });
            }
        }
    }

    /// Adds words that may be anywhere inside long runs.
    pub(crate) fn anywhere(self, bytes: &[u8], runs: Range<usize>, hits: &mut Vec<Hit>) {
        let Some(automaton) = &self.0.anywhere else { return };
        let (mut from, end) = (runs.start, runs.end.min(bytes.len()));
        while let Some(hit) = automaton.find(Input::new(bytes).range(from..end)) {
            if let Some(word) = self.0.numbers.get(hit.pattern().as_usize()) {
                hits.push(Hit { start: hit.start(), end: hit.end(), word: *word });
            }
            from = hit.start() + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::ANNOUNCEMENT_MARKS;
    use crate::samples::Dice;

    fn found(text: &str) -> Vec<Hit> {
        let (words, bytes) = (Words::all(), text.as_bytes());
        let mut hits = Vec::new();
        for place in 0..bytes.len() {
            let is_letter = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_alphanumeric);
            if !is_letter(place) {
                words.at_run_punctuation(bytes, place, &mut hits);
                words.at_punctuation(bytes, place, &mut hits);
            } else if place == 0 || !is_letter(place - 1) {
                words.at_word_starts(bytes, place, Bits(1), &mut hits);
                words.at_run_start(bytes, place, &mut hits);
            }
        }
        words.anywhere(bytes, 0..bytes.len(), &mut hits);
        in_order(&mut hits);
        hits
    }

    #[test]
    fn word_outside_long_runs_has_an_anchor() {
        for word in FINDER.words.iter().filter(|word| !word.is_of_run()) {
            let (met, first) = match word.anchor() {
                Anchor::At(place) => (word.text[place], false),
                Anchor::Start => (word.text[0], true),
                Anchor::Anywhere => panic!("it is looked for in long runs alone"),
            };
            let is_spoken = first && met.is_ascii_alphabetic();
            assert!(is_spoken || ANNOUNCEMENT_MARKS.contains(&met), "{:?}", std::str::from_utf8(word.text));
            let begins = &word.text[word.lead()..];
            assert!(
                !is_spoken || begins[..3].iter().all(u8::is_ascii_alphanumeric),
                "a word of three letters at least"
            );
        }
    }

    #[test]
    fn word_searched_anywhere_has_capitals() {
        for word in FINDER.words.iter().filter(|word| word.anchor() == Anchor::Anywhere) {
            assert!(word.text.iter().any(u8::is_ascii_uppercase), "{:?}", std::str::from_utf8(word.text));
        }
    }

    #[test]
    fn no_token_is_shorter_than_a_long_run() {
        for provider in PROVIDERS {
            for shape in provider.shapes {
                assert!(shape.prefix.len() + shape.min >= 16 && shape.prefix.is_ascii(), "{}", shape.prefix);
                assert!(shape.prefix.bytes().all(|byte| byte.is_ascii_graphic()), "{}", shape.prefix);
            }
        }
    }

    #[test]
    fn the_finder_is_built() {
        assert!(FINDER.anywhere.is_some());
        assert!(FINDER.words.len() > 300);
    }

    /// The finder reports every word that an automaton over all words finds, except words that follow letters they may
    /// not follow.
    #[test]
    fn finder_agrees_with_an_automaton() {
        let of_case = |any_case: bool| {
            let numbers: Vec<u16> = (0..)
                .zip(&FINDER.words)
                .filter(|(_, word)| word.any_case == any_case)
                .map(|(number, _)| number)
                .collect();
            let texts = numbers.iter().map(|number| FINDER.words[usize::from(*number)].text);
            let automaton = AhoCorasick::builder().ascii_case_insensitive(any_case).build(texts).unwrap();
            (automaton, numbers)
        };
        let automata = [of_case(false), of_case(true)];
        let texts: Vec<String> =
            FINDER.words.iter().map(|word| String::from_utf8(word.text.to_vec()).unwrap()).collect();
        let mut dice = Dice::new(5);
        for _ in 0..2000 {
            let mut text = String::new();
            for _ in 0..dice.below(12) {
                match dice.below(4) {
                    0 => text.push_str(&texts[dice.below(texts.len())]),
                    1 => text.push_str(&texts[dice.below(texts.len())].to_uppercase()),
                    2 => text.push_str(&dice.draw("aZ0_-. \n/:\"é", 3)),
                    _ => text.push_str("word "),
                }
            }
            let mut expected = Vec::new();
            for (automaton, numbers) in &automata {
                for hit in automaton.find_overlapping_iter(&text) {
                    expected.push(Hit { start: hit.start(), end: hit.end(), word: numbers[hit.pattern().as_usize()] });
                }
            }
            in_order(&mut expected);
            let found = found(&text);
            for hit in &found {
                assert!(expected.contains(hit), "{hit:?} in {text:?}");
            }
            for hit in expected.iter().filter(|hit| !found.contains(hit)) {
                let word = &FINDER.words[usize::from(hit.word)];
                let is_behind_letter = text.as_bytes()[..hit.start].last().is_some_and(u8::is_ascii_alphanumeric);
                // Words of two letters, followed by a byte that cannot continue their token.
                let ends =
                    word.text.len() < 3 && !text.as_bytes().get(hit.end).is_some_and(|byte| word.may_follow(*byte));
                assert!(is_behind_letter && word.anchor() == Anchor::Start || ends, "{hit:?} in {text:?}");
            }
        }
    }
}
