//! Sessions: their start and end, their bots, and the tasks that go to these.

use std::time::Duration;

use deia_model::{
    Action, BotDesired, MessageFilter, NewMessage, NewSession, NewTask, OnBotDeath, PageRequest,
    Priority, Role, Session, SessionEnd, SessionFilter, SessionId, TaskId, TaskStatus, Timestamp,
};

use super::{
    bot_name, claim, count, entities::put_command, entities::spec, finish, refused, report, stored,
    task_of,
};
use crate::{
    Apply, Demand, EndSession, Idempotency, Ledger, ReadyQuery, ReadyTask, Rejection, ReleaseBot,
    SendMessage, SetDesired, SettleSessions, StartSession, Submit,
};

const LONG: Duration = Duration::from_secs(3_600);

pub(super) async fn launch(ledger: &Ledger, name: &str) {
    ledger
        .apply(put_command(name, spec(4), None))
        .await
        .unwrap();
    desire(ledger, name, BotDesired::Launched).await;
}

pub(super) async fn desire(ledger: &Ledger, name: &str, desired: BotDesired) {
    let command = SetDesired {
        name: bot_name(name),
        desired,
        actor: "ada".into(),
    };
    ledger.apply(command).await.unwrap();
}

pub(super) fn start(user: &str, session: NewSession) -> StartSession {
    StartSession {
        session,
        user: user.into(),
        idle_ttl: LONG,
        max_per_user: 3,
        ip_address: Some("192.0.2.7".into()),
        user_agent: Some("test".into()),
        idempotency: None,
    }
}

pub(super) fn with(bot: Option<&str>, on_bot_death: OnBotDeath) -> NewSession {
    NewSession {
        bot: bot.map(bot_name),
        on_bot_death,
        idle_ttl_seconds: None,
    }
}

pub(super) async fn started(ledger: &Ledger, session: NewSession) -> SessionId {
    ledger
        .apply(start("ada", session))
        .await
        .unwrap()
        .session
        .id
}

pub(super) fn end(session: SessionId) -> EndSession {
    EndSession {
        session,
        actor: "ada".into(),
        only_of: None,
        cancel_waiting: false,
    }
}

pub(super) async fn found(ledger: &Ledger, id: SessionId) -> Session {
    ledger.session(id, None).await.unwrap().unwrap()
}

pub(super) fn task_in(session: SessionId) -> NewTask {
    NewTask {
        session_id: Some(session),
        ..task_of("general", "x")
    }
}

pub(super) fn submission(user: &str, tasks: Vec<NewTask>) -> Submit {
    Submit {
        tasks,
        submitter: user.into(),
        role: Role::Operator,
        idempotency: None,
    }
}

pub(super) async fn submit_in(ledger: &Ledger, session: SessionId, n: usize) -> Vec<TaskId> {
    let command = submission("ada", vec![task_in(session); n]);
    let submitted = ledger.apply(command).await.unwrap().tasks;
    submitted.into_iter().map(|task| task.id).collect()
}

pub(super) async fn ready(ledger: &Ledger, bot: Option<&str>) -> Vec<TaskId> {
    let query = ReadyQuery {
        demand: Demand::of_type("general".parse().unwrap()).on(bot.map(bot_name)),
        priority: Priority::P2,
        after: i64::MIN,
        limit: 100,
    };
    let ready: Vec<ReadyTask> = ledger.ready(query.clone()).await.unwrap();
    assert!(ready.iter().all(|task| task.demand == query.demand));
    ready.into_iter().map(|task| task.id).collect()
}

pub(super) async fn release(ledger: &Ledger, bot: &str, although_launched: bool) -> u64 {
    let command = ReleaseBot {
        bot: bot_name(bot),
        although_launched,
        reason: "was stopped".into(),
        limit: 100,
    };
    ledger.apply(command).await.unwrap()
}

pub(super) async fn settle(ledger: &Ledger) -> u64 {
    let command = SettleSessions {
        limit: 100,
        forget_before: Timestamp::from_millis(0),
    };
    ledger.apply(command).await.unwrap()
}

pub(super) async fn has_work(ledger: &Ledger) -> bool {
    let never = Timestamp::from_millis(0);
    let work = ledger.has_sessions_to_settle(Timestamp::now(), never);
    work.await.unwrap()
}

