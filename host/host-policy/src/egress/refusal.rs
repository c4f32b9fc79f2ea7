//! Refusals of requests.
//!
//! A refusal names the missing permission and its place. Its text may be shown to the plugin and written
//! to logs: it contains no user info, query or fragment of a URL and no header value.

use std::fmt;
use std::net::IpAddr;

use bundles::{MAX_SUBPROTOCOLS, MAX_URL_BYTES, UrlPermission, WrittenUrlPermission, is_loopback_name, shown};
use error_code::Code;
use url::ParseError;

use super::address::AddressKind;
use super::header::{HeaderClass, MAX_HEADER_BYTES, MAX_HEADER_NAME_BYTES, MAX_HEADER_VALUE_BYTES, MAX_HEADERS};
use super::request::{EgressRequest, RequestKind};

/// The missing one of the two permissions that a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MissingPermission {
    /// A target declared in the plugin's manifest.
    Target,
    /// A grant of this host.
    Grant,
    /// Both the target and the grant.
    Both,
}

impl fmt::Display for MissingPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Target => "no target in the plugin's manifest",
            Self::Grant => "no grant of this host",
            Self::Both => "neither a target in the plugin's manifest nor a grant of this host",
        })
    }
}

impl MissingPermission {
    /// Returns the place where the permission would be added.
    fn place(self) -> &'static str {
        match self {
            Self::Target => "the targets in the plugin's manifest",
            Self::Grant => "the grants of this host",
            Self::Both => "the targets in the plugin's manifest and to the grants of this host",
        }
    }
}

/// A part of a request that permissions cover, in the order of comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestPart {
    /// The scheme.
    Scheme,
    /// The host.
    Host,
    /// The port.
    Port,
    /// The path.
    Path,
    /// The method.
    Method,
    /// A subprotocol of a WebSocket.
    Subprotocol,
}

impl fmt::Display for RequestPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "scheme",
            Self::Host => "host",
            Self::Port => "port",
            Self::Path => "path",
            Self::Method => "method",
            Self::Subprotocol => "subprotocol",
        })
    }
}

