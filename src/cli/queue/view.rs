//! The queue as tables.

use deia_model::{
    Durations, Pause, QueueHistory, QueueStatus, Rates, StatusCounts, TaskStatus, Waits,
};

use crate::cli::{
    format,
    output::Look,
    table::{Cell, Column, Table, Tone, or_dash},
};

/// Adds the counts as fields of a table, each named by `what` and its status.
pub(in crate::cli) fn counts(table: &mut Table, what: &str, totals: &StatusCounts) {
    let mut totals = *totals;
    for status in TaskStatus::ALL {
        let count = *totals.slot(status);
        table.field(&format!("{what}{}", status.as_str()), count);
    }
}

/// Renders the whole state of the queue.
pub(super) fn status(queue: &QueueStatus, look: &Look) -> String {
    let mut totals = Table::fields();
    counts(&mut totals, "", &queue.totals);
    totals.field(
        "oldest queued",
        or_dash(queue.oldest_queued_ms.map(format::millis)),
    );
    totals.field("in the last minute", rates(&queue.rates));
    totals.field("waited", waits(&queue.waits));
    let mut text = totals.render(look);
    if !queue.paused.is_empty() {
        text.push('\n');
        text.push_str(&pauses(&queue.paused, look));
    }
    if !queue.lanes.is_empty() {
        text.push('\n');
        text.push_str(&lanes(queue, look));
    }
    if !queue.history.by_type.is_empty() {
        text.push('\n');
        text.push_str(&history(&queue.history, look));
    }
    if !queue.running_by_bot.is_empty() {
        let mut bots = Table::new(&[Column::new("BOT").flows(), Column::new("RUNNING").right()]);
        for (bot, count) in &queue.running_by_bot {
            bots.row(vec![bot.into(), count.into()]);
        }
        text.push('\n');
        text.push_str(&bots.render(look));
    }
    text
}

fn rates(rates: &Rates) -> String {
    format!(
        "{:.1}/s submitted, {:.1}/s started, {:.1}/s completed, {:.1}/s failed",
        rates.submitted_per_second,
        rates.started_per_second,
        rates.completed_per_second,
        rates.failed_per_second
    )
}

fn waits(waits: &Waits) -> Cell {
    let text = (waits.started > 0).then(|| {
        format!(
            "p50 {}, p95 {}, p99 {}",
            format::millis(waits.p50_ms),
            format::millis(waits.p95_ms),
            format::millis(waits.p99_ms)
        )
    });
    or_dash(text)
}

/// Renders the pauses, with their user and reason.
pub(super) fn pauses(paused: &[Pause], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("PAUSED").flows(),
        Column::new("SINCE"),
        Column::new("BY").flows(),
        Column::new("REASON").flows(),
    ]);
    for pause in paused {
        let what = match &pause.task_type {
            Some(task_type) => format!("type {task_type}"),
            None => "the whole queue".into(),
        };
        table.row(vec![
            Cell::new(what, Tone::Attention),
            format::when(pause.since, look.now).into(),
            pause.by.as_str().into(),
            or_dash(pause.reason.as_deref().map(format::one_line)),
        ]);
    }
    table.render(look)
}

/// Renders a line for each priority and type, with its throughput and waiting times.
fn lanes(queue: &QueueStatus, look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("TYPE").flows(),
        Column::new("PRI"),
        Column::new("PENDING").right(),
        Column::new("QUEUED").right(),
        Column::new("RUNNING").right(),
        Column::new("OLDEST").right(),
        Column::new("STARTED/S").right(),
        Column::new("WAIT P95").right(),
        Column::new("PAUSED"),
    ]);
    let mut lanes: Vec<_> = queue.lanes.iter().collect();
    lanes.sort_by_key(|lane| (lane.priority, lane.task_type.as_str()));
    for lane in lanes {
        let waited = (lane.waits.started > 0).then(|| format::millis(lane.waits.p95_ms));
        table.row(vec![
            lane.task_type.as_str().into(),
            format!("P{}", lane.priority.rank()).into(),
            lane.pending.into(),
            lane.queued.into(),
            lane.running.into(),
            or_dash(lane.oldest_queued_ms.map(format::millis)),
            format!("{:.1}", lane.rates.started_per_second).into(),
            or_dash(waited),
            if lane.paused { "yes" } else { "" }.into(),
        ]);
    }
    table.render(look)
}

