//! Check of a command before any task depends on it.

use std::{ffi::OsString, path::Path};

use deia_model::CommandExecutor;

use super::{lookup, start_failure};

/// Returns why the program of a command could not be started now, as far as can be seen without
/// starting it. The program may be installed later, so this is a warning and not a refusal. Blocks
/// on file system calls.
pub(crate) fn preflight(spec: &CommandExecutor) -> Option<String> {
    let word = spec.command.first()?;
    if let Some(directory) = &spec.working_dir
        && !Path::new(directory).is_dir()
    {
        return Some(format!("the working directory {directory} does not exist"));
    }
    let path = spec.env.get("PATH").map(OsString::from);
    let path = path.or_else(|| std::env::var_os("PATH"));
    let environment: Vec<(OsString, OsString)> =
        path.map(|path| ("PATH".into(), path)).into_iter().collect();
    match lookup::resolve(word, &environment, lookup::is_executable) {
        Err(missing) => Some(start_failure::not_found(word, missing).reason),
        Ok(file) => {
            let file = match &spec.working_dir {
                Some(directory) => Path::new(directory).join(file),
                None if file.is_relative() => return None,
                None => file,
            };
            unfit(word, &file)
        }
    }
}

fn unfit(word: &str, file: &Path) -> Option<String> {
    match lookup::is_executable(file) {
        Some(true) => None,
        Some(false) => Some(start_failure::not_found(word, lookup::Missing::NotExecutable).reason),
        None => Some(format!(
            "the program {word:?} cannot be started: there is no such file"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn warning(command: &str, working_dir: Option<&str>) -> Option<String> {
        preflight(&CommandExecutor {
            command: vec![command.to_owned()],
            env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            working_dir: working_dir.map(str::to_owned),
        })
    }

    #[test]
    fn unstartable_program_is_reported_before_any_task() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().to_str().unwrap();
        let plain = dir.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o644)).unwrap();
        for (command, directory, expected) in [
            ("sh", None, None),
            ("/bin/sh", None, None),
            ("/bin/sh", Some("/"), None),
            ("./bin/sh", Some("/"), None),
            ("./sh", Some("/"), Some("no such file")),
            ("no-such-program", None, Some("not found in PATH")),
            ("/no/such/program", None, Some("no such file")),
            (plain.to_str().unwrap(), None, Some("permission denied")),
            ("sh", Some("/no/such/directory"), Some("does not exist")),
            // Created when the bot starts; its path is not known here.
            ("./tool", None, None),
            ("sh", Some(here), None),
        ] {
            let found = warning(command, directory);
            match expected {
                None => assert_eq!(found, None, "{command}"),
                Some(part) => {
                    let found = found.unwrap_or_default();
                    assert!(found.contains(part), "{command}: {found}");
                }
            }
        }
    }
}
