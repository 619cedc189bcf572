//! The bots that have room, shared by the scheduler and the store's writer, so that a task can be
//! assigned in the transaction that submits it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use deia_ledger::{ClaimedTask, Demand};
use deia_model::{BotGeneration, BotName, BotRecord, Pause};
use deia_supervision::{Recipient, TellError};

use super::{
    assign::{Ageing, Assignment, assign},
    lanes::Lanes,
    roster::Roster,
};
use crate::dispatch::{BotAvailable, BotUnavailable, Dispatch, Fallback, SlotsFreed};

/// The bots that have room. Locked for moments only, never across I/O.
#[derive(Default)]
pub(super) struct CapacityTable(Mutex<Table>);

#[derive(Default)]
struct Table {
    roster: Roster,
    /// Addresses of the bots in the roster.
    addresses: HashMap<BotName, Recipient<Dispatch>>,
    /// Times after which leases expire, of the bots whose leases do not end with them.
    leases: HashMap<BotName, Duration>,
    gate: Gate,
    /// Bots that changed since the running read of all bots began.
    changed: Option<HashSet<BotName>>,
}

/// Conditions under which no task is assigned directly, whatever room there is.
#[derive(Debug, Default)]
struct Gate {
    /// True once a scheduler has read the queue, and so knows the waiting tasks.
    open: bool,
    /// True once the hive stops and no attempt may begin any more. Kept here, so that a scheduler
    /// that is restarted meanwhile does not forget it.
    quiescing: bool,
    /// Demands of the tasks that wait already, which go first.
    waiting: HashSet<Demand>,
    /// Pauses as last read. The store has the last word.
    paused: Vec<Pause>,
}

impl Gate {
    /// Returns true if tasks with that demand are paused.
    fn pauses(&self, demand: &Demand) -> bool {
        self.paused
            .iter()
            .any(|pause| pause.holds(&demand.task_type))
    }

    /// Returns true if a new task may bypass the queue.
    fn lets_past(&self, demand: &Demand) -> bool {
        self.open && !self.quiescing && !self.waiting.contains(demand) && !self.pauses(demand)
    }
}

impl CapacityTable {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to serve a new scheduler. Bots are given nothing until they have confirmed that
    /// they still take tasks; tasks that they run or that are being sent to them stay counted.
    pub(super) fn begin(&self) {
        let mut table = self.lock();
        table.roster.unconfirm();
        table.gate = Gate {
            quiescing: table.gate.quiescing,
            ..Gate::default()
        };
    }

    /// Stops assigning tasks.
    pub(super) fn quiesce(&self) {
        self.lock().gate.quiescing = true;
    }

    /// Stores the pauses, as the store has them.
    pub(super) fn set_paused(&self, paused: Vec<Pause>) {
        self.lock().gate.paused = paused;
    }

    /// Lets tasks bypass the queue, as the waiting tasks are now known, and forgets bots that
    /// have been gone for long.
    pub(super) fn polled(&self) {
        let mut table = self.lock();
        table.gate.open = true;
        for bot in table.roster.look() {
            table.addresses.remove(&bot);
            table.leases.remove(&bot);
        }
    }

    /// Applies a heartbeat. Returns `true` if the bot may have room that it did not have before.
    pub(super) fn available(&self, available: BotAvailable) -> bool {
        let BotAvailable {
            presence,
            deliver_to,
        } = available;
        let (bot, incarnation) = (presence.bot.clone(), presence.incarnation);
        let lease = presence.capacity.lease;
        let mut table = self.lock();
        let has_room_now = table.roster.open(presence);
        if table.roster.incarnation(&bot) == Some(incarnation) {
            match lease {
                Some(lease) => table.leases.insert(bot.clone(), lease),
                None => table.leases.remove(&bot),
            };
            table.addresses.insert(bot, deliver_to);
        }
        has_room_now
    }

    /// Gives the bot nothing before its next heartbeat.
    pub(super) fn unavailable(&self, it: &BotUnavailable) {
        self.lock().roster.close(&it.bot, it.incarnation);
    }

    /// Records that a bot has ended tasks.
    pub(super) fn freed(&self, it: &SlotsFreed) {
        self.lock().roster.ended(&it.bot, it.incarnation, it.ended);
    }

