//! Secrets that are told by their name: `API_SECRET=…`, `"client_secret": "…"`, `<password>…</password>`. A value
//! counts where the name means a secret and the value was not written by a person. Deliberately absent: a name alone
//! (`tokens_per_minute = 40000`) and a value alone (a digest), which are what configuration is made of.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::ascii::{at, before, is_quote, is_space, is_word, part, run_end, run_start};
use super::decoded::base64;
use super::randomness::{is_placeholder, is_random, is_uuid};
use super::{Findings, Rule};

pub(super) static ASSIGNMENT: Rule = Rule::secret("secret.assignment", "secret value under a telling name");
static SIGNED_URL: Rule = Rule::secret("secret.signed", "signature of a signed address");
static SEED_WORDS: Rule = Rule::secret("secret.wallet", "recovery words of a wallet");

/// The rules of this module.
pub(super) static RULES: &[&Rule] = &[&ASSIGNMENT, &SIGNED_URL, &SEED_WORDS];

/// Longest value that is read.
const LONGEST_VALUE: usize = 256;

/// Adds every value under a telling name in `text` to `found`.
pub(super) fn look(text: &str, found: &mut Findings) {
    let bytes = text.as_bytes();
    let mut read_until = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if !matches!(byte, b'=' | b':' | b'>') || index < read_until {
            continue;
        }
        let Some(start) = value_start(bytes, index) else { continue };
        let Some(name) = Name::before(bytes, index) else { continue };
        let Some((rule, span)) = name.judge(bytes, value(bytes, start)) else { continue };
        read_until = span.end;
        found.push(rule, span);
        if found.full() {
            return;
        }
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
    (end - bare >= SHORTEST_VALUE).then_some(start)
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

/// What kind of secret a name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// Chosen by a person or a generator, maybe short.
    Password,
    /// Issued by a machine.
    Token,
    /// `name:password` in base64.
    BasicAuth,
    /// Signs an address that is complete in itself.
    Signature,
    /// A sequence of words.
    Words,
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
        let is_telling = STEMS.as_ref().is_some_and(|stems| stems.is_match(word)) || word.eq_ignore_ascii_case(b"value");
        if !is_telling || is_part_of_reference(bytes, start) {
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
    [b"arn:".as_slice(), b"projects/", b"urn:", b"vault:", b"pkg:", b"crn:"].iter().any(|scheme| outer.starts_with(scheme))
}

/// Endings of names whose values are secrets; names are compared in lower case without separators.
const TOKEN_NAMES: &[&str] = &[
    "secret", "token", "apikey", "secretkey", "secretaccesskey", "accesskey", "privatekey", "privkey", "authkey",
    "masterkey", "signingkey", "signkey", "encryptionkey", "encryptkey", "decryptionkey", "sharedkey", "presharedkey",
    "psk", "accountkey", "sharedaccesskey", "sessionkey", "servicekey", "servicerolekey", "clientkey", "appkey",
    "applicationkey", "consumerkey", "adminkey", "rootkey", "deploykey", "licensekey", "licencekey", "hmackey", "jwtkey",
    "aeskey", "cipherkey", "cryptokey", "subscriptionkey", "storagekey", "ingestkey", "integrationkey", "routingkey",
    "webhookkey", "authorization", "xapikey", "credential", "credentials", "cookiesecret", "secretkeybase", "salt",
    "pepper", "blockkey", "keybase", "phpsessid", "jsessionid", "connectsid",
    "keymaterial", "userkey", "serverkey", "apitoken", "pat", "jwt", "bearer", "writekey", "passkey", "sshkey", "seed",
    "seedhex", "privatekeyhex", "instrumentationkey", "xprv", "wif", "cookievalue", "functionkey", "botkey", "datakey", "kek", "dek", "tlskey", "oauthkey", "otpauth", "totp", "mfasecret",
];

const PASSWORD_NAMES: &[&str] =
    &["password", "passwd", "passphrase", "passcode", "pwd", "passwort", "userpass", "dbpass", "apppass", "authpass"];

/// Whole names that are too short to be an ending.
const WHOLE_NAMES: &[&str] = &["pass", "auth", "psk", "pat", "jwt", "pw", "salt", "seed", "kek", "dek", "wif", "sid"];

/// What follows the noun in longer names without changing what it means.
const TRAILING_WORDS: &[&str] = &[
    "value", "val", "base", "prod", "production", "dev", "staging", "live", "test", "plain", "plaintext", "old", "new",
    "current", "previous", "b64", "base64", "hex", "primary", "secondary", "data", "string", "default", "env", "main",
];

/// Names that look alike and stand for what may be seen.
const OPEN_NAMES: &[&str] = &[
    "public", "publishable", "pubkey", "pagetoken", "nexttoken", "continuationtoken", "synctoken", "cursortoken", "example",
    "placeholder", "sample", "dummy", "fake", "anon", "sitekey", "cachekey", "primarykey", "foreignkey", "sortkey",
    "partitionkey", "idempotency", "objectkey", "tokenizer", "tokenid", "monkey", "turkey", "hotkey", "keyref",
    "secretref", "tokenref", "cancellationtoken", "stoptoken", "padtoken", "eostoken", "bostoken", "unktoken", "masktoken",
    "septoken", "clstoken",
];

/// What every name that promises something has in it.
const NAME_STEMS: &[&str] = &[
    "key", "secret", "token", "pass", "pwd", "pw", "auth", "cred", "salt", "seed", "sess", "psk", "pat", "jwt", "bearer",
    "kek", "dek", "wif", "sid", "sig", "mnemonic", "phrase", "pepper", "prv", "cookie", "totp",
];

static STEMS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| automaton(NAME_STEMS));
static OPEN: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| automaton(OPEN_NAMES));

