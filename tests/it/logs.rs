//! Logs of the server, as a machine reads them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestApp, task, upper};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Every line that was logged; panics at one that is not JSON of the documented form.
fn lines(log: &str) -> Vec<Value> {
    let parsed = log.lines().map(|line| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let object = value.as_object().unwrap();
        for name in ["time", "level", "target", "message"] {
            assert!(object[name].is_string(), "{name}: {line}");
        }
        let level = object["level"].as_str().unwrap();
        assert!(
            ["error", "warn", "info", "debug", "trace"].contains(&level),
            "{line}"
        );
        let time = object["time"].as_str().unwrap();
        serde_json::from_value::<deia_model::Timestamp>(time.into()).unwrap();
        for name in object.keys() {
            let known = [
                "time",
                "level",
                "target",
                "message",
                "request_id",
                "trace_id",
                "task",
                "bot",
                "fields",
            ];
            assert!(known.contains(&name.as_str()), "{name}: {line}");
        }
        value
    });
    parsed.collect()
}

#[actix_web::test]
async fn every_line_is_json_and_none_has_a_secret() {
    let all = "trace,actix_server=trace,actix_http::h1::dispatcher=trace";
    let mut app = TestApp::start_with(&[
        "bots.seed=[]",
        "logging.format=json",
        "logging.access=true",
        &format!("logging.filter=\"{all}\""),
    ])
    .await;
    app.bot("up", upper(), &[]).await;
    app.bot(
        "crash",
        json!({"kind": "simulated", "crash_rate": 1.0}),
        &["crash"],
    )
    .await;
    let external = app.key("somebody", "external").await;
    let submit = app
        .request_as(&external, Method::POST, "/api/v1/tasks/submit")
        .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))
        .header("x-request-id", "asked-1")
        .json(&task("the content is nobody's business"));
    let id = app.send(submit).await.is(202).body["id"].clone();
    app.result(id.as_str().unwrap()).await;
    let poison = app.submit(&json!({"type": "crash", "content": "x"})).await;
    app.result(&poison).await;
    // A key in a place where it does not belong, by somebody's mistake.
    app.get(&format!("/api/v1/tasks/{external}")).await.is(404);
    app.get(&format!("/nowhere/{external}")).await.is(404);
    app.get_as("deia_no_key", "/api/v1/queue").await.is(401);
    assert!(app.stop().success());
    let log = app.log();
    let lines = lines(&log);
    for secret in [app.admin.as_str(), &external, "nobody's business"] {
        let found = log.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "a secret is in the log");
    }
    assert!(log.contains("/nowhere/deia_***"), "{log}");
    let details = lines
        .iter()
        .filter_map(|line| line["fields"].get("details"));
    let details: Vec<&Value> = details.collect();
    assert!(
        !details.is_empty() && details.iter().all(|it| it.is_object()),
        "{details:?}"
    );
    let access: Vec<&Value> = lines
        .iter()
        .filter(|l| l["target"] == "deia::access")
        .collect();
    let submitted = access
        .iter()
        .find(|l| l["request_id"] == "asked-1")
        .unwrap();
    assert_eq!(submitted["trace_id"], TRACE);
    let fields = &submitted["fields"];
    for (name, expected) in [
        ("method", json!("POST")),
        ("route", json!("/api/v1/tasks/submit")),
        ("path", json!("/api/v1/tasks/submit")),
        ("status", json!(202)),
        ("user", json!("somebody")),
        ("peer", json!("127.0.0.1")),
    ] {
        assert_eq!(fields[name], expected, "{submitted}");
    }
    assert!(
        fields["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0),
        "{submitted}"
    );
    let refused = access
        .iter()
        .find(|l| l["fields"]["status"] == 401)
        .unwrap();
    assert_eq!(refused["fields"]["user"], Value::Null);
    let stopped = lines.iter().filter(|l| l["message"] == "stopped").count();
    assert_eq!(stopped, 1);
}

#[actix_web::test]
async fn answers_are_logged_only_when_that_is_asked_for() {
    for (access, expected) in [(false, false), (true, true)] {
        let mut app = TestApp::start_with(&[
            "bots.seed=[]",
            "logging.format=json",
            "logging.filter=warn",
            &format!("logging.access={access}"),
        ])
        .await;
        app.get("/api/v1/queue").await.is(200);
        assert!(app.stop().success());
        let found = lines(&app.log()).iter().any(|line| {
            line["target"] == "deia::access" && line["fields"]["path"] == "/api/v1/queue"
        });
        assert_eq!(found, expected, "{}", app.log());
    }
}

/// Lines with that message and these fields.
fn told(lines: &[Value], message: &str, fields: &[(&str, Value)]) -> usize {
    let has = |line: &Value, (name, value): &(&str, Value)| {
        line["fields"][name] == *value || line[name] == *value
    };
    let is_it = |line: &&Value| {
        let text = line["message"].as_str().unwrap_or_default();
        text.starts_with(message) && fields.iter().all(|field| has(line, field))
    };
    lines.iter().filter(is_it).count()
}

#[actix_web::test]
async fn crash_loop_poison_and_refused_requests_are_logged_without_being_asked_for() {
    let mut app = TestApp::start_with(&[
        "bots.seed=[]",
        "bots.restart.restarts=2",
        "bots.restart.min=1ms",
        "tasks.poison_after=2",
        "auth.denied_events_per_minute=1",
    ])
    .await;
    let crash = json!({"kind": "simulated", "crash_rate": 1.0});
    app.bot("crash", crash, &["crash"]).await;
    let bomb = json!({"type": "crash", "content": "x"});
    let poison = app.submit(&bomb).await;
    app.result(&poison).await;
    app.submit(&bomb).await;
    app.until("the bot is quarantined", async |app| {
        app.get("/api/v1/bots/crash").await.body["status"] == "failing"
    })
    .await;
    for _ in 0..50 {
        app.get_as("deia_no_key", "/api/v1/queue").await.is(401);
    }
    assert!(app.stop().success());
    let log = app.log();
    let lines = lines(&log);
    let of_bot = |more: &[(&'static str, Value)]| {
        let path = ("path", json!("hive/core/bots/crash"));
        [&[path], more].concat()
    };
    let failed = [
        ("level", json!("warn")),
        ("cause", json!("failed")),
        ("incarnation", json!(1)),
    ];
    assert_eq!(told(&lines, "child crashed", &of_bot(&failed)), 1, "{log}");
    assert_eq!(told(&lines, "child crashed", &of_bot(&[])), 3, "{log}");
    let restarts = of_bot(&[("level", json!("info"))]);
    assert_eq!(told(&lines, "child restarts in ", &restarts), 2, "{log}");
    assert_eq!(told(&lines, "child restarted", &restarts), 2, "{log}");
    let error = ("level", json!("error"));
    let quarantined = of_bot(std::slice::from_ref(&error));
    assert_eq!(told(&lines, "child quarantined", &quarantined), 1, "{log}");
    let dead = [error, ("task", json!(poison)), ("bot", json!("crash"))];
    assert_eq!(told(&lines, "task failed as poison", &dead), 1, "{log}");
    // Gathered: not a line a request, and none is left out of the count.
    let refused: Vec<u64> = lines
        .iter()
        .filter(|line| line["message"] == "requests refused" && line["level"] == "warn")
        .map(|line| line["fields"]["count"].as_u64().unwrap())
        .collect();
    assert_eq!(refused.iter().sum::<u64>(), 50, "{log}");
    assert!(refused.len() <= 3, "{log}");
}
