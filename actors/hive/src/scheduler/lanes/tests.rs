use proptest::prelude::*;

use super::{lane::ABSENT_LOOKS_MAX, *};

fn demand(task_type: &str) -> Demand {
    Demand::of_type(task_type.parse().unwrap())
}

impl Lanes {
    /// Removes the oldest task of that priority whose demand is `wanted`.
    pub(in crate::scheduler) fn oldest(
        &mut self,
        priority: Priority,
        wanted: impl FnMut(&Demand) -> bool,
    ) -> Option<ReadyTask> {
        let search = Search {
            priority,
            from: i64::MIN,
            types: None::<std::slice::Iter<'_, TaskType>>,
        };
        self.pop(search, wanted)
    }

    /// Asserts that the index says what a look at all lanes does.
    fn assert_indexed(&mut self) {
        let low = self.window / 4;
        let facts = |lane: &Lane| lane.facts(low);
        let mut fronts: Vec<(Priority, i64, Demand)> = Vec::new();
        let mut lows = Vec::new();
        for ((priority, demand), lane) in &self.lanes {
            let facts = facts(lane);
            assert_ne!(facts, LaneFacts::default(), "an empty lane is forgotten");
            fronts.extend(facts.front.map(|at| (*priority, at, demand.clone())));
            lows.extend(facts.is_low.then(|| (*priority, demand.clone())));
        }
        fronts.sort();
        let indexed = Priority::ALL.into_iter().flat_map(|priority| {
            let fronts = self.index.fronts(priority, i64::MIN);
            fronts.map(move |(at, demand)| (priority, *at, demand.clone()))
        });
        assert_eq!(indexed.collect::<Vec<_>>(), fronts);
        assert_eq!(self.index.low().cloned().collect::<Vec<_>>(), lows);
        let tasks: usize = self.lanes.values().map(|lane| lane.tasks.len()).sum();
        assert_eq!(self.len(), tasks);
        let since = |lane: &Lane| lane.tasks.iter().map(|it| it.ready_at).min();
        let oldest = self.lanes.values().filter_map(since).min();
        assert!(oldest.is_none_or(|oldest| self.ready_since <= oldest));
    }

    /// Returns the demands with waiting tasks, by a look at all lanes.
    fn waiting(&self) -> HashSet<Demand> {
        let lanes = self.lanes.iter();
        let waits = lanes.filter(|(_, lane)| lane.facts(0).waits);
        waits.map(|((_, demand), _)| demand.clone()).collect()
    }
}

fn task(order: i64) -> ReadyTask {
    ReadyTask {
        id: TaskId::new(),
        order,
        demand: demand("a"),
        priority: Priority::P2,
        ready_at: order,
        last_bot: None,
    }
}

fn in_store(tasks: u64) -> ReadyLane {
    ReadyLane {
        demand: demand("a"),
        priority: Priority::P2,
        tasks,
    }
}

