//! Messages that are not taken.

use actix::Actor;

use crate::{control::Parked, envelope::Envelope, record::ChildRecord};

/// A message that was not taken, and why.
pub(crate) struct NotTaken<A: Actor> {
    pub(crate) why: Refusal,
    pub(crate) envelope: Envelope<A>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    /// It refuses mail while it is suspended, or this is a question.
    Suspended,
    Closed,
    /// This is a question, and the child stays down until somebody starts it.
    Down,
    /// This is a question that does not say who works on it, and now has to: the child was moved
    /// off the arbiter of its tree meanwhile.
    Unwatched,
}

/// The kind of message that is sent.
#[derive(Clone, Copy)]
pub(crate) enum Sending {
    /// May wait for as long as it takes.
    Mail,
    Question {
        /// It says who works on it.
        is_watched: bool,
    },
}

impl Sending {
    /// Why a child does not take it, whether there is room or not.
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
