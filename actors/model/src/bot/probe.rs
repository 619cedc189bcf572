//! Probes of bots.

use serde::{Deserialize, Serialize};

use crate::Violation;

/// Longest time between two probes, in seconds: an hour. Fact: the API, whose schema
/// states it.
const MAX_SECONDS: u64 = 3_600;
/// Number of failures in a row at most. Fact: the API, whose schema states it.
const MAX_FAILURES: u32 = 100;
/// Longest path of an HTTP probe, in characters. Fact: the API, whose schema states it.
const MAX_PATH: usize = 1_024;
/// Number of words of a command at most. Fact: the API, whose schema states it.
const MAX_WORDS: usize = 64;

/// A probe of a bot, for programs that serve at the bot's port: one of `tcp`, `http_path`
/// and `command`. A bot that has a probe is given no task before one has succeeded, and
/// none after `failures` of them in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BotProbe {
    /// True: connecting to the port succeeds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tcp: bool,
    /// A GET of this path at the port is answered with a status of 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "/healthz")]
    pub http_path: Option<String>,
    /// This program, with its arguments, exits with 0. It gets `DEIA_BOT_ID` and
    /// `DEIA_BOT_PORT`; its output is thrown away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 64)]
    pub command: Option<Vec<String>>,
    /// Time from one probe to the next, in seconds, 1 to 3,600.
    #[serde(default = "ten")]
    #[schema(minimum = 1, maximum = 3_600)]
    pub every_seconds: u64,
    /// Time within which a probe must succeed, in seconds, 1 to 3,600.
    #[serde(default = "two")]
    #[schema(minimum = 1, maximum = 3_600)]
    pub timeout_seconds: u64,
    /// Number of failures in a row from which on the bot counts as unreachable, 1 to 100.
    #[serde(default = "three")]
    #[schema(minimum = 1, maximum = 100)]
    pub failures: u32,
}

fn ten() -> u64 {
    10
}

fn two() -> u64 {
    2
}

fn three() -> u32 {
    3
}

/// The way in which a probe reaches its bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeMeans<'a> {
    /// A connection to the port.
    Tcp,
    /// A GET of that path.
    Http(&'a str),
    /// A program with its arguments.
    Command(&'a [String]),
}

impl BotProbe {
    /// Returns the means of the probe; `None` if it has none or several.
    pub fn means(&self) -> Option<ProbeMeans<'_>> {
        match (self.tcp, &self.http_path, &self.command) {
            (true, None, None) => Some(ProbeMeans::Tcp),
            (false, Some(path), None) => Some(ProbeMeans::Http(path)),
            (false, None, Some(words)) => Some(ProbeMeans::Command(words)),
            _ => None,
        }
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut refuse = |field: &str, detail: &str| {
            found.push(Violation {
                pointer: format!("/probe{field}"),
                detail: detail.into(),
            });
        };
        match self.means() {
            None => refuse("", "must have one of tcp, http_path and command"),
            Some(ProbeMeans::Http(path)) if !is_path(path) => refuse(
                "/http_path",
                "must begin with / and be at most 1024 visible ASCII characters",
            ),
            Some(ProbeMeans::Command(words)) if !is_command(words) => refuse(
                "/command",
                "must be 1 to 64 words without NUL, of which the first is not empty",
            ),
            Some(_) => {}
        }
        let seconds = 1..=MAX_SECONDS;
        if !seconds.contains(&self.every_seconds) {
            refuse("/every_seconds", "allowed are 1 to 3600");
        }
        if !seconds.contains(&self.timeout_seconds) {
            refuse("/timeout_seconds", "allowed are 1 to 3600");
        }
        if !(1..=MAX_FAILURES).contains(&self.failures) {
            refuse("/failures", "allowed are 1 to 100");
        }
        found
    }
}

fn is_path(path: &str) -> bool {
    let visible = path.bytes().all(|byte| byte.is_ascii_graphic());
    path.starts_with('/') && visible && path.len() <= MAX_PATH
}

fn is_command(words: &[String]) -> bool {
    let named = words.first().is_some_and(|word| !word.is_empty());
    named && words.len() <= MAX_WORDS && !words.iter().any(|word| word.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_has_one_means_and_its_limits() {
        for (probe, pointers) in [
            (r#"{"tcp":true}"#, &[][..]),
            (r#"{"http_path":"/healthz?a=b"}"#, &[]),
            (r#"{"command":["true"],"failures":1}"#, &[]),
            ("{}", &["/probe"]),
            (r#"{"tcp":true,"http_path":"/"}"#, &["/probe"]),
            (r#"{"http_path":"x"}"#, &["/probe/http_path"]),
            (r#"{"http_path":"/a b"}"#, &["/probe/http_path"]),
            (r#"{"http_path":"/a\r\nb"}"#, &["/probe/http_path"]),
            (r#"{"command":[]}"#, &["/probe/command"]),
            (r#"{"command":[""]}"#, &["/probe/command"]),
            (
                r#"{"tcp":true,"every_seconds":0,"timeout_seconds":9999,"failures":0}"#,
                &[
                    "/probe/every_seconds",
                    "/probe/timeout_seconds",
                    "/probe/failures",
                ],
            ),
        ] {
            let read: BotProbe = serde_json::from_str(probe).unwrap();
            let found: Vec<_> = read.violations().into_iter().map(|it| it.pointer).collect();
            assert_eq!(found, pointers, "{probe}");
        }
    }
}
