//! Groups and labels of bots, by which a fleet is selected.

use std::collections::BTreeMap;

use utoipa::openapi::{
    Schema,
    schema::{ObjectBuilder, Type},
};

use super::{Bot, BotSpec};
use crate::{BotName, Violation};

/// Number of labels of a bot at most. Fact: the API, whose schema states it.
const MAX_LABELS: usize = 32;
/// Longest key, and longest value, of a label, in characters. Fact: the API, whose schema
/// states it.
const MAX_LABEL: usize = 63;

/// A selection of bots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BotFilter {
    /// Only those of this group.
    pub group: Option<String>,
    /// Only those with all of these labels.
    pub labels: Vec<(String, String)>,
}

impl BotFilter {
    /// Returns whether a bot of that specification is selected.
    pub fn matches(&self, spec: &BotSpec) -> bool {
        let in_group = self.group.is_none() || self.group == spec.group;
        let has = |(key, value): &(String, String)| spec.labels.get(key) == Some(value);
        in_group && self.labels.iter().all(has)
    }
}

impl BotSpec {
    pub(super) fn fleet_violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut refuse = |pointer: String, detail: &str| {
            found.push(Violation {
                pointer,
                detail: detail.into(),
            });
        };
        for (field, name) in [("/group", &self.group), ("/template", &self.template)] {
            if name
                .as_ref()
                .is_some_and(|it| it.parse::<BotName>().is_err())
            {
                refuse(
                    field.into(),
                    "must be 1 to 63 of a-z 0-9 -, the first no hyphen",
                );
            }
        }
        if self.labels.len() > MAX_LABELS {
            refuse("/labels".into(), "has more than 32 labels");
        }
        for (key, value) in &self.labels {
            let at = || format!("/labels/{}", key.replace('~', "~0").replace('/', "~1"));
            if !is_key(key) {
                refuse(
                    at(),
                    "its name must be 1 to 63 of a-z 0-9 . _ / -, the first a letter or a digit",
                );
            } else if value.chars().count() > MAX_LABEL || value.chars().any(char::is_control) {
                refuse(
                    at(),
                    "must be at most 63 characters, none of them a control character",
                );
            }
        }
        found
    }
}

fn is_key(key: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let allowed = |c: char| plain(c) || matches!(c, '.' | '_' | '/' | '-');
    key.len() <= MAX_LABEL && key.starts_with(plain) && key.chars().all(allowed)
}

impl Bot {
    /// Returns the specification of the bot.
    pub fn spec(&self) -> BotSpec {
        BotSpec {
            executor: self.executor.clone(),
            capabilities: self.capabilities.clone(),
            secrets: self.secrets.clone(),
            limits: self.limits,
            idle_timeout_seconds: self.idle_timeout_seconds,
            probe: self.probe.clone(),
            group: self.group.clone(),
            labels: self.labels.clone(),
            template: self.template.clone(),
            fallback: self.fallback.clone(),
        }
    }
}

/// Returns the schema of labels.
pub(super) fn labels() -> Schema {
    let key = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[a-z0-9][a-z0-9._/-]{0,62}$"));
    let value = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(r"^[^\u0000-\u001f\u007f-\u009f]*$"))
        .max_length(Some(MAX_LABEL));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some("Labels by which bots are selected."))
        .property_names(Some(key))
        .additional_properties(Some(value))
        .max_properties(Some(MAX_LABELS))
        .into()
}

/// Labels, by their keys.
pub type Labels = BTreeMap<String, String>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Executor, SimulatedExecutor};

    fn spec(group: Option<&str>, labels: &[(&str, &str)]) -> BotSpec {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        BotSpec {
            group: group.map(str::to_owned),
            labels: labels.iter().map(owned).collect(),
            ..BotSpec::new(Executor::Simulated(SimulatedExecutor::default()))
        }
    }

    #[test]
    fn a_filter_selects_by_group_and_all_labels() {
        let of = spec(Some("agents"), &[("team", "core"), ("tier", "1")]);
        for (group, labels, selected) in [
            (None, &[][..], true),
            (Some("agents"), &[("team", "core")], true),
            (Some("agents"), &[("team", "core"), ("tier", "1")], true),
            (Some("others"), &[], false),
            (None, &[("team", "edge")], false),
            (None, &[("team", "core"), ("zone", "a")], false),
        ] {
            let filter = BotFilter {
                group: group.map(str::to_owned),
                labels: spec(None, labels).labels.into_iter().collect(),
            };
            assert_eq!(filter.matches(&of), selected, "{filter:?}");
        }
    }

    #[test]
    fn groups_and_labels_have_their_form() {
        let long = "x".repeat(64);
        for (spec, pointers) in [
            (
                spec(Some("a-1"), &[("a/b.c_d-e", "Anything at all")]),
                &[][..],
            ),
            (spec(Some("A"), &[]), &["/group"]),
            (spec(None, &[("Team", "x")]), &["/labels/Team"]),
            (spec(None, &[("", "x")]), &["/labels/"]),
            (spec(None, &[("a", &long)]), &["/labels/a"]),
            (spec(None, &[("a/b", "x\ny")]), &["/labels/a~1b"]),
        ] {
            let found = spec.fleet_violations();
            let found: Vec<_> = found.into_iter().map(|it| it.pointer).collect();
            assert_eq!(found, pointers, "{spec:?}");
        }
        let many: Vec<_> = (0..33).map(|n| (format!("k{n}"), String::new())).collect();
        let spec = BotSpec {
            labels: many.into_iter().collect(),
            ..spec(None, &[])
        };
        assert_eq!(spec.fleet_violations()[0].pointer, "/labels");
    }
}
