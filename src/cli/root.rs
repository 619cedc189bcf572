//! The root of the parser, and which command goes where.

use std::ffi::OsString;

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use deia_hive::{auth::Permission, model::TaskId};

use super::{
    bot::BotCommand,
    completions,
    config::ConfigCommand,
    context::{Context, GlobalArgs, Globals},
    error::{CliError, Exit},
    health::HealthCommand,
    key::{self, KeyCommand},
    man, parse,
    profile::ProfileCommand,
    queue::QueueCommand,
    schema,
    secret::SecretCommand,
    supervisors::{self, SupervisorsCommand},
    system::SystemCommand,
    task::TaskCommand,
    user::UserCommand,
    watch::WatchArgs,
};
use crate::telemetry;

/// Examples come before the options.
const HELP: &str =
    "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

/// Operate a deia hive: its bots, tasks, queue, users and keys.
#[derive(Debug, Parser)]
#[command(
    name = "deia-admin",
    version,
    before_help = "Examples:
  deia-admin system status
  deia-admin task submit 'hello' --wait
  deia-admin bot list --output json
  deia-admin health check",
    after_help = "Exit codes: 0 ok, 1 failed, 2 usage, 3 unhealthy, 4 not found, 5 denied, 6 conflict, 7 unreachable, 8 timed out, 130 interrupted.",
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
    /// Keep the addresses and key files of hives under names.
    #[command(
        subcommand,
        before_help = "Examples:
  deia-admin profile add prod --url https://hive.example --key-file ~/.keys/prod.key
  deia-admin profile use prod
  deia-admin --profile prod task list"
    )]
    Profile(ProfileCommand),
    /// Look at settings files. Needs no hive.
    #[command(
        subcommand,
        before_help = "Examples:
  deia-admin config check deia.yaml
  deia-admin config diff deia.yaml"
    )]
    Config(ConfigCommand),
    /// Print the JSON Schema of what the API takes and answers. Needs no hive.
    #[command(before_help = "Examples:
  deia-admin schema
  deia-admin schema Task
  deia-admin schema NewTask --output yaml")]
    Schema {
        /// The entity; all are listed when it is absent.
        name: Option<String>,
    },
    /// Print the manual page of deia-admin, or write those of both programs.
    #[command(before_help = "Examples:
  deia-admin man | man -l -
  deia-admin man --dir ~/.local/share/man/man1")]
    Man {
        /// Write all pages into this directory.
        #[arg(long, value_name = "DIR")]
        dir: Option<std::path::PathBuf>,
    },
    /// Print the completion script for a shell.
    #[command(before_help = "Examples:
  deia-admin completions bash > ~/.local/share/bash-completion/completions/deia-admin
  deia-admin completions zsh > ~/.zfunc/_deia-admin")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What is asked of a hive.
#[derive(Debug, Subcommand)]
enum HiveNoun {
    /// Put bots in place, launch, watch, stop and remove them.
    #[command(
        subcommand,
        before_help = "Examples:
  deia-admin bot list
  deia-admin bot add upper-2 --command tr a-z A-Z --launch
  deia-admin bot logs upper-2 --lines 20"
    )]
    Bot(BotCommand),
    /// Submit tasks and see what becomes of them.
    #[command(
        subcommand,
        before_help = "Examples:
  deia-admin task submit 'hello' --wait
  deia-admin task list --status failed
  deia-admin task watch task_01h455vb4pex5vsknk084sn02q
  deia-admin task result task_01h455vb4pex5vsknk084sn02q --wait"
    )]
    Task(TaskCommand),
    /// Keep the secrets that bots refer to.
    #[command(
        subcommand,
        before_help = "Examples:
  deia-admin secret put anthropic --from /run/secrets/anthropic
  deia-admin secret list"
    )]
    Secret(SecretCommand),
    /// See how much work waits and where; hold it, let it go, and sort out what failed.
    #[command(
        subcommand,
        before_help = "Examples:
  deia-admin queue status
  deia-admin queue pause --type writing --reason 'the model is down'
  deia-admin queue dead --since 1d"
    )]
    Queue(QueueCommand),
    /// See how the whole hive stands.
    #[command(subcommand, before_help = "Examples:\n  deia-admin system status")]
    System(SystemCommand),
    /// Find out whether everything that must work does.
    #[command(
        subcommand,
        before_help = "Examples:\n  deia-admin health check || echo 'look into it'"
    )]
    Health(HealthCommand),
    /// Show the supervision tree: what runs, what was restarted and why.
    #[command(
        args_conflicts_with_subcommands = true,
        before_help = "Examples:
  deia-admin supervisors
  deia-admin supervisors --watch
  deia-admin supervisors show hive/core/bots/upper-1
  deia-admin supervisors restart hive/core/scheduler"
    )]
    Supervisors {
        #[command(subcommand)]
        command: Option<SupervisorsCommand>,
        #[command(flatten)]
        watch: WatchArgs,
    },
    /// Make, list, change and remove users.
    #[command(
        subcommand,
        before_help = "Examples:
  deia-admin user list
  deia-admin user add ada --role operator
  deia-admin user change ada --inactive"
    )]
    User(UserCommand),
    /// Make, list, rotate and revoke API keys.
    #[command(
        subcommand,
        before_help = "Examples:
  deia-admin key create --user ci --role external --to ci.key
  deia-admin key list
  deia-admin key rotate key_01h455vb4pex5vsknk084sn02q --to ci.key.new
  deia-admin key revoke key_01h455vb4pex5vsknk084sn02q"
    )]
    Key(KeyCommand),
    /// Find out whether you may do something. Nothing is done.
    #[command(before_help = "Examples:
  deia-admin can-i task:submit
  deia-admin can-i task:cancel task_01h455vb4pex5vsknk084sn02q")]
    CanI {
        /// The permission.
        #[arg(value_parser = parse::permission())]
        permission: Permission,
        /// A task that it is about.
        task: Option<TaskId>,
    },
    /// Show who the hive takes you for.
    #[command(before_help = "Examples:
  deia-admin whoami
  deia-admin whoami --key-file ci.key")]
    Whoami,
}

