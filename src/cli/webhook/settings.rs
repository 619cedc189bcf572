//! The settings of an endpoint, as options.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, ValueEnum};
use deia_model::{NewWebhook, SignatureScheme, TaskType, WebhookChange};

use crate::cli::{context, error::CliError, parse};

/// Maximum size of a file of headers, in bytes. Fixed: of the command line, which has no
/// settings.
const MAX_HEADER_BYTES: u64 = 64 << 10;

/// Settings that an endpoint has beside its URL.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cli) struct SettingsArgs {
    /// A description, in your words.
    #[arg(long)]
    description: Option<String>,
    /// An action (task.failed) or a kind of actions (task) to deliver, as `webhook
    /// event-types` lists them; repeat for more.
    #[arg(long = "event", value_name = "ACTION")]
    pub(super) events: Vec<String>,
    /// Deliver only events of tasks of this type; repeat for more.
    #[arg(long = "task-type", value_name = "TYPE")]
    task_types: Vec<TaskType>,
    /// Deliver only events of tasks with this tag; repeat for more, any of which will do.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Deliver only events that belong to this user; repeat for more.
    #[arg(long = "owner", value_name = "USER")]
    owners: Vec<String>,
    /// A header of each delivery; repeat for more. Other users of this machine can see
    /// it: a secret belongs in --headers-from.
    #[arg(long = "header", value_name = "NAME:VALUE", value_parser = parse::header)]
    headers: Vec<(String, String)>,
    /// A file with headers, NAME:VALUE on each line; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    headers_from: Option<PathBuf>,
    /// A signature of each delivery: v1 is HMAC-SHA256 with a secret, v1a Ed25519, which
    /// the receiver verifies with a public key; repeat for both. v1 of a new endpoint.
    #[arg(long = "signature", value_name = "SCHEME", value_parser = parse::signature())]
    signatures: Vec<SignatureScheme>,
    /// Maximum number of deliveries at once; webhooks.concurrency of a new endpoint.
    #[arg(long, value_name = "N", value_parser = parse::whole(1..=64_u32))]
    concurrency: Option<u32>,
    /// Maximum number of deliveries a second; no limit of a new endpoint.
    #[arg(long, value_name = "N", value_parser = parse::whole(1..=100_000_u32))]
    rate: Option<u32>,
}

/// A setting that can be cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Clear {
    /// No description.
    Description,
    /// All events.
    Events,
    /// Tasks of all types.
    TaskTypes,
    /// Tasks with any tags, or none.
    Tags,
    /// Events of all users.
    Owners,
    /// No further headers.
    Headers,
    /// As many deliveries at once as webhooks.concurrency.
    Concurrency,
    /// No limit.
    Rate,
}

impl SettingsArgs {
    /// Returns the endpoint to register.
    ///
    /// # Errors
    /// A file of headers that cannot be read, or a header that is given twice.
    pub(super) fn new_webhook(self, url: String) -> Result<NewWebhook, CliError> {
        let headers = self.headers()?.unwrap_or_default();
        let mut signatures = self.signatures;
        if signatures.is_empty() {
            signatures.push(SignatureScheme::V1);
        }
        Ok(NewWebhook {
            url,
            description: self.description.unwrap_or_default(),
            events: self.events,
            task_types: self.task_types,
            tags: self.tags,
            owners: self.owners,
            headers,
            signatures,
            concurrency: self.concurrency,
            rate_per_second: self.rate,
        })
    }

    /// Returns the change of these settings, of the URL if there is one, and of those to
    /// clear.
    ///
    /// # Errors
    /// No change; a setting that is given and cleared; those of [`Self::new_webhook`].
    pub(super) fn change(
        self,
        url: Option<String>,
        clear: &[Clear],
    ) -> Result<WebhookChange, CliError> {
        let headers = self.headers()?;
        let clears = |which| clear.contains(&which);
        let cleared = Cleared(clear);
        let change = WebhookChange {
            url,
            description: cleared.text(self.description)?,
            events: cleared.list(Clear::Events, "--event", self.events)?,
            task_types: cleared.list(Clear::TaskTypes, "--task-type", self.task_types)?,
            tags: cleared.list(Clear::Tags, "--tag", self.tags)?,
            owners: cleared.list(Clear::Owners, "--owner", self.owners)?,
            headers: match headers {
                Some(_) if clears(Clear::Headers) => {
                    return Err(contradiction(Clear::Headers, "--header"));
                }
                None if clears(Clear::Headers) => Some(BTreeMap::new()),
                headers => headers,
            },
            signatures: Some(self.signatures).filter(|given| !given.is_empty()),
            concurrency: cleared.number(Clear::Concurrency, "--concurrency", self.concurrency)?,
            rate_per_second: cleared.number(Clear::Rate, "--rate", self.rate)?,
        };
        if change == WebhookChange::default() {
            return Err(CliError::Input {
                what: "there is nothing to change".into(),
                reason: "give --address, --event, --clear or another setting".into(),
            });
        }
        Ok(change)
    }

    /// Returns the headers of both options; `None` if neither is given.
    fn headers(&self) -> Result<Option<BTreeMap<String, String>>, CliError> {
        let mut all = self.headers.clone();
        if let Some(path) = &self.headers_from {
            let text = context::read_text("--headers-from", path, MAX_HEADER_BYTES)?;
            all.extend(lines(&text)?);
        }
        let mut headers = BTreeMap::new();
        for (name, value) in all {
            if headers.insert(name.to_ascii_lowercase(), value).is_some() {
                return Err(CliError::Input {
                    what: format!("the header {name}"),
                    reason: "is given twice".into(),
                });
            }
        }
        let is_given = !self.headers.is_empty() || self.headers_from.is_some();
        Ok(is_given.then_some(headers))
    }
}

