//! Settings that change while deliveries run.

use nix::sys::signal::{Signal, kill};

use super::{delivery_that, register, submit};
use crate::{
    support::{TestApp, command},
    webhook_support::{Manner, Receiver},
};

const OPEN: &str = "webhooks: {allow_http: true, allow_networks: [127.0.0.0/8], retry: [1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s], retry_jitter: 0, pause_after_failures: 1000}\n";
const CLOSED: &str = "webhooks: {allow_http: true, allow_networks: [], retry: [1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s], retry_jitter: 0, pause_after_failures: 1000}\n";

async fn reload(app: &TestApp, file: &std::path::Path, settings: &str, times: usize) {
    std::fs::write(file, settings).unwrap();
    kill(app.pid(), Signal::SIGHUP).unwrap();
    app.until("the settings are read", async |app| {
        app.log().matches("1 keys changed at once").count() == times
    })
    .await;
}

#[actix_rt::test]
async fn network_that_is_no_longer_allowed_is_reached_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (file, data_dir) = (dir.path().join("deia.yaml"), dir.path().join("data"));
    std::fs::write(&file, OPEN).unwrap();
    let mut command = command(&data_dir, &["bots.seed=[]"]);
    command.arg("--config").arg(&file);
    let app = TestApp::try_start(command, &data_dir).await.unwrap();
    let receiver = Receiver::start(Manner::Refuses(503));
    let webhook = register(&app, &receiver.url(), &["task.submitted"]).await;
    submit(&app, 20).await;
    let last_error = async |app: &TestApp| {
        let shown = app.get(&webhook).await.is(200).body;
        shown["last_error"].as_str().unwrap_or_default().to_owned()
    };
    app.until("deliveries fail", async |app| {
        last_error(app).await == "the endpoint answered 503"
    })
    .await;

    reload(&app, &file, CLOSED, 1).await;
    app.until("the address is refused", async |app| {
        last_error(app).await.contains("webhooks.allow_networks")
    })
    .await;
    // Attempts that had begun have ended by now, or do so within the deadline.
    let refused = |it: &serde_json::Value| it["attempts"].as_u64() > Some(3);
    let detail = delivery_that(&app, &webhook, "it is refused again", refused).await;
    let last = detail["tries"].as_array().unwrap().last().unwrap();
    let error = last["error"].as_str().unwrap();
    assert!(error.contains("webhooks.allow_networks"), "{detail:#}");
    assert_eq!(last.get("status"), None, "{detail:#}");
    let came = receiver.count();
    let test = format!("{webhook}/test");
    let tested = app.post(&test, &serde_json::Value::Null).await.is(200).body;
    assert_eq!(tested["delivered"], false, "{tested:#}");
    let path = format!("{}/register", super::WEBHOOKS);
    let body = serde_json::json!({"url": receiver.url()});
    let refused = app.post(&path, &body).await.refuses(422, "invalid_input");
    assert_eq!(refused.pointers(), ["/url"]);
    assert_eq!(receiver.count(), came);

    receiver.set(Manner::Accepts(std::time::Duration::ZERO));
    reload(&app, &file, OPEN, 2).await;
    let delivered = |it: &serde_json::Value| it["state"] == "delivered";
    delivery_that(&app, &webhook, "it is delivered after all", delivered).await;
}
