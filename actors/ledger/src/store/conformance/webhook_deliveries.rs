//! Deliveries to endpoints, replays, and the events that both are made of.

use std::num::NonZero;

use deia_model::{
    Action, DeliveryState, MessageId, Position, ReplayId, ReplayState, Timestamp, WebhookStatus,
};

use super::{
    count, refused, submit_one,
    webhooks::{attempt, disable, found, page, record, register},
};
use crate::{
    Apply, EventScan, FollowerName, Ledger, RecordDeliveries, Rejection, ReplayProgress,
    RetryDelivery, StartReplay, StopReplay,
};

const DISPATCHER: FollowerName = FollowerName("webhooks");

pub(crate) async fn deliveries_wait_are_retried_and_become_history(ledger: Ledger) {
    use DeliveryState::{Delivered, Failed, Waiting};
    let id = register(&ledger, "ada").await.webhook.id;
    let messages = [(); 5].map(|()| MessageId::new());
    let some = |state, range: std::ops::Range<usize>| {
        let of = |at: usize| attempt(messages[at], at as u64 + 1, state);
        record(id, range.map(of).collect())
    };
    assert_eq!(ledger.apply(some(Waiting, 0..2)).await.unwrap(), 2);
    let stored = found(&ledger, id).await.webhook;
    assert_eq!((stored.waiting, stored.failures_in_a_row), (2, 2));
    assert_eq!(stored.status, WebhookStatus::Failing);
    assert_eq!(ledger.troubled_webhooks().await.unwrap().len(), 1);
    let later = Timestamp::now().plus_millis(1_000);
    assert_eq!(ledger.webhooks_with_work(later, 9).await.unwrap(), [id]);
    let due = ledger.due_deliveries(id, later, 9).await.unwrap();
    assert_eq!(due.len(), 2);
    assert_eq!((due[0].attempts, &*due[0].body), (1, "{}"));
    assert!(
        ledger
            .due_deliveries(id, Timestamp::from_millis(0), 9)
            .await
            .unwrap()
            .is_empty()
    );
    // The first is delivered by its second attempt, and others by their first.
    assert_eq!(ledger.apply(some(Delivered, 0..1)).await.unwrap(), 1);
    let detail = ledger.delivery(id, messages[0]).await.unwrap().unwrap();
    assert_eq!(
        (detail.delivery.attempts, detail.delivery.state),
        (2, Delivered)
    );
    assert_eq!(
        detail.tries.iter().map(|it| it.attempt).collect::<Vec<_>>(),
        [1, 2]
    );
    let answers: Vec<_> = detail.tries.iter().map(|it| &*it.response).collect();
    assert_eq!(answers, ["", "busy"], "only the last answer is kept");
    ledger.apply(some(Failed, 2..3)).await.unwrap();
    ledger.apply(some(Delivered, 3..5)).await.unwrap();
    let all = ledger
        .deliveries(id, None, page(9, None))
        .await
        .unwrap()
        .items;
    let waiting = all.iter().filter(|it| it.state == Waiting).count();
    assert_eq!(
        (all.len(), waiting),
        (3, 1),
        "two ended ones are kept: {all:?}"
    );
    let one = ledger
        .deliveries(id, Some(Waiting), page(9, None))
        .await
        .unwrap()
        .items;
    assert_eq!(one.len(), 1);
    let first = ledger.deliveries(id, None, page(1, None)).await.unwrap();
    let rest = ledger
        .deliveries(id, None, page(9, first.next_cursor))
        .await
        .unwrap();
    assert_eq!([first.items, rest.items].concat(), all);
    // A delivery that has ended is made again when its payload is given.
    let retry = |message, body: Option<&str>| RetryDelivery {
        webhook: id,
        message,
        body: body.map(String::from),
        actor: "ada".into(),
    };
    let gone = refused(&ledger, retry(messages[4], None)).await;
    assert_eq!(gone, Rejection::NoSuchDelivery(messages[4]));
    ledger.apply(retry(messages[4], Some("{1}"))).await.unwrap();
    assert_eq!(count(&ledger, Action::WebhookReplayed).await, 1);
    let due = ledger
        .due_deliveries(id, Timestamp::now(), 9)
        .await
        .unwrap();
    assert!(
        due.iter()
            .any(|it| it.message == messages[4] && it.body == "{1}")
    );
    assert_eq!(found(&ledger, id).await.webhook.waiting, 2);
    let event = ledger.delivered_event(id, messages[4]).await.unwrap();
    assert_eq!(
        event,
        Some(Position {
            timeline: 1,
            seq: 5
        })
    );
}

