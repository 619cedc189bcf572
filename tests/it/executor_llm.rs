//! Journeys of bots that are language models, against a provider on loopback that speaks as
//! OpenAI does.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    service_support::{
        QUICK, Service, Step, answer, log_of, once, put, store_secret, until_status,
    },
    support::{TestApp, task},
};

/// A key that is found in no file, log or answer.
const KEY: &str = "hunter2-key-of-the-provider";

/// The head of a streamed answer, which the end of the connection ends.
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\r\n";

fn llm(service: &Service, more: Value) -> Value {
    let mut spec = json!({"kind": "llm", "base_url": service.url("/v1"), "model": "small-1"});
    let more = more.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(more);
    spec
}

async fn hive_with(service: &Service, more: Value, settings: &[&str]) -> TestApp {
    let app = TestApp::start_with(&[&QUICK[..], settings].concat()).await;
    store_secret(&app, "key", KEY).await;
    let secrets = json!({"API_KEY": {"store": "key"}});
    put(&app, "llm", &llm(service, more), &secrets).await;
    until_status(&app, "llm", "healthy").await;
    app
}

async fn hive(service: &Service) -> TestApp {
    hive_with(service, json!({}), &[]).await
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

fn delta(text: &str) -> String {
    event(
        &json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}],
        "usage": null}),
    )
}

fn finish(reason: &str) -> String {
    event(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}))
}

fn usage(prompt: u64, completion: u64) -> String {
    event(&json!({"choices": [], "usage": {"prompt_tokens": prompt,
        "completion_tokens": completion, "total_tokens": prompt + completion}}))
}

const DONE: &str = "data: [DONE]\n\n";

fn stream(parts: &[&str]) -> Vec<Step> {
    vec![Step::Bytes(format!("{HEAD}{}", parts.concat()).into())]
}

fn hello() -> Vec<Step> {
    let (first, second) = (delta("Hel"), delta("lo \u{1f600}"));
    stream(&[&first, &second, &finish("stop"), &usage(1_000, 500), DONE])
}

