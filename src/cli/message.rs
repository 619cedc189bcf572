//! `deia message`: messages between bots.

use std::{path::Path, time::Duration};

use clap::{Args, Subcommand};
use deia_model::{
    BotMessageId, BotName, DeliveryStatus, Message, MessageFilter, NewMessage, Priority, SessionId,
};

use super::{
    context::{self, Context},
    error::CliError,
    filter::PageArgs,
    format,
    output::Look,
    parse,
    table::{Cell, Column, Table, Tone, or_dash},
    watch::WatchArgs,
};

/// Maximum size of a text: the largest possible `messaging.max_content_bytes`. Fixed: the
/// largest value that the setting may have.
const MAX_CONTENT_BYTES: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum MessageCommand {
    /// Send a message to a bot.
    #[command(before_help = "Examples:
  deia message send upper-1 'the build is green'
  deia message send upper-1 - --priority P0 --expires 10m < report.txt
  deia message send upper-1 hello --from planner-1")]
    Send(SendArgs),
    /// List messages, the newest first, without their text.
    #[command(before_help = "Examples:
  deia message list
  deia message list --receiver upper-1 --status queued
  deia message list --output jsonl | jq -r 'select(.retry_count > 0) | .id'")]
    List(ListArgs),
    /// Show a message with its text. This does not mark it as read.
    #[command(before_help = "Examples:
  deia message show message_01h455vb4pex5vsknk084sn02q")]
    Show {
        /// The message.
        id: BotMessageId,
    },
    /// Mark a message as read: its receiver is not given it again.
    #[command(before_help = "Examples:
  deia message read message_01h455vb4pex5vsknk084sn02q")]
    Read {
        /// The message.
        id: BotMessageId,
    },
    /// Take messages out of the inbox of a bot. Unless they are marked as read, the bot is
    /// given them again.
    #[command(before_help = "Examples:
  deia message inbox upper-1
  deia message inbox upper-1 --limit 1 --wait 20s --output jsonl")]
    Inbox {
        /// The bot.
        bot: BotName,
        /// Maximum number of messages.
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = parse::whole(1..=100_u32))]
        limit: u32,
        /// Time to wait for a message; at most server.max_wait.
        #[arg(long, value_name = "DURATION", value_parser = parse::duration, default_value = "0s")]
        wait: Duration,
    },
}

/// A message to send.
#[derive(Debug, Args)]
pub(super) struct SendArgs {
    /// The bot that the message is for.
    bot: BotName,
    /// The text; `-` for standard input.
    content: String,
    /// The bot that sends it; a key of a bot sends as that bot.
    #[arg(long, value_name = "BOT")]
    from: Option<BotName>,
    /// The priority; P0 goes first.
    #[arg(long, value_parser = parse::priority(), ignore_case = true, default_value = "P2")]
    priority: Priority,
    /// The message expires unless it was read after that time.
    #[arg(long, value_name = "DURATION", value_parser = parse::whole_seconds)]
    expires: Option<u64>,
    /// The session that it belongs to.
    #[arg(long, value_name = "SESSION")]
    session: Option<SessionId>,
    /// Key that makes it safe to repeat this command: the message is sent once.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// Filter of messages.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only messages in this state.
    #[arg(long, value_parser = parse::delivery_status())]
    status: Option<DeliveryStatus>,
    /// Only messages that this bot sent.
    #[arg(long, value_name = "BOT")]
    sender: Option<BotName>,
    /// Only messages for this bot.
    #[arg(long, value_name = "BOT")]
    receiver: Option<BotName>,
    /// Only messages of this session.
    #[arg(long, value_name = "SESSION")]
    session: Option<SessionId>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

impl MessageCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let client = &context.client;
        match self {
            Self::Send(args) => {
                let key = args.idempotency_key.clone();
                let sent = client
                    .send_message(&args.message()?, key.as_deref())
                    .await?;
                one(context, &sent)
            }
            Self::List(args) => args.run(context).await,
            Self::Show { id } => one(context, &client.message(id).await?),
            Self::Read { id } => one(context, &client.read_message(id).await?),
            Self::Inbox { bot, limit, wait } => {
                let items = client.take_messages(bot.as_str(), limit, wait).await?;
                let page = deia_model::Page {
                    items,
                    next_cursor: None,
                };
                let none = "there are no messages for it now";
                context
                    .out
                    .list(&page, none, |look| given(&page.items, look))
            }
        }
    }
}

