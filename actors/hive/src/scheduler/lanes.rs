//! The ready tasks that are held in memory: one lane per demand and priority, each a window on
//! the front of the tasks in the store.

use std::collections::{BTreeMap, HashSet, VecDeque};

use deia_ledger::{Demand, ReadyLane, ReadyQuery, ReadyTask};
use deia_model::{Priority, TaskId};

/// All lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    window: usize,
    lanes: BTreeMap<(Priority, Demand), Lane>,
}

#[derive(Debug)]
struct Lane {
    /// Tasks in order of submission, without repetition.
    tasks: VecDeque<Entry>,
    /// Lower bound of the time at which a task of the lane became ready, in milliseconds since
    /// the epoch.
    ready_since: i64,
    /// True if the store may hold more behind these.
    more: bool,
    refilling: bool,
    /// True if a task was left to the store while the lane was being read: the read may be older
    /// than that task.
    rescan: bool,
    /// Number of consecutive checks that found more tasks in the store than here, although none
    /// was known to wait there.
    short_looks: u32,
    /// Number of checks since the lane was last read from its beginning.
    looks: u32,
    /// True if the lane must be read from the store even though it is well filled.
    overdue: bool,
}

/// Number of consecutive checks after which additional tasks in the store count as missed.
const SHORT_LOOKS_MAX: u32 = 2;
/// Number of checks after which a lane with a part in the store is read from its beginning: a
/// task that was missed before its end would otherwise wait until the lane is empty.
const LOOKS_MAX: u32 = 60;

/// A ready task in its lane.
#[derive(Clone, Copy, Debug)]
struct Entry {
    order: i64,
    id: TaskId,
    ready_at: i64,
}

impl Lanes {
    /// Creates lanes that hold at most that many tasks each.
    pub(super) fn new(window: usize) -> Self {
        Self {
            window,
            lanes: BTreeMap::new(),
        }
    }

    /// Adds a task that became ready. A task behind a full window is left to the store.
    pub(super) fn push(&mut self, task: ReadyTask) {
        let entry = Entry::of(&task);
        let lane = self.lanes.entry((task.priority, task.demand)).or_default();
        let behind = lane.tasks.back().is_none_or(|last| task.order > last.order);
        if behind && (lane.more || lane.tasks.len() >= self.window) {
            lane.more = true;
            lane.rescan |= lane.refilling;
            return;
        }
        lane.insert(entry);
        if lane.tasks.len() > self.window {
            lane.tasks.pop_back();
            lane.more = true;
        }
    }

    /// Applies the number of ready tasks that the store has in a lane. At most `claiming` of them
    /// are not held here because they are being claimed.
    pub(super) fn discover(&mut self, found: ReadyLane, claiming: u64) {
        let key = (found.priority, found.demand);
        let lane = self.lanes.entry(key).or_default();
        if lane.tasks.is_empty() {
            lane.more = true;
            return;
        }
        let held = lane.tasks.len() as u64 + claiming;
        let short = !lane.more && !lane.refilling && found.tasks > held;
        lane.short_looks = if short { lane.short_looks + 1 } else { 0 };
        lane.looks += 1;
        if lane.short_looks >= SHORT_LOOKS_MAX || (lane.more && lane.looks >= LOOKS_MAX) {
            lane.more = true;
            lane.rescan = true;
            lane.overdue = true;
        }
    }

    /// Returns the queries to read from the store now.
    pub(super) fn refills(&mut self) -> Vec<ReadyQuery> {
        let low = self.window / 4;
        let limit = u32::try_from(self.window).unwrap_or(u32::MAX);
        self.lanes
            .iter_mut()
            .filter(|(_, lane)| {
                lane.more && !lane.refilling && (lane.overdue || lane.tasks.len() <= low)
            })
            .map(|((priority, demand), lane)| {
                lane.refilling = true;
                lane.overdue = false;
                let last = lane.tasks.back().map(|last| last.order);
                let after = last.filter(|_| !std::mem::take(&mut lane.rescan));
                let after = after.unwrap_or(i64::MIN);
                if after == i64::MIN {
                    (lane.looks, lane.short_looks) = (0, 0);
                }
                ReadyQuery {
                    demand: demand.clone(),
                    priority: *priority,
                    after,
                    limit,
                }
            })
            .collect()
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
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
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
    }

