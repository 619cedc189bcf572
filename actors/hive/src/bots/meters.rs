//! Meters of the programs of a bot: what they use, and whether that is over a limit.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytesize::ByteSize;
use deia_model::{BotLimits, FailureClass, OnExcess};

use super::bot::AttemptKey;
use crate::host::families::FamilyUsage;

/// The meters of the running programs of a bot. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meters(Arc<Mutex<BTreeMap<i32, Meter>>>);

/// The meter of a program.
#[derive(Debug)]
struct Meter {
    /// Attempt that ends when the program is over a limit; `None` for a program that works on
    /// several.
    attempt: Option<AttemptKey>,
    limits: BotLimits,
    read_at: Instant,
    usage: Option<FamilyUsage>,
    cpu_percent: f64,
    over: bool,
}

/// The resources that all programs of a bot used when they were measured last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct BotUsage {
    pub(crate) cpu_percent: f64,
    pub(crate) memory_bytes: u64,
    /// Number of open descriptors; `None` if the host does not show them.
    pub(crate) descriptors: Option<u64>,
    pub(crate) processes: u64,
}

/// The limit that a program exceeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Excess {
    Memory { used: u64, allowed: u64 },
    Cpu { used: f64, allowed: u64 },
    Processes { used: u64, allowed: u64 },
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { used, allowed } => write!(
                f,
                "its processes had {} resident; limits.memory_bytes allows {}",
                ByteSize(*used),
                ByteSize(*allowed)
            ),
            Self::Cpu { used, allowed } => write!(
                f,
                "its processes used {used:.1} s of processor time; limits.cpu_seconds allows {allowed} s"
            ),
            Self::Processes { used, allowed } => write!(
                f,
                "it had {used} processes; limits.processes allows {allowed}"
            ),
        }
    }
}

/// An attempt that is to end because its program is over a limit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OverLimit {
    pub(super) attempt: AttemptKey,
    pub(super) excess: Excess,
    /// True if it was over its limit at the last look already, and is ending.
    pub(super) again: bool,
    /// Class of the failure.
    pub(super) class: FailureClass,
}

/// Returns the limit that a program exceeds, if any.
pub(super) fn excess(limits: &BotLimits, usage: &FamilyUsage) -> Option<Excess> {
    let used = usage.resident_bytes;
    if let Some(allowed) = limits.memory_bytes.filter(|allowed| used > *allowed) {
        return Some(Excess::Memory { used, allowed });
    }
    let used = usage.cpu_seconds;
    #[allow(clippy::cast_precision_loss, reason = "seconds")]
    let over = |allowed: &u64| used > *allowed as f64;
    if let Some(allowed) = limits.cpu_seconds.filter(over) {
        return Some(Excess::Cpu { used, allowed });
    }
    let used = usage.processes;
    let allowed = limits.processes.filter(|allowed| used > *allowed)?;
    Some(Excess::Processes { used, allowed })
}

fn class_of(limits: &BotLimits) -> FailureClass {
    match limits.on_excess {
        OnExcess::Retry => FailureClass::Internal,
        OnExcess::Fail => FailureClass::Budget,
    }
}

/// The entry of a program. Dropping it removes the entry.
pub(super) struct Metered {
    meters: Meters,
    pid: i32,
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.meters.lock().remove(&self.pid);
    }
}

impl Meters {
    /// Measures a program from now on, as long as the result is kept.
    pub(super) fn begin(
        &self,
        pid: i32,
        attempt: Option<AttemptKey>,
        limits: BotLimits,
    ) -> Metered {
        let meter = Meter {
            attempt,
            limits,
            read_at: Instant::now(),
            usage: None,
            cpu_percent: 0.0,
            over: false,
        };
        self.lock().insert(pid, meter);
        Metered {
            meters: self.clone(),
            pid,
        }
    }

    /// Returns the process ids of the programs.
    pub(super) fn programs(&self) -> Vec<i32> {
        self.lock().keys().copied().collect()
    }

    /// Applies a measurement. Returns the attempts that are over a limit.
    pub(super) fn read(
        &self,
        measured: &std::collections::HashMap<i32, FamilyUsage>,
        now: Instant,
    ) -> Vec<OverLimit> {
        let mut over = Vec::new();
        for (pid, meter) in self.lock().iter_mut() {
            let Some(usage) = measured.get(pid) else {
                continue;
            };
            meter.read(*usage, now);
            over.extend(meter.over_limit());
        }
        over
    }

