//! Restores for practice: when one is due, and what they have proven.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use deia_archive::Target;
use deia_model::{
    Action, PointId, Principal, RecoveryFailure, RecoveryJob, RecoveryJobKind, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{
    RecoveryApi,
    checked::{DATABASE, remove_database, restore_checked},
    job::Outcome,
    offline::RestoreError,
    put_back::Files,
    schedule::is_due,
    state::Shared,
};
use crate::{HiveError, config::Config};

/// Name of the file with the restores for practice.
const FILE: &str = "drilled.json";
/// Restores for practice that are remembered. Fixed: one a day for as long as points are kept by
/// default, and some on request.
const REMEMBERED_MAX: usize = 64;

/// A restore for practice that succeeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Drilled {
    pub(super) point: String,
    pub(super) at: Timestamp,
    pub(super) seconds: f64,
    /// Size of the restored database, in bytes.
    pub(super) bytes: u64,
}

/// The restores for practice, kept in the data directory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Drills {
    /// Successful ones, the last of each point, oldest first.
    verified: Vec<Drilled>,
    /// The last one, if it failed.
    failed: Option<RecoveryFailure>,
    /// Time of the last one that began.
    tried_at: Option<Timestamp>,
}

impl Drills {
    /// Returns the last one that succeeded.
    pub(super) fn last(&self) -> Option<&Drilled> {
        self.verified.last()
    }

    /// Returns the failure of the last one.
    pub(super) fn failed(&self) -> Option<&RecoveryFailure> {
        self.failed.as_ref()
    }

    /// Returns the time at which a point was last found whole.
    pub(super) fn of(&self, point: &str) -> Option<Timestamp> {
        let of_point = self.verified.iter().find(|it| it.point == point);
        of_point.map(|it| it.at)
    }

    /// Notes one that succeeded.
    pub(super) fn note(&mut self, drilled: Drilled) {
        self.verified.retain(|it| it.point != drilled.point);
        self.verified.push(drilled);
        let excess = self.verified.len().saturating_sub(REMEMBERED_MAX);
        self.verified.drain(..excess);
        self.failed = None;
    }

    /// Notes one that failed.
    pub(super) fn note_failed(&mut self, reason: String, now: Timestamp) {
        self.failed = Some(RecoveryFailure { since: now, reason });
    }

    /// Returns the duration of a restore of a database of that size, by the last one. It is never
    /// taken to be shorter than that.
    pub(super) fn estimate(&self, bytes: u64) -> Option<f64> {
        let last = self.last()?;
        let growth = bytes as f64 / last.bytes.max(1) as f64;
        Some(last.seconds * growth.max(1.0))
    }

    /// Returns the time for which nothing has been proven: since the last one that succeeded, or
    /// since there was something to restore.
    pub(super) fn unproven_for(
        &self,
        since: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Duration> {
        let since = self.last().map(|it| it.at).or(since)?;
        let millis = now.as_millis().saturating_sub(since.as_millis());
        Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
    }
}

/// Reads the restores for practice of earlier runs. A file that cannot be read is as good as none.
pub(super) fn recall(data_dir: &Path, shared: &Shared) {
    let text = fs::read(data_dir.join(FILE)).unwrap_or_default();
    if let Ok(drills) = serde_json::from_slice::<Drills>(&text) {
        shared.lock().drills = drills;
    }
}

/// Keeps the restores for practice for the next start.
fn remember(data_dir: &Path, shared: &Shared) {
    let text = serde_json::to_string(&shared.lock().drills).unwrap_or_default();
    if let Err(error) = crate::data_dir::write_secret(&data_dir.join(FILE), &text) {
        tracing::warn!(%error, "the result of a restore for practice cannot be kept");
    }
}

impl RecoveryApi {
    /// Begins to restore a point to a temporary directory; the newest one if none is named.
    ///
    /// # Errors
    /// [`HiveError::RecoveryRefused`] if a job is under way, or there is no point.
    pub fn drill(&self, who: &Principal, point: Option<PointId>) -> Result<RecoveryJob, HiveError> {
        self.drill_as(&who.user, point)
    }

    fn drill_as(&self, who: &str, point: Option<PointId>) -> Result<RecoveryJob, HiveError> {
        let point = match point {
            Some(id) => self.point(id)?.id,
            None => self.points().first().map(|point| point.id).ok_or_else(|| {
                HiveError::RecoveryRefused("there is no restore point yet".to_owned())
            })?,
        };
        let job = self.begin_job(RecoveryJobKind::Drill, who, Some(point))?;
        self.run_drill(point);
        Ok(job)
    }

    /// Begins a restore for practice if `recovery.drill_every` has passed since the last one.
    pub(super) fn drill_if_due(&self) {
        let every = self.config().recovery.drill_every;
        if every.is_zero() {
            return;
        }
        let now = Timestamp::now();
        {
            let inner = self.shared().lock();
            let last = inner.drills.tried_at.map_or(0, Timestamp::as_millis);
            if inner.points.is_empty() || !is_due(last, every, now.as_millis()) {
                return;
            }
        }
        // Another job is under way: the next look tries again.
        if self.drill_as("deia", None).is_ok() {
            self.shared().lock().drills.tried_at = Some(now);
        }
    }

