//! Settings of users and keys, and of the records of their use.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    IssuerSettings, JwtSettings,
    check::Checker,
    settings::{DAY, HOUR, SECOND},
};

/// Users and keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct AuthSettings {
    pub max_users: u32,
    pub max_keys: u32,
    #[serde(with = "deia_model::duration")]
    pub rotation_overlap: Duration,
    #[serde(with = "deia_model::duration")]
    pub max_rotation_overlap: Duration,
    #[serde(with = "deia_model::duration")]
    pub token_key_lifetime: Duration,
    #[serde(with = "deia_model::duration")]
    pub last_used_every: Duration,
    pub denied_events_per_minute: u32,
    pub denied_callers_max: u32,
    pub issuers: Vec<IssuerSettings>,
    pub jwt: JwtSettings,
    pub sessions: SessionSettings,
}

/// Sessions in a browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "documented key by key in config/deia.yaml")]
pub struct SessionSettings {
    #[serde(with = "deia_model::duration")]
    pub idle_timeout: Duration,
    #[serde(with = "deia_model::duration")]
    pub lifetime: Duration,
    pub max_per_user: u32,
    pub max: u32,
}

impl AuthSettings {
    pub(super) fn check(&self, check: &mut Checker) {
        check.number("auth.max_users", self.max_users, 1..=100_000);
        check.number("auth.max_keys", self.max_keys, 2..=100_000);
        check.duration(
            "auth.max_rotation_overlap",
            self.max_rotation_overlap,
            Duration::ZERO..=365 * DAY,
        );
        check.duration(
            "auth.rotation_overlap",
            self.rotation_overlap,
            Duration::ZERO..=self.max_rotation_overlap,
        );
        check.duration(
            "auth.token_key_lifetime",
            self.token_key_lifetime,
            HOUR..=3_650 * DAY,
        );
        check.duration("auth.last_used_every", self.last_used_every, SECOND..=HOUR);
        check.number(
            "auth.denied_events_per_minute",
            self.denied_events_per_minute,
            1..=1_000,
        );
        check.number(
            "auth.denied_callers_max",
            self.denied_callers_max,
            1..=100_000,
        );
        IssuerSettings::check_all(&self.issuers, &self.jwt, check);
        self.jwt.check(check);
        self.sessions.check(check);
    }
}

impl SessionSettings {
    fn check(&self, check: &mut Checker) {
        check.duration("auth.sessions.lifetime", self.lifetime, SECOND..=30 * DAY);
        check.duration(
            "auth.sessions.idle_timeout",
            self.idle_timeout,
            SECOND..=self.lifetime.max(SECOND),
        );
        check.number("auth.sessions.max_per_user", self.max_per_user, 1..=1_000);
        check.number("auth.sessions.max", self.max, 1..=100_000);
    }
}
