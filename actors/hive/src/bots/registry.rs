//! Observations of every bot, for display and health. Bots and their launcher write them, everyone
//! reads them. They are lost with the process. Display and health aside, only the reports that a
//! bot left and the processes of its programs are acted on, and a new process settles those
//! from the store.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;
use deia_model::{BotFault, BotName, Timestamp};

use super::{command::Pids, fault::Fault, left::Left};

/// All bots that were ever launched in this process.
#[derive(Clone, Default)]
pub(crate) struct BotRegistry(Arc<DashMap<BotName, Arc<BotGauges>>>, Arc<AtomicU64>);

/// The observations of one bot.
#[derive(Default)]
pub(crate) struct BotGauges {
    /// Number of the incarnation observed; 0 if none was started.
    incarnation: AtomicU64,
    up: AtomicBool,
    quarantined: AtomicBool,
    suspended: AtomicBool,
    draining: AtomicBool,
    running: AtomicU32,
    heartbeat: AtomicI64,
    restarts: AtomicU64,
    restarted_at: AtomicI64,
    last_exit: Mutex<Option<String>>,
    fault: Mutex<Option<Fault>>,
    trouble: Mutex<Option<Trouble>>,
    /// True if an attempt has started since the bot last looked.
    started: AtomicBool,
    /// Running programs of the bot.
    pub(super) pids: Pids,
    /// Reports of earlier incarnations that are not recorded yet.
    pub(super) left: Left,
}

/// Reason why a running bot handles no messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The bot blocks its thread.
    Stuck,
    /// Messages wait and none is handled.
    Stalled { waiting: usize },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stuck => f.write_str("blocks its thread"),
            Self::Stalled { waiting } => {
                write!(f, "has {waiting} messages waiting and handles none")
            }
        }
    }
}

/// A snapshot of a [`BotGauges`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BotSnapshot {
    pub(crate) up: bool,
    pub(crate) quarantined: bool,
    pub(crate) suspended: bool,
    pub(crate) running: u32,
    pub(crate) heartbeat: Option<Timestamp>,
    pub(crate) restarts: u64,
    pub(crate) restarted_at: Option<Timestamp>,
    pub(crate) last_exit: Option<String>,
    pub(crate) fault: Option<BotFault>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) pids: Vec<u32>,
}

impl BotRegistry {
    /// Returns the bot's gauges, created on first use.
    pub(super) fn gauges(&self, bot: &BotName) -> Arc<BotGauges> {
        if let Some(gauges) = self.0.get(bot) {
            return gauges.clone();
        }
        self.0.entry(bot.clone()).or_default().clone()
    }

    /// Returns the number of a new incarnation. Numbers are unique across all bots, so a message
    /// meant for a removed bot never reaches a later bot of the same name.
    pub(super) fn begin_incarnation(&self) -> u64 {
        self.1.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notes that the bot is launched again: an earlier quarantine no longer counts.
    pub(crate) fn launched(&self, bot: &BotName) {
        self.gauges(bot).launched();
    }

    /// Notes that the bot drains: it takes nothing new.
    pub(crate) fn draining(&self, bot: &BotName) {
        self.gauges(bot).set_draining(true);
    }

    /// Forgets a bot that was removed.
    pub(crate) fn forget(&self, bot: &BotName) {
        self.0.remove(bot);
    }

    /// Returns a snapshot of a bot.
    pub(crate) fn snapshot(&self, bot: &BotName) -> BotSnapshot {
        let gauges = self.0.get(bot).map(|gauges| gauges.clone());
        gauges.map(|gauges| gauges.snapshot()).unwrap_or_default()
    }

    /// Returns the number of running tasks and of running programs of all bots.
    pub(crate) fn totals(&self) -> (u32, usize) {
        self.0.iter().fold((0, 0), |(tasks, programs), gauges| {
            let running = gauges.running.load(Ordering::Relaxed);
            (tasks + running, programs + gauges.pids.len())
        })
    }

    /// Returns the number of running tasks of all bots.
    pub(crate) fn running(&self) -> u32 {
        let running = |gauges: &BotGauges| gauges.running.load(Ordering::Relaxed);
        self.0.iter().map(|gauges| running(&gauges)).sum()
    }
}

impl BotGauges {
    /// Notes a start of the bot. Returns `true` if there was one before.
    pub(super) fn begin(&self, incarnation: u64) -> bool {
        let before = self.incarnation.swap(incarnation, Ordering::SeqCst);
        self.up.store(false, Ordering::Relaxed);
        self.running.store(0, Ordering::Relaxed);
        before != 0
    }

