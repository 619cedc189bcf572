//! Answers about all lanes that a decision needs, kept as the lanes change: none takes a look at
//! every lane.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use deia_ledger::Demand;
use deia_model::Priority;

use super::LaneKey;

/// The index of the lanes.
#[derive(Debug, Default)]
pub(super) struct LaneIndex {
    /// Lanes with tasks, by the order of their first one.
    fronts: BTreeMap<Priority, BTreeSet<(i64, Demand)>>,
    /// Lanes to read from the store.
    low: BTreeSet<LaneKey>,
    /// Number of tasks held.
    tasks: usize,
    /// Number of lanes with waiting tasks, by demand.
    waiting: HashMap<Demand, u32>,
    /// Demands that began or ceased to wait since [`LaneIndex::take_changes`].
    changed: HashSet<Demand>,
}

/// The facts about a lane that the index keeps. The default is that of a lane to forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LaneFacts {
    /// Order of the first task.
    pub(super) front: Option<i64>,
    pub(super) tasks: usize,
    /// True if tasks wait, here or in the store.
    pub(super) waits: bool,
    /// True if the lane is to be read from the store.
    pub(super) is_low: bool,
}

impl LaneIndex {
    /// Records the change of a lane.
    pub(super) fn update(&mut self, key: &LaneKey, before: LaneFacts, now: LaneFacts) {
        let (priority, demand) = key;
        if before.front != now.front {
            let fronts = self.fronts.entry(*priority).or_default();
            if let Some(front) = before.front {
                fronts.remove(&(front, demand.clone()));
            }
            if let Some(front) = now.front {
                fronts.insert((front, demand.clone()));
            }
        }
        self.tasks = self.tasks - before.tasks + now.tasks;
        match (before.is_low, now.is_low) {
            (false, true) => drop(self.low.insert(key.clone())),
            (true, false) => drop(self.low.remove(key)),
            _ => {}
        }
        match (before.waits, now.waits) {
            (false, true) => self.begins_to_wait(demand),
            (true, false) => self.ceases_to_wait(demand),
            _ => {}
        }
    }

    fn begins_to_wait(&mut self, demand: &Demand) {
        let lanes = self.waiting.entry(demand.clone()).or_default();
        *lanes += 1;
        if *lanes == 1 {
            self.changed.insert(demand.clone());
        }
    }

    fn ceases_to_wait(&mut self, demand: &Demand) {
        if let Some(lanes) = self.waiting.get_mut(demand) {
            *lanes -= 1;
            if *lanes == 0 {
                self.waiting.remove(demand);
                self.changed.insert(demand.clone());
            }
        }
    }

    /// Returns the demands of lanes of that priority whose first task is of that order or a later
    /// one, in this order.
    pub(super) fn fronts(
        &self,
        priority: Priority,
        from: i64,
    ) -> impl Iterator<Item = &(i64, Demand)> {
        let fronts = self.fronts.get(&priority).into_iter();
        fronts.flat_map(move |fronts| fronts.range((from, Demand::least())..))
    }

    /// Returns the lanes to read from the store.
    pub(super) fn low(&self) -> impl Iterator<Item = &LaneKey> {
        self.low.iter()
    }

    /// Returns the number of tasks held.
    pub(super) fn tasks(&self) -> usize {
        self.tasks
    }

    /// Returns the demands that began (`true`) or ceased to wait since the last call.
    pub(super) fn take_changes(&mut self) -> impl Iterator<Item = (Demand, bool)> {
        let Self {
            waiting, changed, ..
        } = self;
        changed.drain().map(|demand| {
            let waits = waiting.contains_key(&demand);
            (demand, waits)
        })
    }
}
