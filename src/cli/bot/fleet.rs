//! Files that describe a fleet of bots, and the difference between one and the hive. Pure.

use std::collections::{BTreeMap, BTreeSet};

use deia_hive::config::without_mark;
use deia_model::{Bot, BotName, BotSpec, Labels};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use yaml_rust2::{Yaml, YamlLoader};

/// Number of bots that one entry makes at most. Fixed: of the command line, which has no
/// settings.
const MAX_COUNT: u64 = 1_000;

type Fields = Map<String, Value>;

/// The content of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FleetFile {
    /// Group of the bots that name none.
    group: Option<String>,
    /// Labels of all bots.
    #[serde(default)]
    labels: Labels,
    /// Parts of specifications, by group.
    #[serde(default)]
    groups: BTreeMap<String, Fields>,
    /// Parts of specifications, by name.
    #[serde(default)]
    templates: BTreeMap<String, Fields>,
    bots: Vec<Fields>,
}

/// A bot that a file asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) name: BotName,
    pub(super) spec: BotSpec,
    /// True if the bot is launched when it is new.
    pub(super) launch: bool,
}

/// A fleet, as a file describes it.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) bots: Vec<Wanted>,
    /// Groups that the file is about.
    groups: BTreeSet<String>,
    /// Labels that it gives to all bots.
    labels: Labels,
}

impl Fleet {
    /// Reads a file, YAML or JSON.
    ///
    /// # Errors
    /// A place in the file, and what is wrong there.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let file: FleetFile = typed(parse(without_mark(text))?)
            .map_err(|error| error.trim_start_matches(['.', ':', ' ']).to_owned())?;
        let (mut bots, mut names) = (Vec::new(), BTreeSet::new());
        let mut groups: BTreeSet<String> = file.groups.keys().cloned().collect();
        groups.extend(file.group.clone());
        for (at, entry) in file.bots.iter().enumerate() {
            let at = format!("bots[{at}]");
            for wanted in file.expand(entry).map_err(|error| format!("{at}{error}"))? {
                if !names.insert(wanted.name.clone()) {
                    return Err(format!("{at}: the name {} is there twice", wanted.name));
                }
                groups.extend(wanted.spec.group.clone());
                bots.push(wanted);
            }
        }
        Ok(Self {
            bots,
            groups,
            labels: file.labels,
        })
    }

    /// Returns whether the file says which bots are its own, so that others can be removed.
    pub(super) fn has_scope(&self) -> bool {
        !self.groups.is_empty() || !self.labels.is_empty()
    }

    /// Returns whether a bot belongs to the fleet: it is in one of the groups, or has all labels
    /// if the file names no group.
    fn owns(&self, bot: &Bot) -> bool {
        match (&bot.group, self.groups.is_empty()) {
            (Some(group), false) => self.groups.contains(group),
            (None, false) => false,
            (_, true) => {
                let has = |(key, value): (&String, &String)| bot.labels.get(key) == Some(value);
                !self.labels.is_empty() && self.labels.iter().all(has)
            }
        }
    }
}

/// Reads YAML, of which JSON is a part for all that matters here.
fn parse(text: &str) -> Result<Value, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    let documents = YamlLoader::load_from_str(text).map_err(|error| error.to_string())?;
    match documents.as_slice() {
        [document] => json_of(document),
        documents => Err(format!("has {} documents; expected one", documents.len())),
    }
}

fn json_of(yaml: &Yaml) -> Result<Value, String> {
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Boolean(yes) => Value::Bool(*yes),
        Yaml::Integer(number) => Value::from(*number),
        Yaml::Real(text) => {
            let number: f64 = text.parse().map_err(|_| format!("{text} is no number"))?;
            Value::from(number)
        }
        Yaml::String(text) => Value::from(text.as_str()),
        Yaml::Array(items) => items.iter().map(json_of).collect::<Result<_, _>>()?,
        Yaml::Hash(fields) => {
            let field = |(key, value): (&Yaml, &Yaml)| match key.as_str() {
                Some(key) => Ok((key.to_owned(), json_of(value)?)),
                None => Err(format!("the key {key:?} is no text; put it into quotes")),
            };
            Value::Object(fields.iter().map(field).collect::<Result<_, String>>()?)
        }
        Yaml::Alias(_) | Yaml::BadValue => return Err("has a value that cannot be read".into()),
    })
}

/// Converts a value; the error begins with the place, if there is one.
fn typed<T: for<'de> Deserialize<'de>>(value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        match error.path().to_string().as_str() {
            "." => format!(": {}", error.inner()),
            path => format!(".{path}: {}", error.inner()),
        }
    })
}

impl FleetFile {
    /// Returns the bots of an entry. The error begins with the place in it.
    fn expand(&self, entry: &Fields) -> Result<Vec<Wanted>, String> {
        let mut entry = entry.clone();
        let names = names_of(&mut entry)?;
        let launch = match entry.remove("launch") {
            None => true,
            Some(Value::Bool(launch)) => launch,
            Some(_) => return Err(".launch: expected true or false".into()),
        };
        let template = text_of(&mut entry, "template")?;
        let group = text_of(&mut entry, "group")?.or_else(|| self.group.clone());
        let spec = self.spec(entry, template, group)?;
        let wanted = names.into_iter().map(|name| Wanted {
            name,
            spec: spec.clone(),
            launch,
        });
        Ok(wanted.collect())
    }

