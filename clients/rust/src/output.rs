//! The output of the program of a task, while it runs.

use std::{fmt, time::Duration};

use deia_model::TaskId;
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue},
};

use super::{Client, ClientError};

const ATTEMPT: HeaderName = HeaderName::from_static("deia-attempt");
const LENGTH: HeaderName = HeaderName::from_static("deia-output-length");

/// A position in the output of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputPlace {
    /// The attempt; the last one when absent.
    pub attempt: Option<u32>,
    /// Offset of the first byte.
    pub offset: u64,
}

/// A range of bytes of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputRange {
    /// From the first of these bytes to the last one, or to the end.
    From(u64, Option<u64>),
    /// So many bytes at the end.
    Last(u64),
}

impl fmt::Display for OutputRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(first, Some(last)) => write!(f, "{first}-{last}"),
            Self::From(first, None) => write!(f, "{first}-"),
            Self::Last(n) => write!(f, "-{n}"),
        }
    }
}

/// The output of one attempt, as a stream.
#[derive(Debug)]
pub struct OutputStream {
    client: Client,
    response: Response,
    attempt: u32,
    position: u64,
    is_over: bool,
    silence_max: Option<Duration>,
}

impl Client {
    /// Returns the output of a task from a position on: the output so far, or, if
    /// `follow` is set, all output until the end of the attempt.
    ///
    /// # Errors
    /// [`ClientError`]; a problem with code `no_output` while there is none, or
    /// none any more of that attempt.
    pub async fn task_output(
        &self,
        id: TaskId,
        from: OutputPlace,
        follow: bool,
    ) -> Result<OutputStream, ClientError> {
        let response = self
            .get(&["api", "v1", "tasks", &id.to_string(), "output"])
            .query("offset", Some(from.offset))
            .query("attempt", from.attempt)
            .query("follow", Some(follow))
            .stream()
            .await?;
        // A program may print nothing for hours.
        let silence_max = (!follow).then_some(self.timeout);
        self.output_of(response, from.offset, silence_max)
    }

    /// Returns a range of the output of an attempt that is over, of the last one when `attempt` is
    /// absent; `None` while the attempt runs: its output has no parts yet.
    ///
    /// # Errors
    /// [`ClientError`]; a problem with code `beyond_output` if the output does not go that far.
    pub async fn task_output_range(
        &self,
        id: TaskId,
        attempt: Option<u32>,
        range: OutputRange,
    ) -> Result<Option<OutputStream>, ClientError> {
        let value = HeaderValue::from_str(&format!("bytes={range}"));
        let value = value.map_err(|error| self.protocol(error.to_string()))?;
        let response = self
            .get(&["api", "v1", "tasks", &id.to_string(), "output"])
            .query("attempt", attempt)
            .query("follow", Some(false))
            .range(value)
            .stream()
            .await?;
        let first = match response.status() {
            StatusCode::PARTIAL_CONTENT => first_byte(response.headers())
                .ok_or_else(|| self.protocol(format!("its answer has no {CONTENT_RANGE}")))?,
            _ => 0,
        };
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        let stream = self.output_of(response, first, Some(self.timeout))?;
        // The end of an empty output is all of it.
        Ok((is_part || stream.is_over).then_some(stream))
    }

    fn output_of(
        &self,
        response: Response,
        position: u64,
        silence_max: Option<Duration>,
    ) -> Result<OutputStream, ClientError> {
        let number = |name: &HeaderName| number(response.headers(), name);
        let Some(attempt) = number(&ATTEMPT).and_then(|n| u32::try_from(n).ok()) else {
            return Err(self.protocol(format!("its answer has no {ATTEMPT}")));
        };
        Ok(OutputStream {
            attempt,
            position,
            is_over: number(&LENGTH).is_some(),
            silence_max,
            client: self.clone(),
            response,
        })
    }
}

/// Returns the first byte of a part.
fn first_byte(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (first, _) = range.strip_prefix("bytes ")?.split_once('-')?;
    first.parse().ok()
}

impl OutputStream {
    /// Returns the attempt, and the position up to which its output was read.
    pub fn place(&self) -> OutputPlace {
        OutputPlace {
            attempt: Some(self.attempt),
            offset: self.position,
        }
    }

    /// Returns whether the attempt had ended at the time of the request.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns the next bytes; `None` at the end.
    ///
    /// # Errors
    /// The connection broke, the hive stops, or existing output does not arrive.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let reading = self.response.chunk();
        let read = match self.silence_max {
            None => reading.await,
            Some(after) => match tokio::time::timeout(after, reading).await {
                Ok(read) => read,
                Err(_) => {
                    return Err(ClientError::TimedOut {
                        what: format!("{} did not continue", self.client.url()),
                        after,
                    });
                }
            },
        };
        let after = self.silence_max.unwrap_or_default();
        let piece = read.map_err(|error| self.client.failed(&error, after))?;
        Ok(piece.map(|piece| {
            self.position += piece.len() as u64;
            piece.to_vec()
        }))
    }
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}
