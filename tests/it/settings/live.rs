//! Keys whose users are made when the hive starts, and that take effect without another start.

use serde_json::{Value, json};

use super::Site;
use crate::support::TestApp;

impl Site {
    async fn set(&self, key: &str, value: Value) {
        let shown = format!("{key} = {value}");
        let answer = self.patch(key, json!({"value": value}), None).await;
        assert_eq!(answer.status, 200, "{shown}: {answer:#?}");
    }

    /// Waits until a read of the list of bots is answered with a status.
    async fn until_read(&self, status: u16) {
        let what = format!("a read is answered with {status}");
        self.app
            .until(&what, async |app| {
                app.get("/api/v1/bots").await.status == status
            })
            .await;
    }
}

#[actix_rt::test]
async fn rate_limits_take_effect_at_once_and_end_at_once() {
    let site = Site::start("limits: {enabled: false}\n").await;
    site.set("limits.read.per_second", json!(1)).await;
    site.set("limits.read.burst", json!(1)).await;
    site.until_read(200).await;
    site.set("limits.enabled", json!(true)).await;
    site.until_read(429).await;
    let refused = site.app.get("/api/v1/bots").await;
    refused.refuses(429, "rate_limited");
    site.set("limits.enabled", json!(false)).await;
    site.until_read(200).await;
    for _ in 0..5 {
        site.app.get("/api/v1/bots").await.is(200);
    }
}

#[actix_rt::test]
async fn admission_takes_effect_at_once() {
    let site = Site::start("limits: {enabled: false}\n").await;
    site.set("server.admission.max_waiting", json!(0)).await;
    site.set("server.admission.stream", json!(1)).await;
    let task = json!({"type": "nobody-takes-it", "content": ""});
    let task = site.app.submit(&task).await;
    let path = format!("/api/v1/tasks/{task}/result?wait_ms=200");
    // Two wait for the same result, of which one is one too many.
    let refused = async |app: &TestApp| {
        let both = tokio::join!(app.get(&path), app.get(&path));
        let refused = [both.0.status, both.1.status];
        refused.iter().filter(|status| **status == 503).count()
    };
    site.app
        .until("one is refused", async |app| refused(app).await == 1)
        .await;
    site.set("server.admission.enabled", json!(false)).await;
    site.app
        .until("both are admitted", async |app| refused(app).await == 0)
        .await;
}

#[actix_rt::test]
async fn rules_for_tasks_take_effect_at_once() {
    let site = Site::start("limits: {enabled: false}\n").await;
    let task = json!({"type": "nobody-takes-it", "content": ""});
    let first = site.app.submit(&task).await;
    let path = |id: &str| format!("/api/v1/tasks/{id}");
    let attempts = |task: &Value| task["max_attempts"].as_u64().unwrap();
    let before = attempts(&site.app.get(&path(&first)).await.is(200).body);
    site.set("tasks.default_max_attempts", json!(before + 4))
        .await;
    let second = site.app.submit(&task).await;
    let after = attempts(&site.app.get(&path(&second)).await.is(200).body);
    assert_eq!(after, before + 4);

    site.set("tasks.max_waiting", json!(2)).await;
    let third = site.app.post("/api/v1/tasks/submit", &task).await;
    third.refuses(503, "queue_full");
    site.set("tasks.max_waiting", json!(3)).await;
    site.app.submit(&task).await;

    let waiting = format!("/api/v1/tasks/{first}/result?wait_ms=2000");
    site.set("server.max_wait", json!("1s")).await;
    site.app
        .get(&waiting)
        .await
        .refuses(422, "invalid_parameter");
}

#[actix_rt::test]
async fn filter_of_the_log_takes_effect_at_once_and_a_wrong_one_is_refused() {
    let site = Site::start("").await;
    site.set("logging.access", json!(true)).await;
    site.app
        .until("requests are logged", async |app| {
            app.get("/api/v1/bots").await.is(200);
            app.log().contains("/api/v1/bots")
        })
        .await;
    site.set("logging.access", json!(false)).await;
    site.set("logging.filter", json!("warn,deia::http=debug"))
        .await;
    site.app
        .until("requests are logged at debug", async |app| {
            app.get("/api/v1/queue").await.is(200);
            app.log().contains("/api/v1/queue")
        })
        .await;
    let wrong = json!({"value": "deia=loud"});
    let wrong = site.patch("logging.filter", wrong, None).await;
    wrong.refuses(422, "invalid_input");
    assert_eq!(
        site.value("logging.filter").await["value"],
        "warn,deia::http=debug"
    );
}
