//! The observations of one bot.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use deia_model::{BotGeneration, BotPause, FailureClass, Timestamp};

use super::{BotSnapshot, Trouble};
use crate::bots::{
    circuit_gauge::CircuitGauge,
    executor::Readiness,
    fault::{Fault, shown},
    left::Left,
    meters::Meters,
    probe::Probed,
    program::launch::Pids,
    remote::Desk,
    worker::InputSender,
};

/// The observations of one bot.
#[derive(Default)]
pub(crate) struct BotGauges {
    /// Number of the incarnation observed; 0 if none was started.
    incarnation: AtomicU64,
    /// Launch and specification of that incarnation.
    generation: Mutex<Option<BotGeneration>>,
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
    pub(in crate::bots) desk: Desk,
    /// Time of the last output, progress or end of an attempt.
    progress_at: AtomicI64,
    /// The outcome of the probes of the bot so far.
    probed: Mutex<Probed>,
    /// The circuit of the bot.
    pub(in crate::bots) circuit: CircuitGauge,
    /// Running programs of the bot.
    pub(in crate::bots) pids: Pids,
    /// Meters of these programs.
    pub(in crate::bots) meters: Meters,
    /// Reports of earlier incarnations that are not recorded yet.
    pub(in crate::bots) left: Left,
}

impl BotGauges {
    /// Notes a start of the bot. Returns `true` if there was one before.
    pub(in crate::bots) fn begin(&self, incarnation: u64, generation: BotGeneration) -> bool {
        let before = self.incarnation.swap(incarnation, Ordering::SeqCst);
        self.up.store(false, Ordering::Relaxed);
        *self.generation_slot() = Some(generation);
        self.set_readiness(Readiness::Ready);
        self.desk.set_outlives(false);
        self.running.store(0, Ordering::Relaxed);
        before != 0
    }

    /// Returns the number of the incarnation that was started last.
    pub(in crate::bots) fn incarnation(&self) -> u64 {
        self.incarnation.load(Ordering::SeqCst)
    }

    /// Notes whether the bot takes tasks. A late report of an incarnation that was replaced while
    /// its thread was blocked changes nothing.
    pub(in crate::bots) fn set_up(&self, incarnation: u64, up: bool) {
        if self.incarnation() != incarnation {
            return;
        }
        self.up.store(up, Ordering::Relaxed);
        self.running.store(0, Ordering::Relaxed);
        self.beat();
    }

    /// Notes the number of running tasks.
    pub(in crate::bots) fn set_running(&self, incarnation: u64, running: usize) {
        if self.incarnation() != incarnation {
            return;
        }
        self.running.store(
            u32::try_from(running).unwrap_or(u32::MAX),
            Ordering::Relaxed,
        );
    }

    /// Returns the number of running tasks.
    pub(super) fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// Returns the number of running tasks that end with the hive: remote workers, and services that
    /// complete their tasks later, go on.
    pub(super) fn running_here(&self) -> u32 {
        let held = u32::try_from(self.desk.held()).unwrap_or(u32::MAX);
        match self.desk.outlives_the_hive() {
            true => 0,
            false => self.running().saturating_sub(held),
        }
    }

    /// Returns the desk of a running bot whose tasks are leased by remote workers.
    pub(super) fn desk_while_up(&self) -> Option<Desk> {
        let is_served = self.up.load(Ordering::Relaxed) && self.desk.outlives_the_hive();
        is_served.then(|| self.desk.clone())
    }

    /// Notes whether the next specification of the bot waits for its running tasks.
    pub(super) fn set_replaced_at_once(&self, at_once: bool) {
        self.replace_at_once.store(at_once, Ordering::Relaxed);
    }

    /// Notes a sign of life.
    pub(in crate::bots) fn beat(&self) {
        self.heartbeat
            .store(Timestamp::now().as_millis(), Ordering::Relaxed);
    }

    /// Notes that the bot was launched again.
    pub(in crate::bots) fn launched(&self) {
        self.quarantined.store(false, Ordering::Relaxed);
        *self.fault_slot() = None;
        *self.pause_slot() = None;
        self.circuit.reset();
        self.trouble_over();
        self.set_suspended(false);
        self.set_draining(false);
    }