pub(crate) async fn session_is_started_listed_and_ended(ledger: Ledger) {
    launch(&ledger, "b").await;
    let first = started(&ledger, with(Some("b"), OnBotDeath::Fail)).await;
    let other = start("eve", NewSession::default());
    let other = ledger.apply(other).await.unwrap().session.id;
    let session = found(&ledger, first).await;
    assert_eq!((session.user.as_str(), session.is_active), ("ada", true));
    assert_eq!(session.bot, Some(bot_name("b")));
    assert_eq!(session.on_bot_death, OnBotDeath::Fail);
    assert_eq!(session.ip_address.as_deref(), Some("192.0.2.7"));
    assert_eq!(session.idle_ttl_seconds, 3_600);
    let list = async |filter: SessionFilter, only_of: Option<&str>| {
        let (mut ids, mut cursor) = (Vec::new(), None);
        loop {
            let page = PageRequest { limit: 1, cursor };
            let only_of = only_of.map(str::to_owned);
            let page = ledger
                .sessions(filter.clone(), only_of, page)
                .await
                .unwrap();
            ids.extend(page.items.into_iter().map(|session| session.id));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return ids;
            }
        }
    };
    let all = SessionFilter::default();
    assert_eq!(list(all.clone(), None).await, [other, first]);
    assert_eq!(list(all.clone(), Some("ada")).await, [first]);
    assert!(
        ledger
            .session(first, Some("eve".into()))
            .await
            .unwrap()
            .is_none()
    );
    for _ in 0..2 {
        let ended = ledger.apply(end(first)).await.unwrap();
        assert_eq!(ended.end_reason, Some(SessionEnd::Ended));
        assert!(ended.ended_at.is_some() && !ended.is_active);
    }
    let active = |active| SessionFilter {
        active: Some(active),
        ..SessionFilter::default()
    };
    assert_eq!(list(active(true), None).await, [other]);
    assert_eq!(list(active(false), None).await, [first]);
    let of_bot = SessionFilter {
        bot: Some(bot_name("b")),
        ..SessionFilter::default()
    };
    assert_eq!(list(of_bot, None).await, [first]);
    let foreign = EndSession {
        only_of: Some("ada".into()),
        ..end(other)
    };
    assert_eq!(
        refused(&ledger, foreign).await,
        Rejection::NoSuchSession(other)
    );
    assert_eq!(count(&ledger, Action::SessionStarted).await, 2);
    assert_eq!(count(&ledger, Action::SessionEnded).await, 1);
}

pub(crate) async fn session_names_a_bot_that_takes_tasks(ledger: Ledger) {
    ledger
        .apply(put_command("idle", spec(1), None))
        .await
        .unwrap();
    launch(&ledger, "drains").await;
    desire(&ledger, "drains", BotDesired::Draining).await;
    for bot in ["nobody", "idle", "drains"] {
        let command = start("ada", with(Some(bot), OnBotDeath::Rebind));
        let Rejection::Invalid(found) = refused(&ledger, command).await else {
            panic!("{bot} takes no tasks");
        };
        assert_eq!(found[0].pointer, "/bot", "{bot}");
    }
}

pub(crate) async fn sessions_of_a_user_are_limited_and_end_with_it(ledger: Ledger) {
    let mut last = None;
    for _ in 0..3 {
        last = Some(started(&ledger, NewSession::default()).await);
    }
    let one_more = start("ada", NewSession::default());
    let limit = Rejection::TooManySessions { limit: 3 };
    assert_eq!(refused(&ledger, one_more.clone()).await, limit);
    ledger
        .apply(start("eve", NewSession::default()))
        .await
        .unwrap();
    ledger.apply(end(last.unwrap())).await.unwrap();
    ledger.apply(one_more).await.unwrap();
}

pub(crate) async fn repeated_start_makes_one_session(ledger: Ledger) {
    let repeated = |fingerprint| StartSession {
        idempotency: Some(Idempotency {
            key: "k".into(),
            fingerprint: [fingerprint; 32],
        }),
        ..start("ada", NewSession::default())
    };
    let first = ledger.apply(repeated(1)).await.unwrap();
    let again = ledger.apply(repeated(1)).await.unwrap();
    assert_eq!(first.session, again.session);
    assert!(!first.replayed && again.replayed);
    let other = refused(&ledger, repeated(2)).await;
    assert_eq!(other, Rejection::IdempotencyMismatch);
}

pub(crate) async fn tasks_need_an_active_session_of_their_submitter(ledger: Ledger) {
    let session = started(&ledger, NewSession::default()).await;
    let foreign = submission("eve", vec![task_in(session)]);
    let nowhere = submission("ada", vec![task_of("a", "x"), task_in(SessionId::new())]);
    let ended = started(&ledger, NewSession::default()).await;
    ledger.apply(end(ended)).await.unwrap();
    let late = submission("ada", vec![task_in(ended)]);
    for (command, pointer) in [
        (foreign, "/session_id"),
        (nowhere, "/tasks/1/session_id"),
        (late, "/session_id"),
    ] {
        let Rejection::Invalid(found) = refused(&ledger, command).await else {
            panic!("the session is not to be had");
        };
        assert_eq!(found[0].pointer, pointer);
    }
    assert_eq!(count(&ledger, Action::TaskSubmitted).await, 0);
}

