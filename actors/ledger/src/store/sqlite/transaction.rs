//! The state of one transaction beside its rows: events, counters, statistics, notices.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
};

use deia_model::{
    BotName, NewEvent, Principal, Priority, TargetType, TaskStatus, TaskType, Timestamp,
};
use rusqlite::{Connection, params};

use super::{
    entry::{Entry, EntryAction, Target, TaskEntry},
    memo::Memo,
    rows,
    rows::TaskHistory,
    shares::Shares,
    unreadable,
};
use crate::{
    BotDelta, ClaimedTask, CommitNotice, Demand, DirectDispatch, LaneStats, Slot, TaskPolicy,
};

/// A transaction in progress.
pub(super) struct Tx<'a> {
    /// The writer's connection, inside `BEGIN`.
    pub(super) db: &'a Connection,
    /// Rules that are applied to tasks.
    pub(super) policy: &'a TaskPolicy,
    /// The node that grants leases.
    pub(super) node: u32,
    /// The time of everything in this transaction.
    pub(super) now: Timestamp,
    /// The task types that have counters.
    types: &'a mut HashSet<TaskType>,
    /// Callers with keys whose access was found to be unchanged.
    pub(super) vouched: Vec<Principal>,
    direct: Option<&'a dyn DirectDispatch>,
    /// The newest event before this transaction.
    last_event_before: i64,
    next_event: i64,
    after_commit: AfterCommit,
    lanes: Memo<TaskType, [Option<Box<Lane>>; Priority::ALL.len()]>,
    pub(super) shares: Shares,
    bots: HashMap<BotName, BotDelta>,
}

/// The notices to send after the commit. Dropped before that, it frees the slots that
/// were taken for tasks.
#[derive(Default)]
pub(super) struct AfterCommit {
    /// The changes.
    pub(super) notices: Vec<CommitNotice>,
    /// Tasks that were assigned to bots on submission.
    pub(super) claimed: Vec<ClaimedTask>,
    /// The slots that were taken for these.
    taken: Vec<Slot>,
}

/// A transaction with nothing left but the commit.
pub(super) struct Prepared<'a> {
    after_commit: AfterCommit,
    direct: Option<&'a dyn DirectDispatch>,
}

impl Prepared<'_> {
    /// Returns the notices; the transaction is on disk.
    pub(super) fn take(&mut self) -> AfterCommit {
        self.after_commit.taken.clear();
        std::mem::take(&mut self.after_commit)
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        release(self.direct, &mut self.after_commit);
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        release(self.direct, &mut self.after_commit);
    }
}

/// Frees the slots of a transaction that was rolled back.
fn release(direct: Option<&dyn DirectDispatch>, after_commit: &mut AfterCommit) {
    if let Some(direct) = direct.filter(|_| !after_commit.taken.is_empty()) {
        direct.release(std::mem::take(&mut after_commit.taken));
    }
}

/// The changes in one lane.
#[derive(Default)]
pub(super) struct Lane {
    change: [i64; TaskStatus::ALL.len()],
    /// The statistics.
    pub(super) flow: LaneStats,
}

impl Lane {
    /// Counts a task that changed from one status to another; `None` for a new task.
    pub(super) fn moved(&mut self, from: Option<TaskStatus>, to: TaskStatus) {
        if let Some(from) = from {
            self.change[from as usize] -= 1;
        }
        self.change[to as usize] += 1;
    }

    /// Counts a task that is deleted.
    pub(super) fn gone(&mut self, from: TaskStatus) {
        self.change[from as usize] -= 1;
    }
}

