//! Explanations in words.

use super::{Facts, TaskHold};
use crate::{EndReason, Task, TaskStatus};

/// Returns a sentence with the reason why a task does not start, and possible remedies.
pub(super) fn detail(hold: TaskHold, facts: &Facts) -> String {
    let reason = reason(hold, facts);
    match (facts.task.status, stand_in(facts)) {
        (TaskStatus::Queued, Some(stand_in)) => format!("{reason}; {stand_in}"),
        _ => reason,
    }
}

/// Tells which bot takes the task instead of another one. Outsiders are not shown the bots.
fn stand_in(facts: &Facts) -> Option<String> {
    facts.ahead?;
    let mut bots = facts.bots.iter();
    bots.find_map(|bot| {
        let other = bot.stands_in_for.as_ref()?;
        Some(format!(
            "bot {} takes it as a fallback bot of {other}, which takes no tasks now",
            bot.id
        ))
    })
}

fn reason(hold: TaskHold, facts: &Facts) -> String {
    let task = &facts.task;
    let task_type = &task.task_type;
    match hold {
        TaskHold::Finished => ended(task),
        TaskHold::Running => match &task.assigned_bot {
            Some(bot) => format!("running on bot {bot}, attempt {}", task.attempt),
            None => "running on a bot".into(),
        },
        TaskHold::WaitsForTasks => format!(
            "the task waits for {} of the tasks that it depends on",
            task.waiting_for
        ),
        TaskHold::ScheduledForLater => format!("the task starts no earlier than {}", task.run_at),
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
        TaskHold::BotsAreCutOff => cut_off(facts),
        TaskHold::BotsArePaused => paused(facts),
        TaskHold::BotsAreUnreachable => unreachable(facts),
        TaskHold::HiveRestarts => "the hive is restarting; the task starts afterwards".into(),
        TaskHold::BotsAreBusy if facts.ahead.is_none() => {
            format!("the bots that take tasks of type {task_type} are busy")
        }
        TaskHold::BotsAreBusy => format!(
            "the bots that take tasks of type {task_type} are busy, or other tasks of the same priority are ahead"
        ),
        TaskHold::AboutToStart if facts.ahead.is_none() => {
            "nothing holds the task; it starts when its turn comes".into()
        }
        TaskHold::AboutToStart => "nothing holds the task; it is about to start".into(),
    }
}

/// Explains a wait for bots with faults. Outsiders are not shown the bots.
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
        "bot {id} takes the task but cannot carry out tasks: {reason}; {again}; see `deia bot show {id}`",
        id = bot.id,
        reason = summary(&fault.reason),
    )
}

/// Explains a wait for bots with open circuits. Outsiders are not shown the bots.
fn cut_off(facts: &Facts) -> String {
    let (Some((bot, circuit)), Some(_)) = (facts.cut_off(), facts.ahead) else {
        let task_type = &facts.task.task_type;
        return format!(
            "the bots that take tasks of type {task_type} have failed too often and take none for a while; they try again by themselves"
        );
    };
    let again = match circuit.until {
        Some(at) => format!("it tries one task again at {at}"),
        None => "it tries again by itself".into(),
    };
    format!(
        "bot {id} takes the task but failed too often, so its circuit is open; {again}; see `deia bot show {id}` and `deia bot logs {id}`; `deia bot restart {id}` closes the circuit",
        id = bot.id,
    )
}

/// Explains a wait for bots that are paused. Outsiders are not shown the bots.
fn paused(facts: &Facts) -> String {
    let (Some((bot, pause)), Some(_)) = (facts.paused_bot(), facts.ahead) else {
        let task_type = &facts.task.task_type;
        return format!(
            "the bots that take tasks of type {task_type} take none for a while, as their services asked for it"
        );
    };
    format!(
        "bot {id} takes the task but none before {until}: {reason}; see `deia bot show {id}`",
        id = bot.id,
        until = pause.until,
        reason = summary(&pause.reason),
    )
}

/// Explains a wait for bots that cannot be reached. Outsiders are not shown the bots.
fn unreachable(facts: &Facts) -> String {
    let (Some((bot, reason)), Some(_)) = (facts.unreachable(), facts.ahead) else {
        let task_type = &facts.task.task_type;
        return format!("the bots that take tasks of type {task_type} cannot be reached now");
    };
    format!(
        "bot {id} takes the task but cannot be reached: {reason}; see `deia bot show {id}`",
        id = bot.id,
        reason = summary(reason),
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

/// Returns an error in one line. If the error ends with the last lines of a program's
/// standard error, returns the cause and the very last of these lines.
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
        EndReason::Permanent => "no further attempt could succeed",
        EndReason::Poison => "it took too many bots down",
        EndReason::Expired => "it did not start in time",
        EndReason::Dependency => "a task that it depends on did not complete",
        EndReason::Cancelled => "it was cancelled by a caller",
        EndReason::Session => "the bot of its session died",
    }
}
