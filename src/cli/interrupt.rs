//! Ctrl-C: reports the effects that remain, and ends the command with exit code 130.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};

use deia_client::{Client, OutputPlace};
use deia_model::{BotName, ReplayId, TaskId, TaskType, WebhookId};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use super::error::CliError;

/// Interval and number of checks whether the command has reached a consistent state.
/// Fixed: of the command line, which has no settings.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Number of these checks. Fixed: of the command line, which has no settings.
const LOOKS: u32 = 50;

/// An effect that stays when the command that caused it is interrupted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stays {
    /// None: no change was sent.
    #[default]
    Nothing,
    /// None, and the interruption was expected: the command shows something until it is
    /// ended.
    Watching,
    /// A change was confirmed, and the command was about to show that.
    Done,
    /// A change was sent, and its answer had not come.
    Unknown,
    /// The task continues.
    Task(TaskId),
    /// The task continues, and its output was shown up to this position.
    Output(TaskId, OutputPlace),
    /// The task continues, and its log was followed.
    Log(TaskId),
    /// Tasks were accepted; with this key the rest can be submitted.
    Batch {
        /// Number of accepted tasks.
        accepted: usize,
        /// The idempotency key.
        key: String,
    },
    /// The queue, or one task type, is paused.
    Paused(Option<TaskType>),
    /// The bot continues to its desired state.
    Bot(BotName),
    /// The bot is being stopped in order to be launched again.
    BotStopped(BotName),
    /// The replay of the endpoint continues.
    Replay(WebhookId, ReplayId),
    /// The server is restarting.
    Restart,
    /// The progress of a command is in this file.
    Saved(PathBuf),
}

/// Ends the process when the user presses Ctrl-C, even while something blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt(Arc<Mutex<Stays>>);

impl Interrupt {
    /// Listens for SIGINT from now on, until the process ends. `client` sends the
    /// changes of the command, if there are any.
    ///
    /// # Errors
    /// The system gave no means to.
    pub(super) fn listen(&self, client: Option<Client>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut interrupts = {
            let _entered = runtime.enter();
            signal(SignalKind::interrupt())?
        };
        let stays = self.clone();
        let wait = move || {
            let stays = runtime.block_on(async {
                interrupts.recv().await;
                stays.now(client.as_ref()).await
            });
            if io::stdin().is_terminal() && io::stderr().is_terminal() {
                // The terminal has shown ^C, maybe behind a question.
                eprintln!();
            }
            let exit = CliError::Interrupted { stays }.report();
            #[expect(
                clippy::disallowed_methods,
                reason = "the main thread may be blocked, and has nothing left to put in order"
            )]
            std::process::exit(exit as i32)
        };
        let thread = std::thread::Builder::new().name("interrupt".into());
        thread.spawn(wait).map(drop)
    }

    /// Sets the effects that remain from now on.
    pub(super) fn stays(&self, stays: Stays) {
        *self.lock() = stays;
    }

    /// Runs an action that sets the effects that remain: an interruption reports both
    /// or neither.
    pub(super) fn during<T>(&self, act: impl FnOnce(&mut Stays) -> T) -> T {
        act(&mut self.lock())
    }

    async fn now(&self, client: Option<&Client>) -> Stays {
        for _ in 0..LOOKS {
            let stays = match self.0.try_lock() {
                Ok(stays) => stays.clone(),
                Err(TryLockError::Poisoned(stays)) => stays.into_inner().clone(),
                Err(TryLockError::WouldBlock) => {
                    sleep(LOOK_EVERY).await;
                    continue;
                }
            };
            return match stays {
                Stays::Nothing if client.is_some_and(Client::is_changing) => Stays::Unknown,
                Stays::Nothing if client.is_some_and(Client::has_changed) => Stays::Done,
                stays => stays,
            };
        }
        // The command blocks, for example in a write to a stalled reader.
        Stays::Done
    }

    fn lock(&self) -> MutexGuard<'_, Stays> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stays {
    /// Describes the effects, for use after "interrupted".
    pub(super) fn told(&self) -> String {
        match self {
            Self::Nothing => "; nothing was done".into(),
            Self::Watching | Self::Done => String::new(),
            Self::Unknown => "; it may have taken effect".into(),
            Self::Task(id) | Self::Output(id, _) | Self::Log(id) => format!("; {id} continues"),
            Self::Batch { accepted, .. } => format!("; {accepted} tasks are accepted"),
            Self::Paused(None) => "; the queue stays paused".into(),
            Self::Paused(Some(task_type)) => format!("; type {task_type} stays paused"),
            Self::Bot(name) => format!("; bot {name} continues"),
            Self::BotStopped(name) => format!("; bot {name} stays stopped"),
            Self::Replay(_, id) => format!("; {id} continues"),
            Self::Restart => "; the server is still restarting".into(),
            Self::Saved(file) => format!("; the progress is in {}", file.display()),
        }
    }

    /// Returns the next command to type.
    pub(super) fn next(&self) -> Option<String> {
        Some(match self {
            Self::Nothing | Self::Watching | Self::Done => return None,
            Self::Unknown => "check before you repeat it".into(),
            Self::Task(id) => format!("continue: deia task watch {id}"),
            Self::Log(id) => format!("continue: deia task logs {id} --follow"),
            Self::Output(id, OutputPlace { attempt, offset }) => match attempt {
                None => format!("continue: deia task output {id} --follow"),
                Some(attempt) => format!(
                    "continue: deia task output {id} --attempt {attempt} --offset {offset} --follow"
                ),
            },
            Self::Batch { key, .. } => {
                format!("repeat the same with --idempotency-key {key}, and none is submitted twice")
            }
            Self::Paused(task_type) => resume(task_type.as_ref()),
            Self::Bot(name) => format!("deia bot show {name}"),
            Self::BotStopped(name) => format!("deia bot launch {name}"),
            Self::Replay(webhook, id) => {
                format!("deia webhook replays {webhook}; deia webhook stop-replay {webhook} {id}")
            }
            Self::Restart => "deia system status".into(),
            Self::Saved(_) => "repeat the command to go on".into(),
        })
    }
}

/// Returns the command that ends a pause.
pub(super) fn resume(task_type: Option<&TaskType>) -> String {
    match task_type {
        None => "start tasks again: deia queue resume".into(),
        Some(task_type) => format!("start them again: deia queue resume --type {task_type}"),
    }
}
