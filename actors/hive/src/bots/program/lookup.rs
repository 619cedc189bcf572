//! Lookup of the executable of a program.

use std::{
    ffi::{OsStr, OsString},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Directories searched when `PATH` is not set.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Reason why no program of that name can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bots) enum Missing {
    /// No directory of `PATH` contains the program.
    NotFound,
    /// The file that was found is not executable.
    NotExecutable,
}

/// Returns the file to execute for the first word of a command: the word itself if it contains a
/// slash, else the first executable of that name in `PATH` (only absolute directories count).
pub(in crate::bots) fn resolve(
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
pub(in crate::bots) fn is_executable(file: &Path) -> Option<bool> {
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
