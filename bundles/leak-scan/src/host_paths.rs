//! Paths on a host: absolute, below a home, on a Windows drive, outside the workspace, or in a directory where tools
//! keep their state.
//!
//! Only the spelling is judged, never the file system, so every host gives the same result. Relative paths in the
//! workspace, API routes and paths of public URLs are not findings.

use std::ops::Range;

use crate::ascii::{at, before, is_quote, is_space, is_url_safe, part, run_end};
use crate::endpoints::public_url_end;
use crate::findings::Findings;
use crate::posix_paths::ROOTS;
use crate::{LeakRule, Place};

static POSIX: LeakRule = LeakRule::host_path("host_path.posix_absolute", "absolute path");
static HOME: LeakRule = LeakRule::host_path("host_path.home", "path below a home or temporary directory");
static WINDOWS: LeakRule = LeakRule::host_path("host_path.windows", "Windows drive, share or device");
static ESCAPE: LeakRule = LeakRule::host_path("host_path.escape", "relative path that leaves its directory");
static TOOL_STATE: LeakRule = LeakRule::host_path("host_path.tool_state", "directory where tools keep their state");

/// Rules of this module.
pub(crate) static RULES: &[&LeakRule] = &[&POSIX, &HOME, &WINDOWS, &ESCAPE, &TOOL_STATE];

/// Longest path that a span covers, in bytes.
pub(crate) const MAX_PATH_BYTES: usize = 256;

/// Directories that belong to a person or a tool, not to the content of a workspace.
#[rustfmt::skip]
const STATE_DIRECTORIES: &[&str] = &[
    "git", "ssh", "aws", "config", "docker", "kube", "yoi", "cache", "gnupg", "local", "azure", "gcloud", "npm", "m2",
    "password-store", "mozilla", "hg", "svn", "terraform.d", "ollama", "var", "Trash", "android", "oci", "gem", "minikube",
    "rustup", "pki", "ansible", "vault", "putty", "purple", "thunderbird", "electrum", "bitcoin", "ethereum",
];

/// Login files in a home directory.
#[rustfmt::skip]
const STATE_FILES: &[&str] =
    &["netrc", "pgpass", "git-credentials", "pypirc", "bash_history", "zsh_history", "Xauthority", "my.cnf", "htpasswd"];

/// Bytes at or near the start of a path.
pub(crate) const MARKS: &[u8] = b":/\\~$%{<.";

/// State of one pass over a text.
#[derive(Default)]
pub(crate) struct HostPaths {
    read_until: usize,
    /// End of the current public URL. Text inside it is not a path of this host.
    public_until: usize,
}

impl HostPaths {
    /// Adds the host path that has a mark at `index` to `found`.
    pub(crate) fn at_mark(&mut self, place: Place, mark: u8, bytes: &[u8], index: usize, found: &mut Findings) {
        if index < self.read_until {
            return;
        }
        let paths = Paths { place, bytes };
        if mark == b':' && index >= self.public_until {
            self.public_until = public_url_end(bytes, index).unwrap_or(0);
        }
        if index < self.public_until {
            return;
        }
        let leak = match mark {
            b':' => paths.drive(index).map(|span| (&WINDOWS, span)),
            b'/' => paths.absolute(index).map(|(is_device, span)| (if is_device { &WINDOWS } else { &POSIX }, span)),
            b'\\' => paths.backslash(index).map(|span| (&WINDOWS, span)),
            b'~' => paths.tilde(index).map(|span| (&HOME, span)),
            b'$' => paths.variable(index).map(|span| (&HOME, span)),
            b'%' => paths.percent_variable(index).map(|span| (&HOME, span)),
            b'{' | b'<' => paths.template(index).map(|span| (&HOME, span)),
            b'.' => paths.point(index),
            _ => None,
        };
        if let Some((rule, span)) = leak {
            self.read_until = span.end.max(index + 1);
            found.push(rule, span);
        }
    }
}

/// Confidence that a path can start after a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    /// White space, quotes and list separators.
    Clean,
    /// Punctuation that may belong to something else. Only a well-known root counts.
    Doubtful,
    /// Inside a longer path, a word or a template.
    None,
}

/// Text in which paths are searched. Methods take the position of a byte of a path and return the range of the path.
pub(crate) struct Paths<'a> {
    pub(crate) place: Place,
    pub(crate) bytes: &'a [u8],
}

