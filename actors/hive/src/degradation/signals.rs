//! The measurements behind the signals, and the state of each signal. Pure.

use std::time::Duration;

use deia_model::{SignalName, SignalState};

use crate::{
    config::{BotSignal, CommitSignal, DegradationSettings, DiskSignal, LagSignal, PercentSignal},
    host::DiskSpace,
};

/// A measurement, or the reason why there is none.
pub(super) type Sensed<T> = Result<T, String>;

/// Number of bots that should run, and of the healthy ones among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BotCount {
    pub(super) healthy: u32,
    pub(super) wanted: u32,
}

/// One reading of all sensors.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measured {
    /// Memory in use, in percent.
    pub(super) memory_percent: Sensed<f64>,
    /// Time in which some work waited for a processor, in percent.
    pub(super) cpu_stall_percent: Sensed<f64>,
    /// 99th percentile of the recent commits.
    pub(super) commit_p99: Sensed<Duration>,
    /// Time in which all work stood still for lack of memory, in percent.
    pub(super) memory_stall_percent: Sensed<f64>,
    /// Time in which all work stood still for disks, in percent.
    pub(super) io_stall_percent: Sensed<f64>,
    /// Space of the disk with the data directory.
    pub(super) disk: Sensed<DiskSpace>,
    /// True if the disk is full: the reserve was released, or a write found no space.
    pub(super) is_disk_full: Sensed<bool>,
    /// Open files, in percent of the limit.
    pub(super) descriptors_percent: Sensed<f64>,
    /// Bots.
    pub(super) bots: Sensed<BotCount>,
    /// Age of the oldest event that waits for its entry in the audit trail.
    pub(super) audit_lag: Sensed<Duration>,
}

/// Times for which a signal must be over or clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holds {
    pub(super) trip: Duration,
    pub(super) clear: Duration,
}

/// Returns the times for which a signal must be over before the level rises, and clear before it
/// falls. A full disk raises the level at once.
pub(super) fn holds(signal: SignalName, policy: &DegradationSettings) -> Holds {
    let (trip, clear) = match signal {
        SignalName::Memory => (policy.memory.hold, policy.memory.clear_hold),
        SignalName::CpuAndCommits => (
            policy.cpu_and_commits.hold,
            policy.cpu_and_commits.clear_hold,
        ),
        SignalName::MemoryStall => (policy.memory_stall.hold, policy.memory_stall.clear_hold),
        SignalName::IoStall => (policy.io_stall.hold, policy.io_stall.clear_hold),
        SignalName::DiskFree => (policy.disk_free.hold, policy.disk_free.clear_hold),
        SignalName::DiskFull => (Duration::ZERO, policy.disk_free.clear_hold),
        SignalName::Descriptors => (policy.descriptors.hold, policy.descriptors.clear_hold),
        SignalName::HealthyBots => (policy.healthy_bots.hold, policy.healthy_bots.clear_hold),
        SignalName::AuditLag => (policy.audit_lag.hold, policy.audit_lag.clear_hold),
    };
    Holds { trip, clear }
}

/// Returns the state of a signal.
pub(super) fn state_of(
    signal: SignalName,
    measured: &Measured,
    policy: &DegradationSettings,
) -> SignalState {
    let percent = |value: &Sensed<f64>, limits: PercentSignal| match value {
        Ok(value) => rising(*value, limits.trip_percent, limits.clear_percent),
        Err(_) => SignalState::Unknown,
    };
    match signal {
        SignalName::Memory => percent(&measured.memory_percent, policy.memory),
        SignalName::CpuAndCommits => of_commits(measured, policy.cpu_and_commits),
        SignalName::MemoryStall => percent(&measured.memory_stall_percent, policy.memory_stall),
        SignalName::IoStall => percent(&measured.io_stall_percent, policy.io_stall),
        SignalName::DiskFree => known(&measured.disk, |disk| of_disk(*disk, policy.disk_free)),
        SignalName::DiskFull => known(&measured.is_disk_full, |is_full| match is_full {
            true => SignalState::Over,
            false => SignalState::Clear,
        }),
        SignalName::Descriptors => percent(&measured.descriptors_percent, policy.descriptors),
        SignalName::HealthyBots => {
            known(&measured.bots, |bots| of_bots(*bots, policy.healthy_bots))
        }
        SignalName::AuditLag => known(&measured.audit_lag, |lag| of_lag(*lag, policy.audit_lag)),
    }
}

