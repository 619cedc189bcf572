//! The ready tasks that are held in memory: one lane per demand and priority, each a window on
//! the front of the tasks in the store.

mod index;
mod lane;

use std::collections::{BTreeMap, HashSet};

use deia_ledger::{Demand, ReadyLane, ReadyQuery, ReadyTask};
use deia_model::{Priority, TaskId, TaskType};

use self::{
    index::{LaneFacts, LaneIndex},
    lane::{Entry, Lane},
};

/// The key of a lane.
type LaneKey = (Priority, Demand);

/// All lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    window: usize,
    lanes: BTreeMap<LaneKey, Lane>,
    index: LaneIndex,
    /// Lower bound of the time at which a task of any lane became ready.
    ready_since: i64,
}

/// The lanes in which a task is looked for.
pub(super) struct Search<T> {
    pub(super) priority: Priority,
    /// Order before which no first task of a lane of that priority is wanted.
    pub(super) from: i64,
    /// Types that may be wanted; `None`: all.
    pub(super) types: Option<T>,
}

impl Lanes {
    /// Creates lanes that hold at most that many tasks each.
    pub(super) fn new(window: usize) -> Self {
        Self {
            window,
            lanes: BTreeMap::new(),
            index: LaneIndex::default(),
            ready_since: i64::MAX,
        }
    }

    /// Sets the number of tasks that each lane holds at most. A lane with more has them assigned
    /// first.
    pub(super) fn set_window(&mut self, window: usize) {
        self.window = window;
    }

    /// Adds a task that became ready. A task behind a full window is left to the store.
    pub(super) fn push(&mut self, task: ReadyTask) {
        let (entry, window) = (Entry::of(&task), self.window);
        self.ready_since = self.ready_since.min(entry.ready_at);
        self.change((task.priority, task.demand), |lane| {
            let behind = lane.tasks.back().is_none_or(|last| task.order > last.order);
            if behind && (lane.more || lane.tasks.len() >= window) {
                lane.more = true;
                lane.rescan |= lane.refilling;
                return;
            }
            lane.insert(entry);
            if lane.tasks.len() > window {
                lane.tasks.pop_back();
                lane.more = true;
            }
        });
    }

    /// Changes a lane, which is created for that, and forgotten afterwards if nothing of it is left.
    fn change<T>(&mut self, key: LaneKey, change: impl FnOnce(&mut Lane) -> T) -> T {
        let low = self.window / 4;
        let lane = self.lanes.entry(key.clone()).or_default();
        let before = lane.facts(low);
        let changed = change(lane);
        let now = lane.facts(low);
        self.index.update(&key, before, now);
        if now == LaneFacts::default() {
            self.lanes.remove(&key);
        }
        changed
    }

    /// Applies the number of ready tasks that the store has in a lane. At most `claiming` of them
    /// are not held here because they are being claimed.
    pub(super) fn discover(&mut self, found: ReadyLane, claiming: u64) {
        let key = (found.priority, found.demand);
        self.change(key, |lane| lane.discover(found.tasks, claiming));
    }

    /// Drops lanes of one bot that the store has had no task of for some checks: the bot of a
    /// session may be gone for good, and its tasks wait in other lanes then.
    pub(super) fn forget_absent(&mut self, found: &[ReadyLane]) {
        let present: HashSet<(Priority, &Demand)> =
            found.iter().map(|it| (it.priority, &it.demand)).collect();
        let of_bots = self.lanes.keys().filter(|(_, demand)| demand.bot.is_some());
        let of_bots: Vec<LaneKey> = of_bots.cloned().collect();
        for key in of_bots {
            let is_absent = !present.contains(&(key.0, &key.1));
            self.change(key, |lane| lane.note_absence(is_absent));
        }
    }

    /// Returns the queries to read from the store now.
    pub(super) fn refills(&mut self) -> Vec<ReadyQuery> {
        let limit = u32::try_from(self.window).unwrap_or(u32::MAX);
        let low: Vec<LaneKey> = self.index.low().cloned().collect();
        let query = |key: LaneKey| {
            let after = self.change(key.clone(), Lane::begin_refill);
            ReadyQuery {
                priority: key.0,
                demand: key.1,
                after,
                limit,
            }
        };
        low.into_iter().map(query).collect()
    }

