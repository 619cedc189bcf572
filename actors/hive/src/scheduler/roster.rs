//! The bots that take tasks, and their load.

mod fallbacks;

use std::collections::{BTreeSet, HashMap};

use deia_ledger::Demand;
use deia_model::{BotGeneration, BotName, TaskType};

use self::fallbacks::{Borrowed, Fallbacks};
use crate::dispatch::{Capacity, Fallback, Presence};

/// Bots by load, least loaded first; ties by name, so that decisions are reproducible.
type ByLoad = BTreeSet<(u32, BotName)>;

/// The bots that take tasks.
#[derive(Debug, Default)]
pub(super) struct Roster {
    bots: HashMap<BotName, BotSlots>,
    /// Bots that may be given tasks, each in one generation. No other slot is offered.
    eligible: HashMap<BotName, BotGeneration>,
    /// Bots with a free slot that take any type.
    generalists: ByLoad,
    /// Bots with a free slot by the types they take.
    specialists: HashMap<TaskType, ByLoad>,
    /// Bots that take no tasks themselves, and those that take them instead.
    fallbacks: Fallbacks,
}

/// A bot and its slots.
#[derive(Debug)]
struct BotSlots {
    capacity: Capacity,
    /// Types that the bot takes besides, because other bots take no tasks.
    borrowed: Borrowed,
    incarnation: u64,
    generation: BotGeneration,
    standing: Standing,
    /// True unless this generation of the bot may be given tasks.
    withheld: bool,
    /// Number of tasks whose claim is in progress.
    pending: u32,
    /// Number of tasks delivered since the incarnation began. They reach the bot or the
    /// incarnation ends: a mailbox keeps accepted messages.
    delivered: u64,
    /// Number of these tasks that have ended.
    ended: u64,
    /// Number of tasks that the bot was given since its last turn for an aged one.
    since_aged: u32,
    /// Number of consecutive checks at which the bot took no tasks.
    idle_looks: u32,
}

/// Readiness of a bot to be given tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The bot takes tasks.
    Open,
    /// The bot took tasks under an earlier scheduler; its next heartbeat confirms this.
    Unconfirmed,
    /// The bot takes no tasks until its next heartbeat.
    Closed,
}

/// Number of checks after which a bot that takes nothing is forgotten. Fixed: bounds the
/// memory for bots that are gone.
const IDLE_LOOKS_MAX: u32 = 100;

impl BotSlots {
    fn in_hand(&self) -> u32 {
        let with_bot = self.delivered.saturating_sub(self.ended);
        let with_bot = u32::try_from(with_bot).unwrap_or(u32::MAX);
        self.pending.saturating_add(with_bot)
    }

    /// Returns the share of its slots that are taken, in millionths.
    fn load(&self) -> u32 {
        let slots = u64::from(self.capacity.slots.max(1));
        u32::try_from(u64::from(self.in_hand()) * 1_000_000 / slots).unwrap_or(u32::MAX)
    }

    /// Returns true if the bot takes tasks with that demand, for itself or for another bot.
    fn meets(&self, demand: &Demand) -> bool {
        self.capacity.meets(demand) || self.borrowed.has(&demand.task_type)
    }

    /// Returns the types that the bot takes; `None` for any.
    fn types(&self) -> Option<impl Iterator<Item = &TaskType>> {
        let own = &self.capacity.task_types;
        let types = (!own.is_empty()).then_some(own)?;
        Some(types.iter().chain(self.borrowed.types()?))
    }

    fn is_free(&self) -> bool {
        self.standing == Standing::Open && !self.withheld && self.in_hand() < self.capacity.slots
    }
}

