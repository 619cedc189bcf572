//! Tests of the tables of the audit trail.

use deia_model::{AuditSpan, EventTarget, Timestamp};
use serde_json::json;

use super::*;

pub(in crate::cli::audit) fn record() -> AuditRecord {
    AuditRecord {
        index: 4_711,
        seq: 4_713,
        timeline: 1,
        at: "2026-11-26T08:30:00Z".parse().unwrap(),
        action: "key.revoked".into(),
        level: EventLevel::Warning,
        result: EventResult::Success,
        actor: "ada".into(),
        actor_id: Some("user_mfrggzdfmztwq2lkmfrggzdfmy".into()),
        target: EventTarget {
            r#type: "key".into(),
            id: "key_01h455vb4pex5vsknk084sn02q".into(),
        },
        target_id: None,
        owner: None,
        owner_id: None,
        task_type: None,
        bot_id: None,
        tags: Vec::new(),
        attempt: None,
        status: None,
        session_id: None,
        trace_id: None,
        v: 1,
        details: json!({"reason": "lost"}),
        erased: false,
        details_sha256: None,
    }
}

fn look(width: Option<u16>) -> Look {
    Look {
        color: false,
        width,
        now: Timestamp::from_millis(0),
    }
}

#[test]
fn records_have_their_columns_and_fit() {
    let erased = AuditRecord {
        erased: true,
        details: serde_json::Value::Null,
        ..record()
    };
    let both = [record(), erased];
    let text = records(&both, &look(None));
    let lines: Vec<Vec<_>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let titles = "TIME LEVEL ACTION ACTOR TARGET RESULT ENTRY DETAILS";
    assert_eq!(lines[0].join(" "), titles);
    let common = "2026-11-26T08:30:00.000Z warning key.revoked ada \
                  key_01h455vb4pex5vsknk084sn02q success 4711";
    assert_eq!(lines[1].join(" "), format!("{common} reason=lost"));
    assert_eq!(lines[2].join(" "), format!("{common} erased"));
    let narrow = records(&both, &look(Some(100)));
    assert!(
        !narrow.contains("ENTRY") && narrow.contains("RESULT"),
        "{narrow}"
    );
    for line in narrow.lines() {
        assert!(line.chars().count() <= 100, "{narrow}");
    }
}

#[test]
fn line_has_no_line_feed_of_its_text() {
    let wild = AuditRecord {
        actor: "a\nb\u{1b}[2J".into(),
        details: json!({"a": "x\ny"}),
        ..record()
    };
    let line = line(&wild);
    assert!(!line.contains(char::is_control), "{line:?}");
    assert!(
        line.starts_with("2026-11-26T08:30:00.000Z  warning   key.revoked"),
        "{line}"
    );
    assert!(line.ends_with("success  a=x y"), "{line}");
}

#[test]
fn statistics_show_the_first_and_add_up_the_rest() {
    let count = |name: &str, entries| AuditCount {
        name: name.into(),
        id: None,
        entries,
    };
    let span = |hour: i64| AuditSpan {
        at: Timestamp::from_millis(hour * 3_600_000),
        entries: 5,
        warning: 1,
        critical: 0,
    };
    let counts = AuditCounts {
        top: vec![
            count("task.started", 6),
            count("key.created", 2),
            count("bot.started", 1),
        ],
        others: 1,
    };
    let text = statistics(
        &AuditStatistics {
            after: Timestamp::from_millis(0),
            before: Timestamp::from_millis(10_800_000),
            entries: 10,
            by_action: counts.clone(),
            by_actor: AuditCounts {
                others: 0,
                ..counts
            },
            by_level: vec![count("info", 8), count("warning", 2)],
            by_result: vec![count("success", 10)],
            span_seconds: 3_600,
            by_time: vec![span(0), span(1), span(2)],
            indexed_upto: 10,
            size: 12,
        },
        2,
        &look(None),
    );
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let expected = [
        "from 1970-01-01T00:00:00.000Z",
        "to 1970-01-01T03:00:00.000Z",
        "entries 10",
        "not counted yet 2",
        "",
        "ACTION ENTRIES",
        "task.started 6",
        "key.created 2",
        "(others) 2",
        "",
        "ACTOR ENTRIES",
        "task.started 6",
        "key.created 2",
        "(others) 1",
        "",
        "LEVEL ENTRIES",
        "info 8",
        "warning 2",
        "",
        "RESULT ENTRIES",
        "success 10",
        "",
        "FROM ENTRIES WARNING CRITICAL",
        "1970-01-01T01:00:00.000Z 5 1 0",
        "1970-01-01T02:00:00.000Z 5 1 0",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn checkpoint_says_why_the_trail_cannot_be_written() {
    let checkpoint = |failing: Option<&str>| AuditCheckpoint {
        origin: "hive.example/deia".into(),
        size: 7,
        root: "r".into(),
        sealed_at: None,
        checkpoint: String::new(),
        keys: vec!["k+1".into(), "k+2".into()],
        lag_events: 3,
        lag_ms: 1_500,
        failing: failing.map(Into::into),
    };
    let text = super::checkpoint(&checkpoint(Some("no space left")), &look(None));
    for part in [
        "entries           7\n",
        "signed            -\n",
        "behind by         1.5s\n",
        "failing           no space left\n",
        "verifier key      k+2\n",
    ] {
        assert!(text.contains(part), "{part:?}: {text}");
    }
    let text = super::checkpoint(&checkpoint(None), &look(None));
    assert!(!text.contains("failing"), "{text}");
}
