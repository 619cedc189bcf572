//! TLS of the listener.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use deia_model::BotName;
use serde::{Deserialize, Serialize};

use super::{
    check::Checker,
    settings::{DAY, HOUR, SECOND},
};

/// TLS of the listener; off while there is no certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct TlsSettings {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    pub client_ca_file: PathBuf,
    pub client_bots: BTreeMap<String, BotName>,
    #[serde(with = "deia_model::duration")]
    pub look_every: Duration,
    #[serde(with = "deia_model::duration")]
    pub warn_before: Duration,
}

impl TlsSettings {
    /// Returns true if the listener uses TLS.
    pub fn is_on(&self) -> bool {
        !self.cert_file.as_os_str().is_empty()
    }

    /// Returns true if clients may present certificates.
    pub fn takes_client_certificates(&self) -> bool {
        !self.client_ca_file.as_os_str().is_empty()
    }

    pub(super) fn check(&self, check: &mut Checker) {
        check.duration("server.tls.look_every", self.look_every, SECOND..=HOUR);
        check.duration(
            "server.tls.warn_before",
            self.warn_before,
            Duration::ZERO..=365 * DAY,
        );
        let mut needs = |key: &str, other: &str| {
            let allowed = format!("nothing, unless {other} is set as well");
            check.refuse(format!("server.tls.{key}"), "the given value", allowed);
        };
        let has_key = !self.key_file.as_os_str().is_empty();
        match (self.is_on(), has_key) {
            (true, false) => needs("cert_file", "server.tls.key_file"),
            (false, true) => needs("key_file", "server.tls.cert_file"),
            _ => {}
        }
        if self.takes_client_certificates() && !self.is_on() {
            needs("client_ca_file", "server.tls.cert_file");
        }
        if !self.client_bots.is_empty() && !self.takes_client_certificates() {
            needs("client_bots", "server.tls.client_ca_file");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Layers;

    #[test]
    fn keys_need_each_other_and_the_network_needs_tls() {
        let tls = |name: &str| (format!("server.tls.{name}_file"), "x.pem");
        let bots = ("server.tls.client_bots".to_owned(), "{ a.example: b-1 }");
        let open = ("server.bind".to_owned(), "0.0.0.0:8000");
        let plain = ("server.allow_plain_http".to_owned(), "true");
        for (settings, wrong) in [
            (vec![], None),
            (vec![tls("cert"), tls("key")], None),
            (
                vec![tls("cert"), tls("key"), tls("client_ca"), bots.clone()],
                None,
            ),
            (vec![tls("cert")], Some("server.tls.cert_file")),
            (vec![tls("key")], Some("server.tls.key_file")),
            (vec![tls("client_ca")], Some("server.tls.client_ca_file")),
            (
                vec![tls("cert"), tls("key"), bots],
                Some("server.tls.client_bots"),
            ),
            (vec![open.clone()], Some("server.bind")),
            (vec![open.clone(), plain], None),
            (vec![open, tls("cert"), tls("key")], None),
        ] {
            let mut layers = Layers::default();
            for (key, value) in &settings {
                layers = layers.set(key, *value);
            }
            let told = layers.load().err().map(|error| error.to_string());
            let starts = told.as_ref().and_then(|told| told.split(':').next());
            assert_eq!(starts, wrong, "{settings:?}: {told:?}");
        }
    }
}
