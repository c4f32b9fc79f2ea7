//! Paths that lie on a host: absolute, below a home, on a Windows drive, out of the workspace, into a directory where
//! tools keep their state. Spelling decides, never the file system, so that every host says the same. Deliberately
//! absent: relative paths within the workspace, routes of an API, and everything in the path of a public address.

use std::ops::Range;

use super::ascii::{at, before, is_quote, is_space, is_url_safe, is_word, part, run_end, run_start, stands_at};
use super::endpoints::public_url_end;
use super::{Findings, Place, Rule};

static POSIX: Rule = Rule::host_path("host_path.posix_absolute", "absolute path");
static HOME: Rule = Rule::host_path("host_path.home", "path below a home or temporary directory");
static WINDOWS: Rule = Rule::host_path("host_path.windows", "Windows drive, share or device");
static ESCAPE: Rule = Rule::host_path("host_path.escape", "relative path that leaves its directory");
static TOOL_STATE: Rule = Rule::host_path("host_path.tool_state", "directory where tools keep their state");

/// The rules of this module.
pub(super) static RULES: &[&Rule] = &[&POSIX, &HOME, &WINDOWS, &ESCAPE, &TOOL_STATE];

/// Longest path that a span covers.
const LONGEST_PATH: usize = 256;

/// First segments that name a place on a host and hardly anything else.
const ROOTS: &[&str] = &[
    "etc", "home", "mnt", "nix", "opt", "proc", "root", "sbin", "snap", "srv", "sys", "tmp", "usr", "var", "Users", "Volumes",
    "private", "cygdrive", "boot", "lib64", "gnu", "sdcard", "host_mnt", "Applications", "Library", "System",
];

/// First segments of hosts that routes and commands have too.
const COMMON_ROOTS: &[&str] =
    &["home", "media", "run", "dev", "bin", "lib", "private", "System", "Library", "root", "data", "workspaces", "vagrant"];

/// Roots that nobody has a command for.
const PLAIN_ROOTS: &[&str] = &["etc", "mnt", "nix", "proc", "srv", "tmp", "usr", "var", "Users", "Volumes"];

/// First segments of routes and of JSON pointers into a schema.
const ROUTES: &[&str] = &[
    "api", "apis", "graphql", "rest", "rpc", "oauth", "oauth2", ".well-known", "webhooks", "health", "healthz", "metrics",
    "properties", "definitions", "$defs", "items", "components", "paths",
];

/// Directories that belong to a person or a tool, not to a workspace's content.
const STATE_DIRECTORIES: &[&str] = &[
    "git", "ssh", "aws", "config", "docker", "kube", "yoi", "cache", "gnupg", "local", "azure", "gcloud", "npm", "m2",
    "password-store", "mozilla", "hg", "svn", "terraform.d", "ollama", "var", "Trash", "android", "oci", "gem", "minikube",
    "rustup", "pki", "ansible", "vault", "putty", "purple", "thunderbird", "electrum", "bitcoin", "ethereum",
];

/// Files of logins in a home.
const STATE_FILES: &[&str] =
    &["netrc", "pgpass", "git-credentials", "pypirc", "bash_history", "zsh_history", "Xauthority", "my.cnf", "htpasswd"];

/// Variables that hold a directory of a host.
const DIRECTORY_VARIABLES: &[&str] = &[
    "HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "TMPDIR", "TEMP", "TMP", "PWD", "OLDPWD", "HOMEPATH", "HOMEDRIVE",
    "SYSTEMROOT", "WINDIR", "PROGRAMFILES", "PROGRAMFILES(X86)", "PROGRAMDATA", "ALLUSERSPROFILE", "PUBLIC", "SYSTEMDRIVE",
    "CARGO_HOME", "RUSTUP_HOME", "GOPATH", "SSH_AUTH_SOCK", "DOCKER_HOST", "KUBECONFIG", "GNUPGHOME", "USERHOME", "COMSPEC",
    "YOI_HOME", "YOI_STATE", "YOI_CACHE", "YOI_CONFIG", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CACHE_DIRECTORY",
];

/// Names that templates give to such a directory.
const DIRECTORY_NAMES: &[&str] = &[
    "home", "homedir", "home_dir", "home_directory", "user_home", "userhome", "user_home_dir", "tmpdir", "tmp_dir",
    "temp_dir", "tempdir", "cwd", "pwd", "userprofile", "appdata", "cache_dir", "config_dir", "data_dir", "state_dir",
    "runtime_dir", "cachedir",
];

