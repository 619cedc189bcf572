//! Following the output of a task: while an attempt prints, through its end, and on to the next
//! attempt.

use std::time::Duration;

use deia_model::{
    AttemptOutcomeKind, OutputEnd, OutputGap, OutputPosition, Principal, Task, TaskId, TaskStatus,
};
use tokio::time::sleep;

use super::{TasksApi, outputs::never_begun};
use crate::{HiveError, TaskOutput};

/// Interval between the first looks at a task that is about to change, and the longest
/// one. Fixed: short enough that nobody waits for it, and each look costs little.
const LOOK_FIRST: Duration = Duration::from_millis(20);
/// Longest interval between two looks. Fixed: short enough that nobody waits for it, and
/// each look costs little.
const LOOK_LAST: Duration = Duration::from_secs(1);

/// Start of a follower.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutputStart {
    /// The only attempt to follow; from the last attempt on, with all later ones, when absent.
    pub attempt: Option<u32>,
    /// Offset in the output of the first attempt.
    pub offset: u64,
    /// Position that an earlier follower reached; it has precedence over the offset.
    pub after: Option<OutputPosition>,
}

/// The next thing of a followed output.
#[derive(Debug)]
pub enum OutputItem {
    /// Bytes of an attempt; the position is that of the first one.
    Bytes(OutputPosition, Vec<u8>),
    /// Output is missing.
    Gap(OutputGap),
    /// The attempt is over.
    End(OutputEnd),
}

/// A follower of the output of a task.
pub struct OutputFollower {
    tasks: TasksApi,
    who: Principal,
    id: TaskId,
    only: Option<u32>,
    /// The position reached; attempt 0 while no attempt has begun.
    at: OutputPosition,
    stage: Stage,
    /// Pause before the next look at the task.
    pause: Duration,
}

enum Stage {
    /// The output of the attempt is looked for.
    Opening,
    Reading(TaskOutput),
    /// The output is missing, for that reason.
    Missing(String),
    /// The output is over, and so is the attempt as soon as that is recorded. Without a length
    /// the output was missing.
    Ending(Option<u64>),
    Over,
}

impl TasksApi {
    /// Follows the output of a task.
    ///
    /// # Errors
    /// [`HiveError::NotFound`]; [`HiveError::BadEventId`] for a position in an attempt that
    /// there was not, or was not asked for; [`HiveError::OutputMissing`] when there is nothing
    /// to follow and never will be; [`HiveError::BeyondOutput`].
    pub async fn follow_output(
        &self,
        who: &Principal,
        id: TaskId,
        start: OutputStart,
    ) -> Result<OutputFollower, HiveError> {
        let task = self.get(who, id).await?;
        let mut follower = OutputFollower {
            tasks: self.clone(),
            who: who.clone(),
            id,
            only: start.attempt,
            at: place(&task, start).map_err(HiveError::BadEventId)?,
            stage: Stage::Opening,
            pause: LOOK_FIRST,
        };
        follower.look(&task).await?;
        follower.begin(&task)?;
        Ok(follower)
    }
}

impl OutputFollower {
    /// Returns the position from which another follower can go on; `None` while the attempt has
    /// no output yet.
    pub fn position(&self) -> Option<OutputPosition> {
        (!matches!(self.stage, Stage::Opening)).then_some(self.at)
    }

    /// Refuses a start from which nothing can follow.
    fn begin(&self, task: &Task) -> Result<(), HiveError> {
        match &self.stage {
            Stage::Reading(output) if output.position() > output.length() => {
                let length = output.length();
                Err(HiveError::BeyondOutput { length })
            }
            Stage::Missing(why) if self.is_last(task) => Err(HiveError::OutputMissing(why.clone())),
            Stage::Over => {
                let why = never_begun(task, self.at.attempt);
                Err(HiveError::OutputMissing(why))
            }
            _ => Ok(()),
        }
    }

