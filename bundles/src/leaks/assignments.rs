//! Secrets that are told by their name: `API_SECRET=…`, `"client_secret": "…"`, `<password>…</password>`. A value
//! counts where the name means a secret and the value was not written by a person. Deliberately absent: a name alone
//! (`tokens_per_minute = 40000`) and a value alone (a digest), which are what configuration is made of.

use std::ops::Range;

use super::ascii::{at, before, is_blank, is_quote, is_space, is_url_safe, is_word, part, run_end, run_start};
use super::decoded::base64;
use super::markup::{LONGEST_GAP, before_markup, behind_markup, brackets_start, ends_line, sign_end, tag_start};
use super::randomness::{is_placeholder, is_random, is_random_under_name, is_uuid};
use super::secret_names::{Promise, is_preposition, is_telling, is_trailing, promise_of};
use super::{Findings, Rule};

pub(super) static ASSIGNMENT: Rule = Rule::secret("secret.assignment", "secret value under a telling name");
static SIGNED_URL: Rule = Rule::secret("secret.signed", "signature of a signed address");
static SEED_WORDS: Rule = Rule::secret("secret.wallet", "recovery words of a wallet");

/// The rules of this module.
pub(super) static RULES: &[&Rule] = &[&ASSIGNMENT, &SIGNED_URL, &SEED_WORDS];

/// Longest value that is read.
const LONGEST_VALUE: usize = 256;

/// What separates a name from its value, or stands beside what does. A comma does in the arguments of a call, where both
/// are quoted, and in a line of comma-separated values. The end of a short line does. The bytes beyond ASCII are those
/// that signs such as `»`, `—`, `→` and `👉` begin with.
pub(super) const MARKS: &[u8] = b"=:>,|#*-_&.~\n\xc2\xe2\xf0";

/// A reading of a text from its beginning to its end.
#[derive(Default)]
pub(super) struct Assignments {
    read_until: usize,
}

impl Assignments {
    /// Adds the value to `found` that a separator at `index` gives to a telling name.
    pub(super) fn at_mark(&mut self, mark: u8, bytes: &[u8], index: usize, found: &mut Findings) {
        if index < self.read_until {
            return;
        }
        let Some((end, start)) = around(mark, bytes, index) else { return };
        let span = value(bytes, start);
        let text = part(bytes, span.start, span.end);
        let Some(promise) = promised_before(bytes, end, text) else { return };
        // The name of the line above is that of a value alone.
        let is_below = mark == b'\n' && part(bytes, index, start).iter().all(|&byte| is_space(byte));
        if is_listed_digest(bytes, end, span.start, text) || is_below && !ends_line(bytes, span.end) {
            return;
        }
        let Some(rule) = broken_by(promise, text) else { return };
        self.read_until = span.end;
        found.push(rule, span);
    }
}

/// Returns the secret that the cell of a table is, below the cell with the name of its column. Both are read alone.
pub(super) fn secret_in_cell(promise: Promise, cell: &[u8]) -> Option<(&'static Rule, Range<usize>)> {
    let span = value(cell, behind_markup(cell, 0));
    let rule = broken_by(promise, part(cell, span.start, span.end))?;
    Some((rule, span))
}

/// Returns what the name in the first cell of a column promises.
pub(super) fn promised_by_cell(cell: &[u8]) -> Option<Promise> {
    // Phrases are read too, as before a value with a digit.
    promised_before(cell, cell.len(), b"0")
}

/// Whether the value is a commit or a digest on a line below a plural: `## Secrets` is what a list of changes is about.
fn is_listed_digest(bytes: &[u8], name_end: usize, start: usize, value: &[u8]) -> bool {
    let value = value.strip_suffix(b":").unwrap_or(value);
    let is_digest =
        matches!(value.len(), 40 | 64) && value.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_digest {
        return false;
    }
    let end = label_end(bytes, name_end);
    matches!(before(bytes, end), b's' | b'S') && part(bytes, end, start).contains(&b'\n')
}

