//! Fixed words that rules begin at: prefixes of tokens, landmarks and announcements, all of them at once. A word is
//! looked for only where it can stand. One that holds punctuation is met at its punctuation, one of letters at the
//! beginning of a word of the text, and only the few that stand within a longer run are looked for everywhere. Most
//! are parts of tokens, and are looked for in long runs of characters without white space, of which prose has few.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, Input, MatchKind};

use super::ascii::is_blank;
use super::boundaries::{BLOCK, Bits};
use super::credentials::ANNOUNCEMENTS;
use super::providers::{Alphabet, PROVIDERS, Shape};
use super::structured::{LANDMARKS, Landmark};
use super::{Rule, credentials};

/// What a word stands for.
#[derive(Clone, Copy)]
pub(super) enum Meaning {
    /// The prefix of a token.
    Shape(&'static Rule, &'static Shape),
    /// A word that tells where to look.
    Landmark(&'static Landmark),
    /// A word that announces a credential.
    Announced(credentials::Announced),
}

/// A word in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    word: u16,
}

impl Hit {
    /// What the word stands for.
    pub(super) fn meaning(self) -> Option<Meaning> {
        FINDER.words.get(usize::from(self.word)).map(|word| word.meaning)
    }
}

/// In the order in which they begin; of those that begin together the longest first, which knows most.
pub(super) fn in_order(hits: &mut [Hit]) {
    hits.sort_by_key(|hit| (hit.start, Reverse(hit.end), hit.word));
}

/// A word of the list.
struct Word {
    text: &'static [u8],
    any_case: bool,
    meaning: Meaning,
}

/// Where a word is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anchor {
    /// Where it begins, which is where a word of the text does, or at punctuation.
    Start,
    /// At its byte of that number, which is punctuation.
    At(usize),
    /// Everywhere.
    Anywhere,
}

impl Word {
    /// Words that a text may have glued to letters before them are no [`Anchor::Start`].
    fn anchor(&self) -> Anchor {
        let is_punctuation = |byte: &u8| !byte.is_ascii_alphanumeric();
        let is_glued = match self.meaning {
            Meaning::Shape(_, shape) => shape.glued,
            Meaning::Landmark(landmark) => landmark.glued,
            Meaning::Announced(announced) => announced.is_glued(),
        };
        match self.text.iter().position(is_punctuation) {
            Some(0) => Anchor::Start,
            // A space is at the end of every word of a text, and `en ` at the end of many. A tab is looked for as one.
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
    /// Words of long runs.
    prefixes: Met,
    /// Words that stand outside of long runs too, and are met at punctuation.
    announced: Met,
    /// Those that begin with a letter, by four of their bytes without case.
    spoken: Table,
    /// The words of long runs that may stand anywhere within one, and the number of each.
    anywhere: Option<AhoCorasick>,
    numbers: Vec<u16>,
}

/// Words by three of their bytes.
struct Met {
    /// The first three.
    starts: Table,
    /// The three that end at the anchor.
    ends: Table,
}

static FINDER: LazyLock<Finder> = LazyLock::new(|| Finder::of(list()));

fn list() -> Vec<Word> {
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
        meaning: Meaning::Announced(*announced),
    });
    shapes.chain(landmarks).chain(announcements).collect()
}

impl Finder {
    fn of(words: Vec<Word>) -> Self {
        let [mut prefixes, mut announced] = [const { (Vec::new(), Vec::new()) }; 2];
        let (mut spoken, mut numbers) = (Vec::new(), Vec::new());
        for (number, word) in (0..).zip(&words) {
            let entry = |key, offset| Entry { key, offset, word: number };
            let (starts, ends) = if word.is_of_run() { &mut prefixes } else { &mut announced };
            match word.anchor() {
                Anchor::Anywhere => numbers.push(number),
                Anchor::At(place) => ends.extend(word.keys_ending(place).into_iter().map(|key| entry(key, place))),
                Anchor::Start if !word.is_of_run() && word.text.first().is_some_and(u8::is_ascii_alphabetic) => {
                    let lead = word.lead();
                    spoken.extend(word.keys_folded(lead).into_iter().map(|key| entry(key, lead)));
                }
                Anchor::Start => starts.extend(word.keys(0).into_iter().map(|key| entry(key, 0))),
            }
        }
        let texts = numbers.iter().filter_map(|number| words.get(usize::from(*number))).map(|word| word.text);
        let anywhere = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(texts).ok();
        let met = |(starts, ends)| Met { starts: Table::of(starts), ends: Table::of(ends) };
        let [prefixes, announced] = [prefixes, announced].map(met);
        Self { prefixes, announced, spoken: Table::of(spoken), anywhere, numbers, words }
    }
}

