//! Retries of many deliveries at once.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{WEBHOOKS, accepted, delivery_that, register, start, submit};
use crate::webhook_support::{Manner, Receiver};

/// An endpoint that is down for a while, and then takes all that waited.
async fn outage(settings: &[&str]) -> BTreeMap<String, usize> {
    let app = start(&[&["webhooks.pause_after_failures=1000"], settings].concat()).await;
    let receiver = Receiver::start(Manner::Refuses(503));
    let webhook = register(&app, &receiver.url(), &["task.submitted"]).await;
    let tasks = submit(&app, 400).await;
    app.until("all deliveries wait for a retry", async |app| {
        app.get(&webhook).await.is(200).body["waiting"] == 400
    })
    .await;
    receiver.set(Manner::Accepts(Duration::ZERO));
    accepted(&receiver, &tasks).await;
    app.until("no delivery waits", async |app| {
        app.get(&webhook).await.is(200).body["waiting"] == 0
    })
    .await;
    let delivered = |it: &Value| it["state"] == "delivered";
    let detail = delivery_that(&app, &webhook, "a delivery is kept", delivered).await;
    assert_eq!(detail["tries"][0]["status"], 503, "{detail:#}");
    let mut times = BTreeMap::new();
    for it in receiver.received().iter().filter(|it| it.is_accepted) {
        *times.entry(it.id().to_owned()).or_default() += 1;
    }
    assert_eq!(times.len(), 400);
    times
}

#[actix_rt::test]
async fn all_that_waited_through_an_outage_is_delivered_once() {
    let times = outage(&["webhooks.retry=[5s, 5s, 5s, 5s]"]).await;
    assert!(times.values().all(|times| *times == 1), "{times:?}");
}

#[actix_rt::test]
async fn retries_beyond_the_history_are_delivered_once_too() {
    let times = outage(&["webhooks.retry=[5s, 5s, 5s, 5s]", "webhooks.history=1"]).await;
    assert!(times.values().all(|times| *times == 1), "{times:?}");
}

#[actix_rt::test]
async fn more_deliveries_than_are_recorded_at_once_arrive_once() {
    let app = start(&["webhooks.history=10000"]).await;
    let receivers = [(); 3].map(|()| Receiver::start(Manner::Accepts(Duration::ZERO)));
    let mut paths = Vec::new();
    for receiver in &receivers {
        let body = json!({"url": receiver.url(), "events": ["task.submitted"], "concurrency": 64});
        let made = app
            .post(&format!("{WEBHOOKS}/register"), &body)
            .await
            .is(201);
        let id = made.body["id"].as_str().unwrap().to_owned();
        paths.push(format!("{WEBHOOKS}/{id}"));
    }
    // Meanwhile the writer has more to do than to record deliveries.
    for _ in 0..5 {
        submit(&app, 1_000).await;
    }
    for (receiver, path) in receivers.iter().zip(&paths) {
        app.until("every event arrives", async |_| receiver.count() >= 5_000)
            .await;
        app.until("nothing is left to send", async |app| {
            app.get(path).await.is(200).body["lag_ms"] == 0
        })
        .await;
        assert_eq!(receiver.count(), 5_000, "none came twice");
    }
}
