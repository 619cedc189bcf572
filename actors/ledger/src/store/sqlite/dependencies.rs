//! Dependencies between tasks, and the consequence of the end of one for those that
//! wait for it ([`release`] decides).

use std::collections::HashMap;

use deia_model::{
    Dependency, EndReason, NewTask, Release, TaskId, TaskStatus, Timestamp, Violation, release,
};
use rusqlite::{OptionalExtension, params};

use super::{
    edges::{self, Parent},
    errors::ApplyError,
    rows,
    transaction::Tx,
    waiting::{self, End, Waiting},
};
use crate::{CommitNotice, Rejection};

/// The dependencies of each task of a submission, as far as they exist already; those
/// in the same batch are `None`.
pub(super) type Parents = Vec<Vec<Option<Parent>>>;

/// Looks up the dependencies of the tasks, and refuses those that do not exist, are not
/// visible to the submitter, or have too many dependents. Changes nothing.
pub(super) fn look_up(
    tx: &Tx<'_>,
    tasks: &[NewTask],
    submitter: &str,
    restricted: bool,
) -> Result<Parents, ApplyError> {
    let mut violations = Vec::new();
    let mut parents = Vec::with_capacity(tasks.len());
    let mut more = HashMap::new();
    for (place, task) in tasks.iter().enumerate() {
        let mut of_task = Vec::with_capacity(task.depends_on.len());
        for (i, dependency) in task.depends_on.iter().enumerate() {
            let more: &mut u32 = more.entry(*dependency).or_default();
            let found = match dependency {
                Dependency::Task(id) => parent(tx, *id, restricted.then_some(submitter), *more)?,
                Dependency::InBatch(n) => has_room(tx, 0, *more, || format!("@{n}")).map(|()| None),
            };
            *more += 1;
            match found {
                Ok(parent) => of_task.push(parent),
                Err(detail) => violations.push(Violation {
                    pointer: Violation::pointer_in_batch(
                        tasks.len(),
                        place,
                        &format!("/depends_on/{i}"),
                    ),
                    detail,
                }),
            }
        }
        parents.push(of_task);
    }
    match violations.is_empty() {
        true => Ok(parents),
        false => Err(Rejection::Invalid(violations).into()),
    }
}

