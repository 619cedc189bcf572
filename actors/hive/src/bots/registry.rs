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
use deia_model::{BotCircuit, BotFault, BotName, BotPause, FailureClass, Timestamp};

use super::{
    circuit_gauge::CircuitGauge,
    executor::Readiness,
    fault::{Fault, shown},
    left::Left,
    meters::{BotUsage, Meters},
    probe::Probed,
    program::launch::Pids,
    remote::Desk,
    worker::InputSender,
};

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
    /// True if a new specification does not wait for the running tasks.
    replace_at_once: AtomicBool,
    running: AtomicU32,
    heartbeat: AtomicI64,
    restarts: AtomicU64,
    restarted_at: AtomicI64,
    last_exit: Mutex<Option<String>>,
    fault: Mutex<Option<Fault>>,
    pause: Mutex<Option<BotPause>>,
    readiness: Mutex<Readiness>,
    trouble: Mutex<Option<Trouble>>,
    /// True if an attempt has started since the bot last looked.
    started: AtomicBool,
    /// Way of lines of people to the program of the bot, if it is one that reads them.
    input: Mutex<Option<InputSender>>,
    /// Attempts for remote workers.
    pub(super) desk: Desk,
    /// Time of the last output, progress or end of an attempt.
    progress_at: AtomicI64,
    /// The outcome of the probes of the bot so far.
    probed: Mutex<Probed>,
    /// The circuit of the bot.
    pub(super) circuit: CircuitGauge,
    /// Running programs of the bot.
    pub(super) pids: Pids,
    /// Meters of these programs.
    pub(super) meters: Meters,
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
    pub(crate) draining: bool,
    pub(crate) running: u32,
    pub(crate) heartbeat: Option<Timestamp>,
    pub(crate) restarts: u64,
    pub(crate) restarted_at: Option<Timestamp>,
    pub(crate) last_exit: Option<String>,
    pub(crate) fault: Option<BotFault>,
    pub(crate) pause: Option<BotPause>,
    pub(crate) circuit: Option<BotCircuit>,
    pub(crate) readiness: Readiness,
    pub(crate) probed: Probed,
    pub(crate) progress_at: Option<Timestamp>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) pids: Vec<u32>,
    pub(crate) usage: Option<BotUsage>,
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

    /// Notes whether the next specification of the bot waits for its running tasks.
    pub(crate) fn replace_at_once(&self, bot: &BotName, at_once: bool) {
        // A bot without gauges does not run.
        if let Some(gauges) = self.0.get(bot) {
            gauges.replace_at_once.store(at_once, Ordering::Relaxed);
        }
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

    /// Returns the way of lines of people to the program of a bot, while it runs and reads them.
    pub(crate) fn input(&self, bot: &BotName) -> Option<InputSender> {
        self.0.get(bot)?.input()
    }

    /// Returns the number of running tasks and of running programs of all bots.
    pub(crate) fn totals(&self) -> (u32, usize) {
        self.0.iter().fold((0, 0), |(tasks, programs), gauges| {
            let running = gauges.running.load(Ordering::Relaxed);
            (tasks + running, programs + gauges.pids.len())
        })
    }

    /// Returns the bots with running programs that are measured.
    pub(super) fn with_programs(&self) -> Vec<(BotName, Arc<BotGauges>)> {
        let has_programs = |gauges: &BotGauges| !gauges.meters.programs().is_empty();
        let bots = self.0.iter().filter(|it| has_programs(it));
        bots.map(|it| (it.key().clone(), it.value().clone()))
            .collect()
    }

    /// Returns the number of running tasks that end with the hive: remote workers go on.
    pub(crate) fn running_here(&self) -> u32 {
        let ends = |gauges: &BotGauges| !gauges.desk.outlives_the_hive();
        let here = self.0.iter().filter(|gauges| ends(gauges));
        here.map(|gauges| gauges.running.load(Ordering::Relaxed))
            .sum()
    }
}

impl BotGauges {
    /// Notes a start of the bot. Returns `true` if there was one before.
    pub(super) fn begin(&self, incarnation: u64) -> bool {
        let before = self.incarnation.swap(incarnation, Ordering::SeqCst);
        self.up.store(false, Ordering::Relaxed);
        self.set_readiness(Readiness::Ready);
        self.desk.set_outlives(false);
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
        *self.pause_slot() = None;
        self.circuit.reset();
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

    /// Returns whether a new specification does not wait for the running tasks.
    pub(super) fn is_replaced_at_once(&self) -> bool {
        self.replace_at_once.load(Ordering::Relaxed)
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

    /// Notes that the bot takes no tasks for `hold`, which is no fault.
    pub(super) fn pause(&self, reason: &str, class: Option<FailureClass>, hold: Duration) {
        let now = Timestamp::now();
        *self.pause_slot() = Some(BotPause {
            reason: shown(reason),
            class,
            since: now,
            until: now.plus_millis(u64::try_from(hold.as_millis()).unwrap_or(u64::MAX)),
        });
    }

    /// Notes whether the executor can run attempts.
    pub(super) fn set_readiness(&self, readiness: Readiness) {
        *self.readiness_slot() = readiness;
    }

    /// Notes the way of lines of people to the program of the bot.
    pub(super) fn set_input(&self, input: InputSender) {
        *self.input_slot() = Some(input);
    }

    fn input(&self) -> Option<InputSender> {
        self.input_slot().clone().filter(|input| !input.is_closed())
    }

    fn input_slot(&self) -> MutexGuard<'_, Option<InputSender>> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an attempt gave its last sign of life that long ago.
    pub(super) fn progressed(&self, ago: Duration) {
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        let at = Timestamp::now().as_millis().saturating_sub(ago);
        self.progress_at.fetch_max(at, Ordering::Relaxed);
    }

    /// Notes what probes have shown.
    pub(super) fn set_probed(&self, probed: Probed) {
        *self.probed_slot() = probed;
    }

    /// Returns whether probes let the bot take tasks.
    pub(super) fn passes_probes(&self) -> bool {
        self.probed_slot().lets_pass()
    }

    fn probed_slot(&self) -> MutexGuard<'_, Probed> {
        self.probed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pause_slot(&self) -> MutexGuard<'_, Option<BotPause>> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readiness_slot(&self) -> MutexGuard<'_, Readiness> {
        self.readiness
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
            draining: self.draining(),
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
            pause: self.pause_slot().clone().filter(|pause| now < pause.until),
            circuit: self.circuit.seen(),
            readiness: *self.readiness_slot(),
            probed: self.probed_slot().clone(),
            progress_at: time(self.progress_at.load(Ordering::Relaxed)),
            pids: self.pids.first(16),
            usage: self.meters.usage(),
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
