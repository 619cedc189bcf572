//! Reasons why a URL or an address may not be reached.

use std::{fmt, net::IpAddr};

use super::address::{AddressClass, Verdict};

/// Reason why a URL may not be reached. The text says what is wrong and which setting, if any,
/// would allow it. It has neither the path of the URL, which may hold a secret, nor an address
/// that was looked up, which would tell outsiders what the names inside stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReachRefusal {
    /// Problem with the URL, the name or its addresses.
    pub(crate) reason: RefusalReason,
    /// Section of the settings whose keys would allow it: `webhooks`, `bots`.
    pub(crate) section: &'static str,
}

/// Problem with a URL, a name or its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RefusalReason {
    /// The URL has more bytes than allowed.
    TooLong { bytes: usize, limit: usize },
    /// The URL has a backslash, a space or a control character, which parsers read differently.
    Character(char),
    /// The text is not an absolute URL.
    Malformed(&'static str),
    /// The scheme is neither https nor http.
    Scheme(String),
    /// The URL is plain http, which the settings do not allow. `inside`: they can allow it for
    /// listed networks only.
    PlainHttp { inside: bool },
    /// The URL has a user name or a password.
    Userinfo,
    /// The URL has a fragment, which is never sent.
    Fragment,
    /// The host has characters beyond ASCII. `ascii`: the host that they are read as.
    NonAsciiHost { ascii: Option<String> },
    /// The host is spelled in a way that parsers read differently. `means`: the host as read
    /// here.
    OddHost { typed: String, means: String },
    /// The host is the name of a metadata service.
    MetadataName(String),
    /// The host is a name of the inside, and no network inside is allowed.
    InternalName(String),
    /// The port is not in the list.
    Port(u16),
    /// The name or the port is allowed in listed networks only, and an address is elsewhere.
    /// Becomes [`Self::Port`] or [`Self::InternalName`] where the port is known.
    NotListed { host: String },
    /// An address of the host may not be reached.
    Address {
        host: String,
        /// The address, for logs that only operators read.
        address: IpAddr,
        class: AddressClass,
        /// True if other addresses of the same answer are allowed.
        mixed: bool,
    },
    /// The host has no address.
    NoAddress(String),
}

impl std::error::Error for ReachRefusal {}

impl fmt::Display for ReachRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_problem(f)?;
        self.write_remedy(f)
    }
}

impl ReachRefusal {
    fn write_problem(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            RefusalReason::TooLong { bytes, limit } => {
                write!(f, "the URL has {bytes} bytes; {limit} are allowed")
            }
            RefusalReason::Character(c) => {
                write!(f, "the URL has the character {c:?}; percent-encode it")
            }
            RefusalReason::Malformed(problem) => write!(f, "the URL is malformed: {problem}"),
            RefusalReason::Scheme(scheme) => {
                write!(f, "the scheme {scheme:?} is not supported; use https")
            }
            RefusalReason::PlainHttp { .. } => f.write_str("plain http is not allowed; use https"),
            RefusalReason::Userinfo => {
                f.write_str("the URL has a user name or a password; remove it")
            }
            RefusalReason::Fragment => {
                f.write_str("the URL has a fragment, which is never sent; remove it")
            }
            RefusalReason::NonAsciiHost { ascii: Some(ascii) } => {
                write!(f, "the host is not ASCII; it is read as {ascii:?}")
            }
            RefusalReason::NonAsciiHost { ascii: None } => f.write_str("the host is not ASCII"),
            RefusalReason::OddHost { typed, means } => {
                write!(
                    f,
                    "the host {typed:?} is read as {means:?}; write it that way"
                )
            }
            RefusalReason::MetadataName(name) => {
                write!(f, "{name} is a cloud's metadata service")
            }
            RefusalReason::InternalName(name) => write!(f, "{name} is a name of an inner network"),
            RefusalReason::Port(port) => write!(f, "port {port} is not allowed"),
            RefusalReason::NotListed { host } => {
                write!(f, "{host} has addresses outside the listed networks")
            }
            RefusalReason::Address {
                host,
                class,
                mixed: false,
                ..
            } => match host.parse::<IpAddr>() {
                Ok(_) => write!(f, "{host} is {}", class.name),
                Err(_) => write!(f, "{host} has {}", class.name),
            },
            RefusalReason::Address { host, class, .. } => write!(
                f,
                "{host} has {} among its addresses, so that none of them is used",
                class.name
            ),
            RefusalReason::NoAddress(host) => write!(f, "{host} has no address"),
        }
    }

    fn write_remedy(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let section = self.section;
        match &self.reason {
            RefusalReason::PlainHttp { inside: false } => {
                write!(f, ", or set {section}.allow_http")
            }
            RefusalReason::PlainHttp { inside: true } => write!(
                f,
                ", or add the receiver's network to {section}.allow_networks"
            ),
            RefusalReason::Port(_) => write!(
                f,
                "; add it to {section}.allow_ports, or the receiver's network to \
                 {section}.allow_networks"
            ),
            RefusalReason::InternalName(_) | RefusalReason::NotListed { .. } => write!(
                f,
                "; add the receiver's network to {section}.allow_networks"
            ),
            RefusalReason::Address { class, .. } if class.verdict == Verdict::Inside => write!(
                f,
                "; add the receiver's network to {section}.allow_networks"
            ),
            RefusalReason::Address { .. } | RefusalReason::MetadataName(_) => {
                f.write_str("; no setting allows it")
            }
            _ => Ok(()),
        }
    }
}
