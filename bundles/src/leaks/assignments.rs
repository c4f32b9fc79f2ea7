//! Secrets that are told by their name: `API_SECRET=…`, `"client_secret": "…"`, `<password>…</password>`. A value
//! counts where the name means a secret and the value was not written by a person. Deliberately absent: a name alone
//! (`tokens_per_minute = 40000`) and a value alone (a digest), which are what configuration is made of.

use std::ops::Range;

use super::ascii::{at, before, is_quote, is_space, is_word, part, run_end, run_start};
use super::decoded::base64;
use super::randomness::{is_placeholder, is_random, is_uuid};
use super::secret_names::{Promise, is_telling, promise_of};
use super::{Findings, Rule};

pub(super) static ASSIGNMENT: Rule = Rule::secret("secret.assignment", "secret value under a telling name");
static SIGNED_URL: Rule = Rule::secret("secret.signed", "signature of a signed address");
static SEED_WORDS: Rule = Rule::secret("secret.wallet", "recovery words of a wallet");

/// The rules of this module.
pub(super) static RULES: &[&Rule] = &[&ASSIGNMENT, &SIGNED_URL, &SEED_WORDS];

/// Longest value that is read.
const LONGEST_VALUE: usize = 256;

/// What separates a name from its value. A comma does in the arguments of a call, where both are quoted.
pub(super) const MARKS: &[u8] = b"=:>,";

/// A reading of a text from its beginning to its end.
#[derive(Default)]
pub(super) struct Assignments {
    read_until: usize,
}

impl Assignments {
    /// Adds the value to `found` that a separator at `index` gives to a telling name.
    pub(super) fn at_mark(&mut self, mark: u8, bytes: &[u8], index: usize, found: &mut Findings) {
        if index < self.read_until || mark == b',' && !is_quote(before(bytes, index)) {
            return;
        }
        let Some(start) = value_start(bytes, index) else { return };
        let Some(name) = Name::before(bytes, index) else { return };
        let Some((rule, span)) = name.judge(bytes, value(bytes, start)) else { return };
        self.read_until = span.end;
        found.push(rule, span);
    }
}

/// Shortest value that matters.
const SHORTEST_VALUE: usize = 8;

/// Where the value behind a separator begins, its quote included, if it is long enough to matter.
fn value_start(bytes: &[u8], separator: usize) -> Option<usize> {
    let mut start = run_end(bytes, separator + 1, 24, |byte| is_space(byte) || matches!(byte, b'=' | b'>' | b':'));
    // `b"…"` and `r'…'` of programs.
    if matches!(at(bytes, start), b'b' | b'r' | b'f' | b'u') && matches!(at(bytes, start + 1), b'"' | b'\'') {
        start += 1;
    }
    if at(bytes, start) == b'\\' {
        start += 1;
    }
    let bare = start + usize::from(is_quote(at(bytes, start)));
    let end = run_end(bytes, bare, SHORTEST_VALUE, |byte| is_bare(byte) || byte == b' ' && bare > start);
    let is_argument = at(bytes, separator) != b',' || bare > start;
    (is_argument && end - bare >= SHORTEST_VALUE).then_some(start)
}

/// The value that begins at `start`, without its quotes.
fn value(bytes: &[u8], start: usize) -> Range<usize> {
    let quote = at(bytes, start);
    if is_quote(quote) {
        return start + 1..run_end(bytes, start + 1, LONGEST_VALUE, |byte| byte != quote && byte != b'\n');
    }
    // Another `=` begins another assignment, unless it pads base64.
    let end = run_end(bytes, start, LONGEST_VALUE, |byte| is_bare(byte) && byte != b'=');
    let padded = run_end(bytes, end, 2, |byte| byte == b'=');
    start..if is_word(at(bytes, padded)) { end } else { padded }
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'`' | b',' | b';' | b'&' | b'<' | b'>' | b'|' | b'\\')
}

struct Name {
    promise: Promise,
}

impl Name {
    /// The name before a separator, if it promises a secret.
    fn before(bytes: &[u8], separator: usize) -> Option<Self> {
        let mut end = run_start(bytes, separator, 4, |byte| matches!(byte, b' ' | b'\t' | b']' | b'?'));
        if is_quote(before(bytes, end)) {
            end -= 1;
        }
        if before(bytes, end) == b'\\' {
            end -= 1;
        }
        let start = run_start(bytes, end, 64, |byte| is_word(byte) || matches!(byte, b'-' | b'.'));
        let word = part(bytes, start, end);
        // Most names end here: they hold no part of any noun for a secret.
        if !is_telling(word) && !word.eq_ignore_ascii_case(b"value") || is_part_of_reference(bytes, start) {
            return None;
        }
        let in_query = matches!(before(bytes, start), b'?' | b'&');
        if let Some(promise) = promise_of(word, in_query) {
            return Some(Self { promise });
        }
        // `API key: …`, and `name: API_KEY` with `value: …` on the next line.
        let two_words = before(bytes, start) == b' ' && word.eq_ignore_ascii_case(b"key");
        if two_words {
            let first = run_start(bytes, start - 1, 16, is_word);
            let joined = [part(bytes, first, start - 1), b"_", word].concat();
            return promise_of(&joined, false).map(|promise| Self { promise });
        }
        if word.eq_ignore_ascii_case(b"value") {
            let nearby = part(bytes, start.saturating_sub(80), start);
            let promise = nearby.split(|&byte| !is_word(byte) && byte != b'-').find_map(|word| promise_of(word, false));
            return promise.map(|promise| Self { promise });
        }
        None
    }

