//! Secrets recognised by their name: `API_SECRET=…`, `"client_secret": "…"`, `<password>…</password>`.
//!
//! A value is a finding if its name denotes a secret and the value does not look written by a person. A name alone
//! (`tokens_per_minute = 40000`) and a value alone (a digest) are common in configuration and are not findings.
//! `secret_names` judges names, `randomness` judges values.

use std::ops::Range;

use crate::LeakRule;
use crate::ascii::{at, before, is_blank, is_quote, is_space, is_url_safe, is_word, part, run_end, run_start};
use crate::decoded::base64;
use crate::findings::Findings;
use crate::markup::{MAX_GAP_BYTES, before_markup, behind_markup, brackets_start, ends_line, sign_end, tag_start};
use crate::randomness::{is_placeholder, is_random, is_random_under_name, is_uuid};
use crate::secret_names::{SecretKind, is_preposition, is_trailing, may_name_secret, secret_kind_of};

pub(crate) static ASSIGNMENT: LeakRule = LeakRule::secret("secret.assignment", "secret value under a name for secrets");
static SIGNED_URL: LeakRule = LeakRule::secret("secret.signed", "signature of a signed address");
static SEED_WORDS: LeakRule = LeakRule::secret("secret.wallet", "recovery words of a wallet");

/// Rules of this module.
pub(crate) static RULES: &[&LeakRule] = &[&ASSIGNMENT, &SIGNED_URL, &SEED_WORDS];

/// Longest value that is read, in bytes.
const MAX_VALUE_BYTES: usize = 256;

/// Bytes that separate a name from its value, or that are part of such a separator. A comma separates the quoted
/// arguments of a call and the cells of comma-separated values. A line feed separates if it ends a short line. The
/// bytes beyond ASCII are first bytes of signs such as `»`, `—`, `→` and `👉`.
pub(crate) const MARKS: &[u8] = b"=:>,|#*-_&.~\n\xc2\xe2\xf0";

/// State of one pass over a text.
#[derive(Default)]
pub(crate) struct Assignments {
    read_until: usize,
}

impl Assignments {
    /// Adds the value to `found` if the separator at `index` assigns a secret to a name for one.
    pub(crate) fn at_mark(&mut self, mark: u8, bytes: &[u8], index: usize, found: &mut Findings) {
        if index < self.read_until {
            return;
        }
        let Some((end, start)) = around(mark, bytes, index) else { return };
        let span = value(bytes, start);
        let text = part(bytes, span.start, span.end);
        let Some(secret_kind) = secret_kind_before(bytes, end, text) else { return };
        // The line above is the value's name only if the value is alone on its line.
        let is_below = mark == b'\n' && part(bytes, index, start).iter().all(|&byte| is_space(byte));
        if is_listed_digest(bytes, end, span.start, text) || is_below && !ends_line(bytes, span.end) {
            return;
        }
        let Some(rule) = broken_rule(secret_kind, text) else { return };
        self.read_until = span.end;
        found.push(rule, span);
    }
}

/// Returns the secret in a table cell whose column has a name of kind `secret_kind`. The cell is read on its own.
pub(crate) fn secret_in_cell(secret_kind: SecretKind, cell: &[u8]) -> Option<(&'static LeakRule, Range<usize>)> {
    let span = value(cell, behind_markup(cell, 0));
    let rule = broken_rule(secret_kind, part(cell, span.start, span.end))?;
    Some((rule, span))
}

/// Returns the kind of secret that the name in the first cell of a column denotes.
pub(crate) fn secret_kind_of_cell(cell: &[u8]) -> Option<SecretKind> {
    // With a digit in the value, phrases are read too.
    secret_kind_before(cell, cell.len(), b"0")
}

/// `true` if the value is a commit or a digest on a line below a plural name. A heading such as `## Secrets` in a
/// change log introduces a list of commits.
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

