//! Remote workers, through the front door: leases, signs of life, output, and ends.

mod bad_input;
mod ends;
mod examples;
mod flaky;
mod leases;
mod restarts;

use serde_json::{Value, json};

use crate::support::{Answer, TestApp};

/// A worker of a bot.
pub(crate) struct Worker<'a> {
    app: &'a TestApp,
    bot: String,
    key: String,
}

impl<'a> Worker<'a> {
    /// Launches a remote bot, and returns a worker of it.
    pub(crate) async fn of(app: &'a TestApp, bot: &str, executor: Value) -> Self {
        let spec = json!({
            "executor": executor,
            "capabilities": {"specializations": ["far"], "max_concurrent_tasks": 100},
        });
        app.put(&format!("/api/v1/bots/{bot}"), &spec).await.is(201);
        app.post(&format!("/api/v1/bots/{bot}/launch"), &json!(null))
            .await
            .is(202);
        let grant =
            json!({"user": format!("worker-{bot}"), "role": "bot", "bot": bot, "new_user": true});
        let made = app.post("/api/v1/auth/keys", &grant).await.is(201).body;
        Self {
            app,
            bot: bot.to_owned(),
            key: made["key"].as_str().unwrap().to_owned(),
        }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(super) async fn ask(&self, request: &Value) -> Answer {
        let path = format!("/api/v1/bots/{}/lease", self.bot);
        self.app.post_as(&self.key, &path, request).await
    }

    /// Leases one task, and waits for it.
    pub(super) async fn lease(&self) -> Value {
        let mut leased = self.lease_some(&json!({"max": 1, "wait_ms": 20_000})).await;
        assert_eq!(leased.len(), 1);
        leased.remove(0)
    }

    pub(super) async fn lease_some(&self, request: &Value) -> Vec<Value> {
        let answer = self.ask(request).await.is(200).body;
        answer["tasks"].as_array().unwrap().clone()
    }

    /// Reports about a leased task.
    pub(super) async fn report(&self, leased: &Value, what: &str, fields: Value) -> Answer {
        let mut body = json!({"attempt": leased["attempt"], "lease_token": leased["lease_token"]});
        let all = body.as_object_mut().unwrap();
        all.extend(fields.as_object().unwrap().clone());
        let path = format!("/api/v1/tasks/{}/{what}", leased["id"].as_str().unwrap());
        self.app.post_as(&self.key, &path, &body).await
    }
}

pub(crate) fn far(content: &str) -> Value {
    json!({"type": "far", "content": content})
}

pub(super) fn id_of(leased: &Value) -> &str {
    leased["id"].as_str().unwrap()
}
