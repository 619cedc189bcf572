//! Ctrl-C: one place that says what goes on without the command, and ends it
//! with 130.

use std::{
    io::{self, IsTerminal as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};

use deia_client::{Client, OutputPlace};
use deia_model::{BotName, TaskId, TaskType};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use super::error::CliError;

/// Interval and number of checks whether the command has reached a consistent state.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const LOOKS: u32 = 50;

/// An effect that stays when the command that caused it is interrupted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stays {
    /// None: nothing that changes anything was sent.
    #[default]
    Nothing,
    /// None, and the end was expected: the command shows something until it is ended.
    Watching,
    /// A change was answered, and the command was about to show that.
    Done,
    /// A request was sent that changes something, and its answer had not come.
    Unknown,
    /// The task goes on.
    Task(TaskId),
    /// The task goes on, and its output was shown up to there.
    Output(TaskId, OutputPlace),
    /// The task goes on, and its log was followed.
    Log(TaskId),
    /// Tasks were accepted; with this key the rest can be submitted.
    Batch {
        /// Number of accepted tasks.
        accepted: usize,
        /// The idempotency key.
        key: String,
    },
    /// The queue, or one type in it, is paused.
    Paused(Option<TaskType>),
    /// The bot goes where it was sent.
    Bot(BotName),
    /// The bot is stopped in order to be launched again.
    BotStopped(BotName),
    /// The server restarts.
    Restart,
}

/// Ends the process when the user presses Ctrl-C, also while something blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt(Arc<Mutex<Stays>>);

impl Interrupt {
    /// Listens for SIGINT from now on, until the process ends. The client is the one that
    /// sends what the command changes, if it changes anything.
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

    /// Sets the effects that stay from now on.
    pub(super) fn stays(&self, stays: Stays) {
        *self.lock() = stays;
    }

    /// Does something and says what stays after it: an interruption tells of both
    /// or of neither.
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
        // The command blocks, as in a write to a reader that has stopped.
        Stays::Done
    }

    fn lock(&self) -> MutexGuard<'_, Stays> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stays {
    /// In words, after "interrupted".
    pub(super) fn told(&self) -> String {
        match self {
            Self::Nothing => "; nothing was done".into(),
            Self::Watching | Self::Done => String::new(),
            Self::Unknown => "; the hive may have done it".into(),
            Self::Task(id) | Self::Output(id, _) | Self::Log(id) => format!("; {id} goes on"),
            Self::Batch { accepted, .. } => format!("; {accepted} tasks are accepted"),
            Self::Paused(None) => "; the queue stays paused".into(),
            Self::Paused(Some(task_type)) => format!("; type {task_type} stays paused"),
            Self::Bot(name) => format!("; bot {name} goes on"),
            Self::BotStopped(name) => format!("; bot {name} stays stopped"),
            Self::Restart => "; the server goes on restarting".into(),
        }
    }

    /// The next command.
    pub(super) fn next(&self) -> Option<String> {
        Some(match self {
            Self::Nothing | Self::Watching | Self::Done => return None,
            Self::Unknown => "look before you repeat it".into(),
            Self::Task(id) => format!("go on watching: deia task watch {id}"),
            Self::Log(id) => format!("go on: deia task logs {id} --follow"),
            Self::Output(id, OutputPlace { attempt, offset }) => match attempt {
                None => format!("go on: deia task output {id} --follow"),
                Some(attempt) => format!(
                    "go on: deia task output {id} --attempt {attempt} --offset {offset} --follow"
                ),
            },
            Self::Batch { key, .. } => {
                format!("repeat the same with --idempotency-key {key}, and none is submitted twice")
            }
            Self::Paused(task_type) => resume(task_type.as_ref()),
            Self::Bot(name) => format!("deia bot show {name}"),
            Self::BotStopped(name) => format!("deia bot launch {name}"),
            Self::Restart => "deia system status".into(),
        })
    }
}

/// The command that takes back a pause.
pub(super) fn resume(task_type: Option<&TaskType>) -> String {
    match task_type {
        None => "start tasks again: deia queue resume".into(),
        Some(task_type) => format!("start them again: deia queue resume --type {task_type}"),
    }
}