/// Renders a line for each type and each bot, with the work of the last hours.
fn history(history: &QueueHistory, look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("LAST 24 H").flows(),
        Column::new("SUBMITTED").right(),
        Column::new("COMPLETED").right(),
        Column::new("FAILED").right(),
        Column::new("RETRIED").right(),
        Column::new("RETURNED").right(),
        Column::new("WAIT P95").right(),
        Column::new("RUN P50").right(),
        Column::new("RUN P95").right(),
    ]);
    let of_types = history.by_type.iter().map(|row| ("type", row));
    let of_bots = history.by_bot.iter().map(|row| ("bot", row));
    for (what, row) in of_types.chain(of_bots) {
        let some = |of: &Durations, ms: u64| (of.count > 0).then(|| format::millis(ms));
        table.row(vec![
            format!("{what} {}", row.name).into(),
            or_dash((what == "type").then(|| row.submitted.to_string())),
            row.completed.into(),
            row.failed.into(),
            row.retried.into(),
            row.returned.into(),
            or_dash(some(&row.waits, row.waits.p95_ms)),
            or_dash(some(&row.runs, row.runs.p50_ms)),
            or_dash(some(&row.runs, row.runs.p95_ms)),
        ]);
    }
    table.render(look)
}

#[cfg(test)]
mod tests {
    use deia_model::{Priority, QueueLane, Throughput, Timestamp};

    use super::*;

    #[test]
    fn lanes_are_lines_by_priority() {
        let lane = |name: &str, priority, queued, running| QueueLane {
            task_type: name.parse().unwrap(),
            priority,
            pending: 0,
            queued,
            running,
            oldest_queued_ms: Some(65_000),
            paused: queued == 2,
            rates: Rates {
                started_per_second: 1.5,
                ..Rates::default()
            },
            waits: Waits {
                started: running,
                p95_ms: 127,
                ..Waits::default()
            },
        };
        let queue = QueueStatus {
            totals: StatusCounts {
                queued: 7,
                running: 1,
                ..StatusCounts::default()
            },
            lanes: vec![
                lane("writing", Priority::P2, 5, 1),
                lane("general", Priority::P0, 2, 0),
            ],
            paused: vec![Pause {
                task_type: Some("general".parse().unwrap()),
                since: Timestamp::from_millis(0),
                by: "ada".into(),
                reason: Some("the model is down".into()),
            }],
            rates: Rates {
                submitted_per_second: 2.0,
                started_per_second: 1.5,
                ..Rates::default()
            },
            waits: Waits {
                started: 1,
                p50_ms: 7,
                p95_ms: 15,
                p99_ms: 31,
            },
            oldest_queued_ms: Some(65_000),
            running_by_bot: [("sim-1".to_owned(), 1)].into(),
            history: QueueHistory::default(),
        };
        let look = Look {
            color: false,
            width: Some(100),
            now: Timestamp::from_millis(65_000),
        };
        let expected = "\
pending             0
queued              7
running             1
completed           0
failed              0
cancelled           0
oldest queued       1m 5s
in the last minute  2.0/s submitted, 1.5/s started, 0.0/s completed, 0.0/s failed
waited              p50 7ms, p95 15ms, p99 31ms

PAUSED        SINCE   BY   REASON
type general  1m ago  ada  the model is down

TYPE     PRI  PENDING  QUEUED  RUNNING  OLDEST  STARTED/S  WAIT P95  PAUSED
general  P0         0       2        0   1m 5s        1.5         -  yes
writing  P2         0       5        1   1m 5s        1.5     127ms

BOT    RUNNING
sim-1        1
";
        assert_eq!(status(&queue, &look), expected);
    }
    #[test]
    fn history_tells_failed_attempts_from_returned_ones() {
        let row = |name: &str, submitted| Throughput {
            name: name.into(),
            submitted,
            started: 9,
            completed: 3,
            failed: 1,
            cancelled: 0,
            retried: 2,
            returned: 4,
            waits: Durations::default(),
            runs: Durations {
                count: 6,
                mean_ms: 5,
                p50_ms: 7,
                p95_ms: 15,
                p99_ms: 15,
            },
        };
        let queue = QueueHistory {
            hours: 24,
            by_type: vec![row("general", 5)],
            by_bot: vec![row("upper-1", 0)],
        };
        let look = Look {
            color: false,
            width: Some(120),
            now: Timestamp::from_millis(0),
        };
        let expected = "\
LAST 24 H     SUBMITTED  COMPLETED  FAILED  RETRIED  RETURNED  WAIT P95  RUN P50  RUN P95
type general          5          3       1        2         4         -      7ms     15ms
bot upper-1           -          3       1        2         4         -      7ms     15ms
";
        assert_eq!(history(&queue, &look), expected);
    }
}
