//! Secrets that are told by their name: `API_SECRET=…`, `"client_secret": "…"`, `<password>…</password>`. A value
//! counts where the name means a secret and the value was not written by a person. Deliberately absent: a name alone
//! (`tokens_per_minute = 40000`) and a value alone (a digest), which are what configuration is made of.

use std::ops::Range;

use super::ascii::{at, before, is_quote, is_space, is_word, part, run_end, run_start};
use super::decoded::base64;
use super::randomness::{is_placeholder, is_random, is_random_under_name, is_uuid};
use super::secret_names::{Promise, is_telling, promise_of};
use super::{Findings, Rule};

pub(super) static ASSIGNMENT: Rule = Rule::secret("secret.assignment", "secret value under a telling name");
static SIGNED_URL: Rule = Rule::secret("secret.signed", "signature of a signed address");
static SEED_WORDS: Rule = Rule::secret("secret.wallet", "recovery words of a wallet");

/// The rules of this module.
pub(super) static RULES: &[&Rule] = &[&ASSIGNMENT, &SIGNED_URL, &SEED_WORDS];

/// Longest value that is read.
const LONGEST_VALUE: usize = 256;

/// What separates a name from its value, or stands beside what does. A comma does in the arguments of a call, where both
/// are quoted, and in a line of comma-separated values.
pub(super) const MARKS: &[u8] = b"=:>,|#*-_";

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
        let Some(promise) = promised_before(bytes, end) else { return };
        let span = value(bytes, start);
        let text = part(bytes, span.start, span.end);
        if is_listed_digest(bytes, end, span.start, text) {
            return;
        }
        let Some(rule) = broken_by(promise, text) else { return };
        self.read_until = span.end;
        found.push(rule, span);
    }
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
    match mark {
        b',' if !is_quote(previous) => {
            let is_cell = is_word(previous) && next.is_ascii_alphanumeric();
            is_cell.then(|| value_start(bytes, index).map(|start| (index, start))).flatten()
        }
        // The end of emphasis, `**Password** …`, or the item of a list below a name.
        b'*' if is_word(previous) && matches!(next, b'*' | b'\n' | b'\r' | b' ') => {
            value_start(bytes, index).map(|start| (index, start))
        }
        // The end of emphasis, `__Password__ …`.
        b'_' if is_word(previous) && (next == b'*' || is_space(next)) => {
            value_start(bytes, index).map(|start| (index, start))
        }
        b'_' => None,
        b'*' | b'-' if next != b' ' && next != b'\n' && next != mark => None,
        b'*' | b'-' => {
            let end = line_above(bytes, index)?;
            value_start(bytes, index).map(|start| (end, start))
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
        // A definition, or a line below a heading.
        b':' | b'=' if matches!(previous, b'\n' | b'=') => {
            let end = line_above(bytes, run_start(bytes, index, 80, |byte| byte == b'='))?;
            value_start(bytes, index).map(|start| (end, start))
        }
        _ => value_start(bytes, index).map(|start| (index, start)),
    }
}

/// Where the line above ends, if nothing but white space stands before `index` on its own line.
fn line_above(bytes: &[u8], index: usize) -> Option<usize> {
    let start = gap_start(bytes, index, |byte| matches!(byte, b' ' | b'\t'), |byte| matches!(byte, b'>' | b'-'));
    let is_first = start > 0 && before(bytes, start) == b'\n';
    is_first.then(|| run_start(bytes, start, LONGEST_GAP, is_space))
}

/// Longest run of white space between a name and its value, as columns and indented lines have it.
const LONGEST_GAP: usize = 512;

/// Most signs between a name and its value in one gap. Rules are asked at each of them, and read all of them.
const MOST_SIGNS: usize = 24;

