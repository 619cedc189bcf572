//! The root of the parser, and the run of a command.

mod dispatch;

use std::ffi::OsString;

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use deia_model::{Permission, TaskId};

use self::dispatch::dispatch;
use super::{
    alerts::{AlertsArgs, AlertsCommand},
    audit::AuditCommand,
    backup::BackupCommand,
    bot::BotCommand,
    completions,
    config::ConfigCommand,
    context::{Context, GlobalArgs, Globals},
    degrade::DegradeCommand,
    error::{CliError, Exit},
    events::EventsArgs,
    flags,
    health::HealthCommand,
    interrupt::Interrupt,
    key::KeyCommand,
    line, man,
    message::MessageCommand,
    nearest,
    output::Output,
    parse,
    profile::ProfileCommand,
    queue::QueueCommand,
    schema,
    secret::SecretCommand,
    session::SessionCommand,
    supervisors::SupervisorsCommand,
    system::SystemCommand,
    task::TaskCommand,
    user::UserCommand,
    watch::WatchArgs,
    webhook::WebhookCommand,
};
use crate::telemetry;

/// Template that shows examples before the options.
const HELP: &str =
    "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

/// Run a hive of bots behind a durable task queue, and operate it.
#[derive(Debug, Parser)]
#[command(
    name = "deia",
    version,
    before_help = "Examples:
  deia                                    serve with ./deia.yaml, or else the defaults
  deia check                              check all that a start needs
  deia task submit 'hello' --wait
  deia bot list --output json
  deia health check",
    after_help = "Without a command it serves; deia serve --help lists the options. deia-admin is a second name that serves only with the command serve.
Exit codes: 0 ok, 1 failed, 2 usage, 3 unhealthy, 4 not found, 5 denied, 6 conflict, 7 unreachable, 8 timed out, 130 interrupted.",
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Subcommand)]
enum Noun {
    #[command(flatten)]
    OfHive(HiveNoun),
    /// Store the addresses and key files of hives under names.
    #[command(
        subcommand,
        before_help = "Examples:
  deia profile add prod --url https://hive.example --key-file ~/.keys/prod.key
  deia profile use prod
  deia --profile prod task list"
    )]
    Profile(ProfileCommand),
    /// Print the JSON Schemas of the API. Needs no hive.
    #[command(before_help = "Examples:
  deia schema
  deia schema Task
  deia schema NewTask --output yaml")]
    Schema {
        /// The entity; lists all when absent.
        name: Option<String>,
    },
    /// Print the manual page of deia, or write those of all commands.
    #[command(before_help = "Examples:
  deia man | man -l -
  deia man --dir ~/.local/share/man/man1")]
    Man {
        /// Write all pages into this directory.
        #[arg(long, value_name = "DIR")]
        dir: Option<std::path::PathBuf>,
    },
    /// Print the completion script for a shell.
    #[command(before_help = "Examples:
  deia completions bash > ~/.local/share/bash-completion/completions/deia
  deia completions zsh > ~/.zfunc/_deia")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the version of this program. Needs no hive.
    #[command(before_help = "Examples:
  deia version
  deia system status --output json | jq -r .version")]
    Version,
}

