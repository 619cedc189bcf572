//! Inspects a settings file: finds all its problems, and its differences from the defaults.

use serde_json::Value;

use super::{
    Config, ConfigError, Problem,
    document::{Setting, leaves, settings},
    load::{Untyped, read_yaml, typed},
};

/// Checks the settings in `text`, and returns the configuration that results from them.
///
/// # Errors
/// All problems at once, including unknown keys; or the text is not YAML.
pub fn inspect(text: &str) -> Result<Config, ConfigError> {
    judge(&read_yaml(text)?)
}

/// Returns the settings with these values; absent ones have their defaults.
///
/// # Errors
/// All problems at once, including unknown keys.
pub(super) fn judge(given: &Value) -> Result<Config, ConfigError> {
    let defaults = to_value(&Config::defaults()?)?;
    let known = settings()?;
    let mut merged = defaults.clone();
    let mut problems = Vec::new();
    for (key, value) in given_keys(given, &defaults, "", &known, &mut problems) {
        let mut only = defaults.clone();
        set(&mut only, &key, value.clone());
        match typed(only) {
            Ok(_) => set(&mut merged, &key, value),
            Err(error) => problems.push(wrong(&key, &value, &error, &known)),
        }
    }
    let config = typed(merged).map_err(|error| ConfigError::Malformed(error.said))?;
    problems.extend(config.problems());
    match problems.is_empty() {
        true => Ok(config),
        false => Err(ConfigError::Invalid(problems)),
    }
}

/// Returns the settings in which `config` differs from the defaults: key, default, value.
///
/// # Errors
/// The compiled-in file is invalid, which a test rules out.
pub fn differences(config: &Config) -> Result<Vec<(String, Value, Value)>, ConfigError> {
    let defaults = to_value(&Config::defaults()?)?;
    let mut found = Vec::new();
    for (key, value) in leaves(&to_value(config)?) {
        let pointer = format!("/{}", key.replace('.', "/"));
        let default = defaults.pointer(&pointer).cloned().unwrap_or_default();
        if default != value {
            found.push((key, default, value));
        }
    }
    Ok(found)
}

fn to_value(config: &Config) -> Result<Value, ConfigError> {
    serde_json::to_value(config).map_err(|error| ConfigError::Malformed(error.to_string()))
}

/// Collects the keys that are given a value, down to the level of the defaults' lowest keys.
fn given_keys(
    given: &Value,
    defaults: &Value,
    above: &str,
    known: &[Setting],
    problems: &mut Vec<Problem>,
) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (name, value) in given.as_object().into_iter().flatten() {
        let key = if above.is_empty() {
            name.clone()
        } else {
            format!("{above}.{name}")
        };
        match defaults.get(name) {
            None => problems.push(unknown(key, known)),
            Some(Value::Object(below)) if !below.is_empty() && value.is_object() => {
                found.extend(given_keys(value, &defaults[name], &key, known, problems));
            }
            Some(_) => found.push((key, value.clone())),
        }
    }
    found
}

fn unknown(key: String, known: &[Setting]) -> Problem {
    Problem {
        allowed: nearest(&key, known).unwrap_or_default(),
        value: None,
        source: None,
        key,
    }
}

/// Returns the setting that an unknown key most likely means, if one is similar: by its name
/// below other keys, or up to a few letters.
fn nearest(key: &str, known: &[Setting]) -> Option<String> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let keys = || known.iter().map(|setting| setting.key.as_str());
    let near = keys().min_by_key(|other| distance(key, other))?;
    if distance(key, near) <= (last(key).chars().count() / 3).max(2) {
        return Some(near.to_owned());
    }
    let mut same = keys().filter(|other| last(other) == last(key));
    match (same.next(), same.next()) {
        (Some(only), None) => Some(only.to_owned()),
        _ => None,
    }
}

fn wrong(key: &str, value: &Value, error: &Untyped, known: &[Setting]) -> Problem {
    let said = error.said.as_str();
    // The error is in a part of a list or of a map.
    let is_inner = error.at.len() > key.len() && error.at.starts_with(key);
    if is_inner {
        return inner(&error.at, value, key, said, known);
    }
    let of_kind = said.starts_with("invalid type") || said.starts_with("invalid value");
    let setting = known.iter().find(|setting| setting.key == key);
    let expected = said.rsplit_once("expected ").map(|(_, after)| after);
    let allowed = match (setting, expected) {
        (None, _) => {
            let mut below = known.iter().map(|setting| &setting.key);
            let first = below.find(|other| other.starts_with(&format!("{key}.")));
            format!(
                "settings below it, such as {}",
                first.map_or(key, |key| key)
            )
        }
        (Some(setting), _) if of_kind => of_setting(setting),
        (_, Some(expected)) => in_words(expected),
        (Some(_), None) => said.to_owned(),
    };
    Problem {
        key: key.to_owned(),
        value: Some(value.to_string()),
        allowed,
        source: None,
    }
}