impl Roster {
    /// Applies a heartbeat. The counters are absolute, which compensates for any heartbeat that
    /// the roster missed. A heartbeat of an earlier incarnation is late, from a thread that was
    /// blocked, and changes nothing. Returns `true` if the bot may have room that it did not have
    /// before.
    pub(super) fn open(&mut self, presence: Presence) -> bool {
        let Presence {
            bot,
            incarnation,
            generation,
            capacity,
            received,
            ended,
        } = presence;
        if self
            .incarnation(&bot)
            .is_some_and(|newest| incarnation < newest)
        {
            return false;
        }
        self.unlist(&bot);
        let known = self
            .bots
            .get_mut(&bot)
            .filter(|slots| slots.incarnation == incarnation);
        let had_room = known.as_ref().is_some_and(|slots| slots.is_free());
        match known {
            Some(slots) => {
                slots.capacity = capacity;
                slots.standing = Standing::Open;
                slots.delivered = slots.delivered.max(received);
                slots.ended = slots.ended.max(ended);
                slots.idle_looks = 0;
            }
            None => {
                let slots = BotSlots {
                    capacity,
                    borrowed: self.fallbacks.borrowed_by(&bot),
                    incarnation,
                    generation,
                    standing: Standing::Open,
                    withheld: self.eligible.get(&bot) != Some(&generation),
                    pending: 0,
                    delivered: received,
                    ended,
                    since_aged: 0,
                    idle_looks: 0,
                };
                self.bots.insert(bot.clone(), slots);
            }
        }
        self.list(&bot);
        !had_room && self.bots.get(&bot).is_some_and(BotSlots::is_free)
    }

    /// Records the generation of a bot that may be given tasks, if any. Heartbeats do not change
    /// this. Returns `true` if the bot may have room that it did not have before.
    pub(super) fn set_eligible(&mut self, bot: &BotName, eligible: Option<BotGeneration>) -> bool {
        // So it is for most bots of each read of all.
        if self.eligible.get(bot) == eligible.as_ref() {
            return false;
        }
        match eligible {
            Some(generation) => self.eligible.insert(bot.clone(), generation),
            None => self.eligible.remove(bot),
        };
        self.unlist(bot);
        let Some(slots) = self.bots.get_mut(bot) else {
            return false;
        };
        let had_room = slots.is_free();
        slots.withheld = eligible != Some(slots.generation);
        let has_room = slots.is_free();
        self.list(bot);
        has_room && !had_room
    }

    /// Returns the bots that may be given tasks.
    pub(super) fn eligible(&self) -> impl Iterator<Item = &BotName> {
        self.eligible.keys()
    }

    /// Returns true if tasks are withheld from the bot as it runs now.
    pub(super) fn withholds(&self, bot: &BotName) -> bool {
        self.bots.get(bot).is_some_and(|slots| slots.withheld)
    }

    /// Closes the bot until its next heartbeat. Does nothing for an earlier incarnation. The
    /// counters stay, because claims may be in progress.
    pub(super) fn close(&mut self, bot: &BotName, incarnation: u64) {
        if self.incarnation(bot) == Some(incarnation) {
            self.unlist(bot);
            if let Some(slots) = self.bots.get_mut(bot) {
                slots.standing = Standing::Closed;
            }
        }
    }

    /// Requires every bot to confirm that it takes tasks. Running tasks stay counted.
    pub(super) fn unconfirm(&mut self) {
        self.generalists.clear();
        self.specialists.clear();
        for slots in self.bots.values_mut() {
            if slots.standing == Standing::Open {
                slots.standing = Standing::Unconfirmed;
            }
        }
    }

    /// Forgets bots that have taken nothing for many checks, and returns them.
    pub(super) fn look(&mut self) -> Vec<BotName> {
        for slots in self.bots.values_mut() {
            if slots.standing != Standing::Open {
                slots.idle_looks += 1;
            }
        }
        let gone = |slots: &BotSlots| slots.idle_looks > IDLE_LOOKS_MAX && slots.pending == 0;
        let forgotten = self.bots.extract_if(|_, slots| gone(slots));
        forgotten.map(|(bot, _)| bot).collect()
    }

    /// Returns true if a task that was claimed for this start of the bot may go to it.
    pub(super) fn may_have(&self, bot: &BotName, incarnation: u64) -> bool {
        self.bots.get(bot).is_some_and(|slots| {
            slots.incarnation == incarnation && slots.standing != Standing::Closed
        })
    }