/// Reads the headers in a file. Errors do not repeat a line, which may be secret.
fn lines(text: &str) -> Result<Vec<(String, String)>, CliError> {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let header = |(at, line): (usize, &str)| {
        parse::header(line).map_err(|reason| CliError::Input {
            what: format!("--headers-from, line {}", at + 1),
            reason,
        })
    };
    lines.map(header).collect()
}

/// The settings to clear.
struct Cleared<'c>(&'c [Clear]);

impl Cleared<'_> {
    fn text(&self, given: Option<String>) -> Result<Option<String>, CliError> {
        self.one_of(Clear::Description, "--description", given, String::new())
    }

    fn number(
        &self,
        which: Clear,
        option: &'static str,
        given: Option<u32>,
    ) -> Result<Option<u32>, CliError> {
        // In a change 0 stands for none.
        self.one_of(which, option, given, 0)
    }

    fn list<T>(
        &self,
        which: Clear,
        option: &'static str,
        given: Vec<T>,
    ) -> Result<Option<Vec<T>>, CliError> {
        let given = Some(given).filter(|given| !given.is_empty());
        self.one_of(which, option, given, Vec::new())
    }

    /// Returns the given value, or `empty` if the setting is cleared.
    fn one_of<T>(
        &self,
        which: Clear,
        option: &'static str,
        given: Option<T>,
        empty: T,
    ) -> Result<Option<T>, CliError> {
        match (given, self.0.contains(&which)) {
            (Some(_), true) => Err(contradiction(which, option)),
            (None, true) => Ok(Some(empty)),
            (given, false) => Ok(given),
        }
    }
}

fn contradiction(which: Clear, option: &'static str) -> CliError {
    let value = which.to_possible_value();
    let name = value.as_ref().map_or(option, |value| value.get_name());
    CliError::Input {
        what: format!("--clear {name}"),
        reason: format!("contradicts {option}; give one of them"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        settings: SettingsArgs,
        #[arg(long, value_enum)]
        clear: Vec<Clear>,
        #[arg(long)]
        address: Option<String>,
    }

    fn parsed(line: &str) -> Line {
        let words = ["x"].into_iter().chain(line.split_whitespace());
        Line::try_parse_from(words).unwrap()
    }

    fn change(line: &str) -> Result<Value, String> {
        let Line {
            settings,
            clear,
            address,
        } = parsed(line);
        let change = settings.change(address, &clear);
        change
            .map(|change| serde_json::to_value(change).unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_option_reaches_a_registration() {
        let new = |line: &str| {
            let new = parsed(line).settings.new_webhook("https://a".into());
            serde_json::to_value(new.unwrap()).unwrap()
        };
        assert_eq!(new(""), json!({"url": "https://a", "signatures": ["v1"]}));
        let all = new(
            "--description d --event task --event alert.raised --task-type a --tag t --tag u \
             --owner ada --header X-Team:a:b --header y:z --signature v1a --signature v1 \
             --concurrency 2 --rate 9",
        );
        assert_eq!(
            all,
            json!({
                "url": "https://a", "description": "d", "events": ["task", "alert.raised"],
                "task_types": ["a"], "tags": ["t", "u"], "owners": ["ada"],
                "headers": {"x-team": "a:b", "y": "z"}, "signatures": ["v1a", "v1"],
                "concurrency": 2, "rate_per_second": 9,
            })
        );
        let twice = parsed("--header a:1 --header A:2").settings;
        assert!(twice.new_webhook("https://a".into()).is_err());
    }

    #[test]
    fn change_has_what_was_given_and_what_is_cleared() {
        for (line, expected) in [
            ("--address https://b", json!({"url": "https://b"})),
            ("--event task", json!({"events": ["task"]})),
            ("--signature v1a", json!({"signatures": ["v1a"]})),
            (
                "--tag t --clear events",
                json!({"events": [], "tags": ["t"]}),
            ),
            (
                "--clear description --clear task-types --clear tags --clear owners",
                json!({"description": "", "task_types": [], "tags": [], "owners": []}),
            ),
            (
                "--clear headers --clear concurrency --clear rate",
                json!({"headers": {}, "concurrency": 0, "rate_per_second": 0}),
            ),
        ] {
            assert_eq!(change(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn change_of_nothing_and_contradictions_are_refused() {
        for (line, expected) in [
            ("", "there is nothing to change: give --address"),
            (
                "--event a --clear events",
                "--clear events: contradicts --event",
            ),
            (
                "--header a:b --clear headers",
                "--clear headers: contradicts --header",
            ),
            ("--rate 1 --clear rate", "--clear rate: contradicts --rate"),
        ] {
            let error = change(line).unwrap_err();
            assert!(error.starts_with(expected), "{line}: {error}");
        }
        for line in [
            "--concurrency 0",
            "--rate 100001",
            "--signature v2",
            "--header x",
        ] {
            let words = ["x"].into_iter().chain(line.split_whitespace());
            assert!(Line::try_parse_from(words).is_err(), "{line}");
        }
    }

    #[test]
    fn file_of_headers_has_one_on_a_line() {
        let read = lines("X-Team: billing\n\nauthorization:Bearer a:b\n").unwrap();
        let expected = [("X-Team", "billing"), ("authorization", "Bearer a:b")];
        assert_eq!(read, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        let error = lines("a:b\nhunter2\n").unwrap_err().to_string();
        assert_eq!(error, "--headers-from, line 2: expected NAME:VALUE");
    }
}
