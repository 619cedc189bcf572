//! Documentation of the settings, for people and for programs: read from the file of the defaults
//! (the meaning of each key), from the checks (the allowed values) and from the types (the kind
//! of each value).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Config, ConfigError,
    check::{Kind, Rule},
    live::TakesEffect,
};

pub(super) const DEFAULTS: &str = include_str!("../../../../config/deia.yaml");
/// Guide to changes of settings while the hive runs, which the reference begins with.
const GUIDE: &str = include_str!("guide.md");
/// Keys with a bound that is the value of another key, which no schema can express.
const RELATIVE: &[&str] = &[
    "bots.last_port",
    "degradation.cpu_and_commits.clear_percent",
    "degradation.descriptors.clear_percent",
    "degradation.disk_free.clear_percent",
    "degradation.healthy_bots.clear_percent",
    "degradation.io_stall.clear_percent",
    "degradation.memory.clear_percent",
    "degradation.memory_stall.clear_percent",
];

/// Documentation of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Key in dotted form.
    pub key: String,
    /// Meaning of the key.
    pub doc: String,
    /// Kind of value that the key has.
    pub kind: String,
    /// Allowed values, if a check restricts them.
    pub allowed: Option<String>,
    /// Value of the key unless it is set.
    pub default: Value,
    /// Time at which a changed value takes effect.
    pub takes_effect: TakesEffect,
    rule: Option<Rule>,
}

impl Setting {
    /// Returns the environment variable that sets the key.
    pub fn variable(&self) -> String {
        format!("DEIA__{}", self.key.to_uppercase().replace('.', "__"))
    }
}

/// Returns every key, in the order of the file.
///
/// # Errors
/// The compiled-in file is invalid, which a test rules out.
pub fn settings() -> Result<Vec<Setting>, ConfigError> {
    let defaults = Config::defaults()?;
    let rules: BTreeMap<_, _> = defaults
        .rules()
        .into_iter()
        .map(|r| (r.key.clone(), r))
        .collect();
    let malformed = |error: serde_json::Error| ConfigError::Malformed(error.to_string());
    let values = serde_json::to_value(&defaults).map_err(malformed)?;
    let docs = comments(DEFAULTS);
    let mut found: Vec<Setting> = leaves(&values)
        .into_iter()
        .map(|(key, default)| {
            let rule = rules.get(&key).cloned();
            Setting {
                doc: doc_of(&docs, &key),
                kind: kind_of(&key, rule.as_ref(), &default).to_owned(),
                allowed: rule.as_ref().map(|rule| rule.allowed.clone()),
                default,
                takes_effect: TakesEffect::of(&key),
                key,
                rule,
            }
        })
        .collect();
    let place = |key: &str| docs.iter().position(|(name, _)| name == key);
    found.sort_by_key(|setting| place(&setting.key).unwrap_or(usize::MAX));
    Ok(found)
}

/// Returns every key without keys below it, and its value.
pub(super) fn leaves(values: &Value) -> Vec<(String, Value)> {
    fn walk(value: &Value, key: &str, found: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (name, field) in fields {
                    let key = if key.is_empty() {
                        name.clone()
                    } else {
                        format!("{key}.{name}")
                    };
                    walk(field, &key, found);
                }
            }
            leaf => found.push((key.to_owned(), leaf.clone())),
        }
    }
    let mut found = Vec::new();
    walk(values, "", &mut found);
    found
}

fn kind_of(key: &str, rule: Option<&Rule>, default: &Value) -> &'static str {
    match (rule.map(|rule| rule.kind), default) {
        (Some(Kind::Duration), _) => "duration",
        (Some(Kind::Size), _) => "size",
        (_, Value::Bool(_)) => "boolean",
        (_, Value::Number(number)) if number.is_f64() => "number",
        (_, Value::Number(_)) => "integer",
        (_, Value::Array(_)) => "list",
        (_, Value::Object(_)) => "map",
        _ if key == "server.bind" => "address",
        _ => "text",
    }
}

