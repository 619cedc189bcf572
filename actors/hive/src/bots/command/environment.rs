//! The environment of a program that is started for an attempt.

use std::ffi::OsString;

use deia_ledger::ClaimedTask;

use super::{CommandContext, metadata::Metadata};
use crate::{
    bots::program::environment::{BotVariables, of_bot},
    reaper,
    reaper::EnvTags,
};

/// Returns the whole environment of the program for this attempt; later entries override earlier
/// ones. `inherited` returns the server's own variables.
pub(super) fn environment(
    cx: &CommandContext,
    claimed: &ClaimedTask,
    metadata: &Metadata,
    inherited: impl Fn(&str) -> Option<OsString>,
) -> Vec<(OsString, OsString)> {
    let task = &claimed.task;
    let bot = BotVariables {
        bot: &cx.bot,
        port: cx.port,
        hive_id: &cx.hive_id,
        reaper: &cx.reaper,
    };
    let mut variables = of_bot(&cx.spec, &bot, inherited);
    let mut set = |name: &str, value: String| variables.push((name.into(), value.into()));
    set("DEIA_TASK_ID", task.id.to_string());
    set("DEIA_TASK_TYPE", task.task_type.to_string());
    set("DEIA_ATTEMPT", task.attempt.to_string());
    set("DEIA_PRIORITY", format!("P{}", task.priority.rank()));
    let (name, value) = metadata.variable();
    set(name, value);
    if let Some(session) = task.session_id {
        set("DEIA_SESSION_ID", session.to_string());
    }
    if let Some(traceparent) = &task.traceparent {
        set("TRACEPARENT", traceparent.clone());
    }
    variables
}

/// Returns the environment tags that only the processes of this attempt carry.
pub(super) fn env_tags(cx: &CommandContext, claimed: &ClaimedTask) -> EnvTags {
    vec![
        reaper::instance_tag(cx.reaper.instance()),
        format!("DEIA_TASK_ID={}", claimed.task.id),
        format!("DEIA_ATTEMPT={}", claimed.task.attempt),
    ]
}
