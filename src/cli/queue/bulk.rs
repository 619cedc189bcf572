//! Bulk commands: on failed tasks, and on waiting tasks.

use clap::Args;
use deia_client::{Changed, Client, Selection};
use deia_model::{BotName, EndReason, PageRequest, QueueStatus, TaskFilter, TaskId, TaskStatus};

use crate::cli::{
    confirm::Confirm,
    context::Context,
    error::CliError,
    filter::{FilterArgs, PageArgs},
    output::Output,
    parse,
    table::Table,
    task,
    watch::WatchArgs,
};

/// Maximum number of tasks that are counted before the question. Fixed: of the command
/// line, which has no settings.
const COUNT_MAX: u32 = 1_000;
/// Maximum number of tasks that are looked up to say why they were left as they are.
/// Fixed: of the command line, which has no settings.
const LOOKED_AT: usize = 100;
/// Maximum number of tasks that one request names. Fact: the API, whose schema states it.
const IDS_AT_ONCE: usize = 1_000;

/// Selection of waiting tasks to cancel.
#[derive(Debug, Args)]
pub(in crate::cli) struct PurgeArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Only tasks in this status.
    #[arg(long, value_parser = parse::waiting_status())]
    status: Option<TaskStatus>,
    /// All waiting tasks.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    confirm: Confirm,
}

/// Selection of failed tasks to list.
#[derive(Debug, Args)]
pub(in crate::cli) struct DeadArgs {
    /// Only tasks that failed for this reason.
    #[arg(long, value_parser = parse::end_reason())]
    reason: Option<EndReason>,
    /// Only tasks that this bot ran last.
    #[arg(long)]
    bot: Option<BotName>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

/// Selection of failed tasks to put back.
#[derive(Debug, Args)]
pub(in crate::cli) struct RequeueArgs {
    /// These tasks.
    #[arg(value_name = "ID")]
    ids: Vec<TaskId>,
    /// Only tasks that failed for this reason.
    #[arg(long, value_parser = parse::end_reason())]
    reason: Option<EndReason>,
    #[command(flatten)]
    filter: FilterArgs,
    /// All failed tasks.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    confirm: Confirm,
}

/// The number of tasks that an action concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Exactly(u64),
    AtLeast(u64),
}

impl PurgeArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        let filter = TaskFilter {
            status: self.status,
            ..self.filter.filter()?
        };
        let which = selection(filter.clone(), self.all, "for all waiting ones")?;
        if self.confirm.asks() {
            let count = waiting(client, &filter).await?;
            self.confirm
                .ask(&format!("cancel {}", count.tasks("waiting")))?;
        }
        tell(out, "cancelled", client.purge_queue(&which).await?)
    }
}

impl DeadArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let filter = TaskFilter {
            end_reason: self.reason,
            bot: self.bot,
            ..self.filter.filter()?
        };
        let (client, out, part) = (&context.client, &context.out, self.page.request());
        let once = async || {
            let page = client.dead_tasks(&filter, &part).await?;
            let table = |look: &_| task::dead(&page.items, look);
            out.list(&page, "no failed tasks match", table)
        };
        self.watch.show(context, once).await
    }
}

impl RequeueArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        let filter = TaskFilter {
            end_reason: self.reason,
            ..self.filter.filter()?
        };
        if !self.ids.is_empty() {
            if self.all || filter != TaskFilter::default() {
                return Err(CliError::Input {
                    what: "ID and a filter".into(),
                    reason: "give ids or filters, not both".into(),
                });
            }
            return these(client, out, &self.ids).await;
        }
        let which = selection(filter.clone(), self.all, "for all failed ones")?;
        if self.confirm.asks() {
            let page = client.dead_tasks(&filter, &first()).await?;
            let count = Count::of(page.items.len(), page.next_cursor.is_some());
            self.confirm.ask(&format!(
                "put {} back into the queue",
                count.tasks("failed")
            ))?;
        }
        tell(out, "requeued", client.requeue_dead(&which).await?)
    }
}

async fn these(client: &Client, out: &Output, ids: &[TaskId]) -> Result<(), CliError> {
    let mut all = Changed {
        changed: 0,
        skipped: 0,
        complete: true,
    };
    for ids in ids.chunks(IDS_AT_ONCE) {
        let part = client.requeue_these(ids).await?;
        all.changed += part.changed;
        all.skipped += part.skipped;
        all.complete &= part.complete;
    }
    tell(out, "requeued", all)?;
    match all.skipped {
        0 => Ok(()),
        skipped => {
            let left = left_alone(client, ids).await;
            let missing = left.iter().filter(|(_, why)| why.is_none());
            Err(CliError::SomeSkipped {
                skipped,
                all_missing: missing.count() as u64 == skipped,
                reasons: left.into_iter().map(|(id, why)| reason(id, why)).collect(),
            })
        }
    }
}

/// Returns the first of these tasks that are not put back: those that do not exist, and
/// those that ended otherwise. A waiting or running task may have been put back just
/// now.
async fn left_alone(client: &Client, ids: &[TaskId]) -> Vec<(TaskId, Option<TaskStatus>)> {
    let mut left = Vec::new();
    for id in ids.iter().take(LOOKED_AT) {
        match client.task_status(*id).await {
            Ok(state) if matches!(state.status, TaskStatus::Completed | TaskStatus::Cancelled) => {
                left.push((*id, Some(state.status)));
            }
            Err(error) if error.has_code("not_found") => left.push((*id, None)),
            Ok(_) | Err(_) => {}
        }
    }
    left
}

