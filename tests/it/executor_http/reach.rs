//! Bots reach nothing inside that the settings do not allow.

use serde_json::{Value, json};

use crate::{
    service_support::{QUICK, Service, output, put, until_status},
    support::{TestApp, task},
};

/// A cloud's metadata service and the like, which no setting allows.
const NEVER: [&str; 4] = [
    "http://169.254.169.254/latest",
    "http://[fd00:ec2::254]/",
    "http://[fe80::1]/",
    "http://metadata.google.internal/",
];

fn executors(url: &str) -> [(Value, &'static str); 3] {
    [
        (json!({"kind": "http", "url": url}), "/executor/url"),
        (
            json!({"kind": "http", "url": "https://a.example/", "health_url": url}),
            "/executor/health_url",
        ),
        (
            json!({"kind": "llm", "base_url": url, "model": "m"}),
            "/executor/base_url",
        ),
    ]
}

fn host(address: &str) -> String {
    match address.contains(':') {
        true => format!("[{address}]"),
        false => address.to_owned(),
    }
}

async fn refused(app: &TestApp, url: &str) {
    for (executor, pointer) in executors(url) {
        let spec = json!({"executor": executor});
        let answer = app.put("/api/v1/bots/b", &spec).await;
        let answer = answer.refuses(422, "invalid_input");
        assert_eq!(answer.pointers(), [pointer], "{url}: {:#}", answer.body);
    }
}

#[tokio::test]
async fn urls_that_lead_inside_are_refused_when_the_bot_is_put() {
    let app = TestApp::start().await;
    let all: Value = serde_json::from_str(include_str!("../../vectors/ssrf.json")).unwrap();
    let listed = |list: &str| -> Vec<String> {
        let list = all[list].as_array().unwrap().iter();
        list.map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    for url in listed("refuse_urls") {
        refused(&app, &url).await;
    }
    for address in listed("refuse_addresses") {
        refused(&app, &format!("https://{}/", host(&address))).await;
    }
    for address in listed("allow_addresses") {
        let url = format!("https://{}/", host(&address));
        let spec = json!({"executor": {"kind": "http", "url": url}});
        let answer = app.put("/api/v1/bots/allowed", &spec).await;
        assert!(matches!(answer.status, 200 | 201), "{url}: {answer:#?}");
        // Plain http is for listed networks only.
        refused(&app, &url.replace("https", "http")).await;
    }
    for url in [
        "http://example.com/",
        "https://example.com/#part",
        "example.com",
        "",
    ] {
        refused(&app, url).await;
    }
    for (executor, _) in executors("https://agents.example.com/run") {
        let spec = json!({"executor": executor});
        app.put("/api/v1/bots/fine", &spec).await;
    }
    app.get("/api/v1/bots/fine").await.is(200);
}

#[tokio::test]
async fn networks_that_are_allowed_are_reached_and_metadata_never() {
    let app =
        TestApp::start_with(&["bots.seed=[]", "bots.allow_networks=[0.0.0.0/0, \"::/0\"]"]).await;
    for url in NEVER {
        refused(&app, url).await;
    }
    let all: Value = serde_json::from_str(include_str!("../../vectors/ssrf.json")).unwrap();
    for address in all["refuse_always"].as_array().unwrap() {
        let address = host(address.as_str().unwrap());
        refused(&app, &format!("https://{address}/")).await;
    }
    for url in [
        "http://127.0.0.1:9/",
        "http://10.1.2.3:8080/",
        "http://localhost:1/",
    ] {
        for (executor, _) in executors(url) {
            let answer = app
                .put("/api/v1/bots/b", &json!({"executor": executor}))
                .await;
            assert!(matches!(answer.status, 200 | 201), "{url}: {answer:#?}");
        }
    }
}

#[tokio::test]
async fn address_is_judged_again_at_each_connection() {
    let service = Service::start(|_| output(&json!({"output": "done"})));
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    // The name has both addresses where IPv6 is on.
    let both = "bots.allow_networks=[127.0.0.0/8, \"::1/128\"]";
    let settings: Vec<_> = QUICK.into_iter().chain([both]).collect();
    let mut app = TestApp::start_in(&data_dir, &settings).await;
    let url = format!("http://localhost:{}/run", service.port);
    let executor = json!({"kind": "http", "url": url});
    put(&app, "svc", &executor, &json!({})).await;
    let id = app.submit(&task("x")).await;
    assert_eq!(app.result(&id).await["output"], "done");
    assert!(app.stop().success());
    let none = "bots.allow_networks=[]";
    let settings: Vec<_> = QUICK.into_iter().chain([none]).collect();
    let app = TestApp::start_in(&data_dir, &settings).await;
    let shown = until_status(&app, "svc", "degraded").await;
    assert_eq!(
        shown["unreachable"], "its address may not be reached",
        "{shown}"
    );
    assert_eq!(service.requests().len(), 1);
}

#[tokio::test]
async fn secrets_and_headers_are_checked_by_kind() {
    let app = TestApp::start().await;
    let http = json!({"kind": "http", "url": "https://a.example/"});
    let llm = json!({"kind": "llm", "base_url": "https://a.example/v1", "model": "m"});
    let key = format!("sk-proj-{}", "1aB2".repeat(9));
    let with = |executor: &Value, more: Value| {
        let mut executor = executor.clone();
        let more = more.as_object().unwrap().clone();
        executor.as_object_mut().unwrap().extend(more);
        executor
    };
    let stored = json!({"store": "a"});
    for (executor, secrets, pointer) in [
        (http.clone(), json!({"API_KEY": stored}), "/secrets/API_KEY"),
        (
            llm.clone(),
            json!({"SIGNING_SECRET": stored}),
            "/secrets/SIGNING_SECRET",
        ),
        (
            llm.clone(),
            json!({"AUTHORIZATION": stored}),
            "/secrets/AUTHORIZATION",
        ),
        (
            http.clone(),
            json!({"HEADER_HOST": stored}),
            "/secrets/HEADER_HOST",
        ),
        (http.clone(), json!({"HEADER_": stored}), "/secrets/HEADER_"),
        (
            with(&http, json!({"headers": {"authorization": "x"}})),
            json!({}),
            "/executor/headers/authorization",
        ),
        (
            with(&llm, json!({"headers": {"X-Api-Key": "x"}})),
            json!({}),
            "/executor/headers/X-Api-Key",
        ),
        (
            with(&http, json!({"headers": {"x-a": key}})),
            json!({}),
            "/executor/headers/x-a",
        ),
        (
            with(&http, json!({"headers": {"content-length": "1"}})),
            json!({}),
            "/executor/headers/content-length",
        ),
        (
            with(&http, json!({"headers": {"webhook-id": "1"}})),
            json!({}),
            "/executor/headers/webhook-id",
        ),
        (
            with(&http, json!({"timeout_ms": 0})),
            json!({}),
            "/executor/timeout_ms",
        ),
        (
            with(&llm, json!({"temperature": 3})),
            json!({}),
            "/executor/temperature",
        ),
        (
            with(&llm, json!({"model": ""})),
            json!({}),
            "/executor/model",
        ),
        (
            with(&llm, json!({"max_output_tokens": 0})),
            json!({}),
            "/executor/max_output_tokens",
        ),
        (
            with(&llm, json!({"input_cents_per_million": 1})),
            json!({}),
            "/executor/output_cents_per_million",
        ),
        (
            with(&llm, json!({"parameters": {"tools": []}})),
            json!({}),
            "/executor/parameters/tools",
        ),
        (
            with(&llm, json!({"api": "odd"})),
            json!({}),
            "/executor/api",
        ),
        (with(&llm, json!({"key": "x"})), json!({}), "/executor/key"),
    ] {
        let spec = json!({"executor": executor, "secrets": secrets});
        let answer = app.put("/api/v1/bots/b", &spec).await;
        let answer = answer.refuses(422, "invalid_input");
        assert_eq!(answer.pointers(), [pointer], "{spec}: {:#}", answer.body);
        assert!(!answer.body.to_string().contains(&key));
    }
}