    /// Adds the tasks that were read; `None` if the read failed. Tasks that are being claimed are
    /// left out.
    pub(super) fn refilled(
        &mut self,
        query: &ReadyQuery,
        found: Option<Vec<ReadyTask>>,
        claiming: &HashSet<TaskId>,
    ) {
        let window = self.window;
        let key = (query.priority, query.demand.clone());
        if !self.lanes.contains_key(&key) {
            return;
        }
        let ready_since = found.iter().flatten().map(|task| task.ready_at).min();
        self.ready_since = self.ready_since.min(ready_since.unwrap_or(i64::MAX));
        self.change(key, |lane| {
            lane.refilling = false;
            let Some(found) = found else {
                lane.rescan = true;
                return;
            };
            lane.more = lane.rescan || found.len() >= query.limit as usize;
            for task in found {
                if !claiming.contains(&task.id) {
                    lane.insert(Entry::of(&task));
                }
            }
            // The lane was read from its beginning while it was well filled.
            lane.more |= lane.tasks.len() > 2 * window;
            lane.tasks.truncate(2 * window);
        });
    }

    /// Removes the oldest task of a priority whose demand is `wanted`. Looks at the lanes in the
    /// order of their first tasks, but at no more than there are types that may be wanted: these
    /// are fewer then.
    pub(super) fn pop<'a, T>(
        &mut self,
        search: Search<T>,
        mut wanted: impl FnMut(&Demand) -> bool,
    ) -> Option<ReadyTask>
    where
        T: ExactSizeIterator<Item = &'a TaskType>,
    {
        let priority = search.priority;
        let limit = search.types.as_ref().map_or(usize::MAX, T::len);
        let mut looks = 0;
        let mut fronts = self.index.fronts(priority, search.from).take(limit);
        let found = fronts
            .find(|(_, demand)| {
                looks += 1;
                wanted(demand)
            })
            .map(|(_, demand)| demand.clone());
        drop(fronts);
        let demand = match (found, search.types) {
            (None, Some(types)) if looks == limit => self.oldest_of(priority, types, wanted),
            (found, _) => found,
        };
        self.take((priority, demand?), 0)
    }

    /// Returns the demand of the oldest task of these types whose demand is `wanted`.
    fn oldest_of<'a>(
        &self,
        priority: Priority,
        types: impl Iterator<Item = &'a TaskType>,
        mut wanted: impl FnMut(&Demand) -> bool,
    ) -> Option<Demand> {
        let lanes = types.flat_map(|task_type| {
            let from = (priority, Demand::of_type(task_type.clone()));
            self.lanes
                .range(from..)
                .take_while(move |((p, demand), _)| {
                    *p == priority && demand.task_type == *task_type
                })
        });
        let fronts = lanes.filter_map(|((_, demand), lane)| {
            let first = lane.tasks.front()?;
            wanted(demand).then_some((first.order, demand))
        });
        let oldest = fronts.min_by_key(|(order, _)| *order);
        oldest.map(|(_, demand)| demand.clone())
    }

    /// Returns the demands of which tasks began (`true`) or ceased to wait, here or in the store,
    /// since the last call.
    pub(super) fn take_changes(&mut self) -> impl Iterator<Item = (Demand, bool)> {
        self.index.take_changes()
    }

    /// Returns true if a task here has been ready since before then. Looks at the lanes only if
    /// there may be such a task.
    pub(super) fn has_aged(&mut self, before: i64) -> bool {
        if self.ready_since > before {
            return false;
        }
        let mut lanes = self.lanes.values_mut();
        if lanes.any(|lane| lane.longest_ready(before).is_some()) {
            return true;
        }
        let since = self.lanes.values().map(|lane| lane.ready_since).min();
        self.ready_since = since.unwrap_or(i64::MAX);
        false
    }

    /// Removes the task of any priority that has been ready longest, since before then, and whose
    /// demand is `wanted`.
    pub(super) fn pop_aged(
        &mut self,
        before: i64,
        mut wanted: impl FnMut(&Demand) -> bool,
    ) -> Option<ReadyTask> {
        let (_, at, key) = self
            .lanes
            .iter_mut()
            .filter(|((_, demand), _)| wanted(demand))
            .filter_map(|(key, lane)| {
                let at = lane.longest_ready(before)?;
                let entry = lane.tasks.get(at)?;
                Some(((entry.ready_at, entry.order), at, key))
            })
            .min_by_key(|(age, ..)| *age)?;
        let key = key.clone();
        self.take(key, at)
    }

    fn take(&mut self, key: LaneKey, at: usize) -> Option<ReadyTask> {
        if !self.lanes.contains_key(&key) {
            return None;
        }
        let first = self.change(key.clone(), |lane| lane.tasks.remove(at))?;
        Some(ReadyTask {
            id: first.id,
            order: first.order,
            demand: key.1,
            priority: key.0,
            ready_at: first.ready_at,
            last_bot: first.last_bot,
        })
    }

    /// Returns the number of lanes.
    pub(super) fn count(&self) -> usize {
        self.lanes.len()
    }

    /// Returns the number of tasks held.
    pub(super) fn len(&self) -> usize {
        self.index.tasks()
    }
}

#[cfg(test)]
mod tests;
