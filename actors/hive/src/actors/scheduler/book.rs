//! The bots with their places, as the scheduler and the store's writer share
//! them: so that a task can be given away in the transaction that brings it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use deia_ledger::{ClaimedTask, Offers, Seat, failpoint};
use deia_model::{BotGeneration, BotName, BotRecord, LeaseToken, Pause, TaskType};
use deia_supervision::Handle;

use super::{
    BookChanged, SeatOpened,
    claims::Claimed,
    roster::{Presence, Roster},
};
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
    /// Bots that changed since the read of all bots that is under way began.
    changed: Option<HashSet<BotName>>,
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

    /// Notes which generation of a bot may be given tasks. Called on the writer's thread,
    /// right after the commit that changed it and before the next one.
    pub(crate) fn bot_changed(&self, bot: &BotName, eligible: Option<BotGeneration>) {
        let mut book = self.lock();
        if let Some(changed) = &mut book.changed {
            changed.insert(bot.clone());
        }
        if book.roster.set_eligible(bot, eligible) {
            book.wake();
        }
    }

    /// Notes that all bots are going to be read from the store.
    pub(crate) fn begin_reading(&self) {
        self.lock().changed = Some(HashSet::new());
    }

    /// Takes in the bots as they were read: those that the store has from an earlier
    /// run, and whatever a lost hint has told. Of bots that changed meanwhile the book
    /// knows better.
    pub(crate) fn bots_read(&self, bots: &[BotRecord]) {
        self.lock().bots_read(bots);
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

    /// Takes in a sign of life. Returns `true` if the bot may have room that it had not
    /// before.
    pub(super) fn opened(&mut self, seat: SeatOpened) -> bool {
        let (bot, epoch) = (seat.bot.clone(), seat.epoch);
        let has_room_now = self.roster.open(Presence {
            bot: seat.bot,
            epoch,
            generation: seat.generation,
            capabilities: seat.capabilities,
            received: seat.received,
            ended: seat.ended,
        });
        if self.roster.epoch(&bot) == Some(epoch) {
            self.bots.insert(bot, seat.handle);
        }
        has_room_now
    }

    fn bots_read(&mut self, bots: &[BotRecord]) {
        let Some(changed) = self.changed.take() else {
            return;
        };
        let read: HashMap<&BotName, Option<BotGeneration>> =
            bots.iter().map(|bot| (&bot.name, bot.eligible())).collect();
        let known: Vec<BotName> = self.roster.eligible().cloned().collect();
        let names: HashSet<&BotName> = read.keys().copied().chain(&known).collect();
        let mut has_room_now = false;
        for bot in names.into_iter().filter(|bot| !changed.contains(*bot)) {
            let eligible = read.get(bot).copied().flatten();
            has_room_now |= self.roster.set_eligible(bot, eligible);
        }
        if has_room_now {
            self.wake();
        }
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

    fn withholds(&self, bot: &BotName) -> bool {
        self.lock().roster.withholds(bot)
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

#[cfg(test)]
mod tests {
    use deia_model::{BotDesired, BotSpec, Capabilities, Executor, SimulatedExecutor, Timestamp};

    use super::*;

    fn record(name: &str, desired: BotDesired, version: u64) -> BotRecord {
        BotRecord {
            name: name.parse().unwrap(),
            spec: BotSpec {
                executor: Executor::Simulated(SimulatedExecutor::default()),
                capabilities: Capabilities::default(),
                secrets: Default::default(),
            },
            desired,
            version,
            port: 1,
            created_at: Timestamp::from_millis(0),
            launched_at: Some(Timestamp::from_millis(1)),
            tasks_completed: 0,
            tasks_failed: 0,
        }
    }

    fn eligible(book: &SeatBook) -> Vec<String> {
        let book = book.lock();
        let mut names: Vec<_> = book.roster.eligible().map(BotName::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn read_of_all_bots_changes_only_those_that_no_commit_has_changed_meanwhile() {
        use BotDesired::{Draining, Launched, Stopped};
        let book = SeatBook::new(Arc::default());
        let changed = |record: &BotRecord| book.bot_changed(&record.name, record.eligible());
        let launched = |name| record(name, Launched, 1);
        for name in ["deleted", "lost", "stays"] {
            changed(&launched(name));
        }
        book.bots_read(&[]);
        assert_eq!(
            eligible(&book),
            ["deleted", "lost", "stays"],
            "no read began"
        );
        book.begin_reading();
        // Commits that came after the read was made, and before it is taken in.
        changed(&launched("new"));
        changed(&record("stopped", Stopped, 1));
        book.bots_read(&[
            launched("earlier"),
            record("lost", Draining, 1),
            launched("stays"),
            launched("stopped"),
        ]);
        assert_eq!(eligible(&book), ["earlier", "new", "stays"]);
        book.bots_read(&[]);
        assert_eq!(eligible(&book).len(), 3, "a read counts once");
    }
}
