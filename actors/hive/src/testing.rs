//! Support for the tests of this crate and of its dependents: a real hive in a directory of its
//! own, and helpers that wait for conditions. Requires the feature `testing`.
//!
//! The reaper and the runners of a hive are its own program, started again: outside of
//! this crate only a program that can be both can run one.
//!
//! ```no_run
//! use deia_hive::testing::with_hive;
//!
//! with_hive(async |hive| {
//!     hive.simulated("b").await;
//!     let id = hive.submit_one().await;
//!     assert!(hive.result(id).await.success);
//! });
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

pub mod audit;

use std::{ops::Deref, sync::Arc};

use actix::Actor;
pub use deia_ledger::testing::{Look, PATIENCE, block_until, until};
use deia_model::{
    BotName, BotSpec, BotStatus, KeyGrant, NewTask, Principal, Role, Task, TaskId, TaskResult,
    TaskStatus,
};
use deia_supervision::{ChildState, Context, StartError, Tree, child};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    FrontFactory, Hive, HiveStartError, PutHow, StartSettings,
    config::{Config, Layers},
};

pub use crate::{degradation::DegradationSamples, scheduler::Decisions};

/// Returns the name of a bot.
pub fn bot_name(text: &str) -> BotName {
    text.parse().unwrap()
}

/// Returns the specification of a bot with that executor.
pub fn bot_spec(executor: Value) -> BotSpec {
    serde_json::from_value(json!({ "executor": executor })).unwrap()
}

