//! Lines of the keys of a settings file.

use std::collections::BTreeMap;

use yaml_rust2::{
    Event,
    parser::{MarkedEventReceiver, Parser},
    scanner::Marker,
};

/// Returns the line of each key, from 1, by its dotted form; none if the text is not YAML. Keys in
/// lists have no lines of their own.
pub(super) fn lines_of(text: &str) -> BTreeMap<String, usize> {
    let mut reading = Reading::default();
    let mut parser = Parser::new_from_str(text);
    match parser.load(&mut reading, false) {
        Ok(()) => reading.lines,
        Err(_) => BTreeMap::new(),
    }
}

/// One level of the document.
enum Level {
    /// A map, and its key whose value comes next.
    Map(Option<String>),
    List,
}

#[derive(Default)]
struct Reading {
    levels: Vec<Level>,
    lines: BTreeMap<String, usize>,
}

impl Reading {
    /// Returns the dotted form of the key whose value comes next; `None` within a list.
    fn path(&self) -> Option<String> {
        let mut names = Vec::new();
        for level in &self.levels {
            match level {
                Level::Map(Some(name)) => names.push(name.as_str()),
                Level::Map(None) => {}
                Level::List => return None,
            }
        }
        Some(names.join("."))
    }

    /// Notes that the value of a key has ended.
    fn ended(&mut self) {
        if let Some(Level::Map(key)) = self.levels.last_mut() {
            *key = None;
        }
    }
}

impl MarkedEventReceiver for Reading {
    fn on_event(&mut self, event: Event, at: Marker) {
        match event {
            Event::MappingStart(..) => self.levels.push(Level::Map(None)),
            Event::SequenceStart(..) => self.levels.push(Level::List),
            Event::MappingEnd | Event::SequenceEnd => {
                self.levels.pop();
                self.ended();
            }
            Event::Scalar(text, ..) => match self.levels.last_mut() {
                Some(Level::Map(key @ None)) => {
                    *key = Some(text);
                    if let Some(path) = self.path() {
                        self.lines.entry(path).or_insert(at.line());
                    }
                }
                _ => self.ended(),
            },
            Event::Alias(_) => self.ended(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_both_styles_have_their_lines() {
        let text = "# first\nserver:\n  workers: 3\n\n  tls: { cert_file: a,\n    key_file: b }\n\
                    tasks: {types: [a, {b: c}], max_batch: 5}\nsecrets:\n  max: 7\n";
        let lines = lines_of(text);
        for (key, line) in [
            ("server", 2),
            ("server.workers", 3),
            ("server.tls", 5),
            ("server.tls.cert_file", 5),
            ("server.tls.key_file", 6),
            ("tasks.types", 7),
            ("tasks.max_batch", 7),
            ("secrets.max", 9),
        ] {
            assert_eq!(lines.get(key), Some(&line), "{key}");
        }
        assert_eq!(lines.len(), 10, "{lines:?}");
        assert!(lines_of("a: [").is_empty());
        let json = "{\n  \"tasks\": {\n    \"max_batch\": 5\n  }\n}\n";
        assert_eq!(lines_of(json).get("tasks.max_batch"), Some(&3));
    }
}
