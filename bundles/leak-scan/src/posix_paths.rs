//! Absolute paths that start with a slash.
//!
//! A well-known root is a finding wherever it can be distinguished from a tag and from the end of something longer. Any
//! other absolute path is a finding only outside prose. Routes, patterns and base64 look similar and pass.

use std::ops::Range;

use crate::Place;
use crate::ascii::{before, is_url_safe, is_word, part, run_end, run_start};
use crate::host_paths::{Edge, MAX_PATH_BYTES, Paths};
use crate::randomness::is_random;

/// First segments that are hardly used except as a place on a host.
#[rustfmt::skip]
pub(crate) const ROOTS: &[&str] = &[
    "etc", "home", "mnt", "nix", "opt", "proc", "root", "sbin", "snap", "srv", "sys", "tmp", "usr", "var", "Users", "Volumes",
    "private", "cygdrive", "boot", "lib64", "gnu", "sdcard", "host_mnt", "Applications", "Library", "System",
];

/// First segments of host paths that routes and commands use too.
#[rustfmt::skip]
const COMMON_ROOTS: &[&str] =
    &["home", "media", "run", "dev", "bin", "lib", "private", "System", "Library", "root", "data", "workspaces", "vagrant"];

/// Devices that are the same on every host.
#[rustfmt::skip]
const STREAMS: &[&str] =
    &["dev/null", "dev/zero", "dev/random", "dev/urandom", "dev/stdin", "dev/stdout", "dev/stderr", "dev/tty", "dev/full"];

/// Roots that are not also the name of a common slash command.
#[rustfmt::skip]
const PLAIN_ROOTS: &[&str] = &["etc", "mnt", "nix", "proc", "srv", "tmp", "usr", "var", "Users", "Volumes"];

/// Schemes for content of a bundle or a workspace.
#[rustfmt::skip]
const VIRTUAL_SCHEMES: &[&str] =
    &["bundle", "plugin", "profile", "prompt", "prompts", "repo", "resource", "skill", "tool", "workflow", "workspace"];

/// First segments of routes and of JSON pointers into a schema.
#[rustfmt::skip]
const ROUTES: &[&str] = &[
    "api", "apis", "graphql", "rest", "rpc", "oauth", "oauth2", ".well-known", "webhooks", "health", "healthz", "metrics",
    "properties", "definitions", "$defs", "items", "components", "paths",
];

