//! The messages that wait for a child.
//!
//! The mailbox is a queue rather than a channel, because it belongs to the child and not to one
//! task: when an arbiter is blocked, another worker task goes on with it elsewhere. The bound is
//! exact.

mod refusal;

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use actix::Actor;
use tokio::sync::Notify;

pub(crate) use self::refusal::{NotTaken, Refusal, Sending};
use crate::{envelope::Envelope, fence::Lease, panic::drop_each_quietly, record::ChildRecord};

pub(crate) struct Mailbox<A: Actor> {
    queue: Mutex<Queue<A>>,
    /// Number of senders that wait for room.
    senders: AtomicUsize,
    has_room: Notify,
}

struct Queue<A: Actor> {
    messages: VecDeque<Numbered<A>>,
    /// Number of the message that came last.
    last: u64,
    /// Largest number of messages that waited since it was empty the last time.
    peak: usize,
    /// Waker of the worker task, when it has found nothing.
    waker: Option<Waker>,
    closed: bool,
    /// Type of the message that was taken last, for readers outside the task.
    current_message: Option<&'static str>,
}

/// Message that waits, and its number: messages are taken in the order of their numbers.
struct Numbered<A: Actor> {
    number: u64,
    envelope: Envelope<A>,
}

/// Number of messages for which room is always kept. Fixed: of the library, which has no
/// settings.
const KEPT: usize = 1_024;

/// Counter of one sender that waits for room, which is decreased on drop.
struct WaitingSender<'a>(&'a AtomicUsize);

impl<'a> WaitingSender<'a> {
    fn new(senders: &'a AtomicUsize) -> Self {
        senders.fetch_add(1, Ordering::SeqCst);
        Self(senders)
    }
}

impl Drop for WaitingSender<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<A: Actor> Queue<A> {
    /// Puts a message at the end and returns the waker to be woken.
    #[inline]
    fn push(&mut self, envelope: Envelope<A>, record: &ChildRecord) -> Option<Waker> {
        self.last += 1;
        let number = self.last;
        self.messages.push_back(Numbered { number, envelope });
        let depth = self.messages.len();
        self.peak = self.peak.max(depth);
        record.set_depth(depth);
        self.waker.take()
    }

    /// Takes questions that nobody wants answered any more out of a full mailbox, if there are
    /// enough of them to be worth a scan of all messages.
    fn sweep(&mut self, record: &ChildRecord) -> Vec<Envelope<A>> {
        let worth_it = (self.messages.len() / 64).max(1);
        if !record.take_withdrawn(worth_it) {
            return Vec::new();
        }
        self.take_out(record, |envelope| envelope.is_withdrawn())
    }

    fn take_out(
        &mut self,
        record: &ChildRecord,
        wanted: impl Fn(&Envelope<A>) -> bool,
    ) -> Vec<Envelope<A>> {
        let mut taken = Vec::new();
        for numbered in std::mem::take(&mut self.messages) {
            if wanted(&numbered.envelope) {
                taken.push(numbered.envelope);
            } else {
                self.messages.push_back(numbered);
            }
        }
        record.set_depth(self.messages.len());
        taken
    }

    /// Gives the memory of an earlier burst back, when the mailbox is empty. Bursts that repeat
    /// keep their room.
    fn shrink(&mut self) {
        let peak = std::mem::take(&mut self.peak);
        if self.messages.capacity() > KEPT && peak < self.messages.capacity() / 4 {
            self.messages.shrink_to(KEPT.max(2 * peak));
        }
    }
}

