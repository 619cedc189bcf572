//! Rate limits: a budget of each class of routes for each caller, and budgets for
//! addresses without a valid key.
//!
//! A wrong key is charged to the address it comes from, after it was checked: a caller
//! with a valid key is let in whatever others do at the same address, and nobody can lock
//! out another. (Checking a key is one hash and one look-up, and keys have too many bits
//! to be guessed. Checking a new token verifies a signature: tokens from an address
//! beyond its budget are verified one at a time in the whole process.)
//!
//! The headers are those of draft-ietf-httpapi-ratelimit-headers-10: `q` is the number of
//! requests that may be made at once after a pause, `w` the seconds in which as many are
//! given back, `r` the number left, `t` the seconds until all are back.

mod budget;

use std::{
    hash::{BuildHasher, Hash, RandomState},
    net::IpAddr,
    time::Duration,
};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use deia_hive::config::LimitSettings;
use deia_model::AddressRange;

use self::budget::{ADDRESSES, CallerBudgets, SharedBudgets};
use crate::http::guard::class::{PerClass, RouteClass};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The name of the budgets of addresses without a valid key.
const ANONYMOUS: &str = "address";

/// The interval of [`Limits::forget`]. Fixed: short enough that nobody waits for it, and
/// each look costs little.
pub(crate) const FORGET_EVERY: Duration = Duration::from_secs(10);

/// The budgets of all callers.
pub(crate) struct Limits(Option<Budgets>);

struct Budgets {
    callers: PerClass<CallerBudgets>,
    anonymous: SharedBudgets,
    probes: SharedBudgets,
    /// Callers and addresses are known by their hash, which nobody can predict.
    hasher: RandomState,
}

/// The state of a budget, for the headers of an answer.
#[derive(Clone, Debug)]
pub(crate) struct RateLimitStatus {
    name: &'static str,
    policy: HeaderValue,
    remaining: u32,
    reset_seconds: u64,
    /// Time until the next request is taken, when nothing is left.
    pub(crate) wait: Option<Duration>,
}

impl Limits {
    pub(crate) fn new(settings: &LimitSettings) -> Self {
        let callers = |class: RouteClass| {
            let rate = match class {
                RouteClass::Submit => settings.submit,
                RouteClass::Read => settings.read,
                RouteClass::Write => settings.write,
                RouteClass::Stream => settings.stream,
                RouteClass::Admin => settings.admin,
            };
            CallerBudgets::new(class.as_str(), rate, settings.max_principals as usize)
        };
        Self(settings.enabled.then(|| Budgets {
            callers: PerClass::new(callers),
            anonymous: SharedBudgets::new(ANONYMOUS, settings.address, ADDRESSES),
            probes: SharedBudgets::new("probe", settings.probe, ADDRESSES),
            hasher: RandomState::new(),
        }))
    }

    /// Takes one request of that class from the budget of an authenticated caller.
    pub(crate) fn principal(
        &self,
        class: RouteClass,
        payer: &impl Hash,
    ) -> Option<RateLimitStatus> {
        let all = self.0.as_ref()?;
        Some(all.callers.get(class).take(all.hasher.hash_one(payer)))
    }

    /// Takes one request from the budget of an address without a valid key.
    pub(crate) fn anonymous(&self, address: Option<IpAddr>) -> Option<RateLimitStatus> {
        let all = self.0.as_ref()?;
        Some(all.anonymous.take(all.slot(address)))
    }

    /// Returns whether nothing is left of an address's budget for requests without a
    /// valid key. Takes nothing.
    pub(crate) fn is_anonymous_over(&self, address: Option<IpAddr>) -> bool {
        let all = self.0.as_ref();
        all.is_some_and(|all| all.anonymous.is_over(all.slot(address)))
    }

    /// Takes one request to an open route from the budget of an address. This budget is
    /// not that of [`Self::anonymous`]: mistyped keys must not blind a monitor.
    pub(crate) fn probe(&self, address: Option<IpAddr>) -> Option<RateLimitStatus> {
        let all = self.0.as_ref()?;
        Some(all.probes.take(all.slot(address)))
    }

    /// Drops the budgets that are full again.
    pub(crate) fn forget(&self) {
        if let Some(all) = &self.0 {
            all.callers.iter().for_each(CallerBudgets::forget);
        }
    }
}

impl Budgets {
    fn slot(&self, address: Option<IpAddr>) -> u64 {
        self.hasher.hash_one(address.map(AddressRange::of_caller))
    }
}

impl RateLimitStatus {
    /// Returns whether the budget is that of an address without a valid key.
    pub(crate) fn is_of_anonymous(&self) -> bool {
        self.name == ANONYMOUS
    }

    /// Writes the rate-limit headers.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
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
    use deia_hive::config::{Config, Rate};
    use deia_model::KeyId;

    use super::*;

    fn limits(enabled: bool) -> Limits {
        let mut settings = Config::defaults().unwrap().limits;
        settings.enabled = enabled;
        settings.read = rate(10, 20);
        settings.address = rate(1, 2);
        settings.probe = rate(1, 2);
        Limits::new(&settings)
    }

    fn rate(per_second: u32, burst: u32) -> Rate {
        Rate { per_second, burst }
    }

    fn is_over(standing: Option<RateLimitStatus>) -> bool {
        standing.is_some_and(|standing| standing.wait.is_some())
    }

    #[test]
    fn budgets_are_apart() {
        let limits = limits(true);
        let here = Some("127.0.0.1".parse().unwrap());
        for _ in 0..2 {
            assert!(!limits.is_anonymous_over(here), "looking takes nothing");
            assert!(!limits.is_anonymous_over(here));
            assert!(!is_over(limits.anonymous(here)));
        }
        assert!(limits.is_anonymous_over(here));
        assert!(!limits.is_anonymous_over(Some("192.0.2.1".parse().unwrap())));
        let wait = limits.anonymous(here).unwrap().wait.unwrap();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1));
        assert!(!is_over(limits.probe(here)));
        let (one, other) = (KeyId::new(), KeyId::new());
        for _ in 0..20 {
            assert!(!is_over(limits.principal(RouteClass::Read, &one)));
        }
        assert!(is_over(limits.principal(RouteClass::Read, &one)));
        assert!(!is_over(limits.principal(RouteClass::Submit, &one)));
        assert!(!is_over(limits.principal(RouteClass::Read, &other)));
    }

    #[test]
    fn disabled_limits_report_no_status() {
        let limits = limits(false);
        for _ in 0..100 {
            assert!(limits.anonymous(None).is_none() && limits.probe(None).is_none());
            assert!(limits.principal(RouteClass::Read, &KeyId::new()).is_none());
        }
    }

    #[test]
    fn headers_report_policy_and_status() {
        let mut headers = HeaderMap::new();
        let standing = limits(true).principal(RouteClass::Read, &KeyId::new());
        standing.unwrap().write(&mut headers);
        assert_eq!(headers.get(POLICY).unwrap(), "\"read\";q=20;w=2");
        assert_eq!(headers.get(LIMIT).unwrap(), "\"read\";r=19;t=1");
    }
}
