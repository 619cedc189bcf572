//! Weights of commands: the share of a transaction that each one takes.

use crate::{
    AttemptRecord, AttemptReport, Command, Effect, MessageCommand, SessionCommand, WebhookCommand,
};

/// Maximum number of rows that one transaction touches before it is committed, however
/// many commands wait: it bounds the duration of a commit. Fixed: some tens of
/// milliseconds of one commit, as measured (docs/PERFORMANCE.md).
pub(super) const WEIGHT_MAX: usize = 8_192;
/// Bytes of content or output that weigh as much as a row. Fact: the page size of SQLite.
const BYTES_PER_WEIGHT: usize = 4_096;
/// Number of events that are deleted in the time of one change of a task. Fixed: as
/// measured.
const EVENTS_PER_WEIGHT: usize = 20;

/// Estimates the rows that a command touches.
pub(super) fn weight_of(command: &Command) -> usize {
    match command {
        Command::For { command, .. } => weight_of(command),
        Command::Submit(command) => {
            let tasks = &command.tasks;
            let bytes: usize = tasks.iter().map(|task| task.content.len()).sum();
            tasks.len() + bytes / BYTES_PER_WEIGHT
        }
        Command::ClaimTasks(command) => command.0.len(),
        Command::FinishAttempts(command) => {
            let reports = &command.0;
            let output = |report: &AttemptReport| report.output.as_ref().map_or(0, String::len);
            reports.len() + reports.iter().map(output).sum::<usize>() / BYTES_PER_WEIGHT
        }
        Command::FinishHeld(command) => {
            let output = command.report.output.as_ref().map_or(0, String::len);
            1 + output / BYTES_PER_WEIGHT
        }
        Command::NoteProgress(command) => command.0.len(),
        Command::ExtendLeases(command) => command.leases.len(),
        Command::Prune(command) => command.tasks.len(),
        Command::RunDue(command) => command.limit as usize,
        // A row of statistics is read, merged and written again.
        Command::Advance(advance) => advance.effects.iter().map(weight_of_effect).sum(),
        Command::Webhook(WebhookCommand::Record(command)) => {
            let attempts = &command.attempts;
            let bytes = |it: &AttemptRecord| it.body.len() + it.response.len();
            // An attempt is a row of its own, beside that of its delivery.
            2 * attempts.len() + attempts.iter().map(bytes).sum::<usize>() / BYTES_PER_WEIGHT
        }
        Command::Message(MessageCommand::Send(command)) => {
            1 + command.message.content.len() / BYTES_PER_WEIGHT
        }
        Command::Message(MessageCommand::Take(command)) => command.limit as usize,
        Command::Message(MessageCommand::Close(command)) => command.limit as usize,
        Command::Session(SessionCommand::Release(command)) => 2 * command.limit as usize,
        Command::Session(SessionCommand::Settle(command)) => 2 * command.limit as usize,
        Command::RecordEvents(command) => command.0.len(),
        Command::PruneEvents(command) => command.max as usize / EVENTS_PER_WEIGHT,
        _ => 1,
    }
}

fn weight_of_effect(effect: &Effect) -> usize {
    match effect {
        Effect::Statistics { rows, .. } => rows.len(),
        Effect::WebhookCursors(cursors) => cursors.len(),
        Effect::WebhooksMissed | Effect::TrailSealed(_) => 1,
    }
}
