//! The channel from a supervisor to one child.
//!
//! The channel is hand-made, because there is one for every child and it is polled on every poll of
//! that child: an empty channel costs one relaxed load, and no block of memory.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::{
    fence::Lease,
    spec::Shutdown,
    sync::{AtomicBool, Mutex, MutexGuard, Ordering, PoisonError},
};

/// Command of a supervisor to a child. When the channel is closed, the child is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Start {
        incarnation: u64,
    },
    Stop(Shutdown),
    /// Stop, and keep children that were added at run time: they are started again with the
    /// others. To a worker the same as `Stop`.
    Suspend(Shutdown),
    /// To a supervisor that is down: it, or one above it, stays so until somebody changes that.
    /// `None`: not any more, because it is about to be started.
    Park(Option<Parked>),
}

/// Reason for which a supervisor is down for longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    Suspended,
    /// The supervisor was terminated or quarantined, or ended by itself.
    Down,
}

struct ControlChannel {
    /// True if the receiver has to look. Written under the lock only: as long as it is not set,
    /// there is nothing to hear *and* the waker is in place. (Apart, they would not do: a waker
    /// that is used for what has been heard already would be missing for what comes next.)
    dirty: AtomicBool,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    commands: VecDeque<Control>,
    /// Waker of the receiver, when it has found nothing.
    waker: Option<Waker>,
    sender_gone: bool,
    receiver_gone: bool,
}

impl ControlChannel {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something and wakes the receiver, if there is one.
    fn notify(&self, change: impl FnOnce(&mut Queue)) -> bool {
        let (waker, is_heard) = {
            let mut queue = self.queue();
            change(&mut queue);
            self.dirty.store(true, Ordering::Release);
            (queue.waker.take(), !queue.receiver_gone)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        is_heard
    }
}

pub(crate) struct ControlSender(Arc<ControlChannel>);

pub(crate) struct ControlReceiver {
    channel: Arc<ControlChannel>,
    lease: Lease,
}

impl ControlSender {
    /// Makes the supervisor's end of a channel. Nobody receives from it until it is
    /// [connected](Self::connect).
    pub(crate) fn new() -> Self {
        let queue = Queue {
            receiver_gone: true,
            ..Queue::default()
        };
        Self(Arc::new(ControlChannel {
            dirty: AtomicBool::new(true),
            queue: Mutex::new(queue),
        }))
    }

    /// Sends a command. Returns true if there is a receiver.
    pub(crate) fn send(&self, command: Control) -> bool {
        self.0.notify(|queue| {
            if !queue.receiver_gone {
                queue.commands.push_back(command);
            }
        })
    }

    /// Connects the channel to the worker task that holds `lease` now. Commands that another
    /// receiver has not read yet are forgotten, and that receiver is woken, so that its task ends
    /// if its thread ever comes back.
    pub(crate) fn connect(&self, lease: Lease) -> ControlReceiver {
        self.0.notify(|queue| {
            queue.commands.clear();
            queue.receiver_gone = false;
        });
        ControlReceiver {
            channel: Arc::clone(&self.0),
            lease,
        }
    }

    /// Wakes a worker task that lost its lease, so that it ends.
    pub(crate) fn wake(&self) {
        self.0.notify(|_| {});
    }
}

impl Drop for ControlSender {
    fn drop(&mut self) {
        self.0.notify(|queue| queue.sender_gone = true);
    }
}

impl ControlReceiver {
    /// Returns the next command, or `None` once the channel is closed and everything has been read.
    /// Must be polled by one task, whose waker stays the same.
    #[inline]
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Control>> {
        if !self.channel.dirty.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.poll_slowly(cx)
    }

