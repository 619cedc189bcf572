//! Explanations of the state of a task: the reason why it has not started.

mod words;

use serde::{Deserialize, Serialize};
pub use words::summary;

use self::words::detail;
use super::{BotFault, BotStatus, Pause, Task, TaskId, TaskStatus, Timestamp};

/// The reason why a task does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskHold {
    /// The task has ended.
    Finished,
    /// The task is running on a bot.
    Running,
    /// The task waits for other tasks.
    WaitsForTasks,
    /// The task was submitted for a later time.
    ScheduledForLater,
    /// An attempt failed, and the delay before the next one is not over.
    WaitsForRetry,
    /// The whole queue is paused.
    QueuePaused,
    /// The type of the task is paused.
    TypePaused,
    /// No bot takes the type of the task.
    NoBotTakesIt,
    /// Bots take the type of the task, but none of them is up.
    BotsAreDown,
    /// Bots take the type of the task, but those that are up cannot carry out tasks
    /// now.
    BotsAreAtFault,
    /// The hive is restarting, and no attempt begins until it is back.
    HiveRestarts,
    /// All bots that take the type of the task are at their limit.
    BotsAreBusy,
    /// No reason: the task is about to start, or queued behind others.
    AboutToStart,
}

/// A bot that takes the type of the task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BotFit {
    /// The name of the bot.
    pub id: String,
    /// The observed state of the bot.
    pub status: BotStatus,
    /// Number of tasks that the bot runs.
    pub in_hand: u32,
    /// Number of tasks that the bot can run at a time.
    pub places: u32,
    /// Fault that keeps the bot from carrying out tasks; absent if there is none.
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

/// A task that another task waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AwaitedTask {
    /// The task.
    pub id: TaskId,
    /// The status of the task.
    pub status: TaskStatus,
}

/// An explanation of the state of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskExplanation {
    /// The task.
    pub task_id: TaskId,
    /// The status of the task.
    pub status: TaskStatus,
    /// The reason why the task does not start.
    pub hold: TaskHold,
    /// The same in a sentence, with possible remedies.
    pub detail: String,
    /// Number of ready tasks of the same type and priority before this one, counted up
    /// to 10,000. Not shown to callers who see only their own tasks.
    pub ahead: Option<u64>,
    /// The tasks that this one waits for, the first 100.
    pub waits_for: Vec<AwaitedTask>,
    /// The bots that take the type of the task. Not shown to callers who see only their
    /// own tasks.
    pub bots: Vec<BotFit>,
    /// Time at which the state changes without intervention, if known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// The facts that [`explain`] decides on.
pub struct Facts {
    /// The task.
    pub task: Task,
    /// The pauses in force.
    pub paused: Vec<Pause>,
    /// The bots that take the type of the task.
    pub bots: Vec<BotFit>,
    /// Number of ready tasks of the same lane before this one; `None`: hidden from the
    /// caller, and not considered.
    pub ahead: Option<u64>,
    /// The tasks that this one waits for.
    pub waits_for: Vec<AwaitedTask>,
    /// True while the hive is stopping for its next start.
    pub restarting: bool,
}

impl Facts {
    /// Returns the bot with a fault whose next try comes first.
    fn faulty(&self) -> Option<(&BotFit, &BotFault)> {
        let faulty = self.bots.iter().filter(|bot| !bot.is_off());
        let faulty = faulty.filter_map(|bot| Some((bot, bot.fault.as_ref()?)));
        faulty.min_by_key(|(_, fault)| fault.next_try_at)
    }
}

/// Explains the state of a task.
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
    /// Returns the explanation without the bots. (For outsiders, the number of tasks
    /// ahead is not looked up in the first place.)
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
    fn faults_of_bots_are_explained_but_not_to_outsiders() {
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
    fn each_reason_follows_from_its_facts() {
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
