//! The state of the archive, shared by the thread that writes it, the actor and the API.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use deia_archive::{Point, PointKind};
use deia_model::{
    NewEvent, PointId, RecoveryFailure, RecoveryJob, RecoveryState, RestorePoint, RestorePointKind,
    RestoredHive, Timestamp,
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

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

/// A restore for practice that succeeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Drilled {
    pub(super) point: String,
    pub(super) at: Timestamp,
    pub(super) seconds: f64,
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
    /// Time of the start.
    pub(super) started_at: Timestamp,
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
    pub(super) was_ahead: bool,
    pub(super) archived_at: Option<Timestamp>,
    pub(super) points: Vec<Point>,
    pub(super) bytes: u64,
    pub(super) counters: Counters,
    pub(super) requests: VecDeque<PointRequest>,
    pub(super) events: VecDeque<NewEvent>,
    pub(super) drilled: Option<Drilled>,
    pub(super) drill_tried_at: Option<Timestamp>,
    pub(super) job: Option<RecoveryJob>,
}

/// The shared state.
pub(super) struct Shared(Mutex<Inner>);

impl Default for Shared {
    fn default() -> Self {
        Self(Mutex::new(Inner {
            started_at: Timestamp::now(),
            same_disk: false,
            restored: None,
            state: RecoveryState::Starting,
            is_complete: false,
            failing: None,
            generation: None,
            reason: None,
            was_ahead: false,
            archived_at: None,
            points: Vec::new(),
            bytes: 0,
            counters: Counters::default(),
            requests: VecDeque::new(),
            events: VecDeque::new(),
            drilled: None,
            drill_tried_at: None,
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
    pub(super) fn lost_since(&self, unshipped_since: Option<Timestamp>) -> Option<Timestamp> {
        if self.is_complete {
            return unshipped_since;
        }
        let newest = self.points.iter().map(|point| point.at).max();
        Some(newest.map_or(self.started_at, Timestamp::from_millis))
    }

    /// Returns a point as callers see it.
    pub(super) fn shown(&self, point: &Point) -> Option<RestorePoint> {
        let drilled = self.drilled.as_ref().filter(|it| it.point == point.id);
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
            verified_at: drilled.map(|it| it.at),
        })
    }
}
