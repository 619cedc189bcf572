//! Counts of tasks and submitters in a transaction.

use deia_model::{TaskStatus, TaskType};

use super::{shares::Counted, transaction::Tx};
use crate::Load;

fn waits(status: Option<TaskStatus>) -> bool {
    matches!(status, Some(TaskStatus::Pending | TaskStatus::Queued))
}

impl Tx<'_> {
    /// Counts a task that changes from one status to another; `None` stands for a new
    /// or a deleted task.
    pub(super) fn count_task(
        &mut self,
        task: Counted<'_>,
        from: Option<TaskStatus>,
        to: Option<TaskStatus>,
    ) -> rusqlite::Result<()> {
        let lane = self.lane(task.task_type, task.priority);
        match (from, to) {
            (from, Some(to)) => lane.moved(from, to),
            (Some(from), None) => lane.gone(from),
            (None, None) => {}
        }
        if from.is_none() || to.is_none() {
            let more = if to.is_some() { 1 } else { -1 };
            self.shares.count_type(self.db, task, more)?;
        }
        let more = i64::from(waits(to)) - i64::from(waits(from));
        if more != 0 {
            self.shares.count_waiting(self.db, task, more)?;
        }
        Ok(())
    }

    /// Returns the backlog of this submitter.
    pub(super) fn waiting_of(&mut self, submitter: &str) -> rusqlite::Result<Load> {
        self.shares.waiting_of(self.db, submitter)
    }

    /// Returns the backlog of all submitters.
    pub(super) fn waiting_of_all(&mut self) -> rusqlite::Result<Load> {
        self.shares.waiting_of_all(self.db)
    }

    /// Returns the number of types that this submitter has tasks of.
    pub(super) fn types_of(&mut self, submitter: &str) -> rusqlite::Result<u64> {
        self.shares.types_of(self.db, submitter)
    }

    /// Returns whether this submitter has tasks of that type.
    pub(super) fn has_type(
        &mut self,
        submitter: &str,
        task_type: &TaskType,
    ) -> rusqlite::Result<bool> {
        self.shares.has_type(self.db, submitter, task_type)
    }

    /// Counts stored answers of this submitter (deleted ones if negative); returns
    /// their new number, and their bytes.
    pub(super) fn count_answers(
        &mut self,
        submitter: &str,
        answers: i64,
        bytes: i64,
    ) -> rusqlite::Result<(u64, u64)> {
        self.shares
            .count_answers(self.db, submitter, answers, bytes)
    }
}
