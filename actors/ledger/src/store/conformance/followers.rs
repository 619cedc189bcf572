//! The event log and its followers.

use std::num::NonZero;

use deia_model::{NewEvent, Position, TaskType};

use super::{handles::ROUNDS, *};
use crate::{
    Advance, BeginTimeline, Effect, EventsPage, FollowerName, PruneEvents, RecordEvents, Rejection,
    SealedTrail, Statistics, StatisticsRow, hour_of,
    store::conformance::handles::{Handles, race},
};

const NAME: FollowerName = FollowerName("test");
const SOME: NonZero<u32> = NonZero::new(1_000).unwrap();

async fn page(ledger: &Ledger, after: Position) -> EventsPage {
    ledger.events_after(after, SOME, u64::MAX).await.unwrap()
}

async fn at(ledger: &Ledger) -> Position {
    ledger.cursor(NAME).await.unwrap()
}

fn row(completed: u64) -> StatisticsRow {
    let mut row = StatisticsRow {
        hour: hour_of(Timestamp::now()),
        task_type: "general".into(),
        bot: "b".into(),
        completed,
        ..StatisticsRow::default()
    };
    row.runs.record(7);
    row
}

fn advance(from: Position, to: Position, completed: u64) -> Advance {
    Advance {
        follower: NAME,
        binding: false,
        from,
        to,
        effects: vec![Effect::Statistics {
            rows: vec![row(completed)],
            keep_from: 0,
        }],
    }
}

async fn counted(ledger: &Ledger) -> u64 {
    let statistics = ledger.statistics(0).await.unwrap();
    statistics.by_type.values().map(|row| row.completed).sum()
}

