//! Finds credentials of a known shape, at the prefixes and landmarks of a text. Names and context are judged in
//! `assignments`.

use std::ops::Range;

use crate::ascii::{at, before, part, run_end, run_start};
use crate::findings::Findings;
use crate::providers::{Alphabet, Shape};
use crate::randomness::{is_placeholder, is_random};
use crate::words::{Hit, Meaning};

/// Adds every credential of a known shape to `found`. `hits` are the prefixes and landmarks of the text, in order.
pub(crate) fn find(bytes: &[u8], hits: &[Hit], found: &mut Findings) {
    // A reported token is not searched again, because its prefix may be repeated inside it.
    let mut reported = 0;
    let mut runs = Runs::default();
    for hit in hits.iter().filter(|hit| !matches!(hit.meaning(), Some(Meaning::Announcement(_)))) {
        if hit.start < reported {
            continue;
        }
        let leak = match hit.meaning() {
            Some(Meaning::Shape(rule, shape)) => {
                shape_at(shape, bytes, hit.start, &mut runs).map(|end| (rule, hit.start..end))
            }
            Some(Meaning::Landmark(landmark)) => {
                (landmark.read)(bytes, hit.start, hit.end).map(|span| (landmark.rule, span))
            }
            _ => None,
        };
        if let Some((rule, span)) = leak {
            reported = span.end;
            found.push(rule, span);
        }
    }
}

/// Last run of each alphabet. A run may contain thousands of prefixes. Remembering its end keeps the scan linear.
#[derive(Default)]
struct Runs {
    last: Vec<Run>,
}

struct Run {
    alphabet: Alphabet,
    span: Range<usize>,
    /// Number of candidates checked in the run.
    candidates: usize,
}

/// Maximum number of prefixes checked in one run. A run with more prefixes is reported as a whole, because honest text
/// has none and one of them may be real.
const MAX_CANDIDATES: usize = 24;

impl Runs {
    fn from(&mut self, alphabet: Alphabet, bytes: &[u8], start: usize) -> Option<&mut Run> {
        let known = self.last.iter().position(|run| run.alphabet == alphabet).unwrap_or_else(|| {
            self.last.push(Run { alphabet, span: 0..0, candidates: 0 });
            self.last.len() - 1
        });
        let run = self.last.get_mut(known)?;
        if !run.span.contains(&start) {
            run.span = start..run_end(bytes, start, usize::MAX, |byte| alphabet.has(byte));
            run.candidates = 0;
        }
        Some(run)
    }
}

/// Returns the end of the token of this shape whose prefix is at `start`.
fn shape_at(shape: &Shape, bytes: &[u8], start: usize, runs: &mut Runs) -> Option<usize> {
    if before(bytes, start).is_ascii_alphanumeric() && !shape.glued {
        return None;
    }
    let body = start + shape.prefix.len();
    let run = runs.from(shape.alphabet, bytes, body)?;
    let end = run.span.end;
    if end < body + shape.min || end > body.saturating_add(shape.max) {
        return None;
    }
    // A fixed length ends at a boundary: 32 hex digits are not a key if a 33rd letter follows.
    if shape.min == shape.max && at(bytes, end).is_ascii_alphanumeric() {
        return None;
    }
    if shape.prefix.len() < 6 && is_inside_base64(bytes, start) {
        return None;
    }
    run.candidates += 1;
    if run.candidates > MAX_CANDIDATES {
        return Some(end);
    }
    let body = part(bytes, body, end.min(body + 256));
    let is_token = if shape.certain { !is_placeholder(body) && is_mixed(shape, body) } else { is_random(body, 10) };
    is_token.then_some(end)
}

/// `true` if the body has two of lower case, upper case and digits, unlike a name with this prefix. Alphabets of
/// capitals need only one.
fn is_mixed(shape: &Shape, body: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| usize::from(body.iter().any(is));
    let classes = has(u8::is_ascii_lowercase) + has(u8::is_ascii_uppercase) + has(u8::is_ascii_digit);
    shape.alphabet == Alphabet::Upper || classes >= 2
}

/// `true` if the prefix is inside a long base64 text, where four letters after a separator occur by chance.
fn is_inside_base64(bytes: &[u8], start: usize) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+' | b'-' | b'_');
    is_base64(before(bytes, start)) && start - run_start(bytes, start, 64, is_base64) >= 64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;
    use crate::pass::{self, Scope};
    use crate::providers::PROVIDERS;
    use crate::samples::{ALNUM_DICE_SEED, Dice};

    fn rules_in(text: &str) -> Vec<&'static str> {
        let mut found = Findings::default();
        pass::run(Scope::Tokens, Place::Prompt, text, &mut found);
        found.leaks.iter().map(|leak| leak.rule.id()).collect()
    }

    #[test]
    fn a_token_of_every_shape_is_found_and_its_prefix_alone_is_not() {
        let mut dice = Dice::new(ALNUM_DICE_SEED);
        for provider in PROVIDERS {
            for shape in provider.shapes {
                let least = shape.min.max(32).min(shape.max);
                let mut token = shape.prefix.to_owned();
                let body = dice.draw_where(least, |byte| shape.alphabet.has(byte) && (byte.is_ascii_alphanumeric()));
                token.push_str(&body);
                // A short body of capitals may happen to look like a word, so one retry is allowed.
                let again = format!(
                    "{}{}",
                    shape.prefix,
                    dice.draw_where(least, |byte| shape.alphabet.has(byte) && byte.is_ascii_alphanumeric())
                );
                assert!(!rules_in(&token).is_empty() || !rules_in(&again).is_empty(), "{}", shape.prefix);
                assert_eq!(rules_in(shape.prefix), Vec::<&str>::new(), "{}", shape.prefix);
                assert_eq!(rules_in(&format!("{} naming convention", shape.prefix)), Vec::<&str>::new());
            }
        }
    }

    #[test]
    fn prefix_inside_a_word_is_not_a_token() {
        assert_eq!(rules_in("disk_live_monitor and task-based-scheduling-of-many-things"), Vec::<&str>::new());
    }
}
