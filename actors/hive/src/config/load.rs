//! Loads the settings: defaults, then a file, then the environment, then `--set`.

use std::path::{Path, PathBuf};

use config::{Environment, File, FileFormat};
use serde_json::Value;

use super::{
    Config, ConfigError, Problem,
    document::DEFAULTS,
    inspect::{judge, set},
};

/// Sources of settings; each layer overrides the ones before.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    file: Option<PathBuf>,
    /// Text of the file, if it was read before and must not be read again.
    text: Option<String>,
    /// Values of the file, in place of its text.
    values: Option<Value>,
    environment: bool,
    overrides: Vec<(String, String)>,
    /// Values that were set over the API, by key.
    api: Vec<(String, Value)>,
}

impl Layers {
    /// Adds a YAML file, which needs only the keys that differ.
    #[must_use]
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        self.file = Some(path.as_ref().to_owned());
        self
    }

    /// Adds the text of a YAML file that was read before.
    #[must_use]
    pub fn text(mut self, path: impl AsRef<Path>, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self.file(path)
    }

    /// Adds values in place of the content of the file, as they were when it was read before.
    #[must_use]
    pub(crate) fn values(mut self, values: Value) -> Self {
        self.values = Some(values);
        self
    }

    /// Sets one key over everything else, as a change over the API does.
    #[must_use]
    pub(crate) fn api(mut self, key: impl Into<String>, value: Value) -> Self {
        self.api.push((key.into(), value));
        self
    }

    /// Returns the layers without the values that were set over the API.
    #[must_use]
    pub(crate) fn without_api(mut self) -> Self {
        self.api.clear();
        self
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Returns the text of the file, unless its values are used or it was not read.
    pub(crate) fn read_text(&self) -> Option<&str> {
        self.text.as_deref().filter(|_| self.values.is_none())
    }

    /// Returns the keys that were set by options, the last one last.
    pub(super) fn option_keys(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.overrides.iter().map(|(key, _)| key.as_str())
    }

    /// Returns true if the environment is one of the layers.
    pub(super) fn has_environment(&self) -> bool {
        self.environment
    }

    /// Returns the values of the file, as they were stored.
    pub(crate) fn stored_values(&self) -> Option<&Value> {
        self.values.as_ref()
    }

    /// Adds the environment; `DEIA__SERVER__BIND` is `server.bind`.
    #[must_use]
    pub fn environment(mut self) -> Self {
        self.environment = true;
        self
    }

    /// Sets one key, over everything else. The value is read as YAML.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.overrides.push((key.into(), value.into()));
        self
    }

    /// Reads the layers and checks every value.
    ///
    /// # Errors
    /// Unreadable or malformed layers, unknown keys, and values out of range:
    /// each error names the key, the value and what is allowed.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let merged = self.merge()?;
        let problems = match typed(merged.clone()) {
            Ok(config) => match config.problems() {
                problems if problems.is_empty() => return Ok(config),
                problems => problems,
            },
            Err(_) => match judge(&merged) {
                Err(ConfigError::Invalid(problems)) => problems,
                other => return other,
            },
        };
        let with_source = |problem: Problem| Problem {
            source: self.source_of(&problem.key).or_else(|| {
                let file = self.file.as_ref()?.display();
                Some(match problem.value {
                    Some(_) => file.to_string(),
                    None => format!("{file}: {}", problem.key),
                })
            }),
            ..problem
        };
        let problems = problems.into_iter().map(with_source);
        Err(ConfigError::Invalid(problems.collect()))
    }

    /// Returns the option or the variable that has set this key, or one below it.
    fn source_of(&self, key: &str) -> Option<String> {
        let is_it = |set: &str| {
            set.strip_prefix(key)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if self.api.iter().any(|(set, _)| is_it(set)) {
            return Some("a change over the API".to_owned());
        }
        let option = self.overrides.iter().rev().find(|(set, _)| is_it(set));
        if let Some((set, _)) = option {
            return Some(format!("--set {set}"));
        }
        let variables = std::env::vars_os().filter(|(_, value)| !value.is_empty());
        let named = variables.filter_map(|(name, _)| {
            let name = name.into_string().ok()?;
            let set = name.strip_prefix("DEIA__")?;
            let set = set.replace("__", ".").to_lowercase();
            is_it(&set).then(|| format!("environment {name}"))
        });
        named.take(usize::from(self.environment)).next()
    }

    fn merge(&self) -> Result<Value, ConfigError> {
        let mut builder =
            config::Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Yaml));
        if let Some(values) = &self.values {
            // JSON is YAML.
            let text = values.to_string();
            builder = builder.add_source(File::from_str(&text, FileFormat::Yaml));
        } else if let Some(path) = &self.file {
            let read = || std::fs::read_to_string(path);
            let text = self.text.clone().map_or_else(read, Ok);
            let text = text.map_err(|error| ConfigError::Unreadable {
                path: path.clone(),
                reason: error.to_string(),
            })?;
            builder = builder.add_source(File::from_str(without_mark(&text), FileFormat::Yaml));
        }
        if self.environment {
            builder = builder.add_source(
                Environment::with_prefix("DEIA")
                    .prefix_separator("__")
                    .separator("__")
                    .ignore_empty(true)
                    .try_parsing(true),
            );
        }
        for (key, value) in &self.overrides {
            // An empty value is the empty text, which is the default of many keys.
            let value = match value.trim() {
                "" => "''",
                _ => value,
            };
            let text = format!("value: {value}");
            let parsed = config::Config::builder()
                .add_source(File::from_str(&text, FileFormat::Yaml))
                .build()
                .and_then(|parsed| parsed.get::<config::Value>("value"))
                .map_err(|error| ConfigError::Malformed(format!("--set {key}: {error}")))?;
            builder = builder
                .set_override(key, parsed)
                .map_err(|error| ConfigError::Malformed(format!("--set {key}: {error}")))?;
        }
        let place = self.file.as_ref().map_or_else(
            || "the configuration".to_owned(),
            |path| path.display().to_string(),
        );
        let mut merged: Value = builder
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|error| {
                ConfigError::Malformed(format!("{place}: {}", readable_yaml(&error.to_string())))
            })?;
        for (key, value) in &self.api {
            set(&mut merged, key, value.clone());
        }
        Ok(merged)
    }
}

