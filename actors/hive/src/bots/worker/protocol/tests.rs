use proptest::prelude::*;
use serde_json::json;

use super::*;

fn id() -> TaskId {
    "task_01k9z8x7w6v5t4s3r2q1p0n9m8"
        .parse()
        .unwrap_or_else(|_| TaskId::new())
}

fn decode_json(message: &Value) -> Result<Message, Garbage> {
    decode(message.to_string().as_bytes())
}

#[test]
fn messages_are_decoded() {
    let id = id();
    for (line, expected) in [
        (
            json!({"type": "hello", "protocol": 1}),
            Message::Hello(Hello {
                protocol: 1,
                max_concurrent: None,
                pings: true,
            }),
        ),
        (
            json!({"type": "progress", "id": id, "attempt": 1, "value": 0.5}),
            Message::Progress {
                id,
                attempt: 1,
                value: 0.5,
            },
        ),
        (
            json!({"type": "result", "id": id, "attempt": 2, "output": "x", "tokens_used": 3}),
            Message::Result(Success {
                id,
                attempt: 2,
                output: Some("x".into()),
                tokens_used: Some(3),
                cost_cents: None,
            }),
        ),
        (
            json!({"type": "error", "id": id, "attempt": 2, "message": "busy",
                "class": "rate_limited", "retry_after_ms": 500}),
            Message::Error(Failure {
                id,
                attempt: 2,
                message: "busy".into(),
                class: Some(FailureClass::RateLimited),
                retry_after_ms: Some(500),
                tokens_used: None,
                cost_cents: None,
            }),
        ),
        (
            json!({"type": "log", "level": "warning", "message": "hm"}),
            Message::Log {
                level: LogLevel::Warning,
                message: "hm".into(),
                id: None,
            },
        ),
        (json!({"type": "pong", "n": 7}), Message::Pong { n: 7 }),
    ] {
        assert_eq!(decode_json(&line), Ok(expected), "{line}");
    }
}

#[test]
fn what_is_no_message_is_told_apart() {
    let id = id();
    let key = AttemptKey {
        task: id,
        number: 1,
    };
    for (line, kind, answers) in [
        ("hello".to_owned(), "not_json", None),
        ("[1]".to_owned(), "not_json", None),
        ("{\"type\":\"pong\",\"n\":1} x".to_owned(), "not_json", None),
        (json!({"n": 1}).to_string(), "unknown_type", None),
        (json!({"type": "task"}).to_string(), "unknown_type", None),
        (
            json!({"type": "pong", "n": "1"}).to_string(),
            "wrong_fields",
            None,
        ),
        (
            json!({"type": "progress", "id": id, "attempt": 1, "value": 1.5}).to_string(),
            "wrong_fields",
            None,
        ),
        (
            json!({"type": "output", "id": id, "attempt": 1}).to_string(),
            "wrong_fields",
            None,
        ),
        (
            json!({"type": "result", "id": id, "attempt": 1, "token": 1}).to_string(),
            "wrong_fields",
            Some(key),
        ),
        (
            json!({"type": "error", "id": id, "attempt": 1, "message": "x", "class": "odd"})
                .to_string(),
            "wrong_fields",
            Some(key),
        ),
        (
            json!({"type": "result", "id": "x", "attempt": 1}).to_string(),
            "wrong_fields",
            None,
        ),
    ] {
        let garbage = decode(line.as_bytes()).unwrap_err();
        assert_eq!(garbage.kind(), kind, "{line}: {garbage}");
        assert_eq!(garbage.answers(), answers, "{line}: {garbage}");
    }
}

proptest! {
    #[test]
    fn any_line_is_a_message_or_garbage(line in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&line);
    }

    #[test]
    fn any_object_is_a_message_or_garbage(
        kind in prop::sample::select(TYPES.to_vec()),
        name in prop::sample::select(vec!["id", "attempt", "n", "value", "text", "x"]),
        value in prop::sample::select(vec![json!(null), json!(1), json!(-1), json!("x"), json!({}), json!(1e300)]),
    ) {
        let line = json!({"type": kind, name: value}).to_string();
        if let Err(garbage) = decode(line.as_bytes()) {
            prop_assert_eq!(garbage.kind(), "wrong_fields");
        }
    }
}
