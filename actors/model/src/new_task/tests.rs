//! Limits and forms of submitted tasks.

use super::*;

fn limits() -> TaskLimits<'static> {
    TaskLimits {
        types: &[],
        max_content_bytes: 1 << 20,
        max_metadata_bytes: 64 << 10,
        max_timeout_seconds: 7 * 86_400,
        max_dependencies: 64,
    }
}

#[test]
fn delays_are_turned_into_times_once() {
    let now = Timestamp::from_millis(1_000);
    let mut task = NewTask {
        delay_ms: Some(500),
        expires_in_ms: Some(900),
        ..NewTask::new("general".parse().unwrap(), "x")
    };
    assert_eq!(task.settle(now), vec![]);
    let at = |ms| Some(Timestamp::from_millis(ms));
    assert_eq!((task.run_at, task.expires_at), (at(1_500), at(1_900)));
    assert_eq!((task.delay_ms, task.expires_in_ms), (None, None));
    task.delay_ms = Some(1);
    task.expires_in_ms = Some(1);
    let pointers: Vec<_> = task.settle(now).into_iter().map(|v| v.pointer).collect();
    assert_eq!(pointers, ["/delay_ms", "/expires_in_ms"]);
}

#[test]
fn violations_name_the_place_and_the_range() {
    let ok = NewTask::new("general".parse().unwrap(), "hello");
    assert_eq!(ok.violations(&limits()), vec![]);

    let max = usize::try_from(limits().max_content_bytes).unwrap();
    let key = crate::ApiKey::generate().unwrap().reveal();
    let cases: Vec<(&str, NewTask)> = vec![
        (
            "/content",
            NewTask {
                content: "x".repeat(max + 1),
                ..ok.clone()
            },
        ),
        (
            "/tags",
            NewTask {
                tags: vec!["t".into(); 33],
                ..ok.clone()
            },
        ),
        (
            "/tags/1",
            NewTask {
                tags: vec!["t".into(), String::new()],
                ..ok.clone()
            },
        ),
        (
            "/metadata",
            NewTask {
                metadata: [("k".to_owned(), "x".repeat(70_000).into())].into(),
                ..ok.clone()
            },
        ),
        (
            "/tags/0",
            NewTask {
                tags: vec![format!("by {key}")],
                ..ok.clone()
            },
        ),
        (
            "/metadata",
            NewTask {
                metadata: [("a".to_owned(), serde_json::json!([{"b": key}]))].into(),
                ..ok.clone()
            },
        ),
        (
            "/metadata",
            NewTask {
                metadata: [(key.clone(), 1.into())].into(),
                ..ok.clone()
            },
        ),
        (
            "/dedup_key",
            NewTask {
                dedup_key: Some(key),
                ..ok.clone()
            },
        ),
        (
            "/max_attempts",
            NewTask {
                max_attempts: Some(0),
                ..ok.clone()
            },
        ),
        (
            "/max_attempts",
            NewTask {
                max_attempts: Some(101),
                ..ok.clone()
            },
        ),
        (
            "/retry/factor",
            NewTask {
                retry: Some(RetryOverride {
                    factor: Some(0.9),
                    ..RetryOverride::default()
                }),
                ..ok.clone()
            },
        ),
        (
            "/expires_at",
            NewTask {
                run_at: Some(Timestamp::from_millis(5)),
                expires_at: Some(Timestamp::from_millis(5)),
                ..ok.clone()
            },
        ),
        (
            "/dedup_key",
            NewTask {
                dedup_key: Some(String::new()),
                ..ok.clone()
            },
        ),
        (
            "/depends_on",
            NewTask {
                depends_on: (0..65).map(Dependency::InBatch).collect(),
                ..ok.clone()
            },
        ),
        (
            "/depends_on/1",
            NewTask {
                depends_on: vec![Dependency::InBatch(3); 2],
                ..ok.clone()
            },
        ),
        (
            "/timeout_seconds",
            NewTask {
                timeout_seconds: Some(0),
                ..ok.clone()
            },
        ),
        (
            "/timeout_seconds",
            NewTask {
                timeout_seconds: Some(u64::MAX),
                ..ok.clone()
            },
        ),
    ];
    for (pointer, task) in cases {
        let found = task.violations(&limits());
        assert_eq!(found.len(), 1, "{pointer}: {found:?}");
        assert_eq!(found[0].pointer, pointer);
    }
    let at_limit = NewTask {
        content: "x".repeat(max),
        ..ok
    };
    assert_eq!(at_limit.violations(&limits()), vec![]);
}

#[test]
fn tasks_of_a_batch_depend_on_earlier_ones_only() {
    let mut task = NewTask::new("general".parse().unwrap(), "");
    task.depends_on = vec![Dependency::InBatch(1), Dependency::InBatch(2)];
    for (place, expected) in [
        (0, vec!["/depends_on/0", "/depends_on/1"]),
        (2, vec!["/depends_on/1"]),
        (3, vec![]),
    ] {
        let found = task.misplaced(place);
        let places: Vec<_> = found.iter().map(|v| v.pointer.as_str()).collect();
        assert_eq!(places, expected, "{place}");
    }
}

#[test]
fn only_configured_types_when_types_are_configured() {
    let mut limits = limits();
    let types = ["general".parse().unwrap()];
    limits.types = &types;
    let task = NewTask::new("writing".parse().unwrap(), "");
    assert_eq!(task.violations(&limits)[0].pointer, "/type");
}

#[test]
fn unknown_fields_are_refused() {
    let error = serde_json::from_str::<NewTask>(r#"{"type":"general","content":"","prio":1}"#);
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("unknown field `prio`")
    );
}
