//! Budgets in bounded memory.

use std::{
    num::{NonZeroU16, NonZeroU32},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use actix_web::http::header::HeaderValue;
use deia_hive::config::Rate;
use governor::{
    NotUntil, Quota, RateLimiter,
    clock::{Clock, DefaultClock, Reference},
    middleware::{StateInformationMiddleware, StateSnapshot},
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, StateStore, keyed::DashMapStateStore},
};

use super::RateLimitStatus;

type Limiter<S> = RateLimiter<u64, S, DefaultClock, StateInformationMiddleware>;
type Taken = Result<StateSnapshot, NotUntil<<DefaultClock as Clock>::Instant>>;

/// Budgets of addresses.
pub(crate) const ADDRESSES: NonZeroU16 = NonZeroU16::MAX;
/// Shared budgets of the callers beyond the maximum. Fixed: a table of fixed size, so
/// that callers cannot make it grow.
const REST: NonZeroU16 = NonZeroU16::MIN.saturating_add(4_095);

/// The interval at which budgets are counted again while there seem to be too many.
/// Fixed: short enough that nobody waits for it, and each look costs little.
const COUNT_EVERY: Duration = Duration::from_millis(100);

/// Budgets that callers share by their hash, in fixed memory.
pub(crate) struct SharedBudgets {
    policy: Policy,
    limiter: Limiter<Slots>,
    /// The slots of the limiter.
    slots: Slots,
    started: <DefaultClock as Clock>::Instant,
}

/// A budget for each caller, and shared ones for callers beyond the maximum.
pub(crate) struct CallerBudgets {
    limiter: Limiter<DashMapStateStore<u64>>,
    rest: SharedBudgets,
    /// An upper estimate of the budgets in the map.
    kept: AtomicUsize,
    max: usize,
    born: Instant,
    /// The time from which budgets may be counted again, in milliseconds since `born`.
    count_from: AtomicU64,
}

/// Budgets, 8 bytes each.
#[derive(Clone)]
struct Slots(Arc<[InMemoryState]>);

impl StateStore for Slots {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // The remainder is smaller than a number that came from a usize.
        let slot = usize::try_from(key % self.0.len() as u64).unwrap_or(0);
        self.0[slot].measure_and_replace(&NotKeyed::NonKey, f)
    }
}

struct Policy {
    name: &'static str,
    header: HeaderValue,
    rate: u32,
    burst: u32,
}

impl Policy {
    fn new(name: &'static str, rate: Rate) -> Self {
        let (per_second, burst) = (rate.per_second.max(1), rate.burst.max(1));
        let text = format!("\"{name}\";q={burst};w={}", burst.div_ceil(per_second));
        Self {
            name,
            // Digits and a fixed name only: always a valid header.
            header: HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("")),
            rate: per_second,
            burst,
        }
    }

    fn quota(&self) -> Quota {
        let positive = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        Quota::per_second(positive(self.rate)).allow_burst(positive(self.burst))
    }

    fn standing(&self, taken: Taken, clock: &DefaultClock) -> RateLimitStatus {
        let (remaining, wait) = match taken {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(not_until) => (0, Some(not_until.wait_time_from(clock.now()))),
        };
        RateLimitStatus {
            name: self.name,
            policy: self.header.clone(),
            remaining,
            reset_seconds: u64::from(self.burst.saturating_sub(remaining).div_ceil(self.rate)),
            wait,
        }
    }
}

impl SharedBudgets {
    pub(crate) fn new(name: &'static str, rate: Rate, slots: NonZeroU16) -> Self {
        let policy = Policy::new(name, rate);
        let slots = (0..slots.get()).map(|_| InMemoryState::default());
        let slots = Slots(slots.collect());
        let clock = DefaultClock::default();
        Self {
            started: clock.now(),
            limiter: RateLimiter::new(policy.quota(), slots.clone(), clock),
            slots,
            policy,
        }
    }

