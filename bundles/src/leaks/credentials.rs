//! Credentials in the places that protocols have for them: user information of an address, authorisation headers,
//! cookies, command line flags, `.netrc` and `.pgpass` lines. Deliberately absent: what stands under a name (see
//! `assignments`) and what has a shape of its own (see `tokens`).

use std::ops::Range;

use super::ascii::{at, before, is_blank, is_quote, is_space, is_url_safe, is_word, part, run_end, run_start};
use super::assignments::{broken_by, is_template, promised_at};
use super::decoded::base64;
use super::markup::LONGEST_GAP;
use super::randomness::{is_placeholder, is_random, is_random_under_name};
use super::words::{Hit, Meaning};
use super::{Findings, Rule};

static URL_USER: Rule = Rule::secret("secret.url_user", "login within an address");
static HEADER: Rule = Rule::secret("secret.header", "login of a request header");
static COOKIE: Rule = Rule::secret("secret.cookie", "cookie of a session");
static SPOKEN: Rule = Rule::secret("secret.spoken", "secret told in a sentence or a command");
static LOGIN_LINE: Rule = Rule::secret("secret.login_line", "line of a login file");

/// The rules of this module.
pub(super) static RULES: &[&Rule] = &[&URL_USER, &HEADER, &COOKIE, &SPOKEN, &LOGIN_LINE];

/// Longest user information that is read.
const LONGEST_USER: usize = 512;

/// How far the cookies of a header are read.
const LONGEST_HEADER: usize = 512;

/// A word that announces a credential, and what follows it.
#[derive(Clone, Copy)]
pub(super) enum Announced {
    Token,
    Basic,
    Cookie,
    /// The next word is a secret if it looks like one.
    Spoken,
    /// A flag of a command; its value is the next word.
    Flag,
    /// `login <name> password <value>`
    Login,
    /// `jdbc:oracle:thin:<user>/<password>@`
    Oracle,
    /// `name:password`, as an argument.
    Pair,
    /// A name and its value, white space between them.
    Named,
}

/// What announces credentials, in any case.
pub(super) const ANNOUNCEMENTS: &[(&str, Announced)] = &[
    ("bearer ", Announced::Token),
    ("bearer:", Announced::Token),
    ("ssws ", Announced::Token),
    ("apikey ", Announced::Token),
    ("api-key ", Announced::Token),
    ("authorization: token ", Announced::Token),
    ("authorization:token ", Announced::Token),
    ("authorization\": \"token ", Announced::Token),
    ("negotiate ", Announced::Token),
    ("basic ", Announced::Basic),
    ("cookie:", Announced::Cookie),
    ("cookie\":", Announced::Cookie),
    ("password is ", Announced::Spoken),
    ("password was ", Announced::Spoken),
    ("passphrase is ", Announced::Spoken),
    ("passcode is ", Announced::Spoken),
    ("token is ", Announced::Spoken),
    ("secret is ", Announced::Spoken),
    ("key is ", Announced::Spoken),
    ("token was ", Announced::Spoken),
    ("secret was ", Announced::Spoken),
    ("key was ", Announced::Spoken),
    ("password to ", Announced::Spoken),
    ("token to ", Announced::Spoken),
    ("key ist ", Announced::Spoken),
    ("password ist ", Announced::Spoken),
    ("passwort ist ", Announced::Spoken),
    ("token ist ", Announced::Spoken),
    ("credential is ", Announced::Spoken),
    ("requirepass ", Announced::Spoken),
    ("identified by ", Announced::Spoken),
    ("with password ", Announced::Spoken),
    ("sshpass -p ", Announced::Spoken),
    ("--password ", Announced::Flag),
    ("--passphrase ", Announced::Flag),
    ("--passwd ", Announced::Flag),
    ("--token ", Announced::Flag),
    ("--api-key ", Announced::Flag),
    ("--apikey ", Announced::Flag),
    ("--secret ", Announced::Flag),
    ("--client-secret ", Announced::Flag),
    ("--auth-token ", Announced::Flag),
    ("--access-token ", Announced::Flag),
    ("--secret-key ", Announced::Flag),
    ("--access-key ", Announced::Flag),
    ("-u ", Announced::Pair),
    ("--user ", Announced::Pair),
    ("--proxy-user ", Announced::Pair),
    ("env ", Announced::Named),
    ("env\t", Announced::Named),
    ("arg ", Announced::Named),
    ("arg\t", Announced::Named),
    ("setenv ", Announced::Named),
    ("setenv\t", Announced::Named),
    ("setx ", Announced::Named),
    ("setx\t", Announced::Named),
    ("export ", Announced::Named),
    ("export\t", Announced::Named),
    ("config set ", Announced::Named),
    ("configure set ", Announced::Named),
    ("login ", Announced::Login),
    ("jdbc:oracle:thin:", Announced::Oracle),
];

/// Where addresses and the lines of login files have their punctuation.
pub(super) const MARKS: &[u8] = b":@";

/// Adds every credential that is announced to `found`. `hits` are the announcements, in order.
pub(super) fn announced(bytes: &[u8], hits: &[Hit], found: &mut Findings) {
    // One look at a header sees all of its cookies.
    let mut cookies_read = 0;
    let mut read = 0;
    for hit in hits {
        let Some(Meaning::Announced(announced)) = hit.meaning() else { continue };
        // `--api-key ` is one announcement, and not two.
        if hit.start < read {
            continue;
        }
        read = hit.end;
        if matches!(announced, Announced::Cookie) {
            if hit.start < cookies_read {
                continue;
            }
            cookies_read = hit.end + LONGEST_HEADER;
        }
        if let Some((rule, span)) = announced.read(bytes, hit.start, hit.end) {
            cookies_read = cookies_read.min(span.end);
            found.push(rule, span);
        }
    }
}

