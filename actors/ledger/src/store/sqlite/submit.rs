//! Submissions: admission, deduplication, and the tasks that they add.

mod insert;

use std::collections::HashSet;

use deia_model::{Dependency, NewTask, Role, Submitted, Timestamp, Violation};
use rusqlite::OptionalExtension;

use self::insert::insert;
use super::{
    dependencies,
    edges::Parent,
    errors::ApplyError,
    idempotency::{remember, remembered},
    rows, sessions,
    transaction::Tx,
};
use crate::{
    Backlog, Idempotency, Load, Rejection, Reply, Submission, TaskPolicy, TypeLimit, TypeRoom,
    admit,
};

/// A submitter.
#[derive(Clone, Copy)]
pub(super) struct By<'a> {
    pub(super) submitter: &'a str,
    /// The role that the submitter acts with.
    pub(super) role: Role,
}

pub(super) fn submit(
    tx: &mut Tx<'_>,
    tasks: &[NewTask],
    by: By<'_>,
    idempotency: Option<&Idempotency>,
) -> Result<Reply, ApplyError> {
    let submitter = by.submitter;
    if let Some(idempotency) = idempotency
        && let Some(tasks) = remembered(tx, submitter, idempotency)?
    {
        return Ok(Reply::Submitted(Submission {
            tasks,
            replayed: true,
        }));
    }
    let parents = match tasks.iter().any(|task| !task.depends_on.is_empty()) {
        true => dependencies::look_up(tx, tasks, submitter, by.role.sees_only_its_own())?,
        false => Vec::new(),
    };
    let news = without_twins(tx, tasks, submitter)?;
    admit_times(&news, tasks.len())?;
    admit_sessions(tx, &news, submitter, tasks.len())?;
    admit_load(tx, &news, by)?;
    // Must come last, as it notes the new types: nothing is refused after it.
    admit_types(tx, &news, by, tasks.len())?;
    let mut done: Vec<Parent> = Vec::new();
    let mut accepted = Vec::with_capacity(tasks.len());
    for (i, task) in tasks.iter().enumerate() {
        let depends_on = match parents.get(i) {
            Some(parents) => in_full(task, parents, &done),
            None => Vec::new(),
        };
        let (seq, submitted) = match unfinished_twin(tx, task, submitter)? {
            Some(twin) => twin,
            None => insert(tx, task, submitter, &depends_on)?,
        };
        if !parents.is_empty() {
            done.push(Parent {
                seq,
                id: submitted.id,
                status: submitted.status,
            });
        }
        accepted.push(submitted);
    }
    if let Some(idempotency) = idempotency {
        remember(tx, submitter, idempotency, &accepted)?;
    }
    Ok(Reply::Submitted(Submission {
        tasks: accepted,
        replayed: false,
    }))
}

/// Returns the tasks to insert, with their places: those that are not answered with an
/// unfinished task of the same key.
fn without_twins<'t>(
    tx: &Tx<'_>,
    tasks: &'t [NewTask],
    submitter: &str,
) -> rusqlite::Result<Vec<(usize, &'t NewTask)>> {
    let mut news = Vec::with_capacity(tasks.len());
    let mut keys = HashSet::new();
    for (place, task) in tasks.iter().enumerate() {
        let is_new = match &task.dedup_key {
            None => true,
            Some(key) => keys.insert(key) && unfinished_twin(tx, task, submitter)?.is_none(),
        };
        if is_new {
            news.push((place, task));
        }
    }
    Ok(news)
}

/// Refuses tasks that could never start.
fn admit_times(news: &[(usize, &NewTask)], tasks: usize) -> Result<(), Rejection> {
    let late = news.iter().filter(|(_, task)| task.came_expired);
    let late = late.filter_map(|(place, task)| Some((*place, task.expires_at?)));
    let of = |(place, at): (usize, Timestamp)| Violation {
        pointer: Violation::pointer_in_batch(tasks, place, "/expires_at"),
        detail: format!("is {at}, which is in the past; it would never start"),
    };
    let found: Vec<_> = late.map(of).collect();
    match found.is_empty() {
        true => Ok(()),
        false => Err(Rejection::Invalid(found)),
    }
}

/// Refuses tasks of sessions that are not active sessions of the submitter.
fn admit_sessions(
    tx: &Tx<'_>,
    news: &[(usize, &NewTask)],
    submitter: &str,
    tasks: usize,
) -> Result<(), ApplyError> {
    let mut found = Vec::new();
    for (place, task) in news {
        if let Some(session) = task.session_id
            && !sessions::is_active_of(tx.db, session, submitter)?
        {
            found.push(Violation {
                pointer: Violation::pointer_in_batch(tasks, *place, "/session_id"),
                detail: format!("is {session}, which is not an active session of the submitter"),
            });
        }
    }
    match found.is_empty() {
        true => Ok(()),
        false => Err(Rejection::Invalid(found).into()),
    }
}

