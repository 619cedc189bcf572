//! Bots.

use deia_model::{Bot, BotName, BotSpec, Page};
use reqwest::Method;

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

    /// Creates a bot or replaces its specification, if `when` holds.
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
