//! Exports.

use std::fs;

use deia_model::AuditRecord;
use reqwest::Method;
use serde_json::{Value, json};

use super::{QUERY, all, append, settled};
use crate::support::TestApp;

const EXPORT: &str = "/api/audit/export";

/// Returns the rows of a CSV text, as RFC 4180 defines it.
fn rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut chars) = (false, text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {
                assert_eq!(chars.next(), Some('\n'));
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    assert!(!quoted && cell.is_empty() && row.is_empty(), "{text:?}");
    rows
}

async fn text(app: &TestApp, query: &str) -> String {
    let answer = app
        .client_get(&app.admin, &format!("{EXPORT}{query}"))
        .await;
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

#[actix_rt::test]
async fn both_formats_parse_back_to_the_records() {
    let app = TestApp::start().await;
    let wild = json!({"details": {"said": "a, \"b\"\r\nc; ä", "n": [1, null]}});
    append(&app, "ext.deploy", "=1+1, \"quoted\"", wild).await;
    for n in 0..40 {
        append(&app, "ext.deploy", &format!("release {n}"), json!({})).await;
    }
    settled(&app).await;
    let records = all(&app, &format!("{QUERY}?order=oldest&limit=9")).await;

    let lines = text(&app, "").await;
    assert!(lines.ends_with('\n'));
    let exported: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(exported, records);
    for record in &exported {
        let record: AuditRecord = serde_json::from_value(record.clone()).unwrap();
        assert!(record.seq > 0);
    }

    settled(&app).await;
    let rows = rows(&text(&app, "?format=csv").await);
    let (header, rows) = rows.split_first().unwrap();
    let records = all(&app, &format!("{QUERY}?order=oldest&limit=100")).await;
    // The exports have left entries behind these.
    let records = &records[..rows.len()];
    for (row, record) in rows.iter().zip(records) {
        let cell = |name: &str| {
            let at = header.iter().position(|title| title == name);
            row[at.unwrap_or_else(|| panic!("{name}: {header:?}"))].as_str()
        };
        for (name, pointer) in [
            ("index", "/index"),
            ("seq", "/seq"),
            ("at", "/at"),
            ("action", "/action"),
            ("level", "/level"),
            ("result", "/result"),
            ("actor", "/actor"),
            ("target_type", "/target/type"),
        ] {
            let value = record.pointer(pointer).unwrap();
            let expected = value.as_str().map_or(value.to_string(), str::to_owned);
            assert_eq!(cell(name), expected, "{name} of {record:#}");
        }
        let details = cell("details");
        if details.is_empty() {
            assert_eq!(record["details"], Value::Null);
        } else {
            let details: Value = serde_json::from_str(details).unwrap();
            assert_eq!(details, record["details"]);
        }
        // A spreadsheet must not take it for a formula.
        let target = record["target"]["id"].as_str().unwrap();
        match target.starts_with('=') {
            true => assert_eq!(cell("target"), format!("'{target}")),
            false => assert_eq!(cell("target"), target),
        }
    }
    assert!(rows.len() > 40);
}

#[actix_rt::test]
async fn export_is_recorded_with_its_filter_and_says_what_it_is() {
    let app = TestApp::start().await;
    let operator = app.key("olga", "operator").await;
    append(&app, "ext.deploy", "release 7", json!({})).await;
    append(&app, "ext.backup", "nas", json!({})).await;
    settled(&app).await;
    for (query, content_type, name) in [
        ("", "application/jsonl", "deia-audit.jsonl"),
        ("&format=jsonl", "application/jsonl", "deia-audit.jsonl"),
        (
            "&format=csv",
            "text/csv; charset=utf-8; header=present",
            "deia-audit.csv",
        ),
    ] {
        let path = format!("{EXPORT}?action=ext.deploy&min_level=info{query}");
        for method in [Method::GET, Method::HEAD] {
            let request = app.request_as(&operator, method.clone(), &path);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 200, "{method} {query}");
            assert_eq!(answer.headers()["content-type"], content_type);
            let disposition = format!("attachment; filename=\"{name}\"");
            assert_eq!(answer.headers()["content-disposition"], disposition);
            assert_eq!(answer.headers()["cache-control"], "no-store");
            let text = answer.text().await.unwrap();
            assert_eq!(
                text.matches("release 7").count(),
                usize::from(method == Method::GET)
            );
            assert!(!text.contains("nas"), "{text}");
        }
    }
    app.get(&format!("{EXPORT}?format=xml")).await.is(422);
    settled(&app).await;
    // One for each GET that was answered.
    let recorded = all(&app, &format!("{QUERY}?action=audit.exported&order=oldest")).await;
    assert_eq!(recorded.len(), 3, "{recorded:#?}");
    for (record, format) in recorded.iter().zip(["jsonl", "jsonl", "csv"]) {
        let filter = json!({"action": "ext.deploy", "min_level": "info"});
        assert_eq!(
            record["details"],
            json!({"format": format, "filter": filter})
        );
        assert_eq!(
            (&record["actor"], &record["target"]["type"]),
            (&json!("olga"), &json!("audit"))
        );
    }
    let checkpoint = app.get("/api/audit/checkpoint").await.is(200).body;
    assert_eq!(recorded[0]["target"]["id"], checkpoint["origin"]);
}

#[actix_rt::test]
async fn export_that_meets_damage_breaks_off() {
    let app = TestApp::start().await;
    let batch = json!({"tasks": vec![json!({"type": "idle", "content": ""}); 700]});
    app.post("/api/v1/tasks/batch", &batch).await.is(202);
    settled(&app).await;
    let whole = text(&app, "").await;
    assert!(whole.lines().count() > 700);
    let bundle = app.data_dir().join("audit/tile/entries/001");
    let mut bytes = fs::read(&bundle).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&bundle, bytes).unwrap();

    let mut answer = app.client_get(&app.admin, EXPORT).await;
    assert_eq!(answer.status(), 200);
    let mut read = Vec::new();
    let ended = loop {
        match answer.chunk().await {
            Ok(Some(piece)) => read.extend(piece),
            ended => break ended,
        }
    };
    assert!(
        ended.is_err(),
        "an end in order would say that this was all"
    );
    assert!(read.len() < whole.len());
    app.until_logged("an export of the audit trail ends early")
        .await;
    // Everything before the damage can be had.
    let before = text(&app, "?to_entry=256").await;
    assert_eq!(before.lines().count(), 256);
}
