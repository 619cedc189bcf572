//! Following the output of a task, through its attempts and restarts of the hive.

use std::time::Duration;

use deia_client::{Client, ClientError, FollowedOutput, OutputFollower, OutputPlace};
use deia_model::{OutputEnd, OutputGap, TaskId};
use tokio::time::timeout;

use super::show;
use crate::cli::{
    context::Context,
    error::CliError,
    interrupt::{Interrupt, Stays},
    output::Output,
    text::Decoder,
};

/// Time within which a stream that broke off must go on: the hive may be restarting.
/// Fixed: of the command line, which has no settings.
const RESUMED_WITHIN: Duration = Duration::from_secs(60);

/// Shows a task's output through its attempts.
pub(super) struct Follower<'a> {
    client: &'a Client,
    out: &'a Output,
    interrupt: &'a Interrupt,
    id: TaskId,
    events: OutputFollower,
    text: Decoder,
    /// The position up to which the output was shown.
    shown: OutputPlace,
    /// The last attempt that prints nothing more.
    over: u32,
    /// True if the last line that was shown is complete.
    ends_line: bool,
    interrupted: bool,
}

impl<'a> Follower<'a> {
    pub(super) fn new(context: &'a Context, id: TaskId, from: OutputPlace) -> Self {
        Self {
            client: &context.client,
            out: &context.out,
            interrupt: &context.interrupt,
            id,
            events: context.client.follow_output(id, from),
            text: Decoder::default(),
            shown: from,
            over: 0,
            ends_line: true,
            interrupted: false,
        }
    }

    /// Returns the position up to which the output was shown.
    pub(super) fn place(&self) -> OutputPlace {
        self.shown
    }

    /// Shows the output to the end of the task.
    pub(super) async fn until_it_ends(&mut self) -> Result<(), CliError> {
        self.interrupt.stays(Stays::Output(self.id, self.shown));
        loop {
            let next = match self.next().await {
                Err(error) if error.has_code("output_missing") => return self.without(error).await,
                next => next?,
            };
            let Some(next) = next else {
                return Ok(());
            };
            self.interrupted = matches!(next, FollowedOutput::Interrupted(_));
            match next {
                FollowedOutput::Bytes { at, bytes } => {
                    self.begin(at.attempt);
                    self.shown.attempt = Some(at.attempt);
                    self.pass_on(at.offset, &bytes)?;
                }
                FollowedOutput::Gap(gap) => self.gap(&gap)?,
                FollowedOutput::End(end) => self.end(&end)?,
                // A hive that is down for a moment is no news.
                FollowedOutput::Interrupted(_) | FollowedOutput::Resumed => {}
            }
        }
    }

    /// Waits for the next thing, but not forever for a hive that is gone.
    async fn next(&mut self) -> Result<Option<FollowedOutput>, ClientError> {
        if !self.interrupted {
            return self.events.next().await;
        }
        let next = timeout(RESUMED_WITHIN, self.events.next()).await;
        next.unwrap_or_else(|_| {
            Err(ClientError::TimedOut {
                what: format!("{} did not go on", self.client.url()),
                after: RESUMED_WITHIN,
            })
        })
    }

    fn pass_on(&mut self, offset: u64, bytes: &[u8]) -> Result<(), CliError> {
        let (id, out) = (self.id, self.out);
        let (text, shown) = (&mut self.text, &mut self.shown);
        self.ends_line = bytes.last().is_none_or(|last| *last == b'\n');
        self.interrupt.during(|stays| {
            if out.takes_bytes() {
                out.bytes(bytes)?;
                shown.offset = offset + bytes.len() as u64;
            } else {
                shown.offset = offset - text.kept() as u64;
                show(out, shown, &text.push(bytes))?;
                // A character that is cut off here is shown with the next piece.
                shown.offset = offset + bytes.len() as u64 - text.kept() as u64;
            }
            *stays = Stays::Output(id, *shown);
            Ok(())
        })
    }

    /// Shows what is left of an attempt that prints nothing more.
    fn pass_rest_on(&mut self) -> Result<(), CliError> {
        if !self.out.takes_bytes() {
            show(self.out, &self.shown, &self.text.end())?;
            if self.out.is_table() && !self.ends_line {
                self.out.text("\n")?;
            }
        }
        self.ends_line = true;
        Ok(())
    }

    /// Reports the beginning of another attempt.
    fn begin(&mut self, attempt: u32) {
        if self.over > 0 && self.shown.attempt != Some(attempt) {
            self.out.note(&format!("attempt {attempt}"));
        }
    }

    fn gap(&mut self, gap: &OutputGap) -> Result<(), CliError> {
        self.pass_rest_on()?;
        let OutputGap {
            attempt,
            offset,
            reason,
        } = gap;
        self.out.note(&format!(
            "the output of attempt {attempt} after byte {offset} is gone: {reason}"
        ));
        Ok(())
    }

    fn end(&mut self, end: &OutputEnd) -> Result<(), CliError> {
        self.pass_rest_on()?;
        if end.attempt > self.over {
            self.begin(end.attempt);
        }
        self.over = end.attempt;
        self.shown = OutputPlace {
            attempt: Some(end.attempt).filter(|attempt| *attempt > 0),
            offset: end.length.unwrap_or(self.shown.offset),
        };
        if end.last {
            let (id, status) = (self.id, end.status.as_str());
            self.out.note(&format!("{id} is {status}"));
        }
        Ok(())
    }

    /// Handles the absence of any output.
    async fn without(&mut self, error: ClientError) -> Result<(), CliError> {
        let state = self.client.task_status(self.id).await?;
        if !state.status.is_final() || state.attempt > 0 {
            return Err(error.into());
        }
        let (id, status) = (self.id, state.status.as_str());
        self.out.note(&format!("{id} is {status}"));
        Ok(())
    }
}
