//! The sessions in browsers that are open, in memory: a look-up takes no lock and
//! no I/O.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use deia_model::{Login, LoginCookie, LoginId, LoginRecord, Timestamp};
use subtle::ConstantTimeEq;

use super::AuthError;

/// How exact the last use of a session is: a busy one is not written to by every
/// request.
const SEEN_GRAIN_MS: i64 = 1_000;

/// The sessions that are open.
#[derive(Debug)]
pub struct Logins {
    idle_timeout_ms: u64,
    open: ArcSwap<HashMap<LoginId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    login: LoginRecord,
    /// Shared with the entries before it.
    seen: Arc<Seen>,
}

#[derive(Debug)]
struct Seen {
    last_ms: AtomicI64,
    written_ms: AtomicI64,
}

impl Entry {
    /// As it is stored, but as of now.
    fn record(&self) -> LoginRecord {
        LoginRecord {
            info: self.info(),
            ..self.login.clone()
        }
    }

    /// What listings show, as of now.
    fn info(&self) -> Login {
        Login {
            last_seen_at: self.last_seen(),
            ..self.login.info.clone()
        }
    }

    fn last_seen(&self) -> Timestamp {
        Timestamp::from_millis(self.seen.last_ms.load(Ordering::Relaxed))
    }
}

impl Logins {
    /// None yet.
    pub fn new(idle_timeout: Duration) -> Self {
        Self {
            idle_timeout_ms: u64::try_from(idle_timeout.as_millis()).unwrap_or(u64::MAX),
            open: ArcSwap::default(),
        }
    }

    /// Replaces all. Holds from the next look-up.
    pub fn replace(&self, logins: Vec<LoginRecord>) {
        let before = self.open.load();
        let entry = |login: LoginRecord| {
            let id = login.info.id;
            let stored = login.info.last_seen_at.as_millis();
            let seen = before.get(&id).map(|entry| entry.seen.clone());
            let seen = seen.unwrap_or_else(|| {
                Arc::new(Seen {
                    last_ms: stored.into(),
                    written_ms: stored.into(),
                })
            });
            (id, Entry { login, seen })
        };
        self.open
            .store(Arc::new(logins.into_iter().map(entry).collect()));
    }

    /// The session of this cookie. It is not used by this: see [`Self::note_use`].
    ///
    /// # Errors
    /// [`AuthError::SessionOver`]: there is none, or it is over, or the secret is
    /// another; which of these is not told.
    pub fn find(&self, cookie: &LoginCookie, now: Timestamp) -> Result<LoginRecord, AuthError> {
        let open = self.open.load();
        let entry = open.get(&cookie.id()).ok_or(AuthError::SessionOver)?;
        let same: bool = cookie
            .secret_sha256()
            .ct_eq(&entry.login.secret_sha256)
            .into();
        let info = &entry.login.info;
        if !same || !info.is_open(entry.last_seen(), self.idle_timeout_ms, now) {
            return Err(AuthError::SessionOver);
        }
        Ok(entry.record())
    }

    /// Notes that it was used: who was let in with it was.
    pub fn note_use(&self, id: LoginId, now: Timestamp) {
        let (open, now) = (self.open.load(), now.as_millis());
        let Some(entry) = open.get(&id) else { return };
        if now - entry.seen.last_ms.load(Ordering::Relaxed) >= SEEN_GRAIN_MS {
            entry.seen.last_ms.store(now, Ordering::Relaxed);
        }
    }

    /// The session of that id, if it is open; it is not used by this.
    pub fn get(&self, id: LoginId, now: Timestamp) -> Option<LoginRecord> {
        let open = self.open.load();
        let entry = open.get(&id)?;
        let is_open = entry
            .login
            .info
            .is_open(entry.last_seen(), self.idle_timeout_ms, now);
        is_open.then(|| entry.record())
    }

    /// Returns when a session is over unless it is used until then.
    pub fn over_at(&self, id: LoginId) -> Option<Timestamp> {
        let open = self.open.load();
        let entry = open.get(&id)?;
        let idle = entry.last_seen().plus_millis(self.idle_timeout_ms);
        Some(idle.min(entry.login.info.expires_at))
    }

