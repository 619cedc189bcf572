//! Cache of verified tokens, so that each token costs one signature check.

use std::sync::{Mutex, PoisonError};

use dashmap::DashMap;
use deia_model::Timestamp;
use ring::digest::{SHA256, digest};

use super::verify::Verified;

/// A verified token.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    /// Identity that the token proves.
    pub(super) who: Verified,
    /// Index of its issuer in the list.
    pub(super) issuer: usize,
    /// Edition of the issuer's keys that verified the token.
    pub(super) edition: u64,
}

/// Verified tokens, by their hash. The number is bounded: when the cache is full, expired tokens
/// are removed, and if that makes no room, all are.
#[derive(Debug)]
pub(super) struct Cache {
    most: usize,
    known: DashMap<[u8; 32], Known>,
    /// Held while a token is added, so that the bound holds across concurrent additions.
    adding: Mutex<()>,
}

/// Returns the hash that identifies a token in the cache.
pub(super) fn fingerprint(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    bytes
}

impl Cache {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            known: DashMap::new(),
            adding: Mutex::default(),
        }
    }

    /// Returns the entry of a token at that time. The caller must check the edition.
    pub(super) fn get(&self, token: &[u8; 32], now: Timestamp) -> Option<Known> {
        let found = self.known.get(token)?;
        (found.who.expires_at > now).then(|| found.clone())
    }

    pub(super) fn put(&self, token: [u8; 32], good: Known, now: Timestamp) {
        let _one_at_a_time = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        if self.known.len() >= self.most && !self.known.contains_key(&token) {
            self.known.retain(|_, good| good.who.expires_at > now);
            if self.known.len() >= self.most {
                self.known.clear();
            }
        }
        self.known.insert(token, good);
    }
}

#[cfg(test)]
mod tests {
    use deia_model::Role;

    use super::*;

    #[test]
    fn it_forgets_what_is_over_and_stays_within_its_bound() {
        let at = Timestamp::from_millis;
        let good = |expires| Known {
            who: Verified {
                user: "idp:ada".into(),
                role: Role::Viewer,
                expires_at: at(expires),
                trust_anchor: [0; 32],
            },
            issuer: 0,
            edition: 1,
        };
        let cache = Cache::new(2);
        let [a, b, c] = ["a", "b", "c"].map(fingerprint);
        cache.put(a, good(10), at(0));
        cache.put(b, good(20), at(0));
        assert_eq!(cache.get(&a, at(9)), Some(good(10)));
        assert_eq!(cache.get(&a, at(10)), None);
        cache.put(c, good(30), at(15));
        assert_eq!(cache.get(&b, at(15)), Some(good(20)));
        cache.put(a, good(30), at(15));
        assert_eq!(cache.get(&b, at(15)), None, "full: all were forgotten");
        assert_eq!(cache.get(&a, at(15)), Some(good(30)));
    }
}
