//! Mail through bare [`actix::Addr`]s. The mail belongs to the child, as its mailbox does, and ends
//! with it.

use std::{
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use actix::{
    Actor,
    dev::{
        Envelope,
        channel::{AddressReceiver, AddressSender, channel},
    },
};
use futures_util::{Stream as _, task::noop_waker};

use crate::{fence::Lease, panic::drop_quietly};

/// Capacity of the channel of an actor. Fixed: it bounds nothing that is sent with `do_send`, as all
/// mail is.
const CAPACITY: usize = 16;

pub(crate) struct AddrMail<A: Actor> {
    sender: Mutex<AddressSender<A>>,
    /// Receiver of the mail; `None` once the child is gone, so that addresses say that they are not
    /// connected, and messages sent through them are refused.
    receiver: Mutex<Option<AddressReceiver<A>>>,
}

impl<A: Actor> Default for AddrMail<A> {
    fn default() -> Self {
        let (sender, receiver) = channel(CAPACITY);
        Self {
            sender: Mutex::new(sender),
            receiver: Mutex::new(Some(receiver)),
        }
    }
}

impl<A: Actor> AddrMail<A> {
    pub(crate) fn sender(&self) -> AddressSender<A> {
        let sender = self.sender.lock();
        sender.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn receiver(&self) -> MutexGuard<'_, Option<AddressReceiver<A>>> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn poll_pop(
        &self,
        lease: &Lease,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Envelope<A>>> {
        match &mut *self.receiver() {
            Some(receiver) if lease.is_held() => Pin::new(receiver).poll_next(cx),
            _ => Poll::Pending,
        }
    }

    /// Takes no more messages and drops those that are left, one by one: a destructor may panic.
    pub(crate) fn close(&self) {
        let Some(mut receiver) = self.receiver().take() else {
            return;
        };
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        while let Poll::Ready(Some(envelope)) = Pin::new(&mut receiver).poll_next(&mut cx) {
            let _ = drop_quietly(envelope);
        }
        let _ = drop_quietly(receiver);
    }
}
