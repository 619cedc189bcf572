//! Ranges of IP addresses, as used in allow-lists.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// An IP address, or a range of addresses with a common prefix (CIDR, RFC 4632 and RFC
/// 4291). IPv4 addresses mapped into IPv6 (`::ffff:192.0.2.1`) are treated as IPv4.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressRange(IpNet);

/// Reason why a text is not a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressRangeError {
    /// The text is neither an address nor a CIDR range.
    #[error(
        "expected an address such as 192.0.2.7 or a range such as 192.0.2.0/24 or 2001:db8::/32"
    )]
    Malformed,
    /// The address has bits beyond the prefix: another range may be meant.
    #[error("the address has bits beyond the prefix; the range is {0}")]
    BitsBeyond(AddressRange),
}

impl AddressRange {
    /// Returns the range that the address is in, of that many leading bits; the address
    /// alone when it has fewer.
    pub fn of(address: IpAddr, prefix: u8) -> Self {
        let range = IpNet::new(address, prefix).unwrap_or_else(|_| address.into());
        Self(range.trunc())
    }

    /// Returns the addresses that count as one caller: who has one IPv6 address usually has
    /// all of its /64.
    pub fn of_caller(address: IpAddr) -> Self {
        match address.to_canonical() {
            v4 @ IpAddr::V4(_) => Self::of(v4, 32),
            v6 @ IpAddr::V6(_) => Self::of(v6, 64),
        }
    }

    /// Returns whether the address is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Returns whether all addresses of the other range are in this one.
    pub fn covers(&self, other: &Self) -> bool {
        self.0.contains(&other.0)
    }
}

impl FromStr for AddressRange {
    type Err = AddressRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || AddressRangeError::Malformed;
        // Not read by the crate: it takes 010.0.0.1 and /08, which others read as octal.
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, digits)) => {
                let plain = (1..=3).contains(&digits.len())
                    && digits.bytes().all(|b| b.is_ascii_digit())
                    && (digits == "0" || !digits.starts_with('0'));
                let prefix = plain.then(|| digits.parse::<u8>().ok()).flatten();
                (address, Some(prefix.ok_or_else(malformed)?))
            }
        };
        let given: IpAddr = address.parse().map_err(|_| malformed())?;
        let prefix = prefix.unwrap_or(IpNet::from(given).prefix_len());
        let range = IpNet::new(given, prefix).map_err(|_| malformed())?;
        // ::ffff:0:0/96 is all of IPv4; what is shorter is IPv6.
        let (given, range) = match given.to_canonical() {
            v4 @ IpAddr::V4(_) if given.is_ipv6() && prefix >= 96 => {
                (v4, Self::of(v4, prefix - 96))
            }
            _ => (given, Self(range.trunc())),
        };
        match range.0.addr() == given {
            true => Ok(range),
            false => Err(AddressRangeError::BitsBeyond(range)),
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.prefix_len() == self.0.max_prefix_len() {
            true => write!(f, "{}", self.0.addr()),
            false => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for AddressRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AddressRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_range_reads_back_and_has_its_address(bits: u128, v6: bool, prefix in 0_u8..=128) {
            let address: IpAddr = match v6 {
                true => Ipv6Addr::from_bits(bits).into(),
                false => Ipv4Addr::from_bits(bits as u32).into(),
            };
            let address = address.to_canonical();
            let range = AddressRange::of(address, prefix);
            prop_assert!(range.contains(address));
            prop_assert_eq!(range.to_string().parse(), Ok(range));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,50}|[0-9a-f:./]{0,50}") {
            let _ = text.parse::<AddressRange>();
        }
    }

    #[test]
    fn ranges_are_read_and_written() {
        for (text, expected) in [
            ("192.0.2.7", Ok("192.0.2.7")),
            ("192.0.2.7/32", Ok("192.0.2.7")),
            ("10.0.0.0/8", Ok("10.0.0.0/8")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("2001:DB8::/32", Ok("2001:db8::/32")),
            ("::/0", Ok("::/0")),
            ("::1", Ok("::1")),
            ("::ffff:192.0.2.7", Ok("192.0.2.7")),
            ("::ffff:10.0.0.0/104", Ok("10.0.0.0/8")),
            ("::ffff:0:0/96", Ok("0.0.0.0/0")),
            ("10.0.0.1/8", Err("the range is 10.0.0.0/8")),
            ("2001:db8::1/32", Err("the range is 2001:db8::/32")),
            ("", Err("expected")),
            ("10.0.0.0/33", Err("expected")),
            ("::/129", Err("expected")),
            ("10.0.0/8", Err("expected")),
            ("10.0.0.0/08", Err("expected")),
            ("10.0.0.0/+8", Err("expected")),
            ("10.0.0.0/", Err("expected")),
            ("010.0.0.1", Err("expected")),
            ("example.org", Err("expected")),
            ("fe80::1%eth0", Err("expected")),
        ] {
            let read = text.parse::<AddressRange>();
            match (read, expected) {
                (Ok(range), Ok(shown)) => assert_eq!(range.to_string(), shown, "{text}"),
                (Err(error), Err(told)) => assert!(error.to_string().contains(told), "{text}"),
                (read, _) => panic!("{text}: {read:?}"),
            }
        }
    }

    #[test]
    fn ranges_contain_their_addresses() {
        for (range, address, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("::ffff:127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "203.0.113.9", false),
            ("::/0", "::ffff:203.0.113.9", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::1", "127.0.0.1", false),
        ] {
            let range: AddressRange = range.parse().unwrap();
            let address = address.parse().unwrap();
            assert_eq!(range.contains(address), expected, "{range} {address}");
        }
    }

    #[test]
    fn callers_of_one_network_are_one() {
        let of = |text: &str| AddressRange::of_caller(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_eq!(of("2001:db8::1").to_string(), "2001:db8::/64");
        assert_eq!(of("192.0.2.1").to_string(), "192.0.2.1");
    }

    #[test]
    fn ranges_cover_ranges() {
        for (range, other, expected) in [
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.0.0.0/8", "10.0.0.0/8", true),
            ("10.1.0.0/16", "10.0.0.0/8", false),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("::/0", "10.0.0.1", false),
            ("2001:db8::/32", "2001:db8:1::/48", true),
        ] {
            let read = |text: &str| text.parse::<AddressRange>().unwrap();
            assert_eq!(
                read(range).covers(&read(other)),
                expected,
                "{range} {other}"
            );
        }
    }
}
