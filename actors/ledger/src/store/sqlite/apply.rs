//! Execution of commands as statements. Each checks first and then writes, so that a
//! rejection has changed nothing.

use super::{
    access, alerts, attempts, bots, callers, claim, due, erase, errors::ApplyError, external,
    followers, messages, mode, pauses, prune, retry, secrets, sessions, settings, submit, trail,
    transaction::Tx, waiting, web_sessions, webhooks,
};
use crate::{Command, Reply};

/// Applies one command.
pub(super) fn apply(tx: &mut Tx<'_>, command: &Command) -> Result<Reply, ApplyError> {
    match command {
        Command::For { who, command } => {
            callers::check(tx, who)?;
            apply(tx, command)
        }
        Command::Submit(command) => {
            let by = submit::By {
                submitter: &command.submitter,
                role: command.role,
            };
            submit::submit(tx, &command.tasks, by, command.idempotency.as_ref())
        }
        Command::RunDue(command) => Ok(due::run(tx, command.limit)?),
        Command::Prune(command) => Ok(prune::prune(tx, &command.tasks)?),
        Command::ClaimTasks(command) => Ok(claim::claim(tx, &command.0)?),
        Command::NoteProgress(command) => Ok(attempts::progress(tx, &command.0)?),
        Command::FinishAttempts(command) => Ok(attempts::finish(tx, &command.0)?),
        Command::FinishHeld(command) => Ok(attempts::finish_held(tx, command)?),
        Command::ExtendLeases(command) => Ok(attempts::extend(tx, command)?),
        Command::HoldLease(command) => Ok(attempts::hold(tx, command)?),
        Command::ReleaseLeases(command) => {
            let taken = attempts::Taken {
                bots: &command.bots,
                started_before: command.started_before,
                end: command.end,
                reason: &command.reason,
            };
            Ok(attempts::give_back(tx, &taken)?)
        }
        Command::CancelTask(command) => {
            waiting::cancel(tx, command.task, &command.actor, command.only_waiting)
        }
        Command::RetryTask(command) => {
            let asked = retry::Asked {
                actor: &command.actor,
                role: command.role,
                only_failed: command.only_failed,
            };
            retry::retry(tx, command.task, asked)
        }
        Command::EraseTask(command) => erase::erase(tx, command.task, &command.actor),
        Command::PauseQueue(command) => Ok(pauses::pause(
            tx,
            command.task_type.as_ref(),
            &command.actor,
            command.reason.as_deref(),
        )?),
        Command::ResumeQueue(command) => Ok(pauses::resume(
            tx,
            command.task_type.as_ref(),
            &command.actor,
        )?),
        Command::PutBot(command) => bots::put(tx, command),
        Command::DeleteBot(command) => bots::delete(tx, &command.name, &command.actor),
        Command::SetDesired(command) => {
            bots::set_desired(tx, &command.name, command.desired, &command.actor)
        }
        Command::MoveBot(command) => bots::move_port(tx, command),
        Command::NoteDrained(command) => bots::drained(tx, &command.0),
        Command::Access(command) => {
            // The next command must be checked against the access that this one leaves.
            tx.vouched.clear();
            access::apply(tx, command)
        }
        Command::Alert(command) => alerts::apply(tx, command),
        Command::Mode(command) => Ok(mode::apply(tx, command)?),
        Command::Session(command) => sessions::apply(tx, command),
        Command::Message(command) => messages::apply(tx, command),
        Command::Webhook(command) => webhooks::apply(tx, command),
        Command::Secret(command) => secrets::apply(tx, command),
        Command::WebSession(command) => web_sessions::apply(tx, command),
        Command::WriteSettings(command) => settings::apply(tx, command),
        Command::Advance(advance) => followers::advance(tx, advance),
        Command::PruneEvents(command) => Ok(followers::prune(tx, command)?),
        Command::BeginTimeline(command) => trail::begin_timeline(tx, *command),
        Command::RecordEvents(command) => {
            for event in &command.0 {
                tx.log_event(event)?;
            }
            Ok(Reply::Done(command.0.len() as u64))
        }
        Command::AppendExternal(command) => external::append(tx, command),
        Command::ProbeWrite(_) => {
            // A different value each time, since an unchanged one is not written.
            tx.db
                .prepare_cached(
                    "INSERT OR REPLACE INTO meta (key, value) VALUES ('probed_at', ?1)",
                )?
                .execute([tx.now.as_millis().to_string()])?;
            Ok(Reply::Done(1))
        }
        Command::MarkRunning(command) => {
            tx.db
                .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('running', ?1)")?
                .execute([if command.0 { "yes" } else { "no" }])?;
            Ok(Reply::Done(1))
        }
    }
}
