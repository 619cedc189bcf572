//! `deia bot`.

mod logs;
mod spec;
mod view;

use clap::Subcommand;
use deia_client::PutIf;
use deia_model::{Bot, BotDesired, BotName};

use self::{logs::LogArgs, spec::AddArgs};
use super::{
    confirm::Confirm,
    context::Context,
    error::CliError,
    interrupt::Stays,
    output::Output,
    wait::{Goal, WaitArgs},
    watch::WatchArgs,
};

#[derive(Debug, Subcommand)]
pub(super) enum BotCommand {
    /// List all bots.
    #[command(before_help = "Examples:
  deia bot list
  deia bot list --watch 1s
  deia bot list --output jsonl | jq -r .id")]
    List {
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Show everything about a bot.
    #[command(before_help = "Examples:
  deia bot show upper-1
  deia bot show upper-1 --watch")]
    Show {
        /// The bot.
        name: BotName,
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Create a bot, or replace its specification.
    #[command(before_help = "Examples:
  deia bot add upper-2 --command tr a-z A-Z --launch
  deia bot add shout --max-concurrent 4 -- sh -c 'tr a-z A-Z; echo !'
  deia bot add agent --secret API_KEY=file:/etc/deia/secrets/api -- /opt/agent
  deia bot add sim-3 --simulated slow --specialize writing
  deia bot add from-file --file spec.json --replace")]
    Add(Box<AddArgs>),
    /// Launch a bot.
    #[command(before_help = "Examples:
  deia bot launch upper-1
  deia bot launch upper-1 --wait 10s")]
    Launch {
        /// The bot.
        name: BotName,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Stop a bot; its running tasks go back to the queue.
    #[command(before_help = "Examples:
  deia bot stop upper-1
  deia bot stop upper-1 --wait")]
    Stop {
        /// The bot.
        name: BotName,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Let a bot finish its running tasks, take no new ones, and then stop.
    #[command(before_help = "Examples:
  deia bot drain upper-1
  deia bot drain upper-1 --wait 10m")]
    Drain {
        /// The bot.
        name: BotName,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Stop a bot and launch it again; its running tasks go back to the queue.
    #[command(before_help = "Examples:
  deia bot restart upper-1
  deia bot restart upper-1 --drain --wait=10m")]
    Restart {
        /// The bot.
        name: BotName,
        /// Let it finish its running tasks first.
        #[arg(long)]
        drain: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Remove a stopped bot.
    #[command(before_help = "Examples:
  deia bot remove upper-2
  deia bot remove upper-2 --yes")]
    Remove {
        /// The bot.
        name: BotName,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Print the last lines of a bot's log, and follow it.
    #[command(before_help = "Examples:
  deia bot logs upper-1
  deia bot logs upper-1 --lines 1000 | grep -i error
  deia bot logs upper-1 --follow")]
    Logs(LogArgs),
}

impl BotCommand {
    /// Returns whether the input is in a file, not in options.
    pub(super) fn is_from_file(&self) -> bool {
        matches!(self, Self::Add(args) if args.is_from_file())
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        match self {
            Self::List { watch } => list(context, watch).await,
            Self::Show { name, watch } => {
                let once = async || {
                    let bot = client.bot(&name).await?;
                    out.one(&bot, |look| view::details(&bot, look))
                };
                watch.show(context, once).await
            }
            Self::Add(args) => add(context, *args).await,
            Self::Launch { name, wait } => {
                let bot = client.launch_bot(&name).await?;
                warn(out, &bot);
                context.interrupt.stays(Stays::Bot(name));
                row(out, &wait.until(client, bot, Goal::Up).await?)
            }
            Self::Restart { name, drain, wait } => {
                row(out, &restart(context, name, drain, wait).await?)
            }
            Self::Stop { name, wait } => {
                let bot = client.stop_bot(&name).await?;
                context.interrupt.stays(Stays::Bot(name));
                row(out, &wait.until(client, bot, Goal::Down).await?)
            }
            Self::Drain { name, wait } => {
                let bot = client.drain_bot(&name).await?;
                context.interrupt.stays(Stays::Bot(name));
                row(out, &wait.until(client, bot, Goal::Down).await?)
            }
            Self::Remove { name, confirm } => {
                confirm.ask(&format!("remove bot {name}"))?;
                client.delete_bot(&name).await?;
                out.note(&format!("bot {name} is removed"));
                Ok(())
            }
            Self::Logs(args) => args.run(context).await,
        }
    }
}

async fn restart(
    context: &Context,
    name: BotName,
    drain: bool,
    wait: WaitArgs,
) -> Result<Bot, CliError> {
    let client = &context.client;
    let bot = match drain {
        true => client.drain_bot(&name).await?,
        false => client.stop_bot(&name).await?,
    };
    context.interrupt.stays(Stays::BotStopped(name.clone()));
    wait.or_default().until(client, bot, Goal::Down).await?;
    let bot = client.launch_bot(&name).await?;
    warn(&context.out, &bot);
    context.interrupt.stays(Stays::Bot(name));
    wait.until(client, bot, Goal::Up).await
}

async fn list(context: &Context, watch: WatchArgs) -> Result<(), CliError> {
    let once = async || {
        let page = context.client.bots().await?;
        let table = |look: &_| view::list(&page.items, look);
        context.out.list(&page, "there are no bots", table)
    };
    watch.show(context, once).await
}

async fn add(context: &Context, args: AddArgs) -> Result<(), CliError> {
    let (client, out) = (&context.client, &context.out);
    let spec = args.spec()?;
    let when = if args.replace {
        PutIf::Always
    } else {
        PutIf::New
    };
    let put = match client.put_bot(&args.name, &spec, when).await {
        Err(error) if error.problem().is_some_and(|p| p.status == 412) => {
            return Err(CliError::BotExists { name: args.name });
        }
        put => put?,
    };
    warn(out, &put);
    let mut bot = put;
    if args.launch {
        bot = client.launch_bot(&args.name).await?;
        bot = args.wait.until(client, bot, Goal::Up).await?;
    } else if bot.desired == BotDesired::Stopped {
        out.note(&format!("launch it: deia bot launch {}", bot.id));
    }
    row(out, &bot)
}

/// Prints the reasons why a bot could not carry out a task now.
fn warn(out: &Output, bot: &Bot) {
    for warning in &bot.warnings {
        out.note(&format!(
            "warning: {warning}; bot {} returns its tasks until that is fixed",
            bot.id
        ));
    }
}

fn row(out: &Output, bot: &Bot) -> Result<(), CliError> {
    out.one(bot, |look| view::list(std::slice::from_ref(bot), look))
}