impl<'a> Tx<'a> {
    pub(super) fn new(
        db: &'a Connection,
        (policy, node): (&'a TaskPolicy, u32),
        types: &'a mut HashSet<TaskType>,
        direct: Option<&'a dyn DirectDispatch>,
        now: Timestamp,
    ) -> rusqlite::Result<Self> {
        let last: i64 = db
            .prepare_cached("SELECT coalesce(max(seq), 0) FROM events")?
            .query_row([], |row| row.get(0))?;
        Ok(Self {
            db,
            policy,
            node,
            now,
            types,
            vouched: Vec::new(),
            direct,
            last_event_before: last,
            next_event: last + 1,
            after_commit: AfterCommit::default(),
            lanes: Memo::default(),
            shares: Shares::default(),
            bots: HashMap::new(),
        })
    }

    /// Returns the sequence number of the newest event.
    pub(super) fn newest_event(&self) -> u64 {
        (self.next_event - 1).unsigned_abs()
    }

    /// Returns the time after `wait` from now.
    pub(super) fn after(&self, wait: std::time::Duration) -> Timestamp {
        self.now
            .plus_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
    }

    /// Returns the sequence number of the next event.
    pub(super) fn next_event(&self) -> i64 {
        self.next_event
    }

    /// Appends an event to the log. `of_task` is the history of the task, if the event
    /// is about one.
    fn append(&mut self, of_task: Option<TaskHistory>, entry: &Entry<'_>) -> rusqlite::Result<()> {
        let task = entry.task.as_ref();
        let target_type = entry
            .target_type
            .filter(|it| *it != entry.action.target_type());
        self.db
            .prepare_cached(
                "INSERT INTO events (seq, at, action, level, actor, target_type, target, owner, result,
                                     task_type, bot, attempt, status, tags, details, trace_id, prev, ordinal,
                                     wait_ms, run_ms, session_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
            )?
            .execute(params![
                self.next_event,
                self.now.as_millis(),
                entry.action.as_str(),
                rows::level_code(entry.level.unwrap_or(entry.action.level())),
                entry.stored_actor(),
                target_type.map(TargetType::as_str),
                entry.target,
                entry.owner,
                rows::result_code(entry.result),
                task.map(|task| task.task_type.as_str()),
                task.and_then(|task| task.bot).map(BotName::as_str),
                task.map(|task| task.attempt).filter(|n| *n > 0),
                task.map(|task| rows::status_code(task.status)),
                task.and_then(|task| task.tags.as_deref()),
                entry.details,
                entry.trace_id,
                of_task.and_then(|before| before.last),
                of_task.map(|before| before.count + 1),
                task.and_then(|task| task.timing.wait_ms).map(rows::millis),
                task.and_then(|task| task.timing.run_ms).map(rows::millis),
                task.and_then(|task| task.session).map(|id| id.to_string()),
            ])?;
        self.next_event += 1;
        if let Some(event) = entry.logged() {
            self.notice(CommitNotice::Logged(Box::new(event)));
        }
        Ok(())
    }

    /// Appends an event of a task. `before` is the history stored in its row.
    pub(super) fn log_task(
        &mut self,
        before: TaskHistory,
        entry: TaskEntry<'_>,
    ) -> rusqlite::Result<()> {
        self.append(
            Some(before),
            &Entry {
                action: EntryAction::Known(entry.action),
                level: None,
                actor: entry.actor,
                target: Target::Task(entry.id),
                target_type: None,
                result: entry.result,
                details: entry.details,
                trace_id: entry.traceparent.and_then(rows::trace_id),
                owner: Some(entry.owner),
                task: Some(entry.task),
            },
        )
    }

    /// Appends an event that is not about a task.
    pub(super) fn log(&mut self, entry: &Entry<'_>) -> rusqlite::Result<()> {
        self.append(None, entry)
    }

    /// Appends an event in its owned form.
    pub(super) fn log_event(&mut self, event: &NewEvent) -> rusqlite::Result<()> {
        let details = (!event.details.is_null()).then(|| event.details.to_string());
        self.log(&Entry {
            action: EntryAction::Known(event.action),
            level: event.level,
            actor: &event.actor,
            target: Target::Named(&event.target),
            target_type: event.target_type,
            result: event.result,
            details: details.as_deref(),
            trace_id: event.trace_id.as_deref(),
            owner: event.owner.as_deref(),
            task: None,
        })
    }

    /// Sends a notice after the commit.
    pub(super) fn notice(&mut self, notice: CommitNotice) {
        self.after_commit.notices.push(notice);
    }

    /// Sends a notice after the commit, once.
    pub(super) fn notice_once(&mut self, notice: CommitNotice) {
        if !self.after_commit.notices.contains(&notice) {
            self.after_commit.notices.push(notice);
        }
    }

    /// Takes a slot for a task with that demand that may start at once.
    pub(super) fn take_slot(&mut self, demand: &Demand) -> Option<Slot> {
        let slot = self.direct?.take(demand)?;
        self.after_commit.taken.push(slot.clone());
        Some(slot)
    }

    /// Returns whether tasks are withheld from `bot`.
    pub(super) fn withholds(&self, bot: &BotName) -> bool {
        self.direct.is_some_and(|direct| direct.withholds(bot))
    }

    /// Frees the slot that was taken last.
    pub(super) fn leave_slot(&mut self) {
        if let (Some(direct), Some(slot)) = (self.direct, self.after_commit.taken.pop()) {
            direct.release(vec![slot]);
        }
    }

    /// Delivers the task to the bot after the commit.
    pub(super) fn hand_over(&mut self, task: ClaimedTask) {
        self.after_commit.claimed.push(task);
    }

    /// Makes the scheduler process at once what is due.
    pub(super) fn notice_due_now(&mut self) {
        self.after_commit
            .notices
            .push(CommitNotice::Due(self.now.as_millis()));
    }

    /// Returns the lane of that type and priority.
    pub(super) fn lane(&mut self, task_type: &TaskType, priority: Priority) -> &mut Lane {
        let lanes: Result<_, Infallible> = self
            .lanes
            .get_or_make(task_type, || Ok((task_type.clone(), Default::default())));
        let Ok(lanes) = lanes;
        lanes[usize::from(priority.rank())].get_or_insert_default()
    }

    /// Returns the number of types that have tasks.
    pub(super) fn types(&self) -> u64 {
        self.types.len() as u64
    }

    /// Returns whether there are tasks of that type.
    pub(super) fn knows_type(&self, task_type: &TaskType) -> bool {
        self.types.contains(task_type)
    }

    /// Notes a type that has tasks from now on.
    pub(super) fn note_type(&mut self, task_type: &TaskType) {
        if !self.types.contains(task_type) {
            self.types.insert(task_type.clone());
        }
    }

    /// Deletes the types that have no tasks any more.
    pub(super) fn forget_empty_types(&mut self) -> rusqlite::Result<()> {
        let empty = self
            .db
            .prepare_cached("SELECT type FROM task_counts GROUP BY type HAVING sum(n) = 0")?
            .query_map([], |row| {
                unreadable::lenient("task_counts", row, |row| rows::parsed::<TaskType>(row, 0))
            })?
            .filter_map(Result::transpose)
            .collect::<rusqlite::Result<Vec<_>>>()?;
        for task_type in empty
            .iter()
            .filter(|task_type| !self.lanes.contains(*task_type))
        {
            self.db
                .prepare_cached("DELETE FROM task_counts WHERE type = ?1")?
                .execute([task_type.as_str()])?;
            self.types.remove(task_type);
        }
        Ok(())
    }

    /// Counts an attempt for its bot.
    pub(super) fn count_attempt(&mut self, bot: &BotName, succeeded: bool) {
        let delta = match self.bots.get_mut(bot) {
            Some(delta) => delta,
            None => self.bots.entry(bot.clone()).or_default(),
        };
        if succeeded {
            delta.completed += 1;
        } else {
            delta.failed += 1;
        }
    }

    /// Writes the counters; only the commit is left.
    pub(super) fn write_counters(mut self) -> rusqlite::Result<Prepared<'a>> {
        let mut flows = Vec::new();
        {
            let mut add = self.db.prepare_cached(
                "INSERT INTO task_counts (type, priority, status, n) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET n = n + excluded.n",
            )?;
            for (task_type, lanes) in self.lanes.take() {
                for (priority, lane) in Priority::ALL.into_iter().zip(lanes) {
                    let Some(lane) = lane else { continue };
                    for (status, n) in lane.change.iter().enumerate().filter(|(_, n)| **n != 0) {
                        add.execute(params![task_type.as_str(), priority.rank(), status, n])?;
                    }
                    if lane.flow != LaneStats::default() {
                        flows.push((task_type.clone(), priority, lane.flow));
                    }
                }
            }
        }
        self.shares.write(self.db)?;
        if !self.bots.is_empty() {
            let mut add = self.db.prepare_cached(
                "UPDATE bots SET tasks_completed = tasks_completed + ?2, tasks_failed = tasks_failed + ?3 WHERE name = ?1",
            )?;
            for (bot, delta) in &self.bots {
                add.execute(params![bot.as_str(), delta.completed, delta.failed])?;
            }
        }
        if !flows.is_empty() {
            self.after_commit
                .notices
                .push(CommitNotice::LaneStats(flows));
        }
        let head = self.next_event - 1;
        if head > self.last_event_before {
            self.after_commit
                .notices
                .push(CommitNotice::EventsAppended(head.unsigned_abs()));
        }
        Ok(Prepared {
            after_commit: std::mem::take(&mut self.after_commit),
            direct: self.direct,
        })
    }
}