pub(crate) async fn replay_runs_once_and_can_be_stopped(ledger: Ledger) {
    let id = register(&ledger, "ada").await.webhook.id;
    let after = ledger.cursor(DISPATCHER).await.unwrap();
    let start = |upto| StartReplay {
        id: ReplayId::new(),
        webhook: id,
        from: Timestamp::from_millis(1),
        to: Timestamp::from_millis(2),
        after,
        upto,
        actor: "ada".into(),
    };
    let empty = ledger.apply(start(after.seq)).await.unwrap();
    assert_eq!(
        (empty.state, empty.progress_percent),
        (ReplayState::Completed, 100.0)
    );
    let replay = ledger.apply(start(after.seq + 4)).await.unwrap();
    assert_eq!(
        (replay.state, replay.progress_percent),
        (ReplayState::Running, 0.0)
    );
    let second = refused(&ledger, start(after.seq + 4)).await;
    assert_eq!(second, Rejection::ReplayRunning(id));
    assert_eq!(
        ledger
            .webhooks_with_work(Timestamp::now(), 9)
            .await
            .unwrap(),
        [id]
    );
    let running = ledger.running_replay(id).await.unwrap().unwrap();
    assert_eq!(
        (running.id, running.cursor, running.upto),
        (replay.id, after, after.seq + 4)
    );
    let progress = |seq: u64, is_done| RecordDeliveries {
        replay: Some(ReplayProgress {
            id: replay.id,
            cursor: Position {
                seq: after.seq + seq,
                ..after
            },
            delivered: 1,
            failed: 1,
            is_done,
        }),
        ..record(id, Vec::new())
    };
    ledger.apply(progress(1, false)).await.unwrap();
    let half = ledger.replays(id).await.unwrap()[0].clone();
    assert_eq!(
        (half.progress_percent, half.delivered, half.failed),
        (25.0, 1, 1)
    );
    let stop = StopReplay {
        id: replay.id,
        webhook: id,
        actor: "ada".into(),
    };
    assert_eq!(
        ledger.apply(stop.clone()).await.unwrap().state,
        ReplayState::Stopped
    );
    ledger.apply(progress(4, true)).await.unwrap();
    assert_eq!(
        ledger.apply(stop).await.unwrap().state,
        ReplayState::Stopped
    );
    assert_eq!(count(&ledger, Action::WebhookReplayStopped).await, 1);
    assert_eq!(ledger.running_replay(id).await.unwrap(), None);
    ledger.apply(start(after.seq + 4)).await.unwrap();
    ledger.apply(disable(id)).await.unwrap();
    assert_eq!(
        ledger.running_replay(id).await.unwrap(),
        None,
        "stopped with its endpoint"
    );
    let disabled = refused(&ledger, start(after.seq + 4)).await;
    assert_eq!(disabled, Rejection::WebhookDisabled(id));
}

pub(crate) async fn events_of_some_actions_are_found_among_others(ledger: Ledger) {
    register(&ledger, "ada").await;
    let start = ledger.cursor(FollowerName("none")).await.unwrap();
    for _ in 0..3 {
        submit_one(&ledger).await;
    }
    let scan = |actions: &[&str], max: u32, examined: u64| {
        let actions: Vec<String> = actions.iter().map(|&it| it.into()).collect();
        let limits = EventScan {
            max_events: NonZero::new(max).unwrap(),
            max_bytes: u64::MAX,
            max_examined: examined,
        };
        let reading = ledger.events_of_actions(start, actions.into(), limits);
        async move {
            let page = reading.await.unwrap();
            let names = page
                .events
                .iter()
                .map(|event| event.action.as_str().to_owned());
            (names.collect::<Vec<_>>(), page.next.seq, page.head.seq)
        }
    };
    let submitted = "task.submitted".to_owned();
    let all = [submitted.clone(), submitted.clone(), submitted.clone()];
    assert_eq!(
        scan(&["task.submitted"], 9, 100).await,
        (all.to_vec(), 4, 4)
    );
    assert_eq!(
        scan(&["task", "key.created"], 9, 100).await,
        (all.to_vec(), 4, 4)
    );
    assert_eq!(scan(&["bot.crashed"], 9, 100).await, (vec![], 4, 4));
    assert_eq!(scan(&["bot.crashed"], 9, 2).await, (vec![], 2, 4));
    assert_eq!(
        scan(&["task.submitted"], 1, 100).await,
        (vec![submitted], 2, 4)
    );
    assert_eq!(scan(&[], 9, 100).await.0.len(), 4);
}