impl<A: Actor> Mailbox<A> {
    pub(crate) fn new() -> Self {
        let queue = Mutex::new(Queue {
            messages: VecDeque::new(),
            last: 0,
            peak: 0,
            waker: None,
            closed: false,
            current_message: None,
        });
        Self {
            queue,
            senders: AtomicUsize::new(0),
            has_room: Notify::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<A>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message at the end and returns its number. The depth and the bound are the record's.
    #[inline]
    pub(crate) fn push(
        &self,
        envelope: Envelope<A>,
        sending: Sending,
        record: &ChildRecord,
    ) -> Result<u64, NotTaken<A>> {
        let (number, waker) = {
            let mut queue = self.queue();
            let is_taken = !queue.closed && sending.refusal(record).is_none();
            if !is_taken || queue.messages.len() >= record.room() {
                drop(queue);
                return self.push_slowly(envelope, sending, record);
            }
            let waker = queue.push(envelope, record);
            (queue.last, waker)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(number)
    }

    /// Tries again to put a message that was just refused, after making room, or returns the
    /// reason.
    #[cold]
    fn push_slowly(
        &self,
        envelope: Envelope<A>,
        sending: Sending,
        record: &ChildRecord,
    ) -> Result<u64, NotTaken<A>> {
        let refuse = |why, envelope| Err(NotTaken { why, envelope });
        let (swept, number, waker) = {
            let mut queue = self.queue();
            if queue.closed {
                return refuse(Refusal::Closed, envelope);
            }
            if let Some(why) = sending.refusal(record) {
                return refuse(why, envelope);
            }
            let mut swept = Vec::new();
            if queue.messages.len() >= record.room() {
                if record.refuses_mail() {
                    return refuse(Refusal::Suspended, envelope);
                }
                swept = queue.sweep(record);
            }
            if queue.messages.len() >= record.room() {
                return refuse(Refusal::Full, envelope);
            }
            let waker = queue.push(envelope, record);
            (swept, queue.last, waker)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        // Dropped after the lock is released, because a destructor may do anything.
        let _ = drop_each_quietly(swept);
        Ok(number)
    }

    /// Makes earlier callers hear if the child loses their question, because it was moved off the
    /// arbiter of its tree, where no lease can be taken away.
    pub(crate) fn watch_questions(&self, record: &Arc<ChildRecord>) {
        for numbered in &mut self.queue().messages {
            numbered.envelope.watch(record);
        }
    }

    /// Waits, once `try_again` has been refused for want of room, until there may be some.
    pub(crate) async fn wait_for_room<T>(&self, mut try_again: impl FnMut() -> Option<T>) -> T {
        let _waiting = WaitingSender::new(&self.senders);
        loop {
            let mut has_room = pin!(self.has_room.notified());
            // From here on, no message that is taken out goes unnoticed.
            has_room.as_mut().enable();
            if let Some(done) = try_again() {
                return done;
            }
            has_room.await;
        }
    }

    /// Wakes all senders that wait for room.
    pub(crate) fn wake_senders(&self) {
        self.has_room.notify_waiters();
    }

    /// Takes out the waiting messages that are `wanted`, to be dropped.
    pub(crate) fn take_out(
        &self,
        record: &ChildRecord,
        wanted: impl Fn(&Envelope<A>) -> bool,
    ) -> Vec<Envelope<A>> {
        self.take_out_if(record, || true, wanted)
    }

    /// Does the same for the worker task that holds the lease, and nothing for one that has lost
    /// it.
    pub(crate) fn take_out_as(
        &self,
        lease: &Lease,
        record: &ChildRecord,
        wanted: impl Fn(&Envelope<A>) -> bool,
    ) -> Vec<Envelope<A>> {
        self.take_out_if(record, || lease.is_held(), wanted)
    }

    fn take_out_if(
        &self,
        record: &ChildRecord,
        may: impl FnOnce() -> bool,
        wanted: impl Fn(&Envelope<A>) -> bool,
    ) -> Vec<Envelope<A>> {
        let taken = {
            let mut queue = self.queue();
            if !may() {
                return Vec::new();
            }
            queue.take_out(record, wanted)
        };
        self.wake_senders();
        taken
    }

    /// Returns the next message, for the worker task that holds the lease.
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
        let Some(Numbered { number, envelope }) = queue.messages.pop_front() else {
            queue.current_message = None;
            queue.shrink();
            if !queue
                .waker
                .as_ref()
                .is_some_and(|w| w.will_wake(cx.waker()))
            {
                queue.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        };
        if !record.is_here() && !envelope.take_as(lease) {
            queue.messages.push_front(Numbered { number, envelope });
            return Poll::Pending;
        }
        if self.senders.load(Ordering::Relaxed) > 0 {
            self.has_room.notify_one();
        }
        queue.current_message = Some(envelope.message_type());
        record.set_taken(number);
        record.set_depth(queue.messages.len());
        // No handler sees a question that was withdrawn: it is no progress, and cannot be the
        // first message of a run that poison ends.
        if !envelope.is_withdrawn() {
            record.add_handled();
        }
        Poll::Ready(envelope)
    }

    /// Counts a message that came through a bare address, which is worked on now.
    pub(crate) fn begin_addr_message(
        &self,
        message_type: &'static str,
        lease: &Lease,
        record: &ChildRecord,
    ) {
        let mut queue = self.queue();
        if lease.is_held() {
            queue.current_message = Some(message_type);
            record.add_handled();
        }
    }

    /// Records the message that the holder of the lease works on now, if it was not just taken out.
    /// A run that was abandoned records nothing, because another run works on something else.
    pub(crate) fn set_current_message(&self, lease: &Lease, message_type: Option<&'static str>) {
        let mut queue = self.queue();
        if lease.is_held() {
            queue.current_message = message_type;
        }
    }

    pub(crate) fn current_message(&self) -> Option<&'static str> {
        self.queue().current_message
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue().closed
    }

    /// Closes the mailbox to messages and returns those that are left, to be dropped.
    pub(crate) fn close(&self, record: &ChildRecord) -> Vec<Envelope<A>> {
        let mut queue = self.queue();
        queue.closed = true;
        queue.waker = None;
        queue.current_message = None;
        record.set_depth(0);
        self.wake_senders();
        let messages = std::mem::take(&mut queue.messages);
        messages.into_iter().map(|left| left.envelope).collect()
    }
}

#[cfg(test)]
mod tests {
    use actix::{Handler, Message};
    use futures_util::task::noop_waker;

    use super::*;
    use crate::{context::Context as ActorContext, envelope::Tell};

    struct Nobody;

    impl Actor for Nobody {
        type Context = ActorContext<Self>;
    }

    struct Nothing;

    impl Message for Nothing {
        type Result = ();
    }

    impl Handler<Nothing> for Nobody {
        type Result = ();
        fn handle(&mut self, _: Nothing, _: &mut Self::Context) {}
    }

    /// Puts in and takes out so many messages, and returns the room that is kept.
    fn burst(mailbox: &Mailbox<Nobody>, record: &Arc<ChildRecord>, messages: usize) -> usize {
        record.set_bound(usize::MAX);
        for _ in 0..messages {
            assert!(
                mailbox
                    .push(Box::new(Tell(Nothing)), Sending::Mail, record)
                    .is_ok()
            );
        }
        let (waker, lease) = (noop_waker(), Lease::of(record));
        let mut cx = Context::from_waker(&waker);
        while mailbox.poll_pop(&lease, record, &mut cx).is_ready() {}
        mailbox.queue().messages.capacity()
    }

    #[test]
    fn memory_of_a_burst_is_given_back() {
        let (mailbox, record) = (Mailbox::new(), ChildRecord::worker("a".to_owned()));
        let room = burst(&mailbox, &record, 60_000);
        assert!(room >= 60_000);
        assert_eq!(burst(&mailbox, &record, 50_000), room, "bursts that repeat");
        assert!(burst(&mailbox, &record, 1) <= 2 * KEPT);
        assert_eq!(record.handled(), 110_001);
    }
}
