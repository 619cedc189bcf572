//! Events that other systems record.

use std::num::NonZero;

use deia_model::{
    Credential, Event, EventFilter, EventLevel, EventResult, EventTarget, ExternalAction, KeyGrant,
    KeyId, NewEvent, PageRequest, Principal, Role,
};
use serde_json::{Value, json};

use super::{
    access::{add, key_of, record, revoke},
    *,
};
use crate::{AppendExternal, EventScan, FollowerName, Idempotency, RecordEvents};

fn append(action: &str) -> AppendExternal {
    AppendExternal {
        action: action.parse().unwrap(),
        actor: "eve".into(),
        target: "release 7".into(),
        level: EventLevel::Info,
        result: EventResult::Success,
        details: Value::Null,
        trace_id: None,
        idempotency: None,
    }
}

/// Makes a key of a new user, and the caller who has it.
async fn caller(ledger: &Ledger) -> (KeyId, Principal) {
    let key = record(KeyGrant::new("eve", Role::Operator));
    let id = key_of(ledger, add(key, true)).await.id;
    let caller = Principal {
        user: "eve".into(),
        role: Role::Operator,
        permissions: Role::Operator.permissions(),
        bot: None,
        credential: Credential::Key(id),
    };
    (id, caller)
}

async fn found(ledger: &Ledger, visibility: Visibility, action: &str) -> Vec<Event> {
    let filter = EventFilter {
        action: Some(action.into()),
        ..EventFilter::default()
    };
    let page = PageRequest {
        limit: 100,
        cursor: None,
    };
    let read = ledger.events_page(visibility, filter, page);
    read.await.unwrap().items
}

pub(crate) async fn external_event_is_appended_whole_for_its_caller(ledger: Ledger) {
    let (_, caller) = caller(&ledger).await;
    let before = ledger.last_event_seq().await.unwrap();
    let command = AppendExternal {
        level: EventLevel::Critical,
        result: EventResult::Partial,
        details: json!({"by": "pipeline", "n": 7}),
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".into()),
        ..append("ext.deploy.approved")
    };
    let seq = ledger.apply_for(&caller, command).await.unwrap();
    assert_eq!(seq, before + 1);
    let events = ledger.events(before, 10).await.unwrap();
    let action: ExternalAction = "ext.deploy.approved".parse().unwrap();
    let [event] = &events[..] else {
        panic!("{events:?}");
    };
    let expected = Event {
        seq,
        timeline: event.timeline,
        at: event.at,
        action: action.as_str().to_owned().into(),
        level: EventLevel::Critical,
        actor: "eve".into(),
        target: EventTarget {
            r#type: "ext".into(),
            id: "release 7".into(),
        },
        owner: None,
        result: EventResult::Partial,
        task_type: None,
        bot_id: None,
        tags: Vec::new(),
        attempt: None,
        status: None,
        session_id: None,
        v: event.v,
        details: json!({"by": "pipeline", "n": 7}),
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".into()),
    };
    assert_eq!(*event, expected);
    // The number is that of this event, not of the last one.
    let next = ledger.apply(append("ext.deploy")).await.unwrap();
    assert_eq!(next, seq + 1);
}

pub(crate) async fn external_events_are_selected_by_kind_and_by_name(ledger: Ledger) {
    let start = ledger.cursor(FollowerName("none")).await.unwrap();
    submit_one(&ledger).await;
    for action in ["ext.deploy.approved", "ext.deploy", "ext.backup"] {
        ledger.apply(append(action)).await.unwrap();
    }
    let all = ["ext.deploy.approved", "ext.deploy", "ext.backup"];
    for (selected, expected) in [
        ("ext", &all[..]),
        ("ext.deploy", &all[1..2]),
        ("ext.deploy.approved", &all[..1]),
        ("ext.other", &[]),
    ] {
        let mut names: Vec<_> = found(&ledger, Visibility::All, selected)
            .await
            .iter()
            .map(|event| event.action.as_str().to_owned())
            .collect();
        names.reverse();
        assert_eq!(names, expected, "{selected}");
        let limits = EventScan {
            max_events: NonZero::new(9).unwrap(),
            max_bytes: u64::MAX,
            max_examined: 100,
        };
        let actions = [selected.to_owned()].into();
        let page = ledger.events_of_actions(start, actions, limits).await;
        let names: Vec<_> = page.unwrap().events;
        let names: Vec<_> = names.iter().map(|event| event.action.as_str()).collect();
        assert_eq!(names, expected, "{selected}");
    }
    // A caller who sees only own tasks does not see what others record.
    let own = Visibility::SubmittedBy("eve".into());
    assert_eq!(found(&ledger, own, "ext").await, []);
}

