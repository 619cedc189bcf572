//! The standard error of a program, line by line in the bot's log.

use std::{io, process, time::Duration};

use tokio::{process::ChildStderr, time::Instant};

use super::{
    lines::Lines,
    pipe::{CHUNK_BYTES, read_some},
};
use crate::bots::{
    log::{BotLog, LoggedAttempt, Stream},
    progress::Progress,
};

/// Time after which an incomplete line is shown. Fixed: for people who follow a log.
const SHOW_PARTIAL_AFTER: Duration = Duration::from_millis(500);

/// Bytes kept for the error of a failure. Fixed: keeps messages readable.
const STDERR_TAIL_BYTES: usize = 2 << 10;

/// The standard error of a running program, on its way to the bot's log.
pub(in crate::bots) struct Errors {
    pipe: Option<ChildStderr>,
    lines: Lines,
    /// Time since which an incomplete line waits to be shown.
    partial_since: Option<Instant>,
    tail: Vec<u8>,
    activity: Option<Progress>,
    log: BotLog,
    of: Option<LoggedAttempt>,
}

impl Errors {
    /// Takes over the pipe. Lines are logged as those of `of`, and are signs of life of `activity`.
    ///
    /// # Errors
    /// The runtime cannot watch the pipe.
    pub(in crate::bots) fn new(
        pipe: process::ChildStderr,
        log: BotLog,
        of: Option<LoggedAttempt>,
        activity: Option<Progress>,
    ) -> io::Result<Self> {
        Ok(Self {
            pipe: Some(ChildStderr::from_std(pipe)?),
            lines: Lines::default(),
            partial_since: None,
            tail: Vec::new(),
            activity,
            log,
            of,
        })
    }

    /// Logs lines until the program has closed the pipe. Cancel safe.
    pub(in crate::bots) async fn read(&mut self) {
        let mut chunk = Vec::new();
        while let Some(pipe) = &mut self.pipe {
            chunk.clear();
            let read = read_some(pipe, &mut chunk, CHUNK_BYTES);
            let read = match self.partial_since {
                None => read.await,
                Some(since) => {
                    let shown_at = since + SHOW_PARTIAL_AFTER;
                    match tokio::time::timeout_at(shown_at, read).await {
                        Ok(read) => read,
                        Err(_) => {
                            self.show_partial();
                            continue;
                        }
                    }
                }
            };
            if read {
                if let Some(activity) = &self.activity {
                    activity.active();
                }
                self.take(&chunk);
            } else {
                self.pipe = None;
            }
        }
    }

    fn take(&mut self, chunk: &[u8]) {
        let Self { lines, log, of, .. } = self;
        lines.push(chunk, |line| log.line(*of, Stream::Stderr, line));
        self.tail.extend_from_slice(chunk);
        let surplus = self.tail.len().saturating_sub(STDERR_TAIL_BYTES);
        self.tail.drain(..surplus);
        match (self.lines.has_news(), self.partial_since) {
            (false, _) => self.partial_since = None,
            (true, None) => self.partial_since = Some(Instant::now()),
            // A progress bar that never pauses is shown as well.
            (true, Some(since)) if since.elapsed() >= SHOW_PARTIAL_AFTER => self.show_partial(),
            (true, Some(_)) => {}
        }
    }

    fn show_partial(&mut self) {
        let Self { lines, log, of, .. } = self;
        lines.show_partial(|line| log.line(*of, Stream::Stderr, line));
        self.partial_since = None;
    }

    /// Logs the last line and returns the tail of what was read.
    pub(in crate::bots) fn finish(mut self) -> String {
        let Self { lines, log, of, .. } = &mut self;
        lines.end(|line| log.line(*of, Stream::Stderr, line));
        String::from_utf8_lossy(&self.tail).trim().to_owned()
    }
}
