//! From a command to its statements. Each one looks first and writes then, so
//! that a refusal has changed nothing.

use super::{
    attempts, bots, callers, claim, erase, followers, keys, logins, pauses, prune, retry, secrets,
    submit, transaction::Tx, waiting,
};
use crate::{Command, Outcome, Refusal};

/// Why a command was not applied.
pub(super) enum ApplyError {
    /// It does not fit what is stored.
    Refused(Refusal),
    /// SQLite failed: the whole transaction is to be rolled back.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for ApplyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Refusal> for ApplyError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Applies one command.
pub(super) fn apply(tx: &mut Tx<'_>, command: &Command) -> Result<Outcome, ApplyError> {
    match command {
        Command::For { who, command } => {
            callers::check(tx, who)?;
            apply(tx, command)
        }
        Command::Submit {
            tasks,
            submitter,
            role,
            dedup,
        } => {
            let by = submit::By {
                submitter,
                role: *role,
            };
            submit::submit(tx, tasks, by, dedup.as_ref())
        }
        Command::Promote { limit } => Ok(waiting::promote(tx, *limit)?),
        Command::Prune { tasks } => Ok(prune::prune(tx, tasks)?),
        Command::Claim(claims) => Ok(claim::claim(tx, claims)?),
        Command::Progress(reports) => Ok(attempts::progress(tx, reports)?),
        Command::Finish(reports) => Ok(attempts::finish(tx, reports)?),
        Command::GiveBack {
            bots,
            started_before,
            end,
            reason,
        } => {
            let taken = attempts::Taken {
                bots,
                started_before: *started_before,
                end: *end,
                reason,
            };
            Ok(attempts::give_back(tx, &taken)?)
        }
        Command::Cancel {
            task,
            actor,
            only_waiting,
        } => waiting::cancel(tx, *task, actor, *only_waiting),
        Command::Retry {
            task,
            actor,
            only_failed,
            role,
        } => {
            let asked = retry::Asked {
                actor,
                role: *role,
                only_failed: *only_failed,
            };
            retry::retry(tx, *task, asked)
        }
        Command::Erase { task, actor } => erase::erase(tx, *task, actor),
        Command::Pause {
            task_type,
            actor,
            reason,
        } => Ok(pauses::pause(
            tx,
            task_type.as_ref(),
            actor,
            reason.as_deref(),
        )?),
        Command::Resume { task_type, actor } => Ok(pauses::resume(tx, task_type.as_ref(), actor)?),
        Command::PutBot {
            name,
            spec,
            actor,
            if_version,
            ports,
            max_bots,
        } => bots::put(
            tx,
            &bots::Put {
                name,
                spec,
                actor,
                if_version: *if_version,
                ports: *ports,
                max_bots: *max_bots,
            },
        ),
        Command::DeleteBot { name, actor } => bots::delete(tx, name, actor),
        Command::SetDesired {
            name,
            desired,
            actor,
        } => bots::set_desired(tx, name, *desired, actor),
        Command::Drained(name) => bots::drained(tx, name),
        Command::Access(command) => {
            // The next command must be checked against the access that this one leaves.
            tx.vouched.clear();
            keys::apply(tx, command)
        }
        Command::Secret(command) => secrets::apply(tx, command),
        Command::Login(command) => logins::apply(tx, command),
        Command::Advance(advance) => followers::advance(tx, advance),
        Command::PruneEvents { upto, max } => Ok(followers::prune(tx, *upto, *max)?),
        Command::Record(events) => {
            for event in events {
                tx.log_event(event)?;
            }
            Ok(Outcome::Done(events.len() as u64))
        }
        Command::Probe => {
            // Another value each time: what is the same is not written.
            tx.db
                .prepare_cached(
                    "INSERT OR REPLACE INTO meta (key, value) VALUES ('probed_at', ?1)",
                )?
                .execute([tx.now.as_millis().to_string()])?;
            Ok(Outcome::Done(1))
        }
        Command::MarkRunning(running) => {
            tx.db
                .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('running', ?1)")?
                .execute([if *running { "yes" } else { "no" }])?;
            Ok(Outcome::Done(1))
        }
    }
}
