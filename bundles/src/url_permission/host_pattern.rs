//! The host of a permission: a name, the names right below one, an address, or every host.
//!
//! Patterns are read by the same parser as URLs, so that both are compared as that parser spells
//! them. A list of public suffixes is not consulted: `*.co.uk` is a pattern like any other.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use url::Host;

use super::invalid::InvalidUrlPermission;

/// Which hosts a permission is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This name, in ASCII and lower case, without a final dot.
    Name(Box<str>),
    /// Names with exactly one label before this name, as in certificates.
    Subdomains(Box<str>),
    /// Every name and every address.
    Any,
    /// This address, as an address and not as what a name resolves to.
    Address(IpAddr),
}

impl HostPattern {
    /// Whether the host of a URL is meant.
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

    /// Whether it says by itself which addresses it means: it is one, or it is loopback by RFC 6761.
    pub(super) fn names_itself(&self) -> bool {
        matches!(self, Self::Address(_)) || self.names_loopback()
    }

    /// Whether it is `localhost` or a name below it.
    pub(super) fn names_loopback(&self) -> bool {
        match self {
            Self::Name(name) => is_loopback_name(name),
            Self::Subdomains(_) | Self::Any | Self::Address(_) => false,
        }
    }

    /// The pattern as it stands in a permission: addresses without brackets.
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

/// The WHATWG spelling. It differs from the standard library's for addresses that carry an IPv4 one.
fn normal_address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => Host::<&str>::Ipv6(address).to_string().trim_matches(['[', ']']).to_owned(),
    }
}

/// Returns `true` if the name is `localhost` or one below it, which is this machine (RFC 6761). The name is in lower
/// case.
pub fn is_loopback_name(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether a parsed name can be looked up: labels of 1 to 63 letters, digits, `-` and `_`, 253 bytes
/// in all. URL parsers take more than this: `*`, empty labels, a final dot.
pub fn is_host_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            matches!(label.len(), 1..=63)
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
        })
}
