//! Classes of IP addresses by what answers behind them. Pure.
//!
//! The ranges are those of the IANA registries of special-purpose addresses (RFC 6890 and its
//! successors). An IPv6 address that carries an IPv4 address is judged by the latter as well:
//! a translator or tunnel on the way delivers the packet there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use deia_model::AddressRange;
use ipnet::{Ipv4Net, Ipv6Net};

/// Verdict on a class of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A host of the public internet.
    Public,
    /// A host inside some network, reachable where the settings list the network.
    Inside,
    /// An address that no setting makes reachable.
    Never,
}

/// A class of addresses, with the name that messages use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressClass {
    /// Verdict on all addresses of the class.
    pub(crate) verdict: Verdict,
    /// Noun phrase for messages: "a loopback address".
    pub(crate) name: &'static str,
}

const PUBLIC: AddressClass = AddressClass {
    verdict: Verdict::Public,
    name: "a public address",
};

const fn inside(name: &'static str) -> AddressClass {
    AddressClass {
        verdict: Verdict::Inside,
        name,
    }
}

const fn never(name: &'static str) -> AddressClass {
    AddressClass {
        verdict: Verdict::Never,
        name,
    }
}

const LOOPBACK: AddressClass = inside("a loopback address");
const PRIVATE: AddressClass = inside("an address of a private network");
const DOCUMENTATION: AddressClass = inside("an address reserved for documentation");
const BENCHMARK: AddressClass = inside("an address reserved for benchmarks");
const RESERVED: AddressClass = inside("a reserved address");
const UNSPECIFIED: AddressClass = never("an unspecified address");
const LINK_LOCAL: AddressClass = never("a link-local address");
const MULTICAST: AddressClass = never("a multicast address");
const METADATA: AddressClass = never("the address of a cloud's metadata service");
const OPAQUE: AddressClass = never("an address that hides an IPv4 address");

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// IPv4 ranges that are not public; the first that has the address counts.
const IPV4: &[(Ipv4Net, AddressClass)] = &[
    (v4(168, 63, 129, 16, 32), METADATA),   // Azure WireServer
    (v4(100, 100, 100, 200, 32), METADATA), // Alibaba Cloud
    (v4(192, 0, 0, 192, 32), METADATA),     // Oracle Cloud
    (v4(169, 254, 0, 0, 16), LINK_LOCAL),
    (v4(0, 0, 0, 0, 8), UNSPECIFIED),
    (v4(10, 0, 0, 0, 8), PRIVATE),
    (v4(172, 16, 0, 0, 12), PRIVATE),
    (v4(192, 168, 0, 0, 16), PRIVATE),
    (v4(127, 0, 0, 0, 8), LOOPBACK),
    (
        v4(100, 64, 0, 0, 10),
        inside("an address behind a carrier's NAT"),
    ),
    (v4(192, 0, 0, 0, 24), RESERVED),
    (v4(192, 88, 99, 0, 24), RESERVED),
    (v4(192, 0, 2, 0, 24), DOCUMENTATION),
    (v4(198, 51, 100, 0, 24), DOCUMENTATION),
    (v4(203, 0, 113, 0, 24), DOCUMENTATION),
    (v4(198, 18, 0, 0, 15), BENCHMARK),
    (v4(224, 0, 0, 0, 4), MULTICAST),
    (v4(255, 255, 255, 255, 32), never("the broadcast address")),
    (v4(240, 0, 0, 0, 4), RESERVED),
];

/// IPv6 ranges that are not public; the first that has the address counts.
const IPV6: &[(Ipv6Net, AddressClass)] = &[
    (v6([0; 8], 128), UNSPECIFIED),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), LOOPBACK),
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32), METADATA), // AWS
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), METADATA), // Google Cloud
    (
        v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128),
        METADATA,
    ), // Oracle Cloud
    (v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128), METADATA), // Scaleway
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), LINK_LOCAL),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), MULTICAST),
    // Teredo (RFC 4380) and the local NAT64 prefix (RFC 8215), whose place for the IPv4
    // address is not known.
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), OPAQUE),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), OPAQUE),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), PRIVATE),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), PRIVATE),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), DOCUMENTATION),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), DOCUMENTATION),
    (v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48), BENCHMARK),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), RESERVED),
];

