//! The tables of a scheduler with many bots, for benchmarks of single decisions.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use deia_ledger::{Demand, ReadyTask};
use deia_model::{
    BotDesired, BotGeneration, BotName, BotRecord, Priority, TaskId, TaskType, Timestamp,
};
use deia_supervision::{Context, Recipient, StartError, child};

use super::{assign::Ageing, capacity::CapacityTable, lanes::Lanes};
use crate::dispatch::{BotAvailable, Capacity, Dispatch, Presence};

/// Number of tasks that each bot works on at a time. Fixed: of a benchmark.
const SLOTS: u32 = 4;
/// Number of tasks of one lane that are held. Fixed: of a benchmark.
const WINDOW: usize = 2_048;
/// Maximum number of tasks in a claim. Fixed: of a benchmark.
const CLAIM_MAX: usize = 512;
/// Ageing under which no task is old.
const YOUNG: Ageing = Ageing {
    before: i64::MIN,
    every: 8,
};
const GENERATION: BotGeneration = BotGeneration {
    version: 1,
    launched_at: None,
};

/// The tables of a scheduler with many bots: the decisions, without a store and without actors.
pub struct Decisions {
    table: CapacityTable,
    lanes: Lanes,
    bots: Vec<(BotName, TaskType)>,
    records: Vec<BotRecord>,
    deliver_to: Recipient<Dispatch>,
    order: i64,
}

/// An actor that is declared and never started.
struct Nobody;

impl actix::Actor for Nobody {
    type Context = Context<Self>;
}

impl actix::Handler<Dispatch> for Nobody {
    type Result = ();

    fn handle(&mut self, _: Dispatch, _: &mut Self::Context) {}
}

impl Decisions {
    /// Creates the tables with so many idle bots, which take one type each of so many.
    pub fn new(bots: usize, types: usize) -> Self {
        let (_, nobody) = child("nobody", || async { Ok::<_, StartError>(Nobody) });
        let bot = |n: usize| {
            let name: BotName = format!("bot-{n}").parse().unwrap();
            let task_type: TaskType = format!("type-{}", n % types).parse().unwrap();
            (name, task_type)
        };
        let bots: Vec<_> = (0..bots).map(bot).collect();
        let this = Self {
            table: CapacityTable::default(),
            lanes: Lanes::new(WINDOW),
            records: bots.iter().map(|(name, _)| record(name)).collect(),
            bots,
            deliver_to: nobody.recipient(),
            order: 0,
        };
        this.read();
        for n in 0..this.bots.len() {
            this.heartbeat(n);
        }
        this.table.polled();
        this
    }

    /// Returns the number of bots.
    pub fn bots(&self) -> usize {
        self.bots.len()
    }

    /// Gives every bot as many tasks as it takes, and has one more wait for each.
    pub fn fill(&mut self) {
        for n in 0..self.bots.len() {
            for _ in 0..=SLOTS {
                self.wait(n);
            }
        }
        while self.assign() == CLAIM_MAX {}
    }

    /// Ends a task of the `n`-th of all bots, which are busy, and gives it the next. Returns the
    /// number of tasks assigned.
    pub fn replace(&mut self, n: usize) -> usize {
        let (bot, _) = &self.bots[n];
        self.table.release([(bot.clone(), 1)]);
        self.wait(n);
        self.assign()
    }

    /// Starts a task in its submission, and ends it at once. Returns `true` if a bot had room.
    pub fn take_directly(&self, n: usize) -> bool {
        let demand = Demand::of_type(self.bots[n].1.clone());
        let taken = self.table.take_directly(&demand);
        let has_room = taken.is_some();
        self.table.release(taken);
        has_room
    }

    /// Applies a heartbeat of the `n`-th bot.
    pub fn heartbeat(&self, n: usize) {
        let (bot, task_type) = &self.bots[n];
        let presence = Presence {
            bot: bot.clone(),
            incarnation: 1,
            generation: GENERATION,
            capacity: Capacity {
                task_types: vec![task_type.clone()],
                slots: SLOTS,
                lease: None,
            },
            received: 0,
            ended: 0,
        };
        self.table.available(BotAvailable {
            presence,
            deliver_to: self.deliver_to.clone(),
        });
    }

    /// Applies a read of all bots, as every few seconds.
    pub fn read(&self) {
        self.table.begin_reading();
        self.table.bots_read(&self.records);
    }

    /// Notes the end of a look at the store, as every second.
    pub fn polled(&self) {
        self.table.polled();
    }

    fn assign(&mut self) -> usize {
        let assigned = self.table.assign(&mut self.lanes, CLAIM_MAX, YOUNG);
        assigned.len()
    }

    fn wait(&mut self, n: usize) {
        self.order += 1;
        self.lanes.push(ReadyTask {
            id: TaskId::new(),
            order: self.order,
            demand: Demand::of_type(self.bots[n].1.clone()),
            priority: Priority::P2,
            ready_at: self.order,
            last_bot: None,
        });
    }
}

fn record(name: &BotName) -> BotRecord {
    BotRecord {
        name: name.clone(),
        spec: crate::testing::bot_spec(serde_json::json!({"kind": "simulated"})),
        desired: BotDesired::Launched,
        version: GENERATION.version,
        port: 1,
        created_at: Timestamp::from_millis(0),
        launched_at: GENERATION.launched_at,
        tasks_completed: 0,
        tasks_failed: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_bot_that_ends_a_task_is_given_the_next_whatever_the_number_of_bots() {
        for (bots, types) in [(1, 1), (10, 3), (1_000, 1_000), (1_000, 10)] {
            let mut decisions = Decisions::new(bots, types);
            assert!(decisions.take_directly(bots / 2));
            decisions.fill();
            assert!(!decisions.take_directly(bots / 2), "tasks wait");
            for n in [0, bots / 2, bots - 1] {
                assert_eq!(decisions.replace(n), 1, "{n} of {bots}");
                decisions.heartbeat(n);
            }
            decisions.read();
            decisions.polled();
            assert_eq!(decisions.assign(), 0, "all are busy again");
        }
    }
}
