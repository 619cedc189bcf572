//! Differences between settings, and the settings whose values are secret.

use deia_model::SettingChange;
use serde_json::Value;

use super::{document::leaves, inspect::set, provenance::is_within};

/// Keys whose values are secret, or may have secrets in them: the environment of programs, and
/// URLs with tokens. Their values are shown nowhere.
const SECRET: &[&str] = &["bots.seed", "telemetry.otlp_endpoint"];

/// Returns true if the value of a key must not be shown.
pub(crate) fn is_secret(key: &str) -> bool {
    SECRET.iter().any(|secret| is_within(key, secret))
}

/// Returns the differences, without the values of secrets.
pub(crate) fn changes(before: &Value, after: &Value) -> Vec<SettingChange> {
    let (before, after) = (leaves(before), leaves(after));
    let find = |leaves: &[(String, Value)], key: &str| {
        let found = leaves.iter().find(|(other, _)| other == key);
        found.map(|(_, value)| value.clone())
    };
    let mut found = Vec::new();
    for (key, to) in &after {
        let from = find(&before, key);
        if from.as_ref() != Some(to) {
            found.push(change(key, from, Some(to.clone())));
        }
    }
    for (key, from) in &before {
        if find(&after, key).is_none() {
            found.push(change(key, Some(from.clone()), None));
        }
    }
    found
}

fn change(key: &str, from: Option<Value>, to: Option<Value>) -> SettingChange {
    let secret = is_secret(key);
    let shown = |value: Option<Value>| value.filter(|_| !secret);
    SettingChange {
        key: key.to_owned(),
        from: shown(from),
        to: shown(to),
        secret,
    }
}

/// Removes the values of secrets.
pub(crate) fn without_secrets(mut values: Value) -> Value {
    for key in SECRET {
        let (above, name) = key.rsplit_once('.').unwrap_or(("", key));
        let group = match above {
            "" => Some(&mut values),
            above => values.pointer_mut(&pointer(above)),
        };
        if let Some(fields) = group.and_then(Value::as_object_mut) {
            fields.remove(name);
        }
    }
    values
}

/// Returns values with the secrets of others.
pub(crate) fn with_secrets_of(values: Value, others: &Value) -> Value {
    let mut values = match values {
        Value::Null => Value::Object(serde_json::Map::new()),
        values => values,
    };
    for key in SECRET {
        if let Some(secret) = others.pointer(&pointer(key)) {
            set(&mut values, key, secret.clone());
        }
    }
    values
}

/// Returns the JSON pointer of a key.
pub(crate) fn pointer(key: &str) -> String {
    format!("/{}", key.replace('.', "/"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_have_no_secrets() {
        let before =
            json!({"a": 1, "b": {"c": [1]}, "telemetry": {"otlp_endpoint": "http://t:old"}});
        let after = json!({"a": 2, "b": {"d": 1}, "telemetry": {"otlp_endpoint": "http://t:new"}});
        let found = serde_json::to_value(changes(&before, &after)).unwrap();
        let expected = json!([
            {"key": "a", "from": 1, "to": 2},
            {"key": "b.d", "to": 1},
            {"key": "telemetry.otlp_endpoint", "secret": true},
            {"key": "b.c", "from": [1]},
        ]);
        assert_eq!(found, expected);
        let bare =
            without_secrets(json!({"bots": {"seed": ["x"], "max_bots": 3}, "telemetry": {}}));
        assert_eq!(bare, json!({"bots": {"max_bots": 3}, "telemetry": {}}));
        assert_eq!(without_secrets(json!(null)), json!(null));
        let filled = with_secrets_of(bare, &json!({"bots": {"seed": ["y"], "max_bots": 9}}));
        let expected = json!({"bots": {"seed": ["y"], "max_bots": 3}, "telemetry": {}});
        assert_eq!(filled, expected);
    }
}
