//! Measurements of the trail.

use std::{sync::atomic::Ordering, time::Instant};

use super::{TrailState, indexer::Indexed};
use crate::metrics::{Exposition, table};

/// Writes the series.
pub(super) fn write(state: &TrailState, indexed: &Indexed, out: &mut Exposition) {
    let progress = state.progress();
    out.gauge(&table::AUDIT_ENTRIES, progress.size);
    let upto = indexed.load(Ordering::Relaxed);
    let behind = progress.size.saturating_sub(upto);
    out.gauge(&table::AUDIT_INDEX_LAG, behind);
    out.gauge(&table::AUDIT_LAG_EVENTS, state.lag_events());
    let lag = state.lag(Instant::now()).as_secs_f64();
    out.number::<String>(&table::AUDIT_LAG, [], lag);
    out.count::<String>(&table::AUDIT_CHECKPOINTS, [], progress.checkpoints);
    out.count::<String>(&table::AUDIT_MISSED, [], progress.missed);
    out.gauge(&table::AUDIT_FAILING, u64::from(progress.failing.is_some()));
}
