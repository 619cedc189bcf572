//! State of a connection that its stream and the handlers of its requests share.

use std::{
    cell::{Cell, OnceCell, RefCell},
    task::Waker,
};

use crate::FramingError;

/// A connection as the handlers of its requests see it. `N` is what the server
/// notes of it.
pub struct Connection<N> {
    /// The server's notes on the connection.
    pub note: N,
    /// Reason why nothing more is read from it.
    pub(crate) refusal: OnceCell<FramingError>,
    /// Requests that were read from it.
    pub(crate) requests: Cell<u64>,
    /// Requests that were answered, at least in their head.
    pub(crate) answered: Cell<u64>,
    /// The reader that waits for that.
    reader: RefCell<Option<Waker>>,
    /// The client of the request in hand waits for `100 Continue`.
    pub(crate) expects: Cell<bool>,
    /// It is to get that.
    pub(crate) invited: Cell<bool>,
    /// It is closed after the answer in hand.
    pub(crate) closing: Cell<bool>,
}

impl<N> Connection<N> {
    pub(crate) fn new(note: N) -> Self {
        Self {
            note,
            refusal: OnceCell::new(),
            requests: Cell::new(0),
            answered: Cell::new(0),
            reader: RefCell::new(None),
            expects: Cell::new(false),
            invited: Cell::new(false),
            closing: Cell::new(false),
        }
    }

    /// Returns why nothing more is read from it.
    pub fn refusal(&self) -> Option<FramingError> {
        self.refusal.get().copied()
    }

    /// Ends it with the answer in hand.
    pub fn close(&self) {
        self.closing.set(true);
    }

    /// Notes that a request has its answer: the next one may be read.
    pub fn answered(&self) {
        self.answered.set(self.answered.get() + 1);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub(crate) fn tell_when_answered(&self, reader: &Waker) {
        self.reader.replace(Some(reader.clone()));
    }

    /// Tells the client of the request in hand, if it waits for that, to send the body.
    pub fn invite(&self) {
        if self.expects.take() {
            self.invited.set(true);
        }
    }
}