impl Paths<'_> {
    /// Reads `/a/b`. The first value is `true` if the path names a Windows device (`//./pipe/x`).
    pub(crate) fn absolute(&self, slash: usize) -> Option<(bool, Range<usize>)> {
        if self.place == Place::UrlTarget {
            return None;
        }
        let previous = before(self.bytes, slash);
        // In `scheme:///etc` the authority is empty.
        let behind_authority = slash >= 3 && part(self.bytes, slash - 3, slash) == b"://";
        let mut edge = self.edge(slash);
        let is_virtual =
            self.is_behind_virtual_scheme(if behind_authority { slash - 3 } else { slash.saturating_sub(1) });
        if behind_authority || is_virtual {
            edge = Edge::Doubtful;
        } else if previous == b'/' || edge == Edge::None || previous == b':' && self.at(slash + 1) == b'/' {
            return None;
        }
        if previous == b'`' && self.is_behind_directory_command(slash - 1) {
            return Some((false, slash..self.end(slash + 1)));
        }
        let first = run_end(self.bytes, slash, usize::MAX, |byte| byte == b'/');
        if first - slash >= 2 && matches!(self.at(first), b'?' | b'.') && self.at(first + 1) == b'/' {
            return Some((true, slash..self.end(first)));
        }
        // `/./home` and empty segments do not change the path.
        let mut first = first;
        while self.at(first) == b'.' && self.at(first + 1) == b'/' {
            first = run_end(self.bytes, first + 1, usize::MAX, |byte| byte == b'/');
        }
        let segment = self.segment_end(first);
        if segment == first {
            return None;
        }
        let is_deep = self.at(segment) == b'/' && self.at(segment + 1) != b'/'
            || self.at(segment) == b'/' && is_word(self.at(segment + 2));
        let found = || Some((false, slash..self.end(first)));
        if is_virtual && self.is_one_of(first, segment, &["bin", "data", "dev", "lib", "media", "run"]) {
            return None;
        }
        if self.is_known_root(slash, first, segment, is_deep, edge) {
            return found();
        }
        let is_double = first - slash == 2;
        // Keys of data may be routes, which have one slash.
        let is_field = self.place == Place::Text || self.place == Place::ObjectKey && is_double;
        let is_structural = is_field && edge == Edge::Clean && is_deep;
        // `//cdn.example.com/x` is a URL without a scheme.
        let is_public = is_double && part(self.bytes, first, segment).contains(&b'.');
        (is_structural && !is_public && !self.is_base64(slash) && !self.is_route(slash, first, segment))
            .then(found)
            .flatten()
    }

    /// `true` for `` `pwd`/x ``, where a shell inserts a directory of the host. `quote` ends the command.
    fn is_behind_directory_command(&self, quote: usize) -> bool {
        const COMMANDS: &[&[u8]] = &[
            b"cygpath",
            b"dirname",
            b"echo ~",
            b"echo $HOME",
            b"git rev-parse",
            b"mktemp",
            b"pwd",
            b"readlink",
            b"realpath",
        ];
        let start = run_start(self.bytes, quote, 64, |byte| byte != b'`' && byte != b'\n');
        let command = part(self.bytes, start, quote);
        let goes_on = is_word(self.at(quote + 2)) || matches!(self.at(quote + 2), b'.' | b'$');
        before(self.bytes, start) == b'`'
            && goes_on
            && COMMANDS.iter().any(|name| {
                command
                    .strip_prefix(*name)
                    .is_some_and(|rest| matches!(rest.first(), None | Some(b' ')) || name.contains(&b'~'))
            })
    }

    /// `true` for a path such as `workspace:/src/lib.rs`, which belongs to a virtual file system and not to the host.
    /// `colon` is the expected position of the colon.
    fn is_behind_virtual_scheme(&self, colon: usize) -> bool {
        let start = run_start(self.bytes, colon, 16, |byte| byte.is_ascii_lowercase());
        self.at(colon) == b':' && self.is_one_of(start, colon, VIRTUAL_SCHEMES)
    }

    fn is_known_root(&self, slash: usize, first: usize, segment: usize, is_deep: bool, edge: Edge) -> bool {
        let is_common = self.is_one_of(first, segment, COMMON_ROOTS);
        if !is_common && !self.is_one_of(first, segment, ROOTS) {
            return false;
        }
        if is_common && self.is_behind_method(slash) {
            return false;
        }
        // Streams are the same on every host and common in prose about commands.
        let is_stream = self.is_one_of(first, self.segment_end(segment + 1), STREAMS);
        if is_stream && self.place == Place::Prompt {
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

    /// `true` if an HTTP method is before the slash.
    fn is_behind_method(&self, slash: usize) -> bool {
        let end = run_start(self.bytes, slash, 3, |byte| matches!(byte, b' ' | b'`' | b'"'));
        let start = run_start(self.bytes, end, 8, |byte| byte.is_ascii_uppercase());
        end < slash
            && self.is_one_of(start, end, &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"])
    }

    /// `true` if the slash is inside base64. One base64 text in 64 starts with a slash, among them all JPEG images.
    fn is_base64(&self, slash: usize) -> bool {
        let end = run_end(self.bytes, slash, MAX_PATH_BYTES, |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+' | b'=')
        });
        let text = part(self.bytes, slash, end);
        let ends = !is_url_safe(self.at(end)) && self.at(end) != b'.';
        text.starts_with(b"/9j/")
            || text.len() >= 16 && ends && text.split(|&byte| byte == b'/').any(|piece| is_random(piece, 8))
    }

    /// `true` for API routes (`/v1/users`, `/users/{id}`, anything after an HTTP method), dates, and patterns
    /// (`/src/**`).
    fn is_route(&self, slash: usize, first: usize, segment: usize) -> bool {
        let word = part(self.bytes, first, segment);
        let is_version = matches!(word, [b'v', digit, ..] if digit.is_ascii_digit());
        let is_number = word.iter().all(u8::is_ascii_digit);
        // Braces of JSON around the path are not part of a template.
        let path =
            run_end(self.bytes, segment, 128, |byte| is_url_safe(byte) || matches!(byte, b'/' | b'.' | b'{' | b':'));
        let is_template = part(self.bytes, segment, path).windows(2).any(|pair| matches!(pair, b"/{" | b"/:"));
        let is_glob = part(self.bytes, segment, self.end(segment)).contains(&b'*');
        is_version
            || is_number
            || is_template
            || is_glob
            || self.is_one_of(first, segment, ROUTES)
            || self.is_behind_method(slash)
    }
}
