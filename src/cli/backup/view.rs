//! Tables of the archive.

use deia_model::{
    ArchivedKeys, RecoveryJob, RecoveryJobKind, RecoveryJobState, RecoveryMode, RecoveryState,
    RecoveryStatus, RestorePoint, RestorePointKind, RestoreReport,
};

use super::report::rows;
use crate::cli::{
    format,
    output::Look,
    table::{Cell, Column, Table, Tone},
};

fn kind(kind: RestorePointKind) -> &'static str {
    match kind {
        RestorePointKind::Automatic => "automatic",
        RestorePointKind::RestorePoint => "mark",
        RestorePointKind::Backup => "backup",
    }
}

/// Shows restore points.
pub(super) fn points(points: &[RestorePoint], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("POINT"),
        Column::new("MADE"),
        Column::new("KIND"),
        Column::new("EVENT"),
        Column::new("SIZE"),
        Column::new("VERIFIED"),
        Column::new("LABEL").flows(),
    ]);
    for point in points {
        let verified = point.verified_at.map(|at| format::when(at, look.now));
        table.row(vec![
            point.id.to_string().into(),
            format::when(point.created_at, look.now).into(),
            kind(point.kind).into(),
            point.position.as_str().into(),
            format::bytes(point.database_bytes).into(),
            verified.unwrap_or_else(|| "-".to_owned()).into(),
            point.label.as_str().into(),
        ]);
    }
    table.render(look)
}

/// Shows a job.
pub(super) fn job(job: &RecoveryJob, look: &Look) -> String {
    let mut table = Table::new(&[Column::new("JOB"), Column::new("").flows()]);
    let state = match job.state {
        RecoveryJobState::Running => Cell::new("running", Tone::Plain),
        RecoveryJobState::Succeeded => Cell::new("succeeded", Tone::Plain),
        RecoveryJobState::Failed => Cell::new("failed", Tone::Bad),
    };
    table.row(vec!["state".into(), state]);
    table.row(vec!["result".into(), job.detail.as_str().into()]);
    if let Some(report) = &job.report {
        report_rows(&mut table, report);
    }
    for fault in &job.faults {
        let text = format!("{}: {}", fault.place, fault.reason);
        table.row(vec!["fault".into(), Cell::new(text, Tone::Bad)]);
    }
    table.render(look)
}

fn report_rows(table: &mut Table, report: &RestoreReport) {
    for (subject, text) in rows(report) {
        let tone = match subject {
            "valid again" => Tone::Bad,
            _ => Tone::Plain,
        };
        table.row(vec![subject.into(), Cell::new(text, tone)]);
    }
}

/// Returns when a restore was last proven, in words.
fn proof(status: &RecoveryStatus, look: &Look) -> Cell {
    if let Some(failed) = &status.drill_failed {
        let at = format::when(failed.since, look.now);
        return Cell::new(format!("failed {at}: {}", failed.reason), Tone::Bad);
    }
    let estimate = status.restore_estimate_seconds;
    let estimate =
        estimate.map_or_else(String::new, |it| format!("; one now would take {it:.1} s"));
    match (status.verified_at, status.drill_every_seconds) {
        (Some(at), _) => format!("{}{estimate}", format::when(at, look.now)).into(),
        (None, 0) => Cell::new(
            "none: drills are off (recovery.drill_every)",
            Tone::Attention,
        ),
        (None, _) => "none yet".into(),
    }
}

/// Returns what a loss of the disk would cost, in a sentence without its stop.
fn promise(status: &RecoveryStatus) -> String {
    let exposure = status.exposure_seconds.unwrap_or_default();
    match (status.same_disk, status.state, status.mode) {
        (_, RecoveryState::Off, _) | (.., RecoveryMode::Off) => {
            "everything: there is no archive (set recovery.mode and recovery.url)".to_owned()
        }
        (true, ..) => "everything: the archive is on the same disk (set recovery.url)".to_owned(),
        (_, RecoveryState::FirstSnapshot | RecoveryState::Starting, _) => {
            "everything since the last restore point: the archive is not complete yet".to_owned()
        }
        (_, _, RecoveryMode::Sync) => "no answered write".to_owned(),
        (_, _, RecoveryMode::Async) => format!("the writes of the last {exposure:.1} s"),
    }
}

