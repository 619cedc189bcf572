//! The file that stores profiles. It never contains a key.

use std::{
    collections::BTreeMap,
    env, fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use clap::ValueEnum as _;
use deia_hive::config::{readable_yaml, without_mark};
use serde::Serialize;
use yaml_rust2::{Yaml, YamlLoader};

use crate::cli::{error::CliError, output::Format, yaml};

/// Maximum size of the file of profiles, in bytes. Fixed: of the command line, which has
/// no settings.
const MAX_BYTES: u64 = 1 << 20;
const KEYS: &[&str] = &[
    "key", "api_key", "apikey", "token", "secret", "password", "bearer",
];

/// A hive, its key file, and the format of its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Profile {
    /// The URL of the hive.
    pub(in crate::cli) url: String,
    /// The file with the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) key_file: Option<PathBuf>,
    /// The format of data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) output: Option<Format>,
}

/// All profiles.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Profiles {
    /// The profile that is used when none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<String>,
    /// The profiles, by name.
    pub(super) profiles: BTreeMap<String, Profile>,
}

/// Returns the path of the file: `DEIA_CONFIG`, otherwise `deia/config.yaml` in the
/// user's directory of settings (XDG Base Directory Specification).
pub(in crate::cli) fn place() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    let xdg = || set("XDG_CONFIG_HOME").map(PathBuf::from);
    // The specification requires that relative paths are ignored.
    let dir = || xdg().filter(|dir| dir.is_absolute());
    let home = || set("HOME").map(|home| PathBuf::from(home).join(".config"));
    let usual = || Some(dir().or_else(home)?.join("deia/config.yaml"));
    set("DEIA_CONFIG").map(PathBuf::from).or_else(usual)
}

impl Profiles {
    /// Reads the file; returns no profiles if there is none.
    ///
    /// # Errors
    /// The file cannot be read, is malformed, or contains a key.
    pub(in crate::cli) fn load(path: &Path) -> Result<Self, CliError> {
        let refuse = |reason: String| CliError::Input {
            what: path.display().to_string(),
            reason,
        };
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Ok(file) if file.len() > MAX_BYTES => {
                return Err(refuse("is over 1 MiB long".into()));
            }
            _ => {}
        }
        let text = fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        let dir = path.parent().unwrap_or(Path::new("."));
        parse(&text, dir).map_err(refuse)
    }

    /// Writes the file atomically.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn save(&self, path: &Path) -> Result<(), CliError> {
        // A symbolic link is kept: its target is written.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let text = yaml::to_string(self)?;
        write_whole(&path, &text).map_err(|error| CliError::File { path, error })
    }

    /// Returns the profile of that name.
    ///
    /// # Errors
    /// There is none.
    pub(in crate::cli) fn named(&self, name: &str) -> Result<&Profile, CliError> {
        self.profiles.get(name).ok_or_else(|| self.no_such(name))
    }

    /// Returns the profile in use, if there is one.
    ///
    /// # Errors
    /// The file names one that does not exist.
    pub(in crate::cli) fn current(&self) -> Result<Option<&Profile>, CliError> {
        let current = self.current.as_deref();
        current.map(|name| self.named(name)).transpose()
    }

    pub(super) fn no_such(&self, name: &str) -> CliError {
        CliError::NoSuch {
            what: format!("profile {name}"),
            known: self.profiles.keys().cloned().collect(),
        }
    }
}

fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(dir)?;
    }
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    if written.is_err() {
        // A partly written file is of no use.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn parse(text: &str, dir: &Path) -> Result<Profiles, String> {
    let documents = YamlLoader::load_from_str(without_mark(text))
        .map_err(|error| readable_yaml(&error.to_string()))?;
    let mut found = Profiles::default();
    let top = match documents.as_slice() {
        [] => return Ok(found),
        [one] => one,
        _ => return Err("holds more than one document".into()),
    };
    for (name, value) in fields(top, "the file")? {
        match name {
            "current" => found.current = optional(value, "current")?,
            "profiles" => {
                for (name, value) in fields(value, "profiles")? {
                    check_name(name)?;
                    let place = format!("profiles.{name}");
                    let profile = profile(value, &place, dir)?;
                    found.profiles.insert(name.to_owned(), profile);
                }
            }
            other => return Err(unknown(other, "", "current and profiles")),
        }
    }
    match &found.current {
        Some(name) if !found.profiles.contains_key(name) => {
            Err(format!("current: there is no profile {name}"))
        }
        _ => Ok(found),
    }
}

fn profile(value: &Yaml, place: &str, dir: &Path) -> Result<Profile, String> {
    let (mut url, mut key_file, mut output) = (None, None, None);
    for (name, value) in fields(value, place)? {
        let at = format!("{place}.{name}");
        match name {
            "url" => url = optional(value, &at)?,
            "key_file" => key_file = optional(value, &at)?.map(|path| from(dir, &path)),
            "output" => output = optional(value, &at)?,
            other => {
                let place = format!("{place}.");
                return Err(unknown(other, &place, "url, key_file and output"));
            }
        }
    }
    let output = match output {
        None => None,
        Some(text) => Some(Format::from_str(&text, true).map_err(|_| {
            format!("{place}.output: {text} is not allowed; expected table, json, jsonl or yaml")
        })?),
    };
    let url = url.ok_or_else(|| format!("{place}: lacks the url"))?;
    no_user_in(&url).map_err(|reason| format!("{place}.url: {reason}"))?;
    Ok(Profile {
        url,
        key_file,
        output,
    })
}

