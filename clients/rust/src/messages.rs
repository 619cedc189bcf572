//! Messages between bots.

use std::time::Duration;

use deia_model::{BotMessageId, Message, MessageFilter, NewMessage, Page, PageRequest};
use reqwest::Method;

use super::{Client, ClientError};

impl Client {
    /// Sends a message to a bot; it is on disk when this returns. With an idempotency key the
    /// call may be repeated: the message is sent once.
    ///
    /// # Errors
    /// A problem with code `inbox_full` if the receiver has too many unread messages.
    pub async fn send_message(
        &self,
        message: &NewMessage,
        idempotency_key: Option<&str>,
    ) -> Result<Message, ClientError> {
        self.post(&["api", "v1", "messages"])
            .idempotency_key(idempotency_key)?
            .json(message)?
            .answer()
            .await
    }

    /// Lists messages without their text, the newest first, as many as the page asks for.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn messages(
        &self,
        filter: &MessageFilter,
        page: &PageRequest,
    ) -> Result<Page<Message>, ClientError> {
        self.gather(page, || {
            self.get(&["api", "v1", "messages"])
                .query("status", filter.status)
                .query("sender", filter.sender.as_ref())
                .query("receiver", filter.receiver.as_ref())
                .query("session", filter.session)
        })
        .await
    }

    /// Returns a message with its text.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn message(&self, id: BotMessageId) -> Result<Message, ClientError> {
        self.get(&["api", "v1", "messages", &id.to_string()])
            .answer()
            .await
    }

    /// Notes that its receiver has read a message, which is not given again then.
    ///
    /// # Errors
    /// A conflict if the message failed or expired.
    pub async fn read_message(&self, id: BotMessageId) -> Result<Message, ClientError> {
        let path = ["api", "v1", "messages", &id.to_string(), "read"];
        self.call(Method::POST, &path).answer().await
    }

    /// Takes up to `limit` messages out of the inbox of a bot. The hive waits up to `wait`
    /// for the first, and no longer than its `server.max_wait`. Unless they are
    /// [read](Self::read_message), the bot is given them again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn take_messages(
        &self,
        bot: &str,
        limit: u32,
        wait: Duration,
    ) -> Result<Vec<Message>, ClientError> {
        let taken: super::Items<Message> = self
            .get(&["api", "v1", "bots", bot, "inbox"])
            .query("limit", Some(limit))
            .query("wait_ms", (!wait.is_zero()).then_some(wait.as_millis()))
            .waiting(wait)
            .answer()
            .await?;
        Ok(taken.items)
    }
}
