//! Everything that is wrong with a file of settings, and what it changes.

use serde_json::Value;

use super::{
    Config, ConfigError, Problem,
    document::leaves,
    load::{read_yaml, typed},
};

/// Everything that is wrong with the settings in `text`; `Ok` of what they come to.
///
/// # Errors
/// All problems at once, unknown keys among them; or it is not YAML.
pub fn inspect(text: &str) -> Result<Config, ConfigError> {
    let given = read_yaml(text)?;
    let defaults = to_value(&Config::defaults()?)?;
    let mut merged = defaults.clone();
    let mut problems = Vec::new();
    for (key, value) in given_keys(&given, &defaults, "", &mut problems) {
        let mut only = defaults.clone();
        set(&mut only, &key, value.clone());
        match typed(only) {
            Ok(_) => set(&mut merged, &key, value),
            Err(error) => problems.push(wrong(key, &value, &error.to_string())),
        }
    }
    let config = typed(merged)?;
    problems.extend(config.problems());
    match problems.is_empty() {
        true => Ok(config),
        false => Err(ConfigError::Invalid(problems)),
    }
}

/// What `config` has otherwise than the defaults: key, default, value.
///
/// # Errors
/// The compiled-in file is wrong, which a test rules out.
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

/// The keys that are given a value, down to where the defaults have no keys below.
fn given_keys(
    given: &Value,
    defaults: &Value,
    above: &str,
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
            None => problems.push(unknown(key, value, name, defaults)),
            Some(Value::Object(below)) if !below.is_empty() && value.is_object() => {
                found.extend(given_keys(value, &defaults[name], &key, problems));
            }
            Some(_) => found.push((key, value.clone())),
        }
    }
    found
}

fn unknown(key: String, value: &Value, name: &str, siblings: &Value) -> Problem {
    let names = siblings
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.keys());
    let nearest = names.min_by_key(|other| distance(name, other));
    let allowed = match nearest {
        Some(nearest) => format!("a known key; the nearest is {nearest}"),
        None => "a known key".into(),
    };
    Problem {
        key,
        value: value.to_string(),
        allowed,
    }
}

fn wrong(key: String, value: &Value, error: &str) -> Problem {
    let allowed = error
        .rsplit_once("expected ")
        .map_or(error, |(_, after)| after);
    Problem {
        key,
        value: value.to_string(),
        allowed: allowed.to_owned(),
    }
}

fn set(root: &mut Value, key: &str, value: Value) {
    let mut at = root;
    for name in key.split('.') {
        at = &mut at[name];
    }
    *at = value;
}

/// How many characters must be added, removed or replaced (Levenshtein 1966).
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
        let error = inspect(text).unwrap_err().to_string();
        for expected in [
            "server.workers: 300 is not allowed; expected 0 to 256",
            "server.keep_alive: \"soon\" is not allowed",
            "server.bnid: \"x\" is not allowed; expected a known key; the nearest is bind",
            "tasks.max_batch: \"many\" is not allowed; expected u32",
            "zzz: 1 is not allowed",
        ] {
            assert!(error.contains(expected), "{expected}: {error}");
        }
        assert_eq!(error.lines().count(), 5, "{error}");
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
