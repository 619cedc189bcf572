//! Rate limits: a budget for each key, and one for each address that comes
//! without a valid key.
//!
//! The headers are those of draft-ietf-httpapi-ratelimit-headers-10: `q` is how
//! many requests may be made at once after a pause, `w` in how many seconds that
//! many are given back, `r` how many are left, `t` in how many seconds all are back.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    time::Duration,
};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use deia_hive::{config::LimitSettings, model::KeyId};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DashMapStateStore,
};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// How often what is back to its full budget should be [forgotten](Limits::forget).
pub(super) const FORGET_EVERY: Duration = Duration::from_secs(10);

type Keyed<K> = RateLimiter<K, DashMapStateStore<K>, DefaultClock, StateInformationMiddleware>;

/// The budgets of all callers.
pub(super) struct Limits {
    clock: DefaultClock,
    keys: Budget<KeyId>,
    strangers: Budget<u16>,
    probes: Budget<u16>,
    /// Addresses share 65,536 budgets by their hash, so that whoever owns many
    /// addresses cannot fill the memory.
    hasher: RandomState,
}

struct Budget<K: std::hash::Hash + Eq + Clone> {
    limiter: Keyed<K>,
    name: &'static str,
    policy: HeaderValue,
    rate: u32,
    burst: u32,
}

/// What is left of a budget, for the headers of an answer.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    name: &'static str,
    policy: HeaderValue,
    remaining: u32,
    reset_seconds: u64,
    /// How long to wait, when there is nothing left.
    pub(super) wait: Option<Duration>,
}

impl Limits {
    pub(super) fn new(settings: &LimitSettings) -> Self {
        let (rate, burst) = (settings.anonymous_per_second, settings.anonymous_burst);
        Self {
            clock: DefaultClock::default(),
            keys: Budget::new("key", settings.requests_per_second, settings.burst),
            strangers: Budget::new("address", rate, burst),
            probes: Budget::new("probe", rate, burst),
            hasher: RandomState::new(),
        }
    }

    /// Takes one request from the budget of a key.
    pub(super) fn key(&self, key: KeyId) -> Standing {
        self.keys.take(&key, &self.clock)
    }

    /// Takes one request from the budget of an address without a valid key.
    pub(super) fn stranger(&self, address: Option<IpAddr>) -> Standing {
        self.strangers.take(&self.slot(address), &self.clock)
    }

    /// Takes one request to an open route from the budget of an address. It is
    /// apart from [`Self::stranger`]: mistyped keys shall not blind a monitor.
    pub(super) fn probe(&self, address: Option<IpAddr>) -> Standing {
        self.probes.take(&self.slot(address), &self.clock)
    }

    /// Forgets whoever has the full budget again.
    pub(super) fn forget(&self) {
        self.keys.forget();
        self.strangers.forget();
        self.probes.forget();
    }

    fn slot(&self, address: Option<IpAddr>) -> u16 {
        // An IPv6 customer usually has a whole /64.
        let network = match address {
            Some(IpAddr::V6(address)) => Some(address.octets()[..8].to_vec()),
            Some(IpAddr::V4(address)) => Some(address.octets().to_vec()),
            None => None,
        };
        let hash = self.hasher.hash_one(network).to_le_bytes();
        u16::from_le_bytes([hash[0], hash[1]])
    }
}

impl<K: std::hash::Hash + Eq + Clone> Budget<K> {
    fn new(name: &'static str, rate: u32, burst: u32) -> Self {
        let positive = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(positive(rate)).allow_burst(positive(burst));
        let policy = format!("\"{name}\";q={burst};w={}", burst.div_ceil(rate.max(1)));
        Self {
            limiter: RateLimiter::dashmap(quota).with_middleware(),
            name,
            // Digits and a fixed name only: always a valid header.
            policy: HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("")),
            rate: rate.max(1),
            burst,
        }
    }

    fn take(&self, key: &K, clock: &DefaultClock) -> Standing {
        let (remaining, wait) = match self.limiter.check_key(key) {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(not_until) => (0, Some(not_until.wait_time_from(clock.now()))),
        };
        Standing {
            name: self.name,
            policy: self.policy.clone(),
            remaining,
            reset_seconds: u64::from(self.burst.saturating_sub(remaining).div_ceil(self.rate)),
            wait,
        }
    }

    fn forget(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

impl Standing {
    /// Writes the headers that tell of it.
    pub(super) fn write(self, headers: &mut HeaderMap) {
        let text = format!(
            "\"{}\";r={};t={}",
            self.name, self.remaining, self.reset_seconds
        );
        headers.insert(POLICY, self.policy);
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(LIMIT, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits::new(&LimitSettings {
            requests_per_second: 10,
            burst: 20,
            anonymous_per_second: 1,
            anonymous_burst: 2,
        })
    }

    #[test]
    fn budgets_are_apart() {
        let limits = limits();
        let here = Some("127.0.0.1".parse().unwrap());
        assert!(limits.stranger(here).wait.is_none());
        assert!(limits.stranger(here).wait.is_none());
        let wait = limits.stranger(here).wait.unwrap();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1));
        assert!(limits.probe(here).wait.is_none());
        let (one, other) = (KeyId::new(), KeyId::new());
        for _ in 0..20 {
            assert!(limits.key(one).wait.is_none());
        }
        assert!(limits.key(one).wait.is_some());
        assert!(limits.key(other).wait.is_none());
    }

    #[test]
    fn headers_tell_policy_and_standing() {
        let mut headers = HeaderMap::new();
        limits().key(KeyId::new()).write(&mut headers);
        assert_eq!(headers.get(POLICY).unwrap(), "\"key\";q=20;w=2");
        assert_eq!(headers.get(LIMIT).unwrap(), "\"key\";r=19;t=1");
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_budget() {
        let limits = limits();
        let slot = |text: &str| limits.slot(Some(text.parse().unwrap()));
        assert_eq!(slot("2001:db8::1"), slot("2001:db8::ffff"));
    }
}