    /// Waits for the next thing; at most `max_bytes` of output at a time. `None` at the end.
    ///
    /// # Errors
    /// The output or the store cannot be read, or the task was forgotten
    /// ([`HiveError::NotFound`]).
    pub async fn next(&mut self, max_bytes: usize) -> Result<Option<OutputItem>, HiveError> {
        loop {
            match &mut self.stage {
                Stage::Reading(output) => {
                    let from = OutputPosition {
                        offset: output.position(),
                        ..self.at
                    };
                    let read = output.next_up_to(max_bytes).await;
                    let unread = |error| {
                        let id = self.id;
                        HiveError::Internal(format!("the output of {id} cannot be read: {error}"))
                    };
                    match read.map_err(unread)? {
                        Some(bytes) => {
                            self.at.offset = output.position();
                            return Ok(Some(OutputItem::Bytes(from, bytes)));
                        }
                        None => self.enter(Stage::Ending(Some(self.at.offset))),
                    }
                }
                Stage::Missing(reason) => {
                    let gap = OutputGap {
                        attempt: self.at.attempt,
                        offset: self.at.offset,
                        reason: std::mem::take(reason),
                    };
                    self.enter(Stage::Ending(None));
                    return Ok(Some(OutputItem::Gap(gap)));
                }
                Stage::Over => return Ok(None),
                Stage::Opening | Stage::Ending(_) => {
                    if let Some(end) = self.wait().await? {
                        return Ok(Some(OutputItem::End(end)));
                    }
                }
            }
        }
    }

    /// Looks at the task, and waits for a while if nothing has changed. Returns the end of the
    /// attempt when it is recorded.
    async fn wait(&mut self) -> Result<Option<OutputEnd>, HiveError> {
        let task = self.tasks.get(&self.who, self.id).await?;
        if let Stage::Ending(length) = self.stage {
            if is_over(&task, self.at.attempt) {
                return Ok(Some(self.end(&task, length)));
            }
            self.rest().await;
            return Ok(None);
        }
        if !self.look(&task).await? {
            self.rest().await;
        }
        // No further attempt begins: the task was cancelled, or has failed without one.
        let ends = matches!(self.stage, Stage::Over);
        Ok(ends.then(|| told(&task, task.attempt, None, true)))
    }

    /// Returns the end of the attempt, and goes on to the next one.
    fn end(&mut self, task: &Task, length: Option<u64>) -> OutputEnd {
        let (attempt, last) = (self.at.attempt, self.is_last(task));
        if last {
            self.enter(Stage::Over);
        } else {
            self.at = OutputPosition {
                attempt: attempt + 1,
                offset: 0,
            };
            self.enter(Stage::Opening);
        }
        told(task, attempt, length, last)
    }

