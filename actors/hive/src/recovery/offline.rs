//! A restore on a machine without a hive: from an archive to a new data directory.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use deia_archive::{ArchiveError, Plan, Restored, Storage, Survey, Target, plan, restore};
use deia_ledger::store::Examined;
use deia_model::{RestoredHive, Timestamp};

use super::restored::{mark, settle};
use crate::{
    HiveStartError,
    config::{Config, ConfigError, Layers},
    host::DiskSpace,
    reset_admin_key,
    store_options::examine_store,
};

/// Name of the database file in a data directory.
pub(super) const DATABASE: &str = "deia.db";

/// Times that an archive is looked at again whose parts are bundled meanwhile. Fixed: bundles are
/// made minutes apart.
const LOOKS: u32 = 3;

/// Reason why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The archive has no hive, or several.
    #[error("{0}")]
    Choice(String),
    /// The archive cannot be read, or is damaged.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The target cannot be written.
    #[error("{path}: {source}")]
    Target {
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The target is in use.
    #[error("{0} exists and is not empty; restore into a new directory")]
    NotEmpty(PathBuf),
    /// The restored store is not sound.
    #[error("the restored store is not sound: {0}")]
    Unsound(String),
    /// The restored store cannot be opened.
    #[error(transparent)]
    Store(#[from] HiveStartError),
    /// The settings cannot be made.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A restore on a machine without a hive.
#[derive(Clone, Debug)]
pub struct OfflineRestore {
    /// URL of the archive.
    pub from: String,
    /// Id of the hive; may be left out if the archive has one.
    pub hive: Option<String>,
    /// The moment.
    pub target: Target,
    /// The new data directory.
    pub to: PathBuf,
    /// True if the restored hive works at once, without a pause.
    pub go: bool,
}

/// Result of a restore.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// Id of the hive.
    pub hive: String,
    /// The restore, as the status of the restored hive shows it.
    pub restored: RestoredHive,
    /// Size of the database, in bytes.
    pub bytes: u64,
    /// Path of the new admin key.
    pub admin_key: PathBuf,
}

/// Restores a data directory from an archive. Everything is verified before the directory can
/// be used.
///
/// # Errors
/// [`RestoreError`]; the directory has no store then.
pub async fn restore_offline(request: &OfflineRestore) -> Result<RestoreReport, RestoreError> {
    let dir = serde_json::to_string(&request.to).map_err(io::Error::from);
    let dir = dir.map_err(|source| RestoreError::Target {
        path: request.to.clone(),
        source,
    })?;
    let config = Layers::default().set("data_dir", dir).load()?;
    let storage = super::open_storage(&request.from, &config.recovery);
    let storage = storage.map_err(RestoreError::Choice)?;
    let to = request.to.clone();
    let target_error = |source| RestoreError::Target {
        path: request.to.clone(),
        source,
    };
    if fs::read_dir(&to).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(RestoreError::NotEmpty(to));
    }
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(&to);
    made.map_err(target_error)?;
    let (chosen, target) = (request.hive.clone(), request.target.clone());
    let restoring = tokio::task::spawn_blocking(move || {
        let hive = match chosen {
            Some(hive) => hive,
            None => the_only_hive(&*storage)?,
        };
        let restored = restore_checked(&storage, &hive, &target, &to.join(DATABASE));
        restored.map(|(restored, plan)| (hive, restored, plan.notes))
    });
    let ended = restoring
        .await
        .map_err(|error| target_error(io::Error::other(error)))?;
    let (hive, restored, found) = ended?;
    let mut notes = found;
    notes.extend(notes_of_restore());
    notes.push("the audit trail, outputs in files and key files are not in the archive: copy them from the old data directory if it exists".to_owned());
    let facts = facts(&restored, None, !request.go, notes);
    let settled = settle_all(&config, &facts).await;
    if settled.is_err() {
        let _ = fs::remove_file(request.to.join(DATABASE));
    }
    settled?;
    mark(&request.to, &facts).map_err(target_error)?;
    Ok(RestoreReport {
        hive,
        bytes: u64::from(restored.pages) * u64::from(restored.page_bytes),
        restored: facts,
        admin_key: config.admin_key_path(),
    })
}

async fn settle_all(config: &Config, facts: &RestoredHive) -> Result<(), HiveStartError> {
    settle(config, facts, "deia").await?;
    reset_admin_key(config).await.map(drop)
}