    /// Returns the specification of an entry: later parts go over earlier ones.
    fn spec(
        &self,
        overrides: Fields,
        template: Option<String>,
        group: Option<String>,
    ) -> Result<BotSpec, String> {
        let mut spec = Value::Object(Map::new());
        let labels = serde_json::to_value(&self.labels).unwrap_or_default();
        merge(
            &mut spec,
            Value::Object([("labels".into(), labels)].into_iter().collect()),
        );
        if let Some(part) = group.as_ref().and_then(|group| self.groups.get(group)) {
            merge(&mut spec, Value::Object(part.clone()));
        }
        if let Some(name) = &template {
            let part = self.templates.get(name);
            let part = part.ok_or_else(|| format!(".template: there is no template {name}"))?;
            merge(&mut spec, Value::Object(part.clone()));
        }
        merge(&mut spec, Value::Object(overrides));
        let mut spec: BotSpec = typed(spec)?;
        (spec.template, spec.group) = (template, group);
        match spec.violations().into_iter().next() {
            None => Ok(spec),
            Some(found) => {
                let place = found.pointer.replace('/', ".");
                Err(format!("{place}: {}", found.detail))
            }
        }
    }
}

/// Takes the names of an entry: `name`, or `names`, or `name` with `count` for name-1 and so on.
fn names_of(entry: &mut Fields) -> Result<Vec<BotName>, String> {
    let name = text_of(entry, "name")?;
    let names = entry.remove("names");
    let names: Vec<String> = match (name, names, entry.remove("count")) {
        (Some(name), None, None) => vec![name],
        (None, Some(names), None) => typed(names).map_err(|error| format!(".names{error}"))?,
        (Some(name), None, Some(count)) => {
            let count = count
                .as_u64()
                .filter(|count| (1..=MAX_COUNT).contains(count));
            let count = count.ok_or(".count: expected a number from 1 to 1000")?;
            (1..=count).map(|n| format!("{name}-{n}")).collect()
        }
        _ => return Err(": expected name, names, or name and count".into()),
    };
    let parse = |name: &String| {
        name.parse()
            .map_err(|error| format!(": the name {name} is not valid: {error}"))
    };
    names.iter().map(parse).collect()
}

fn text_of(entry: &mut Fields, field: &str) -> Result<Option<String>, String> {
    match entry.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!(".{field}: expected a text")),
    }
}

/// Merges a part into a value: members go over those of the same name, `null` removes one (RFC
/// 7396). Executors of different kinds have no members in common, so one replaces the other.
fn merge(into: &mut Value, part: Value) {
    let (Value::Object(fields), Value::Object(part)) = (&mut *into, &part) else {
        *into = part;
        return;
    };
    for (name, value) in part {
        let other_kind = |old: &Value| {
            let kind = value.get("kind");
            name == "executor" && kind.is_some() && old.get("kind") != kind
        };
        if value.is_null() || fields.get(name).is_some_and(other_kind) {
            fields.remove(name);
        }
        if !value.is_null() {
            merge(
                fields.entry(name.clone()).or_insert(Value::Null),
                value.clone(),
            );
        }
    }
}

/// The kind of a change to a bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Create,
    Change,
    Unchanged,
    Remove,
}

/// A step from the bots of the hive to the fleet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) name: BotName,
    pub(super) kind: Kind,
    /// Version that the bot has now.
    pub(super) version: Option<u64>,
    /// Members that change, from what to what.
    pub(super) changes: Vec<String>,
    pub(super) wanted: Option<Wanted>,
}

/// Returns the steps to the fleet, those of the file in its order and then the removals.
pub(super) fn plan(fleet: &Fleet, present: &[Bot], prune: bool) -> Vec<Step> {
    let find = |name: &BotName| present.iter().find(|bot| bot.id == *name);
    let step = |wanted: &Wanted| {
        let old = find(&wanted.name);
        let changes = old.map_or(Vec::new(), |old| difference(&old.spec(), &wanted.spec));
        Step {
            name: wanted.name.clone(),
            kind: match old {
                None => Kind::Create,
                Some(_) if changes.is_empty() => Kind::Unchanged,
                Some(_) => Kind::Change,
            },
            version: old.map(|old| old.version),
            changes,
            wanted: Some(wanted.clone()),
        }
    };
    let is_left = |bot: &&Bot| !fleet.bots.iter().any(|wanted| wanted.name == bot.id);
    let removal = |bot: &Bot| Step {
        name: bot.id.clone(),
        kind: Kind::Remove,
        version: Some(bot.version),
        changes: Vec::new(),
        wanted: None,
    };
    let left = present.iter().filter(|bot| prune && fleet.owns(bot));
    let removals = left.filter(is_left).map(removal);
    fleet.bots.iter().map(step).chain(removals).collect()
}

/// Returns the members that differ, as `member: old -> new`.
fn difference(old: &BotSpec, new: &BotSpec) -> Vec<String> {
    let value = |spec: &BotSpec| serde_json::to_value(spec).unwrap_or_default();
    let mut found = Vec::new();
    differ("", Some(&value(old)), Some(&value(new)), &mut found);
    found
}

fn differ(at: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<String>) {
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let at = match at {
                    "" => name.clone(),
                    at => format!("{at}.{name}"),
                };
                differ(&at, old.get(name), new.get(name), found);
            }
        }
        (old, new) if old == new => {}
        (old, new) => {
            let text = |value: Option<&Value>| value.map_or("none".into(), Value::to_string);
            found.push(format!("{at}: {} -> {}", text(old), text(new)));
        }
    }
}

#[cfg(test)]
mod tests;