/// Returns the text without the byte order mark that some editors begin files with.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Rewords the error of a YAML parser about a duplicate key for people.
pub fn readable_yaml(said: &str) -> String {
    let twice = said.split_once("\"): duplicated key in mapping");
    let Some((before, place)) = twice else {
        return said.to_owned();
    };
    let key = before.rsplit_once("(\"").map_or(before, |(_, key)| key);
    let line = place.split_once(" line ").map(|(_, line)| line);
    let line = line.and_then(|line| line.split(' ').next());
    match line.and_then(|line| line.parse::<u64>().ok()) {
        // The parser reports its position after the value.
        Some(line) => format!("the key {key} is given twice, before line {line}"),
        None => format!("the key {key} is given twice"),
    }
}

/// Parses a settings file without validating it.
pub(crate) fn read_yaml(text: &str) -> Result<Value, ConfigError> {
    config::Config::builder()
        .add_source(File::from_str(without_mark(text), FileFormat::Yaml))
        .build()
        .and_then(config::Config::try_deserialize)
        .map_err(|error| ConfigError::Malformed(readable_yaml(&error.to_string())))
}

/// Values that are not valid settings, with the first fault that was found.
pub(super) struct Untyped {
    /// Key, and the location within its value.
    pub(super) at: String,
    /// Message of the deserializer.
    pub(super) said: String,
}

