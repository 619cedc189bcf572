//! Tasks as tables.

use deia_hive::model::{Submitted, Task, TaskResult, TaskStatus};

use crate::cli::{
    human,
    output::Look,
    table::{Cell, Column, Table, Tone, or_dash},
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
        Column::new("ATTEMPT").right().wide(),
        Column::new("TOOK").right().wide(),
        Column::new("SUBMITTER").flows().wide(),
        Column::new("LAST ERROR").flows().wide(),
    ]);
    for task in tasks {
        table.row(vec![
            task.id.into(),
            status(task.status),
            task.task_type.as_str().into(),
            format!("P{}", task.priority.rank()).into(),
            or_dash(task.assigned_bot.as_ref()),
            human::when(task.created_at, look.now).into(),
            task.attempt.into(),
            or_dash(took(task)),
            task.submitter.as_str().into(),
            or_dash(task.last_error.as_deref().map(human::one_line)),
        ]);
    }
    table.render(look)
}

pub(super) fn details(task: &Task, look: &Look) -> String {
    let when = |at| human::when_exactly(at, look.now);
    let mut table = Table::fields();
    table.field("id", task.id);
    table.field("status", status(task.status));
    table.field("type", task.task_type.as_str());
    table.field("priority", format!("P{}", task.priority.rank()));
    table.field("submitter", task.submitter.as_str());
    table.field("bot", or_dash(task.assigned_bot.as_ref()));
    table.field("created", when(task.created_at));
    table.field("not before", when(task.run_at));
    table.field("started", or_dash(task.started_at.map(when)));
    table.field("ended", or_dash(task.completed_at.map(when)));
    if let Some(at) = task.cancel_requested_at {
        table.field("called off", when(at));
    }
    table.field("took", or_dash(took(task)));
    table.field("attempt", task.attempt);
    table.field(
        "failures",
        format!("{} of {} allowed", task.failures, task.max_attempts),
    );
    table.field("bots taken down", task.bot_deaths);
    table.field(
        "time-out",
        human::millis(task.timeout_seconds.saturating_mul(1_000)),
    );
    table.field("progress", human::share(task.progress));
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

/// How a task ended: by which bot, how long it took, and why it failed if it did.
pub(super) fn how(result: &TaskResult) -> String {
    let mut parts = Vec::new();
    if let Some(bot) = &result.bot_id {
        parts.push(bot.to_string());
        parts.push(human::millis(result.execution_time_ms));
        parts.push(format!("attempt {}", result.attempt));
    }
    if let Some(code) = result.exit_code.filter(|code| *code != 0) {
        parts.push(format!("exit code {code}"));
    }
    let how = parts.join(", ");
    match result.error.as_deref().map(str::trim_end) {
        None | Some("") => how,
        Some(error) if how.is_empty() => error.to_owned(),
        Some(error) => format!("{how}: {error}"),
    }
}

fn took(task: &Task) -> Option<String> {
    let seconds = task.actual_duration_seconds.filter(|s| *s >= 0.0)?;
    let span = std::time::Duration::try_from_secs_f64(seconds).ok()?;
    Some(human::duration(span))
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
