//! Why a task has not started, or where it is.

use serde::{Deserialize, Serialize};

use super::{BotFault, BotStatus, EndReason, Pause, Task, TaskId, TaskStatus, Timestamp};

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

fn detail(hold: TaskHold, facts: &Facts) -> String {
    let task = &facts.task;
    let task_type = &task.task_type;
    match hold {
        TaskHold::Finished => ended(task),
        TaskHold::Running => match &task.assigned_bot {
            Some(bot) => format!("bot {bot} works on it, attempt {}", task.attempt),
            None => "a bot works on it".into(),
        },
        TaskHold::WaitsForTasks => format!(
            "it waits for {} of the tasks that it depends on",
            task.waiting_for
        ),
        TaskHold::ScheduledForLater => format!("it starts no earlier than {}", task.run_at),
        TaskHold::WaitsForRetry => format!(
            "{} of {} attempts failed; the next one starts no earlier than {}",
            task.failures, task.max_attempts, task.run_at
        ),
        TaskHold::QueuePaused => {
            "the queue is paused; `deia queue resume` starts tasks again".into()
        }
        TaskHold::TypePaused => format!(
            "tasks of type {task_type} are paused; `deia queue resume --type {task_type}` starts them again"
        ),
        TaskHold::NoBotTakesIt => format!(
            "no bot takes tasks of type {task_type}; add one with this type among its specializations, or with none"
        ),
        TaskHold::BotsAreDown => format!(
            "none of the bots that take tasks of type {task_type} is up; `deia bot launch` starts one"
        ),
        TaskHold::BotsAreAtFault => at_fault(facts),
        TaskHold::HiveRestarts => "the hive restarts; it starts afterwards".into(),
        TaskHold::BotsAreBusy if facts.ahead.is_none() => {
            format!("the bots that take tasks of type {task_type} are busy")
        }
        TaskHold::BotsAreBusy => format!(
            "the bots that take tasks of type {task_type} are busy, or others of its priority are before it"
        ),
        TaskHold::AboutToStart if facts.ahead.is_none() => {
            "nothing holds it; it starts when it is its turn".into()
        }
        TaskHold::AboutToStart => "nothing holds it; it is about to start".into(),
    }
}

/// Explains a wait for bots that cannot carry out tasks. Outsiders are not told of bots.
fn at_fault(facts: &Facts) -> String {
    let (Some((bot, fault)), Some(_)) = (facts.faulty(), facts.ahead) else {
        let task_type = &facts.task.task_type;
        return format!(
            "the bots that take tasks of type {task_type} cannot carry out tasks now; they try again by themselves"
        );
    };
    let again = match fault.next_try_at {
        Some(at) => format!("it tries again at {at}"),
        None => "it tries again by itself".into(),
    };
    format!(
        "bot {id} takes it and cannot carry out tasks: {reason}; {again}; see `deia bot show {id}`",
        id = bot.id,
        reason = summary(&fault.reason),
    )
}

/// Explains the end of a task.
fn ended(task: &Task) -> String {
    let how = match (task.status, task.end_reason) {
        (TaskStatus::Completed, _) => return "it completed".into(),
        (TaskStatus::Cancelled, Some(EndReason::Cancelled) | None) => {
            let by = task
                .last_error
                .as_deref()
                .and_then(|it| it.strip_prefix("cancelled"));
            return format!("it was cancelled{}", by.unwrap_or_default());
        }
        (TaskStatus::Cancelled, Some(reason)) => format!("it was cancelled: {}", because(reason)),
        (_, Some(EndReason::Attempts)) => {
            let used = match task.failures {
                1 => "its only attempt was".to_owned(),
                n => format!("its {n} attempts were"),
            };
            format!("it failed: {used} used up")
        }
        (_, Some(reason)) => format!("it failed: {}", because(reason)),
        (_, None) => "it failed".into(),
    };
    match task.last_error.as_deref().map(summary).as_deref() {
        None | Some("") => how,
        Some(last) => format!("{how}; last: {last}"),
    }
}

/// Returns an error in one line. Of one that ends with the last lines of a program's
/// standard error, that is what happened, and the very last of these lines.
pub fn summary(error: &str) -> String {
    let mut lines = error.lines().filter(|line| !line.trim().is_empty());
    let (first, last) = (lines.next().unwrap_or_default(), lines.next_back());
    match (first.split_once(": "), last) {
        (_, None) => first.trim_end().to_owned(),
        (Some((happened, _)), Some(last)) => format!("{happened}: {}", last.trim()),
        (None, Some(last)) => format!("{}: {}", first.trim_end(), last.trim()),
    }
}

fn because(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Attempts => "its attempts were used up",
        EndReason::Poison => "it took too many bots down",
        EndReason::Expired => "it did not start in time",
        EndReason::Dependency => "a task that it depends on did not complete",
        EndReason::Cancelled => "somebody cancelled it",
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
