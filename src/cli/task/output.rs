//! The output of the program of a task, shown while it runs and afterwards.

use std::time::Duration;

use clap::Args;
use deia_client::{Client, ClientError, OutputPlace, OutputStream, TaskState};
use deia_model::TaskId;
use serde::Serialize;
use tokio::time::sleep;

use crate::cli::{
    context::Context,
    error::CliError,
    format,
    interrupt::{Interrupt, Stays},
    output::Output,
    parse,
    text::Decoder,
};

/// Interval of the checks whether another attempt has begun.
const PERIOD: Duration = Duration::from_millis(200);
/// Number of attempts to continue after a stream has broken off (the server may be
/// restarting), and the pause before each.
const TRIES: u32 = 10;
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Maximum size of a document; lines and plain bytes have no limit.
const DOCUMENT_MAX_BYTES: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(in crate::cli) struct OutputArgs {
    /// The task.
    id: TaskId,
    /// Continue with new output, through restarts of the server and later attempts,
    /// until the task has ended.
    #[arg(long, short)]
    follow: bool,
    /// Start at this byte.
    #[arg(long, value_name = "BYTE", default_value_t = 0, value_parser = parse::whole(0..=u64::MAX))]
    offset: u64,
    /// The attempt; the last one when absent.
    #[arg(long, value_name = "N", value_parser = parse::whole(1..=u32::MAX))]
    attempt: Option<u32>,
}

/// A piece of an output, as a line of JSON.
#[derive(Serialize)]
struct Piece<'a> {
    attempt: u32,
    /// Offset of the first byte.
    offset: u64,
    output: &'a str,
}

/// The whole output so far.
#[derive(Serialize)]
struct Document {
    task_id: TaskId,
    attempt: u32,
    offset: u64,
    /// Offset at which to continue.
    next_offset: u64,
    /// True if this attempt prints nothing more.
    complete: bool,
    output: String,
}

/// The next step of following a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Read,
    Wait,
    Ended,
}

/// Destination of an output that is shown.
struct Screen<'a> {
    out: &'a Output,
    interrupt: &'a Interrupt,
    id: TaskId,
}

/// Follows a task through its attempts.
struct Follower<'a> {
    client: &'a Client,
    out: &'a Output,
    id: TaskId,
    interrupt: &'a Interrupt,
    /// The position at which it continues.
    place: OutputPlace,
    /// The last attempt that prints nothing more.
    over: u32,
    /// Number of consecutive failures to continue.
    tries: u32,
    /// True if the hive has ever answered.
    heard: bool,
}

impl OutputArgs {
    pub(super) async fn run(self, context: &Context) -> Result<(), CliError> {
        let (client, out) = (&context.client, &context.out);
        let place = OutputPlace {
            attempt: self.attempt,
            offset: self.offset,
        };
        if !self.follow {
            return once(context, self.id, place).await;
        }
        let mut follower = Follower {
            client,
            out,
            id: self.id,
            interrupt: &context.interrupt,
            place,
            over: 0,
            tries: 0,
            heard: false,
        };
        let ended = follower.until_it_ends().await;
        ended.map_err(|error| stopped(self.id, follower.place, error))
    }
}

/// Returns the output so far.
async fn once(context: &Context, id: TaskId, from: OutputPlace) -> Result<(), CliError> {
    let (client, out) = (&context.client, &context.out);
    let mut stream = client.task_output(id, from, false).await?;
    if out.is_table() || out.is_jsonl() {
        let mut shown = stream.place();
        let screen = Screen {
            out,
            interrupt: &context.interrupt,
            id,
        };
        let ended = pass_on(&mut stream, &screen, &mut shown).await;
        ended.map_err(|error| stopped(id, shown, error))?;
    } else {
        let document = document(&mut stream, id, from.offset).await?;
        out.one(&document, |_| String::new())?;
    }
    if !stream.is_over() {
        let OutputPlace { attempt, offset } = stream.place();
        let attempt = attempt.unwrap_or_default();
        out.note(&format!(
            "there is more: --attempt {attempt} --offset {offset}, or --follow"
        ));
    }
    Ok(())
}

async fn document(
    stream: &mut OutputStream,
    task_id: TaskId,
    offset: u64,
) -> Result<Document, CliError> {
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await? {
        bytes.extend(piece);
        if bytes.len() as u64 > DOCUMENT_MAX_BYTES {
            let max = format::bytes(DOCUMENT_MAX_BYTES);
            return Err(CliError::Input {
                what: "--output".into(),
                reason: format!(
                    "the output is over {max} long, too long for one document; take jsonl or table"
                ),
            });
        }
    }
    let place = stream.place();
    Ok(Document {
        task_id,
        attempt: place.attempt.unwrap_or_default(),
        offset,
        next_offset: place.offset,
        complete: stream.is_over(),
        output: String::from_utf8_lossy(&bytes).into_owned(),
    })
}

