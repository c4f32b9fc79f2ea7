//! Credentials at the places that protocols reserve for them: user information in URLs, authorisation headers, cookies,
//! command-line flags, `.netrc` and `.pgpass` lines.
//!
//! Values under a name are in `assignments`, and tokens with a fixed shape are in `tokens`.

use std::ops::Range;

use crate::LeakRule;
use crate::ascii::{at, before, is_blank, is_quote, is_space, is_url_safe, is_word, part, run_end, run_start};
use crate::assignments::{broken_rule, is_template, secret_kind_at};
use crate::decoded::base64;
use crate::findings::Findings;
use crate::markup::MAX_GAP_BYTES;
use crate::randomness::{is_placeholder, is_random, is_random_under_name};
use crate::words::{Hit, Meaning};

static URL_USER: LeakRule = LeakRule::secret("secret.url_user", "login within an address");
static HEADER: LeakRule = LeakRule::secret("secret.header", "login in a request header");
static COOKIE: LeakRule = LeakRule::secret("secret.cookie", "cookie of a session");
static PHRASE: LeakRule = LeakRule::secret("secret.spoken", "secret in a sentence or a command");
static LOGIN_LINE: LeakRule = LeakRule::secret("secret.login_line", "line of a login file");

/// Rules of this module.
pub(crate) static RULES: &[&LeakRule] = &[&URL_USER, &HEADER, &COOKIE, &PHRASE, &LOGIN_LINE];

/// Longest user information that is read, in bytes.
const MAX_USER_INFO_BYTES: usize = 512;

/// Number of bytes of a cookie header that are read.
const MAX_COOKIE_BYTES: usize = 512;

/// Kind of a word that announces a credential. It decides how the following text is read.
#[derive(Clone, Copy)]
pub(crate) enum Announcement {
    Token,
    Basic,
    Cookie,
    /// The next word is a secret if it looks like one.
    Phrase,
    /// A command-line flag. The next word is its value.
    Flag,
    /// `login <name> password <value>`
    Login,
    /// `jdbc:oracle:thin:<user>/<password>@`
    Oracle,
    /// `name:password`, as an argument.
    Pair,
    /// A name and its value, separated by white space.
    Named,
}

/// Words that announce credentials, in any case.
pub(crate) const ANNOUNCEMENTS: &[(&str, Announcement)] = &[
    ("bearer ", Announcement::Token),
    ("bearer:", Announcement::Token),
    ("ssws ", Announcement::Token),
    ("apikey ", Announcement::Token),
    ("api-key ", Announcement::Token),
    ("authorization: token ", Announcement::Token),
    ("authorization:token ", Announcement::Token),
    ("authorization\": \"token ", Announcement::Token),
    ("negotiate ", Announcement::Token),
    ("basic ", Announcement::Basic),
    ("cookie:", Announcement::Cookie),
    ("cookie\":", Announcement::Cookie),
    ("password is ", Announcement::Phrase),
    ("password was ", Announcement::Phrase),
    ("passphrase is ", Announcement::Phrase),
    ("passcode is ", Announcement::Phrase),
    ("token is ", Announcement::Phrase),
    ("secret is ", Announcement::Phrase),
    ("key is ", Announcement::Phrase),
    ("token was ", Announcement::Phrase),
    ("secret was ", Announcement::Phrase),
    ("key was ", Announcement::Phrase),
    ("password to ", Announcement::Phrase),
    ("token to ", Announcement::Phrase),
    ("key ist ", Announcement::Phrase),
    ("password ist ", Announcement::Phrase),
    ("passwort ist ", Announcement::Phrase),
    ("token ist ", Announcement::Phrase),
    ("credential is ", Announcement::Phrase),
    ("requirepass ", Announcement::Phrase),
    ("identified by ", Announcement::Phrase),
    ("with password ", Announcement::Phrase),
    ("sshpass -p ", Announcement::Phrase),
    ("--password ", Announcement::Flag),
    ("--passphrase ", Announcement::Flag),
    ("--passwd ", Announcement::Flag),
    ("--token ", Announcement::Flag),
    ("--api-key ", Announcement::Flag),
    ("--apikey ", Announcement::Flag),
    ("--secret ", Announcement::Flag),
    ("--client-secret ", Announcement::Flag),
    ("--auth-token ", Announcement::Flag),
    ("--access-token ", Announcement::Flag),
    ("--secret-key ", Announcement::Flag),
    ("--access-key ", Announcement::Flag),
    ("-u ", Announcement::Pair),
    ("--user ", Announcement::Pair),
    ("--proxy-user ", Announcement::Pair),
    ("env ", Announcement::Named),
    ("env\t", Announcement::Named),
    ("arg ", Announcement::Named),
    ("arg\t", Announcement::Named),
    ("setenv ", Announcement::Named),
    ("setenv\t", Announcement::Named),
    ("setx ", Announcement::Named),
    ("setx\t", Announcement::Named),
    ("export ", Announcement::Named),
    ("export\t", Announcement::Named),
    ("config set ", Announcement::Named),
    ("configure set ", Announcement::Named),
    ("login ", Announcement::Login),
    ("jdbc:oracle:thin:", Announcement::Oracle),
];

