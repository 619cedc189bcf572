//! Who runs a child.
//!
//! A child is run by one driver at a time, the one that holds its *lease*. All that must outlive a
//! driver (mailbox, control line, factory) is shared; when the arbiter of a driver is blocked, the
//! lease is taken from it and given to a driver elsewhere. The word below makes that sound: a
//! driver touches the child only between claiming it and letting go, and taking the lease away is
//! one compare-and-swap against the very word that was seen. So either the driver is not running
//! (and never will again), or it has been inside one and the same poll all the time.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use crate::{node::Node, panic::drop_quietly};

/// Upper half: which lease is valid. Lower half: counts the beginnings and ends of polls, so that
/// it is odd while the driver is being polled.
#[derive(Default)]
pub(crate) struct Tenure(AtomicU64);

/// What [`Tenure`] said at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen(u64);

const POLLS: u64 = 0xffff_ffff;

impl Seen {
    fn lease(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or(u32::MAX)
    }

    /// Whether the driver is being polled.
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

impl Tenure {
    pub(crate) fn seen(&self) -> Seen {
        Seen(self.0.load(Ordering::Acquire))
    }

    fn swap(&self, from: Seen, to: Seen) -> bool {
        self.0
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Ends the valid lease, if nothing has happened since it was `seen`.
    pub(crate) fn take_away(&self, seen: Seen) -> bool {
        self.swap(seen, seen.next_lease())
    }

    /// Begins or ends a poll, if this lease is valid.
    #[inline]
    fn turn(&self, lease: u32) -> bool {
        let seen = self.seen();
        // Only the holder counts polls, so this fails only if the lease is taken away.
        seen.lease() == lease && self.swap(seen, seen.next_poll())
    }
}

/// The right of one driver to run a child, for as long as it is not taken away.
#[derive(Clone)]
pub(crate) struct Lease {
    node: Arc<Node>,
    number: u32,
}

impl Lease {
    /// The lease that is valid now.
    pub(crate) fn of(node: &Arc<Node>) -> Self {
        Self {
            node: Arc::clone(node),
            number: node.tenure.seen().lease(),
        }
    }

    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.node.tenure.seen().lease() == self.number
    }
}

/// A driver, polled only while it holds its lease, and dropped when it does not any more.
pub(crate) struct Tenant<F: Future<Output = ()>> {
    driver: Option<Pin<Box<F>>>,
    lease: Lease,
}

impl<F: Future<Output = ()>> Tenant<F> {
    pub(crate) fn new(driver: F, lease: Lease) -> Self {
        Self {
            driver: Some(Box::pin(driver)),
            lease,
        }
    }

    fn turn(&self) -> bool {
        self.lease.node.tenure.turn(self.lease.number)
    }
}

impl<F: Future<Output = ()>> Future for Tenant<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut over = !self.turn();
        if !over && let Some(driver) = self.driver.as_mut() {
            over = driver.as_mut().poll(cx).is_ready();
            over |= !self.turn();
        }
        if over {
            let _ = drop_quietly(self.driver.take());
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl<F: Future<Output = ()>> Drop for Tenant<F> {
    /// Its arbiter was stopped.
    fn drop(&mut self) {
        let _ = drop_quietly(self.driver.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_from_one_who_sleeps_or_is_stuck() {
        let tenure = Tenure::default();
        let asleep = tenure.seen();
        assert!(!asleep.is_inside());
        assert!(tenure.turn(0) && tenure.seen().is_inside());
        assert!(!tenure.take_away(asleep), "it has been polled since");
        let stuck = tenure.seen();
        assert!(tenure.take_away(stuck));
        assert!(!tenure.turn(0), "the first lease is over");
        assert!(tenure.turn(1) && tenure.turn(1));
        assert!(!tenure.take_away(stuck));
    }

    #[test]
    fn another_poll_is_another_word() {
        let tenure = Tenure::default();
        tenure.turn(0);
        let first = tenure.seen();
        tenure.turn(0);
        tenure.turn(0);
        assert!(tenure.seen().is_inside() && tenure.seen() != first);
        tenure.0.store(POLLS, Ordering::Relaxed);
        assert!(tenure.turn(0));
        assert_eq!(tenure.seen(), Seen(0), "the count wraps within its half");
    }

    /// Whatever the moment: once the lease was taken from one who was not inside, nothing of the
    /// driver runs any more.
    #[test]
    fn who_lost_the_lease_does_not_run() {
        use std::sync::atomic::AtomicUsize;

        let waker = futures_util::task::noop_waker();
        for round in 0..1_000 {
            let node = Node::worker("a".to_owned());
            let polls = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&polls);
            let driver = std::future::poll_fn(move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                Poll::<()>::Pending
            });
            let mut tenant = Tenant::new(driver, Lease::of(&node));
            let so_far = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut cx = Context::from_waker(&waker);
                    while Pin::new(&mut tenant).poll(&mut cx).is_pending() {}
                });
                while polls.load(Ordering::SeqCst) < round % 7 {
                    std::thread::yield_now();
                }
                let taken = std::iter::repeat_with(|| {
                    std::thread::yield_now();
                    node.tenure.seen()
                });
                let mut taken = taken.filter(|seen| !seen.is_inside());
                while !taken.next().is_some_and(|seen| node.tenure.take_away(seen)) {}
                polls.load(Ordering::SeqCst)
            });
            assert_eq!(polls.load(Ordering::SeqCst), so_far);
            assert!(Lease::of(&node).is_held());
            assert!(tenant.driver.is_none(), "it was dropped where it ran");
        }
    }
}