fn automaton(words: &[&str]) -> Option<AhoCorasick> {
    AhoCorasick::builder().ascii_case_insensitive(true).build(words).ok()
}

/// What the value under this name would be. `in_query`: the name stands in the query of an address.
fn promise_of(name: &[u8], in_query: bool) -> Option<Promise> {
    let words: Vec<Vec<u8>> = name
        .split(|byte| !byte.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(<[u8]>::to_ascii_lowercase)
        .collect();
    let is_trailing = |word: &[u8]| {
        TRAILING_WORDS.iter().any(|trailing| trailing.as_bytes() == word) || word.iter().all(u8::is_ascii_digit)
    };
    let trailing = words.iter().rev().take_while(|word| is_trailing(word)).count();
    let words = words.get(..words.len() - trailing.min(words.len().saturating_sub(1)))?;
    let last = words.last()?;
    let joined = words.concat();
    if OPEN.as_ref().is_some_and(|open| open.is_match(&joined)) {
        return None;
    }
    // A counter behind a name in camel case (`secretKey2`) is not split off above.
    let joined = joined.strip_suffix(b"2").or_else(|| joined.strip_suffix(b"1")).unwrap_or(&joined);
    let ends = |names: &[&str]| names.iter().any(|name| name.len() > 3 && joined.ends_with(name.as_bytes()));
    let is_whole = |word: &[u8]| WHOLE_NAMES.iter().any(|name| name.as_bytes() == word);
    if joined.ends_with(b"mnemonic") || joined.ends_with(b"seedphrase") || joined.ends_with(b"recoveryphrase") || joined.ends_with(b"seedwords") {
        return Some(Promise::Words);
    }
    if in_query && matches!(joined, b"sig" | b"signature" | b"xamzsignature" | b"xgoogsignature" | b"xossignature") {
        return Some(Promise::Signature);
    }
    if matches!(joined, b"auth" | b"basicauth" | b"httpauth") {
        return Some(Promise::BasicAuth);
    }
    if ends(PASSWORD_NAMES) || matches!(last.as_slice(), b"pass" | b"pw" | b"pwd") {
        return Some(Promise::Password);
    }
    // `OPENAI_KEY`: a constant of an environment, which names no key of a map.
    let is_constant_key = last == b"key" && words.len() >= 2 && name.iter().all(|byte| !byte.is_ascii_lowercase());
    (ends(TOKEN_NAMES) || is_whole(last) || is_constant_key).then_some(Promise::Token)
}

/// Whether a value says where the secret is instead of what it is.
fn is_reference(value: &[u8]) -> bool {
    const BEGINNINGS: &[&str] = &[
        "$", "{", "<", "[", "(", "%", "*", "secret:", "keyring:", "env:", "env.", "env(", "vault:", "op:", "arn:", "ref:",
        "file:", "ssm:", "sops:", "projects/", "urn:", "sha256:", "sha256-", "sha384-", "sha512-", "sha512:", "sha1:",
        "md5:", "process.env", "os.environ", "secrets.", "var.", "data.", "local.", "ENC[", "!", "secretref:", "gcp:",
        "aws:", "azure:", "k8s:", "pass:", "bws:", "1password:", "kms:", "ssh-", "age1", "-----BEGIN",
    ];
    let is_address = value.windows(3).take(24).any(|window| window == b"://");
    // A call or an index of a program: the value is what it returns.
    let is_code = value.iter().position(|&byte| matches!(byte, b'(' | b'['))
        .is_some_and(|at| at > 2 && part(value, 0, at).iter().all(|&byte| is_word(byte) || byte == b'.')
            && !part(value, 0, at).iter().any(u8::is_ascii_digit) && value.ends_with(b")"));
    is_address || is_code || BEGINNINGS.iter().any(|beginning| value.starts_with(beginning.as_bytes()))
}

/// What a person takes for a good password: letters, digits and punctuation in eight or more characters.
fn is_strong_password(value: &[u8]) -> bool {
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
    fn the_automata_are_built() {
        assert!(STEMS.is_some() && OPEN.is_some());
    }

    #[test]
    fn a_name_promises_by_its_last_noun() {
        for (name, promise) in [
            ("password", Some(Promise::Password)),
            ("DB_PASSWORD_PROD", Some(Promise::Password)),
            ("aws_secret_access_key", Some(Promise::Token)),
            ("x-api-key", Some(Promise::Token)),
            ("clientSecret", Some(Promise::Token)),
            ("STRIPE_KEY", Some(Promise::Token)),
            ("_authToken", Some(Promise::Token)),
            ("SECRET_KEY_BASE", Some(Promise::Token)),
            ("auth", Some(Promise::BasicAuth)),
            ("tokens_per_minute", None),
            ("api_key_ref", None),
            ("max_tokens", None),
            ("public_key", None),
            ("next_page_token", None),
            ("key", None),
            ("keyboard", None),
            ("passenger", None),
            ("session_timeout", None),
            ("kid", None),
        ] {
            assert_eq!(promise_of(name.as_bytes(), false), promise, "{name}");
        }
    }

    #[test]
    fn a_value_that_refers_is_no_secret() {
        for value in ["secret:openai", "${TOKEN}", "env(\"TOKEN\")", "process.env.TOKEN", "getToken()", "op://vault/item"] {
            assert!(is_reference(value.as_bytes()), "{value}");
        }
    }
}