/// Returns the end of the name before a mark and the start of the value after it, or `None` if the mark separates no
/// such pair.
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
        // End of emphasis, `**Password** …`, or a list item below a name.
        b'*' if !matches!(previous, b'*' | b':')
            && !is_space(previous)
            && matches!(next, b'*' | b'\n' | b'\r' | b' ') =>
        {
            behind(index + 1)
        }
        // End of emphasis, `__Password__ …`.
        b'_' if is_word(previous) && (next == b'*' || is_space(next)) => behind(index + 1),
        b'*' | b'_' => None,
        // End of struck-through text.
        b'~' => (is_word(previous) && next == b'~').then(|| behind(index + 1)).flatten(),
        b'&' if next != b' ' => behind(sign_end(bytes, index)?),
        // A dash between the two, `Password - …`, or a row of dots.
        b'-' | b'&' if previous != b' ' => None,
        b'.' if next != b'.' || previous == b'.' => None,
        b'-' | b'.' | b'&' => {
            let end = run_end(bytes, index, 80, |byte| byte == mark);
            let is_between = at(bytes, end) == b' ' && (mark != b'&' || end - index == 1);
            is_between.then(|| behind(end)).flatten()
        }
        // In a heading, the rest of the line is the name and the next line is the value.
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
        // An arrow, `Password -> …`. Its other bytes are not part of the name.
        b'>' => {
            let start = value_start(bytes, index + 1)?;
            Some((run_start(bytes, index, 8, |byte| matches!(byte, b'-' | b'=' | b'~')), start))
        }
        0xc2.. => behind(sign_end(bytes, index)?),
        _ => behind(index + 1),
    }
}

/// Shortest value that can be a secret, in bytes.
const MIN_VALUE_BYTES: usize = 8;

/// Returns the start of the value, including its quote, after a separator that ends before `end`. `None` if the value
/// is shorter than [`MIN_VALUE_BYTES`].
fn value_start(bytes: &[u8], end: usize) -> Option<usize> {
    let mut start = behind_markup(bytes, end);
    // `b"…"` and `r'…'` in programs.
    if matches!(at(bytes, start), b'b' | b'r' | b'f' | b'u') && matches!(at(bytes, start + 1), b'"' | b'\'') {
        start += 1;
    }
    if at(bytes, start) == b'\\' {
        start += 1;
    }
    let bare = start + usize::from(is_quote(at(bytes, start)) || at(bytes, start) == b'<');
    let end = run_end(bytes, bare, MIN_VALUE_BYTES, |byte| is_bare(byte) || byte == b' ' && bare > start);
    (end - bare >= MIN_VALUE_BYTES).then_some(start)
}

/// Returns the range of the value at `start`, without its quotes.
fn value(bytes: &[u8], start: usize) -> Range<usize> {
    let quote = at(bytes, start);
    if is_quote(quote) {
        // Inline code in Markdown may be padded with spaces.
        let start = run_end(bytes, start + 1, 4, |byte| byte == b' ');
        let end = run_end(bytes, start, MAX_VALUE_BYTES, |byte| byte != quote && byte != b'\n');
        return start..run_start(bytes, end, end - start, |byte| byte == b' ');
    }
    // The angle brackets are kept, because they identify a placeholder.
    if quote == b'<' {
        let end = run_end(bytes, start + 1, MAX_VALUE_BYTES, is_bare);
        return start..if at(bytes, end) == b'>' { end + 1 } else { start };
    }
    // Another `=` starts another assignment, unless it pads base64.
    let is_link = before(bytes, start) == b'[';
    let is_part = |byte| is_bare(byte) && byte != b'=' && !(is_link && byte == b']');
    let end = run_end(bytes, start, MAX_VALUE_BYTES, is_part);
    let padded = run_end(bytes, end, 2, |byte| byte == b'=');
    // In text highlighted as `==…==`, the `=` is not padding.
    let is_marked = part(bytes, start.saturating_sub(2), start) == b"==";
    let end = if is_word(at(bytes, padded)) || is_marked { end } else { padded };
    // Closing emphasis follows the value.
    start..end - part(bytes, start, end).iter().rev().take_while(|&&byte| byte == b'*').count().min(3)
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'`' | b',' | b';' | b'&' | b'<' | b'>' | b'|' | b'\\')
}

/// Returns the kind of secret that the name after a word such as `ENV` denotes, and the end of the name.
pub(crate) fn secret_kind_at(bytes: &[u8], start: usize) -> Option<(SecretKind, usize)> {
    let start = run_end(bytes, start, MAX_GAP_BYTES, is_blank);
    let end = run_end(bytes, start, 64, |byte| is_word(byte) || matches!(byte, b'-' | b'.' | b':' | b'/'));
    let name = part(bytes, start, end).rsplit(|byte| matches!(byte, b':' | b'/')).next()?;
    may_name_secret(name).then(|| secret_kind_of(name, false)).flatten().map(|secret_kind| (secret_kind, end))
}

/// Returns the end of the name before a separator. The separator may be the end of a tag.
fn label_end(bytes: &[u8], separator: usize) -> usize {
    let is_tag = at(bytes, separator) == b'>' && tag_start(bytes, separator + 1).is_some();
    let end = before_markup(bytes, separator + usize::from(is_tag));
    run_start(bytes, end, 3, |byte| byte == b'_')
}

