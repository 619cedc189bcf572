//! Webhooks of a whole hive, with real receivers.

mod receiver;

use deia_model::{
    DeliveryState, DisableReason, NewWebhook, PageRequest, Permission, Principal, ReplayState,
    Timestamp, UserChange, Webhook, WebhookChange, WebhookId, WebhookStatus,
};
use serde_json::{Value, json};

use self::receiver::{Answer, Receiver};
use crate::{
    HiveError,
    operations::PartAction,
    testing::{TestHive, until},
};

/// Settings that let webhooks reach this machine, and retry soon.
const LOOPBACK: [(&str, &str); 5] = [
    ("webhooks.allow_http", "true"),
    ("webhooks.allow_networks", "[127.0.0.0/8]"),
    ("webhooks.retry", "[1s, 1s, 1s]"),
    ("webhooks.pause_min", "1s"),
    ("webhooks.deadline", "2s"),
];

fn run(more: &[(&'static str, &'static str)], test: impl AsyncFnOnce(&TestHive)) {
    let settings = [&LOOPBACK[..], more].concat();
    actix_rt::System::new().block_on(async {
        let hive = TestHive::start_with(&settings).await;
        test(&hive).await;
        hive.shutdown().await;
    });
}

fn page() -> PageRequest {
    PageRequest {
        limit: 1_000,
        cursor: None,
    }
}

async fn register_for(hive: &TestHive, who: &Principal, url: &str, more: Value) -> WebhookId {
    let mut body = json!({"url": url, "events": ["task.submitted"]});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    let new: NewWebhook = serde_json::from_value(body).unwrap();
    let registered = hive.webhooks().register(who, new, None).await.unwrap();
    assert!(registered.secret.unwrap().starts_with("whsec_"));
    registered.webhook.id
}

async fn register(hive: &TestHive, url: &str) -> WebhookId {
    register_for(hive, &hive.admin, url, json!({})).await
}

async fn shown(hive: &TestHive, id: WebhookId) -> Webhook {
    hive.webhooks().get(&hive.admin, id).await.unwrap()
}

async fn submit(hive: &TestHive, n: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..n {
        ids.push(hive.submit_one().await.to_string());
    }
    ids
}

/// Waits until the receiver has accepted events of these tasks, in any order.
async fn accepted(receiver: &Receiver, tasks: &[String]) {
    let mut wanted = tasks.to_vec();
    wanted.sort();
    let what = "the receiver has accepted all events";
    until(what, async || {
        let mut found = receiver.accepted_tasks();
        found.sort();
        found.dedup();
        found == wanted
    })
    .await;
}

#[test]
fn every_event_that_matches_is_delivered_once() {
    run(&[], async |hive| {
        let receiver = Receiver::start(|_| Answer::status(204)).await;
        submit(hive, 3).await;
        let id = register(hive, &receiver.url()).await;
        let tasks = submit(hive, 500).await;
        accepted(&receiver, &tasks).await;
        assert_eq!(receiver.received().len(), 500, "none came twice");
        until("all is recorded", async || {
            shown(hive, id).await.last_success_at.is_some()
        })
        .await;
        let webhook = shown(hive, id).await;
        assert_eq!(
            (webhook.status, webhook.waiting),
            (WebhookStatus::Enabled, 0)
        );
        let kept = hive.webhooks().deliveries(&hive.admin, id, None, page());
        until("the history is kept", async || {
            !hive
                .webhooks()
                .deliveries(&hive.admin, id, None, page())
                .await
                .unwrap()
                .items
                .is_empty()
        })
        .await;
        assert!(kept.await.unwrap().items.len() <= 100);
    });
}

#[test]
fn failed_delivery_is_retried_with_its_id_until_it_succeeds() {
    run(&[], async |hive| {
        let receiver = Receiver::start(|n| match n {
            0 => Answer::status(500),
            1 => Answer::status(302).header("location", "http://127.0.0.1:1/"),
            _ => Answer::status(200),
        })
        .await;
        let id = register(hive, &receiver.url()).await;
        let tasks = submit(hive, 1).await;
        accepted(&receiver, &tasks).await;
        let ids: Vec<_> = receiver
            .received()
            .iter()
            .map(|it| it.header("webhook-id"))
            .collect();
        assert_eq!(ids.len(), 3);
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let message = ids[0].parse().unwrap();
        let delivery = until("it is recorded", async || {
            let found = hive
                .webhooks()
                .delivery(&hive.admin, id, message)
                .await
                .ok()?;
            (found.delivery.state == DeliveryState::Delivered).then_some(found)
        })
        .await;
        let statuses: Vec<_> = delivery.tries.iter().map(|it| it.status).collect();
        assert_eq!(statuses, [Some(500), Some(302), Some(200)]);
        assert_eq!(shown(hive, id).await.failures_in_a_row, 0);
    });
}

