//! Settings of the issuers whose tokens are accepted.

use std::{collections::BTreeMap, time::Duration};

use bytesize::ByteSize;
use deia_model::Role;
use serde::{Deserialize, Serialize};

use super::{
    check::Checker,
    settings::{DAY, HOUR, KIB, MIB, MINUTE, SECOND},
};
use crate::access::Algorithm;

/// Settings for checking tokens and fetching the keys of issuers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct JwtSettings {
    #[serde(with = "deia_model::duration")]
    pub leeway: Duration,
    #[serde(with = "deia_model::duration")]
    pub max_lifetime: Duration,
    #[serde(with = "deia_model::duration")]
    pub refresh_every: Duration,
    #[serde(with = "deia_model::duration")]
    pub refresh_at_most_every: Duration,
    #[serde(with = "deia_model::duration")]
    pub keys_valid_for: Duration,
    #[serde(with = "deia_model::duration")]
    pub fetch_timeout: Duration,
    pub max_document_bytes: ByteSize,
    pub max_verified: u32,
    pub allow_http_on_loopback: bool,
}

/// An issuer whose tokens are accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// Prefix of the names of the users of its tokens: `name:user`.
    pub name: String,
    /// Exact value of the claim `iss` of its tokens.
    pub issuer: String,
    /// Accepted audiences, one of which must be in the claim `aud`.
    pub audiences: Vec<String>,
    /// URL of its keys; if absent, the URL in its discovery document.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// Algorithms that its tokens may be signed by.
    #[serde(default = "usual_algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// Claim that names the user.
    #[serde(default = "subject")]
    pub user_claim: String,
    /// Claim that `roles` is looked up with: a name, or a JSON pointer.
    #[serde(default)]
    pub role_claim: Option<String>,
    /// Role for each value of that claim.
    #[serde(default)]
    pub roles: BTreeMap<String, Role>,
    /// Role of users to whom `roles` gives none; if absent, they are refused.
    #[serde(default)]
    pub default_role: Option<Role>,
}

fn usual_algorithms() -> Vec<Algorithm> {
    vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa]
}

fn subject() -> String {
    "sub".into()
}

/// Maximum number of issuers. Fixed: a bound of the settings themselves.
const MAX_ISSUERS: usize = 32;

impl JwtSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        check.duration("auth.jwt.leeway", self.leeway, Duration::ZERO..=5 * MINUTE);
        check.duration(
            "auth.jwt.max_lifetime",
            self.max_lifetime,
            MINUTE..=30 * DAY,
        );
        check.duration("auth.jwt.refresh_every", self.refresh_every, SECOND..=DAY);
        check.duration(
            "auth.jwt.refresh_at_most_every",
            self.refresh_at_most_every,
            SECOND..=HOUR,
        );
        check.duration(
            "auth.jwt.keys_valid_for",
            self.keys_valid_for,
            self.refresh_every..=(30 * DAY).max(self.refresh_every),
        );
        check.duration(
            "auth.jwt.fetch_timeout",
            self.fetch_timeout,
            Duration::from_millis(100)..=MINUTE,
        );
        check.size(
            "auth.jwt.max_document_bytes",
            self.max_document_bytes,
            KIB..=16 * MIB,
        );
        check.number("auth.jwt.max_verified", self.max_verified, 1..=1_000_000);
    }

    /// Returns true if keys may be fetched from this URL.
    pub(crate) fn may_fetch(&self, url: &str) -> bool {
        let Ok(url) = reqwest::Url::parse(url) else {
            return false;
        };
        let plain = url.username().is_empty() && url.password().is_none();
        let loopback = match url.host_str() {
            Some("localhost" | "[::1]") => true,
            Some(host) => host
                .parse::<std::net::Ipv4Addr>()
                .is_ok_and(|ip| ip.is_loopback()),
            None => return false,
        };
        let scheme = match url.scheme() {
            "https" => true,
            "http" => loopback && self.allow_http_on_loopback,
            _ => false,
        };
        plain && scheme
    }
}

impl IssuerSettings {
    /// Checks the settings of all issuers.
    pub(super) fn check_all(issuers: &[Self], jwt: &JwtSettings, check: &mut Checker) {
        if issuers.len() > MAX_ISSUERS {
            check.refuse("auth.issuers", issuers.len(), "at most 32 of them");
        }
        for (i, issuer) in issuers.iter().enumerate() {
            let same = |other: &Self| other.name == issuer.name || other.issuer == issuer.issuer;
            if issuers[..i].iter().any(same) {
                let value = format!("{} of {}", issuer.name, issuer.issuer);
                let allowed = "a name and an issuer that no other of the list has";
                check.refuse(format!("auth.issuers[{i}]"), value, allowed);
            }
            for (field, allowed) in issuer.violations(jwt) {
                // The text before an @ in a URL is a password, so the value is not repeated.
                check.refuse(
                    format!("auth.issuers[{i}].{field}"),
                    "the given value",
                    allowed,
                );
            }
        }
    }