/// Directories at the root of a Windows drive.
const WINDOWS_ROOTS: &[&str] = &[
    "Windows", "Users", "Program Files", "ProgramData", "Documents and Settings", "System32", "inetpub", "temp", "tmp",
    "PerfLogs", "WINNT", "home",
];

/// Adds every path of a host in `text` to `found`.
pub(super) fn look(place: Place, text: &str, found: &mut Findings) {
    let paths = Paths { place, bytes: text.as_bytes() };
    let mut index = 0;
    // Inside of a public address nothing is a path of this host.
    let mut public_until = 0;
    while let Some(byte) = paths.bytes.get(index).copied() {
        let leak = match byte {
            b':' => {
                if index >= public_until {
                    public_until = public_url_end(paths.bytes, index).unwrap_or(0);
                }
                paths.drive(index).map(|span| (&WINDOWS, span))
            }
            _ if index < public_until => None,
            b'/' => paths.absolute(index),
            b'\\' => paths.backslash(index).map(|span| (&WINDOWS, span)),
            b'~' => paths.tilde(index).map(|span| (&HOME, span)),
            b'$' => paths.variable(index).map(|span| (&HOME, span)),
            b'%' => paths.percent_variable(index).map(|span| (&HOME, span)),
            b'{' | b'<' => paths.template(index).map(|span| (&HOME, span)),
            b'.' => paths.point(index),
            _ => None,
        };
        if let Some((rule, span)) = leak {
            index = span.end.max(index + 1);
            found.push(rule, span);
            if found.full() {
                return;
            }
        } else {
            index += 1;
        }
    }
}

/// How surely a path may begin behind a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    /// White space, quotes, separators of lists.
    Clean,
    /// Punctuation that may belong to something else; only a well-known root counts.
    Doubtful,
    /// Within a longer path, a word or a template.
    None,
}

/// A text in which paths are looked for. Methods are given the position of the byte that may be part of one, and
/// answer with the range of the path.
struct Paths<'a> {
    place: Place,
    bytes: &'a [u8],
}