/// Prints the output until the stream ends; `shown` is the position reached.
async fn pass_on(
    stream: &mut OutputStream,
    screen: &Screen<'_>,
    shown: &mut OutputPlace,
) -> Result<(), CliError> {
    let out = screen.out;
    let mut text = Decoder::default();
    let mut ends_line = true;
    *shown = stream.place();
    while let Some(piece) = stream.next().await? {
        ends_line = piece.last().is_none_or(|last| *last == b'\n');
        screen.interrupt.during(|stays| {
            if out.takes_bytes() {
                out.bytes(&piece)?;
            } else {
                show(out, shown, &text.push(&piece))?;
            }
            // A character that is cut off here is shown with the next piece.
            shown.offset = stream.place().offset - text.kept() as u64;
            *stays = Stays::Output(screen.id, *shown);
            Ok::<_, CliError>(())
        })?;
    }
    if !out.takes_bytes() {
        show(out, shown, &text.end())?;
        if out.is_table() && !ends_line {
            out.text("\n")?;
        }
    }
    *shown = stream.place();
    Ok(())
}

fn show(out: &Output, at: &OutputPlace, text: &str) -> Result<(), CliError> {
    if text.is_empty() {
        return Ok(());
    }
    if out.is_table() {
        // A progress bar overwrites its line: each version is shown on a line.
        let lines = text.replace("\r\n", "\n").replace('\r', "\n");
        return out.bytes(format::printable(&lines).as_bytes());
    }
    out.line(&Piece {
        attempt: at.attempt.unwrap_or_default(),
        offset: at.offset,
        output: text,
    })
}

impl Follower<'_> {
    async fn until_it_ends(&mut self) -> Result<(), CliError> {
        loop {
            match self.step().await {
                Ok(Next::Ended) => return Ok(()),
                Ok(Next::Read) => {}
                Ok(Next::Wait) => {
                    self.tries = 0;
                    sleep(PERIOD).await;
                }
                Err(CliError::Client(error))
                    if error.is_passing() && self.heard && self.tries < TRIES =>
                {
                    self.tries += 1;
                    sleep(RETRY_AFTER).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Checks the state of the task and reads the available output.
    async fn step(&mut self) -> Result<Next, CliError> {
        self.interrupt.stays(Stays::Output(self.id, self.place));
        let state = self.client.task_status(self.id).await?;
        self.heard = true;
        let next = next(&state, self.over);
        if next == Next::Ended {
            let (id, status) = (self.id, state.status.as_str());
            self.out.note(&format!("{id} is {status}"));
        }
        if next != Next::Read {
            return Ok(next);
        }
        let opened = self.client.task_output(self.id, self.place, true).await;
        match opened {
            Ok(mut stream) => {
                self.tries = 0;
                self.begin(stream.place());
                let screen = Screen {
                    out: self.out,
                    interrupt: self.interrupt,
                    id: self.id,
                };
                pass_on(&mut stream, &screen, &mut self.place).await?;
                self.over = self.place.attempt.unwrap_or_default();
                self.place = OutputPlace::default();
                Ok(Next::Read)
            }
            Err(error) if error.has_code("no_output") || error.has_code("output_missing") => {
                self.without(&state, error)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reports the beginning of another attempt.
    fn begin(&self, place: OutputPlace) {
        let another = self.over > 0 && place.attempt > Some(self.over);
        if let (true, Some(attempt)) = (another, place.attempt) {
            self.out.note(&format!("attempt {attempt}"));
        }
    }

    /// Handles the absence of output at the current position.
    fn without(&mut self, state: &TaskState, error: ClientError) -> Result<Next, CliError> {
        match self.place.attempt {
            Some(attempt) if state.attempt > attempt => {
                self.out.note(&format!(
                    "the output of attempt {attempt} after byte {} is gone",
                    self.place.offset
                ));
                self.over = self.over.max(attempt);
                self.place = OutputPlace::default();
                Ok(Next::Read)
            }
            _ if state.status.is_final() => Err(error.into()),
            _ => Ok(Next::Wait),
        }
    }
}

/// Returns the error, with the position at which to continue if there is one.
fn stopped(id: TaskId, place: OutputPlace, error: CliError) -> CliError {
    match place.attempt {
        None => error,
        Some(attempt) => CliError::OutputInPart {
            error: Box::new(error),
            id,
            attempt,
            offset: place.offset,
        },
    }
}

/// Decides the next step for a task of whose attempts the first `over` are over.
fn next(state: &TaskState, over: u32) -> Next {
    match (state.attempt > over, state.status.is_final()) {
        (true, _) => Next::Read,
        (false, true) => Next::Ended,
        (false, false) => Next::Wait,
    }
}

#[cfg(test)]
mod tests {
    use deia_model::{Task, TaskStatus};

    use super::*;

    #[test]
    fn what_is_done_next() {
        use TaskStatus::*;
        for (status, attempt, over, expected) in [
            (Queued, 0, 0, Next::Wait),
            (Cancelled, 0, 0, Next::Ended),
            (Running, 1, 0, Next::Read),
            (Completed, 1, 0, Next::Read),
            // Until its end is recorded, or its next attempt begins.
            (Running, 1, 1, Next::Wait),
            (Pending, 1, 1, Next::Wait),
            (Running, 2, 1, Next::Read),
            (Failed, 2, 2, Next::Ended),
        ] {
            let state = TaskState::from(Task {
                status,
                attempt,
                ..Task::sample()
            });
            assert_eq!(next(&state, over), expected, "{status:?} {attempt} {over}");
        }
    }
}
