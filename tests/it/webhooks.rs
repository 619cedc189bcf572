//! Webhooks from the outside: the real server, real receivers, crashes, hostile answers, and
//! callers that ask for what they may not have.

mod crashes;
mod hostile;
mod refusals;
mod reload;
mod retries;
mod rights;
mod secrets;

use deia_hive::testing::until;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    support::{Answer, TestApp},
    webhook_support::{LOOPBACK, Receiver},
};

const WEBHOOKS: &str = "/api/v1/webhooks";

/// Settings with which webhooks retry soon.
const IMPATIENT: [&str; 5] = [
    "bots.seed=[]",
    "webhooks.retry=[1s, 1s]",
    "webhooks.pause_min=1s",
    "webhooks.pause_max=1s",
    "webhooks.deadline=2s",
];

async fn start(more: &[&str]) -> TestApp {
    TestApp::start_with(&[&LOOPBACK[..], &IMPATIENT, more].concat()).await
}

async fn patch(app: &TestApp, key: &str, path: &str, body: &Value) -> Answer {
    let request = app.request_as(key, Method::PATCH, path).json(body);
    app.send(request).await
}

/// Registers an endpoint of the admin for these events, and returns its path.
async fn register(app: &TestApp, url: &str, events: &[&str]) -> String {
    let body = json!({"url": url, "events": events});
    let made = app.post(&format!("{WEBHOOKS}/register"), &body).await;
    let id = made.is(201).body["id"].as_str().unwrap().to_owned();
    format!("{WEBHOOKS}/{id}")
}

/// Submits tasks that no bot takes, and returns their ids.
async fn submit(app: &TestApp, n: usize) -> Vec<String> {
    let tasks = vec![json!({"type": "idle", "content": ""}); n];
    let batch = json!({"tasks": tasks});
    let made = app.post("/api/v1/tasks/batch", &batch).await;
    let ids = made.is(202).body["ids"].take();
    serde_json::from_value(ids).unwrap()
}

/// Waits until the receiver has accepted an event of each of these tasks.
async fn accepted(receiver: &Receiver, tasks: &[String]) {
    until("every task arrives", async || {
        let accepted = receiver.accepted_tasks();
        tasks.iter().all(|task| accepted.contains(task))
    })
    .await;
}

/// Waits until the endpoint has a delivery of which this is so, and returns its detail.
async fn delivery_that(
    app: &TestApp,
    webhook: &str,
    what: &str,
    is_so: impl Fn(&Value) -> bool,
) -> Value {
    until(what, async || {
        let path = format!("{webhook}/deliveries");
        let all = app.get(&path).await.is(200).body["items"].take();
        let wanted = all.as_array().unwrap().iter().find(|it| is_so(it))?;
        let path = format!("{path}/{}", wanted["id"].as_str().unwrap());
        // It may have left the history meanwhile.
        let detail = app.get(&path).await;
        (detail.status == 200).then_some(detail.body)
    })
    .await
}
