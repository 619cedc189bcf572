//! Tasks as tables.

use deia_model::{
    AttemptOutcomeKind, DependencyFailure, EndReason, Event, EventLevel, EventResult,
    FailedAttempt, Submitted, Task, TaskExplanation, TaskResult, TaskStatus, Timestamp,
};

use super::words::{because, retry};
use crate::cli::{
    format,
    output::Look,
    table::{Cell, Column, Table, Tone, or_dash},
    wait::status_name,
};

pub(super) fn accepted(task: &Submitted, look: &Look) -> String {
    let mut table = Table::new(&[Column::new("ID"), Column::new("STATUS")]);
    table.row(vec![task.id.into(), status(task.status)]);
    table.render(look)
}

pub(super) fn list(tasks: &[Task], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("ID"),
        Column::new("STATUS"),
        Column::new("TYPE").flows(),
        Column::new("PRI"),
        Column::new("BOT").flows(),
        Column::new("CREATED"),
        Column::new("DONE").right(),
        Column::new("TOOK").right(),
        Column::new("ATTEMPT").right().wide(),
        Column::new("SUBMITTER").flows().wide(),
        Column::new("REASON").wide(),
        Column::new("LAST ERROR").flows().wide(),
    ]);
    for task in tasks {
        table.row(vec![
            task.id.into(),
            status(task.status),
            task.task_type.as_str().into(),
            format!("P{}", task.priority.rank()).into(),
            or_dash(task.assigned_bot.as_ref()),
            format::when(task.created_at, look.now).into(),
            or_dash(progress(task)),
            or_dash(took(task, look.now)),
            task.attempt.into(),
            task.submitter.as_str().into(),
            or_dash(task.end_reason.map(EndReason::as_str)),
            or_dash(task.last_error.as_deref().map(format::short)),
        ]);
    }
    table.render(look)
}

/// Renders failed tasks, with the reasons.
pub(in crate::cli) fn dead(tasks: &[Task], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("ID"),
        Column::new("TYPE").flows(),
        Column::new("PRI"),
        Column::new("REASON"),
        Column::new("FAILED"),
        Column::new("FAILURES").right().wide(),
        Column::new("BOT").flows().wide(),
        Column::new("LAST ERROR").flows(),
    ]);
    for task in tasks {
        table.row(vec![
            task.id.into(),
            task.task_type.as_str().into(),
            format!("P{}", task.priority.rank()).into(),
            or_dash(task.end_reason.map(EndReason::as_str)),
            or_dash(task.completed_at.map(|at| format::when(at, look.now))),
            task.failures.into(),
            or_dash(task.assigned_bot.as_ref()),
            or_dash(task.last_error.as_deref().map(format::short)),
        ]);
    }
    table.render(look)
}

/// Renders everything about a task, and below it its unsuccessful attempts.
pub(super) fn details(task: &Task, look: &Look) -> String {
    let mut text = fields(task, look);
    if !task.failed_attempts.is_empty() {
        text.push('\n');
        text.push_str(&attempts(&task.failed_attempts, look));
    }
    text
}

fn attempts(attempts: &[FailedAttempt], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("ATTEMPT").right(),
        Column::new("BOT").flows(),
        Column::new("OUTCOME"),
        Column::new("STARTED"),
        Column::new("TOOK").right(),
        Column::new("EXIT").right(),
        Column::new("PRINTED").right(),
        Column::new("ERROR").flows(),
    ]);
    for attempt in attempts {
        let tone = match attempt.outcome {
            AttemptOutcomeKind::Failed
            | AttemptOutcomeKind::FailedForGood
            | AttemptOutcomeKind::BotDied
            | AttemptOutcomeKind::HiveDied => Tone::Bad,
            AttemptOutcomeKind::Suspected | AttemptOutcomeKind::BotFault => Tone::Attention,
            AttemptOutcomeKind::GivenBack
            | AttemptOutcomeKind::Cancelled
            | AttemptOutcomeKind::Refused => Tone::Faint,
        };
        let took = attempt.ended_at.millis_since(attempt.started_at);
        table.row(vec![
            attempt.attempt.into(),
            attempt.bot.as_str().into(),
            Cell::new(attempt.outcome.as_str().replace('_', " "), tone),
            format::when(attempt.started_at, look.now).into(),
            format::millis(took).into(),
            or_dash(attempt.exit_code),
            or_dash(attempt.output_bytes.map(format::bytes)),
            or_dash(attempt.error.as_deref().map(format::one_line)),
        ]);
    }
    table.render(look)
}

