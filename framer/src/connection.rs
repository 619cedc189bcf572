//! State of a connection that its stream and the handlers of its requests share.

use std::{
    cell::{Cell, OnceCell, RefCell},
    task::Waker,
};

use crate::FramingError;

/// A connection as the handlers of its requests see it. `N` is the type of the
/// server's notes on it.
pub struct Connection<N> {
    /// The server's notes on the connection.
    pub note: N,
    /// Reason why nothing more is read from the connection.
    pub(crate) refusal: OnceCell<FramingError>,
    /// Number of requests that were read from the connection.
    pub(crate) requests: Cell<u64>,
    /// Number of requests of which at least the head of the answer exists.
    pub(crate) answered: Cell<u64>,
    /// Waker of the reader that waits for an answer.
    reader: RefCell<Option<Waker>>,
    /// True if the client of the current request waits for `100 Continue`.
    pub(crate) expects: Cell<bool>,
    /// True if the client is to be sent `100 Continue`.
    pub(crate) invited: Cell<bool>,
    /// True if the connection is closed after the current answer.
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

    /// Returns the reason why nothing more is read from the connection.
    pub fn refusal(&self) -> Option<FramingError> {
        self.refusal.get().copied()
    }

    /// Closes the connection after the current answer.
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

    /// Tells the client of the current request to send the body, if it waits for that.
    pub fn invite(&self) {
        if self.expects.take() {
            self.invited.set(true);
        }
    }
}
