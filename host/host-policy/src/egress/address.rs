//! Classification of IP addresses as public or special.
//!
//! The tables follow the IANA registries of special-purpose addresses for IPv4 and IPv6 (RFC 6890
//! and its successors), and add multicast and the metadata addresses of clouds. Unallocated addresses
//! are special too. The parent module decides which kinds may be dialled.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Classification rules for addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    test_net_3_is_public: bool,
}

impl AddressPolicy {
    /// Returns the default policy with 203.0.113.0/24 (TEST-NET-3, RFC 5737) as public.
    ///
    /// The block is assigned to no host. Tests use it as a substitute for the internet.
    pub fn with_test_net_3() -> Self {
        Self { test_net_3_is_public: true }
    }

    /// Returns the kind of a special address; `None` for a public address.
    pub fn special_kind(&self, address: IpAddr) -> Option<AddressKind> {
        match address {
            IpAddr::V4(address) => self.special_v4(address),
            IpAddr::V6(address) => self.special_v6(address),
        }
    }

    fn special_v4(&self, address: Ipv4Addr) -> Option<AddressKind> {
        let kind = V4.iter().find(|(base, bits, _)| same_block(*base, address, *bits)).map(|(_, _, kind)| *kind);
        kind.filter(|_| !(self.test_net_3_is_public && same_block(TEST_NET_3, address, 24)))
    }

    fn special_v6(&self, address: Ipv6Addr) -> Option<AddressKind> {
        let (high, low) = (u128::from(address) >> 32, u128::from(address) as u32);
        if high == u128::from(NAT64) >> 32 {
            // A NAT64 translator forwards to the embedded IPv4 address, so that address is classified.
            return self.special_v4(Ipv4Addr::from(low));
        }
        let listed = V6.iter().find(|(base, bits, _)| {
            let rest = 128 - u32::from(*bits);
            u128::from(*base) >> rest == u128::from(address) >> rest
        });
        match listed {
            // The system, or a translator nearby, dials the embedded address. An embedded address that nothing but its own
            // word allows stays such an address.
            Some((_, _, AddressKind::Embedding)) => {
                let inner =
                    embedded(address).and_then(|inner| self.special_v4(inner)).filter(|kind| kind.needs_own_word());
                Some(inner.unwrap_or(AddressKind::Embedding))
            }
            Some((_, _, kind)) => Some(*kind),
            // 2000::/3 is the only block of IPv6 that is allocated as global unicast.
            None => (u128::from(address) >> 125 != 1).then_some(AddressKind::Reserved),
        }
    }
}

fn same_block(base: Ipv4Addr, address: Ipv4Addr, bits: u8) -> bool {
    let rest = 32 - u32::from(bits);
    u32::from(base) >> rest == u32::from(address) >> rest
}

/// Returns the IPv4 address in an address that embeds one: after the first 16 bits (6to4), or else in the last 32 bits. A
/// Teredo address has none: packets to it go to its client through a relay.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = u128::from(address);
    match (bits >> 112, bits >> 96) {
        (_, 0x2001_0000) => None,
        (0x2002, _) => Some(Ipv4Addr::from((bits >> 80) as u32)),
        _ => Some(Ipv4Addr::from(bits as u32)),
    }
}

impl AddressKind {
    /// `true` if `local` does not allow the address.
    fn needs_own_word(self) -> bool {
        matches!(self, Self::Metadata | Self::Unspecified | Self::Multicast | Self::Broadcast)
    }
}

/// The kind of a special address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressKind {
    /// The unspecified address: `0.0.0.0`, `::`.
    Unspecified,
    /// This machine.
    Loopback,
    /// A private network, including unique local and the former site-local addresses.
    Private,
    /// A shared address between a provider and its customers (RFC 6598).
    Shared,
    /// An address of the local link.
    LinkLocal,
    /// A metadata service of a cloud, which may return credentials of the machine.
    Metadata,
    /// An address for examples in documentation.
    Documentation,
    /// An address for benchmarks of network devices.
    Benchmarking,
    /// An address reserved for a protocol.
    Protocol,
    /// An address with an embedded IPv4 address: mapped, compatible, translated, 6to4, Teredo.
    Embedding,
    /// A group of hosts.
    Multicast,
    /// All hosts of the link.
    Broadcast,
    /// An unallocated or reserved address.
    Reserved,
}

