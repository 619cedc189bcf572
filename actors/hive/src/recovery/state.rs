//! The state of the archive, shared by the thread that writes it, the actor and the API.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use deia_archive::{Fault, Point, PointKind};
use deia_model::{
    NewEvent, PointId, RecoveryFailure, RecoveryJob, RecoveryState, ReplacedStore, RestorePoint,
    RestorePointKind, RestoredHive, Timestamp,
};
use tokio::sync::oneshot;

use super::drills::Drills;

/// Requests for restore points that may wait. Fixed: one point stands for all of them.
const WAITING_MAX: usize = 64;
/// Events that may wait to be recorded. Fixed: each is rare, and recorded within a second.
const EVENTS_MAX: usize = 256;

/// A request for a restore point.
pub(super) struct PointRequest {
    pub(super) id: PointId,
    pub(super) kind: PointKind,
    pub(super) label: String,
    pub(super) by: String,
    /// True once its snapshot has begun.
    pub(super) begun: bool,
    pub(super) made: Option<oneshot::Sender<()>>,
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) parts: u64,
    pub(super) failures: u64,
    pub(super) points: u64,
    pub(super) generations: u64,
}

pub(super) struct Inner {
    /// Time of the start, by the clock of the machine and by one that is never set.
    pub(super) started: (Timestamp, Instant),
    /// Time since which nothing new can be restored while the archive is not complete, by a
    /// clock that is never set: that of the start, or of the newest point.
    pub(super) exposed_since: Instant,
    /// Time at which the storage was asked for something that it has not answered.
    pub(super) asked_at: Option<Instant>,
    /// True if the archive is on the file system of the data directory.
    pub(super) same_disk: bool,
    /// The restore that the hive began with.
    pub(super) restored: Option<RestoredHive>,
    pub(super) state: RecoveryState,
    /// True if the archive has a snapshot that the shipped log goes on from.
    pub(super) is_complete: bool,
    pub(super) failing: Option<RecoveryFailure>,
    pub(super) generation: Option<String>,
    pub(super) reason: Option<String>,
    /// The point with the commits that the disk had lost at the start.
    pub(super) ahead: Option<PointId>,
    pub(super) archived_at: Option<Timestamp>,
    pub(super) points: Vec<Point>,
    pub(super) bytes: u64,
    /// Number of files whose changes are not in the archive.
    pub(super) files_waiting: u64,
    pub(super) counters: Counters,
    pub(super) requests: VecDeque<PointRequest>,
    pub(super) events: VecDeque<NewEvent>,
    pub(super) drills: Drills,
    /// Objects that were found damaged: by the last look at the archive, and by the last
    /// verification.
    pub(super) faults: [Vec<Fault>; 2],
    /// Stores that restores in place have replaced.
    pub(super) replaced: Vec<ReplacedStore>,
    pub(super) job: Option<RecoveryJob>,
}

/// The shared state.
pub(super) struct Shared(Mutex<Inner>);

impl Default for Shared {
    fn default() -> Self {
        Self(Mutex::new(Inner {
            started: (Timestamp::now(), Instant::now()),
            exposed_since: Instant::now(),
            asked_at: None,
            same_disk: false,
            restored: None,
            state: RecoveryState::Starting,
            is_complete: false,
            failing: None,
            generation: None,
            reason: None,
            ahead: None,
            archived_at: None,
            points: Vec::new(),
            bytes: 0,
            files_waiting: 0,
            counters: Counters::default(),
            requests: VecDeque::new(),
            events: VecDeque::new(),
            drills: Drills::default(),
            faults: Default::default(),
            replaced: Vec::new(),
            job: None,
        }))
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request. Returns `false` if too many wait.
    pub(super) fn ask(&self, request: PointRequest) -> bool {
        let mut inner = self.lock();
        let has_room = inner.requests.len() < WAITING_MAX;
        if has_room {
            inner.requests.push_back(request);
        }
        has_room
    }

    /// Leaves an event for the actor to record. The oldest is dropped if too many wait.
    pub(super) fn leave(&self, event: NewEvent) {
        let mut inner = self.lock();
        if inner.events.len() >= EVENTS_MAX {
            inner.events.pop_front();
        }
        inner.events.push_back(event);
    }
}

impl Inner {
    /// Returns the time of the oldest commit that a restore would not have, if there is one.
    /// Until the first snapshot of a generation is complete, only the points of earlier ones
    /// can be restored.
    pub(super) fn lost_since(&self, unshipped_since: Option<Instant>) -> Option<Instant> {
        match self.is_complete {
            true => unshipped_since,
            false => Some(self.exposed_since),
        }
    }

    /// Notes that nothing newer than the last commit of the newest point can be restored.
    pub(super) fn note_exposed(&mut self, now: Timestamp) {
        if let Some(newest) = self.points.last() {
            let age = now.as_millis().saturating_sub(newest.at);
            let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
            let since = Instant::now().checked_sub(age);
            self.exposed_since = since.map_or(self.exposed_since, |it| it.min(self.exposed_since));
        }
    }

