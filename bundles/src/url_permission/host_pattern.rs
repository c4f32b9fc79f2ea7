//! Host of a URL permission: a name, the names directly below a name, an address, or any host.
//!
//! Patterns are parsed by the URL parser, so that both are compared in the same spelling. There is no list of public
//! suffixes: `*.co.uk` is an ordinary pattern.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use url::Host;

use super::invalid::InvalidUrlPermission;

/// Pattern of hosts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This name, in ASCII and lower case, without a final dot.
    Name(Box<str>),
    /// Names with exactly one label before this name, as in certificates.
    Subdomains(Box<str>),
    /// Every name and every address.
    Any,
    /// This address literal. A name that resolves to the address does not match.
    Address(IpAddr),
}

impl HostPattern {
    /// `true` if the pattern matches the host of a URL.
    pub fn covers(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Name(name), Host::Domain(asked)) => **name == **asked,
            (Self::Subdomains(parent), Host::Domain(asked)) => {
                asked.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == &**parent)
            }
            (Self::Address(IpAddr::V4(address)), Host::Ipv4(asked)) => address == asked,
            (Self::Address(IpAddr::V6(address)), Host::Ipv6(asked)) => address == asked,
            _ => false,
        }
    }

    /// `true` if the pattern covers every host that `other` covers.
    pub fn covers_pattern(&self, other: &Self) -> bool {
        match other {
            Self::Name(name) => self.covers(&Host::Domain(name)),
            Self::Address(IpAddr::V4(address)) => self.covers(&Host::Ipv4(*address)),
            Self::Address(IpAddr::V6(address)) => self.covers(&Host::Ipv6(*address)),
            Self::Subdomains(_) | Self::Any => self == other || *self == Self::Any,
        }
    }

    /// `true` if the pattern determines its addresses: it is an address, or a loopback name by RFC 6761.
    pub(super) fn names_itself(&self) -> bool {
        matches!(self, Self::Address(_)) || self.names_loopback()
    }

    /// `true` if the pattern is `localhost` or a name below it.
    pub(super) fn names_loopback(&self) -> bool {
        match self {
            Self::Name(name) => is_loopback_name(name),
            Self::Subdomains(_) | Self::Any | Self::Address(_) => false,
        }
    }

    /// Returns the pattern as written in a permission. Addresses have no brackets.
    pub(super) fn written(&self) -> String {
        match self {
            Self::Name(name) => name.to_string(),
            Self::Subdomains(parent) => format!("*.{parent}"),
            Self::Any => "*".to_owned(),
            Self::Address(address) => normal_address(*address),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address @ IpAddr::V6(_)) => write!(f, "[{}]", normal_address(*address)),
            _ => f.write_str(&self.written()),
        }
    }
}

impl FromStr for HostPattern {
    type Err = InvalidUrlPermission;

    fn from_str(text: &str) -> Result<Self, InvalidUrlPermission> {
        let invalid = || InvalidUrlPermission::Host { text: text.to_owned() };
        if text == "*" {
            return Ok(HostPattern::Any);
        }
        let pattern = match text.strip_prefix("*.") {
            Some(parent) => match Host::parse(parent).map_err(|_| invalid())? {
                Host::Domain(name) if is_host_name(&name) && !name.contains('.') => {
                    return Err(InvalidUrlPermission::WildcardTooWide { parent: parent.to_owned() });
                }
                Host::Domain(name) if is_host_name(&name) => HostPattern::Subdomains(name.into()),
                _ => return Err(invalid()),
            },
            None => {
                match text.parse::<Ipv6Addr>().map(Host::Ipv6).or_else(|_| Host::parse(text)).map_err(|_| invalid())? {
                    Host::Domain(name) if is_host_name(&name) => HostPattern::Name(name.into()),
                    Host::Domain(_) => return Err(invalid()),
                    Host::Ipv4(address) => HostPattern::Address(address.into()),
                    Host::Ipv6(address) => HostPattern::Address(address.into()),
                }
            }
        };
        let normal = pattern.written();
        if normal == text {
            Ok(pattern)
        } else {
            Err(InvalidUrlPermission::HostSpelling { text: text.to_owned(), normal })
        }
    }
}

/// Returns the WHATWG spelling. It differs from the standard library's for IPv6 addresses that contain an IPv4 address.
fn normal_address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => Host::<&str>::Ipv6(address).to_string().trim_matches(['[', ']']).to_owned(),
    }
}

/// `true` if the name is `localhost` or below it, which is this machine (RFC 6761). The name must be in lower case.
pub fn is_loopback_name(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// `true` if a parsed name can be resolved: labels of 1 to 63 letters, digits, `-` and `_`, 253 bytes in total. URL
/// parsers also accept `*`, empty labels and a final dot.
pub fn is_host_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            matches!(label.len(), 1..=63)
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
        })
}
