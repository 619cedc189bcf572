//! Webhooks: endpoints, deliveries, replays, and the cursors of their dispatcher.

use deia_model::{
    DeliveryState, DisableReason, MessageId, NewWebhook, PageRequest, Position, Role, WebhookId,
    WebhookStatus,
};

use super::{access, actions, refused, submit_one};
use crate::{
    Advance, Apply, AttemptRecord, ChangeWebhook, DeleteWebhook, DisableWebhook, Effect,
    EnableWebhook, FollowerName, Idempotency, Ledger, RecordDeliveries, RegisterWebhook, Rejection,
    SealedWebhookSecret, SecretNotes, StoredWebhook, WebhookHealth, WebhookLimits, WebhookOwner,
};
use deia_model::{Action, SecretName, Timestamp};

const DISPATCHER: FollowerName = FollowerName("webhooks");

pub(super) fn registration(owner: &str) -> RegisterWebhook {
    let new = serde_json::json!({"url": "https://example.com", "events": ["task.submitted"]});
    let new: NewWebhook = serde_json::from_value(new).unwrap();
    RegisterWebhook {
        id: WebhookId::new(),
        spec: new.split().0,
        owner: WebhookOwner {
            user: owner.into(),
            role: Role::External,
            issuer: None,
        },
        secret: SealedWebhookSecret {
            sealed: b"sealed".to_vec(),
            notes: SecretNotes::default(),
        },
        limits: WebhookLimits {
            max: 5,
            max_per_owner: 3,
        },
        idempotency: None,
    }
}

pub(super) async fn register(ledger: &Ledger, owner: &str) -> StoredWebhook {
    ledger.apply(registration(owner)).await.unwrap()
}

pub(super) async fn found(ledger: &Ledger, id: WebhookId) -> StoredWebhook {
    ledger.webhook(id).await.unwrap().unwrap()
}

pub(super) fn attempt(message: MessageId, seq: u64, state: DeliveryState) -> AttemptRecord {
    let now = Timestamp::now();
    AttemptRecord {
        message,
        at_event: Position { timeline: 1, seq },
        action: "task.submitted".into(),
        owner: Some("ada".into()),
        body: "{}".into(),
        state,
        next_at: (state == DeliveryState::Waiting).then_some(now),
        at: now,
        duration_ms: 5,
        status: Some(503),
        error: Some("the endpoint answered 503".into()),
        response: "busy".into(),
        response_truncated: false,
    }
}

pub(super) fn record(webhook: WebhookId, attempts: Vec<AttemptRecord>) -> RecordDeliveries {
    RecordDeliveries {
        webhook,
        attempts,
        health: WebhookHealth {
            failures_in_a_row: 2,
            failing_since: Some(Timestamp::from_millis(7)),
            last_failure_at: Some(Timestamp::from_millis(8)),
            last_error: Some("the endpoint answered 503".into()),
            last_success_at: None,
        },
        replay: None,
        missed_from: None,
        history: 2,
    }
}

pub(super) fn page(limit: u32, cursor: Option<String>) -> PageRequest {
    PageRequest { limit, cursor }
}

pub(crate) async fn registration_is_limited_and_repeatable(ledger: Ledger) {
    let first = RegisterWebhook {
        idempotency: Some(Idempotency {
            key: "k".into(),
            fingerprint: [1; 32],
        }),
        ..registration("ada")
    };
    let registered = ledger.apply(first.clone()).await.unwrap();
    let again = RegisterWebhook {
        id: WebhookId::new(),
        ..first
    };
    assert_eq!(ledger.apply(again).await.unwrap(), registered);
    assert_eq!(registered.webhook.version, 1);
    assert_eq!(registered.webhook.status, WebhookStatus::Enabled);
    register(&ledger, "ada").await;
    register(&ledger, "ada").await;
    let beyond = refused(&ledger, registration("ada")).await;
    assert!(matches!(beyond, Rejection::TooManyWebhooks(why) if why.contains("per_owner")));
    register(&ledger, "bob").await;
    register(&ledger, "cy").await;
    let beyond = refused(&ledger, registration("dee")).await;
    assert!(
        matches!(beyond, Rejection::TooManyWebhooks(why) if why.contains("webhooks.max allows"))
    );
    assert_eq!(actions(&ledger).await, [Action::WebhookRegistered; 5]);
}

