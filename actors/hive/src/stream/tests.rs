//! The live stream of a whole hive.

use deia_ledger::{Apply, PruneEvents, RecordEvents};
use deia_model::{
    Action, Event, EventFilter, EventGap, KeyGrant, NewEvent, Position, Principal, Role,
};
use tokio::time::timeout;

use super::{EventSubscription, StreamItem, StreamedEvent};
use crate::{
    HiveError, PartAction,
    testing::{PATIENCE, TestHive, until},
};

const PART: &str = "hive/services/stream";

fn all() -> EventFilter {
    EventFilter::default()
}

fn of(action: &str) -> EventFilter {
    EventFilter {
        action: Some(action.into()),
        ..all()
    }
}

/// Returns the next item for the client, and fails if none comes.
async fn next(events: &mut EventSubscription) -> StreamItem {
    loop {
        let item = timeout(PATIENCE, events.next()).await;
        match item.expect("an item in time").unwrap() {
            StreamItem::Passed => {}
            item => return item,
        }
    }
}

/// Collects `n` events.
async fn take(events: &mut EventSubscription, n: usize) -> Vec<StreamedEvent> {
    let mut taken = Vec::new();
    while taken.len() < n {
        match next(events).await {
            StreamItem::Events(more) => taken.extend(more),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(taken.len(), n);
    taken
}

async fn gap(events: &mut EventSubscription) -> EventGap {
    match next(events).await {
        StreamItem::Gap(gap) => gap,
        other => panic!("{other:?}"),
    }
}

fn read(event: &StreamedEvent) -> Event {
    serde_json::from_str(&event.json()).unwrap()
}

fn seqs(events: &[StreamedEvent]) -> Vec<u64> {
    events.iter().map(|event| read(event).seq).collect()
}

/// Records so many events of a bot, with details of that length.
async fn record(hive: &TestHive, n: usize, length: usize) {
    let details = serde_json::json!({"text": "x".repeat(length)});
    let event = NewEvent::new(Action::BotCrashed, "deia", "b").details(details);
    let ledger = &hive.stream().shared.ledger;
    ledger.apply(RecordEvents(vec![event; n])).await.unwrap();
}

fn run(settings: &'static [(&str, &str)], test: impl AsyncFnOnce(&TestHive)) {
    actix_rt::System::new().block_on(async {
        let hive = TestHive::start_with(settings).await;
        test(&hive).await;
        hive.shutdown().await;
    });
}

async fn external(hive: &TestHive, user: &str) -> Principal {
    let grant = KeyGrant::new(user, Role::External);
    let made = hive.access().create_key(&hive.admin, grant, None, None);
    let key = made.await.unwrap();
    hive.access().authenticate(&key.text, None).unwrap()
}

#[test]
fn stream_goes_on_after_an_id_without_gap_or_duplicate_through_a_restart() {
    actix_rt::System::new().block_on(async {
        let hive = TestHive::start().await;
        let mut events = hive
            .stream()
            .follow(&hive.admin, of("bot"), None)
            .await
            .unwrap();
        record(&hive, 3, 1).await;
        let first = take(&mut events, 3).await;
        let id = first[1].id().to_owned();
        drop(events);
        record(&hive, 2, 1).await;
        hive.shutdown().await;
        let hive = hive.start_again().await;
        record(&hive, 1, 1).await;
        let stream = hive.stream();
        let start = stream.position(&hive.admin, &id);
        assert!(start.is_some());
        let mut events = stream.follow(&hive.admin, of("bot"), start).await.unwrap();
        let rest = take(&mut events, 4).await;
        assert_eq!(rest[0].id(), first[2].id());
        assert!(seqs(&rest).is_sorted_by(|a, b| a < b));
        hive.shutdown().await;
    });
}

#[test]
fn client_behind_the_ring_is_served_from_the_log() {
    run(&[("stream.buffer_bytes", "64KiB")], async |hive| {
        let stream = hive.stream();
        let mut late = stream.follow(&hive.admin, of("bot"), None).await.unwrap();
        let mut quick = stream.follow(&hive.admin, of("bot"), None).await.unwrap();
        for _ in 0..20 {
            record(hive, 50, 1_000).await;
            let numbers = seqs(&take(&mut quick, 50).await);
            assert!(numbers.is_sorted_by(|a, b| b - a == 1));
        }
        assert!(stream.hub.bytes() <= 64 << 10);
        let before = stream.hub.metrics.log_reads.get();
        let numbers = seqs(&take(&mut late, 1_000).await);
        assert!(numbers.is_sorted_by(|a, b| b - a == 1), "{numbers:?}");
        assert!(stream.hub.metrics.log_reads.get() > before);
        drop((late, quick));
        assert_eq!(stream.hub.bytes(), 0, "nobody follows");
    });
}

#[test]
fn gaps_are_told_before_the_stream_goes_on() {
    run(&[], async |hive| {
        let stream = hive.stream();
        record(hive, 10, 1).await;
        let head = stream.shared.ledger.log_head().await.unwrap();
        let at = |seq| Some(Position { seq, ..head });
        let upto = head.seq - 4;
        // Events that the trail does not have yet are kept.
        until("the old events are forgotten", async || {
            let prune = PruneEvents { upto, max: 1_000 };
            let ledger = &stream.shared.ledger;
            ledger.apply(prune).await.unwrap();
            let floor = ledger.event_log().await.unwrap().floor;
            (floor > upto).then_some(())
        })
        .await;
        let mut events = stream.follow(&hive.admin, all(), at(2)).await.unwrap();
        let told = gap(&mut events).await;
        let next = Position { seq: upto, ..head }.to_string();
        assert_eq!((told.missed, told.forked), (Some(upto - 2), false));
        assert_eq!(
            (&told.next, events.last_id().unwrap()),
            (&next, next.clone())
        );
        assert_eq!(seqs(&take(&mut events, 4).await)[0], upto + 1);

        for beyond in [
            at(head.seq + 100),
            Some(Position {
                timeline: 9,
                seq: 1,
            }),
        ] {
            let mut events = stream.follow(&hive.admin, of("bot"), beyond).await.unwrap();
            let told = gap(&mut events).await;
            assert!(told.forked, "{told:?}");
            record(hive, 1, 1).await;
            take(&mut events, 1).await;
        }
        assert_eq!(stream.hub.metrics.gaps.get(), 3);
    });
}

#[test]
fn suspended_stream_ends_and_refuses_until_it_is_resumed() {
    run(&[], async |hive| {
        let (stream, operations) = (hive.stream(), hive.operations());
        let mut events = stream.follow(&hive.admin, all(), None).await.unwrap();
        let act = async |action| {
            let done = operations.act_on_part(&hive.admin, PART, action, None);
            done.await.unwrap()
        };
        act(PartAction::Suspend).await;
        let ended = until("the stream ends", async || match next(&mut events).await {
            StreamItem::Suspended => Some(()),
            _ => None,
        });
        ended.await;
        let refused = stream.follow(&hive.admin, all(), None).await;
        assert!(matches!(
            refused.map(drop),
            Err(HiveError::FeatureSuspended {
                feature: "live_stream",
                ..
            })
        ));
        let start = stream.position(&hive.admin, &events.last_id().unwrap());
        act(PartAction::Resume).await;
        let filter = of("part");
        let mut events = stream.follow(&hive.admin, filter, start).await.unwrap();
        let StreamItem::Events(more) = next(&mut events).await else {
            panic!("events of the suspension");
        };
        assert!(!more.is_empty());
    });
}

#[test]
fn confined_caller_follows_its_own_tasks_and_learns_nothing_of_others() {
    run(&[], async |hive| {
        let (ada, bob) = (external(hive, "ada").await, external(hive, "bob").await);
        let stream = hive.stream();
        let mut own = stream.follow(&ada, all(), None).await.unwrap();
        hive.submit_as(&bob).await;
        let first = hive.submit_as(&ada).await;
        hive.submit_as(&bob).await;
        let second = hive.submit_as(&ada).await;
        let events = take(&mut own, 2).await;
        let tasks: Vec<_> = events.iter().map(|event| read(event).target.id).collect();
        assert_eq!(tasks, [first.to_string(), second.to_string()]);
        assert_eq!(seqs(&events), [1, 1], "numbers are those within the task");
        let id = events[0].id();
        assert_eq!(stream.position(&bob, id), None);
        assert_eq!(stream.position(&hive.admin, id), None);
        assert_eq!(stream.position(&ada, "1.3"), None);
        let start = stream.position(&ada, id);
        let mut again = stream.follow(&ada, all(), start).await.unwrap();
        assert_eq!(read(&take(&mut again, 1).await[0]).target.id, tasks[1]);
        hive.submit_as(&bob).await;
        let passed = timeout(PATIENCE, again.next()).await;
        assert!(matches!(passed, Ok(Ok(StreamItem::Passed))), "{passed:?}");
    });
}
