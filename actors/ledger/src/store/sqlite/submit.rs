//! Submissions: admission, deduplication, and the tasks that they add.

mod insert;

use std::collections::HashSet;

use deia_model::{Dependency, NewTask, Role, Submitted, Timestamp, Violation};
use rusqlite::OptionalExtension;

use self::insert::insert;
use super::{
<<<<<<< main
    dependencies,
    edges::Parent,
=======
    claim,
    dependencies::{self, Parent},
    entry::{OfTask, TaskEntry, TaskHistory},
>>>>>>> theirs
    errors::ApplyError,
    idempotency::{remember, remembered},
    rows,
    transaction::Tx,
};
use crate::{
    Backlog, Dedup, Load, Refusal, Reply, Submission, TaskPolicy, TypeLimit, TypeRoom, admit,
};

/// A submitter.
#[derive(Clone, Copy)]
pub(super) struct By<'a> {
    pub(super) submitter: &'a str,
    /// The role that they act with.
    pub(super) role: Role,
}

pub(super) fn submit(
    tx: &mut Tx<'_>,
    tasks: &[NewTask],
    by: By<'_>,
    dedup: Option<&Dedup>,
) -> Result<Reply, ApplyError> {
    let submitter = by.submitter;
    if let Some(dedup) = dedup
        && let Some(tasks) = remembered(tx, submitter, dedup)?
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
    admit_load(tx, &news, by)?;
    // Last, as it notes the new types: nothing is refused from here on.
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
    if let Some(dedup) = dedup {
        remember(tx, submitter, dedup, &accepted)?;
    }
    Ok(Reply::Submitted(Submission {
        tasks: accepted,
        replayed: false,
    }))
}

/// Returns the tasks, with their places, that will be inserted: those that are not
/// answered with an unfinished task of the same key.
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
fn admit_times(news: &[(usize, &NewTask)], tasks: usize) -> Result<(), Refusal> {
    let late = news.iter().filter(|(_, task)| task.came_expired);
    let late = late.filter_map(|(place, task)| Some((*place, task.expires_at?)));
    let of = |(place, at): (usize, Timestamp)| Violation {
        pointer: Violation::pointer_in_batch(tasks, place, "/expires_at"),
        detail: format!("is {at}, which is in the past; it would never start"),
    };
    let found: Vec<_> = late.map(of).collect();
    match found.is_empty() {
        true => Ok(()),
        false => Err(Refusal::Invalid(found)),
    }
}

/// Refuses task types beyond those of the submitter, and beyond those of all.
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
        confined: by.role.sees_only_its_own(),
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

/// Returns the types that there may be when that role submits a new one, and the setting
/// that says so. External submitters together do not use up what all need.
fn types_for(role: Role, policy: &TaskPolicy) -> (u32, &'static str) {
    let external = policy.max_types_external;
    match role {
        Role::Admin | Role::Operator => (policy.max_types, "max_types"),
        _ if external >= policy.max_types => (policy.max_types, "max_types"),
        _ => (external, "max_types_external"),
    }
}

fn too_many_types(pointer: String, limit: TypeLimit, setting: &str) -> Refusal {
    let detail = match limit {
        TypeLimit::Own(limit) => format!(
            "is a type that this submitter has no task of, and it has tasks of {limit} types already (tasks.per_submitter.*.max_types)"
        ),
        TypeLimit::All(limit) => {
            format!("is a new type, and there are {limit} already (tasks.{setting})")
        }
    };
    Refusal::Invalid(vec![Violation { pointer, detail }])
}

/// Refuses tasks beyond those that may wait.
fn admit_load(tx: &mut Tx<'_>, news: &[(usize, &NewTask)], by: By<'_>) -> Result<(), ApplyError> {
    let more = Load {
        tasks: news.len() as u64,
        bytes: news.iter().map(|(_, task)| bytes_of(task)).sum(),
    };
    let limits = tx.policy.per_submitter.of(by.role);
    Ok(admit(limits, backlog(tx, by.submitter)?, more)?)
}

/// Returns the queue as a submission of that submitter finds it.
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

/// What a task depends on, with what stands in the same batch.
fn in_full(task: &NewTask, known: &[Option<Parent>], batch: &[Parent]) -> Vec<Parent> {
    let with_places = task.depends_on.iter().zip(known);
    let parents = with_places.filter_map(|(dependency, known)| match dependency {
        Dependency::Task(_) => *known,
        Dependency::InBatch(n) => batch.get(*n as usize).copied(),
    });
    let mut once: Vec<Parent> = Vec::new();
    for parent in parents {
        // Two names of a batch may be one task, by its deduplication key.
        if once.iter().all(|other| other.seq != parent.seq) {
            once.push(parent);
        }
    }
    once
}

/// An unfinished task of the same user with the same key.
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
<<<<<<< main
=======

