//! Decision which bot gets which task: a function of the waiting tasks and the free bots.

use deia_ledger::{Demand, ReadyTask};
use deia_model::{BotName, Priority};

use super::{lanes::Lanes, roster::Roster};

/// A task that is assigned to a bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) task: ReadyTask,
    pub(super) bot: BotName,
    pub(super) incarnation: u64,
}

/// Age from which on a task's priority no longer holds it back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ageing {
    /// Time before which such a task became ready, in milliseconds since the epoch.
    pub(super) before: i64,
    /// Number of tasks given to a bot of which one is the oldest of these.
    pub(super) every: u32,
}

/// Assigns up to `max` tasks: the more urgent first, then the older, each to
/// the least loaded bot that meets its demand. Demands that are `held` are left.
///
/// No priority starves: of [`Ageing::every`] tasks that a bot is given, one is
/// the aged task that has been ready longest among those that it takes and that
/// are in the lanes. So an aged task with `n` before it, that are older or of its
/// lane, starts at the latest when a bot that takes its type has been given
/// `every * (n + 1)` tasks.
///
/// Removes assigned tasks from the lanes, and takes a slot at their bots.
pub(super) fn assign(
    lanes: &mut Lanes,
    roster: &mut Roster,
    max: usize,
    ageing: Ageing,
    held: impl Fn(&Demand) -> bool,
) -> Vec<Assignment> {
    let mut assigned = Vec::new();
    let some_aged = lanes.has_aged(ageing.before);
    for priority in Priority::ALL {
        while assigned.len() < max && roster.has_room() {
            let wanted = |demand: &Demand| roster.takes(demand) && !held(demand);
            let Some(task) = lanes.pop(priority, wanted) else {
                break;
            };
            let Some((bot, incarnation)) = roster.take_slot(&task.demand) else {
                lanes.push(task);
                break;
            };
            let aged_turn = some_aged && roster.is_aged_turn(&bot, ageing.every);
            let aged = match aged_turn {
                true => lanes.pop_aged(ageing.before, |demand| {
                    roster.bot_takes(&bot, demand) && !held(demand)
                }),
                false => None,
            };
            // The current task may itself be the oldest.
            let (task, left) = match aged {
                Some(aged) if aged.ready_at < task.ready_at => (aged, Some(task)),
                other => (task, other),
            };
            if let Some(left) = left {
                lanes.push(left);
            }
            roster.given(&bot, aged_turn && task.ready_at <= ageing.before);
            assigned.push(Assignment {
                task,
                bot,
                incarnation,
            });
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use deia_model::{BotGeneration, TaskId};
    use proptest::prelude::*;

    use super::*;
    use crate::dispatch::{Capacity, Presence};

    fn presence(bot: &str, incarnation: u64, capacity: Capacity) -> Presence {
        Presence {
            bot: bot.parse().unwrap(),
            incarnation,
            generation: GENERATION,
            capacity,
            received: 0,
            ended: 0,
        }
    }

    const GENERATION: BotGeneration = BotGeneration {
        version: 1,
        launched_at: None,
    };

    /// Lists a bot that may be given tasks.
    fn open(roster: &mut Roster, presence: Presence) {
        roster.set_eligible(&presence.bot, Some(GENERATION));
        roster.open(presence);
    }

    fn capacity(types: &[&str], slots: u32) -> Capacity {
        Capacity {
            task_types: types.iter().map(|t| t.parse().unwrap()).collect(),
            slots,
        }
    }

    fn task(order: i64, task_type: &str, priority: Priority) -> ReadyTask {
        ReadyTask {
            id: TaskId::new(),
            order,
            demand: Demand::of_type(task_type.parse().unwrap()),
            priority,
            ready_at: order,
        }
    }

    /// Ageing under which no task is old.
    const YOUNG: Ageing = Ageing {
        before: i64::MIN,
        every: 8,
    };

    fn assign_all(lanes: &mut Lanes, roster: &mut Roster, max: usize) -> Vec<Assignment> {
        assign(lanes, roster, max, YOUNG, |_| false)
    }

    #[test]
    fn urgent_before_old_and_a_type_nobody_takes_blocks_no_other() {
        let mut lanes = Lanes::new(16);
        lanes.push(task(1, "nobody", Priority::P0));
        lanes.push(task(2, "a", Priority::P2));
        lanes.push(task(3, "a", Priority::P1));
        lanes.push(task(4, "b", Priority::P1));
        let mut roster = Roster::default();
        open(&mut roster, presence("bot", 7, capacity(&["a", "b"], 10)));
        let assigned = assign_all(&mut lanes, &mut roster, 10);
        assert_eq!(
            assigned.iter().map(|a| a.task.order).collect::<Vec<_>>(),
            [3, 4, 2]
        );
        assert!(assigned.iter().all(|a| a.incarnation == 7));
        assert_eq!(lanes.len(), 1);
    }

    #[test]
    fn no_more_than_asked_for() {
        let mut lanes = Lanes::new(16);
        (0..10).for_each(|i| lanes.push(task(i, "a", Priority::P2)));
        let mut roster = Roster::default();
        open(&mut roster, presence("bot", 1, capacity(&[], 10)));
        assert_eq!(assign_all(&mut lanes, &mut roster, 4).len(), 4);
        assert_eq!(lanes.len(), 6);
    }

    #[test]
    fn what_is_held_is_left() {
        let mut lanes = Lanes::new(16);
        lanes.push(task(1, "a", Priority::P0));
        lanes.push(task(2, "b", Priority::P3));
        let mut roster = Roster::default();
        open(&mut roster, presence("bot", 1, capacity(&[], 10)));
        let assigned = assign(&mut lanes, &mut roster, 10, YOUNG, |it| {
            it.task_type.as_str() == "a"
        });
        assert_eq!(assigned.len(), 1);
        assert_eq!(assigned[0].task.order, 2);
    }

    /// Returns the number of tasks that a bot is given before the last of `aged` P3 tasks, while
    /// there is always a P0 task that became ready later, and may be aged itself.
    fn until_aged_are_done(aged: i64, places: u32, every: u32, before: i64) -> u32 {
        let mut lanes = Lanes::new(1_000);
        (0..aged).for_each(|order| lanes.push(task(order, "a", Priority::P3)));
        let mut roster = Roster::default();
        let bot: BotName = "bot".parse().unwrap();
        open(&mut roster, presence("bot", 1, capacity(&[], places)));
        let (mut given, mut left, mut next) = (0, aged, 1_000);
        while left > 0 {
            for _ in 0..places {
                lanes.push(task(next, "b", Priority::P0));
                next += 1;
            }
            let ageing = Ageing { before, every };
            for assignment in assign(&mut lanes, &mut roster, 1_000, ageing, |_| false) {
                if left > 0 {
                    given += 1;
                }
                left -= i64::from(assignment.task.priority == Priority::P3);
                roster.free_slots(&bot, 1, 1);
            }
            assert!(given < 100_000, "P3 starves");
        }
        given
    }

    proptest! {
        #[test]
        fn an_aged_task_starts_within_its_bound(aged in 1..20i64, places in 1..10u32, every in 2..20u32) {
            for before in [500, i64::MAX] {
                let given = until_aged_are_done(aged, places, every, before);
                prop_assert!(given <= every * u32::try_from(aged).unwrap(), "{given}");
            }
        }

        #[test]
        fn no_bot_is_overfilled_and_no_task_is_lost(
            tasks in proptest::collection::vec((0..4u8, 0..3usize), 0..100),
            bots in proptest::collection::vec((0..4usize, 1..5u32), 0..10),
        ) {
            let types = ["a", "b", "c"];
            let mut lanes = Lanes::new(1_000);
            for (i, (rank, t)) in tasks.iter().enumerate() {
                lanes.push(task(i as i64, types[*t], Priority::from_rank(*rank).unwrap()));
            }
            let mut roster = Roster::default();
            for (i, (special, max)) in bots.iter().enumerate() {
                let special: Vec<&str> = types.iter().take(*special).copied().collect();
                open(&mut roster, presence(&format!("bot-{i}"), 1, capacity(&special, *max)));
            }
            let assigned = assign_all(&mut lanes, &mut roster, 1_000);
            prop_assert_eq!(assigned.len() + lanes.len(), tasks.len());
            for (i, (special, max)) in bots.iter().enumerate() {
                let name = format!("bot-{i}");
                let of_bot: Vec<_> = assigned.iter().filter(|a| a.bot.as_str() == name).collect();
                prop_assert!(of_bot.len() <= *max as usize);
                let takes_all = *special == 0 || *special == 3;
                prop_assert!(takes_all || of_bot.iter().all(|a| types[..*special].contains(&a.task.demand.task_type.as_str())));
            }
            // Work remains only if no bot that takes it has room.
            for t in types {
                let left = lanes.pop(Priority::P0, |it| it.task_type.as_str() == t).is_some();
                prop_assert!(!left || !roster.takes(&Demand::of_type(t.parse().unwrap())));
            }
        }
    }
}
