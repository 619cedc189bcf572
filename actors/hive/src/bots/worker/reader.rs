//! The standard output of the program: lines in, messages out.

use std::{io, process, rc::Rc, time::Instant};

use tokio::process::ChildStdout;

use super::{
    WorkerContext,
    desk::{Desk, End},
    lines::{JsonLines, Line},
    protocol::{
        Garbage, GarbageCount, GarbagePolicy, Hello, LogLevel, Message, VERSION, attempt_ended_by,
        decode,
    },
};
use crate::{
    bots::{
        executor::Readiness,
        log::{LoggedAttempt, Stream},
        program::{
            lines::MAX_LINE_BYTES,
            pipe::{CHUNK_BYTES, read_some},
        },
    },
    metrics::WORKERS,
};

/// Characters of a line that is not understood which are repeated in the log. Fixed:
/// keeps messages readable.
const SHOWN_CHARS: usize = 200;

/// The reader. It owns all state of reading, so that [`read`](Self::read) may be dropped and called
/// again.
pub(super) struct Reader {
    cx: Rc<WorkerContext>,
    desk: Rc<Desk>,
    pipe: Option<ChildStdout>,
    chunk: Vec<u8>,
    lines: JsonLines,
    /// A message that waits until earlier output is stored.
    pending: Option<Message>,
    garbage: GarbageCount,
}

impl Reader {
    /// Takes over the pipe.
    ///
    /// # Errors
    /// The runtime cannot watch it.
    pub(super) fn new(
        cx: Rc<WorkerContext>,
        desk: Rc<Desk>,
        pipe: process::ChildStdout,
    ) -> io::Result<Self> {
        let settings = &cx.settings;
        let max_line = usize::try_from(settings.max_line_bytes.as_u64()).unwrap_or(usize::MAX);
        let garbage = GarbageCount::new(GarbagePolicy {
            max: settings.max_garbage,
            window: settings.garbage_window,
        });
        Ok(Self {
            pipe: Some(ChildStdout::from_std(pipe)?),
            chunk: Vec::new(),
            lines: JsonLines::new(max_line),
            pending: None,
            garbage,
            cx,
            desk,
        })
    }

    /// Reads messages until the program has closed its standard output. Cancel safe.
    ///
    /// # Errors
    /// The program must be ended, for this reason.
    pub(super) async fn read(&mut self) -> Result<(), String> {
        loop {
            if let Some(message) = &self.pending {
                self.desk.settle(message).await;
            }
            if let Some(message) = self.pending.take()
                && let Err(garbage) = self.desk.take(message)
            {
                self.ignore(&garbage, "")?;
            }
            if let Some(line) = self.lines.take() {
                self.take(&line)?;
                continue;
            }
            let Some(pipe) = &mut self.pipe else {
                return Ok(());
            };
            self.chunk.clear();
            if read_some(pipe, &mut self.chunk, CHUNK_BYTES).await {
                self.lines.push(&self.chunk);
            } else {
                self.pipe = None;
            }
        }
    }

    /// Takes a line.
    fn take(&mut self, line: &Line) -> Result<(), String> {
        self.desk.hear();
        let line = match line {
            Line::Whole(line) => line,
            Line::TooLong { bytes, head } => {
                let garbage = Garbage::TooLong {
                    bytes: *bytes,
                    answers: attempt_ended_by(head),
                };
                return self.ignore(&garbage, "");
            }
        };
        let shown = || shown(&String::from_utf8_lossy(line), SHOWN_CHARS);
        match decode(line) {
            Ok(Message::Log { level, message, id }) => {
                self.log(level, &message, id);
                Ok(())
            }
            Ok(Message::Hello(hello)) if self.desk.greeting().is_none() => self.greet(hello),
            Ok(Message::Hello(_)) => self.ignore(&Garbage::OutOfPlace, &shown()),
            Ok(_) if self.desk.greeting().is_none() => self.ignore(&Garbage::OutOfPlace, &shown()),
            Ok(message) => {
                self.pending = Some(message);
                Ok(())
            }
            Err(garbage) => self.ignore(&garbage, &shown()),
        }
    }

    fn greet(&self, hello: Hello) -> Result<(), String> {
        if hello.protocol != VERSION {
            let theirs = hello.protocol;
            return Err(format!(
                "the worker speaks version {theirs} of the protocol, and this hive version {VERSION}"
            ));
        }
        let places = self.cx.places.min(hello.max_concurrent.unwrap_or(u32::MAX));
        if places == 0 {
            return Err("the worker greets with max_concurrent 0, and so takes no tasks".into());
        }
        self.desk.greet(hello);
        self.desk.set_offer(places, Readiness::Ready);
        Ok(())
    }

    /// Logs and counts a line that is not of the protocol.
    fn ignore(&mut self, garbage: &Garbage, line: &str) -> Result<(), String> {
        WORKERS.garbage.add(1);
        let ends = garbage.answers().filter(|key| {
            let end = End::Malformed(garbage.to_string());
            self.desk.end(*key, end).is_ok()
        });
        let kind = match ends {
            Some(_) => "ends its attempt as failed",
            None => "is ignored",
        };
        let said = format!(
            "a line of the worker {kind}: {garbage} ({}): {line}",
            garbage.kind()
        );
        let said = said.strip_suffix(": ").unwrap_or(&said);
        self.cx.log.line(None, Stream::Deia, said);
        match self.garbage.note(Instant::now()) {
            false => Ok(()),
            true => Err(format!(
                "the worker wrote more than {} lines that are not of the protocol within {} s (bots.worker.max_garbage); the last one: {garbage}",
                self.cx.settings.max_garbage,
                self.cx.settings.garbage_window.as_secs_f64(),
            )),
        }
    }

    fn log(&self, level: LogLevel, message: &str, task: Option<deia_model::TaskId>) {
        let of = task.and_then(|task| {
            let attempts = self.desk.attempts();
            let key = attempts.into_iter().find(|key| key.task == task)?;
            Some(LoggedAttempt {
                task,
                attempt: key.number,
            })
        });
        let message = shown(message, MAX_LINE_BYTES);
        let text = format!("{}: {message}", level.as_str());
        self.cx.log.line(of, Stream::Worker, &text);
    }
}

/// Returns the beginning of a text, and how much more there is.
fn shown(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some((at, _)) => format!("{} [{} bytes more]", &text[..at], text.len() - at),
    }
}
