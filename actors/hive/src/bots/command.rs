//! The command executor: a program started for each task.
//!
//! [`run`] starts the program in a session of its own, feeds its input, reads its output, and makes
//! sure that all its processes are gone when the attempt is over: ended by itself, stopped or
//! dropped.

pub(super) mod environment;
mod executor;
mod metadata;
mod process_exit;
mod streams;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use deia_ledger::ClaimedTask;
use deia_model::{AttemptEnd, BotLimits, BotName, CommandExecutor};
use tokio::time::timeout;

pub(super) use self::executor::CommandFactory;
use self::{metadata::Metadata, process_exit::ProcessExit, streams::Streams};
use super::{
    attempt::{ExecutionResult, StopCause, StopSignal, stop_requested},
    bot::AttemptKey,
    log::{BotLog, LoggedAttempt, Stream},
    meters::Meters,
    output::{OutputLimits, OutputSpool, Outputs, SpoolError, Spooled, result_text},
    program::{
        exit::{EOF_WITHIN, ExitWatch, exited, group_gone, strays, watch_exit},
        launch::{Launch, Pids, Pipes, Program},
        lookup,
        start_failure::{self, NotStarted},
    },
    progress::Progress,
    reaper_handle::ReaperHandle,
    registry::BotGauges,
};
use crate::{host::private_dir, reaper, secrets::BotSecrets};

/// The context that all attempts of one command bot share.
#[derive(Clone)]
pub(crate) struct CommandContext {
    /// Specification of the program.
    pub(crate) spec: CommandExecutor,
    /// Name of the bot.
    pub(crate) bot: BotName,
    /// TCP port on loopback reserved for the bot.
    pub(crate) port: u16,
    /// Secrets that only the bot's programs receive.
    pub(crate) secrets: BotSecrets,
    /// Id of the hive, which every program carries.
    pub(crate) hive_id: String,
    /// Working directory of programs without `working_dir`; created if missing.
    pub(crate) work_dir: PathBuf,
    /// Store of the output of programs.
    pub(crate) outputs: Outputs,
    /// Limits of that output.
    pub(crate) output_limits: OutputLimits,
    /// Attempts of a task whose output is kept (`tasks.kept_outputs`).
    pub(crate) kept_outputs: u32,
    /// Time between TERM and KILL (`bots.term_grace`).
    pub(crate) term_grace: Duration,
    /// The reaper of all programs.
    pub(crate) reaper: ReaperHandle,
    /// The bot's log.
    pub(crate) log: BotLog,
    /// The bot's running programs, for display.
    pub(crate) pids: Pids,
    /// Meters of these programs.
    pub(crate) meters: Meters,
    /// Limits of their resources.
    pub(crate) limits: BotLimits,
    /// The incarnation of the bot.
    pub(crate) incarnation: u64,
    /// Notified when a program has started.
    pub(crate) on_start: OnStart,
}

/// Callback of executors for the start of an attempt.
#[derive(Clone)]
pub(crate) struct OnStart(Arc<dyn Fn() + Send + Sync>);

impl OnStart {
    /// Returns a callback that notes the start on the bot's gauges.
    pub(super) fn on(gauges: Arc<BotGauges>) -> Self {
        Self(Arc::new(move || gauges.attempt_started()))
    }

    #[cfg(test)]
    pub(super) fn unheard() -> Self {
        Self(Arc::new(|| {}))
    }
}

