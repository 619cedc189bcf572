//! What tasks have put out: live, from the result, or from a file.

use std::time::Duration;

use tokio::{task::spawn_blocking, time::Instant};

use super::Hive;
use crate::{
    HiveError, TaskOutput,
    auth::Principal,
    model::{Task, TaskId, TaskResult, TaskStatus},
};

/// How long a task that runs may take until its program does, or until its end
/// is recorded when the program has ended.
const BETWEEN_WITHIN: Duration = Duration::from_secs(2);
/// How often is looked meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Hive {
    /// The output of a task from byte `offset` on: while a program runs, what it
    /// has printed and what comes, and afterwards all of it. Of the last attempt,
    /// which must be `attempt` when that is given.
    ///
    /// # Errors
    /// [`HiveError::NotFound`], [`HiveError::NoOutput`] while there is none, and
    /// [`HiveError::BeyondOutput`].
    pub async fn task_output(
        &self,
        who: &Principal,
        id: TaskId,
        attempt: Option<u32>,
        offset: u64,
    ) -> Result<TaskOutput, HiveError> {
        let deadline = Instant::now() + BETWEEN_WITHIN;
        let output = loop {
            let task = self.task(who, id).await?;
            if let Some(running) = self.inner.outputs.running(id, offset) {
                break running;
            }
            if task.status.is_final()
                && let Some(result) = self.inner.ledger.result(id).await?
            {
                break self.recorded_output(result, offset).await?;
            }
            if task.status != TaskStatus::Running || Instant::now() >= deadline {
                return Err(HiveError::NoOutput(not_yet(&task)));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        if attempt.is_some_and(|attempt| attempt != output.attempt()) {
            let now = output.attempt();
            let why = format!("the last attempt of task {id} is {now}");
            return Err(HiveError::NoOutput(why));
        }
        match output.length() {
            length if offset > length => Err(HiveError::BeyondOutput { length }),
            _ => Ok(output),
        }
    }

    async fn recorded_output(
        &self,
        result: TaskResult,
        offset: u64,
    ) -> Result<TaskOutput, HiveError> {
        let (id, attempt) = (result.task_id, result.attempt);
        if result.output_bytes.is_none() {
            let text = result.output.unwrap_or_default();
            return Ok(TaskOutput::text(attempt, text, offset));
        }
        let path = self.inner.outputs.file(id, attempt);
        let opening = spawn_blocking(move || TaskOutput::file(attempt, &path, offset)).await;
        let opened = opening.map_err(|error| HiveError::Internal(error.to_string()))?;
        opened.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                HiveError::NoOutput(format!("the file of task {id} was removed"))
            }
            _ => HiveError::Internal(format!("the output of {id} cannot be read: {error}")),
        })
    }

    /// Removes files of outputs that no result tells of. Goes on while the hive
    /// works; what it leaves, the next start removes.
    pub(super) fn sweep_outputs(&self) {
        let hive = self.clone();
        actix::spawn(async move {
            if let Err(error) = hive.sweep().await {
                tracing::warn!(%error, "files of outputs could not be looked through");
            }
        });
    }

    async fn sweep(&self) -> Result<(), HiveError> {
        let internal = |error: String| HiveError::Internal(error);
        let outputs = self.inner.outputs.clone();
        let listing = spawn_blocking(move || outputs.with_files());
        let listed = listing.await.map_err(|error| internal(error.to_string()))?;
        for id in listed.map_err(|error| internal(error.to_string()))? {
            if self.has_use_for_files(id).await? {
                continue;
            }
            let outputs = self.inner.outputs.clone();
            let removing = spawn_blocking(move || outputs.remove(id)).await;
            if let Ok(Err(error)) = removing {
                tracing::warn!(%error, task = %id, "the files of an output cannot be removed");
            }
        }
        Ok(())
    }

    /// Of a task that goes on the next attempt removes them.
    async fn has_use_for_files(&self, id: TaskId) -> Result<bool, HiveError> {
        let ledger = &self.inner.ledger;
        match ledger.task(id).await? {
            None => Ok(false),
            Some(task) if !task.status.is_final() => Ok(true),
            Some(_) => {
                let result = ledger.result(id).await?;
                Ok(result.is_some_and(|result| result.output_bytes.is_some()))
            }
        }
    }
}

fn not_yet(task: &Task) -> String {
    let (id, status) = (task.id, task.status.as_str());
    match task.status {
        TaskStatus::Running => {
            format!("task {id} is running on a bot that shows it only at its end")
        }
        _ => format!("task {id} is {status}"),
    }
}