    /// The open sessions of a user, oldest first.
    pub fn of_user(&self, user: &str, now: Timestamp) -> Vec<Login> {
        let open = self.open.load();
        let mut found: Vec<_> = open
            .values()
            .filter(|entry| entry.login.info.user == user)
            .map(Entry::info)
            .filter(|info| info.is_open(info.last_seen_at, self.idle_timeout_ms, now))
            .collect();
        found.sort_by_key(|login| login.id);
        found
    }

    /// Those of which that is so.
    pub fn those(&self, is: impl Fn(&LoginRecord) -> bool) -> Vec<LoginId> {
        let open = self.open.load();
        let those = open.values().filter(|entry| is(&entry.login));
        those.map(|entry| entry.login.info.id).collect()
    }

    /// Those that are over and still there.
    pub fn over(&self, now: Timestamp) -> Vec<LoginId> {
        let open = self.open.load();
        let over = |entry: &&Entry| {
            let info = &entry.login.info;
            !info.is_open(entry.last_seen(), self.idle_timeout_ms, now)
        };
        open.values()
            .filter(over)
            .map(|entry| entry.login.info.id)
            .collect()
    }

    /// Those that were used since this was asked last, and when.
    pub fn uses_to_write(&self) -> Vec<(LoginId, Timestamp)> {
        let open = self.open.load();
        let mut uses = Vec::new();
        for (id, entry) in open.iter() {
            let last = entry.seen.last_ms.load(Ordering::Relaxed);
            if entry.seen.written_ms.swap(last, Ordering::Relaxed) != last {
                uses.push((*id, Timestamp::from_millis(last)));
            }
        }
        uses
    }
}

#[cfg(test)]
mod tests {
    use deia_model::{KeyId, OpenedWith};

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn record(cookie: &LoginCookie, user: &str) -> LoginRecord {
        LoginRecord {
            info: Login {
                id: cookie.id(),
                user: user.into(),
                opened_with: OpenedWith::Key(KeyId::new()),
                created_at: at(0),
                last_seen_at: at(0),
                expires_at: at(100_000),
                ip_address: None,
                user_agent: None,
            },
            secret_sha256: cookie.secret_sha256(),
            basis: None,
        }
    }

    #[test]
    fn a_session_is_found_while_it_is_used() {
        let [ada, bob, forged] = [(); 3].map(|()| LoginCookie::generate().unwrap());
        let text = forged
            .reveal()
            .replace(&forged.id().to_string(), &ada.id().to_string());
        let forged = LoginCookie::parse(&text).unwrap();
        let logins = Logins::new(Duration::from_secs(10));
        logins.replace(vec![record(&ada, "ada"), record(&bob, "bob")]);
        let find = |cookie: &LoginCookie, now| {
            let found = logins.find(cookie, at(now))?;
            logins.note_use(cookie.id(), at(now));
            Ok(found.info.user)
        };
        // Who only looks does not use it.
        logins.find(&bob, at(5_000)).unwrap();
        assert_eq!(find(&ada, 9_000), Ok("ada".into()));
        assert_eq!(find(&forged, 9_000), Err(AuthError::SessionOver));
        assert_eq!(find(&bob, 10_000), Err(AuthError::SessionOver), "idle");
        assert_eq!(logins.of_user("ada", at(10_000)).len(), 1);
        assert_eq!(logins.of_user("bob", at(10_000)), []);
        assert_eq!(logins.over(at(10_000)), [bob.id()]);
        assert_eq!(logins.uses_to_write(), [(ada.id(), at(9_000))]);
        assert_eq!(logins.uses_to_write(), []);
        // A reload with what is stored does not forget the use.
        logins.replace(vec![record(&ada, "ada")]);
        assert_eq!(
            logins.get(ada.id(), at(18_000)).unwrap().info.last_seen_at,
            at(9_000)
        );
        for now in (18_000..100_000).step_by(9_000) {
            assert_eq!(find(&ada, now), Ok("ada".into()), "{now}");
        }
        assert_eq!(
            find(&ada, 100_000),
            Err(AuthError::SessionOver),
            "it had its time"
        );
        assert_eq!(find(&bob, 1), Err(AuthError::SessionOver), "ended");
    }
}