    /// Returns what all programs used when they were measured last; `None` if none was.
    pub(super) fn usage(&self) -> Option<BotUsage> {
        let meters = self.lock();
        let read = meters
            .values()
            .filter_map(|meter| Some((meter.usage?, meter.cpu_percent)));
        read.fold(None, |sum: Option<BotUsage>, (usage, cpu_percent)| {
            let sum = sum.unwrap_or(BotUsage {
                descriptors: Some(0),
                ..BotUsage::default()
            });
            Some(BotUsage {
                cpu_percent: sum.cpu_percent + cpu_percent,
                memory_bytes: sum.memory_bytes.saturating_add(usage.resident_bytes),
                descriptors: sum.descriptors.zip(usage.descriptors).map(|(a, b)| a + b),
                processes: sum.processes + usage.processes,
            })
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Meter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meter {
    fn read(&mut self, usage: FamilyUsage, now: Instant) {
        let before = self.usage.map_or(0.0, |usage| usage.cpu_seconds);
        // The time of a process that nobody waited for is lost with it.
        let cpu_seconds = usage.cpu_seconds.max(before);
        let passed = now.saturating_duration_since(self.read_at).as_secs_f64();
        if passed > 0.0 {
            self.cpu_percent = (cpu_seconds - before) * 100.0 / passed;
        }
        self.read_at = now;
        self.usage = Some(FamilyUsage {
            cpu_seconds,
            ..usage
        });
    }

    fn over_limit(&mut self) -> Option<OverLimit> {
        let attempt = self.attempt?;
        let excess = excess(&self.limits, self.usage.as_ref()?)?;
        Some(OverLimit {
            attempt,
            excess,
            again: std::mem::replace(&mut self.over, true),
            class: class_of(&self.limits),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use deia_model::TaskId;

    use super::*;

    const USAGE: FamilyUsage = FamilyUsage {
        processes: 3,
        resident_bytes: 10 << 20,
        cpu_seconds: 2.5,
        descriptors: Some(9),
    };

    fn attempt() -> AttemptKey {
        AttemptKey {
            task: TaskId::new(),
            number: 1,
        }
    }

    #[test]
    fn a_limit_is_exceeded_by_more_than_it() {
        let none = BotLimits::default();
        for (limits, expected) in [
            (none, None),
            (
                BotLimits {
                    memory_bytes: Some(10 << 20),
                    cpu_seconds: Some(3),
                    processes: Some(3),
                    ..none
                },
                None,
            ),
            (
                BotLimits {
                    memory_bytes: Some((10 << 20) - 1),
                    ..none
                },
                Some("its processes had 10.0 MiB resident; limits.memory_bytes allows 10.0 MiB"),
            ),
            (
                BotLimits {
                    cpu_seconds: Some(2),
                    ..none
                },
                Some("its processes used 2.5 s of processor time; limits.cpu_seconds allows 2 s"),
            ),
            (
                BotLimits {
                    processes: Some(2),
                    ..none
                },
                Some("it had 3 processes; limits.processes allows 2"),
            ),
        ] {
            let found = excess(&limits, &USAGE).map(|it| it.to_string());
            assert_eq!(found.as_deref(), expected, "{limits:?}");
        }
    }

    #[test]
    fn use_of_all_programs_is_summed_until_they_end() {
        let meters = Meters::default();
        assert_eq!(meters.usage(), None);
        let limits = BotLimits {
            processes: Some(2),
            on_excess: OnExcess::Fail,
            ..BotLimits::default()
        };
        let own = attempt();
        let first = meters.begin(1, Some(own), limits);
        let second = meters.begin(2, None, limits);
        assert_eq!(meters.usage(), None, "not measured yet");
        let later = Instant::now() + Duration::from_secs(10);
        let over = meters.read(&[(1, USAGE), (2, USAGE), (3, USAGE)].into(), later);
        assert_eq!(over.len(), 1, "the other one works on several attempts");
        assert_eq!(
            (over[0].attempt, over[0].class),
            (own, FailureClass::Budget)
        );
        let usage = meters.usage().unwrap();
        assert_eq!(
            (usage.memory_bytes, usage.descriptors, usage.processes),
            (20 << 20, Some(18), 6)
        );
        assert!((usage.cpu_percent - 50.0).abs() < 1.0, "{usage:?}");
        let hidden = FamilyUsage {
            descriptors: None,
            cpu_seconds: 0.0,
            ..USAGE
        };
        meters.read(&[(1, hidden)].into(), later + Duration::from_secs(1));
        let usage = meters.usage().unwrap();
        assert_eq!(usage.descriptors, None);
        assert!(usage.cpu_percent < 26.0, "time never goes back: {usage:?}");
        drop((first, second));
        assert_eq!((meters.usage(), meters.programs()), (None, vec![]));
    }
}
