//! The worker task that has taken a question.

use std::sync::Arc;

use crate::{
    fence::Lease,
    sync::{AtomicU64, Ordering, fence},
};

/// Lease of the worker task that has taken a question.
#[derive(Clone, Default)]
pub(crate) struct TakenBy(Arc<AtomicU64>);

impl TakenBy {
    /// Records that the holder of `lease` works on the question. Returns `false` if that task has
    /// lost the lease, and must leave the question to its successor.
    pub(crate) fn take_as(&self, lease: &Lease) -> bool {
        self.0
            .store(u64::from(lease.number()) + 1, Ordering::Relaxed);
        // Either this sees that the lease is gone, or the task that took it away finds this record:
        // see `is_lost`.
        fence(Ordering::SeqCst);
        lease.is_held()
    }

    /// Returns true if the question was taken by another task than the holder of the valid lease.
    /// Meant for when a lease was taken away.
    pub(crate) fn is_lost(&self, valid: u32) -> bool {
        fence(Ordering::SeqCst);
        let taken_by = self.0.load(Ordering::Relaxed);
        taken_by != 0 && taken_by != u64::from(valid) + 1
    }
}
