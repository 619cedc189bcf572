//! A URL that a policy has passed.

use std::{fmt, net::IpAddr};

use url::Url;

/// A URL that a policy has passed. The addresses of its host, if that is a name, are checked
/// whenever a connection is made.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TargetUrl {
    pub(super) url: Url,
    pub(super) host: TargetHost,
    pub(super) port: u16,
    pub(super) scope: Scope,
}

/// Host of a [`TargetUrl`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TargetHost {
    /// A DNS name, in lower case.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// Addresses that a host may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Public addresses, and those of `allow_networks`.
    PublicOrListed,
    /// Addresses of `allow_networks` only: the name or the port is not allowed elsewhere.
    ListedOnly,
}

impl TargetUrl {
    /// Returns the URL as it is requested. Its path and query may hold a secret.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the host.
    pub(crate) fn host(&self) -> &TargetHost {
        &self.host
    }

    /// Returns the port, that of the scheme if the URL has none.
    #[cfg(test)]
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the addresses that the host may have.
    pub(crate) fn scope(&self) -> Scope {
        self.scope
    }
}

impl fmt::Display for TargetHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.url.scheme();
        write!(f, "TargetUrl({scheme}://{}:{}/..)", self.host, self.port)
    }
}
