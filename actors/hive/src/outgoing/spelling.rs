//! Reads a URL and refuses spellings that other parsers read differently. Pure.
//!
//! The parser of the WHATWG is lenient: it takes `\` for `/`, drops tabs, reads `0x7f.1` as an
//! address and maps full-width digits to digits. Its result is compared with the text as typed.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::{refusal::RefusalReason, target::TargetHost};

/// Bytes that a URL may have; longer ones are refused by servers and proxies in practice
/// (RFC 9110, 4.1, asks for 8,000 at least, which no receiver here needs). Fact: RFC
/// 9110, 4.1, and the practice of servers.
pub(super) const MAX_URL_BYTES: usize = 2_048;

/// Characters that a label of a DNS name may have besides letters and digits.
const IN_LABELS: [u8; 2] = [b'-', b'_'];
/// Bytes of a label and of a name (RFC 1035, 2.3.4). Fact: RFC 1035, 2.3.4.
const MAX_LABEL_BYTES: usize = 63;
/// Bytes of a name. Fact: RFC 1035, 2.3.4: 255 octets on the wire.
const MAX_NAME_BYTES: usize = 253;

/// A URL whose text and meaning agree.
#[derive(Debug)]
pub(super) struct Spelled {
    pub(super) url: Url,
    pub(super) host: TargetHost,
    pub(super) port: u16,
}

/// Host and port as typed.
struct Authority<'a> {
    host: &'a str,
    port: Option<&'a str>,
}

/// Reads an absolute http or https URL.
pub(super) fn read(text: &str) -> Result<Spelled, RefusalReason> {
    check_length(text)?;
    let is_odd = |c: &char| *c == '\\' || c.is_whitespace() || c.is_control();
    if let Some(odd) = text.chars().find(is_odd) {
        return Err(RefusalReason::Character(odd));
    }
    let (scheme, rest) = text
        .split_once("://")
        .ok_or(RefusalReason::Malformed("it has no scheme and host"))?;
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(scheme.as_str(), "https" | "http") {
        // The text may be anything: it is not repeated whole.
        return Err(RefusalReason::Scheme(scheme.chars().take(32).collect()));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let typed = authority(&rest[..end])?;
    let url = Url::parse(text);
    if !typed.host.is_ascii() {
        let ascii = url.ok().and_then(|url| url.host_str().map(str::to_owned));
        return Err(RefusalReason::NonAsciiHost { ascii });
    }
    let url = url.map_err(|_| RefusalReason::Malformed("the host or the port is not valid"))?;
    // Percent-encoding made it longer.
    check_length(url.as_str())?;
    if url.fragment().is_some() {
        return Err(RefusalReason::Fragment);
    }
    // Belt and braces: both were read from the text above.
    if url.scheme() != scheme || !url.username().is_empty() || url.password().is_some() {
        return Err(RefusalReason::Userinfo);
    }
    let host = host(&typed, &url)?;
    let port = port(&typed, &url)?;
    Ok(Spelled { url, host, port })
}

fn check_length(text: &str) -> Result<(), RefusalReason> {
    let (bytes, limit) = (text.len(), MAX_URL_BYTES);
    match bytes > limit {
        true => Err(RefusalReason::TooLong { bytes, limit }),
        false => Ok(()),
    }
}

fn authority(text: &str) -> Result<Authority<'_>, RefusalReason> {
    if text.contains('@') {
        return Err(RefusalReason::Userinfo);
    }
    let after_literal = text.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match text[after_literal..].find(':') {
        Some(at) => {
            let at = after_literal + at;
            (&text[..at], Some(&text[at + 1..]))
        }
        None => (text, None),
    };
    match host.is_empty() {
        true => Err(RefusalReason::Malformed("it has no host")),
        false => Ok(Authority { host, port }),
    }
}

fn host(typed: &Authority<'_>, url: &Url) -> Result<TargetHost, RefusalReason> {
    let odd = || RefusalReason::OddHost {
        typed: typed.host.to_owned(),
        means: url.host_str().unwrap_or_default().to_owned(),
    };
    match url.host() {
        None => Err(RefusalReason::Malformed("it has no host")),
        Some(Host::Ipv4(address)) => match typed.host.parse::<Ipv4Addr>() {
            Ok(same) if same == address => Ok(TargetHost::Address(address.into())),
            _ => Err(odd()),
        },
        Some(Host::Ipv6(address)) => {
            let literal = typed.host.strip_prefix('[');
            let literal = literal.and_then(|text| text.strip_suffix(']'));
            match literal.map(str::parse::<Ipv6Addr>) {
                Some(Ok(same)) if same == address => Ok(TargetHost::Address(address.into())),
                _ => Err(odd()),
            }
        }
        Some(Host::Domain(name)) if !typed.host.eq_ignore_ascii_case(name) => Err(odd()),
        Some(Host::Domain(name)) if !is_name(name) => {
            Err(RefusalReason::Malformed("the host is not a DNS name"))
        }
        Some(Host::Domain(name)) => Ok(TargetHost::Name(name.to_owned())),
    }
}

/// Returns true for a DNS name of letters, digits, hyphens and underscores, with or without the
/// dot of the root at its end.
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || IN_LABELS.contains(&b);
    let is_label =
        |label: &str| (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(is_plain);
    name.len() <= MAX_NAME_BYTES && name.split('.').all(is_label)
}

fn port(typed: &Authority<'_>, url: &Url) -> Result<u16, RefusalReason> {
    let malformed = RefusalReason::Malformed("the port is not a plain number from 1 to 65535");
    match (url.port_or_known_default(), typed.port) {
        (None | Some(0), _) => Err(malformed),
        (Some(port), Some(digits)) if digits != port.to_string() => Err(malformed),
        (Some(port), _) => Ok(port),
    }
}