    /// Looks for the output of the attempt. Returns false as long as it may come.
    async fn look(&mut self, task: &Task) -> Result<bool, HiveError> {
        self.at.attempt = self.at.attempt.max(task.attempt.min(1));
        let OutputPosition { attempt, offset } = self.at;
        if let Some(running) = self.tasks.outputs.running(self.id, offset)
            && running.attempt() == attempt
        {
            self.enter(Stage::Reading(running));
            return Ok(true);
        }
        if let Some(at) = task.erased_at {
            let why = format!("the outputs of task {} were erased at {at}", self.id);
            self.enter(Stage::Missing(why));
        } else if is_over(task, attempt) {
            match self.tasks.ended_output(task, attempt, offset).await {
                Ok(output) => self.enter(Stage::Reading(output)),
                Err(HiveError::OutputMissing(why)) => self.enter(Stage::Missing(why)),
                Err(error) => return Err(error),
            }
        } else if task.status.is_final() {
            self.enter(Stage::Over);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Returns whether nothing follows the attempt.
    fn is_last(&self, task: &Task) -> bool {
        let over = task.status.is_final() && self.at.attempt >= task.attempt;
        over || self.only.is_some()
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.pause = LOOK_FIRST;
    }

    async fn rest(&mut self) {
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LOOK_LAST);
    }
}

/// Returns the position at which a follower of the task begins.
///
/// # Errors
/// The reason why it cannot begin after that position.
fn place(task: &Task, start: OutputStart) -> Result<OutputPosition, String> {
    let Some(after) = start.after else {
        return Ok(OutputPosition {
            attempt: start.attempt.unwrap_or(task.attempt),
            offset: start.offset,
        });
    };
    if let Some(only) = start.attempt.filter(|only| *only != after.attempt) {
        return Err(format!(
            "the id of the last event is of attempt {}, but attempt {only} was asked for",
            after.attempt
        ));
    }
    if after.attempt > task.attempt {
        return Err(format!(
            "the id of the last event is of attempt {}; the last one of task {} is {}",
            after.attempt, task.id, task.attempt
        ));
    }
    Ok(after)
}

fn told(task: &Task, attempt: u32, length: Option<u64>, last: bool) -> OutputEnd {
    OutputEnd {
        attempt,
        length,
        outcome: outcome(task, attempt).map(Into::into),
        status: task.status,
        last,
    }
}

/// Returns whether the attempt has begun and ended.
fn is_over(task: &Task, attempt: u32) -> bool {
    let is_last = attempt == task.attempt;
    attempt > 0 && attempt <= task.attempt && !(is_last && task.status == TaskStatus::Running)
}

/// Returns the recorded outcome of an attempt that is over.
fn outcome(task: &Task, attempt: u32) -> Option<&'static str> {
    let mut failed = task.failed_attempts.iter();
    if let Some(failed) = failed.find(|failed| failed.attempt == attempt) {
        return Some(failed.outcome.as_str());
    }
    let is_last = attempt == task.attempt;
    match task.status {
        TaskStatus::Completed if is_last => Some("succeeded"),
        TaskStatus::Cancelled if is_last => Some(AttemptOutcomeKind::Cancelled.as_str()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(status: TaskStatus, attempt: u32) -> Task {
        Task {
            status,
            attempt,
            failed_attempts: Vec::new(),
            ..Task::sample()
        }
    }

    fn at(attempt: u32, offset: u64) -> OutputPosition {
        OutputPosition { attempt, offset }
    }

    #[test]
    fn followers_begin_at_the_last_attempt_or_where_they_left_off() {
        let task = task(TaskStatus::Running, 2);
        for (attempt, offset, after, expected) in [
            (None, 0, None, Some(at(2, 0))),
            (None, 7, None, Some(at(2, 7))),
            (Some(1), 7, None, Some(at(1, 7))),
            (Some(3), 0, None, Some(at(3, 0))),
            (None, 7, Some(at(1, 9)), Some(at(1, 9))),
            (Some(1), 0, Some(at(1, 9)), Some(at(1, 9))),
            (Some(2), 0, Some(at(1, 9)), None),
            (None, 0, Some(at(3, 0)), None),
        ] {
            let start = OutputStart {
                attempt,
                offset,
                after,
            };
            let begun = place(&task, start).ok();
            assert_eq!(begun, expected, "{start:?}");
        }
    }

    #[test]
    fn attempts_are_over_when_that_is_recorded() {
        use TaskStatus::{Completed, Pending, Queued, Running};
        for (status, last, attempt, expected) in [
            (Queued, 0, 0, false),
            (Queued, 0, 1, false),
            (Running, 1, 1, false),
            (Pending, 1, 1, true),
            (Completed, 1, 1, true),
            (Running, 2, 1, true),
            (Pending, 1, 2, false),
        ] {
            let over = is_over(&task(status, last), attempt);
            assert_eq!(over, expected, "{status:?} {last} {attempt}");
        }
        assert_eq!(outcome(&task(Completed, 2), 2), Some("succeeded"));
        assert_eq!(outcome(&task(Completed, 2), 1), None);
    }
}
