//! The ready tasks that are held in memory: one lane a type and priority, each
//! a window on the front of what the store holds.

use std::collections::{BTreeMap, HashSet, VecDeque};

use crate::{
    ledger::{ReadyLane, ReadyQuery, ReadyTask},
    model::{Priority, TaskId, TaskType},
};

/// All lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    window: usize,
    lanes: BTreeMap<(Priority, TaskType), Lane>,
}

#[derive(Debug)]
struct Lane {
    /// In order of submission, without repetition.
    tasks: VecDeque<Entry>,
    /// None of them has been ready for longer than since then, in milliseconds
    /// since the epoch.
    ready_since: i64,
    /// Whether the store may hold more behind these.
    more: bool,
    refilling: bool,
    /// Whether a task was left to the store while it was being read: what was
    /// read may be older than that task.
    rescan: bool,
    /// Looks in a row that found more tasks in the store than here, though
    /// nothing was known to wait there.
    short_looks: u32,
    /// Looks since the lane was last read from its beginning.
    looks: u32,
    /// Whether it is read even though it is well filled.
    overdue: bool,
}

/// Looks in a row after which what the store has more is taken for lost news.
const SHORT_LOOKS_MAX: u32 = 2;
/// Looks after which a lane with a part in the store is read from its beginning:
/// a task that was missed before its end would otherwise wait until it is empty.
const LOOKS_MAX: u32 = 60;

/// A ready task in its lane.
#[derive(Clone, Copy, Debug)]
struct Entry {
    order: i64,
    id: TaskId,
    ready_at: i64,
}

impl Lanes {
    /// With at most that many tasks a lane.
    pub(super) fn new(window: usize) -> Self {
        Self {
            window,
            lanes: BTreeMap::new(),
        }
    }

    /// Takes in a task that became ready. One behind a full window is left to the store.
    pub(super) fn push(&mut self, task: ReadyTask) {
        let entry = Entry::of(&task);
        let lane = self
            .lanes
            .entry((task.priority, task.task_type))
            .or_default();
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

    /// Takes in how many ready tasks the store has in a lane. `claiming` of them,
    /// at most, are not held here because they are being claimed.
    pub(super) fn discover(&mut self, found: ReadyLane, claiming: u64) {
        let key = (found.priority, found.task_type);
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

    /// What is to be read from the store now.
    pub(super) fn refills(&mut self) -> Vec<ReadyQuery> {
        let low = self.window / 4;
        let limit = u32::try_from(self.window).unwrap_or(u32::MAX);
        self.lanes
            .iter_mut()
            .filter(|(_, lane)| {
                lane.more && !lane.refilling && (lane.overdue || lane.tasks.len() <= low)
            })
            .map(|((priority, task_type), lane)| {
                lane.refilling = true;
                lane.overdue = false;
                let last = lane.tasks.back().map(|last| last.order);
                let after = last.filter(|_| !std::mem::take(&mut lane.rescan));
                let after = after.unwrap_or(i64::MIN);
                if after == i64::MIN {
                    (lane.looks, lane.short_looks) = (0, 0);
                }
                ReadyQuery {
                    task_type: task_type.clone(),
                    priority: *priority,
                    after,
                    limit,
                }
            })
            .collect()
    }

    /// Takes in what was read; `None` when the read failed. Tasks that are
    /// being claimed are left out.
    pub(super) fn refilled(
        &mut self,
        query: &ReadyQuery,
        found: Option<Vec<ReadyTask>>,
        claiming: &HashSet<TaskId>,
    ) {
        let window = self.window;
        let key = (query.priority, query.task_type.clone());
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
        // Read from its beginning while it was well filled.
        lane.more |= lane.tasks.len() > 2 * window;
        lane.tasks.truncate(2 * window);
    }

    /// The oldest task of that priority whose type is `wanted`.
    pub(super) fn pop(
        &mut self,
        priority: Priority,
        mut wanted: impl FnMut(&TaskType) -> bool,
    ) -> Option<ReadyTask> {
        let range = (priority, first_type())..;
        let (_, key) = self
            .lanes
            .range(range)
            .take_while(|((p, _), _)| *p == priority)
            .filter(|((_, task_type), lane)| !lane.tasks.is_empty() && wanted(task_type))
            .filter_map(|(key, lane)| lane.tasks.front().map(|first| (first.order, key)))
            .min_by_key(|(order, _)| *order)?;
        let key = key.clone();
        self.take(key, 0)
    }

    /// The types with tasks that wait, here or in the store.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &TaskType> {
        let waits = |lane: &Lane| !lane.tasks.is_empty() || lane.more || lane.refilling;
        let lanes = self.lanes.iter();
        lanes
            .filter(move |(_, lane)| waits(lane))
            .map(|((_, task_type), _)| task_type)
    }

    /// Whether some task here has been ready since before then.
    pub(super) fn has_aged(&mut self, before: i64) -> bool {
        self.lanes
            .values_mut()
            .any(|lane| lane.longest_ready(before).is_some())
    }

    /// The task of whatever priority that has been ready longest, since before
    /// then, and whose type is `wanted`.
    pub(super) fn pop_aged(
        &mut self,
        before: i64,
        mut wanted: impl FnMut(&TaskType) -> bool,
    ) -> Option<ReadyTask> {
        let (_, at, key) = self
            .lanes
            .iter_mut()
            .filter(|((_, task_type), _)| wanted(task_type))
            .filter_map(|(key, lane)| {
                let at = lane.longest_ready(before)?;
                let entry = lane.tasks.get(at)?;
                Some(((entry.ready_at, entry.order), at, key))
            })
            .min_by_key(|(age, ..)| *age)?;
        let key = key.clone();
        self.take(key, at)
    }

    fn take(&mut self, key: (Priority, TaskType), at: usize) -> Option<ReadyTask> {
        let lane = self.lanes.get_mut(&key)?;
        let first = lane.tasks.remove(at)?;
        if lane.tasks.is_empty() && !lane.more && !lane.refilling {
            self.lanes.remove(&key);
        }
        Some(ReadyTask {
            id: first.id,
            order: first.order,
            task_type: key.1,
            priority: key.0,
            ready_at: first.ready_at,
        })
    }

    /// How many lanes there are.
    pub(super) fn count(&self) -> usize {
        self.lanes.len()
    }

    /// How many tasks are held.
    pub(super) fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.tasks.len()).sum()
    }
}

