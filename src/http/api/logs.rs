//! The logs of bots: their last lines, and new lines as they come.

use std::{fmt::Write as _, time::Duration};

use deia_client::LogLines;
use deia_hive::{LogFollower, LogPiece, LogStart};
use deia_model::{BotName, TaskId, TaskLog};

use crate::http::{
    api::dto::LogEvent,
    body::{
        answer::{Answer, ok},
        streams::{Over, Sink},
    },
    context::RequestCtx,
    operation::describe,
};

/// Lines of a log that a request without `lines` gets. Fact: the API, whose schema states
/// it.
const DEFAULT_LINES: u64 = 100;
/// The interval at which a followed log is read. Fixed: short enough that nobody waits
/// for it, and each look costs little.
const LOOK_EVERY: Duration = Duration::from_millis(200);

describe! { get:
    params(
        ("id" = BotName, Path, description = "The bot"),
        ("lines" = Option<u32>, Query, minimum = 1, maximum = 10000, description = "At most this many lines, 1 to 10,000; 100 when absent"),
        ("follow" = Option<bool>, Query, description = "`true`: Server-Sent Events, first those \
            lines, then new ones. The id of an event is the position in the log after it, which \
            stays valid through rotations. An event `gap` stands for lines that were rotated \
            away"),
        ("Last-Event-ID" = Option<u64>, Header, description = "With `follow`: continue after \
            this position instead of starting with the last lines"),
    ),
    responses((status = 200, description = "The end of the bot's log, at most 1 MiB; or a stream \
        of the log",
        content((LogLines = "application/json"), (LogEvent = "text/event-stream"))))
}
pub(crate) async fn get(call: RequestCtx) -> Answer {
    let lines = call.number("lines", 1..=10_000, DEFAULT_LINES)?;
    let lines = usize::try_from(lines).unwrap_or(usize::MAX);
    let bot: BotName = call.id("bot")?;
    // Read in any case: an invalid header is refused even where it has no effect.
    let last_event_id = call.last_event_id()?;
    if !call.query("follow")?.unwrap_or(false) {
        let lines = call.hive().bots().log(&bot, lines).await?;
        return ok(&LogLines { lines });
    }
    let start = match last_event_id {
        Some(position) => LogStart::Position(position),
        None => LogStart::Lines(lines),
    };
    let log = call.hive().bots().follow_log(&bot, start).await?;
    call.streamed("text/event-stream", |mut sink| async move {
        // A reader that left, or a server that stops, needs no error.
        let _ = follow(log, &mut sink).await;
    })
}

describe! { of_task:
    params(
        ("id" = TaskId, Path, description = "The task"),
        ("attempt" = Option<u32>, Query, description = "Only of this attempt"),
        ("lines" = Option<u32>, Query, minimum = 1, maximum = 10000, description = "At most this many lines, 1 to 10,000; 100 when absent"),
    ),
    responses((status = 200, description = "The last lines about the task in the logs of its \
        bots, unless they were rotated away: standard error of its programs, and notes of deia. \
        The route needs the permission for bots' logs, since standard error may contain details \
        of the machine", body = TaskLog))
}
pub(crate) async fn of_task(call: RequestCtx) -> Answer {
    let id: TaskId = call.id("task")?;
    let attempt = call.query::<u32>("attempt")?;
    let lines = call.number("lines", 1..=10_000, DEFAULT_LINES)?;
    let lines = usize::try_from(lines).unwrap_or(usize::MAX);
    ok(&call
        .hive()
        .tasks()
        .log(&call.who, id, attempt, lines)
        .await?)
}

async fn follow(mut log: LogFollower, sink: &mut Sink) -> Result<(), Over> {
    sink.send("retry: 1000\n\n").await?;
    loop {
        match sink.wait(log.next()).await? {
            Ok(pieces) if pieces.is_empty() => sink.pause(LOOK_EVERY).await?,
            Ok(pieces) => sink.send(events(&pieces)).await?,
            Err(error) => {
                tracing::warn!(%error, "a bot's log cannot be followed");
                return sink
                    .send("event: error\ndata: the log cannot be read\n\n")
                    .await;
            }
        }
    }
}

fn events(pieces: &[LogPiece]) -> String {
    let mut text = String::new();
    for piece in pieces {
        // Writing to a string does not fail.
        let _ = match piece {
            LogPiece::Line {
                position,
                text: line,
            } => {
                // Bots' lines have no carriage return; a file that somebody edited might.
                let line = line.replace('\r', "\\r");
                write!(text, "id: {position}\ndata: {line}\n\n")
            }
            LogPiece::Gap {
                position,
                missed_bytes,
            } => write!(
                text,
                "event: gap\nid: {position}\ndata: {{\"position\":{position},\"missed_bytes\":{missed_bytes}}}\n\n"
            ),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_events() {
        let pieces = [
            LogPiece::Line {
                position: 7,
                text: "a\rb".into(),
            },
            LogPiece::Gap {
                position: 90,
                missed_bytes: 83,
            },
        ];
        assert_eq!(
            events(&pieces),
            "id: 7\ndata: a\\rb\n\nevent: gap\nid: 90\ndata: {\"position\":90,\"missed_bytes\":83}\n\n"
        );
    }
}