/// Shows the state of the archive.
pub(super) fn status(status: &RecoveryStatus, look: &Look) -> String {
    let mut table = Table::new(&[Column::new("ARCHIVE"), Column::new("").flows()]);
    let state = match status.state {
        RecoveryState::Off => Cell::new("off", Tone::Attention),
        RecoveryState::Starting => Cell::new("starting", Tone::Attention),
        RecoveryState::FirstSnapshot => Cell::new("copying its first snapshot", Tone::Attention),
        RecoveryState::Shipping => Cell::new("shipping", Tone::Plain),
        RecoveryState::Failing => Cell::new("failing", Tone::Bad),
    };
    table.row(vec!["url".into(), status.url.as_str().into()]);
    table.row(vec!["state".into(), state]);
    if let Some(failing) = &status.failing {
        table.row(vec![
            "failure".into(),
            Cell::new(&failing.reason, Tone::Bad),
        ]);
    }
    let tone = match status.same_disk {
        true => Tone::Attention,
        false => Tone::Plain,
    };
    table.row(vec![
        "a loss of the disk costs".into(),
        Cell::new(promise(status), tone),
    ]);
    table.row(vec![
        "restore points".into(),
        status.points.to_string().into(),
    ]);
    if let Some(point) = &status.newest_point {
        let made = format::when(point.created_at, look.now);
        table.row(vec![
            "newest point".into(),
            format!("{} ({made})", point.id).into(),
        ]);
    }
    table.row(vec!["last verified restore".into(), proof(status, look)]);
    if let Some(first) = status.damaged.first() {
        let text = format!(
            "{} objects, the first is {}: {}",
            status.damaged_total, first.place, first.reason
        );
        table.row(vec!["damaged".into(), Cell::new(text, Tone::Bad)]);
    }
    table.row(vec![
        "size".into(),
        format::bytes(status.archive_bytes).into(),
    ]);
    table.row(vec![
        "not included".into(),
        status.not_included.join(", ").into(),
    ]);
    let keys = match status.key_files {
        ArchivedKeys::Encrypted => "encrypted to recovery.key",
        ArchivedKeys::LeftOut => "not in the archive: recovery.key is not set",
    };
    table.row(vec!["key files".into(), keys.into()]);
    if status.archive_was_ahead {
        let point = status.archive_ahead_point.map(|point| point.to_string());
        let point = point.as_deref().unwrap_or("its newest point");
        let text = format!("the archive had commits that the disk has lost: restore {point}");
        table.row(vec!["attention".into(), Cell::new(text, Tone::Bad)]);
    }
    if let Some(restored) = &status.restored {
        let paused = match restored.paused {
            true => "; paused until deia backup resume",
            false => "",
        };
        let text = format!("up to event {}{paused}", restored.position);
        table.row(vec!["restored".into(), text.into()]);
        if let Some(report) = &restored.report {
            report_rows(&mut table, report);
        }
    }
    for replaced in &status.replaced {
        let text = format!(
            "{} ({}, replaced {}): remove it once it is not needed",
            replaced.path,
            format::bytes(replaced.bytes),
            format::when(replaced.replaced_at, look.now)
        );
        table.row(vec!["replaced store".into(), text.into()]);
    }
    if let Some(job) = &status.job {
        let kind = match job.kind {
            RecoveryJobKind::Verify => "verify",
            RecoveryJobKind::Drill => "drill",
            RecoveryJobKind::Restore => "restore",
        };
        let text = format!("{kind}: {}", job.detail);
        table.row(vec!["last job".into(), text.into()]);
    }
    table.render(look)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promise_never_says_zero_loss_in_async() {
        let all = deia_model::entities().unwrap();
        let example = all.iter().find(|it| it.name == "RecoveryStatus").unwrap();
        let mut status: RecoveryStatus = serde_json::from_str(&example.example).unwrap();
        for (same_disk, state, mode, expected) in [
            (
                true,
                RecoveryState::Shipping,
                RecoveryMode::Sync,
                "everything: ",
            ),
            (
                false,
                RecoveryState::Shipping,
                RecoveryMode::Async,
                "the writes of the last 0.0 s",
            ),
            (
                false,
                RecoveryState::Shipping,
                RecoveryMode::Sync,
                "no answered write",
            ),
            (
                false,
                RecoveryState::Starting,
                RecoveryMode::Sync,
                "everything since",
            ),
        ] {
            status.exposure_seconds = Some(0.0);
            (status.same_disk, status.state, status.mode) = (same_disk, state, mode);
            assert!(
                promise(&status).starts_with(expected),
                "{}",
                promise(&status)
            );
        }
    }
}