fn drain(lanes: &mut Lanes) -> Vec<i64> {
    std::iter::from_fn(|| lanes.oldest(Priority::P2, |_| true))
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
            demand: demand(task_type),
            priority,
            ..task(order)
        });
    }
    assert_eq!(
        lanes
            .oldest(Priority::P2, |it| it.task_type.as_str() == "a")
            .unwrap()
            .order,
        2
    );
    assert_eq!(lanes.oldest(Priority::P2, |_| true).unwrap().order, 1);
    assert!(lanes.oldest(Priority::P2, |_| true).is_none());
    assert_eq!(
        lanes
            .oldest(Priority::P0, |_| true)
            .unwrap()
            .demand
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
    assert!(
        lanes
            .pop_aged(50, |it| it.task_type.as_str() == "b")
            .is_none()
    );
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
        lanes.oldest(Priority::P2, |_| true);
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
fn tasks_being_claimed_are_not_offered_again() {
    let mut lanes = Lanes::new(16);
    lanes.discover(in_store(1), 0);
    let query = lanes.refills().remove(0);
    let (one, two) = (task(1), task(2));
    lanes.refilled(&query, Some(vec![one.clone(), two]), &[one.id].into());
    assert_eq!(drain(&mut lanes), [2]);
}

#[test]
fn tasks_that_arrive_during_a_read_are_kept() {
    let mut lanes = Lanes::new(16);
    lanes.discover(in_store(1), 0);
    let query = lanes.refills().remove(0);
    // The read began before this task existed.
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
    // The message about task 5 was lost. A task being claimed is not missing.
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
    assert_eq!(lanes.oldest(Priority::P2, |_| true).unwrap().order, 5);
    assert!(lanes.refills().is_empty());
}

#[test]
fn a_lane_with_a_part_in_the_store_is_read_anew_from_time_to_time() {
    let mut lanes = Lanes::new(16);
    (10..40).for_each(|order| lanes.push(task(order)));
    for _ in 1..lane::LOOKS_MAX {
        lanes.discover(in_store(31), 0);
    }
    assert!(lanes.refills().is_empty());
    lanes.discover(in_store(31), 0);
    let queries = lanes.refills();
    assert_eq!((queries.len(), queries[0].after), (1, i64::MIN));
    let found = std::iter::once(5).chain(10..25).map(task).collect();
    lanes.refilled(&queries[0], Some(found), &HashSet::new());
    assert_eq!(lanes.oldest(Priority::P2, |_| true).unwrap().order, 5);
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
            while let Some(task) = lanes.oldest(Priority::P2, |_| true) {
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

#[test]
fn lane_of_a_bot_without_tasks_in_the_store_is_dropped_after_some_checks() {
    let mut lanes = Lanes::new(16);
    let of = |bot: &str| Demand {
        bot: Some(bot.parse().unwrap()),
        ..demand("a")
    };
    for (order, demand) in [(1, of("gone")), (2, of("there")), (3, demand("a"))] {
        lanes.push(ReadyTask {
            demand,
            ..task(order)
        });
    }
    let there = ReadyLane {
        demand: of("there"),
        ..in_store(1)
    };
    for _ in 1..ABSENT_LOOKS_MAX {
        lanes.forget_absent(std::slice::from_ref(&there));
        assert_eq!(lanes.count(), 3, "a notice may be newer than the read");
    }
    lanes.forget_absent(&[there]);
    assert_eq!(drain(&mut lanes), [2, 3]);
}

/// Types of tasks by number.
fn types(n: usize) -> Vec<TaskType> {
    (0..n)
        .map(|i| format!("t{i:04}").parse().unwrap())
        .collect()
}

#[test]
fn the_oldest_of_the_types_that_may_be_wanted_is_found_wherever_it_waits() {
    let all = types(5);
    for (waiting, open, from, expected) in [
        (vec![(1, 0), (2, 1)], vec![0, 1], i64::MIN, Some(1)),
        (vec![(1, 0), (2, 1)], vec![1], i64::MIN, Some(2)),
        (
            vec![(1, 0), (2, 1), (3, 2), (4, 3)],
            vec![3],
            i64::MIN,
            Some(4),
        ),
        (vec![(9, 3), (2, 1), (3, 4)], vec![3, 4], i64::MIN, Some(3)),
        (vec![(1, 0), (2, 1), (3, 2)], vec![2], 3, Some(3)),
        (vec![(1, 0), (2, 1)], vec![2, 3], i64::MIN, None),
        (vec![(1, 0), (2, 1)], vec![], i64::MIN, None),
        (vec![], vec![0], i64::MIN, None),
    ] {
        let mut lanes = Lanes::new(16);
        for (order, of) in &waiting {
            let demand = Demand::of_type(TaskType::clone(&all[*of]));
            lanes.push(ReadyTask {
                demand,
                ..task(*order)
            });
        }
        let open: Vec<TaskType> = open.iter().map(|of: &usize| all[*of].clone()).collect();
        let search = Search {
            priority: Priority::P2,
            from,
            types: Some(open.iter()),
        };
        let found = lanes.pop(search, |demand| open.contains(&demand.task_type));
        let case = format!("{waiting:?} {open:?} {from}");
        assert_eq!(found.map(|task| task.order), expected, "{case}");
        lanes.assert_indexed();
    }
}

#[test]
fn looks_do_not_grow_with_the_number_of_lanes() {
    for lanes_count in [10, 100, 1_000] {
        let all = types(lanes_count);
        let mut lanes = Lanes::new(16);
        for (order, task_type) in (0..).zip(&all) {
            lanes.push(ReadyTask {
                demand: Demand::of_type(task_type.clone()),
                ..task(order)
            });
        }
        let last = [all.last().unwrap().clone()];
        let mut looks = 0;
        let search = Search {
            priority: Priority::P2,
            from: i64::MIN,
            types: Some(last.iter()),
        };
        let found = lanes.pop(search, |demand| {
            looks += 1;
            demand.task_type == last[0]
        });
        assert!(found.is_some() && looks <= 2, "{looks} of {lanes_count}");
        let mut looks = 0;
        let found = lanes.oldest(Priority::P2, |_| {
            looks += 1;
            true
        });
        assert!(found.is_some() && looks == 1, "{looks} of {lanes_count}");
    }
}

proptest! {
    #[test]
    fn the_index_follows_every_change(
        steps in proptest::collection::vec((0..6u8, 0..4usize, 0..40i64, 0..2u8), 1..120),
    ) {
        let all = types(4);
        let (mut lanes, mut known) = (Lanes::new(8), HashSet::new());
        let mut reading: Vec<ReadyQuery> = Vec::new();
        for (step, of, order, rank) in steps {
            let priority = Priority::from_rank(rank).unwrap();
            let demand = Demand::of_type(all[of].clone());
            let found = ReadyTask { demand: demand.clone(), priority, ..task(order) };
            match step {
                0 | 1 => lanes.push(found),
                2 => drop(lanes.oldest(priority, |it| *it == demand)),
                3 => lanes.discover(
                    ReadyLane { demand, priority, tasks: u64::try_from(order).unwrap() }, 0),
                4 => reading.extend(lanes.refills()),
                _ => {
                    let read = reading.pop();
                    let found = (order % 3 != 0).then(|| vec![found]);
                    if let Some(query) = read {
                        let found = found.map(|found| match found[0].demand == query.demand && found[0].priority == query.priority {
                            true => found,
                            false => Vec::new(),
                        });
                        lanes.refilled(&query, found, &HashSet::new());
                    }
                }
            }
            lanes.has_aged(order);
            lanes.assert_indexed();
            for (demand, waits) in lanes.take_changes() {
                if waits {
                    known.insert(demand);
                } else {
                    known.remove(&demand);
                }
            }
            prop_assert_eq!(&known, &lanes.waiting());
        }
    }
}
