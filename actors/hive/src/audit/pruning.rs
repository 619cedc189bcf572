//! Retention of the trail: bundles go after a year, hashes stay.

use std::time::{Duration, Instant};

use deia_ledger::{Apply, RecordEvents};
use deia_model::{Action, NewEvent, TargetType, Timestamp};
use deia_trail::{ReadError, TrailReader, entry::Entry, tile::TILE_WIDTH};
use serde_json::json;

use super::{
    shipped,
    work::{AuditError, Work},
};

/// Interval of looks for bundles that are past their time. Fixed: retention is counted in
/// days.
const EVERY: Duration = Duration::from_secs(3_600);
/// History that is removed at a time at most, in milliseconds: a clock that is far ahead does
/// little harm before somebody sees it. Fixed: a guard against a wrong clock, which a setting could
/// not know.
const AT_ONCE_MS: u64 = 2 * 24 * 3_600_000;
/// Number of entries of a bundle.
const BUNDLE: u64 = TILE_WIDTH as u64;

/// When the next look is due.
#[derive(Debug, Default)]
pub(super) struct Pruning {
    last: Option<Instant>,
}

impl Pruning {
    /// Returns whether a look is due, and notes that it happens.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.last.is_none_or(|last| last.elapsed() >= EVERY);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }
}

/// Removes the bundles of entries that are past `audit.retention`. The removal is an entry
/// itself, which is sealed first. Returns the number of entries that the trail no longer has.
pub(super) async fn prune(work: &Work) -> Result<Option<u64>, AuditError> {
    let retention = work.settings.get().audit.retention;
    let kept = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
    let before = Timestamp::now().minus_millis(kept);
    let (dir, size) = (work.settings.get().audit_dir(), work.state.progress().size);
    let looking = move || past(&TrailReader::new(dir), size, before);
    let found = tokio::task::spawn_blocking(looking).await?;
    let Some(end) = found.map_err(deia_trail::TrailError::from)? else {
        return Ok(None);
    };
    let event = NewEvent::new(Action::AuditPruned, "deia", format!("0-{end}"))
        .target_type(TargetType::AuditEntries)
        .details(json!({"before": before}));
    work.ledger.apply(RecordEvents(vec![event])).await?;
    work.seal_all().await?;
    let mut held = work.hold().await?;
    let removing = move || {
        let open = held.as_mut().ok_or(AuditError::NotOpen)?;
        Ok::<_, AuditError>(open.trail.prune(end)?)
    };
    tokio::task::spawn_blocking(removing).await??;
    shipped::note_opened(work, end);
    tracing::info!(
        entries = end,
        "removed entries of the audit trail past their retention"
    );
    Ok(Some(end))
}

/// Returns the end of the bundles whose entries were all recorded before that time, if some of
/// these are still there. Times follow the indices, except when a clock was set back.
fn past(trail: &TrailReader, size: u64, before: Timestamp) -> Result<Option<u64>, ReadError> {
    let first = trail.first_bundle(size)?;
    // The last bundle stays, whatever its age: it says how far the trail is.
    let last = size.saturating_sub(1) / BUNDLE;
    if first >= last {
        return Ok(None);
    }
    let oldest = trail.bundle(first, size)?;
    let oldest = oldest.iter().next().map(Entry::parse);
    let before = match oldest {
        Some(Ok(entry)) => before.min(entry.at.plus_millis(AT_ONCE_MS)),
        _ => before,
    };
    let (mut kept, mut above) = (first, last);
    while kept < above {
        let middle = kept + (above - kept) / 2;
        let bundle = trail.bundle(middle, size)?;
        let newest = bundle.iter().next_back().map(Entry::parse);
        let is_past = matches!(newest, Some(Ok(entry)) if entry.at < before);
        match is_past {
            true => kept = middle + 1,
            false => above = middle,
        }
    }
    Ok((kept > first).then_some(kept * BUNDLE))
}
