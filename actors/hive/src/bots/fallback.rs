//! The bots that take no tasks themselves, and whose tasks go to their fallback bots.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use deia_model::{
    Action, BotDesired, BotName, CircuitState, FallbackReason, FallbackUse, NewEvent, TaskType,
    Timestamp,
};

use super::registry::BotSnapshot;
use crate::dispatch::Fallback;

/// A bot that has fallback bots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backed {
    pub(super) bot: BotName,
    pub(super) desired: BotDesired,
    pub(super) task_types: Vec<TaskType>,
    pub(super) fallback: Vec<BotName>,
}

/// A bot whose fallback bots are in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Out {
    pub(super) fallback: Fallback,
    pub(super) in_use: FallbackUse,
}

/// The bots whose fallback bots are in use, by name.
pub(super) type AllOut = BTreeMap<BotName, Out>;

/// The bots whose fallback bots are in use, where everyone sees them.
#[derive(Clone, Default)]
pub(super) struct FallbacksInUse(Arc<Mutex<Arc<AllOut>>>);

impl FallbacksInUse {
    /// Returns the bots.
    pub(super) fn get(&self) -> Arc<AllOut> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes the bots.
    pub(super) fn set(&self, out: AllOut) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(out);
    }
}

/// Returns the reason why a bot takes no tasks although it should, if its fallback bots take them
/// then. Behind a half-open circuit they still do: one task at a time shows whether the bot works.
pub(super) fn reason(
    desired: BotDesired,
    seen: &BotSnapshot,
    failing_after: u32,
) -> Option<FallbackReason> {
    let faults = seen.fault.as_ref().map_or(0, |fault| fault.in_a_row);
    let circuit = seen.circuit.as_ref().map(|circuit| circuit.state);
    match desired {
        BotDesired::Stopped | BotDesired::Draining => None,
        _ if seen.suspended => Some(FallbackReason::Suspended),
        _ if seen.quarantined || (faults > 0 && faults >= failing_after) => {
            Some(FallbackReason::Failing)
        }
        _ if circuit.is_some_and(|state| state != CircuitState::Closed) => {
            Some(FallbackReason::CircuitOpen)
        }
        BotDesired::Launched => None,
    }
}

/// Returns the bots whose fallback bots are to be used. One that was among them already keeps its
/// time.
pub(super) fn decide(
    backed: &[Backed],
    before: &AllOut,
    now: Timestamp,
    reason: impl Fn(&Backed) -> Option<FallbackReason>,
) -> AllOut {
    let out = backed.iter().filter_map(|it| {
        let reason = reason(it)?;
        let since = before.get(&it.bot).map_or(now, |out| out.in_use.since);
        let out = Out {
            fallback: Fallback {
                bot: it.bot.clone(),
                task_types: it.task_types.clone(),
                by: it.fallback.clone(),
            },
            in_use: FallbackUse { reason, since },
        };
        Some((it.bot.clone(), out))
    });
    out.collect()
}

/// Returns the events of a change.
pub(super) fn events(before: &AllOut, after: &AllOut) -> Vec<NewEvent> {
    let event = |action, bot: &BotName, out: &Out| {
        let details = serde_json::json!({
            "reason": out.in_use.reason, "since": out.in_use.since, "bots": out.fallback.by,
            "task_types": out.fallback.task_types,
        });
        NewEvent::new(action, "deia", bot.as_str()).details(details)
    };
    let is_same = |a: &Out, b: &Out| a.fallback == b.fallback && a.in_use.reason == b.in_use.reason;
    let begun = after.iter().filter(|(bot, out)| {
        let earlier = before.get(*bot);
        !earlier.is_some_and(|earlier| is_same(earlier, out))
    });
    let ended = before.iter().filter(|(bot, _)| !after.contains_key(*bot));
    begun
        .map(|(bot, out)| event(Action::BotFallbackStarted, bot, out).failure())
        .chain(ended.map(|(bot, out)| event(Action::BotFallbackEnded, bot, out)))
        .collect()
}

#[cfg(test)]
mod tests;
