//! The keys in force, in memory: a look-up takes no lock and does no I/O.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use arc_swap::ArcSwap;
use deia_model::{
    ApiKey, Credential, KeyId, KeyInfo, KeyRecord, Permissions, Principal, Role, Timestamp, rights,
};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use super::{AuthError, AuthFailure};

/// Precision of the last use of a key, in milliseconds, so that not every request writes to the
/// entry of a busy key. Fixed: nobody needs the last use more exactly.
const USE_GRAIN_MS: i64 = 1_000;

/// The keys in force.
#[derive(Debug)]
pub struct Keyring {
    keys: ArcSwap<HashMap<KeyId, Entry>>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Entry {
    record: KeyRecord,
    user: Arc<str>,
    role: Role,
    permissions: Permissions,
    /// The key that a rotation has replaced it with, and the time of the rotation.
    successor: Option<(KeyId, Timestamp)>,
    /// Last use in milliseconds, 0 if never; shared with earlier entries of the key.
    used: Arc<Use>,
}

#[derive(Debug, Default)]
struct Use {
    last_ms: AtomicI64,
    written_ms: AtomicI64,
}

impl Default for Keyring {
    fn default() -> Self {
        Self {
            keys: ArcSwap::default(),
            changed: watch::Sender::new(()),
        }
    }
}

impl Keyring {
    /// Replaces all keys, with effect from the next look-up.
    pub fn replace(&self, records: Vec<KeyRecord>) {
        let before = self.keys.load();
        let successors = successors(&records);
        let entry = |record: KeyRecord| {
            let (role, permissions) = rights(&record);
            let used = before.get(&record.info.id).map(|entry| entry.used.clone());
            let entry = Entry {
                user: record.info.user.as_str().into(),
                role,
                permissions,
                successor: successors.get(&record.info.id).copied(),
                used: used.unwrap_or_else(|| Use::of(&record.info)),
                record,
            };
            (entry.record.info.id, entry)
        };
        self.keys
            .store(Arc::new(records.into_iter().map(entry).collect()));
        self.changed.send_replace(());
    }

