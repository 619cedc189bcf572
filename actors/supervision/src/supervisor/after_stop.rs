//! The step that follows when a child has stopped.

use crate::{spec::Restart, state::ChildState};

/// Next step of a child once it has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterStop {
    Restart,
    /// The child is started again, because somebody asked for it to be stopped and started: its
    /// `turn` says who.
    Bounce,
    Down(ChildState),
    Remove,
}

impl AfterStop {
    /// Returns the step for a child that is already being stopped for `self`, when it is to be
    /// stopped for `other` as well.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            // The removal was reported to somebody, or will be.
            (Self::Remove, _) => Self::Remove,
            // The child stays suspended, whatever happens to its supervisor.
            (Self::Down(ChildState::Suspended), Self::Down(ChildState::Declared)) => self,
            (_, other) => other,
        }
    }

    /// Returns the step for a child that is stopped because of a sibling.
    pub(super) fn in_group(restart: Restart) -> Self {
        match restart {
            Restart::Temporary => Self::Remove,
            Restart::Permanent | Restart::Transient => Self::Restart,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_stop_does_not_undo_the_first() {
        use AfterStop::{Bounce, Down, Remove, Restart};
        let (declared, suspended) = (Down(ChildState::Declared), Down(ChildState::Suspended));
        let terminated = Down(ChildState::Terminated);
        let cases = [
            (Remove, declared, Remove),
            (Remove, suspended, Remove),
            (suspended, declared, suspended),
            (suspended, terminated, terminated),
            (Restart, declared, declared),
            (Restart, terminated, terminated),
            (Bounce, declared, declared),
            (declared, Remove, Remove),
        ];
        for (first, second, expected) in cases {
            assert_eq!(first.and(second), expected, "{first:?}, {second:?}");
        }
    }
}
