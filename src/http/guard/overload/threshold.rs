//! The decision which ranks are admitted in the next window. Pure.
//!
//! It is that of DAGOR (Zhou et al., "Overload Control for Scaling WeChat Microservices", 2018,
//! algorithm 1): requests wait too long on average, so the threshold falls until a share fewer
//! would have been admitted; else it rises until a share of those refused would have been, by no
//! more than that share of the ranks.

use std::time::Duration;

use super::rank::{RANKS, Rank};

/// The numbers of the decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OverloadPolicy {
    /// Mean wait above which fewer requests are admitted.
    pub(crate) max_mean_wait: Duration,
    /// Requests below which a window is not judged.
    pub(crate) min_requests: u64,
    /// Share of the admitted requests by which fewer are admitted.
    pub(crate) step_down: f64,
    /// Share of all requests by which more are admitted.
    pub(crate) step_up: f64,
}

/// The requests of a window.
#[derive(Clone, Debug)]
pub(crate) struct WindowSeen {
    /// Requests by rank.
    pub(crate) by_rank: Vec<u32>,
    /// Requests that were admitted.
    pub(crate) admitted: u64,
    /// Mean wait of requests for their turn.
    pub(crate) mean_wait: Duration,
    /// Length, in windows of the usual one; 1 for one that ended early.
    pub(crate) windows: f64,
}

/// The ranks that are admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Threshold(usize);

impl Threshold {
    /// Everything is admitted.
    pub(crate) const ALL: Self = Self(RANKS);

    /// Returns true if requests of that rank are admitted.
    pub(crate) fn admits(self, rank: Rank) -> bool {
        rank.0 < self.0
    }

    /// Returns the number of ranks that are admitted.
    pub(crate) fn ranks(self) -> usize {
        self.0
    }

    /// Returns the threshold with that number of ranks.
    pub(super) fn of_ranks(ranks: usize) -> Self {
        Self(ranks.min(RANKS))
    }

    /// Returns the threshold of the next window.
    #[allow(clippy::cast_precision_loss, reason = "counts of a second to a share")]
    pub(crate) fn next(self, seen: &WindowSeen, policy: &OverloadPolicy) -> Self {
        let count = |rank: usize| f64::from(seen.by_rank.get(rank).copied().unwrap_or(0));
        let all = seen.by_rank.iter().map(|n| f64::from(*n)).sum::<f64>();
        let admitted = seen.admitted as f64;
        let mut ranks = self.0;
        let mut would_be = admitted;
        if seen.mean_wait > policy.max_mean_wait {
            if all < policy.min_requests as f64 {
                return self;
            }
            let wanted = admitted * (1.0 - policy.step_down);
            while would_be > wanted && ranks > 0 {
                ranks -= 1;
                would_be -= count(ranks);
            }
        } else {
            // At least one more, so that a quiet hive opens again.
            let wanted = (admitted + all * policy.step_up).max(admitted + 1.0);
            // Ranks without requests are no sign that nobody waits to ask again: refusals are
            // held back.
            let most = ranks + raised(policy.step_up * seen.windows);
            while would_be < wanted && ranks < most.min(RANKS) {
                would_be += count(ranks);
                ranks += 1;
            }
        }
        Self(ranks)
    }
}

/// Returns the number of ranks that a share of all is, at least one.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a positive number that is cut off at the number of ranks"
)]
fn raised(share: f64) -> usize {
    ((RANKS as f64 * share).ceil() as usize).clamp(1, RANKS)
}

#[cfg(test)]
mod tests;
