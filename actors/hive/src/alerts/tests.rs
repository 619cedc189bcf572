//! Alerts of a whole hive.

use deia_model::{Action, Alert, BotStatus, PageRequest};
use serde_json::json;

use crate::{
    HiveError,
    testing::{TestHive, bot_name, bot_spec, until},
};

fn page() -> PageRequest {
    PageRequest {
        limit: 100,
        cursor: None,
    }
}

async fn open(hive: &TestHive) -> Vec<Alert> {
    hive.alerts().list(true, page()).await.unwrap().items
}

fn run(settings: &'static [(&str, &str)], test: impl AsyncFnOnce(&TestHive)) {
    actix_rt::System::new().block_on(async {
        let hive = TestHive::start_with(settings).await;
        test(&hive).await;
        hive.shutdown().await;
    });
}

#[test]
fn bot_that_fails_has_an_alert_until_it_works() {
    run(
        &[("alerts.look_every", "1s"), ("alerts.resolve_after", "0s")],
        async |hive| {
            assert_eq!(open(hive).await, []);
            let nowhere = json!({"kind": "command", "command": ["/there/is/none"]});
            hive.put_and_launch("b", bot_spec(nowhere)).await;
            hive.submit_one().await;
            let alert = until("the alert is raised", async || open(hive).await.pop()).await;
            assert_eq!((&*alert.name, &*alert.target.id), ("bot_failing", "b"));
            assert!(alert.what.contains("/there/is/none"), "{}", alert.what);
            let health = hive.operations().health().await.unwrap();
            let told = health
                .problems
                .iter()
                .any(|it| it.contains("/there/is/none"));
            assert!(told && !health.healthy, "{:?}", health.problems);
            let taken = hive.alerts().acknowledge(&hive.admin, alert.id).await;
            assert_eq!(taken.unwrap().acknowledged_by.as_deref(), Some("admin"));

            let working = json!({"kind": "command", "command": ["cat"]});
            let put = hive.bots().put(
                &hive.admin,
                bot_name("b"),
                bot_spec(working),
                crate::PutHow::default(),
            );
            put.await.unwrap();
            hive.bot_is("b", BotStatus::Healthy).await;
            until("it is resolved", async || open(hive).await.is_empty()).await;
            let all = hive.alerts().list(false, page()).await.unwrap().items;
            let [resolved] = &all[..] else {
                panic!("one alert for one condition: {all:?}");
            };
            assert!(resolved.resolved_at >= Some(resolved.since), "{resolved:?}");
            let filter = deia_model::EventFilter {
                action: Some("alert".into()),
                ..Default::default()
            };
            let events = hive.operations().events(&hive.admin, filter, page());
            let actions: Vec<_> = events
                .await
                .unwrap()
                .items
                .into_iter()
                .filter_map(|event| event.action.known())
                .collect();
            assert_eq!(
                actions,
                [
                    Action::AlertResolved,
                    Action::AlertAcknowledged,
                    Action::AlertRaised
                ]
            );
            let metrics = hive.operations().metrics().await.into_text().unwrap();
            assert!(metrics.contains("deia_alerts_raised_total 1"), "{metrics}");
        },
    );
}

#[test]
fn disk_beyond_its_limit_has_an_alert_that_outlives_a_restart() {
    let settings = [("alerts.disk_percent", "1")];
    actix_rt::System::new().block_on(async {
        let hive = TestHive::start_with(&settings).await;
        let filling = async || {
            let open = open(&hive).await;
            open.into_iter().find(|alert| alert.name == "disk_filling")
        };
        let alert = until("the alert is raised", filling).await;
        hive.shutdown().await;
        // The limit is the default again: the alert waits to be resolved.
        let hive = hive.start_again().await;
        assert_eq!(open(&hive).await[0].id, alert.id);
        hive.shutdown().await;
    });
}

#[test]
fn alert_that_is_not_there_is_not_found() {
    run(&[], async |hive| {
        let id = deia_model::AlertId::new();
        let missing = hive.alerts().acknowledge(&hive.admin, id).await;
        assert!(
            matches!(missing, Err(HiveError::NotFound { kind: "alert", .. })),
            "{missing:?}"
        );
    });
}
