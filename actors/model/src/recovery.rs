//! The archive of a hive, its restore points, and restores.

mod report;
mod target;

use serde::{Deserialize, Serialize};

pub use self::{
    report::{AccessKind, ComparedWith, LostWork, RepeatedEffects, RestoreReport, ValidAgain},
    target::{EventNumber, InvalidEventNumber, NewRestore, RestoreMoment},
};

use crate::{PointId, Timestamp};

/// The time at which a write is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryMode {
    /// When it is on the disk of the hive. There is no archive.
    Off,
    /// When it is on the disk of the hive. The archive follows.
    Async,
    /// When it is in the archive as well.
    Sync,
}

/// The progress of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryState {
    /// There is no archive (`recovery.mode: off`).
    Off,
    /// The hive compares its store with the archive.
    Starting,
    /// The first snapshot is being copied: nothing newer than an earlier one can be restored
    /// yet.
    FirstSnapshot,
    /// Commits are shipped as they come.
    Shipping,
    /// The archive cannot be written.
    Failing,
}

/// Reason why a restore point was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestorePointKind {
    /// By the hive itself, every `recovery.point_every`.
    Automatic,
    /// On request, as a mark in the log.
    RestorePoint,
    /// On request, with a snapshot of its own.
    Backup,
}

/// A moment that the hive can be restored to. Moments between two points can be restored to as
/// well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RestorePoint {
    /// Id of the point. Ids of later points are greater.
    #[schema(value_type = String, example = "point_01h455vb4pex5vsknk084sn02q")]
    pub id: PointId,
    /// The reason why it was made.
    pub kind: RestorePointKind,
    /// The name that its maker gave it; empty if none.
    #[schema(example = "before upgrade")]
    pub label: String,
    /// Time at which the point was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of its newest commit.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Position of its newest event: the history, a dot, and the sequence number.
    #[schema(example = "1.4711")]
    pub position: String,
    /// The generation of the archive that it is in.
    #[schema(example = "gen-0193a1c27c6e7a0fb3f0a1b2c3d4e5f6")]
    pub generation: String,
    /// Size of the restored database, in bytes.
    #[schema(example = 4_194_304)]
    pub database_bytes: u64,
    /// Time of the last restore of this point for practice that found it whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub verified_at: Option<Timestamp>,
}

/// The reason why the archive cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RecoveryFailure {
    /// Time of the first failure.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The reason.
    #[schema(example = "/mnt/nas/backups/...: No space left on device (os error 28)")]
    pub reason: String,
}

/// An object of the archive that is not sound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ArchiveFault {
    /// The object.
    pub place: String,
    /// The observation that shows this.
    #[schema(example = "its content does not match its checksum")]
    pub reason: String,
}

/// The way in which the run before this one ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PreviousShutdown {
    /// False if the run before did not end with an orderly stop.
    pub clean: bool,
    /// Time of the last event of the run before, if it did not end with an orderly stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_event_at: Option<Timestamp>,
    /// Time for which the hive was down after that, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_seconds: Option<u64>,
    /// The report of the run before, if it gave up by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_report: Option<String>,
}

/// The restore that this hive began with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RestoredHive {
    /// Time of the restore.
    #[schema(value_type = String, format = DateTime)]
    pub restored_at: Timestamp,
    /// Time of the newest commit that was restored.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// Position of the newest event that was restored.
    #[schema(example = "1.4711")]
    pub position: String,
    /// Position of the newest event that was replaced, of a restore in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "1.4808")]
    pub lost_up_to: Option<String>,
    /// True until the queue and the webhooks are resumed.
    pub paused: bool,
    /// Further facts, each a sentence: data that could not be restored, effects that may
    /// repeat.
    pub notes: Vec<String>,
    /// The comparison with the state that it replaced, or with the newest one of the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<RestoreReport>,
}

/// A store that a restore in place has replaced, and that is kept in the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReplacedStore {
    /// Directory of the store. The hive never removes it.
    #[schema(example = "/var/lib/deia/replaced-1763625600000")]
    pub path: String,
    /// Time of the restore.
    #[schema(value_type = String, format = DateTime)]
    pub replaced_at: Timestamp,
    /// Size, in bytes.
    #[schema(example = 4_194_304)]
    pub bytes: u64,
}

/// The kind of a job on the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryJobKind {
    /// Every object of the archive is read and compared.
    Verify,
    /// A point is restored to a temporary directory and checked.
    Drill,
    /// A point is restored.
    Restore,
}

