//! The layer that each value of the settings comes from.

use std::{collections::BTreeMap, path::PathBuf};

use deia_model::{SettingLayer, SettingSource};
use serde_json::Value;

use super::{
    Layers,
    lines::lines_of,
    load::{read_yaml, without_mark},
};

/// The keys that each layer sets. Changes over the API are not among them: their users and times
/// are known to the subsystem of settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Provenance {
    options: Vec<String>,
    /// Names of the variables, by key.
    variables: BTreeMap<String, String>,
    path: Option<PathBuf>,
    /// Values of the file.
    file: Value,
    lines: BTreeMap<String, usize>,
}

impl Provenance {
    /// Returns the keys that the layers set.
    pub(crate) fn of(layers: &Layers) -> Self {
        let text = layers.read_text().map(without_mark);
        let file = match (layers.stored_values(), text) {
            (Some(values), _) => values.clone(),
            // Layers that cannot be read are refused elsewhere.
            (None, Some(text)) => read_yaml(text).unwrap_or_default(),
            (None, None) => Value::Null,
        };
        let mut variables = BTreeMap::new();
        if layers.has_environment() {
            for (name, _) in std::env::vars_os().filter(|(_, value)| !value.is_empty()) {
                let Ok(name) = name.into_string() else {
                    continue;
                };
                if let Some(key) = name.strip_prefix("DEIA__") {
                    variables.insert(key.replace("__", ".").to_lowercase(), name);
                }
            }
        }
        Self {
            options: layers.option_keys().map(str::to_owned).collect(),
            variables,
            path: layers.path().map(PathBuf::from),
            file,
            lines: text.map(lines_of).unwrap_or_default(),
        }
    }

    /// Returns the origin of the value of a key.
    pub(crate) fn source(&self, key: &str) -> SettingSource {
        // A layer may set the key, a group that it belongs to, or a part of it.
        let covers = |set: &str| is_within(key, set) || is_within(set, key);
        if let Some(set) = self.options.iter().rev().find(|set| covers(set)) {
            let place = format!("--set {set}");
            return SettingSource::of(SettingLayer::Option, Some(place));
        }
        if let Some((_, name)) = self.variables.iter().find(|(set, _)| covers(set)) {
            return SettingSource::of(SettingLayer::Environment, Some(name.clone()));
        }
        match self.in_file(key) {
            true => SettingSource::of(SettingLayer::File, self.place(key)),
            false => SettingSource::of(SettingLayer::Default, None),
        }
    }

    fn in_file(&self, key: &str) -> bool {
        let mut at = &self.file;
        for name in key.split('.') {
            match at.get(name) {
                Some(below) => at = below,
                None => return false,
            }
        }
        true
    }

    fn place(&self, key: &str) -> Option<String> {
        let path = self.path.as_ref()?.display();
        Some(match self.lines.get(key) {
            Some(line) => format!("{path}:{line}"),
            None => path.to_string(),
        })
    }
}

/// Returns true if a key is another one, or below it.
pub(crate) fn is_within(key: &str, above: &str) -> bool {
    let rest = key.strip_prefix(above);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_name_the_last_layer_that_sets_them() {
        let text = "tasks:\n  max_batch: 7\n  retry: { min: 2s }\nserver: { workers: 2 }\n";
        let layers = Layers::default()
            .text("my.yaml", text)
            .set("server.workers", "3")
            .set("tasks.retry", "{min: 3s}");
        let provenance = Provenance::of(&layers);
        let source = |key: &str| {
            let found = provenance.source(key);
            (found.layer.as_str(), found.place.unwrap_or_default())
        };
        for (key, layer, place) in [
            ("tasks.max_batch", "file", "my.yaml:2"),
            ("tasks.max_timeout", "default", ""),
            ("tasks.retry.min", "option", "--set tasks.retry"),
            ("server.workers", "option", "--set server.workers"),
            ("server.bind", "default", ""),
        ] {
            assert_eq!(source(key), (layer, place.to_owned()), "{key}");
        }
    }
}
