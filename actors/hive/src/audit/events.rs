//! Events about the trail itself.

use deia_ledger::{Apply, Ledger, RecordEvents, StoreError};
use deia_model::{Action, AuditFilter, NewEvent, Position};
use serde_json::{Value, json};

use super::export::ExportFormat;

/// Records that events were gone before they were entered.
pub(super) async fn record_gap(
    ledger: &Ledger,
    missing: u64,
    after: Position,
) -> Result<(), StoreError> {
    let event = NewEvent::new(Action::AuditGap, "deia", after.to_string())
        .failure()
        .details(json!({"missing": missing, "after": after.to_string()}));
    ledger.apply(RecordEvents(vec![event])).await.map(drop)
}

/// Records that a new log began.
pub(super) async fn record_beginning(
    ledger: &Ledger,
    origin: &str,
    reason: &str,
) -> Result<(), StoreError> {
    let event =
        NewEvent::new(Action::AuditBegan, "deia", origin).details(json!({"reason": reason}));
    ledger.apply(RecordEvents(vec![event])).await.map(drop)
}

/// Returns the event of an export that begins.
pub(super) fn exported(
    actor: &str,
    origin: &str,
    filter: &AuditFilter,
    format: ExportFormat,
) -> NewEvent {
    let format = match format {
        ExportFormat::JsonLines => "jsonl",
        ExportFormat::Csv => "csv",
    };
    let details = json!({"format": format, "filter": given(filter)});
    NewEvent::new(Action::AuditExported, actor, origin).details(details)
}

/// Returns the fields of a filter that are set.
fn given(filter: &AuditFilter) -> Value {
    match json!(filter) {
        Value::Object(fields) => {
            let fields = fields.into_iter();
            fields.filter(|(_, value)| !value.is_null()).collect()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_of_an_export_says_what_was_exported() {
        let filter = AuditFilter {
            action: Some("key".into()),
            min_seq: Some(7),
            ..AuditFilter::default()
        };
        let event = exported("ada", "hive.example/deia", &filter, ExportFormat::Csv);
        assert_eq!(
            (&*event.actor, &*event.target),
            ("ada", "hive.example/deia")
        );
        let expected = json!({"format": "csv", "filter": {"action": "key", "min_seq": 7}});
        assert_eq!(event.details, expected);
    }
}