/// The start of the white space and the signs that end before `end`.
fn gap_start(bytes: &[u8], end: usize, is_space: fn(u8) -> bool, is_sign: fn(u8) -> bool) -> usize {
    let spaces = run_start(bytes, end, LONGEST_GAP, is_space);
    let signs = run_start(bytes, spaces, MOST_SIGNS, |byte| is_space(byte) || is_sign(byte));
    run_start(bytes, signs, LONGEST_GAP, is_space)
}

/// The end of the white space and the signs that begin at `start`.
fn gap_end(bytes: &[u8], start: usize, is_sign: fn(u8) -> bool) -> usize {
    let spaces = run_end(bytes, start, LONGEST_GAP, is_space);
    let signs = run_end(bytes, spaces, MOST_SIGNS, |byte| is_space(byte) || is_sign(byte));
    run_end(bytes, signs, LONGEST_GAP, is_space)
}

/// Tags of HTML that put what they hold beside something else, or stress it.
#[rustfmt::skip]
const TAGS: &[&str] = &[
    "b", "br", "code", "dd", "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "i", "kbd", "label", "li", "mark", "ol", "p",
    "pre", "samp", "small", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "tt", "u", "ul",
];

/// Longest tag that is read.
const LONGEST_TAG: usize = 256;

/// The end of the tag that begins at `start`.
fn tag_end(bytes: &[u8], start: usize) -> Option<usize> {
    let name = start + 1 + usize::from(at(bytes, start + 1) == b'/');
    let end = run_end(bytes, name, 8, |byte| byte.is_ascii_alphanumeric());
    let is_known = TAGS.iter().any(|tag| part(bytes, name, end).eq_ignore_ascii_case(tag.as_bytes()));
    if at(bytes, start) != b'<' || !is_known {
        return None;
    }
    let close = run_end(bytes, end, LONGEST_TAG, |byte| byte != b'>' && byte != b'<');
    (at(bytes, close) == b'>').then_some(close + 1)
}

/// The beginning of the tag that ends before `end`.
fn tag_start(bytes: &[u8], end: usize) -> Option<usize> {
    if before(bytes, end) != b'>' {
        return None;
    }
    let start = run_start(bytes, end - 1, LONGEST_TAG, |byte| byte != b'<' && byte != b'>').checked_sub(1)?;
    (tag_end(bytes, start) == Some(end)).then_some(start)
}

/// The end of the line that opens a block of code at `start`.
fn fence_end(bytes: &[u8], start: usize) -> Option<usize> {
    let fence = run_end(bytes, start, 8, |byte| byte == b'`');
    let end = run_end(bytes, fence, 24, |byte| byte != b'\n' && byte != b'`');
    (fence - start >= 3 && at(bytes, end) == b'\n').then_some(end)
}

/// Most tags and signs in a row between a name and its value.
const MOST_MARKUP: usize = 12;

/// Where what stands before markup ends.
fn before_markup(bytes: &[u8], mut end: usize) -> usize {
    for _ in 0..MOST_MARKUP {
        let is_sign = |byte| matches!(byte, b']' | b'?' | b'*' | b'~' | b'|' | b'\\') || is_quote(byte);
        let skipped = gap_start(bytes, end, |byte| matches!(byte, b' ' | b'\t'), is_sign);
        match tag_start(bytes, skipped) {
            // Cells and terms may stand on lines of their own.
            Some(start) => end = run_start(bytes, start, LONGEST_GAP, is_space),
            None => return skipped,
        }
    }
    end
}

