//! The output of the program of a task, shown while it runs and afterwards.

mod follow;

use clap::Args;
use deia_client::{OutputPlace, OutputRange, OutputStream};
use deia_model::TaskId;
use serde::Serialize;

use self::follow::Follower;
use crate::cli::{
    context::Context,
    error::CliError,
    format,
    interrupt::{Interrupt, Stays},
    output::Output,
    parse,
    text::Decoder,
};

/// Maximum size of a document; lines and plain bytes have no limit. Fixed: of the command
/// line, which has no settings.
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
    /// Print only these bytes of an attempt that is over: from a first one to a last one
    /// (0-1023), from one to the end (4096-), or so many at the end (--range=-512).
    #[arg(
        long,
        value_name = "RANGE",
        value_parser = range,
        conflicts_with_all = ["follow", "offset"]
    )]
    range: Option<OutputRange>,
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

/// Destination of an output that is shown.
struct Screen<'a> {
    out: &'a Output,
    interrupt: &'a Interrupt,
    id: TaskId,
}

impl OutputArgs {
    /// Returns the arguments that follow the output of a task.
    pub(in crate::cli) fn following(id: TaskId) -> Self {
        Self {
            id,
            follow: true,
            offset: 0,
            attempt: None,
            range: None,
        }
    }

    pub(in crate::cli) async fn run(self, context: &Context) -> Result<(), CliError> {
        let client = &context.client;
        let place = OutputPlace {
            attempt: self.attempt,
            offset: self.offset,
        };
        if self.follow {
            let mut follower = Follower::new(context, self.id, place);
            let ended = follower.until_it_ends().await;
            return ended.map_err(|error| stopped(self.id, follower.place(), error));
        }
        let Some(range) = self.range else {
            let stream = client.task_output(self.id, place, false).await?;
            return once(context, self.id, stream).await;
        };
        let part = client.task_output_range(self.id, self.attempt, range);
        match part.await? {
            Some(stream) => once(context, self.id, stream).await,
            None => Err(CliError::Input {
                what: "--range".into(),
                reason: "is for an attempt that is over, and this one still runs: take --offset, or --follow"
                    .into(),
            }),
        }
    }
}

/// Parses a range of bytes.
fn range(text: &str) -> Result<OutputRange, String> {
    let number = |text: &str| text.parse::<u64>().ok();
    let parsed = match text.split_once('-') {
        Some(("", n)) => number(n).filter(|n| *n > 0).map(OutputRange::Last),
        Some((first, "")) => number(first).map(|first| OutputRange::From(first, None)),
        Some((first, last)) => number(first)
            .zip(number(last))
            .filter(|(first, last)| first <= last)
            .map(|(first, last)| OutputRange::From(first, Some(last))),
        None => None,
    };
    parsed.ok_or_else(|| "expected FIRST-LAST, FIRST- or -COUNT, as in 0-1023".to_owned())
}

/// Prints the output so far, or a part of it.
async fn once(context: &Context, id: TaskId, mut stream: OutputStream) -> Result<(), CliError> {
    let out = &context.out;
    let from = stream.place();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_http() {
        for (text, expected) in [
            ("0-1023", Some(OutputRange::From(0, Some(1_023)))),
            ("7-7", Some(OutputRange::From(7, Some(7)))),
            ("4096-", Some(OutputRange::From(4_096, None))),
            ("-512", Some(OutputRange::Last(512))),
            ("-0", None),
            ("7-6", None),
            ("7", None),
            ("-", None),
            ("", None),
            ("a-b", None),
            ("0-1,3-4", None),
        ] {
            let parsed = range(text).ok();
            assert_eq!(parsed, expected, "{text}");
            if let Some(range) = parsed {
                assert_eq!(range.to_string(), text);
            }
        }
    }
}
