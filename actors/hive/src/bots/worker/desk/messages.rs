//! The messages of the program, and its signs of life.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
};

use tokio::sync::watch;

use super::{Desk, End, key};
use crate::bots::{
    bot::AttemptKey,
    output::SpoolError,
    worker::protocol::{Garbage, Hello, Message, Success},
};

impl Desk {
    /// Notes a sign of life.
    pub(in crate::bots::worker) fn hear(&self) {
        self.heard.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Returns a receiver of the signs of life, all past ones seen.
    pub(in crate::bots::worker) fn listen(&self) -> watch::Receiver<u64> {
        self.heard.subscribe()
    }

    /// Returns whether the disk keeps deia from reading, so that a silent program may live.
    pub(in crate::bots::worker) fn is_held(&self) -> bool {
        self.is_held.get()
    }

    /// Returns the greeting, once there was one.
    pub(in crate::bots::worker) fn greeting(&self) -> Option<Hello> {
        *self.greeting.borrow()
    }

    /// Notes the greeting.
    pub(in crate::bots::worker) fn greet(&self, hello: Hello) {
        self.greeting.send_replace(Some(hello));
        // Lines of people may be written from now on.
        self.news.notify_one();
    }

    /// Waits for the greeting. Cancel safe.
    pub(in crate::bots::worker) async fn greeted(&self) -> Hello {
        let mut greetings = self.greeting.subscribe();
        match greetings.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(hello)) => *hello,
            _ => std::future::pending().await,
        }
    }

    /// Waits until the output of an attempt so far is stored, if the message adds to it. Cancel
    /// safe.
    pub(in crate::bots::worker) async fn settle(&self, message: &Message) {
        let key = match message {
            Message::Output { id, attempt, .. } => key(*id, *attempt),
            Message::Result(success) => key(success.id, success.attempt),
            _ => return,
        };
        self.is_held.set(true);
        let settled = poll_fn(|cx| self.poll_settle(key, cx)).await;
        self.is_held.set(false);
        if let Err(fault) = settled {
            self.not_kept(key, fault);
        }
    }

    fn poll_settle(&self, key: AttemptKey, cx: &mut Context<'_>) -> Poll<Result<(), SpoolError>> {
        match self.open.borrow_mut().get_mut(&key) {
            Some(open) => pin!(open.spool.settle()).poll(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn not_kept(&self, key: AttemptKey, fault: SpoolError) {
        if let Some(open) = self.open.borrow_mut().get_mut(&key)
            && let Some(tell) = open.not_kept.take()
        {
            open.fault = Some(fault.clone());
            let _ = tell.send(fault);
        }
    }

    /// Carries out a message about an attempt. Call [`settle`](Self::settle) first.
    ///
    /// # Errors
    /// The attempt is not on the desk.
    pub(in crate::bots::worker) fn take(&self, message: Message) -> Result<(), Garbage> {
        match message {
            Message::Progress { id, attempt, value } => {
                let key = key(id, attempt);
                let open = self.open.borrow();
                let open = open.get(&key).ok_or(Garbage::NoAttempt(key))?;
                open.progress.tell(value);
                Ok(())
            }
            Message::Output { id, attempt, text } => {
                let key = key(id, attempt);
                match self.take_output(key, &text) {
                    Ok(()) => Ok(()),
                    Err(None) => Err(Garbage::NoAttempt(key)),
                    Err(Some(fault)) => {
                        self.not_kept(key, fault);
                        Ok(())
                    }
                }
            }
            Message::Result(success) => self.succeed(success),
            Message::Error(failure) => {
                let key = key(failure.id, failure.attempt);
                self.end(key, End::Failure(failure))
            }
            Message::Hello(_) => Err(Garbage::OutOfPlace),
            Message::Log { .. } | Message::Pong { .. } => Ok(()),
        }
    }

    fn succeed(&self, mut success: Success) -> Result<(), Garbage> {
        let key = key(success.id, success.attempt);
        let rest = success.output.take().unwrap_or_default();
        match self.take_output(key, &rest) {
            Ok(()) => self.end(key, End::Success(success)),
            Err(Some(fault)) => self.end(key, End::NotKept(fault)),
            Err(None) => Err(Garbage::NoAttempt(key)),
        }
    }

    /// Ends an attempt.
    ///
    /// # Errors
    /// The attempt is not on the desk.
    pub(in crate::bots::worker) fn end(&self, key: AttemptKey, end: End) -> Result<(), Garbage> {
        match self.answer(key, end) {
            true => Ok(()),
            false => Err(Garbage::NoAttempt(key)),
        }
    }

    /// Adds to the output of an attempt; `None` as an error if it is not on the desk. Output
    /// after a fault is dropped.
    fn take_output(&self, key: AttemptKey, text: &str) -> Result<(), Option<SpoolError>> {
        let mut all = self.open.borrow_mut();
        let open = all.get_mut(&key).ok_or(None)?;
        if open.fault.is_some() || text.is_empty() {
            return Ok(());
        }
        open.spool.take(text.as_bytes()).map_err(Some)
    }
}