    /// Records the generation of a bot that may be given tasks. Returns `true` if the bot may
    /// have room that it did not have before.
    pub(super) fn bot_changed(&self, bot: &BotName, eligible: Option<BotGeneration>) -> bool {
        let mut table = self.lock();
        if let Some(changed) = &mut table.changed {
            changed.insert(bot.clone());
        }
        table.roster.set_eligible(bot, eligible)
    }

    /// Records that a read of all bots from the store begins.
    pub(super) fn begin_reading(&self) {
        self.lock().changed = Some(HashSet::new());
    }

    /// Applies a read of all bots. For bots that changed meanwhile the table is newer. Returns
    /// `true` if a bot may have room that it did not have before.
    pub(super) fn bots_read(&self, bots: &[BotRecord]) -> bool {
        let mut table = self.lock();
        let Some(changed) = table.changed.take() else {
            return false;
        };
        let read: HashMap<&BotName, Option<BotGeneration>> =
            bots.iter().map(|bot| (&bot.name, bot.eligible())).collect();
        let known: Vec<BotName> = table.roster.eligible().cloned().collect();
        let names: HashSet<&BotName> = read.keys().copied().chain(&known).collect();
        let mut has_room_now = false;
        for bot in names.into_iter().filter(|bot| !changed.contains(*bot)) {
            let eligible = read.get(bot).copied().flatten();
            has_room_now |= table.roster.set_eligible(bot, eligible);
        }
        has_room_now
    }

    /// Applies the bots whose tasks go to others. Returns `true` if a bot may have room for tasks
    /// that it did not take before.
    pub(super) fn set_fallbacks(&self, now: Vec<Fallback>) -> bool {
        self.lock().roster.set_fallbacks(now)
    }

    /// Returns the bot for which that bot takes tasks with that demand, if it does not take them
    /// anyway.
    pub(super) fn stands_in_for(&self, bot: &BotName, demand: &Demand) -> Option<BotName> {
        self.lock().roster.stands_in_for(bot, demand)
    }

    /// Returns the number of tasks that were given to a bot and are being sent to it.
    pub(super) fn pending(&self) -> u64 {
        self.lock().roster.pending()
    }

    /// Returns true if tasks are withheld from the bot as it runs now.
    pub(super) fn withholds(&self, bot: &BotName) -> bool {
        self.lock().roster.withholds(bot)
    }

    /// Assigns as many tasks as one command may hold, and records the rest: as long as a task
    /// waits, no newer task with its demand bypasses it.
    pub(super) fn assign(&self, lanes: &mut Lanes, max: usize, ageing: Ageing) -> Vec<Assignment> {
        let mut table = self.lock();
        let Table { roster, gate, .. } = &mut *table;
        if gate.quiescing {
            return Vec::new();
        }
        let assigned = assign(lanes, roster, max, ageing, |demand| gate.pauses(demand));
        for (demand, waits) in lanes.take_changes() {
            match waits {
                true => gate.waiting.insert(demand),
                false => gate.waiting.remove(&demand),
            };
        }
        assigned
    }

    /// Returns the time after which a lease of the bot expires; `None`: it ends with the bot.
    pub(super) fn lease_of(&self, bot: &BotName) -> Option<Duration> {
        self.lock().leases.get(bot).copied()
    }

    /// Takes a slot for a new task, if it may start at once.
    pub(super) fn take_directly(&self, demand: &Demand) -> Option<(BotName, u64)> {
        let mut table = self.lock();
        let Table { roster, gate, .. } = &mut *table;
        if !gate.lets_past(demand) {
            return None;
        }
        let (bot, incarnation) = roster.take_slot(demand, None)?;
        roster.given(&bot, false);
        Some((bot, incarnation))
    }

    /// Frees the slots of claims that failed.
    pub(super) fn release(&self, slots: impl IntoIterator<Item = (BotName, u64)>) {
        let mut table = self.lock();
        for (bot, incarnation) in slots {
            table.roster.free_slots(&bot, incarnation, 1);
        }
    }

    /// Delivers tasks to the bots and incarnations that they were claimed for, in one message per
    /// bot. Returns those that could not be delivered; their bots get no more before their next
    /// heartbeat.
    pub(super) fn deliver(&self, tasks: Vec<ClaimedTask>) -> Vec<ClaimedTask> {
        let mut by_bot: HashMap<(BotName, u64), Vec<ClaimedTask>> = HashMap::new();
        for task in tasks {
            let key = (task.bot.clone(), task.incarnation);
            by_bot.entry(key).or_default().push(task);
        }
        let mut table = self.lock();
        let mut undelivered = Vec::new();
        for ((bot, incarnation), tasks) in by_bot {
            let dispatch = Dispatch { incarnation, tasks };
            if let Err(returned) = table.hand_over(&bot, dispatch) {
                undelivered.extend(returned.tasks);
            }
        }
        undelivered
    }
}