/// A task on which `more` tasks of this submission depend so far.
fn parent(
    tx: &Tx<'_>,
    id: TaskId,
    only_of: Option<&str>,
    more: u32,
) -> rusqlite::Result<Result<Option<Parent>, String>> {
    let found: Option<(Parent, String, u32)> = tx
        .db
        .prepare_cached("SELECT seq, status, submitter, dependents FROM tasks WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| {
            let parent = Parent {
                seq: row.get(0)?,
                id,
                status: rows::status(row, 1)?,
            };
            Ok((parent, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let seen = found.filter(|(_, owner, _)| only_of.is_none_or(|only| only == owner));
    Ok(match seen {
        None => Err(format!("there is no task {id}")),
        Some((parent, _, dependents)) => {
            has_room(tx, dependents, more, || id.to_string()).map(|()| Some(parent))
        }
    })
}

/// Refuses another dependent of a task beyond the limit.
fn has_room(
    tx: &Tx<'_>,
    dependents: u32,
    more: u32,
    name: impl FnOnce() -> String,
) -> Result<(), String> {
    let (all, max) = (dependents + more, tx.policy.max_dependents);
    match all < max {
        true => Ok(()),
        false => Err(format!(
            "{all} tasks depend on {} already; the limit is {max} (tasks.max_dependents)",
            name()
        )),
    }
}

/// Returns whether the status of `parent` already lets the child proceed.
pub(super) fn is_satisfied(task: &NewTask, parent: &Parent) -> bool {
    release(parent.status, task.on_dependency_failure) == Release::Satisfied
}

/// Settles the dependents of finished tasks, at most `limit` of them. Returns the
/// number.
pub(super) fn settle(tx: &mut Tx<'_>, limit: u32) -> rusqlite::Result<u64> {
    let mut left = limit;
    while left > 0 {
        let Some(parent) = edges::next_settled(tx.db)? else {
            return Ok(u64::from(limit - left));
        };
        let row = edges::settled(tx.db, parent);
        let Some((id, status)) = tx.or_aside(parent, row)? else {
            left -= 1;
            continue;
        };
        let children = edges::waiting_for(tx.db, parent, left)?;
        let all = children.len() < left as usize;
        for child in children {
            left -= 1;
            settle_one(tx, parent, id, status, child)?;
        }
        if all || !status.is_final() {
            edges::forget_settled(tx, parent)?;
        }
    }
    tx.notice_due_now();
    Ok(u64::from(limit))
}

fn settle_one(
    tx: &mut Tx<'_>,
    parent: i64,
    parent_id: TaskId,
    status: TaskStatus,
    child: i64,
) -> rusqlite::Result<()> {
    let row = Waiting::by_seq(tx.db, child);
    let task = match tx.or_aside(child, row)? {
        Some(Some(task)) => task,
        Some(None) => return edges::remove_edge(tx, parent, child),
        // The dependent continues to wait; a version that can decode it settles it.
        None => return Ok(()),
    };
    let (status, reason) = match release(status, task.on_failure) {
        Release::Wait => return Ok(()),
        Release::Satisfied => return unblock(tx, parent, task),
        Release::Fail => (TaskStatus::Failed, EndReason::Dependency),
        Release::Cancel => (TaskStatus::Cancelled, EndReason::Dependency),
    };
    edges::remove_edge(tx, parent, child)?;
    if task.status == TaskStatus::Pending {
        let fate = End {
            status,
            reason,
            actor: "deia",
            error: &format!("{parent_id}, which it depends on, did not complete"),
        };
        waiting::end(tx, &task, &fate)?;
    }
    Ok(())
}

fn unblock(tx: &mut Tx<'_>, parent: i64, mut task: Waiting) -> rusqlite::Result<()> {
    edges::remove_edge(tx, parent, task.seq)?;
    let left = task.blocked_by.saturating_sub(1);
    tx.db
        .prepare_cached("UPDATE tasks SET blocked_by = ?2 WHERE seq = ?1")?
        .execute(params![task.seq, left])?;
    if left > 0 || task.status != TaskStatus::Pending {
        return Ok(());
    }
    if task.run_at > tx.now {
        tx.notice(CommitNotice::Due(task.run_at.as_millis()));
        return Ok(());
    }
    // The task is ready from now on, not since its submission.
    task.run_at = tx.now;
    waiting::make_ready(tx, &task)
}

/// Makes a requeued task wait again for those of its dependencies that have not ended.
/// Finished ones, successful or not, do not hold it: the caller who requeues it wants
/// it to run. Returns the number of tasks that it waits for. Refuses if one of them has
/// the maximum number of dependents.
pub(super) fn wait_again(
    tx: &mut Tx<'_>,
    child: i64,
    depends_on: &[TaskId],
) -> Result<u32, ApplyError> {
    let mut parents = Vec::with_capacity(depends_on.len());
    for id in depends_on {
        match unfinished(tx, *id)? {
            Some((_, dependents)) if dependents >= tx.policy.max_dependents => {
                return Err(Rejection::TooManyDependents {
                    parent: *id,
                    limit: tx.policy.max_dependents,
                }
                .into());
            }
            found => parents.extend(found.map(|(parent, _)| parent)),
        }
    }
    let mut waits = 0;
    for parent in parents {
        waits += u32::from(edges::add_edge(tx, &parent, child)?);
    }
    Ok(waits)
}

/// Returns a task that has not ended, with the number of its dependents.
fn unfinished(tx: &Tx<'_>, id: TaskId) -> rusqlite::Result<Option<(Parent, u32)>> {
    let found = tx
        .db
        .prepare_cached("SELECT seq, status, dependents FROM tasks WHERE id = ?1 AND status <= 2")?
        .query_row([id.as_bytes()], |row| {
            let (seq, status) = (row.get(0)?, rows::status(row, 1)?);
            Ok((Parent { seq, id, status }, row.get(2)?))
        });
    found.optional()
}

/// Returns the time at which a task without dependencies is ready: its `run_at`, or
/// now.
pub(super) fn ready_at(task: &NewTask, now: Timestamp) -> Timestamp {
    task.run_at.filter(|at| *at > now).unwrap_or(now)
}