/// Returns the reason why a task in this status, or one that does not exist, is not put
/// back.
fn reason(id: TaskId, status: Option<TaskStatus>) -> String {
    match status.map(TaskStatus::as_str) {
        None => format!("there is no task \"{id}\""),
        Some(status) => {
            format!("{id} is {status}, not failed; run it again with deia task retry {id}")
        }
    }
}

/// # Errors
/// Nothing is said of which tasks are meant.
fn selection(filter: TaskFilter, all: bool, all_of: &str) -> Result<Selection, CliError> {
    let which = Selection {
        all,
        ..Selection::from(filter)
    };
    if which.is_empty() {
        return Err(CliError::Input {
            what: "no tasks are named".into(),
            reason: format!(
                "select them: --type, --tag, --metadata, --submitter, --since, ... or --all {all_of}"
            ),
        });
    }
    Ok(which)
}

fn tell(out: &Output, what: &str, changed: Changed) -> Result<(), CliError> {
    out.one(&changed, |look| {
        let mut table = Table::fields();
        table.field(what, changed.changed);
        table.field("left as they are", changed.skipped);
        table.render(look)
    })?;
    if !changed.complete {
        out.note("there are more of them; repeat the command");
    }
    Ok(())
}

fn first() -> PageRequest {
    PageRequest {
        limit: COUNT_MAX,
        cursor: None,
    }
}

/// Returns the number of waiting tasks that match the filter: from the counts of the
/// queue if possible, otherwise by searching for them.
async fn waiting(client: &Client, filter: &TaskFilter) -> Result<Count, CliError> {
    if let Some(n) = counted(&client.queue().await?, filter) {
        return Ok(Count::Exactly(n));
    }
    let (mut found, mut more) = (0, false);
    for status in waiting_statuses(filter) {
        let of_status = TaskFilter {
            status: Some(status),
            ..filter.clone()
        };
        let page = client.tasks(&of_status, &first()).await?;
        found += page.items.len();
        more |= page.next_cursor.is_some();
    }
    Ok(Count::of(found, more))
}

/// Returns the number of waiting tasks, if the filter can be answered from the lanes.
fn counted(queue: &QueueStatus, filter: &TaskFilter) -> Option<u64> {
    let of_lanes = TaskFilter {
        status: filter.status,
        task_type: filter.task_type.clone(),
        priority: filter.priority,
        ..TaskFilter::default()
    };
    if of_lanes != *filter {
        return None;
    }
    let lanes = queue.lanes.iter().filter(|lane| {
        filter
            .task_type
            .as_ref()
            .is_none_or(|wanted| *wanted == lane.task_type)
            && filter.priority.is_none_or(|wanted| wanted == lane.priority)
    });
    let counts = lanes.flat_map(|lane| {
        waiting_statuses(filter).map(|status| match status {
            TaskStatus::Pending => lane.pending,
            _ => lane.queued,
        })
    });
    Some(counts.sum())
}

fn waiting_statuses(filter: &TaskFilter) -> impl Iterator<Item = TaskStatus> + use<> {
    let wanted = filter.status;
    [TaskStatus::Pending, TaskStatus::Queued]
        .into_iter()
        .filter(move |status| wanted.is_none_or(|wanted| wanted == *status))
}

impl Count {
    fn of(found: usize, more: bool) -> Self {
        match found as u64 {
            n if more => Self::AtLeast(n),
            n => Self::Exactly(n),
        }
    }

    /// Returns the number in words, with the kind of tasks.
    fn tasks(self, which: &str) -> String {
        match self {
            Self::Exactly(1) => format!("1 {which} task"),
            Self::Exactly(n) => format!("{n} {which} tasks"),
            Self::AtLeast(n) => format!("{n} or more {which} tasks"),
        }
    }
}

#[cfg(test)]
mod tests {
    use deia_model::{Priority, QueueLane, Rates, Waits};

    use super::*;

    #[test]
    fn the_counts_of_the_queue_tell_what_lanes_tell() {
        let lane = |name: &str, priority, pending, queued| QueueLane {
            task_type: name.parse().unwrap(),
            priority,
            pending,
            queued,
            running: 100,
            oldest_queued_ms: None,
            paused: false,
            rates: Rates::default(),
            waits: Waits::default(),
        };
        let queue = QueueStatus {
            lanes: vec![
                lane("a", Priority::P0, 1, 10),
                lane("a", Priority::P2, 2, 20),
                lane("b", Priority::P2, 3, 30),
            ],
            ..QueueStatus::default()
        };
        let all = TaskFilter::default();
        for (filter, expected) in [
            (all.clone(), Some(66)),
            (
                TaskFilter {
                    task_type: Some("a".parse().unwrap()),
                    ..all.clone()
                },
                Some(33),
            ),
            (
                TaskFilter {
                    priority: Some(Priority::P2),
                    status: Some(TaskStatus::Pending),
                    ..all.clone()
                },
                Some(5),
            ),
            (
                TaskFilter {
                    tags: vec!["t".into()],
                    ..all
                },
                None,
            ),
        ] {
            assert_eq!(counted(&queue, &filter), expected, "{filter:?}");
        }
    }

    #[test]
    fn something_must_be_said() {
        assert!(selection(TaskFilter::default(), false, "--all").is_err());
        assert!(selection(TaskFilter::default(), true, "--all").is_ok());
        let some = TaskFilter {
            submitter: Some("ada".into()),
            ..TaskFilter::default()
        };
        assert!(selection(some, false, "--all").is_ok());
    }

    #[test]
    fn counts_in_words() {
        let tasks = |found, more| Count::of(found, more).tasks("failed");
        assert_eq!(tasks(1, false), "1 failed task");
        assert_eq!(tasks(12, false), "12 failed tasks");
        assert_eq!(tasks(1_000, true), "1000 or more failed tasks");
    }
}
