//! `deia task`.

mod batch;
mod list;
mod logs;
mod output;
mod submit;
mod view;
mod watch;
mod words;

use std::time::Duration;

use clap::{Args, Subcommand};
use deia_client::{Client, ClientError};
use deia_model::{TaskHold, TaskId, TaskResult};

use self::{list::ListArgs, logs::TaskLogArgs, submit::SubmitArgs};
pub(super) use self::{
    list::tell_of_span,
    output::OutputArgs,
    view::{all_events, dead, event_line, more},
};
use super::{
    confirm::Confirm, context::Context, error::CliError, interrupt::Stays, output::Output, parse,
    watch::WatchArgs,
};

#[derive(Debug, Subcommand)]
pub(super) enum TaskCommand {
    /// Submit a task, or a file of tasks.
    #[command(before_help = "Examples:
  deia task submit 'hello' --wait
  deia task submit - --type analysis --priority P1 --tag nightly < report.txt
  deia task submit 'later' --delay 30m --expires +2h --metadata ticket=42
  deia task submit 'after that' --depends-on task_01h455vb4pex5vsknk084sn02q
  deia task submit 'once at a time' --dedup-key nightly-report
  deia task submit --file tasks.jsonl --idempotency-key import-7")]
    Submit(Box<SubmitArgs>),
    /// List tasks, the newest first.
    #[command(before_help = "Examples:
  deia task list
  deia task list --status running --watch
  deia task list --status failed --type writing --limit 20
  deia task list --tag nightly --metadata ticket=42 --since 2h
  deia task list --reason expired --since 7days
  deia task list --output jsonl | jq -r .id")]
    List(Box<ListArgs>),
    /// Show everything about a task: its content, and its failed attempts.
    #[command(before_help = "Examples:
  deia task show task_01h455vb4pex5vsknk084sn02q
  deia task show task_01h455vb4pex5vsknk084sn02q --watch")]
    Show {
        /// The task.
        id: TaskId,
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Print the status of a task, in one word.
    #[command(before_help = "Examples:
  deia task status task_01h455vb4pex5vsknk084sn02q
  deia task status task_01h455vb4pex5vsknk084sn02q --watch")]
    Status {
        /// The task.
        id: TaskId,
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Explain why a task has not started, or its current state.
    #[command(before_help = "Examples:\n  deia task why task_01h455vb4pex5vsknk084sn02q")]
    Why {
        /// The task.
        id: TaskId,
    },
    /// Print the events of a task, the oldest first.
    #[command(before_help = "Examples:
  deia task events task_01h455vb4pex5vsknk084sn02q
  deia task events task_01h455vb4pex5vsknk084sn02q --output jsonl | jq -r .action")]
    Events {
        /// The task.
        id: TaskId,
    },
    /// Follow a task to its end: a line for each change, then the result.
    #[command(before_help = "Examples:
  deia task watch task_01h455vb4pex5vsknk084sn02q
  deia task watch task_01h455vb4pex5vsknk084sn02q --output jsonl")]
    Watch {
        /// The task.
        id: TaskId,
    },
    /// Print the result of a task.
    #[command(before_help = "Examples:
  deia task result task_01h455vb4pex5vsknk084sn02q
  deia task result task_01h455vb4pex5vsknk084sn02q --wait 1h > out.txt")]
    Result {
        /// The task.
        id: TaskId,
        #[command(flatten)]
        wait: ResultWait,
    },
    /// Print the output of a task's program so far, byte for byte.
    #[command(before_help = "Examples:
  deia task output task_01h455vb4pex5vsknk084sn02q --follow
  deia task output task_01h455vb4pex5vsknk084sn02q > out.bin
  deia task output task_01h455vb4pex5vsknk084sn02q --attempt 1 --offset 65536
  deia task output task_01h455vb4pex5vsknk084sn02q --range 0-1023")]
    Output(OutputArgs),
    /// Print the lines about a task in the logs of bots: standard error, and notes.
    #[command(before_help = "Examples:
  deia task logs task_01h455vb4pex5vsknk084sn02q
  deia task logs task_01h455vb4pex5vsknk084sn02q --attempt 1
  deia task logs task_01h455vb4pex5vsknk084sn02q --follow")]
    Logs(TaskLogArgs),
    /// Cancel a task.
    #[command(before_help = "Examples:\n  deia task cancel task_01h455vb4pex5vsknk084sn02q")]
    Cancel {
        /// The task.
        id: TaskId,
    },
    /// Erase the content of a finished task, its metadata, outputs and errors. The
    /// record stays, and the archive keeps it for recovery.retention.
    #[command(before_help = "Examples:
  deia task erase task_01h455vb4pex5vsknk084sn02q
  deia task erase task_01h455vb4pex5vsknk084sn02q --yes")]
    Erase {
        /// The task.
        id: TaskId,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Put a finished task back into the queue, with all its attempts.
    #[command(before_help = "Examples:\n  deia task retry task_01h455vb4pex5vsknk084sn02q")]
    Retry {
        /// The task.
        id: TaskId,
    },
}

/// The wait for the end of a task.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct ResultWait {
    /// Wait for its end, 5 minutes at most unless another time is given; the result is
    /// printed, and a task that did not succeed gives exit code 1.
    #[arg(
        long,
        value_name = "DURATION",
        num_args = 0..=1, require_equals = true,
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
            Self::List(args) => args.run(context).await,
            Self::Show { id, watch } => {
                let once = async || {
                    let task = client.task(id).await?;
                    out.one(&task, |look| view::details(&task, look))
                };
                watch.show(context, once).await
            }
            Self::Status { id, watch } => {
                let once = async || {
                    let state = client.task_status(id).await?;
                    out.one(&state, |_| state.status.as_str().to_owned())
                };
                watch.show(context, once).await
            }
            Self::Why { id } => {
                let why = client.explain_task(id).await?;
                out.one(&why, |look| view::explanation(&why, look))
            }
            Self::Events { id } => {
                let events = client.task_events(id).await?;
                out.list(&events, "its events are no longer kept", |look| {
                    view::events(&events.items, look)
                })
            }
            Self::Watch { id } => watch::watch(context, id).await,
            Self::Result { id, wait } => {
                if wait.wait.is_some() {
                    context.interrupt.stays(Stays::Task(id));
                }
                show(out, &result(client, id, wait).await?)
            }
            Self::Output(args) => args.run(context).await,
            Self::Logs(args) => args.run(context).await,
            Self::Cancel { id } => {
                let task = client.cancel_task(id).await?;
                if !task.status.is_final() {
                    out.note("its bot is ending it");
                }
                out.one(&task, |look| view::list(std::slice::from_ref(&task), look))
            }
            Self::Erase { id, confirm } => {
                confirm.ask(&format!(
                    "erase the content, outputs and errors of {id} for good"
                ))?;
                client.erase_task(id).await?;
                out.note(&format!("the content of {id} is erased"));
                Ok(())
            }
            Self::Retry { id } => {
                let task = client.retry_task(id).await?;
                out.one(&task, |look| view::list(std::slice::from_ref(&task), look))
            }
        }
    }
}

