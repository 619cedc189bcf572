//! Tasks and the queue as callers see them: submissions, states, results, outputs, and operations
//! on many tasks at once.

mod api;
mod events;
mod explain;
mod meter;
mod output_follower;
mod outputs;
mod queue;
mod spans;

use std::sync::Arc;

pub use api::TasksApi;
use deia_ledger::{BoxFuture, CommitNotice, Ledger};
use deia_model::TaskId;
pub use output_follower::{OutputFollower, OutputItem, OutputStart};
pub use queue::QueueApi;
pub(crate) use queue::reason_fits;

use self::meter::ThroughputMeter;
use crate::{
    access::AccessApi,
    bots::Bots,
    config::Config,
    metrics::FlowMetrics,
    store_options::task_policy,
    subsystem::{Deps, Subsystem},
    waiters::Waiters,
};

/// The subsystem of tasks. It has no actors: all its data is in the store and in the memory of
/// bots.
pub(crate) struct Tasks {
    ledger: Ledger,
    tasks: TasksApi,
    queue: QueueApi,
    watch: Waiters<TaskId>,
    meter: ThroughputMeter,
    flow: Arc<FlowMetrics>,
}

/// The subsystems that tasks need.
pub(crate) struct TaskNeeds<'a> {
    pub(crate) access: &'a AccessApi,
    pub(crate) bots: &'a Bots,
}

impl Tasks {
    pub(crate) fn new(deps: &Deps, needs: &TaskNeeds<'_>) -> Self {
        let (watch, meter) = (Waiters::default(), ThroughputMeter::default());
        let tasks = TasksApi::new(deps, needs, watch.clone());
        Self {
            ledger: deps.ledger.clone(),
            queue: QueueApi::new(deps, tasks.clone(), meter.clone()),
            tasks,
            watch,
            meter,
            flow: Arc::default(),
        }
    }

    pub(crate) fn api(&self) -> &TasksApi {
        &self.tasks
    }

    pub(crate) fn queue(&self) -> &QueueApi {
        &self.queue
    }

    /// Returns the counters of tasks that moved through the queue since the start.
    pub(crate) fn flow(&self) -> &Arc<FlowMetrics> {
        &self.flow
    }
}

impl Subsystem for Tasks {
    fn on_commit(&self, notices: &[CommitNotice]) {
        self.watch
            .wake(notices.iter().filter_map(|notice| match notice {
                CommitNotice::Finished(task) => Some(task),
                _ => None,
            }));
        self.flow.committed(notices);
        self.meter.committed(notices);
    }

    fn reconfigure<'a>(
        &'a self,
        from: &'a Config,
        to: &'a Config,
    ) -> BoxFuture<'a, Result<(), String>> {
        let (before, policy) = (task_policy(from), task_policy(to));
        if policy != before {
            self.ledger.apply_policy(policy);
        }
        Box::pin(std::future::ready(Ok(())))
    }
}