    /// The rule that the value breaks, and where.
    fn judge(&self, bytes: &[u8], span: Range<usize>) -> Option<(&'static Rule, Range<usize>)> {
        let value = part(bytes, span.start, span.end);
        if self.promise == Promise::Words {
            return is_word_list(value).then_some((&SEED_WORDS, span));
        }
        if value.contains(&b' ') || is_reference(value) {
            return None;
        }
        let is_secret = match self.promise {
            Promise::Password => is_random(value, 8) || is_strong_password(value) || is_uuid(value),
            Promise::Token => is_random(value, 10) || is_uuid(value),
            Promise::BasicAuth => {
                is_random(value, 20) || base64(value).is_some_and(|text| text.contains(&b':') && text.is_ascii())
            }
            Promise::Signature => value.len() >= 32 && is_random(value, 10),
            Promise::Words => false,
        };
        let rule = if self.promise == Promise::Signature { &SIGNED_URL } else { &ASSIGNMENT };
        is_secret.then_some((rule, span))
    }
}

/// Resource names have `secret:` within them, and what follows is the name of one.
fn is_part_of_reference(bytes: &[u8], start: usize) -> bool {
    let outer = run_start(bytes, start, 96, |byte| is_word(byte) || matches!(byte, b':' | b'-' | b'/' | b'.'));
    let outer = part(bytes, outer, start);
    [b"arn:".as_slice(), b"projects/", b"urn:", b"vault:", b"pkg:", b"crn:"]
        .iter()
        .any(|scheme| outer.starts_with(scheme))
}

/// Whether a value says where the secret is instead of what it is.
fn is_reference(value: &[u8]) -> bool {
    const BEGINNINGS: &[&str] = &[
        "$",
        "{",
        "<",
        "[",
        "(",
        "%",
        "*",
        "secret:",
        "keyring:",
        "env:",
        "env.",
        "env(",
        "vault:",
        "op:",
        "arn:",
        "ref:",
        "file:",
        "ssm:",
        "sops:",
        "projects/",
        "urn:",
        "sha256:",
        "sha256-",
        "sha384-",
        "sha512-",
        "sha512:",
        "sha1:",
        "md5:",
        "process.env",
        "os.environ",
        "secrets.",
        "var.",
        "data.",
        "local.",
        "ENC[",
        "!",
        "secretref:",
        "gcp:",
        "aws:",
        "azure:",
        "k8s:",
        "pass:",
        "bws:",
        "1password:",
        "kms:",
        "ssh-",
        "age1",
        "-----BEGIN",
    ];
    let is_address = value.windows(3).take(24).any(|window| window == b"://");
    // A call, a macro or an index of a program: the value is what it returns.
    let callee = value.iter().position(|&byte| matches!(byte, b'(' | b'[')).map_or(&[][..], |end| part(value, 0, end));
    let is_path = callee.iter().all(|&byte| is_word(byte) || matches!(byte, b'.' | b':' | b'!'));
    let is_named = callee.contains(&b'.') || callee.contains(&b':') || callee.ends_with(b"!");
    let is_code =
        callee.len() > 2 && is_path && (is_named || !callee.iter().any(u8::is_ascii_digit) && value.ends_with(b")"));
    is_address || is_code || BEGINNINGS.iter().any(|beginning| value.starts_with(beginning.as_bytes()))
}

/// What a person takes for a good password: letters, digits and punctuation in eight or more characters, or a word and
/// a number behind it.
fn is_strong_password(value: &[u8]) -> bool {
    let word = value.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let number = part(value, word, value.len());
    let is_word_and_number = word >= 4 && number.len() >= 2 && number.iter().all(u8::is_ascii_digit);
    if is_word_and_number && !is_placeholder(value) {
        return true;
    }
    let has = |is: fn(&u8) -> bool| value.iter().any(is);
    let punctuation = value.iter().any(|byte| b"!@#$%^&*+=?~".contains(byte));
    let classes = [has(u8::is_ascii_lowercase), has(u8::is_ascii_uppercase), has(u8::is_ascii_digit), punctuation];
    punctuation && classes.iter().filter(|&&class| class).count() >= 3 && !is_placeholder(value)
}

/// Twelve or more short lower-case words.
fn is_word_list(value: &[u8]) -> bool {
    let words: Vec<&[u8]> = value.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).collect();
    matches!(words.len(), 12 | 15 | 18 | 21 | 24)
        && words.iter().all(|word| (3..=8).contains(&word.len()) && word.iter().all(u8::is_ascii_lowercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_refers_is_no_secret() {
        for value in
            ["secret:openai", "${TOKEN}", "env(\"TOKEN\")", "process.env.TOKEN", "getToken()", "op://vault/item"]
        {
            assert!(is_reference(value.as_bytes()), "{value}");
        }
    }
}
