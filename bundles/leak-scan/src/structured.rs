//! Credentials with a structure instead of a fixed prefix: key blocks, web tokens, webhooks, bot tokens.
//!
//! A landmark or a punctuation mark leads to a candidate, and the bytes around it decide. Every function reads a
//! bounded window.

use std::ops::Range;

use crate::LeakRule;
use crate::ascii::{at, before, is_space, is_url_safe, is_word, part, run_end, run_start, stands_at};
use crate::decoded::base64;
use crate::randomness::{is_placeholder, is_random};

static PRIVATE_KEY: LeakRule = LeakRule::secret("secret.key_block", "private key");
static WEB_TOKEN: LeakRule = LeakRule::secret("secret.jwt", "JSON web token");
static WEBHOOK: LeakRule = LeakRule::secret("secret.hook", "webhook URL that anyone can post to");
static BOT_TOKEN: LeakRule = LeakRule::secret("secret.bot_token", "chat bot token");
static SENDGRID: LeakRule = LeakRule::secret("secret.mail_key", "SendGrid key");
static FIREBASE: LeakRule = LeakRule::secret("secret.fcm", "Firebase messaging key");
static TERRAFORM: LeakRule = LeakRule::secret("secret.tfc", "Terraform Cloud token");
static AZURE: LeakRule = LeakRule::secret("secret.azure", "Azure credential");
static AIRTABLE: LeakRule = LeakRule::secret("secret.table", "Airtable token");
static MARKED_KEY: LeakRule = LeakRule::secret("secret.marked_key", "key with an issuer marker");
static NUMBERED: LeakRule = LeakRule::secret("secret.numbered", "token behind a numeric account id");

/// Rules of this module.
pub(crate) static RULES: &[&LeakRule] = &[
    &PRIVATE_KEY,
    &WEB_TOKEN,
    &WEBHOOK,
    &BOT_TOKEN,
    &SENDGRID,
    &FIREBASE,
    &TERRAFORM,
    &AZURE,
    &AIRTABLE,
    &MARKED_KEY,
    &NUMBERED,
];

/// Longest part of a web token that is read, in bytes. Real parts have some hundred bytes.
const MAX_PART_BYTES: usize = 1 << 13;

/// A fixed word of a credential. `read` takes the text and the range of the word and returns the range of the
/// credential.
pub(crate) struct Landmark {
    pub(crate) word: &'static str,
    pub(crate) rule: &'static LeakRule,
    /// `true` if the word may follow a letter directly.
    pub(crate) glued: bool,
    /// `true` if the word may be in a run of fewer than sixteen characters, because white space follows it or few
    /// characters are sufficient.
    pub(crate) short: bool,
    pub(crate) read: fn(&[u8], usize, usize) -> Option<Range<usize>>,
}

const fn landmark(
    word: &'static str,
    rule: &'static LeakRule,
    read: fn(&[u8], usize, usize) -> Option<Range<usize>>,
) -> Landmark {
    Landmark { word, rule, glued: false, short: false, read }
}

impl Landmark {
    const fn glued(mut self) -> Self {
        self.glued = true;
        self
    }

    const fn short(mut self) -> Self {
        self.short = true;
        self
    }
}

/// All landmarks.
pub(crate) static LANDMARKS: &[Landmark] = &[
    landmark("-BEGIN ", &PRIVATE_KEY, key_block).short(),
    landmark("-BEGIN\n", &PRIVATE_KEY, key_block).short(),
    landmark("- BEGIN ", &PRIVATE_KEY, key_block).short(),
    landmark("Private-Lines:", &PRIVATE_KEY, putty_key).short(),
    landmark("IBAAK", &PRIVATE_KEY, bare_rsa_key).glued(),
    landmark("eyJ", &WEB_TOKEN, web_token).short(),
    landmark("SG.", &SENDGRID, |bytes, start, end| two_parts(bytes, start, end, 14, 30)),
    landmark(":APA91b", &FIREBASE, firebase),
    landmark(".atlasv1.", &TERRAFORM, terraform),
    landmark("Q~", &AZURE, azure_client),
    landmark("pat", &AIRTABLE, airtable),
    landmark("/api/webhooks/", &WEBHOOK, discord_hook),
    landmark("hooks.slack.com/", &WEBHOOK, |bytes, start, end| hook(bytes, start, end, 20)),
    landmark(".office.com/webhook", &WEBHOOK, |bytes, start, end| hook(bytes, start, end, 32)),
    landmark("hooks.zapier.com/hooks/", &WEBHOOK, |bytes, start, end| hook(bytes, start, end, 12)),
    landmark("AZDO", &MARKED_KEY, |bytes, start, end| marked(bytes, start, end, 60, 4)).glued(),
    landmark("AzCa", &MARKED_KEY, |bytes, start, end| marked(bytes, start, end, 30, 6)).glued(),
    landmark("JQQJ99", &MARKED_KEY, |bytes, start, end| marked(bytes, start, end, 30, 24)).glued(),
    landmark("AzSeA", &MARKED_KEY, |bytes, start, end| marked(bytes, start, end, 36, 6)).glued(),
    landmark("NRAL", &MARKED_KEY, |bytes, start, end| marked(bytes, start, end, 30, 0)).glued(),
    landmark("A3-", &MARKED_KEY, one_password),
];