/// Returns the kind of secret that the name before a separator denotes. Phrases are accepted only if `value` does not
/// look like a word.
fn secret_kind_before(bytes: &[u8], separator: usize, value: &[u8]) -> Option<SecretKind> {
    let end = label_end(bytes, separator);
    // `Password (prod) [eu]: …`
    let first = brackets_start(bytes, separator);
    let second = first.and_then(|start| brackets_start(bytes, start));
    let before_brackets = [first, second].into_iter().flatten().map(|start| label_end(bytes, start));
    let mut ends = [end].into_iter().chain(before_brackets);
    let secret_kind = ends.clone().find_map(|end| secret_kind_of_word(bytes, end));
    // `Password for prod: …`
    secret_kind.or_else(|| has_marks(value).then(|| ends.find_map(|end| secret_kind_of_phrase(bytes, end))).flatten())
}

/// `true` if a value has a digit or a capital inside a word. Few words of sentences do.
fn has_marks(value: &[u8]) -> bool {
    let inner = value.iter().zip(value.iter().skip(1));
    value.iter().any(u8::is_ascii_digit)
        || inner.into_iter().any(|(before, byte)| before.is_ascii_alphanumeric() && byte.is_ascii_uppercase())
}

/// Keys whose value belongs to a name given before them: `name: API_KEY, value: …`.
const VALUE_NAMES: &[&str] = &["content", "val", "value"];

/// Titles of table columns that hold the value of the name in the first column.
const VALUE_COLUMNS: &[&str] = &["content", "current", "default", "setting", "val", "value"];

/// `true` if a column with this title holds the values of the names in the first column.
pub(crate) fn is_value_column(cell: &[u8]) -> bool {
    let start = behind_markup(cell, 0);
    let word = part(cell, start, run_end(cell, start, 16, is_word));
    VALUE_COLUMNS.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
}

fn secret_kind_of_word(bytes: &[u8], end: usize) -> Option<SecretKind> {
    let start = run_start(bytes, end, 64, |byte| is_word(byte) || matches!(byte, b'-' | b'.'));
    let word = part(bytes, start, end);
    let is_value = VALUE_NAMES.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()));
    // Most names end here, because they contain no part of a noun for a secret.
    if !may_name_secret(word) && !is_value || is_part_of_reference(bytes, start) {
        return None;
    }
    let in_query = matches!(before(bytes, start), b'?' | b'&');
    if let Some(secret_kind) = secret_kind_of(word, in_query) {
        return Some(secret_kind);
    }
    // `API key: …`, and `name: API_KEY` with `value: …` on the next line.
    let is_second = [&b"key"[..], b"keys", b"phrase"].iter().any(|noun| word.eq_ignore_ascii_case(noun));
    if is_second && before(bytes, start) == b' ' {
        let first = run_start(bytes, start - 1, 16, is_word);
        let joined = [part(bytes, first, start - 1), b"_", word].concat();
        return secret_kind_of(&joined, false);
    }
    if is_value {
        let nearby = part(bytes, start.saturating_sub(80), start);
        return nearby.split(|&byte| !is_word(byte) && byte != b'-').find_map(|word| secret_kind_of(word, false));
    }
    None
}

/// Verbs between a name and its value in a sentence.
const COPULAS: &[&str] = &["is", "was", "are", "ist", "lautet", "est", "es"];

/// Returns the kind of secret that the words before a separator denote: `Password for the staging server`, `The API key
/// is`, `Token 2`.
fn secret_kind_of_phrase(bytes: &[u8], end: usize) -> Option<SecretKind> {
    let is_phrase = |byte: u8| is_word(byte) || matches!(byte, b'-' | b'.' | b'#' | b' ' | b'\'');
    let phrase = part(bytes, run_start(bytes, end, 64, is_phrase), end);
    let words = || phrase.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let is_copula = |word: &[u8]| COPULAS.iter().any(|copula| word.eq_ignore_ascii_case(copula.as_bytes()));
    let head = words().position(is_copula);
    let is_longer = head.is_some() || words().any(is_preposition) || words().next_back().is_some_and(is_trailing);
    if !is_longer || !may_name_secret(phrase) {
        return None;
    }
    let words: Vec<&[u8]> = words().take(head.unwrap_or(usize::MAX)).collect();
    secret_kind_of(&words.join(&b'_'), false)
}

