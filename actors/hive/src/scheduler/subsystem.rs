//! The scheduler as a subsystem.

use std::sync::Arc;

use deia_ledger::CommitNotice;
use deia_supervision::{Handle, StartError, child};

use super::{Dispatcher, PausesChanged, Scheduler, TasksWaiting};
use crate::{
    dispatch::{BotReads, CapacityReports},
    metrics::{Exposition, SchedulerMetrics},
    subsystem::{Deps, Subsystem, TreeBuilder},
};

/// The subsystem that gives ready tasks to executors with capacity.
pub(crate) struct Scheduling {
    scheduler: Handle<Scheduler>,
    dispatcher: Arc<Dispatcher>,
    counters: Arc<SchedulerMetrics>,
}

impl Scheduling {
    pub(crate) fn declare(deps: &Deps, tree: &mut TreeBuilder) -> Self {
        let counters = Arc::<SchedulerMetrics>::default();
        let dispatcher = Arc::new(Dispatcher::new(counters.clone()));
        deps.ledger.dispatch_to(dispatcher.clone());
        let (ledger, settings) = (deps.ledger.clone(), deps.settings.clone());
        let (metrics, delivers) = (counters.clone(), dispatcher.clone());
        let (spec, scheduler) = child("scheduler", move || {
            let built = Scheduler::new(
                ledger.clone(),
                settings.clone(),
                delivers.clone(),
                metrics.clone(),
            );
            async move { Ok::<_, StartError>(built) }
        });
        tree.core(spec);
        Self {
            scheduler,
            dispatcher,
            counters,
        }
    }

    /// Returns the addresses to which executors report their capacity.
    pub(crate) fn capacity_reports(&self) -> CapacityReports {
        CapacityReports::to(&self.scheduler)
    }

    /// Returns the observer of every read of all bots.
    pub(crate) fn bot_reads(&self) -> Arc<dyn BotReads> {
        self.dispatcher.clone()
    }

    /// Returns the part that delivers claimed tasks.
    pub(crate) fn dispatcher(&self) -> &Arc<Dispatcher> {
        &self.dispatcher
    }

    #[cfg(test)]
    pub(crate) fn counters(&self) -> &SchedulerMetrics {
        &self.counters
    }
}

impl Subsystem for Scheduling {
    fn on_commit(&self, notices: &[CommitNotice]) {
        let mut waiting = TasksWaiting {
            ready: Vec::new(),
            due: None,
        };
        for notice in notices {
            match notice {
                CommitNotice::Ready(task) => waiting.ready.push(task.clone()),
                CommitNotice::Due(at) => {
                    waiting.due = Some(waiting.due.map_or(*at, |due| due.min(*at)));
                }
                CommitNotice::PausesChanged => drop(self.scheduler.tell(PausesChanged)),
                // This happens before the next commit, which must not give the bot a task.
                CommitNotice::BotChanged { bot, eligible } => {
                    self.dispatcher.bot_changed(bot, *eligible)
                }
                _ => {}
            }
        }
        // A message that finds no room is harmless: the scheduler checks the store periodically.
        if !waiting.ready.is_empty() || waiting.due.is_some() {
            let _ = self.scheduler.tell(waiting);
        }
    }

    fn metrics(&self, out: &mut Exposition) {
        self.counters.write(out);
    }
}
