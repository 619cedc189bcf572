//! Counts by hour, task type and bot.

use std::collections::{BTreeMap, HashMap};

use deia_model::{Action, AttemptEnd, AttemptOutcomeKind, Timestamp};

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

/// The part of a task's event that is counted.
#[derive(Clone, Copy, Debug)]
pub struct CountedEvent<'a> {
    /// Time at which the event was recorded.
    pub at: Timestamp,
    /// The action.
    pub action: Action,
    /// Type of the task.
    pub task_type: &'a str,
    /// The bot; empty for tasks that no bot ran.
    pub bot: &'a str,
    /// Wait of a started attempt.
    pub wait_ms: u64,
    /// Run time of an attempt that ended.
    pub run_ms: u64,
    /// Outcome of an attempt that ended without success.
    pub outcome: Option<AttemptOutcomeKind>,
}

impl CountedEvent<'_> {
    /// Returns the end of the attempt that the event reports, if it reports one.
    fn end(&self) -> Option<AttemptEnd> {
        match self.action {
            Action::TaskCompleted => Some(AttemptEnd::Succeeded),
            _ => self.outcome.map(Into::into),
        }
    }
}

/// Counts of consecutive events, by hour, task type and bot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventCounts {
    rows: Vec<StatisticsRow>,
    /// Indexes of the rows of each type and bot.
    places: HashMap<String, HashMap<String, Vec<usize>>>,
    newest_at: Option<Timestamp>,
}

impl EventCounts {
    /// Notes that an event of that time was read, counted or not.
    pub fn passed(&mut self, at: Timestamp) {
        self.newest_at = Some(at);
    }

    /// Returns the time of the last event; `None` if there was none.
    pub fn newest_at(&self) -> Option<Timestamp> {
        self.newest_at
    }

    /// Adds an event of a task.
    pub fn add(&mut self, event: &CountedEvent<'_>) {
        let row = self.row(hour_of(event.at), event.task_type, event.bot);
        match event.action {
            Action::TaskSubmitted => row.submitted += 1,
            Action::TaskStarted => {
                row.started += 1;
                row.waits.record(event.wait_ms);
            }
            Action::TaskCompleted => row.completed += 1,
            Action::TaskFailed | Action::TaskDead => row.failed += 1,
            Action::TaskCancelled => row.cancelled += 1,
            Action::TaskRetrying if event.end() == Some(AttemptEnd::Failed) => row.retried += 1,
            Action::TaskRetrying => row.returned += 1,
            _ => {}
        }
        if event.end().is_some_and(AttemptEnd::ended_by_itself) {
            row.runs.record(event.run_ms);
        }
    }

    /// Returns the row of that hour, type and bot. Only a new one allocates.
    fn row(&mut self, hour: u32, task_type: &str, bot: &str) -> &mut StatisticsRow {
        let hours = self.places.get(task_type).and_then(|bots| bots.get(bot));
        let found = hours.and_then(|places| {
            let mut newest_first = places.iter().rev();
            newest_first.find(|place| self.rows[**place].hour == hour)
        });
        let place = match found {
            Some(place) => *place,
            None => {
                self.rows.push(StatisticsRow {
                    hour,
                    task_type: task_type.to_owned(),
                    bot: bot.to_owned(),
                    ..StatisticsRow::default()
                });
                let place = self.rows.len() - 1;
                let bots = self.places.entry(task_type.to_owned()).or_default();
                bots.entry(bot.to_owned()).or_default().push(place);
                place
            }
        };
        &mut self.rows[place]
    }

    /// Returns the rows, in the order of their first events.
    pub fn into_rows(self) -> Vec<StatisticsRow> {
        self.rows
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
    /// Milliseconds of an hour. Fact: the definition of the unit.
    const HOUR_MS: i64 = 3_600_000;
    u32::try_from(at.as_millis().div_euclid(HOUR_MS)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn event(action: Action, at_ms: i64, bot: &'static str) -> CountedEvent<'static> {
        CountedEvent {
            at: Timestamp::from_millis(at_ms),
            action,
            task_type: "general",
            bot,
            wait_ms: 5,
            run_ms: 9,
            outcome: None,
        }
    }

    fn ended(
        action: Action,
        bot: &'static str,
        outcome: AttemptOutcomeKind,
    ) -> CountedEvent<'static> {
        CountedEvent {
            outcome: Some(outcome),
            ..event(action, 2, bot)
        }
    }

    #[test]
    fn events_are_counted_by_hour_type_and_bot() {
        let mut counts = EventCounts::default();
        for event in [
            event(Action::TaskSubmitted, 0, ""),
            event(Action::TaskStarted, 1, "b"),
            ended(Action::TaskRetrying, "b", AttemptOutcomeKind::Failed),
            ended(Action::TaskRetrying, "b", AttemptOutcomeKind::GivenBack),
            event(Action::TaskFailed, 2, ""),
            event(Action::TaskCompleted, HOUR, "b"),
            event(Action::TaskStarted, 3, "b"),
            CountedEvent {
                task_type: "other",
                ..event(Action::TaskSubmitted, 3, "")
            },
        ] {
            counts.add(&event);
        }
        let rows = counts.into_rows();
        let counted: Vec<_> = rows
            .iter()
            .map(|row| {
                let key = (row.hour, row.task_type.as_str(), row.bot.as_str());
                let queue = [row.submitted, row.failed];
                let attempts = [row.started, row.completed, row.retried, row.returned];
                (key, queue, attempts, [row.waits.count(), row.runs.count()])
            })
            .collect();
        assert_eq!(
            counted,
            [
                ((0, "general", ""), [1, 1], [0, 0, 0, 0], [0, 0]),
                ((0, "general", "b"), [0, 0], [2, 0, 1, 1], [2, 1]),
                ((1, "general", "b"), [0, 0], [0, 1, 0, 0], [0, 1]),
                ((0, "other", ""), [1, 0], [0, 0, 0, 0], [0, 0]),
            ]
        );
    }
}
