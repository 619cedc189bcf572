//! Observations of every bot, for display and health. Bots and their launcher write them, everyone
//! reads them. They are lost with the process. Display and health aside, only the reports that a
//! bot left and the processes of its programs are acted on, and a new process settles those
//! from the store.

mod gauges;
mod snapshot;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dashmap::DashMap;
use deia_model::BotName;

pub(crate) use self::{
    gauges::BotGauges,
    snapshot::{BotSnapshot, Trouble},
};
use super::{remote::Desk, worker::InputSender};

/// All bots that were ever launched in this process.
#[derive(Clone, Default)]
pub(crate) struct BotRegistry(Arc<DashMap<BotName, Arc<BotGauges>>>, Arc<AtomicU64>);

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
            gauges.set_replaced_at_once(at_once);
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

    /// Returns the desk of a running bot whose tasks are leased by remote workers.
    pub(super) fn desk_of_running(&self, bot: &BotName) -> Option<Desk> {
        self.0.get(bot)?.desk_while_up()
    }

    /// Returns the number of running tasks and of running programs of all bots.
    pub(crate) fn totals(&self) -> (u32, usize) {
        self.0.iter().fold((0, 0), |(tasks, programs), gauges| {
            (tasks + gauges.running(), programs + gauges.pids.len())
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
        self.0.iter().map(|gauges| gauges.running_here()).sum()
    }
}

#[cfg(test)]
mod tests {
    use deia_model::BotGeneration;

    use super::*;

    #[test]
    fn incarnation_numbers_of_a_recreated_bot_are_new() {
        let (registry, bot) = (BotRegistry::default(), "b".parse().unwrap());
        let first = registry.begin_incarnation();
        let generation = BotGeneration {
            version: 1,
            launched_at: None,
        };
        let begin = |incarnation| registry.gauges(&bot).begin(incarnation, generation);
        assert!(!begin(1) && begin(2));
        registry.forget(&bot);
        assert!(registry.begin_incarnation() > first);
        assert!(!begin(3), "another bot of the same name");
    }
}
