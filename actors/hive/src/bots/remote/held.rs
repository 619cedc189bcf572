//! Attempts on a desk: which wait for a worker, which are at one, and since when that was last
//! heard of. Pure: the time is an argument.
//!
//! A poll, a report and the end of an attempt take the same time however many attempts lie here;
//! only the look of each heartbeat, once for all, visits every one.

mod queue;
mod workers;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use deia_ledger::{ClaimedTask, HeldLease};
use deia_model::{AttemptEnd, LeaseToken};
use tokio::sync::oneshot;

use self::{queue::Queue, workers::Workers};
use super::pieces::Pieces;
use crate::bots::{attempt::ExecutionResult, bot::AttemptKey, progress::Progress};

/// The end of an attempt on a desk.
pub(super) enum HeldEnd {
    /// The worker reported the end, which is recorded; carries what it says of the bot.
    Reported(Box<ExecutionResult>),
    /// No worker asked for the attempt.
    NotFetched,
    /// The worker was not heard of any more; the attempt ends so.
    Vanished {
        end: AttemptEnd,
        worker: Option<String>,
    },
    /// The store has ended the lease.
    LeaseLost,
}

/// An attempt on a desk.
pub(super) struct OnTable {
    pub(super) lease: LeaseToken,
    /// Task for the worker; `None` if an earlier start of the hive gave it out.
    pub(super) task: Option<Arc<ClaimedTask>>,
    pub(super) end: oneshot::Sender<HeldEnd>,
    pub(super) progress: Progress,
    /// Output so far; `None` before the first piece.
    pub(super) pieces: Option<Pieces>,
    pub(super) place: Place,
    /// Time at which the lease was last written to the store.
    pub(super) renewed: Instant,
    /// Reason of a requested cancellation.
    pub(super) cancelled: Option<Arc<str>>,
    pub(super) began: Instant,
}

/// The place of an attempt.
pub(super) enum Place {
    /// On the desk since that time.
    Waiting(Instant),
    /// At a worker.
    Out(Out),
}

pub(super) struct Out {
    /// Name of the worker, if it has given one.
    pub(super) worker: Option<String>,
    /// Request of the worker that was answered with the attempt.
    pub(super) request: Option<String>,
    /// Time of its last sign of life.
    pub(super) heard: Instant,
    /// False until the worker was heard of after this start of the hive.
    pub(super) is_known: bool,
}

/// The attempts of a bot.
#[derive(Default)]
pub(super) struct HeldAttempts {
    pub(super) all: HashMap<AttemptKey, OnTable>,
    /// Attempts that wait, the oldest first.
    pub(super) waiting: Queue,
    workers: Workers,
}

/// A worker that asks for tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asker {
    pub(crate) worker: Option<String>,
    pub(crate) request: Option<String>,
}

impl HeldAttempts {
    /// Gives up to `max` waiting attempts to a worker. A suspect is given alone, and only to a
    /// worker that has nothing else.
    pub(super) fn give(
        &mut self,
        asker: &Asker,
        max: usize,
        now: Instant,
    ) -> Vec<Arc<ClaimedTask>> {
        let mut given = Vec::new();
        let mut put_back = Vec::new();
        while given.len() < max
            && let Some((turn, key)) = self.waiting.pop_front()
        {
            let Some(task) = self.all.get(&key).and_then(|held| held.task.clone()) else {
                continue;
            };
            let is_suspect = task.task.toll().runs_alone();
            if is_suspect && !(given.is_empty() && self.is_idle(asker)) {
                put_back.push((turn, key));
                continue;
            }
            let Some(held) = self.all.get_mut(&key) else {
                continue;
            };
            let out = Out {
                worker: asker.worker.clone(),
                request: asker.request.clone(),
                heard: now,
                is_known: true,
            };
            self.workers.add(key, &out);
            held.place = Place::Out(out);
            given.push(task);
            if is_suspect {
                break;
            }
        }
        for (turn, key) in put_back {
            self.waiting.put_back(turn, key);
        }
        given
    }

    /// Returns the attempts that a request of a worker was answered with and that still run: its
    /// answer may have been lost.
    pub(super) fn given_before(&self, asker: &Asker) -> Vec<Arc<ClaimedTask>> {
        let its = self.workers.answer(asker).iter();
        let mut its: Vec<_> = its
            .filter_map(|key| self.all.get(key)?.task.clone())
            .collect();
        its.sort_by_key(|claimed| claimed.task.id);
        its
    }

    /// Returns whether a worker has no attempts. One without a name is not known to have any.
    fn is_idle(&self, asker: &Asker) -> bool {
        let worker = asker.worker.as_ref();
        worker.is_none_or(|worker| self.workers.count(worker) == 0)
    }

    /// Adds an attempt that waits for a worker.
    pub(super) fn add_waiting(&mut self, key: AttemptKey, held: OnTable) {
        drop(self.remove(key));
        self.all.insert(key, held);
        self.waiting.push_back(key);
    }

    /// Removes an attempt.
    pub(super) fn remove(&mut self, key: AttemptKey) -> Option<OnTable> {
        let held = self.all.remove(&key)?;
        match &held.place {
            Place::Waiting(_) => self.waiting.remove(key),
            Place::Out(out) => self.workers.remove(key, out),
        }
        Some(held)
    }

    /// Removes the attempts whose worker was not heard of for `lease`, and those that no worker
    /// asked for, each with its end.
    pub(super) fn take_lost(&mut self, lease: Duration, now: Instant) -> Vec<(OnTable, HeldEnd)> {
        let is_late = |since: Instant| now.saturating_duration_since(since) >= lease;
        let lost: Vec<AttemptKey> = self
            .all
            .iter()
            .filter(|(_, held)| match &held.place {
                Place::Waiting(since) => is_late(*since),
                Place::Out(out) => is_late(out.heard),
            })
            .map(|(key, _)| *key)
            .collect();
        let ends: Vec<HeldEnd> = lost.iter().map(|key| self.end_of(*key)).collect();
        let taken = lost.into_iter().filter_map(|key| self.remove(key));
        taken.zip(ends).collect()
    }

    /// Returns the end of an attempt that is given up. A worker that had nothing else may have
    /// died of it; one that had others may have died of any.
    fn end_of(&self, key: AttemptKey) -> HeldEnd {
        let Some(Place::Out(out)) = self.all.get(&key).map(|held| &held.place) else {
            return HeldEnd::NotFetched;
        };
        let end = match (out.is_known, &out.worker) {
            // The hive itself was away.
            (false, _) => AttemptEnd::GivenBack,
            (true, Some(worker)) if self.workers.count(worker) > 1 => AttemptEnd::Suspected,
            // Without names each attempt counts as a worker of its own.
            (true, _) => AttemptEnd::BotDied,
        };
        HeldEnd::Vanished {
            end,
            worker: out.worker.clone(),
        }
    }

    /// Returns the leases to write to the store again: their workers were heard of, and a third of
    /// the time has passed.
    pub(super) fn take_due(&mut self, every: Duration, now: Instant) -> Vec<HeldLease> {
        let mut due = Vec::new();
        for (key, held) in &mut self.all {
            let was_heard = match &held.place {
                Place::Waiting(_) => true,
                Place::Out(out) => out.heard > held.renewed,
            };
            if was_heard && now.saturating_duration_since(held.renewed) >= every {
                held.renewed = now;
                due.push(HeldLease {
                    task: key.task,
                    attempt: key.number,
                    lease: held.lease,
                });
            }
        }
        due
    }
}

#[cfg(test)]
mod tests;