    /// Restores a point to a temporary directory, examines it, and removes it.
    fn run_drill(&self, point: PointId) {
        let api = self.clone();
        actix_rt::spawn(async move {
            let drilling = api.clone();
            let drilled = tokio::task::spawn_blocking(move || drilling.practise(point)).await;
            let outcome = match drilled {
                Err(error) => Outcome::bad(error.to_string()),
                Ok(Err(error)) => Outcome::bad(error.to_string()),
                Ok(Ok(detail)) => Outcome::good(detail),
            };
            if !outcome.is_good {
                let shared = api.shared().clone();
                let reason = outcome.detail.clone();
                shared.lock().drills.note_failed(reason, Timestamp::now());
                let data_dir = api.config().data_dir.clone();
                // A panic there leaves the file as it is.
                let _ = tokio::task::spawn_blocking(move || remember(&data_dir, &shared)).await;
            }
            api.end_job(outcome, Action::BackupVerified).await;
        });
    }

    /// Restores a point for practice. Blocks. Returns what it has shown.
    fn practise(&self, point: PointId) -> Result<String, RestoreError> {
        let storage = self.shipping().storage().map_err(RestoreError::Choice)?;
        let config = self.config();
        let dir = drill_dir(&config);
        let began = Instant::now();
        let path = dir.join(DATABASE);
        // A data directory that is gone is not made again: the next start would take it for that
        // of an empty hive.
        let made = match fs::create_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        };
        made.map_err(|source| RestoreError::Target {
            path: dir.clone(),
            source,
        })?;
        remove_database(&path);
        let target = Target::Point(point.to_string());
        let restored = restore_checked(&storage, &self.ledger().hive_id(), &target, &path);
        remove_database(&path);
        let _ = fs::remove_dir(&dir);
        let (restored, plan) = restored?;
        Files::of(&storage, &self.ledger().hive_id(), &plan)?.compare()?;
        let (bytes, seconds) = (restored.bytes(), began.elapsed().as_secs_f64());
        self.shared().lock().drills.note(Drilled {
            point: point.to_string(),
            at: Timestamp::now(),
            seconds,
            bytes,
        });
        remember(&config.data_dir, self.shared());
        Ok(format!(
            "restored {} up to event {}.{} in {seconds:.1} s, and found it whole",
            bytesize::ByteSize(bytes),
            restored.timeline,
            restored.commit.seq,
        ))
    }
}

fn drill_dir(config: &Config) -> std::path::PathBuf {
    config.data_dir.join("drill")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drilled(point: &str, at: i64) -> Drilled {
        Drilled {
            point: point.to_owned(),
            at: Timestamp::from_millis(at),
            seconds: 2.0,
            bytes: 1_000,
        }
    }

    #[test]
    fn each_point_has_its_last_proof_also_after_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let shared = Shared::default();
        for (point, at) in [("a", 1), ("b", 2), ("a", 3)] {
            shared.lock().drills.note(drilled(point, at));
        }
        remember(dir.path(), &shared);
        let again = Shared::default();
        recall(dir.path(), &again);
        let inner = again.lock();
        for (point, at) in [("a", Some(3)), ("b", Some(2)), ("c", None)] {
            let found = inner.drills.of(point).map(Timestamp::as_millis);
            assert_eq!(found, at, "{point}");
        }
        assert_eq!(inner.drills.last().unwrap().point, "a");
    }

    #[test]
    fn failure_is_shown_until_the_next_success() {
        let mut drills = Drills::default();
        drills.note_failed("damaged".into(), Timestamp::from_millis(5));
        assert_eq!(drills.failed().unwrap().reason, "damaged");
        drills.note(drilled("a", 6));
        assert_eq!(drills.failed(), None);
    }

    #[test]
    fn estimate_grows_with_the_database() {
        let mut drills = Drills::default();
        assert_eq!(drills.estimate(5), None);
        drills.note(drilled("a", 6));
        assert_eq!(drills.estimate(3_000), Some(6.0));
        assert_eq!(drills.estimate(10), Some(2.0));
    }

    #[test]
    fn nothing_is_unproven_before_there_is_something_to_restore() {
        let at = Timestamp::from_millis;
        let mut drills = Drills::default();
        assert_eq!(drills.unproven_for(None, at(9_000)), None);
        let age = drills.unproven_for(Some(at(4_000)), at(9_000));
        assert_eq!(age, Some(Duration::from_secs(5)));
        drills.note(drilled("a", 6_000));
        let age = drills.unproven_for(Some(at(4_000)), at(9_000));
        assert_eq!(age, Some(Duration::from_secs(3)));
    }
}
