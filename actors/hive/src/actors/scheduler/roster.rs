//! The bots that take tasks, and how busy each is.

use std::collections::{BTreeSet, HashMap};

use deia_model::{BotGeneration, BotName, Capabilities, TaskType};

/// Least loaded first; ties by name, so that decisions repeat.
type ByLoad = BTreeSet<(u32, BotName)>;

/// The bots that take tasks.
#[derive(Debug, Default)]
pub(super) struct Roster {
    seats: HashMap<BotName, Seat>,
    /// Bots that may be given tasks, each in one generation. No other seat is offered.
    eligible: HashMap<BotName, BotGeneration>,
    /// Bots with a free place that take any type.
    generalists: ByLoad,
    /// Bots with a free place by the types they take.
    specialists: HashMap<TaskType, ByLoad>,
}

/// A bot's report of its epoch, capabilities and tasks.
#[derive(Clone, Debug)]
pub(super) struct Presence {
    pub(super) bot: BotName,
    /// Number of the bot's start.
    pub(super) epoch: u64,
    /// Launch and specification that the bot was started for.
    pub(super) generation: BotGeneration,
    pub(super) capabilities: Capabilities,
    /// Tasks that reached it since its epoch began.
    pub(super) received: u64,
    /// Tasks of these that it has no more in hand.
    pub(super) ended: u64,
}

#[derive(Debug)]
struct Seat {
    capabilities: Capabilities,
    epoch: u64,
    generation: BotGeneration,
    standing: Standing,
    /// True unless this generation of the bot may be given tasks.
    withheld: bool,
    /// Tasks whose claim is under way.
    pending: u32,
    /// Tasks that were handed over since the epoch began. They reach the bot or
    /// the epoch ends: a mailbox keeps what it took.
    delivered: u64,
    /// Tasks of these that have ended.
    ended: u64,
    /// Tasks it was given since its last turn for an aged one.
    since_aged: u32,
    /// Looks in a row at which the bot took no tasks.
    idle_looks: u32,
}

/// Readiness of a bot to be given tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It takes tasks.
    Open,
    /// It took tasks under an earlier scheduler; its next sign of life tells.
    Unconfirmed,
    /// It takes none until its next sign of life.
    Closed,
}

/// Looks after which a seat that takes nothing is forgotten.
const IDLE_LOOKS_MAX: u32 = 100;

impl Seat {
    fn in_hand(&self) -> u32 {
        let with_bot = self.delivered.saturating_sub(self.ended);
        let with_bot = u32::try_from(with_bot).unwrap_or(u32::MAX);
        self.pending.saturating_add(with_bot)
    }

    /// Share of its places that are taken, in millionths.
    fn load(&self) -> u32 {
        let places = u64::from(self.capabilities.max_concurrent_tasks.max(1));
        u32::try_from(u64::from(self.in_hand()) * 1_000_000 / places).unwrap_or(u32::MAX)
    }

    fn is_free(&self) -> bool {
        self.standing == Standing::Open
            && !self.withheld
            && self.in_hand() < self.capabilities.max_concurrent_tasks
    }
}

impl Roster {
    /// Takes in a sign of life. The counters are absolute, so that whatever the
    /// roster missed is made up for. One of an earlier epoch comes late, from a thread
    /// that was blocked, and changes nothing. Returns `true` if the bot may have room
    /// that it had not before.
    pub(super) fn open(&mut self, presence: Presence) -> bool {
        let Presence {
            bot,
            epoch,
            generation,
            capabilities,
            received,
            ended,
        } = presence;
        if self.epoch(&bot).is_some_and(|newest| epoch < newest) {
            return false;
        }
        self.unlist(&bot);
        let known = self.seats.get_mut(&bot).filter(|seat| seat.epoch == epoch);
        let had_room = known.as_ref().is_some_and(|seat| seat.is_free());
        match known {
            Some(seat) => {
                seat.capabilities = capabilities;
                seat.standing = Standing::Open;
                seat.delivered = seat.delivered.max(received);
                seat.ended = seat.ended.max(ended);
                seat.idle_looks = 0;
            }
            None => {
                let seat = Seat {
                    capabilities,
                    epoch,
                    generation,
                    standing: Standing::Open,
                    withheld: self.eligible.get(&bot) != Some(&generation),
                    pending: 0,
                    delivered: received,
                    ended,
                    since_aged: 0,
                    idle_looks: 0,
                };
                self.seats.insert(bot.clone(), seat);
            }
        }
        self.list(&bot);
        !had_room && self.seats.get(&bot).is_some_and(Seat::is_free)
    }

