//! Quotas of many holders in fixed memory. A holder is known by its hash, which nobody
//! can predict; holders with the same hash share a quota.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Number of callers that are distinguished. Fixed: a table of fixed size, so that
/// callers cannot make it grow.
pub(crate) const CALLERS: usize = 4_096;
/// Number of networks that are distinguished. Fixed: a table of fixed size, so that
/// callers cannot make it grow.
pub(crate) const NETWORKS: usize = 65_536;

/// The amount that each holder has, and its limit.
pub(crate) struct HashedQuotas {
    slots: Box<[AtomicUsize]>,
    hasher: RandomState,
    max: usize,
}

/// An amount that one holder has, until this is dropped.
pub(crate) struct QuotaShare {
    all: Arc<HashedQuotas>,
    slot: usize,
    held: usize,
}

impl HashedQuotas {
    /// Makes quotas for that many holders.
    pub(crate) fn new(slots: usize, max: usize) -> Arc<Self> {
        Arc::new(Self {
            slots: (0..slots.max(1)).map(|_| AtomicUsize::new(0)).collect(),
            hasher: RandomState::new(),
            max,
        })
    }

    /// Returns an empty share of that holder.
    pub(crate) fn of(self: &Arc<Self>, who: &impl Hash) -> QuotaShare {
        let slot = self.hasher.hash_one(who) % self.slots.len() as u64;
        QuotaShare {
            // The remainder is smaller than a number that came from a usize.
            slot: usize::try_from(slot).unwrap_or(0),
            all: Arc::clone(self),
            held: 0,
        }
    }
}

impl QuotaShare {
    /// Grows the share to that amount, unless that exceeds the quota. A holder that has
    /// nothing yet may have one thing of any size.
    #[must_use]
    pub(crate) fn try_grow_to(&mut self, amount: usize) -> bool {
        let more = amount.saturating_sub(self.held);
        if more == 0 {
            return true;
        }
        let grown = self
            .counter()
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
                let after = before.saturating_add(more);
                (before == 0 || after <= self.all.max).then_some(after)
            });
        if grown.is_ok() {
            self.held = amount;
        }
        grown.is_ok()
    }

    /// Grows the share to that amount, even beyond the quota.
    pub(crate) fn grow_to(&mut self, amount: usize) {
        let more = amount.saturating_sub(self.held);
        self.counter().fetch_add(more, Ordering::Relaxed);
        self.held += more;
    }

    /// Gives back the part beyond that amount.
    pub(crate) fn shrink_to(&mut self, amount: usize) {
        let less = self.held.saturating_sub(amount);
        if less > 0 {
            self.counter().fetch_sub(less, Ordering::Relaxed);
            self.held -= less;
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.held
    }

    fn counter(&self) -> &AtomicUsize {
        &self.all.slots[self.slot]
    }
}

impl Drop for QuotaShare {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_and_returned() {
        let all = HashedQuotas::new(CALLERS, 10);
        let (mut one, mut two) = (all.of(&"a"), all.of(&"a"));
        assert!(one.try_grow_to(6) && one.try_grow_to(5));
        assert_eq!(one.held(), 6);
        assert!(!two.try_grow_to(5) && two.try_grow_to(4));
        two.grow_to(40);
        assert!(!one.try_grow_to(7));
        drop((one, two));
        let mut large = all.of(&"a");
        assert!(large.try_grow_to(1_000), "one thing is not kept out");
        assert!(!all.of(&"a").try_grow_to(1));
        large.shrink_to(9);
        assert!(all.of(&"a").try_grow_to(1));
        drop(large);
        let left = all.slots.iter().map(|slot| slot.load(Ordering::Relaxed));
        assert_eq!(left.sum::<usize>(), 0);
    }
}
