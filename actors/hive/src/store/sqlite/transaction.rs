//! What one transaction gathers beside the rows it writes: events, counters,
//! hints.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::rows;
use crate::{
    ledger::{BotDelta, Hint, TaskPolicy},
    model::{Action, BotName, EventResult, NewEvent, Priority, TaskStatus, TaskType, Timestamp},
};

/// The transaction that is being built.
pub(super) struct Tx<'a> {
    /// The writer's connection, inside `BEGIN`.
    pub(super) db: &'a Connection,
    /// Rules that are applied to tasks.
    pub(super) policy: &'a TaskPolicy,
    /// The time of everything in this transaction.
    pub(super) now: Timestamp,
    hints: Vec<Hint>,
    counts: HashMap<(TaskType, Priority, TaskStatus), i64>,
    bots: HashMap<BotName, BotDelta>,
}

/// An event with little text, for the hot path.
pub(super) struct Entry<'a> {
    pub(super) action: Action,
    pub(super) actor: &'a str,
    pub(super) target: &'a str,
    pub(super) result: EventResult,
    pub(super) details: Option<&'a str>,
    pub(super) trace_id: Option<&'a str>,
}

impl<'a> Tx<'a> {
    pub(super) fn new(
        db: &'a Connection,
        policy: &'a TaskPolicy,
        now: Timestamp,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            db,
            policy,
            now,
            hints: Vec::new(),
            counts: HashMap::new(),
            bots: HashMap::new(),
        })
    }

    /// Appends to the event log.
    pub(super) fn log(&mut self, entry: &Entry<'_>) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT INTO events (at, action, level, actor, target, result, details, trace_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                self.now.as_millis(),
                entry.action.as_str(),
                rows::level_code(entry.action.level()),
                entry.actor,
                entry.target,
                rows::result_code(entry.result),
                entry.details,
                entry.trace_id,
            ])?;
        Ok(())
    }

    /// Appends an event that somebody else put together.
    pub(super) fn log_event(&mut self, event: &NewEvent) -> rusqlite::Result<()> {
        let details = (!event.details.is_null()).then(|| event.details.to_string());
        self.log(&Entry {
            action: event.action,
            actor: &event.actor,
            target: &event.target,
            result: event.result,
            details: details.as_deref(),
            trace_id: event.trace_id.as_deref(),
        })
    }

    /// Has this told after the commit.
    pub(super) fn hint(&mut self, hint: Hint) {
        self.hints.push(hint);
    }

    /// Counts a task that went from one status to another; `None`: it is new.
    pub(super) fn moved(
        &mut self,
        task_type: &TaskType,
        priority: Priority,
        from: Option<TaskStatus>,
        to: TaskStatus,
    ) {
        if let Some(from) = from {
            *self
                .counts
                .entry((task_type.clone(), priority, from))
                .or_default() -= 1;
        }
        *self
            .counts
            .entry((task_type.clone(), priority, to))
            .or_default() += 1;
    }

    /// Counts an attempt for its bot.
    pub(super) fn count_attempt(&mut self, bot: &BotName, succeeded: bool) {
        let delta = self.bots.entry(bot.clone()).or_default();
        if succeeded {
            delta.completed += 1;
        } else {
            delta.failed += 1;
        }
    }

    /// Writes the counters; what is left are the hints.
    pub(super) fn finish(self) -> rusqlite::Result<Vec<Hint>> {
        if !self.counts.is_empty() {
            let mut add = self.db.prepare_cached(
                "INSERT INTO task_counts (type, priority, status, n) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET n = n + excluded.n",
            )?;
            for ((task_type, priority, status), n) in self.counts.iter().filter(|(_, n)| **n != 0) {
                add.execute(params![
                    task_type.as_str(),
                    priority.rank(),
                    rows::status_code(*status),
                    n
                ])?;
            }
        }
        if !self.bots.is_empty() {
            let mut add = self.db.prepare_cached(
                "UPDATE bots SET tasks_completed = tasks_completed + ?2, tasks_failed = tasks_failed + ?3 WHERE name = ?1",
            )?;
            for (bot, delta) in &self.bots {
                add.execute(params![bot.as_str(), delta.completed, delta.failed])?;
            }
        }
        Ok(self.hints)
    }
}