pub(crate) async fn external_event_outside_its_limits_is_refused(ledger: Ledger) {
    let before = ledger.last_event_seq().await.unwrap();
    for (command, expected) in [
        (
            AppendExternal {
                target: String::new(),
                ..append("ext.a")
            },
            "/target",
        ),
        (
            AppendExternal {
                target: "x".repeat(257),
                ..append("ext.a")
            },
            "/target",
        ),
        (
            AppendExternal {
                details: json!(["a"]),
                ..append("ext.a")
            },
            "/details",
        ),
        (
            AppendExternal {
                details: json!({"a": "x".repeat(32 * 1_024)}),
                ..append("ext.a")
            },
            "/details",
        ),
    ] {
        let Rejection::Invalid(violations) = refused(&ledger, command).await else {
            panic!("{expected}");
        };
        let pointers: Vec<_> = violations.iter().map(|it| it.pointer.as_str()).collect();
        assert_eq!(pointers, [expected]);
    }
    let longest = AppendExternal {
        target: "ü".repeat(256),
        details: json!({"a": "x".repeat(32 * 1_024 - 8)}),
        ..append("ext.a")
    };
    assert_eq!(ledger.apply(longest).await.unwrap(), before + 1);
}

pub(crate) async fn repeated_external_event_is_appended_once(ledger: Ledger) {
    let with_key = |fingerprint: u8, actor: &str| AppendExternal {
        actor: actor.into(),
        idempotency: Some(Idempotency {
            key: "k".into(),
            fingerprint: [fingerprint; 32],
        }),
        ..append("ext.a")
    };
    let first = ledger.apply(with_key(1, "eve")).await.unwrap();
    ledger.apply(append("ext.a")).await.unwrap();
    let again = ledger.apply(with_key(1, "eve")).await.unwrap();
    assert_eq!(again, first);
    let mismatch = refused(&ledger, with_key(2, "eve")).await;
    assert!(matches!(mismatch, Rejection::IdempotencyMismatch));
    let other = ledger.apply(with_key(2, "bob")).await.unwrap();
    assert_eq!(other, first + 2);
    assert_eq!(ledger.last_event_seq().await.unwrap(), other);
}

pub(crate) async fn external_event_of_a_revoked_caller_is_not_appended(ledger: Ledger) {
    let (key, caller) = caller(&ledger).await;
    ledger.apply_for(&caller, append("ext.a")).await.unwrap();
    ledger.apply(revoke(key)).await.unwrap();
    let before = ledger.last_event_seq().await.unwrap();
    let answer = ledger.apply_for(&caller, append("ext.a")).await;
    assert!(
        matches!(answer, Err(StoreError::Refused(Rejection::AccessChanged))),
        "{answer:?}"
    );
    assert_eq!(ledger.last_event_seq().await.unwrap(), before);
}

pub(crate) async fn level_of_an_event_overrides_that_of_its_action(ledger: Ledger) {
    let event = || NewEvent::new(Action::AuditVerified, "deia", "trail");
    let critical = event().failure().level(EventLevel::Critical);
    let logged = seen(&ledger, |notice| matches!(notice, CommitNotice::Logged(_)));
    ledger
        .apply(RecordEvents(vec![event(), critical.clone()]))
        .await
        .unwrap();
    let events = ledger.events(0, 10).await.unwrap();
    let levels: Vec<_> = events.iter().map(|event| event.level).collect();
    assert_eq!(levels, [EventLevel::Info, EventLevel::Critical]);
    let logged = logged.lock().unwrap();
    let levels: Vec<_> = logged
        .iter()
        .filter_map(|notice| match notice {
            CommitNotice::Logged(event) => event.log_level(),
            _ => None,
        })
        .collect();
    assert_eq!(levels, [EventLevel::Info, EventLevel::Critical]);
}
