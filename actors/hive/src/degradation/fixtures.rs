//! Readings for tests and figures.

use std::time::Duration;

use super::signals::{BotCount, Measured};
use crate::host::DiskSpace;

/// Returns the reading of a hive that has enough of everything.
pub(super) fn calm() -> Measured {
    Measured {
        memory_percent: Ok(40.0),
        cpu_stall_percent: Ok(5.0),
        commit_p99: Ok(Duration::from_millis(3)),
        memory_stall_percent: Ok(0.0),
        io_stall_percent: Ok(1.0),
        disk: Ok(DiskSpace {
            free_bytes: 60 << 30,
            bytes: 100 << 30,
        }),
        is_disk_full: Ok(false),
        descriptors_percent: Ok(2.0),
        bots: Ok(BotCount {
            healthy: 8,
            wanted: 8,
        }),
        audit_lag: Ok(Duration::ZERO),
    }
}

/// Returns a reading in which every sensor is missing.
#[cfg(test)]
pub(super) fn blind() -> Measured {
    let missing = || "absent".to_owned();
    Measured {
        memory_percent: Err(missing()),
        cpu_stall_percent: Err(missing()),
        commit_p99: Err(missing()),
        memory_stall_percent: Err(missing()),
        io_stall_percent: Err(missing()),
        disk: Err(missing()),
        is_disk_full: Err(missing()),
        descriptors_percent: Err(missing()),
        bots: Err(missing()),
        audit_lag: Err(missing()),
    }
}