/// Error returned for a request that this host does not send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EgressRefusal {
    /// The URL is longer than [`MAX_URL_BYTES`].
    #[error("the URL is longer than {MAX_URL_BYTES} bytes")]
    UrlTooLong,
    /// The URL is invalid by the URL standard.
    #[error("malformed URL: {0}")]
    MalformedUrl(ParseError),
    /// URL parsers interpret the text in different ways.
    #[error("ambiguous URL: {reason}")]
    AmbiguousUrl {
        /// The ambiguous part.
        reason: &'static str,
    },
    /// The URL contains a user name, a password or an empty user info before `@`.
    #[error("the URL has user info before its host")]
    UserInfo,
    /// The scheme does not fit the kind of request.
    #[error("scheme `{}` is not allowed for {kind}", shown(.scheme))]
    Scheme {
        /// The scheme.
        scheme: String,
        /// `requests` or `WebSockets`.
        kind: &'static str,
    },
    /// The host is not a valid host name.
    #[error("invalid host name in the URL")]
    HostName,
    /// The port is 0.
    #[error("invalid port 0 in the URL")]
    PortZero,
    /// The request has more than [`MAX_HEADERS`] headers.
    #[error("the request has more than {MAX_HEADERS} headers")]
    TooManyHeaders,
    /// The headers together exceed [`MAX_HEADER_BYTES`].
    #[error("the request headers have more than {MAX_HEADER_BYTES} bytes")]
    HeadersTooLarge,
    /// A header name exceeds [`MAX_HEADER_NAME_BYTES`].
    #[error("a header name has more than {MAX_HEADER_NAME_BYTES} bytes")]
    HeaderNameTooLong,
    /// A header value exceeds [`MAX_HEADER_VALUE_BYTES`].
    #[error("the value of header `{}` has more than {MAX_HEADER_VALUE_BYTES} bytes", shown(.name))]
    HeaderValueTooLong {
        /// The name.
        name: String,
    },
    /// A header name is not a `token` of RFC 9110.
    #[error("invalid header name `{}`", shown(.name))]
    HeaderName {
        /// The name.
        name: String,
    },
    /// A header value is not one line of printable ASCII.
    #[error("invalid value of header `{}`: expected one line of printable ASCII", shown(.name))]
    HeaderValue {
        /// The name.
        name: String,
    },
    /// Only the host may write this header.
    #[error("header `{}` is not allowed for plugins: {class}", shown(.name))]
    HeaderClass {
        /// The name.
        name: String,
        /// The reason.
        class: HeaderClass,
    },
    /// The subprotocols are too many, too long, repeated or not tokens.
    #[error("invalid subprotocols: expected at most {MAX_SUBPROTOCOLS} different tokens of at most 64 bytes")]
    Subprotocols,
    /// A permission is missing.
    #[error("{missing} covers `{request}`{}", nearness(.nearest))]
    NotCovered {
        /// The missing permission.
        missing: MissingPermission,
        /// Method, origin and path of the request.
        request: String,
        /// The mismatch of the nearest permission; of the nearest target if both permissions are missing.
        /// `None` if there is no permission at all.
        nearest: Option<RequestPart>,
        /// The permission that would cover exactly this request, as JSON. `None` if no permission can, or if
        /// the path may contain a secret.
        line: Option<String>,
    },
    /// The name resolved to no address.
    #[error("no address found for `{}`", shown(.host))]
    NoAddress {
        /// The name.
        host: String,
    },
    /// The address is special, and a permission does not allow it.
    #[error("{}, {kind}, and {missing} {}", found(.host, *.address), lack(.host, *.address, *.kind))]
    SpecialAddress {
        /// The permission without the mark.
        missing: MissingPermission,
        /// The host of the URL.
        host: String,
        /// The address.
        address: IpAddr,
        /// The kind of the address.
        kind: AddressKind,
    },
    /// The name is `localhost` or below it (RFC 6761), and the address is not loopback.
    #[error("{}, which is not a loopback address", found(.host, *.address))]
    NotLoopback {
        /// The host of the URL.
        host: String,
        /// The address.
        address: IpAddr,
    },
    /// The address does not identify a single peer.
    #[error("{}, {kind}, which is never dialled", found(.host, *.address))]
    NeverDialled {
        /// The host of the URL.
        host: String,
        /// The address.
        address: IpAddr,
        /// The kind of the address.
        kind: AddressKind,
    },
}