fn known<T>(value: &Sensed<T>, state: impl FnOnce(&T) -> SignalState) -> SignalState {
    value.as_ref().map_or(SignalState::Unknown, state)
}

/// Judges a value that trips at or above a limit, and clears at or below a lower one.
fn rising(value: f64, trip: f64, clear: f64) -> SignalState {
    match value {
        value if value >= trip => SignalState::Over,
        value if value > clear => SignalState::Between,
        _ => SignalState::Clear,
    }
}

/// Judges a value that trips below a limit, and clears at or above a higher one.
fn falling(value: f64, trip: f64, clear: f64) -> SignalState {
    match value {
        value if value < trip => SignalState::Over,
        value if value < clear => SignalState::Between,
        _ => SignalState::Clear,
    }
}

/// Judges both measurements: busy processors without slow commits are work, not pressure.
fn of_commits(measured: &Measured, limits: CommitSignal) -> SignalState {
    let (Ok(cpu), Ok(p99)) = (&measured.cpu_stall_percent, &measured.commit_p99) else {
        return SignalState::Unknown;
    };
    let cpu = rising(*cpu, limits.trip_percent, limits.clear_percent);
    let (trip, clear) = (limits.trip_latency, limits.clear_latency);
    let commits = rising(p99.as_secs_f64(), trip.as_secs_f64(), clear.as_secs_f64());
    match (cpu, commits) {
        (SignalState::Over, SignalState::Over) => SignalState::Over,
        (SignalState::Clear, _) | (_, SignalState::Clear) => SignalState::Clear,
        _ => SignalState::Between,
    }
}

/// Sizes at which the free space of a disk trips and clears, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DiskLimits {
    pub(super) trip_bytes: f64,
    pub(super) clear_bytes: f64,
}

/// Returns the sizes that count for a disk. A disk that is small, compared with the sizes of the
/// settings, would otherwise be short of space for good.
#[allow(clippy::cast_precision_loss, reason = "sizes to compare")]
pub(super) fn limits_of(disk: DiskSpace, limits: DiskSignal) -> DiskLimits {
    let (trip, clear) = (
        limits.trip_bytes.as_u64() as f64,
        limits.clear_bytes.as_u64() as f64,
    );
    let most = disk.bytes as f64 * limits.small_disk_percent / 100.0;
    let factor = match trip {
        // Only the share counts.
        0.0 => 0.0,
        trip if trip > most => most / trip,
        _ => 1.0,
    };
    DiskLimits {
        trip_bytes: trip * factor,
        clear_bytes: clear * factor,
    }
}

#[allow(clippy::cast_precision_loss, reason = "sizes to compare")]
fn of_disk(disk: DiskSpace, limits: DiskSignal) -> SignalState {
    let free_percent = 100.0 - disk.used_percent();
    let share = falling(free_percent, limits.trip_percent, limits.clear_percent);
    let sizes = limits_of(disk, limits);
    let free = disk.free_bytes as f64;
    match (share, falling(free, sizes.trip_bytes, sizes.clear_bytes)) {
        (SignalState::Over, _) | (_, SignalState::Over) => SignalState::Over,
        (SignalState::Clear, SignalState::Clear) => SignalState::Clear,
        _ => SignalState::Between,
    }
}

/// Returns the share of healthy bots, in percent.
pub(super) fn healthy_percent(bots: BotCount) -> f64 {
    match bots.wanted {
        0 => 100.0,
        wanted => f64::from(bots.healthy) * 100.0 / f64::from(wanted),
    }
}

/// Judges the bots. The share of a few bots says too little.
fn of_bots(bots: BotCount, limits: BotSignal) -> SignalState {
    if bots.wanted < limits.min_bots {
        return SignalState::Clear;
    }
    falling(
        healthy_percent(bots),
        limits.trip_percent,
        limits.clear_percent,
    )
}

fn of_lag(lag: Duration, limits: LagSignal) -> SignalState {
    let (trip, clear) = (limits.trip.as_secs_f64(), limits.clear.as_secs_f64());
    rising(lag.as_secs_f64(), trip, clear)
}

#[cfg(test)]
mod tests;
