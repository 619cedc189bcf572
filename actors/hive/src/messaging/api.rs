//! Interface of messages between bots.

use std::{sync::Arc, time::Duration};

use deia_ledger::{Idempotency, Ledger, ReadMessage, SendMessage, SentMessage, TakeMessages};
use deia_model::{
    BotMessageId, BotName, Message, MessageFilter, NewMessage, Page, PageRequest, Permission,
    Principal, Timestamp, Violation, Visibility,
};
use tokio::time::Instant;

use super::metrics::MessagingMetrics;
use crate::{HiveError, access::AccessApi, config::Settings, subsystem::Deps, waiters::Waiters};

/// Interface to messages between bots. A bot sends as itself, takes its own messages, and
/// sees those that it sent or receives.
#[derive(Clone)]
pub struct MessagesApi {
    settings: Settings,
    ledger: Ledger,
    access: AccessApi,
    inboxes: Waiters<BotName>,
    metrics: Arc<MessagingMetrics>,
}

impl MessagesApi {
    pub(super) fn new(
        deps: &Deps,
        access: &AccessApi,
        inboxes: Waiters<BotName>,
        metrics: Arc<MessagingMetrics>,
    ) -> Self {
        Self {
            settings: deps.settings.clone(),
            ledger: deps.ledger.clone(),
            access: access.clone(),
            inboxes,
            metrics,
        }
    }

    /// Accepts a message; it is on disk when this returns. The answer has no text.
    ///
    /// # Errors
    /// [`HiveError::Invalid`], also for a bot that does not exist; a refusal if the inbox of
    /// the receiver is full; an idempotency mismatch.
    pub async fn send(
        &self,
        who: &Principal,
        mut message: NewMessage,
        idempotency: Option<Idempotency>,
    ) -> Result<SentMessage, HiveError> {
        let settings = self.settings.get().messaging.clone();
        let mut violations = message.violations(&settings.limits());
        violations.extend(foreign_sender(only_of(who)?, &mut message));
        if !violations.is_empty() {
            return Err(HiveError::Invalid(violations));
        }
        let ttl = message.ttl_seconds.map(Duration::from_secs);
        let command = SendMessage {
            message,
            actor: who.user.to_string(),
            ttl: ttl.unwrap_or(settings.default_ttl),
            max_inbox: settings.max_inbox,
            idempotency,
        };
        let sent = self.access.apply_for(who, command).await?;
        self.metrics.sent.add(usize::from(!sent.replayed));
        Ok(sent)
    }

