//! The state of the hive as a whole.

use std::{
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

use crate::HiveError;

/// A state of the hive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Starting,
    Ready,
    /// The hive accepts all requests, but begins no attempt; it is about to restart.
    Restarting,
    Stopping,
}

impl State {
    fn of(number: u8) -> Self {
        match number {
            0 => Self::Starting,
            1 => Self::Ready,
            2 => Self::Restarting,
            _ => Self::Stopping,
        }
    }

    /// Returns true if submissions are accepted.
    pub(crate) fn takes_work(self) -> bool {
        matches!(self, Self::Ready | Self::Restarting)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
        }
    }
}

/// The state of the hive, with notification of changes.
pub(crate) struct Lifecycle {
    state: AtomicU8,
    changed: Notify,
    /// True while the event log is over its size and waits for the audit trail.
    is_log_full: AtomicBool,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            state: (State::Starting as u8).into(),
            changed: Notify::new(),
            is_log_full: AtomicBool::new(false),
        }
    }
}

impl Lifecycle {
    pub(crate) fn state(&self) -> State {
        State::of(self.state.load(Ordering::Acquire))
    }

    pub(crate) fn set(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Changes from one state to another. Returns `false` if the current state is a third one.
    pub(crate) fn change(&self, from: State, to: State) -> bool {
        let (from, to) = (from as u8, to as u8);
        let state = &self.state;
        let changed = state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        self.changed.notify_waiters();
        changed.is_ok()
    }

    /// Waits up to `limit` while the hive is starting, so that a request that came in
    /// early is not refused.
    ///
    /// # Errors
    /// [`HiveError::Unavailable`] if the hive is stopping, or does not get ready.
    pub(crate) async fn takes_work(&self, limit: Duration) -> Result<(), HiveError> {
        if self.state() == State::Starting {
            // The state below shows if the hive became ready in time.
            let _ = tokio::time::timeout(limit, self.started()).await;
        }
        if self.is_log_full.load(Ordering::Acquire) {
            return Err(HiveError::AuditUnavailable(
                "the event log is over its size (events.max_bytes) and waits for the audit trail"
                    .into(),
            ));
        }
        match self.state() {
            state if state.takes_work() => Ok(()),
            state => Err(HiveError::Unavailable(state.as_str())),
        }
    }

    /// Notes whether the event log is over its size and nothing of it can be forgotten: then no
    /// task is accepted that would make it longer.
    pub(crate) fn note_log(&self, is_full: bool) {
        self.is_log_full.store(is_full, Ordering::Release);
    }

    /// Resolves once the hive has started, or stops.
    pub(crate) async fn started(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.state() != State::Starting {
                return;
            }
            changed.await;
        }
    }
}
