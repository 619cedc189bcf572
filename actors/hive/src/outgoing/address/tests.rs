use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Returns a list of the file of known answers, which is copied from the design.
fn vectors(list: &str) -> Vec<IpAddr> {
    let text = include_str!("../../../../../tests/vectors/ssrf.json");
    let all: Value = serde_json::from_str(text).unwrap();
    let list = all[list].as_array().unwrap();
    assert!(list.len() > 3);
    let address = |text: &Value| text.as_str().unwrap().parse().unwrap();
    list.iter().map(address).collect()
}

fn ranges(texts: &[&str]) -> Vec<AddressRange> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn everything() -> Vec<AddressRange> {
    ranges(&["0.0.0.0/0", "::/0"])
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Forms in which IPv6 carries an IPv4 address, with public prefixes where there is a choice.
fn carriers(v4: Ipv4Addr) -> Vec<(&'static str, Ipv6Addr)> {
    let low = u128::from(v4.to_bits());
    let form = |name, prefix: &str, shift: u32| {
        let bits = prefix.parse::<Ipv6Addr>().unwrap().to_bits();
        (name, Ipv6Addr::from_bits(bits | low << shift))
    };
    vec![
        form("mapped", "::ffff:0:0", 0),
        form("compatible", "::", 0),
        form("SIIT", "::ffff:0:0:0", 0),
        form("NAT64", "64:ff9b::", 0),
        form("6to4", "2002::", 80),
        form("6to4 of a host", "2002:0:0:7::5", 80),
        form("ISATAP", "2606:4700::5efe:0:0", 0),
        form(
            "ISATAP of a global identifier",
            "2606:4700::200:5efe:0:0",
            0,
        ),
    ]
}

#[test]
fn known_addresses_are_judged_as_the_design_says() {
    for address in vectors("refuse_addresses") {
        assert!(reach(address, &[]).is_err(), "{address}");
    }
    for address in vectors("allow_addresses") {
        assert_eq!(reach(address, &[]), Ok(()), "{address}");
    }
    for address in vectors("refuse_always") {
        let class = reach(address, &everything()).unwrap_err();
        assert_eq!(class.verdict, Verdict::Never, "{address}");
    }
}

#[test]
fn first_and_last_address_of_each_range_are_refused_and_neighbours_are_not() {
    for (first, last, public_before, public_after) in [
        ("0.0.0.0", "0.255.255.255", None, Some("1.0.0.0")),
        (
            "10.0.0.0",
            "10.255.255.255",
            Some("9.255.255.255"),
            Some("11.0.0.0"),
        ),
        (
            "100.64.0.0",
            "100.127.255.255",
            Some("100.63.255.255"),
            Some("100.128.0.0"),
        ),
        (
            "127.0.0.0",
            "127.255.255.255",
            Some("126.255.255.255"),
            Some("128.0.0.0"),
        ),
        (
            "169.254.0.0",
            "169.254.255.255",
            Some("169.253.255.255"),
            Some("169.255.0.0"),
        ),
        (
            "172.16.0.0",
            "172.31.255.255",
            Some("172.15.255.255"),
            Some("172.32.0.0"),
        ),
        (
            "192.0.0.0",
            "192.0.0.255",
            Some("191.255.255.255"),
            Some("192.0.1.0"),
        ),
        (
            "192.168.0.0",
            "192.168.255.255",
            Some("192.167.255.255"),
            Some("192.169.0.0"),
        ),
        (
            "198.18.0.0",
            "198.19.255.255",
            Some("198.17.255.255"),
            Some("198.20.0.0"),
        ),
        (
            "224.0.0.0",
            "255.255.255.255",
            Some("223.255.255.255"),
            None,
        ),
        (
            "168.63.129.16",
            "168.63.129.16",
            Some("168.63.129.15"),
            Some("168.63.129.17"),
        ),
        (
            "2001::",
            "2001:1ff:ffff:ffff::",
            Some("2000:ffff::1"),
            Some("2001:200::"),
        ),
        ("fc00::", "fdff:ffff::1", None, None),
        ("fe80::", "febf:ffff::1", None, None),
        ("fec0::", "feff:ffff::1", None, None),
        (
            "3fff::",
            "3fff:fff:ffff::",
            Some("3ffe:ffff::1"),
            Some("3fff:1000::"),
        ),
        ("100::", "100::ffff:ffff:ffff:ffff", None, None),
        ("4000::", "fbff::1", Some("3fff:ffff::1"), None),
    ] {
        for refused in [first, last] {
            assert!(reach(address(refused), &[]).is_err(), "{refused}");
        }
        for public in [public_before, public_after].into_iter().flatten() {
            assert_eq!(reach(address(public), &[]), Ok(()), "{public}");
        }
    }
}

#[test]
fn a_listed_network_opens_itself_and_nothing_else() {
    for (networks, open, closed) in [
        ("127.0.0.0/8", "127.0.0.1", "10.0.0.1"),
        ("127.0.0.0/8", "::ffff:127.0.0.1", "::1"),
        ("127.0.0.0/8", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
        ("10.1.0.0/16", "10.1.255.255", "10.2.0.0"),
        ("10.1.0.0/16", "2002:a01:1::", "2002:a02:1::"),
        ("10.0.0.0/8", "2606:4700::5efe:a00:1", "fd12::5efe:a00:1"),
        ("fd12::/16", "fd12::1", "fd13::1"),
        ("fd12::/16", "fd12::5efe:808:808", "fd12::5efe:a00:1"),
        ("::/0", "::1", "::ffff:10.0.0.1"),
        ("::/0", "fec0::1", "64:ff9b::a00:1"),
        ("0.0.0.0/0", "240.0.0.1", "fd12::1"),
    ] {
        let listed = ranges(&[networks]);
        assert_eq!(reach(address(open), &listed), Ok(()), "{networks} {open}");
        assert!(is_listed(address(open), &listed) || open.contains("5efe"));
        assert!(
            reach(address(closed), &listed).is_err(),
            "{networks} {closed}"
        );
        assert!(!is_listed(address(closed), &listed));
    }
    let public = address("8.8.8.8");
    assert!(!is_listed(public, &ranges(&["10.0.0.0/8"])));
    assert!(is_listed(public, &ranges(&["8.8.8.0/24"])));
}

#[test]
fn carriers_of_unknown_layout_are_never_reachable() {
    for text in [
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "64:ff9b:1::808:808",
        "64:ff9b:1:a9fe:a9:fe00::",
        "fd00:ec2::23",
        "fe80::5efe:808:808",
    ] {
        let class = reach(address(text), &everything()).unwrap_err();
        assert_eq!(class.verdict, Verdict::Never, "{text}");
    }
}

proptest! {
    #[test]
    fn a_carrier_is_judged_by_the_address_that_it_carries(
        bits in prop_oneof![
            any::<u32>(),
            // Most addresses are public: the others are drawn from their ranges.
            (0..IPV4.len(), any::<u32>()).prop_map(|(row, host)| {
                let range = IPV4[row].0;
                range.network().to_bits() | host & range.hostmask().to_bits()
            }),
        ],
        allow_all: bool,
    ) {
        let v4 = Ipv4Addr::from_bits(bits);
        let listed = if allow_all { everything() } else { Vec::new() };
        let alone = reach(v4.into(), &listed);
        for (form, carrier) in carriers(v4) {
            // These two are addresses of their own: unspecified and loopback.
            if carrier.is_unspecified() || carrier.is_loopback() {
                continue;
            }
            prop_assert_eq!(reach(carrier.into(), &listed), alone, "{} {}", form, carrier);
        }
    }

    #[test]
    fn a_longer_list_never_closes_and_nothing_is_listed_but_unreachable(
        bits: u128,
        v6: bool,
        network in any::<u128>(),
        prefix in 0_u8..=128,
    ) {
        let address: IpAddr = match v6 {
            true => Ipv6Addr::from_bits(bits).into(),
            false => Ipv4Addr::from_bits(bits as u32).into(),
        };
        let one = [AddressRange::of(Ipv6Addr::from_bits(network).into(), prefix)];
        if reach(address, &[]).is_ok() {
            prop_assert_eq!(reach(address, &one), Ok(()));
        }
        if is_listed(address, &one) {
            prop_assert_eq!(reach(address, &one), Ok(()));
        }
        if reach(address, &one).is_ok() {
            prop_assert_eq!(reach(address, &everything()), Ok(()));
        }
    }
}
