//! Bots.

use deia_model::{Bot, BotName, BotSpec, Page};
use reqwest::Method;

use super::{Client, ClientError, LogLines};

/// On what condition a specification is put in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutIf {
    /// On none.
    Always,
    /// The bot is not there yet.
    New,
    /// The bot still has that version.
    Version(u64),
}

impl Client {
    /// All bots, by name.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn bots(&self) -> Result<Page<Bot>, ClientError> {
        self.get(&["api", "v1", "bots"]).answer().await
    }

    /// One bot.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn bot(&self, name: &BotName) -> Result<Bot, ClientError> {
        self.get(&["api", "v1", "bots", name.as_str()])
            .answer()
            .await
    }

    /// Puts a bot in place or replaces its specification, as `when` says.
    ///
    /// # Errors
    /// A problem with status 412 when things are not as `when` says.
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

    /// Removes a stopped bot.
    ///
    /// # Errors
    /// [`ClientError`]; a conflict while it is launched.
    pub async fn delete_bot(&self, name: &BotName) -> Result<(), ClientError> {
        self.call(Method::DELETE, &["api", "v1", "bots", name.as_str()])
            .done()
            .await
    }

    /// Means a bot to run; its status follows.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn launch_bot(&self, name: &BotName) -> Result<Bot, ClientError> {
        self.post(&["api", "v1", "bots", name.as_str(), "launch"])
            .answer()
            .await
    }

    /// Means a bot not to run; its status follows.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stop_bot(&self, name: &BotName) -> Result<Bot, ClientError> {
        self.post(&["api", "v1", "bots", name.as_str(), "stop"])
            .answer()
            .await
    }

    /// Lets a bot finish what it has in hand and then stop; its status follows.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn drain_bot(&self, name: &BotName) -> Result<Bot, ClientError> {
        self.post(&["api", "v1", "bots", name.as_str(), "drain"])
            .answer()
            .await
    }

    /// The last lines of a bot's log, 1 to 10,000.
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