/// Commands that call a hive.
#[derive(Debug, Subcommand)]
pub(super) enum HiveNoun {
    /// Create, launch, watch, stop and remove bots.
    #[command(
        subcommand,
        before_help = "Examples:
  deia bot list
  deia bot add upper-2 --command tr a-z A-Z --launch
  deia bot logs upper-2 --lines 20"
    )]
    Bot(BotCommand),
    /// Submit tasks and follow them.
    #[command(
        subcommand,
        before_help = "Examples:
  deia task submit 'hello' --wait
  deia task list --status failed
  deia task watch task_01h455vb4pex5vsknk084sn02q
  deia task result task_01h455vb4pex5vsknk084sn02q --wait"
    )]
    Task(TaskCommand),
    /// Show and change the settings of the hive, and inspect settings files.
    #[command(
        subcommand,
        before_help = "Examples:
  deia config show --changed
  deia config set tasks.max_batch 500
  deia config reload --confirm-within 10m
  deia config check deia.yaml"
    )]
    Config(ConfigCommand),
    /// Manage the secrets that bots refer to.
    #[command(
        subcommand,
        before_help = "Examples:
  deia secret put anthropic --from /run/secrets/anthropic
  deia secret list"
    )]
    Secret(SecretCommand),
    /// Inspect the queue; pause, resume and drain it, and handle failed tasks.
    #[command(
        subcommand,
        before_help = "Examples:
  deia queue status
  deia queue pause --type writing --reason 'the model is down'
  deia queue dead --since 1d"
    )]
    Queue(QueueCommand),
    /// Inspect and restart the whole hive.
    #[command(subcommand, before_help = "Examples:\n  deia system status")]
    System(SystemCommand),
    /// Check the health of the hive.
    #[command(
        subcommand,
        before_help = "Examples:\n  deia health check || echo 'look into it'"
    )]
    Health(HealthCommand),
    /// Show the supervision tree: what runs, what was restarted and why.
    #[command(
        args_conflicts_with_subcommands = true,
        before_help = "Examples:
  deia supervisors
  deia supervisors --watch
  deia supervisors show hive/core/bots/upper-1
  deia supervisors restart hive/core/scheduler"
    )]
    Supervisors {
        #[command(subcommand)]
        command: Option<SupervisorsCommand>,
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// See which features are shed when resources are short, and why; set a level for a drill or
    /// for maintenance.
    #[command(
        subcommand,
        before_help = "Examples:
  deia degrade status
  deia degrade features
  deia degrade set 2 --reason drill --for 10m
  deia degrade auto"
    )]
    Degrade(DegradeCommand),
    /// List what needs a person: a bot that fails, a disk that fills, a follower that lags.
    #[command(
        args_conflicts_with_subcommands = true,
        before_help = "Examples:
  deia alerts
  deia alerts --all --limit 20
  deia alerts acknowledge alert_01h455vb4pex5vsknk084sn02q"
    )]
    Alerts {
        #[command(subcommand)]
        command: Option<AlertsCommand>,
        #[command(flatten)]
        list: AlertsArgs,
    },
    /// Register endpoints that get the events of the hive; see and repeat deliveries.
    #[command(
        subcommand,
        before_help = "Examples:
  deia webhook register https://hooks.example.com/deia --event task.failed --event alert
  deia webhook test webhook_01h455vb4pex5vsknk084sn02q
  deia webhook deliveries webhook_01h455vb4pex5vsknk084sn02q --state waiting
  deia webhook replay webhook_01h455vb4pex5vsknk084sn02q --from 2h --watch"
    )]
    Webhook(WebhookCommand),
    /// Start sessions, whose tasks go to one bot; list and end them.
    #[command(
        subcommand,
        before_help = "Examples:
  deia session start --bot upper-1
  deia task submit hello --session session_01h455vb4pex5vsknk084sn02q
  deia session end session_01h455vb4pex5vsknk084sn02q"
    )]
    Session(SessionCommand),
    /// Send messages to bots, and see what became of them.
    #[command(
        subcommand,
        before_help = "Examples:
  deia message send upper-1 'the build is green'
  deia message list --receiver upper-1
  deia message inbox upper-1"
    )]
    Message(MessageCommand),
    /// Search the audit trail, export it, and get proofs of it.
    #[command(
        subcommand,
        before_help = "Examples:
  deia audit query --actor ada --since 1d
  deia audit tail --follow --min-level warning
  deia audit export --format csv --to audit.csv
  deia audit log ext.deploy.approved 'release 7'
  deia audit verify --dir /var/lib/deia/audit"
    )]
    Audit(AuditCommand),
    /// Make backups of the hive, check them, and restore.
    #[command(
        subcommand,
        before_help = "Examples:
  deia backup status
  deia backup create --label 'before upgrade'
  deia backup list
  deia backup restore point_01h455vb4pex5vsknk084sn02q"
    )]
    Backup(BackupCommand),
    /// Create, list, change and remove users.
    #[command(
        subcommand,
        before_help = "Examples:
  deia user list
  deia user add ada --role operator
  deia user change ada --inactive"
    )]
    User(UserCommand),
    /// Create, list, rotate and revoke API keys.
    #[command(
        subcommand,
        before_help = "Examples:
  deia key create --user ci --new-user --role external --to ci.key
  deia key list
  deia key rotate key_01h455vb4pex5vsknk084sn02q --to ci.key.new
  deia key revoke key_01h455vb4pex5vsknk084sn02q"
    )]
    Key(KeyCommand),
    /// Show the roles and what each includes.
    #[command(before_help = "Examples:
  deia roles
  deia roles --output json | jq -r '.items[] | select(.role == \"external\")'")]
    Roles,
    /// Read the event log: what was done, by whom, to what.
    ///
    /// The newest first. Keys of the roles external and bot see only events of their
    /// own tasks.
    #[command(before_help = "Examples:
  deia events
  deia events --action key --since 1d
  deia events --action bot.quarantined --output jsonl | jq -r .target
  deia events --target bot:upper-1 --limit 20
  deia events --follow --action task --type writing
  deia events --follow --output jsonl | jq -r .action")]
    Events(EventsArgs),
    /// Check whether you have a permission; exit code 1 if not. Changes nothing.
    #[command(before_help = "Examples:
  deia can-i task:submit
  deia can-i task:cancel task_01h455vb4pex5vsknk084sn02q")]
    CanI {
        /// The permission.
        #[arg(value_parser = parse::permission())]
        permission: Permission,
        /// The task that it concerns.
        task: Option<TaskId>,
    },
    /// Show the user and the permissions of the key in use.
    #[command(before_help = "Examples:
  deia whoami
  deia whoami --key-file ci.key")]
    Whoami,
}

