//! Bots, and events.

use deia_model::{
    BotDesired, BotGeneration, BotRecord, BotSpec, Executor, NewEvent, SimulatedExecutor,
};

use super::*;
use crate::{Apply, BotPorts, DeleteBot, MoveBot, NoteDrained, PutBot, RecordEvents, SetDesired};

pub(super) fn spec(max_concurrent_tasks: u32) -> BotSpec {
    let mut spec = BotSpec::new(Executor::Simulated(SimulatedExecutor::default()));
    spec.capabilities.max_concurrent_tasks = max_concurrent_tasks;
    spec
}

pub(super) fn ports(in_use: &[u16]) -> BotPorts {
    BotPorts {
        first: 9_001,
        last: 9_003,
        in_use: in_use.to_vec(),
    }
}

pub(super) fn put_command(name: &str, spec: BotSpec, if_version: Option<u64>) -> PutBot {
    PutBot {
        name: bot_name(name),
        spec,
        actor: "ada".into(),
        if_version,
        ports: ports(&[]),
        max_bots: 100,
    }
}

async fn put(ledger: &Ledger, name: &str, spec: BotSpec) -> (BotRecord, bool) {
    let put = ledger.apply(put_command(name, spec, None)).await.unwrap();
    (put.record, put.created)
}

async fn set_desired(ledger: &Ledger, name: &str, desired: BotDesired) {
    let command = SetDesired {
        name: bot_name(name),
        desired,
        actor: "ada".into(),
    };
    ledger.apply(command).await.unwrap();
}

fn changed(name: &str, eligible: Option<BotGeneration>) -> CommitNotice {
    CommitNotice::BotChanged {
        bot: bot_name(name),
        eligible,
    }
}

pub(crate) async fn each_change_of_a_bot_announces_its_eligible_generation(ledger: Ledger) {
    let notices = notices_of(&ledger);
    let eligible = async || {
        let bot = ledger.bot(bot_name("b")).await.unwrap();
        bot.as_ref().map(BotRecord::generation)
    };
    let told = || std::mem::take(&mut *notices.lock().unwrap());
    put(&ledger, "b", spec(1)).await;
    assert_eq!(told(), [changed("b", None)], "not launched yet");
    for (desired, launched) in [
        (BotDesired::Launched, true),
        (BotDesired::Draining, false),
        (BotDesired::Launched, true),
        (BotDesired::Stopped, false),
        (BotDesired::Launched, true),
    ] {
        set_desired(&ledger, "b", desired).await;
        let generation = eligible().await.filter(|_| launched);
        assert_eq!(told(), [changed("b", generation)], "{desired:?}");
    }
    let before = eligible().await;
    put(&ledger, "b", spec(2)).await;
    let replaced = eligible().await;
    assert_ne!(replaced, before);
    assert_eq!(told(), [changed("b", replaced)]);
}

pub(crate) async fn a_bot_is_put_changed_and_removed(ledger: Ledger) {
    let notices = notices_of(&ledger);
    let (record, created) = put(&ledger, "b", spec(1)).await;
    assert!(created && record.launched_at.is_none());
    assert_eq!(
        (record.version, record.desired, &record.spec),
        (1, BotDesired::Stopped, &spec(1))
    );
    let (record, created) = put(&ledger, "b", spec(2)).await;
    assert_eq!(
        (record.version, created, &record.spec),
        (2, false, &spec(2))
    );
    let stale = refused(&ledger, put_command("b", spec(3), Some(1))).await;
    assert_eq!(
        stale,
        Rejection::VersionMismatch {
            expected: 1,
            actual: 2
        }
    );
    let absent = refused(&ledger, put_command("c", spec(3), Some(1))).await;
    assert_eq!(
        absent,
        Rejection::VersionMismatch {
            expected: 1,
            actual: 0
        }
    );
    ledger
        .apply(put_command("b", spec(3), Some(2)))
        .await
        .unwrap();
    assert_eq!(ledger.bot(bot_name("b")).await.unwrap().unwrap().version, 3);
    ledger
        .apply(DeleteBot {
            name: bot_name("b"),
            actor: "ada".into(),
        })
        .await
        .unwrap();
    assert!(ledger.bots().await.unwrap().is_empty());
    assert_eq!(notices.lock().unwrap().last(), Some(&changed("b", None)));
    let gone = refused(
        &ledger,
        DeleteBot {
            name: bot_name("b"),
            actor: "ada".into(),
        },
    )
    .await;
    assert_eq!(gone, Rejection::NoSuchBot(bot_name("b")));
    let expected = [
        Action::BotCreated,
        Action::BotChanged,
        Action::BotChanged,
        Action::BotDeleted,
    ];
    assert_eq!(actions(&ledger).await, expected);
}

pub(crate) async fn bots_get_ports_of_their_own(ledger: Ledger) {
    for (name, port) in [("x", 9_001), ("y", 9_002), ("z", 9_003)] {
        assert_eq!(put(&ledger, name, spec(1)).await.0.port, port);
    }
    assert!(matches!(
        refused(&ledger, put_command("more", spec(1), None)).await,
        Rejection::NoRoomForBot(_)
    ));
    ledger
        .apply(DeleteBot {
            name: bot_name("y"),
            actor: "ada".into(),
        })
        .await
        .unwrap();
    assert_eq!(
        put(&ledger, "more", spec(1)).await.0.port,
        9_002,
        "a freed port is used again"
    );
}