impl EgressRefusal {
    /// Returns the stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::UrlTooLong => Code::UrlTooLong,
            Self::MalformedUrl(_) => Code::MalformedUrl,
            Self::AmbiguousUrl { .. } => Code::AmbiguousUrl,
            Self::UserInfo => Code::UserInfo,
            Self::Scheme { .. } => Code::SchemeNotAllowed,
            Self::HostName => Code::InvalidHost,
            Self::PortZero => Code::PortZero,
            Self::TooManyHeaders => Code::TooManyHeaders,
            Self::HeadersTooLarge => Code::HeadersTooLarge,
            Self::HeaderNameTooLong => Code::HeaderNameTooLong,
            Self::HeaderValueTooLong { .. } => Code::HeaderValueTooLong,
            Self::HeaderName { .. } => Code::InvalidHeaderName,
            Self::HeaderValue { .. } => Code::InvalidHeaderValue,
            Self::HeaderClass { .. } => Code::HeaderNotAllowed,
            Self::Subprotocols => Code::InvalidSubprotocols,
            Self::NotCovered { missing: MissingPermission::Target, .. } => Code::NotDeclared,
            Self::NotCovered { missing: MissingPermission::Grant, .. } => Code::NotGranted,
            Self::NotCovered { missing: MissingPermission::Both, .. } => Code::NotDeclaredNorGranted,
            Self::NoAddress { .. } => Code::NoAddress,
            Self::SpecialAddress { missing: MissingPermission::Target, .. } => Code::SpecialAddressNotDeclared,
            Self::SpecialAddress { missing: MissingPermission::Grant, .. } => Code::SpecialAddressNotGranted,
            Self::SpecialAddress { missing: MissingPermission::Both, .. } => Code::SpecialAddressNotDeclaredNorGranted,
            Self::NotLoopback { .. } => Code::LocalhostNotLoopback,
            Self::NeverDialled { .. } => Code::AddressNeverDialled,
        }
    }

    /// `true` if the URL itself is invalid, independently of any permission.
    pub fn is_invalid_url(&self) -> bool {
        matches!(
            self,
            Self::UrlTooLong
                | Self::MalformedUrl(_)
                | Self::AmbiguousUrl { .. }
                | Self::UserInfo
                | Self::HostName
                | Self::PortZero
        )
    }

    /// Returns a help line: a change that would allow the request, or another form of the request.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotCovered { missing, line: Some(line), .. } => Some(format!("add `{line}` to {}", missing.place())),
            Self::SpecialAddress { missing, kind: AddressKind::Metadata, .. } => Some(format!(
                "if the plugin may read credentials of this machine, add `\"metadata\": true` to {}",
                missing.place()
            )),
            Self::SpecialAddress { missing, .. } => Some(format!(
                "if the request is meant for this address, add `\"local\": true` or the address as host to {}",
                missing.place()
            )),
            Self::NotLoopback { .. } => {
                Some("use the name or the address of the intended host instead of `localhost`".to_owned())
            }
            Self::AmbiguousUrl { .. } | Self::HostName => Some("write the URL in its normalised form".to_owned()),
            Self::UserInfo | Self::HeaderClass { class: HeaderClass::Credential, .. } => {
                Some("set a secret as the credential of the request; the host adds its value".to_owned())
            }
            _ => None,
        }
    }

    pub(super) fn not_covered(
        missing: MissingPermission,
        nearest: Option<RequestPart>,
        request: &EgressRequest,
    ) -> Self {
        Self::NotCovered { missing, request: request.summary(), nearest, line: permission_line(request) }
    }
}

/// `true` if the host of the URL is the address itself.
fn is_literal(host: &str, address: IpAddr) -> bool {
    host.trim_matches(['[', ']']).parse() == Ok(address)
}

/// Returns the beginning of a sentence about an address.
fn found(host: &str, address: IpAddr) -> String {
    match is_literal(host, address) {
        true => format!("the host is `{address}`"),
        // The scanner for leaks takes this name for that of a machine.
        false if is_loopback_name(host) => format!("`{host}` resolves to `{address}`"),
        false => format!("`{}` resolves to `{address}`", shown(host)),
    }
}

/// Returns what a permission lacks for a special address.
fn lack(host: &str, address: IpAddr, kind: AddressKind) -> &'static str {
    match kind {
        AddressKind::Metadata => "has `metadata`",
        _ if is_literal(host, address) => "names it",
        _ => "has `local`",
    }
}

fn nearness(nearest: &Option<RequestPart>) -> String {
    nearest.map_or_else(String::new, |part| format!("; the nearest one is for another {part}"))
}

/// Returns the permission that covers exactly this request, as JSON.
fn permission_line(request: &EgressRequest) -> Option<String> {
    let permission = UrlPermission::try_from(smallest_permission(request)?.normal()).ok()?;
    serde_json::to_string(&permission).ok()
}

/// Returns the permission that covers exactly this request, or `None` if its path could contain a secret.
pub(super) fn smallest_permission(request: &EgressRequest) -> Option<WrittenUrlPermission> {
    // Some services have tokens in their paths.
    if request.url().path().split('/').any(|segment| shown(segment) != segment) {
        return None;
    }
    Some(WrittenUrlPermission {
        scheme: request.scheme().to_string(),
        host: request.host().to_string().trim_matches(['[', ']']).to_owned(),
        port: Some(request.port()),
        methods: request.method().map(|method| method.to_string()).into_iter().collect(),
        path_prefixes: vec![request.url().path().to_owned()],
        subprotocols: match request.kind() {
            RequestKind::Websocket { subprotocols } => subprotocols.clone(),
            RequestKind::Request { .. } => Vec::new(),
        },
        ..WrittenUrlPermission::default()
    })
}