    /// Returns the time, by a clock that does not run ahead of the time that has passed since the
    /// start: one that jumps ahead must not end the retention of anything.
    pub(super) fn trusted_now(&self, now: Timestamp) -> Timestamp {
        let (wall, steady) = self.started;
        let passed = i64::try_from(steady.elapsed().as_millis()).unwrap_or(i64::MAX);
        let expected = wall.as_millis().saturating_add(passed);
        Timestamp::from_millis(now.as_millis().min(expected))
    }

    /// Returns the state and the failure to show. A thread that has ended, and a storage that has
    /// not answered for `patience`, write no archive, whatever they were doing.
    pub(super) fn shown_state(
        &self,
        has_ended: bool,
        patience: Duration,
        now: Instant,
    ) -> (RecoveryState, Option<RecoveryFailure>) {
        let asked = self.asked_at.map(|it| now.saturating_duration_since(it));
        let (waited, reason) = match asked.filter(|waited| *waited >= patience) {
            _ if self.failing.is_some() => return (RecoveryState::Failing, self.failing.clone()),
            _ if has_ended => (
                Duration::ZERO,
                "the thread that writes the archive has ended".to_owned(),
            ),
            Some(waited) => (
                waited,
                format!("the archive has not answered for {} s", waited.as_secs()),
            ),
            None => return (self.state, None),
        };
        let waited = i64::try_from(waited.as_millis()).unwrap_or(i64::MAX);
        let since = Timestamp::now().as_millis().saturating_sub(waited);
        let since = Timestamp::from_millis(since);
        (
            RecoveryState::Failing,
            Some(RecoveryFailure { since, reason }),
        )
    }

    /// Returns the objects that are known to be damaged, each once.
    pub(super) fn damaged(&self) -> Vec<&Fault> {
        let [looked, verified] = &self.faults;
        let is_new = |fault: &&Fault| !looked.iter().any(|it| it.place == fault.place);
        looked
            .iter()
            .chain(verified.iter().filter(is_new))
            .collect()
    }

    /// Returns the newest point.
    pub(super) fn newest_point(&self) -> Option<&Point> {
        self.points.iter().max_by_key(|point| point.order())
    }

    /// Returns a point as callers see it.
    pub(super) fn shown(&self, point: &Point) -> Option<RestorePoint> {
        Some(RestorePoint {
            id: point.id.parse().ok()?,
            kind: match point.kind {
                PointKind::Automatic => RestorePointKind::Automatic,
                PointKind::RestorePoint => RestorePointKind::RestorePoint,
                PointKind::Backup => RestorePointKind::Backup,
            },
            label: point.label.clone(),
            created_at: Timestamp::from_millis(point.created_at),
            at: Timestamp::from_millis(point.at),
            position: format!("{}.{}", point.timeline, point.seq),
            generation: point.generation.clone(),
            database_bytes: u64::from(point.pages) * u64::from(point.page_bytes),
            verified_at: self.drills.of(&point.id),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_thread_and_silent_storage_are_failures() {
        let shared = Shared::default();
        let mut inner = shared.lock();
        inner.state = RecoveryState::Shipping;
        let now = Instant::now();
        let patience = Duration::from_secs(60);
        let state = |inner: &Inner, has_ended, seconds| {
            let now = now + Duration::from_secs(seconds);
            inner.shown_state(has_ended, patience, now).0
        };
        assert_eq!(state(&inner, false, 1_000), RecoveryState::Shipping);
        assert_eq!(state(&inner, true, 0), RecoveryState::Failing);
        inner.asked_at = Some(now);
        assert_eq!(state(&inner, false, 59), RecoveryState::Shipping);
        assert_eq!(state(&inner, false, 61), RecoveryState::Failing);
        let (_, failing) = inner.shown_state(false, patience, now + patience);
        let reason = failing.unwrap().reason;
        assert!(reason.contains("not answered for 60 s"), "{reason}");
    }

    #[test]
    fn clock_that_jumps_ahead_is_not_trusted() {
        let shared = Shared::default();
        let inner = shared.lock();
        let start = inner.started.0.as_millis();
        let year = 365 * 86_400_000;
        let trusted = |millis| {
            inner
                .trusted_now(Timestamp::from_millis(millis))
                .as_millis()
        };
        assert!(trusted(start + year) < start + year / 2);
        assert_eq!(trusted(start - year), start - year);
    }

    #[test]
    fn exposure_does_not_shrink_when_the_clock_is_set_back() {
        let shared = Shared::default();
        let mut inner = shared.lock();
        let started = inner.exposed_since;
        assert_eq!(inner.lost_since(None), Some(started));
        inner.is_complete = true;
        assert_eq!(inner.lost_since(None), None);
        assert_eq!(inner.lost_since(Some(started)), Some(started));
    }
}