impl fmt::Display for AddressKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "the unspecified address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::Shared => "a shared address of a provider",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "a cloud metadata address",
            Self::Documentation => "a documentation address",
            Self::Benchmarking => "a benchmarking address",
            Self::Protocol => "a protocol address",
            Self::Embedding => "an address with an embedded IPv4 address",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "the broadcast address",
            Self::Reserved => "a reserved address",
        })
    }
}

const TEST_NET_3: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 0);

/// The well-known 96-bit prefix of NAT64 translators (RFC 6052).
const NAT64: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

/// IPv4 blocks by base, prefix length and kind. The first block that contains an address decides.
const V4: &[(Ipv4Addr, u8, AddressKind)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 32, AddressKind::Unspecified),
    (Ipv4Addr::new(0, 0, 0, 0), 8, AddressKind::Protocol),
    (Ipv4Addr::new(10, 0, 0, 0), 8, AddressKind::Private),
    (Ipv4Addr::new(100, 100, 100, 200), 32, AddressKind::Metadata),
    (Ipv4Addr::new(100, 64, 0, 0), 10, AddressKind::Shared),
    (Ipv4Addr::new(127, 0, 0, 0), 8, AddressKind::Loopback),
    // The metadata address of Azure, within a public block.
    (Ipv4Addr::new(168, 63, 129, 16), 32, AddressKind::Metadata),
    (Ipv4Addr::new(169, 254, 0, 23), 32, AddressKind::Metadata),
    (Ipv4Addr::new(169, 254, 42, 42), 32, AddressKind::Metadata),
    (Ipv4Addr::new(169, 254, 169, 254), 32, AddressKind::Metadata),
    (Ipv4Addr::new(169, 254, 170, 2), 32, AddressKind::Metadata),
    (Ipv4Addr::new(169, 254, 170, 23), 32, AddressKind::Metadata),
    (Ipv4Addr::new(169, 254, 0, 0), 16, AddressKind::LinkLocal),
    (Ipv4Addr::new(172, 16, 0, 0), 12, AddressKind::Private),
    (Ipv4Addr::new(192, 0, 0, 192), 32, AddressKind::Metadata),
    (Ipv4Addr::new(192, 0, 0, 0), 24, AddressKind::Protocol),
    (Ipv4Addr::new(192, 0, 2, 0), 24, AddressKind::Documentation),
    (Ipv4Addr::new(192, 31, 196, 0), 24, AddressKind::Protocol),
    (Ipv4Addr::new(192, 52, 193, 0), 24, AddressKind::Protocol),
    (Ipv4Addr::new(192, 88, 99, 0), 24, AddressKind::Protocol),
    (Ipv4Addr::new(192, 168, 0, 0), 16, AddressKind::Private),
    (Ipv4Addr::new(192, 175, 48, 0), 24, AddressKind::Protocol),
    (Ipv4Addr::new(198, 18, 0, 0), 15, AddressKind::Benchmarking),
    (Ipv4Addr::new(198, 51, 100, 0), 24, AddressKind::Documentation),
    (TEST_NET_3, 24, AddressKind::Documentation),
    (Ipv4Addr::new(224, 0, 0, 0), 4, AddressKind::Multicast),
    (Ipv4Addr::new(255, 255, 255, 255), 32, AddressKind::Broadcast),
    (Ipv4Addr::new(240, 0, 0, 0), 4, AddressKind::Reserved),
];

const fn v6(one: u16, two: u16, three: u16, four: u16) -> Ipv6Addr {
    Ipv6Addr::new(one, two, three, four, 0, 0, 0, 0)
}

