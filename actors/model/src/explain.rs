//! Why a task has not started, or where it is.

mod words;

use serde::{Deserialize, Serialize};
pub use words::summary;

use self::words::detail;
use super::{BotFault, BotStatus, Pause, Task, TaskId, TaskStatus, Timestamp};

/// What holds a task, or that nothing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskHold {
    /// It has ended.
    Finished,
    /// A bot works on it.
    Running,
    /// It waits for other tasks.
    WaitsForTasks,
    /// It was submitted for later.
    ScheduledForLater,
    /// An attempt failed, and the delay before the next is not over.
    WaitsForRetry,
    /// The whole queue is paused.
    QueuePaused,
    /// Its type is paused.
    TypePaused,
    /// There is no bot that takes its type.
    NoBotTakesIt,
    /// Bots take its type, but none of them is up.
    BotsAreDown,
    /// Bots take its type, but those that are up cannot carry out tasks now.
    BotsAreAtFault,
    /// The hive restarts, and no attempt begins until it is back.
    HiveRestarts,
    /// The bots that take its type have all places taken.
    BotsAreBusy,
    /// Nothing: it is about to start, or to be its turn.
    AboutToStart,
}

/// A bot that takes the type of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BotFit {
    /// Its name.
    pub id: String,
    /// How it is.
    pub status: BotStatus,
    /// Tasks it has in hand.
    pub in_hand: u32,
    /// Tasks it can have in hand.
    pub places: u32,
    /// Why it cannot carry out tasks now; absent while it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<BotFault>,
}

impl BotFit {
    fn is_up(&self) -> bool {
        matches!(self.status, BotStatus::Healthy | BotStatus::Degraded) && self.fault.is_none()
    }

    fn is_off(&self) -> bool {
        matches!(self.status, BotStatus::Stopped | BotStatus::Offline)
    }
}

/// A task that another one waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AwaitedTask {
    /// The task.
    pub id: TaskId,
    /// Where it is in its life.
    pub status: TaskStatus,
}

/// Why a task has not started, or where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskExplanation {
    /// The task.
    pub task_id: TaskId,
    /// Where it is in its life.
    pub status: TaskStatus,
    /// What holds it.
    pub hold: TaskHold,
    /// The same in a sentence, with what can be done.
    pub detail: String,
    /// Ready tasks of its type and priority before it, counted up to 10,000.
    /// Not told to those who see only tasks of their own.
    pub ahead: Option<u64>,
    /// The tasks that it waits for, the first 100.
    pub waits_for: Vec<AwaitedTask>,
    /// The bots that take its type. Not told to those who see only tasks of
    /// their own.
    pub bots: Vec<BotFit>,
    /// When that changes by itself, if that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// What is known when [`explain`] is asked.
pub struct Facts {
    /// The task.
    pub task: Task,
    /// What is paused.
    pub paused: Vec<Pause>,
    /// The bots that take its type.
    pub bots: Vec<BotFit>,
    /// Ready tasks of its lane before it; `None`: not to be told, and not decided by.
    pub ahead: Option<u64>,
    /// The tasks that it waits for.
    pub waits_for: Vec<AwaitedTask>,
    /// True while the hive makes way for its next start.
    pub restarting: bool,
}

impl Facts {
    /// Returns the bot at fault that tries again first.
    fn faulty(&self) -> Option<(&BotFit, &BotFault)> {
        let faulty = self.bots.iter().filter(|bot| !bot.is_off());
        let faulty = faulty.filter_map(|bot| Some((bot, bot.fault.as_ref()?)));
        faulty.min_by_key(|(_, fault)| fault.next_try_at)
    }
}

/// Says what holds a task.
pub fn explain(facts: Facts) -> TaskExplanation {
    let (hold, until) = hold(&facts);
    TaskExplanation {
        task_id: facts.task.id,
        status: facts.task.status,
        hold,
        detail: detail(hold, &facts),
        ahead: facts.ahead,
        waits_for: facts.waits_for,
        bots: facts.bots,
        until,
    }
}

impl TaskExplanation {
    /// The same without the bots. (How many are ahead was not known in the first place.)
    pub fn for_outsiders(self) -> Self {
        Self {
            bots: Vec::new(),
            ..self
        }
    }
}

fn hold(facts: &Facts) -> (TaskHold, Option<Timestamp>) {
    let task = &facts.task;
    match task.status {
        TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Cancelled => {
            (TaskHold::Finished, None)
        }
        TaskStatus::Running => (TaskHold::Running, None),
        TaskStatus::Pending if task.waiting_for > 0 => (TaskHold::WaitsForTasks, None),
        TaskStatus::Pending if task.failures > 0 => (TaskHold::WaitsForRetry, Some(task.run_at)),
        TaskStatus::Pending => (TaskHold::ScheduledForLater, Some(task.run_at)),
        TaskStatus::Queued => match queued(facts) {
            TaskHold::BotsAreAtFault => {
                let at = facts.faulty().and_then(|(_, fault)| fault.next_try_at);
                (TaskHold::BotsAreAtFault, at)
            }
            hold => (hold, None),
        },
    }
}

