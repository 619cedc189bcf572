//! `deia-admin task`.

mod submit;
mod view;

use std::time::Duration;

use clap::{Args, Subcommand};
use deia_hive::model::{
    BotName, PageRequest, Priority, TaskFilter, TaskId, TaskResult, TaskStatus, TaskType,
};

use self::submit::SubmitArgs;
use super::{context::Context, error::CliError, output::Output, parse, watch::WatchArgs};
use crate::client::{Client, ClientError};

#[derive(Debug, Subcommand)]
pub(super) enum TaskCommand {
    /// Submit a task.
    #[command(before_help = "Examples:
  deia-admin task submit 'hello' --wait
  deia-admin task submit - --type analysis --priority P1 --tag nightly < report.txt
  deia-admin task submit 'later' --run-at +30m --metadata ticket=42")]
    Submit(Box<SubmitArgs>),
    /// List tasks, the newest first.
    #[command(before_help = "Examples:
  deia-admin task list
  deia-admin task list --status running --watch
  deia-admin task list --status failed --type writing --limit 20
  deia-admin task list --output jsonl | jq -r .id")]
    List(ListArgs),
    /// Show everything about a task, its content included.
    #[command(before_help = "Examples:
  deia-admin task show task_01h455vb4pex5vsknk084sn02q
  deia-admin task show task_01h455vb4pex5vsknk084sn02q --watch")]
    Show {
        /// The task.
        id: TaskId,
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Print where a task is in its life, in one word.
    #[command(before_help = "Examples:
  deia-admin task status task_01h455vb4pex5vsknk084sn02q
  deia-admin task status task_01h455vb4pex5vsknk084sn02q --watch")]
    Status {
        /// The task.
        id: TaskId,
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Print what came of a task.
    #[command(before_help = "Examples:
  deia-admin task result task_01h455vb4pex5vsknk084sn02q
  deia-admin task result task_01h455vb4pex5vsknk084sn02q --wait 1h > out.txt")]
    Result {
        /// The task.
        id: TaskId,
        #[command(flatten)]
        wait: ResultWait,
    },
    /// Call a task off.
    #[command(before_help = "Examples:\n  deia-admin task cancel task_01h455vb4pex5vsknk084sn02q")]
    Cancel {
        /// The task.
        id: TaskId,
    },
}

/// Which tasks are listed.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only those in this status.
    #[arg(long, value_parser = parse::status())]
    status: Option<TaskStatus>,
    /// Only those of this type.
    #[arg(long = "type", value_name = "TYPE")]
    task_type: Option<TaskType>,
    /// Only those of this priority.
    #[arg(long, value_parser = parse::priority(), ignore_case = true)]
    priority: Option<Priority>,
    /// Only those that this bot has, or had last.
    #[arg(long)]
    bot: Option<BotName>,
    /// Only those that this user submitted.
    #[arg(long, value_name = "USER")]
    submitter: Option<String>,
    /// How many, at most.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Where the page before ended.
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    watch: WatchArgs,
}

/// How long the end of a task is waited for.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct ResultWait {
    /// Wait for its end, 5 minutes at most unless another time is given; the
    /// result is printed, and a task that did not succeed is exit code 1.
    #[arg(
        long,
        value_name = "DURATION",
        num_args = 0..=1,
        default_missing_value = "5m",
        value_parser = parse::duration
    )]
    wait: Option<Duration>,
}

impl TaskCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        match self {
            Self::Submit(args) => submit(context, *args).await,
            Self::List(args) => {
                let watch = args.watch;
                let (filter, part) = args.query();
                let once = async || {
                    let page = client.tasks(&filter, &part).await?;
                    let table = |look: &_| view::list(&page.items, look);
                    out.list(&page, "there are no such tasks", table)
                };
                watch.show(out, once).await
            }
            Self::Show { id, watch } => {
                let once = async || {
                    let task = client.task(id).await?;
                    out.one(&task, |look| view::details(&task, look))
                };
                watch.show(out, once).await
            }
            Self::Status { id, watch } => {
                let once = async || {
                    let state = client.task_status(id).await?;
                    out.one(&state, |_| state.status.as_str().to_owned())
                };
                watch.show(out, once).await
            }
            Self::Result { id, wait } => show(out, &result(client, id, wait).await?),
            Self::Cancel { id } => {
                let task = client.cancel_task(id).await?;
                if !task.status.is_final() {
                    out.note("its bot is ending it");
                }
                out.one(&task, |look| view::list(std::slice::from_ref(&task), look))
            }
        }
    }
}

impl ListArgs {
    fn query(self) -> (TaskFilter, PageRequest) {
        let filter = TaskFilter {
            status: self.status,
            task_type: self.task_type,
            priority: self.priority,
            bot: self.bot,
            submitter: self.submitter,
            ..TaskFilter::default()
        };
        let page = PageRequest {
            limit: self.limit,
            cursor: self.cursor,
        };
        (filter, page)
    }
}

async fn submit(context: &Context, args: SubmitArgs) -> Result<(), CliError> {
    let (client, out) = (&context.client, &context.out);
    let task = args.task()?;
    let accepted = client
        .submit(&task, args.idempotency_key.as_deref())
        .await?;
    if args.wait.wait.is_none() {
        return out.one(&accepted, |look| view::accepted(&accepted, look));
    }
    out.note(&format!("{} is accepted", accepted.id));
    show(out, &result(client, accepted.id, args.wait).await?)
}

async fn result(client: &Client, id: TaskId, wait: ResultWait) -> Result<TaskResult, CliError> {
    let Some(within) = wait.wait else {
        return Ok(client.task_result(id, Duration::ZERO).await?);
    };
    match client.wait_for_result(id, within).await {
        Err(ClientError::TimedOut { .. }) => Err(CliError::TaskNotEnded { id, after: within }),
        other => Ok(other?),
    }
}

/// People get what the bot answered and a line about it; programs get everything.
/// A task that did not succeed is an error either way.
fn show(out: &Output, result: &TaskResult) -> Result<(), CliError> {
    if out.is_table() {
        out.raw(result.output.as_deref().unwrap_or_default())?;
    } else {
        out.one(result, |_| String::new())?;
    }
    if !result.success {
        return Err(CliError::TaskFailed {
            id: result.task_id,
            how: view::how(result),
        });
    }
    if out.is_table() {
        out.note(&format!(
            "{} completed: {}",
            result.task_id,
            view::how(result)
        ));
    }
    Ok(())
}
