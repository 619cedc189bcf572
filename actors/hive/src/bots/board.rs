//! How each bot is doing, for whoever wants to know. Written by the bots and
//! their launcher, read by everyone; lost with the process, as nothing in it is
//! more than an observation.

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
pub(crate) struct Board(Arc<DashMap<BotName, Arc<Card>>>, Arc<AtomicU64>);

/// What is observed of one bot.
#[derive(Default)]
pub(crate) struct Card {
    /// Number of the incarnation that the observations are of; 0: none was started.
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
    /// An attempt has started since the bot last looked.
    started: AtomicBool,
    /// Its running programs.
    pub(super) pids: Pids,
    /// Reports of earlier incarnations that are still to be recorded.
    pub(super) left: Left,
}

/// Why a bot that is up handles none of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It blocks its thread.
    Stuck,
    /// It has so many messages waiting.
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

/// A moment of a [`Card`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Observation {
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

impl Board {
    /// The bot's card, made when it has none.
    pub(super) fn card(&self, bot: &BotName) -> Arc<Card> {
        if let Some(card) = self.0.get(bot) {
            return card.clone();
        }
        self.0.entry(bot.clone()).or_default().clone()
    }

    /// A number for a start of a bot. No other start of any bot ever has it, so
    /// what was meant for a bot that was removed reaches none of the same name.
    pub(super) fn begin_incarnation(&self) -> u64 {
        self.1.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The bot is launched anew: that it was given up no longer counts.
    pub(crate) fn launched(&self, bot: &BotName) {
        self.card(bot).launched();
    }

    /// The bot drains: from now on it takes nothing new.
    pub(crate) fn draining(&self, bot: &BotName) {
        self.card(bot).set_draining(true);
    }

    /// Forgets a bot that was removed.
    pub(crate) fn forget(&self, bot: &BotName) {
        self.0.remove(bot);
    }

    /// How a bot is doing now.
    pub(crate) fn observe(&self, bot: &BotName) -> Observation {
        let card = self.0.get(bot).map(|card| card.clone());
        card.map(|card| card.observe()).unwrap_or_default()
    }

    /// Tasks that all bots have in hand, and programs that they run.
    pub(crate) fn totals(&self) -> (u32, usize) {
        self.0.iter().fold((0, 0), |(tasks, programs), card| {
            let running = card.running.load(Ordering::Relaxed);
            (tasks + running, programs + card.pids.len())
        })
    }

    /// Tasks that all bots have in hand.
    pub(crate) fn running(&self) -> u32 {
        let running = |card: &Card| card.running.load(Ordering::Relaxed);
        self.0.iter().map(|card| running(&card)).sum()
    }
}

impl Card {
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

    /// The bot takes tasks, or none any more. An incarnation that was replaced while its
    /// thread was blocked says so late, and changes nothing.
    pub(super) fn set_up(&self, incarnation: u64, up: bool) {
        if self.incarnation() != incarnation {
            return;
        }
        self.up.store(up, Ordering::Relaxed);
        self.running.store(0, Ordering::Relaxed);
        self.beat();
    }

    /// It has that many tasks in hand.
    pub(super) fn set_running(&self, incarnation: u64, running: usize) {
        if self.incarnation() != incarnation {
            return;
        }
        self.running.store(
            u32::try_from(running).unwrap_or(u32::MAX),
            Ordering::Relaxed,
        );
    }

    /// It lives.
    pub(super) fn beat(&self) {
        self.heartbeat
            .store(Timestamp::now().as_millis(), Ordering::Relaxed);
    }

    /// It was launched anew.
    pub(super) fn launched(&self) {
        self.quarantined.store(false, Ordering::Relaxed);
        *self.fault_slot() = None;
        self.trouble_over();
        self.set_suspended(false);
        self.set_draining(false);
    }

    /// It went down.
    pub(super) fn crashed(&self, reason: String) {
        *self
            .last_exit
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// It came back.
    pub(super) fn restarted(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
        self.restarted_at
            .store(Timestamp::now().as_millis(), Ordering::Relaxed);
    }

    /// It was stopped by hand in the tree, for itself or with its supervisor, or started
    /// again there.
    pub(super) fn set_suspended(&self, suspended: bool) {
        self.suspended.store(suspended, Ordering::Relaxed);
    }

    /// Returns whether it was stopped by hand in the tree.
    pub(super) fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Relaxed)
    }

    /// It shall take nothing new, or may again.
    pub(super) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// Returns whether it shall take nothing new.
    pub(super) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Notes that the bot cannot carry out its tasks, for the `in_a_row`-th time,
    /// and takes none for `hold`.
    pub(super) fn fault(&self, reason: &str, in_a_row: u32, hold: Duration) {
        let mut slot = self.fault_slot();
        let fault = Fault::new(reason, in_a_row, hold, slot.as_ref());
        *slot = Some(fault);
    }

    /// Notes that the bot carries out its tasks again. The fault is shown for a
    /// while yet.
    pub(super) fn recovered(&self) {
        if let Some(fault) = &mut *self.fault_slot() {
            fault.is_over();
        }
    }

    /// Notes that the bot is up and handles none of its messages.
    pub(super) fn troubled(&self, trouble: Trouble) {
        *self.trouble_slot() = Some(trouble);
    }

    /// Notes that the bot handles its messages again, or has been started anew.
    pub(super) fn trouble_over(&self) {
        *self.trouble_slot() = None;
    }

    fn trouble_slot(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an attempt has started. Told by executors, which do not know
    /// the bot's actor.
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

    /// It stays down.
    pub(super) fn quarantined(&self) {
        self.quarantined.store(true, Ordering::Relaxed);
    }

    fn observe(&self) -> Observation {
        let now = Timestamp::now();
        let time = |millis: i64| (millis != 0).then(|| Timestamp::from_millis(millis));
        Observation {
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
    fn no_incarnation_number_is_used_twice_even_when_a_bot_is_made_anew() {
        let (board, bot) = (Board::default(), "b".parse().unwrap());
        let first = board.begin_incarnation();
        assert!(!board.card(&bot).begin(1) && board.card(&bot).begin(2));
        board.forget(&bot);
        assert!(board.begin_incarnation() > first);
        assert!(!board.card(&bot).begin(3), "another bot of the same name");
    }
}
