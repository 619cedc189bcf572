//! Data to standard output in the requested format, messages to standard error.

use std::{
    cell::Cell,
    io::{self, IsTerminal as _, Write as _},
};

use clap::ValueEnum;
use deia_model::{Page, Timestamp};
use serde::Serialize;

use super::{error::CliError, format, yaml};
use crate::telemetry::redact::redact;

/// The format of data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// The answer of the API, indented.
    Json,
    /// One item per line.
    Jsonl,
    /// The answer of the API, as YAML.
    Yaml,
}

impl Format {
    /// Returns the name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Yaml => "yaml",
        }
    }
}

/// The properties of the terminal that tables depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// True if colours are wanted.
    pub(super) color: bool,
    /// Columns of the terminal; `None`: unlimited.
    pub(super) width: Option<u16>,
    /// The time that times are shown relative to.
    pub(super) now: Timestamp,
}

/// The destination of data and messages.
#[derive(Clone, Debug)]
pub(super) struct Output {
    format: Format,
    color: bool,
    width: Option<u16>,
    to_terminal: bool,
    /// True if the terminal must be cleared before the next write.
    clears: Cell<bool>,
}

impl Output {
    /// Inspects the terminal, `NO_COLOR` and `COLUMNS`.
    pub(super) fn of_this_process(format: Format) -> Self {
        let to_terminal = io::stdout().is_terminal();
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let columns = std::env::var("COLUMNS").ok().and_then(|n| n.parse().ok());
        let terminal = || comfy_table::Table::new().width();
        Self {
            format,
            color: to_terminal && !set("NO_COLOR") && !dumb,
            width: columns.or_else(|| to_terminal.then(terminal).flatten()),
            to_terminal,
            clears: Cell::new(false),
        }
    }

    /// Writes one value.
    pub(super) fn one<T: Serialize>(
        &self,
        value: &T,
        table: impl FnOnce(&Look) -> String,
    ) -> Result<(), CliError> {
        self.write(&self.rendered(value, table)?)
    }

    /// Returns one value in the requested format.
    pub(super) fn rendered<T: Serialize>(
        &self,
        value: &T,
        table: impl FnOnce(&Look) -> String,
    ) -> Result<String, CliError> {
        match self.format {
            Format::Table => Ok(table(&self.look())),
            format => render(format, value),
        }
    }

    /// Writes a list; an empty one gives a message instead of a table.
    pub(super) fn list<T: Serialize>(
        &self,
        page: &Page<T>,
        nothing: &str,
        table: impl FnOnce(&Look) -> String,
    ) -> Result<(), CliError> {
        let cursor = page.next_cursor.as_deref();
        self.list_of(page, &page.items, cursor, nothing, table)
    }

    /// Writes a list like [`list`](Self::list), of a page that says more than its items.
    pub(super) fn list_of<P: Serialize, T: Serialize>(
        &self,
        page: &P,
        items: &[T],
        next_cursor: Option<&str>,
        nothing: &str,
        table: impl FnOnce(&Look) -> String,
    ) -> Result<(), CliError> {
        match self.format {
            Format::Table if items.is_empty() => self.note(nothing),
            Format::Table => self.write(&table(&self.look()))?,
            Format::Jsonl => self.lines(items)?,
            format => self.write(&render(format, page)?)?,
        }
        if let (Format::Table | Format::Jsonl, Some(cursor)) = (self.format, next_cursor) {
            self.note(&format!("there is more: --cursor {cursor}"));
        }
        Ok(())
    }

    /// Writes one of many values that come over time, as JSON on a line.
    pub(super) fn line<T: Serialize>(&self, value: &T) -> Result<(), CliError> {
        self.write(&render(Format::Jsonl, value)?)
    }

    /// Writes a text of the command itself.
    pub(super) fn text(&self, text: &str) -> Result<(), CliError> {
        self.write(text)
    }

