//! A loop that leases tasks of a remote bot, and does them.

mod assignment;
mod insist;
mod outcome;

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use deia_model::{BotName, LeaseRequest, LeasedTask};
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{Fuse, FusedFuture as _},
    stream::FuturesUnordered,
};
use tokio::time::{Instant, sleep};

use self::insist::{Pauses, may_pass};
pub use self::{
    assignment::Assignment,
    outcome::{Completion, Failure},
};
use super::{
    Client, ClientError,
    tasks::{PAUSE, POLL, SHORT_POLL},
};

/// A worker of a bot whose executor is `remote`. It leases tasks, sends heartbeats while they
/// are done, ends those that were cancelled or lost, and repeats the report of each end until
/// the hive has answered: a hive that restarts meanwhile costs nothing.
///
/// ```no_run
/// # async fn example(client: deia_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use deia_client::{Completion, Worker};
///
/// let worker = Worker::new(client, "far-1".parse()?).max(4);
/// worker
///     .run(async |work| Ok(Completion::of(work.task.content.to_uppercase())))
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Worker {
    client: Client,
    bot: BotName,
    name: String,
    max: u32,
    on_error: Option<fn(&ClientError)>,
}

/// The requests of one run of a worker.
struct Requests {
    /// Text that tells the requests of this run from those of others of the same name.
    run: String,
    count: AtomicU64,
    /// Longest wait that the hive allows, in milliseconds.
    longest_ms: AtomicU64,
}

impl Worker {
    /// Creates a worker of a bot, which does one task at a time under a name of its own. The
    /// client has a key of the bot.
    pub fn new(client: Client, bot: BotName) -> Self {
        Self {
            client,
            bot,
            name: format!("worker-{}", random()),
            max: 1,
            on_error: None,
        }
    }

    /// Sets the name that the hive knows the worker by. No other worker of the bot may have
    /// it at the same time.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the number of tasks that are done at a time, 1 to 100.
    #[must_use]
    pub fn max(mut self, tasks: u32) -> Self {
        self.max = tasks;
        self
    }

    /// Sets a function that is told of each error, also of those after which the worker tries
    /// again.
    #[must_use]
    pub fn on_error(mut self, told: fn(&ClientError)) -> Self {
        self.on_error = Some(told);
        self
    }

    /// Works until the hive refuses to lease tasks. See [`run_until`](Self::run_until).
    ///
    /// # Errors
    /// The refusal.
    pub async fn run<F>(&self, work: F) -> Result<(), ClientError>
    where
        F: AsyncFn(Assignment) -> Result<Completion, Failure>,
    {
        self.run_until(std::future::pending(), work).await
    }

    /// Works until `stop` is ready, and then finishes the tasks in hand. The future of a task
    /// is dropped when the task was cancelled, ran out of time or was given to another worker;
    /// all run on the task of the caller, so one that blocks the thread holds up the
    /// heartbeats of all.
    ///
    /// # Errors
    /// A refusal that no retry changes: the bot does not exist or is not remote, or the key
    /// is not accepted for it. The tasks in hand are finished first.
    pub async fn run_until<F>(
        &self,
        stop: impl Future<Output = ()>,
        work: F,
    ) -> Result<(), ClientError>
    where
        F: AsyncFn(Assignment) -> Result<Completion, Failure>,
    {
        let requests = Requests::new();
        let mut stop = pin!(stop);
        let mut asking = pin!(Fuse::terminated());
        let mut running = FuturesUnordered::new();
        let ended = loop {
            let free = (self.max as usize).saturating_sub(running.len());
            if asking.is_terminated() && free > 0 {
                let number = requests.next();
                asking.set(self.ask(&requests.longest_ms, number, free).fuse());
            }
            tokio::select! {
                biased;
                () = &mut stop => break Ok(()),
                Some(()) = running.next(), if !running.is_empty() => {}
                leased = &mut asking, if !asking.is_terminated() => match leased {
                    Ok(tasks) => running.extend(tasks.into_iter().map(|task| self.attend(task, &work))),
                    Err(error) => break Err(error),
                },
            }
        };
        let was_asking = !asking.is_terminated();
        asking.set(Fuse::terminated());
        if was_asking {
            // The answer that nobody reads any more may have had tasks.
            let request = self.request(requests.number(), self.max as usize, 0);
            let leased = self.client.lease_tasks(&self.bot, &request).await;
            let tasks = leased.map(|leased| leased.tasks).unwrap_or_default();
            running.extend(tasks.into_iter().map(|task| self.attend(task, &work)));
        }
        while running.next().await.is_some() {}
        ended
    }

    /// Asks for tasks until the hive answers.
    async fn ask(
        &self,
        longest_ms: &AtomicU64,
        number: String,
        max: usize,
    ) -> Result<Vec<LeasedTask>, ClientError> {
        let mut pauses = Pauses::default();
        let short = millis(SHORT_POLL);
        loop {
            let (asked_at, wait_ms) = (Instant::now(), longest_ms.load(Ordering::Relaxed));
            let request = self.request(number.clone(), max, wait_ms);
            match self.client.lease_tasks(&self.bot, &request).await {
                Ok(leased) => {
                    let wait = Duration::from_millis(wait_ms);
                    if leased.tasks.is_empty() && asked_at.elapsed() < wait / 2 {
                        sleep(PAUSE).await;
                    }
                    return Ok(leased.tasks);
                }
                Err(error) if wait_ms > short && is_too_long(&error) => {
                    longest_ms.store(short, Ordering::Relaxed);
                }
                Err(error) if may_pass(&error) => {
                    self.tell(&error);
                    pauses.pause(&error).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn request(&self, number: String, max: usize, wait_ms: u64) -> LeaseRequest {
        LeaseRequest {
            max: u32::try_from(max).unwrap_or(u32::MAX),
            wait_ms,
            worker: Some(self.name.clone()),
            request: Some(number),
        }
    }

    fn tell(&self, error: &ClientError) {
        if let Some(told) = self.on_error {
            told(error);
        }
    }
}

impl Requests {
    fn new() -> Self {
        Self {
            run: random(),
            count: AtomicU64::new(0),
            longest_ms: millis(POLL).into(),
        }
    }

    fn next(&self) -> String {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.number()
    }

    fn number(&self) -> String {
        format!("{}-{}", self.run, self.count.load(Ordering::Relaxed))
    }
}

/// Returns whether the hive allows no such wait.
fn is_too_long(error: &ClientError) -> bool {
    let pointers = error.problem().into_iter().flat_map(|it| &it.errors);
    pointers
        .into_iter()
        .any(|violation| violation.pointer == "/wait_ms")
}

/// Returns a text that no other process has.
fn random() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