#[tokio::test]
async fn chat_is_streamed_and_its_tokens_and_cost_are_recorded() {
    let service = Service::start(|_| hello());
    let more = json!({"system": "be brief", "temperature": 0.5, "max_output_tokens": 99,
        "input_cents_per_million": 100, "output_cents_per_million": 2_000.5,
        "headers": {"x-title": "deia"}, "parameters": {"top_p": 0.9}});
    let app = hive_with(&service, more, &[]).await;
    let id = app.submit(&task("say hello")).await;
    let result = app.result(&id).await;
    assert_eq!(result["success"], true, "{result}");
    assert_eq!(result["output"], "Hello \u{1f600}");
    assert_eq!(result["tokens_used"], 1_500, "{result}");
    // 0.1 and 1.00025 cents.
    assert_eq!(result["cost_cents"], 2, "{result}");
    let request = service.requests().remove(0);
    assert_eq!(request.path, "/v1/chat/completions");
    assert_eq!(request.headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!(request.headers["x-title"], "deia");
    let expected = json!({"model": "small-1", "stream": true, "temperature": 0.5, "top_p": 0.9,
        "messages": [{"role": "system", "content": "be brief"},
            {"role": "user", "content": "say hello"}],
        "stream_options": {"include_usage": true}, "max_completion_tokens": 99});
    assert_eq!(request.json(), expected);
    let shown = app.get("/api/v1/bots/llm").await.is(200).body.to_string();
    assert!(!shown.contains(KEY) && !app.log().contains(KEY));
}

#[tokio::test]
async fn responses_are_streamed_too() {
    let text = |delta: &str| {
        let data = json!({"type": "response.output_text.delta", "delta": delta});
        format!("event: response.output_text.delta\n{}", event(&data))
    };
    let created = event(&json!({"type": "response.created", "response": {"usage": null}}));
    let completed = event(&json!({"type": "response.completed", "response": {
        "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}}}));
    let parts = [created, text("one "), text("two"), completed].concat();
    let service = Service::start(move |_| stream(&[&parts]));
    let app = hive_with(&service, json!({"api": "responses"}), &[]).await;
    let id = app.submit(&task("count")).await;
    let result = app.result(&id).await;
    assert_eq!(result["output"], "one two", "{result}");
    assert_eq!(result["tokens_used"], 7, "{result}");
    assert_eq!(result["cost_cents"], Value::Null, "no prices: {result}");
    let request = service.requests().remove(0);
    assert_eq!(request.path, "/v1/responses");
    let expected = json!({"model": "small-1", "stream": true, "input": "count", "store": false});
    assert_eq!(request.json(), expected);
}

#[tokio::test]
async fn text_can_be_followed_while_it_comes() {
    let service = Service::start(|_| {
        let mut steps = vec![Step::Bytes(format!("{HEAD}{}", delta("first")).into())];
        steps.push(Step::Gate);
        let rest = [delta(" last"), finish("stop"), DONE.into()].concat();
        // In pieces of one byte.
        steps.extend(rest.bytes().map(|byte| Step::Bytes(vec![byte])));
        steps
    });
    let app = hive(&service).await;
    let id = app.submit(&task("x")).await;
    let path = format!("/api/v1/tasks/{id}/output?follow=false");
    app.until("the first text can be read", async |app| {
        let response = app.client_get(&app.admin, &path).await;
        response.status() == 200 && response.text().await.is_ok_and(|it| it == "first")
    })
    .await;
    service.open_gate();
    assert_eq!(app.result(&id).await["output"], "first last");
}

#[tokio::test]
async fn answers_that_are_no_whole_answer_fail_with_their_class() {
    let service = Service::start(|_| vec![Step::Hang]);
    let settings = [
        "bots.llm.idle_timeout=700ms",
        "bots.llm.max_event_bytes=4KiB",
        "tasks.max_output_bytes=64KiB",
        "tasks.max_output_file_bytes=128KiB",
    ];
    let app = hive_with(&service, json!({}), &settings).await;
    let text = delta("some text");
    let error = |code: &str| event(&json!({"error": {"message": "m", "code": code}}));
    let refusal = event(&json!({"choices": [{"delta": {"refusal": "I cannot"}}]}));
    let silent = vec![Step::Bytes(format!("{HEAD}{text}").into()), Step::Hang];
    let long_event = format!("data: {}", "x".repeat(5_000));
    let flood = vec![
        Step::Bytes(HEAD.into()),
        Step::Flood(delta(&"x".repeat(1_000)).into()),
    ];
    let body = |code: &str| json!({"error": {"message": "no", "code": code}}).to_string();
    for (steps, class, reason) in [
        (stream(&[&text]), "transport", "before it was complete"),
        (stream(&[]), "transport", "before it was complete"),
        (
            stream(&[&text, "data: {\"choi"]),
            "transport",
            "before it was complete",
        ),
        (vec![], "transport", "closed the connection"),
        (silent, "timed_out", "bots.llm.idle_timeout"),
        (
            vec![Step::Hang],
            "timed_out",
            "no complete answer within 700ms",
        ),
        (
            stream(&[&text, &finish("length"), &usage(1, 2), DONE]),
            "budget",
            "limit of tokens",
        ),
        (
            stream(&[&text, &finish("content_filter"), DONE]),
            "permanent",
            "content filter",
        ),
        (
            stream(&[&refusal, &finish("stop"), DONE]),
            "permanent",
            "refuses the task: I cannot",
        ),
        (stream(&[&finish("stop"), DONE]), "internal", "empty answer"),
        (
            stream(&[&text, &finish("tool_calls"), DONE]),
            "internal",
            "tool_calls",
        ),
        (
            stream(&[&text, "data: {oops}\n\n"]),
            "internal",
            "malformed",
        ),
        (
            stream(&[&text, &error("odd")]),
            "internal",
            "broke off with an error",
        ),
        (
            stream(&[&error("context_length_exceeded")]),
            "context",
            "context of the model",
        ),
        (
            stream(&[&long_event]),
            "internal",
            "bots.llm.max_event_bytes",
        ),
        (flood, "internal", "tasks.max_output_file_bytes"),
        (
            answer(200, "content-type: text/html\r\n", "<html>"),
            "internal",
            "text/html",
        ),
        (
            answer(400, "", &body("context_length_exceeded")),
            "context",
            "context of the model",
        ),
        (
            answer(400, "", &body("content_filter")),
            "permanent",
            "content filter",
        ),
        (
            answer(400, "", &body("odd")),
            "permanent",
            "refuses the task",
        ),
    ] {
        service.set(move |_| steps.clone());
        let id = app.submit(&once("x")).await;
        let result = app.result(&id).await;
        assert_eq!(result["success"], false, "{reason}: {result}");
        assert_eq!(result["failure_class"], class, "{reason}: {result}");
        let error = result["error"].as_str().unwrap();
        assert!(error.contains(reason), "{reason}: {error}");
        if class == "budget" {
            assert_eq!(result["output"], "some text", "{result}");
            assert_eq!(result["tokens_used"], 3, "paid for: {result}");
        }
        assert!(log_of(&app, "llm").await.contains(&format!("{id}#1")));
    }
    let bot = app.get("/api/v1/bots/llm").await.is(200).body;
    assert_eq!(bot["fault"], Value::Null, "{bot}");
}

#[tokio::test]
async fn limits_of_the_provider_pause_the_bot_and_cost_the_task_nothing() {
    let limited = |code: &str| json!({"error": {"message": "slow down", "code": code}}).to_string();
    for (status, headers, body, class) in [
        (
            429,
            "retry-after: 1\r\n",
            limited("rate_limit_exceeded"),
            "rate_limited",
        ),
        (
            429,
            "x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 1s\r\n",
            limited("rate_limit_exceeded"),
            "rate_limited",
        ),
        (
            429,
            "retry-after-ms: 900\r\n",
            limited("insufficient_quota"),
            "quota",
        ),
        (503, "", limited("overloaded_error"), "overloaded"),
        (500, "", String::new(), "overloaded"),
    ] {
        let service = Service::start(move |_| answer(status, headers, &body));
        let app = hive_with(&service, json!({}), &["bots.pause.default=1s"]).await;
        let id = app.submit(&task("x")).await;
        let mut paused = Value::Null;
        app.until("the bot pauses", async |app| {
            paused = app.get("/api/v1/bots/llm").await.is(200).body;
            paused["pause"].is_object()
        })
        .await;
        assert_eq!(paused["pause"]["class"], class, "{paused}");
        assert_eq!(paused["status"], "degraded", "{paused}");
        service.set(|_| hello());
        assert_eq!(app.result(&id).await["success"], true);
        let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
        assert_eq!(task["failures"], 0, "{task}");
        assert_eq!(service.requests().len(), 2, "nothing was sent in the pause");
    }
}

#[tokio::test]
async fn wrong_key_model_and_url_are_faults_of_the_bot_and_the_key_is_not_repeated() {
    let said = format!("Incorrect API key provided: {KEY}");
    let wrong_key = json!({"error": {"message": said, "code": "invalid_api_key"}}).to_string();
    let no_model = json!({"error": {"message": "no such model", "code": "model_not_found"}});
    for (status, body, part) in [
        (401, wrong_key, "refuses the bot's credentials"),
        (404, no_model.to_string(), "model, URL or parameters"),
        (307, String::new(), "redirects are not followed"),
    ] {
        let service = Service::start(move |_| answer(status, "", &body));
        let app = hive(&service).await;
        let id = app.submit(&task("x")).await;
        app.until("the bot is failing", async |app| {
            app.get("/api/v1/bots/llm").await.body["status"] == "failing"
        })
        .await;
        let bot = app.get("/api/v1/bots/llm").await.is(200).body;
        let reason = bot["fault"]["reason"].as_str().unwrap();
        assert!(reason.contains(part), "{bot}");
        assert!(!bot.to_string().contains(KEY), "{bot}");
        assert!(!log_of(&app, "llm").await.contains(KEY));
        assert!(!app.log().contains(KEY));
        service.set(|_| hello());
        let result = app.result(&id).await;
        assert_eq!(result["success"], true, "{result}");
    }
}

#[tokio::test]
async fn provider_that_is_down_costs_the_task_nothing() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let app = TestApp::start_with(&QUICK).await;
    let spec = json!({"kind": "llm", "base_url": format!("http://127.0.0.1:{port}/v1"),
        "model": "small-1"});
    put(&app, "llm", &spec, &json!({})).await;
    let id = app.submit(&task("x")).await;
    app.until("the bot is found to be unreachable", async |app| {
        let bot = app.get("/api/v1/bots/llm").await.is(200).body;
        bot["status"] == "degraded" && bot["unreachable"] == "it cannot be connected to"
    })
    .await;
    let _service = Service::start_at(port, |request| {
        assert!(!request.headers.contains_key("authorization"), "no key");
        hello()
    });
    assert_eq!(app.result(&id).await["output"], "Hello \u{1f600}");
    let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
    assert_eq!(task["failures"], 0, "{task}");
}

#[tokio::test]
async fn stopped_attempts_leave_the_provider() {
    let service = Service::start(|_| {
        let first = format!("{HEAD}{}", delta("some"));
        vec![Step::Bytes(first.into()), Step::Hang]
    });
    let app = hive(&service).await;
    let id = app.submit(&task("x")).await;
    app.until("the model is asked", async |_| {
        !service.requests().is_empty()
    })
    .await;
    let cancel = format!("/api/v1/tasks/{id}/cancel");
    app.post(&cancel, &Value::Null).await.is(200);
    app.until("the hive leaves", async |_| service.left() == 1)
        .await;
    app.until("the task is cancelled", async |app| {
        app.get(&format!("/api/v1/tasks/{id}")).await.body["status"] == "cancelled"
    })
    .await;
    let short = json!({"type": "general", "content": "x", "max_attempts": 1, "timeout_seconds": 1});
    let id = app.submit(&short).await;
    let result = app.result(&id).await;
    assert_eq!(result["failure_class"], "timed_out", "{result}");
    assert_eq!(result["output"], "some", "kept as evidence: {result}");
    let id = app.submit(&task("x")).await;
    app.until("the model is asked again", async |_| {
        service.requests().len() == 3
    })
    .await;
    app.post("/api/v1/bots/llm/stop", &Value::Null)
        .await
        .is(202);
    app.until("the task is back in the queue", async |app| {
        let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
        task["status"] == "queued" && task["failures"] == 0
    })
    .await;
}

#[tokio::test]
async fn slow_model_is_waited_for_as_long_as_it_goes_on() {
    let service = Service::start(|_| {
        let mut steps = vec![Step::Bytes(HEAD.into())];
        for word in ["a", "b", "c", "d"] {
            // Comments keep the connection alive, and are no text.
            steps.push(Step::Bytes(b": ping\n\n".to_vec()));
            steps.push(Step::Pause(Duration::from_millis(400)));
            steps.push(Step::Bytes(delta(word).into()));
        }
        steps.push(Step::Bytes([finish("stop"), DONE.into()].concat().into()));
        steps
    });
    let app = hive_with(&service, json!({}), &["bots.llm.idle_timeout=1s"]).await;
    let id = app.submit(&task("x")).await;
    let result = app.result(&id).await;
    assert_eq!(result["output"], "abcd", "{result}");
}

#[tokio::test]
async fn provider_that_cannot_be_connected_to_gets_no_tasks() {
    let service = Service::start(|_| hello());
    let app = hive(&service).await;
    assert_eq!(service.requests().len(), 0, "a probe is no request");
    drop(service);
    until_status(&app, "llm", "degraded").await;
    let bot = app.get("/api/v1/bots/llm").await.is(200).body;
    assert_eq!(bot["unreachable"], "it cannot be connected to", "{bot}");
    let id = app.submit(&task("x")).await;
    app.until("the task waits for the provider", async |app| {
        let why = app.get(&format!("/api/v1/tasks/{id}/explain")).await;
        why.is(200).body["hold"] == "bots_are_unreachable"
    })
    .await;
    let task = app.get(&format!("/api/v1/tasks/{id}")).await.is(200).body;
    assert_eq!(
        (&task["status"], &task["attempt"]),
        (&json!("queued"), &json!(0))
    );
}
