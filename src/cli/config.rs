//! `deia config`: needs no hive.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use deia_hive::{
    config,
    config::{Config, ConfigError},
};
use deia_model::Page;
use serde::Serialize;
use serde_json::Value;

use super::{
    context::read_text,
    error::CliError,
    output::Output,
    table::{Column, Table},
};

const MAX_BYTES: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// List all errors in a settings file; exit code 2 if there are any.
    #[command(before_help = "Examples:
  deia config check deia.yaml
  deia config check - < deia.yaml")]
    Check {
        /// The file; `-` is standard input.
        file: PathBuf,
    },
    /// Show the differences between a settings file and the defaults.
    #[command(before_help = "Examples:
  deia config diff deia.yaml
  deia config diff deia.yaml --output json")]
    Diff {
        /// The file; `-` is standard input.
        file: PathBuf,
    },
    /// Print the JSON Schema of a settings file.
    #[command(before_help = "Examples:\n  deia config schema > deia.schema.json")]
    Schema,
}

#[derive(Serialize)]
struct Difference {
    key: String,
    default: Value,
    value: Value,
}

impl ConfigCommand {
    pub(super) fn run(self, out: &Output) -> Result<(), CliError> {
        match self {
            Self::Check { file } => {
                read(&file)?;
                out.note(&format!("{} is in order", file.display()));
                Ok(())
            }
            Self::Diff { file } => diff(out, &read(&file)?),
            Self::Schema => {
                let schema = config::schema().map_err(refused(Path::new("the defaults")))?;
                let text = serde_json::to_string_pretty(&schema)?;
                out.one(&schema, |_| text)
            }
        }
    }
}

fn read(file: &Path) -> Result<Config, CliError> {
    config::inspect(&read_text("", file, MAX_BYTES)?).map_err(refused(file))
}

fn refused(file: &Path) -> impl FnOnce(ConfigError) -> CliError {
    let what = file.display().to_string();
    move |error| CliError::Settings {
        what,
        problems: error.to_string().lines().map(str::to_owned).collect(),
    }
}

fn diff(out: &Output, config: &Config) -> Result<(), CliError> {
    let found = config::differences(config).map_err(refused(Path::new("the defaults")))?;
    let of = |(key, default, value)| Difference {
        key,
        default,
        value,
    };
    let page = Page {
        items: found.into_iter().map(of).collect(),
        next_cursor: None,
    };
    out.list(&page, "nothing differs from the defaults", |look| {
        let mut table = Table::new(&[
            Column::new("KEY"),
            Column::new("DEFAULT").flows(),
            Column::new("VALUE").flows(),
        ]);
        for line in &page.items {
            let default = line.default.to_string();
            table.row(vec![
                line.key.as_str().into(),
                default.into(),
                line.value.to_string().into(),
            ]);
        }
        table.render(look)
    })
}
