//! Sessions in a browser: a cookie in the place of a key or a token.

use serde::{Deserialize, Serialize};

use super::{KeyId, LoginId, Timestamp};
use crate::Role;

/// A session in a browser as it is stored. The secret of its cookie is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRecord {
    /// What listings show.
    pub info: Login,
    /// SHA-256 of the secret part of the cookie.
    pub secret_sha256: [u8; 32],
    /// What the token that it was opened with rests on: a key and the settings of
    /// its issuer, as a hash.
    pub basis: Option<[u8; 32]>,
}

/// What is shown of a session in a browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Login {
    /// Names it; not secret.
    pub id: LoginId,
    /// Who acts in it.
    pub user: String,
    /// What it was opened with.
    #[serde(flatten)]
    pub opened_with: OpenedWith,
    /// When it was opened.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the last request came, to about a minute after a crash.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: Timestamp,
    /// When it is over in any case.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// Where it was opened from.
    pub ip_address: Option<String>,
    /// What it was opened by, as that says itself; at most 256 characters.
    pub user_agent: Option<String>,
}

/// What a session was opened with. It can do no more, and lives no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OpenedWith {
    /// A key; the session can what the key can at that moment.
    #[serde(rename = "key_id")]
    Key(KeyId),
    /// A token of an issuer.
    #[serde(rename = "token")]
    Token {
        /// The name of the issuer here.
        issuer: String,
        /// What the token gave.
        role: Role,
    },
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginEnd {
    /// Its user logged out.
    LoggedOut,
    /// All sessions of its user were ended.
    LoggedOutEverywhere,
    /// Its user opened more than there may be.
    Displaced,
    /// It was idle, or had its time.
    Expired,
    /// The credential is no longer valid: the key was revoked, its user was made
    /// inactive, or the issuer of the token has withdrawn its key or has other
    /// settings.
    Withdrawn,
}

impl LoginEnd {
    /// In events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LoggedOut => "logged_out",
            Self::LoggedOutEverywhere => "logged_out_everywhere",
            Self::Displaced => "displaced",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl Login {
    /// Whether it may still be used at that time, when it was last seen then.
    pub fn is_open(&self, last_seen: Timestamp, idle_timeout_ms: u64, now: Timestamp) -> bool {
        self.expires_at > now && now.millis_since(last_seen) < idle_timeout_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_over_when_idle_and_when_it_had_its_time() {
        let at = Timestamp::from_millis;
        let login = Login {
            id: LoginId::new(),
            user: "ada".into(),
            opened_with: OpenedWith::Key(KeyId::new()),
            created_at: at(0),
            last_seen_at: at(0),
            expires_at: at(100),
            ip_address: None,
            user_agent: None,
        };
        for (last_seen, now, open) in [
            (0, 0, true),
            (0, 9, true),
            (0, 10, false),
            (50, 59, true),
            (95, 99, true),
            (99, 100, false),
            // A clock that was set back.
            (50, 40, true),
        ] {
            assert_eq!(
                login.is_open(at(last_seen), 10, at(now)),
                open,
                "{last_seen} {now}"
            );
        }
        let json = serde_json::to_value(&login).unwrap();
        assert!(
            json["key_id"].is_string() && json.get("token").is_none(),
            "{json}"
        );
    }
}
