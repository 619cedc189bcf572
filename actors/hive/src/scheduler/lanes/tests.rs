use proptest::prelude::*;

use super::*;

fn demand(task_type: &str) -> Demand {
    Demand::of_type(task_type.parse().unwrap())
}

fn task(order: i64) -> ReadyTask {
    ReadyTask {
        id: TaskId::new(),
        order,
        demand: demand("a"),
        priority: Priority::P2,
        ready_at: order,
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
            demand: demand(task_type),
            priority,
            ..task(order)
        });
    }
    assert_eq!(
        lanes
            .pop(Priority::P2, |it| it.task_type.as_str() == "a")
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
