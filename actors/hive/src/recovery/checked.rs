//! Restores of a database file, which is examined before anything uses it.

use std::{fs, path::Path, sync::Arc};

use deia_archive::{ArchiveError, Plan, Restored, Storage, Survey, Target, plan, restore};
use deia_ledger::store::Examined;
use deia_model::Timestamp;

use super::offline::RestoreError;
use crate::{host::DiskSpace, store_options::examine_store};

/// Name of the database file in a data directory.
pub(super) const DATABASE: &str = "deia.db";

/// Times that an archive is looked at again whose parts are bundled meanwhile. Fixed: bundles are
/// made minutes apart.
const LOOKS: u32 = 3;

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

/// Finds the snapshot and the commit for a target.
///
/// # Errors
/// The archive does not have it, or is damaged.
pub(super) fn planned(
    storage: &Arc<dyn Storage>,
    hive: &str,
    target: &Target,
) -> Result<Plan, RestoreError> {
    let survey = Survey::of(&**storage, hive)?;
    let planned = plan(&**storage, hive, &survey, target);
    planned.map_err(|error| newest_good(error, &survey))
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

/// Returns an error in words for a person, with the times of the moments that it names.
pub(super) fn explained(error: &ArchiveError) -> String {
    match error {
        ArchiveError::Outside {
            reason,
            extent: Some(extent),
        } => format!(
            "{reason}; the archive can restore from event {} of {} to event {} of {}",
            extent.oldest,
            Timestamp::from_millis(extent.oldest.at),
            extent.newest,
            Timestamp::from_millis(extent.newest.at),
        ),
        other => other.to_string(),
    }
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
        (ArchiveError::Outside { .. }, _) => RestoreError::Outside(explained(&error)),
        _ => error.into(),
    }
}
