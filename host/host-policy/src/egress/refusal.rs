//! Why a request does not leave this host.
//!
//! A refusal names what is missing and where, in words that may be shown to the plugin and written
//! to logs: no user info, query or fragment of a URL and no value of a header gets into one.

use std::fmt;
use std::net::IpAddr;

use bundles::MAX_URL_BYTES;
use bundles::shown;
use bundles::{UrlPermission, WrittenUrlPermission};
use url::ParseError;

use super::address::AddressKind;
use super::header::{HeaderClass, MAX_HEADER_BYTES, MAX_HEADER_NAME_BYTES, MAX_HEADER_VALUE_BYTES, MAX_HEADERS};
use super::request::{EgressRequest, MAX_SUBPROTOCOLS};

/// Which of the two keys is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// What the plugin's manifest declares.
    Manifest,
    /// What this host grants.
    Grant,
    /// Both of them.
    Both,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manifest => "no target in the plugin's manifest",
            Self::Grant => "no grant of this host",
            Self::Both => "neither a target in the plugin's manifest nor a grant of this host",
        })
    }
}

impl Key {
    fn place(self) -> &'static str {
        match self {
            Self::Manifest => "the targets in the plugin's manifest",
            Self::Grant => "the grants of this host",
            Self::Both => "the targets in the plugin's manifest and to the grants of this host",
        }
    }
}

/// The parts of a request that permissions are compared by, in the order of comparing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The scheme.
    Scheme,
    /// The host.
    Host,
    /// The port.
    Port,
    /// The method.
    Method,
    /// The path.
    Path,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "scheme",
            Self::Host => "host",
            Self::Port => "port",
            Self::Method => "method",
            Self::Path => "path",
        })
    }
}

/// Why a request does not leave this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EgressRefusal {
    /// The URL is longer than any URL here.
    #[error("the URL is longer than {MAX_URL_BYTES} bytes")]
    UrlTooLong,
    /// The URL standard refuses it.
    #[error("the URL is malformed: {0}")]
    MalformedUrl(ParseError),
    /// Parsers do not agree on what the URL says.
    #[error("the URL can be read in more than one way: {why}")]
    AmbiguousUrl {
        /// What is odd about it.
        why: &'static str,
    },
    /// The URL holds a user name, a password or an empty place for them.
    #[error("the URL has user info before its host")]
    UserInfo,
    /// The scheme is not one of this kind of request.
    #[error("the scheme `{}` is not one for {kind}", shown(.scheme))]
    Scheme {
        /// The scheme.
        scheme: String,
        /// `requests` or `WebSockets`.
        kind: &'static str,
    },
    /// The host is a text that no name is.
    #[error("the URL's host is no name that can be looked up")]
    HostName,
    /// The port is 0.
    #[error("there is no port 0")]
    PortZero,
    /// There are more headers than a request has.
    #[error("the request has more than {MAX_HEADERS} headers")]
    TooManyHeaders,
    /// The headers are larger than a request's are.
    #[error("the request's headers have more than {MAX_HEADER_BYTES} bytes")]
    HeadersTooLarge,
    /// A header's name is longer than allowed.
    #[error("a header's name has more than {MAX_HEADER_NAME_BYTES} bytes")]
    HeaderNameTooLong,
    /// A header's value is longer than allowed.
    #[error("the value of the header `{}` has more than {MAX_HEADER_VALUE_BYTES} bytes", shown(.name))]
    HeaderValueTooLong {
        /// The name.
        name: String,
    },
    /// A header's name is no token.
    #[error("`{}` is no name of a header", shown(.name))]
    HeaderName {
        /// The name.
        name: String,
    },
    /// A header's value is not one line of printable ASCII.
    #[error("the value of the header `{}` is not one line of printable ASCII", shown(.name))]
    HeaderValue {
        /// The name.
        name: String,
    },
    /// A header is the host's to write.
    #[error("the header `{}` is not a plugin's to write: {class}", shown(.name))]
    HeaderClass {
        /// The name.
        name: String,
        /// Why.
        class: HeaderClass,
    },
    /// The list of subprotocols is no list of different tokens.
    #[error("subprotocols are at most {MAX_SUBPROTOCOLS} different tokens of at most 64 bytes")]
    Subprotocols,
    /// A key is missing.
    #[error("{key} covers `{asked}`{}", nearness(.nearest))]
    NotCovered {
        /// Which key.
        key: Key,
        /// Method, origin and path.
        asked: String,
        /// The part at which the nearest permission of that key fails, of the manifest's where both
        /// are missing; none where there is none.
        nearest: Option<Part>,
        /// The permission that would cover this request and no more, as JSON; none where no
        /// permission can or the path may hold what is not for everybody's eyes.
        line: Option<String>,
    },
    /// The name has no address.
    #[error("`{}` has no address", shown(.host))]
    NoAddress {
        /// The name.
        host: String,
    },
    /// The address is special, and a key does not say so.
    #[error("`{}` is at `{address}`, {kind}, and {key} says `local`", shown(.host))]
    SpecialAddress {
        /// Which key.
        key: Key,
        /// The host of the URL.
        host: String,
        /// The address.
        address: IpAddr,
        /// What it is.
        kind: AddressKind,
    },
    /// The name means this machine (RFC 6761), and the address does not.
    #[error("`{}` is at `{address}`, which is no loopback address", shown(.host))]
    NotLoopback {
        /// The host of the URL.
        host: String,
        /// The address.
        address: IpAddr,
    },
    /// The address is not that of one peer.
    #[error("`{}` is at `{address}`, {kind}, which is never dialled", shown(.host))]
    NeverDialled {
        /// The host of the URL.
        host: String,
        /// The address.
        address: IpAddr,
        /// What it is.
        kind: AddressKind,
    },
}