    fn poll_slowly(&mut self, cx: &mut Context<'_>) -> Poll<Option<Control>> {
        let mut queue = self.channel.queue();
        // Under the lock, so that `connect` comes before or after all of this: a receiver that has
        // lost its lease must touch neither the waker nor the flag, which are its successor's.
        if !self.lease.is_held() {
            return Poll::Pending;
        }
        if let Some(command) = queue.commands.pop_front() {
            return Poll::Ready(Some(command));
        }
        if queue.sender_gone {
            return Poll::Ready(None);
        }
        queue.waker = Some(cx.waker().clone());
        self.channel.dirty.store(false, Ordering::Release);
        Poll::Pending
    }

    /// Returns true if the supervisor has removed the child.
    pub(crate) fn is_cut(&self) -> bool {
        self.channel.queue().sender_gone
    }

    pub(crate) async fn recv(&mut self) -> Option<Control> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }
}

impl Drop for ControlReceiver {
    fn drop(&mut self) {
        let mut queue = self.channel.queue();
        if self.lease.is_held() {
            queue.receiver_gone = true;
            queue.commands.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicUsize,
        task::{Wake, Waker},
    };

    use futures_util::task::noop_waker;

    use super::*;
    use crate::record::ChildRecord;

    fn channel() -> (ControlSender, ControlReceiver) {
        connected(&ChildRecord::worker("a".to_owned()))
    }

    fn connected(record: &Arc<ChildRecord>) -> (ControlSender, ControlReceiver) {
        let sender = ControlSender::new();
        let receiver = sender.connect(Lease::of(record));
        (sender, receiver)
    }

    const START: Control = Control::Start { incarnation: 1 };
    const STOP: Control = Control::Stop(Shutdown::Infinity);

    #[test]
    fn commands_arrive_in_order_and_then_the_end() {
        let waker = noop_waker();
        let cx = &mut Context::from_waker(&waker);
        let (sender, mut receiver) = channel();
        assert_eq!(receiver.poll_recv(cx), Poll::Pending);
        assert!(sender.send(STOP) && sender.send(START));
        assert_eq!(receiver.poll_recv(cx), Poll::Ready(Some(STOP)));
        assert_eq!(receiver.poll_recv(cx), Poll::Ready(Some(START)));
        assert_eq!(receiver.poll_recv(cx), Poll::Pending);
        assert!(sender.send(STOP));
        drop(sender);
        assert_eq!(receiver.poll_recv(cx), Poll::Ready(Some(STOP)));
        assert_eq!(receiver.poll_recv(cx), Poll::Ready(None));
        assert_eq!(receiver.poll_recv(cx), Poll::Ready(None));
    }

    /// A thread that was blocked comes back after its lease went to another.
    #[test]
    fn a_receiver_without_lease_takes_nothing_from_its_successor() {
        let record = ChildRecord::worker("a".to_owned());
        let (sender, mut old) = connected(&record);
        record.fence.end_lease();
        let mut new = sender.connect(Lease::of(&record));
        let (count, waker) = counting_waker();
        let cx = &mut Context::from_waker(&waker);
        assert_eq!(new.poll_recv(cx), Poll::Pending);
        let idle = noop_waker();
        assert_eq!(
            old.poll_recv(&mut Context::from_waker(&idle)),
            Poll::Pending
        );
        assert!(sender.send(STOP));
        assert_eq!(
            old.poll_recv(&mut Context::from_waker(&idle)),
            Poll::Pending
        );
        assert_eq!(count.load(Ordering::Relaxed), 1, "the successor is woken");
        assert_eq!(new.poll_recv(cx), Poll::Ready(Some(STOP)));
    }

    /// Returns a waker that counts.
    fn counting_waker() -> (Arc<AtomicUsize>, Waker) {
        struct Count(Arc<AtomicUsize>);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = Arc::new(AtomicUsize::new(0));
        (Arc::clone(&count), Waker::from(Arc::new(Count(count))))
    }

    #[test]
    fn nobody_hears_it() {
        let (sender, receiver) = channel();
        drop(receiver);
        assert!(!sender.send(START));
    }
}
