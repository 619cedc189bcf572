//! Counts by hour, task type and bot.

use std::collections::BTreeMap;

use deia_model::Timestamp;

use crate::Histogram;

/// Counts of one hour, task type and bot; without a bot for tasks that no bot ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatisticsRow {
    /// The hour, counted from the epoch.
    pub hour: u32,
    /// The type of the tasks.
    pub task_type: String,
    /// The bot; empty for counts without a bot.
    pub bot: String,
    /// Tasks accepted.
    pub submitted: u64,
    /// Attempts started.
    pub started: u64,
    /// Tasks completed.
    pub completed: u64,
    /// Tasks failed.
    pub failed: u64,
    /// Tasks cancelled.
    pub cancelled: u64,
    /// Attempts that failed and were followed by another.
    pub retried: u64,
    /// Attempts that were interrupted and followed by another.
    pub returned: u64,
    /// Waits of started attempts, in milliseconds.
    pub waits: Histogram,
    /// Run times of attempts that succeeded or failed, in milliseconds.
    pub runs: Histogram,
}

impl StatisticsRow {
    /// Adds the counts of another row.
    pub fn merge(&mut self, other: &Self) {
        self.submitted += other.submitted;
        self.started += other.started;
        self.completed += other.completed;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.retried += other.retried;
        self.returned += other.returned;
        self.waits.merge(&other.waits);
        self.runs.merge(&other.runs);
    }
}

/// Sums of statistics over several hours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// By task type.
    pub by_type: BTreeMap<String, StatisticsRow>,
    /// By bot. Submissions, and tasks that end in the queue, are counted for no bot.
    pub by_bot: BTreeMap<String, StatisticsRow>,
}

impl Statistics {
    /// Adds a row.
    pub fn add(&mut self, row: &StatisticsRow) {
        let add = |sums: &mut BTreeMap<String, StatisticsRow>, name: &str| match sums.get_mut(name)
        {
            Some(sum) => sum.merge(row),
            None => {
                let mut sum = StatisticsRow::default();
                sum.merge(row);
                sums.insert(name.to_owned(), sum);
            }
        };
        add(&mut self.by_type, &row.task_type);
        if !row.bot.is_empty() {
            add(&mut self.by_bot, &row.bot);
        }
    }
}

/// Returns the hour of a time, counted from the epoch.
pub fn hour_of(at: Timestamp) -> u32 {
    const HOUR_MS: i64 = 3_600_000;
    u32::try_from(at.as_millis().div_euclid(HOUR_MS)).unwrap_or(0)
}