pub(crate) async fn a_bot_counts_its_attempts(ledger: Ledger) {
    put(&ledger, "b", spec(1)).await;
    for end in [
        AttemptEnd::Succeeded,
        AttemptEnd::Failed,
        AttemptEnd::BotDied,
        AttemptEnd::GivenBack,
    ] {
        let id = submit_one(&ledger).await;
        let claimed = claim(&ledger, id, "b").await.unwrap();
        finish(&ledger, report(&claimed, end)).await;
    }
    let bot = ledger.bot(bot_name("b")).await.unwrap().unwrap();
    assert_eq!((bot.tasks_completed, bot.tasks_failed), (1, 2));
}

pub(crate) async fn a_bot_in_use_cannot_be_deleted(ledger: Ledger) {
    put(&ledger, "b", spec(1)).await;
    set_desired(&ledger, "b", BotDesired::Launched).await;
    assert!(
        ledger
            .bot(bot_name("b"))
            .await
            .unwrap()
            .unwrap()
            .launched_at
            .is_some()
    );
    let delete = || DeleteBot {
        name: bot_name("b"),
        actor: "ada".into(),
    };
    assert_eq!(
        refused(&ledger, delete()).await,
        Rejection::BotInUse(bot_name("b"))
    );
    set_desired(&ledger, "b", BotDesired::Stopped).await;
    let id = submit_one(&ledger).await;
    let claimed = claim(&ledger, id, "b").await.unwrap();
    assert_eq!(
        refused(&ledger, delete()).await,
        Rejection::BotInUse(bot_name("b"))
    );
    finish(&ledger, report(&claimed, AttemptEnd::Succeeded)).await;
    ledger.apply(delete()).await.unwrap();
    assert_eq!(
        stored(&ledger, id).await.assigned_bot,
        Some(bot_name("b")),
        "history stays"
    );
    let unknown = SetDesired {
        name: bot_name("b"),
        desired: BotDesired::Launched,
        actor: "ada".into(),
    };
    assert_eq!(
        refused(&ledger, unknown).await,
        Rejection::NoSuchBot(bot_name("b"))
    );
}

pub(crate) async fn a_draining_bot_is_stopped_when_it_has_drained(ledger: Ledger) {
    put(&ledger, "b", spec(1)).await;
    let is = async |desired| {
        let bot = ledger.bot(bot_name("b")).await.unwrap().unwrap();
        assert_eq!(bot.desired, desired);
        bot.launched_at
    };
    set_desired(&ledger, "b", BotDesired::Draining).await;
    assert_eq!(is(BotDesired::Stopped).await, None, "it has nothing to do");
    set_desired(&ledger, "b", BotDesired::Launched).await;
    let launched_at = is(BotDesired::Launched).await;
    for _ in 0..2 {
        set_desired(&ledger, "b", BotDesired::Draining).await;
        assert_eq!(is(BotDesired::Draining).await, launched_at);
    }
    let delete = || DeleteBot {
        name: bot_name("b"),
        actor: "ada".into(),
    };
    assert_eq!(
        refused(&ledger, delete()).await,
        Rejection::BotInUse(bot_name("b"))
    );
    // The bot continues, and the report that it has drained comes too late.
    set_desired(&ledger, "b", BotDesired::Launched).await;
    assert_eq!(
        is(BotDesired::Launched).await,
        launched_at,
        "no launch anew"
    );
    let drained = || NoteDrained(bot_name("b"));
    assert!(!ledger.apply(drained()).await.unwrap());
    is(BotDesired::Launched).await;

    set_desired(&ledger, "b", BotDesired::Draining).await;
    let notices = notices_of(&ledger);
    assert!(ledger.apply(drained()).await.unwrap());
    is(BotDesired::Stopped).await;
    assert_eq!(notices.lock().unwrap().last(), Some(&changed("b", None)));
    ledger.apply(delete()).await.unwrap();
    assert!(!ledger.apply(drained()).await.unwrap());
    assert_eq!(
        actions(&ledger).await,
        [
            Action::BotCreated,
            Action::BotLaunchRequested,
            Action::BotDraining,
            Action::BotLaunchRequested,
            Action::BotDraining,
            Action::BotStopped,
            Action::BotDeleted
        ]
    );
}

pub(crate) async fn events_without_a_change_are_recorded(ledger: Ledger) {
    let event = NewEvent::new(Action::BotCrashed, "deia", "b")
        .failure()
        .details(serde_json::json!({"cause": "x"}));
    ledger
        .apply(RecordEvents(vec![event.clone(), event.clone()]))
        .await
        .unwrap();
    let events = ledger.events(1, 10).await.unwrap();
    assert_eq!(events.len(), 1, "only those after the first");
    assert_eq!(
        (events[0].seq, &events[0].details, events[0].result),
        (2, &event.details, event.result)
    );
}

pub(crate) async fn ports_that_something_listens_at_are_avoided(ledger: Ledger) {
    let put_beside = async |name: &str, in_use: &[u16]| {
        let command = PutBot {
            ports: ports(in_use),
            ..put_command(name, spec(1), None)
        };
        ledger.apply(command).await.unwrap().record.port
    };
    assert_eq!(put_beside("x", &[9_001]).await, 9_002);
    assert_eq!(
        put_beside("y", &[9_001, 9_003]).await,
        9_001,
        "there is no other"
    );
    let move_beside = async |name: &str, in_use: &[u16]| {
        let name = bot_name(name);
        let ports = ports(in_use);
        let moved = ledger.apply(MoveBot { name, ports }).await.unwrap();
        (moved.port, moved.version)
    };
    assert_eq!(move_beside("y", &[9_001]).await, (9_003, 1));
    assert_eq!(
        move_beside("y", &[9_001, 9_003]).await,
        (9_003, 1),
        "there is none better"
    );
    let stored = ledger.bot(bot_name("y")).await.unwrap().unwrap();
    assert_eq!(stored.port, 9_003);
    assert_eq!(count(&ledger, Action::BotChanged).await, 1);
}