pub(crate) async fn ended_session_cancels_its_waiting_tasks_if_asked(ledger: Ledger) {
    launch(&ledger, "b").await;
    let session = started(&ledger, with(Some("b"), OnBotDeath::Rebind)).await;
    let tasks = submit_in(&ledger, session, 2).await;
    let running = claim(&ledger, tasks[0], "b").await.unwrap();
    ledger.apply(end(session)).await.unwrap();
    assert_eq!(stored(&ledger, tasks[1]).await.status, TaskStatus::Queued);
    assert_eq!(ready(&ledger, Some("b")).await, [tasks[1]]);
    let cancelling = EndSession {
        cancel_waiting: true,
        ..end(session)
    };
    ledger.apply(cancelling).await.unwrap();
    let cancelled = stored(&ledger, tasks[1]).await;
    assert_eq!(cancelled.status, TaskStatus::Cancelled);
    assert_eq!(stored(&ledger, tasks[0]).await.status, TaskStatus::Running);
    let done = report(&running, deia_model::AttemptEnd::Succeeded);
    finish(&ledger, done).await;
    assert_eq!(
        stored(&ledger, tasks[0]).await.status,
        TaskStatus::Completed
    );
    assert!(has_work(&ledger).await);
    settle(&ledger).await;
    assert!(!has_work(&ledger).await);
    // Tasks of an ended session are given to any bot when its own is gone.
    let other = started(&ledger, with(Some("b"), OnBotDeath::Fail)).await;
    let [waiting] = submit_in(&ledger, other, 1).await[..] else {
        panic!("one task");
    };
    ledger.apply(end(other)).await.unwrap();
    desire(&ledger, "b", BotDesired::Stopped).await;
    assert_eq!(ledger.bots_of_sessions().await.unwrap(), [bot_name("b")]);
    release(&ledger, "b", false).await;
    assert_eq!(ready(&ledger, None).await, [waiting]);
    assert_eq!(ledger.bots_of_sessions().await.unwrap(), []);
}

pub(crate) async fn idle_session_ends_unless_a_task_is_unfinished(ledger: Ledger) {
    let idle = |user: &str| StartSession {
        idle_ttl: Duration::ZERO,
        ..start(user, NewSession::default())
    };
    let over = ledger.apply(idle("ada")).await.unwrap().session.id;
    let busy = ledger.apply(idle("ada")).await.unwrap().session.id;
    let fresh = started(&ledger, NewSession::default()).await;
    submit_in(&ledger, busy, 1).await;
    assert!(has_work(&ledger).await);
    settle(&ledger).await;
    let ended = found(&ledger, over).await;
    assert_eq!(ended.end_reason, Some(SessionEnd::Idle));
    for id in [busy, fresh] {
        assert!(found(&ledger, id).await.is_active);
    }
}

pub(crate) async fn messages_count_in_their_session(ledger: Ledger) {
    launch(&ledger, "b").await;
    launch(&ledger, "c").await;
    let session = started(&ledger, with(Some("b"), OnBotDeath::Rebind)).await;
    let send = |sender: Option<&str>, max_inbox| SendMessage {
        message: NewMessage {
            receiver_bot: bot_name("c"),
            content: "x".into(),
            sender_bot: sender.map(bot_name),
            priority: Priority::default(),
            ttl_seconds: None,
            session_id: Some(session),
        },
        actor: "ada".into(),
        ttl: LONG,
        max_inbox,
        idempotency: None,
    };
    ledger.apply(send(Some("b"), 2)).await.unwrap();
    ledger.apply(send(None, 2)).await.unwrap();
    let full = refused(&ledger, send(None, 2)).await;
    assert!(matches!(full, Rejection::InboxFull { .. }), "{full:?}");
    let Rejection::Invalid(wrong) = refused(&ledger, send(Some("c"), 9)).await else {
        panic!("the session is not of that bot");
    };
    assert_eq!(wrong[0].pointer, "/session_id");
    assert_eq!(found(&ledger, session).await.messages_exchanged, 2);
    let filter = MessageFilter {
        session: Some(session),
        ..MessageFilter::default()
    };
    let page = PageRequest {
        limit: 10,
        cursor: None,
    };
    let listed = ledger.messages(filter, None, page).await.unwrap();
    assert_eq!(listed.items.len(), 2);
    ledger.apply(end(session)).await.unwrap();
    let late = refused(&ledger, send(None, 9)).await;
    assert!(matches!(late, Rejection::Invalid(_)), "{late:?}");
}

pub(crate) async fn ended_sessions_are_forgotten(ledger: Ledger) {
    let ended = started(&ledger, NewSession::default()).await;
    let active = started(&ledger, NewSession::default()).await;
    ledger.apply(end(ended)).await.unwrap();
    let forget = SettleSessions {
        limit: 100,
        forget_before: Timestamp::now().plus_millis(1_000),
    };
    assert_eq!(ledger.apply(forget).await.unwrap(), 1);
    assert_eq!(ledger.session(ended, None).await.unwrap(), None);
    assert!(found(&ledger, active).await.is_active);
}
