//! Errors of the file tools. They contain the label of the mount and the path of the caller. Of a system error only the
//! kind is kept, because its message may contain paths of the host.

use std::fmt;
use std::io::{self, ErrorKind};

use bundles::{MountLabel, shown};
use rustix::io::Errno;

use super::path::{InvalidPath, MountPath};
use super::{MAX_FILE_BYTES, MAX_TEXT};
use crate::tool::ToolError;

/// Mount and path as the caller named them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FsLocation {
    pub(super) mount: MountLabel,
    pub(super) path: Option<MountPath>,
}

impl fmt::Display for FsLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "`{path}` in mount `{}`", self.mount),
            None => write!(f, "mount `{}`", self.mount),
        }
    }
}

/// Error of a file tool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FsError {
    #[error("invalid input: {0}")]
    InvalidInput(String),
    #[error("invalid path `{text}`: {why}")]
    InvalidPath { text: String, why: InvalidPath },
    #[error("invalid glob `{0}`")]
    InvalidGlob(String),
    #[error("the text has more than {MAX_TEXT} characters")]
    TextTooLarge,
    #[error("the bundle does not allow this tool to access {0}")]
    NotAllowed(FsLocation),
    #[error("{0} not found")]
    NotFound(FsLocation),
    #[error("{0} leads out of the mount")]
    Outside(FsLocation),
    #[error("{0} has too many or circular links")]
    Loop(FsLocation),
    #[error("{0} is not a regular file")]
    NotAFile(FsLocation),
    #[error("{0} is not a folder")]
    NotAFolder(FsLocation),
    #[error("a parent of {0} is not a folder")]
    NoFolder(FsLocation),
    #[error("{0} has more than {MAX_FILE_BYTES} bytes")]
    TooLarge(FsLocation),
    #[error("{0} is not UTF-8 text")]
    NotUtf8(FsLocation),
    #[error("{0} already exists")]
    Exists(FsLocation),
    #[error("{0} has changed since it was read")]
    Changed(FsLocation),
    #[error("the folder of {0} is locked by another writer")]
    InUse(FsLocation),
    #[error("{0} is read-only on this host")]
    ReadOnly(FsLocation),
    #[error("the Runtime has no permission to access {0} on this host")]
    Forbidden(FsLocation),
    #[error("the access rights or attributes of {0} cannot be kept")]
    AccessNotKept(FsLocation),
    #[error("no space left for {0}")]
    Full(FsLocation),
    #[error("{0} cannot be used: {1}")]
    Unavailable(FsLocation, ErrorKind),
    /// The call was cancelled, so that no caller receives the error, or the runtime was shut down.
    #[error("the call ended before the tool was finished")]
    Cancelled,
}

impl FsError {
    /// Returns the error for a text that is not a path.
    pub(super) fn path(text: &str, why: InvalidPath) -> Self {
        Self::InvalidPath { text: shown(text), why }
    }

    /// Converts a system error at a location.
    pub(super) fn io(location: &FsLocation, error: &io::Error) -> Self {
        let location = location.clone();
        // `cap-std` reports a link that leads out with this kind and without an errno.
        if error.raw_os_error().is_none() && error.kind() == ErrorKind::PermissionDenied {
            return Self::Outside(location);
        }
        match Errno::from_io_error(error) {
            Some(Errno::LOOP) => Self::Loop(location),
            Some(Errno::NOTDIR) => Self::NoFolder(location),
            Some(Errno::NOENT | Errno::NAMETOOLONG) => Self::NotFound(location),
            Some(Errno::EXIST) => Self::Exists(location),
            Some(Errno::ISDIR | Errno::NXIO | Errno::NODEV) => Self::NotAFile(location),
            Some(Errno::ROFS) => Self::ReadOnly(location),
            Some(Errno::ACCESS | Errno::PERM) => Self::Forbidden(location),
            Some(Errno::NOSPC | Errno::DQUOT) => Self::Full(location),
            _ => Self::Unavailable(location, error.kind()),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::InvalidInput(_) => "invalid_input",
            Self::InvalidPath { .. } => "invalid_path",
            Self::InvalidGlob(_) => "invalid_glob",
            Self::TextTooLarge => "text_too_large",
            Self::NotAllowed(_) => "path_not_allowed",
            Self::NotFound(_) => "file_not_found",
            Self::Outside(_) => "outside_mount",
            Self::Loop(_) => "link_loop",
            Self::NotAFile(_) => "not_a_file",
            Self::NotAFolder(_) | Self::NoFolder(_) => "not_a_folder",
            Self::TooLarge(_) => "file_too_large",
            Self::NotUtf8(_) => "not_utf8",
            Self::Exists(_) => "file_exists",
            Self::Changed(_) => "file_changed",
            Self::InUse(_) => "file_in_use",
            Self::ReadOnly(_) => "file_read_only",
            Self::Forbidden(_) => "file_forbidden",
            Self::AccessNotKept(_) => "file_access_not_kept",
            Self::Full(_) => "mount_full",
            Self::Unavailable(..) => "file_unavailable",
            Self::Cancelled => "call_ended",
        }
    }