fn queued(facts: &Facts) -> TaskHold {
    let task_type = &facts.task.task_type;
    let mut pauses = facts.paused.iter();
    if pauses.clone().any(|pause| pause.task_type.is_none()) {
        TaskHold::QueuePaused
    } else if pauses.any(|pause| pause.holds(task_type)) {
        TaskHold::TypePaused
    } else if facts.bots.is_empty() {
        TaskHold::NoBotTakesIt
    } else if facts.bots.iter().all(BotFit::is_off) {
        TaskHold::BotsAreDown
    } else if facts.restarting {
        TaskHold::HiveRestarts
    } else if !facts.bots.iter().any(BotFit::is_up) {
        match facts.faulty() {
            Some(_) => TaskHold::BotsAreAtFault,
            None => TaskHold::BotsAreDown,
        }
    } else if facts
        .bots
        .iter()
        .filter(|bot| bot.is_up())
        .all(|bot| bot.in_hand >= bot.places)
        || facts.ahead.is_some_and(|ahead| ahead > 0)
    {
        TaskHold::BotsAreBusy
    } else {
        TaskHold::AboutToStart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(task: Task) -> Facts {
        let bot = BotFit {
            id: "b".into(),
            status: BotStatus::Healthy,
            in_hand: 0,
            places: 1,
            fault: None,
        };
        Facts {
            task,
            paused: vec![],
            bots: vec![bot],
            ahead: Some(0),
            waits_for: vec![],
            restarting: false,
        }
    }

    fn fault() -> Option<BotFault> {
        Some(BotFault {
            reason: "the program /x is not there".into(),
            in_a_row: 3,
            since: Timestamp::from_millis(0),
            next_try_at: Some(Timestamp::from_millis(60_000)),
        })
    }

    #[test]
    fn fault_of_the_bot_is_named_with_its_next_try_but_not_to_outsiders() {
        let mut of = facts(Task::sample());
        of.bots[0].status = BotStatus::Failing;
        of.bots[0].fault = fault();
        of.bots[0].in_hand = 0;
        let told = explain(of);
        for part in [
            "bot b",
            "the program /x is not there",
            "1970-01-01T00:01:00",
            "deia bot show b",
        ] {
            assert!(told.detail.contains(part), "{part}: {}", told.detail);
        }
        assert_eq!(told.until, Some(Timestamp::from_millis(60_000)));
        let mut of = facts(Task::sample());
        of.bots[0].fault = fault();
        of.ahead = None;
        let told = explain(of).for_outsiders();
        assert_eq!(told.hold, TaskHold::BotsAreAtFault);
        assert!(!told.detail.contains("/x") && !told.detail.contains("bot b"));
    }

    fn pause(task_type: Option<&str>) -> Pause {
        Pause {
            task_type: task_type.map(|t| t.parse().unwrap()),
            since: Timestamp::from_millis(0),
            by: "ada".into(),
            reason: None,
        }
    }

    #[test]
    fn each_hold_has_its_facts() {
        type Case = (TaskHold, fn(&mut Facts));
        let cases: [Case; 17] = [
            (TaskHold::AboutToStart, |_| ()),
            (TaskHold::Finished, |f| f.task.status = TaskStatus::Failed),
            (TaskHold::Running, |f| f.task.status = TaskStatus::Running),
            (TaskHold::WaitsForTasks, |f| {
                f.task.status = TaskStatus::Pending;
                f.task.waiting_for = 2;
            }),
            (TaskHold::ScheduledForLater, |f| {
                f.task.status = TaskStatus::Pending;
            }),
            (TaskHold::WaitsForRetry, |f| {
                f.task.status = TaskStatus::Pending;
                f.task.failures = 1;
            }),
            (TaskHold::QueuePaused, |f| {
                f.paused = vec![pause(None), pause(Some("general"))];
            }),
            (TaskHold::TypePaused, |f| {
                f.paused = vec![pause(Some("general"))];
            }),
            (TaskHold::NoBotTakesIt, |f| f.bots.clear()),
            (TaskHold::BotsAreDown, |f| {
                f.bots[0].status = BotStatus::Stopped;
            }),
            (TaskHold::BotsAreAtFault, |f| f.bots[0].fault = fault()),
            (TaskHold::BotsAreDown, |f| {
                f.bots[0].fault = fault();
                f.bots[0].status = BotStatus::Stopped;
            }),
            (TaskHold::AboutToStart, |f| {
                let mut other = f.bots[0].clone();
                other.fault = fault();
                f.bots.push(other);
            }),
            (TaskHold::HiveRestarts, |f| f.restarting = true),
            (TaskHold::BotsAreBusy, |f| f.bots[0].in_hand = 1),
            (TaskHold::BotsAreBusy, |f| f.ahead = Some(5)),
            (TaskHold::AboutToStart, |f| f.ahead = None),
        ];
        for (expected, change) in cases {
            let mut facts = facts(Task::sample());
            change(&mut facts);
            let said = explain(facts);
            assert_eq!(said.hold, expected, "{said:?}");
            assert!(!said.detail.is_empty());
        }
        let mut other = facts(Task::sample());
        other.paused = vec![pause(Some("other"))];
        assert_eq!(explain(other).hold, TaskHold::AboutToStart);
    }
}
