//! Finds the credentials that have a shape, at the few places where a prefix or a landmark stands. Deliberately absent:
//! names and context, which are in `assignments`.

use std::ops::Range;

use super::Findings;
use super::ascii::{at, before, part, run_end, run_start};
use super::providers::{Alphabet, Shape};
use super::randomness::{is_placeholder, is_random};
use super::words::{Hit, Meaning};

/// Adds every credential of a known shape to `found`. `hits` are the prefixes and landmarks in the text, in order.
pub(super) fn look(bytes: &[u8], hits: &[Hit], found: &mut Findings) {
    // What was reported is not looked into again: the beginning of a token may be repeated within it.
    let mut reported = 0;
    let mut runs = Runs::default();
    for hit in hits.iter().filter(|hit| !matches!(hit.meaning(), Some(Meaning::Announced(_)))) {
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

/// The last run of each alphabet. A run may hold thousands of prefixes; remembering its end keeps that linear.
#[derive(Default)]
struct Runs {
    last: Vec<Run>,
}

struct Run {
    alphabet: Alphabet,
    span: Range<usize>,
    /// How many tokens were tried within it.
    tried: usize,
}

/// Nobody writes this many prefixes of tokens into one word, unless to hide one behind them.
const MOST_TRIALS: usize = 24;

impl Runs {
    fn from(&mut self, alphabet: Alphabet, bytes: &[u8], start: usize) -> Option<&mut Run> {
        let known = self.last.iter().position(|run| run.alphabet == alphabet).unwrap_or_else(|| {
            self.last.push(Run { alphabet, span: 0..0, tried: 0 });
            self.last.len() - 1
        });
        let run = self.last.get_mut(known)?;
        if !run.span.contains(&start) {
            run.span = start..run_end(bytes, start, usize::MAX, |byte| alphabet.has(byte));
            run.tried = 0;
        }
        Some(run)
    }
}

/// The end of the token of this shape whose prefix stands at `start`.
fn shape_at(shape: &Shape, bytes: &[u8], start: usize, runs: &mut Runs) -> Option<usize> {
    if before(bytes, start).is_ascii_alphanumeric() && !shape.glued {
        return None;
    }
    let body = start + shape.prefix.len();
    let run = runs.from(shape.alphabet, bytes, body)?;
    let end = run.span.end;
    if end < body + shape.least || end > body.saturating_add(shape.most) {
        return None;
    }
    // A fixed length ends at a boundary: 32 hex digits are no key if a 33rd letter follows.
    if shape.least == shape.most && at(bytes, end).is_ascii_alphanumeric() {
        return None;
    }
    if shape.prefix.len() < 6 && is_inside_base64(bytes, start) {
        return None;
    }
    run.tried += 1;
    if run.tried > MOST_TRIALS {
        return Some(end);
    }
    let body = part(bytes, body, end.min(body + 256));
    let is_token = if shape.certain { !is_placeholder(body) && is_mixed(shape, body) } else { is_random(body, 10) };
    is_token.then_some(end)
}

/// Letters of both cases or digits: not a name with this prefix. Capitals alone are an id.
fn is_mixed(shape: &Shape, body: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| usize::from(body.iter().any(is));
    let classes = has(u8::is_ascii_lowercase) + has(u8::is_ascii_uppercase) + has(u8::is_ascii_digit);
    shape.alphabet == Alphabet::Upper || classes >= 2
}

/// Four letters occur by chance in a long base64 text, behind one of its separators.
fn is_inside_base64(bytes: &[u8], start: usize) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+' | b'-' | b'_');
    is_base64(before(bytes, start)) && start - run_start(bytes, start, 64, is_base64) >= 64
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::super::providers::PROVIDERS;
    use super::super::reading::{self, Scope};
    use super::super::samples::{ALNUM_DICE_SEED, Dice};
    use super::*;

    fn rules_in(text: &str) -> Vec<&'static str> {
        let mut found = Findings::default();
        reading::look(Scope::Tokens, Place::Prompt, text, &mut found);
        found.leaks.iter().map(|leak| leak.rule.id()).collect()
    }

    #[test]
    fn a_token_of_every_shape_is_found_and_its_prefix_alone_is_not() {
        let mut dice = Dice::new(ALNUM_DICE_SEED);
        for provider in PROVIDERS {
            for shape in provider.shapes {
                let least = shape.least.max(32).min(shape.most);
                let mut token = shape.prefix.to_owned();
                let body = dice.draw_where(least, |byte| shape.alphabet.has(byte) && (byte.is_ascii_alphanumeric()));
                token.push_str(&body);
                // A short body of capitals may look like a word once in a while, so a second throw is allowed.
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
    fn a_prefix_within_a_word_is_no_token() {
        assert_eq!(rules_in("disk_live_monitor and task-based-scheduling-of-many-things"), Vec::<&str>::new());
    }
}