/// Returns the rule that `value` breaks under a name of kind `secret_kind`. Used for text and for keys of structured
/// data.
pub(crate) fn broken_rule(secret_kind: SecretKind, value: &[u8]) -> Option<&'static LeakRule> {
    if secret_kind == SecretKind::Words {
        return is_word_list(value).then_some(&SEED_WORDS);
    }
    if value.contains(&b' ') || is_reference(value) || is_resource_id(value) {
        return None;
    }
    let is_secret = match secret_kind {
        SecretKind::Password => is_random_under_name(value, 8) || is_strong_password(value) || is_uuid(value),
        SecretKind::KeyId if is_key_id(value) => false,
        SecretKind::Token | SecretKind::KeyId => is_random_under_name(value, 10) || is_uuid(value),
        SecretKind::BasicAuth => {
            is_random(value, 16) || base64(value).is_some_and(|text| text.contains(&b':') && text.is_ascii())
        }
        SecretKind::Signature => value.len() >= 32 && is_random(value, 10),
        SecretKind::Words => false,
    };
    let rule = if secret_kind == SecretKind::Signature { &SIGNED_URL } else { &ASSIGNMENT };
    is_secret.then_some(rule)
}

/// `true` for two capitals and 32 hex digits, such as `AC…`. This is the id of an account, message or call, and grants
/// no access.
fn is_resource_id(value: &[u8]) -> bool {
    let (kind, number) = value.split_at(value.len().min(2));
    number.len() == 32
        && kind.iter().all(u8::is_ascii_uppercase)
        && number.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `true` if the value is the id or the fingerprint of an OpenPGP key.
fn is_key_id(value: &[u8]) -> bool {
    let number = value.strip_prefix(b"0x").or_else(|| value.strip_prefix(b"0X")).unwrap_or(value);
    let digits = number.iter().filter(|&&byte| byte != b' ');
    // Short and long ids, and fingerprints of versions 3, 4 and 6.
    matches!(digits.clone().count(), 8 | 16 | 32 | 40 | 64) && digits.clone().all(u8::is_ascii_hexdigit)
}

/// Words that are commonly followed by a number: `base64`, `chacha20`.
#[rustfmt::skip]
const NUMBERED_WORDS: &[&str] = &[
    "argon", "ascii", "base", "blake", "camellia", "chacha", "curve", "hmac", "keccak", "latin", "oauth", "pbkdf", "poly",
    "ripemd", "salsa", "secp", "shake", "windows", "xchacha",
];

/// `true` if the name is inside a resource name. Resource names contain `secret:` before the name of a secret.
fn is_part_of_reference(bytes: &[u8], start: usize) -> bool {
    let outer = run_start(bytes, start, 96, |byte| is_word(byte) || matches!(byte, b':' | b'-' | b'/' | b'.'));
    let outer = part(bytes, outer, start);
    [b"arn:".as_slice(), b"projects/", b"urn:", b"vault:", b"pkg:", b"crn:"]
        .iter()
        .any(|scheme| outer.starts_with(scheme))
}

/// `true` if a value states where the secret is stored, not the secret itself.
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
    // A call, macro or index expression in a program is not itself the value.
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

/// `true` for `${TOKEN}`, `{{ token }}`, `<your key>`, `%TOKEN%`, `!vault`. A password may start with the same
/// characters.
pub(crate) fn is_template(value: &[u8]) -> bool {
    let Some((first, rest)) = value.split_first() else { return false };
    let is_closed = match first {
        b'$' if matches!(rest.first(), Some(b'{' | b'(')) => true,
        b'{' => rest.contains(&b'}'),
        b'<' => rest.contains(&b'>'),
        b'%' => rest.contains(&b'%') || rest.starts_with(b"("),
        b'$' | b'[' | b'(' | b'*' | b'!' => false,
        _ => return false,
    };
    // Names of variables are not random.
    is_closed && !is_random(value, 16) || !is_random_under_name(value, 8)
}

/// `true` for strings that look like a strong password: eight or more characters of letters, digits and punctuation, or
/// a word followed by a number.
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

/// `true` for 12, 15, 18, 21 or 24 short lower-case words.
fn is_word_list(value: &[u8]) -> bool {
    let words: Vec<&[u8]> = value.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).collect();
    matches!(words.len(), 12 | 15 | 18 | 21 | 24)
        && words.iter().all(|word| (3..=8).contains(&word.len()) && word.iter().all(u8::is_ascii_lowercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_is_not_a_secret() {
        for value in
            ["secret:openai", "${TOKEN}", "env(\"TOKEN\")", "process.env.TOKEN", "getToken()", "op://vault/item"]
        {
            assert!(is_reference(value.as_bytes()), "{value}");
        }
    }
}
