//! One issuer, and its keys as far as they are known.
//!
//! Requests only read here. An actor fetches the keys: before they are stale, and when a request
//! arrives with an unknown key. Only that request waits, for a bounded time and with a bounded
//! number of others.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use deia_model::{Credential, Principal, Timestamp, TrustAnchor};
use tokio::sync::{Notify, Semaphore, watch};

use super::{
    gate::Gate,
    jwks::{KeySet, hash},
    token::{Token, TokenError},
    verify::{Rules, Verified, verify},
};
use crate::config::{IssuerSettings, JwtSettings};

/// Maximum number of requests that wait for the keys of one issuer. Fixed: they all wait
/// for one answer; further ones are refused and come again.
const MAX_WAITING: usize = 64;

/// An issuer whose tokens are accepted.
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) settings: IssuerSettings,
    pub(crate) jwt: JwtSettings,
    pub(super) name: Arc<str>,
    settings_sha256: [u8; 32],
    keys: ArcSwapOption<Fetched>,
    editions: AtomicU64,
    gate: Mutex<Gate>,
    asked: Notify,
    /// Number of attempts that have ended.
    rounds: watch::Sender<u64>,
    waiting: Semaphore,
}

/// Keys as they were fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    set: KeySet,
    /// Number that changes whenever the set does.
    pub(super) edition: u64,
    /// Time at which the keys were requested.
    at: Instant,
    /// Trust anchors of tokens that are signed with these keys.
    pub(super) trust_anchors: Vec<TrustAnchor>,
}

/// A running attempt, which ends when this is dropped.
pub(crate) struct Attempt<'a>(&'a Issuer);

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.0.gate().in_flight = false;
        self.0.rounds.send_modify(|rounds| *rounds += 1);
    }
}

/// Returns a hash of the settings that decide which identity a token of the issuer proves. The
/// address of the keys is not among them.
fn settings_sha256(settings: &IssuerSettings) -> [u8; 32] {
    let settings = IssuerSettings {
        jwks_url: None,
        ..settings.clone()
    };
    // The fields are plain and in a fixed order, so serialization cannot fail.
    hash(&[&serde_json::to_vec(&settings).unwrap_or_default()])
}

impl Issuer {
    pub(super) fn new(settings: IssuerSettings, jwt: JwtSettings) -> Self {
        Self {
            name: settings.name.as_str().into(),
            settings_sha256: settings_sha256(&settings),
            settings,
            jwt,
            keys: ArcSwapOption::empty(),
            editions: AtomicU64::new(1),
            gate: Mutex::default(),
            asked: Notify::new(),
            rounds: watch::Sender::new(0),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }

    pub(super) fn principal(&self, who: Verified) -> Principal {
        Principal {
            user: who.user,
            role: who.role,
            permissions: who.role.permissions(),
            bot: None,
            credential: Credential::Token {
                issuer: self.name.clone(),
                expires_at: who.expires_at,
                trust_anchor: who.trust_anchor,
            },
        }
    }

    /// Returns the keys of the issuer, unless they are too old to be trusted.
    pub(super) fn current(&self) -> Option<Arc<Fetched>> {
        let fetched = self.keys.load_full()?;
        (fetched.at.elapsed() < self.jwt.keys_valid_for).then_some(fetched)
    }

    pub(super) fn check(
        &self,
        token: &Token<'_>,
        now: Timestamp,
    ) -> Result<(Verified, u64), TokenError> {
        // A token that is not allowed with any key is not worth a fetch.
        if !self.settings.algorithms.contains(&token.algorithm) {
            return Err(TokenError::Algorithm);
        }
        let fetched = self.current().ok_or_else(|| self.unavailable())?;
        let rules = Rules {
            issuer: &self.settings,
            settings_sha256: &self.settings_sha256,
            jwt: &self.jwt,
        };
        Ok((verify(token, rules, &fetched.set, now)?, fetched.edition))
    }

    /// Returns true if the keys are as they were at that time or later.
    pub(super) fn was_fetched_since(&self, time: Instant) -> bool {
        self.keys
            .load()
            .as_ref()
            .is_some_and(|keys| keys.at >= time)
    }

    /// Returns the error for an issuer that cannot be asked now, with the time until it can.
    pub(super) fn unavailable(&self) -> TokenError {
        let gate = *self.gate();
        let rest = gate.due_in(None, Instant::now(), &self.jwt);
        TokenError::Unavailable(if gate.in_flight { Duration::ZERO } else { rest })
    }

    /// Requests the keys, and waits until the attempt to fetch them has ended. Refuses when it is
    /// too soon to ask again: an anonymous caller who makes up names of keys must not cause a new
    /// key to be refused for good.
    pub(super) async fn wait_for_keys(&self) -> Result<(), TokenError> {
        let mut rounds = self.rounds.subscribe();
        let gate = *self.gate();
        if !gate.in_flight && !gate.is_open(Instant::now(), self.jwt.refresh_at_most_every) {
            return Err(self.unavailable());
        }
        let Ok(_place) = self.waiting.try_acquire() else {
            return Err(self.unavailable());
        };
        self.asked.notify_one();
        // The actor may be restarting.
        let patience = self.jwt.fetch_timeout + Duration::from_secs(1);
        match tokio::time::timeout(patience, rounds.changed()).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.unavailable()),
        }
    }

    /// Resolves when the keys must be fetched.
    pub(crate) async fn due(&self) {
        loop {
            let fetched = self.keys.load().as_ref().map(|fetched| fetched.at);
            let wait = self.gate().due_in(fetched, Instant::now(), &self.jwt);
            let asked = tokio::time::timeout(wait, self.asked.notified()).await;
            let open = self
                .gate()
                .is_open(Instant::now(), self.jwt.refresh_at_most_every);
            if open {
                return;
            }
            if asked.is_ok() {
                // Too soon: callers that asked need not wait.
                self.rounds.send_modify(|rounds| *rounds += 1);
            }
        }
    }

    /// Begins an attempt.
    pub(crate) fn begin(&self) -> Attempt<'_> {
        *self.gate() = Gate {
            last: Some(Instant::now()),
            in_flight: true,
        };
        Attempt(self)
    }

    /// Stores the keys that the last attempt fetched. Returns their number if they differ from
    /// the earlier ones.
    pub(crate) fn replace(&self, set: KeySet) -> Option<usize> {
        let before = self.keys.load_full();
        let same = before.filter(|before| before.set == set);
        let (len, changed) = (set.len(), same.is_none());
        let edition = match same {
            Some(before) => before.edition,
            None => self.editions.fetch_add(1, Ordering::Relaxed),
        };
        let fetched = Fetched {
            trust_anchors: set.trust_anchors(&self.settings_sha256),
            at: self.gate().last.unwrap_or_else(Instant::now),
            set,
            edition,
        };
        self.keys.store(Some(Arc::new(fetched)));
        changed.then_some(len)
    }

    fn gate(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