/// Returns the keys of the file in order, each with the comment above it.
fn comments(text: &str) -> Vec<(String, String)> {
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut found: Vec<(String, String)> = Vec::new();
    let mut said: Vec<String> = Vec::new();
    for line in text.lines() {
        let code = line.trim_start();
        if let Some(comment) = code.strip_prefix('#') {
            // Indented text is an example, and keeps its lines.
            match comment.strip_prefix("   ") {
                Some(example) => said.push(format!("\n{}", example.trim_end())),
                None => said.push(comment.trim().to_owned()),
            }
            continue;
        }
        let name = code.split(':').next().unwrap_or_default();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if name.is_empty() || !name.bytes().all(plain) {
            said.clear();
            continue;
        }
        let indent = line.len() - code.len();
        path.retain(|(other, _)| *other < indent);
        path.push((indent, name.to_owned()));
        let names: Vec<_> = path.iter().map(|(_, name)| name.as_str()).collect();
        found.push((names.join("."), said.join(" ").replace(" \n", "\n")));
        said.clear();
    }
    found
}

/// Returns the comment on a key: the one above itself, else the one above the keys directly
/// before it, else the one above the group that it belongs to.
fn doc_of(docs: &[(String, String)], key: &str) -> String {
    let at = docs.iter().position(|(name, _)| name == key);
    let parent = |key: &str| key.rsplit_once('.').map(|(above, _)| above.to_owned());
    let above = at.map_or(&docs[..0], |at| &docs[..=at]);
    let family = |name: &str| parent(name) == parent(key) || parent(key).as_deref() == Some(name);
    let near = above.iter().rev().take_while(|(name, _)| family(name));
    let mut texts = near.map(|(_, text)| text.clone());
    let found = texts.find(|text| !text.is_empty()).unwrap_or_default();
    match (found.is_empty(), parent(key)) {
        (true, Some(above)) => doc_of(docs, &above),
        _ => found,
    }
}

/// Returns the JSON Schema (2020-12) of a settings file.
///
/// # Errors
/// As [`settings`].
pub fn schema() -> Result<Value, ConfigError> {
    let mut root = object("Settings of deia. Every key may be absent.");
    for setting in settings()? {
        insert(&mut root, &setting.key, leaf_schema(&setting));
    }
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["$id"] = format!("urn:deia:schema:{}:Config", deia_model::SCHEMA_VERSION).into();
    root["title"] = "deia.yaml".into();
    Ok(root)
}

fn object(doc: &str) -> Value {
    json!({"type": "object", "description": doc, "properties": {}, "additionalProperties": false})
}

fn insert(root: &mut Value, key: &str, leaf: Value) {
    let mut at = root;
    let mut names = key.split('.').peekable();
    while let Some(name) = names.next() {
        let properties = &mut at["properties"];
        if names.peek().is_none() {
            properties[name] = leaf;
            return;
        }
        if properties[name].is_null() {
            properties[name] =
                json!({"type": "object", "properties": {}, "additionalProperties": false});
        }
        at = &mut properties[name];
    }
}

fn leaf_schema(setting: &Setting) -> Value {
    let mut schema = match setting.kind.as_str() {
        "duration" => json!({"type": "string", "examples": ["500ms", "30s", "5m", "1day"]}),
        "size" => {
            json!({"type": ["string", "integer"], "minimum": 0, "examples": ["64KiB", "1MiB"]})
        }
        "boolean" => json!({"type": "boolean"}),
        "integer" => json!({"type": "integer"}),
        "number" => json!({"type": "number"}),
        "list" => json!({"type": "array"}),
        "map" => json!({"type": "object"}),
        _ => json!({"type": "string"}),
    };
    if let Some(fields) = schema.as_object_mut() {
        bounds(fields, setting);
        fields.insert("description".into(), setting.doc.clone().into());
        fields.insert("default".into(), setting.default.clone());
        let takes_effect = setting.takes_effect.as_str();
        fields.insert("x-deia-takes-effect".into(), takes_effect.into());
    }
    schema
}

