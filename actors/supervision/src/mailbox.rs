//! The messages that wait for a child.
//!
//! A queue of its own rather than a channel, because it belongs to the child and not to one task:
//! when an arbiter is blocked, another worker task goes on with it elsewhere. The bound is exact.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use actix::Actor;

use crate::{envelope::Envelope, fence::Lease, record::ChildRecord};

pub(crate) struct Mailbox<A: Actor>(Mutex<Queue<A>>);

struct Queue<A: Actor> {
    messages: VecDeque<Envelope<A>>,
    /// Of the worker task, when it has found nothing.
    waker: Option<Waker>,
    closed: bool,
    /// The type of the message that was taken last, for who asks from outside.
    current_message: Option<&'static str>,
}

/// Why a message was not taken.
pub(crate) enum NotTaken<A: Actor> {
    Full(Envelope<A>),
    Closed(Envelope<A>),
}

impl<A: Actor> Mailbox<A> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Queue {
            messages: VecDeque::new(),
            waker: None,
            closed: false,
            current_message: None,
        }))
    }

    fn queue(&self) -> MutexGuard<'_, Queue<A>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message at the end. The depth and the bound are the record's.
    #[inline]
    pub(crate) fn push(
        &self,
        envelope: Envelope<A>,
        record: &ChildRecord,
    ) -> Result<(), NotTaken<A>> {
        let waker = {
            let mut queue = self.queue();
            if queue.closed {
                return Err(NotTaken::Closed(envelope));
            }
            if queue.messages.len() >= record.bound() {
                return Err(NotTaken::Full(envelope));
            }
            queue.messages.push_back(envelope);
            record.set_depth(queue.messages.len());
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// The next message, for the worker task that holds the lease.
    #[inline]
    pub(crate) fn poll_pop(
        &self,
        lease: &Lease,
        record: &ChildRecord,
        cx: &mut Context<'_>,
    ) -> Poll<Envelope<A>> {
        let mut queue = self.queue();
        if !lease.is_held() {
            return Poll::Pending;
        }
        let Some(envelope) = queue.messages.pop_front() else {
            queue.current_message = None;
            if !queue
                .waker
                .as_ref()
                .is_some_and(|w| w.will_wake(cx.waker()))
            {
                queue.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        };
        queue.current_message = Some(envelope.message_type());
        record.set_depth(queue.messages.len());
        Poll::Ready(envelope)
    }

    /// Says what is worked on now, if it was not just taken out.
    pub(crate) fn set_current_message(&self, message_type: Option<&'static str>) {
        self.queue().current_message = message_type;
    }

    pub(crate) fn current_message(&self) -> Option<&'static str> {
        self.queue().current_message
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue().closed
    }

    /// Takes no more messages; those that are left are given back, to be dropped.
    pub(crate) fn close(&self, record: &ChildRecord) -> VecDeque<Envelope<A>> {
        let mut queue = self.queue();
        queue.closed = true;
        queue.waker = None;
        queue.current_message = None;
        record.set_depth(0);
        std::mem::take(&mut queue.messages)
    }
}