    /// Returns the number of tasks whose claim is in progress.
    pub(super) fn pending(&self) -> u64 {
        self.bots
            .values()
            .map(|slots| u64::from(slots.pending))
            .sum()
    }

    /// Returns the incarnation of the bot that takes tasks.
    pub(super) fn incarnation(&self, bot: &BotName) -> Option<u64> {
        self.bots.get(bot).map(|slots| slots.incarnation)
    }

    /// Returns true if a bot other than that one has a slot for that demand.
    pub(super) fn another_takes(&self, bot: &BotName, demand: &Demand) -> bool {
        self.least_loaded_but(demand, bot).is_some()
    }

    /// Returns true if some bot has a slot for that demand.
    pub(super) fn takes(&self, demand: &Demand) -> bool {
        self.least_loaded(demand).is_some()
    }

    /// Returns true if any bot has a slot.
    pub(super) fn has_room(&self) -> bool {
        !self.generalists.is_empty() || !self.specialists.is_empty()
    }

    /// Returns the types for which some bot has a slot; `None` if there is one for any type.
    pub(super) fn open_types(&self) -> Option<impl ExactSizeIterator<Item = &TaskType>> {
        let only_some = self.generalists.is_empty();
        only_some.then(|| self.specialists.keys())
    }

    /// Returns true if it is this bot's turn to be given an aged task: it was given `every - 1`
    /// others since the last one.
    pub(super) fn is_aged_turn(&self, bot: &BotName, every: u32) -> bool {
        let slots = self.bots.get(bot);
        slots.is_some_and(|slots| slots.since_aged + 1 >= every)
    }

    /// Records that the bot was given a task: the aged one whose turn it was, or another.
    pub(super) fn given(&mut self, bot: &BotName, in_turn: bool) {
        if let Some(slots) = self.bots.get_mut(bot) {
            slots.since_aged = match in_turn {
                true => 0,
                false => slots.since_aged.saturating_add(1),
            };
        }
    }

    /// Returns true if that bot takes tasks with that demand.
    pub(super) fn bot_takes(&self, bot: &BotName, demand: &Demand) -> bool {
        let slots = self.bots.get(bot);
        let may = demand.bot.as_ref().is_none_or(|own| own == bot);
        may && slots.is_some_and(|slots| slots.meets(demand))
    }

    /// Applies the bots whose tasks go to others: all of them. Returns `true` if a bot takes tasks
    /// that it did not take before.
    pub(super) fn set_fallbacks(&mut self, now: Vec<Fallback>) -> bool {
        self.fallbacks = Fallbacks::new(now);
        let mut takes_more = false;
        let bots: Vec<BotName> = self.bots.keys().cloned().collect();
        for bot in bots {
            let borrowed = self.fallbacks.borrowed_by(&bot);
            let unchanged = self.bots.get(&bot).map(|slots| &slots.borrowed) == Some(&borrowed);
            if unchanged {
                continue;
            }
            self.unlist(&bot);
            if let Some(slots) = self.bots.get_mut(&bot) {
                takes_more |= !borrowed.is_nothing() && slots.is_free();
                slots.borrowed = borrowed;
            }
            self.list(&bot);
        }
        takes_more
    }

    /// Returns the bot for which that bot takes tasks with that demand, if it does not take them
    /// anyway.
    pub(super) fn stands_in_for(&self, bot: &BotName, demand: &Demand) -> Option<BotName> {
        let takes_anyway = |slots: &BotSlots| slots.capacity.meets(demand);
        match self.bots.get(bot) {
            Some(slots) if !takes_anyway(slots) => self.fallbacks.of(bot, &demand.task_type),
            _ => None,
        }
    }

