//! A task, followed to its end.

use std::time::Duration;

use deia_client::{Client, TaskState};
use deia_model::{BotName, TaskId, TaskStatus, Timestamp};
use serde::Serialize;
use tokio::time::sleep;

use super::show;
use crate::cli::{context::Context, error::CliError, format, interrupt::Stays, output::Output};

/// Interval of the checks. Fixed: of the command line, which has no settings.
const PERIOD: Duration = Duration::from_millis(200);
/// Number of retries when the hive does not answer (it may be restarting), and the pause
/// before each. Fixed: of the command line, which has no settings.
const TRIES: u32 = 10;
/// Pause before each retry. Fixed: of the command line, which has no settings.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The properties of a task that can change while it is watched.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Change {
    id: TaskId,
    status: TaskStatus,
    attempt: u32,
    progress: f64,
    assigned_bot: Option<BotName>,
}

/// A change and the time at which it was seen.
#[derive(Serialize)]
struct Seen<'a> {
    at: Timestamp,
    #[serde(flatten)]
    change: &'a Change,
}

/// Shows each change until the end, then the result.
///
/// # Errors
/// The task did not succeed.
pub(super) async fn watch(context: &Context, id: TaskId) -> Result<(), CliError> {
    context.interrupt.stays(Stays::Task(id));
    to_its_end(&context.client, &context.out, id).await
}

async fn to_its_end(client: &Client, out: &Output, id: TaskId) -> Result<(), CliError> {
    let mut last: Option<Change> = None;
    let mut tries = 0;
    loop {
        match client.task_status(id).await {
            Ok(state) => {
                tries = 0;
                let change = Change::from(state);
                if last.as_ref() != Some(&change) {
                    tell(out, &change)?;
                }
                let is_final = change.status.is_final();
                last = Some(change);
                if is_final {
                    return show(out, &client.task_result(id, Duration::ZERO).await?);
                }
                sleep(PERIOD).await;
            }
            Err(error) if error.is_passing() && last.is_some() && tries < TRIES => {
                tries += 1;
                sleep(RETRY_AFTER).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

impl From<TaskState> for Change {
    fn from(state: TaskState) -> Self {
        Self {
            id: state.id,
            status: state.status,
            attempt: state.attempt,
            progress: state.progress,
            assigned_bot: state.assigned_bot,
        }
    }
}

/// Programs that expect one document get the result alone.
fn tell(out: &Output, change: &Change) -> Result<(), CliError> {
    let at = Timestamp::now();
    if out.is_table() {
        out.text(&format!("{at}  {}\n", line(change)))
    } else if out.is_jsonl() {
        out.line(&Seen { at, change })
    } else {
        out.note(&line(change));
        Ok(())
    }
}

fn line(change: &Change) -> String {
    let mut line = change.status.as_str().to_owned();
    if change.attempt > 0 {
        line.push_str(&format!(", attempt {}", change.attempt));
    }
    if let Some(bot) = &change.assigned_bot {
        line.push_str(&format!(", {bot}"));
    }
    if change.status == TaskStatus::Running && change.progress > 0.0 {
        line.push_str(&format!(", {} done", format::share(change.progress)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_line() {
        let queued = Change {
            id: TaskId::new(),
            status: TaskStatus::Queued,
            attempt: 0,
            progress: 0.0,
            assigned_bot: None,
        };
        assert_eq!(line(&queued), "queued");
        let mut running = Change {
            status: TaskStatus::Running,
            attempt: 2,
            assigned_bot: Some("upper-1".parse().unwrap()),
            ..queued
        };
        assert_eq!(line(&running), "running, attempt 2, upper-1");
        running.progress = 0.25;
        assert_eq!(line(&running), "running, attempt 2, upper-1, 25.0 % done");
    }
}
