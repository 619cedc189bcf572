//! How each bot is doing, for whoever wants to know. Written by the bots and
//! their launcher, read by everyone; lost with the process, as nothing in it is
//! more than an observation.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
};

use super::command::Pids;
use crate::model::{BotDesired, BotName, BotStatus, Timestamp};

/// A bot that was restarted within this time is `degraded`, in milliseconds.
const RECENT_RESTART_MS: u64 = 60_000;

/// All bots that were ever launched in this process.
#[derive(Clone, Default)]
pub(crate) struct Board(Arc<RwLock<HashMap<BotName, Arc<Card>>>>);

/// What is observed of one bot.
#[derive(Default)]
pub(crate) struct Card {
    epoch: AtomicU64,
    up: AtomicBool,
    quarantined: AtomicBool,
    suspended: AtomicBool,
    draining: AtomicBool,
    running: AtomicU32,
    heartbeat: AtomicI64,
    restarts: AtomicU64,
    restarted_at: AtomicI64,
    last_exit: Mutex<Option<String>>,
    /// Its running programs.
    pub(super) pids: Pids,
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
    pub(crate) pids: Vec<u32>,
}

impl Board {
    /// The bot's card, made when it has none.
    pub(super) fn card(&self, bot: &BotName) -> Arc<Card> {
        if let Some(card) = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(bot)
        {
            return card.clone();
        }
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(bot.clone())
            .or_default()
            .clone()
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
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(bot);
    }

    /// How a bot is doing now.
    pub(crate) fn observe(&self, bot: &BotName) -> Observation {
        let cards = self.0.read().unwrap_or_else(PoisonError::into_inner);
        cards
            .get(bot)
            .map(|card| card.observe())
            .unwrap_or_default()
    }

    /// Tasks that all bots have in hand, and programs that they run.
    pub(crate) fn totals(&self) -> (u32, usize) {
        let cards = self.0.read().unwrap_or_else(PoisonError::into_inner);
        cards.values().fold((0, 0), |(tasks, programs), card| {
            let running = card.running.load(Ordering::Relaxed);
            (tasks + running, programs + card.pids.len())
        })
    }

    /// Tasks that all bots have in hand.
    pub(crate) fn running(&self) -> u32 {
        let cards = self.0.read().unwrap_or_else(PoisonError::into_inner);
        cards
            .values()
            .map(|card| card.running.load(Ordering::Relaxed))
            .sum()
    }
}

impl Card {
    /// A new start of the bot; the answer counts them from 1.
    pub(super) fn begin_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The bot takes tasks.
    pub(super) fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
        self.running.store(0, Ordering::Relaxed);
        self.beat();
    }

    /// It has that many tasks in hand.
    pub(super) fn set_running(&self, running: usize) {
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

    /// It was stopped by hand in the tree, or started again there.
    pub(super) fn set_suspended(&self, suspended: bool) {
        self.suspended.store(suspended, Ordering::Relaxed);
    }

    /// It shall take nothing new, or may again.
    pub(super) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// Whether it shall take nothing new.
    pub(super) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// It stays down.
    pub(super) fn quarantined(&self) {
        self.quarantined.store(true, Ordering::Relaxed);
    }

    fn observe(&self) -> Observation {
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
            pids: self.pids.first(16),
        }
    }
}

/// How a bot is, from what is wanted and what is seen.
pub(crate) fn observed_status(
    desired: BotDesired,
    launched_at: Option<Timestamp>,
    seen: &Observation,
    now: Timestamp,
) -> BotStatus {
    let shaken = seen
        .restarted_at
        .is_some_and(|at| now.millis_since(at) < RECENT_RESTART_MS);
    match desired {
        BotDesired::Stopped if launched_at.is_none() => BotStatus::Offline,
        BotDesired::Stopped => BotStatus::Stopped,
        _ if seen.suspended => BotStatus::Stopped,
        _ if seen.quarantined => BotStatus::Failing,
        BotDesired::Draining => BotStatus::Draining,
        BotDesired::Launched if !seen.up => BotStatus::Starting,
        BotDesired::Launched if shaken => BotStatus::Degraded,
        BotDesired::Launched => BotStatus::Healthy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_from_what_is_wanted_and_seen() {
        let now = Timestamp::from_millis(1_000_000);
        let launched = Some(Timestamp::from_millis(1));
        let up = Observation {
            up: true,
            ..Observation::default()
        };
        let shaken = Observation {
            restarted_at: Some(Timestamp::from_millis(999_000)),
            ..up.clone()
        };
        let recovered = Observation {
            restarted_at: Some(Timestamp::from_millis(900_000)),
            ..up.clone()
        };
        let suspended = Observation {
            suspended: true,
            ..Observation::default()
        };
        let quarantined = Observation {
            quarantined: true,
            ..Observation::default()
        };
        for (desired, launched_at, seen, expected) in [
            (
                BotDesired::Stopped,
                None,
                Observation::default(),
                BotStatus::Offline,
            ),
            (
                BotDesired::Stopped,
                launched,
                Observation::default(),
                BotStatus::Stopped,
            ),
            (
                BotDesired::Launched,
                launched,
                Observation::default(),
                BotStatus::Starting,
            ),
            (
                BotDesired::Draining,
                launched,
                up.clone(),
                BotStatus::Draining,
            ),
            (
                BotDesired::Draining,
                launched,
                Observation::default(),
                BotStatus::Draining,
            ),
            (
                BotDesired::Draining,
                launched,
                quarantined.clone(),
                BotStatus::Failing,
            ),
            (BotDesired::Launched, launched, up, BotStatus::Healthy),
            (BotDesired::Launched, launched, shaken, BotStatus::Degraded),
            (
                BotDesired::Launched,
                launched,
                recovered,
                BotStatus::Healthy,
            ),
            (
                BotDesired::Launched,
                launched,
                quarantined,
                BotStatus::Failing,
            ),
            (
                BotDesired::Launched,
                launched,
                suspended,
                BotStatus::Stopped,
            ),
        ] {
            assert_eq!(
                observed_status(desired, launched_at, &seen, now),
                expected,
                "{seen:?}"
            );
        }
    }
}
