//! A task at a worker: its output, its heartbeats, and the report of its end.

use std::{
    future::pending,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use deia_model::{FailureClass, HeartbeatReport, LeasedTask, OutputReport};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

use super::{
    Completion, Failure, Worker,
    insist::{Pauses, may_pass},
};
use crate::{Client, ClientError};

/// Longest piece of output in one request, in bytes: far below any limit of bodies, escaped too.
/// Fixed: of the client library, whose callers do not depend on it.
const PIECE: usize = 1 << 20;
/// Pause before a heartbeat that got no answer is repeated. Fixed: of the client library,
/// whose callers do not depend on it.
const BEAT_AGAIN: Duration = Duration::from_millis(500);

/// A task at a worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The task, as it was leased.
    pub task: Arc<LeasedTask>,
    client: Client,
    /// Bits of the progress; those of NaN before there is any.
    progress: Arc<AtomicU64>,
    output: Arc<Mutex<Output>>,
}

/// The output so far. It is kept until the attempt ends: a hive that was restarted may have to
/// be sent all of it again.
#[derive(Debug, Default)]
struct Output {
    text: String,
    /// Bytes that the hive has.
    sent: usize,
}

impl Assignment {
    fn new(client: Client, task: LeasedTask) -> Self {
        Self {
            task: Arc::new(task),
            client,
            progress: Arc::new(f64::NAN.to_bits().into()),
            output: Arc::default(),
        }
    }

    /// Sets the progress, 0 to 1, which the next heartbeat tells the hive.
    pub fn progress(&self, progress: f64) {
        let bits = progress.clamp(0.0, 1.0).to_bits();
        self.progress.store(bits, Ordering::Relaxed);
    }

    /// Appends to the output, which others can read while the task runs. Returns once the hive
    /// has it, however long that takes.
    ///
    /// # Errors
    /// A refusal that no retry changes, such as a problem with code `stale_lease` or
    /// `output_too_large`.
    pub async fn append(&self, text: &str) -> Result<(), ClientError> {
        let mut output = self.output.lock().await;
        output.text.push_str(text);
        self.send(&mut output).await
    }

    /// Sends what the hive does not have yet.
    async fn send(&self, output: &mut Output) -> Result<(), ClientError> {
        let mut pauses = Pauses::default();
        loop {
            let piece = piece(&output.text[output.sent..]);
            let report = OutputReport {
                attempt: self.task.attempt,
                lease_token: self.task.lease_token,
                offset: output.sent as u64,
                text: piece.to_owned(),
            };
            match self.client.append_task_output(self.task.id, &report).await {
                Ok(_) => {
                    output.sent += piece.len();
                    if output.sent == output.text.len() {
                        return Ok(());
                    }
                    pauses = Pauses::default();
                }
                // The hive was restarted, and has less than before.
                Err(error) if error.has_code("output_gap") && output.sent > 0 => output.sent = 0,
                Err(error) if may_pass(&error) => pauses.pause(&error).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Reports the success once.
    async fn complete(&self, completion: &Completion, in_pieces: bool) -> Result<(), ClientError> {
        let mut rest = Some(completion.output.clone());
        if in_pieces {
            // Asks whether the hive still has all of it.
            self.send(&mut *self.output.lock().await).await?;
            rest = None;
        }
        let report = completion.report(&self.task, rest);
        self.client.complete_task(self.task.id, &report).await?;
        Ok(())
    }
}

impl Worker {
    /// Does a task, and reports its end.
    pub(super) async fn attend<F>(&self, task: LeasedTask, work: &F)
    where
        F: AsyncFn(Assignment) -> Result<Completion, Failure>,
    {
        let assignment = Assignment::new(self.client.clone(), task);
        let limit = Duration::from_secs(assignment.task.timeout_seconds);
        let outcome = {
            let doing = pin!(work(assignment.clone()));
            tokio::select! {
                biased;
                done = doing => Some(done),
                end = self.beat(&assignment) => end.map(Err),
                () = sleep(limit) => Some(Err(Failure::of(
                    FailureClass::TimedOut,
                    format!("timed out after {} s", limit.as_secs()),
                ))),
            }
        };
        let Some(outcome) = outcome else { return };
        // A long output may take more time than a lease lasts.
        let beating = async {
            self.beat(&assignment).await;
            pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = self.report(&assignment, outcome) => {}
            () = beating => {}
        }
    }

    /// Sends heartbeats until the task is to be ended: with a failure to report, or with none
    /// when the lease has ended and nobody waits for a report.
    async fn beat(&self, assignment: &Assignment) -> Option<Failure> {
        let task = &assignment.task;
        let every = Duration::from_secs(task.heartbeat_seconds);
        let mut pause = every;
        loop {
            sleep(pause).await;
            let progress = f64::from_bits(assignment.progress.load(Ordering::Relaxed));
            let report = HeartbeatReport {
                attempt: task.attempt,
                lease_token: task.lease_token,
                progress: Some(progress).filter(|it| !it.is_nan()),
            };
            // An answer that is late is not waited for: the next may come.
            let beat = self.client.heartbeat_task(task.id, &report);
            pause = match timeout(every, beat).await {
                Ok(Ok(answer)) if answer.cancel => {
                    let reason = answer.reason.unwrap_or_else(|| "cancelled".to_owned());
                    return Some(Failure::of(FailureClass::Internal, reason));
                }
                Ok(Ok(_)) => every,
                Ok(Err(error)) => {
                    self.tell(&error);
                    if !may_pass(&error) {
                        return None;
                    }
                    BEAT_AGAIN.min(every)
                }
                Err(_) => Duration::ZERO,
            };
        }
    }

    /// Reports the end of a task until the hive has answered. A success that the hive refuses,
    /// such as one with too much output, is a failure.
    async fn report(&self, assignment: &Assignment, mut outcome: Result<Completion, Failure>) {
        let mut in_pieces = false;
        if let Ok(completion) = &outcome {
            let mut output = assignment.output.lock().await;
            in_pieces = !output.text.is_empty() || completion.output.len() > PIECE;
            if in_pieces {
                output.text.push_str(&completion.output);
            }
        }
        let mut pauses = Pauses::default();
        loop {
            let reported = match &outcome {
                Ok(completion) => assignment.complete(completion, in_pieces).await,
                Err(failure) => {
                    let task = &assignment.task;
                    let failed = self.client.fail_task(task.id, &failure.report(task)).await;
                    failed.map(drop)
                }
            };
            let Err(error) = reported else { return };
            self.tell(&error);
            if may_pass(&error) {
                pauses.pause(&error).await;
            } else if outcome.is_ok() && !is_over(&error) {
                outcome = Err(Failure::of(FailureClass::Internal, error.to_string()));
            } else {
                return;
            }
        }
    }
}

/// Returns whether the lease has ended, or the key is not accepted any more.
fn is_over(error: &ClientError) -> bool {
    let status = error.problem().map(|problem| problem.status);
    error.has_code("stale_lease") || matches!(status, Some(401 | 403 | 404))
}

/// Returns the first piece of a text.
fn piece(text: &str) -> &str {
    let mut end = text.len().min(PIECE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_between_characters() {
        for (text, length) in [
            (String::new(), 0),
            ("ä".to_owned(), 2),
            ("x".repeat(PIECE + 1), PIECE),
            (format!("{}ä", "x".repeat(PIECE - 1)), PIECE - 1),
        ] {
            assert_eq!(piece(&text).len(), length);
        }
    }
}