/// Punctuation of URLs and of login files.
pub(crate) const MARKS: &[u8] = b":@";

/// Adds every announced credential to `found`. `hits` are the announcements, in order.
pub(crate) fn find_announced(bytes: &[u8], hits: &[Hit], found: &mut Findings) {
    // All cookies of a header are read at once.
    let mut cookies_read = 0;
    let mut read = 0;
    for hit in hits {
        let Some(Meaning::Announcement(announced)) = hit.meaning() else { continue };
        // `--api-key ` is one announcement, not two.
        if hit.start < read {
            continue;
        }
        read = hit.end;
        if matches!(announced, Announcement::Cookie) {
            if hit.start < cookies_read {
                continue;
            }
            cookies_read = hit.end + MAX_COOKIE_BYTES;
        }
        if let Some((rule, span)) = announced.read(bytes, hit.start, hit.end) {
            cookies_read = cookies_read.min(span.end);
            found.push(rule, span);
        }
    }
}

/// Returns the credential whose punctuation is at `index`.
pub(crate) fn at_mark(mark: u8, bytes: &[u8], index: usize) -> Option<(&'static LeakRule, Range<usize>)> {
    if mark == b'@' {
        return bare_user_info(bytes, index).map(|span| (&URL_USER, span));
    }
    if part(bytes, index + 1, index + 3) == b"//" {
        return user_info(bytes, index).map(|span| (&URL_USER, span));
    }
    password_line(bytes, index).map(|span| (&LOGIN_LINE, span))
}

impl Announcement {
    /// `true` if a letter may stand directly before the word, so that `MyCookie:` is treated like `Set-Cookie:`.
    pub(crate) fn is_glued(self) -> bool {
        matches!(self, Self::Cookie)
    }

    fn read(self, bytes: &[u8], start: usize, end: usize) -> Option<(&'static LeakRule, Range<usize>)> {
        if is_word(before(bytes, start)) && !self.is_glued() {
            return None;
        }
        match self {
            Self::Token => {
                let word = next_word(bytes, end);
                is_random(part(bytes, word.start, word.end), 10).then_some((&HEADER, word))
            }
            Self::Basic => {
                let word = next_word(bytes, end);
                let decoded = base64(part(bytes, word.start, word.end))?;
                let is_pair = decoded.iter().position(|&byte| byte == b':').is_some_and(|colon| colon > 0)
                    && decoded.len() >= 6
                    && decoded.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
                is_pair.then_some((&HEADER, word))
            }
            Self::Cookie => cookie(bytes, end).map(|span| (&COOKIE, span)),
            Self::Phrase | Self::Flag => {
                let word = next_word(bytes, end);
                is_random_under_name(part(bytes, word.start, word.end), 8).then_some((&PHRASE, word))
            }
            Self::Login => login(bytes, end).map(|span| (&LOGIN_LINE, span)),
            Self::Oracle => {
                let slash = run_end(bytes, end, 64, |byte| is_url_safe(byte) || byte == b'.');
                let last = run_end(bytes, slash + 1, 128, |byte| byte.is_ascii_graphic() && byte != b'@');
                let is_login = slash > end && at(bytes, slash) == b'/' && at(bytes, last) == b'@';
                (is_login && is_password(part(bytes, slash + 1, last))).then_some((&URL_USER, slash + 1..last))
            }
            Self::Named => {
                let (secret_kind, name_end) = secret_kind_at(bytes, end)?;
                let word = next_word(bytes, run_end(bytes, name_end, MAX_GAP_BYTES, is_blank));
                let rule = broken_rule(secret_kind, part(bytes, word.start, word.end))?;
                is_space(at(bytes, name_end)).then_some((rule, word))
            }
            Self::Pair => {
                let word = next_word(bytes, end);
                let pair = part(bytes, word.start, word.end);
                let colon = pair.iter().position(|&byte| byte == b':')?;
                is_random(part(pair, colon + 1, pair.len()), 8).then_some((&PHRASE, word))
            }
        }
    }
}