/// The part of IPv6 in which public addresses are assigned (RFC 4291, 2.4).
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);
/// Prefixes of 96 bits before an IPv4 address: mapped and compatible (RFC 4291, 2.5.5),
/// SIIT (RFC 2765), NAT64 (RFC 6052).
const BEFORE_IPV4: [Ipv6Net; 4] = [
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96),
    v6([0; 8], 96),
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96),
    NAT64,
];

/// Address that an IPv6 address stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Embedded {
    /// The IPv4 address alone decides.
    Instead(Ipv4Addr),
    /// Both addresses must be allowed: the prefix is that of some network.
    Besides(Ipv4Addr),
}

/// Returns the IPv4 address that packets for this address may be delivered to.
fn embedded(address: Ipv6Addr) -> Option<Embedded> {
    if address.is_unspecified() || address.is_loopback() {
        return None;
    }
    let bits = address.to_bits();
    // Truncation keeps the 32 bits that are meant.
    let v4 = |shift: u32| Ipv4Addr::from_bits((bits >> shift) as u32);
    if BEFORE_IPV4.iter().any(|prefix| prefix.contains(&address)) {
        return Some(Embedded::Instead(v4(0)));
    }
    if SIX_TO_FOUR.contains(&address) {
        return Some(Embedded::Instead(v4(80)));
    }
    // ISATAP (RFC 5214, 6.1): the interface identifier is 0000:5efe or 0200:5efe, then IPv4.
    let identifier = address.segments();
    let isatap = matches!(identifier[4], 0 | 0x200) && identifier[5] == 0x5efe;
    isatap.then(|| Embedded::Besides(v4(0)))
}

fn class_of_v4(address: Ipv4Addr) -> AddressClass {
    let listed = IPV4.iter().find(|(range, _)| range.contains(&address));
    listed.map_or(PUBLIC, |(_, class)| *class)
}

fn class_of_v6(address: Ipv6Addr) -> AddressClass {
    let listed = IPV6.iter().find(|(range, _)| range.contains(&address));
    match listed {
        Some((_, class)) => *class,
        None if GLOBAL_UNICAST.contains(&address) => PUBLIC,
        None => inside("an unassigned address"),
    }
}

/// Returns the addresses that decide about this one: itself, the IPv4 address that it carries,
/// or both.
fn deciding(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let carried = match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => embedded(v6),
    };
    let (own, other) = match carried {
        None => (Some(address), None),
        Some(Embedded::Instead(v4)) => (None, Some(v4.into())),
        Some(Embedded::Besides(v4)) => (Some(address), Some(v4.into())),
    };
    own.into_iter().chain(other)
}

/// Returns whether the address is reachable where these networks are allowed, and if not, the
/// class that forbids it.
///
/// # Errors
/// The first class that is not allowed, of the address or of one that it carries.
pub(crate) fn reach(address: IpAddr, allowed: &[AddressRange]) -> Result<(), AddressClass> {
    for address in deciding(address) {
        let class = match address {
            IpAddr::V4(v4) => class_of_v4(v4),
            IpAddr::V6(v6) => class_of_v6(v6),
        };
        let listed = || allowed.iter().any(|range| range.contains(address));
        match class.verdict {
            Verdict::Public => {}
            Verdict::Inside if listed() => {}
            Verdict::Inside | Verdict::Never => return Err(class),
        }
    }
    Ok(())
}

/// Returns true if the address is in one of these networks, as far as any setting can allow it.
pub(crate) fn is_listed(address: IpAddr, allowed: &[AddressRange]) -> bool {
    let in_one = |address| allowed.iter().any(|range| range.contains(address));
    reach(address, allowed).is_ok() && deciding(address).all(in_one)
}

#[cfg(test)]
mod tests;