    /// Notes that the bot went down.
    pub(in crate::bots) fn crashed(&self, reason: String) {
        *self
            .last_exit
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// Notes that the bot was restarted.
    pub(in crate::bots) fn restarted(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
        self.restarted_at
            .store(Timestamp::now().as_millis(), Ordering::Relaxed);
    }

    /// Notes whether an operator has stopped the bot in the tree, by itself or with its supervisor.
    pub(in crate::bots) fn set_suspended(&self, suspended: bool) {
        self.suspended.store(suspended, Ordering::Relaxed);
    }

    /// Returns whether an operator has stopped the bot in the tree.
    pub(in crate::bots) fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Relaxed)
    }

    /// Returns whether a new specification does not wait for the running tasks.
    pub(in crate::bots) fn is_replaced_at_once(&self) -> bool {
        self.replace_at_once.load(Ordering::Relaxed)
    }

    /// Notes whether the bot drains.
    pub(in crate::bots) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// Returns whether the bot drains.
    pub(in crate::bots) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Notes the `in_a_row`-th fault of the bot, which then takes no tasks for `hold`.
    pub(in crate::bots) fn fault(&self, reason: &str, in_a_row: u32, hold: Duration) {
        let mut slot = self.fault_slot();
        let fault = Fault::new(reason, in_a_row, hold, slot.as_ref());
        *slot = Some(fault);
    }

    /// Notes that the bot runs its tasks again. The fault stays visible for a minute.
    pub(in crate::bots) fn recovered(&self) {
        if let Some(fault) = &mut *self.fault_slot() {
            fault.is_over();
        }
    }

    /// Notes that the bot takes no tasks for `hold`, which is no fault.
    pub(in crate::bots) fn pause(&self, reason: &str, class: Option<FailureClass>, hold: Duration) {
        let now = Timestamp::now();
        *self.pause_slot() = Some(BotPause {
            reason: shown(reason),
            class,
            since: now,
            until: now.plus_millis(u64::try_from(hold.as_millis()).unwrap_or(u64::MAX)),
        });
    }

    /// Notes whether the executor can run attempts.
    pub(in crate::bots) fn set_readiness(&self, readiness: Readiness) {
        *self.readiness_slot() = readiness;
    }

    /// Notes the way of lines of people to the program of the bot.
    pub(in crate::bots) fn set_input(&self, input: InputSender) {
        *self.input_slot() = Some(input);
    }

    /// Returns the way of lines of people to the program of the bot, while it reads them.
    pub(super) fn input(&self) -> Option<InputSender> {
        self.input_slot().clone().filter(|input| !input.is_closed())
    }

    fn input_slot(&self) -> MutexGuard<'_, Option<InputSender>> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an attempt gave its last sign of life that long ago.
    pub(in crate::bots) fn progressed(&self, ago: Duration) {
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        let at = Timestamp::now().as_millis().saturating_sub(ago);
        self.progress_at.fetch_max(at, Ordering::Relaxed);
    }

    /// Notes what probes have shown.
    pub(in crate::bots) fn set_probed(&self, probed: Probed) {
        *self.probed_slot() = probed;
    }

    /// Returns whether probes let the bot take tasks.
    pub(in crate::bots) fn passes_probes(&self) -> bool {
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
    pub(in crate::bots) fn troubled(&self, trouble: Trouble) {
        *self.trouble_slot() = Some(trouble);
    }

    /// Notes that the bot handles its messages again, or was restarted.
    pub(in crate::bots) fn trouble_over(&self) {
        *self.trouble_slot() = None;
    }

    fn trouble_slot(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an attempt has started. Called by executors, which do not know the bot's actor.
    pub(in crate::bots) fn attempt_started(&self) {
        self.started.store(true, Ordering::Relaxed);
    }

    /// Returns whether an attempt has started since the last call.
    pub(in crate::bots) fn take_started(&self) -> bool {
        self.started.swap(false, Ordering::Relaxed)
    }

    fn generation_slot(&self) -> MutexGuard<'_, Option<BotGeneration>> {
        self.generation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn fault_slot(&self) -> MutexGuard<'_, Option<Fault>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the bot exceeded its restart budget and stays down.
    pub(in crate::bots) fn quarantined(&self) {
        self.quarantined.store(true, Ordering::Relaxed);
    }

    /// Returns a snapshot.
    pub(super) fn snapshot(&self) -> BotSnapshot {
        let now = Timestamp::now();
        let time = |millis: i64| (millis != 0).then(|| Timestamp::from_millis(millis));
        BotSnapshot {
            generation: *self.generation_slot(),
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
