//! Delivery of claimed tasks to their bots, separate from the scheduler: the scheduler may have
//! stopped meanwhile, and the store's writer delivers tasks as well.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use deia_ledger::{ClaimedTask, Demand, DirectDispatch, Slot, failpoint};
use deia_model::{BotGeneration, BotName, BotRecord, LeaseToken};
use deia_supervision::Recipient;

use super::{ClaimsSettled, capacity::CapacityTable, claims::Settled};
use crate::{
    dispatch::{BotReads, Fallback},
    metrics::SchedulerMetrics,
};

/// Delivers claimed tasks, keeps those that could not be delivered, and reports to the scheduler.
/// Outlives every scheduler.
pub(crate) struct Dispatcher {
    table: CapacityTable,
    outbox: Mutex<Outbox>,
    /// Address of the scheduler; the same for all its incarnations.
    scheduler: OnceLock<Recipient<ClaimsSettled>>,
    metrics: Arc<SchedulerMetrics>,
}

/// The outbox of reports for the scheduler.
#[derive(Default)]
pub(super) struct Outbox {
    /// Claimed tasks that could not be delivered.
    pub(super) undelivered: Vec<ClaimedTask>,
    /// Completed claims.
    pub(super) settled: Vec<Settled>,
}

impl Dispatcher {
    pub(crate) fn new(metrics: Arc<SchedulerMetrics>) -> Self {
        Self {
            table: CapacityTable::default(),
            outbox: Mutex::default(),
            scheduler: OnceLock::new(),
            metrics,
        }
    }

    /// Stops beginning attempts. Claims in progress are still delivered.
    pub(crate) fn quiesce(&self) {
        self.table.quiesce();
    }

    /// Records the generation of a bot that may be given tasks. Called on the writer's thread,
    /// right after the commit that changed it and before the next one.
    pub(crate) fn bot_changed(&self, bot: &BotName, eligible: Option<BotGeneration>) {
        if self.table.bot_changed(bot, eligible) {
            self.wake();
        }
    }

    /// Returns the number of tasks that were given to a bot and are being sent to it.
    pub(crate) fn pending(&self) -> u64 {
        self.table.pending()
    }

    /// Returns the bots that have room.
    pub(super) fn table(&self) -> &CapacityTable {
        &self.table
    }

    /// Begins to serve a new scheduler. Undelivered tasks of the last one stay; the results of
    /// its claims do not matter to the new one.
    pub(super) fn begin(&self, scheduler: Recipient<ClaimsSettled>) {
        self.table.begin();
        self.outbox().settled.clear();
        // The address is set already if the scheduler was restarted.
        let _ = self.scheduler.set(scheduler);
    }

    /// Delivers claimed tasks to their bots, in one message per bot. Undeliverable tasks are kept
    /// for the scheduler.
    pub(super) fn deliver(&self, tasks: Vec<ClaimedTask>) {
        let undelivered = self.table.deliver(tasks);
        if !undelivered.is_empty() {
            self.keep(undelivered);
            self.wake();
        }
    }

    /// Keeps claimed tasks until the scheduler gives them back.
    pub(super) fn keep(&self, tasks: Vec<ClaimedTask>) {
        self.outbox().undelivered.extend(tasks);
    }

    /// Reports the result of claims to the scheduler.
    pub(super) fn settle(&self, settled: Settled) {
        self.outbox().settled.push(settled);
        self.wake();
    }

    /// Takes the outbox.
    pub(super) fn take_outbox(&self) -> Outbox {
        std::mem::take(&mut *self.outbox())
    }

