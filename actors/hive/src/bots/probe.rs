//! Probes: whether a bot can be reached at its port, or by a command of its own.

mod command;

use std::{net::Ipv4Addr, time::Duration};

use deia_model::{BotProbe, ProbeMeans};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

pub(super) use self::command::ProbeProgram;
use super::fault::shown;

/// Length of a status line that decides, `HTTP/1.1 200` (RFC 9112, 4). Fact: RFC 9112, 4.
const STATUS_LINE_BYTES: usize = 12;

/// The outcome of the probes of a bot so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Probed {
    /// The bot has no probe.
    #[default]
    Never,
    /// No probe has succeeded yet, nor have enough of them failed.
    Awaited,
    /// The bot can be reached.
    Reached,
    /// Too many probes in a row have failed; carries the reason, for people.
    Unreachable(String),
}

impl Probed {
    /// Returns whether the bot may be given tasks.
    pub(super) fn lets_pass(&self) -> bool {
        matches!(self, Self::Never | Self::Reached)
    }

    /// Returns the reason why the bot cannot be reached.
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Self::Unreachable(reason) => Some(reason),
            _ => None,
        }
    }
}

/// The results of probes in a row. Pure.
#[derive(Debug)]
pub(super) struct ProbeWatch {
    /// Failures in a row from which on the bot counts as unreachable.
    allowed: u32,
    failures: u32,
    seen: Probed,
}

impl ProbeWatch {
    pub(super) fn new(allowed: u32) -> Self {
        Self {
            allowed,
            failures: 0,
            seen: Probed::Awaited,
        }
    }

    /// Returns what the probes have shown so far.
    pub(super) fn seen(&self) -> &Probed {
        &self.seen
    }

    /// Applies the result of a probe. Returns whether the bot can be given tasks now and could not
    /// before, or the reverse.
    pub(super) fn probed(&mut self, result: Result<(), String>) -> bool {
        let before = self.seen.lets_pass();
        match result {
            Ok(()) => {
                self.failures = 0;
                self.seen = Probed::Reached;
            }
            Err(reason) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= self.allowed {
                    self.seen = Probed::Unreachable(shown(&reason));
                }
            }
        }
        self.seen.lets_pass() != before
    }
}

/// Probes one bot.
#[derive(Clone)]
pub(super) struct Prober {
    pub(super) spec: BotProbe,
    pub(super) port: u16,
    /// Runs the command of a probe.
    pub(super) program: ProbeProgram,
}

impl Prober {
    /// Returns the time between two probes.
    pub(super) fn every(&self) -> Duration {
        Duration::from_secs(self.spec.every_seconds)
    }

    /// Probes the bot once. The error says what is wrong, for people.
    pub(super) async fn probe(&self) -> Result<(), String> {
        let limit = Duration::from_secs(self.spec.timeout_seconds);
        match self.spec.means() {
            Some(ProbeMeans::Command(words)) => self.program.run(words, limit).await,
            Some(ProbeMeans::Http(path)) => {
                let asked = timeout(limit, http_status(self.port, path)).await;
                let at = format!("GET {path} at port {}", self.port);
                match asked
                    .unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())))
                {
                    Ok(status) if status.starts_with(['2', '3']) => Ok(()),
                    Ok(status) => Err(format!("the probe {at} was answered with {status}")),
                    Err(error) => Err(format!("the probe {at} failed: {error}")),
                }
            }
            Some(ProbeMeans::Tcp) | None => {
                let connected = timeout(limit, connect(self.port)).await;
                let connected = connected
                    .unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())));
                connected.map(drop).map_err(|error| {
                    format!("the probe could not connect to port {}: {error}", self.port)
                })
            }
        }
    }
}

async fn connect(port: u16) -> Result<TcpStream, String> {
    let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    connected.map_err(|error| error.to_string())
}

/// Returns the status code of the answer to a GET of `path`.
async fn http_status(port: u16, path: &str) -> Result<String, String> {
    let mut stream = connect(port).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: deia\r\nConnection: close\r\n\r\n"
    );
    let text = |error: std::io::Error| error.to_string();
    stream.write_all(request.as_bytes()).await.map_err(text)?;
    let mut line = [0; STATUS_LINE_BYTES];
    stream.read_exact(&mut line).await.map_err(text)?;
    status_of(&line).ok_or_else(|| "the answer is not HTTP".to_owned())
}

/// Returns the status code of a status line.
fn status_of(line: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(line).ok()?;
    let (version, code) = text.split_once(' ')?;
    let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
    (version.starts_with("HTTP/1.") && is_code).then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bot_is_unreachable_after_failures_in_a_row() {
        let unreachable = Probed::Unreachable("refused".into());
        // The results, then what is seen at the end and how often that changed what is given.
        for (results, seen, changes) in [
            ("", Probed::Awaited, 0),
            ("--", Probed::Awaited, 0),
            ("---", unreachable.clone(), 0),
            ("+", Probed::Reached, 1),
            ("+--", Probed::Reached, 1),
            ("+--+--", Probed::Reached, 1),
            ("+---", unreachable.clone(), 2),
            ("+----", unreachable, 2),
            ("+---+", Probed::Reached, 3),
            ("--+", Probed::Reached, 1),
        ] {
            let mut watch = ProbeWatch::new(3);
            let mut changed = 0;
            for result in results.chars() {
                let result = match result {
                    '+' => Ok(()),
                    _ => Err("refused".to_owned()),
                };
                changed += u32::from(watch.probed(result));
            }
            assert_eq!((watch.seen(), changed), (&seen, changes), "{results}");
        }
    }

    #[test]
    fn status_is_read_from_the_line() {
        for (line, expected) in [
            ("HTTP/1.1 200", Some("200")),
            ("HTTP/1.0 503", Some("503")),
            ("HTTP/2.0 200", None),
            ("SSH-2.0-Open", None),
            ("HTTP/1.1 2xx", None),
            ("HTTP/1.1", None),
        ] {
            assert_eq!(status_of(line.as_bytes()).as_deref(), expected, "{line}");
        }
    }
}
