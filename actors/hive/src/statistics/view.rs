//! The statistics as callers see them.

use std::collections::BTreeMap;

use deia_ledger::{Histogram, StatisticsRow};
use deia_model::{Durations, QueueHistory, Throughput};

/// Adds up rows by type and by bot. `hours` is how far they go back.
pub(crate) fn history(rows: &[StatisticsRow], hours: u32) -> QueueHistory {
    let (mut types, mut bots) = (BTreeMap::new(), BTreeMap::new());
    for row in rows {
        add(&mut types, &row.task_type, row);
        // Submissions and what ends in the queue are of no bot.
        if !row.bot.is_empty() {
            add(&mut bots, &row.bot, row);
        }
    }
    QueueHistory {
        hours,
        by_type: types.into_iter().map(throughput).collect(),
        by_bot: bots.into_iter().map(throughput).collect(),
    }
}

fn add<'a>(sums: &mut BTreeMap<&'a str, StatisticsRow>, name: &'a str, row: &StatisticsRow) {
    sums.entry(name).or_default().merge(row);
}

fn throughput((name, sum): (&str, StatisticsRow)) -> Throughput {
    Throughput {
        name: name.to_owned(),
        submitted: sum.submitted,
        started: sum.started,
        completed: sum.completed,
        failed: sum.failed,
        cancelled: sum.cancelled,
        retried: sum.retried,
        waits: durations(&sum.waits),
        runs: durations(&sum.runs),
    }
}

fn durations(histogram: &Histogram) -> Durations {
    let count = histogram.count();
    Durations {
        count,
        mean_ms: histogram.sum().checked_div(count).unwrap_or(0),
        p50_ms: histogram.quantile(0.5),
        p95_ms: histogram.quantile(0.95),
        p99_ms: histogram.quantile(0.99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_add_up_by_type_and_by_bot() {
        let row = |task_type: &str, bot: &str, completed| {
            let mut row = StatisticsRow {
                task_type: task_type.into(),
                bot: bot.into(),
                completed,
                ..StatisticsRow::default()
            };
            row.runs.record(completed);
            row
        };
        let rows = [
            row("a", "x", 1),
            row("a", "y", 3),
            row("b", "x", 5),
            row("b", "", 7),
        ];
        let history = history(&rows, 24);
        let sums = |of: &[Throughput]| {
            let sums = of.iter().map(|it| (it.name.clone(), it.completed));
            sums.collect::<Vec<_>>()
        };
        assert_eq!(sums(&history.by_type), [("a".into(), 4), ("b".into(), 12)]);
        assert_eq!(sums(&history.by_bot), [("x".into(), 6), ("y".into(), 3)]);
        let of_a = history.by_type[0].runs;
        assert_eq!((of_a.count, of_a.mean_ms), (2, 2));
    }
}
