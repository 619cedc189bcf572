//! Assignment of a child to the task that runs it.
//!
//! A child is run by one worker task at a time, the one that holds its *lease*. All that must
//! outlive a worker task (mailbox, control channel, factory) is shared; when the arbiter of a
//! worker task is blocked, the lease is taken from it and given to a worker task elsewhere. The
//! word below makes that sound: a worker task touches the child only between claiming it and
//! letting go, and taking the lease away is one compare-and-swap against the very word that was
//! seen. So either the worker task is not running (and never will again), or it has been inside one
//! and the same poll all the time.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    panic::drop_quietly,
    record::ChildRecord,
    sync::{AtomicU64, Ordering},
};

/// Word that guards a child. Upper half: the number of the valid lease. Lower half: counts the
/// beginnings and ends of polls, so that it is odd while the worker task is being polled.
#[derive(Default)]
pub(crate) struct Fence(AtomicU64);

/// Snapshot of a [`Fence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FenceSnapshot(u64);

/// Mask of the number of polls. Fact: the lower half of the word counts polls.
const POLLS: u64 = 0xffff_ffff;

impl FenceSnapshot {
    pub(crate) fn lease(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or(u32::MAX)
    }

    /// Returns true if the worker task is being polled.
    pub(crate) fn is_inside(self) -> bool {
        self.0 & 1 == 1
    }

    fn next_poll(self) -> Self {
        Self((self.0 & !POLLS) | (self.0.wrapping_add(1) & POLLS))
    }

    fn next_lease(self) -> Self {
        Self(u64::from(self.lease().wrapping_add(1)) << 32)
    }
}

impl Fence {
    pub(crate) fn snapshot(&self) -> FenceSnapshot {
        FenceSnapshot(self.0.load(Ordering::Acquire))
    }

    fn swap(&self, from: FenceSnapshot, to: FenceSnapshot) -> bool {
        self.0
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Ends the valid lease, if nothing has happened since it was `seen`.
    pub(crate) fn revoke(&self, snapshot: FenceSnapshot) -> bool {
        self.swap(snapshot, snapshot.next_lease())
    }

    /// Ends the valid lease, whatever its holder does meanwhile. Returns what was seen at that
    /// moment.
    pub(crate) fn end_lease(&self) -> FenceSnapshot {
        loop {
            let snapshot = self.snapshot();
            if self.revoke(snapshot) {
                return snapshot;
            }
        }
    }

    /// Begins a poll, if this lease is valid.
    #[inline]
    fn enter(&self, lease: u32) -> bool {
        self.advance(lease)
    }

    /// Ends a poll, if this lease is still valid.
    #[inline]
    fn leave(&self, lease: u32) -> bool {
        self.advance(lease)
    }

    #[inline]
    fn advance(&self, lease: u32) -> bool {
        let snapshot = self.snapshot();
        // Only the holder counts polls, so this fails only if the lease is taken away.
        snapshot.lease() == lease && self.swap(snapshot, snapshot.next_poll())
    }
}

/// Right of one worker task to run a child, for as long as it is not taken away.
#[derive(Clone)]
pub(crate) struct Lease {
    record: Arc<ChildRecord>,
    number: u32,
}

impl Lease {
    /// Returns the lease that is valid now.
    pub(crate) fn of(record: &Arc<ChildRecord>) -> Self {
        Self {
            record: Arc::clone(record),
            number: record.fence.snapshot().lease(),
        }
    }

    /// Ends this lease, unless it was taken away, and returns the number of the lease that is valid
    /// then.
    pub(crate) fn give_up(&self) -> Option<u32> {
        let fence = &self.record.fence;
        loop {
            let snapshot = fence.snapshot();
            if snapshot.lease() != self.number {
                return None;
            }
            if fence.revoke(snapshot) {
                return Some(snapshot.next_lease().lease());
            }
        }
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.record.fence.snapshot().lease() == self.number
    }
}

/// A worker task, polled only while it holds its lease, and dropped when it does not any more.
pub(crate) struct FencedTask<F: Future<Output = ()>> {
    task: Option<Pin<Box<F>>>,
    lease: Lease,
}

impl<F: Future<Output = ()>> FencedTask<F> {
    pub(crate) fn new(task: F, lease: Lease) -> Self {
        Self {
            task: Some(Box::pin(task)),
            lease,
        }
    }

