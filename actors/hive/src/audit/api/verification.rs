//! Verifications, as callers get them.

use deia_model::{AuditFault, AuditReport, AuditVerification};
use deia_trail::verify::{DetailsCheck, Report};

use super::super::verification::VerificationStatus;

/// Returns a verification in the words of the data model.
pub(super) fn verification(status: VerificationStatus) -> AuditVerification {
    AuditVerification {
        started_at: status.started_at,
        started_by: status.started_by,
        ended_at: status.ended_at,
        done: status.done,
        total: status.total,
        report: report(status.report),
    }
}

/// Returns a report in the words of the data model.
pub(super) fn report(report: Report) -> AuditReport {
    AuditReport {
        complete: report.complete,
        sound: report.sound,
        origin: report.origin,
        size: report.size,
        root: report.root,
        from: report.from,
        to: report.to,
        entries: report.checked.entries,
        tiles: report.checked.tiles,
        checkpoints: report.checked.checkpoints,
        details: report.checked.details,
        details_checked: report.details != DetailsCheck::Absent,
        erased: report.erased,
        pruned: report.pruned,
        faults: report
            .faults
            .iter()
            .map(|fault| AuditFault {
                place: fault.place(),
                file: fault.file.clone(),
                entry: fault.entry,
                seq: fault.event.map(|event| event.seq),
                reason: fault.reason.clone(),
            })
            .collect(),
        more_faults: report.more_faults,
        notes: report.notes,
    }
}