impl Paths<'_> {
    fn at(&self, index: usize) -> u8 {
        at(self.bytes, index)
    }

    fn edge(&self, index: usize) -> Edge {
        match before(self.bytes, index) {
            b'"' | b'\'' | b'`' | b'(' | b'[' | b'{' | b'=' | b',' | b';' | b'|' | b':' | 0..=b' ' | 0x7f => Edge::Clean,
            b'<' | b'>' | b'@' | b'!' | b'+' | b'&' | b'^' | b'?' | 0x80..=0xff => Edge::Doubtful,
            _ => Edge::None,
        }
    }

    /// Where the path that goes through `index` ends.
    fn end(&self, index: usize) -> usize {
        run_end(self.bytes, index, LONGEST_PATH, |byte| {
            byte > b' ' && !is_quote(byte) && !matches!(byte, b'<' | b'>' | b'|' | b',' | b';' | b')' | b']' | b'}' | 0x7f)
        })
    }

    fn segment_end(&self, index: usize) -> usize {
        run_end(self.bytes, index, 96, |byte| is_url_safe(byte) || matches!(byte, b'.' | b'@' | b'+' | b'$' | b'%' | 0x80..))
    }

    fn is_one_of(&self, from: usize, to: usize, names: &[&str]) -> bool {
        let word = part(self.bytes, from, to);
        names.iter().any(|name| name.as_bytes() == word)
    }

    /// `/a/b`
    fn absolute(&self, slash: usize) -> Option<(&'static Rule, Range<usize>)> {
        if self.place == Place::UrlTarget {
            return None;
        }
        let previous = before(self.bytes, slash);
        // `scheme:///etc` has nothing before its path.
        let behind_authority = slash >= 3 && part(self.bytes, slash - 3, slash) == b"://";
        let mut edge = self.edge(slash);
        if behind_authority {
            edge = Edge::Doubtful;
        } else if previous == b'/' || edge == Edge::None || previous == b':' && self.at(slash + 1) == b'/' {
            return None;
        }
        let first = run_end(self.bytes, slash, usize::MAX, |byte| byte == b'/');
        if first - slash >= 2 && matches!(self.at(first), b'?' | b'.') && self.at(first + 1) == b'/' {
            return Some((&WINDOWS, slash..self.end(first)));
        }
        // `/./home`, and a segment that is skipped, change nothing.
        let mut first = first;
        while self.at(first) == b'.' && self.at(first + 1) == b'/' {
            first = run_end(self.bytes, first + 1, usize::MAX, |byte| byte == b'/');
        }
        let segment = self.segment_end(first);
        if segment == first {
            return None;
        }
        let is_deep = self.at(segment) == b'/' && self.at(segment + 1) != b'/' || self.at(segment) == b'/' && is_word(self.at(segment + 2));
        let found = || Some((&POSIX, slash..self.end(first)));
        if self.is_known_root(slash, first, segment, is_deep, edge) {
            return found();
        }
        let is_structural = self.place == Place::Text && edge == Edge::Clean && is_deep;
        // `//cdn.example.com/x` leaves the scheme to the reader.
        let is_public = first - slash == 2 && part(self.bytes, first, segment).contains(&b'.');
        (is_structural && !is_public && !self.is_route(slash, first, segment)).then(found).flatten()
    }

    fn is_known_root(&self, slash: usize, first: usize, segment: usize, is_deep: bool, edge: Edge) -> bool {
        let is_common = self.is_one_of(first, segment, COMMON_ROOTS);
        if !is_common && !self.is_one_of(first, segment, ROOTS) {
            return false;
        }
        if is_common && self.is_behind_method(slash) {
            return false;
        }
        let is_plain = self.is_one_of(first, segment, PLAIN_ROOTS);
        match (self.place, edge) {
            // `</system>` closes a tag.
            (_, Edge::Doubtful) => is_deep && !(before(self.bytes, slash) == b'<' && is_common),
            (Place::Text, _) => is_deep || !self.is_one_of(first, segment, &["data", "workspaces"]),
            _ if is_deep => !self.is_one_of(first, segment, &["data", "workspaces"]),
            _ => is_plain && !is_word(self.at(segment)),
        }
    }

    /// Whether a request's method stands before the slash.
    fn is_behind_method(&self, slash: usize) -> bool {
        let end = run_start(self.bytes, slash, 3, |byte| matches!(byte, b' ' | b'`' | b'"'));
        let start = run_start(self.bytes, end, 8, |byte| byte.is_ascii_uppercase());
        end < slash && self.is_one_of(start, end, &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"])
    }

    /// Routes of an API: `/v1/users`, `/users/{id}`, anything behind a method; and dates.
    fn is_route(&self, slash: usize, first: usize, segment: usize) -> bool {
        let word = part(self.bytes, first, segment);
        let is_version = matches!(word, [b'v', digit, ..] if digit.is_ascii_digit());
        let is_number = word.iter().all(u8::is_ascii_digit);
        // Braces of a JSON text around the path are none of a template.
        let path = run_end(self.bytes, segment, 128, |byte| is_url_safe(byte) || matches!(byte, b'/' | b'.' | b'{' | b':'));
        let is_template = part(self.bytes, segment, path).windows(2).any(|pair| matches!(pair, b"/{" | b"/:"));
        is_version || is_number || is_template || self.is_one_of(first, segment, ROUTES) || self.is_behind_method(slash)
    }

    /// `\\server\share`, `\\?\C:`, `\\.\pipe`, `\Windows`
    fn backslash(&self, index: usize) -> Option<Range<usize>> {
        if matches!(self.edge(index), Edge::None) || before(self.bytes, index) == b'\\' {
            return None;
        }
        let name = run_end(self.bytes, index, usize::MAX, |byte| byte == b'\\');
        if name - index >= 2 && matches!(self.at(name), b'?' | b'.') && self.at(name + 1) == b'\\' {
            return Some(index..self.end(name));
        }
        let name_end = run_end(self.bytes, name, 64, |byte| is_url_safe(byte) || byte == b'.' || byte == b'$');
        if name - index >= 2 {
            let share = run_end(self.bytes, name_end, 2, |byte| byte == b'\\');
            let share_end = run_end(self.bytes, share, 64, |byte| is_url_safe(byte) || byte == b'$');
            let is_share = name_end - name >= 2 && share > name_end && share_end - share >= 2;
            return is_share.then(|| index..self.end(share_end));
        }
        let is_root = WINDOWS_ROOTS.iter().any(|root| {
            stands_at(self.bytes, name, root) && (self.at(name + root.len()) == b'\\' || !is_word(self.at(name + root.len())) && root.len() > 5)
        });
        is_root.then(|| index..self.end(name))
    }

    /// `C:\` and `c:/`
    fn drive(&self, colon: usize) -> Option<Range<usize>> {
        let letter = before(self.bytes, colon);
        let start = colon.checked_sub(1)?;
        let slash = self.at(colon + 1);
        if !letter.is_ascii_alphabetic() || !matches!(slash, b'/' | b'\\') || is_word(before(self.bytes, start)) {
            return None;
        }
        if matches!(before(self.bytes, start), b'.' | b'-' | b'+') {
            return None;
        }
        let name = run_end(self.bytes, colon + 1, 4, |byte| matches!(byte, b'/' | b'\\'));
        // `a://b` is an address, and `Q:\nA:` two lines.
        let is_address = slash == b'/' && name - colon > 2;
        let is_escape = slash == b'\\' && name - colon == 2 && matches!(self.at(name), b'n' | b'r' | b't' | b'd' | b's' | b'w' | b'b')
            && (!is_word(self.at(name + 1)) || self.at(name + 1).is_ascii_uppercase());
        let is_path = is_word(self.at(name)) || matches!(self.at(name), b'.' | b'$' | b'%' | b'{' | 0x80..) || slash == b'\\';
        (is_path && !is_address && !is_escape).then(|| start..self.end(name))
    }

    /// `~`, `~/x`, `~alice/x`
    fn tilde(&self, index: usize) -> Option<Range<usize>> {
        if self.edge(index) == Edge::None {
            return None;
        }
        let next = self.at(index + 1);
        if matches!(next, b'/' | b'\\') || matches!(next, b'+' | b'-') && self.at(index + 2) == b'/' {
            return Some(index..self.end(index));
        }
        if self.place != Place::Text {
            return None;
        }
        let is_whole = index == 0;
        let user = run_end(self.bytes, index + 1, 33, |byte| is_url_safe(byte) || byte == b'.');
        let ends = user == self.bytes.len();
        let is_user = next.is_ascii_alphabetic() && (matches!(self.at(user), b'/' | b'\\') && !ends || is_whole && ends);
        (is_user || is_whole && self.bytes.len() == 1).then(|| index..self.end(index))
    }

    /// `$HOME`, `${XDG_CACHE_HOME}`, `$env:USERPROFILE`, `$(pwd)`, `$ENV{HOME}`
    fn variable(&self, index: usize) -> Option<Range<usize>> {
        let mut start = run_end(self.bytes, index + 1, 2, |byte| matches!(byte, b'{' | b'('));
        for prefix in ["env:", "env.", "env{", "env::"] {
            if stands_at(self.bytes, start, prefix) {
                start += prefix.len();
                break;
            }
        }
        let end = run_end(self.bytes, start, 48, is_word);
        self.names_directory(start, end).then(|| index..self.end(end).max(end + 1).min(self.bytes.len()))
    }

    fn names_directory(&self, start: usize, end: usize) -> bool {
        let name = part(self.bytes, start, end).to_ascii_uppercase();
        let is_known = name.starts_with(b"XDG_") || DIRECTORY_VARIABLES.iter().any(|variable| variable.as_bytes() == name);
        // Prose and programs say `$TMP` or `$PWD`; a home, or a path below any of them, is of a host.
        let is_home = name.starts_with(b"XDG_") || matches!(name.as_slice(), b"HOME" | b"USERPROFILE" | b"APPDATA" | b"LOCALAPPDATA");
        let goes_on = run_end(self.bytes, end, 2, |byte| matches!(byte, b'}' | b')' | b'%'));
        is_known && (is_home || self.place == Place::Text || matches!(self.at(goes_on), b'/' | b'\\'))
    }

    /// `%APPDATA%`, `%h/`
    fn percent_variable(&self, index: usize) -> Option<Range<usize>> {
        let end = run_end(self.bytes, index + 1, 32, |byte| is_word(byte) || matches!(byte, b'(' | b')'));
        if self.at(end) == b'%' && self.names_directory(index + 1, end) {
            return Some(index..self.end(end));
        }
        // Units of systemd write directories like this.
        let is_specifier = self.place == Place::Text && matches!(self.at(index + 1), b'h' | b't' | b'S' | b'C' | b'L')
            && self.at(index + 2) == b'/' && self.edge(index) == Edge::Clean;
        is_specifier.then(|| index..self.end(index))
    }

    /// `{{home}}`, `{{ env.HOME }}`, `{home}/x`, `<home>/x`
    fn template(&self, index: usize) -> Option<Range<usize>> {
        let depth = run_end(self.bytes, index, 3, |byte| byte == self.at(index)) - index;
        let mut start = run_end(self.bytes, index + depth, 4, |byte| is_space(byte) || matches!(byte, b'.' | b'$' | b'%'));
        if stands_at(self.bytes, start, "env") {
            start = run_end(self.bytes, start + 3, 4, |byte| !is_word(byte));
        }
        let end = run_end(self.bytes, start, 32, is_word);
        let close = run_end(self.bytes, end, 8, |byte| is_space(byte) || is_quote(byte) || matches!(byte, b'}' | b'>' | b')' | b']'));
        let name = part(self.bytes, start, end).to_ascii_lowercase();
        let is_known = DIRECTORY_NAMES.iter().any(|known| known.as_bytes() == name) || name.starts_with(b"xdg_");
        let goes_on = matches!(self.at(close), b'/' | b'\\');
        let closes = part(self.bytes, end, close).iter().any(|byte| matches!(byte, b'}' | b'>'));
        (is_known && closes && (goes_on || self.place == Place::Text && depth >= 2)).then(|| index..self.end(close).max(close))
    }

    /// `..` as a segment, and directories such as `.ssh/`.
    fn point(&self, index: usize) -> Option<(&'static Rule, Range<usize>)> {
        let previous = before(self.bytes, index);
        let is_segment = matches!(previous, b'/' | b'\\') || self.edge(index) != Edge::None;
        if !is_segment {
            return None;
        }
        if self.at(index + 1) == b'.' {
            return self.escape(index).map(|span| (&ESCAPE, span));
        }
        self.tool_state(index).map(|span| (&TOOL_STATE, span))
    }

    fn escape(&self, index: usize) -> Option<Range<usize>> {
        let is_slash = |byte| matches!(byte, b'/' | b'\\');
        let after = self.at(index + 2);
        let is_step = is_slash(after) || after == b';' && is_slash(self.at(index + 3));
        let is_end = !is_word(after) && after != b'.' && is_slash(before(self.bytes, index));
        let is_whole = index == 0 && self.bytes.len() == 2;
        match self.place {
            Place::Text if is_step || is_end || is_whole => Some(index..self.end(index)),
            // Elsewhere `../lib` is speech, or for the parser of addresses to judge; a known root behind it is neither.
            Place::Prompt | Place::ObjectKey if is_step => {
                let name = run_end(self.bytes, index + 2, 4, is_slash);
                let end = self.segment_end(name);
                (self.is_one_of(name, end, ROOTS) && is_slash(self.at(end))).then(|| index..self.end(index))
            }
            _ => None,
        }
    }

    fn tool_state(&self, index: usize) -> Option<Range<usize>> {
        if self.place != Place::Text {
            return None;
        }
        let end = run_end(self.bytes, index + 1, 24, |byte| is_url_safe(byte) || byte == b'.');
        let goes_on = matches!(self.at(end), b'/' | b'\\') && end < self.bytes.len();
        let is_in_path = matches!(before(self.bytes, index), b'/' | b'\\') || index == 0 && end == self.bytes.len();
        let is_directory = self.is_one_of(index + 1, end, STATE_DIRECTORIES) && (goes_on || is_in_path);
        let is_file = self.is_one_of(index + 1, end, STATE_FILES) && is_in_path;
        (is_directory || is_file).then(|| index..self.end(index))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, scan};
    use super::*;

    fn is_refused(place: Place, text: &str) -> bool {
        scan(place, text).iter().any(|leak| leak.rule.kind() == Kind::HostPath)
    }

    #[test]
    fn a_route_or_a_command_in_a_prompt_is_speech_and_a_root_is_not() {
        for text in ["Use /review or /help.", "Call /v1/users and /users/{id}.", "`GET /home/feed`", "</system>", "and/or I/O"] {
            assert!(!is_refused(Place::Prompt, text), "{text}");
        }
        for text in ["See /home/alice/notes.", "Read /etc/passwd", "write to /tmp", "ファイルは/home/alice/xにある", "~/x", "$HOME/x"] {
            assert!(is_refused(Place::Prompt, text), "{text}");
        }
    }

    #[test]
    fn a_path_of_a_permission_lies_on_a_remote_server() {
        for path in ["/", "/etc", "/home/feed", "/~user/feed", "/v1/../v2"] {
            assert!(!is_refused(Place::UrlTarget, path), "{path}");
        }
        for path in ["file:///etc/passwd", "unix:///run/x.sock", "C:\\Users\\alice", "\\\\server\\share"] {
            assert!(is_refused(Place::UrlTarget, path), "{path}");
        }
    }

    #[test]
    fn the_path_of_a_public_address_is_not_of_this_host() {
        assert!(!is_refused(Place::Text, "https://example.com/?next=/home/feed&x=../y"));
        assert!(is_refused(Place::Text, "https://example.com /home/alice/x"));
        assert!(is_refused(Place::Text, "https://example.com,/home/alice/x"));
    }
}