/// Converts values to settings, unchecked.
pub(super) fn typed(values: Value) -> Result<Config, Untyped> {
    serde_path_to_error::deserialize(values).map_err(|error| Untyped {
        at: error.path().to_string(),
        said: error.into_inner().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiled_in_file_is_complete_and_valid() {
        let config = Config::defaults().unwrap();
        assert_eq!(config.server.bind.to_string(), "127.0.0.1:8000");
        assert!(config.bots.seed.len() >= 3);
    }

    #[test]
    fn layers_override_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("my.yaml");
        std::fs::write(&path, "server:\n  keep_alive: 5s\n  workers: 3\n").unwrap();
        let config = Layers::default()
            .file(&path)
            .set("server.workers", "4")
            .set("tasks.types", "[general, a.b]")
            .load()
            .unwrap();
        assert_eq!(config.server.keep_alive.as_secs(), 5);
        assert_eq!(config.server.workers, 4);
        assert_eq!(config.tasks.types.len(), 2);
        assert_eq!(config.tasks.max_batch, 1000);
    }

    #[test]
    fn errors_name_key_value_and_range() {
        for (key, value, expected) in [
            (
                "server.workers",
                "300",
                "server.workers: 300 is not allowed; expected 0 to 256",
            ),
            (
                "server.bind",
                "0.0.0.0:8000",
                "server.bind: 0.0.0.0:8000 is not allowed; expected a loopback address",
            ),
            (
                "server.bind",
                "nonsense",
                "server.bind: \"nonsense\" is not allowed; expected an IP address and a port",
            ),
            (
                "tasks.default_timeout",
                "0s",
                "tasks.default_timeout: 0s is not allowed; expected 1s to 7days",
            ),
            (
                "tasks.max_content_bytes",
                "65MiB",
                "tasks.max_content_bytes: 65.0 MiB is not allowed; expected 1 B to 64.0 MiB",
            ),
            (
                "tasks.retry.jitter",
                "1.5",
                "tasks.retry.jitter: 1.5 is not allowed; expected 0 to 1",
            ),
            (
                "server.no_such_key",
                "1",
                "--set server.no_such_key: no such setting",
            ),
            (
                "server.bnid",
                "1",
                "--set server.bnid: no such setting; did you mean server.bind?",
            ),
            ("zzz", "1", "--set zzz: no such setting"),
            (
                "server.workers",
                "many",
                "server.workers: \"many\" is not allowed; expected a whole number, 0 to 256 (set by --set server.workers)",
            ),
            ("store.url", "postgres://h/d", "expected `sqlite`"),
        ] {
            let error = Layers::default()
                .set(key, value)
                .load()
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{key}={value}: {error}");
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let error = Layers::default()
            .set("server.workers", "300")
            .set("tasks.max_batch", "0")
            .load()
            .unwrap_err();
        assert!(
            matches!(&error, ConfigError::Invalid(found) if found.len() == 2),
            "{error}"
        );
    }

    #[test]
    fn nothing_is_the_empty_text() {
        let layers = Layers::default().set("server.tls.client_ca_file", "");
        let config = layers.load().unwrap();
        assert_eq!(config.server.tls.client_ca_file.as_os_str(), "");
    }

    #[test]
    fn problems_of_a_file_name_it_once() {
        let text = "server: { workers: 300, bnid: 1 }\n";
        let error = Layers::default().text("f.yaml", text).load().unwrap_err();
        assert_eq!(
            error.to_string(),
            "f.yaml: server.bnid: no such setting; did you mean server.bind?\n\
             server.workers: 300 is not allowed; expected 0 to 256 (set by f.yaml)"
        );
    }

    #[test]
    fn files_may_be_json() {
        let text = "{\n\t\"server\": {\n\t\t\"workers\": 3\n\t}\n}\n";
        for text in [text.to_owned(), text.replace('\t', "  ")] {
            let config = Layers::default().text("f.json", &*text).load().unwrap();
            assert_eq!(config.server.workers, 3, "{text}");
        }
    }

    #[test]
    fn byte_order_marks_are_no_part_of_a_key() {
        let text = "\u{feff}server:\n  workers: 3\n";
        let config = Layers::default().text("f.yaml", text).load().unwrap();
        assert_eq!(config.server.workers, 3);
    }

    #[test]
    fn duplicate_keys_are_reported_with_their_file() {
        let text = "server:\n  workers: 3\ntasks:\n  max_batch: 3\nserver:\n  workers: 3\n";
        let error = Layers::default().text("f.yaml", text).load().unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with("f.yaml: the key server is given twice"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Layers::default()
            .file("/no/such/file.yaml")
            .load()
            .unwrap_err();
        assert!(
            error.to_string().starts_with("/no/such/file.yaml: "),
            "{error}"
        );
    }
}