    /// Writes items, one per line.
    fn lines<T: Serialize>(&self, items: &[T]) -> Result<(), CliError> {
        let lines: Result<String, _> = items.iter().map(|i| render(Format::Jsonl, i)).collect();
        self.write(&lines?)
    }

    /// Writes a text of a bot: unchanged into a file or a pipe, harmless on a terminal.
    pub(super) fn raw(&self, text: &str) -> Result<(), CliError> {
        if self.to_terminal {
            self.write(&format::printable(text))
        } else {
            self.write(text)
        }
    }

    /// Returns whether bytes of a bot are written unchanged: not to a terminal, and in
    /// no format.
    pub(super) fn takes_bytes(&self) -> bool {
        self.is_table() && !self.to_terminal
    }

    /// Writes a part of something longer, unchanged.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)
            .and_then(|()| out.flush())
            .map_err(broken)
    }

    /// Clears a terminal for the next of many tables, together with its first words:
    /// until then the previous one stays.
    pub(super) fn next_frame(&self) {
        self.clears.set(self.to_terminal && self.is_table());
    }

    /// Keeps the content of the terminal.
    pub(super) fn keep_frame(&self) {
        self.clears.set(false);
    }

    fn begin(&self, out: &mut impl io::Write) -> io::Result<()> {
        match self.clears.take() {
            true => out.write_all(b"\x1b[H\x1b[2J"),
            false => Ok(()),
        }
    }

    fn look(&self) -> Look {
        Look {
            color: self.color,
            width: self.width,
            now: Timestamp::now(),
        }
    }

    /// Returns whether tables are wanted.
    pub(super) fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// Returns whether one item per line is wanted.
    pub(super) fn is_jsonl(&self) -> bool {
        self.format == Format::Jsonl
    }

    /// Prints a message that is not data.
    pub(super) fn note(&self, message: &str) {
        // Without a reader there is nobody to inform.
        let mut out = io::stdout().lock();
        let _ = self.begin(&mut out).and_then(|()| out.flush());
        let _ = writeln!(
            io::stderr().lock(),
            "{}",
            format::printable(&redact(message))
        );
    }

    fn write(&self, text: &str) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        let written = self.begin(&mut out).and_then(|()| {
            out.write_all(text.as_bytes())?;
            if !text.is_empty() && !text.ends_with('\n') {
                out.write_all(b"\n")?;
            }
            out.flush()
        });
        written.map_err(broken)
    }
}

pub(super) fn broken(error: io::Error) -> CliError {
    CliError::Stream {
        stream: "standard output",
        error,
    }
}

fn render<T: Serialize>(format: Format, value: &T) -> Result<String, CliError> {
    Ok(match format {
        Format::Table | Format::Json => {
            format::inert_json(&serde_json::to_string_pretty(value)?) + "\n"
        }
        Format::Jsonl => format::inert_json(&serde_json::to_string(value)?) + "\n",
        Format::Yaml => yaml::to_string(value)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_format_has_what_a_terminal_would_act_on() {
        let wild = "a\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{61c}\u{2066}";
        let value = json!({ wild: wild });
        for format in [Format::Json, Format::Jsonl, Format::Yaml] {
            let text = render(format, &value).unwrap();
            let acts = |c: char| c != '\n' && format::acts(c);
            assert!(!text.contains(acts), "{format:?} {text:?}");
            if format != Format::Yaml {
                let read: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(read, value);
            }
        }
    }

    #[test]
    fn each_format() {
        let value = json!({"a": [1, "x: y"]});
        for (format, expected) in [
            (
                Format::Json,
                "{\n  \"a\": [\n    1,\n    \"x: y\"\n  ]\n}\n",
            ),
            (Format::Jsonl, "{\"a\":[1,\"x: y\"]}\n"),
            (Format::Yaml, "a:\n  - 1\n  - \"x: y\"\n"),
        ] {
            assert_eq!(render(format, &value).unwrap(), expected);
        }
    }
}
