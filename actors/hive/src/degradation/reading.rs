//! The readings of signals in words, with units. Pure.

use std::time::Duration;

use bytesize::ByteSize;
use deia_model::{SignalName, duration::in_days};

use super::signals::{BotCount, Measured, Sensed, healthy_percent, limits_of};
use crate::{
    config::{CommitSignal, DegradationSettings, DiskSignal, LagSignal, PercentSignal},
    host::DiskSpace,
};

/// Returns the reading of a signal in a sentence without its stop: the value, and the values at
/// which it trips and clears.
pub(super) fn in_words(
    signal: SignalName,
    measured: &Measured,
    policy: &DegradationSettings,
) -> String {
    match signal {
        SignalName::Memory => percent(
            "of the memory is in use",
            &measured.memory_percent,
            policy.memory,
        ),
        SignalName::CpuAndCommits => commits(measured, policy.cpu_and_commits),
        SignalName::MemoryStall => percent(
            "of the last 10 s all work stood still for lack of memory",
            &measured.memory_stall_percent,
            policy.memory_stall,
        ),
        SignalName::IoStall => percent(
            "of the last 10 s all work stood still for disks",
            &measured.io_stall_percent,
            policy.io_stall,
        ),
        SignalName::DiskFree => known(&measured.disk, |disk| disk_free(*disk, policy.disk_free)),
        SignalName::DiskFull => known(&measured.is_disk_full, |is_full| match is_full {
            true => "the disk is full, and the reserve of the store is in use".to_owned(),
            false => "writes find space".to_owned(),
        }),
        SignalName::Descriptors => percent(
            "of the open files that the process may have are open",
            &measured.descriptors_percent,
            policy.descriptors,
        ),
        SignalName::HealthyBots => known(&measured.bots, |bots| healthy(*bots, policy)),
        SignalName::AuditLag => known(&measured.audit_lag, |lag| audit_lag(*lag, policy.audit_lag)),
    }
}

/// Returns the value of a signal, in the unit of its first setting.
#[allow(clippy::cast_precision_loss, reason = "sizes for display")]
pub(super) fn value_of(signal: SignalName, measured: &Measured) -> Option<f64> {
    let percent = |value: &Sensed<f64>| value.as_ref().ok().copied();
    match signal {
        SignalName::Memory => percent(&measured.memory_percent),
        SignalName::CpuAndCommits => percent(&measured.cpu_stall_percent),
        SignalName::MemoryStall => percent(&measured.memory_stall_percent),
        SignalName::IoStall => percent(&measured.io_stall_percent),
        SignalName::DiskFree => {
            let disk = measured.disk.as_ref().ok();
            disk.map(|disk| 100.0 - disk.used_percent())
        }
        SignalName::DiskFull => {
            let is_full = measured.is_disk_full.as_ref().ok();
            is_full.map(|is_full| f64::from(u8::from(*is_full)))
        }
        SignalName::Descriptors => percent(&measured.descriptors_percent),
        SignalName::HealthyBots => {
            let bots = measured.bots.as_ref().ok();
            bots.map(|bots| healthy_percent(*bots))
        }
        SignalName::AuditLag => measured.audit_lag.as_ref().ok().map(Duration::as_secs_f64),
    }
}

fn known<T>(value: &Sensed<T>, words: impl FnOnce(&T) -> String) -> String {
    match value {
        Ok(value) => words(value),
        Err(why) => format!("not known: {why}"),
    }
}

fn percent(of: &str, value: &Sensed<f64>, limits: PercentSignal) -> String {
    known(value, |value| {
        let PercentSignal {
            trip_percent,
            clear_percent,
            ..
        } = limits;
        format!("{value:.1} % {of} (trips at {trip_percent} %, clears at {clear_percent} %)")
    })
}

fn commits(measured: &Measured, limits: CommitSignal) -> String {
    let (cpu, p99) = match (&measured.cpu_stall_percent, &measured.commit_p99) {
        (Ok(cpu), Ok(p99)) => (cpu, p99),
        (Err(why), _) | (_, Err(why)) => return format!("not known: {why}"),
    };
    format!(
        "work waited for processors {cpu:.1} % of the last 10 s, and 99 % of the commits took at most \
         {} ms (trips at {} % with {} ms, clears at {} % or {} ms)",
        p99.as_millis(),
        limits.trip_percent,
        limits.trip_latency.as_millis(),
        limits.clear_percent,
        limits.clear_latency.as_millis(),
    )
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes for display"
)]
fn disk_free(disk: DiskSpace, limits: DiskSignal) -> String {
    let sizes = limits_of(disk, limits);
    let size = |bytes: f64| ByteSize(bytes as u64);
    format!(
        "{:.1} % of the disk are free, {} (trips below {} % or {}, clears at {} % and {})",
        100.0 - disk.used_percent(),
        ByteSize(disk.free_bytes),
        limits.trip_percent,
        size(sizes.trip_bytes),
        limits.clear_percent,
        size(sizes.clear_bytes),
    )
}

fn healthy(bots: BotCount, policy: &DegradationSettings) -> String {
    let BotCount { healthy, wanted } = bots;
    let limits = policy.healthy_bots;
    format!(
        "{healthy} of {wanted} bots that should run are healthy (trips below {} %, clears at {} %, \
         counts from {} bots on)",
        limits.trip_percent, limits.clear_percent, limits.min_bots
    )
}

fn audit_lag(lag: Duration, limits: LagSignal) -> String {
    format!(
        "the oldest event has waited {:.1} s for its entry in the audit trail (trips at {}, clears at {})",
        lag.as_secs_f64(),
        in_days(limits.trip),
        in_days(limits.clear)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        degradation::fixtures::{blind, calm},
    };

    #[test]
    fn readings_have_values_limits_and_units() {
        let policy = Config::defaults().unwrap().degradation;
        let words = |signal| in_words(signal, &calm(), &policy);
        assert_eq!(
            words(SignalName::Memory),
            "40.0 % of the memory is in use (trips at 85 %, clears at 70 %)"
        );
        assert_eq!(
            words(SignalName::CpuAndCommits),
            "work waited for processors 5.0 % of the last 10 s, and 99 % of the commits took at most \
             3 ms (trips at 60 % with 50 ms, clears at 30 % or 20 ms)"
        );
        assert_eq!(
            words(SignalName::HealthyBots),
            "8 of 8 bots that should run are healthy (trips below 50 %, clears at 80 %, counts from \
             4 bots on)"
        );
        for signal in SignalName::ALL {
            assert!(value_of(*signal, &calm()).is_some(), "{signal:?}");
            assert_eq!(value_of(*signal, &blind()), None, "{signal:?}");
            let missing = in_words(*signal, &blind(), &policy);
            assert_eq!(missing, "not known: absent", "{signal:?}");
        }
    }
}