pub(crate) async fn endpoint_is_changed_and_deleted_with_all_that_belongs_to_it(ledger: Ledger) {
    let id = register(&ledger, "ada").await.webhook.id;
    let name = SecretName::of_webhook(id);
    assert_eq!(
        ledger.secret(name.clone()).await.unwrap().unwrap().sealed,
        b"sealed"
    );
    let change = |if_version| ChangeWebhook {
        id,
        spec: deia_model::WebhookSpec {
            url: "https://other.example.com".into(),
            ..registration("ada").spec
        },
        secret: Some(SealedWebhookSecret {
            sealed: b"other".to_vec(),
            notes: SecretNotes {
                public_key: Some("whpk_x".into()),
                old_secret_until: Some(Timestamp::from_millis(9)),
            },
        }),
        if_version,
        actor: "ada".into(),
        rotated: true,
    };
    let changed = ledger.apply(change(Some(1))).await.unwrap().webhook;
    assert_eq!(
        (changed.version, &*changed.spec.url),
        (2, "https://other.example.com")
    );
    assert_eq!(changed.public_key.as_deref(), Some("whpk_x"));
    assert_eq!(
        ledger.secret(name.clone()).await.unwrap().unwrap().sealed,
        b"other"
    );
    let (expected, actual) = (1, 2);
    let stale = refused(&ledger, change(Some(1))).await;
    assert_eq!(stale, Rejection::VersionMismatch { expected, actual });
    ledger
        .apply(record(
            id,
            vec![attempt(MessageId::new(), 1, DeliveryState::Waiting)],
        ))
        .await
        .unwrap();
    let delete = DeleteWebhook {
        id,
        if_version: None,
        actor: "ada".into(),
    };
    ledger.apply(delete.clone()).await.unwrap();
    assert_eq!(refused(&ledger, delete).await, Rejection::NoSuchWebhook(id));
    assert_eq!(ledger.secret(name).await.unwrap(), None);
    assert!(
        ledger
            .deliveries(id, None, page(9, None))
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert_eq!(
        refused(&ledger, record(id, Vec::new())).await,
        Rejection::NoSuchWebhook(id)
    );
}

pub(crate) async fn endpoints_are_listed_by_owner_page_by_page(ledger: Ledger) {
    let mut own = Vec::new();
    for owner in ["ada", "bob", "ada", "ada"] {
        let id = register(&ledger, owner).await.webhook.id;
        own.extend((owner == "ada").then_some(id));
    }
    own.reverse();
    let mut listed = Vec::new();
    let mut cursor = None;
    loop {
        let some = ledger
            .webhooks(Some("ada".into()), page(2, cursor))
            .await
            .unwrap();
        listed.extend(some.items.iter().map(|stored| stored.webhook.id));
        cursor = some.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, own);
    assert_eq!(
        ledger
            .webhooks(None, page(9, None))
            .await
            .unwrap()
            .items
            .len(),
        4
    );
    assert_eq!(ledger.all_webhooks().await.unwrap().len(), 4);
    assert!(
        ledger
            .webhooks(None, page(9, Some("x".into())))
            .await
            .is_err()
    );
}

pub(crate) async fn cursors_of_endpoints_move_with_the_dispatcher(ledger: Ledger) {
    let stored = register(&ledger, "ada").await;
    let id = stored.webhook.id;
    let start = ledger.cursor(DISPATCHER).await.unwrap();
    assert_eq!(
        stored.cursor,
        Some(start),
        "it gets the events after its registration"
    );
    submit_one(&ledger).await;
    let to = Position {
        seq: start.seq + 2,
        ..start
    };
    let advance = |from, cursor| Advance {
        follower: DISPATCHER,
        binding: false,
        from,
        to,
        effects: vec![Effect::WebhookCursors(vec![(id, cursor)])],
    };
    ledger.apply(advance(start, None)).await.unwrap();
    assert_eq!(found(&ledger, id).await.cursor, None);
    let behind = Position {
        seq: to.seq - 1,
        ..to
    };
    ledger.apply(advance(to, Some(behind))).await.unwrap();
    assert_eq!(found(&ledger, id).await.cursor, Some(behind));
    refused(&ledger, advance(start, None)).await;
    assert_eq!(
        found(&ledger, id).await.cursor,
        Some(behind),
        "nothing moved"
    );
}

pub(super) fn disable(id: WebhookId) -> DisableWebhook {
    DisableWebhook {
        id,
        reason: DisableReason::Failing,
        detail: "all deliveries failed".into(),
        actor: "deia".into(),
    }
}

pub(crate) async fn endpoints_of_a_deleted_user_are_disabled_with_it(ledger: Ledger) {
    let user = access::add_user("ada", Role::External, None);
    ledger.apply(user.clone()).await.unwrap();
    let of_user = register(&ledger, "ada").await.webhook.id;
    let of_token = RegisterWebhook {
        owner: WebhookOwner {
            issuer: Some("corp".into()),
            ..registration("ada").owner
        },
        ..registration("ada")
    };
    let of_token = ledger.apply(of_token).await.unwrap().webhook.id;
    let of_other = register(&ledger, "eve").await.webhook.id;
    ledger.apply(access::delete("ada", None)).await.unwrap();
    ledger.apply(user).await.unwrap();
    let disabled = found(&ledger, of_user).await.webhook.disabled.unwrap();
    assert_eq!(
        (disabled.reason, &*disabled.by),
        (DisableReason::OwnerLostRights, "deia")
    );
    for id in [of_token, of_other] {
        assert_eq!(found(&ledger, id).await.webhook.disabled, None);
    }
}

pub(crate) async fn disabled_endpoint_keeps_its_place_and_tells_what_it_missed(ledger: Ledger) {
    let id = register(&ledger, "ada").await.webhook.id;
    let disabled = ledger.apply(disable(id)).await.unwrap();
    let why = disabled.webhook.disabled.as_ref().unwrap();
    assert_eq!((why.reason, &*why.by), (DisableReason::Failing, "deia"));
    assert_eq!(disabled.webhook.status, WebhookStatus::Disabled);
    assert_eq!(ledger.apply(disable(id)).await.unwrap(), disabled, "once");
    let place = disabled.cursor.unwrap();
    let cursors = Effect::WebhookCursors(vec![(id, None)]);
    let advance = Advance {
        follower: DISPATCHER,
        binding: false,
        from: ledger.cursor(DISPATCHER).await.unwrap(),
        to: ledger.cursor(DISPATCHER).await.unwrap(),
        effects: vec![cursors],
    };
    ledger.apply(advance).await.unwrap();
    assert_eq!(
        found(&ledger, id).await.cursor,
        Some(place),
        "it stays where it was"
    );
    submit_one(&ledger).await;
    let enable = EnableWebhook {
        id,
        actor: "ada".into(),
    };
    let enabled = ledger.apply(enable.clone()).await.unwrap();
    assert_eq!(enabled.webhook.status, WebhookStatus::Enabled);
    assert!(enabled.cursor.unwrap() > place);
    let [missed] = &enabled.webhook.missed[..] else {
        panic!("{enabled:?}");
    };
    assert!(missed.from <= missed.to);
    assert_eq!(ledger.apply(enable).await.unwrap(), enabled, "once");
    let seen = actions(&ledger).await;
    let of = |action| seen.iter().filter(|it| **it == action).count();
    assert_eq!(
        (of(Action::WebhookDisabled), of(Action::WebhookEnabled)),
        (1, 1)
    );
}
