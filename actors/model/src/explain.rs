//! Explanations of the state of a task: the reason why it has not started.

mod words;

use serde::{Deserialize, Serialize};
pub use words::summary;

use self::words::detail;
use super::{
    BotCircuit, BotFault, BotPause, BotStatus, Pause, Task, TaskId, TaskStatus, Timestamp,
};

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
    /// Bots take the type of the task, but those that are up have failed too often and
    /// take no tasks for a while.
    BotsAreCutOff,
    /// Bots take the type of the task, but those that are up take no tasks for a while at
    /// the wish of their services or providers.
    BotsArePaused,
    /// Bots take the type of the task, but those that are up cannot be reached.
    BotsAreUnreachable,
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
    /// Bot whose tasks it takes now, if it takes the task for that reason only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_in_for: Option<String>,
    /// Number of tasks that the bot runs.
    pub in_hand: u32,
    /// Number of tasks that the bot can run at a time.
    pub places: u32,
    /// Fault that keeps the bot from carrying out tasks; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<BotFault>,
    /// Circuit of the bot, if it is not closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit: Option<BotCircuit>,
    /// Pause of the bot; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<BotPause>,
    /// Reason why the bot cannot be reached; absent if it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<String>,
}

impl BotFit {
    fn is_up(&self) -> bool {
        matches!(self.status, BotStatus::Healthy | BotStatus::Degraded) && self.fault.is_none()
    }

    fn is_cut_off(&self) -> bool {
        self.circuit.as_ref().is_some_and(BotCircuit::is_open)
    }

    /// Returns whether the bot is up and nothing keeps tasks from it.
    fn takes_tasks(&self) -> bool {
        let is_kept = self.pause.is_some() || self.unreachable.is_some();
        self.is_up() && !is_kept && !self.is_cut_off()
    }

    /// Returns whether the bot runs all that it may. Behind a half-open circuit that is one
    /// task.
    fn is_busy(&self) -> bool {
        let places = match self.circuit {
            Some(_) => self.places.min(1),
            None => self.places,
        };
        self.in_hand >= places
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

impl Facts {
    /// Returns the bot whose pause ends first.
    fn paused_bot(&self) -> Option<(&BotFit, &BotPause)> {
        let paused = self.bots.iter().filter(|bot| bot.is_up());
        let paused = paused.filter_map(|bot| Some((bot, bot.pause.as_ref()?)));
        paused.min_by_key(|(_, pause)| pause.until)
    }

    /// Returns a bot that cannot be reached, and the reason.
    fn unreachable(&self) -> Option<(&BotFit, &str)> {
        let mut up = self.bots.iter().filter(|bot| bot.is_up());
        up.find_map(|bot| Some((bot, bot.unreachable.as_deref()?)))
    }

    /// Returns the bot with an open circuit whose next try comes first.
    fn cut_off(&self) -> Option<(&BotFit, &BotCircuit)> {
        let cut_off = self.bots.iter().filter(|bot| bot.is_up());
        let cut_off = cut_off.filter_map(|bot| Some((bot, bot.circuit.as_ref()?)));
        cut_off
            .filter(|(_, circuit)| circuit.is_open())
            .min_by_key(|(_, circuit)| circuit.until)
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
            TaskHold::BotsAreCutOff => {
                let at = facts.cut_off().and_then(|(_, circuit)| circuit.until);
                (TaskHold::BotsAreCutOff, at)
            }
            TaskHold::BotsArePaused => {
                let at = facts.paused_bot().map(|(_, pause)| pause.until);
                (TaskHold::BotsArePaused, at)
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
    } else if !facts.bots.iter().any(BotFit::takes_tasks) {
        // A hold that ends by itself is named first.
        match (facts.cut_off(), facts.paused_bot(), facts.unreachable()) {
            (Some(_), ..) => TaskHold::BotsAreCutOff,
            (None, Some(_), _) => TaskHold::BotsArePaused,
            _ => TaskHold::BotsAreUnreachable,
        }
    } else if facts
        .bots
        .iter()
        .filter(|bot| bot.takes_tasks())
        .all(BotFit::is_busy)
        || facts.ahead.is_some_and(|ahead| ahead > 0)
    {
        TaskHold::BotsAreBusy
    } else {
        TaskHold::AboutToStart
    }
}

#[cfg(test)]
mod tests;
