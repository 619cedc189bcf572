//! The open web sessions, in memory: a look-up takes no lock and does no I/O.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use deia_model::{Timestamp, WebSession, WebSessionCookie, WebSessionId, WebSessionRecord};
use subtle::ConstantTimeEq;

use super::AuthError;

/// Precision of the last use of a session, in milliseconds, so that not every request writes to a
/// busy one. Fixed: nobody needs the last use more exactly.
const SEEN_GRAIN_MS: i64 = 1_000;

/// The sessions that are open.
#[derive(Debug)]
pub struct WebSessions {
    idle_timeout_ms: u64,
    open: ArcSwap<HashMap<WebSessionId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    web_session: WebSessionRecord,
    /// Last use, shared with earlier entries of the session.
    seen: Arc<Seen>,
}

#[derive(Debug)]
struct Seen {
    last_ms: AtomicI64,
    written_ms: AtomicI64,
}

impl Entry {
    /// Returns the session as it is stored, with its last use as of now.
    fn record(&self) -> WebSessionRecord {
        WebSessionRecord {
            info: self.info(),
            ..self.web_session.clone()
        }
    }

    /// Returns the description in listings, as of now.
    fn info(&self) -> WebSession {
        WebSession {
            last_seen_at: self.last_seen(),
            ..self.web_session.info.clone()
        }
    }

    fn last_seen(&self) -> Timestamp {
        Timestamp::from_millis(self.seen.last_ms.load(Ordering::Relaxed))
    }
}

impl WebSessions {
    /// Creates an empty set of sessions.
    pub fn new(idle_timeout: Duration) -> Self {
        Self {
            idle_timeout_ms: u64::try_from(idle_timeout.as_millis()).unwrap_or(u64::MAX),
            open: ArcSwap::default(),
        }
    }

    /// Replaces all sessions, with effect from the next look-up.
    pub fn replace(&self, web_sessions: Vec<WebSessionRecord>) {
        let before = self.open.load();
        let entry = |web_session: WebSessionRecord| {
            let id = web_session.info.id;
            let stored = web_session.info.last_seen_at.as_millis();
            let seen = before.get(&id).map(|entry| entry.seen.clone());
            let seen = seen.unwrap_or_else(|| {
                Arc::new(Seen {
                    last_ms: stored.into(),
                    written_ms: stored.into(),
                })
            });
            (id, Entry { web_session, seen })
        };
        self.open
            .store(Arc::new(web_sessions.into_iter().map(entry).collect()));
    }

    /// Returns the session of this cookie. Does not count as use: see [`Self::note_use`].
    ///
    /// # Errors
    /// [`AuthError::SessionOver`]: the session does not exist or is over, or the secret is
    /// another; the error does not reveal which.
    pub fn find(
        &self,
        cookie: &WebSessionCookie,
        now: Timestamp,
    ) -> Result<WebSessionRecord, AuthError> {
        let open = self.open.load();
        let entry = open.get(&cookie.id()).ok_or(AuthError::SessionOver)?;
        let same: bool = cookie
            .secret_sha256()
            .ct_eq(&entry.web_session.secret_sha256)
            .into();
        let info = &entry.web_session.info;
        if !same || !info.is_open(entry.last_seen(), self.idle_timeout_ms, now) {
            return Err(AuthError::SessionOver);
        }
        Ok(entry.record())
    }

    /// Records that a session was used, after its request was authenticated.
    pub fn note_use(&self, id: WebSessionId, now: Timestamp) {
        let (open, now) = (self.open.load(), now.as_millis());
        let Some(entry) = open.get(&id) else { return };
        if now - entry.seen.last_ms.load(Ordering::Relaxed) >= SEEN_GRAIN_MS {
            entry.seen.last_ms.store(now, Ordering::Relaxed);
        }
    }

