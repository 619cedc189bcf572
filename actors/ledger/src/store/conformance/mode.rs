//! The level that an operator has set: recorded with its event, replaced, ended.

use deia_model::{Action, Level};
use serde_json::json;

use super::actions;
use crate::{Apply, EndMode, Ledger, SetMode};

fn set(level: Level) -> SetMode {
    SetMode {
        level,
        reason: "drill".into(),
        actor: "ada".into(),
        duration_ms: 600_000,
    }
}

fn end() -> EndMode {
    EndMode {
        only_set_at: None,
        actor: "bob".into(),
        why: "the drill is over".into(),
        then: Level::OPTIONAL_SHED,
    }
}

pub(crate) async fn level_lasts_until_it_is_replaced_or_ended(ledger: Ledger) {
    assert_eq!(ledger.operator_level().await.unwrap(), None);
    let first = ledger.apply(set(Level::CRITICAL_ONLY)).await.unwrap();
    assert_eq!(first.until.millis_since(first.since), 600_000);
    assert_eq!(ledger.operator_level().await.unwrap(), Some(first.clone()));
    let second = ledger.apply(set(Level::READ_ONLY)).await.unwrap();
    assert_eq!((second.level, &*second.by), (Level::READ_ONLY, "ada"));
    assert_eq!(ledger.operator_level().await.unwrap(), Some(second));
    assert!(ledger.apply(end()).await.unwrap());
    assert!(
        !ledger.apply(end()).await.unwrap(),
        "there is none any more"
    );
    assert_eq!(ledger.operator_level().await.unwrap(), None);
    assert_eq!(actions(&ledger).await, [Action::ModeChanged; 3]);
    let events = ledger.events(0, 10).await.unwrap();
    assert_eq!(events[0].actor, "ada");
    assert_eq!(events[0].target.id, ledger.hive_id());
    assert_eq!(events[0].details["level"], 3);
    assert_eq!(events[0].details["until"], json!(first.until));
    assert_eq!(events[2].details["level"], 1);
    assert_eq!(events[2].details["source"], "signals");
}

pub(crate) async fn end_of_one_level_spares_a_later_one(ledger: Ledger) {
    let level = ledger.apply(set(Level::READ_ONLY)).await.unwrap();
    let of_another = EndMode {
        only_set_at: Some(level.since.minus_millis(1)),
        ..end()
    };
    assert!(!ledger.apply(of_another).await.unwrap());
    assert!(ledger.operator_level().await.unwrap().is_some());
    let of_this = EndMode {
        only_set_at: Some(level.since),
        ..end()
    };
    assert!(ledger.apply(of_this).await.unwrap());
    assert_eq!(ledger.operator_level().await.unwrap(), None);
}
