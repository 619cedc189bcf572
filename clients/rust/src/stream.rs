//! Streams of Server-Sent Events.

use std::time::Duration;

use deia_model::BotName;
use reqwest::Response;

use super::{Client, ClientError};

/// Maximum silence: the server sends a comment every 15 s. Fixed: of the client library,
/// whose callers do not depend on it.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Maximum size of an event, in bytes. Fixed: of the client library, whose callers do not
/// depend on it.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// An event (HTML standard, 9.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// The type of the event; empty for the default.
    pub kind: String,
    /// Id with which to continue after this event.
    pub id: String,
    /// The data.
    pub data: String,
}

/// A stream of events.
#[derive(Debug)]
pub struct ServerEvents {
    client: Client,
    response: Response,
    buffer: Vec<u8>,
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl Client {
    /// Follows a bot's log: its last lines, then each new one; or the lines after the
    /// event with the id `after`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn follow_bot_log(
        &self,
        name: &BotName,
        lines: u32,
        after: Option<&str>,
    ) -> Result<ServerEvents, ClientError> {
        let response = self
            .get(&["api", "v1", "bots", name.as_str(), "logs"])
            .query("follow", Some(true))
            .query("lines", Some(lines))
            .last_event_id(after)?
            .stream()
            .await?;
        Ok(ServerEvents::new(self, response))
    }
}

impl ServerEvents {
    pub(super) fn new(client: &Client, response: Response) -> Self {
        Self {
            client: client.clone(),
            response,
            buffer: Vec::new(),
            last_id: None,
            retry: None,
        }
    }

    /// Returns the id with which to continue after all that was read; one may come without an
    /// event.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Returns the time after which the server wants to be asked again when the stream ends.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes a block in, and returns its event.
    fn take(&mut self, text: &str) -> Option<ServerEvent> {
        let block = parse(text);
        self.last_id = block.id.or(self.last_id.take());
        self.retry = block.retry.or(self.retry);
        block.event
    }

    /// Returns the next event; `None` when the server has ended the stream.
    ///
    /// # Errors
    /// The connection broke, or the server is silent.
    pub async fn next(&mut self) -> Result<Option<ServerEvent>, ClientError> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..at + 2).collect();
                match self.take(&String::from_utf8_lossy(&block)) {
                    Some(event) => return Ok(Some(event)),
                    None => continue,
                }
            }
            if self.buffer.len() > MAX_EVENT_BYTES {
                let reason = format!("an event is over {MAX_EVENT_BYTES} bytes long");
                return Err(self.client.protocol(reason));
            }
            match tokio::time::timeout(SILENCE_MAX, self.response.chunk()).await {
                Ok(Ok(Some(chunk))) => self.buffer.extend_from_slice(&chunk),
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(error)) => return Err(self.client.failed(&error, SILENCE_MAX)),
                Err(_) => {
                    return Err(ClientError::TimedOut {
                        what: format!("{} is silent", self.client.url()),
                        after: SILENCE_MAX,
                    });
                }
            }
        }
    }
}

/// A block of lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Block {
    /// `None` if the block has only comments and settings.
    event: Option<ServerEvent>,
    id: Option<String>,
    retry: Option<Duration>,
}

/// Parses a block of lines.
fn parse(block: &str) -> Block {
    let mut event = ServerEvent::default();
    let (mut id, mut retry, mut has_data) = (None, None, false);
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.kind),
            "id" => id = Some(value.to_owned()),
            "retry" => retry = value.parse().ok().map(Duration::from_millis),
            "data" => {
                if std::mem::replace(&mut has_data, true) {
                    event.data.push('\n');
                }
                event.data.push_str(value);
            }
            _ => {}
        }
    }
    event.id = id.clone().unwrap_or_default();
    Block {
        event: has_data.then_some(event),
        id,
        retry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read() {
        let some = |kind: &str, id: &str, data: &str| {
            Some(ServerEvent {
                kind: kind.into(),
                id: id.into(),
                data: data.into(),
            })
        };
        for (block, expected) in [
            ("id: 7\ndata: a: b\n\n", some("", "7", "a: b")),
            (
                "event: gap\nid:8\ndata:x\ndata: y\n\n",
                some("gap", "8", "x\ny"),
            ),
            ("data\n\n", some("", "", "")),
            (": heartbeat\n\n", None),
            ("retry: 1000\n\n", None),
        ] {
            assert_eq!(parse(block).event, expected, "{block}");
        }
    }

    #[test]
    fn ids_and_retries_come_without_events() {
        let block = |id: Option<&str>, retry| Block {
            event: None,
            id: id.map(Into::into),
            retry,
        };
        let second = Some(Duration::from_secs(1));
        for (text, expected) in [
            (": heartbeat\nid: 1.7\n\n", block(Some("1.7"), None)),
            ("retry: 1000\nid: 1.7\n\n", block(Some("1.7"), second)),
            ("retry: soon\n\n", block(None, None)),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