impl Table {
    /// Delivers tasks to a bot. Sends them while the table is locked: a heartbeat that counts
    /// them must not arrive before they are counted here.
    fn hand_over(&mut self, bot: &BotName, dispatch: Dispatch) -> Result<(), Dispatch> {
        let incarnation = dispatch.incarnation;
        let count = u32::try_from(dispatch.tasks.len()).unwrap_or(u32::MAX);
        let may_have = self.roster.may_have(bot, incarnation);
        let told = match self.addresses.get(bot).filter(|_| may_have) {
            Some(address) => address.tell(dispatch).map_err(TellError::into_inner),
            None => Err(dispatch),
        };
        match &told {
            Ok(()) => self.roster.delivered(bot, incarnation, count),
            Err(_) => {
                self.roster.close(bot, incarnation);
                self.roster.free_slots(bot, incarnation, count);
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use deia_model::{BotDesired, BotSpec, Executor, SimulatedExecutor, Timestamp};

    use super::*;

    fn record(name: &str, desired: BotDesired, version: u64) -> BotRecord {
        BotRecord {
            name: name.parse().unwrap(),
            spec: BotSpec::new(Executor::Simulated(SimulatedExecutor::default())),
            desired,
            version,
            port: 1,
            created_at: Timestamp::from_millis(0),
            launched_at: Some(Timestamp::from_millis(1)),
            tasks_completed: 0,
            tasks_failed: 0,
        }
    }

    fn eligible(table: &CapacityTable) -> Vec<String> {
        let table = table.lock();
        let mut names: Vec<_> = table.roster.eligible().map(BotName::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn read_of_all_bots_changes_only_those_that_no_commit_has_changed_meanwhile() {
        use BotDesired::{Draining, Launched, Stopped};
        let table = CapacityTable::default();
        let changed = |record: &BotRecord| table.bot_changed(&record.name, record.eligible());
        let launched = |name| record(name, Launched, 1);
        for name in ["deleted", "lost", "stays"] {
            changed(&launched(name));
        }
        table.bots_read(&[]);
        assert_eq!(
            eligible(&table),
            ["deleted", "lost", "stays"],
            "no read began"
        );
        table.begin_reading();
        // These commits follow the read, and precede its application.
        changed(&launched("new"));
        changed(&record("stopped", Stopped, 1));
        table.bots_read(&[
            launched("earlier"),
            record("lost", Draining, 1),
            launched("stays"),
            launched("stopped"),
        ]);
        assert_eq!(eligible(&table), ["earlier", "new", "stays"]);
        table.bots_read(&[]);
        assert_eq!(eligible(&table).len(), 3, "a read counts once");
    }

    #[test]
    fn only_an_open_gate_lets_tasks_past_what_waits_and_what_is_paused() {
        let demand = |task_type: &str| Demand::of_type(task_type.parse().unwrap());
        let pause = |task_type: Option<&str>| Pause {
            task_type: task_type.map(|it| it.parse().unwrap()),
            since: Timestamp::from_millis(0),
            by: "ada".to_owned(),
            reason: None,
        };
        let open = || Gate {
            open: true,
            waiting: [demand("waits")].into(),
            paused: vec![pause(Some("paused"))],
            ..Gate::default()
        };
        for (case, gate, task_type, passes) in [
            ("queue not read yet", Gate::default(), "a", false),
            ("nothing of its demand waits", open(), "a", true),
            ("something of its demand waits", open(), "waits", false),
            ("its type is paused", open(), "paused", false),
            (
                "everything is paused",
                Gate {
                    paused: vec![pause(None)],
                    ..open()
                },
                "a",
                false,
            ),
            (
                "the hive stops",
                Gate {
                    quiescing: true,
                    ..open()
                },
                "a",
                false,
            ),
        ] {
            assert_eq!(gate.lets_past(&demand(task_type)), passes, "{case}");
        }
    }

    #[test]
    fn hive_that_stops_is_not_forgotten_by_a_new_scheduler() {
        let table = CapacityTable::default();
        table.quiesce();
        table.begin();
        assert!(table.lock().gate.quiescing);
    }
}