pub(crate) async fn events_are_complete_without_their_task(ledger: Ledger) {
    let mut task = task_of("review", "x");
    task.tags = vec!["nightly".into()];
    let id = submit(&ledger, vec![task]).await[0].id;
    let claimed = claim(&ledger, id, "b").await.unwrap();
    finish(&ledger, report(&claimed, AttemptEnd::Succeeded)).await;
    let events = ledger.task_events(id, Visibility::All).await.unwrap();
    let expected = [
        (None, None, TaskStatus::Queued),
        (Some(1), Some("b"), TaskStatus::Running),
        (Some(1), Some("b"), TaskStatus::Completed),
    ];
    assert_eq!(events.len(), expected.len());
    for (event, (attempt, bot, status)) in events.iter().zip(expected) {
        assert_eq!(
            (
                event.attempt,
                event.bot_id.as_ref().map(BotName::as_str),
                event.status
            ),
            (attempt, bot, Some(status)),
            "{event:?}"
        );
        assert_eq!(event.owner.as_deref(), Some("ada"));
        assert_eq!(
            event.task_type.as_ref().map(TaskType::as_str),
            Some("review")
        );
        assert_eq!(event.tags, ["nightly"]);
        let target = (event.target.r#type.as_str(), event.target.id.as_str());
        assert_eq!(target, ("task", id.to_string().as_str()));
        assert_eq!((event.timeline, event.v), (1, 1));
    }
    let actors: Vec<_> = events.iter().map(|event| event.actor.as_str()).collect();
    assert_eq!(actors, ["ada", "b", "b"]);
    assert!(events[1].details["wait_ms"].is_u64(), "{:?}", events[1]);
    let of_end = &events[2].details;
    assert_eq!(of_end["run_ms"], 7);
    assert!(of_end["wait_ms"].is_u64(), "{of_end}");
}

pub(crate) async fn follower_processes_each_event_once(ledger: Ledger) {
    let notices = seen(&ledger, |notice| {
        matches!(notice, CommitNotice::EventsAppended(_))
    });
    submit(&ledger, vec![task_of("general", "x"); 5]).await;
    let first = page(&ledger, at(&ledger).await).await;
    assert_eq!((first.events.len(), first.missed), (5, 0));
    assert_eq!(first.next, first.head);
    assert_eq!(
        *notices.lock().unwrap(),
        [CommitNotice::EventsAppended(first.head.seq)]
    );
    let start = at(&ledger).await;
    ledger.apply(advance(start, first.next, 3)).await.unwrap();
    assert_eq!(at(&ledger).await, first.next);
    // The same command again, as after a lost answer.
    let again = refused(&ledger, advance(start, first.next, 3)).await;
    assert_eq!(again, Rejection::CursorMoved { at: first.next });
    assert_eq!(counted(&ledger).await, 3);
    assert!(page(&ledger, first.next).await.events.is_empty());
    let lag = ledger.followers().await.unwrap();
    assert_eq!((lag[0].name.as_str(), lag[0].lag_events), (NAME.0, 0));
    submit_one(&ledger).await;
    let lag = ledger.followers().await.unwrap();
    assert_eq!(lag[0].lag_events, 1);
}

pub(crate) async fn cursor_moves_forward_within_the_log_only(ledger: Ledger) {
    submit(&ledger, vec![task_of("general", "x"); 3]).await;
    let start = at(&ledger).await;
    let to = |seq| Position { seq, ..start };
    ledger.apply(advance(start, to(2), 1)).await.unwrap();
    for (from, wrong) in [
        (to(2), to(1)),
        (to(2), to(99)),
        (to(1), to(3)),
        (
            to(2),
            Position {
                timeline: 2,
                seq: 3,
            },
        ),
    ] {
        let rejection = refused(&ledger, advance(from, wrong, 1)).await;
        let expected = Rejection::CursorMoved { at: to(2) };
        assert_eq!(rejection, expected, "{from} {wrong}");
    }
    assert_eq!((at(&ledger).await, counted(&ledger).await), (to(2), 1));
}

pub(crate) async fn statistics_of_the_same_hour_type_and_bot_add_up(ledger: Ledger) {
    submit(&ledger, vec![task_of("general", "x"); 2]).await;
    let start = at(&ledger).await;
    let to = |seq| Position { seq, ..start };
    ledger.apply(advance(start, to(1), 2)).await.unwrap();
    ledger.apply(advance(to(1), to(2), 3)).await.unwrap();
    let statistics = ledger.statistics(0).await.unwrap();
    for sums in [&statistics.by_type, &statistics.by_bot] {
        let sums: Vec<_> = sums
            .values()
            .map(|row| (row.completed, row.runs.count()))
            .collect();
        assert_eq!(sums, [(5, 2)]);
    }
    let later = hour_of(Timestamp::now()) + 1;
    assert_eq!(
        ledger.statistics(later).await.unwrap(),
        Statistics::default()
    );
    let forget = Advance {
        follower: NAME,
        binding: false,
        from: to(2),
        to: to(2),
        effects: vec![Effect::Statistics {
            rows: Vec::new(),
            keep_from: later,
        }],
    };
    ledger.apply(forget).await.unwrap();
    assert_eq!(ledger.statistics(0).await.unwrap(), Statistics::default());
}

pub(crate) async fn pages_of_events_are_bounded_and_continue(ledger: Ledger) {
    submit(&ledger, vec![task_of("general", "x"); 10]).await;
    let (mut after, mut seqs) = (at(&ledger).await, Vec::new());
    for (events, bytes) in [(4, u64::MAX), (1_000, 1), (1_000, u64::MAX)] {
        let events = NonZero::new(events).unwrap();
        let page = ledger.events_after(after, events, bytes).await.unwrap();
        seqs.extend(page.events.iter().map(|event| event.seq));
        assert_eq!(page.ordinals, vec![1; page.events.len()]);
        after = page.next;
    }
    assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
    assert_eq!(ledger.log_head().await.unwrap(), after);
}

pub(crate) async fn events_of_a_page_are_numbered_within_their_task(ledger: Ledger) {
    let start = ledger.log_head().await.unwrap();
    let id = submit(&ledger, vec![task_of("general", "x")]).await[0].id;
    let note = RecordEvents(vec![NewEvent::new(Action::BotCrashed, "deia", "b")]);
    ledger.apply(note).await.unwrap();
    submit(&ledger, vec![task_of("general", "x")]).await;
    claim(&ledger, id, "b").await.unwrap();
    assert_eq!(page(&ledger, start).await.ordinals, [1, 0, 1, 2]);
}

pub(crate) async fn pruning_keeps_the_newest_event_and_those_of_binding_followers(ledger: Ledger) {
    let note = || RecordEvents(vec![NewEvent::new(Action::BotCrashed, "deia", "b"); 10]);
    ledger.apply(note()).await.unwrap();
    let start = at(&ledger).await;
    let to = |seq| Position { seq, ..start };
    let bind = |from, to| Advance {
        follower: FollowerName("binding"),
        binding: true,
        from,
        to,
        effects: Vec::new(),
    };
    ledger.apply(bind(start, to(4))).await.unwrap();
    let prune = |upto, max| PruneEvents { upto, max };
    let floor = async || ledger.event_log().await.unwrap().floor;
    ledger.apply(prune(9, 2)).await.unwrap();
    assert_eq!(floor().await, 3, "at most two at a time");
    ledger.apply(prune(9, 100)).await.unwrap();
    assert_eq!(floor().await, 5, "held by the binding follower");
    ledger.apply(bind(to(4), to(10))).await.unwrap();
    ledger.apply(prune(10, 100)).await.unwrap();
    let log = ledger.event_log().await.unwrap();
    assert_eq!((log.floor, log.head), (10, 10), "never the newest");
    // A cursor before the cut gets the number of missed events, and continues after
    // them.
    let page = page(&ledger, to(2)).await;
    assert_eq!((page.missed, page.events.len(), page.next), (7, 1, to(10)));
    ledger.apply(note()).await.unwrap();
    assert_eq!(
        ledger.event_log().await.unwrap().head,
        20,
        "no number comes again"
    );
}

pub(crate) async fn newest_event_before_a_time_is_found(ledger: Ledger) {
    let before = Timestamp::now();
    submit(&ledger, vec![task_of("general", "x"); 7]).await;
    let after = Timestamp::now().plus_millis(1);
    assert_eq!(ledger.last_event_before(before).await.unwrap(), 0);
    assert_eq!(ledger.last_event_before(after).await.unwrap(), 7);
}

pub(crate) async fn only_one_of_two_moves_a_cursor(Handles { a, b }: Handles) {
    submit(&a, vec![task_of("general", "x"); ROUNDS]).await;
    for round in 0..ROUNDS {
        let from = at(&a).await;
        let to = Position {
            seq: from.seq + 1,
            ..from
        };
        let (one, other) = race(
            round,
            a.apply(advance(from, to, 1)),
            b.apply(advance(from, to, 1)),
        )
        .await;
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    }
    assert_eq!(counted(&a).await, ROUNDS as u64, "each event once");
}

pub(crate) async fn size_of_the_log_is_not_judged_by_its_ends(ledger: Ledger) {
    let note = |details: usize| {
        let event = NewEvent::new(Action::BotCrashed, "deia", "b");
        event.details(serde_json::json!({"error": "x".repeat(details)}))
    };
    ledger
        .apply(RecordEvents(vec![note(10); 4_000]))
        .await
        .unwrap();
    let before = ledger.event_log().await.unwrap().bytes;
    // A run of long events at the end: 5 of 100.
    ledger
        .apply(RecordEvents(vec![note(2_000); 200]))
        .await
        .unwrap();
    let after = ledger.event_log().await.unwrap().bytes;
    let added = after.saturating_sub(before);
    assert!(
        (200_000..800_000).contains(&added),
        "{before} and {added} more"
    );
}

pub(crate) async fn checkpoint_of_the_trail_is_noted_with_the_cursor(ledger: Ledger) {
    submit(&ledger, vec![task_of("general", "x"); 3]).await;
    assert_eq!(ledger.sealed_trail().await.unwrap(), None);
    let start = at(&ledger).await;
    let sealed = |size| SealedTrail {
        origin: "deia.example/audit".into(),
        size,
        root: [7; 32],
        checkpoint: format!("note {size}"),
    };
    let seal = |from, seq, size| Advance {
        follower: FollowerName("audit"),
        binding: true,
        from,
        to: Position { seq, ..start },
        effects: vec![Effect::TrailSealed(Box::new(sealed(size)))],
    };
    ledger.apply(seal(start, 2, 2)).await.unwrap();
    let moved = ledger.apply(seal(start, 3, 3)).await;
    assert!(
        matches!(
            moved,
            Err(StoreError::Refused(Rejection::CursorMoved { .. }))
        ),
        "{moved:?}"
    );
    assert_eq!(ledger.sealed_trail().await.unwrap(), Some(sealed(2)));
    ledger
        .apply(seal(Position { seq: 2, ..start }, 3, 3))
        .await
        .unwrap();
    assert_eq!(ledger.sealed_trail().await.unwrap(), Some(sealed(3)));
}

pub(crate) async fn new_history_begins_behind_the_newest_event(ledger: Ledger) {
    submit(&ledger, vec![task_of("general", "x"); 3]).await;
    let head = ledger.log_head().await.unwrap();
    let begin = |after| BeginTimeline { after };
    assert_eq!(
        ledger.apply(begin(head.timeline)).await.unwrap(),
        head.timeline + 1
    );
    let again = ledger.apply(begin(head.timeline)).await;
    assert!(
        matches!(
            again,
            Err(StoreError::Refused(Rejection::CursorMoved { .. }))
        ),
        "{again:?}"
    );
    submit(&ledger, vec![task_of("general", "x")]).await;
    let page = page(&ledger, head).await;
    assert_eq!(page.events.len(), 1);
    let expected = Position {
        timeline: head.timeline + 1,
        seq: head.seq + 1,
    };
    assert_eq!(page.events[0].position(), expected);
    // A cursor beyond the end of the old history is not taken for one of the new.
    let beyond = Position {
        seq: head.seq + 1,
        ..head
    };
    let page = ledger.events_after(beyond, SOME, u64::MAX).await.unwrap();
    assert!(page.forked && page.next.seq == head.seq, "{page:?}");
}