/// The whole definition of the command line.
pub fn command() -> Command {
    examples_first(Cli::command())
}

/// Takes variables of the environment that are set but empty for absent: scripts
/// and container descriptions often cannot leave a variable out.
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

/// Parses `args` (the program's name first), does what they say, prints what
/// came of it, and says how the process should end.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let parsed = ignoring_empty(command())
        .try_get_matches_from(args)
        .and_then(|matches| {
            let cli = Cli::from_arg_matches(&matches)?;
            Ok((Globals::new(cli.global, &matches), cli.noun))
        });
    let (globals, noun) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // Where the reader of a help text has gone away nobody is left to tell.
            let _ = telemetry::redact::print(&error);
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
        }
    };
    match execute(noun, &globals) {
        Ok(()) => Exit::Ok,
        Err(error) => error.report(),
    }
}

fn execute(noun: Noun, globals: &Globals) -> Result<(), CliError> {
    let noun = match noun {
        Noun::Completions { shell } => return completions::print(shell),
        Noun::Man { dir } => return man::run(&globals.output(None), dir.as_deref()),
        Noun::Schema { name } => return schema::run(&globals.output(None), name.as_deref()),
        Noun::Profile(command) => return command.run(globals),
        Noun::Config(command) => return command.run(&globals.output(None)),
        Noun::OfHive(noun) => noun,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    let context = Context::new(globals)?;
    runtime
        .block_on(dispatch(noun, &context))
        .map_err(|error| context.explain(error))
}

async fn dispatch(noun: HiveNoun, context: &Context) -> Result<(), CliError> {
    match noun {
        HiveNoun::Bot(command) => command.run(context).await,
        HiveNoun::Task(command) => command.run(context).await,
        HiveNoun::Secret(command) => command.run(context).await,
        HiveNoun::Queue(command) => command.run(context).await,
        HiveNoun::System(command) => command.run(context).await,
        HiveNoun::Health(command) => command.run(context).await,
        HiveNoun::Supervisors {
            command: None,
            watch,
        } => supervisors::show(context, watch).await,
        HiveNoun::Supervisors {
            command: Some(command),
            ..
        } => command.run(context).await,
        HiveNoun::Key(command) => command.run(context).await,
        HiveNoun::User(command) => command.run(context).await,
        HiveNoun::CanI { permission, task } => key::can_i(context, permission, task).await,
        HiveNoun::Whoami => key::whoami(context).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does_and_has_an_example() {
        fn check(command: &Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} has no description");
            let examples = command.get_before_help().map(ToString::to_string);
            assert!(
                examples.is_some_and(|text| text.starts_with("Examples:\n  deia-admin")),
                "{path} has no example"
            );
            for sub in command.get_subcommands() {
                check(sub, &path);
            }
        }
        check(&command(), "");
    }

    #[test]
    fn examples_parse() {
        fn lines(command: &Command, into: &mut Vec<String>) {
            let text = command.get_before_help().map(ToString::to_string);
            into.extend(text.unwrap_or_default().lines().map(str::to_owned));
            command.get_subcommands().for_each(|sub| lines(sub, into));
        }
        let mut all = Vec::new();
        lines(&command(), &mut all);
        for line in all.iter().filter_map(|l| l.strip_prefix("  deia-admin ")) {
            let words = crate::cli::parse::shell_words(line);
            let args = std::iter::once("deia-admin".to_owned()).chain(words);
            if let Err(error) = command().try_get_matches_from(args) {
                panic!("{line}: {error}");
            }
        }
    }
}