/// Where what stands behind a separator and markup begins.
fn behind_markup(bytes: &[u8], mut start: usize) -> usize {
    for _ in 0..MOST_MARKUP {
        start = gap_end(bytes, start, |byte| matches!(byte, b'=' | b'>' | b':' | b'|' | b'~'));
        let stars = run_end(bytes, start, 4, |byte| byte == b'*') - start;
        let scores = run_end(bytes, start, 4, |byte| byte == b'_') - start;
        let hyphens = run_end(bytes, start, 80, |byte| byte == b'-') - start;
        start += match (at(bytes, start), at(bytes, start + 1)) {
            // Four and more are a value that was blotted out.
            (b'*', _) if stars < 4 => stars,
            (b'_', _) if scores == 2 => scores,
            // The end of emphasis, `_Password:_ …`.
            (b'_', b' ' | b'\t' | b'\n' | b'\r' | b'*' | b':' | b'|' | b'<') => 1,
            (b'_', _) if scores == 3 => scores,
            (b'-' | b'+', b' ' | b'\n' | b'\r') => 1,
            (b'-', _) if hyphens >= 3 && is_space(at(bytes, start + hyphens)) => hyphens,
            (b'`', b'`') => match fence_end(bytes, start) {
                Some(end) => end - start,
                None => return start,
            },
            (b'<', _) => match tag_end(bytes, start) {
                Some(end) => end - start,
                None => return start,
            },
            _ => return start,
        };
    }
    start
}

/// Shortest value that matters.
const SHORTEST_VALUE: usize = 8;

/// Where the value behind a separator begins, its quote included, if it is long enough to matter.
fn value_start(bytes: &[u8], separator: usize) -> Option<usize> {
    let mut start = behind_markup(bytes, separator + 1);
    // `b"…"` and `r'…'` of programs.
    if matches!(at(bytes, start), b'b' | b'r' | b'f' | b'u') && matches!(at(bytes, start + 1), b'"' | b'\'') {
        start += 1;
    }
    if at(bytes, start) == b'\\' {
        start += 1;
    }
    let bare = start + usize::from(is_quote(at(bytes, start)));
    let end = run_end(bytes, bare, SHORTEST_VALUE, |byte| is_bare(byte) || byte == b' ' && bare > start);
    let is_cell = is_word(before(bytes, separator));
    let is_argument = at(bytes, separator) != b',' || bare > start || is_cell;
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
    let end = if is_word(at(bytes, padded)) { end } else { padded };
    // Emphasis ends behind the value.
    start..end - part(bytes, start, end).iter().rev().take_while(|&&byte| byte == b'*').count().min(3)
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'`' | b',' | b';' | b'&' | b'<' | b'>' | b'|' | b'\\')
}

/// Returns the promise of the name that follows a word such as `ENV`, and where the name ends.
pub(super) fn promised_at(bytes: &[u8], start: usize) -> Option<(Promise, usize)> {
    let start = run_end(bytes, start, 8, |byte| byte == b' ');
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

/// Returns what the name before a separator promises.
fn promised_before(bytes: &[u8], separator: usize) -> Option<Promise> {
    let end = label_end(bytes, separator);
    let start = run_start(bytes, end, 64, |byte| is_word(byte) || matches!(byte, b'-' | b'.'));
    let word = part(bytes, start, end);
    // Most names end here: they hold no part of any noun for a secret.
    if !is_telling(word) && !word.eq_ignore_ascii_case(b"value") || is_part_of_reference(bytes, start) {
        return None;
    }
    let in_query = matches!(before(bytes, start), b'?' | b'&');
    if let Some(promise) = promise_of(word, in_query) {
        return Some(promise);
    }
    // `API key: …`, and `name: API_KEY` with `value: …` on the next line.
    let two_words = before(bytes, start) == b' ' && word.eq_ignore_ascii_case(b"key");
    if two_words {
        let first = run_start(bytes, start - 1, 16, is_word);
        let joined = [part(bytes, first, start - 1), b"_", word].concat();
        return promise_of(&joined, false);
    }
    if word.eq_ignore_ascii_case(b"value") {
        let nearby = part(bytes, start.saturating_sub(80), start);
        return nearby.split(|&byte| !is_word(byte) && byte != b'-').find_map(|word| promise_of(word, false));
    }
    None
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
        Promise::Token => is_random_under_name(value, 10) || is_uuid(value),
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