/// Returns the problem with a part of the value of a key.
fn inner(at: &str, value: &Value, key: &str, said: &str, known: &[Setting]) -> Problem {
    let unknown = said.strip_prefix("unknown field `");
    if let Some(name) = unknown.and_then(|rest| rest.split('`').next()) {
        let is_it = at.rsplit('.').next() == Some(name);
        let key = match is_it {
            true => at.to_owned(),
            false => format!("{at}.{name}"),
        };
        return self::unknown(key, known);
    }
    let pointer = at[key.len()..].replace('[', ".").replace(']', "");
    let part = value.pointer(&pointer.replace('.', "/")).unwrap_or(value);
    let allowed = match said.rsplit_once("expected ") {
        Some((_, expected)) => in_words(expected),
        None => match said.strip_prefix("missing field ") {
            Some(field) => format!("{field} in it"),
            None => said.to_owned(),
        },
    };
    Problem {
        key: at.to_owned(),
        value: Some(part.to_string()),
        allowed,
        source: None,
    }
}

fn of_setting(setting: &Setting) -> String {
    let kind = match setting.kind.as_str() {
        "duration" => "a duration such as 30s",
        "size" => "a size such as 64KiB",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "list" => "a list",
        "map" => "names with values",
        "address" => "an IP address and a port",
        _ => "a text",
    };
    match &setting.allowed {
        Some(allowed) => format!("{kind}, {allowed}"),
        None => kind.to_owned(),
    }
}

/// Returns the type that a deserializer expects, in the words of the documentation.
fn in_words(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" | "i64" => "a whole number, 0 or more".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "names with values".to_owned(),
        "a string" | "path string" | "a borrowed string" => "a text".to_owned(),
        of if of.starts_with("struct ") || of.contains("tagged enum") => {
            "settings below it".to_owned()
        }
        other => other.to_owned(),
    }
}

pub(super) fn set(root: &mut Value, key: &str, value: Value) {
    let mut at = root;
    for name in key.split('.') {
        at = &mut at[name];
    }
    *at = value;
}

/// Returns the number of characters to add, remove or replace (Levenshtein 1966).
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = before + usize::from(x != *y);
            before = row[j + 1];
            row[j + 1] = replaced.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told_at_once() {
        let text = "server: { workers: 300, keep_alive: soon, bnid: x }\ntasks: { max_batch: many }\nzzz: 1\n";
        let error = inspect(text).unwrap_err().to_string() + "\n";
        for expected in [
            "server.workers: 300 is not allowed; expected 0 to 256",
            "server.keep_alive: \"soon\" is not allowed",
            "server.bnid: no such setting; did you mean server.bind?",
            "tasks.max_batch: \"many\" is not allowed; expected a whole number, 1 to ",
            "zzz: no such setting\n",
        ] {
            assert!(error.contains(expected), "{expected}: {error}");
        }
        assert_eq!(error.lines().count(), 5, "{error}");
    }

    #[test]
    fn values_of_a_wrong_type_are_told_in_words() {
        for (text, expected) in [
            (
                "server: 3",
                "server: 3 is not allowed; expected settings below it, such as server.",
            ),
            (
                "server: { tls: { client_ca_file: [] } }",
                "server.tls.client_ca_file: [] is not allowed; expected a text",
            ),
            (
                "tasks: { types: 3 }",
                "tasks.types: 3 is not allowed; expected a list",
            ),
            (
                "tasks: { max_batch: -1 }",
                "tasks.max_batch: -1 is not allowed; expected a whole number, 1 to",
            ),
            (
                "server: { keep_alive: [] }",
                "server.keep_alive: [] is not allowed; expected a duration such as 30s",
            ),
            (
                "max_batch: 3",
                "max_batch: no such setting; did you mean tasks.max_batch?",
            ),
            ("foo: 3", "foo: no such setting"),
            ("bots: { seed: [{ name: 3 }] }", "bots.seed[0]"),
            (
                "tasks: { by_type: { a: { colour: 1 } } }",
                "tasks.by_type.a.colour: no such setting",
            ),
        ] {
            let error = inspect(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
            for word in ["u32", "u16", "struct", "sequence", "null"] {
                assert!(!error.contains(word), "{text}: {error}");
            }
        }
        assert_eq!(
            inspect("foo: 3").unwrap_err().to_string(),
            "foo: no such setting"
        );
    }

    #[test]
    fn what_differs_is_told_and_nothing_else() {
        let config = inspect("server: { workers: 3, keep_alive: 75s }\n").unwrap();
        let found = differences(&config).unwrap();
        assert_eq!(found, [("server.workers".to_owned(), 0.into(), 3.into())]);
        assert_eq!(differences(&inspect("").unwrap()).unwrap(), []);
    }

    #[test]
    fn distances() {
        for (a, b, n) in [
            ("", "", 0),
            ("bind", "bnid", 2),
            ("a", "", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), n, "{a} {b}");
        }
    }
}