/// The credential whose punctuation stands at `index`.
pub(super) fn at_mark(mark: u8, bytes: &[u8], index: usize) -> Option<(&'static Rule, Range<usize>)> {
    if mark == b'@' {
        return bare_user_info(bytes, index).map(|span| (&URL_USER, span));
    }
    if part(bytes, index + 1, index + 3) == b"//" {
        return user_info(bytes, index).map(|span| (&URL_USER, span));
    }
    password_line(bytes, index).map(|span| (&LOGIN_LINE, span))
}

impl Announced {
    /// Whether it counts directly behind a letter: `Set-Cookie:` and `MyCookie:` are of one kind.
    pub(super) fn is_glued(self) -> bool {
        matches!(self, Self::Cookie)
    }

    fn read(self, bytes: &[u8], start: usize, end: usize) -> Option<(&'static Rule, Range<usize>)> {
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
            Self::Spoken | Self::Flag => {
                let word = next_word(bytes, end);
                is_random_under_name(part(bytes, word.start, word.end), 8).then_some((&SPOKEN, word))
            }
            Self::Login => login(bytes, end).map(|span| (&LOGIN_LINE, span)),
            Self::Oracle => {
                let slash = run_end(bytes, end, 64, |byte| is_url_safe(byte) || byte == b'.');
                let last = run_end(bytes, slash + 1, 128, |byte| byte.is_ascii_graphic() && byte != b'@');
                let is_login = slash > end && at(bytes, slash) == b'/' && at(bytes, last) == b'@';
                (is_login && is_password(part(bytes, slash + 1, last))).then_some((&URL_USER, slash + 1..last))
            }
            Self::Named => {
                let (promise, name_end) = promised_at(bytes, end)?;
                let word = next_word(bytes, run_end(bytes, name_end, LONGEST_GAP, is_blank));
                let rule = broken_by(promise, part(bytes, word.start, word.end))?;
                is_space(at(bytes, name_end)).then_some((rule, word))
            }
            Self::Pair => {
                let word = next_word(bytes, end);
                let pair = part(bytes, word.start, word.end);
                let colon = pair.iter().position(|&byte| byte == b':')?;
                is_random(part(pair, colon + 1, pair.len()), 8).then_some((&SPOKEN, word))
            }
        }
    }
}

/// The word at `start`, quotes around it left out.
fn next_word(bytes: &[u8], start: usize) -> Range<usize> {
    let start = run_end(bytes, start, 8, |byte| is_space(byte) || is_quote(byte) || byte == b'=');
    let is_part =
        |byte: u8| byte.is_ascii_graphic() && !is_quote(byte) && !matches!(byte, b',' | b';' | b'<' | b'>' | b'\\');
    let mut end = run_end(bytes, start, 512, is_part);
    // A sentence ends here, the token did before.
    while end > start && matches!(before(bytes, end), b'.' | b')' | b'}' | b']') {
        end -= 1;
    }
    start..end
}

/// The first value of a cookie header that looks like the key of a session.
fn cookie(bytes: &[u8], start: usize) -> Option<Range<usize>> {
    let last = run_end(bytes, start, LONGEST_HEADER, |_| true);
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

/// `login <name> password <value>`, as a `.netrc` has it.
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

/// User information between `://` and the host: a password, or a token in the place of a name.
fn user_info(bytes: &[u8], colon: usize) -> Option<Range<usize>> {
    let start = colon + 3;
    let end = run_end(bytes, start, LONGEST_USER, |byte| {
        byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#' | b'"' | b'<' | b'>' | b'`' | b'\\')
    });
    let mut authority = part(bytes, start, end);
    // A slash that a password should not have: what stands behind the colon is no port.
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
        // The key of an error collector is made to be seen.
        None => {
            is_random(user_info, 16) && !part(authority, sign, authority.len()).windows(6).any(|host| host == b"sentry")
        }
    };
    is_secret.then_some(start..start + sign)
}

/// Whether the password of an address is one, and not the word for it. It stands where only a password can, so that
/// it need not look random.
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
        // `%70%40…` is percent-encoding, and `%s` a template.
        !(password.first() == Some(&b'%') && at(password, 1).is_ascii_hexdigit() && at(password, 2).is_ascii_hexdigit())
    };
    let is_word = WORDS.iter().any(|word| password.eq_ignore_ascii_case(word.as_bytes()));
    password.len() >= 4 && !is_template && !is_word && !is_placeholder(password)
}

/// `name:password@host:port` without a scheme.
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

/// `host:port:database:user:password`; `colon` is the one before the port.
fn password_line(bytes: &[u8], colon: usize) -> Option<Range<usize>> {
    let is_field = |byte: u8| is_url_safe(byte) || matches!(byte, b'.' | b'*');
    let port = run_end(bytes, colon + 1, 6, |byte| byte.is_ascii_digit() || byte == b'*');
    if port == colon + 1 || at(bytes, port) != b':' || !is_field(before(bytes, colon)) {
        return None;
    }
    let first = run_start(bytes, colon, 128, is_field);
    // The line of a password file begins with the host.
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
    use super::super::{Place, scan};

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