/// Runs the program for one attempt until it ends or is stopped. Dropping the future kills the
/// whole process group at once.
pub(crate) async fn run(
    cx: &CommandContext,
    claimed: &ClaimedTask,
    progress: Progress,
    mut stop: StopSignal,
) -> ExecutionResult {
    let began = Instant::now();
    let elapsed_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let already = stop.borrow().clone();
    if let Some(cause) = already {
        return ExecutionResult::stopped(cause, 0);
    }
    // The task's directory exists until the attempt has ended.
    let outputs = cx.outputs.directory(claimed.task.id);
    let metadata = Arc::new(Metadata::of(&claimed.task, &outputs));
    let (program, pipes) = match start(cx, claimed, &metadata).await {
        Ok(started) => started,
        Err(error) => {
            cx.note(claimed, &error.reason);
            return error.outcome(elapsed_ms());
        }
    };
    (cx.on_start.0)();
    let _metered = cx
        .meters
        .begin(program.group(), AttemptKey::of(claimed), cx.limits);
    let (ending, spool, stderr) = attend(cx, claimed, program, (pipes, progress), &mut stop).await;
    let (ending, kept) = keep(ending, spool).await;
    let ended = ending.told();
    let (mut outcome, replaced) =
        process_exit::classify_exit(ending, kept.bytes, &stderr, elapsed_ms());
    if replaced {
        cx.note(
            claimed,
            "the result has bytes that are not UTF-8; they were replaced",
        );
    }
    outcome.output_bytes = kept.in_file;
    result_text::cut(&mut outcome, cx.output_limits.memory);
    match (&outcome.end, &outcome.error) {
        (AttemptEnd::Succeeded, _) => {}
        // Standard error is in the log already.
        (_, Some(error)) => cx.note(claimed, process_exit::without_stderr(error)),
        (end, None) => {
            let told = ended.as_deref().unwrap_or(end.description());
            cx.note(claimed, &format!("ended: {told}"));
        }
    }
    outcome
}

/// Stores the output of the program, in a file if needed, however the program ended.
async fn keep(ending: ProcessExit, spool: Option<OutputSpool>) -> (ProcessExit, Spooled) {
    let Some(spool) = spool else {
        return (ending, Spooled::default());
    };
    match spool.finish(!ending.is_success()).await {
        Ok(kept) => (ending, kept),
        Err((fault, kept)) => match ending {
            ProcessExit::Exited(_) => (ProcessExit::NotSpooled(fault), kept),
            other => (other, kept),
        },
    }
}

impl CommandContext {
    fn note(&self, claimed: &ClaimedTask, text: &str) {
        self.log.line(Some(logged(claimed)), Stream::Deia, text);
    }
}

fn logged(claimed: &ClaimedTask) -> LoggedAttempt {
    LoggedAttempt {
        task: claimed.task.id,
        attempt: claimed.task.attempt,
    }
}

/// Starts the program off the arbiter: loading it may block on the disk.
async fn start(
    cx: &CommandContext,
    claimed: &ClaimedTask,
    metadata: &Arc<Metadata>,
) -> Result<(Program, Pipes), NotStarted> {
    let Some(word) = cx.spec.command.first().cloned() else {
        return Err(NotStarted::bot("the command names no program"));
    };
    let secrets = cx.secrets.resolve().await;
    let secrets = secrets.map_err(|error| NotStarted::bot(error.to_string()))?;
    let mut environment =
        environment::environment(cx, claimed, metadata, |name| std::env::var_os(name));
    environment.extend(secrets);
    // The runner that starts the program has a different working directory.
    let own_directory = cx.spec.working_dir.as_ref().map(PathBuf::from);
    let own_directory = own_directory.map(|it| std::path::absolute(&it).unwrap_or(it));
    let make_directory = own_directory.is_none();
    let mut launch = Launch {
        file: PathBuf::new(),
        command: cx.spec.command.clone(),
        environment,
        directory: own_directory.unwrap_or_else(|| cx.work_dir.clone()),
        has_input: claimed
            .task
            .content
            .as_deref()
            .is_some_and(|c| !c.is_empty()),
        tells_progress: true,
        env_tags: environment::env_tags(cx, claimed),
        reaper: cx.reaper.clone(),
        pids: cx.pids.clone(),
        incarnation: cx.incarnation,
        descriptors: cx.limits.descriptors,
    };
    let metadata = metadata.clone();
    let (outputs, task) = (cx.outputs.clone(), claimed.task.id);
    let too_old = claimed.task.attempt.saturating_sub(cx.kept_outputs);
    // If the future is dropped, so is the result of the start, which kills the program.
    let started = tokio::task::spawn_blocking(move || {
        if too_old > 0
            && let Err(error) = outputs.remove_up_to(task, too_old)
        {
            tracing::warn!(%task, %error, "outputs of earlier attempts cannot be removed");
        }
        metadata.write().map_err(|error| {
            NotStarted::bot(format!("the metadata cannot be written to a file: {error}"))
        })?;
        let directory = launch.directory.clone();
        if make_directory {
            private_dir::make(&directory).map_err(|error| {
                NotStarted::bot(format!(
                    "the working directory {} cannot be created: {error}",
                    directory.display()
                ))
            })?;
        }
        launch.file = lookup::resolve(&word, &launch.environment, lookup::is_executable)
            .map_err(|missing| start_failure::not_found(&word, missing))?;
        launch
            .start()
            .map_err(|error| start_failure::not_started(&word, &directory, &error))
    });
    started.await.unwrap_or_else(|error| {
        Err(NotStarted::bot(format!(
            "the program cannot be started: {error}"
        )))
    })
}