/// Returns the range of the word at `start`, without quotes.
fn next_word(bytes: &[u8], start: usize) -> Range<usize> {
    let start = run_end(bytes, start, 8, |byte| is_space(byte) || is_quote(byte) || byte == b'=');
    let is_part =
        |byte: u8| byte.is_ascii_graphic() && !is_quote(byte) && !matches!(byte, b',' | b';' | b'<' | b'>' | b'\\');
    let mut end = run_end(bytes, start, 512, is_part);
    // Closing punctuation belongs to the sentence, not to the token.
    while end > start && matches!(before(bytes, end), b'.' | b')' | b'}' | b']') {
        end -= 1;
    }
    start..end
}

/// Returns the first value of a cookie header that looks like a session key.
fn cookie(bytes: &[u8], start: usize) -> Option<Range<usize>> {
    let last = run_end(bytes, start, MAX_COOKIE_BYTES, |_| true);
    let mut index = start;
    while index < last {
        let name = run_end(bytes, index, 64, |byte| byte != b'=' && byte != b'\n');
        if name >= last || at(bytes, name) != b'=' {
            return None;
        }
        let end = run_end(bytes, name + 1, 128, |byte| {
            byte.is_ascii_graphic() && !matches!(byte, b';' | b',' | b'"' | b'\'')
        });
        let value = part(bytes, name + 1, end);
        if value.len() >= 16 && is_random(value, 10) {
            return Some(name + 1..end);
        }
        index = end.max(name + 1);
    }
    None
}

/// Reads `login <name> password <value>` in the format of `.netrc`.
fn login(bytes: &[u8], start: usize) -> Option<Range<usize>> {
    let name = next_word(bytes, start);
    let keyword = next_word(bytes, name.end);
    if !matches!(part(bytes, keyword.start, keyword.end), b"password" | b"passwd") {
        return None;
    }
    let value = next_word(bytes, keyword.end);
    let password = part(bytes, value.start, value.end);
    let is_secret = is_random(password, 8)
        || password.len() >= 6 && password.iter().any(u8::is_ascii_digit) && is_password(password);
    is_secret.then_some(value)
}

/// Returns the user information between `://` and the host: a password, or a token in place of a name.
fn user_info(bytes: &[u8], colon: usize) -> Option<Range<usize>> {
    let start = colon + 3;
    let end = run_end(bytes, start, MAX_USER_INFO_BYTES, |byte| {
        byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#' | b'"' | b'<' | b'>' | b'`' | b'\\')
    });
    let mut authority = part(bytes, start, end);
    // The text after the colon may be a password with an unescaped slash, if it is not a port.
    let port = authority.iter().position(|&byte| byte == b':').map(|colon| part(authority, colon + 1, authority.len()));
    let is_port = |port: &[u8]| port.iter().all(u8::is_ascii_digit);
    if at(bytes, end) == b'/'
        && authority.first() != Some(&b'[')
        && !authority.contains(&b'@')
        && port.is_some_and(|port| !is_port(port))
    {
        let sign = run_end(bytes, end, 128, |byte| byte.is_ascii_graphic() && byte != b'@' && !is_quote(byte));
        authority = part(bytes, start, sign + usize::from(at(bytes, sign) == b'@'));
    }
    let sign = authority.iter().rposition(|&byte| byte == b'@')?;
    let user_info = part(authority, 0, sign);
    let is_secret = match user_info.iter().position(|&byte| byte == b':') {
        Some(colon) => is_password(part(user_info, colon + 1, sign)),
        // The key of an error collector is public by design.
        None => {
            is_random(user_info, 16) && !part(authority, sign, authority.len()).windows(6).any(|host| host == b"sentry")
        }
    };
    is_secret.then_some(start..start + sign)
}