#[test]
fn silent_endpoint_delays_no_other() {
    run(&[], async |hive| {
        let silent = Receiver::start(|_| Answer::never()).await;
        let receiver = Receiver::start(|_| Answer::status(204)).await;
        let hanging = register(hive, &silent.url()).await;
        register(hive, &receiver.url()).await;
        let tasks = submit(hive, 200).await;
        accepted(&receiver, &tasks).await;
        until("its deliveries wait", async || {
            let webhook = shown(hive, hanging).await;
            webhook.waiting > 0 && webhook.lag_ms > 0
        })
        .await;
        assert!(silent.received().len() < 20, "it gets few while it hangs");
    });
}

#[test]
fn endpoint_that_is_gone_is_disabled() {
    run(&[], async |hive| {
        let receiver = Receiver::start(|_| Answer::status(410)).await;
        let id = register(hive, &receiver.url()).await;
        submit(hive, 1).await;
        let disabled = until("it is disabled", async || shown(hive, id).await.disabled).await;
        assert_eq!(disabled.reason, DisableReason::Gone);
        let alert = until("an alert is raised", async || {
            let open = hive.alerts().list(true, page()).await.unwrap().items;
            open.into_iter()
                .find(|alert| alert.target.id == id.to_string())
        })
        .await;
        assert_eq!(alert.name, "webhook_disabled");
    });
}

#[test]
fn endpoint_over_its_limit_is_disabled_and_its_missed_range_can_be_replayed() {
    run(
        &[
            ("webhooks.max_waiting", "3"),
            ("webhooks.pause_after_failures", "100"),
        ],
        async |hive| {
            let began = Timestamp::now();
            let receiver = Receiver::start(|n| Answer::status(if n < 8 { 500 } else { 204 })).await;
            let id = register(hive, &receiver.url()).await;
            let mut tasks = submit(hive, 8).await;
            let disabled = until("it is disabled", async || shown(hive, id).await.disabled).await;
            assert_eq!(disabled.reason, DisableReason::TooManyWaiting);
            tasks.extend(submit(hive, 20).await);
            receiver.answer_with(|_| Answer::status(204));
            let enabled = hive.webhooks().enable(&hive.admin, id).await.unwrap();
            assert_eq!(enabled.missed.len(), 1, "{enabled:?}");
            tasks.extend(submit(hive, 2).await);
            let missed = enabled.missed[0].clone();
            assert!(missed.from >= began && missed.to >= missed.from);
            let replay = hive
                .webhooks()
                .replay(&hive.admin, id, began, None)
                .await
                .unwrap();
            accepted(&receiver, &tasks).await;
            let ended = until("the replay ends", async || {
                let all = hive.webhooks().replays(&hive.admin, id).await.unwrap();
                all.into_iter()
                    .find(|it| it.id == replay.id && it.state != ReplayState::Running)
            })
            .await;
            assert_eq!(
                (ended.state, ended.progress_percent),
                (ReplayState::Completed, 100.0)
            );
            assert!(ended.delivered >= 20, "{ended:?}");
        },
    );
}

#[test]
fn owner_gets_only_own_events_and_none_without_rights() {
    run(&[], async |hive| {
        let receiver = Receiver::start(|_| Answer::status(204)).await;
        let ada = hive.external("ada").await;
        let id = register_for(hive, &ada, &receiver.url(), json!({"events": []})).await;
        submit(hive, 5).await;
        let task = hive.submit_as(&ada).await;
        let own = vec![task.to_string()];
        accepted(&receiver, &own).await;
        let body = &receiver.received()[0].body;
        assert_eq!(
            body["data"].get("seq"),
            None,
            "positions tell of others: {body}"
        );
        let change = UserChange {
            active: Some(false),
            ..UserChange::default()
        };
        hive.access()
            .change_user(&hive.admin, "ada", change, None)
            .await
            .unwrap();
        let before = receiver.received().len();
        hive.tasks().cancel(&hive.admin, task).await.unwrap();
        let disabled = until("it is disabled", async || shown(hive, id).await.disabled).await;
        assert_eq!(disabled.reason, DisableReason::OwnerLostRights);
        assert_eq!(
            receiver.received().len(),
            before,
            "nothing left after the loss"
        );
    });
}