/// IPv6 blocks, like [`V4`].
const V6: &[(Ipv6Addr, u8, AddressKind)] = &[
    (Ipv6Addr::UNSPECIFIED, 128, AddressKind::Unspecified),
    (Ipv6Addr::LOCALHOST, 128, AddressKind::Loopback),
    (Ipv6Addr::UNSPECIFIED, 96, AddressKind::Embedding),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, AddressKind::Embedding),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, AddressKind::Embedding),
    (v6(0x64, 0xff9b, 1, 0), 48, AddressKind::Embedding),
    (v6(0x100, 0, 0, 0), 64, AddressKind::Protocol),
    (v6(0x100, 0, 0, 1), 64, AddressKind::Protocol),
    (v6(0x2001, 0, 0, 0), 32, AddressKind::Embedding),
    (v6(0x2001, 2, 0, 0), 48, AddressKind::Benchmarking),
    (v6(0x2001, 0, 0, 0), 23, AddressKind::Protocol),
    (v6(0x2001, 0xdb8, 0, 0), 32, AddressKind::Documentation),
    (v6(0x2002, 0, 0, 0), 16, AddressKind::Embedding),
    (v6(0x2620, 0x4f, 0x8000, 0), 48, AddressKind::Protocol),
    (v6(0x3fff, 0, 0, 0), 20, AddressKind::Documentation),
    (v6(0x5f00, 0, 0, 0), 16, AddressKind::Protocol),
    // Services of AWS on each machine, not only that of metadata.
    (v6(0xfd00, 0xec2, 0, 0), 32, AddressKind::Metadata),
    (Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42), 128, AddressKind::Metadata),
    (Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe), 128, AddressKind::Metadata),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, AddressKind::Metadata),
    (v6(0xfc00, 0, 0, 0), 7, AddressKind::Private),
    (v6(0xfe80, 0, 0, 0), 10, AddressKind::LinkLocal),
    (v6(0xfec0, 0, 0, 0), 10, AddressKind::Private),
    (v6(0xff00, 0, 0, 0), 8, AddressKind::Multicast),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn special(address: &str) -> Option<AddressKind> {
        AddressPolicy::default().special_kind(address.parse().expect("an address"))
    }

    #[test]
    fn embedded_address_keeps_the_kinds_that_local_does_not_allow() {
        for (address, kind) in [
            ("::ffff:169.254.169.254", AddressKind::Metadata),
            ("::ffff:0:169.254.169.254", AddressKind::Metadata),
            ("64:ff9b:1::169.254.169.254", AddressKind::Metadata),
            ("2002:a9fe:a9fe::1", AddressKind::Metadata),
            ("::ffff:0.0.0.0", AddressKind::Unspecified),
            ("::ffff:224.0.0.1", AddressKind::Multicast),
            ("::ffff:255.255.255.255", AddressKind::Broadcast),
            ("::ffff:127.0.0.1", AddressKind::Embedding),
            ("::ffff:10.0.0.1", AddressKind::Embedding),
            ("::ffff:8.8.8.8", AddressKind::Embedding),
            ("2002:808:808::1", AddressKind::Embedding),
            ("fd00:ec2::23", AddressKind::Metadata),
            ("fd00:ec3::23", AddressKind::Private),
        ] {
            assert_eq!(special(address), Some(kind), "{address}");
        }
    }

    #[test]
    fn ipv4_blocks_have_the_boundaries_of_the_registry() {
        use AddressKind::*;
        for (kind, first, last) in [
            (Protocol, "0.0.0.1", "0.255.255.255"),
            (Private, "10.0.0.0", "10.255.255.255"),
            (Shared, "100.64.0.0", "100.127.255.255"),
            (Loopback, "127.0.0.0", "127.255.255.255"),
            (LinkLocal, "169.254.0.0", "169.254.255.255"),
            (Private, "172.16.0.0", "172.31.255.255"),
            (Protocol, "192.0.0.0", "192.0.0.255"),
            (Documentation, "192.0.2.0", "192.0.2.255"),
            (Protocol, "192.31.196.0", "192.31.196.255"),
            (Protocol, "192.52.193.0", "192.52.193.255"),
            (Protocol, "192.88.99.0", "192.88.99.255"),
            (Private, "192.168.0.0", "192.168.255.255"),
            (Protocol, "192.175.48.0", "192.175.48.255"),
            (Benchmarking, "198.18.0.0", "198.19.255.255"),
            (Documentation, "198.51.100.0", "198.51.100.255"),
            (Documentation, "203.0.113.0", "203.0.113.255"),
            (Multicast, "224.0.0.0", "239.255.255.255"),
            (Reserved, "240.0.0.0", "255.255.255.254"),
        ] {
            assert_eq!((special(first), special(last)), (Some(kind), Some(kind)), "{first} {last}");
        }
        for public in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
        ] {
            assert_eq!(special(public), None, "{public}");
        }
        assert_eq!((special("0.0.0.0"), special("255.255.255.255")), (Some(Unspecified), Some(Broadcast)));
    }

    #[test]
    fn ipv6_blocks_have_the_boundaries_of_the_registry() {
        use AddressKind::*;
        for (kind, addresses) in [
            (Unspecified, vec!["::"]),
            (Loopback, vec!["::1"]),
            (
                Embedding,
                vec!["::2", "::127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b:1::1", "64:ff9b:1:ffff::1"],
            ),
            (Embedding, vec!["2001::1", "2001:0:ffff::", "2002:0:1::", "2002:808:808::1", "2002:fffe::"]),
            (
                Protocol,
                vec!["100::1", "100:0:0:1::1", "2001:1::1", "2001:20::1", "2001:1ff::", "2620:4f:8000::1", "5f00::1"],
            ),
            (Benchmarking, vec!["2001:2::1"]),
            (Documentation, vec!["2001:db8::1", "2001:db8:ffff::", "3fff::1", "3fff:fff::"]),
            (Private, vec!["fc00::", "fd00::1", "fdff::", "fec0::1", "feff::"]),
            (LinkLocal, vec!["fe80::1", "febf::1"]),
            (Multicast, vec!["ff00::", "ff02::1", "ffff::"]),
            (
                Reserved,
                vec![
                    "1::",
                    "64:ff9a::1",
                    "64:ff9b:2::1",
                    "100:0:0:2::",
                    "1fff::1",
                    "4000::1",
                    "5f01::",
                    "fbff::1",
                    "fe00::1",
                ],
            ),
        ] {
            for address in addresses {
                assert_eq!(special(address), Some(kind), "{address}");
            }
        }
        for public in [
            "2000::1",
            "2001:200::1",
            "2001:db7::1",
            "2001:db9::1",
            "2003::1",
            "2606:4700::1",
            "2620:4f:8001::1",
            "3ffe::1",
            "3fff:1000::1",
        ] {
            assert_eq!(special(public), None, "{public}");
        }
    }

    #[test]
    fn metadata_addresses_of_all_clouds_are_recognised() {
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd20:ce::254",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert_eq!(special(address), Some(AddressKind::Metadata), "{address}");
        }
        for neighbour in ["168.63.129.15", "168.63.129.17"] {
            assert_eq!(special(neighbour), None, "{neighbour}");
        }
    }

    #[test]
    fn nat64_address_has_the_kind_of_its_ipv4_address() {
        assert_eq!(special("64:ff9b::127.0.0.1"), Some(AddressKind::Loopback));
        assert_eq!(special("64:ff9b::10.0.0.1"), Some(AddressKind::Private));
        assert_eq!(special("64:ff9b::8.8.8.8"), None);
    }

    #[test]
    fn with_test_net_3_makes_only_test_net_3_public() {
        let policy = AddressPolicy::with_test_net_3();
        let special = |address: &str| policy.special_kind(address.parse().expect("an address"));
        assert_eq!(
            (special("203.0.113.0"), special("203.0.113.255"), special("64:ff9b::203.0.113.1")),
            (None, None, None)
        );
        for other in ["127.0.0.1", "192.0.2.1", "198.51.100.1", "::ffff:203.0.113.1", "2001:db8::1"] {
            assert!(special(other).is_some(), "{other}");
        }
    }
}
