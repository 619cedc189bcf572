//! The output of a task as Server-Sent Events, through its attempts.

use std::{pin::pin, str::FromStr, sync::Arc};

use data_encoding::BASE64;
use deia_hive::{
    HiveError, OutputFollower, OutputItem, OutputStart,
    config::{Config, StreamSettings},
};
use deia_model::{Feature, OutputChunk, OutputPosition, TaskId, unfinished_character};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;

use crate::http::{
    api::sse,
    body::{
        answer::Answer,
        catalogue::Code,
        problem::Problem,
        streams::{Over, Sink},
    },
    context::RequestCtx,
};

/// The parameter for the form of the pieces.
const ENCODING: &str = "encoding";
/// Parameters of the stream.
pub(super) const OF_STREAMS: [&str; 2] = [sse::LAST_EVENT_ID, ENCODING];
/// Least memory of a client for each byte of a piece: JSON may write a byte as six, and one piece
/// is on its way while the next one is made. Fact: RFC 8259, 7: JSON may write a byte as six.
const MEMORY_PER_BYTE: u64 = 12;

/// The form of the pieces of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum Encoding {
    /// Text; bytes that are not UTF-8 are replaced.
    #[default]
    Utf8,
    /// The bytes as they are.
    Base64,
}

impl FromStr for Encoding {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "utf8" => Ok(Self::Utf8),
            "base64" => Ok(Self::Base64),
            _ => Err("expected utf8 or base64"),
        }
    }
}

/// Answers with the output of a task as it is printed.
pub(super) async fn follow(call: RequestCtx, id: TaskId) -> Answer {
    if call.query::<bool>("follow")? == Some(false) {
        let why = "is not false for an event stream, which ends with the task";
        return Err(Problem::parameter("follow", why));
    }
    let start = OutputStart {
        attempt: call.query("attempt")?,
        offset: call.number("offset", 0..=u64::MAX, 0)?,
        after: after(&call)?,
    };
    let encoding = call.query::<Encoding>(ENCODING)?.unwrap_or_default();
    let shedding = call.hive().shedding();
    shedding.needs(Feature::LiveStream)?;
    let tasks = call.hive().tasks();
    let output = tasks.follow_output(&call.who, id, start).await?;
    let hive = call.hive().clone();
    let answer = call.streamed("text/event-stream", move |sink| async move {
        let mut follower = Follower {
            sink,
            pieces: Pieces::new(encoding),
            reached: output.position(),
            output,
            config: move || hive.config(),
            sent: Instant::now(),
        };
        let ended = tokio::select! {
            ended = follower.run() => ended,
            () = shedding.until_shed(Feature::LiveStream) => Ended::Suspended,
        };
        follower.take_leave(ended);
    })?;
    sse::unbuffered(answer)
}

/// Returns the position that an earlier stream reached.
fn after(call: &RequestCtx) -> Result<Option<OutputPosition>, Problem> {
    let id = sse::last_event_id(call)?;
    let parsed = id.as_deref().map(str::parse::<OutputPosition>).transpose();
    parsed.map_err(|error| {
        let why = format!("the id of the last event is not one of an output: {error}");
        Problem::new(Code::BadEventId, why)
    })
}

/// A client that follows an output.
struct Follower<F> {
    sink: Sink,
    output: OutputFollower,
    pieces: Pieces,
    /// The position up to which the client has everything.
    reached: Option<OutputPosition>,
    config: F,
    /// Time at which something was last sent.
    sent: Instant,
}

/// Reason why a stream ends.
enum Ended {
    /// The connection is gone or the hive ends it.
    Over(Over),
    /// No output follows.
    Whole,
    /// The live stream is shed.
    Suspended,
    /// The task was forgotten.
    Forgotten,
    /// The output cannot be read.
    Failed,
}

impl From<Over> for Ended {
    fn from(over: Over) -> Self {
        Self::Over(over)
    }
}

impl<F: Fn() -> Arc<Config>> Follower<F> {
    /// Passes the output on until the stream ends.
    async fn run(&mut self) -> Ended {
        let mut ended = self.begin().await;
        while ended.is_ok() {
            ended = self.step().await;
        }
        ended.err().unwrap_or(Ended::Failed)
    }

    /// Tells the client when to connect again, and from where.
    async fn begin(&mut self) -> Result<(), Ended> {
        let retry = self.settings().retry.as_millis();
        let id = self.id_line();
        self.send(format!("retry: {retry}\n{id}\n")).await
    }

    async fn step(&mut self) -> Result<(), Ended> {
        match self.next().await? {
            Ok(Some(OutputItem::Bytes(at, bytes))) => match self.pieces.take(at, &bytes) {
                Some(piece) => self.pass_on(piece).await,
                None => Ok(()),
            },
            Ok(Some(OutputItem::Gap(gap))) => {
                self.pass_rest_on().await?;
                let at = OutputPosition {
                    attempt: gap.attempt,
                    offset: gap.offset,
                };
                self.event("gap", Some(at), &gap).await
            }
            Ok(Some(OutputItem::End(end))) => {
                self.pass_rest_on().await?;
                let at = self.reached.filter(|at| at.attempt == end.attempt);
                self.event("end", at, &end).await
            }
            Ok(None) => Err(Ended::Whole),
            Err(HiveError::NotFound { .. }) => Err(Ended::Forgotten),
            Err(error) => {
                tracing::warn!(%error, "an output cannot be followed");
                Err(Ended::Failed)
            }
        }
    }