async fn submit(context: &Context, args: SubmitArgs) -> Result<(), CliError> {
    let (client, out) = (&context.client, &context.out);
    if let Some(file) = &args.file {
        return batch::submit(context, file, args.batch(), args.idempotency_key.as_deref()).await;
    }
    let task = args.task()?;
    let accepted = client
        .submit(&task, args.idempotency_key.as_deref())
        .await?;
    if accepted.deduplicated {
        out.note("an unfinished task has this --dedup-key; no new one was submitted");
    }
    context.interrupt.stays(Stays::Task(accepted.id));
    if out.is_table() {
        tell_hold(context, accepted.id).await;
    }
    if args.wait.wait.is_none() {
        let shown = out.one(&accepted, |look| view::accepted(&accepted, look));
        return shown.map_err(|error| CliError::NotShown {
            done: format!("{} is accepted", accepted.id),
            next: format!("follow it: deia task watch {}", accepted.id),
            error: Box::new(error),
        });
    }
    out.note(&format!("{} is accepted", accepted.id));
    show(out, &result(client, accepted.id, args.wait).await?)
}

/// Reports what will keep a task waiting until somebody intervenes.
async fn tell_hold(context: &Context, id: TaskId) {
    // The task is accepted: a failure to explain it is none of the command.
    let Ok(why) = context.client.explain_task(id).await else {
        return;
    };
    if matches!(
        why.hold,
        TaskHold::NoBotTakesIt
            | TaskHold::BotsAreDown
            | TaskHold::BotsAreAtFault
            | TaskHold::BotsAreCutOff
            | TaskHold::BotsArePaused
            | TaskHold::BotsAreUnreachable
            | TaskHold::HiveRestarts
            | TaskHold::QueuePaused
            | TaskHold::TypePaused
    ) {
        context
            .out
            .note(&format!("note: {id} waits: {}", why.detail));
    }
}

async fn result(client: &Client, id: TaskId, wait: ResultWait) -> Result<TaskResult, CliError> {
    let Some(within) = wait.wait else {
        return Ok(client.task_result(id, Duration::ZERO).await?);
    };
    match client.wait_for_result(id, within).await {
        Err(ClientError::TimedOut { .. }) => Err(CliError::TaskNotEnded {
            id,
            why: client.explain_task(id).await.ok().map(|why| why.detail),
            after: within,
        }),
        other => Ok(other?),
    }
}

/// Prints a result. People get the output of the bot and a line about it; programs get
/// everything. A task that did not succeed is an error either way.
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
