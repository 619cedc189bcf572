//! The shares of callers in the requests of a window, in fixed memory. Callers with the same hash
//! are taken for one.

use std::{
    hash::{Hash, RandomState},
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use super::{Contender, hash_of};
use crate::http::guard::quotas::CALLERS;

/// The requests of each caller in the current window, and the share of one caller.
pub(super) struct Shares {
    by_caller: Box<[AtomicU32]>,
    /// Callers with requests in this window.
    callers: AtomicU32,
    requests: AtomicU32,
    /// Requests of a caller in a window beyond which it is over its share.
    fair: AtomicU32,
    /// Times a fair share that a caller may have.
    slack: f64,
    hasher: RandomState,
    seed: AtomicU64,
}

impl Shares {
    pub(super) fn new(slack: f64) -> Self {
        Self {
            by_caller: (0..CALLERS).map(|_| AtomicU32::new(0)).collect(),
            callers: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            fair: AtomicU32::new(u32::MAX),
            slack,
            hasher: RandomState::new(),
            seed: AtomicU64::new(0),
        }
    }

    /// Counts a request.
    pub(super) fn arrived(&self, caller: &impl Hash) -> Contender {
        let hash = hash_of(&self.hasher, self.seed.load(Relaxed), caller);
        // Other bits than those that decide the group of the caller.
        let slot = usize::try_from((hash >> 32) % CALLERS as u64).unwrap_or(0);
        let before = self.by_caller[slot].fetch_add(1, Relaxed);
        if before == 0 {
            self.callers.fetch_add(1, Relaxed);
        }
        self.requests.fetch_add(1, Relaxed);
        Contender {
            hash,
            is_over_share: before >= self.fair.load(Relaxed),
            is_decided: false,
        }
    }

    /// Begins the next window; the share of a caller in it is that of the last one.
    pub(super) fn end_window(&self) {
        let (callers, requests) = (
            self.callers.swap(0, Relaxed),
            self.requests.swap(0, Relaxed),
        );
        self.fair
            .store(fair(requests, callers, self.slack), Relaxed);
        for count in &self.by_caller {
            count.store(0, Relaxed);
        }
    }

    /// Divides callers into other groups: nobody is refused for long because of their hash.
    pub(super) fn reshuffle(&self) {
        self.seed.fetch_add(1, Relaxed);
    }
}

/// Returns the requests that one caller of a window may have. One caller alone may have all.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive number that is cut off at the bounds"
)]
fn fair(requests: u32, callers: u32, slack: f64) -> u32 {
    match callers {
        0 | 1 => u32::MAX,
        _ => (f64::from(requests) / f64::from(callers) * slack).ceil() as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fair_share_is_an_equal_part_times_the_slack() {
        for (requests, callers, slack, expected) in [
            (100, 0, 1.5, u32::MAX),
            (100, 1, 1.5, u32::MAX),
            (100, 2, 1.5, 75),
            (100, 10, 1.0, 10),
            (3, 2, 1.0, 2),
        ] {
            assert_eq!(fair(requests, callers, slack), expected);
        }
    }

    #[test]
    fn only_what_exceeds_the_share_of_the_last_window_is_over_it() {
        let shares = Shares::new(1.0);
        let over = |caller: &str, n: usize| {
            let of = (0..n).filter(|_| shares.arrived(&caller).is_over_share);
            of.count()
        };
        assert_eq!((over("greedy", 90), over("modest", 10)), (0, 0));
        shares.end_window();
        assert_eq!((over("greedy", 90), over("modest", 10)), (40, 0));
        shares.end_window();
        shares.end_window();
        assert_eq!(over("greedy", 90), 0, "nobody else was there");
    }
}