    /// Returns whether nothing is left of a budget. Takes nothing.
    pub(crate) fn is_over(&self, key: u64) -> bool {
        // A slot holds the time at which the budget is full again (GCRA), since the start
        // of the limiter.
        let look = |back: Option<Nanos>| Err::<((), Nanos), _>(back);
        let back = match self.slots.measure_and_replace(&key, look) {
            Err(Some(back)) => back.as_u64(),
            _ => return false,
        };
        let now = Reference::duration_since(&self.limiter.clock().now(), self.started);
        let each = 1_000_000_000 / u64::from(self.policy.rate);
        let but_one = u64::from(self.policy.burst - 1) * each;
        back > now.as_u64().saturating_add(but_one)
    }

    pub(crate) fn take(&self, key: u64) -> RateLimitStatus {
        let taken = self.limiter.check_key(&key);
        self.policy.standing(taken, self.limiter.clock())
    }
}

impl CallerBudgets {
    pub(crate) fn new(name: &'static str, rate: Rate, max: usize) -> Self {
        let rest = SharedBudgets::new(name, rate, REST);
        Self {
            limiter: RateLimiter::dashmap(rest.policy.quota()).with_middleware(),
            rest,
            kept: AtomicUsize::new(0),
            max,
            born: Instant::now(),
            count_from: AtomicU64::new(0),
        }
    }

    pub(crate) fn take(&self, key: u64) -> RateLimitStatus {
        if !self.has_room() {
            return self.rest.take(key);
        }
        let taken = self.limiter.check_key(&key);
        let policy = &self.rest.policy;
        let standing = policy.standing(taken, self.limiter.clock());
        // A caller that has spent nothing else may be new, or back at the full budget: an
        // occasional caller is counted each time.
        if standing.wait.is_none() && standing.remaining + 1 == policy.burst {
            self.kept.fetch_add(1, Ordering::Relaxed);
        }
        standing
    }

    /// Returns whether one more caller may have a budget of its own. Counts the budgets
    /// when there seem to be too many.
    fn has_room(&self) -> bool {
        let has_room = || self.kept.load(Ordering::Relaxed) < self.max;
        if has_room() {
            return true;
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (now, from) = (
            millis(self.born.elapsed()),
            self.count_from.load(Ordering::Relaxed),
        );
        let next = now + millis(COUNT_EVERY);
        let ours = now >= from
            && self
                .count_from
                .compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if ours {
            self.kept.store(self.limiter.len(), Ordering::Relaxed);
        }
        has_room()
    }

    /// Drops the budgets that are full again.
    pub(crate) fn forget(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
        self.kept.store(self.limiter.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_beyond_the_maximum_are_limited_in_bounded_memory() {
        let rate = Rate {
            per_second: 1,
            burst: 3,
        };
        let budget = CallerBudgets::new("read", rate, 100);
        for key in 0..10_000 {
            assert!(budget.take(key).wait.is_none(), "{key}");
        }
        assert!(budget.limiter.len() <= 100, "{}", budget.limiter.len());
        let over = (0..4).any(|_| budget.take(9_999).wait.is_some());
        assert!(over, "a caller beyond the maximum has a budget too");
        budget.forget();
        assert_eq!(budget.kept.load(Ordering::Relaxed), budget.limiter.len());
    }

    #[test]
    fn occasional_caller_takes_one_slot() {
        let rate = Rate {
            per_second: 1_000,
            burst: 2,
        };
        let budget = CallerBudgets::new("read", rate, 20);
        for request in 0..=20 {
            assert!(budget.has_room(), "{request}");
            assert!(budget.take(7).wait.is_none(), "{request}");
            // Waits until the budget is full again, by the limiter's clock.
            let clock = budget.limiter.clock();
            let taken = clock.now();
            let whole = Nanos::from(Duration::from_millis(1));
            while Reference::duration_since(&clock.now(), taken) < whole {
                std::thread::yield_now();
            }
        }
        assert_eq!(budget.limiter.len(), 1);
        assert!(budget.kept.load(Ordering::Relaxed) <= 2);
        // Distinct callers never exceed the maximum.
        for key in 0..100 {
            budget.take(key);
        }
        assert!(budget.limiter.len() <= 20 && !budget.has_room());
    }
}