impl EgressRefusal {
    /// A stable word for the kind of refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UrlTooLong => "url_too_long",
            Self::MalformedUrl(_) => "malformed_url",
            Self::AmbiguousUrl { .. } => "ambiguous_url",
            Self::UserInfo => "user_info",
            Self::Scheme { .. } => "scheme_not_allowed",
            Self::HostName => "invalid_host",
            Self::PortZero => "port_zero",
            Self::TooManyHeaders => "too_many_headers",
            Self::HeadersTooLarge => "headers_too_large",
            Self::HeaderNameTooLong => "header_name_too_long",
            Self::HeaderValueTooLong { .. } => "header_value_too_long",
            Self::HeaderName { .. } => "invalid_header_name",
            Self::HeaderValue { .. } => "invalid_header_value",
            Self::HeaderClass { .. } => "header_not_allowed",
            Self::Subprotocols => "invalid_subprotocols",
            Self::NotCovered { key: Key::Manifest, .. } => "not_declared",
            Self::NotCovered { key: Key::Grant, .. } => "not_granted",
            Self::NotCovered { key: Key::Both, .. } => "not_declared_nor_granted",
            Self::NoAddress { .. } => "no_address",
            Self::SpecialAddress { key: Key::Manifest, .. } => "special_address_not_declared",
            Self::SpecialAddress { key: Key::Grant, .. } => "special_address_not_granted",
            Self::SpecialAddress { key: Key::Both, .. } => "special_address_not_declared_nor_granted",
            Self::NotLoopback { .. } => "localhost_not_loopback",
            Self::NeverDialled { .. } => "address_never_dialled",
        }
    }

    /// Whether the URL itself is at fault, whatever is declared and granted.
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

    /// What would allow the request, or how to ask for the same thing so that it may be allowed.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotCovered { key, line: Some(line), .. } => Some(format!("add `{line}` to {}", key.place())),
            Self::SpecialAddress { key, .. } => Some(format!(
                "if this address is meant: add `\"local\": true`, or the address itself as host, to {}",
                key.place()
            )),
            Self::NotLoopback { .. } => {
                Some("name the host that is meant, or its address, instead of `localhost`".to_owned())
            }
            Self::AmbiguousUrl { .. } | Self::HostName => Some("write the URL in its normal spelling".to_owned()),
            Self::UserInfo | Self::HeaderClass { class: HeaderClass::Credential, .. } => {
                Some("name a secret as the request's credential; the host adds it".to_owned())
            }
            _ => None,
        }
    }

    pub(super) fn not_covered(key: Key, nearest: Option<Part>, request: &EgressRequest) -> Self {
        Self::NotCovered { key, asked: request.summary(), nearest, line: line(request) }
    }
}

fn nearness(nearest: &Option<Part>) -> String {
    nearest.map_or_else(String::new, |part| format!("; the nearest is for another {part}"))
}

/// The permission that covers this request and no more.
fn line(request: &EgressRequest) -> Option<String> {
    // Some services put their tokens into paths.
    if request.url().path().split('/').any(|segment| shown(segment) != segment) {
        return None;
    }
    let written = WrittenUrlPermission {
        scheme: request.scheme().to_string(),
        host: request.host().to_string().trim_matches(['[', ']']).to_owned(),
        port: Some(request.port()),
        methods: request.method().map(|method| method.to_string()).into_iter().collect(),
        path_prefixes: vec![request.url().path().to_owned()],
        ..WrittenUrlPermission::default()
    };
    let permission = UrlPermission::try_from(written.normal()).ok()?;
    serde_json::to_string(&permission).ok()
}
