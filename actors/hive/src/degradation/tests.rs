//! Degradation in a whole hive.

use deia_model::{Action, EventFilter, FeatureState, Level, ModeChange, PageRequest};

use crate::testing::{TestHive, until, with_hive};

fn set(level: u8, seconds: u64) -> ModeChange {
    ModeChange {
        level: Level::new(level),
        reason: Some("drill".into()),
        duration_seconds: Some(seconds),
        auto: false,
    }
}

fn state(hive: &TestHive, feature: &str) -> FeatureState {
    let features = hive.degradation().features();
    let found = features.iter().find(|it| it.feature.as_str() == feature);
    found.unwrap().state
}

async fn recorded(hive: &TestHive, action: Action) -> Vec<serde_json::Value> {
    let page = PageRequest {
        limit: 100,
        cursor: None,
    };
    let filter = EventFilter::default();
    let events = hive.operations().events(&hive.admin, filter, page).await;
    let events = events.unwrap().items.into_iter();
    let details = events.filter(|it| it.action == action);
    details.map(|it| it.details).collect()
}

#[test]
fn features_follow_the_level_and_come_back() {
    with_hive(async |hive| {
        let api = hive.degradation();
        assert_eq!(state(&hive, "webhook_delivery"), FeatureState::On);
        assert_eq!(state(&hive, "auto_scaling"), FeatureState::Absent);
        let status = api.change(&hive.admin, set(2, 600)).await.unwrap();
        assert_eq!(status.level, Level::IMPORTANT_SHED);
        assert_eq!(status.operator.unwrap().by, *hive.admin.user);
        for feature in ["webhook_delivery", "analytics", "live_stream"] {
            until("it is suspended", async || {
                let tree = hive.tree().unwrap();
                let suspended = tree.suspended_features();
                suspended.iter().any(|(name, _)| **name == *feature)
            })
            .await;
            assert_eq!(state(&hive, feature), FeatureState::Off, "{feature}");
        }
        assert_eq!(state(&hive, "message_delivery"), FeatureState::On);
        until("it is recorded", async || {
            recorded(&hive, Action::FeatureSuspended).await.len() == 3
        })
        .await;
        let end = ModeChange {
            auto: true,
            ..ModeChange::default()
        };
        let status = api.change(&hive.admin, end).await.unwrap();
        assert_eq!((status.level, status.operator), (Level::NORMAL, None));
        until("all run again", async || {
            let on = |feature| state(&hive, feature) == FeatureState::On;
            on("webhook_delivery") && on("analytics") && on("live_stream")
        })
        .await;
        until("it is recorded", async || {
            recorded(&hive, Action::FeatureResumed).await.len() == 3
        })
        .await;
        assert_eq!(recorded(&hive, Action::ModeChanged).await.len(), 2);
    });
}

#[test]
fn suspension_by_an_operator_is_never_lifted() {
    with_hive(async |hive| {
        let tree = hive.tree().unwrap();
        let path = "hive/services/statistics";
        tree.suspend_path_as(path, "ada", "it is slow")
            .await
            .unwrap();
        let api = hive.degradation();
        api.change(&hive.admin, set(1, 600)).await.unwrap();
        until("the stream is suspended", async || {
            let live = tree.status_of("hive/services/stream").unwrap();
            live.suspended.is_some()
        })
        .await;
        let features = api.features();
        let analytics = features
            .iter()
            .find(|it| it.feature.as_str() == "analytics");
        let returns = analytics.unwrap().returns.clone().unwrap();
        assert!(returns.contains("deia degrade auto"), "{returns}");
        assert!(returns.contains("deia supervisors resume hive/services/statistics"));
        api.change(&hive.admin, ModeChange::default())
            .await
            .unwrap();
        until("the stream runs", async || {
            state(&hive, "live_stream") == FeatureState::On
        })
        .await;
        let features = api.features();
        let analytics = features
            .iter()
            .find(|it| it.feature.as_str() == "analytics");
        let analytics = analytics.unwrap();
        assert_eq!(analytics.state, FeatureState::Off);
        assert_eq!(
            analytics.why,
            "ada has suspended hive/services/statistics: it is slow"
        );
        tree.resume_path(path).await.unwrap();
        until("it runs again", async || {
            state(&hive, "analytics") == FeatureState::On
        })
        .await;
    });
}

#[test]
fn level_of_an_operator_survives_a_restart_until_its_time_is_over() {
    actix_rt::System::new().block_on(async {
        let hive = TestHive::start().await;
        let api = hive.degradation();
        api.change(&hive.admin, set(4, 3_600)).await.unwrap();
        hive.shutdown().await;
        let hive = hive.start_again().await;
        let status = hive.degradation().status();
        assert_eq!(status.level, Level::READ_ONLY);
        assert_eq!(status.operator.unwrap().reason, "drill");
        hive.degradation()
            .change(&hive.admin, set(1, 1))
            .await
            .unwrap();
        until("its time is over", async || {
            hive.degradation().status().level == Level::NORMAL
        })
        .await;
        until("its end is recorded", async || {
            let changes = recorded(&hive, Action::ModeChanged).await;
            changes.len() == 3 && changes[0]["source"] == "signals"
        })
        .await;
        hive.shutdown().await;
    });
}
