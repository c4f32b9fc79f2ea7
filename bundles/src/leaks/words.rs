//! Fixed words that rules begin at: prefixes of tokens, landmarks and announcements, all of them at once. A word is
//! looked for only where it can stand. One that holds punctuation is met at its punctuation, one of letters at the
//! beginning of a word of the text, and only the few that stand within a longer run are looked for everywhere.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, Input, MatchKind};

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

/// In the order in which they end; of those that end together the longest first.
pub(super) fn in_order(hits: &mut [Hit]) {
    hits.sort_by_key(|hit| (hit.end, hit.start));
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
            // A space is at the end of every word of a text, and `en ` at the end of many.
            Some(place) if self.text.get(place) != Some(&b' ') => Anchor::At(place),
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
    /// By the first three bytes of a word.
    starts: Table,
    /// By the three bytes of a word that end at its anchor.
    ends: Table,
    /// The words that may stand anywhere, and the number of each.
    anywhere: Option<AhoCorasick>,
    numbers: Vec<u16>,
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
        let (mut starts, mut ends, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for (number, word) in (0..).zip(&words) {
            let entry = |key, offset| Entry { key, offset, word: number };
            match word.anchor() {
                Anchor::Start => starts.extend(word.keys(0).into_iter().map(|key| entry(key, 0))),
                Anchor::At(place) => ends.extend(word.keys_ending(place).into_iter().map(|key| entry(key, place))),
                Anchor::Anywhere => numbers.push(number),
            }
        }
        let texts = numbers.iter().filter_map(|number| words.get(usize::from(*number))).map(|word| word.text);
        let anywhere = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(texts).ok();
        Self { starts: Table::of(starts), ends: Table::of(ends), anywhere, numbers, words }
    }
}

impl Word {
    /// The three bytes from `first` on, in each spelling. Where the word is shorter, whatever may follow it.
    fn keys(&self, first: usize) -> Vec<u32> {
        let bytes: Vec<Vec<u8>> = (first..first + 3).map(|place| self.spellings(place)).collect();
        keys(&bytes)
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

/// Words by three of their bytes.
struct Table {
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
        for (number, slot) in slots.iter_mut().enumerate() {
            *slot = (before(number), before(number + 1));
        }
        Self { slots, entries }
    }

    #[inline(always)]
    fn of_key(&self, key: u32) -> &[Entry] {
        match self.slots.get(slot(key)) {
            Some(&(from, to)) if from != to => self.entries.get(usize::from(from)..usize::from(to)).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// The three bytes from `first` on; zeros where there are none, which stand in no word.
#[inline(always)]
fn key(bytes: &[u8], first: usize) -> u32 {
    match bytes.get(first..) {
        // Four bytes are read as one number, of which the last is not wanted.
        Some(&[a, b, c, d, ..]) => u32::from_be_bytes([a, b, c, d]) >> 8,
        Some(&[a, b, c]) => u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c),
        Some(&[a, b]) => u32::from(a) << 16 | u32::from(b) << 8,
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

    /// Adds the words that begin at `start` to `hits`, but for those that are met at their punctuation.
    #[inline(always)]
    pub(super) fn beginning(self, bytes: &[u8], start: usize, hits: &mut Vec<Hit>) {
        let key = key(bytes, start);
        let entries = self.0.starts.of_key(key);
        if !entries.is_empty() {
            self.compare(entries, key, bytes, start, hits);
        }
    }

    /// Adds the words that are met at `place`, where punctuation stands, to `hits`.
    #[inline(always)]
    pub(super) fn around(self, bytes: &[u8], place: usize, hits: &mut Vec<Hit>) {
        let key = match place {
            0 => return,
            // As if a zero stood before the text.
            1 => key(bytes, 0) >> 8,
            _ => key(bytes, place - 2),
        };
        let entries = self.0.ends.of_key(key);
        if !entries.is_empty() {
            self.compare(entries, key, bytes, place, hits);
        }
    }

    #[inline(never)]
    fn compare(self, entries: &[Entry], key: u32, bytes: &[u8], place: usize, hits: &mut Vec<Hit>) {
        for entry in entries.iter().filter(|entry| entry.key == key) {
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

    /// Adds the words that may stand anywhere to `hits`.
    pub(super) fn anywhere(self, bytes: &[u8], hits: &mut Vec<Hit>) {
        let Some(automaton) = &self.0.anywhere else { return };
        let mut from = 0;
        while let Some(hit) = automaton.find(Input::new(bytes).range(from..)) {
            if let Some(word) = self.0.numbers.get(hit.pattern().as_usize()) {
                hits.push(Hit { start: hit.start(), end: hit.end(), word: *word });
            }
            from = hit.start() + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::boundaries;
    use super::super::samples::Dice;
    use super::*;

    fn found(text: &str) -> Vec<Hit> {
        let (words, bytes) = (Words::all(), text.as_bytes());
        let mut hits = Vec::new();
        words.beginning(bytes, 0, &mut hits);
        boundaries::each(bytes, |place, byte| {
            if place > 0 && byte.is_ascii_punctuation() {
                words.beginning(bytes, place, &mut hits);
            }
            words.around(bytes, place, &mut hits);
            if bytes.get(place + 1).is_some_and(u8::is_ascii_alphanumeric) {
                words.beginning(bytes, place + 1, &mut hits);
            }
        });
        words.anywhere(bytes, &mut hits);
        in_order(&mut hits);
        hits
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
