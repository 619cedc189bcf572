//! Decision which bot gets which task: a function of the waiting tasks and the free bots.

use deia_ledger::{Demand, ReadyTask};
use deia_model::{BotName, Priority};

use super::{
    lanes::{Lanes, Search},
    roster::Roster,
};

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
/// A task that comes back from a bot goes to another one while another has a free slot: a
/// bot that cannot carry out the task, or anything at all, is not tried again and again
/// beside one that can.
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
        // Room mostly shrinks meanwhile: a demand that is not wanted now is not wanted later.
        let mut from = i64::MIN;
        while assigned.len() < max && roster.has_room() {
            let wanted = |demand: &Demand| roster.takes(demand) && !held(demand);
            let search = Search {
                priority,
                from,
                types: roster.open_types(),
            };
            let Some(task) = lanes.pop(search, wanted) else {
                break;
            };
            from = task.order;
            let Some((bot, incarnation)) = roster.take_slot(&task.demand, task.last_bot.as_ref())
            else {
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
            let in_turn = aged_turn && task.ready_at <= ageing.before;
            let taken = bot.clone();
            let slot = elsewhere(roster, &task, (bot, incarnation), in_turn);
            if slot.0 != taken {
                // The first bot has room again.
                from = i64::MIN;
            }
            assigned.push(Assignment {
                task,
                bot: slot.0,
                incarnation: slot.1,
            });
        }
    }
    assigned
}

/// Records that a task gets the taken slot, or one of another bot if it comes from this bot. The
/// bot whose turn for an aged task it was then keeps its turn.
fn elsewhere(
    roster: &mut Roster,
    task: &ReadyTask,
    (bot, incarnation): (BotName, u64),
    in_turn: bool,
) -> (BotName, u64) {
    let comes_from = task.last_bot.as_ref() == Some(&bot);
    if comes_from
        && roster.another_takes(&bot, &task.demand)
        && let Some(other) = roster.take_slot(&task.demand, Some(&bot))
    {
        roster.free_slots(&bot, incarnation, 1);
        roster.given(&other.0, false);
        return other;
    }
    roster.given(&bot, in_turn);
    (bot, incarnation)
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
            lease: None,
        }
    }

    fn task(order: i64, task_type: &str, priority: Priority) -> ReadyTask {
        ReadyTask {
            id: TaskId::new(),
            order,
            demand: Demand::of_type(task_type.parse().unwrap()),
            priority,
            ready_at: order,
            last_bot: None,
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
    fn task_of_a_session_goes_to_its_bot_and_blocks_no_other() {
        let own = |order, bot: &str| {
            let mut task = task(order, "a", Priority::P0);
            task.demand.bot = Some(bot.parse().unwrap());
            task
        };
        // The bots and their slots, the tasks, and the bots that these get.
        for (case, bots, tasks, expected) in [
            (
                "its bot is loaded more than the other",
                &[("x", 5), ("y", 9)][..],
                vec![own(1, "x"), own(2, "x")],
                &[(1, "x"), (2, "x")][..],
            ),
            (
                "its bot is full",
                &[("x", 1), ("y", 2)],
                vec![own(1, "x"), own(2, "x"), task(3, "a", Priority::P3)],
                &[(1, "x"), (3, "y")],
            ),
            (
                "its bot is not there",
                &[("y", 2)],
                vec![own(1, "x"), task(2, "a", Priority::P2)],
                &[(2, "y")],
            ),
            (
                "its bot does not take the type",
                &[("special", 2), ("y", 1)],
                vec![own(1, "special"), task(2, "a", Priority::P2)],
                &[(2, "y")],
            ),
        ] {
            let mut lanes = Lanes::new(16);
            tasks.into_iter().for_each(|task| lanes.push(task));
            let mut roster = Roster::default();
            for (bot, slots) in bots {
                let types: &[&str] = if *bot == "special" { &["z"] } else { &[] };
                open(&mut roster, presence(bot, 1, capacity(types, *slots)));
            }
            let assigned = assign_all(&mut lanes, &mut roster, 10);
            let got: Vec<_> = assigned
                .iter()
                .map(|it| (it.task.order, it.bot.as_str()))
                .collect();
            assert_eq!(got, expected, "{case}");
        }
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
    fn a_task_that_comes_back_goes_to_another_bot_with_room() {
        let any: &[&str] = &[];
        for (case, bots, last, expected) in [
            (
                "first attempt",
                vec![("bad", any, 4), ("good", any, 2)],
                None,
                "bad",
            ),
            (
                "another is there",
                vec![("bad", any, 4), ("good", any, 2)],
                Some("bad"),
                "good",
            ),
            (
                "the other takes only its type",
                vec![("bad", any, 4), ("good", &["a"], 2)],
                Some("bad"),
                "good",
            ),
            (
                "the other does not take it",
                vec![("bad", any, 4), ("good", &["b"], 2)],
                Some("bad"),
                "bad",
            ),
            ("no other", vec![("bad", any, 4)], Some("bad"), "bad"),
            (
                "no other has room",
                vec![("bad", any, 4), ("good", any, 0)],
                Some("bad"),
                "bad",
            ),
            (
                "its bot has no room",
                vec![("bad", any, 0), ("good", any, 2)],
                Some("bad"),
                "good",
            ),
            (
                "its bot is gone",
                vec![("good", any, 2)],
                Some("bad"),
                "good",
            ),
        ] {
            for aged in [false, true] {
                let mut lanes = Lanes::new(16);
                lanes.push(ReadyTask {
                    last_bot: last.map(|bot| bot.parse().unwrap()),
                    ..task(1, "a", Priority::P2)
                });
                let mut roster = Roster::default();
                for (name, types, slots) in &bots {
                    open(&mut roster, presence(name, 1, capacity(types, *slots)));
                }
                let before = if aged { i64::MAX } else { i64::MIN };
                let ageing = Ageing { before, every: 1 };
                let assigned = assign(&mut lanes, &mut roster, 1, ageing, |_| false);
                assert_eq!(assigned[0].bot.as_str(), expected, "{case}, aged: {aged}");
                assert_eq!(roster.pending(), 1, "{case}, aged: {aged}");
            }
        }
    }

    #[test]
    fn an_aged_task_that_comes_back_goes_to_another_bot_too() {
        let mut lanes = Lanes::new(16);
        lanes.push(task(2, "a", Priority::P0));
        lanes.push(ReadyTask {
            last_bot: Some("bad".parse().unwrap()),
            ..task(1, "a", Priority::P3)
        });
        let mut roster = Roster::default();
        for name in ["bad", "good"] {
            open(&mut roster, presence(name, 1, capacity(&[], 1)));
        }
        let ageing = Ageing {
            before: i64::MAX,
            every: 1,
        };
        let assigned = assign(&mut lanes, &mut roster, 2, ageing, |_| false);
        let given: Vec<_> = assigned
            .iter()
            .map(|it| (it.task.order, it.bot.as_str()))
            .collect();
        assert_eq!(given, [(1, "good"), (2, "bad")]);
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
                let left = lanes.oldest(Priority::P0, |it| it.task_type.as_str() == t).is_some();
                prop_assert!(!left || !roster.takes(&Demand::of_type(t.parse().unwrap())));
            }
        }
    }
}
