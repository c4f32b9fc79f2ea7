//! Paths below a home directory or below a directory that a variable names. Variables and templates for secrets or
//! words are not findings.

use std::ops::Range;

use crate::Place;
use crate::ascii::{is_quote, is_space, is_url_safe, is_word, part, run_end, stands_at};
use crate::host_paths::{Edge, Paths};

/// Variables that hold a directory of a host.
#[rustfmt::skip]
const DIRECTORY_VARIABLES: &[&str] = &[
    "HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "TMPDIR", "TEMP", "TMP", "PWD", "OLDPWD", "HOMEPATH", "HOMEDRIVE",
    "SYSTEMROOT", "WINDIR", "PROGRAMFILES", "PROGRAMFILES(X86)", "PROGRAMDATA", "ALLUSERSPROFILE", "PUBLIC", "SYSTEMDRIVE",
    "CARGO_HOME", "RUSTUP_HOME", "GOPATH", "SSH_AUTH_SOCK", "DOCKER_HOST", "KUBECONFIG", "GNUPGHOME", "USERHOME", "COMSPEC",
    "YOI_HOME", "YOI_STATE", "YOI_CACHE", "YOI_CONFIG", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CACHE_DIRECTORY",
];

/// Names for such directories in templates.
#[rustfmt::skip]
const DIRECTORY_NAMES: &[&str] = &[
    "home", "homedir", "home_dir", "home_directory", "user_home", "userhome", "user_home_dir", "tmpdir", "tmp_dir",
    "temp_dir", "tempdir", "cwd", "pwd", "userprofile", "appdata", "cache_dir", "config_dir", "data_dir", "state_dir",
    "runtime_dir", "cachedir",
];

impl Paths<'_> {
    /// Reads `~`, `~/x` and `~alice/x`.
    pub(crate) fn tilde(&self, index: usize) -> Option<Range<usize>> {
        if self.edge(index) == Edge::None {
            return None;
        }
        let next = self.at(index + 1);
        if matches!(next, b'/' | b'\\') || matches!(next, b'+' | b'-') && self.at(index + 2) == b'/' {
            return Some(index..self.end(index));
        }
        if !self.is_data() {
            return None;
        }
        let is_whole = index == 0;
        let user = run_end(self.bytes, index + 1, 33, |byte| is_url_safe(byte) || byte == b'.');
        let ends = user == self.bytes.len();
        let is_user =
            next.is_ascii_alphabetic() && (matches!(self.at(user), b'/' | b'\\') && !ends || is_whole && ends);
        (is_user || is_whole && self.bytes.len() == 1).then(|| index..self.end(index))
    }

    /// Reads `$HOME`, `${XDG_CACHE_HOME}`, `$env:USERPROFILE`, `$(pwd)` and `$ENV{HOME}`.
    pub(crate) fn variable(&self, index: usize) -> Option<Range<usize>> {
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
        let is_known =
            name.starts_with(b"XDG_") || DIRECTORY_VARIABLES.iter().any(|variable| variable.as_bytes() == name);
        // `$TMP` and `$PWD` alone are common in prose and programs. A home, or a path below any of them, is
        // host-specific.
        let is_home = name.starts_with(b"XDG_")
            || matches!(name.as_slice(), b"HOME" | b"USERPROFILE" | b"APPDATA" | b"LOCALAPPDATA");
        let goes_on = run_end(self.bytes, end, 2, |byte| matches!(byte, b'}' | b')' | b'%'));
        is_known && (is_home || self.place == Place::Text || matches!(self.at(goes_on), b'/' | b'\\'))
    }

    /// Reads `%APPDATA%` and `%h/`.
    pub(crate) fn percent_variable(&self, index: usize) -> Option<Range<usize>> {
        let end = run_end(self.bytes, index + 1, 32, |byte| is_word(byte) || matches!(byte, b'(' | b')'));
        if self.at(end) == b'%' && self.names_directory(index + 1, end) {
            return Some(index..self.end(end));
        }
        // systemd units write directories in this form.
        let is_specifier = self.place == Place::Text
            && matches!(self.at(index + 1), b'h' | b't')
            && self.at(index + 2) == b'/'
            && matches!(self.at(index + 3), b'.' | b'a'..=b'z')
            && self.edge(index) == Edge::Clean;
        is_specifier.then(|| index..self.end(index))
    }

    /// Reads `{{home}}`, `{{ env.HOME }}`, `{home}/x` and `<home>/x`.
    pub(crate) fn template(&self, index: usize) -> Option<Range<usize>> {
        let depth = run_end(self.bytes, index, 3, |byte| byte == self.at(index)) - index;
        let mut start =
            run_end(self.bytes, index + depth, 4, |byte| is_space(byte) || matches!(byte, b'.' | b'$' | b'%'));
        if stands_at(self.bytes, start, "env") {
            start = run_end(self.bytes, start + 3, 4, |byte| !is_word(byte));
        }
        let end = run_end(self.bytes, start, 32, is_word);
        let close = run_end(self.bytes, end, 8, |byte| {
            is_space(byte) || is_quote(byte) || matches!(byte, b'}' | b'>' | b')' | b']')
        });
        let name = part(self.bytes, start, end).to_ascii_lowercase();
        let is_known = DIRECTORY_NAMES.iter().any(|known| known.as_bytes() == name) || name.starts_with(b"xdg_");
        let goes_on = matches!(self.at(close), b'/' | b'\\');
        let closes = part(self.bytes, end, close).iter().any(|byte| matches!(byte, b'}' | b'>'));
        (is_known && closes && (goes_on || self.place == Place::Text && depth >= 2))
            .then(|| index..self.end(close).max(close))
    }
}
