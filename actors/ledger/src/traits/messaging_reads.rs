//! Reads of messages between bots, and of sessions.

use deia_model::{
    BotMessageId, BotName, Message, MessageFilter, Page, PageRequest, Session, SessionFilter,
    SessionId, Timestamp,
};

use super::{BoxFuture, StoreError};

/// Reads messages between bots, and sessions.
pub trait MessagingReads: Send + Sync + 'static {
    /// Returns a message; with `only_of`, if that bot sent or receives it.
    fn message(
        &self,
        id: BotMessageId,
        only_of: Option<BotName>,
    ) -> BoxFuture<'_, Result<Option<Message>, StoreError>>;

    /// Returns messages, the newest first; with `only_of`, those that this bot sent or
    /// receives. A page may be short and have a cursor all the same.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`].
    fn messages(
        &self,
        filter: MessageFilter,
        only_of: Option<BotName>,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Message>, StoreError>>;

    /// Returns the time at which the bot can be given a message next, which may be past;
    /// `None`: its inbox has none.
    fn next_delivery(&self, bot: BotName) -> BoxFuture<'_, Result<Option<Timestamp>, StoreError>>;

    /// Returns whether [`CloseMessages`](crate::CloseMessages) would end or forget a message.
    fn has_messages_to_close(
        &self,
        now: Timestamp,
        forget_before: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Returns a session; with `only_of`, if it is of that user.
    fn session(
        &self,
        id: SessionId,
        only_of: Option<String>,
    ) -> BoxFuture<'_, Result<Option<Session>, StoreError>>;

    /// Returns sessions, the newest first; with `only_of`, those of that user. A page may be
    /// short and have a cursor all the same.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`].
    fn sessions(
        &self,
        filter: SessionFilter,
        only_of: Option<String>,
        page: PageRequest,
    ) -> BoxFuture<'_, Result<Page<Session>, StoreError>>;

    /// Returns whether [`SettleSessions`](crate::SettleSessions) has something to do.
    fn has_sessions_to_settle(
        &self,
        now: Timestamp,
        forget_before: Timestamp,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Returns the bots that active sessions have, or that unfinished tasks of sessions are
    /// meant for.
    fn bots_of_sessions(&self) -> BoxFuture<'_, Result<Vec<BotName>, StoreError>>;
}
