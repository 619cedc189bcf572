//! Lines in the server's own log about entries of the event log.
//!
//! Logging happens in one place, behind the commit: every logged event is stored, and
//! code that records an event need not log it. [`Action::log_level`] chooses the
//! events.

use deia_ledger::CommitNotice;
use deia_model::{Action, EventLevel, NewEvent};

/// Logs the events of a commit that are important enough. Runs on the store's own thread; the log
/// never blocks it.
pub(super) fn log(notices: &[CommitNotice]) {
    for notice in notices {
        if let CommitNotice::Logged(event) = notice {
            log_event(event);
        }
    }
}

fn log_event(event: &NewEvent) {
    let NewEvent {
        action,
        actor,
        target: subject,
        details,
        trace_id,
        ..
    } = event;
    let text = |name: &str| details.get(name).and_then(|value| value.as_str());
    let number = |name: &str| details.get(name).and_then(serde_json::Value::as_u64);
    match action {
        Action::TaskDead => tracing::error!(
            task = subject,
            bot = actor,
            trace_id,
            attempt = number("attempt"),
            cause = text("error"),
            "task failed as poison: its bot, or the hive, went down with it too often"
        ),
        Action::ApiDenied => tracing::warn!(
            actor,
            route = subject,
            reason = text("reason"),
            count = number("count"),
            address = text("address"),
            permission = text("permission"),
            "requests refused"
        ),
        Action::ShutdownUnclean => {
            tracing::warn!("previous run did not end in order: it crashed or was killed");
        }
        Action::KeyRecovered => {
            tracing::warn!(
                key = subject,
                "admin key created on this machine without a key"
            );
        }
        _ => {
            let details = (!details.is_null()).then(|| details.to_string());
            let name = action.as_str();
            match event.log_level() {
                Some(EventLevel::Critical) => tracing::error!(actor, subject, details, "{name}"),
                Some(EventLevel::Warning) => tracing::warn!(actor, subject, details, "{name}"),
                Some(EventLevel::Info) => tracing::info!(actor, subject, details, "{name}"),
                None => {}
            }
        }
    }
}