    fn enter(&self) -> bool {
        self.lease.record.fence.enter(self.lease.number)
    }

    fn leave(&self) -> bool {
        self.lease.record.fence.leave(self.lease.number)
    }
}

impl<F: Future<Output = ()>> Future for FencedTask<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut over = !self.enter();
        if !over && let Some(task) = self.task.as_mut() {
            over = task.as_mut().poll(cx).is_ready();
            over |= !self.leave();
        }
        if over {
            let _ = drop_quietly(self.task.take());
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl<F: Future<Output = ()>> Drop for FencedTask<F> {
    /// Drops the task, if its arbiter was stopped; a panic in its destructor goes no further.
    fn drop(&mut self) {
        let _ = drop_quietly(self.task.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_from_one_who_sleeps_or_is_stuck() {
        let fence = Fence::default();
        let asleep = fence.snapshot();
        assert!(!asleep.is_inside());
        assert!(fence.enter(0) && fence.snapshot().is_inside());
        assert!(!fence.revoke(asleep), "it has been polled since");
        let stuck = fence.snapshot();
        assert!(fence.revoke(stuck));
        assert!(!fence.enter(0), "the first lease is over");
        assert!(fence.enter(1) && fence.leave(1));
        assert!(!fence.revoke(stuck));
    }

    #[test]
    fn another_poll_is_another_word() {
        let fence = Fence::default();
        fence.enter(0);
        let first = fence.snapshot();
        fence.leave(0);
        fence.enter(0);
        assert!(fence.snapshot().is_inside() && fence.snapshot() != first);
        fence.0.store(POLLS, Ordering::Relaxed);
        assert!(fence.leave(0));
        assert_eq!(
            fence.snapshot(),
            FenceSnapshot(0),
            "the count wraps within its half"
        );
    }

    /// A holder that is polled all the time must not keep its lease.
    #[test]
    fn a_lease_can_be_ended_at_any_moment() {
        for _ in 0..1_000 {
            let fence = Fence::default();
            std::thread::scope(|scope| {
                scope.spawn(|| while fence.enter(0) && fence.leave(0) {});
                while fence.snapshot().0 == 0 {
                    std::hint::spin_loop();
                }
                fence.end_lease();
            });
            assert_eq!(fence.snapshot().lease(), 1);
        }
    }

    /// At any moment: once the lease was taken from a holder that was not inside, nothing of
    /// the worker task runs any more.
    #[test]
    fn a_task_that_lost_the_lease_does_not_run() {
        use std::sync::atomic::AtomicUsize;

        let waker = futures_util::task::noop_waker();
        for round in 0..1_000 {
            let record = ChildRecord::worker("a".to_owned());
            let polls = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&polls);
            let task = std::future::poll_fn(move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                Poll::<()>::Pending
            });
            let mut task = FencedTask::new(task, Lease::of(&record));
            let so_far = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut cx = Context::from_waker(&waker);
                    while Pin::new(&mut task).poll(&mut cx).is_pending() {}
                });
                while polls.load(Ordering::SeqCst) < round % 7 {
                    std::thread::yield_now();
                }
                let taken = std::iter::repeat_with(|| {
                    std::thread::yield_now();
                    record.fence.snapshot()
                });
                let mut taken = taken.filter(|snapshot| !snapshot.is_inside());
                while !taken
                    .next()
                    .is_some_and(|snapshot| record.fence.revoke(snapshot))
                {}
                polls.load(Ordering::SeqCst)
            });
            assert_eq!(polls.load(Ordering::SeqCst), so_far);
            assert!(Lease::of(&record).is_held());
            assert!(task.task.is_none(), "it was dropped where it ran");
        }
    }
}