    /// Waits for the next thing, and sends heartbeats meanwhile.
    async fn next(&mut self) -> Result<Result<Option<OutputItem>, HiveError>, Ended> {
        let settings = self.settings();
        let id = self.id_line();
        let max = (settings.client_bytes.as_u64() / MEMORY_PER_BYTE).max(1);
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let mut next = pin!(self.output.next(max));
        loop {
            let due = self.sent + settings.heartbeat;
            match self.sink.wait(timeout_at(due, next.as_mut())).await? {
                Ok(item) => return Ok(item),
                Err(_) => {
                    let heartbeat = format!(": heartbeat\n{id}\n");
                    let limit = settings.slow_client_after;
                    self.sink.send_within(heartbeat, limit).await?;
                    self.sent = Instant::now();
                }
            }
        }
    }

    async fn pass_on(&mut self, (end, piece): (OutputPosition, OutputChunk)) -> Result<(), Ended> {
        self.event("output", Some(end), &piece).await
    }

    /// Sends the bytes of a character that does not come to its end.
    async fn pass_rest_on(&mut self) -> Result<(), Ended> {
        match self.pieces.rest() {
            Some(piece) => self.pass_on(piece).await,
            None => Ok(()),
        }
    }

    async fn event(
        &mut self,
        kind: &str,
        at: Option<OutputPosition>,
        data: &impl Serialize,
    ) -> Result<(), Ended> {
        self.reached = at.or(self.reached);
        let data = serde_json::to_string(data).map_err(|error| {
            tracing::error!(%error, "a piece of an output cannot be written");
            Ended::Failed
        })?;
        let id = self.id_line();
        self.send(format!("{id}event: {kind}\ndata: {data}\n\n"))
            .await
    }

    async fn send(&mut self, piece: String) -> Result<(), Ended> {
        let slow_after = self.settings().slow_client_after;
        self.sink.send_within(piece, slow_after).await?;
        self.sent = Instant::now();
        Ok(())
    }

    /// Tells the client why the stream ends, if it is still there.
    fn take_leave(self, ended: Ended) {
        let last_words = match ended {
            Ended::Over(Over::Unread) | Ended::Whole => return,
            Ended::Over(Over::Stopping) => sse::over("stopping"),
            Ended::Over(Over::Slow) => sse::behind(),
            Ended::Over(Over::Refused) => sse::over("access_changed"),
            Ended::Suspended => sse::over("suspended"),
            Ended::Forgotten => sse::over("forgotten"),
            Ended::Failed => sse::over("failed"),
        };
        self.sink.end_with(last_words);
    }

    fn id_line(&self) -> String {
        let line = |at| format!("id: {at}\n");
        self.reached.map(line).unwrap_or_default()
    }

    fn settings(&self) -> StreamSettings {
        (self.config)().stream.clone()
    }
}

/// Writer of pieces that never divide a character.
struct Pieces {
    encoding: Encoding,
    /// Position of the first byte that is kept.
    at: OutputPosition,
    /// The beginning of an incomplete character.
    kept: Vec<u8>,
}

impl Pieces {
    fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            at: OutputPosition {
                attempt: 0,
                offset: 0,
            },
            kept: Vec::new(),
        }
    }

    /// Takes bytes of an output. Returns the piece that can be shown, and the position after it.
    fn take(&mut self, at: OutputPosition, bytes: &[u8]) -> Option<(OutputPosition, OutputChunk)> {
        if self.kept.is_empty() {
            self.at = at;
        }
        self.kept.extend_from_slice(bytes);
        let unfinished = match self.encoding {
            Encoding::Utf8 => unfinished_character(&self.kept),
            Encoding::Base64 => 0,
        };
        self.show(self.kept.len() - unfinished)
    }

    /// Returns the rest when nothing more comes.
    fn rest(&mut self) -> Option<(OutputPosition, OutputChunk)> {
        self.show(self.kept.len())
    }

    fn show(&mut self, bytes: usize) -> Option<(OutputPosition, OutputChunk)> {
        if bytes == 0 {
            return None;
        }
        let rest = self.kept.split_off(bytes);
        let shown = std::mem::replace(&mut self.kept, rest);
        let OutputPosition { attempt, offset } = self.at;
        self.at.offset += bytes as u64;
        let (output, base64) = match self.encoding {
            Encoding::Utf8 => (Some(String::from_utf8_lossy(&shown).into_owned()), None),
            Encoding::Base64 => (None, Some(BASE64.encode(&shown))),
        };
        let piece = OutputChunk {
            attempt,
            offset,
            output,
            base64,
        };
        Some((self.at, piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> OutputPosition {
        OutputPosition { attempt: 2, offset }
    }

    #[test]
    fn characters_are_never_divided() {
        let mut pieces = Pieces::new(Encoding::Utf8);
        let shown = |piece: Option<(OutputPosition, OutputChunk)>| {
            piece.map(|(end, piece)| (piece.offset, piece.output.unwrap(), end.to_string()))
        };
        let euro = "\u{20ac}".as_bytes();
        assert_eq!(shown(pieces.take(at(3), &euro[..1])), None);
        let more = [&euro[1..], b"a\xc3"].concat();
        assert_eq!(
            shown(pieces.take(at(4), &more)),
            Some((3, "\u{20ac}a".into(), "2.7".into()))
        );
        assert_eq!(
            shown(pieces.rest()),
            Some((7, "\u{fffd}".into(), "2.8".into()))
        );
        assert_eq!(shown(pieces.rest()), None);
        assert_eq!(
            shown(pieces.take(at(8), b"\xffb")),
            Some((8, "\u{fffd}b".into(), "2.10".into()))
        );
    }

    #[test]
    fn bytes_are_had_as_they_are() {
        let mut pieces = Pieces::new(Encoding::Base64);
        let (end, piece) = pieces.take(at(0), b"\xe2\xff").unwrap();
        assert_eq!((end, piece.output), (at(2), None));
        assert_eq!(piece.base64.as_deref(), Some("4v8="));
        assert!(pieces.rest().is_none());
    }
}
