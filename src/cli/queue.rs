//! `deia queue`.

mod bulk;
mod view;

use std::time::Duration;

use clap::Subcommand;
use deia_model::{QueueStatus, TaskType};

use self::bulk::{DeadArgs, PurgeArgs, RequeueArgs};
pub(super) use self::view::counts;
use super::{
    context::Context,
    error::CliError,
    interrupt::{self, Stays},
    output::Output,
    parse,
    table::Table,
    watch::WatchArgs,
};

#[derive(Debug, Subcommand)]
pub(super) enum QueueCommand {
    /// Show the number of tasks by status, the pauses, the throughput, and the waiting
    /// times.
    #[command(before_help = "Examples:
  deia queue status
  deia queue status --watch
  deia queue status --output json | jq .totals.queued")]
    Status {
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Start no more tasks; running ones continue.
    #[command(before_help = "Examples:
  deia queue pause
  deia queue pause --type writing --reason 'the model is down'")]
    Pause {
        /// Only tasks of this type.
        #[arg(long = "type", value_name = "TYPE")]
        task_type: Option<TaskType>,
        /// Reason, shown in the status of the queue.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Start tasks again.
    #[command(before_help = "Examples:
  deia queue resume
  deia queue resume --type writing")]
    Resume {
        /// End the pause of this type only, not that of the whole queue.
        #[arg(long = "type", value_name = "TYPE")]
        task_type: Option<TaskType>,
    },
    /// Start no more tasks, and wait until the running ones have ended.
    #[command(before_help = "Examples:
  deia queue drain --wait 10m --reason 'new version'
  deia queue drain --type writing --wait")]
    Drain {
        /// Only tasks of this type.
        #[arg(long = "type", value_name = "TYPE")]
        task_type: Option<TaskType>,
        /// Reason, shown in the status of the queue.
        #[arg(long)]
        reason: Option<String>,
        /// Wait until nothing runs, 5 minutes at most unless another time is given;
        /// exit code 8 if something still does.
        #[arg(
            long,
            value_name = "DURATION",
            num_args = 0..=1, require_equals = true,
            default_missing_value = "5m",
            value_parser = parse::duration
        )]
        wait: Option<Duration>,
    },
    /// Cancel waiting tasks in bulk. Running ones are left alone.
    #[command(before_help = "Examples:
  deia queue purge --tag nightly
  deia queue purge --type writing --until 1d --yes
  deia queue purge --all --yes")]
    Purge(Box<PurgeArgs>),
    /// List the failed tasks, the newest first.
    #[command(before_help = "Examples:
  deia queue dead
  deia queue dead --reason poison --watch
  deia queue dead --type writing --since 1d --output jsonl | jq -r .id")]
    Dead(Box<DeadArgs>),
    /// Put failed tasks back into the queue, with all their attempts.
    #[command(before_help = "Examples:
  deia queue requeue task_01h455vb4pex5vsknk084sn02q
  deia queue requeue --reason expired --since 2h
  deia queue requeue --type writing --yes")]
    Requeue(Box<RequeueArgs>),
}

impl QueueCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        match self {
            Self::Status { watch } => {
                let once = async || {
                    let queue = client.queue().await?;
                    out.one(&queue, |look| view::status(&queue, look))
                };
                watch.show(context, once).await
            }
            Self::Pause { task_type, reason } => {
                let pause = client.pause_queue(task_type.as_ref(), reason.as_deref());
                paused(out, &pause.await?)
            }
            Self::Resume { task_type } => {
                tell_if_not_paused(context, task_type.as_ref()).await;
                paused(out, &client.resume_queue(task_type.as_ref()).await?)
            }
            Self::Drain {
                task_type,
                reason,
                wait,
            } => drain(context, task_type, reason, wait).await,
            Self::Purge(args) => args.run(context).await,
            Self::Dead(args) => args.run(context).await,
            Self::Requeue(args) => args.run(context).await,
        }
    }
}

/// Reports that a type is not paused itself, if that can be looked up.
async fn tell_if_not_paused(context: &Context, task_type: Option<&TaskType>) {
    let Some(task_type) = task_type else { return };
    let Ok(queue) = context.client.queue().await else {
        return;
    };
    let paused = queue
        .paused
        .iter()
        .any(|pause| pause.task_type.as_ref() == Some(task_type));
    if !paused {
        context
            .out
            .note(&format!("note: type {task_type} was not paused"));
    }
}

/// Prints the current pauses.
fn paused(out: &Output, queue: &QueueStatus) -> Result<(), CliError> {
    if queue.paused.is_empty() {
        out.note("nothing is paused");
    }
    out.one(queue, |look| match queue.paused.as_slice() {
        [] => String::new(),
        paused => view::pauses(paused, look),
    })
}

async fn drain(
    context: &Context,
    task_type: Option<TaskType>,
    reason: Option<String>,
    wait: Option<Duration>,
) -> Result<(), CliError> {
    let (client, out) = (&context.client, &context.out);
    let within = wait.unwrap_or_default();
    context.interrupt.stays(Stays::Paused(task_type.clone()));
    let drained = client
        .drain_queue(task_type.as_ref(), reason.as_deref(), within)
        .await?;
    out.one(&drained, |look| {
        let mut table = Table::fields();
        table.field("drained", if drained.drained { "yes" } else { "no" });
        table.field("running", drained.running);
        table.render(look)
    })?;
    match wait {
        Some(after) if !drained.drained => Err(CliError::NotDrained {
            task_type,
            running: drained.running,
            after,
        }),
        None if !drained.drained => {
            out.note("running tasks continue; --wait waits for their end");
            out.note(&interrupt::resume(task_type.as_ref()));
            Ok(())
        }
        _ => Ok(()),
    }
}
