//! State of the trail that other threads read: how far it is, and whether it can be written.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use deia_model::Timestamp;

/// The state of the trail.
#[derive(Debug)]
pub(crate) struct TrailState(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// Sequence number of the newest event.
    newest: u64,
    /// Time since which an event waits for its entry.
    waiting_since: Option<Instant>,
    progress: Progress,
}

/// Progress of the trail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The identity of the log; empty before it was opened.
    pub(crate) origin: String,
    /// Number of entries that a checkpoint covers.
    pub(crate) size: u64,
    /// Sequence number of the event of the last entry.
    pub(crate) seq: u64,
    /// Time of the last checkpoint since the start.
    pub(crate) sealed_at: Option<Timestamp>,
    /// The newest checkpoint as a signed note, from the time that it is durable.
    pub(crate) checkpoint: String,
    /// Checkpoints signed since the start.
    pub(crate) checkpoints: u64,
    /// Time and reason of the failure since which the trail cannot be written.
    pub(crate) failing: Option<Failing>,
    /// Numbers of events that are missing in the trail, found since the start.
    pub(crate) missed: u64,
}

/// A failure that lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failing {
    pub(crate) since: Timestamp,
    pub(crate) reason: String,
}

/// A round of the writer that a checkpoint covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    /// Sequence number of the last event that was read.
    pub(super) seq: u64,
    /// Time before which the read began: later events may wait since then.
    pub(super) began: Instant,
    /// Age of the last event that was read, if there are more behind it.
    pub(super) backlog: Option<Duration>,
}

impl TrailState {
    /// Creates the state of a trail that was not opened yet.
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Inner {
            newest: 0,
            waiting_since: Some(now),
            progress: Progress::default(),
        }))
    }

    /// Notes that events were appended. Runs on the thread of the store's writer.
    pub(super) fn appended(&self, newest: u64) {
        let mut inner = self.lock();
        inner.newest = newest;
        inner.waiting_since.get_or_insert_with(Instant::now);
    }

    /// Notes a round after which a checkpoint covers all entries.
    pub(super) fn sealed(&self, sealed: Sealed, change: impl FnOnce(&mut Progress)) {
        let mut inner = self.lock();
        inner.waiting_since = match sealed.backlog {
            Some(age) => sealed.began.checked_sub(age).or(inner.waiting_since),
            None => (inner.newest > sealed.seq).then_some(sealed.began),
        };
        inner.progress.failing = None;
        inner.progress.seq = sealed.seq;
        change(&mut inner.progress);
    }

    /// Notes a trail that was opened.
    pub(super) fn opened(&self, seq: u64, change: impl FnOnce(&mut Progress)) {
        let mut inner = self.lock();
        inner.newest = inner.newest.max(seq);
        inner.progress.seq = seq;
        change(&mut inner.progress);
    }

    /// Notes a failure. Returns true if it is the first one.
    pub(super) fn failed(&self, reason: String) -> bool {
        let mut inner = self.lock();
        let failing = &mut inner.progress.failing;
        let is_first = failing.is_none();
        let since = failing
            .take()
            .map_or_else(Timestamp::now, |failing| failing.since);
        *failing = Some(Failing { since, reason });
        is_first
    }

    /// Notes events that were gone before they were entered.
    pub(super) fn missed(&self, events: u64) {
        self.lock().progress.missed += events;
    }

    /// Returns the progress.
    pub(crate) fn progress(&self) -> Progress {
        self.lock().progress.clone()
    }

    /// Returns the time for which events have waited for their entries.
    pub(crate) fn lag(&self, now: Instant) -> Duration {
        let since = self.lock().waiting_since;
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Returns the number of events that wait for their entries.
    pub(crate) fn lag_events(&self) -> u64 {
        let inner = self.lock();
        inner.newest.saturating_sub(inner.progress.seq)
    }

    /// Returns why administrative changes are refused, if they are: nothing privileged happens
    /// that may never have an entry.
    pub(crate) fn refusal(&self, now: Instant, limit: Duration) -> Option<String> {
        let lag = self.lag(now);
        if let Some(failing) = &self.lock().progress.failing {
            return Some(format!(
                "the audit trail cannot be written since {}: {}",
                failing.since, failing.reason
            ));
        }
        (lag > limit).then(|| {
            format!(
                "events have waited {} s for their entries in the audit trail (audit.fail_closed_after)",
                lag.as_secs()
            )
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sealed(seq: u64, began: Instant) -> Sealed {
        Sealed {
            seq,
            began,
            backlog: None,
        }
    }

    #[test]
    fn changes_are_refused_while_events_wait_or_the_trail_fails() {
        let (limit, start) = (10 * SECOND, Instant::now());
        let state = TrailState::new(start);
        assert_eq!(state.refusal(start + limit, limit), None);
        assert!(state.refusal(start + limit + SECOND, limit).is_some());
        state.appended(7);
        state.sealed(sealed(7, start + SECOND), |_| {});
        assert_eq!(state.lag(start + 50 * SECOND), Duration::ZERO);
        // An event came after the read.
        state.appended(9);
        state.sealed(sealed(8, start + 2 * SECOND), |_| {});
        assert_eq!(state.lag(start + 5 * SECOND), 3 * SECOND);
        assert_eq!(state.lag_events(), 1);
        assert!(state.failed("no space".into()) && !state.failed("no space".into()));
        let refusal = state.refusal(start, limit).unwrap();
        assert!(refusal.contains("no space"), "{refusal}");
        state.sealed(sealed(9, start), |progress| progress.checkpoints += 1);
        assert_eq!(state.refusal(start + 99 * SECOND, limit), None);
        assert_eq!(state.progress().checkpoints, 1);
    }

    #[test]
    fn backlog_keeps_changes_refused_until_it_is_caught_up() {
        let (limit, start) = (10 * SECOND, Instant::now() + 100 * SECOND);
        let state = TrailState::new(start);
        state.appended(1_000);
        let first = Sealed {
            seq: 100,
            began: start,
            backlog: Some(60 * SECOND),
        };
        state.sealed(first, |_| {});
        assert!(state.refusal(start, limit).is_some());
        state.sealed(sealed(1_000, start), |_| {});
        assert_eq!(state.refusal(start, limit), None);
    }
}