/// The state of a job on the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryJobState {
    /// It is under way.
    Running,
    /// It has succeeded.
    Succeeded,
    /// It has failed.
    Failed,
}

/// A job on the archive. One runs at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RecoveryJob {
    /// Kind of the job.
    pub kind: RecoveryJobKind,
    /// State of the job.
    pub state: RecoveryJobState,
    /// User who asked for it; `deia` for one that the hive began by itself.
    #[schema(example = "ada")]
    pub started_by: String,
    /// Time at which it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Time at which it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// The point that is restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "point_01h455vb4pex5vsknk084sn02q")]
    pub point: Option<PointId>,
    /// The result, or the reason why it failed.
    #[schema(example = "1,204 objects with 18.2 MiB are sound")]
    pub detail: String,
    /// Objects that are not sound.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<ArchiveFault>,
    /// The report of a restore. That of a restore in place is in `restored` after the restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<RestoreReport>,
}

/// The way in which key files are in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArchivedKeys {
    /// They are encrypted to `recovery.key`.
    Encrypted,
    /// They are not in the archive: `recovery.key` is not set.
    LeftOut,
}

/// The state of the archive, and what a loss of the disk would cost now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RecoveryStatus {
    /// Address of the archive, without credentials.
    #[schema(example = "file:///mnt/nas/backups")]
    pub url: String,
    /// True if the archive is on the file system of the data directory: it does not survive
    /// the loss of that disk.
    pub same_disk: bool,
    /// The time at which a write is answered.
    pub mode: RecoveryMode,
    /// Progress of the archive.
    pub state: RecoveryState,
    /// The reason why the archive cannot be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<RecoveryFailure>,
    /// Age of the oldest commit that is not in the archive, in seconds: a loss of the disk now
    /// would lose the commits of this time. 0 if the archive has all commits; absent if there is
    /// no archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 0.4)]
    pub exposure_seconds: Option<f64>,
    /// Time of the newest commit in the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub archived_at: Option<Timestamp>,
    /// The generation that is being written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "gen-0193a1c27c6e7a0fb3f0a1b2c3d4e5f6")]
    pub generation: Option<String>,
    /// The reason why this generation began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "the archive is new")]
    pub generation_reason: Option<String>,
    /// True if the archive had commits at the start that the disk had lost: restore
    /// `archive_ahead_point` to get them back.
    pub archive_was_ahead: bool,
    /// The restore point at the end of the commits that the disk had lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "point_01h455vb4pex5vsknk084sn02q")]
    pub archive_ahead_point: Option<PointId>,
    /// Number of restore points.
    pub points: u64,
    /// The newest restore point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_point: Option<RestorePoint>,
    /// Size of the archive, in bytes.
    pub archive_bytes: u64,
    /// Objects of the archive that are not sound, as far as they were read: at most the first 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<ArchiveFault>,
    /// Number of these objects.
    #[serde(default)]
    pub damaged_total: u64,
    /// Interval of the restores for practice, in seconds; 0: there are none
    /// (`recovery.drill_every`), and no alert says that none was made.
    #[serde(default)]
    #[schema(example = 86_400)]
    pub drill_every_seconds: u64,
    /// The last restore for practice, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill_failed: Option<RecoveryFailure>,
    /// Time of the last restore for practice that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub verified_at: Option<Timestamp>,
    /// Duration of that restore, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 3.2)]
    pub restore_seconds: Option<f64>,
    /// Time that a restore of the newest point would take, in seconds: that of the last restore
    /// for practice, by the growth of the database since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 3.5)]
    pub restore_estimate_seconds: Option<f64>,
    /// Parts of the data that the archive does not have.
    pub not_included: Vec<String>,
    /// True if deia encrypts all of the archive. It does not: see `key_files`.
    pub encrypted: bool,
    /// The way in which key files (`secrets.key`, `audit.key`) are in the archive.
    pub key_files: ArchivedKeys,
    /// Number of changed files that wait to be shipped: commits of the last seconds may name outputs
    /// that the archive does not have yet.
    pub files_waiting: u64,
    /// The way in which the run before this one ended.
    pub previous_shutdown: PreviousShutdown,
    /// The restore that this hive began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<RestoredHive>,
    /// Stores that restores in place have replaced, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<ReplacedStore>,
    /// The job under way, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<RecoveryJob>,
}
