//! The environment of a program, and the lookup of its executable.

use std::{
    ffi::{OsStr, OsString},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use deia_ledger::ClaimedTask;

use super::{CommandContext, metadata::Metadata};
use crate::{reaper, reaper::EnvTags};

/// Variables of the server's own environment that programs inherit.
const PASSED_ON: [&str; 7] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// Directories searched when `PATH` is not set.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Returns the whole environment of the program for this attempt; later entries override earlier
/// ones. `inherited` returns the server's own variables.
pub(super) fn environment(
    cx: &CommandContext,
    claimed: &ClaimedTask,
    metadata: &Metadata,
    inherited: impl Fn(&str) -> Option<OsString>,
) -> Vec<(OsString, OsString)> {
    let task = &claimed.task;
    let mut variables: Vec<(OsString, OsString)> = PASSED_ON
        .iter()
        .filter_map(|name| Some((name.into(), inherited(name)?)))
        .collect();
    let mut set = |name: &str, value: String| variables.push((name.into(), value.into()));
    for (name, value) in &cx.spec.env {
        set(name, value.clone());
    }
    set("DEIA_TASK_ID", task.id.to_string());
    set("DEIA_TASK_TYPE", task.task_type.to_string());
    set("DEIA_ATTEMPT", task.attempt.to_string());
    set("DEIA_BOT_ID", cx.bot.to_string());
    set("DEIA_BOT_PORT", cx.port.to_string());
    set("DEIA_PRIORITY", format!("P{}", task.priority.rank()));
    set("DEIA_HIVE_ID", cx.hive_id.clone());
    set(reaper::INSTANCE_VARIABLE, cx.reaper.instance().to_owned());
    set(reaper::RUN_VARIABLE, cx.reaper.run().to_owned());
    let (name, value) = metadata.variable();
    set(name, value);
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

/// Reason why no program of that name can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// No directory of `PATH` contains the program.
    NotFound,
    /// The file that was found is not executable.
    NotExecutable,
}

/// Returns the file to execute for the first word of a command: the word itself if it contains a
/// slash, else the first executable of that name in `PATH` (only absolute directories count).
pub(super) fn resolve(
    word: &str,
    environment: &[(OsString, OsString)],
    is_executable: impl Fn(&Path) -> Option<bool>,
) -> Result<PathBuf, Missing> {
    if word.contains('/') {
        return Ok(word.into());
    }
    let path = environment.iter().rev().find(|(name, _)| name == "PATH");
    let path = path.map_or(OsStr::new(DEFAULT_PATH), |(_, value)| value.as_os_str());
    let mut missing = Missing::NotFound;
    for directory in path.as_bytes().split(|byte| *byte == b':') {
        let directory = Path::new(OsStr::from_bytes(directory));
        if !directory.is_absolute() {
            continue;
        }
        let file = directory.join(word);
        match is_executable(&file) {
            Some(true) => return Ok(file),
            Some(false) => missing = Missing::NotExecutable,
            None => {}
        }
    }
    Err(missing)
}

/// Returns whether somebody may execute this file; `None` if it is not a file.
pub(super) fn is_executable(file: &Path) -> Option<bool> {
    let metadata = std::fs::metadata(file).ok().filter(|m| m.is_file())?;
    Some(metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_resolved_as_a_shell_resolves_it() {
        let executable = |file: &Path| match file.to_str()? {
            "/a/both" | "/b/plain" => Some(false),
            "/b/both" | "/b/tool" | "/usr/bin/tool" => Some(true),
            _ => None,
        };
        let path = |value: &str| vec![("PATH".into(), OsString::from(value))];
        for (word, environment, expected) in [
            ("tool", path("/a:/b"), Ok("/b/tool")),
            ("both", path("/a:/b"), Ok("/b/both")),
            ("both", path("/a"), Err(Missing::NotExecutable)),
            ("plain", path("/a:/b"), Err(Missing::NotExecutable)),
            ("absent", path("/a:/b"), Err(Missing::NotFound)),
            ("tool", path("::b:"), Err(Missing::NotFound)),
            ("tool", path(""), Err(Missing::NotFound)),
            ("tool", vec![], Ok("/usr/bin/tool")),
            ("/x/tool", path("/a"), Ok("/x/tool")),
            ("./tool", path("/a"), Ok("./tool")),
            ("tool", [path("/a"), path("/b")].concat(), Ok("/b/tool")),
        ] {
            let found = resolve(word, &environment, executable);
            assert_eq!(found, expected.map(PathBuf::from), "{word} {environment:?}");
        }
    }
}