/// Where the name before a mark ends and the value behind it begins, if the mark separates two.
fn around(mark: u8, bytes: &[u8], index: usize) -> Option<(usize, usize)> {
    let previous = before(bytes, index);
    let next = at(bytes, index + 1);
    let behind = |end: usize| value_start(bytes, end).map(|start| (index, start));
    match mark {
        b',' if !is_quote(previous) => {
            let is_cell = is_word(previous) && (is_url_safe(next) || matches!(next, b'+' | b'/'));
            is_cell.then(|| behind(index + 1)).flatten()
        }
        b',' => behind(index + 1).filter(|&(_, start)| is_quote(at(bytes, start))),
        // The end of emphasis, `**Password** …`, or the item of a list below a name.
        b'*' if !matches!(previous, b'*' | b':')
            && !is_space(previous)
            && matches!(next, b'*' | b'\n' | b'\r' | b' ') =>
        {
            behind(index + 1)
        }
        // The end of emphasis, `__Password__ …`.
        b'_' if is_word(previous) && (next == b'*' || is_space(next)) => behind(index + 1),
        b'*' | b'_' => None,
        // The end of struck text.
        b'~' => (is_word(previous) && next == b'~').then(|| behind(index + 1)).flatten(),
        b'&' if next != b' ' => behind(sign_end(bytes, index)?),
        // A dash between both, `Password - …`, or a line of dots.
        b'-' | b'&' if previous != b' ' => None,
        b'.' if next != b'.' || previous == b'.' => None,
        b'-' | b'.' | b'&' => {
            let end = run_end(bytes, index, 80, |byte| byte == mark);
            let is_between = at(bytes, end) == b' ' && (mark != b'&' || end - index == 1);
            is_between.then(|| behind(end)).flatten()
        }
        // A heading: the name is its line, and the value the next one.
        b'#' => {
            if next != b' ' {
                return None;
            }
            let end = run_end(bytes, index, 64, |byte| byte != b'\n' && byte != b'\r');
            let closing = run_start(bytes, end, 16, |byte| matches!(byte, b' ' | b'#'));
            value_start(bytes, end).map(|start| (closing, start))
        }
        b'\n' => {
            let start = value_start(bytes, index)?;
            Some((run_start(bytes, index, 4, is_space), start))
        }
        // An arrow, `Password -> …`, whose other bytes are no part of the name.
        b'>' => {
            let start = value_start(bytes, index + 1)?;
            Some((run_start(bytes, index, 8, |byte| matches!(byte, b'-' | b'=' | b'~')), start))
        }
        0xc2.. => behind(sign_end(bytes, index)?),
        _ => behind(index + 1),
    }
}

/// Shortest value that matters.
const SHORTEST_VALUE: usize = 8;

/// Where the value behind a separator, which ends before `end`, begins, its quote included, if it is long enough to
/// matter.
fn value_start(bytes: &[u8], end: usize) -> Option<usize> {
    let mut start = behind_markup(bytes, end);
    // `b"…"` and `r'…'` of programs.
    if matches!(at(bytes, start), b'b' | b'r' | b'f' | b'u') && matches!(at(bytes, start + 1), b'"' | b'\'') {
        start += 1;
    }
    if at(bytes, start) == b'\\' {
        start += 1;
    }
    let bare = start + usize::from(is_quote(at(bytes, start)) || at(bytes, start) == b'<');
    let end = run_end(bytes, bare, SHORTEST_VALUE, |byte| is_bare(byte) || byte == b' ' && bare > start);
    (end - bare >= SHORTEST_VALUE).then_some(start)
}

/// The value that begins at `start`, without its quotes.
fn value(bytes: &[u8], start: usize) -> Range<usize> {
    let quote = at(bytes, start);
    if is_quote(quote) {
        // Code in Markdown may have spaces at its ends.
        let start = run_end(bytes, start + 1, 4, |byte| byte == b' ');
        let end = run_end(bytes, start, LONGEST_VALUE, |byte| byte != quote && byte != b'\n');
        return start..run_start(bytes, end, end - start, |byte| byte == b' ');
    }
    // With its brackets, which are those of a placeholder.
    if quote == b'<' {
        let end = run_end(bytes, start + 1, LONGEST_VALUE, is_bare);
        return start..if at(bytes, end) == b'>' { end + 1 } else { start };
    }
    // Another `=` begins another assignment, unless it pads base64.
    let is_link = before(bytes, start) == b'[';
    let is_part = |byte| is_bare(byte) && byte != b'=' && !(is_link && byte == b']');
    let end = run_end(bytes, start, LONGEST_VALUE, is_part);
    let padded = run_end(bytes, end, 2, |byte| byte == b'=');
    // What is marked up as `==…==` is not padded.
    let is_marked = part(bytes, start.saturating_sub(2), start) == b"==";
    let end = if is_word(at(bytes, padded)) || is_marked { end } else { padded };
    // Emphasis ends behind the value.
    start..end - part(bytes, start, end).iter().rev().take_while(|&&byte| byte == b'*').count().min(3)
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'`' | b',' | b';' | b'&' | b'<' | b'>' | b'|' | b'\\')
}

