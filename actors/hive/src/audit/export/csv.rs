//! Records as CSV, as RFC 4180 defines it: a header, CRLF after each row, quotes where they are
//! needed.
//!
//! Spreadsheets take a cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return for a
//! formula. It gets an apostrophe before it, which shows that it is text.

use deia_model::AuditRecord;
use serde::Serialize;

/// The columns. `tags` and `details` are JSON.
pub(super) const COLUMNS: [&str; 24] = [
    "index",
    "timeline",
    "seq",
    "at",
    "action",
    "level",
    "result",
    "actor",
    "actor_id",
    "target_type",
    "target",
    "target_id",
    "owner",
    "owner_id",
    "task_type",
    "bot_id",
    "tags",
    "attempt",
    "status",
    "session_id",
    "trace_id",
    "details",
    "erased",
    "details_sha256",
];

/// Returns the first row.
pub(super) fn header() -> String {
    format!("{}\r\n", COLUMNS.join(","))
}

/// Returns the row of a record.
pub(super) fn row(record: &AuditRecord) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let word = |value: Result<serde_json::Value, serde_json::Error>| match value {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    };
    let details = match &record.details {
        serde_json::Value::Null => String::new(),
        details => details.to_string(),
    };
    let tags = match record.tags.is_empty() {
        true => String::new(),
        false => json(&record.tags),
    };
    let cells: [String; COLUMNS.len()] = [
        record.index.to_string(),
        record.timeline.to_string(),
        record.seq.to_string(),
        record.at.to_string(),
        record.action.clone(),
        word(serde_json::to_value(record.level)),
        word(serde_json::to_value(record.result)),
        record.actor.clone(),
        text(&record.actor_id),
        record.target.r#type.clone(),
        record.target.id.clone(),
        text(&record.target_id),
        text(&record.owner),
        text(&record.owner_id),
        text(&record.task_type),
        text(&record.bot_id),
        tags,
        record.attempt.map(|n| n.to_string()).unwrap_or_default(),
        text(&record.status),
        text(&record.session_id),
        text(&record.trace_id),
        details,
        record.erased.to_string(),
        text(&record.details_sha256),
    ];
    let mut row = String::new();
    for (i, cell) in cells.iter().enumerate() {
        if i > 0 {
            row.push(',');
        }
        write_cell(cell, &mut row);
    }
    row.push_str("\r\n");
    row
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn write_cell(cell: &str, row: &mut String) {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let is_quoted = cell.contains(['"', ',', '\r', '\n']);
    if is_quoted {
        row.push('"');
    }
    if is_formula {
        row.push('\'');
    }
    match is_quoted {
        true => row.push_str(&cell.replace('"', "\"\"")),
        false => row.push_str(cell),
    }
    if is_quoted {
        row.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        for (cell, expected) in [
            ("", ""),
            ("plain text", "plain text"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\nb", "\"a\nb\""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("\tx", "'\tx"),
            ("\rx", "\"'\rx\""),
            ("=a,\"b\"", "\"'=a,\"\"b\"\"\""),
            ("a=b", "a=b"),
        ] {
            let mut row = String::new();
            write_cell(cell, &mut row);
            assert_eq!(row, expected, "{cell:?}");
        }
    }
}
