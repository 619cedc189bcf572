//! `deia backup`: the archive of the hive, its restore points, and restores.

mod moment;
mod report;
mod view;

use std::time::Duration;

use clap::{Args, Subcommand};
use deia_model::{NewRestore, PointId, RecoveryJob, RecoveryJobState, RecoveryStatus};

pub(crate) use self::{moment::MomentArgs, report::report_lines};

use super::{
    confirm::Confirm, context::Context, error::CliError, filter::PageArgs, parse, watch::WatchArgs,
};

/// Interval of the checks whether a job has ended. Fixed: short for a person.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Subcommand)]
pub(super) enum BackupCommand {
    /// Show the archive, and what a loss of the disk would cost now.
    #[command(before_help = "Examples:
  deia backup status
  deia backup status --watch
  deia backup status --output json | jq .exposure_seconds")]
    Status {
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Make a restore point, with a snapshot of its own unless --mark is given.
    #[command(before_help = "Examples:
  deia backup create --label 'before upgrade'
  deia backup create --mark --label 'all migrated'")]
    Create {
        /// A name for people.
        #[arg(long, value_name = "TEXT")]
        label: Option<String>,
        /// Only mark this moment: quicker to make, slower to restore.
        #[arg(long)]
        mark: bool,
    },
    /// List the restore points, newest first.
    #[command(before_help = "Examples:
  deia backup list
  deia backup list --limit 500 --output jsonl | jq -r .id")]
    List {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show a restore point.
    #[command(before_help = "Examples:
  deia backup show point_01h455vb4pex5vsknk084sn02q")]
    Show {
        /// The restore point.
        id: PointId,
    },
    /// Read and compare every object of the archive.
    #[command(before_help = "Examples:
  deia backup verify --wait")]
    Verify(JobArgs),
    /// Restore a point to a temporary directory, to check that it can be restored. Nothing of
    /// the running hive is touched.
    #[command(before_help = "Examples:
  deia backup drill --wait
  deia backup drill --point point_01h455vb4pex5vsknk084sn02q --wait")]
    Drill {
        /// The restore point; the newest if not given.
        #[arg(long, value_name = "ID")]
        point: Option<PointId>,
        #[command(flatten)]
        job: JobArgs,
    },
    /// Restore a point, or another moment, in place or to a new directory on the machine of the
    /// hive.
    ///
    /// In place the hive restarts with the restored store; everything after the moment is lost
    /// from it, and the replaced store is kept in the data directory. The queue and the webhooks
    /// are paused until deia backup resume, unless --go is given. The report of what was lost,
    /// what may repeat and which revoked access is valid again is in deia backup status.
    #[command(before_help = "Examples:
  deia backup restore point_01h455vb4pex5vsknk084sn02q
  deia backup restore newest --at 2026-11-20T08:30:00Z --yes
  deia backup restore newest --before-event 1.4711 --to /var/lib/deia-copy --wait
  deia backup restore newest --task task_01h455vb4pex5vsknk084sn02q --to /var/lib/deia-copy")]
    Restore {
        /// The restore point to restore, or to go on from up to a moment; newest: the newest
        /// commit of the archive, or a moment anywhere in it.
        #[arg(value_name = "POINT", value_parser = from)]
        id: String,
        /// Absolute path of a new directory; in place if not given.
        #[arg(long, value_name = "DIR")]
        to: Option<String>,
        #[command(flatten)]
        moment: MomentArgs,
        /// Work at once: do not pause the queue and the webhooks.
        #[arg(long)]
        go: bool,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        job: JobArgs,
    },
    /// Resume the queue and the webhooks that a restore has paused.
    #[command(before_help = "Examples:
  deia backup resume")]
    Resume,
    /// Mark the end of this run as an orderly one, whatever ends it: the next start reports no
    /// crash.
    #[command(before_help = "Examples:
  deia backup mark-shutdown")]
    MarkShutdown,
}

/// Options of commands that begin a job.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct JobArgs {
    /// Wait until the job has ended, 1 hour at most unless another time is given.
    #[arg(
        long,
        value_name = "DURATION",
        num_args = 0..=1, require_equals = true,
        default_missing_value = "1h",
        value_parser = parse::duration
    )]
    wait: Option<Duration>,
}

impl BackupCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        match self {
            Self::Status { watch } => {
                let once = async || {
                    let status = client.recovery_status().await?;
                    out.one(&status, |look| view::status(&status, look))
                };
                watch.show(context, once).await
            }
            Self::Create { label, mark } => {
                let made = match mark {
                    true => client.create_restore_point(label.as_deref()).await?,
                    false => client.create_backup(label.as_deref()).await?,
                };
                out.one(&made, |_| format!("{}\n", made.id))
            }
            Self::List { page } => {
                let points = client.restore_points(&page.request()).await?;
                let none = "there are no restore points yet";
                out.list(&points, none, |look| view::points(&points.items, look))
            }
            Self::Show { id } => {
                let point = client.restore_point(&id.to_string()).await?;
                out.one(&point, |look| {
                    view::points(std::slice::from_ref(&point), look)
                })
            }
            Self::Verify(job) => {
                let begun = client.verify_archive().await?;
                job.end(context, begun).await
            }
            Self::Drill { point, job } => {
                let begun = client.drill_restore(point).await?;
                job.end(context, begun).await
            }
            Self::Restore {
                id,
                to,
                moment,
                go,
                confirm,
                job,
            } => {
                if to.is_none() {
                    let moment = moment.moment().map_or_else(
                        || id.clone(),
                        |moment| format!("{id} up to the given {}", moment.name()),
                    );
                    confirm.ask(&format!(
                        "restart the hive with its state of {moment}, without everything after it"
                    ))?;
                }
                let request = NewRestore {
                    to: to.unwrap_or_else(|| "in_place".to_owned()),
                    at: moment.at,
                    event: moment.event,
                    before_event: moment.before_event,
                    task: moment.task,
                    before_task: moment.before_task,
                    go,
                };
                let begun = client.restore(&id, &request).await?;
                job.end(context, begun).await
            }
            Self::Resume => show(context, client.resume_restored().await?),
            Self::MarkShutdown => show(context, client.mark_shutdown().await?),
        }
    }
}

/// Parses the place that a restore begins with.
fn from(text: &str) -> Result<String, String> {
    match text == "newest" || text.parse::<PointId>().is_ok() {
        true => Ok(text.to_owned()),
        false => Err("expected the id of a restore point, or newest".to_owned()),
    }
}

fn show(context: &Context, status: RecoveryStatus) -> Result<(), CliError> {
    context.out.one(&status, |look| view::status(&status, look))
}

impl JobArgs {
    /// Waits for the end of a job if asked to, and prints it.
    async fn end(self, context: &Context, begun: RecoveryJob) -> Result<(), CliError> {
        let job = match self.wait {
            Some(limit) => wait(context, begun, limit).await?,
            None => begun,
        };
        context.out.one(&job, |look| view::job(&job, look))?;
        match job.state {
            RecoveryJobState::Failed => Err(CliError::JobFailed(job.detail)),
            _ => Ok(()),
        }
    }
}

async fn wait(
    context: &Context,
    begun: RecoveryJob,
    limit: Duration,
) -> Result<RecoveryJob, CliError> {
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        let status = context.client.recovery_status().await?;
        let ours = status.job.filter(|job| job.started_at == begun.started_at);
        match ours {
            Some(job) if job.state != RecoveryJobState::Running => return Ok(job),
            // A restore in place restarts the hive, which knows no job then.
            None => return Ok(begun),
            Some(_) if tokio::time::Instant::now() >= deadline => return Ok(begun),
            Some(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}