    /// Takes a slot of the least loaded bot that meets that demand. The `avoided` bot is taken only
    /// if no other has a free slot.
    pub(super) fn take_slot(
        &mut self,
        demand: &Demand,
        avoided: Option<&BotName>,
    ) -> Option<(BotName, u64)> {
        let other = avoided.and_then(|avoided| self.least_loaded_but(demand, avoided));
        let bot = other.or_else(|| self.least_loaded(demand))?.clone();
        let incarnation = self.incarnation(&bot)?;
        self.change(&bot, incarnation, |slots| slots.pending += 1);
        Some((bot, incarnation))
    }

    /// Frees slots whose claims failed.
    pub(super) fn free_slots(&mut self, bot: &BotName, incarnation: u64, slots: u32) {
        self.change(bot, incarnation, |it| {
            it.pending = it.pending.saturating_sub(slots);
        });
    }

    /// Records that claimed tasks were delivered to the bot.
    pub(super) fn delivered(&mut self, bot: &BotName, incarnation: u64, tasks: u32) {
        let slots = self.bots.get_mut(bot);
        if let Some(slots) = slots.filter(|slots| slots.incarnation == incarnation) {
            // Pending tasks become delivered ones, so the load stays the same.
            debug_assert!(slots.pending >= tasks, "what was not claimed is delivered");
            slots.pending = slots.pending.saturating_sub(tasks);
            slots.delivered += u64::from(tasks);
        }
    }

    /// Records how many tasks have ended since the incarnation began.
    pub(super) fn ended(&mut self, bot: &BotName, incarnation: u64, ended: u64) {
        self.change(bot, incarnation, |slots| {
            slots.ended = slots.ended.max(ended)
        });
    }

    fn least_loaded(&self, demand: &Demand) -> Option<&BotName> {
        let Demand { task_type, bot } = demand;
        if let Some(bot) = bot {
            let (name, slots) = self.bots.get_key_value(bot)?;
            return (slots.is_free() && slots.meets(demand)).then_some(name);
        }
        let specialist = self.specialists.get(task_type).and_then(BTreeSet::first);
        [self.generalists.first(), specialist]
            .into_iter()
            .flatten()
            .min()
            .map(|(_, bot)| bot)
    }

    fn least_loaded_but(&self, demand: &Demand, avoided: &BotName) -> Option<&BotName> {
        // A task of a session goes to the bot of the session, whatever happened there before.
        let Demand {
            task_type,
            bot: None,
        } = demand
        else {
            return None;
        };
        let specialists = self.specialists.get(task_type);
        // A bot is listed once in each set, so at most two entries of each are looked at.
        [Some(&self.generalists), specialists]
            .into_iter()
            .flatten()
            .filter_map(|bots| bots.iter().find(|(_, bot)| bot != avoided))
            .min()
            .map(|(_, bot)| bot)
    }

    /// Changes the slots of a bot. Does nothing for an earlier incarnation.
    fn change(&mut self, bot: &BotName, incarnation: u64, change: impl FnOnce(&mut BotSlots)) {
        if self.incarnation(bot) == Some(incarnation) {
            self.unlist(bot);
            if let Some(slots) = self.bots.get_mut(bot) {
                change(slots);
            }
            self.list(bot);
        }
    }

    fn list(&mut self, bot: &BotName) {
        let Some(slots) = self.bots.get(bot).filter(|slots| slots.is_free()) else {
            return;
        };
        let entry = (slots.load(), bot.clone());
        let Some(types) = slots.types() else {
            self.generalists.insert(entry);
            return;
        };
        for task_type in types {
            self.specialists
                .entry(task_type.clone())
                .or_default()
                .insert(entry.clone());
        }
    }

    fn unlist(&mut self, bot: &BotName) {
        let Some(slots) = self.bots.get(bot) else {
            return;
        };
        let entry = (slots.load(), bot.clone());
        self.generalists.remove(&entry);
        for task_type in slots.types().into_iter().flatten() {
            if let Some(listed) = self.specialists.get_mut(task_type) {
                listed.remove(&entry);
                if listed.is_empty() {
                    self.specialists.remove(task_type);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
