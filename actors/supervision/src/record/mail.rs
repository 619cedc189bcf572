//! Room for messages of a child, and the callers that wait for its answers.

use std::sync::{
    Arc,
    atomic::Ordering::{Acquire, Relaxed, Release},
};

use tokio::sync::Notify;

use super::{ChildRecord, HERE};
use crate::control::Parked;

impl ChildRecord {
    /// Returns the number of messages that may wait now.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.room.load(Relaxed)
    }

    pub(crate) fn set_after_failure(&self) {
        self.after_failure.store(true, Relaxed);
    }

    pub(crate) fn take_after_failure(&self) -> bool {
        self.after_failure.swap(false, Relaxed)
    }

    pub(crate) fn refuses_mail(&self) -> bool {
        self.refuses_mail.load(Relaxed)
    }

    pub(crate) fn set_refuses_mail(&self, refuses: bool) {
        self.refuses_mail.store(refuses, Relaxed);
        let room = if refuses { 0 } else { self.bound() };
        self.room.store(room, Relaxed);
    }

    /// Returns the reason for which the child stays down, if it does, in which case it takes no
    /// questions.
    #[inline]
    pub(crate) fn parked(&self) -> Option<Parked> {
        match self.parked.load(Relaxed) {
            1 => Some(Parked::Suspended),
            2 => Some(Parked::Down),
            _ => None,
        }
    }

    pub(crate) fn set_parked(&self, parked: Option<Parked>) {
        let number = match parked {
            None => 0,
            Some(Parked::Suspended) => 1,
            Some(Parked::Down) => 2,
        };
        self.parked.store(number, Relaxed);
    }

    /// Returns the number of the message that was taken last. The caller of an unanswered question
    /// sees from it whether the question was taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// Sets the number of the message that was taken last. Called under the lock of the mailbox.
    #[inline]
    pub(crate) fn set_taken(&self, number: u64) {
        self.taken.store(number, Relaxed);
    }

    /// Counts a question whose answer nobody can take any more.
    pub(crate) fn withdraw_question(&self) {
        self.withdrawn.fetch_add(1, Release);
    }

    /// Returns true if at least so many withdrawn questions may be waiting, and resets their
    /// number, because they are removed now.
    pub(crate) fn take_withdrawn(&self, at_least: usize) -> bool {
        self.withdrawn.load(Acquire) >= at_least && self.withdrawn.swap(0, Acquire) > 0
    }

    /// Returns the notifier that is woken when the lease on the child is taken away.
    pub(crate) fn revoked(&self) -> &Arc<Notify> {
        self.revoked.get_or_init(Arc::default)
    }

    /// Wakes the callers that wait for an answer of a run whose lease was taken away.
    pub(crate) fn notify_revoked(&self) {
        if let Some(revoked) = self.revoked.get() {
            revoked.notify_waiters();
        }
    }

    /// Returns true if the child runs on the arbiter that started the tree.
    pub(crate) fn is_here(&self) -> bool {
        self.slot() == HERE
    }
}
