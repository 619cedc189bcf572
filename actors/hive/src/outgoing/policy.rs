//! The policy against reaching inside. Pure.

use std::net::{IpAddr, SocketAddr};

use deia_model::AddressRange;

use super::{
    address,
    refusal::{ReachRefusal, RefusalReason},
    spelling,
    target::{Scope, TargetHost, TargetUrl},
};

/// Ports that are reachable besides those of the list where plain http is allowed.
const HTTP_PORTS: [u16; 2] = [80, 8080];

/// Names of metadata services, which some clouds answer at public addresses; names below them
/// count as well.
const METADATA_NAMES: [&str; 8] = [
    "metadata",
    "instance-data",
    "metadata.internal",
    "metadata.google.internal",
    "metadata.azure.internal",
    "instance-data.ec2.internal",
    "metadata.goog",
    "metadata.tencentyun.com",
];

/// Top-level names that are never delegated to the public (RFC 6761, RFC 6762, RFC 8375, ICANN
/// resolution 2024.07.29.06), or that routers and offices use as if they were not.
const INTERNAL_SUFFIXES: [&str; 10] = [
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "home.arpa",
];

/// Rules for URLs that others have chosen.
///
/// Public addresses are reachable over https at the listed ports. Everything inside must be in
/// `allow_networks`. Link-local and metadata addresses are never reachable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReachPolicy {
    /// Section of the settings that the rules are from; messages name its keys.
    pub(crate) section: &'static str,
    /// Allows plain http, and with it ports 80 and 8080.
    pub(crate) allow_http: bool,
    /// Allows plain http to the addresses of `allow_networks`, whether or not it is allowed
    /// elsewhere.
    pub(crate) http_inside: bool,
    /// Ports that are reachable everywhere.
    pub(crate) allow_ports: Vec<u16>,
    /// Networks whose addresses are reachable although they are not public, at any port.
    pub(crate) allow_networks: Vec<AddressRange>,
}

impl ReachPolicy {
    /// Ports of the default policy.
    pub(crate) const DEFAULT_PORTS: [u16; 2] = [443, 8443];

    /// Returns the default policy: https at the default ports of public addresses.
    pub(crate) fn new(section: &'static str) -> Self {
        Self {
            section,
            allow_http: false,
            http_inside: false,
            allow_ports: Self::DEFAULT_PORTS.to_vec(),
            allow_networks: Vec::new(),
        }
    }

    /// Reads a URL and judges all that can be judged without a look-up: its spelling, scheme,
    /// port, name, and its address if that is its host.
    ///
    /// # Errors
    /// The first reason against it.
    pub(crate) fn check_url(&self, text: &str) -> Result<TargetUrl, ReachRefusal> {
        let target = self.target(text).map_err(|reason| self.refusal(reason))?;
        if let TargetHost::Address(address) = target.host {
            self.check_addresses(&target, &[address])?;
        }
        Ok(target)
    }

    /// Judges the addresses of the host of a URL, all of which must be reachable.
    ///
    /// # Errors
    /// The first reason against them. An answer of no address is refused too.
    pub(crate) fn check_addresses(
        &self,
        target: &TargetUrl,
        addresses: &[IpAddr],
    ) -> Result<Vec<SocketAddr>, ReachRefusal> {
        self.check_answer(&target.host.to_string(), target.scope, addresses)
            .map_err(|reason| self.refusal_of(target, reason))?;
        let with_port = |address: &IpAddr| SocketAddr::new(*address, target.port);
        Ok(addresses.iter().map(with_port).collect())
    }

    /// Judges the answer of a look-up where the port is not known.
    pub(super) fn check_answer(
        &self,
        host: &str,
        scope: Scope,
        addresses: &[IpAddr],
    ) -> Result<(), RefusalReason> {
        if addresses.is_empty() {
            return Err(RefusalReason::NoAddress(host.to_owned()));
        }
        let networks = &self.allow_networks;
        for &address in addresses {
            address::reach(address, networks).map_err(|class| RefusalReason::Address {
                host: host.to_owned(),
                address,
                class,
                mixed: addresses
                    .iter()
                    .any(|&a| address::reach(a, networks).is_ok()),
            })?;
        }
        let is_listed = |&address: &IpAddr| address::is_listed(address, networks);
        match scope {
            Scope::ListedOnly if !addresses.iter().all(is_listed) => {
                let host = host.to_owned();
                Err(RefusalReason::NotListed { host })
            }
            Scope::ListedOnly | Scope::PublicOrListed => Ok(()),
        }
    }

    /// Returns the refusal of a URL for a reason that was found without its port.
    pub(super) fn refusal_of(&self, target: &TargetUrl, reason: RefusalReason) -> ReachRefusal {
        self.refusal(match reason {
            RefusalReason::NotListed { .. } if !self.allows_scheme(target.url.scheme()) => {
                RefusalReason::PlainHttp { inside: true }
            }
            RefusalReason::NotListed { .. } if !self.allows_port(target.port) => {
                RefusalReason::Port(target.port)
            }
            RefusalReason::NotListed { host } => RefusalReason::InternalName(host),
            other => other,
        })
    }

    fn refusal(&self, reason: RefusalReason) -> ReachRefusal {
        let section = self.section;
        ReachRefusal { reason, section }
    }

    fn allows_scheme(&self, scheme: &str) -> bool {
        self.allow_http || scheme != "http"
    }

    fn allows_port(&self, port: u16) -> bool {
        self.allow_ports.contains(&port) || self.allow_http && HTTP_PORTS.contains(&port)
    }

    fn target(&self, text: &str) -> Result<TargetUrl, RefusalReason> {
        let spelled = spelling::read(text)?;
        let allows_scheme = self.allows_scheme(spelled.url.scheme());
        if !allows_scheme && !self.http_inside {
            return Err(RefusalReason::PlainHttp { inside: false });
        }
        let mut objection = None;
        if !allows_scheme {
            objection = Some(RefusalReason::PlainHttp { inside: true });
        } else if !self.allows_port(spelled.port) {
            objection = Some(RefusalReason::Port(spelled.port));
        }
        if let TargetHost::Name(name) = &spelled.host {
            let bare = name.strip_suffix('.').unwrap_or(name);
            if METADATA_NAMES.iter().any(|known| is_below(bare, known)) {
                return Err(RefusalReason::MetadataName(name.clone()));
            }
            if is_internal(bare) {
                objection = Some(RefusalReason::InternalName(name.clone()));
            }
        }
        // The addresses decide if networks are listed.
        let scope = match objection {
            None => Scope::PublicOrListed,
            Some(_) if !self.allow_networks.is_empty() => Scope::ListedOnly,
            Some(reason) => return Err(reason),
        };
        Ok(TargetUrl {
            url: spelled.url,
            host: spelled.host,
            port: spelled.port,
            scope,
        })
    }
}

/// Returns true if the name is this one or below it.
fn is_below(name: &str, top: &str) -> bool {
    name.strip_suffix(top)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Returns true for names that stand for hosts of the inside: single labels, and those below
/// the [`INTERNAL_SUFFIXES`].
fn is_internal(name: &str) -> bool {
    !name.contains('.') || INTERNAL_SUFFIXES.iter().any(|top| is_below(name, top))
}

#[cfg(test)]
mod tests;
