//! API keys as stored and as listed. Neither form contains the secret.

use serde::{Deserialize, Serialize};

use super::{AddressRange, BotName, KeyId, Timestamp};
use crate::{Permission, Role};

/// A stored key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The part of the record that listings and the audit trail show.
    pub info: KeyInfo,
    /// SHA-256 of the secret part.
    pub secret_sha256: [u8; 32],
    /// The current rights of the user that the key belongs to.
    pub owner: KeyOwner,
}

/// The rights of the user of a key, which limit those of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyOwner {
    /// The role of the user.
    pub role: Role,
    /// True if the user may act at all.
    pub active: bool,
}

/// A key as listings show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct KeyInfo {
    /// The id of the key; not secret.
    pub id: KeyId,
    /// The purpose of the key, as described by the person who created it.
    #[serde(default)]
    #[schema(example = "nightly builds")]
    pub name: String,
    /// The user that acts with the key: the submitter of tasks and the actor of events.
    pub user: String,
    /// The role of the key; its rights never exceed those of its user.
    pub role: Role,
    /// The permissions that the role is restricted to; `null`: all of them.
    #[serde(default)]
    #[schema(example = json!(["task:submit", "task:read"]))]
    pub scopes: Option<Vec<Permission>>,
    /// The addresses that the key may be used from; empty: any.
    #[serde(default)]
    #[schema(example = json!(["192.0.2.7", "2001:db8::/32"]))]
    pub allow_ips: Vec<AddressRange>,
    /// The bot whose tasks the key sees, if its role is `bot`.
    #[serde(default)]
    pub bot: Option<BotName>,
    /// The first key of its rotation: the key itself, or the one that was rotated
    /// first.
    pub family: KeyId,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time from which the key is refused.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Time at which the key was revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
    /// Time of the last use, to the second.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

/// The description of a key to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyGrant {
    /// The user that acts with the key.
    pub user: String,
    /// The role of the key.
    pub role: Role,
    /// The purpose of the key.
    pub name: String,
    /// The permissions that the role is restricted to; `None`: all of them.
    pub scopes: Option<Vec<Permission>>,
    /// The addresses that the key may be used from; empty: any.
    pub allow_ips: Vec<AddressRange>,
    /// The bot of the key, if its role is `bot`.
    pub bot: Option<BotName>,
    /// Time from which the key is refused.
    pub expires_at: Option<Timestamp>,
}

impl KeyGrant {
    /// Creates a grant of all permissions of the role, from any address, without
    /// expiry.
    pub fn new(user: impl Into<String>, role: Role) -> Self {
        Self {
            user: user.into(),
            role,
            name: String::new(),
            scopes: None,
            allow_ips: Vec::new(),
            bot: None,
            expires_at: None,
        }
    }
}

impl KeyInfo {
    /// Returns whether the key is neither revoked nor expired.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| at > now)
    }
}

impl KeyRecord {
    /// Creates the info of a key created now, of a user who has the role of the key.
    pub fn new(id: KeyId, secret_sha256: [u8; 32], grant: KeyGrant) -> Self {
        let info = KeyInfo {
            id,
            name: grant.name,
            user: grant.user,
            role: grant.role,
            scopes: grant.scopes,
            allow_ips: grant.allow_ips,
            bot: grant.bot,
            family: id,
            created_at: Timestamp::now(),
            expires_at: grant.expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        Self {
            owner: KeyOwner {
                role: info.role,
                active: true,
            },
            info,
            secret_sha256,
        }
    }

    /// Returns whether the key gives its holder all permissions now.
    pub fn is_full_admin(&self, now: Timestamp) -> bool {
        let KeyOwner { role, active } = self.owner;
        active
            && (role, self.info.role) == (Role::Admin, Role::Admin)
            && self.info.scopes.is_none()
            && self.info.is_in_force(now)
    }
}

/// The access that remains for creating keys and users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdminAccess {
    /// Nobody can.
    Lost,
    /// Only with keys that expire or that are restricted to addresses.
    Limited,
    /// Permanently and from any address.
    Lasting,
}

/// Returns the access that these keys give for creating keys and users. Changes that
/// would reduce it are refused: the hive would be left without an admin.
pub fn admin_access(keys: &[KeyRecord], now: Timestamp) -> AdminAccess {
    let admins = keys.iter().filter(|key| key.is_full_admin(now));
    let hold = admins.map(|key| {
        let anywhere = key.info.allow_ips.is_empty();
        match key.info.expires_at {
            None if anywhere => AdminAccess::Lasting,
            _ => AdminAccess::Limited,
        }
    });
    hold.max().unwrap_or(AdminAccess::Lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_determine_the_remaining_admin_access() {
        use AdminAccess::{Lasting, Limited, Lost};
        let now = Timestamp::from_millis(1_000);
        let of = |role| KeyRecord::new(KeyId::new(), [0; 32], KeyGrant::new("ada", role));
        let admin = |change: fn(&mut KeyRecord)| {
            let mut key = of(Role::Admin);
            change(&mut key);
            key
        };
        for (key, expected) in [
            (of(Role::Admin), Lasting),
            (of(Role::Operator), Lost),
            (admin(|key| key.owner.role = Role::Operator), Lost),
            (admin(|key| key.owner.active = false), Lost),
            (
                admin(|key| key.info.scopes = Some(Permission::ALL.to_vec())),
                Lost,
            ),
            (
                admin(|key| key.info.revoked_at = Some(Timestamp::from_millis(1))),
                Lost,
            ),
            (
                admin(|key| key.info.expires_at = Some(Timestamp::from_millis(1_000))),
                Lost,
            ),
            (
                admin(|key| key.info.expires_at = Some(Timestamp::from_millis(1_001))),
                Limited,
            ),
            (
                admin(|key| key.info.allow_ips = vec!["192.0.2.7".parse().unwrap()]),
                Limited,
            ),
        ] {
            assert_eq!(
                admin_access(std::slice::from_ref(&key), now),
                expected,
                "{key:?}"
            );
            let with_another = admin_access(&[key, of(Role::Admin)], now);
            assert_eq!(with_another, Lasting);
        }
        assert_eq!(admin_access(&[], now), Lost);
    }
}