fn bounds(fields: &mut Map<String, Value>, setting: &Setting) {
    let Some(rule) = &setting.rule else { return };
    if rule.kind == Kind::Number && !RELATIVE.contains(&setting.key.as_str()) {
        fields.insert("minimum".into(), rule.least.clone());
        fields.insert("maximum".into(), rule.most.clone());
    }
}

/// Returns the content of `docs/CONFIGURATION.md`.
///
/// # Errors
/// As [`settings`].
pub fn page() -> Result<String, ConfigError> {
    let mut out = "# Configuration\n\n\
        Written from [`config/deia.yaml`](../config/deia.yaml), which is compiled in and has all\n\
        defaults, and from the checks; a test fails when it is stale.\n\
        `DEIA_BLESS=1 cargo test -p deia-hive --lib config` generates it and\n\
        [`config/schema.json`](../config/schema.json).\n\n\
        A file needs only the keys that differ. The environment overrides the file, `--set key=value`\n\
        overrides both. `deia config check FILE` lists all errors of a file,\n\
        `deia config diff FILE` its differences from the defaults. Durations: `500ms`, `30s`, `5m`, `2h`, `1day`.\n\
        Sizes: `64KiB`, `1MiB`, `2GiB`.\n\n\
"
        .to_owned();
    out += GUIDE;
    let mut group = String::new();
    for setting in settings()? {
        let first = setting.key.split('.').next().unwrap_or_default();
        if group != first {
            group = first.to_owned();
            out += &format!(
                "\n## {group}\n\n| key | type | allowed | default | takes effect | meaning |\n|---|---|---|---|---|---|\n"
            );
        }
        let cell = |text: &str| text.replace('|', "\\|");
        let allowed = setting.allowed.as_deref().unwrap_or_default();
        let default = match &setting.default {
            Value::String(text) => text.clone(),
            Value::Array(items) if items.len() > 1 => {
                format!("{} of them, see the file", items.len())
            }
            other => other.to_string(),
        };
        out += &format!(
            "| `{}`<br>`{}` | {} | {} | `{default}` | {} | {} |\n",
            setting.key,
            setting.variable(),
            setting.kind,
            cell(allowed),
            setting.takes_effect.as_str(),
            cell(&in_cell(&setting.doc))
        );
    }
    Ok(out)
}

/// Writes the meaning of a setting into one line of a table, its examples line by line.
fn in_cell(doc: &str) -> String {
    let mut lines = doc.split('\n');
    let mut out = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        let code = line.trim_start();
        let indent = "&nbsp;".repeat(line.len() - code.len());
        out += &format!("<br>{indent}`{code}`");
    }
    out
}

#[cfg(test)]
mod tests {
    use deia_model::duration::in_days;

    use super::*;

    fn assert_current(name: &str, text: &str) {
        let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(name);
        if std::env::var_os("DEIA_BLESS").is_some() {
            std::fs::write(&path, text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "{name} is stale: DEIA_BLESS=1 cargo test -p deia-hive --lib config"
        );
    }

    #[test]
    fn the_committed_documents_are_current() {
        assert_current("docs/CONFIGURATION.md", &page().unwrap());
        let schema = serde_json::to_string_pretty(&schema().unwrap()).unwrap() + "\n";
        assert_current("config/schema.json", &schema);
    }

    #[test]
    fn every_key_is_in_the_file_and_says_what_it_means() {
        let docs = comments(DEFAULTS);
        for setting in settings().unwrap() {
            let there = docs.iter().any(|(key, _)| *key == setting.key);
            assert!(there, "{} is not in config/deia.yaml", setting.key);
            assert!(!setting.doc.is_empty(), "{} has no comment", setting.key);
        }
    }

    #[test]
    fn every_duration_of_the_settings_is_written_in_days() {
        let values = serde_json::to_value(Config::defaults().unwrap()).unwrap();
        let mut durations = 0;
        for (key, value) in leaves(&values) {
            let Some(text) = value.as_str() else { continue };
            let Ok(duration) = humantime_serde::re::humantime::parse_duration(text) else {
                continue;
            };
            assert_eq!(text, in_days(duration), "{key}");
            durations += 1;
        }
        assert!(durations > 20, "{durations}");
    }
}