    /// Notes which generation of a bot may be given tasks, if any. A sign of life changes
    /// nothing of that. Returns `true` if the bot may have room that it had not before.
    pub(super) fn set_eligible(&mut self, bot: &BotName, eligible: Option<BotGeneration>) -> bool {
        match eligible {
            Some(generation) => self.eligible.insert(bot.clone(), generation),
            None => self.eligible.remove(bot),
        };
        self.unlist(bot);
        let Some(seat) = self.seats.get_mut(bot) else {
            return false;
        };
        let had_room = seat.is_free();
        seat.withheld = eligible != Some(seat.generation);
        let has_room = seat.is_free();
        self.list(bot);
        has_room && !had_room
    }

    /// Returns the bots that may be given tasks.
    pub(super) fn eligible(&self) -> impl Iterator<Item = &BotName> {
        self.eligible.keys()
    }

    /// Returns whether tasks are withheld from the bot as it is seated.
    pub(super) fn withholds(&self, bot: &BotName) -> bool {
        self.seats.get(bot).is_some_and(|seat| seat.withheld)
    }

    /// The bot takes no more until its next sign of life. Of an earlier epoch:
    /// nothing happens. The counters stay: claims may be under way.
    pub(super) fn close(&mut self, bot: &BotName, epoch: u64) {
        if self.epoch(bot) == Some(epoch) {
            self.unlist(bot);
            if let Some(seat) = self.seats.get_mut(bot) {
                seat.standing = Standing::Closed;
            }
        }
    }

    /// Requires every bot to confirm that it takes tasks. Tasks in hand stay counted.
    pub(super) fn unconfirm(&mut self) {
        self.generalists.clear();
        self.specialists.clear();
        for seat in self.seats.values_mut() {
            if seat.standing == Standing::Open {
                seat.standing = Standing::Unconfirmed;
            }
        }
    }

    /// Forgets bots that have taken nothing for many looks, and returns them.
    pub(super) fn look(&mut self) -> Vec<BotName> {
        for seat in self.seats.values_mut() {
            if seat.standing != Standing::Open {
                seat.idle_looks += 1;
            }
        }
        let gone = |seat: &Seat| seat.idle_looks > IDLE_LOOKS_MAX && seat.pending == 0;
        let forgotten = self.seats.extract_if(|_, seat| gone(seat));
        forgotten.map(|(bot, _)| bot).collect()
    }

    /// Returns whether a task that was claimed for this start of the bot may go to it.
    pub(super) fn may_have(&self, bot: &BotName, epoch: u64) -> bool {
        self.seats
            .get(bot)
            .is_some_and(|seat| seat.epoch == epoch && seat.standing != Standing::Closed)
    }

    /// Tasks whose claim is under way.
    pub(super) fn pending(&self) -> u64 {
        self.seats
            .values()
            .map(|seat| u64::from(seat.pending))
            .sum()
    }

    /// Which start of the bot takes tasks.
    pub(super) fn epoch(&self, bot: &BotName) -> Option<u64> {
        self.seats.get(bot).map(|seat| seat.epoch)
    }

    /// Returns whether some bot has a place for that type.
    pub(super) fn takes(&self, task_type: &TaskType) -> bool {
        self.least_loaded(task_type).is_some()
    }

    /// Returns whether any bot has a place at all.
    pub(super) fn has_room(&self) -> bool {
        !self.generalists.is_empty() || !self.specialists.is_empty()
    }