/// `true` if the password of a URL is a real one and not a word for it. The place is reserved for passwords, so the
/// password need not look random.
fn is_password(password: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "pass",
        "passwd",
        "password",
        "pwd",
        "secret",
        "token",
        "user",
        "username",
        "key",
        "apikey",
        "api_key",
        "pw",
        "mypassword",
        "mysecretpassword",
        "supersecret",
        "s3cret",
        "hunter2",
        "credentials",
        "x-oauth-basic",
        "redacted",
    ];
    let is_template = is_template(password) && {
        // `%70%40…` is percent-encoding, and `%s` is a template.
        !(password.first() == Some(&b'%') && at(password, 1).is_ascii_hexdigit() && at(password, 2).is_ascii_hexdigit())
    };
    let is_word = WORDS.iter().any(|word| password.eq_ignore_ascii_case(word.as_bytes()));
    password.len() >= 4 && !is_template && !is_word && !is_placeholder(password)
}

/// Reads `name:password@host:port` without a scheme.
fn bare_user_info(bytes: &[u8], sign: usize) -> Option<Range<usize>> {
    let host = run_end(bytes, sign + 1, 80, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    let has_port = at(bytes, host) == b':' && at(bytes, host + 1).is_ascii_digit();
    // `name:password@tcp(host:port)/database`
    let names_protocol = at(bytes, host) == b'(' && matches!(part(bytes, sign + 1, host), b"tcp" | b"unix");
    if !has_port && !names_protocol {
        return None;
    }
    let first = run_start(bytes, sign, 80, |byte| {
        byte.is_ascii_graphic() && !is_quote(byte) && byte != b'/' && byte != b'=' && byte != b'@'
    });
    let user_info = part(bytes, first, sign);
    let colon = user_info.iter().position(|&byte| byte == b':')?;
    is_random(part(user_info, colon + 1, user_info.len()), 8).then_some(first..sign)
}

/// Reads `host:port:database:user:password`. `colon` is the one before the port.
fn password_line(bytes: &[u8], colon: usize) -> Option<Range<usize>> {
    let is_field = |byte: u8| is_url_safe(byte) || matches!(byte, b'.' | b'*');
    let port = run_end(bytes, colon + 1, 6, |byte| byte.is_ascii_digit() || byte == b'*');
    if port == colon + 1 || at(bytes, port) != b':' || !is_field(before(bytes, colon)) {
        return None;
    }
    let first = run_start(bytes, colon, 128, is_field);
    // The line of a password file starts with the host.
    if !matches!(before(bytes, first), b'\n' | b' ' | b'"' | b'\'' | b'`') {
        return None;
    }
    let database = run_end(bytes, port + 1, 64, is_field);
    let user = run_end(bytes, database + 1, 64, is_field);
    let last = run_end(bytes, user + 1, 128, |byte| byte.is_ascii_graphic() && !is_quote(byte));
    let is_line = database > port + 1 && at(bytes, database) == b':' && user > database + 1 && at(bytes, user) == b':';
    (is_line && is_random(part(bytes, user + 1, last), 8)).then_some(user + 1..last)
}

#[cfg(test)]
mod tests {
    use crate::{Place, scan};

    #[test]
    fn an_address_without_a_password_passes() {
        for address in [
            "https://user@git.example.com/r.git",
            "https://medium.example/@someone/post",
            "https://user:password@host.example/",
            "postgres://user:${PASSWORD}@db.example/app",
            "ssh://git@github.com/o/r.git",
        ] {
            assert!(scan(Place::Text, address).is_empty(), "{address}");
        }
    }
}
