//! Log lines as JSON: one object per line, always with the same names.

use std::fmt;

use deia_model::Timestamp;
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Fields that are written beside the message; the others are in `fields`.
const KNOWN: [&str; 4] = ["request_id", "trace_id", "task", "bot"];
/// The field with further details of an event.
const DETAILS: &str = "details";
/// Target of messages from libraries that log without `tracing`.
const FOREIGN: &str = "log";

/// Writes an event as a line: `time`, `level`, `target`, `message`; `request_id`,
/// `trace_id`, `task` and `bot` if it has them; everything else in `fields`.
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let level = metadata.level().as_str().to_ascii_lowercase();
        let line = line(&level, metadata.target(), fields.0, Timestamp::now());
        writeln!(writer, "{line}")
    }
}

/// Returns one event as a line, without its end.
pub(super) fn line(
    level: &str,
    target: &str,
    mut fields: Map<String, Value>,
    now: Timestamp,
) -> Value {
    let mut line = Map::new();
    let mut target = Value::from(target);
    if target == FOREIGN {
        for name in ["module_path", "file", "line"] {
            fields.remove(&format!("log.{name}"));
        }
        target = fields.remove("log.target").unwrap_or(target);
    }
    line.insert("time".into(), now.to_string().into());
    line.insert("level".into(), level.into());
    line.insert("target".into(), target);
    let message = fields.remove("message").unwrap_or_else(|| "".into());
    line.insert("message".into(), message);
    for name in KNOWN {
        if let Some(value) = fields.remove(name) {
            line.insert(name.into(), value);
        }
    }
    if !fields.is_empty() {
        line.insert("fields".into(), fields.into());
    }
    line.into()
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // The details of an event are already JSON.
        let of_event = (field.name() == DETAILS).then(|| serde_json::from_str(value));
        match of_event {
            Some(Ok(Value::Object(details))) => self.set(field, details),
            _ => self.set(field, value),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has neither infinities nor NaN: they become null.
        self.set(field, value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_always_the_same() {
        let fields = |value: Value| value.as_object().unwrap().clone();
        let at = Timestamp::from_millis(0);
        let own = json!({"message": "m", "request_id": "r", "level": "x", "n": 1});
        assert_eq!(
            line("info", "deia::app", fields(own), at),
            json!({"time": at.to_string(), "level": "info", "target": "deia::app", "message": "m",
                "request_id": "r", "fields": {"level": "x", "n": 1}})
        );
        let foreign = json!({"message": "m", "log.target": "mio", "log.line": 3});
        assert_eq!(
            line("warn", "log", fields(foreign), at),
            json!({"time": at.to_string(), "level": "warn", "target": "mio", "message": "m"})
        );
    }
}