    /// Returns the session of that id, if it is open. Does not count as use.
    pub fn get(&self, id: WebSessionId, now: Timestamp) -> Option<WebSessionRecord> {
        let open = self.open.load();
        let entry = open.get(&id)?;
        let is_open = entry
            .web_session
            .info
            .is_open(entry.last_seen(), self.idle_timeout_ms, now);
        is_open.then(|| entry.record())
    }

    /// Returns the time at which a session ends unless it is used before.
    pub fn over_at(&self, id: WebSessionId) -> Option<Timestamp> {
        let open = self.open.load();
        let entry = open.get(&id)?;
        let idle = entry.last_seen().plus_millis(self.idle_timeout_ms);
        Some(idle.min(entry.web_session.info.expires_at))
    }

    /// Returns the open sessions of a user, oldest first.
    pub fn of_user(&self, user: &str, now: Timestamp) -> Vec<WebSession> {
        let open = self.open.load();
        let mut found: Vec<_> = open
            .values()
            .filter(|entry| entry.web_session.info.user == user)
            .map(Entry::info)
            .filter(|info| info.is_open(info.last_seen_at, self.idle_timeout_ms, now))
            .collect();
        found.sort_by_key(|web_session| web_session.id);
        found
    }

    /// Returns the ids of the sessions that satisfy the predicate.
    pub fn those(&self, is: impl Fn(&WebSessionRecord) -> bool) -> Vec<WebSessionId> {
        let open = self.open.load();
        let those = open.values().filter(|entry| is(&entry.web_session));
        those.map(|entry| entry.web_session.info.id).collect()
    }

    /// Returns the ids of expired sessions that are still in memory.
    pub fn over(&self, now: Timestamp) -> Vec<WebSessionId> {
        let open = self.open.load();
        let over = |entry: &&Entry| {
            let info = &entry.web_session.info;
            !info.is_open(entry.last_seen(), self.idle_timeout_ms, now)
        };
        open.values()
            .filter(over)
            .map(|entry| entry.web_session.info.id)
            .collect()
    }

    /// Returns the sessions that were used since the last call, and when.
    pub fn uses_to_write(&self) -> Vec<(WebSessionId, Timestamp)> {
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

    fn record(cookie: &WebSessionCookie, user: &str) -> WebSessionRecord {
        WebSessionRecord {
            info: WebSession {
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
            trust_anchor: None,
        }
    }

    #[test]
    fn a_session_is_found_while_it_is_used() {
        let [ada, bob, forged] = [(); 3].map(|()| WebSessionCookie::generate().unwrap());
        let text = forged
            .reveal()
            .replace(&forged.id().to_string(), &ada.id().to_string());
        let forged = WebSessionCookie::parse(&text).unwrap();
        let web_sessions = WebSessions::new(Duration::from_secs(10));
        web_sessions.replace(vec![record(&ada, "ada"), record(&bob, "bob")]);
        let find = |cookie: &WebSessionCookie, now| {
            let found = web_sessions.find(cookie, at(now))?;
            web_sessions.note_use(cookie.id(), at(now));
            Ok(found.info.user)
        };
        // A look-up alone does not count as use.
        web_sessions.find(&bob, at(5_000)).unwrap();
        assert_eq!(find(&ada, 9_000), Ok("ada".into()));
        assert_eq!(find(&forged, 9_000), Err(AuthError::SessionOver));
        assert_eq!(find(&bob, 10_000), Err(AuthError::SessionOver), "idle");
        assert_eq!(web_sessions.of_user("ada", at(10_000)).len(), 1);
        assert_eq!(web_sessions.of_user("bob", at(10_000)), []);
        assert_eq!(web_sessions.over(at(10_000)), [bob.id()]);
        assert_eq!(web_sessions.uses_to_write(), [(ada.id(), at(9_000))]);
        assert_eq!(web_sessions.uses_to_write(), []);
        // A reload from the store keeps later uses.
        web_sessions.replace(vec![record(&ada, "ada")]);
        assert_eq!(
            web_sessions
                .get(ada.id(), at(18_000))
                .unwrap()
                .info
                .last_seen_at,
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
