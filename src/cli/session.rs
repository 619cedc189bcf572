//! `deia session`: tasks that go to one bot.

use clap::{Args, Subcommand};
use deia_client::EndSessionRequest;
use deia_model::{BotName, NewSession, OnBotDeath, Session, SessionFilter, SessionId};

use super::{
    context::Context,
    error::CliError,
    filter::PageArgs,
    format,
    output::Look,
    parse,
    table::{Column, Table, or_dash},
    watch::WatchArgs,
};

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// Start a session. Name it in `deia task submit --session`: its tasks go to one bot.
    #[command(before_help = "Examples:
  deia session start
  deia session start --bot upper-1 --on-bot-death fail
  deia session start --output json | jq -r .id")]
    Start(StartArgs),
    /// List sessions, the newest first.
    #[command(before_help = "Examples:
  deia session list
  deia session list --active --bot upper-1
  deia session list --watch")]
    List(ListArgs),
    /// Show a session.
    #[command(before_help = "Examples:
  deia session show session_01h455vb4pex5vsknk084sn02q")]
    Show {
        /// The session.
        id: SessionId,
    },
    /// End a session. Its waiting tasks stay, unless they are cancelled with it.
    #[command(before_help = "Examples:
  deia session end session_01h455vb4pex5vsknk084sn02q
  deia session end session_01h455vb4pex5vsknk084sn02q --cancel-waiting")]
    End {
        /// The session.
        id: SessionId,
        /// Cancel its waiting tasks.
        #[arg(long)]
        cancel_waiting: bool,
    },
}

/// A session to start.
#[derive(Debug, Args)]
pub(super) struct StartArgs {
    /// The bot of the session, which must be launched; otherwise the one that gets the first
    /// task.
    #[arg(long, value_name = "BOT")]
    bot: Option<BotName>,
    /// Consequence when the bot is stopped, removed, or failing: the session goes on with
    /// another bot, or its waiting tasks fail and it ends.
    #[arg(long, value_parser = parse::on_bot_death(), default_value = "rebind")]
    on_bot_death: OnBotDeath,
    /// The session ends after that time without activity, in whole seconds or more.
    #[arg(long, value_name = "DURATION", value_parser = parse::whole_seconds)]
    idle: Option<u64>,
    /// Key that makes it safe to repeat this command: one session is started.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// Filter of sessions.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only active sessions.
    #[arg(long, conflicts_with = "ended")]
    active: bool,
    /// Only sessions that have ended.
    #[arg(long)]
    ended: bool,
    /// Only sessions of this user.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only sessions of this bot.
    #[arg(long, value_name = "BOT")]
    bot: Option<BotName>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    watch: WatchArgs,
}

impl SessionCommand {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let client = &context.client;
        match self {
            Self::Start(args) => {
                let new = NewSession {
                    bot: args.bot,
                    on_bot_death: args.on_bot_death,
                    idle_ttl_seconds: args.idle,
                };
                let key = args.idempotency_key.as_deref();
                one(context, &client.start_session(&new, key).await?)
            }
            Self::List(args) => args.run(context).await,
            Self::Show { id } => one(context, &client.session(id).await?),
            Self::End { id, cancel_waiting } => {
                let request = EndSessionRequest { cancel_waiting };
                one(context, &client.end_session(id, &request).await?)
            }
        }
    }
}

impl ListArgs {
    async fn run(self, context: &Context) -> Result<(), CliError> {
        let filter = SessionFilter {
            active: (self.active || self.ended).then_some(self.active),
            user: self.user,
            bot: self.bot,
        };
        let part = self.page.request();
        let once = async || {
            let page = context.client.sessions(&filter, &part).await?;
            let table = |look: &_| list(&page.items, look);
            context.out.list(&page, "there are no such sessions", table)
        };
        self.watch.show(context, once).await
    }
}

fn one(context: &Context, session: &Session) -> Result<(), CliError> {
    context.out.one(session, |look| details(session, look))
}

fn list(sessions: &[Session], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("SESSION"),
        Column::new("STARTED"),
        Column::new("USER"),
        Column::new("BOT"),
        Column::new("STATE"),
        Column::new("TASKS"),
        Column::new("MESSAGES"),
    ]);
    for session in sessions {
        table.row(vec![
            session.id.to_string().into(),
            format::when(session.created_at, look.now).into(),
            session.user.as_str().into(),
            or_dash(session.bot.as_ref()),
            state(session).into(),
            session.tasks_submitted.to_string().into(),
            session.messages_exchanged.to_string().into(),
        ]);
    }
    table.render(look)
}

fn details(session: &Session, look: &Look) -> String {
    let mut table = Table::fields();
    let when = |at| format::when_exactly(at, look.now);
    table.field("session", session.id.to_string());
    table.field("state", state(session));
    table.field("user", session.user.as_str());
    table.field("bot", or_dash(session.bot.as_ref()));
    table.field("on bot death", session.on_bot_death.as_str());
    table.field("started", when(session.created_at));
    table.field("last activity", when(session.last_activity));
    let idle = format::millis(session.idle_ttl_seconds.saturating_mul(1_000));
    table.field("ends when idle for", idle);
    if let Some(at) = session.ended_at {
        table.field("ended", when(at));
    }
    table.field("tasks", session.tasks_submitted.to_string());
    table.field("messages", session.messages_exchanged.to_string());
    table.field("address", or_dash(session.ip_address.as_ref()));
    table.field("program", or_dash(session.user_agent.as_ref()));
    table.render(look)
}

fn state(session: &Session) -> String {
    match session.end_reason {
        None if session.is_active => "active".to_owned(),
        None => "ended".to_owned(),
        Some(reason) => format!("ended ({reason})"),
    }
}
