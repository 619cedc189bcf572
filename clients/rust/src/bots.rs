//! Bots.

use deia_model::{Bot, BotFilter, BotName, BotSpec, Page, TaskId};
use reqwest::Method;
use serde::Serialize;

use super::{Client, ClientError, LogLines};

/// Precondition for replacing a specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutIf {
    /// None.
    Always,
    /// The bot does not exist.
    New,
    /// The bot has this version.
    Version(u64),
}

impl Client {
    /// Lists all bots, by name.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn bots(&self) -> Result<Page<Bot>, ClientError> {
        self.get(&["api", "v1", "bots"]).answer().await
    }

    /// Returns one bot.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn bot(&self, name: &BotName) -> Result<Bot, ClientError> {
        self.get(&["api", "v1", "bots", name.as_str()])
            .answer()
            .await
    }

    /// Lists the selected bots, by name.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn select_bots(&self, filter: &BotFilter) -> Result<Page<Bot>, ClientError> {
        let call = self.get(&["api", "v1", "bots"]);
        let call = call.query("group", filter.group.as_deref());
        let labels = filter.labels.iter();
        labels
            .fold(call, |call, (key, value)| {
                call.query("label", Some(format!("{key}={value}")))
            })
            .answer()
            .await
    }

    /// Creates a bot or replaces its specification, if `when` holds, and gives the tasks that it
    /// runs back at once.
    ///
    /// # Errors
    /// A problem with status 412 if `when` does not hold.
    pub async fn put_bot_now(
        &self,
        name: &BotName,
        spec: &BotSpec,
        when: PutIf,
    ) -> Result<Bot, ClientError> {
        self.call(Method::PUT, &["api", "v1", "bots", name.as_str()])
            .query("now", Some(true))
            .put_if(when)
            .json(spec)?
            .answer()
            .await
    }

    /// Creates a bot or replaces its specification, if `when` holds. Running tasks end first.
    ///
    /// # Errors
    /// A problem with status 412 if `when` does not hold.
    pub async fn put_bot(
        &self,
        name: &BotName,
        spec: &BotSpec,
        when: PutIf,
    ) -> Result<Bot, ClientError> {
        self.call(Method::PUT, &["api", "v1", "bots", name.as_str()])
            .put_if(when)
            .json(spec)?
            .answer()
            .await
    }

    /// Deletes a stopped bot.
    ///
    /// # Errors
    /// [`ClientError`]; a conflict while it is launched.
    pub async fn delete_bot(&self, name: &BotName) -> Result<(), ClientError> {
        self.call(Method::DELETE, &["api", "v1", "bots", name.as_str()])
            .done()
            .await
    }

    /// Sets the desired state of a bot to launched; its status follows.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn launch_bot(&self, name: &BotName) -> Result<Bot, ClientError> {
        self.post(&["api", "v1", "bots", name.as_str(), "launch"])
            .answer()
            .await
    }

    /// Sets the desired state of a bot to stopped; its status follows.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stop_bot(&self, name: &BotName) -> Result<Bot, ClientError> {
        self.post(&["api", "v1", "bots", name.as_str(), "stop"])
            .answer()
            .await
    }

    /// Lets a bot finish its running tasks and then stop; its status follows.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn drain_bot(&self, name: &BotName) -> Result<Bot, ClientError> {
        self.post(&["api", "v1", "bots", name.as_str(), "drain"])
            .answer()
            .await
    }

    /// Sends a line of text to the program of a bot, about that task if one is given.
    ///
    /// # Errors
    /// A problem with code `bot_takes_no_input` if no program of the bot reads lines now, or the
    /// bot does not run the task.
    pub async fn send_bot_input(
        &self,
        name: &BotName,
        text: &str,
        task: Option<TaskId>,
    ) -> Result<Bot, ClientError> {
        #[derive(Serialize)]
        struct Input<'a> {
            text: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            task_id: Option<TaskId>,
        }
        let task_id = task;
        self.post(&["api", "v1", "bots", name.as_str(), "input"])
            .json(&Input { text, task_id })?
            .answer()
            .await
    }

    /// Returns the last lines of a bot's log, 1 to 10,000.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn bot_log(&self, name: &BotName, lines: u32) -> Result<LogLines, ClientError> {
        self.get(&["api", "v1", "bots", name.as_str(), "logs"])
            .query("lines", Some(lines))
            .answer()
            .await
    }
}
