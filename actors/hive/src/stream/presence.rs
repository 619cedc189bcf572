//! The state of the reader of the log, as clients need to know it.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use deia_supervision::{ChildState, Tree};
use tokio::time::Instant;

use super::{hub::Hub, reader::Waker};
use crate::lifecycle::{Lifecycle, State};

/// Time for which clients wait for a reader that starts or restarts. Fixed: a reader is
/// back within milliseconds.
const START_WAIT: Duration = Duration::from_secs(2);
/// Interval of checks meanwhile. Fixed: short enough that nobody waits for it, and each
/// look costs little.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// State of the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReaderState {
    /// It reads.
    Running,
    /// It was stopped, by an operator or because it failed repeatedly.
    Suspended,
    /// The hive stops or restarts.
    Stopping,
}

/// Access to what tells the state.
pub(super) struct Presence {
    hub: Arc<Hub>,
    waker: Waker,
    lifecycle: Arc<Lifecycle>,
    tree: Arc<OnceLock<Tree>>,
}

impl Presence {
    pub(super) fn new(
        hub: Arc<Hub>,
        waker: Waker,
        lifecycle: Arc<Lifecycle>,
        tree: Arc<OnceLock<Tree>>,
    ) -> Self {
        Self {
            hub,
            waker,
            lifecycle,
            tree,
        }
    }

    /// Returns the state, once it is clear: a reader that crashed is usually back at once.
    pub(super) async fn settled(&self) -> ReaderState {
        let deadline = Instant::now() + START_WAIT;
        loop {
            let running = self.hub.pulse().borrow().running;
            if let Some(state) = decide(running, self.child(), self.lifecycle.state()) {
                return state;
            }
            if Instant::now() >= deadline {
                return ReaderState::Suspended;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Returns the state of the reader in the tree; `None` before the tree is up.
    fn child(&self) -> Option<ChildState> {
        Some(self.tree.get()?.status_of(self.waker.path())?.state)
    }
}

/// Returns the state of the reader, if it is clear.
fn decide(running: bool, child: Option<ChildState>, hive: State) -> Option<ReaderState> {
    let stays_down = matches!(
        child,
        Some(ChildState::Suspended | ChildState::Quarantined | ChildState::Terminated)
    );
    match hive {
        _ if running => Some(ReaderState::Running),
        State::Restarting | State::Stopping => Some(ReaderState::Stopping),
        State::Starting | State::Ready => stays_down.then_some(ReaderState::Suspended),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reader_that_is_down_is_suspended_stopping_or_about_to_come_back() {
        use ChildState as Child;
        use ReaderState::{Running, Stopping, Suspended};
        for (running, child, hive, expected) in [
            (true, Some(Child::Running), State::Ready, Some(Running)),
            (true, None, State::Stopping, Some(Running)),
            (false, None, State::Starting, None),
            (false, Some(Child::Restarting), State::Ready, None),
            (false, Some(Child::Stopping), State::Ready, None),
            (false, Some(Child::Suspended), State::Ready, Some(Suspended)),
            (
                false,
                Some(Child::Quarantined),
                State::Ready,
                Some(Suspended),
            ),
            (
                false,
                Some(Child::Suspended),
                State::Stopping,
                Some(Stopping),
            ),
            (
                false,
                Some(Child::Stopping),
                State::Restarting,
                Some(Stopping),
            ),
        ] {
            let state = decide(running, child, hive);
            assert_eq!(state, expected, "{running} {child:?} {hive:?}");
        }
    }
}
