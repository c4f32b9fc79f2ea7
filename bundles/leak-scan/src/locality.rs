//! Classification of hosts by the spelling of their name or address. Nothing is resolved.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Location of a host according to its spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locality {
    /// A loopback, private, link-local, shared or unspecified address.
    PrivateAddress,
    /// A name that only a host or a local network resolves.
    LocalName,
    /// One label: a name on a local network, or a word.
    SingleLabel,
    /// Anything else: a public host, or not a host at all.
    Elsewhere,
}

impl Locality {
    /// Classifies the host of an authority. IPv6 is in brackets.
    pub(crate) fn of(host: &[u8]) -> Self {
        let Ok(host) = std::str::from_utf8(host) else { return Self::Elsewhere };
        if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            let address = inner.split('%').next().unwrap_or(inner);
            return match address.parse::<Ipv6Addr>() {
                Ok(address) if is_private_v6(address) => Self::PrivateAddress,
                _ => Self::Elsewhere,
            };
        }
        if let Some(address) = loose_v4(host) {
            return if is_private_v4(address) { Self::PrivateAddress } else { Self::Elsewhere };
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        const SUFFIXES: &[&str] = &[
            ".localhost",
            ".localdomain",
            ".local",
            ".internal",
            ".lan",
            ".home.arpa",
            ".intranet",
            ".home",
            ".corp",
            ".svc",
            ".cluster.local",
            ".private",
        ];
        if name == "localhost"
            || name == "ip6-localhost"
            || name == "ip6-loopback"
            || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        {
            return Self::LocalName;
        }
        let is_label = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if !name.is_empty() && is_label && name.bytes().any(|byte| byte.is_ascii_alphabetic()) {
            Self::SingleLabel
        } else {
            Self::Elsewhere
        }
    }
}

/// Parses IPv4 as resolvers do: one to four parts, each decimal, octal or hexadecimal.
fn loose_v4(host: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = host.trim_end_matches('.').split('.').take(5).collect();
    let numbers: Vec<u32> = parts.iter().map(|part| number(part)).collect::<Option<_>>()?;
    let (last, leading) = numbers.split_last()?;
    if leading.len() > 3 || leading.iter().any(|&number| number > 255) {
        return None;
    }
    let high = leading.iter().zip([24_u32, 16, 8]).fold(0_u32, |sum, (&number, shift)| sum | number << shift);
    // The last part fills the remaining bytes.
    let room = 8 * (4 - leading.len() as u32);
    (room == 32 || *last < 1 << room).then(|| Ipv4Addr::from(high | last))
}

fn number(part: &str) -> Option<u32> {
    if let Some(hex) = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
        return u32::from_str_radix(hex, 16).ok();
    }
    match part.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u32::from_str_radix(octal, 8).ok(),
        _ if part.bytes().all(|byte| byte.is_ascii_digit()) => part.parse().ok(),
        _ => None,
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let shared = matches!(address.octets(), [100, second, ..] if second & 0xc0 == 64);
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.octets().first() == Some(&0)
        || shared
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    address.is_loopback()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || address.to_ipv4().is_some_and(is_private_v4)
}
