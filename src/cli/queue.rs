//! `deia-admin queue`.

use std::collections::BTreeMap;

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

/// A line for each type and priority, a column for each status of unfinished work.
fn lanes(queue: &QueueStatus, look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("TYPE").flows(),
        Column::new("PRI"),
        Column::new("PENDING").right(),
        Column::new("QUEUED").right(),
        Column::new("RUNNING").right(),
    ]);
    let mut lines: BTreeMap<_, StatusCounts> = BTreeMap::new();
    for lane in &queue.lanes {
        let line = lines.entry((lane.priority, &lane.task_type)).or_default();
        *line.slot(lane.status) += lane.count;
    }
    for ((priority, task_type), line) in lines {
        table.row(vec![
            task_type.as_str().into(),
            format!("P{}", priority.rank()).into(),
            line.pending.into(),
            line.queued.into(),
            line.running.into(),
        ]);
    }
    table.render(look)
}

#[cfg(test)]
mod tests {
    use deia_hive::model::{LaneDepth, Priority, Timestamp};

    use super::*;

    #[test]
    fn lanes_are_lines_by_priority() {
        let lane = |name: &str, priority, status, count| LaneDepth {
            task_type: name.parse().unwrap(),
            priority,
            status,
            count,
        };
        let queue = QueueStatus {
            totals: StatusCounts {
                queued: 7,
                running: 1,
                ..StatusCounts::default()
            },
            lanes: vec![
                lane("writing", Priority::P2, TaskStatus::Queued, 5),
                lane("writing", Priority::P2, TaskStatus::Running, 1),
                lane("general", Priority::P0, TaskStatus::Queued, 2),
            ],
            oldest_queued_ms: Some(65_000),
            running_by_bot: [("sim-1".to_owned(), 1)].into(),
        };
        let look = Look {
            color: false,
            width: Some(80),
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

TYPE     PRI  PENDING  QUEUED  RUNNING
general  P0         0       2        0
writing  P2         0       5        1

BOT    RUNNING
sim-1        1
";
        assert_eq!(status(&queue, &look), expected);
    }
}