/// Returns the promise of the name that follows a word such as `ENV`, and where the name ends.
pub(super) fn promised_at(bytes: &[u8], start: usize) -> Option<(Promise, usize)> {
    let start = run_end(bytes, start, LONGEST_GAP, is_blank);
    let end = run_end(bytes, start, 64, |byte| is_word(byte) || matches!(byte, b'-' | b'.' | b':' | b'/'));
    let name = part(bytes, start, end).rsplit(|byte| matches!(byte, b':' | b'/')).next()?;
    is_telling(name).then(|| promise_of(name, false)).flatten().map(|promise| (promise, end))
}

/// Where the name before a separator ends. The separator may be the end of a tag.
fn label_end(bytes: &[u8], separator: usize) -> usize {
    let is_tag = at(bytes, separator) == b'>' && tag_start(bytes, separator + 1).is_some();
    let end = before_markup(bytes, separator + usize::from(is_tag));
    run_start(bytes, end, 3, |byte| byte == b'_')
}

/// Returns what the name before a separator promises about `value`.
fn promised_before(bytes: &[u8], separator: usize, value: &[u8]) -> Option<Promise> {
    let end = label_end(bytes, separator);
    // `Password (prod) [eu]: …`
    let first = brackets_start(bytes, separator);
    let second = first.and_then(|start| brackets_start(bytes, start));
    let before_brackets = [first, second].into_iter().flatten().map(|start| label_end(bytes, start));
    let mut ends = [end].into_iter().chain(before_brackets);
    let promised = ends.clone().find_map(|end| promised_by_word(bytes, end));
    // `Password for prod: …`
    promised.or_else(|| has_marks(value).then(|| ends.find_map(|end| promised_by_phrase(bytes, end))).flatten())
}

/// `true` if a value has a digit, or a capital within a word. Few words of sentences have.
fn has_marks(value: &[u8]) -> bool {
    let inner = value.iter().zip(value.iter().skip(1));
    value.iter().any(u8::is_ascii_digit)
        || inner.into_iter().any(|(before, byte)| before.is_ascii_alphanumeric() && byte.is_ascii_uppercase())
}

/// Names of the value whose name stands before it: `name: API_KEY, value: …`.
const VALUE_NAMES: &[&str] = &["content", "val", "value"];

/// Names of the columns of values, whose names stand in the first column.
const VALUE_COLUMNS: &[&str] = &["content", "current", "default", "setting", "val", "value"];

/// Returns `true` if a column of this name has the values of what is named in the first one.
pub(super) fn is_value_column(cell: &[u8]) -> bool {
    let start = behind_markup(cell, 0);
    let word = part(cell, start, run_end(cell, start, 16, is_word));
    VALUE_COLUMNS.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
}

fn promised_by_word(bytes: &[u8], end: usize) -> Option<Promise> {
    let start = run_start(bytes, end, 64, |byte| is_word(byte) || matches!(byte, b'-' | b'.'));
    let word = part(bytes, start, end);
    let is_value = VALUE_NAMES.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()));
    // Most names end here: they hold no part of any noun for a secret.
    if !is_telling(word) && !is_value || is_part_of_reference(bytes, start) {
        return None;
    }
    let in_query = matches!(before(bytes, start), b'?' | b'&');
    if let Some(promise) = promise_of(word, in_query) {
        return Some(promise);
    }
    // `API key: …`, and `name: API_KEY` with `value: …` on the next line.
    let is_second = [&b"key"[..], b"keys", b"phrase"].iter().any(|noun| word.eq_ignore_ascii_case(noun));
    if is_second && before(bytes, start) == b' ' {
        let first = run_start(bytes, start - 1, 16, is_word);
        let joined = [part(bytes, first, start - 1), b"_", word].concat();
        return promise_of(&joined, false);
    }
    if is_value {
        let nearby = part(bytes, start.saturating_sub(80), start);
        return nearby.split(|&byte| !is_word(byte) && byte != b'-').find_map(|word| promise_of(word, false));
    }
    None
}

/// Words between a name and the value that is told of it.
const COPULAS: &[&str] = &["is", "was", "are", "ist", "lautet", "est", "es"];

