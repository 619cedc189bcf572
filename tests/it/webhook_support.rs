//! Webhooks in tests: settings that let them reach this machine, a receiver that keeps what it
//! gets, and the receivers of `examples/webhook-receiver`.

mod delivered;
mod examples;
mod receiver;

use serde_json::{Value, json};

pub(crate) use self::{
    delivered::Delivered,
    examples::{ExampleReceiver, Language, example, present},
    receiver::{Manner, Receiver},
};
use crate::support::TestApp;

/// Settings that let webhooks reach this machine.
pub(crate) const LOOPBACK: [&str; 2] = [
    "webhooks.allow_http=true",
    "webhooks.allow_networks=[127.0.0.0/8]",
];

/// Registers an endpoint and returns the answer.
pub(crate) async fn register(app: &TestApp, url: &str, more: Value) -> Value {
    let mut body = json!({"url": url, "events": ["task.completed"]});
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    let answer = app.post("/api/v1/webhooks/register", &body).await;
    answer.is(201).body
}
