//! The messages between the side that hands out tasks and the bots that carry them out.
//! Neither side knows the actors of the other.

use std::time::Duration;

use actix::{Actor, Handler, Message};
use deia_ledger::{ClaimedTask, Demand};
use deia_model::{BotGeneration, BotName, BotRecord, Capabilities, TaskType};
use deia_supervision::{Context, Handle, Recipient};

/// The tasks that a bot takes, and how many at a time: the counterpart of a [`Demand`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Types that the bot takes; empty for any.
    pub(crate) task_types: Vec<TaskType>,
    /// Number of tasks that the bot works on at a time.
    pub(crate) slots: u32,
    /// Time after which leases of the bot expire unless they are extended; `None`: they
    /// end with the bot.
    pub(crate) lease: Option<Duration>,
}

impl Capacity {
    /// Returns the capacity of a bot with these capabilities that uses so many slots now.
    pub(crate) fn new(capabilities: &Capabilities, slots: u32) -> Self {
        Self {
            task_types: capabilities.specializations.clone(),
            slots,
            lease: None,
        }
    }

    /// Returns true if a task with this demand can be given to the bot, as far as its
    /// capacity decides that: a capacity has no name, so the bot of a session is compared by
    /// the roster.
    pub(crate) fn meets(&self, demand: &Demand) -> bool {
        let Demand { task_type, bot: _ } = demand;
        self.task_types.is_empty() || self.task_types.contains(task_type)
    }
}

/// A bot that takes no tasks itself, and the bots that take them instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fallback {
    pub(crate) bot: BotName,
    /// Types that the bot takes; empty for any.
    pub(crate) task_types: Vec<TaskType>,
    /// Bots that take them.
    pub(crate) by: Vec<BotName>,
}

impl Fallback {
    /// Returns true if tasks of that type go to the other bots.
    pub(crate) fn covers(&self, task_type: &TaskType) -> bool {
        self.task_types.is_empty() || self.task_types.contains(task_type)
    }
}

/// A bot's report of its incarnation, capacity and tasks. The counters are absolute: a
/// report that is lost, late or repeated changes nothing.
#[derive(Clone, Debug)]
pub(crate) struct Presence {
    pub(crate) bot: BotName,
    /// Number of the bot's start.
    pub(crate) incarnation: u64,
    /// Launch and specification that the bot was started for.
    pub(crate) generation: BotGeneration,
    pub(crate) capacity: Capacity,
    /// Number of tasks that reached the bot since its incarnation began.
    pub(crate) received: u64,
    /// Number of these tasks that the bot no longer holds.
    pub(crate) ended: u64,
}

/// A bot takes tasks. Sent when it begins, and with every heartbeat: a new
/// scheduler learns of it, and a changed capacity takes effect.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct BotAvailable {
    pub(crate) presence: Presence,
    /// Address for the tasks that it is given.
    pub(crate) deliver_to: Recipient<Dispatch>,
}

/// A bot takes no tasks until its next [`BotAvailable`].
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct BotUnavailable {
    pub(crate) bot: BotName,
    pub(crate) incarnation: u64,
}

/// A bot has room again.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SlotsFreed {
    pub(crate) bot: BotName,
    pub(crate) incarnation: u64,
    /// Number of tasks that the bot no longer holds, since its incarnation began.
    pub(crate) ended: u64,
}

/// Claimed tasks for a bot to carry out.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Dispatch {
    /// Incarnation of the bot that the tasks are meant for.
    pub(crate) incarnation: u64,
    pub(crate) tasks: Vec<ClaimedTask>,
}

/// Addresses for bots' reports of their capacity.
#[derive(Clone)]
pub(crate) struct CapacityReports {
    pub(crate) available: Recipient<BotAvailable>,
    pub(crate) unavailable: Recipient<BotUnavailable>,
    pub(crate) freed: Recipient<SlotsFreed>,
}

impl CapacityReports {
    /// Returns the addresses of an actor that takes all these reports.
    pub(crate) fn to<A>(handle: &Handle<A>) -> Self
    where
        A: Actor<Context = Context<A>>,
        A: Handler<BotAvailable> + Handler<BotUnavailable> + Handler<SlotsFreed>,
    {
        Self {
            available: handle.recipient(),
            unavailable: handle.recipient(),
            freed: handle.recipient(),
        }
    }
}

/// Observer of reads of all bots, from which it learns the state left by earlier runs and the
/// content of lost notices.
pub(crate) trait BotReads: Send + Sync + 'static {
    /// Records that a read of all bots from the store begins.
    fn begin_reading(&self);

    /// Applies a read of all bots. For bots that changed since the read began the observer's
    /// state is newer.
    fn bots_read(&self, bots: &[BotRecord]);

    /// Applies the bots that take no tasks now and have fallback bots: all of them.
    fn fallbacks(&self, now: Vec<Fallback>);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_without_types_meets_every_demand_and_one_with_types_only_theirs() {
        for (types, task_type, met) in [
            (vec![], "a", true),
            (vec!["a"], "a", true),
            (vec!["a", "b"], "b", true),
            (vec!["a"], "b", false),
        ] {
            let capacity = Capacity {
                task_types: types.iter().map(|it| it.parse().unwrap()).collect(),
                slots: 1,
                lease: None,
            };
            let demand = Demand::of_type(task_type.parse().unwrap());
            assert_eq!(capacity.meets(&demand), met, "{types:?} {task_type}");
        }
    }
}