    fn violations(&self, jwt: &JwtSettings) -> Vec<(&'static str, &'static str)> {
        let mut found = Vec::new();
        let mut expect = |holds: bool, field, allowed| {
            if !holds {
                found.push((field, allowed));
            }
        };
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let name = (1..=32).contains(&self.name.len()) && self.name.bytes().all(plain);
        expect(name, "name", "1 to 32 characters of a-z, 0-9 and '-'");
        // These names are prefixes of other actors.
        let free = !["address", "bot", "deia", "user"].contains(&self.name.as_str());
        expect(free, "name", "none of address, bot, deia and user");
        let url = "an https:// URL without a user (http:// for loopback with auth.jwt.allow_http_on_loopback)";
        match &self.jwks_url {
            Some(jwks) => expect(jwt.may_fetch(jwks), "jwks_url", url),
            None => expect(jwt.may_fetch(&self.issuer), "issuer", url),
        }
        expect(!self.issuer.is_empty(), "issuer", "some text");
        let audiences = !self.audiences.is_empty() && self.audiences.iter().all(|a| !a.is_empty());
        expect(audiences, "audiences", "at least one, none of them empty");
        expect(!self.algorithms.is_empty(), "algorithms", "at least one");
        expect(
            !self.user_claim.is_empty(),
            "user_claim",
            "the name of a claim",
        );
        let claim = self
            .role_claim
            .as_deref()
            .is_none_or(|claim| !claim.is_empty());
        expect(
            claim,
            "role_claim",
            "the name of a claim, or a JSON pointer",
        );
        let mapped = self.roles.is_empty() || self.role_claim.is_some();
        expect(
            mapped,
            "role_claim",
            "the claim that roles is looked up with",
        );
        let given = !self.roles.is_empty() || self.default_role.is_some();
        expect(given, "roles", "at least one, or a default_role");
        let no_bots = !self.roles.values().any(|role| *role == Role::Bot);
        expect(
            no_bots,
            "roles",
            "admin, operator, viewer or external: bots have keys",
        );
        let low = !matches!(self.default_role, Some(Role::Admin | Role::Bot));
        expect(low, "default_role", "operator, viewer or external");
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn jwt(allow_http_on_loopback: bool) -> JwtSettings {
        JwtSettings {
            allow_http_on_loopback,
            ..crate::config::Config::defaults().unwrap().auth.jwt
        }
    }

    #[test]
    fn what_an_issuer_may_be() {
        let good = json!({"name": "corp", "issuer": "https://id.example.org", "audiences": ["deia"],
            "role_claim": "groups", "roles": {"ops": "operator"}});
        let with = |name: &str, value: Value| {
            let mut changed = good.clone();
            changed[name] = value;
            serde_json::from_value::<IssuerSettings>(changed).unwrap()
        };
        for (settings, wrong) in [
            (with("name", json!("corp-2")), vec![]),
            (with("default_role", json!("viewer")), vec![]),
            (with("roles", json!({"root": "admin"})), vec![]),
            (with("name", json!("a:b")), vec!["name"]),
            (with("name", json!("")), vec!["name"]),
            (
                with("issuer", json!("http://id.example.org")),
                vec!["issuer"],
            ),
            (with("issuer", json!("")), vec!["issuer", "issuer"]),
            (
                with("jwks_url", json!("http://127.0.0.1/keys")),
                vec!["jwks_url"],
            ),
            (
                with("jwks_url", json!("https://u:p@id.example.org/k")),
                vec!["jwks_url"],
            ),
            (
                with("jwks_url", json!("file:///etc/passwd")),
                vec!["jwks_url"],
            ),
            (with("audiences", json!([])), vec!["audiences"]),
            (with("audiences", json!([""])), vec!["audiences"]),
            (with("algorithms", json!([])), vec!["algorithms"]),
            (with("user_claim", json!("")), vec!["user_claim"]),
            (with("role_claim", json!(null)), vec!["role_claim"]),
            (with("roles", json!({})), vec!["roles"]),
            (with("roles", json!({"b": "bot"})), vec!["roles"]),
            (with("default_role", json!("admin")), vec!["default_role"]),
            (with("default_role", json!("bot")), vec!["default_role"]),
        ] {
            let found = settings.violations(&jwt(false));
            let fields: Vec<_> = found.iter().map(|(field, _)| *field).collect();
            assert_eq!(fields, wrong, "{settings:?}");
        }
        for name in ["HS256", "none", "rs256"] {
            let mut changed = good.clone();
            changed["algorithms"] = json!([name]);
            serde_json::from_value::<IssuerSettings>(changed).unwrap_err();
        }
    }

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for (url, always, on_loopback) in [
            ("https://id.example.org/keys", true, true),
            ("http://id.example.org/keys", false, false),
            ("http://127.0.0.1:8080/keys", false, true),
            ("http://localhost/keys", false, true),
            ("http://[::1]/keys", false, true),
            ("http://127.0.0.1.example.org/keys", false, false),
            ("http://localhost@example.org/keys", false, false),
            ("ftp://127.0.0.1/keys", false, false),
            ("127.0.0.1/keys", false, false),
            ("", false, false),
        ] {
            assert_eq!(jwt(false).may_fetch(url), always, "{url}");
            assert_eq!(jwt(true).may_fetch(url), on_loopback, "{url}");
        }
    }
}
