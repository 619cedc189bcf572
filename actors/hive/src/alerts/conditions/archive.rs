//! The rules for the archive.

use deia_model::{AlertName, Condition, TargetType, summary};

use super::{Limits, Observed};

/// State of the archive.
#[derive(Clone, Debug, Default)]
pub(crate) struct ArchiveHealth {
    /// Reason why it cannot be written.
    pub(crate) failing: Option<String>,
    /// The restore point with the commits that the disk has lost, if it has lost some.
    pub(crate) ahead: Option<String>,
    /// Age of the oldest commit that it does not have, in seconds; `None` without an archive.
    pub(crate) exposure_seconds: Option<f64>,
}

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
        None => {}
    }
    found
}
