//! `deia-admin queue`.

use clap::Subcommand;
use deia_hive::model::{QueueStatus, StatusCounts, TaskStatus};

use super::{
    context::Context,
    error::CliError,
    human,
    output::Look,
    table::{Column, Table, or_dash},
    watch::WatchArgs,
};

#[derive(Debug, Subcommand)]
pub(super) enum QueueCommand {
    /// Show how many tasks are where, and how long the oldest has waited.
    #[command(before_help = "Examples:
  deia-admin queue status
  deia-admin queue status --watch
  deia-admin queue status --output json | jq .totals.queued")]
    Status {
        #[command(flatten)]
        watch: WatchArgs,
    },
}

impl QueueCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        match self {
            Self::Status { watch } => {
                let once = async || {
                    let queue = context.client.queue().await?;
                    context.out.one(&queue, |look| status(&queue, look))
                };
                watch.show(&context.out, once).await
            }
        }
    }
}

/// The counts as fields of a table, each named by `what` and its status.
pub(super) fn counts(table: &mut Table, what: &str, totals: &StatusCounts) {
    let mut totals = *totals;
    for status in TaskStatus::ALL {
        let count = *totals.slot(status);
        table.field(&format!("{what}{}", status.as_str()), count);
    }
}

fn status(queue: &QueueStatus, look: &Look) -> String {
    let mut totals = Table::fields();
    counts(&mut totals, "", &queue.totals);
    totals.field(
        "oldest queued",
        or_dash(queue.oldest_queued_ms.map(human::millis)),
    );
    let mut text = totals.render(look);
    if !queue.lanes.is_empty() {
        text.push('\n');
        text.push_str(&lanes(queue, look));
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

/// A line for each priority and type, with how fast it goes and how long its tasks waited.
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
        let waited = (lane.waits.started > 0).then(|| human::millis(lane.waits.p95_ms));
        table.row(vec![
            lane.task_type.as_str().into(),
            format!("P{}", lane.priority.rank()).into(),
            lane.pending.into(),
            lane.queued.into(),
            lane.running.into(),
            or_dash(lane.oldest_queued_ms.map(human::millis)),
            format!("{:.1}", lane.rates.started_per_second).into(),
            or_dash(waited),
            if lane.paused { "yes" } else { "" }.into(),
        ]);
    }
    table.render(look)
}

#[cfg(test)]
mod tests {
    use deia_hive::model::{Priority, QueueLane, Rates, Timestamp, Waits};

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
            oldest_queued_ms: Some(65_000),
            running_by_bot: [("sim-1".to_owned(), 1)].into(),
            ..QueueStatus::default()
        };
        let look = Look {
            color: false,
            width: Some(100),
            now: Timestamp::from_millis(0),
        };
        let expected = "\
pending        0
queued         7
running        1
completed      0
failed         0
cancelled      0
oldest queued  1m 5s

TYPE     PRI  PENDING  QUEUED  RUNNING  OLDEST  STARTED/S  WAIT P95  PAUSED
general  P0         0       2        0   1m 5s        1.5         -  yes
writing  P2         0       5        1   1m 5s        1.5     127ms

BOT    RUNNING
sim-1        1
";
        assert_eq!(status(&queue, &look), expected);
    }
}