    /// Wakes the scheduler. If the message finds no room, the scheduler's own timer does.
    fn wake(&self) {
        let _ = self.scheduler.get().map(|it| it.tell(ClaimsSettled));
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BotReads for Dispatcher {
    fn begin_reading(&self) {
        self.table.begin_reading();
    }

    fn bots_read(&self, bots: &[BotRecord]) {
        if self.table.bots_read(bots) {
            self.wake();
        }
    }

    fn fallbacks(&self, now: Vec<Fallback>) {
        if self.table.set_fallbacks(now) {
            self.wake();
        }
    }
}

impl DirectDispatch for Dispatcher {
    fn take(&self, demand: &Demand) -> Option<Slot> {
        let (bot, incarnation) = self.table.take_directly(demand)?;
        Some(Slot {
            expires_after: self.table.lease_of(&bot),
            stands_in_for: self.table.stands_in_for(&bot, demand),
            bot,
            incarnation,
            lease: LeaseToken::new(),
        })
    }

    fn withholds(&self, bot: &BotName) -> bool {
        self.table.withholds(bot)
    }

    fn claimed(&self, tasks: Vec<ClaimedTask>) {
        failpoint::hit("after_claim_before_run");
        self.metrics.assigned.add(tasks.len() as u64);
        self.deliver(tasks);
    }

    fn release(&self, slots: Vec<Slot>) {
        let slots = slots.into_iter().map(|slot| (slot.bot, slot.incarnation));
        self.table.release(slots);
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use actix::{Actor, Handler};
    use deia_model::Task;
    use deia_supervision::{Context, StartError, child};

    use super::*;
    use crate::dispatch::{BotAvailable, Capacity, Dispatch, Presence};

    /// A bot that is declared and not started: its mailbox keeps accepted messages.
    struct Bot;

    impl Actor for Bot {
        type Context = Context<Self>;
    }

    impl Handler<Dispatch> for Bot {
        type Result = ();

        fn handle(&mut self, _: Dispatch, _: &mut Self::Context) {}
    }

    fn available(slots: u32, deliver_to: Recipient<Dispatch>) -> BotAvailable {
        let presence = Presence {
            bot: "b".parse().unwrap(),
            incarnation: 3,
            generation: GENERATION,
            capacity: Capacity {
                task_types: Vec::new(),
                slots,
                lease: None,
            },
            received: 0,
            ended: 0,
        };
        BotAvailable {
            presence,
            deliver_to,
        }
    }

    const GENERATION: BotGeneration = BotGeneration {
        version: 1,
        launched_at: None,
    };

    fn demand() -> Demand {
        Demand::of_type("a".parse().unwrap())
    }

    /// Takes a slot for a task, as the store does, and delivers the task as if claimed.
    fn dispatch(dispatcher: &Dispatcher) -> Slot {
        let slot = dispatcher.take(&demand()).unwrap();
        let claimed = ClaimedTask {
            task: Task::sample(),
            bot: slot.bot.clone(),
            incarnation: slot.incarnation,
            lease: slot.lease,
        };
        dispatcher.claimed(vec![claimed]);
        slot
    }

    #[test]
    fn task_that_a_bot_cannot_be_handed_is_kept_and_the_bot_is_given_no_more() {
        let (spec, handle) = child("b", || async { Ok::<_, StartError>(Bot) });
        let _spec = spec.mailbox(1);
        let dispatcher = Dispatcher::new(Arc::default());
        dispatcher.bot_changed(&"b".parse().unwrap(), Some(GENERATION));
        dispatcher.table().polled();
        assert!(
            dispatcher
                .table()
                .available(available(3, handle.recipient()))
        );

        dispatch(&dispatcher);
        assert_eq!((handle.depth(), dispatcher.pending()), (1, 0));
        assert!(dispatcher.take_outbox().undelivered.is_empty());

        let second = dispatch(&dispatcher);
        let undelivered = dispatcher.take_outbox().undelivered;
        assert_eq!(
            undelivered.iter().map(|it| it.lease).collect::<Vec<_>>(),
            [second.lease]
        );
        assert_eq!(dispatcher.pending(), 0, "its slot is free again");
        assert_eq!(dispatcher.take(&demand()), None);

        // The next heartbeat makes the bot available again.
        assert!(
            dispatcher
                .table()
                .available(available(3, handle.recipient()))
        );
        assert!(dispatcher.take(&demand()).is_some());
    }

    #[test]
    fn slots_of_a_transaction_that_came_to_nothing_are_free_again() {
        let (_spec, handle) = child("b", || async { Ok::<_, StartError>(Bot) });
        let dispatcher = Dispatcher::new(Arc::default());
        dispatcher.bot_changed(&"b".parse().unwrap(), Some(GENERATION));
        dispatcher.table().polled();
        dispatcher
            .table()
            .available(available(1, handle.recipient()));
        let slot = dispatcher.take(&demand()).unwrap();
        assert_eq!(dispatcher.take(&demand()), None);
        dispatcher.release(vec![slot]);
        assert_eq!(dispatcher.pending(), 0);
        assert!(dispatcher.take(&demand()).is_some());
    }
}
