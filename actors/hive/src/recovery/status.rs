//! The state of the archive, as the status, the alerts and the metrics show it.

use std::time::{Duration, Instant};

use deia_model::{
    ArchiveFault, PointId, RecoveryFailure, RecoveryMode, RecoveryState, RecoveryStatus, Timestamp,
};

use super::{
    RecoveryApi,
    keys::{key_files, not_included},
    state::Inner,
};

/// Damaged objects that the status lists; it has their number as well. Fixed: one is enough to act.
const DAMAGED_SHOWN: usize = 20;

/// State of the archive.
#[derive(Clone, Debug, Default)]
pub(crate) struct ArchiveHealth {
    /// Reason why it cannot be written.
    pub(crate) failing: Option<String>,
    /// The restore point with the commits that the disk has lost, if it has lost some.
    pub(crate) ahead: Option<String>,
    /// Age of the oldest commit that it does not have, in seconds; `None` without an archive.
    pub(crate) exposure_seconds: Option<f64>,
    /// Time for which no restore for practice has succeeded; `None` if there are none.
    pub(crate) unproven_for: Option<Duration>,
    /// Reason why the last restore for practice failed.
    pub(crate) drill_failed: Option<String>,
    /// Number of objects that are not sound.
    pub(crate) damaged: u64,
    /// The first one of these.
    pub(crate) first_damaged: Option<String>,
    /// Age of the newest restore point, or the time since the start if there is none.
    pub(crate) newest_point_age: Option<Duration>,
}

impl RecoveryApi {
    /// Returns the age of the oldest commit that the archive does not have, in seconds; `None`
    /// if there is no archive.
    pub(crate) fn exposure_seconds(&self) -> Option<f64> {
        if self.shipping().is_off() {
            return None;
        }
        let unshipped = self.shipping().feed().look().unshipped_since;
        let since = self.shared().lock().lost_since(unshipped);
        Some(since.map_or(0.0, |since| since.elapsed().as_secs_f64()))
    }

    /// Returns the state of the archive, and the reason why it cannot be written.
    fn state(&self) -> (RecoveryState, Option<RecoveryFailure>) {
        if self.shipping().is_off() {
            return (RecoveryState::Off, None);
        }
        let patience = self.config().recovery.alert_after;
        let has_ended = self.shipping().has_failed();
        let inner = self.shared().lock();
        inner.shown_state(has_ended, patience, Instant::now())
    }

    /// Returns the state of the archive, and what a loss of the disk would cost now.
    pub fn status(&self) -> RecoveryStatus {
        let config = self.config();
        let exposure_seconds = self.exposure_seconds();
        let (state, failing) = self.state();
        let inner = self.shared().lock();
        let newest = inner.newest_point();
        let damaged = inner.damaged();
        let last = inner.drills.last();
        RecoveryStatus {
            url: config.recovery_url(),
            same_disk: inner.same_disk,
            mode: config.recovery.mode,
            state,
            failing,
            exposure_seconds,
            archived_at: inner.archived_at,
            generation: inner.generation.clone(),
            generation_reason: inner.reason.clone(),
            archive_was_ahead: inner.ahead.is_some(),
            archive_ahead_point: inner.ahead,
            points: inner.points.len() as u64,
            newest_point: newest.and_then(|point| inner.shown(point)),
            archive_bytes: inner.bytes,
            damaged_total: damaged.len() as u64,
            damaged: damaged.into_iter().take(DAMAGED_SHOWN).map(shown).collect(),
            drill_every_seconds: config.recovery.drill_every.as_secs(),
            drill_failed: inner.drills.failed().cloned(),
            verified_at: last.map(|it| it.at),
            restore_seconds: last.map(|it| it.seconds),
            restore_estimate_seconds: self.estimate(&inner),
            not_included: not_included(&config),
            encrypted: false,
            key_files: key_files(&config),
            files_waiting: inner.files_waiting,
            previous_shutdown: self.previous().clone(),
            restored: inner.restored.clone(),
            replaced: inner.replaced.clone(),
            job: inner.job.clone(),
        }
    }

    /// Returns the time that a restore of the newest point would take, in seconds, if one was
    /// restored for practice.
    pub(super) fn estimate(&self, inner: &Inner) -> Option<f64> {
        let newest = inner.newest_point()?;
        let bytes = u64::from(newest.pages) * u64::from(newest.page_bytes);
        inner.drills.estimate(bytes)
    }

    /// Returns the state of the archive, for the rules of alerts.
    pub(crate) fn health(&self) -> ArchiveHealth {
        let config = self.config();
        let failing = self.state().1.map(|failing| failing.reason);
        let exposure_seconds = self.exposure_seconds();
        if config.recovery.mode == RecoveryMode::Off {
            return ArchiveHealth::default();
        }
        let now = Timestamp::now();
        let inner = self.shared().lock();
        let started = inner.started.0;
        let damaged = inner.damaged();
        let made = inner.points.iter().map(|it| it.created_at).max();
        let made = made.map_or(started, Timestamp::from_millis);
        // A point that an earlier run has made is proven by this one, once it has had the time.
        let since = inner.points.first().map(|_| started);
        ArchiveHealth {
            failing,
            ahead: inner.ahead.map(|point: PointId| point.to_string()),
            exposure_seconds,
            unproven_for: match config.recovery.drill_every.is_zero() {
                true => None,
                false => inner.drills.unproven_for(since, now),
            },
            drill_failed: inner.drills.failed().map(|it| it.reason.clone()),
            damaged: damaged.len() as u64,
            first_damaged: damaged.first().map(|it| it.place.clone()),
            newest_point_age: Some(age(made, now)),
        }
    }
}

fn shown(fault: &deia_archive::Fault) -> ArchiveFault {
    ArchiveFault {
        place: fault.place.clone(),
        reason: fault.reason.clone(),
    }
}

/// Returns the time between two moments; none if the clock was set back meanwhile.
fn age(since: Timestamp, now: Timestamp) -> Duration {
    let millis = now.as_millis().saturating_sub(since.as_millis());
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