/// Waits for the end of a running program. Also returns its output and the tail of its standard
/// error.
async fn attend(
    cx: &CommandContext,
    claimed: &ClaimedTask,
    program: Program,
    (pipes, progress): (Pipes, Progress),
    stop: &mut StopSignal,
) -> (ProcessExit, Option<OutputSpool>, String) {
    let content = claimed
        .task
        .content
        .clone()
        .unwrap_or_default()
        .into_bytes();
    let (task, attempt) = (claimed.task.id, claimed.task.attempt);
    let streams = Streams::new(
        pipes,
        content,
        cx.outputs.keep(task, attempt, cx.output_limits),
        progress,
        cx.log.clone(),
        logged(claimed),
    );
    let exit = watch_exit(&program);
    let (mut streams, exit) = match (streams, exit) {
        (Ok(streams), Ok(exit)) => (streams, exit),
        (Err(error), _) | (_, Err(error)) => {
            return (ProcessExit::Lost(error), None, String::new());
        }
    };
    let interruption = until_interrupted(&exit, &mut streams, stop).await;
    match &interruption {
        None => {}
        Some(Interruption::NotSpooled(_)) => program.kill(),
        Some(Interruption::Stop(_)) => {
            end_gently(&program, &exit, &mut streams, cx.term_grace).await;
        }
    }
    // The leader has ended or is being killed. Until it is reaped, no other group gets its number.
    exited(&exit).await;
    let ended = program.reap().await;
    let rest = timeout(EOF_WITHIN, streams.pump()).await;
    if rest.is_err() {
        cx.note(
            claimed,
            "a process that cannot be ended still holds the output; not waited for",
        );
    }
    for note in ended.iter().flat_map(strays) {
        cx.note(claimed, &note);
    }
    let status = ended.map(|ended| ended.status);
    let ending = match (interruption, status, rest) {
        (Some(Interruption::Stop(cause)), ..) => ProcessExit::Stopped(cause),
        (Some(Interruption::NotSpooled(fault)), ..) | (None, _, Ok(Err(fault))) => {
            ProcessExit::NotSpooled(fault)
        }
        (None, Ok(status), _) => ProcessExit::Exited(status),
        (None, Err(_), _) => ProcessExit::RunnerKilled,
    };
    let (spool, stderr) = streams.finish();
    (ending, Some(spool), stderr)
}

/// Reason to end a program early.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Interruption {
    Stop(StopCause),
    NotSpooled(SpoolError),
}

/// Waits until the program has ended by itself (`None`) or must be ended. An end by itself takes
/// precedence.
async fn until_interrupted(
    exit: &ExitWatch,
    streams: &mut Streams,
    stop: &mut StopSignal,
) -> Option<Interruption> {
    let pump = async {
        match streams.pump().await {
            Ok(()) => std::future::pending().await,
            Err(fault) => Interruption::NotSpooled(fault),
        }
    };
    tokio::select! {
        biased;
        () = exited(exit) => None,
        // The runtime may not have seen an end that came before the stop.
        cause = stop_requested(stop) => {
            (!reaper::has_ended(exit.get_ref())).then_some(Interruption::Stop(cause))
        }
        interruption = pump => Some(interruption),
    }
}

/// Sends TERM to the group, and KILL if it still lives after the grace. Drains the outputs
/// meanwhile, so that no process blocks on a full pipe.
async fn end_gently(program: &Program, exit: &ExitWatch, streams: &mut Streams, grace: Duration) {
    program.ask_to_end();
    let pump = async {
        // An output over the limit no longer matters.
        let _ = streams.pump().await;
        std::future::pending::<()>().await;
    };
    let gone = group_gone(program, exit);
    tokio::select! {
        () = gone => {}
        () = tokio::time::sleep(grace) => {}
        () = pump => {}
    }
    program.kill();
}
