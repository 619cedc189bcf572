//! Lines about a task in the logs of bots, printed and followed.

use std::time::Duration;

use clap::Args;
use deia_client::Client;
use deia_model::{TaskId, TaskLog, TaskLogLine};
use tokio::time::sleep;

use crate::cli::{context::Context, error::CliError, interrupt::Stays, output::Output, parse};

/// Interval between two looks for new lines. Fixed: of the command line, which has no
/// settings.
const PERIOD: Duration = Duration::from_millis(500);
/// Number of attempts to reach a server that does not answer. Fixed: of the command line,
/// which has no settings.
const TRIES: u32 = 10;
/// Pause before each retry. Fixed: of the command line, which has no settings.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Maximum number of lines of one look. Fixed: of the command line, which has no
/// settings.
const MAX_LINES: u32 = 10_000;

#[derive(Debug, Args)]
pub(in crate::cli) struct TaskLogArgs {
    /// The task.
    id: TaskId,
    /// Only lines of this attempt.
    #[arg(long, value_name = "N", value_parser = parse::whole(1..=u32::MAX))]
    attempt: Option<u32>,
    /// Maximum number of lines.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1_000, value_parser = parse::whole(1..=10_000_u32))]
    lines: u32,
    /// Continue with new lines until the task has ended.
    #[arg(long, short)]
    follow: bool,
}

impl TaskLogArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        if self.follow {
            context.interrupt.stays(Stays::Log(self.id));
            return self.follow(client, out).await;
        }
        let log = client.task_log(self.id, self.attempt, self.lines).await?;
        if !out.is_table() && !out.is_jsonl() {
            return out.one(&log, |_| String::new());
        }
        if log.lines.is_empty() {
            out.note("the logs have no lines about it");
        }
        log.lines.iter().try_for_each(|line| show(out, line))
    }

    async fn follow(&self, client: &Client, out: &Output) -> Result<(), CliError> {
        let (mut seen, mut tries) = (0, 0);
        loop {
            // The status comes first: everything logged before the end is read after
            // it.
            let looked = async {
                let state = client.task_status(self.id).await?;
                let log = client.task_log(self.id, self.attempt, MAX_LINES).await?;
                Ok((state, log))
            };
            match looked.await {
                Ok((state, log)) => {
                    tries = 0;
                    let first = seen == 0;
                    for line in unseen(&log, &mut seen, if first { self.lines } else { MAX_LINES })
                    {
                        show(out, line)?;
                    }
                    if state.status.is_final() {
                        out.note(&format!("{} is {}", self.id, state.status.as_str()));
                        return Ok(());
                    }
                    sleep(PERIOD).await;
                }
                Err(error) => {
                    let error: deia_client::ClientError = error;
                    if !error.is_passing() || tries >= TRIES {
                        return Err(error.into());
                    }
                    tries += 1;
                    sleep(RETRY_AFTER).await;
                }
            }
        }
    }
}

/// Returns the lines after the first `seen`, at most `max`. A log that was rotated has
/// fewer lines than were seen: then counting starts over.
fn unseen<'a>(log: &'a TaskLog, seen: &mut u64, max: u32) -> &'a [TaskLogLine] {
    let new = log.total.saturating_sub(*seen);
    *seen = log.total;
    let new = usize::try_from(new.min(u64::from(max))).unwrap_or(usize::MAX);
    &log.lines[log.lines.len().saturating_sub(new)..]
}

fn show(out: &Output, line: &TaskLogLine) -> Result<(), CliError> {
    if !out.is_table() {
        return out.line(line);
    }
    let TaskLogLine {
        at,
        bot,
        attempt,
        stream,
        line,
    } = line;
    out.raw(&format!("{at} {bot} attempt {attempt} {stream} {line}"))
}

#[cfg(test)]
mod tests {
    use deia_model::Timestamp;

    use super::*;

    #[test]
    fn each_line_is_shown_once() {
        let line = |n: u32| TaskLogLine {
            at: Timestamp::from_millis(0),
            bot: "b".parse().unwrap(),
            attempt: n,
            stream: "stderr".into(),
            line: String::new(),
        };
        let mut seen = 0;
        for (held, total, max, expected) in [
            (vec![1, 2, 3], 3, 2, vec![2, 3]),
            (vec![1, 2, 3], 3, 9, vec![]),
            (vec![1, 2, 3, 4], 4, 9, vec![4]),
            (vec![4], 1, 9, vec![]),
            (vec![4, 5], 2, 9, vec![5]),
        ] {
            let log = TaskLog {
                lines: held.iter().map(|n| line(*n)).collect(),
                total,
            };
            let shown: Vec<_> = unseen(&log, &mut seen, max)
                .iter()
                .map(|line| line.attempt)
                .collect();
            assert_eq!(shown, expected);
        }
    }
}