/// Renders the explanation of a task: the reason, its dependencies, and the bots that
/// could take it.
pub(super) fn explanation(why: &TaskExplanation, look: &Look) -> String {
    let mut table = Table::fields();
    table.field("task", why.task_id);
    table.field("status", status(why.status));
    table.field("why", format::one_line(&why.detail));
    if let Some(ahead) = why.ahead.filter(|_| why.status == TaskStatus::Queued) {
        table.field("ready before it", ahead);
    }
    if let Some(at) = why.until {
        table.field("until", format::when_exactly(at, look.now));
    }
    let mut text = table.render(look);
    if !why.waits_for.is_empty() {
        let mut tasks = Table::new(&[Column::new("WAITS FOR"), Column::new("STATUS")]);
        for task in &why.waits_for {
            tasks.row(vec![task.id.into(), status(task.status)]);
        }
        text.push('\n');
        text.push_str(&tasks.render(look));
    }
    if !why.bots.is_empty() && !why.status.is_final() {
        let mut bots = Table::new(&[
            Column::new("BOT").flows(),
            Column::new("STATUS"),
            Column::new("RUNNING").right(),
            Column::new("PLACES").right(),
            Column::new("FAULT").flows(),
        ]);
        for bot in &why.bots {
            bots.row(vec![
                bot.id.as_str().into(),
                status_name(bot.status).into(),
                bot.in_hand.into(),
                bot.places.into(),
                or_dash(bot.fault.as_ref().map(|it| format::short(&it.reason))),
            ]);
        }
        text.push('\n');
        text.push_str(&bots.render(look));
    }
    text
}

/// Renders events of the whole hive, one per line.
pub(in crate::cli) fn all_events(events: &[Event], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("TIME"),
        Column::new("ACTION"),
        Column::new("TARGET").flows(),
        Column::new("ACTOR").flows(),
        Column::new("DETAILS").flows(),
    ]);
    for event in events {
        table.row(vec![
            event.at.into(),
            Cell::new(event.action.as_str(), tone(event.level)),
            event.target.id.as_str().into(),
            event.actor.as_str().into(),
            outcome(event).into(),
        ]);
    }
    table.render(look)
}

/// Renders an event that is shown as it comes: the columns of [`all_events`], with fixed widths.
pub(in crate::cli) fn event_line(event: &Event) -> String {
    let line = format!(
        "{}  {:<16}  {:<31}  {:<8}  {}",
        event.at,
        event.action.as_str(),
        event.target.id,
        event.actor,
        outcome(event)
    );
    format::printable(line.trim_end())
}

fn outcome(event: &Event) -> String {
    let failed = match event.result {
        EventResult::Success => "",
        EventResult::Failure => "failed ",
        EventResult::Partial => "in part ",
    };
    format!("{failed}{}", more(&event.details))
}

fn tone(level: EventLevel) -> Tone {
    match level {
        EventLevel::Info => Tone::Plain,
        EventLevel::Warning => Tone::Attention,
        EventLevel::Critical => Tone::Bad,
    }
}

/// Renders the events of a task, one per line.
pub(super) fn events(events: &[Event], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("TIME"),
        Column::new("ACTION"),
        Column::new("ACTOR").flows(),
        Column::new("DETAILS").flows(),
    ]);
    for event in events {
        table.row(vec![
            event.at.into(),
            Cell::new(event.action.as_str(), tone(event.level)),
            event.actor.as_str().into(),
            more(&event.details).into(),
        ]);
    }
    table.render(look)
}

/// Renders the details of an event: `attempt=1 bot=upper-1`.
pub(in crate::cli) fn more(details: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text = match details {
        serde_json::Value::Null => String::new(),
        serde_json::Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| format!("{name}={}", text(value)))
            .collect::<Vec<_>>()
            .join(" "),
        other => text(other),
    };
    format::one_line(&text)
}

