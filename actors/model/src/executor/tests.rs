use serde_json::json;

use super::*;

#[test]
fn fields_override_the_preset() {
    let executor: SimulatedExecutor = serde_json::from_str(
        r#"{"behavior":"unreliable","latency_ms":{"min":1,"max":2},"crash_rate":0}"#,
    )
    .unwrap();
    let profile = executor.profile();
    assert_eq!((profile.latency_min_ms, profile.latency_max_ms), (1, 2));
    assert_eq!((profile.success_rate, profile.crash_rate), (0.70, 0.0));
}

#[test]
fn every_limit_is_checked() {
    for (json, pointer) in [
        (
            r#"{"kind":"simulated","latency_ms":{"min":3,"max":2}}"#,
            "/latency_ms",
        ),
        (
            r#"{"kind":"simulated","latency_ms":86400001}"#,
            "/latency_ms",
        ),
        (
            r#"{"kind":"simulated","success_rate":1.5}"#,
            "/success_rate",
        ),
        (r#"{"kind":"simulated","crash_rate":-0.1}"#, "/crash_rate"),
        (r#"{"kind":"simulated","hang_rate":2}"#, "/hang_rate"),
        (
            r#"{"kind":"simulated","memory_bytes":1073741825}"#,
            "/memory_bytes",
        ),
        (r#"{"kind":"simulated","cpu_ms":60001}"#, "/cpu_ms"),
        (r#"{"kind":"command","command":[""]}"#, "/command"),
        (
            r#"{"kind":"command","command":["a","\u0000"]}"#,
            "/command/1",
        ),
        (
            r#"{"kind":"command","command":["a"],"env":{"A=B":"c"}}"#,
            "/env",
        ),
        (
            r#"{"kind":"command","command":["a"],"env":{"DEIA_TASK_ID":"c"}}"#,
            "/env",
        ),
        (
            r#"{"kind":"command","command":["a"],"working_dir":"relative"}"#,
            "/working_dir",
        ),
        (r#"{"kind":"worker","command":[]}"#, "/command"),
        (
            r#"{"kind":"worker","command":["a"],"env":{"API_TOKEN":"c"}}"#,
            "/env/API_TOKEN",
        ),
    ] {
        let executor: Executor = serde_json::from_str(json).unwrap();
        let found = executor.violations("");
        assert_eq!(found.len(), 1, "{json}: {found:?}");
        assert_eq!(found[0].pointer, pointer, "{json}");
    }
}

#[test]
fn secrets_in_the_clear_are_refused_with_the_way_to_refer_to_them() {
    let token = format!("ghp_{}", "1aB2".repeat(9));
    for (executor, pointer) in [
        (
            json!({"kind": "command", "command": ["a"], "env": {"API_TOKEN": "x"}}),
            "/env/API_TOKEN",
        ),
        (
            json!({"kind": "command", "command": ["a"], "env": {"A/B": token}}),
            "/env/A~1B",
        ),
        (
            json!({"kind": "command", "command": ["a", format!("--with={token}")]}),
            "/command/1",
        ),
        (
            json!({"kind": "command", "command": ["a"], "working_dir": format!("/{token}")}),
            "/working_dir",
        ),
    ] {
        let executor: Executor = serde_json::from_value(executor).unwrap();
        let found = executor.violations("");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].pointer, pointer);
        assert!(!found[0].detail.contains("ghp_1aB2"), "{found:?}");
    }
    let fine =
        json!({"kind": "command", "command": ["a"], "env": {"API_TOKEN": "", "TOKEN_FILE": "/x"}});
    let fine: Executor = serde_json::from_value(fine).unwrap();
    assert_eq!(fine.violations(""), vec![]);
}

#[test]
fn services_and_models_have_their_limits() {
    let http = |more: serde_json::Value| {
        let mut all = json!({"kind": "http", "url": "https://a.example/run"});
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        all
    };
    let llm = |more: serde_json::Value| {
        let mut all = json!({"kind": "llm", "base_url": "https://a.example/v1", "model": "m"});
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        all
    };
    let long = "x".repeat(3_000);
    for (executor, pointers) in [
        (http(json!({})), &[][..]),
        (http(json!({"timeout_ms": 86_400_000})), &[]),
        (http(json!({"url": ""})), &["/url"]),
        (http(json!({"url": "ftp://a.example/"})), &["/url"]),
        (
            http(json!({"url": format!("https://a.example/{long}")})),
            &["/url"],
        ),
        (http(json!({"health_url": "a"})), &["/health_url"]),
        (http(json!({"timeout_ms": 86_400_001})), &["/timeout_ms"]),
        (
            http(json!({"headers": {"x-a": "1", "X-A": "2"}})),
            &["/headers/x-a"],
        ),
        (
            http(json!({"headers": {"x-a": "\u{e9}"}})),
            &["/headers/x-a"],
        ),
        (
            http(json!({"headers": {"x-token": "1"}})),
            &["/headers/x-token"],
        ),
        (llm(json!({})), &[]),
        (llm(json!({"temperature": 2, "max_output_tokens": 1})), &[]),
        (llm(json!({"temperature": -0.1})), &["/temperature"]),
        (
            llm(json!({"input_cents_per_million": 1, "output_cents_per_million": 0})),
            &[],
        ),
        (
            llm(json!({"output_cents_per_million": 1})),
            &["/input_cents_per_million"],
        ),
        (
            llm(json!({"input_cents_per_million": -1, "output_cents_per_million": 0})),
            &["/input_cents_per_million"],
        ),
        (
            llm(json!({"parameters": {"stream": false}})),
            &["/parameters/stream"],
        ),
        (
            llm(json!({"parameters": {"a": "x".repeat(70_000)}})),
            &["/parameters"],
        ),
        (llm(json!({"model": long})), &["/model"]),
    ] {
        let executor: Executor = serde_json::from_value(executor).unwrap();
        let found = executor.violations("");
        let found: Vec<_> = found.iter().map(|it| it.pointer.as_str()).collect();
        assert_eq!(found, pointers, "{executor:?}");
    }
}
