//! Alerts: raised once, seen, acknowledged by the first, resolved, listed, forgotten.

use deia_model::{
    Action, Alert, AlertId, AlertName, Condition, PageRequest, TargetType, Timestamp,
};

use super::{actions, refused};
use crate::{AcknowledgeAlert, Apply, Ledger, Rejection, SeenAlert, SettleAlerts, StoreError};

fn condition(bot: &str, what: &str) -> Condition {
    Condition {
        name: AlertName::BotFailing,
        target_type: TargetType::Bot,
        target: bot.to_owned(),
        what: what.to_owned(),
        what_to_do: format!("see deia bot show {bot}"),
    }
}

fn raise(bots: &[&str]) -> SettleAlerts {
    SettleAlerts {
        raise: bots.iter().map(|bot| condition(bot, "it fails")).collect(),
        ..SettleAlerts::default()
    }
}

fn resolve(alert: &Alert) -> SettleAlerts {
    SettleAlerts {
        resolve: vec![alert.id],
        ..SettleAlerts::default()
    }
}

fn first_page() -> PageRequest {
    PageRequest {
        limit: 10,
        cursor: None,
    }
}

async fn open(ledger: &Ledger) -> Vec<Alert> {
    ledger.open_alerts().await.unwrap()
}

pub(crate) async fn condition_has_one_open_alert_until_it_is_resolved(ledger: Ledger) {
    assert_eq!(ledger.apply(raise(&["a", "a", "b"])).await.unwrap(), 2);
    assert_eq!(ledger.apply(raise(&["a"])).await.unwrap(), 0);
    let [first, second] = &open(&ledger).await[..] else {
        panic!("two alerts");
    };
    assert!(first.is_of(&condition("a", "other words")) && second.target.id == "b");
    assert_eq!(ledger.apply(resolve(first)).await.unwrap(), 1);
    assert_eq!(ledger.apply(resolve(first)).await.unwrap(), 0);
    assert_eq!(open(&ledger).await, std::slice::from_ref(second));
    assert_eq!(ledger.apply(raise(&["a"])).await.unwrap(), 1);
    assert_ne!(open(&ledger).await[1].id, first.id, "another alert");
    let raised = Action::AlertRaised;
    assert_eq!(
        actions(&ledger).await,
        [raised, raised, Action::AlertResolved, raised]
    );
    let event = &ledger.events(0, 1).await.unwrap()[0];
    assert_eq!(event.target.r#type, "alert");
    assert_eq!(event.target.id, first.id.to_string());
    assert_eq!(event.details["target"]["id"], "a");
}

pub(crate) async fn open_alert_is_seen_with_its_condition_as_it_is_now(ledger: Ledger) {
    ledger.apply(raise(&["a"])).await.unwrap();
    let alert = open(&ledger).await.remove(0);
    let seen = |alert: AlertId, what: &str| SettleAlerts {
        seen: vec![SeenAlert {
            alert,
            what: what.to_owned(),
        }],
        ..SettleAlerts::default()
    };
    ledger.apply(seen(alert.id, "it fails more")).await.unwrap();
    let now = open(&ledger).await.remove(0);
    assert_eq!(
        (now.what.as_str(), now.since),
        ("it fails more", alert.since)
    );
    assert!(now.last_seen >= alert.last_seen);
    ledger.apply(resolve(&alert)).await.unwrap();
    ledger.apply(seen(alert.id, "late")).await.unwrap();
    let page = ledger.alerts(false, first_page()).await.unwrap();
    assert_eq!(page.items[0].what, "it fails more");
}

pub(crate) async fn alert_names_the_user_who_acknowledged_it_first(ledger: Ledger) {
    ledger.apply(raise(&["a"])).await.unwrap();
    let alert = open(&ledger).await.remove(0);
    let acknowledge = |actor: &str, alert: AlertId| AcknowledgeAlert {
        alert,
        actor: actor.to_owned(),
    };
    for actor in ["ada", "eve"] {
        let noted = ledger.apply(acknowledge(actor, alert.id)).await.unwrap();
        assert_eq!(noted.acknowledged_by.as_deref(), Some("ada"));
        assert!(noted.acknowledged_at.is_some() && noted.resolved_at.is_none());
    }
    let nowhere = AlertId::new();
    let missing = refused(&ledger, acknowledge("ada", nowhere)).await;
    assert_eq!(missing, Rejection::NoSuchAlert(nowhere));
    assert_eq!(
        actions(&ledger).await,
        [Action::AlertRaised, Action::AlertAcknowledged]
    );
}

pub(crate) async fn alerts_are_listed_page_by_page_and_forgotten_when_old(ledger: Ledger) {
    ledger.apply(raise(&["a", "b", "c"])).await.unwrap();
    let all = open(&ledger).await;
    ledger.apply(resolve(&all[1])).await.unwrap();
    let list = async |only_open, cursor| {
        let page = PageRequest { limit: 2, cursor };
        let page = ledger.alerts(only_open, page).await.unwrap();
        let targets: Vec<_> = page
            .items
            .into_iter()
            .map(|alert| alert.target.id)
            .collect();
        (targets.join(" "), page.next_cursor)
    };
    let (targets, next) = list(false, None).await;
    assert_eq!(targets, "c b");
    assert_eq!(list(false, next).await, ("a".to_owned(), None));
    assert_eq!(list(true, None).await, ("c a".to_owned(), None));
    let page = PageRequest {
        limit: 2,
        cursor: Some("nonsense".to_owned()),
    };
    let bad = ledger.alerts(false, page).await;
    assert!(matches!(bad, Err(StoreError::BadCursor)), "{bad:?}");
    let forget = SettleAlerts {
        forget_before: Some(Timestamp::now().plus_millis(1_000)),
        ..SettleAlerts::default()
    };
    ledger.apply(forget).await.unwrap();
    assert_eq!(list(false, None).await.0, "c a", "open ones stay");
}