    /// Gives a bot the messages that are due, at most `limit`; waits up to `wait` for the
    /// first (at most `server.max_wait`).
    ///
    /// # Errors
    /// [`HiveError::NotFound`] for the inbox of another bot, and of a bot that does not
    /// exist; [`HiveError::NotOwnInbox`].
    pub async fn take(
        &self,
        who: &Principal,
        bot: BotName,
        limit: u32,
        wait: Duration,
    ) -> Result<Vec<Message>, HiveError> {
        if self.ledger.bot(bot.clone()).await?.is_none() {
            return Err(no_bot(&bot));
        }
        may_take(who, &bot)?;
        let config = self.settings.get();
        let deadline = Instant::now() + wait.min(config.server.max_wait);
        let waiter = self.inboxes.wait_for(bot.clone());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let woken = waiter.woken_within(left);
            let now = Timestamp::now();
            let next = self.ledger.next_delivery(bot.clone()).await?;
            let mut until_next =
                next.map_or(left, |at| Duration::from_millis(at.millis_since(now)));
            if next.is_some_and(|at| at <= now) && limit > 0 {
                let messages = self.take_now(who, &bot, limit).await?;
                if !messages.is_empty() {
                    return Ok(messages);
                }
                // Another caller has taken them meanwhile.
                until_next = left;
            }
            if left.is_zero() {
                return Ok(Vec::new());
            }
            // The inbox is looked at again in either case.
            let _ = tokio::time::timeout(until_next.max(SHORTEST), woken).await;
        }
    }

    async fn take_now(
        &self,
        who: &Principal,
        bot: &BotName,
        limit: u32,
    ) -> Result<Vec<Message>, HiveError> {
        let settings = self.settings.get().messaging.clone();
        let command = TakeMessages {
            bot: bot.clone(),
            actor: who.user.to_string(),
            limit,
            max_bytes: settings.max_delivery_bytes.as_u64(),
            redeliver_after: settings.redeliver_after,
            max_deliveries: settings.max_deliveries,
        };
        let messages = self.access.apply_for(who, command).await?;
        self.metrics.delivered.add(messages.len());
        Ok(messages)
    }

    /// Records that the receiver has read a message, and returns it. A repeated call changes
    /// nothing.
    ///
    /// # Errors
    /// [`HiveError::NotFound`]; a conflict if the message failed or expired;
    /// [`HiveError::NotOwnInbox`].
    pub async fn read(&self, who: &Principal, id: BotMessageId) -> Result<Message, HiveError> {
        let only_for = only_of(who)?;
        if only_for.is_none() && !who.may(Permission::MessageSend) {
            return Err(HiveError::NotOwnInbox(Permission::MessageSend));
        }
        let command = ReadMessage {
            message: id,
            actor: who.user.to_string(),
            only_for,
        };
        let read = self.access.apply_for(who, command).await?;
        self.metrics.read.add(1);
        Ok(read)
    }

    /// Returns a message with its text.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], also if the caller may not see it.
    pub async fn get(&self, who: &Principal, id: BotMessageId) -> Result<Message, HiveError> {
        let found = self.ledger.message(id, only_of(who)?).await?;
        found.ok_or_else(|| HiveError::NotFound {
            kind: "message",
            id: id.to_string(),
        })
    }

    /// Lists messages without their text, the newest first.
    ///
    /// # Errors
    /// [`HiveError::BadCursor`].
    pub async fn list(
        &self,
        who: &Principal,
        filter: MessageFilter,
        page: PageRequest,
    ) -> Result<Page<Message>, HiveError> {
        Ok(self.ledger.messages(filter, only_of(who)?, page).await?)
    }
}

/// Shortest pause before an inbox is looked at again for a message that is due soon.
/// Fixed: short enough that nobody waits for it, and each look costs little.
const SHORTEST: Duration = Duration::from_millis(10);

/// Returns the bot whose messages alone the caller may see; `None`: all.
fn only_of(who: &Principal) -> Result<Option<BotName>, HiveError> {
    match who.visibility() {
        Visibility::All => Ok(None),
        Visibility::AssignedTo(bot) => Ok(Some(bot)),
        Visibility::SubmittedBy(_) | Visibility::Nothing => Err(HiveError::NotFound {
            kind: "bot",
            id: who.user.to_string(),
        }),
    }
}

/// Lets a bot send as itself only, and names it as the sender.
fn foreign_sender(own: Option<BotName>, message: &mut NewMessage) -> Option<Violation> {
    let own = own?;
    let sender = message.sender_bot.get_or_insert_with(|| own.clone());
    (*sender != own).then(|| Violation {
        pointer: "/sender_bot".to_owned(),
        detail: format!("is {sender}, and this key sends as {own} only"),
    })
}

/// Refuses to take messages out of the inbox of another bot.
fn may_take(who: &Principal, bot: &BotName) -> Result<(), HiveError> {
    match only_of(who)? {
        Some(own) if own == *bot => Ok(()),
        Some(_) => Err(no_bot(bot)),
        None if who.may(Permission::MessageSend) => Ok(()),
        None => Err(HiveError::NotOwnInbox(Permission::MessageSend)),
    }
}

fn no_bot(bot: &BotName) -> HiveError {
    HiveError::NotFound {
        kind: "bot",
        id: bot.to_string(),
    }
}
