//! Messages that are not taken.

use actix::Actor;

use crate::{control::Parked, envelope::Envelope, record::ChildRecord};

/// Message that was not taken, and the reason.
pub(crate) struct NotTaken<A: Actor> {
    pub(crate) why: Refusal,
    pub(crate) envelope: Envelope<A>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    /// The child is suspended, and refuses mail meanwhile, or the message is a question.
    Suspended,
    Closed,
    /// The message is a question, and the child stays down until somebody starts it.
    Down,
    /// The message is a question without a record of the task that works on it, and now needs one:
    /// the child was moved off the arbiter of its tree meanwhile.
    Unwatched,
}

/// Kind of message that is sent.
#[derive(Clone, Copy)]
pub(crate) enum Sending {
    /// The message may wait for as long as it takes.
    Mail,
    Question {
        /// True if the question records the task that works on it.
        is_watched: bool,
    },
}

impl Sending {
    /// Returns the reason for which a child does not take the message, whether there is room or
    /// not.
    #[inline]
    pub(super) fn refusal(self, record: &ChildRecord) -> Option<Refusal> {
        let Self::Question { is_watched } = self else {
            return None;
        };
        match record.parked() {
            Some(Parked::Suspended) => Some(Refusal::Suspended),
            Some(Parked::Down) => Some(Refusal::Down),
            None if !is_watched && !record.is_here() => Some(Refusal::Unwatched),
            None => None,
        }
    }
}