    fn help(&self) -> &'static str {
        match self {
            Self::InvalidInput(_) => "pass an input that matches the tool's schema",
            Self::InvalidPath { .. } => {
                "pass names joined by `/`, relative to the root of the mount; omit `path` for the root itself"
            }
            Self::InvalidGlob(_) => {
                "pass names joined by `/`, with `*`, `?`, `**` for any folders, `[a-z]` and `{one,two}`, at most 255 bytes"
            }
            Self::TextTooLarge => "write a shorter text",
            Self::NotAllowed(_) => "use a path that the bundle allows for this tool",
            Self::NotFound(_) => "list the existing files with `fs.list`",
            Self::Outside(_) => "use a path without links, or request a mount of the folder that the link leads to",
            Self::Loop(_) => "use a path without links",
            Self::NotAFile(_) => "name a regular file; folders, devices, pipes and sockets are not opened",
            Self::NotAFolder(_) => "name a folder, or omit `path` for the root of the mount",
            Self::NoFolder(_) => "list the existing files with `fs.list`",
            Self::TooLarge(_) => "use another tool for a file of that size",
            Self::NotUtf8(_) => "use another tool for a file that is not text",
            Self::Exists(_) => "read it with `fs.read`, and pass its digest as `replaces`",
            Self::Changed(_) => "read it again, and pass its digest as `replaces`",
            Self::InUse(_) => "try again",
            Self::ReadOnly(_) => "do not change this file, or ask the operator to change its mode",
            Self::Forbidden(_) => "ask the operator to give the Runtime's user access",
            Self::AccessNotKept(_) => {
                "let the Runtime's user own the file or be in its group, or remove the file's access control list"
            }
            Self::Full(_) => "ask the operator to free some space",
            Self::Unavailable(..) => "try again; if it fails again, read the log of the host",
            Self::Cancelled => "call again",
        }
    }
}

impl From<FsError> for ToolError {
    fn from(refusal: FsError) -> Self {
        Self::Refused { code: refusal.code().into(), message: refusal.to_string(), help: refusal.help() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_error_becomes_a_code_without_its_message() {
        let location =
            FsLocation { mount: "repo".parse().expect("a label"), path: Some("a/b".parse().expect("a path")) };
        let code_of = |error: io::Error| {
            let ToolError::Refused { code, message, .. } = FsError::io(&location, &error).into() else {
                panic!("a refusal");
            };
            assert!(message.contains("`a/b` in mount `repo`") && !message.contains("/srv"), "{message}");
            code
        };
        for (errno, code) in [
            (Errno::NOENT, "file_not_found"),
            (Errno::NAMETOOLONG, "file_not_found"),
            (Errno::NOTDIR, "not_a_folder"),
            (Errno::LOOP, "link_loop"),
            (Errno::EXIST, "file_exists"),
            (Errno::NXIO, "not_a_file"),
            (Errno::ROFS, "file_read_only"),
            (Errno::ACCESS, "file_forbidden"),
            (Errno::PERM, "file_forbidden"),
            (Errno::NOSPC, "mount_full"),
            (Errno::DQUOT, "mount_full"),
            (Errno::IO, "file_unavailable"),
            (Errno::MFILE, "file_unavailable"),
        ] {
            assert_eq!(code_of(errno.into()), code, "{errno}");
        }
        assert_eq!(code_of(io::Error::new(ErrorKind::PermissionDenied, "a path led out of /srv")), "outside_mount");
        assert_eq!(code_of(io::Error::other("/srv/x broke")), "file_unavailable");
    }
}
