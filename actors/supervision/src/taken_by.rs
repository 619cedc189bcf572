//! The worker task that has taken a question.

use std::sync::Arc;

use crate::{
    fence::Lease,
    sync::{AtomicU64, Ordering, fence},
};

/// The lease of the worker task that has taken a question.
#[derive(Clone, Default)]
pub(crate) struct TakenBy(Arc<AtomicU64>);

impl TakenBy {
    /// Says that the holder of `lease` works on it. Returns `false` if that has lost the lease: it
    /// must leave the question to its successor.
    pub(crate) fn take_as(&self, lease: &Lease) -> bool {
        self.0
            .store(u64::from(lease.number()) + 1, Ordering::Relaxed);
        // Either this sees that the lease is gone, or whoever took it away finds who works on the
        // question: see `is_lost`.
        fence(Ordering::SeqCst);
        lease.is_held()
    }

    /// Returns whether it was taken by another than the one that holds the valid lease. To be asked
    /// when a lease was taken away.
    pub(crate) fn is_lost(&self, valid: u32) -> bool {
        fence(Ordering::SeqCst);
        let taken_by = self.0.load(Ordering::Relaxed);
        taken_by != 0 && taken_by != u64::from(valid) + 1
    }
}
