//! Windows paths: drives, shares, devices and rooted paths. Escapes of regular expressions and of strings look similar
//! and pass.

use std::ops::Range;

use crate::Place;
use crate::ascii::{before, is_quote, is_space, is_url_safe, is_word, part, run_end, stands_at};
use crate::host_paths::{Edge, Paths};

/// Directories at the root of a Windows drive.
#[rustfmt::skip]
const WINDOWS_ROOTS: &[&str] = &[
    "Windows", "Users", "Program Files", "ProgramData", "Documents and Settings", "System32", "inetpub", "temp", "tmp",
    "PerfLogs", "WINNT", "home",
];

impl Paths<'_> {
    /// Reads `\\server\share`, `\\?\C:`, `\\.\pipe` and `\Windows`.
    pub(crate) fn backslash(&self, index: usize) -> Option<Range<usize>> {
        if matches!(self.edge(index), Edge::None) || before(self.bytes, index) == b'\\' {
            return None;
        }
        let name = run_end(self.bytes, index, usize::MAX, |byte| byte == b'\\');
        if name - index >= 2 && matches!(self.at(name), b'?' | b'.') {
            // An escaped regular expression (`\\\\.\\\\d`) has no word there.
            let device = run_end(self.bytes, name + 1, 4, |byte| byte == b'\\');
            let is_device = device > name + 1
                && is_word(self.at(device))
                && (is_word(self.at(device + 1)) || self.at(device + 1) == b':');
            return is_device.then(|| index..self.end(name));
        }
        let name_end = run_end(self.bytes, name, 64, |byte| is_url_safe(byte) || byte == b'.' || byte == b'$');
        if name - index >= 2 {
            let share = run_end(self.bytes, name_end, 2, |byte| byte == b'\\');
            let share_end = run_end(self.bytes, share, 64, |byte| is_url_safe(byte) || byte == b'$');
            let is_share = name_end - name >= 2 && share > name_end && share_end - share >= 2;
            return is_share.then(|| index..self.end(share_end));
        }
        let is_root = WINDOWS_ROOTS.iter().any(|root| {
            stands_at(self.bytes, name, root)
                && (self.at(name + root.len()) == b'\\' || !is_word(self.at(name + root.len())) && root.len() > 5)
        });
        is_root.then(|| index..self.end(name))
    }

    /// `true` for `C:repo`, a path below the current folder of that drive. It must be the whole value or delimited like
    /// one, because `H:mm` and `k:v` look similar.
    fn is_drive_relative(&self, start: usize, letter: u8, colon: usize) -> bool {
        let previous = before(self.bytes, start);
        let is_set_off = start == 0 || is_quote(previous) || matches!(previous, b'=' | b',' | b';' | b'(' | b'[');
        let is_drive = letter.is_ascii_uppercase() || matches!(letter, b'c' | b'd');
        if !self.is_data() || !is_set_off || !is_drive {
            return false;
        }
        let name = run_end(self.bytes, colon + 1, 64, |byte| is_url_safe(byte) || byte == b'.');
        let end = self.end(colon + 1);
        let has_letters =
            |from, to| part(self.bytes, from, to).iter().filter(|byte| byte.is_ascii_alphabetic()).count() >= 3;
        let is_path = |byte: &u8| is_url_safe(*byte) || matches!(byte, b'.' | b'\\' | b'/' | b'$' | b'~' | b'@');
        let rest = part(self.bytes, name, end);
        has_letters(colon + 1, name)
            && rest.iter().all(is_path)
            && (is_quote(self.at(end)) || matches!(self.at(end), b'\n' | b',' | b';' | b')' | b']'))
    }

    /// Reads `C:\` and `c:/`.
    pub(crate) fn drive(&self, colon: usize) -> Option<Range<usize>> {
        let letter = before(self.bytes, colon);
        let start = colon.checked_sub(1)?;
        let slash = self.at(colon + 1);
        if self.is_drive_relative(start, letter, colon) {
            return Some(start..self.end(colon + 1));
        }
        if !letter.is_ascii_alphabetic() || !matches!(slash, b'/' | b'\\') || is_word(before(self.bytes, start)) {
            return None;
        }
        let previous = before(self.bytes, start);
        if matches!(previous, b'.' | b'-' | b'+' | b'?') || previous == b'/' && self.place == Place::UrlTarget {
            return None;
        }
        let name = run_end(self.bytes, colon + 1, 4, |byte| matches!(byte, b'/' | b'\\'));
        // `a://b` is a URL, and `Q:\nA:` is two lines.
        let is_address = slash == b'/' && name - colon > 2;
        let is_escape = slash == b'\\'
            && name - colon == 2
            && matches!(self.at(name), b'n' | b'r' | b't' | b'd' | b's' | b'w' | b'b')
            && (!is_word(self.at(name + 1)) || self.at(name + 1).is_ascii_uppercase());
        let is_root = self.place == Place::Text && (is_space(self.at(name)) || is_quote(self.at(name)));
        let is_path = is_word(self.at(name))
            || matches!(self.at(name), b'.' | b'$' | b'%' | b'{' | 0x80..)
            || is_root
            || slash == b'\\';
        (is_path && !is_address && !is_escape).then(|| start..self.end(name))
    }
}
