//! Meters of the programs of a bot: what they use, and whether that is over a limit.

mod excess;
mod work;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use deia_model::{BotLimits, FailureClass};
use tokio::sync::watch;

use self::excess::{class_of, excess};
pub(super) use self::{
    excess::{Excess, Overrun},
    work::Work,
};
use super::bot::AttemptKey;
use crate::host::families::FamilyUsage;

/// The meters of the running programs of a bot. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meters(Arc<Mutex<BTreeMap<i32, Meter>>>);

/// The meter of a program.
#[derive(Debug)]
struct Meter {
    load: Load,
    limits: BotLimits,
    read_at: Instant,
    usage: Option<FamilyUsage>,
    cpu_percent: f64,
    over: bool,
}

/// The attempts that a program works on.
#[derive(Debug)]
enum Load {
    /// One attempt, which ends when the program is over a limit.
    Attempt(AttemptKey),
    /// Any number of attempts. The program itself ends when it is over a limit.
    Shared {
        work: Work,
        over: watch::Sender<Option<Overrun>>,
    },
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

/// The entry of a program. Dropping it removes the entry.
pub(super) struct Metered {
    meters: Meters,
    pid: i32,
}

/// The entry of a program that works on any number of attempts.
pub(super) struct SharedMetered {
    _entry: Metered,
    over: watch::Receiver<Option<Overrun>>,
}

impl SharedMetered {
    /// Waits until the program is over a limit. Cancel safe.
    pub(super) async fn until_over(&mut self) -> Overrun {
        match self.over.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(overrun)) => overrun.clone(),
            _ => std::future::pending().await,
        }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.meters.lock().remove(&self.pid);
    }
}

impl Meters {
    /// Measures the program of an attempt from now on, as long as the result is kept.
    pub(super) fn begin(&self, pid: i32, attempt: AttemptKey, limits: BotLimits) -> Metered {
        self.add(pid, Load::Attempt(attempt), limits)
    }

    /// Measures a program that does that work from now on, as long as the result is kept.
    pub(super) fn begin_shared(&self, pid: i32, work: Work, limits: BotLimits) -> SharedMetered {
        let (sender, over) = watch::channel(None);
        let load = Load::Shared { work, over: sender };
        SharedMetered {
            _entry: self.add(pid, load, limits),
            over,
        }
    }

    fn add(&self, pid: i32, load: Load, limits: BotLimits) -> Metered {
        let meter = Meter {
            load,
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

    /// Returns the attempt that is to end because of this measurement. A program that works on
    /// several is asked to end itself.
    fn over_limit(&mut self) -> Option<OverLimit> {
        let usage = self.usage.as_ref()?;
        match &self.load {
            Load::Attempt(attempt) => Some(OverLimit {
                attempt: *attempt,
                excess: excess(&self.limits, usage)?,
                again: std::mem::replace(&mut self.over, true),
                class: class_of(&self.limits),
            }),
            Load::Shared { work, over } => {
                let usage = FamilyUsage {
                    cpu_seconds: work.cpu_seconds(usage.cpu_seconds),
                    ..*usage
                };
                let excess = excess(&self.limits, &usage)?;
                if !std::mem::replace(&mut self.over, true) {
                    over.send_replace(Some(Overrun {
                        class: class_of(&self.limits),
                        words: excess.to_string().into(),
                    }));
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