/// Returns the whole definition of the command line. It contains the commands that run
/// a hive on this machine, so that help lists them; [`crate::app`] parses them.
pub fn command() -> Command {
    let server = crate::app::command();
    let commands = server.get_subcommands().filter(|sub| !sub.is_hide_set());
    examples_first(Cli::command().subcommands(commands.cloned()))
}

/// Treats environment variables that are set but empty as absent: scripts and container
/// descriptions often cannot leave a variable out.
fn ignoring_empty(command: Command) -> Command {
    command.mut_args(|arg| {
        let is_empty = arg
            .get_env()
            .and_then(std::env::var_os)
            .is_some_and(|value| value.is_empty());
        match is_empty {
            true => arg.env(None::<&str>),
            false => arg,
        }
    })
}

fn examples_first(command: Command) -> Command {
    command
        .help_template(HELP)
        .disable_help_subcommand(true)
        .mut_subcommands(examples_first)
}

/// Parses `args` (the program's name first), runs the command, prints the outcome, and
/// returns the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let mut args = args.into_iter().peekable();
    let name = called(args.peek());
    let command = ignoring_empty(command().name(name).bin_name(name));
    let parsed = line::parse(command, args).and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches)?;
        Ok((Globals::new(cli.global, &matches), cli.noun))
    });
    let (globals, noun) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            return explain_usage(&error);
        }
    };
    match execute(noun, &globals, name) {
        Ok(()) => Exit::Ok,
        Err(error) => error.report(),
    }
}

/// Returns the name that the program was called by.
fn called(first: Option<&OsString>) -> &'static str {
    let name = first
        .map(std::path::Path::new)
        .and_then(|path| path.file_name());
    match name {
        Some(name) if name == "deia-admin" => "deia-admin",
        _ => "deia",
    }
}

/// Prints a help text, which is data, or the error in the command line.
fn explain_usage(error: &clap::Error) -> Exit {
    if error.use_stderr() {
        // If the output has no reader, there is nobody to inform.
        let _ = telemetry::redact::print(error);
        return Exit::Usage;
    }
    match error.print().map_err(super::output::broken) {
        Ok(()) => Exit::Ok,
        Err(error) => error.report(),
    }
}

fn version(out: &Output) -> Result<(), CliError> {
    let version = env!("CARGO_PKG_VERSION");
    out.one(&serde_json::json!({ "version": version }), |_| {
        format!("deia {version}\n")
    })
}

fn execute(noun: Noun, globals: &Globals, name: &str) -> Result<(), CliError> {
    let noun = match noun {
        Noun::Completions { shell } => return completions::print(shell, name),
        Noun::Version => return version(&globals.output(None)),
        Noun::Man { dir } => return man::run(&globals.output(None), dir.as_deref()),
        Noun::Schema { name } => return schema::run(&globals.output(None), name.as_deref()),
        Noun::Profile(command) => return command.run(globals),
        Noun::OfHive(HiveNoun::Config(command)) if command.is_local() => {
            // The command may read standard input for as long as that is open.
            let listening = Interrupt::default().listen(None);
            listening.map_err(CliError::Runtime)?;
            return command.run_alone(&globals.output(None));
        }
        Noun::OfHive(HiveNoun::Audit(AuditCommand::Verify(args))) => {
            return args.run(&globals.output(None));
        }
        Noun::OfHive(noun) => noun,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    let context = Context::new(globals)?;
    let names = flags::of(&noun);
    runtime.block_on(async {
        match dispatch(noun, &context).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let error = nearest::name(&context, flags::name(error, names)).await;
                Err(context.explain(error))
            }
        }
    })
}

#[cfg(test)]
mod tests;