/// Not greater than any type.
fn first_type() -> TaskType {
    TaskType::least()
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
    /// Where the task is that has been ready longest, if that is since before
    /// then. Looks at all of them only when one may be.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn task(order: i64) -> ReadyTask {
        ReadyTask {
            id: TaskId::new(),
            order,
            task_type: "a".parse().unwrap(),
            priority: Priority::P2,
            ready_at: order,
        }
    }

    fn in_store(tasks: u64) -> ReadyLane {
        ReadyLane {
            task_type: "a".parse().unwrap(),
            priority: Priority::P2,
            tasks,
        }
    }

    fn drain(lanes: &mut Lanes) -> Vec<i64> {
        std::iter::from_fn(|| lanes.pop(Priority::P2, |_| true))
            .map(|task| task.order)
            .collect()
    }

    #[test]
    fn oldest_first_whatever_the_order_of_the_news() {
        let mut lanes = Lanes::new(16);
        for order in [5, 1, 3, 3, 2, 4, 1] {
            lanes.push(task(order));
        }
        assert_eq!(drain(&mut lanes), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn the_oldest_over_all_types_that_are_wanted() {
        let mut lanes = Lanes::new(16);
        for (order, task_type, priority) in [
            (1, "b", Priority::P2),
            (2, "a", Priority::P2),
            (3, "c", Priority::P0),
            (4, "a", Priority::P3),
        ] {
            lanes.push(ReadyTask {
                task_type: task_type.parse().unwrap(),
                priority,
                ..task(order)
            });
        }
        assert_eq!(
            lanes
                .pop(Priority::P2, |t| t.as_str() == "a")
                .unwrap()
                .order,
            2
        );
        assert_eq!(lanes.pop(Priority::P2, |_| true).unwrap().order, 1);
        assert!(lanes.pop(Priority::P2, |_| true).is_none());
        assert_eq!(
            lanes
                .pop(Priority::P0, |_| true)
                .unwrap()
                .task_type
                .as_str(),
            "c"
        );
    }

    #[test]
    fn the_longest_ready_is_found_behind_others() {
        let mut lanes = Lanes::new(16);
        for (order, ready_at) in [(1, 90), (2, 80), (3, 10), (4, 20)] {
            lanes.push(ReadyTask {
                ready_at,
                ..task(order)
            });
        }
        assert!(!lanes.has_aged(9));
        assert!(lanes.pop_aged(50, |t| t.as_str() == "b").is_none());
        for expected in [3, 4] {
            assert!(lanes.has_aged(50));
            assert_eq!(lanes.pop_aged(50, |_| true).unwrap().order, expected);
        }
        assert!(!lanes.has_aged(50) && lanes.pop_aged(50, |_| true).is_none());
        assert_eq!(drain(&mut lanes), [1, 2]);
    }

    #[test]
    fn a_full_window_leaves_the_rest_to_the_store() {
        let mut lanes = Lanes::new(16);
        for order in 0..100 {
            lanes.push(task(order));
        }
        assert_eq!(lanes.len(), 16);
        assert!(lanes.refills().is_empty(), "not while it is well filled");
        for _ in 0..12 {
            lanes.pop(Priority::P2, |_| true);
        }
        let queries = lanes.refills();
        assert_eq!(
            (queries.len(), queries[0].after, queries[0].limit),
            (1, 15, 16)
        );
        assert!(lanes.refills().is_empty(), "one refill at a time");
        lanes.refilled(
            &queries[0],
            Some((16..20).map(task).collect()),
            &HashSet::new(),
        );
        assert_eq!(drain(&mut lanes), (12..20).collect::<Vec<_>>());
        assert!(lanes.refills().is_empty(), "the store had no more");
    }

    #[test]
    fn what_is_being_claimed_does_not_come_back() {
        let mut lanes = Lanes::new(16);
        lanes.discover(in_store(1), 0);
        let query = lanes.refills().remove(0);
        let (one, two) = (task(1), task(2));
        lanes.refilled(&query, Some(vec![one.clone(), two]), &[one.id].into());
        assert_eq!(drain(&mut lanes), [2]);
    }

    #[test]
    fn what_comes_while_the_store_is_read_is_not_forgotten() {
        let mut lanes = Lanes::new(16);
        lanes.discover(in_store(1), 0);
        let query = lanes.refills().remove(0);
        // The read began before this task was there.
        lanes.push(task(7));
        lanes.refilled(&query, Some(vec![task(1)]), &HashSet::new());
        let again = lanes.refills();
        assert_eq!((again.len(), again[0].after), (1, i64::MIN));
        lanes.refilled(&again[0], Some(vec![task(1), task(7)]), &HashSet::new());
        assert_eq!(drain(&mut lanes), [1, 7]);
        assert!(lanes.refills().is_empty());
    }

    #[test]
    fn a_lane_that_never_empties_is_read_anew_when_the_store_has_more() {
        let mut lanes = Lanes::new(16);
        (10..20).for_each(|order| lanes.push(task(order)));
        // The news of task 5 were lost. One being claimed is not missing.
        lanes.discover(in_store(11), 1);
        lanes.discover(in_store(11), 1);
        assert!(lanes.refills().is_empty());
        lanes.discover(in_store(11), 0);
        lanes.discover(in_store(10), 0);
        lanes.discover(in_store(11), 0);
        assert!(lanes.refills().is_empty(), "not twice in a row");
        lanes.discover(in_store(11), 0);
        let queries = lanes.refills();
        assert_eq!((queries.len(), queries[0].after), (1, i64::MIN));
        let found = std::iter::once(5).chain(10..20).map(task).collect();
        lanes.refilled(&queries[0], Some(found), &HashSet::new());
        assert_eq!(lanes.pop(Priority::P2, |_| true).unwrap().order, 5);
        assert!(lanes.refills().is_empty());
    }

    #[test]
    fn a_lane_with_a_part_in_the_store_is_read_anew_from_time_to_time() {
        let mut lanes = Lanes::new(16);
        (10..40).for_each(|order| lanes.push(task(order)));
        for _ in 1..LOOKS_MAX {
            lanes.discover(in_store(31), 0);
        }
        assert!(lanes.refills().is_empty());
        lanes.discover(in_store(31), 0);
        let queries = lanes.refills();
        assert_eq!((queries.len(), queries[0].after), (1, i64::MIN));
        let found = std::iter::once(5).chain(10..25).map(task).collect();
        lanes.refilled(&queries[0], Some(found), &HashSet::new());
        assert_eq!(lanes.pop(Priority::P2, |_| true).unwrap().order, 5);
        lanes.discover(in_store(30), 0);
        assert!(lanes.refills().is_empty(), "it begins anew");
    }

    #[test]
    fn a_failed_refill_is_tried_again() {
        let mut lanes = Lanes::new(16);
        lanes.discover(in_store(1), 0);
        let query = lanes.refills().remove(0);
        lanes.refilled(&query, None, &HashSet::new());
        assert_eq!(lanes.refills(), [query]);
    }

    proptest! {
        #[test]
        fn every_task_comes_out_once_and_in_order(orders in proptest::collection::vec(0..1_000i64, 0..300), window in 16..64usize) {
            let mut lanes = Lanes::new(window);
            let store: std::collections::BTreeMap<i64, ReadyTask> = orders.iter().map(|o| (*o, task(*o))).collect();
            for order in &orders {
                lanes.push(store[order].clone());
            }
            let mut out = Vec::new();
            loop {
                while let Some(task) = lanes.pop(Priority::P2, |_| true) {
                    out.push(task.order);
                }
                let Some(query) = lanes.refills().pop() else { break };
                let seen: HashSet<i64> = out.iter().copied().collect();
                let found = store.range(query.after.max(-1)..).filter(|(o, _)| **o > query.after && !seen.contains(o));
                let found = found.take(query.limit as usize).map(|(_, t)| t.clone()).collect();
                lanes.refilled(&query, Some(found), &HashSet::new());
            }
            out.sort_unstable();
            prop_assert_eq!(out, store.keys().copied().collect::<Vec<_>>());
        }
    }
}
