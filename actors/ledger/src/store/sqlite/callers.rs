//! Callers on whose behalf commands are applied: checks that they still have the access
//! that they were admitted with.

use deia_model::{Credential, KeyId, KeyRecord, Principal, Timestamp, WebSessionId, rights};
use rusqlite::Connection;

use super::{errors::ApplyError, keys, transaction::Tx};
use crate::Rejection;

/// Refuses with [`Rejection::AccessChanged`] unless the caller would be admitted now,
/// with the same rights. Addresses are not checked: those of a key never change. The
/// store does not know issuers and certificate authorities: for tokens only their
/// expiry is checked here, and certificates are the concern of the listener.
pub(super) fn check(tx: &mut Tx<'_>, who: &Principal) -> Result<(), ApplyError> {
    let stands = match &who.credential {
        Credential::Key(key) => key_stands(tx, *key, who)?,
        Credential::WebSession { id, key } => {
            is_open(tx.db, *id, tx.now)?
                && match key {
                    Some(key) => key_stands(tx, *key, who)?,
                    None => true,
                }
        }
        Credential::Token { expires_at, .. } => *expires_at > tx.now,
        Credential::Certificate => true,
    };
    match stands {
        true => Ok(()),
        false => Err(Rejection::AccessChanged.into()),
    }
}

/// Checks a key, at most once in a transaction: it often has many commands of one
/// caller.
fn key_stands(tx: &mut Tx<'_>, key: KeyId, who: &Principal) -> rusqlite::Result<bool> {
    let same = |known: &&Principal| known.key() == Some(key) && has_same_rights(known, who);
    if tx.vouched.iter().find(same).is_some() {
        return Ok(true);
    }
    let found = keys::find(tx.db, key)?;
    let stands = found.is_some_and(|record| is_unchanged(&record, who, tx.now));
    if stands {
        tx.vouched.push(who.clone());
    }
    Ok(stands)
}

/// Returns whether the key still gives the caller the same access as at admission.
fn is_unchanged(key: &KeyRecord, who: &Principal, now: Timestamp) -> bool {
    let info = &key.info;
    let same = *who.user == *info.user
        && who.bot == info.bot
        && (who.role, who.permissions) == rights(key);
    same && key.owner.active && info.is_in_force(now)
}

fn has_same_rights(one: &Principal, other: &Principal) -> bool {
    (&one.user, one.role, one.permissions, &one.bot)
        == (&other.user, other.role, other.permissions, &other.bot)
}

fn is_open(db: &Connection, web_session: WebSessionId, now: Timestamp) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM web_sessions WHERE id = ?1 AND expires_at > ?2")?
        .exists(rusqlite::params![web_session.as_bytes(), now.as_millis()])
}

#[cfg(test)]
mod tests {
    use deia_model::{ApiKey, KeyGrant, Permission, Role};

    use super::*;

    #[test]
    fn any_change_of_a_key_or_its_user_is_noticed() {
        let at = Timestamp::from_millis;
        let key = ApiKey::generate().unwrap().record(KeyGrant {
            expires_at: Some(at(100)),
            ..KeyGrant::new("ada", Role::Operator)
        });
        let (role, permissions) = rights(&key);
        let who = Principal {
            user: "ada".into(),
            role,
            permissions,
            bot: None,
            credential: Credential::Key(key.info.id),
        };
        type Case = (&'static str, fn(&mut KeyRecord), i64, bool);
        let cases: [Case; 8] = [
            ("nothing", |_| {}, 99, true),
            ("its expiry", |_| {}, 100, false),
            (
                "revocation",
                |key| key.info.revoked_at = Some(Timestamp::from_millis(5)),
                50,
                false,
            ),
            (
                "an end brought forward",
                |key| key.info.expires_at = Some(Timestamp::from_millis(7)),
                50,
                false,
            ),
            ("inactive", |key| key.owner.active = false, 50, false),
            (
                "a narrower role",
                |key| key.owner.role = Role::External,
                50,
                false,
            ),
            (
                "a wider role that the key does not have",
                |key| key.owner.role = Role::Admin,
                50,
                true,
            ),
            (
                "scopes",
                |key| key.info.scopes = Some(vec![Permission::TaskRead]),
                50,
                false,
            ),
        ];
        for (what, change, now, expected) in cases {
            let mut changed = key.clone();
            // The role of the user covers that of the key.
            changed.owner.role = Role::Operator;
            change(&mut changed);
            assert_eq!(is_unchanged(&changed, &who, at(now)), expected, "{what}");
        }
    }
}