impl Word {
    /// Whether nothing is made of it outside of a run of sixteen characters and more.
    fn is_of_run(&self) -> bool {
        match self.meaning {
            Meaning::Shape(..) => true,
            Meaning::Landmark(landmark) => !landmark.short,
            Meaning::Announced(_) => false,
        }
    }

    /// Where the bytes begin that it is looked up by: `with` is the beginning of too many things.
    fn lead(&self) -> usize {
        if self.text.starts_with(b"with ") { 5 } else { 0 }
    }

    /// The three bytes from `first` on, in each spelling. Where the word is shorter, whatever may follow it.
    fn keys(&self, first: usize) -> Vec<u32> {
        let bytes: Vec<Vec<u8>> = (first..first + 3).map(|place| self.spellings(place)).collect();
        keys(&bytes)
    }

    /// The four bytes from `first` on, small and large letters alike. Where the word is shorter, anything.
    fn keys_folded(&self, first: usize) -> Vec<u32> {
        let bytes = (first..first + 4).map(|place| match self.text.get(place) {
            Some(byte) => vec![byte | 0x20],
            None => (0..=u8::MAX).map(|byte| byte | 0x20).collect(),
        });
        keys(&bytes.collect::<Vec<_>>())
    }

    /// The three bytes that end at `last`.
    fn keys_ending(&self, last: usize) -> Vec<u32> {
        match last.checked_sub(2) {
            Some(first) => self.keys(first),
            // What stands before the word may be anything.
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
            Meaning::Announced(_) => true,
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

/// Words by some of their bytes.
struct Table {
    /// Slots that have entries: small enough to stay in the nearest cache.
    used: Box<[bool; SLOTS]>,
    /// Where the entries of each slot begin and end.
    slots: Box<[(u16, u16); SLOTS]>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: u32,
    /// Bytes of the word before the place that it was looked up at.
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

/// The three bytes from `first` on; zeros where there are none, which stand in no word.
#[inline(always)]
fn key(bytes: &[u8], first: usize) -> u32 {
    four(bytes, first) >> 8
}

/// The three bytes that end at `last`, as if zeros stood before the text.
#[inline(always)]
fn key_ending(bytes: &[u8], last: usize) -> u32 {
    match last.checked_sub(2) {
        Some(first) => key(bytes, first),
        None => key(bytes, 0) >> (8 * (2 - last)),
    }
}

/// What small letters have and large ones do not.
const CASE: u32 = 0x2020_2020;

/// The four bytes from `first` on, small and large letters alike.
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

/// The finder of all words, for one pass over a text.
#[derive(Clone, Copy)]
pub(super) struct Words(&'static Finder);

impl Words {
    pub(super) fn all() -> Self {
        Self(&FINDER)
    }

    /// Adds the words that stand outside of long runs too and begin at one of `starts`, where words of the text do, to
    /// `hits`; `starts` counts from `first`.
    #[inline(always)]
    pub(super) fn spoken(self, bytes: &[u8], first: usize, starts: Bits, hits: &mut Vec<Hit>) {
        let spoken = &self.0.spoken;
        let near = bytes.get(first..).and_then(|rest| rest.first_chunk::<{ BLOCK + 4 }>());
        let mut left = starts;
        while left != Bits(0) {
            // Several at a time: whether one of them is known is asked once, and nearly never so.
            let mut several = left;
            let is_known = |near: &[u8; BLOCK + 4]| {
                (0..4).fold(false, |known, _| {
                    let four = near.get(left.take_or_end()..).and_then(|rest| rest.first_chunk());
                    known | four.is_none_or(|four| spoken.has(u32::from_be_bytes(*four) | CASE))
                })
            };
            if near.is_none_or(is_known) {
                for place in several.by_ref().take(4) {
                    let key = folded(bytes, first + place);
                    if spoken.has(key) {
                        self.compare(spoken, key, bytes, first + place, hits);
                    }
                }
                left = several;
            }
        }
    }

    /// Adds the words that stand outside of long runs too and are met at `place`, where punctuation stands, to `hits`.
    pub(super) fn announced(self, bytes: &[u8], place: usize, hits: &mut Vec<Hit>) {
        self.met(&self.0.announced, bytes, place, hits);
    }

    /// Adds the words of a long run that begin at `start` to `hits`, but for those that are met at their punctuation.
    pub(super) fn prefix(self, bytes: &[u8], start: usize, hits: &mut Vec<Hit>) {
        let key = key(bytes, start);
        if self.0.prefixes.starts.has(key) {
            self.compare(&self.0.prefixes.starts, key, bytes, start, hits);
        }
    }

    /// Adds the words of a long run that are met at `place`, where punctuation stands, to `hits`.
    pub(super) fn prefix_around(self, bytes: &[u8], place: usize, hits: &mut Vec<Hit>) {
        self.met(&self.0.prefixes, bytes, place, hits);
    }

    #[inline(always)]
    fn met(self, words: &Met, bytes: &[u8], place: usize, hits: &mut Vec<Hit>) {
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

    /// Adds the words that may stand anywhere within long runs to `hits`.
    pub(super) fn anywhere(self, bytes: &[u8], runs: Range<usize>, hits: &mut Vec<Hit>) {
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
    use super::super::reading::ANNOUNCING;
    use super::super::samples::Dice;
    use super::*;

    fn found(text: &str) -> Vec<Hit> {
        let (words, bytes) = (Words::all(), text.as_bytes());
        let mut hits = Vec::new();
        for place in 0..bytes.len() {
            let is_letter = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_alphanumeric);
            if !is_letter(place) {
                words.prefix_around(bytes, place, &mut hits);
                words.announced(bytes, place, &mut hits);
            } else if place == 0 || !is_letter(place - 1) {
                words.spoken(bytes, place, Bits(1), &mut hits);
                words.prefix(bytes, place, &mut hits);
            }
        }
        words.anywhere(bytes, 0..bytes.len(), &mut hits);
        in_order(&mut hits);
        hits
    }

    #[test]
    fn what_stands_outside_of_long_runs_is_spoken_or_met_at_its_punctuation() {
        for word in FINDER.words.iter().filter(|word| !word.is_of_run()) {
            let (met, first) = match word.anchor() {
                Anchor::At(place) => (word.text[place], false),
                Anchor::Start => (word.text[0], true),
                Anchor::Anywhere => panic!("it is looked for in long runs alone"),
            };
            let is_spoken = first && met.is_ascii_alphabetic();
            assert!(is_spoken || ANNOUNCING.contains(&met), "{:?}", std::str::from_utf8(word.text));
            let begins = &word.text[word.lead()..];
            assert!(
                !is_spoken || begins[..3].iter().all(u8::is_ascii_alphanumeric),
                "a word of three letters at least"
            );
        }
    }

    #[test]
    fn what_stands_anywhere_has_capitals() {
        for word in FINDER.words.iter().filter(|word| word.anchor() == Anchor::Anywhere) {
            assert!(word.text.iter().any(u8::is_ascii_uppercase), "{:?}", std::str::from_utf8(word.text));
        }
    }

    #[test]
    fn no_token_is_shorter_than_a_long_run() {
        for provider in PROVIDERS {
            for shape in provider.shapes {
                assert!(shape.prefix.len() + shape.least >= 16 && shape.prefix.is_ascii(), "{}", shape.prefix);
                assert!(shape.prefix.bytes().all(|byte| byte.is_ascii_graphic()), "{}", shape.prefix);
            }
        }
    }

    #[test]
    fn the_finder_is_built() {
        assert!(FINDER.anywhere.is_some());
        assert!(FINDER.words.len() > 300);
    }

    /// Every word that an automaton over all words finds, unless letters before it keep it from being one.
    #[test]
    fn nothing_is_found_that_an_automaton_does_not_find_and_nothing_is_missed() {
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
                // Of two letters, with something behind them that no token of theirs goes on with.
                let ends =
                    word.text.len() < 3 && !text.as_bytes().get(hit.end).is_some_and(|byte| word.may_follow(*byte));
                assert!(is_behind_letter && word.anchor() == Anchor::Start || ends, "{hit:?} in {text:?}");
            }
        }
    }
}