    /// Removes the oldest task of that priority whose demand is `wanted`.
    pub(super) fn pop(
        &mut self,
        priority: Priority,
        mut wanted: impl FnMut(&Demand) -> bool,
    ) -> Option<ReadyTask> {
        let range = (priority, Demand::least())..;
        let (_, key) = self
            .lanes
            .range(range)
            .take_while(|((p, _), _)| *p == priority)
            .filter(|((_, demand), lane)| !lane.tasks.is_empty() && wanted(demand))
            .filter_map(|(key, lane)| lane.tasks.front().map(|first| (first.order, key)))
            .min_by_key(|(order, _)| *order)?;
        let key = key.clone();
        self.take(key, 0)
    }

    /// Returns the demands of waiting tasks, here or in the store.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Demand> {
        let waits = |lane: &Lane| !lane.tasks.is_empty() || lane.more || lane.refilling;
        let lanes = self.lanes.iter();
        lanes
            .filter(move |(_, lane)| waits(lane))
            .map(|((_, demand), _)| demand)
    }

    /// Returns true if a task here has been ready since before then.
    pub(super) fn has_aged(&mut self, before: i64) -> bool {
        self.lanes
            .values_mut()
            .any(|lane| lane.longest_ready(before).is_some())
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

    fn take(&mut self, key: (Priority, Demand), at: usize) -> Option<ReadyTask> {
        let lane = self.lanes.get_mut(&key)?;
        let first = lane.tasks.remove(at)?;
        if lane.tasks.is_empty() && !lane.more && !lane.refilling {
            self.lanes.remove(&key);
        }
        Some(ReadyTask {
            id: first.id,
            order: first.order,
            demand: key.1,
            priority: key.0,
            ready_at: first.ready_at,
        })
    }

    /// Returns the number of lanes.
    pub(super) fn count(&self) -> usize {
        self.lanes.len()
    }

    /// Returns the number of tasks held.
    pub(super) fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.tasks.len()).sum()
    }
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            tasks: VecDeque::new(),
            ready_since: i64::MAX,
            more: false,
            refilling: false,
            rescan: false,
            short_looks: 0,
            looks: 0,
            overdue: false,
        }
    }
}

impl Lane {
    /// Returns the position of the task that has been ready longest, if that is since before
    /// then. Scans the lane only if there may be such a task.
    fn longest_ready(&mut self, before: i64) -> Option<usize> {
        if self.ready_since > before {
            return None;
        }
        let all = self.tasks.iter().enumerate();
        let longest = all.min_by_key(|(_, entry)| (entry.ready_at, entry.order));
        let found = longest.map(|(at, entry)| (at, entry.ready_at));
        self.ready_since = found.map_or(i64::MAX, |(_, ready_at)| ready_at);
        found
            .filter(|(_, ready_at)| *ready_at <= before)
            .map(|(at, _)| at)
    }

    fn insert(&mut self, entry: Entry) {
        self.ready_since = self.ready_since.min(entry.ready_at);
        if self
            .tasks
            .back()
            .is_none_or(|last| entry.order > last.order)
        {
            self.tasks.push_back(entry);
        } else if let Err(at) = self
            .tasks
            .binary_search_by_key(&entry.order, |entry| entry.order)
        {
            self.tasks.insert(at, entry);
        }
    }
}

impl Entry {
    fn of(task: &ReadyTask) -> Self {
        Self {
            order: task.order,
            id: task.id,
            ready_at: task.ready_at,
        }
    }
}

#[cfg(test)]
mod tests;
