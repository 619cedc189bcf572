//! The only public door.

use std::{sync::Arc, time::Duration};

use deia_supervision::ChildSpec;

use crate::{
    auth::{AuthError, Principal, Role},
    config::Config,
    error::HiveError,
    ledger::Dedup,
    model::{
        Bot, BotName, BotSpec, HealthMetrics, KeyId, KeyInfo, NewTask, Page, PageRequest,
        QueueStatus, Submitted, SystemStatus, Task, TaskFilter, TaskId, TaskResult, Timestamp,
    },
};

/// What a submission came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// One for each task, in order.
    pub tasks: Vec<Submitted>,
    /// Whether this repeats the answer to an earlier request with the same key.
    pub replayed: bool,
}

/// A bot and whether it is new.
#[derive(Clone, Debug, PartialEq)]
pub struct PutBot {
    /// The bot as it now stands.
    pub bot: Bot,
    /// Whether it is new.
    pub created: bool,
}

/// A new key: the only time that its text is seen.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What listings show of it.
    pub info: KeyInfo,
    /// The key itself.
    pub text: String,
}

/// Makes the last child of the tree, which serves the hive to the outside.
pub type FrontFactory = Box<dyn FnOnce(&Hive) -> ChildSpec>;

/// A running hive. Cheap to clone; all clones are the same hive.
///
/// Whoever calls has checked the permission; what a principal may see of what
/// exists is checked here.
#[derive(Clone)]
pub struct Hive {
    inner: Arc<()>,
}

impl Hive {
    /// Starts a hive on the current actix system. Ready when this returns.
    ///
    /// # Errors
    /// What keeps it from starting: the data directory is in use or cannot be
    /// written, the store cannot be opened, a child of the tree fails to start.
    pub async fn start(config: Config, front: FrontFactory) -> Result<Self, HiveError> {
        todo!()
    }
    /// Stops taking work, drains up to `server.drain_timeout`, stops the tree in order.
    pub async fn shutdown(&self) {
        todo!()
    }
    /// Resolves when the tree has ended: `true` when that was asked for.
    pub async fn ended(&self) -> bool {
        todo!()
    }
    /// The settings it runs with.
    pub fn config(&self) -> &Config {
        todo!()
    }

    /// Who comes with this key.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn authenticate(&self, key: &str) -> Result<Principal, AuthError> {
        todo!()
    }

    /// Accepts tasks, all or none; they are on disk when this returns.
    pub async fn submit(
        &self,
        who: &Principal,
        tasks: Vec<NewTask>,
        dedup: Option<Dedup>,
    ) -> Result<Submission, HiveError> {
        todo!()
    }
    /// The task as it stands.
    pub async fn task(&self, who: &Principal, id: TaskId) -> Result<Task, HiveError> {
        todo!()
    }
    /// The recorded end of a task; waits up to `wait` for it.
    pub async fn task_result(
        &self,
        who: &Principal,
        id: TaskId,
        wait: Duration,
    ) -> Result<TaskResult, HiveError> {
        todo!()
    }
    /// Tasks without their content, newest first.
    pub async fn tasks(
        &self,
        who: &Principal,
        filter: TaskFilter,
        page: PageRequest,
    ) -> Result<Page<Task>, HiveError> {
        todo!()
    }
    /// Calls a task off; a running one is cancelled as soon as its bot has ended it.
    pub async fn cancel_task(&self, who: &Principal, id: TaskId) -> Result<Task, HiveError> {
        todo!()
    }

    /// Puts a bot in place or replaces its specification (a launched bot is restarted with it).
    pub async fn put_bot(
        &self,
        who: &Principal,
        name: BotName,
        spec: BotSpec,
        if_version: Option<u64>,
    ) -> Result<PutBot, HiveError> {
        todo!()
    }
    /// All bots, by name.
    pub async fn bots(&self) -> Result<Vec<Bot>, HiveError> {
        todo!()
    }
    /// One bot.
    pub async fn bot(&self, name: &BotName) -> Result<Bot, HiveError> {
        todo!()
    }
    /// Removes a stopped bot.
    pub async fn delete_bot(&self, who: &Principal, name: &BotName) -> Result<(), HiveError> {
        todo!()
    }
    /// Means a bot to run; its status follows.
    pub async fn launch_bot(&self, who: &Principal, name: &BotName) -> Result<Bot, HiveError> {
        todo!()
    }
    /// Means a bot not to run: what it has in hand is ended and given back.
    pub async fn stop_bot(&self, who: &Principal, name: &BotName) -> Result<Bot, HiveError> {
        todo!()
    }
    /// The last lines of a bot's log, at most `lines` (1 to 10,000) and 1 MiB.
    pub async fn bot_log(&self, name: &BotName, lines: usize) -> Result<Vec<String>, HiveError> {
        todo!()
    }

    /// The supervision tree, live.
    pub fn supervisors(&self) -> serde_json::Value {
        todo!()
    }
    /// How the queue stands.
    pub async fn queue(&self) -> Result<QueueStatus, HiveError> {
        todo!()
    }
    /// How the whole hive stands.
    pub async fn system_status(&self) -> Result<SystemStatus, HiveError> {
        todo!()
    }
    /// What is wrong, and the measurements behind it.
    pub async fn health(&self) -> Result<HealthMetrics, HiveError> {
        todo!()
    }
    /// Whether it takes work: started, not stopping.
    pub fn is_ready(&self) -> bool {
        todo!()
    }

    /// Makes a key.
    pub async fn create_key(
        &self,
        who: &Principal,
        user: String,
        role: Role,
        expires_at: Option<Timestamp>,
    ) -> Result<NewKey, HiveError> {
        todo!()
    }
    /// All keys, oldest first.
    pub async fn keys(&self) -> Result<Vec<KeyInfo>, HiveError> {
        todo!()
    }
    /// Revokes a key; it is refused from the next request on.
    pub async fn revoke_key(&self, who: &Principal, id: KeyId) -> Result<KeyInfo, HiveError> {
        todo!()
    }
}
