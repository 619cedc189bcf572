//! Settings for people.

use deia_model::{
    CurrentSettings, ReloadCheck, SettingChange, SettingSource, SettingValue, SettingsOutcome,
    SettingsReload, SettingsStatus, SettingsVersion,
};
use serde_json::Value;

use crate::cli::{
    format,
    output::Look,
    table::{Cell, Column, Table, Tone, or_dash},
};

pub(super) fn current(current: &CurrentSettings, look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("KEY"),
        Column::new("VALUE").flows(),
        Column::new("FROM").flows(),
    ]);
    for item in &current.items {
        table.row(vec![
            item.key.as_str().into(),
            shown(item.value.as_ref(), item.is_set),
            source(&item.source, look),
        ]);
    }
    format!("version {}\n{}", current.version, table.render(look))
}

pub(super) fn value(value: &SettingValue, look: &Look) -> String {
    let mut table = Table::fields();
    table.field("key", value.key.as_str());
    table.field("value", shown(value.value.as_ref(), value.is_set));
    table.field("from", source(&value.source, look));
    if let Some(below) = &value.without_api {
        table.field("without the change", text(below));
    }
    if let Some(default) = &value.default {
        table.field("default", text(default));
    }
    table.field("type", value.kind.as_str());
    table.field("allowed", or_dash(value.allowed.as_deref()));
    table.field("a change", value.on_change.as_str());
    table.field("meaning", format::one_line(&value.description));
    table.field("version", value.version);
    table.render(look)
}

pub(super) fn status(status: &SettingsStatus, look: &Look) -> String {
    let version = &status.in_force;
    let mut table = Table::fields();
    table.field("version", version.version);
    table.field("state", state(version));
    table.field("since", format::when_exactly(version.at, look.now));
    table.field(
        "by",
        format!("{} ({})", version.actor, version.origin.as_str()),
    );
    if let Some(until) = open(version).and(version.probation_until) {
        table.field("probation until", format::when_exactly(until, look.now));
    }
    if let Some(by) = open(version).and(version.confirm_by) {
        table.field("confirm by", format::when_exactly(by, look.now));
    }
    table.field("last confirmed", status.confirmed);
    if let Some(reason) = &status.taken_back {
        table.field("taken back", Cell::new(reason, Tone::Bad));
    }
    table.field("changed over the API", list(&status.overrides));
    table.field("at the next start", list(&status.at_restart));
    if let Some(file) = &status.file {
        table.field("file", format!("{} (watched: {})", file.path, file.watched));
        let state = match (file.in_force, file.rejected) {
            (true, _) => Cell::new("in force", Tone::Good),
            (_, true) => Cell::new("its content was taken back", Tone::Bad),
            (false, false) => Cell::new("differs from the settings in force", Tone::Attention),
        };
        table.field("file content", state);
        if let Some(problem) = &file.problem {
            table.field("file problem", Cell::new(problem, Tone::Bad));
        }
    }
    table.render(look)
}

pub(super) fn reload(done: &SettingsReload, look: &Look) -> String {
    let mut out = changes(&done.changes, look);
    for key in &done.at_restart {
        out += &format!("{key} takes effect at the next start\n");
    }
    let version = done.version;
    out += &match done.applied {
        true => format!("version {version} is in force\n"),
        false => format!("nothing was changed: version {version} is in force\n"),
    };
    if done.record_pending {
        out += "the store could not record it yet; the hive keeps trying\n";
    }
    out
}

pub(super) fn check(check: &ReloadCheck, look: &Look) -> String {
    let mut out = changes(&check.changes, look);
    for key in &check.at_restart {
        out += &format!("{key} takes effect at the next start\n");
    }
    if check.rejected {
        out += "the content of the file was taken back: it is not applied until it changes\n";
    }
    for problem in &check.problems {
        out += &format!("{problem}\n");
    }
    if out.is_empty() {
        out += match check.differs {
            true => "the file has changed, and no value differs\n",
            false => "the settings file is in force\n",
        };
    }
    out
}

pub(super) fn versions(versions: &[SettingsVersion], look: &Look) -> String {
    let mut table = Table::new(&[
        Column::new("VERSION").right(),
        Column::new("WHEN"),
        Column::new("BY"),
        Column::new("HOW"),
        Column::new("STATE"),
        Column::new("CHANGES").flows(),
        Column::new("REASON").flows(),
    ]);
    for version in versions {
        let how = match version.restores {
            Some(to) => format!("{} to {to}", version.origin.as_str()),
            None => version.origin.as_str().to_owned(),
        };
        let changes: Vec<_> = version.changes.iter().map(change).collect();
        table.row(vec![
            version.version.into(),
            format::when(version.at, look.now).into(),
            version.actor.as_str().into(),
            how.into(),
            state(version),
            or_dash((!changes.is_empty()).then(|| changes.join("; "))),
            or_dash(version.reason.as_deref()),
        ]);
    }
    table.render(look)
}

fn changes(changes: &[SettingChange], look: &Look) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        Column::new("KEY"),
        Column::new("BEFORE").flows(),
        Column::new("AFTER").flows(),
    ]);
    for change in changes {
        let side = |value: &Option<Value>| match (change.secret, value) {
            (true, _) => Cell::new("secret", Tone::Faint),
            (false, value) => or_dash(value.as_ref().map(text)),
        };
        table.row(vec![
            change.key.as_str().into(),
            side(&change.from),
            side(&change.to),
        ]);
    }
    table.render(look)
}

fn change(change: &SettingChange) -> String {
    let side = |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), text);
    match change.secret {
        true => format!("{} (secret)", change.key),
        false => format!(
            "{} {} -> {}",
            change.key,
            side(&change.from),
            side(&change.to)
        ),
    }
}

/// Returns the version if it may still be taken back.
fn open(version: &SettingsVersion) -> Option<&SettingsVersion> {
    (version.outcome == SettingsOutcome::Probation).then_some(version)
}

fn state(version: &SettingsVersion) -> Cell {
    let tone = match version.outcome {
        SettingsOutcome::Confirmed => Tone::Good,
        SettingsOutcome::Pending | SettingsOutcome::Probation => Tone::Attention,
        SettingsOutcome::Reverted | SettingsOutcome::Failed => Tone::Bad,
    };
    let waits = version.confirm_by.is_some() && version.confirmed_by.is_none();
    let text = match (version.outcome, waits) {
        (SettingsOutcome::Probation, true) => "waits for its confirmation",
        (SettingsOutcome::Probation, false) => "on probation",
        (outcome, _) => outcome.as_str(),
    };
    Cell::new(text, tone)
}

fn source(source: &SettingSource, look: &Look) -> Cell {
    let layer = source.layer.as_str();
    let text = match (&source.place, &source.by, source.at) {
        (_, Some(by), Some(at)) => format!("{layer}: {by}, {}", format::when(at, look.now)),
        (Some(place), ..) => format!("{layer} {place}"),
        _ => return Cell::new(layer, Tone::Faint),
    };
    Cell::from(text)
}

fn shown(value: Option<&Value>, is_set: Option<bool>) -> Cell {
    match (value, is_set) {
        (Some(value), _) => text(value).into(),
        (None, Some(true)) => Cell::new("set (secret)", Tone::Faint),
        (None, _) => Cell::new("not set", Tone::Faint),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn list(keys: &[String]) -> Cell {
    or_dash((!keys.is_empty()).then(|| keys.join(", ")))
}
