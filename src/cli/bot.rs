//! `deia bot`.

mod apply;
mod attach;
mod fleet;
mod limits;
mod logs;
mod probe;
mod remote;
mod service;
mod spec;
mod top;
mod view;

use clap::{Args, Subcommand};
use deia_client::{Client, PutIf};
use deia_model::{Bot, BotDesired, BotFilter, BotName};

use self::{apply::ApplyArgs, attach::AttachArgs, logs::LogArgs, spec::AddArgs, top::TopArgs};
use super::{
    confirm::Confirm,
    context::Context,
    error::CliError,
    format,
    interrupt::Stays,
    output::Output,
    parse,
    wait::{Goal, WaitArgs},
    watch::WatchArgs,
};

/// Options that select bots.
#[derive(Clone, Debug, Args)]
pub(super) struct SelectArgs {
    /// Only the bots of this group.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only the bots with this label; repeat for more.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::pair)]
    label: Vec<(String, String)>,
}

impl SelectArgs {
    fn filter(&self) -> BotFilter {
        BotFilter {
            group: self.group.clone(),
            labels: self.label.clone(),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum BotCommand {
    /// List bots.
    #[command(before_help = "Examples:
  deia bot list
  deia bot list --watch 1s
  deia bot list --group agents --label team=core
  deia bot list --output jsonl | jq -r .id")]
    List {
        #[command(flatten)]
        select: SelectArgs,
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
  deia bot add fast --worker python3 /opt/worker.py --max-concurrent 8 --launch
  deia bot add agent --secret API_KEY=file:/etc/deia/secrets/api -- /opt/agent
  deia bot add review --http https://agents.example.com/run --secret SIGNING_SECRET=store:review
  deia bot add gpt --llm https://api.openai.com/v1 --model gpt-5 --secret API_KEY=store:openai
  deia bot add sim-3 --simulated slow --specialize writing
  deia bot add from-file --file spec.json --replace")]
    Add(Box<AddArgs>),
    /// Make the bots those of a file: create, change and, on request, remove them.
    #[command(before_help = "Examples:
  deia bot apply -f fleet.yaml --dry-run
  deia bot apply -f fleet.yaml
  deia bot apply -f fleet.yaml --prune --yes")]
    Apply(ApplyArgs),
    /// Show what the bots do and use: tasks, processor, memory.
    #[command(before_help = "Examples:
  deia bot top
  deia bot top --watch
  deia bot top --group agents --watch=5s")]
    Top(TopArgs),
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
    /// Follow a bot's log, or the output of a task, and send each line typed to its program.
    #[command(before_help = "Examples:
  deia bot attach agent-1
  deia bot attach agent-1 --task task_01h455vb4pex5vsknk084sn02q
  echo 'status' | deia bot attach agent-1")]
    Attach(AttachArgs),
}

impl BotCommand {
    /// Returns whether the input is in a file, not in options.
    pub(super) fn is_from_file(&self) -> bool {
        matches!(self, Self::Add(args) if args.is_from_file())
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        match self {
            Self::List { select, watch } => list(context, &select.filter(), watch).await,
            Self::Apply(args) => args.run(context).await,
            Self::Top(args) => args.run(context).await,
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
            Self::Attach(args) => args.run(context).await,
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

async fn list(context: &Context, filter: &BotFilter, watch: WatchArgs) -> Result<(), CliError> {
    let once = async || {
        let page = context.client.select_bots(filter).await?;
        let table = |look: &_| view::list(&page.items, look);
        context.out.list(&page, "there are no bots", table)
    };
    watch.show(context, once).await
}

async fn add(context: &Context, args: AddArgs) -> Result<(), CliError> {
    let (client, out) = (&context.client, &context.out);
    let spec = args.spec()?;
    let (when, running) = if args.replace {
        (PutIf::Always, running_tasks(client, &args.name).await?)
    } else {
        (PutIf::New, 0)
    };
    let put = match args.now {
        true => client.put_bot_now(&args.name, &spec, when).await,
        false => client.put_bot(&args.name, &spec, when).await,
    };
    let put = match put {
        Err(error) if error.problem().is_some_and(|p| p.status == 412) => {
            return Err(CliError::BotExists { name: args.name });
        }
        put => put?,
    };
    warn(out, &put);
    if running > 0 {
        out.note(&format!(
            "{} back to the queue; deia bot drain {} lets tasks end before a replacement",
            format::count(running, "running task goes", "running tasks go"),
            args.name
        ));
    }
    let mut bot = put;
    if args.launch {
        bot = client.launch_bot(&args.name).await?;
        bot = args.wait.until(client, bot, Goal::Up).await?;
    } else if bot.desired == BotDesired::Stopped {
        out.note(&format!("launch it: deia bot launch {}", bot.id));
    }
    row(out, &bot)
}

/// Returns how many tasks a bot runs now; 0 for one that does not exist or may not be
/// read: the number is only for a note.
async fn running_tasks(client: &Client, name: &BotName) -> Result<u64, CliError> {
    match client.bot(name).await {
        Ok(bot) => Ok(u64::from(bot.running_tasks)),
        Err(error) if error.problem().is_some() => Ok(0),
        Err(error) => Err(error.into()),
    }
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
