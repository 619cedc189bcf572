//! `deia config`: the settings of a running hive, and settings files.

mod file;
mod live;
mod view;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::{
    confirm::Confirm, context::Context, error::CliError, filter::PageArgs, output::Output, parse,
};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Show the settings in force, and where each value comes from.
    #[command(before_help = "Examples:
  deia config show
  deia config show --changed
  deia config show --output yaml")]
    Show {
        /// Only settings that differ from the defaults.
        #[arg(long)]
        changed: bool,
    },
    /// Show one setting: its value, the values that it may have, and what a change would do.
    #[command(before_help = "Examples:
  deia config get tasks.max_batch
  deia config get tasks.max_batch --output json | jq .value")]
    Get {
        /// The key, in dotted form.
        key: String,
    },
    /// Change one setting of the running hive, over the settings file.
    ///
    /// The change is kept over restarts. It is taken back if the hive gets into trouble within
    /// settings.probation.
    #[command(before_help = "Examples:
  deia config set tasks.max_batch 500
  deia config set webhooks.deadline 20s --confirm-within 10m
  deia config set tasks.types '[\"general\", \"writing\"]'
  deia config set tasks.max_batch --reset")]
    Set(SetArgs),
    /// Show the version in force, its probation, and the state of the settings file.
    #[command(before_help = "Examples:\n  deia config status")]
    Status,
    /// Show the differences between a settings file and the defaults; without a file, between
    /// the hive's file and the settings in force.
    #[command(before_help = "Examples:
  deia config diff
  deia config diff deia.yaml
  deia config diff deia.yaml --output json")]
    Diff {
        /// The file; `-` is standard input.
        file: Option<PathBuf>,
    },
    /// List all errors in a settings file; exit code 2 if there are any. Without a file, check
    /// whether the hive can reload its own.
    #[command(before_help = "Examples:
  deia config check
  deia config check deia.yaml
  deia config check - < deia.yaml")]
    Check {
        /// The file; `-` is standard input.
        file: Option<PathBuf>,
    },
    /// Have the hive read its settings file again.
    ///
    /// Applied to every part of the hive or to none. Refused if keys differ that take effect at
    /// the next start, unless --apply-rest is given.
    #[command(before_help = "Examples:
  deia config reload --dry-run
  deia config reload
  deia config reload --confirm-within 10m")]
    Reload(ReloadArgs),
    /// Confirm the settings in force: they are not taken back for want of it any more.
    #[command(before_help = "Examples:
  deia config confirm
  deia config confirm --version 12")]
    Confirm {
        /// The version; refused unless it is in force.
        #[arg(long, value_name = "N")]
        version: Option<u64>,
    },
    /// List the versions of the settings: who changed what, and the outcome.
    #[command(before_help = "Examples:
  deia config history
  deia config history -n 5 --output json")]
    History {
        #[command(flatten)]
        page: PageArgs,
    },
    /// Put the values of an earlier version back.
    #[command(before_help = "Examples:
  deia config undo
  deia config undo --to 11 --yes")]
    Undo {
        /// The version; the one that was in force before when absent.
        #[arg(long, value_name = "N")]
        to: Option<u64>,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Print the JSON Schema of a settings file.
    #[command(before_help = "Examples:\n  deia config schema > deia.schema.json")]
    Schema,
}

/// A change of one setting.
#[derive(Debug, Args)]
pub(super) struct SetArgs {
    /// The key, in dotted form.
    key: String,
    /// The value: JSON, or a text such as 30s.
    #[arg(required_unless_present = "reset", conflicts_with = "reset")]
    value: Option<String>,
    /// Take an earlier change back: the value is that of the settings file again.
    #[arg(long)]
    reset: bool,
    /// Take the change back unless it is confirmed within this time.
    #[arg(long, value_name = "DURATION", value_parser = parse::whole_seconds)]
    confirm_within: Option<u64>,
    /// Change only this version of the settings.
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
}

/// Options of a reload.
#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    /// Show what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Apply what can change at once, although other keys take effect at the next start.
    #[arg(long)]
    apply_rest: bool,
    /// Take the change back unless it is confirmed within this time.
    #[arg(long, value_name = "DURATION", value_parser = parse::whole_seconds)]
    confirm_within: Option<u64>,
}

impl ConfigCommand {
    /// Returns true if the command needs no hive.
    pub(super) fn is_local(&self) -> bool {
        matches!(
            self,
            Self::Check { file: Some(_) } | Self::Diff { file: Some(_) } | Self::Schema
        )
    }

    /// Runs a command that needs no hive.
    pub(super) fn run_alone(&self, out: &Output) -> Result<(), CliError> {
        match self {
            Self::Check { file: Some(file) } => file::check(out, file),
            Self::Diff { file: Some(file) } => file::diff(out, file),
            _ => file::schema(out),
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        match self {
            Self::Show { changed } => live::show(context, changed).await,
            Self::Get { key } => live::get(context, &key).await,
            Self::Set(args) => live::set(context, args).await,
            Self::Status => live::status(context).await,
            Self::Reload(args) => live::reload(context, args).await,
            Self::Confirm { version } => live::confirm(context, version).await,
            Self::History { page } => live::history(context, page).await,
            Self::Undo { to, confirm } => live::undo(context, to, confirm).await,
            Self::Diff { file: None } => live::diff(context).await,
            Self::Check { file: None } => live::check(context).await,
            local => local.run_alone(&context.out),
        }
    }

    /// Shows all settings in force: `deia system config`.
    pub(super) fn show() -> Self {
        Self::Show { changed: false }
    }

    /// Changes one setting: `deia system config set`.
    pub(super) fn set(key: String, value: String) -> Self {
        Self::Set(SetArgs {
            key,
            value: Some(value),
            reset: false,
            confirm_within: None,
            if_version: None,
        })
    }
}

/// Returns a time in words.
fn seconds(count: u64) -> String {
    super::format::duration(Duration::from_secs(count))
}