/// Once there is a file `fail-child` in the data directory: ends the run of the child whose path
/// is in it repeatedly, until its supervisor stops restarting it.
pub(crate) fn fail_child_on_demand(tree: &Tree, data_dir: &std::path::Path) {
    if std::env::var_os("DEIA_FAIL_CHILD").is_none() {
        return;
    }
    let (tree, file) = (tree.clone(), data_dir.join("fail-child"));
    actix_rt::spawn(async move {
        let path = until("a child is named", async || {
            std::fs::read_to_string(&file).ok()
        })
        .await;
        let quarantined = |tree: &Tree| {
            let status = tree.status_of(&path);
            status.is_none_or(|status| status.state == ChildState::Quarantined)
        };
        while !quarantined(&tree) {
            // The child may be down at this moment.
            let _ = tree.fail_path(&path).await;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
}

/// Takes the place of the HTTP server.
struct Front;

impl Actor for Front {
    type Context = Context<Self>;
}

/// Returns the factory of a front that does nothing.
pub fn no_front() -> FrontFactory {
    Box::new(|_| child("front", || async { Ok::<_, StartError>(Front) }).0)
}

/// A running hive without HTTP, in a directory of its own that is removed with the last clone.
#[derive(Clone)]
pub struct TestHive {
    hive: Hive,
    /// The admin of the first start.
    pub admin: Principal,
    dir: Arc<TempDir>,
}

impl Deref for TestHive {
    type Target = Hive;

    fn deref(&self) -> &Hive {
        &self.hive
    }
}

/// Runs `test` on a hive without bots, and stops that in an orderly way.
pub fn with_hive<F: Future<Output = ()>>(test: impl FnOnce(TestHive) -> F) {
    actix_rt::System::new().block_on(async {
        let hive = TestHive::start().await;
        test(hive.clone()).await;
        hive.shutdown().await;
        assert_eq!(hive.ended().await, None, "an orderly end");
    });
}

impl TestHive {
    /// Starts a hive without bots, in a new directory.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a hive without bots, in a new directory, with these settings.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), settings).await
    }

    /// Starts another hive on the same directory, once this one has stopped.
    pub async fn start_again(self) -> Self {
        let Self { hive, dir, .. } = self;
        drop(hive);
        Self::start_in(dir, &[]).await
    }

    /// Drops the hive, and returns its directory.
    pub fn into_dir(self) -> Arc<TempDir> {
        self.dir
    }

    async fn start_in(dir: Arc<TempDir>, settings: &[(&str, &str)]) -> Self {
        let hive = Self::try_start(Self::settings(&dir, settings)).await;
        let hive = hive.unwrap();
        let key = std::fs::read_to_string(hive.config().admin_key_path()).unwrap();
        let admin = hive.access().authenticate(key.trim(), None).unwrap();
        Self { hive, admin, dir }
    }

    /// Starts a hive with these settings and no front.
    ///
    /// # Errors
    /// The errors of [`Hive::start`].
    pub async fn try_start(config: Config) -> Result<Hive, HiveStartError> {
        Hive::start(StartSettings::try_from(config).unwrap(), no_front()).await
    }

    fn settings(dir: &TempDir, settings: &[(&str, &str)]) -> Config {
        let defaults = Layers::default()
            .set("data_dir", dir.path().display().to_string())
            .set("bots.seed", "[]")
            .set("bots.restart.min", "1ms")
            // The machine of the tests may be short of anything.
            .set("degradation.enabled", "false")
            .set("server.drain_timeout", "0s")
            .set("tasks.retry.min", "1ms");
        let set = |layers: Layers, (key, value): &(&str, &str)| layers.set(*key, *value);
        settings.iter().fold(defaults, set).load().unwrap()
    }

    /// Launches a simulated bot that does every task well and at once.
    pub async fn simulated(&self, bot: &str) {
        self.simulated_with(bot, json!({})).await;
    }

    /// Launches a simulated bot with these settings of its executor.
    pub async fn simulated_with(&self, bot: &str, settings: Value) {
        let mut executor = settings;
        executor["kind"] = "simulated".into();
        self.launch(bot, executor).await;
    }

    /// Launches a bot that runs that program.
    pub async fn command(&self, bot: &str, command: &[&str]) {
        self.launch(bot, json!({"kind": "command", "command": command}))
            .await;
    }

    /// Puts a bot with four places, launches it, and waits until it is healthy.
    async fn launch(&self, bot: &str, executor: Value) {
        let mut spec = bot_spec(executor);
        spec.capabilities.max_concurrent_tasks = 4;
        self.put_and_launch(bot, spec).await;
        self.bot_is(bot, BotStatus::Healthy).await;
    }

    /// Puts a bot and launches it.
    pub async fn put_and_launch(&self, bot: &str, spec: BotSpec) {
        let bot = bot_name(bot);
        let put = self
            .bots()
            .put(&self.admin, bot.clone(), spec, PutHow::default())
            .await;
        put.unwrap();
        self.bots().launch(&self.admin, &bot).await.unwrap();
    }

    /// Waits until the bot has that status.
    pub async fn bot_is(&self, bot: &str, status: BotStatus) {
        let what = format!("{bot} is {status:?}");
        until(&what, async || self.bot_status(bot).await == status).await;
    }

    /// Returns the status of a bot.
    pub async fn bot_status(&self, bot: &str) -> BotStatus {
        self.bots().get(&bot_name(bot)).await.unwrap().status
    }

    /// Submits one task.
    pub async fn submit_one(&self) -> TaskId {
        self.submit_with(|_| {}).await
    }

    /// Submits one task for that caller.
    pub async fn submit_as(&self, who: &Principal) -> TaskId {
        self.submit_task(who, |_| {}).await
    }

    /// Submits one task that differs by `change`.
    pub async fn submit_with(&self, change: impl FnOnce(&mut NewTask)) -> TaskId {
        self.submit_task(&self.admin, change).await
    }

    /// Creates an external user, and returns it as a caller.
    pub async fn external(&self, name: &str) -> Principal {
        let grant = KeyGrant::new(name, Role::External);
        let key = self
            .access()
            .create_key(&self.admin, grant, Some(true), None);
        let text = key.await.unwrap().text;
        self.access().authenticate(&text, None).unwrap()
    }

    async fn submit_task(&self, who: &Principal, change: impl FnOnce(&mut NewTask)) -> TaskId {
        let mut task = NewTask::new("general".parse().unwrap(), "hello");
        change(&mut task);
        let submitted = self.tasks().submit(who, vec![task], None).await;
        submitted.unwrap().tasks[0].id
    }

    /// Waits until the task has that status, and returns it.
    pub async fn task_is(&self, id: TaskId, status: TaskStatus) -> Task {
        let what = format!("{id} is {status:?}");
        until(&what, async || {
            Some(self.tasks().get(&self.admin, id).await.unwrap())
                .filter(|task| task.status == status)
        })
        .await
    }

    /// Waits for the recorded end of the task.
    pub async fn result(&self, id: TaskId) -> TaskResult {
        let ended = self.tasks().result(&self.admin, id, PATIENCE).await;
        ended.unwrap()
    }
}
