//! Metrics of the archive.

use super::RecoveryApi;
use crate::metrics::{Exposition, table};

pub(super) fn write(api: &RecoveryApi, out: &mut Exposition) {
    let exposure = api.exposure_seconds();
    let shared = api.shared();
    let inner = shared.lock();
    if let Some(exposure) = exposure {
        out.number(&table::RECOVERY_EXPOSURE, [""; 0], exposure);
    }
    if let Some(last) = inner.drills.last() {
        out.number(&table::RECOVERY_RESTORE_SECONDS, [""; 0], last.seconds);
        let at = last.at.as_millis() as f64 / 1_000.0;
        out.number(&table::RECOVERY_VERIFIED_AT, [""; 0], at);
    }
    if let Some(seconds) = api.estimate(&inner) {
        out.number(&table::RECOVERY_RESTORE_ESTIMATE, [""; 0], seconds);
    }
    out.gauge(&table::RECOVERY_DAMAGED, inner.damaged().len() as u64);
    out.gauge(&table::RECOVERY_POINTS, inner.points.len() as u64);
    out.gauge(&table::RECOVERY_ARCHIVE_BYTES, inner.bytes);
    out.gauge(&table::RECOVERY_PARTS, inner.counters.parts);
    out.gauge(&table::RECOVERY_FAILURES, inner.counters.failures);
    out.gauge(&table::RECOVERY_GENERATIONS, inner.counters.generations);
    out.gauge(&table::RECOVERY_POINTS_MADE, inner.counters.points);
}
