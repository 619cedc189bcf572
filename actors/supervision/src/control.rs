//! The line from a supervisor to one child.
//!
//! A channel of its own, because there is one for every child and it is looked at on every poll:
//! it costs one relaxed load when there is nothing to hear, and no block of memory.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

use crate::{spec::Shutdown, tenure::Lease};

/// What a supervisor tells a child. When the line is cut, the child is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Start { incarnation: u64 },
    Stop(Shutdown),
}

#[derive(Default)]
struct Line {
    /// Set after something was queued or the line was cut.
    news: AtomicBool,
    waker: AtomicWaker,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    commands: VecDeque<Control>,
    sender_gone: bool,
    receiver_gone: bool,
}

impl Line {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self) {
        self.news.store(true, Ordering::Release);
        self.waker.wake();
    }
}

pub(crate) struct ControlSender(Arc<Line>);

pub(crate) struct ControlReceiver {
    line: Arc<Line>,
    lease: Lease,
    /// Whether the waker is in place. A driver is one task with one waker, so it need not be
    /// renewed until it has been used.
    armed: bool,
}

/// A line to the driver that holds `lease`.
pub(crate) fn line(lease: Lease) -> (ControlSender, ControlReceiver) {
    let line = Arc::new(Line::default());
    let receiver = ControlReceiver {
        line: Arc::clone(&line),
        lease,
        armed: false,
    };
    (ControlSender(line), receiver)
}

impl ControlSender {
    /// Whether anybody is there to hear it.
    pub(crate) fn send(&self, command: Control) -> bool {
        {
            let mut queue = self.0.queue();
            if queue.receiver_gone {
                return false;
            }
            queue.commands.push_back(command);
        }
        self.0.announce();
        true
    }

    /// Connects the line to another driver, which holds `lease` now. What was not heard yet is
    /// forgotten.
    pub(crate) fn renew(&self, lease: Lease) -> ControlReceiver {
        {
            let mut queue = self.0.queue();
            queue.commands.clear();
            queue.receiver_gone = false;
        }
        // The driver that was there learns that it is over, if its thread ever comes back.
        self.0.waker.wake();
        ControlReceiver {
            line: Arc::clone(&self.0),
            lease,
            armed: false,
        }
    }
}

impl Drop for ControlSender {
    fn drop(&mut self) {
        self.0.queue().sender_gone = true;
        self.0.announce();
    }
}

impl ControlReceiver {
    /// The next command; `None` once the line is cut and everything has been heard.
    #[inline]
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Control>> {
        if self.armed && !self.line.news.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.poll_slowly(cx)
    }

    fn poll_slowly(&mut self, cx: &mut Context<'_>) -> Poll<Option<Control>> {
        self.line.waker.register(cx.waker());
        self.armed = true;
        self.line.news.store(false, Ordering::Release);
        let mut queue = self.line.queue();
        if !self.lease.is_held() {
            return Poll::Pending;
        }
        if let Some(command) = queue.commands.pop_front() {
            self.armed = false; // there may be more
            return Poll::Ready(Some(command));
        }
        if queue.sender_gone {
            self.armed = false;
            return Poll::Ready(None);
        }
        Poll::Pending
    }

    pub(crate) async fn recv(&mut self) -> Option<Control> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }
}

impl Drop for ControlReceiver {
    fn drop(&mut self) {
        let mut queue = self.line.queue();
        if self.lease.is_held() {
            queue.receiver_gone = true;
            queue.commands.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker;

    use super::*;
    use crate::node::Node;

    fn line() -> (ControlSender, ControlReceiver) {
        super::line(Lease::of(&Node::worker("a".to_owned())))
    }

    const START: Control = Control::Start { incarnation: 1 };
    const STOP: Control = Control::Stop(Shutdown::Infinity);

    #[test]
    fn commands_arrive_in_order_and_then_the_end() {
        let waker = noop_waker();
        let cx = &mut Context::from_waker(&waker);
        let (sender, mut receiver) = line();
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

    #[test]
    fn nobody_hears_it() {
        let (sender, receiver) = line();
        drop(receiver);
        assert!(!sender.send(START));
    }
}
