//! The step that follows when a child has stopped.

use crate::{spec::Restart, state::ChildState};

/// Next step of a child once it has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterStop {
    Restart,
    /// Somebody asked for it to be stopped and started: its `turn` says who.
    Bounce,
    Down(ChildState),
    Remove,
}

impl AfterStop {
    /// What follows when a child that is stopping already, with this to follow, is to be stopped
    /// for something else.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            // Somebody was told, or will be, that it is gone.
            (Self::Remove, _) => Self::Remove,
            // It stays suspended, whatever becomes of its supervisor.
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