/// Returns what the words before a separator promise: `Password for the staging server`, `The API key is`, `Token 2`.
fn promised_by_phrase(bytes: &[u8], end: usize) -> Option<Promise> {
    let is_phrase = |byte: u8| is_word(byte) || matches!(byte, b'-' | b'.' | b'#' | b' ' | b'\'');
    let phrase = part(bytes, run_start(bytes, end, 64, is_phrase), end);
    let words = || phrase.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let is_copula = |word: &[u8]| COPULAS.iter().any(|copula| word.eq_ignore_ascii_case(copula.as_bytes()));
    let head = words().position(is_copula);
    let is_longer = head.is_some() || words().any(is_preposition) || words().next_back().is_some_and(is_trailing);
    if !is_longer || !is_telling(phrase) {
        return None;
    }
    let words: Vec<&[u8]> = words().take(head.unwrap_or(usize::MAX)).collect();
    promise_of(&words.join(&b'_'), false)
}

/// Returns the rule that `value` breaks where a name promises a secret. The one judge for text and for keys of objects.
pub(super) fn broken_by(promise: Promise, value: &[u8]) -> Option<&'static Rule> {
    if promise == Promise::Words {
        return is_word_list(value).then_some(&SEED_WORDS);
    }
    if value.contains(&b' ') || is_reference(value) || is_resource_id(value) {
        return None;
    }
    let is_secret = match promise {
        Promise::Password => is_random_under_name(value, 8) || is_strong_password(value) || is_uuid(value),
        Promise::KeyId if is_key_id(value) => false,
        Promise::Token | Promise::KeyId => is_random_under_name(value, 10) || is_uuid(value),
        Promise::BasicAuth => {
            is_random(value, 16) || base64(value).is_some_and(|text| text.contains(&b':') && text.is_ascii())
        }
        Promise::Signature => value.len() >= 32 && is_random(value, 10),
        Promise::Words => false,
    };
    let rule = if promise == Promise::Signature { &SIGNED_URL } else { &ASSIGNMENT };
    is_secret.then_some(rule)
}

/// `AC` and 32 hexadecimal digits: the id of an account, a message or a call, with which nobody can do anything.
fn is_resource_id(value: &[u8]) -> bool {
    let (kind, number) = value.split_at(value.len().min(2));
    number.len() == 32
        && kind.iter().all(u8::is_ascii_uppercase)
        && number.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns `true` if the value is the id or the fingerprint of an OpenPGP key.
fn is_key_id(value: &[u8]) -> bool {
    let number = value.strip_prefix(b"0x").or_else(|| value.strip_prefix(b"0X")).unwrap_or(value);
    let digits = number.iter().filter(|&&byte| byte != b' ');
    // Short and long ids, and fingerprints of versions 3, 4 and 6.
    matches!(digits.clone().count(), 8 | 16 | 32 | 40 | 64) && digits.clone().all(u8::is_ascii_hexdigit)
}

/// Words that have a number behind them: `base64`, `chacha20`.
#[rustfmt::skip]
const NUMBERED_WORDS: &[&str] = &[
    "argon", "ascii", "base", "blake", "camellia", "chacha", "curve", "hmac", "keccak", "latin", "oauth", "pbkdf", "poly",
    "ripemd", "salsa", "secp", "shake", "windows", "xchacha",
];

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
    is_template(value)
        || is_address
        || is_code
        || BEGINNINGS.iter().any(|beginning| value.starts_with(beginning.as_bytes()))
}

/// `${TOKEN}`, `{{ token }}`, `<your key>`, `%TOKEN%`, `!vault`. A password may begin like one of these.
pub(super) fn is_template(value: &[u8]) -> bool {
    let Some((first, rest)) = value.split_first() else { return false };
    let is_closed = match first {
        b'$' if matches!(rest.first(), Some(b'{' | b'(')) => true,
        b'{' => rest.contains(&b'}'),
        b'<' => rest.contains(&b'>'),
        b'%' => rest.contains(&b'%') || rest.starts_with(b"("),
        b'$' | b'[' | b'(' | b'*' | b'!' => false,
        _ => return false,
    };
    // Nobody draws the name of a variable at random.
    is_closed && !is_random(value, 16) || !is_random_under_name(value, 8)
}

/// What a person takes for a good password: letters, digits and punctuation in eight or more characters, or a word and
/// a number behind it.
fn is_strong_password(value: &[u8]) -> bool {
    let word = value.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let number = part(value, word, value.len());
    let is_word_and_number = word >= 4 && number.len() >= 2 && number.iter().all(u8::is_ascii_digit);
    if is_word_and_number
        && NUMBERED_WORDS.iter().any(|name| part(value, 0, word).eq_ignore_ascii_case(name.as_bytes()))
    {
        return false;
    }
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
