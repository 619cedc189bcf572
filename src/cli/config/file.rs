//! Commands about settings files: they need no hive.

use std::path::Path;

use deia_hive::{
    config,
    config::{Config, ConfigError},
};
use deia_model::Page;
use serde::Serialize;
use serde_json::Value;

use crate::cli::{
    context::read_text,
    error::CliError,
    output::Output,
    table::{Column, Table},
};

/// Maximum size of a file of settings, in bytes. Fixed: of the command line, which has no
/// settings.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Serialize)]
struct Difference {
    key: String,
    default: Value,
    value: Value,
}

/// Lists all errors in a settings file.
pub(super) fn check(out: &Output, file: &Path) -> Result<(), CliError> {
    read(file)?;
    out.note(&format!("{} is in order", file.display()));
    Ok(())
}

/// Prints the JSON Schema of a settings file.
pub(super) fn schema(out: &Output) -> Result<(), CliError> {
    let schema = config::schema().map_err(refused(Path::new("the defaults")))?;
    let text = serde_json::to_string_pretty(&schema)?;
    out.one(&schema, |_| text)
}

/// Shows the differences between a settings file and the defaults.
pub(super) fn diff(out: &Output, file: &Path) -> Result<(), CliError> {
    differences(out, &read(file)?)
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

fn differences(out: &Output, config: &Config) -> Result<(), CliError> {
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