#[test]
fn suspended_deliveries_are_late_and_not_lost() {
    run(&[], async |hive| {
        let receiver = Receiver::start(|_| Answer::status(204)).await;
        register(hive, &receiver.url()).await;
        let mut tasks = submit(hive, 2).await;
        accepted(&receiver, &tasks).await;
        let act = async |action| {
            let path = "hive/services/webhooks";
            hive.operations()
                .act_on_part(&hive.admin, path, action, None)
                .await
                .unwrap();
        };
        act(PartAction::Suspend).await;
        tasks.extend(submit(hive, 300).await);
        until("the lag is shown", async || {
            let status = hive.operations().status().await.unwrap();
            let mut followers = status.followers.iter();
            followers.any(|it| it.name == "webhooks" && it.lag_events >= 300)
        })
        .await;
        assert_eq!(receiver.accepted_tasks().len(), 2);
        act(PartAction::Resume).await;
        accepted(&receiver, &tasks).await;
    });
}

#[test]
fn crashed_actors_deliver_what_they_had_taken() {
    run(&[], async |hive| {
        let receiver = Receiver::start(|_| Answer::status(204)).await;
        let id = register(hive, &receiver.url()).await;
        let mut tasks = Vec::new();
        for path in [
            format!("hive/services/webhooks/endpoints/{id}"),
            "hive/services/webhooks/dispatcher".to_owned(),
        ] {
            tasks.extend(submit(hive, 100).await);
            // The actor of an endpoint is there only while it has work.
            let _ = hive.tree().unwrap().fail_path(&path).await;
            tasks.extend(submit(hive, 100).await);
        }
        accepted(&receiver, &tasks).await;
    });
}

#[test]
fn many_deliveries_that_wait_are_each_retried_once() {
    let settings = [
        ("webhooks.pause_after_failures", "1000"),
        ("webhooks.history", "1"),
        ("webhooks.retry", "[8s, 8s]"),
    ];
    run(&settings, async |hive| {
        let status = |n| Answer::status(if n < 300 { 500 } else { 204 });
        let receiver = Receiver::start(status).await;
        let id = register(hive, &receiver.url()).await;
        let tasks = submit(hive, 300).await;
        until("all wait", async || shown(hive, id).await.waiting == 300).await;
        accepted(&receiver, &tasks).await;
        until("none waits", async || shown(hive, id).await.waiting == 0).await;
        assert_eq!(receiver.received().len(), 600);
    });
}

#[test]
fn endpoint_that_asks_for_more_gets_it_from_the_change_on() {
    run(&[], async |hive| {
        let receiver = Receiver::start(|_| Answer::status(204)).await;
        let id = register_for(
            hive,
            &hive.admin,
            &receiver.url(),
            json!({"events": ["bot.crashed"]}),
        )
        .await;
        submit(hive, 20).await;
        let change = serde_json::from_value(json!({"events": ["task.submitted"]})).unwrap();
        hive.webhooks()
            .change(&hive.admin, id, change, None)
            .await
            .unwrap();
        let tasks = submit(hive, 100).await;
        until("all are delivered", async || {
            let found = receiver.accepted_tasks();
            tasks.iter().all(|task| found.contains(task))
        })
        .await;
    });
}

#[test]
fn callers_let_no_event_or_secret_leave_that_they_may_not_read() {
    run(&[], async |hive| {
        let new = |body: Value| serde_json::from_value::<NewWebhook>(body).unwrap();
        let mut scoped = hive.admin.clone();
        scoped.permissions = [Permission::WebhookManage].into_iter().collect();
        let body = json!({"url": "http://127.0.0.1:9/"});
        let refused = hive.webhooks().register(&scoped, new(body), None).await;
        let lacking = HiveError::MayNotGive(Permission::EventRead);
        assert_eq!(refused.unwrap_err().to_string(), lacking.to_string());

        let ada = hive.external("ada").await;
        let bob = hive.external("bob").await;
        let body = json!({"url": "http://127.0.0.1:9/", "headers": {"authorization": "hunter2"}});
        let registered = hive
            .webhooks()
            .register(&ada, new(body), None)
            .await
            .unwrap();
        let id = registered.webhook.id;
        assert!(
            hive.webhooks().get(&bob, id).await.is_err(),
            "it is not bob's"
        );
        let change = |body: Value| serde_json::from_value::<WebhookChange>(body).unwrap();
        let moved = change(json!({"url": "http://127.0.0.1:10/"}));
        let exposed = hive.webhooks().change(&hive.admin, id, moved, None).await;
        let HiveError::Invalid(faults) = exposed.unwrap_err() else {
            panic!("the header would go to another host");
        };
        assert_eq!(faults[0].pointer, "/headers");
        let stays = change(json!({"url": "http://127.0.0.1:9/other"}));
        hive.webhooks().change(&ada, id, stays, None).await.unwrap();
        let foreign = change(json!({"owners": ["bob"]}));
        assert!(
            hive.webhooks()
                .change(&ada, id, foreign, None)
                .await
                .is_err()
        );
    });
}