    /// Returns a receiver that is notified whenever keys or users have changed.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Returns the principal of this key, when it is used from that address at that time.
    ///
    /// # Errors
    /// [`AuthFailure`], with nothing in it that the bearer did not know.
    pub fn authenticate(
        &self,
        presented: &str,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Principal, AuthFailure> {
        let anonymous = AuthFailure::anonymous;
        let presented = ApiKey::parse(presented).map_err(|error| anonymous(error.into()))?;
        let keys = self.keys.load();
        let entry = keys
            .get(&presented.id())
            .ok_or_else(|| anonymous(AuthError::Unknown))?;
        let same: bool = presented
            .secret_sha256()
            .ct_eq(&entry.record.secret_sha256)
            .into();
        if !same {
            return Err(anonymous(AuthError::Unknown));
        }
        let who = entry.admit(from, now)?;
        entry.used.note(now);
        Ok(who)
    }

    /// Checks again a principal that was authenticated before and may still be connected.
    ///
    /// # Errors
    /// [`AuthFailure`], if the principal would be refused now.
    pub fn still(
        &self,
        who: &Principal,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Principal, AuthFailure> {
        let keys = self.keys.load();
        let gone = || AuthFailure {
            why: AuthError::Unknown,
            user: Some(who.user.clone()),
            key: who.key(),
        };
        let entry = who.key().and_then(|key| keys.get(&key));
        entry.ok_or_else(gone)?.admit(from, now)
    }

    /// Returns the principal that holds the key of that id, from that address at that time.
    ///
    /// # Errors
    /// [`AuthFailure`], if the key would be refused.
    pub fn holder(
        &self,
        id: KeyId,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Principal, AuthFailure> {
        let keys = self.keys.load();
        let entry = keys.get(&id);
        entry
            .ok_or_else(|| AuthFailure::anonymous(AuthError::Unknown))?
            .admit(from, now)
    }

    /// Notifies receivers that the set of accepted callers may have changed.
    pub fn announce(&self) {
        self.changed.send_replace(());
    }

    /// Returns the public description of a key.
    pub fn info(&self, id: KeyId) -> Option<KeyInfo> {
        let keys = self.keys.load();
        let info = keys.get(&id).map(|entry| entry.record.info.clone())?;
        Some(KeyInfo {
            last_used_at: self.last_used(id),
            ..info
        })
    }

    /// Returns the time at which a key was used last, as far as this run knows.
    pub fn last_used(&self, id: KeyId) -> Option<Timestamp> {
        let keys = self.keys.load();
        let last = keys.get(&id)?.used.last_ms.load(Ordering::Relaxed);
        (last > 0).then(|| Timestamp::from_millis(last))
    }

    /// Returns the keys that were used since the last call, and when.
    pub fn uses_to_write(&self) -> Vec<(KeyId, Timestamp)> {
        let keys = self.keys.load();
        let mut uses = Vec::new();
        for (id, entry) in keys.iter() {
            let last = entry.used.last_ms.load(Ordering::Relaxed);
            if entry.used.written_ms.swap(last, Ordering::Relaxed) != last {
                uses.push((*id, Timestamp::from_millis(last)));
            }
        }
        uses
    }
}

impl Entry {
    fn admit(&self, from: Option<IpAddr>, now: Timestamp) -> Result<Principal, AuthFailure> {
        let info = &self.record.info;
        let refuse = |why| {
            Err(AuthFailure {
                why,
                user: Some(self.user.clone()),
                key: Some(info.id),
            })
        };
        if info.revoked_at.is_some() {
            refuse(AuthError::Revoked)
        } else if !info.is_in_force(now) {
            refuse(match self.successor {
                Some((by, at)) => AuthError::Replaced { by, at },
                None => AuthError::Expired,
            })
        } else if !self.record.owner.active {
            refuse(AuthError::UserInactive)
        } else if !comes_from(info, from) {
            refuse(AuthError::Address)
        } else {
            Ok(Principal {
                user: self.user.clone(),
                role: self.role,
                permissions: self.permissions,
                bot: info.bot.clone(),
                credential: Credential::Key(info.id),
            })
        }
    }
}

/// Returns for each key that was rotated the next key of its family, and when it was made.
fn successors(records: &[KeyRecord]) -> HashMap<KeyId, (KeyId, Timestamp)> {
    let mut keys: Vec<_> = records.iter().map(|record| &record.info).collect();
    // Ids are ordered by time.
    keys.sort_unstable_by_key(|info| (info.family, info.created_at, info.id));
    let pairs = keys
        .windows(2)
        .filter(|pair| pair[0].family == pair[1].family);
    pairs
        .map(|pair| (pair[0].id, (pair[1].id, pair[1].created_at)))
        .collect()
}

/// Returns true if the key may be used from that address. An unknown address is in no list.
fn comes_from(info: &KeyInfo, from: Option<IpAddr>) -> bool {
    info.allow_ips.is_empty()
        || from.is_some_and(|from| info.allow_ips.iter().any(|range| range.contains(from)))
}

impl Use {
    fn of(info: &KeyInfo) -> Arc<Self> {
        let stored = info.last_used_at.map_or(0, Timestamp::as_millis);
        Arc::new(Self {
            last_ms: stored.into(),
            written_ms: stored.into(),
        })
    }

    fn note(&self, now: Timestamp) {
        let now = now.as_millis();
        if now - self.last_ms.load(Ordering::Relaxed) >= USE_GRAIN_MS {
            self.last_ms.store(now, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use deia_model::KeyGrant;

    use super::*;

    fn record(key: &ApiKey) -> KeyRecord {
        key.record(KeyGrant {
            expires_at: Some(Timestamp::from_millis(100_000)),
            ..KeyGrant::new("ada", Role::External)
        })
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn each_way_to_be_refused() {
        let (key, unknown) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        let ring = Keyring::default();
        let here: IpAddr = "192.0.2.7".parse().unwrap();
        let why = |text: &str, now| {
            let denied = ring.authenticate(text, Some(here), at(now)).unwrap_err();
            let known = denied.user.map(|user| user.to_string()).zip(denied.key);
            (denied.why, known)
        };
        let bearer = || Some(("ada".to_owned(), key.id()));
        assert_eq!(why(&key.reveal(), 1), (AuthError::Unknown, None));

        ring.replace(vec![record(&key)]);
        let who = ring.authenticate(&key.reveal(), None, at(99_999)).unwrap();
        assert_eq!((&*who.user, who.role), ("ada", Role::External));
        assert_eq!(why(&key.reveal(), 100_000), (AuthError::Expired, bearer()));
        assert_eq!(why(&unknown.reveal(), 1), (AuthError::Unknown, None));
        assert!(matches!(why("hello", 1), (AuthError::Malformed(_), None)));

        let mut other_secret = record(&key);
        other_secret.secret_sha256 = unknown.secret_sha256();
        ring.replace(vec![other_secret]);
        assert_eq!(why(&key.reveal(), 1), (AuthError::Unknown, None));

        let mut revoked = record(&key);
        revoked.info.revoked_at = Some(at(5));
        ring.replace(vec![revoked]);
        assert_eq!(why(&key.reveal(), 6), (AuthError::Revoked, bearer()));
        assert_eq!(
            ring.still(&who, None, at(6)).unwrap_err().why,
            AuthError::Revoked
        );

        let mut inactive = record(&key);
        inactive.owner.active = false;
        ring.replace(vec![inactive]);
        assert_eq!(why(&key.reveal(), 6), (AuthError::UserInactive, bearer()));

        let mut elsewhere = record(&key);
        elsewhere.info.allow_ips = vec!["198.51.100.0/24".parse().unwrap()];
        ring.replace(vec![elsewhere]);
        assert_eq!(why(&key.reveal(), 6), (AuthError::Address, bearer()));
        let from = |text: &str| ring.authenticate(&key.reveal(), text.parse().ok(), at(6));
        from("198.51.100.9").unwrap();
        from("::ffff:198.51.100.9").unwrap();
        from("not told").unwrap_err();

        ring.replace(Vec::new());
        let gone = ring.still(&who, None, at(6)).unwrap_err();
        assert_eq!(gone.why, AuthError::Unknown);
    }

    #[test]
    fn uses_are_told_once_and_survive_a_reload() {
        let key = ApiKey::generate().unwrap();
        let ring = Keyring::default();
        ring.replace(vec![record(&key)]);
        assert_eq!(
            (ring.last_used(key.id()), ring.uses_to_write()),
            (None, vec![])
        );
        let use_at = |ms| ring.authenticate(&key.reveal(), None, at(ms)).map(drop);
        use_at(5_000).unwrap();
        use_at(5_999).unwrap();
        ring.replace(vec![record(&key)]);
        assert_eq!(ring.last_used(key.id()), Some(at(5_000)), "to the second");
        assert_eq!(ring.uses_to_write(), [(key.id(), at(5_000))]);
        assert_eq!(ring.uses_to_write(), []);
        use_at(6_000).unwrap();
        assert_eq!(ring.uses_to_write(), [(key.id(), at(6_000))]);
        use_at(200_000).unwrap_err();
        assert_eq!(ring.uses_to_write(), [], "a refused use is none");
    }
}
