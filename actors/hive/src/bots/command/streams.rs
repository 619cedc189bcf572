//! The standard streams of a running program: content in, result and log out, all bounded.

use std::{io, process};

use tokio::{
    io::AsyncWriteExt as _,
    process::{ChildStdin, ChildStdout},
};

use crate::bots::{
    log::{BotLog, LoggedAttempt, Stream},
    output::{OutputSpool, SpoolError},
    program::{
        launch::Pipes,
        lines::Lines,
        pipe::{CHUNK_BYTES, read_some},
        stderr::Errors,
    },
    progress::{self, Progress},
};

/// Bytes read at a time from an output that is written to a file: the size of a pipe.
/// Fact: pipe(7), the capacity of a pipe.
const FILE_CHUNK_BYTES: usize = 64 << 10;

/// Bytes read at a time from the progress pipe. Fixed: a buffer, whose size changes
/// nothing that can be seen.
const TOLD_BYTES: usize = 256;

/// The streams of one program. They own all state, so that [`pump`](Self::pump) may be dropped and
/// called again.
pub(super) struct Streams {
    input: Input,
    output: Output,
    errors: Errors,
    told: Told,
}

impl Streams {
    /// Takes over the pipes. `content` is the program's standard input.
    ///
    /// # Errors
    /// The runtime cannot watch the pipes.
    pub(super) fn new(
        pipes: Pipes,
        content: Vec<u8>,
        spool: OutputSpool,
        progress: Progress,
        log: BotLog,
        of: LoggedAttempt,
    ) -> io::Result<Self> {
        let Pipes {
            stdin,
            stdout,
            stderr,
            progress: said,
        } = pipes;
        let activity = progress.clone();
        Ok(Self {
            input: Input::new(stdin, content)?,
            output: Output {
                pipe: Some(ChildStdout::from_std(stdout)?),
                piece: Vec::new(),
                spool,
                activity: progress.clone(),
            },
            told: Told {
                pipe: Some(ChildStdout::from_std(said.into())?),
                lines: Lines::default(),
                progress,
                garbage: false,
                log: log.clone(),
                of,
            },
            errors: Errors::new(stderr, log, Some(of), Some(activity))?,
        })
    }

    /// Moves bytes until the program has closed both of its outputs. Cancel safe; returns at once
    /// when nothing is left to do.
    ///
    /// # Errors
    /// [`SpoolError`]: reading has stopped, and the program must be ended.
    pub(super) async fn pump(&mut self) -> Result<(), SpoolError> {
        let Self {
            input,
            output,
            errors,
            told,
        } = self;
        // Input that the program does not read is no reason to wait.
        let outputs = async {
            let errors = async {
                errors.read().await;
                Ok(())
            };
            tokio::try_join!(output.read(), errors).map(|_| ())
        };
        tokio::select! {
            biased;
            ended = outputs => ended,
            never = input.write() => match never {},
            never = told.read() => match never {},
        }
    }

    /// Returns the result and the tail of standard error.
    pub(super) fn finish(self) -> (OutputSpool, String) {
        (self.output.spool, self.errors.finish())
    }
}

struct Input {
    pipe: Option<ChildStdin>,
    content: Vec<u8>,
    written: usize,
}

impl Input {
    fn new(pipe: Option<process::ChildStdin>, content: Vec<u8>) -> io::Result<Self> {
        let Some(pipe) = pipe else {
            return Ok(Self {
                pipe: None,
                content,
                written: 0,
            });
        };
        // Most inputs fit into the pipe, so the runtime need not watch it.
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let written = rustix::io::write(&pipe, &content).unwrap_or(0);
        let pipe = if written == content.len() {
            None
        } else {
            Some(ChildStdin::from_std(pipe)?)
        };
        Ok(Self {
            pipe,
            content,
            written,
        })
    }

    /// Writes the rest of the input, then never returns: only the outputs say when the program is
    /// done.
    async fn write(&mut self) -> std::convert::Infallible {
        while let Some(pipe) = &mut self.pipe {
            match pipe.write(&self.content[self.written..]).await {
                Ok(written) if written > 0 && self.written + written < self.content.len() => {
                    self.written += written;
                }
                // Everything is written, or the program closed its input, which is no error.
                _ => {
                    self.pipe = None;
                    self.content = Vec::new();
                }
            }
        }
        std::future::pending().await
    }
}

struct Output {
    pipe: Option<ChildStdout>,
    piece: Vec<u8>,
    spool: OutputSpool,
    activity: Progress,
}

impl Output {
    async fn read(&mut self) -> Result<(), SpoolError> {
        let ended = self.read_on().await;
        if ended.is_err() {
            self.pipe = None;
        }
        ended
    }

    async fn read_on(&mut self) -> Result<(), SpoolError> {
        loop {
            // The program waits while the disk is slower than the program.
            self.spool.settle().await?;
            let Some(pipe) = &mut self.pipe else {
                return Ok(());
            };
            let size = match self.spool.has_file() {
                true => FILE_CHUNK_BYTES,
                false => CHUNK_BYTES,
            };
            self.piece.clear();
            if read_some(pipe, &mut self.piece, size).await {
                self.activity.active();
                self.spool.take(&self.piece)?;
            } else {
                self.pipe = None;
            }
        }
    }
}

/// The progress reported by a program, one number a line.
struct Told {
    pipe: Option<ChildStdout>,
    lines: Lines,
    progress: Progress,
    /// True if the program has written anything else.
    garbage: bool,
    log: BotLog,
    of: LoggedAttempt,
}

impl Told {
    /// Reads progress and never returns: only the outputs say when the program is done.
    async fn read(&mut self) -> std::convert::Infallible {
        let mut piece = Vec::new();
        while let Some(pipe) = &mut self.pipe {
            piece.clear();
            if read_some(pipe, &mut piece, TOLD_BYTES).await {
                self.take(&piece);
            } else {
                self.pipe = None;
            }
        }
        std::future::pending().await
    }

    fn take(&mut self, piece: &[u8]) {
        let Self {
            lines,
            progress,
            garbage,
            log,
            of,
            ..
        } = self;
        lines.push(piece, |line| match progress::parse(line) {
            Some(said) => progress.tell(said),
            None if std::mem::replace(garbage, true) => {}
            None => {
                let shown: String = line.chars().take(64).collect();
                let said = format!(
                    "not a progress report: {shown:?}; expected 0 to 1, or a percentage, on each line; further ones are ignored without a note"
                );
                log.line(Some(*of), Stream::Deia, &said);
            }
        });
    }
}