/// Punctuation of credentials without a fixed word.
pub(crate) const MARKS: &[u8] = b":.-";

/// Returns the credential whose punctuation is at `index`.
pub(crate) fn at_mark(mark: u8, bytes: &[u8], index: usize) -> Option<(&'static LeakRule, Range<usize>)> {
    match mark {
        b':' => telegram(bytes, index)
            .map(|span| (&BOT_TOKEN, span))
            .or_else(|| numbered(bytes, index).map(|span| (&NUMBERED, span))),
        b'.' => discord(bytes, index).map(|span| (&BOT_TOKEN, span)),
        _ => mail_key(bytes, index).map(|span| (&NUMBERED, span)),
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// Reads `-----BEGIN … PRIVATE KEY-----` with a body. Without a body, the line may be prose about keys.
fn key_block(bytes: &[u8], start: usize, end: usize) -> Option<Range<usize>> {
    let label_end = run_end(bytes, end, 64, |byte| byte.is_ascii_alphanumeric() || byte == b' ');
    let label = part(bytes, end, label_end);
    let is_key = label.windows(11).any(|window| window.eq_ignore_ascii_case(b"PRIVATE KEY"))
        || label.windows(10).any(|window| window.eq_ignore_ascii_case(b"Static key"));
    if !is_key || at(bytes, label_end) != b'-' {
        return None;
    }
    let line = run_end(bytes, label_end, 16, |byte| byte == b'-');
    let mut index = line;
    let until = index + 600;
    // Old formats have headers before the body. Each iteration skips one run of base64.
    while index < until && index < bytes.len() {
        let run = run_end(bytes, index, 128, is_base64);
        let body = part(bytes, index, run);
        // The next line of dashes ends this block. Another block is found by its own landmark.
        if stands_at(bytes, index, "--") || body == b"BEGIN" {
            return None;
        }
        if body.len() >= 16 && is_random(body, 10) {
            let from = run_start(bytes, start, 8, |byte| byte == b'-');
            return Some(from..block_end(bytes, run));
        }
        if run == index {
            // An escaped line end is not part of the body.
            index += if at(bytes, index) == b'\\' { 2 } else { 1 };
        } else if is_prose(bytes, line, index, run) {
            return None;
        } else {
            index = run;
        }
    }
    None
}

/// `true` if a lower-case word follows the dashes on the same line, as in a sentence.
fn is_prose(bytes: &[u8], line: usize, start: usize, end: usize) -> bool {
    let word = part(bytes, start, end);
    let is_same_line = !part(bytes, line, start).iter().any(|byte| matches!(byte, b'\n' | b'\\'));
    is_same_line && word.len() < 16 && before(bytes, start) == b' ' && word.iter().all(u8::is_ascii_lowercase)
}

fn putty_key(bytes: &[u8], start: usize, end: usize) -> Option<Range<usize>> {
    let body =
        run_end(bytes, end, 32, |byte| is_space(byte) || byte.is_ascii_digit() || matches!(byte, b'\\' | b'n' | b'r'));
    let run = run_end(bytes, body, 128, is_base64);
    is_random(part(bytes, body, run), 10).then(|| start..block_end(bytes, run))
}

/// Returns the end of a key whose first line ends at `from`, including its further lines and the closing line of
/// dashes, so that masking hides all of it. Landmarks of key blocks are not base64, so no line is read for two blocks.
fn block_end(bytes: &[u8], from: usize) -> usize {
    const MAX_LINE_BYTES: usize = 4096;
    let gap =
        |index| run_end(bytes, index, 16, |byte| is_space(byte) || matches!(byte, b'\\' | b'>' | b'|' | b'"' | b','));
    let mut end = from;
    loop {
        let start = gap(end);
        let run = run_end(bytes, start, MAX_LINE_BYTES, is_base64);
        if run - start >= 20 {
            end = run;
            continue;
        }
        // A short line is the last line of the key if dashes follow. Otherwise it is a word.
        let dashes = gap(run);
        if stands_at(bytes, dashes, "-----END ") || stands_at(bytes, dashes, "---- END ") {
            let label = run_end(bytes, dashes + 9, 64, |byte| byte.is_ascii_alphanumeric() || byte == b' ');
            return run_end(bytes, label, 16, |byte| byte == b'-');
        }
        return end;
    }
}

/// Reads the base64 DER of an RSA key without the PEM lines.
fn bare_rsa_key(bytes: &[u8], start: usize, end: usize) -> Option<Range<usize>> {
    let from = start.checked_sub(6)?;
    let run = run_end(bytes, end, 128, is_base64);
    (part(bytes, from, from + 3) == b"MII" && run - end >= 40 && is_random(part(bytes, end, run), 10))
        .then_some(from..run)
}

/// Reads a web token. The decoded header must match, because other JSON in base64 is not a credential.
fn web_token(bytes: &[u8], start: usize, _: usize) -> Option<Range<usize>> {
    if is_url_safe(before(bytes, start)) {
        return None;
    }
    let header_end = run_end(bytes, start, MAX_PART_BYTES, is_url_safe);
    if at(bytes, header_end) != b'.' || header_end - start < 12 {
        return None;
    }
    let header = base64(part(bytes, start, header_end))?;
    let contains = |word: &[u8]| header.windows(word.len()).any(|window| window == word);
    let payload_end = run_end(bytes, header_end + 1, MAX_PART_BYTES, is_url_safe);
    let payload = part(bytes, header_end + 1, payload_end);
    let is_token = (contains(b"\"alg\"") || contains(b"\"typ\"")) && (payload.starts_with(b"eyJ") && payload.len() >= 12)
        // An encrypted token and a detached signature have no readable payload.
        || contains(b"\"alg\"") && (contains(b"\"enc\"") || payload.is_empty()) && at(bytes, payload_end) == b'.';
    if !is_token {
        return None;
    }
    let mut end = payload_end;
    for _ in 0..3 {
        if at(bytes, end) != b'.' {
            break;
        }
        end = run_end(bytes, end + 1, MAX_PART_BYTES, is_url_safe);
    }
    Some(start..end)
}

/// Reads a prefix and two long parts separated by a point.
fn two_parts(bytes: &[u8], start: usize, end: usize, first: usize, second: usize) -> Option<Range<usize>> {
    let middle = run_end(bytes, end, 128, is_url_safe);
    let last = run_end(bytes, middle + 1, 256, is_url_safe);
    (!is_word(before(bytes, start))
        && at(bytes, middle) == b'.'
        && middle - end >= first
        && last - middle > second
        && is_random(part(bytes, middle + 1, last), 10))
    .then_some(start..last)
}

fn firebase(bytes: &[u8], start: usize, end: usize) -> Option<Range<usize>> {
    let last = run_end(bytes, end, 512, is_url_safe);
    let first = run_start(bytes, start, 64, is_url_safe);
    (last - end >= 60 && start - first >= 8 && is_random(part(bytes, end, last), 10)).then_some(first..last)
}

fn terraform(bytes: &[u8], start: usize, end: usize) -> Option<Range<usize>> {
    let last = run_end(bytes, end, 256, is_url_safe);
    let first = run_start(bytes, start, 32, |byte| byte.is_ascii_alphanumeric());
    (last - end >= 40 && start - first >= 10 && is_random(part(bytes, end, last), 10)).then_some(first..last)
}

/// Reads three characters, a digit, `Q~`, and about thirty more characters.
fn azure_client(bytes: &[u8], start: usize, end: usize) -> Option<Range<usize>> {
    let is_part = |byte| is_url_safe(byte) || matches!(byte, b'.' | b'~');
    let first = run_start(bytes, start, 5, is_part);
    if start - first != 4 || !before(bytes, start).is_ascii_digit() {
        return None;
    }
    let last = run_end(bytes, end, 64, is_part);
    ((26..=40).contains(&(last - end)) && is_random(part(bytes, end, last), 8)).then_some(first..last)
}

fn airtable(bytes: &[u8], start: usize, end: usize) -> Option<Range<usize>> {
    let middle = run_end(bytes, end, 15, |byte| byte.is_ascii_alphanumeric());
    let last = run_end(bytes, middle + 1, 80, |byte| byte.is_ascii_hexdigit());
    (!is_word(before(bytes, start))
        && middle - end == 14
        && at(bytes, middle) == b'.'
        && last - middle > 50
        && !is_placeholder(part(bytes, middle + 1, last)))
    .then_some(start..last)
}

/// Reads `…/api/webhooks/<number>/<token>`.
fn discord_hook(bytes: &[u8], start: usize, end: usize) -> Option<Range<usize>> {
    let slash = run_end(bytes, end, 24, |byte| byte.is_ascii_digit());
    let last = run_end(bytes, slash + 1, 128, is_url_safe);
    (slash - end >= 15 && at(bytes, slash) == b'/' && is_random(part(bytes, slash + 1, last), 10))
        .then_some(start..last)
}

/// Reads a webhook host and a secret path of at least `least` characters.
fn hook(bytes: &[u8], start: usize, end: usize, least: usize) -> Option<Range<usize>> {
    let last = run_end(bytes, end, 256, |byte| is_url_safe(byte) || matches!(byte, b'/' | b'@'));
    let path = part(bytes, end, last);
    if path.len() < least || is_placeholder(path) {
        return None;
    }
    let has_secret = path.split(|&byte| byte == b'/').any(|segment| is_random(segment, 8))
        || path.iter().filter(|byte| byte.is_ascii_digit()).count() >= 8;
    has_secret.then_some(start..last)
}

/// Reads a key with an issuer marker near its end. `left` characters precede the marker, and `right` or a few more
/// follow it.
fn marked(bytes: &[u8], start: usize, end: usize, left: usize, right: usize) -> Option<Range<usize>> {
    let last = run_end(bytes, end, right + 12, |byte| is_url_safe(byte) || matches!(byte, b'+' | b'/' | b'='));
    // Longer runs are base64 that contains the marker by chance.
    if last - end < right || last - end >= right + 12 {
        return None;
    }
    let first = run_start(bytes, start, 100, is_url_safe);
    let length = start - first;
    (length >= left && length < 100 && is_random(part(bytes, first, start), 10)).then_some(first..last)
}

/// Reads `A3-` and five or six groups of capitals and digits.
fn one_password(bytes: &[u8], start: usize, end: usize) -> Option<Range<usize>> {
    let last = run_end(bytes, end, 48, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-');
    let groups = part(bytes, end, last);
    let digits = groups.iter().filter(|byte| byte.is_ascii_digit()).count();
    let hyphens = groups.iter().filter(|&&byte| byte == b'-').count();
    (!is_word(before(bytes, start)) && (32..=42).contains(&groups.len()) && digits >= 2 && (4..=6).contains(&hyphens))
        .then_some(start..last)
}

/// Reads `<8 to 10 digits>:<35 characters>`.
fn telegram(bytes: &[u8], colon: usize) -> Option<Range<usize>> {
    if !before(bytes, colon).is_ascii_digit() {
        return None;
    }
    let first = run_start(bytes, colon, 11, |byte| byte.is_ascii_digit());
    // In the bot's URL, the word `bot` is directly before the number.
    let is_bounded = !is_word(before(bytes, first)) || part(bytes, first.saturating_sub(3), first) == b"bot";
    let last = run_end(bytes, colon + 1, 40, is_url_safe);
    let token = part(bytes, colon + 1, last);
    ((8..=10).contains(&(colon - first)) && is_bounded && (33..=37).contains(&token.len()) && is_random(token, 10))
        .then_some(first..last)
}

/// Reads `0/…`, `1/…` or `2/…`, an account number, a colon and 32 hex digits.
fn numbered(bytes: &[u8], colon: usize) -> Option<Range<usize>> {
    if !before(bytes, colon).is_ascii_digit() {
        return None;
    }
    let last = run_end(bytes, colon + 1, 33, |byte| byte.is_ascii_hexdigit());
    let first = run_start(bytes, colon, 48, |byte| byte.is_ascii_digit() || byte == b'/');
    let account = part(bytes, first, colon);
    let hex = part(bytes, colon + 1, last);
    let is_account = account.len() >= 12 && matches!(account, [b'0' | b'1' | b'2', b'/', ..]);
    (is_account && hex.len() == 32 && !is_word(at(bytes, last)) && is_random(hex, 10)).then_some(first..last)
}

/// Reads `<bot id in base64>.<6 characters>.<27 or more>`.
fn discord(bytes: &[u8], point: usize) -> Option<Range<usize>> {
    if at(bytes, point + 7) != b'.' || !part(bytes, point + 1, point + 7).iter().copied().all(is_url_safe) {
        return None;
    }
    let first = run_start(bytes, point, 40, is_url_safe);
    let last = run_end(bytes, point + 8, 64, is_url_safe);
    let id = part(bytes, first, point);
    let is_id = (22..=32).contains(&id.len()) && matches!(id.first(), Some(b'M' | b'N' | b'O'));
    (is_id && last - point >= 8 + 27 && is_random(id, 10) && is_random(part(bytes, point + 8, last), 10))
        .then_some(first..last)
}

/// Reads 32 hex digits and a data centre (`-us12`), or two shorter groups after them.
fn mail_key(bytes: &[u8], hyphen: usize) -> Option<Range<usize>> {
    let is_hex = |byte: u8| byte.is_ascii_hexdigit();
    if !is_hex(before(bytes, hyphen)) {
        return None;
    }
    let centre = stands_at(bytes, hyphen + 1, "us") && at(bytes, hyphen + 3).is_ascii_digit();
    let group = run_end(bytes, hyphen + 1, 9, is_hex);
    let groups = group == hyphen + 9 && at(bytes, group) == b'-' && run_end(bytes, group + 1, 9, is_hex) == group + 9;
    if !centre && !groups {
        return None;
    }
    let first = run_start(bytes, hyphen, 33, is_hex);
    let last = if centre { run_end(bytes, hyphen + 3, 3, |byte| byte.is_ascii_digit()) } else { group + 9 };
    let key = part(bytes, first, hyphen);
    (key.len() == 32 && !is_word(before(bytes, first)) && !is_word(at(bytes, last)) && is_random(key, 10))
        .then_some(first..last)
}

#[cfg(test)]
mod tests {
    use crate::{Place, scan};

    #[test]
    fn a_web_token_is_found_however_short() {
        for token in ["eyJhbGciOjF9..", "eyJhbGciOjF9..x"] {
            for place in [Place::Prompt, Place::Text] {
                let found = scan(place, &format!("token {token} here"));
                assert_eq!(found.len(), 1, "{token}");
                assert_eq!(found.first().map(|leak| leak.span.clone()), Some(6..6 + token.len()), "{token}");
            }
        }
    }

    #[test]
    fn a_key_block_is_found_to_its_end() {
        let line = |word: &str| ["-----", word, " PRIVATE", " KEY-----"].concat();
        let body = ["7Hq9ZxLm2Vw8Rt4Ks6Yb1Nc3Pd5Fg0Jh", "Qw2Er4Ty6Ui8Op1As3Df5Gh7Jk9Lz0Xc", "Vb2Nm4Qa="];
        for joint in ["\n", "\\n", "\n> ", "\r\n    "] {
            let block = [line("BEGIN"), body.join(joint), line("END")].join(joint);
            let text = format!("The key is {block}\nand so on, quite longwindedly-and-otherwise.");
            let found = scan(Place::Prompt, &text);
            assert_eq!(found.first().map(|leak| leak.span.clone()), Some(11..11 + block.len()), "{joint:?}");
            let open = [line("BEGIN"), body.join(joint)].join(joint);
            let end = scan(Place::Prompt, &format!("{open} and so on")).first().map(|leak| leak.span.end);
            assert!(end.is_some_and(|end| end >= open.len() - 12), "{joint:?}");
        }
    }

    #[test]
    fn first_line_of_a_key_block_alone_passes() {
        let line = ["-----BEGIN", "PRIVATE", "KEY-----"].join(" ");
        assert!(scan(Place::Prompt, &format!("Replace {line} blocks by [redacted] in logs.")).is_empty());
        assert!(scan(Place::Prompt, &format!("{line}\n...\n-----END PRIVATE KEY-----")).is_empty());
    }

    #[test]
    fn header_of_a_web_token_without_a_payload_passes() {
        let header = ["eyJhbGciOi", "JIUzI1NiJ9"].concat();
        assert!(scan(Place::Prompt, &format!("A token begins with {header}.")).is_empty());
        assert!(!scan(Place::Prompt, &format!("{header}.{header}.")).is_empty());
    }
}
