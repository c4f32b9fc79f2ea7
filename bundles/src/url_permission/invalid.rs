//! Why a text is no permission: one case for each thing that can be wrong with it.

use std::fmt;

use crate::names::shown;
use crate::url_prefix::encoding_hint;

use super::words::Scheme;

/// Why a text is no [`UrlPermission`](super::UrlPermission).
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrlPermission {
    /// The scheme is none of [`Scheme`].
    #[error("`{}` is no scheme: `http`, `https`, `ws` or `wss`", shown(.text))]
    Scheme {
        /// What was written.
        text: String,
    },
    /// The method is none of [`Method`](super::Method).
    #[error("`{}` is no method: `DELETE`, `GET`, `HEAD`, `PATCH`, `POST` or `PUT`", shown(.text))]
    Method {
        /// What was written.
        text: String,
    },
    /// The host is neither name, pattern nor address.
    #[error("`{}` is no host: a name without a final dot, `*.` and a name, `*`, or an address without brackets", shown(.text))]
    Host {
        /// What was written.
        text: String,
    },
    /// The host is spelled in a way that only a parser reads.
    #[error("the host `{}` is written `{}`", shown(.text), shown(.normal))]
    HostSpelling {
        /// What was written.
        text: String,
        /// The normal spelling.
        normal: String,
    },
    /// `*.` stands before a name of one label.
    #[error("`*.{}` is too wide: at least two labels follow `*.`", shown(.parent))]
    WildcardTooWide {
        /// What follows `*.`.
        parent: String,
    },
    /// A pattern stands without the mark that goes with it.
    #[error("the host `{}` needs the mark `{mark}`", shown(.host))]
    Unmarked {
        /// The host.
        host: String,
        /// The mark, as JSON.
        mark: &'static str,
    },
    /// A mark stands where it says nothing.
    #[error("the mark `{mark}` says nothing about the host `{}`", shown(.host))]
    EmptyMark {
        /// The host.
        host: String,
        /// The mark, as JSON.
        mark: &'static str,
    },
    /// The port is 0.
    #[error("there is no port 0")]
    PortZero,
    /// The port is the one that the scheme means anyway.
    #[error("port {port} is what `{scheme}` means anyway and is left out")]
    DefaultPort {
        /// The scheme.
        scheme: Scheme,
        /// Its port.
        port: u16,
    },
    /// A permission for requests names no method.
    #[error("a permission for `{scheme}` names at least one method")]
    NoMethod {
        /// The scheme.
        scheme: Scheme,
    },
    /// A permission for WebSockets names methods.
    #[error("a permission for `{scheme}` has no methods")]
    WebsocketMethod {
        /// The scheme.
        scheme: Scheme,
    },
    /// No path prefix is named.
    #[error("a permission names at least one path prefix; `/` means every path")]
    NoPath,
    /// A path prefix is not what a URL would have as path.
    #[error("`{}` is no path prefix: `/` first, no `.` segment, encoded separator, `//`, `?` or `#`, in its normal spelling{}", shown(.text), encoding(.text))]
    Path {
        /// What was written.
        text: String,
    },
    /// A list is out of order or says something twice.
    #[error("`{list}` is sorted and names nothing twice")]
    Order {
        /// The list's field.
        list: &'static str,
    },
}

fn encoding(text: &str) -> String {
    encoding_hint(text).map(|hint| format!("; {hint}")).unwrap_or_default()
}

/// As it is displayed: the text may be a secret at the wrong place.
impl fmt::Debug for InvalidUrlPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvalidUrlPermission({}: {self})", self.code())
    }
}

impl InvalidUrlPermission {
    /// A stable word for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Scheme { .. } => "invalid_scheme",
            Self::Method { .. } => "invalid_method",
            Self::Host { .. } => "invalid_host",
            Self::HostSpelling { .. } => "host_not_normal",
            Self::WildcardTooWide { .. } => "wildcard_too_wide",
            Self::Unmarked { .. } => "mark_missing",
            Self::EmptyMark { .. } => "mark_without_meaning",
            Self::PortZero => "port_zero",
            Self::DefaultPort { .. } => "default_port_written",
            Self::NoMethod { .. } => "method_missing",
            Self::WebsocketMethod { .. } => "method_on_websocket",
            Self::NoPath => "path_missing",
            Self::Path { .. } => "invalid_path",
            Self::Order { .. } => "list_not_normal",
        }
    }
}
