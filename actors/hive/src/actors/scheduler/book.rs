//! The bots with their places, as the scheduler and the store's writer share
//! them: so that a task can be given away in the transaction that brings it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use deia_ledger::{ClaimedTask, Offers, Seat, failpoint};
use deia_model::{BotName, LeaseToken, Pause, TaskType};
use deia_supervision::Handle;

use super::{BookChanged, claims::Claimed, roster::Roster};
use crate::{
    actors::bots::{BotActor, Run},
    metrics::SchedulerMetrics,
};

/// The bots with their places. Locked for moments only, never across I/O.
pub(crate) struct SeatBook {
    book: Mutex<Book>,
    metrics: Arc<SchedulerMetrics>,
}

/// What is in it.
#[derive(Default)]
pub(super) struct Book {
    pub(super) roster: Roster,
    pub(super) bots: HashMap<BotName, Handle<BotActor>>,
    /// Types with tasks that wait already: these go first.
    pub(super) waiting: HashSet<TaskType>,
    /// What is not started. The store has the last word.
    pub(super) paused: Vec<Pause>,
    /// Claimed tasks that their bots could not be handed.
    pub(super) undelivered: Vec<ClaimedTask>,
    /// What came of claims, for the scheduler.
    pub(super) claimed: Vec<Claimed>,
    /// True once a scheduler has read the queue: tasks may be given away as they come.
    pub(super) open: bool,
    /// True once the hive stops and no attempt may begin any more. Kept here, so that a
    /// scheduler that is restarted meanwhile does not forget it.
    pub(super) quiescing: bool,
    /// Who is told when a place is free again.
    pub(super) scheduler: Option<Handle<super::Scheduler>>,
}

impl SeatBook {
    pub(crate) fn new(metrics: Arc<SchedulerMetrics>) -> Self {
        Self {
            book: Mutex::default(),
            metrics,
        }
    }

    /// Begins no attempt any more. Claims that are under way still go to their bots.
    pub(crate) fn quiesce(&self) {
        self.lock().quiescing = true;
    }

    /// Tasks that were given to a bot and are on their way to it.
    pub(crate) fn pending(&self) -> u64 {
        self.lock().roster.pending()
    }

    /// Opens it.
    pub(super) fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Makes it the book of a new scheduler. Bots are offered nothing until they
    /// have said that they still take tasks; what they have in hand, and what is
    /// on its way to them, stays counted.
    pub(super) fn begin(&mut self, scheduler: Handle<super::Scheduler>) {
        self.roster.unconfirm();
        self.waiting.clear();
        self.paused.clear();
        self.claimed.clear();
        self.open = false;
        self.scheduler = Some(scheduler);
    }

    /// Forgets bots that have been gone for long.
    pub(super) fn look(&mut self) {
        for bot in self.roster.look() {
            self.bots.remove(&bot);
        }
    }

    /// Hands tasks to a bot in one message. What cannot be handed over is kept
    /// for the scheduler, and the bot gets nothing more before its next heartbeat.
    fn deliver(&mut self, bot: &BotName, epoch: u64, tasks: Vec<ClaimedTask>) {
        let count = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        let run = Run { epoch, tasks };
        let handle = self.bots.get(bot);
        let undelivered = match handle.filter(|_| self.roster.may_have(bot, epoch)) {
            Some(handle) => handle
                .tell(run)
                .err()
                .map(deia_supervision::TellError::into_inner),
            None => Some(run),
        };
        match undelivered {
            None => self.roster.delivered(bot, epoch, count),
            Some(Run { tasks, .. }) => {
                self.roster.close(bot, epoch);
                self.roster.unseat(bot, epoch, count);
                self.undelivered.extend(tasks);
                self.wake();
            }
        }
    }

    /// Hands what was claimed to its bots, each bot's tasks in one message. This
    /// is not the scheduler's to do: it may have stopped meanwhile.
    pub(super) fn deliver_all(&mut self, tasks: impl IntoIterator<Item = (u64, ClaimedTask)>) {
        let mut by_bot: HashMap<(BotName, u64), Vec<ClaimedTask>> = HashMap::new();
        for (epoch, task) in tasks {
            let bot = task.bot.clone();
            by_bot.entry((bot, epoch)).or_default().push(task);
        }
        for ((bot, epoch), tasks) in by_bot {
            self.deliver(&bot, epoch, tasks);
        }
    }

    /// Has the scheduler look at the book. Should the message find no room: it
    /// also looks by itself.
    pub(super) fn wake(&self) {
        let _ = self.scheduler.as_ref().map(|s| s.tell(BookChanged));
    }
}

impl Offers for SeatBook {
    fn take(&self, task_type: &TaskType) -> Option<Seat> {
        let mut book = self.lock();
        let held = !book.open
            || book.quiescing
            || book.waiting.contains(task_type)
            || book.paused.iter().any(|pause| pause.holds(task_type));
        if held {
            return None;
        }
        let (bot, epoch) = book.roster.seat(task_type)?;
        book.roster.given(&bot, false);
        Some(Seat {
            bot,
            epoch,
            lease: LeaseToken::new(),
        })
    }

    fn claimed(&self, tasks: Vec<(Seat, ClaimedTask)>) {
        failpoint::hit("after_claim_before_run");
        self.metrics.assigned.add(tasks.len() as u64);
        let tasks = tasks.into_iter().map(|(seat, task)| (seat.epoch, task));
        self.lock().deliver_all(tasks);
    }

    fn release(&self, seats: Vec<Seat>) {
        let mut book = self.lock();
        for Seat { bot, epoch, .. } in seats {
            book.roster.unseat(&bot, epoch, 1);
        }
        book.wake();
    }
}
