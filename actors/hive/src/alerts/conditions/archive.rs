//! The rules for the archive.

use deia_model::{AlertName, Condition, TargetType, summary};

use super::{Limits, Observed};

/// State of the archive.
#[derive(Clone, Debug, Default)]
pub(crate) struct ArchiveHealth {
    /// Reason why it cannot be written.
    pub(crate) failing: Option<String>,
    /// Age of the oldest commit that it does not have, in seconds.
    pub(crate) exposure_seconds: f64,
}

/// Judges the archive.
pub(super) fn troubled(observed: &Observed<'_>, limits: Limits) -> Option<Condition> {
    let archive = &observed.archive;
    let exposure = archive.exposure_seconds;
    let (name, what, what_to_do) = match &archive.failing {
        Some(reason) => (
            AlertName::ArchiveFailing,
            format!("the archive cannot be written: {}", summary(reason)),
            "mend it, or set another recovery.url: a loss of the disk would lose all commits since then",
        ),
        None if exposure > limits.archive_lag.as_secs_f64() => (
            AlertName::ArchiveLagging,
            format!(
                "the archive is {exposure:.0} s behind: a loss of the disk would lose the commits of this time"
            ),
            "see deia-admin backup status; a faster archive or another recovery.url helps",
        ),
        None => return None,
    };
    Some(Condition {
        name,
        target_type: TargetType::Backup,
        target: observed.hive.to_owned(),
        what,
        what_to_do: what_to_do.to_owned(),
    })
}
