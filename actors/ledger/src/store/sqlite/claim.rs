//! Claims: assignment of ready tasks to bots.

use deia_model::{Action, BotName, EventResult, Task, TaskStatus};
use rusqlite::params;

use super::{
    entry::{OfTask, TaskEntry, Timing},
    rows,
    rows::TaskHistory,
    sessions,
    transaction::Tx,
    waiting::{self, Waiting},
};
use crate::{Claim, Claimed, ClaimedTask, Demand, Reply, Slot};

pub(super) fn claim(tx: &mut Tx<'_>, claims: &[Claim]) -> rusqlite::Result<Reply> {
    let mut tasks = Vec::with_capacity(claims.len());
    let mut deferred = Vec::new();
    let mut bytes = 0;
    let paused = paused_types(tx)?;
    let mut find = tx.db.prepare_cached(rows::SELECT_TASK_BY_ID)?;
    for claim in claims {
        let found = find.query_row([claim.task.as_bytes()], rows::stored_task);
        let Some(mut stored) = tx.found_or_aside(claim.task, found)? else {
            continue;
        };
        let (seq, task) = (stored.seq, &mut stored.task);
        if task.status != TaskStatus::Queued {
            continue;
        }
        let held = |paused: &String| paused.is_empty() || paused == task.task_type.as_str();
        let full = bytes >= tx.policy.claim_max_bytes;
        // The bot may have been stopped since the task was assigned to it.
        if full || paused.iter().any(held) || tx.withholds(&claim.bot) {
            deferred.push(task.id);
            continue;
        }
        if task.attempt == 0 && task.expires_at.is_some_and(|at| at <= tx.now) {
            if let Some(waiting) = Waiting::by_seq(tx.db, seq)? {
                waiting::expire(tx, &waiting)?;
            }
            continue;
        }
        if let Some(session) = task.session_id
            && !sessions::may_start(tx, seq, session, &claim.bot)?
        {
            continue;
        }
        if task.content.is_none() {
            task.content = rows::stored_content(tx.db, seq)?;
        }
        bytes += task.content.as_ref().map_or(0, String::len) as u64;
        tasks.push(take(tx, stored, claim)?);
    }
    Ok(Reply::Claimed(Claimed { tasks, deferred }))
}

fn paused_types(tx: &Tx<'_>) -> rusqlite::Result<Vec<String>> {
    tx.db
        .prepare_cached("SELECT type FROM pauses")?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn take(tx: &mut Tx<'_>, stored: rows::Stored, claim: &Claim) -> rusqlite::Result<ClaimedTask> {
    tx.count_task(
        stored.counted(),
        Some(TaskStatus::Queued),
        Some(TaskStatus::Running),
    )?;
    let rows::Stored {
        seq,
        history,
        mut task,
        ..
    } = stored;
    tx.db
        .prepare_cached(
            "UPDATE tasks SET status = 2, attempt = attempt + 1, bot = ?2, lease = ?3, started_at = ?4,
                              execution_ms = NULL, progress = NULL, last_event = ?5, events = events + 1, lease_node = ?6,
                              lease_incarnation = ?7, lease_expires_at = ?8 WHERE seq = ?1",
        )?
        .execute(params![
            seq,
            claim.bot.as_str(),
            claim.lease.as_bytes(),
            tx.now.as_millis(),
            tx.next_event(),
            tx.node,
            claim.incarnation.cast_signed(),
            claim.expires_after.map(|after| tx.after(after).as_millis()),
        ])?;
    let instead_of = claim.stands_in_for.as_ref();
    begun(tx, &mut task, (&claim.bot, instead_of), history)?;
    Ok(ClaimedTask {
        task,
        bot: claim.bot.clone(),
        incarnation: claim.incarnation,
        lease: claim.lease,
    })
}

/// Records the start of an attempt in the task, the statistics and the events. The bot may take the
/// task instead of another one.
fn begun(
    tx: &mut Tx<'_>,
    task: &mut Task,
    (bot, instead_of): (&BotName, Option<&BotName>),
    history: TaskHistory,
) -> rusqlite::Result<()> {
    task.status = TaskStatus::Running;
    task.attempt += 1;
    task.assigned_bot = Some(bot.clone());
    task.started_at = Some(tx.now);
    task.progress = 0.0;
    let waited_ms = tx.now.millis_since(task.run_at);
    let flow = &mut tx.lane(&task.task_type, task.priority).flow;
    flow.started += 1;
    flow.waits.record(waited_ms);
    let details = instead_of.map(|other| serde_json::json!({"stands_in_for": other}).to_string());
    tx.log_task(
        history,
        TaskEntry {
            action: Action::TaskStarted,
            actor: bot.as_str(),
            id: task.id,
            owner: &task.submitter,
            task: OfTask {
                task_type: &task.task_type,
                bot: Some(bot),
                attempt: task.attempt,
                status: TaskStatus::Running,
                tags: rows::tags_of(&task.tags),
                session: task.session_id,
                timing: Timing {
                    wait_ms: Some(waited_ms),
                    run_ms: None,
                },
            },
            result: EventResult::Success,
            details: details.as_deref(),
            traceparent: task.traceparent.as_deref(),
        },
    )
}

/// Takes a slot for a submitted task with that demand that may start at once.
pub(super) fn slot_for(tx: &mut Tx<'_>, demand: &Demand) -> rusqlite::Result<Option<Slot>> {
    let Some(slot) = tx.take_slot(demand) else {
        return Ok(None);
    };
    let held = |paused: &String| paused.is_empty() || paused == demand.task_type.as_str();
    if paused_types(tx)?.iter().any(held) {
        tx.leave_slot();
        return Ok(None);
    }
    Ok(Some(slot))
}

/// Starts a submitted task in the same transaction.
pub(super) fn start_at_once(
    tx: &mut Tx<'_>,
    mut task: Task,
    slot: Slot,
    submitted: TaskHistory,
) -> rusqlite::Result<()> {
    let instead_of = slot.stands_in_for.as_ref();
    begun(tx, &mut task, (&slot.bot, instead_of), submitted)?;
    let claimed = ClaimedTask {
        task,
        bot: slot.bot,
        incarnation: slot.incarnation,
        lease: slot.lease,
    };
    tx.hand_over(claimed);
    Ok(())
}
