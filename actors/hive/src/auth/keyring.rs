//! The keys that are in force, in memory: a look-up takes no lock and no I/O.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use subtle::ConstantTimeEq;

use super::{ApiKey, KeyError, Permission, Role};
use crate::{
    ledger::{Ledger, StoreError},
    model::{KeyId, KeyRecord, Timestamp},
};

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user that acts: the submitter of tasks, the actor of events.
    pub user: Arc<str>,
    /// What they may do.
    pub role: Role,
    /// The key they came with.
    pub key: KeyId,
}

impl Principal {
    /// Whether they may do that.
    pub fn may(&self, permission: Permission) -> bool {
        self.role.may(permission)
    }

    /// The user whose tasks are the only ones they see; `None`: they see all.
    pub fn confined_to(&self) -> Option<&str> {
        self.role.sees_only_its_own().then_some(&*self.user)
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The text is not a key.
    #[error(transparent)]
    Malformed(#[from] KeyError),
    /// No such key, or another secret. The two are not told apart.
    #[error("the key is not known here")]
    Unknown,
    /// The key was revoked.
    #[error("the key was revoked")]
    Revoked,
    /// The key has expired.
    #[error("the key has expired")]
    Expired,
}

/// The keys in force.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: ArcSwap<HashMap<KeyId, Entry>>,
    reloading: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct Entry {
    record: KeyRecord,
    user: Arc<str>,
}

impl Keyring {
    /// Replaces all keys. Holds from the next look-up.
    pub fn replace(&self, records: Vec<KeyRecord>) {
        let entry = |record: KeyRecord| {
            (
                record.info.id,
                Entry {
                    user: record.info.user.as_str().into(),
                    record,
                },
            )
        };
        self.keys
            .store(Arc::new(records.into_iter().map(entry).collect()));
    }

    /// Takes over what the ledger says is in force. Calls wait for each other,
    /// so that what was read earlier never replaces what was read later.
    ///
    /// # Errors
    /// What keeps the store from reading; the keys stay as they were.
    pub async fn reload(&self, ledger: &Ledger) -> Result<(), StoreError> {
        let _one_at_a_time = self.reloading.lock().await;
        self.replace(ledger.keys().await?);
        Ok(())
    }

    /// Who comes with this key at that time.
    ///
    /// # Errors
    /// [`AuthError`], with nothing in it that the bearer did not know.
    pub fn authenticate(&self, presented: &str, now: Timestamp) -> Result<Principal, AuthError> {
        let presented = ApiKey::parse(presented)?;
        let keys = self.keys.load();
        let entry = keys.get(&presented.id()).ok_or(AuthError::Unknown)?;
        let same: bool = presented
            .secret_sha256()
            .ct_eq(&entry.record.secret_sha256)
            .into();
        let info = &entry.record.info;
        if !same {
            Err(AuthError::Unknown)
        } else if info.revoked_at.is_some() {
            Err(AuthError::Revoked)
        } else if info.expires_at.is_some_and(|at| at <= now) {
            Err(AuthError::Expired)
        } else {
            Ok(Principal {
                user: entry.user.clone(),
                role: info.role,
                key: info.id,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeyInfo;

    fn record(key: &ApiKey) -> KeyRecord {
        let info = KeyInfo {
            id: key.id(),
            user: "ada".into(),
            role: Role::External,
            created_at: Timestamp::from_millis(0),
            expires_at: Some(Timestamp::from_millis(100)),
            revoked_at: None,
        };
        KeyRecord {
            info,
            secret_sha256: key.secret_sha256(),
        }
    }

    #[test]
    fn each_way_to_be_refused() {
        let (key, stranger) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        let ring = Keyring::default();
        let at = Timestamp::from_millis;
        assert_eq!(
            ring.authenticate(&key.reveal(), at(1)),
            Err(AuthError::Unknown)
        );

        ring.replace(vec![record(&key)]);
        let principal = ring.authenticate(&key.reveal(), at(99)).unwrap();
        assert_eq!(
            (&*principal.user, principal.confined_to()),
            ("ada", Some("ada"))
        );
        assert_eq!(
            ring.authenticate(&key.reveal(), at(100)),
            Err(AuthError::Expired)
        );
        assert_eq!(
            ring.authenticate(&stranger.reveal(), at(1)),
            Err(AuthError::Unknown)
        );
        assert!(matches!(
            ring.authenticate("hello", at(1)),
            Err(AuthError::Malformed(_))
        ));

        let mut other_secret = record(&key);
        other_secret.secret_sha256 = stranger.secret_sha256();
        ring.replace(vec![other_secret]);
        assert_eq!(
            ring.authenticate(&key.reveal(), at(1)),
            Err(AuthError::Unknown)
        );

        let mut revoked = record(&key);
        revoked.info.revoked_at = Some(at(5));
        ring.replace(vec![revoked]);
        assert_eq!(
            ring.authenticate(&key.reveal(), at(6)),
            Err(AuthError::Revoked)
        );
    }
}