/// Refuses task types beyond the limit of the submitter, and beyond the total.
fn admit_types(
    tx: &mut Tx<'_>,
    news: &[(usize, &NewTask)],
    by: By<'_>,
    tasks: usize,
) -> Result<(), ApplyError> {
    let limits = tx.policy.per_submitter.of(by.role);
    let (max_all, setting) = types_for(by.role, tx.policy);
    let mut room = TypeRoom {
        own: tx.types_of(by.submitter)?,
        all: tx.types(),
        max_own: limits.max_types.into(),
        max_all: max_all.into(),
        restricted: by.role.sees_only_its_own(),
    };
    let mut new_types = HashSet::new();
    for (place, task) in news {
        let task_type = &task.task_type;
        if tx.has_type(by.submitter, task_type)? || !new_types.insert(task_type) {
            continue;
        }
        if let Err(limit) = room.admit(tx.knows_type(task_type)) {
            return Err(too_many_types(
                Violation::pointer_in_batch(tasks, *place, "/type"),
                limit,
                setting,
            )
            .into());
        }
    }
    for task_type in new_types {
        tx.note_type(task_type);
    }
    Ok(())
}

/// Returns the maximum number of types when that role submits a new one, and the
/// responsible setting. External submitters together do not use up what others need.
fn types_for(role: Role, policy: &TaskPolicy) -> (u32, &'static str) {
    let external = policy.max_types_external;
    match role {
        Role::Admin | Role::Operator => (policy.max_types, "max_types"),
        _ if external >= policy.max_types => (policy.max_types, "max_types"),
        _ => (external, "max_types_external"),
    }
}

fn too_many_types(pointer: String, limit: TypeLimit, setting: &str) -> Rejection {
    let detail = match limit {
        TypeLimit::Own(limit) => format!(
            "is a type that this submitter has no task of, and it has tasks of {limit} types already (tasks.per_submitter.*.max_types)"
        ),
        TypeLimit::All(limit) => {
            format!("is a new type, and there are {limit} already (tasks.{setting})")
        }
    };
    Rejection::Invalid(vec![Violation { pointer, detail }])
}

/// Refuses tasks beyond the limit of waiting ones.
fn admit_load(tx: &mut Tx<'_>, news: &[(usize, &NewTask)], by: By<'_>) -> Result<(), ApplyError> {
    let more = Load {
        tasks: news.len() as u64,
        bytes: news.iter().map(|(_, task)| bytes_of(task)).sum(),
    };
    let limits = tx.policy.per_submitter.of(by.role);
    Ok(admit(limits, backlog(tx, by.submitter)?, more)?)
}

/// Returns the state of the queue for a submission of that submitter.
pub(super) fn backlog(tx: &mut Tx<'_>, submitter: &str) -> rusqlite::Result<Backlog> {
    Ok(Backlog {
        own: tx.waiting_of(submitter)?,
        all: tx.waiting_of_all()?.tasks,
        max_all: tx.policy.max_waiting,
    })
}

/// Returns the bytes that a task counts for.
fn bytes_of(task: &NewTask) -> u64 {
    let metadata = match task.metadata.is_empty() {
        true => 0,
        false => serde_json::to_string(&task.metadata).map_or(0, |text| text.len()),
    };
    (task.content.len() + metadata) as u64
}

/// Returns the dependencies of a task, with the ids of those in the same batch.
fn in_full(task: &NewTask, known: &[Option<Parent>], batch: &[Parent]) -> Vec<Parent> {
    let with_places = task.depends_on.iter().zip(known);
    let parents = with_places.filter_map(|(dependency, known)| match dependency {
        Dependency::Task(_) => *known,
        Dependency::InBatch(n) => batch.get(*n as usize).copied(),
    });
    let mut once: Vec<Parent> = Vec::new();
    for parent in parents {
        // Two entries of a batch may be one task, by their deduplication key.
        if once.iter().all(|other| other.seq != parent.seq) {
            once.push(parent);
        }
    }
    once
}

/// Returns an unfinished task of the same user with the same key.
fn unfinished_twin(
    tx: &Tx<'_>,
    task: &NewTask,
    submitter: &str,
) -> rusqlite::Result<Option<(i64, Submitted)>> {
    let Some(key) = &task.dedup_key else {
        return Ok(None);
    };
    tx.db
        .prepare_cached(
            "SELECT seq, id, status, created_at FROM tasks INDEXED BY tasks_dedup
             WHERE submitter = ?1 AND dedup_key = ?2 AND dedup_key IS NOT NULL AND status <= 2",
        )?
        .query_row([submitter, key], |row| {
            let twin = Submitted {
                id: rows::task_id(row, 1)?,
                status: rows::status(row, 2)?,
                created_at: rows::time(row, 3)?,
                deduplicated: true,
            };
            Ok((row.get(0)?, twin))
        })
        .optional()
}
