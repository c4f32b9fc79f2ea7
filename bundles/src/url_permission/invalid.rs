//! Error for invalid URL permissions, with one variant for each possible fault.

use std::fmt;

use error_code::Code;

use crate::names::shown;
use crate::url_prefix::encoding_hint;

use super::MAX_SUBPROTOCOLS;
use super::words::Scheme;

/// Error returned when a text is not a valid [`UrlPermission`](super::UrlPermission).
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrlPermission {
    /// The scheme is not one of [`Scheme`].
    #[error("invalid scheme `{}`: expected `http`, `https`, `ws` or `wss`", shown(.text))]
    Scheme {
        /// Written text.
        text: String,
    },
    /// The method is not one of [`Method`](super::Method).
    #[error("invalid method `{}`: expected `DELETE`, `GET`, `HEAD`, `PATCH`, `POST` or `PUT`", shown(.text))]
    Method {
        /// Written text.
        text: String,
    },
    /// The host is not a name, a pattern or an address.
    #[error("invalid host `{}`: expected a name without a final dot, `*.` and a name, `*`, or an address without brackets", shown(.text))]
    Host {
        /// Written text.
        text: String,
    },
    /// The host is not in its normal spelling.
    #[error("host `{}` is not in normal form: expected `{}`", shown(.text), shown(.normal))]
    HostSpelling {
        /// Written text.
        text: String,
        /// Normal spelling.
        normal: String,
    },
    /// `*.` is followed by a name of one label.
    #[error("invalid host `*.{}`: expected at least two labels after `*.`", shown(.parent))]
    WildcardTooWide {
        /// Text after `*.`.
        parent: String,
    },
    /// A host pattern lacks its mark.
    #[error("host `{}` requires the mark `{mark}`", shown(.host))]
    Unmarked {
        /// Host.
        host: String,
        /// Mark, as JSON.
        mark: &'static str,
    },
    /// A mark has no effect on this host.
    #[error("mark `{mark}` has no effect on host `{}`", shown(.host))]
    EmptyMark {
        /// Host.
        host: String,
        /// Mark, as JSON.
        mark: &'static str,
    },
    /// The port is 0.
    #[error("invalid port 0")]
    PortZero,
    /// The port is the scheme's default and must be left out.
    #[error("port {port} is the default of `{scheme}` and must be left out")]
    DefaultPort {
        /// Scheme.
        scheme: Scheme,
        /// Default port of the scheme.
        port: u16,
    },
    /// A permission for requests has no method.
    #[error("permission for `{scheme}` requires at least one method")]
    NoMethod {
        /// Scheme.
        scheme: Scheme,
    },
    /// A permission for WebSockets has methods.
    #[error("permission for `{scheme}` must not have methods")]
    WebsocketMethod {
        /// Scheme.
        scheme: Scheme,
    },
    /// There is no path prefix.
    #[error("permission requires at least one path prefix; `/` covers every path")]
    NoPath,
    /// A path prefix is not a path in its normal spelling.
    #[error("invalid path prefix `{}`: expected `/` first, no `.` segment, encoded separator, `//`, `?` or `#`, in normal spelling{}", shown(.text), encoding(.text))]
    Path {
        /// Written text.
        text: String,
    },
    /// A permission for requests has subprotocols.
    #[error("permission for `{scheme}` must not have subprotocols")]
    RequestSubprotocol {
        /// Scheme.
        scheme: Scheme,
    },
    /// The subprotocols are too many, too long or not tokens.
    #[error("invalid subprotocols: expected at most {MAX_SUBPROTOCOLS} tokens of at most 64 bytes")]
    Subprotocols,
    /// A list is not sorted or has duplicates.
    #[error("`{list}` must be sorted and without duplicates")]
    Order {
        /// Field of the list.
        list: &'static str,
    },
}

fn encoding(text: &str) -> String {
    encoding_hint(text).map(|hint| format!("; {hint}")).unwrap_or_default()
}

/// Like `Display`, because the text may be a misplaced secret.
impl fmt::Debug for InvalidUrlPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvalidUrlPermission({}: {self})", self.code())
    }
}

impl InvalidUrlPermission {
    /// Returns the stable error code.
    pub fn code(&self) -> Code {
        match self {
            Self::Scheme { .. } => Code::InvalidScheme,
            Self::Method { .. } => Code::InvalidMethod,
            Self::Host { .. } => Code::InvalidHost,
            Self::HostSpelling { .. } => Code::HostNotNormal,
            Self::WildcardTooWide { .. } => Code::WildcardTooWide,
            Self::Unmarked { .. } => Code::MarkMissing,
            Self::EmptyMark { .. } => Code::MarkWithoutMeaning,
            Self::PortZero => Code::PortZero,
            Self::DefaultPort { .. } => Code::DefaultPortWritten,
            Self::NoMethod { .. } => Code::MethodMissing,
            Self::WebsocketMethod { .. } => Code::MethodOnWebsocket,
            Self::NoPath => Code::PathMissing,
            Self::Path { .. } => Code::InvalidPath,
            Self::RequestSubprotocol { .. } => Code::SubprotocolOnRequest,
            Self::Subprotocols => Code::InvalidSubprotocol,
            Self::Order { .. } => Code::ListNotNormal,
        }
    }
}
