//! The output of a task, followed through its attempts and through restarts of the hive.

use data_encoding::BASE64;
use deia_model::{OutputChunk, OutputEnd, OutputGap, OutputPosition, TaskId};

use super::{
    Client, ClientError, OutputPlace, ServerEvent,
    follow::read,
    resume::{Next, Resuming},
    transport::Call,
};

/// The next thing of a followed output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowedOutput {
    /// Bytes of an attempt.
    Bytes {
        /// The position of the first one.
        at: OutputPosition,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The output of an attempt is missing from here on.
    Gap(OutputGap),
    /// An attempt is over. Nothing follows the last one.
    End(OutputEnd),
    /// The stream ended or broke, with the reason. The follower connects again by itself.
    Interrupted(String),
    /// The stream goes on where it ended, without any loss.
    Resumed,
}

/// A follower of the output of a task. When a stream ends too early, because the hive restarts, it
/// was too slow, or the network failed, it connects again and goes on after the last byte, until
/// the task has ended or it is dropped.
#[derive(Debug)]
pub struct OutputFollower {
    client: Client,
    id: TaskId,
    offset: u64,
    events: Resuming,
    /// The last attempt whose end was shown.
    ended: u32,
    over: bool,
}

impl Client {
    /// Follows the output of a task from a place on to the end of the task, through all later
    /// attempts. Without an attempt it begins with the last one, which may be yet to begin.
    pub fn follow_output(&self, id: TaskId, from: OutputPlace) -> OutputFollower {
        let OutputPlace { attempt, offset } = from;
        let after = attempt.map(|attempt| OutputPosition { attempt, offset });
        OutputFollower {
            client: self.clone(),
            id,
            offset,
            events: Resuming::after(after.map(|after| after.to_string())),
            ended: 0,
            over: false,
        }
    }
}

impl OutputFollower {
    /// Returns the place at which another follower continues where this one is.
    pub fn place(&self) -> OutputPlace {
        let at = self.events.last_id().and_then(|id| id.parse().ok());
        match at {
            Some(OutputPosition { attempt, offset }) => OutputPlace {
                attempt: Some(attempt),
                offset,
            },
            None => OutputPlace {
                attempt: None,
                offset: self.offset,
            },
        }
    }

    /// Waits for the next thing; `None` after the last end. Nothing is lost if the future is
    /// dropped.
    ///
    /// # Errors
    /// [`ClientError`]: the first connection failed, or the hive does not accept a later one, for
    /// example because the output was removed meanwhile. Failures that may pass are no errors
    /// later.
    pub async fn next(&mut self) -> Result<Option<FollowedOutput>, ClientError> {
        while !self.over {
            let call = || call(&self.client, self.id, self.offset);
            let event = match self.events.next(call).await? {
                Next::Interrupted(reason) => return Ok(Some(FollowedOutput::Interrupted(reason))),
                Next::Resumed => return Ok(Some(FollowedOutput::Resumed)),
                Next::Event(event) => event,
            };
            if let Some(item) = self.take(&event)? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    fn take(&mut self, event: &ServerEvent) -> Result<Option<FollowedOutput>, ClientError> {
        Ok(Some(match event.kind.as_str() {
            "output" => self.bytes(read(&self.client, event)?)?,
            "gap" => FollowedOutput::Gap(read(&self.client, event)?),
            "end" => {
                let end: OutputEnd = read(&self.client, event)?;
                // It comes again after a break.
                if end.attempt <= self.ended && !end.last {
                    return Ok(None);
                }
                self.ended = end.attempt;
                self.over = end.last;
                FollowedOutput::End(end)
            }
            // An event of a later version.
            _ => return Ok(None),
        }))
    }

    fn bytes(&self, piece: OutputChunk) -> Result<FollowedOutput, ClientError> {
        let text = piece.base64.unwrap_or_default();
        let bytes = BASE64.decode(text.as_bytes()).map_err(|error| {
            let reason = format!("a piece of an output is not base64: {error}");
            self.client.protocol(reason)
        })?;
        let at = OutputPosition {
            attempt: piece.attempt,
            offset: piece.offset,
        };
        Ok(FollowedOutput::Bytes { at, bytes })
    }
}

fn call(client: &Client, id: TaskId, offset: u64) -> Call<'_> {
    client
        .get(&["api", "v1", "tasks", &id.to_string(), "output"])
        .query("encoding", Some("base64"))
        .query("offset", Some(offset))
}