/// Fails for a URL with a user name or a password in it.
pub(super) fn no_user_in(url: &str) -> Result<(), &'static str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.contains('@') {
        true => Err("has a user name or a password in it; expected https://host:port"),
        false => Ok(()),
    }
}

/// Fails for a text that cannot be the name of a profile.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    match (1..=63).contains(&name.len()) && name.bytes().all(ok) && !is_key(name) {
        true => Ok(()),
        false => Err(
            "the name of a profile is 1 to 63 characters of A-Z, a-z, 0-9, '-', '_' and '.'".into(),
        ),
    }
}

/// Describes an unknown field; if it looks like a key, says how to give a key.
fn unknown(name: &str, place: &str, known: &str) -> String {
    if KEYS.contains(&name.to_ascii_lowercase().as_str()) {
        return format!("{place}{name}: {NO_KEYS}");
    }
    format!("{place}{name} is not known; there are {known}")
}

const NO_KEYS: &str = "a key does not belong in this file; put it into a file of its own that only \
     you can read (chmod 600) and name that file with key_file";

fn is_key(text: &str) -> bool {
    text.trim().starts_with("deia_") && text.len() > 40
}

fn fields<'a>(value: &'a Yaml, place: &str) -> Result<Vec<(&'a str, &'a Yaml)>, String> {
    match value {
        Yaml::Null => Ok(Vec::new()),
        Yaml::Hash(fields) => fields
            .iter()
            .map(|(name, value)| match name.as_str() {
                Some(name) => Ok((name, value)),
                None => Err(format!("{place}: expected names that are text")),
            })
            .collect(),
        _ => Err(format!("{place}: expected fields with names")),
    }
}

fn optional(value: &Yaml, place: &str) -> Result<Option<String>, String> {
    match value {
        Yaml::Null => Ok(None),
        Yaml::String(text) if is_key(text) => Err(format!("{place}: {NO_KEYS}")),
        Yaml::String(text) if !text.is_empty() => Ok(Some(text.clone())),
        _ => Err(format!("{place}: expected a text")),
    }
}

/// Resolves a path of the file: `~/` is the user's home, others are relative to the
/// file.
fn from(dir: &Path, path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => dir.join(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/config.yaml");
        assert_eq!(Profiles::load(&path).unwrap(), Profiles::default());
        let profile = Profile {
            url: "https://hive.example:8443".into(),
            key_file: Some("/keys/prod.key".into()),
            output: Some(Format::Jsonl),
        };
        let profiles = Profiles {
            current: Some("prod".into()),
            profiles: [("prod".to_owned(), profile)].into(),
        };
        profiles.save(&path).unwrap();
        assert_eq!(Profiles::load(&path).unwrap(), profiles);
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_wrong_is_named_and_keys_are_refused() {
        let key = format!("deia_{}", "a".repeat(70));
        let with = |field: &str| format!("profiles:\n  p:\n    url: http://h\n    {field}\n");
        for (text, expected) in [
            (
                "colour: red".into(),
                "colour is not known; there are current and profiles",
            ),
            ("current: x".into(), "current: there is no profile x"),
            ("profiles: [1]".into(), "profiles: expected fields"),
            ("profiles: {p: {}}".into(), "profiles.p: lacks the url"),
            (
                "profiles: {'a b': {url: x}}".into(),
                "the name of a profile",
            ),
            (
                "profiles: {p: {url: 5}}".into(),
                "profiles.p.url: expected a text",
            ),
            (
                "profiles: {p: {url: 'http://u:p@h/'}}".into(),
                "profiles.p.url: has a user",
            ),
            (with("output: xml"), "profiles.p.output: xml is not allowed"),
            (
                with("color: red"),
                "profiles.p.color is not known; there are url, key_file",
            ),
            (with("key: abc"), "profiles.p.key: a key does not belong"),
            (
                with("Token: abc"),
                "profiles.p.Token: a key does not belong",
            ),
            (
                with(&format!("key_file: {key}")),
                "profiles.p.key_file: a key does not belong",
            ),
            (format!("current: {key}"), "current: a key does not belong"),
            ("a: [".into(), ""),
        ] {
            let error = parse(&text, Path::new("/d")).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains(&key), "{error}");
        }
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let text = "profiles: {p: {url: 'http://h', key_file: a.key}}";
        let profiles = parse(text, Path::new("/d")).unwrap();
        let key_file = profiles.named("p").unwrap().key_file.clone();
        assert_eq!(key_file, Some("/d/a.key".into()));
        assert_eq!(parse("", Path::new("/d")).unwrap(), Profiles::default());
    }
}
