//! Which bot gets which task: a function of what waits and who has room.

use super::{lanes::Lanes, roster::Roster};
use crate::{
    ledger::ReadyTask,
    model::{BotName, Priority},
};

/// A task that a bot shall have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) task: ReadyTask,
    pub(super) bot: BotName,
    pub(super) epoch: u64,
}

/// Assigns up to `max` tasks: the more urgent first, then the older, each to
/// the least loaded bot that takes its type. What is assigned is taken out of
/// the lanes, and a place at its bot is taken.
pub(super) fn assign(lanes: &mut Lanes, roster: &mut Roster, max: usize) -> Vec<Assignment> {
    let mut assigned = Vec::new();
    for priority in Priority::ALL {
        while assigned.len() < max && roster.has_room() {
            let Some(task) = lanes.pop(priority, |task_type| roster.takes(task_type)) else {
                break;
            };
            match roster.seat(&task.task_type) {
                Some((bot, epoch)) => assigned.push(Assignment { task, bot, epoch }),
                None => {
                    lanes.push(task);
                    break;
                }
            }
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Capabilities, TaskId};

    fn capabilities(types: &[&str], max: u32) -> Capabilities {
        Capabilities {
            specializations: types.iter().map(|t| t.parse().unwrap()).collect(),
            max_concurrent_tasks: max,
            ..Capabilities::default()
        }
    }

    fn task(order: i64, task_type: &str, priority: Priority) -> ReadyTask {
        ReadyTask {
            id: TaskId::new(),
            order,
            task_type: task_type.parse().unwrap(),
            priority,
        }
    }

    #[test]
    fn urgent_before_old_and_a_type_nobody_takes_blocks_no_other() {
        let mut lanes = Lanes::new(16);
        lanes.push(task(1, "nobody", Priority::P0));
        lanes.push(task(2, "a", Priority::P2));
        lanes.push(task(3, "a", Priority::P1));
        lanes.push(task(4, "b", Priority::P1));
        let mut roster = Roster::default();
        roster.open("bot".parse().unwrap(), 7, capabilities(&["a", "b"], 10), 0);
        let assigned = assign(&mut lanes, &mut roster, 10);
        assert_eq!(
            assigned.iter().map(|a| a.task.order).collect::<Vec<_>>(),
            [3, 4, 2]
        );
        assert!(assigned.iter().all(|a| a.epoch == 7));
        assert_eq!(lanes.len(), 1);
    }

    #[test]
    fn no_more_than_asked_for() {
        let mut lanes = Lanes::new(16);
        (0..10).for_each(|i| lanes.push(task(i, "a", Priority::P2)));
        let mut roster = Roster::default();
        roster.open("bot".parse().unwrap(), 1, capabilities(&[], 10), 0);
        assert_eq!(assign(&mut lanes, &mut roster, 4).len(), 4);
        assert_eq!(lanes.len(), 6);
    }

    proptest! {
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
                roster.open(format!("bot-{i}").parse().unwrap(), 1, capabilities(&special, *max), 0);
            }
            let assigned = assign(&mut lanes, &mut roster, 1_000);
            prop_assert_eq!(assigned.len() + lanes.len(), tasks.len());
            for (i, (special, max)) in bots.iter().enumerate() {
                let name = format!("bot-{i}");
                let of_bot: Vec<_> = assigned.iter().filter(|a| a.bot.as_str() == name).collect();
                prop_assert!(of_bot.len() <= *max as usize);
                let takes_all = *special == 0 || *special == 3;
                prop_assert!(takes_all || of_bot.iter().all(|a| types[..*special].contains(&a.task.task_type.as_str())));
            }
            // Work is left only when nobody who takes it has room.
            for t in types {
                let left = lanes.pop(Priority::P0, |x| x.as_str() == t).is_some();
                prop_assert!(!left || !roster.takes(&t.parse().unwrap()));
            }
        }
    }
}
