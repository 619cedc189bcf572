//! The bots that take tasks, and how busy each is.

use std::collections::{BTreeSet, HashMap};

use crate::model::{BotName, Capabilities, TaskType};

/// Least loaded first; ties by name, so that decisions repeat.
type ByLoad = BTreeSet<(u32, BotName)>;

/// The bots that take tasks.
#[derive(Debug, Default)]
pub(super) struct Roster {
    seats: HashMap<BotName, Seat>,
    /// Bots with a free place that take any type.
    generalists: ByLoad,
    /// Bots with a free place by the types they take.
    specialists: HashMap<TaskType, ByLoad>,
}

#[derive(Debug)]
struct Seat {
    capabilities: Capabilities,
    epoch: u64,
    in_hand: u32,
    /// Tasks it was given since its last turn for an aged one.
    since_aged: u32,
}

impl Seat {
    /// Share of its places that are taken, in millionths.
    fn load(&self) -> u32 {
        let places = u64::from(self.capabilities.max_concurrent_tasks.max(1));
        u32::try_from(u64::from(self.in_hand) * 1_000_000 / places).unwrap_or(u32::MAX)
    }

    fn is_free(&self) -> bool {
        self.in_hand < self.capabilities.max_concurrent_tasks
    }
}

impl Roster {
    /// A bot takes tasks, or takes them anew.
    pub(super) fn open(
        &mut self,
        bot: BotName,
        epoch: u64,
        capabilities: Capabilities,
        in_hand: u32,
    ) {
        self.unlist(&bot);
        self.seats.insert(
            bot.clone(),
            Seat {
                capabilities,
                epoch,
                in_hand,
                since_aged: 0,
            },
        );
        self.list(&bot);
    }

    /// A bot takes no more. Of an earlier epoch: nothing happens.
    pub(super) fn close(&mut self, bot: &BotName, epoch: u64) {
        if self.epoch(bot) == Some(epoch) {
            self.unlist(bot);
            self.seats.remove(bot);
        }
    }

    /// Which start of the bot takes tasks.
    pub(super) fn epoch(&self, bot: &BotName) -> Option<u64> {
        self.seats.get(bot).map(|seat| seat.epoch)
    }

    /// Whether some bot has a place for that type.
    pub(super) fn takes(&self, task_type: &TaskType) -> bool {
        self.least_loaded(task_type).is_some()
    }

    /// Whether any bot has a place at all.
    pub(super) fn has_room(&self) -> bool {
        !self.generalists.is_empty() || !self.specialists.is_empty()
    }

    /// Whether it is this bot's turn to be given an aged task: it was given
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

    /// Whether that bot takes tasks of that type.
    pub(super) fn bot_takes(&self, bot: &BotName, task_type: &TaskType) -> bool {
        self.seats.get(bot).is_some_and(|seat| {
            let types = &seat.capabilities.specializations;
            types.is_empty() || types.contains(task_type)
        })
    }

    /// Takes a place at the least loaded bot that takes that type.
    pub(super) fn seat(&mut self, task_type: &TaskType) -> Option<(BotName, u64)> {
        let bot = self.least_loaded(task_type)?.clone();
        self.change(&bot, |in_hand| in_hand + 1);
        let epoch = self.epoch(&bot)?;
        Some((bot, epoch))
    }

    /// Frees places. Of an earlier epoch: nothing happens.
    pub(super) fn free(&mut self, bot: &BotName, epoch: u64, places: u32) {
        if self.epoch(bot) == Some(epoch) {
            self.change(bot, |in_hand| in_hand.saturating_sub(places));
        }
    }

    fn least_loaded(&self, task_type: &TaskType) -> Option<&BotName> {
        let specialist = self.specialists.get(task_type).and_then(BTreeSet::first);
        [self.generalists.first(), specialist]
            .into_iter()
            .flatten()
            .min()
            .map(|(_, bot)| bot)
    }

    fn change(&mut self, bot: &BotName, count: impl FnOnce(u32) -> u32) {
        self.unlist(bot);
        if let Some(seat) = self.seats.get_mut(bot) {
            seat.in_hand = count(seat.in_hand);
        }
        self.list(bot);
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
mod tests {
    use super::*;

    fn bot(name: &str) -> BotName {
        name.parse().unwrap()
    }

    fn takes(types: &[&str], max: u32) -> Capabilities {
        Capabilities {
            specializations: types.iter().map(|t| t.parse().unwrap()).collect(),
            max_concurrent_tasks: max,
            ..Capabilities::default()
        }
    }

    fn seats(roster: &mut Roster, task_type: &str, n: usize) -> Vec<String> {
        let task_type = task_type.parse().unwrap();
        (0..n)
            .filter_map(|_| roster.seat(&task_type))
            .map(|(bot, _)| bot.to_string())
            .collect()
    }

    #[test]
    fn the_least_loaded_by_share_goes_first_and_none_is_overfilled() {
        let mut roster = Roster::default();
        roster.open(bot("big"), 1, takes(&[], 4), 0);
        roster.open(bot("small"), 1, takes(&[], 2), 0);
        assert_eq!(
            seats(&mut roster, "x", 9),
            ["big", "small", "big", "big", "small", "big"]
        );
        assert!(!roster.has_room());
        roster.free(&bot("small"), 1, 1);
        assert_eq!(seats(&mut roster, "x", 9), ["small"]);
    }

    #[test]
    fn specialists_take_only_their_types() {
        let mut roster = Roster::default();
        roster.open(bot("s"), 1, takes(&["a", "b"], 2), 0);
        assert!(seats(&mut roster, "x", 1).is_empty());
        assert_eq!(seats(&mut roster, "a", 1), ["s"]);
        roster.open(bot("g"), 1, takes(&[], 1), 0);
        assert_eq!(seats(&mut roster, "b", 3), ["g", "s"]);
        assert!(!roster.takes(&"a".parse().unwrap()));
    }

    #[test]
    fn what_an_earlier_start_says_is_ignored() {
        let mut roster = Roster::default();
        roster.open(bot("b"), 1, takes(&[], 1), 0);
        assert_eq!(seats(&mut roster, "x", 1).len(), 1);
        roster.open(bot("b"), 2, takes(&[], 1), 0);
        assert_eq!(
            seats(&mut roster, "x", 1).len(),
            1,
            "begins anew with nothing in hand"
        );
        roster.free(&bot("b"), 1, 1);
        roster.close(&bot("b"), 1);
        assert!(seats(&mut roster, "x", 1).is_empty());
        assert_eq!(roster.epoch(&bot("b")), Some(2));
        roster.close(&bot("b"), 2);
        assert_eq!(roster.epoch(&bot("b")), None);
        assert!(roster.specialists.is_empty() && roster.generalists.is_empty());
    }
}
