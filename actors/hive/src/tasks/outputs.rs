//! Outputs of tasks: live, from the result, or from a file.

use std::time::Duration;

use deia_model::{Principal, Task, TaskId, TaskStatus, Timestamp};
use tokio::{task::spawn_blocking, time::Instant};

use super::TasksApi;
use crate::{HiveError, TaskOutput};

/// Maximum time from the start of a task to that of its program, or from the end of the program to
/// the record of the task's end. Fixed: a program starts, and an end is recorded, within
/// milliseconds.
const BETWEEN_WITHIN: Duration = Duration::from_secs(2);
/// Interval between checks in that time. Fixed: short enough that nobody waits for it,
/// and each look costs little.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl TasksApi {
    /// Returns the output of an attempt from byte `offset` on, of the last attempt by
    /// default. While the program runs, the stream continues with its further output.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], [`HiveError::NoOutput`] when the attempt has not
    /// begun, [`HiveError::OutputMissing`] when it never will or its output was not
    /// kept, and
    /// [`HiveError::BeyondOutput`].
    pub async fn output(
        &self,
        who: &Principal,
        id: TaskId,
        attempt: Option<u32>,
        offset: u64,
    ) -> Result<TaskOutput, HiveError> {
        let deadline = Instant::now() + BETWEEN_WITHIN;
        let output = loop {
            let task = self.get(who, id).await?;
            let wanted = attempt.unwrap_or(task.attempt);
            if let Some(running) = self.outputs.running(id, offset)
                && attempt.is_none_or(|attempt| attempt == running.attempt())
            {
                break running;
            }
            if let Some(at) = task.erased_at {
                return Err(HiveError::OutputMissing(format!(
                    "the outputs of task {id} were erased at {at}"
                )));
            }
            if (wanted == 0 || wanted > task.attempt) && task.status.is_final() {
                return Err(HiveError::OutputMissing(never_begun(&task, wanted)));
            }
            if wanted == 0 || wanted > task.attempt {
                return Err(HiveError::NoOutput(not_begun(&task, wanted)));
            }
            if wanted < task.attempt || task.status != TaskStatus::Running {
                break self.ended_output(&task, wanted, offset).await?;
            }
            if Instant::now() >= deadline {
                let why = format!("task {id} is running on a bot that shows it only at its end");
                return Err(HiveError::NoOutput(why));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        match output.length() {
            length if offset > length => Err(HiveError::BeyondOutput { length }),
            _ => Ok(output),
        }
    }

    /// Returns the output of an attempt that is over, from its file or the result.
    pub(super) async fn ended_output(
        &self,
        task: &Task,
        attempt: u32,
        offset: u64,
    ) -> Result<TaskOutput, HiveError> {
        let path = self.outputs.file(task.id, attempt);
        let opening = spawn_blocking(move || TaskOutput::file(attempt, &path, offset)).await;
        let opened = opening.map_err(|error| HiveError::Internal(error.to_string()))?;
        match opened {
            Ok(output) => return Ok(output),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let id = task.id;
                return Err(HiveError::Internal(format!(
                    "the output of {id} cannot be read: {error}"
                )));
            }
        }
        let result = match task.status.is_final() && attempt == task.attempt {
            true => self.ledger.result(task.id).await?,
            false => None,
        };
        let text = result
            .filter(|result| result.output_bytes.is_none())
            .and_then(|result| result.output);
        match text {
            Some(text) => Ok(TaskOutput::text(attempt, text, offset)),
            None => {
                let kept = self.config().tasks.kept_outputs;
                let removed_at = self.removed_at(task.id, attempt).await?;
                let why = missing(task, attempt, kept, removed_at);
                Err(HiveError::OutputMissing(why))
            }
        }
    }

    /// Returns the time at which the output was removed for the limit of all outputs, if it was.
    async fn removed_at(&self, id: TaskId, attempt: u32) -> Result<Option<Timestamp>, HiveError> {
        let outputs = self.outputs.clone();
        let looking = spawn_blocking(move || outputs.removed_at(id, attempt)).await;
        looking.map_err(|error| HiveError::Internal(error.to_string()))
    }

    /// Adds the lengths of their kept outputs to the failed attempts of a task.
    pub(super) async fn with_outputs(&self, mut task: Task) -> Task {
        if task.failed_attempts.is_empty() {
            return task;
        }
        let (outputs, id) = (self.outputs.clone(), task.id);
        let looking = spawn_blocking(move || outputs.attempts(id)).await;
        // On an error the rest is shown without the lengths.
        let kept = looking.ok().and_then(Result::ok).unwrap_or_default();
        for attempt in &mut task.failed_attempts {
            let of_it = kept.iter().find(|(number, _)| *number == attempt.attempt);
            attempt.output_bytes = of_it.map(|(_, bytes)| *bytes);
        }
        task
    }

    /// Removes the files of a task.
    ///
    /// # Errors
    /// [`HiveError::Internal`] if the files exist and cannot be removed.
    pub(super) async fn remove_outputs(&self, id: TaskId) -> Result<(), HiveError> {
        let outputs = self.outputs.clone();
        let removing = spawn_blocking(move || outputs.remove(id)).await;
        let removed = removing.map_err(|error| HiveError::Internal(error.to_string()))?;
        removed.map_err(|error| {
            HiveError::Internal(format!("the outputs of {id} cannot be removed: {error}"))
        })
    }

    /// Removes files of outputs that no result refers to, and counts the others. Runs in the
    /// background; the next start removes the files that are left.
    pub(crate) fn sweep_outputs(&self) {
        let tasks = self.clone();
        actix::spawn(async move {
            if let Err(error) = tasks.sweep().await {
                tracing::warn!(%error, "files of outputs could not be looked through");
            }
        });
    }

    async fn sweep(&self) -> Result<(), HiveError> {
        let internal = |error: String| HiveError::Internal(error);
        let outputs = self.outputs.clone();
        let listing = spawn_blocking(move || outputs.with_files());
        let listed = listing.await.map_err(|error| internal(error.to_string()))?;
        for id in listed.map_err(|error| internal(error.to_string()))? {
            if self.has_use_for_files(id).await? {
                continue;
            }
            if let Err(error) = self.remove_outputs(id).await {
                tracing::warn!(%error, "files of outputs stay behind");
            }
        }
        let outputs = self.outputs.clone();
        let counting = spawn_blocking(move || outputs.count_all()).await;
        let counted = counting.map_err(|error| internal(error.to_string()))?;
        counted.map_err(|error| internal(error.to_string()))
    }

    /// Returns true if the task is known: its files are evidence, and are removed with it.
    async fn has_use_for_files(&self, id: TaskId) -> Result<bool, HiveError> {
        Ok(self.ledger.task(id).await?.is_some())
    }
}

