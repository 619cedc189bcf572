//! The statistics as callers see them.

use deia_ledger::{Histogram, Statistics, StatisticsRow};
use deia_model::{Durations, QueueHistory, Throughput};

/// Makes the view of statistics that go back for so many hours.
pub(crate) fn history(statistics: Statistics, hours: u32) -> QueueHistory {
    QueueHistory {
        hours,
        by_type: statistics.by_type.into_iter().map(throughput).collect(),
        by_bot: statistics.by_bot.into_iter().map(throughput).collect(),
    }
}

fn throughput((name, sum): (String, StatisticsRow)) -> Throughput {
    Throughput {
        name,
        submitted: sum.submitted,
        started: sum.started,
        completed: sum.completed,
        failed: sum.failed,
        cancelled: sum.cancelled,
        retried: sum.retried,
        returned: sum.returned,
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
        let mut statistics = Statistics::default();
        rows.iter().for_each(|row| statistics.add(row));
        let history = history(statistics, 24);
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