fn insert(
    tx: &mut Tx<'_>,
    task: &NewTask,
    submitter: &str,
    depends_on: &[Parent],
) -> rusqlite::Result<(i64, Submitted)> {
    let id = TaskId::new();
    let waits = |parent: &&Parent| !dependencies::is_satisfied(task, parent);
    let waits_for = depends_on.iter().filter(waits).count();
    let run_at = dependencies::ready_at(task, tx.now);
    let status = if run_at > tx.now || waits_for > 0 {
        TaskStatus::Pending
    } else {
        TaskStatus::Queued
    };
    let bytes = i64::try_from(bytes_of(task)).unwrap_or(i64::MAX);
    let inline = task.content.len() <= INLINE_CONTENT;
    let of_type = tx.policy.by_type.get(&task.task_type);
    let max_attempts = task
        .max_attempts
        .or_else(|| of_type?.max_attempts)
        .unwrap_or(tx.policy.default_max_attempts);
    let timeout_seconds = task
        .timeout_seconds
        .or_else(|| of_type?.timeout_seconds)
        .unwrap_or(tx.policy.default_timeout_seconds);
    let expires_after = of_type.and_then(|of_type| of_type.expires_after);
    let expires_at = task.expires_at.or_else(|| {
        let millis = u64::try_from(expires_after?.as_millis()).unwrap_or(u64::MAX);
        Some(run_at.plus_millis(millis))
    });
    let demand = Demand::of_type(task.task_type.clone());
    let slot = match status {
        TaskStatus::Queued if expires_at.is_none_or(|at| at > tx.now) => {
            claim::slot_for(tx, &demand)?
        }
        _ => None,
    };
    let stored_status = match slot {
        Some(_) => TaskStatus::Running,
        None => status,
    };
    // That it was submitted is its first event, that it is started its second.
    let submitted_event = tx.next_event();
    let starts = i64::from(slot.is_some());
    let extra = Extra::of(task, depends_on.iter().map(|parent| parent.id).collect());
    tx.db
        .prepare_cached(
            "INSERT INTO tasks (id, type, priority, status, submitter, content, extra, traceparent, created_at, run_at,
                                max_attempts, timeout_seconds, expires_at, dedup_key, blocked_by, last_event,
                                attempt, bot, lease, started_at, bytes, lease_node, lease_incarnation, events)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)",
        )?
        .execute(params![
            id.as_bytes(),
            task.task_type.as_str(),
            task.priority.rank(),
            rows::status_code(stored_status),
            submitter,
            inline.then_some(task.content.as_str()),
            extra.as_ref().map(|extra| json!(extra).to_string()),
            task.traceparent,
            tx.now.as_millis(),
            run_at.as_millis(),
            max_attempts,
            i64::try_from(timeout_seconds).unwrap_or(i64::MAX),
            expires_at.map(Timestamp::as_millis),
            task.dedup_key,
            waits_for,
            submitted_event + starts,
            starts,
            slot.as_ref().map(|slot| slot.bot.as_str()),
            slot.as_ref().map(|slot| slot.lease.as_bytes()),
            slot.is_some().then_some(tx.now.as_millis()),
            bytes,
            slot.is_some().then_some(tx.node),
            slot.as_ref().map(|slot| slot.incarnation.cast_signed()),
            1 + starts,
        ])?;
    let seq = tx.db.last_insert_rowid();
    if !inline {
        tx.db
            .prepare_cached("INSERT INTO contents (seq, content) VALUES (?1, ?2)")?
            .execute(params![seq, task.content])?;
    }
    for parent in depends_on.iter().filter(waits) {
        dependencies::add_edge(tx, parent, seq)?;
    }
    let counted = Counted {
        task_type: &task.task_type,
        priority: task.priority,
        submitter,
        bytes,
    };
    tx.count_task(counted, None, Some(stored_status))?;
    tx.lane(&task.task_type, task.priority).flow.submitted += 1;
    tx.log_task(
        TaskHistory::default(),
        TaskEntry {
            action: Action::TaskSubmitted,
            actor: submitter,
            id,
            owner: submitter,
            task: OfTask {
                task_type: &task.task_type,
                bot: None,
                attempt: 0,
                status,
                tags: rows::tags_of(&task.tags),
            },
            result: EventResult::Success,
            details: None,
            traceparent: task.traceparent.as_deref(),
        },
    )?;
    if let Some(at) = expires_at.filter(|_| slot.is_none()) {
        tx.hint(Hint::Due(at.as_millis()));
    }
    match (status, slot) {
        (TaskStatus::Queued, Some(slot)) => {
            let new = rows::NewRow {
                id,
                new: task,
                extra: extra.unwrap_or_default(),
                submitter,
                run_at,
                max_attempts,
                timeout_seconds,
                expires_at,
            };
            let before = TaskHistory {
                last: Some(submitted_event),
                count: 1,
            };
            claim::start_at_once(tx, new.into_task(tx.now), slot, before)?;
        }
        (TaskStatus::Queued, None) => tx.hint(Hint::Ready(ReadyTask {
            id,
            order: seq,
            demand,
            priority: task.priority,
            ready_at: run_at.as_millis(),
        })),
        _ if waits_for == 0 => tx.hint(Hint::Due(run_at.as_millis())),
        _ => {}
    }
    // As it was accepted, also when a bot has it already.
    let submitted = Submitted {
        id,
        status,
        created_at: tx.now,
        deduplicated: false,
    };
    Ok((seq, submitted))
}
>>>>>>> theirs
