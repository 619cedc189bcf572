//! The environment of a bot's programs, without what belongs to an attempt.

use std::ffi::OsString;

use deia_model::{BotName, CommandExecutor};

use crate::{bots::reaper_handle::ReaperHandle, reaper};

/// Variables of the server's own environment that programs inherit.
const PASSED_ON: [&str; 7] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// The values of the variables that tell a program about its bot.
pub(in crate::bots) struct BotVariables<'a> {
    pub(in crate::bots) bot: &'a BotName,
    /// TCP port on loopback reserved for the bot.
    pub(in crate::bots) port: u16,
    pub(in crate::bots) hive_id: &'a str,
    pub(in crate::bots) reaper: &'a ReaperHandle,
}

/// Returns the variables of every program of a bot; later entries override earlier ones.
/// `inherited` returns the server's own variables.
pub(in crate::bots) fn of_bot(
    spec: &CommandExecutor,
    of: &BotVariables<'_>,
    inherited: impl Fn(&str) -> Option<OsString>,
) -> Vec<(OsString, OsString)> {
    let mut variables = self::inherited(inherited);
    let mut set = |name: &str, value: String| variables.push((name.into(), value.into()));
    for (name, value) in &spec.env {
        set(name, value.clone());
    }
    set("DEIA_BOT_ID", of.bot.to_string());
    set("DEIA_BOT_PORT", of.port.to_string());
    set("DEIA_HIVE_ID", of.hive_id.to_owned());
    set(reaper::INSTANCE_VARIABLE, of.reaper.instance().to_owned());
    set(reaper::RUN_VARIABLE, of.reaper.run().to_owned());
    variables
}

/// Returns the variables of the server's own environment that programs inherit.
pub(in crate::bots) fn inherited(
    get: impl Fn(&str) -> Option<OsString>,
) -> Vec<(OsString, OsString)> {
    let passed_on = PASSED_ON.iter();
    passed_on
        .filter_map(|name| Some((name.into(), get(name)?)))
        .collect()
}