impl SendArgs {
    fn message(self) -> Result<NewMessage, CliError> {
        let content = match self.content.as_str() {
            "-" => context::read_text("", Path::new("-"), MAX_CONTENT_BYTES)?,
            _ => self.content,
        };
        Ok(NewMessage {
            receiver_bot: self.bot,
            content,
            sender_bot: self.from,
            priority: self.priority,
            ttl_seconds: self.expires,
            session_id: self.session,
        })
    }
}

impl ListArgs {
    async fn run(self, context: &Context) -> Result<(), CliError> {
        let filter = MessageFilter {
            status: self.status,
            sender: self.sender,
            receiver: self.receiver,
            session: self.session,
        };
        let part = self.page.request();
        let once = async || {
            let page = context.client.messages(&filter, &part).await?;
            let table = |look: &_| list(&page.items, look);
            context.out.list(&page, "there are no such messages", table)
        };
        self.watch.show(context, once).await
    }
}

fn one(context: &Context, message: &Message) -> Result<(), CliError> {
    context.out.one(message, |look| details(message, look))
}

fn list(messages: &[Message], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("MESSAGE"),
        Column::new("SENT"),
        Column::new("FROM"),
        Column::new("TO"),
        Column::new("PRIORITY"),
        Column::new("STATUS"),
        Column::new("RETRIES"),
    ]);
    for message in messages {
        table.row(vec![
            message.id.to_string().into(),
            format::when(message.timestamp, look.now).into(),
            sender(message).into(),
            message.receiver_bot.to_string().into(),
            format!("P{}", message.priority.rank()).into(),
            status(message),
            message.retry_count.to_string().into(),
        ]);
    }
    table.render(look)
}

/// Shows messages that were taken out of an inbox.
fn given(messages: &[Message], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("MESSAGE"),
        Column::new("FROM"),
        Column::new("PRIORITY"),
        Column::new("TEXT").flows(),
    ]);
    for message in messages {
        table.row(vec![
            message.id.to_string().into(),
            sender(message).into(),
            format!("P{}", message.priority.rank()).into(),
            message.content.as_deref().unwrap_or_default().into(),
        ]);
    }
    table.render(look)
}

fn details(message: &Message, look: &Look) -> String {
    let mut table = Table::fields();
    let when = |at| format::when_exactly(at, look.now);
    table.field("message", message.id.to_string());
    table.field("status", status(message));
    table.field("from", sender(message));
    table.field("to", message.receiver_bot.to_string());
    table.field("priority", format!("P{}", message.priority.rank()));
    table.field("sent", when(message.timestamp));
    table.field("delivered", or_dash(message.delivered_at.map(when)));
    table.field("retries", message.retry_count.to_string());
    table.field("read", or_dash(message.read_at.map(when)));
    table.field("expires", when(message.expires_at));
    if let Some(session) = message.session_id {
        table.field("session", session.to_string());
    }
    if let Some(failure) = &message.failure {
        table.field("failure", failure.as_str());
    }
    if let Some(content) = &message.content {
        table.field("text", content.as_str());
    }
    table.render(look)
}

/// Returns the bot that sent a message, or the user who did so in person.
fn sender(message: &Message) -> String {
    match &message.sender_bot {
        Some(bot) => bot.to_string(),
        None => format!("user {}", message.sent_by),
    }
}

fn status(message: &Message) -> Cell {
    let tone = match message.delivery_status {
        DeliveryStatus::Failed | DeliveryStatus::Expired => Tone::Bad,
        _ => Tone::Plain,
    };
    Cell::new(message.delivery_status.as_str(), tone)
}