fn not_begun(task: &Task, wanted: u32) -> String {
    let (id, status, last) = (task.id, task.status.as_str(), task.attempt);
    match last {
        0 => format!("task {id} is {status}: no attempt has begun"),
        _ => {
            format!("task {id} is {status}: attempt {wanted} has not begun, the last one is {last}")
        }
    }
}

/// Returns the reason why the attempt will never have an output.
pub(super) fn never_begun(task: &Task, wanted: u32) -> String {
    let (id, status, last) = (task.id, task.status.as_str(), task.attempt);
    match last {
        0 => format!("task {id} is {status}: it had no attempt"),
        _ => format!("task {id} is {status}: it had no attempt {wanted}, the last one was {last}"),
    }
}

/// Returns the reason why an ended attempt has no output.
fn missing(task: &Task, attempt: u32, kept: u32, removed_at: Option<Timestamp>) -> String {
    let id = task.id;
    if let Some(at) = removed_at {
        return format!(
            "the output of attempt {attempt} of task {id} was removed at {at}: all outputs together exceeded their limit (tasks.max_outputs_bytes)"
        );
    }
    if attempt.saturating_add(kept) <= task.attempt {
        return format!(
            "the output of attempt {attempt} of task {id} was removed: the last {kept} are kept (tasks.kept_outputs)"
        );
    }
    format!(
        "the output of attempt {attempt} of task {id} was not kept: its bot or the hive was killed meanwhile, or it is a bot that answers only on success"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_output_is_said_to_be_missing_and_why() {
        let task = Task {
            attempt: 5,
            ..Task::sample()
        };
        for (attempt, expected) in [
            (1, "was removed: the last 3 are kept"),
            (2, "was removed"),
            (3, "was not kept"),
            (5, "was not kept"),
        ] {
            let why = missing(&task, attempt, 3, None);
            assert!(why.contains(expected), "{attempt}: {why}");
        }
        let why = missing(&task, 1, 3, Some(Timestamp::now()));
        assert!(why.contains("tasks.max_outputs_bytes"), "{why}");
        assert!(not_begun(&task, 6).ends_with("the last one is 5"));
    }
}
