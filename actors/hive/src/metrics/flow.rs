//! Tasks that move through the queue, as counted from the notices of commits.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use deia_ledger::{self, CommitNotice, LaneStats, metrics::Snapshot};
use deia_model::{QueueLane, TaskType};

use super::{Exposition, table};

/// Maximum number of types that have series of their own. There may be many more
/// (`tasks.max_types`): the others are counted as [`OTHER`]. Fixed: a monitor keeps each
/// series for ever, and types come from callers.
const TYPES_MAX: usize = 100;
/// Label of the other types. No type of a task can have this name.
const OTHER: &str = "(other)";

/// Counts of tasks that moved through the queue since the start. Takes one short lock per commit.
#[derive(Default)]
pub(crate) struct FlowMetrics(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    types: BTreeSet<TaskType>,
    lanes: BTreeMap<(Option<TaskType>, u8), Counts>,
    /// Waiting times by priority.
    waits: BTreeMap<u8, Sizes>,
    runs: BTreeMap<u8, Sizes>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    submitted: u64,
    started: u64,
    completed: u64,
    failed: u64,
    dead: u64,
    cancelled: u64,
    retried: u64,
    returned: u64,
}

#[derive(Clone, Copy, Default)]
struct Sizes {
    slots: [u64; deia_ledger::Histogram::SLOTS],
    sum_ms: u64,
}

impl FlowMetrics {
    /// Counts the changes of a commit.
    pub(crate) fn committed(&self, notices: &[CommitNotice]) {
        for notice in notices {
            if let CommitNotice::LaneStats(flows) = notice {
                let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                for (task_type, priority, flow) in flows {
                    seen.add(task_type, priority.rank(), flow);
                }
            }
        }
    }

    /// Writes the counts, and the depth of the queue by the same types.
    pub(crate) fn write(&self, depths: &[QueueLane], out: &mut Exposition) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_type: BTreeMap<[String; 3], u64> = BTreeMap::new();
        for lane in depths {
            let task_type = seen.label(&lane.task_type);
            let name = type_name(task_type.as_ref());
            for (status, n) in [
                ("pending", lane.pending),
                ("queued", lane.queued),
                ("running", lane.running),
            ] {
                let labels = [name.clone(), priority(lane.priority.rank()), status.into()];
                *by_type.entry(labels).or_default() += n;
            }
        }
        for (labels, n) in by_type {
            out.count(&table::QUEUE_TASKS, labels, n);
        }
        for ((task_type, rank), counts) in &seen.lanes {
            for (metric, n) in [
                (&table::TASKS_SUBMITTED, counts.submitted),
                (&table::TASKS_STARTED, counts.started),
                (&table::TASKS_COMPLETED, counts.completed),
                (&table::TASKS_FAILED, counts.failed),
                (&table::TASKS_DEAD, counts.dead),
                (&table::TASKS_CANCELLED, counts.cancelled),
                (&table::TASKS_RETRIED, counts.retried),
                (&table::TASKS_RETURNED, counts.returned),
            ] {
                out.count(metric, [type_name(task_type.as_ref()), priority(*rank)], n);
            }
        }
        for (metric, by_priority) in [
            (&table::TASK_WAIT, &seen.waits),
            (&table::ATTEMPT_DURATION, &seen.runs),
        ] {
            for (rank, sizes) in by_priority {
                out.snapshot(metric, [priority(*rank)], sizes.snapshot());
            }
        }
    }
}

impl Seen {
    fn add(&mut self, task_type: &TaskType, rank: u8, flow: &LaneStats) {
        let label = self.label(task_type);
        let counts = self.lanes.entry((label, rank)).or_default();
        for (count, n) in [
            (&mut counts.submitted, flow.submitted),
            (&mut counts.started, flow.started),
            (&mut counts.completed, flow.completed),
            (&mut counts.failed, flow.failed),
            (&mut counts.dead, flow.dead),
            (&mut counts.cancelled, flow.cancelled),
            (&mut counts.retried, flow.retried),
            (&mut counts.returned, flow.returned),
        ] {
            *count += u64::from(n);
        }
        self.waits.entry(rank).or_default().add(&flow.waits);
        self.runs.entry(rank).or_default().add(&flow.runs);
    }

    /// Returns the type itself if it is among the first, else `None`.
    fn label(&mut self, task_type: &TaskType) -> Option<TaskType> {
        if !self.types.contains(task_type) {
            if self.types.len() >= TYPES_MAX {
                return None;
            }
            self.types.insert(task_type.clone());
        }
        Some(task_type.clone())
    }
}

fn type_name(task_type: Option<&TaskType>) -> String {
    task_type.map_or(OTHER.to_owned(), ToString::to_string)
}

fn priority(rank: u8) -> String {
    format!("P{rank}")
}

impl Sizes {
    fn add(&mut self, more: &deia_ledger::Histogram) {
        for (slot, (_, n)) in self.slots.iter_mut().zip(more.slots()) {
            *slot += u64::from(n);
        }
        self.sum_ms += more.sum();
    }

    #[allow(clippy::cast_precision_loss, reason = "milliseconds to seconds")]
    fn snapshot(&self) -> Snapshot {
        let seconds = |ms: u64| ms as f64 / 1_000.0;
        let bounds = deia_ledger::Histogram::default();
        let bounds = bounds
            .slots()
            .map(|(bound, _)| bound.map_or(f64::INFINITY, seconds));
        Snapshot {
            buckets: bounds.zip(self.slots).collect(),
            count: self.slots.iter().sum(),
            sum: seconds(self.sum_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use deia_model::Priority;

    use super::*;

    fn flow() -> LaneStats {
        let mut flow = LaneStats {
            submitted: 2,
            started: 1,
            ..LaneStats::default()
        };
        flow.waits.record(3);
        flow
    }

    #[test]
    fn commits_add_up() {
        let metrics = FlowMetrics::default();
        let notice = CommitNotice::LaneStats(vec![("a".parse().unwrap(), Priority::P1, flow())]);
        metrics.committed(&[notice.clone(), notice]);
        let mut out = Exposition::default();
        metrics.write(&[], &mut out);
        let text = out.into_text().unwrap();
        for line in [
            "deia_tasks_submitted_total{type=\"a\",priority=\"P1\"} 4",
            "deia_tasks_dead_total{type=\"a\",priority=\"P1\"} 0",
            "deia_task_wait_seconds_bucket{le=\"0.002\",priority=\"P1\"} 0",
            "deia_task_wait_seconds_bucket{le=\"0.004\",priority=\"P1\"} 2",
            "deia_task_wait_seconds_bucket{le=\"+Inf\",priority=\"P1\"} 2",
            "deia_task_wait_seconds_sum{priority=\"P1\"} 0.006",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn types_beyond_the_first_are_taken_together() {
        let mut seen = Seen::default();
        for i in 0..TYPES_MAX + 5 {
            seen.add(&format!("t{i}").parse().unwrap(), 2, &flow());
        }
        assert_eq!(seen.lanes.len(), TYPES_MAX + 1);
        assert_eq!(seen.lanes[&(None, 2)].submitted, 10);
        assert!(OTHER.parse::<TaskType>().is_err());
    }
}
