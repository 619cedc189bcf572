//! The rules for the archive.

use deia_model::{AlertName, Condition, TargetType, summary};

use super::{Limits, Observed};
use crate::recovery::ArchiveHealth;

/// Part of `recovery.drill_every` by which a restore for practice may be late. Fixed: it takes some
/// time, and waits for another job.
const DRILL_GRACE: u32 = 4;
/// Intervals of `recovery.point_every` after which a point is overdue. Fixed: one may be late by
/// nearly an interval without a fault.
const POINTS_MISSED: u32 = 2;

/// Judges the archive.
pub(super) fn troubled(observed: &Observed<'_>, limits: Limits) -> Vec<Condition> {
    let archive = &observed.archive;
    let exposure = archive.exposure_seconds.unwrap_or_default();
    let of = |name, what, what_to_do: String| Condition {
        name,
        target_type: TargetType::Backup,
        target: observed.hive.to_owned(),
        what,
        what_to_do,
    };
    let mut found = Vec::new();
    if let Some(point) = &archive.ahead {
        found.push(of(
            AlertName::ArchiveAhead,
            "the archive has commits that the disk has lost".to_owned(),
            format!("check the disk, and restore them: deia-admin backup restore {point}"),
        ));
    }
    match &archive.failing {
        Some(reason) => found.push(of(
            AlertName::ArchiveFailing,
            format!("the archive cannot be written: {}", summary(reason)),
            "mend it, or set another recovery.url: a loss of the disk would lose all commits since then".to_owned(),
        )),
        None if exposure > limits.archive_lag.as_secs_f64() => found.push(of(
            AlertName::ArchiveLagging,
            format!(
                "the archive is {exposure:.0} s behind: a loss of the disk would lose the commits of this time"
            ),
            "see deia-admin backup status; a faster archive or another recovery.url helps".to_owned(),
        )),
        None => {
            // A failing archive gets no points, which says nothing new.
            let overdue = limits.archive_lag.max(limits.point_every.saturating_mul(POINTS_MISSED));
            if let Some(age) = archive.newest_point_age.filter(|age| *age > overdue) {
                found.push(of(
                    AlertName::RestorePointOverdue,
                    format!("the newest restore point is {} s old", age.as_secs()),
                    "see deia-admin backup status: a first snapshot under way delays points, and so does an archive that is slow".to_owned(),
                ));
            }
        }
    }
    found.extend(damaged(archive).map(|(what, todo)| of(AlertName::ArchiveDamaged, what, todo)));
    found.extend(unproven(archive, limits).map(|(name, what, todo)| of(name, what, todo)));
    found
}

fn damaged(archive: &ArchiveHealth) -> Option<(String, String)> {
    let first = archive.first_damaged.as_ref()?;
    Some((
        format!(
            "{} objects of the archive are damaged, the first is {first}",
            archive.damaged
        ),
        "make a backup with a snapshot of its own (deia-admin backup create), see which points can be restored (deia-admin backup verify --wait), and check the disk of the archive".to_owned(),
    ))
}

/// Judges the restores for practice: one that failed, or that did not succeed in time.
fn unproven(archive: &ArchiveHealth, limits: Limits) -> Option<(AlertName, String, String)> {
    if let Some(reason) = &archive.drill_failed {
        return Some((
            AlertName::DrillFailed,
            format!("the last restore for practice failed: {}", summary(reason)),
            "mend the reason, or choose another point, and try again: deia-admin backup drill --wait".to_owned(),
        ));
    }
    let limit = limits.drill_every + limits.drill_every / DRILL_GRACE;
    let age = archive.unproven_for.filter(|age| *age > limit)?;
    Some((
        AlertName::DrillOverdue,
        format!(
            "no restore for practice has succeeded for {} h",
            age.as_secs() / 3_600
        ),
        "begin one, and see how it ends: deia-admin backup drill --wait".to_owned(),
    ))
}