impl Paths<'_> {
    pub(crate) fn at(&self, index: usize) -> u8 {
        at(self.bytes, index)
    }

    pub(crate) fn edge(&self, index: usize) -> Edge {
        match before(self.bytes, index) {
            b'"' | b'\'' | b'`' | b'(' | b'[' | b'{' | b'=' | b',' | b';' | b'|' | b':' | 0..=b' ' | 0x7f => {
                Edge::Clean
            }
            b'<' | b'>' | b'@' | b'!' | b'+' | b'&' | b'^' | b'?' | 0x80..=0xff => Edge::Doubtful,
            _ => Edge::None,
        }
    }

    /// `true` if the text is a value or a key of data. Prose may mention paths that data must not contain.
    pub(crate) fn is_data(&self) -> bool {
        matches!(self.place, Place::Text | Place::ObjectKey)
    }

    /// Returns the end of the path that contains `index`.
    pub(crate) fn end(&self, index: usize) -> usize {
        run_end(self.bytes, index, MAX_PATH_BYTES, |byte| {
            byte > b' '
                && !is_quote(byte)
                && !matches!(byte, b'<' | b'>' | b'|' | b',' | b';' | b')' | b']' | b'}' | 0x7f)
        })
    }

    pub(crate) fn segment_end(&self, index: usize) -> usize {
        run_end(self.bytes, index, 96, |byte| {
            is_url_safe(byte) || matches!(byte, b'.' | b'@' | b'+' | b'$' | b'%' | 0x80..)
        })
    }

    pub(crate) fn is_one_of(&self, from: usize, to: usize, names: &[&str]) -> bool {
        let word = part(self.bytes, from, to);
        names.iter().any(|name| name.as_bytes() == word)
    }

    /// Reads `..` as a segment, and directories such as `.ssh/`.
    fn point(&self, index: usize) -> Option<(&'static LeakRule, Range<usize>)> {
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
        let ends = is_space(after)
            || is_quote(after)
            || matches!(after, b',' | b';' | b')' | b']' | b'}' | b'<' | b'>' | b'#' | b'&' | b'\0');
        let is_end = ends && is_slash(before(self.bytes, index));
        let is_whole = index == 0 && self.bytes.len() == 2;
        match self.place {
            Place::Text | Place::ObjectKey if is_step || is_end || is_whole => Some(index..self.end(index)),
            // Elsewhere, `../lib` is prose or is judged by the URL parser. A known root after it is neither.
            Place::Prompt if is_step => {
                let name = run_end(self.bytes, index + 2, 4, is_slash);
                let end = self.segment_end(name);
                (self.is_one_of(name, end, ROOTS) && is_slash(self.at(end))).then(|| index..self.end(index))
            }
            _ => None,
        }
    }

    fn tool_state(&self, index: usize) -> Option<Range<usize>> {
        if !self.is_data() {
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
    use super::*;
    use crate::{Kind, scan};

    fn is_refused(place: Place, text: &str) -> bool {
        scan(place, text).iter().any(|leak| leak.rule.kind() == Kind::HostPath)
    }

    #[test]
    fn route_or_command_in_a_prompt_passes_and_a_known_root_is_refused() {
        for text in
            ["Use /review or /help.", "Call /v1/users and /users/{id}.", "`GET /home/feed`", "</system>", "and/or I/O"]
        {
            assert!(!is_refused(Place::Prompt, text), "{text}");
        }
        for text in [
            "See /home/alice/notes.",
            "Read /etc/passwd",
            "write to /tmp",
            "ファイルは/home/alice/xにある",
            "~/x",
            "$HOME/x",
        ] {
            assert!(is_refused(Place::Prompt, text), "{text}");
        }
    }

    #[test]
    fn path_of_a_permission_is_on_a_remote_server() {
        for path in ["/", "/etc", "/home/feed", "/~user/feed", "/v1/../v2"] {
            assert!(!is_refused(Place::UrlTarget, path), "{path}");
        }
        for path in ["file:///etc/passwd", "unix:///run/x.sock", "C:\\Users\\alice", "\\\\server\\share"] {
            assert!(is_refused(Place::UrlTarget, path), "{path}");
        }
    }

    #[test]
    fn path_of_a_public_url_passes() {
        assert!(!is_refused(Place::Text, "https://example.com/?next=/home/feed&x=../y"));
        assert!(is_refused(Place::Text, "https://example.com /home/alice/x"));
        assert!(is_refused(Place::Text, "https://example.com,/home/alice/x"));
    }
}