    /// Returns the number of the incarnation that was started last.
    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::SeqCst)
    }

    /// Notes whether the bot takes tasks. A late report of an incarnation that was replaced while
    /// its thread was blocked changes nothing.
    pub(super) fn set_up(&self, incarnation: u64, up: bool) {
        if self.incarnation() != incarnation {
            return;
        }
        self.up.store(up, Ordering::Relaxed);
        self.running.store(0, Ordering::Relaxed);
        self.beat();
    }

    /// Notes the number of running tasks.
    pub(super) fn set_running(&self, incarnation: u64, running: usize) {
        if self.incarnation() != incarnation {
            return;
        }
        self.running.store(
            u32::try_from(running).unwrap_or(u32::MAX),
            Ordering::Relaxed,
        );
    }

    /// Notes a sign of life.
    pub(super) fn beat(&self) {
        self.heartbeat
            .store(Timestamp::now().as_millis(), Ordering::Relaxed);
    }

    /// Notes that the bot was launched again.
    pub(super) fn launched(&self) {
        self.quarantined.store(false, Ordering::Relaxed);
        *self.fault_slot() = None;
        self.trouble_over();
        self.set_suspended(false);
        self.set_draining(false);
    }

    /// Notes that the bot went down.
    pub(super) fn crashed(&self, reason: String) {
        *self
            .last_exit
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// Notes that the bot was restarted.
    pub(super) fn restarted(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
        self.restarted_at
            .store(Timestamp::now().as_millis(), Ordering::Relaxed);
    }

    /// Notes whether an operator has stopped the bot in the tree, by itself or with its supervisor.
    pub(super) fn set_suspended(&self, suspended: bool) {
        self.suspended.store(suspended, Ordering::Relaxed);
    }

    /// Returns whether an operator has stopped the bot in the tree.
    pub(super) fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Relaxed)
    }

    /// Notes whether the bot drains.
    pub(super) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// Returns whether the bot drains.
    pub(super) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Notes the `in_a_row`-th fault of the bot, which then takes no tasks for `hold`.
    pub(super) fn fault(&self, reason: &str, in_a_row: u32, hold: Duration) {
        let mut slot = self.fault_slot();
        let fault = Fault::new(reason, in_a_row, hold, slot.as_ref());
        *slot = Some(fault);
    }

    /// Notes that the bot runs its tasks again. The fault stays visible for a minute.
    pub(super) fn recovered(&self) {
        if let Some(fault) = &mut *self.fault_slot() {
            fault.is_over();
        }
    }

    /// Notes that the bot is up and handles none of its messages.
    pub(super) fn troubled(&self, trouble: Trouble) {
        *self.trouble_slot() = Some(trouble);
    }

    /// Notes that the bot handles its messages again, or was restarted.
    pub(super) fn trouble_over(&self) {
        *self.trouble_slot() = None;
    }

    fn trouble_slot(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an attempt has started. Called by executors, which do not know the bot's actor.
    pub(super) fn attempt_started(&self) {
        self.started.store(true, Ordering::Relaxed);
    }

    /// Returns whether an attempt has started since the last call.
    pub(super) fn take_started(&self) -> bool {
        self.started.swap(false, Ordering::Relaxed)
    }

    fn fault_slot(&self) -> MutexGuard<'_, Option<Fault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the bot exceeded its restart budget and stays down.
    pub(super) fn quarantined(&self) {
        self.quarantined.store(true, Ordering::Relaxed);
    }

    fn snapshot(&self) -> BotSnapshot {
        let now = Timestamp::now();
        let time = |millis: i64| (millis != 0).then(|| Timestamp::from_millis(millis));
        BotSnapshot {
            up: self.up.load(Ordering::Relaxed),
            quarantined: self.quarantined.load(Ordering::Relaxed),
            suspended: self.suspended.load(Ordering::Relaxed),
            running: self.running.load(Ordering::Relaxed),
            heartbeat: time(self.heartbeat.load(Ordering::Relaxed)),
            restarts: self.restarts.load(Ordering::Relaxed),
            restarted_at: time(self.restarted_at.load(Ordering::Relaxed)),
            last_exit: self
                .last_exit
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            trouble: *self.trouble_slot(),
            fault: self.fault_slot().as_ref().and_then(|fault| fault.seen(now)),
            pids: self.pids.first(16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incarnation_numbers_of_a_recreated_bot_are_new() {
        let (registry, bot) = (BotRegistry::default(), "b".parse().unwrap());
        let first = registry.begin_incarnation();
        assert!(!registry.gauges(&bot).begin(1) && registry.gauges(&bot).begin(2));
        registry.forget(&bot);
        assert!(registry.begin_incarnation() > first);
        assert!(
            !registry.gauges(&bot).begin(3),
            "another bot of the same name"
        );
    }
}
