//! Limits of the programs of a bot, compared with what they use. Pure.

use std::{fmt, sync::Arc};

use bytesize::ByteSize;
use deia_model::{BotLimits, FailureClass, OnExcess};

use crate::host::families::FamilyUsage;

/// The limit that a program exceeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::bots) enum Excess {
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

/// An excess, as a task that is charged with it sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bots) struct Overrun {
    /// Class of the failure.
    pub(in crate::bots) class: FailureClass,
    /// The limit, and what was used.
    pub(in crate::bots) words: Arc<str>,
}

/// Returns the limit that a program exceeds, if any.
pub(in crate::bots) fn excess(limits: &BotLimits, usage: &FamilyUsage) -> Option<Excess> {
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

/// Returns the class of the failure of an attempt over a limit.
pub(super) fn class_of(limits: &BotLimits) -> FailureClass {
    match limits.on_excess {
        OnExcess::Retry => FailureClass::Internal,
        OnExcess::Fail => FailureClass::Budget,
    }
}
