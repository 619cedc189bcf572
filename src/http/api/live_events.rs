//! The live stream of events, as Server-Sent Events.

use std::{fmt::Write as _, pin::pin, sync::Arc};

use deia_hive::{
    EventSubscription, HiveError, StreamCut, StreamItem, StreamedEvent,
    config::{Config, StreamSettings},
};
use deia_model::{EventFilter, EventGap, Position};
use tokio::time::{Instant, timeout_at};

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

/// Parameters of pages.
const OF_PAGES: [&str; 4] = ["after", "before", "limit", "cursor"];

/// Answers with the events that match, as they are recorded.
pub(super) async fn follow(call: RequestCtx, filter: EventFilter) -> Answer {
    for name in OF_PAGES {
        if call.queries(name).next().is_some() {
            let why = "is not allowed for the live stream; read earlier events page by page";
            return Err(Problem::parameter(name, why));
        }
    }
    let start = start(&call)?;
    let stream = call.hive().stream();
    let events = stream.follow(&call.who, filter, start).await?;
    let hive = call.hive().clone();
    let answer = call.streamed("text/event-stream", |sink| async move {
        let config = move || hive.config();
        let mut follower = Follower {
            sink,
            events,
            config,
            sent: Instant::now(),
        };
        let ended = follower.run().await;
        follower.take_leave(ended);
    })?;
    sse::unbuffered(answer)
}

/// Returns the position after which the stream begins.
fn start(call: &RequestCtx) -> Result<Option<Position>, Problem> {
    let Some(id) = sse::last_event_id(call)? else {
        return Ok(None);
    };
    match call.hive().stream().position(&call.who, &id) {
        Some(position) => Ok(Some(position)),
        None => Err(Problem::new(
            Code::BadEventId,
            "the id of the last event was not given to this caller by this hive",
        )),
    }
}

/// A client that follows events.
struct Follower<F> {
    sink: Sink,
    events: EventSubscription,
    config: F,
    /// Time at which something was last sent.
    sent: Instant,
}

/// Reason why a stream ends.
enum Ended {
    /// The connection is gone or the hive ends it.
    Over(Over),
    /// The live stream is suspended.
    Suspended,
    /// The log cannot be read.
    Failed,
}

impl From<Over> for Ended {
    fn from(over: Over) -> Self {
        Self::Over(over)
    }
}

impl<F: Fn() -> Arc<Config>> Follower<F> {
    /// Passes events on until the stream ends.
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
        let id = self.id()?;
        self.send(format!("retry: {retry}\nid: {id}\n\n")).await
    }

    async fn step(&mut self) -> Result<(), Ended> {
        match self.next().await? {
            Ok(StreamItem::Events(events)) => self.pass_on(&events).await,
            Ok(StreamItem::Passed) => Ok(()),
            Ok(StreamItem::Gap(gap)) => self.send(told(&gap)).await,
            Ok(StreamItem::Suspended) => Err(Ended::Suspended),
            Ok(StreamItem::Stopping) => Err(Over::Stopping.into()),
            Err(error) => {
                tracing::warn!(%error, "events cannot be followed");
                Err(Ended::Failed)
            }
        }
    }

    /// Waits for what comes next, and sends heartbeats meanwhile. They have the id of the last
    /// event that was looked at: a client that waits for rare events does not fall behind what
    /// is kept.
    async fn next(&mut self) -> Result<Result<StreamItem, HiveError>, Ended> {
        let (id, settings) = (self.id()?, self.settings());
        // Heartbeats do not restart this: it may stand in a queue for the log.
        let mut next = pin!(self.events.next());
        loop {
            let due = self.sent + settings.heartbeat;
            match self.sink.wait(timeout_at(due, next.as_mut())).await? {
                Ok(item) => return Ok(item),
                Err(_) => {
                    let heartbeat = format!(": heartbeat\nid: {id}\n\n");
                    let limit = settings.slow_client_after;
                    self.sink.send_within(heartbeat, limit).await?;
                    self.sent = Instant::now();
                }
            }
        }
    }

    /// Sends events in pieces of half the memory of a client: one is on its way while the next
    /// is written.
    async fn pass_on(&mut self, events: &[StreamedEvent]) -> Result<(), Ended> {
        let bytes = self.settings().client_bytes.as_u64() / 2;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let (mut piece, mut in_piece) = (String::new(), 0);
        for event in events {
            let text = written(event);
            if in_piece > 0 && piece.len() + text.len() > bytes {
                self.send(std::mem::take(&mut piece)).await?;
                self.events.note_sent(std::mem::take(&mut in_piece));
            }
            piece.push_str(&text);
            in_piece += 1;
        }
        self.send(piece).await?;
        self.events.note_sent(in_piece);
        Ok(())
    }

    async fn send(&mut self, piece: String) -> Result<(), Ended> {
        let slow_after = self.settings().slow_client_after;
        self.sink.send_within(piece, slow_after).await?;
        self.sent = Instant::now();
        Ok(())
    }

    /// Tells the client why the stream ends, if it is still there.
    fn take_leave(self, ended: Ended) {
        let (cut, last_words) = match ended {
            Ended::Over(Over::Unread) => return,
            Ended::Over(Over::Stopping) => (None, sse::over("stopping")),
            Ended::Over(Over::Slow) => (Some(StreamCut::Slow), sse::behind()),
            Ended::Over(Over::Refused) => (Some(StreamCut::Access), sse::over("access_changed")),
            Ended::Suspended => (Some(StreamCut::Suspended), sse::over("suspended")),
            Ended::Failed => (Some(StreamCut::Failed), sse::over("failed")),
        };
        if let Some(cut) = cut {
            self.events.note_cut(cut);
        }
        self.sink.end_with(last_words);
    }

    fn id(&self) -> Result<String, Ended> {
        self.events.last_id().map_err(|error| {
            tracing::error!(%error, "events cannot be followed");
            Ended::Failed
        })
    }

    fn settings(&self) -> StreamSettings {
        (self.config)().stream.clone()
    }
}

/// Writes an event. Neither JSON nor names of actions have line feeds.
fn written(event: &StreamedEvent) -> String {
    let (id, action, json) = (event.id(), event.action(), event.json());
    let mut text = String::with_capacity(json.len() + id.len() + action.len() + 32);
    // Writing to a string does not fail.
    let _ = write!(text, "id: {id}\nevent: {action}\ndata: {json}\n\n");
    text
}

fn told(gap: &EventGap) -> String {
    // Text, a number and a flag: this does not fail.
    let data = serde_json::to_string(gap).unwrap_or_default();
    format!("id: {}\nevent: deia.gap\ndata: {data}\n\n", gap.next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gap_is_an_event_with_the_id_to_go_on_from() {
        let gap = EventGap {
            missed: Some(7),
            forked: false,
            next: "1.12".into(),
        };
        assert_eq!(
            told(&gap),
            "id: 1.12\nevent: deia.gap\ndata: {\"missed\":7,\"forked\":false,\"next\":\"1.12\"}\n\n"
        );
        let confined = EventGap {
            missed: None,
            ..gap
        };
        assert!(!told(&confined).contains("missed"));
    }
}
