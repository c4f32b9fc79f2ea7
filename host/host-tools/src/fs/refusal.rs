//! Why a file tool says no. Composed of the mount's label and the caller's own path; of what the system
//! says only the kind is kept, because its words tell places.

use std::fmt;
use std::io::{self, ErrorKind};

use bundles::{MountLabel, shown};
use rustix::io::Errno;

use super::path::{InvalidPath, MountPath};
use super::{MAX_FILE_BYTES, MAX_TEXT};
use crate::tool::ToolError;

/// A place as the caller named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) mount: MountLabel,
    pub(super) path: Option<MountPath>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "`{path}` in mount `{}`", self.mount),
            None => write!(f, "mount `{}`", self.mount),
        }
    }
}

/// A file tool says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("invalid input: {0}")]
    InvalidInput(String),
    #[error("`{text}` is no path inside a mount: {why}")]
    InvalidPath { text: String, why: InvalidPath },
    #[error("`{0}` is no glob")]
    InvalidGlob(String),
    #[error("the text has more than {MAX_TEXT} characters")]
    TextTooLarge,
    #[error("the bundle does not let this tool touch {0}")]
    NotAllowed(Place),
    #[error("there is no {0}")]
    NotFound(Place),
    #[error("{0} leads out of the mount")]
    Outside(Place),
    #[error("{0} leads round in a circle of links")]
    Loop(Place),
    #[error("{0} is no file")]
    NotAFile(Place),
    #[error("{0} is no folder")]
    NotAFolder(Place),
    #[error("a name on the way to {0} is no folder")]
    NoFolder(Place),
    #[error("{0} has more than {MAX_FILE_BYTES} bytes")]
    TooLarge(Place),
    #[error("{0} is not UTF-8 text")]
    NotUtf8(Place),
    #[error("{0} is there already")]
    Exists(Place),
    #[error("{0} is not the file any more that was to be replaced")]
    Changed(Place),
    #[error("others keep writing beside {0}")]
    InUse(Place),
    #[error("{0} is read-only on this host")]
    ReadOnly(Place),
    #[error("this host does not let the Runtime touch {0}")]
    Forbidden(Place),
    #[error("the access rights or attributes of {0} cannot be kept")]
    AccessNotKept(Place),
    #[error("there is no room for {0}")]
    Full(Place),
    #[error("{0} cannot be used: {1}")]
    Unavailable(Place, ErrorKind),
    /// Nobody waits any more, so nobody is told; or whoever embeds the Runtime has ended the threads that it works on.
    #[error("the call ended before the tool was done")]
    Ended,
}

impl Refusal {
    /// The text is no path.
    pub(super) fn path(text: &str, why: InvalidPath) -> Self {
        Self::InvalidPath { text: shown(text), why }
    }

    /// What the system says about a place.
    pub(super) fn io(place: &Place, error: &io::Error) -> Self {
        let place = place.clone();
        // cap-std's own way of saying that a link leads out has no number.
        if error.raw_os_error().is_none() && error.kind() == ErrorKind::PermissionDenied {
            return Self::Outside(place);
        }
        match Errno::from_io_error(error) {
            Some(Errno::LOOP) => Self::Loop(place),
            Some(Errno::NOTDIR) => Self::NoFolder(place),
            Some(Errno::NOENT | Errno::NAMETOOLONG) => Self::NotFound(place),
            Some(Errno::EXIST) => Self::Exists(place),
            Some(Errno::ISDIR | Errno::NXIO | Errno::NODEV) => Self::NotAFile(place),
            Some(Errno::ROFS) => Self::ReadOnly(place),
            Some(Errno::ACCESS | Errno::PERM) => Self::Forbidden(place),
            Some(Errno::NOSPC | Errno::DQUOT) => Self::Full(place),
            _ => Self::Unavailable(place, error.kind()),
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
            Self::Ended => "call_ended",
        }
    }

    fn help(&self) -> &'static str {
        match self {
            Self::InvalidInput(_) => "give it what the tool's schema asks for",
            Self::InvalidPath { .. } => {
                "write names joined by `/`, relative to the mount's root; for the root itself leave `path` out"
            }
            Self::InvalidGlob(_) => {
                "write names joined by `/`, with `*`, `?`, `**` for any folders, `[a-z]` and `{one,two}`, at most 255 bytes"
            }
            Self::TextTooLarge => "write a shorter text",
            Self::NotAllowed(_) => "use a path that the bundle allows this tool",
            Self::NotFound(_) => "look with `fs.list` for what is there",
            Self::Outside(_) => "use a path without links, or ask for a mount of the folder that is meant",
            Self::Loop(_) => "use a path without links",
            Self::NotAFile(_) => "name a regular file; folders, devices, pipes and sockets are not opened",
            Self::NotAFolder(_) => "name a folder, or leave the path out for the mount's root",
            Self::NoFolder(_) => "look with `fs.list` for what is there",
            Self::TooLarge(_) => "use another tool for a file of that size",
            Self::NotUtf8(_) => "use another tool for a file that is no text",
            Self::Exists(_) => "read it with `fs.read`, and give its digest as `replaces`",
            Self::Changed(_) => "read it again, and give its digest as `replaces`",
            Self::InUse(_) => "try again",
            Self::ReadOnly(_) => "leave it as it is, or have its mode changed on the host",
            Self::Forbidden(_) => "have the Runtime's user given access on the host",
            Self::AccessNotKept(_) => {
                "let the Runtime's user own the file or be in its group, or remove the file's access control list"
            }
            Self::Full(_) => "have room made on the host",
            Self::Unavailable(..) => "try again; the log of the host that keeps the mount says more",
            Self::Ended => "call again",
        }
    }
}

impl From<Refusal> for ToolError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { code: refusal.code(), message: refusal.to_string(), help: refusal.help() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_becomes_a_code_and_its_words_are_not_repeated() {
        let place = Place { mount: "repo".parse().expect("a label"), path: Some("a/b".parse().expect("a path")) };
        let told = |error: io::Error| {
            let ToolError::Refused { code, message, .. } = Refusal::io(&place, &error).into() else {
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
            assert_eq!(told(errno.into()), code, "{errno}");
        }
        assert_eq!(told(io::Error::new(ErrorKind::PermissionDenied, "a path led out of /srv")), "outside_mount");
        assert_eq!(told(io::Error::other("/srv/x broke")), "file_unavailable");
    }
}