fn the_only_hive(storage: &dyn Storage) -> Result<String, RestoreError> {
    let mut hives = Survey::hives(storage)?;
    match (hives.pop(), hives.is_empty()) {
        (Some(hive), true) => Ok(hive),
        (None, _) => Err(RestoreError::Choice(format!(
            "{} has no archive of a hive",
            storage.address("")
        ))),
        (Some(hive), false) => {
            hives.push(hive);
            let all = hives.join(", ");
            let reason = format!("the archive has several hives; name one with --hive: {all}");
            Err(RestoreError::Choice(reason))
        }
    }
}

/// Returns what a restore always means.
pub(super) fn notes_of_restore() -> Vec<String> {
    vec![
        "tasks that ended after the restored moment run again, and their effects outside repeat"
            .to_owned(),
        "webhook deliveries after the restored moment are sent again".to_owned(),
    ]
}

/// Returns the facts that the status of a restored hive shows.
pub(super) fn facts(
    restored: &Restored,
    lost_up_to: Option<String>,
    paused: bool,
    notes: Vec<String>,
) -> RestoredHive {
    RestoredHive {
        restored_at: Timestamp::now(),
        to: Timestamp::from_millis(restored.commit.at),
        position: format!("{}.{}", restored.timeline, restored.commit.seq),
        lost_up_to,
        paused,
        notes,
    }
}

/// Restores a database file, and examines it. Blocks.
pub(super) fn restore_checked(
    storage: &Arc<dyn Storage>,
    hive: &str,
    target: &Target,
    path: &Path,
) -> Result<(Restored, Plan), RestoreError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut looks = 1;
    let (restored, plan) = loop {
        let survey = Survey::of(&**storage, hive)?;
        let made = match plan(&**storage, hive, &survey, target) {
            Err(error) => Err(error),
            Ok(plan) => {
                has_space(dir, plan.bytes())?;
                let restored = restore(&**storage, &survey, &plan, path);
                restored.map(|restored| (restored, plan))
            }
        };
        match made {
            // Parts were put into a bundle meanwhile.
            Err(ArchiveError::Missing { .. }) if looks < LOOKS => looks += 1,
            made => break made.map_err(|error| newest_good(error, &survey))?,
        }
    };
    let examined = examine_store(path).map_err(RestoreError::from);
    let checked = examined.and_then(|examined| check(&examined, hive, &restored));
    if let Err(error) = checked {
        remove_database(path);
        return Err(error);
    }
    Ok((restored, plan))
}

/// Checks that a directory has space for a database file, and as much again for its disk not
/// to be full then.
fn has_space(dir: &Path, bytes: u64) -> Result<(), RestoreError> {
    // A file system that does not report its free space is assumed to have enough.
    let free = DiskSpace::of(dir).map_or(u64::MAX, |disk| disk.free_bytes);
    match free >= bytes.saturating_mul(2) {
        true => Ok(()),
        false => Err(RestoreError::Choice(format!(
            "{} has {free} bytes free, and the restore needs {}: free some space",
            dir.display(),
            bytes.saturating_mul(2)
        ))),
    }
}

/// Removes a database file, with its log and the index of that.
pub(super) fn remove_database(path: &Path) {
    for extension in ["db", "db-wal", "db-shm"] {
        let _ = fs::remove_file(path.with_extension(extension));
    }
}

fn check(examined: &Examined, hive: &str, restored: &Restored) -> Result<(), RestoreError> {
    if let Some(problem) = examined.problems.first() {
        return Err(RestoreError::Unsound(problem.clone()));
    }
    if examined.hive_id != hive {
        let reason = format!("it is the store of {}, not of {hive}", examined.hive_id);
        return Err(RestoreError::Unsound(reason));
    }
    let seq = examined.head.seq;
    let is_it = seq == restored.commit.seq || !restored.is_known && seq > restored.commit.seq;
    if !is_it {
        let reason = format!(
            "its newest event is {}, and the archive says {}",
            examined.head.seq, restored.commit.seq
        );
        return Err(RestoreError::Unsound(reason));
    }
    Ok(())
}

/// Adds the restore points that the archive has to an error.
fn newest_good(error: ArchiveError, survey: &Survey) -> RestoreError {
    let points = survey.points.iter().rev().take(3);
    let points: Vec<_> = points.map(|point| point.id.as_str()).collect();
    match (&error, points.is_empty()) {
        (ArchiveError::Damaged { .. } | ArchiveError::Missing { .. }, false) => {
            RestoreError::Choice(format!(
                "{error}; nothing was restored: try another moment, such as --point {}",
                points.join(" or --point ")
            ))
        }
        _ => error.into(),
    }
}