fn fields(task: &Task, look: &Look) -> String {
    let when = |at| format::when_exactly(at, look.now);
    let mut table = Table::fields();
    table.field("id", task.id);
    table.field("status", status(task.status));
    table.field("type", task.task_type.as_str());
    table.field("priority", format!("P{}", task.priority.rank()));
    table.field("submitter", task.submitter.as_str());
    table.field("bot", or_dash(task.assigned_bot.as_ref()));
    table.field("created", when(task.created_at));
    table.field("not before", when(task.run_at));
    if let Some(at) = task.expires_at {
        table.field("expires", when(at));
    }
    table.field("started", or_dash(task.started_at.map(when)));
    table.field("ended", or_dash(task.completed_at.map(when)));
    if let Some(at) = task.erased_at {
        table.field("erased", when(at));
    }
    if let Some(reason) = task.end_reason {
        table.field("ended because", because(reason));
    }
    if let Some(at) = task.cancel_requested_at {
        table.field("cancel requested", when(at));
    }
    table.field("took", or_dash(took(task, look.now)));
    table.field("attempt", task.attempt);
    table.field(
        "failures",
        format!("{} of {} allowed", task.failures, task.max_attempts),
    );
    table.field("bot deaths", task.bot_deaths);
    if task.suspicions > 0 {
        table.field("suspected of", task.suspicions);
    }
    if task.hive_deaths > 0 {
        table.field("hive went down", task.hive_deaths);
    }
    let span = |seconds: u64| format::millis(seconds.saturating_mul(1_000));
    let idle = task.idle_timeout_seconds;
    let idle = idle.map_or(String::new(), |limit| format!(", idle {}", span(limit)));
    table.field("time-out", span(task.timeout_seconds) + &idle);
    if let Some(retry) = task.retry.as_ref().map(retry) {
        table.field("retries", retry);
    }
    if let Some(seconds) = task.estimated_duration_seconds {
        let estimate = format::millis(seconds.saturating_mul(1_000));
        table.field("estimated", estimate);
    }
    table.field("progress", format::share(task.progress));
    dependencies(task, &mut table);
    if let Some(session) = task.session_id {
        table.field("session", session.to_string());
    }
    if let Some(key) = &task.dedup_key {
        table.field("deduplication key", key);
    }
    if let Some(key) = &task.idempotency_key {
        table.field("idempotency key", key);
    }
    if let Some(trace) = &task.traceparent {
        table.field("trace", trace);
    }
    table.field(
        "tags",
        or_dash((!task.tags.is_empty()).then(|| task.tags.join(", "))),
    );
    for (name, value) in &task.metadata {
        table.field(&format!("metadata {name}"), value);
    }
    table.field("last error", or_dash(task.last_error.as_deref()));
    table.field("content", or_dash(task.content.as_deref()));
    table.render(look)
}

/// Describes the end of a task: the bot, the duration, and the reason of a failure.
pub(super) fn how(result: &TaskResult) -> String {
    let mut parts = Vec::new();
    if let Some(bot) = &result.bot_id {
        parts.push(bot.to_string());
        parts.push(format::millis(result.execution_time_ms));
        parts.push(format!("attempt {}", result.attempt));
    }
    let error = result.error.as_deref().map(str::trim_end);
    let code = result.exit_code.filter(|code| *code != 0);
    // The error of a program that ended by itself begins with the exit code.
    let code = code.map(|code| format!("exit code {code}"));
    if let Some(code) = code.filter(|code| error.is_none_or(|error| !error.starts_with(code))) {
        parts.push(code);
    }
    let how = parts.join(", ");
    match error {
        None | Some("") => how,
        Some(error) if how.is_empty() => error.to_owned(),
        Some(error) => format!("{how}: {}", last_lines(error)),
    }
}

/// Maximum number of lines of an error at the end of a command. Fixed: of the command
/// line, which has no settings.
const ERROR_LINES: usize = 6;

/// Returns the first line of an error, which is the cause, and its last ones.
fn last_lines(error: &str) -> String {
    let lines: Vec<_> = error.lines().collect();
    if lines.len() <= ERROR_LINES {
        return error.to_owned();
    }
    let left_out = lines.len() - ERROR_LINES;
    let tail = &lines[lines.len() + 1 - ERROR_LINES..];
    format!(
        "{}\n({left_out} lines left out)\n{}",
        lines[0],
        tail.join("\n")
    )
}

fn dependencies(task: &Task, table: &mut Table) {
    if task.depends_on.is_empty() {
        return;
    }
    let ids: Vec<_> = task.depends_on.iter().map(ToString::to_string).collect();
    table.field("depends on", ids.join("\n"));
    if task.waiting_for > 0 {
        let text = format!("{} of {}", task.waiting_for, task.depends_on.len());
        table.field("waits for", text);
    }
    let then = match task.on_dependency_failure {
        DependencyFailure::Fail => "it fails as well",
        DependencyFailure::Cancel => "it is cancelled",
        DependencyFailure::Start => "it starts all the same",
    };
    table.field("if one fails", then);
}

/// Returns the progress that a running task reports.
fn progress(task: &Task) -> Option<String> {
    let tells = task.status == TaskStatus::Running && task.progress > 0.0;
    tells.then(|| format!("{:.0} %", task.progress * 100.0))
}

/// Returns the time that a task took, or has been running so far.
fn took(task: &Task, now: Timestamp) -> Option<String> {
    if task.status == TaskStatus::Running {
        let started = task.started_at?;
        return Some(format::millis(now.millis_since(started)));
    }
    let seconds = task.actual_duration_seconds.filter(|s| *s >= 0.0)?;
    let span = std::time::Duration::try_from_secs_f64(seconds).ok()?;
    Some(format::duration(span))
}

fn status(status: TaskStatus) -> Cell {
    let tone = match status {
        TaskStatus::Completed => Tone::Good,
        TaskStatus::Running => Tone::Attention,
        TaskStatus::Failed => Tone::Bad,
        TaskStatus::Cancelled => Tone::Faint,
        TaskStatus::Pending | TaskStatus::Queued => Tone::Plain,
    };
    Cell::new(status.as_str(), tone)
}
