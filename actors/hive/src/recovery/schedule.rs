//! Decisions about time: points, snapshots, drills.

use std::time::Duration;

/// Facts that decide whether a snapshot is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    /// Time of the last snapshot, in milliseconds since 1970.
    pub(super) snapshot_at: i64,
    /// Size of the log since then, in bytes.
    pub(super) log_bytes: u64,
    /// Size of the database, in bytes.
    pub(super) database_bytes: u64,
}

/// Limits of a chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChainLimits {
    pub(super) every: Duration,
    pub(super) log_bytes: u64,
}

/// Returns whether `every` has passed since `last`, both in milliseconds since 1970. A clock
/// that was set back makes nothing due for longer than `every`.
pub(super) fn is_due(last: i64, every: Duration, now: i64) -> bool {
    let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
    now.saturating_sub(last) >= every || last.saturating_sub(now) > every
}

/// Returns whether the log since the last snapshot is long: then a restore would take long. A
/// log that is shorter than the database is not worth another copy of it.
pub(super) fn needs_snapshot(chain: Chain, limits: ChainLimits, now: i64) -> bool {
    let is_long = chain.log_bytes >= limits.log_bytes.max(chain.database_bytes);
    let is_old = is_due(chain.snapshot_at, limits.every, now);
    is_long || is_old && chain.log_bytes > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_after_the_interval_and_when_the_clock_was_set_back() {
        let every = Duration::from_secs(10);
        for (last, now, due) in [
            (0, 9_999, false),
            (0, 10_000, true),
            (15_000, 10_000, false),
            (30_000, 10_000, true),
        ] {
            assert_eq!(is_due(last, every, now), due, "{last} {now}");
        }
    }

    #[test]
    fn snapshot_is_made_of_a_long_or_an_old_chain() {
        let limits = ChainLimits {
            every: Duration::from_secs(100),
            log_bytes: 1_000,
        };
        for (log_bytes, database_bytes, now, expected) in [
            (0, 10, 500_000, false),
            (1, 10, 99_000, false),
            (1, 10, 100_000, true),
            (1_000, 10, 0, true),
            (1_000, 5_000, 0, false),
            (5_000, 5_000, 0, true),
        ] {
            let chain = Chain {
                snapshot_at: 0,
                log_bytes,
                database_bytes,
            };
            let found = needs_snapshot(chain, limits, now);
            assert_eq!(found, expected, "{chain:?} {now}");
        }
    }
}
