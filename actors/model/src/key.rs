//! API keys as they are stored and listed. The secret is in neither.

use serde::{Deserialize, Serialize};

use super::{AddressRange, BotName, KeyId, Timestamp};
use crate::{Permission, Role};

/// A stored key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// What listings and the audit trail show.
    pub info: KeyInfo,
    /// SHA-256 of the secret part.
    pub secret_sha256: [u8; 32],
    /// The user that it belongs to, as it stands now.
    pub owner: KeyOwner,
}

/// What the user of a key has to do with what the key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyOwner {
    /// The role of the user.
    pub role: Role,
    /// Whether the user may act at all.
    pub active: bool,
}

/// What is shown of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct KeyInfo {
    /// Names the key; not secret.
    pub id: KeyId,
    /// What it is for, in its maker's words.
    #[serde(default)]
    #[schema(example = "nightly builds")]
    pub name: String,
    /// Who acts with it: the submitter of tasks and the actor of events.
    pub user: String,
    /// What it may do; never more than its user may.
    pub role: Role,
    /// The only permissions of the role that it has; `null`: all of them.
    #[serde(default)]
    #[schema(example = json!(["task:submit", "task:read"]))]
    pub scopes: Option<Vec<Permission>>,
    /// The only addresses that it may come from; empty: any.
    #[serde(default)]
    #[schema(example = json!(["192.0.2.7", "2001:db8::/32"]))]
    pub allow_ips: Vec<AddressRange>,
    /// Of a key of the role `bot`: the bot whose tasks it sees.
    #[serde(default)]
    pub bot: Option<BotName>,
    /// The first key of its rotation: itself, or the one that was rotated first.
    pub family: KeyId,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// From when on it is refused.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
    /// When it was used last, to the second.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

/// What a new key is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyGrant {
    /// Who acts with it.
    pub user: String,
    /// What it may do.
    pub role: Role,
    /// What it is for.
    pub name: String,
    /// The only permissions of the role that it has; `None`: all of them.
    pub scopes: Option<Vec<Permission>>,
    /// The only addresses that it may come from; empty: any.
    pub allow_ips: Vec<AddressRange>,
    /// Of a key of the role `bot`: its bot.
    pub bot: Option<BotName>,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
}

impl KeyGrant {
    /// All that the role may do, from anywhere, for ever.
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
    /// Neither revoked nor expired.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| at > now)
    }
}

impl KeyRecord {
    /// A key made now, of a user who has its role.
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

    /// Whether whoever holds it may do everything, now.
    pub fn is_full_admin(&self, now: Timestamp) -> bool {
        let KeyOwner { role, active } = self.owner;
        active
            && (role, self.info.role) == (Role::Admin, Role::Admin)
            && self.info.scopes.is_none()
            && self.info.is_in_force(now)
    }
}

/// For how long somebody can make keys and users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdminHold {
    /// Nobody can.
    Lost,
    /// Only with keys that expire, or that are held to addresses.
    ForAWhile,
    /// For good, and from anywhere.
    ForGood,
}

/// For how long somebody can make keys and users, with these keys. What would
/// make this less is refused, or the hive would be without an admin.
pub fn admin_hold(keys: &[KeyRecord], now: Timestamp) -> AdminHold {
    let admins = keys.iter().filter(|key| key.is_full_admin(now));
    let hold = admins.map(|key| {
        let anywhere = key.info.allow_ips.is_empty();
        match key.info.expires_at {
            None if anywhere => AdminHold::ForGood,
            _ => AdminHold::ForAWhile,
        }
    });
    hold.max().unwrap_or(AdminHold::Lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_the_hive() {
        use AdminHold::{ForAWhile, ForGood, Lost};
        let now = Timestamp::from_millis(1_000);
        let of = |role| KeyRecord::new(KeyId::new(), [0; 32], KeyGrant::new("ada", role));
        let admin = |change: fn(&mut KeyRecord)| {
            let mut key = of(Role::Admin);
            change(&mut key);
            key
        };
        for (key, expected) in [
            (of(Role::Admin), ForGood),
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
                ForAWhile,
            ),
            (
                admin(|key| key.info.allow_ips = vec!["192.0.2.7".parse().unwrap()]),
                ForAWhile,
            ),
        ] {
            assert_eq!(
                admin_hold(std::slice::from_ref(&key), now),
                expected,
                "{key:?}"
            );
            let with_another = admin_hold(&[key, of(Role::Admin)], now);
            assert_eq!(with_another, ForGood);
        }
        assert_eq!(admin_hold(&[], now), Lost);
    }
}