    /// Returns whether it is this bot's turn to be given an aged task: it was given
    /// `every - 1` others since the last one.
    pub(super) fn is_aged_turn(&self, bot: &BotName, every: u32) -> bool {
        let seat = self.seats.get(bot);
        seat.is_some_and(|seat| seat.since_aged + 1 >= every)
    }

    /// Notes that the bot was given a task: the aged one whose turn it was, or
    /// another.
    pub(super) fn given(&mut self, bot: &BotName, in_turn: bool) {
        if let Some(seat) = self.seats.get_mut(bot) {
            seat.since_aged = match in_turn {
                true => 0,
                false => seat.since_aged.saturating_add(1),
            };
        }
    }

    /// Returns whether that bot takes tasks of that type.
    pub(super) fn bot_takes(&self, bot: &BotName, task_type: &TaskType) -> bool {
        self.seats.get(bot).is_some_and(|seat| {
            let types = &seat.capabilities.specializations;
            types.is_empty() || types.contains(task_type)
        })
    }

    /// Takes a place at the least loaded bot that takes that type.
    pub(super) fn seat(&mut self, task_type: &TaskType) -> Option<(BotName, u64)> {
        let bot = self.least_loaded(task_type)?.clone();
        let epoch = self.epoch(&bot)?;
        self.change(&bot, epoch, |seat| seat.pending += 1);
        Some((bot, epoch))
    }

    /// Frees places whose claims failed.
    pub(super) fn unseat(&mut self, bot: &BotName, epoch: u64, places: u32) {
        self.change(bot, epoch, |seat| {
            seat.pending = seat.pending.saturating_sub(places);
        });
    }

    /// Notes that claimed tasks were handed to the bot.
    pub(super) fn delivered(&mut self, bot: &BotName, epoch: u64, tasks: u32) {
        let seat = self.seats.get_mut(bot);
        if let Some(seat) = seat.filter(|seat| seat.epoch == epoch) {
            // Of those under way they become those in hand: its load stays the same.
            debug_assert!(seat.pending >= tasks, "what was not claimed is delivered");
            seat.pending = seat.pending.saturating_sub(tasks);
            seat.delivered += u64::from(tasks);
        }
    }

    /// Notes how many tasks have ended since the epoch began.
    pub(super) fn ended(&mut self, bot: &BotName, epoch: u64, ended: u64) {
        self.change(bot, epoch, |seat| seat.ended = seat.ended.max(ended));
    }

    fn least_loaded(&self, task_type: &TaskType) -> Option<&BotName> {
        let specialist = self.specialists.get(task_type).and_then(BTreeSet::first);
        [self.generalists.first(), specialist]
            .into_iter()
            .flatten()
            .min()
            .map(|(_, bot)| bot)
    }

    /// Changes a seat. Of an earlier epoch: nothing happens.
    fn change(&mut self, bot: &BotName, epoch: u64, change: impl FnOnce(&mut Seat)) {
        if self.epoch(bot) == Some(epoch) {
            self.unlist(bot);
            if let Some(seat) = self.seats.get_mut(bot) {
                change(seat);
            }
            self.list(bot);
        }
    }

    fn list(&mut self, bot: &BotName) {
        let Some(seat) = self.seats.get(bot).filter(|seat| seat.is_free()) else {
            return;
        };
        let entry = (seat.load(), bot.clone());
        if seat.capabilities.specializations.is_empty() {
            self.generalists.insert(entry);
            return;
        }
        for task_type in &seat.capabilities.specializations {
            self.specialists
                .entry(task_type.clone())
                .or_default()
                .insert(entry.clone());
        }
    }

    fn unlist(&mut self, bot: &BotName) {
        let Some(seat) = self.seats.get(bot) else {
            return;
        };
        let entry = (seat.load(), bot.clone());
        self.generalists.remove(&entry);
        for task_type in &seat.capabilities.specializations {
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
