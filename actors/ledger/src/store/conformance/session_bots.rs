//! The bots of sessions, and the tasks that go to these.

use std::sync::{Arc, Mutex};

use deia_model::{
    Action, AttemptEnd, BotDesired, EndReason, LeaseToken, NewSession, OnBotDeath, PageRequest,
    Role, SessionEnd, TaskFilter, TaskStatus, Visibility,
};

use super::{
    bot_name, claim, count, finish, notices_of, promote, report,
    sessions::{desire, found, has_work, launch, ready, release, settle, started, submit_in, with},
    stored,
};
use crate::{Apply, ClaimedTask, CommitNotice, Demand, DirectDispatch, Ledger, RetryTask, Slot};

pub(crate) async fn tasks_of_a_session_go_to_its_bot(ledger: Ledger) {
    launch(&ledger, "b").await;
    launch(&ledger, "c").await;
    let session = started(&ledger, with(Some("b"), OnBotDeath::Rebind)).await;
    let notices = notices_of(&ledger);
    let [task] = submit_in(&ledger, session, 1).await[..] else {
        panic!("one task");
    };
    let free = super::submit_one(&ledger).await;
    let demands: Vec<_> = notices
        .lock()
        .unwrap()
        .iter()
        .filter_map(|notice| match notice {
            CommitNotice::Ready(ready) => Some((ready.id, ready.demand.bot.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(demands, [(task, Some(bot_name("b"))), (free, None)]);
    assert_eq!(ready(&ledger, Some("b")).await, [task]);
    assert_eq!(ready(&ledger, Some("c")).await, []);
    assert_eq!(ready(&ledger, None).await, [free]);
    let lanes = ledger.ready_lanes().await.unwrap();
    let mut counts: Vec<_> = lanes
        .into_iter()
        .map(|lane| (lane.demand.bot.map(|bot| bot.to_string()), lane.tasks))
        .collect();
    counts.sort();
    assert_eq!(counts, [(None, 1), (Some("b".to_owned()), 1)]);
    assert!(claim(&ledger, task, "c").await.is_none(), "not its bot");
    assert_eq!(ready(&ledger, Some("b")).await, [task]);
    let claimed = claim(&ledger, task, "b").await.unwrap();
    assert_eq!(claimed.task.session_id, Some(session));
    let given_back = report(&claimed, AttemptEnd::GivenBack);
    finish(&ledger, given_back).await;
    assert_eq!(ready(&ledger, Some("b")).await, [task], "still its bot");
    let session = found(&ledger, session).await;
    assert_eq!(session.tasks_submitted, 1);
    assert_eq!(ledger.bots_of_sessions().await.unwrap(), [bot_name("b")]);
    let events = ledger.events(0, 100).await.unwrap();
    let of_task = events.iter().filter(|it| it.target.id == task.to_string());
    let id = session.id.to_string();
    assert!(of_task.clone().count() >= 3);
    for event in of_task {
        assert_eq!(event.session_id.as_deref(), Some(&*id), "{event:?}");
    }
    let filter = TaskFilter {
        session: Some(session.id),
        ..TaskFilter::default()
    };
    for visibility in [Visibility::All, Visibility::SubmittedBy("ada".into())] {
        let page = PageRequest {
            limit: 10,
            cursor: None,
        };
        let listed = ledger
            .tasks(visibility, filter.clone(), page)
            .await
            .unwrap();
        let listed: Vec<_> = listed.items.into_iter().map(|task| task.id).collect();
        assert_eq!(listed, [task]);
    }
}

pub(crate) async fn first_task_gives_the_session_its_bot(ledger: Ledger) {
    launch(&ledger, "b").await;
    launch(&ledger, "c").await;
    let session = started(&ledger, NewSession::default()).await;
    let tasks = submit_in(&ledger, session, 3).await;
    assert_eq!(ready(&ledger, None).await, tasks);
    assert!(claim(&ledger, tasks[0], "b").await.is_some());
    assert_eq!(found(&ledger, session).await.bot, Some(bot_name("b")));
    let notices = notices_of(&ledger);
    assert!(claim(&ledger, tasks[1], "c").await.is_none());
    let moved = |notice: &CommitNotice| {
        matches!(notice, CommitNotice::Ready(task)
            if task.id == tasks[1] && task.demand.bot == Some(bot_name("b")))
    };
    assert!(notices.lock().unwrap().iter().any(moved));
    assert_eq!(ready(&ledger, Some("b")).await, [tasks[1]]);
    assert_eq!(ready(&ledger, None).await, [tasks[2]]);
    assert!(claim(&ledger, tasks[2], "b").await.is_some());
    assert_eq!(count(&ledger, Action::SessionBound).await, 1);
    let later = submit_in(&ledger, session, 1).await;
    assert_eq!(ready(&ledger, Some("b")).await, [tasks[1], later[0]]);
}

pub(crate) async fn session_gets_another_bot_when_its_own_is_stopped(ledger: Ledger) {
    launch(&ledger, "b").await;
    launch(&ledger, "c").await;
    let session = started(&ledger, with(Some("b"), OnBotDeath::Rebind)).await;
    let tasks = submit_in(&ledger, session, 2).await;
    assert_eq!(release(&ledger, "b", false).await, 0, "it is launched");
    desire(&ledger, "b", BotDesired::Draining).await;
    assert_eq!(release(&ledger, "b", false).await, 0, "it drains");
    desire(&ledger, "b", BotDesired::Stopped).await;
    assert_eq!(release(&ledger, "b", false).await, 3);
    assert_eq!(release(&ledger, "b", false).await, 0, "once");
    assert_eq!(found(&ledger, session).await.bot, None);
    assert_eq!(ready(&ledger, Some("b")).await, []);
    assert_eq!(ready(&ledger, None).await, tasks);
    assert!(claim(&ledger, tasks[0], "c").await.is_some());
    let session = found(&ledger, session).await;
    assert_eq!(
        (session.bot, session.is_active),
        (Some(bot_name("c")), true)
    );
    assert_eq!(count(&ledger, Action::SessionReleased).await, 1);
    assert_eq!(count(&ledger, Action::SessionBound).await, 1);
    // A bot that is failing is taken although it is launched.
    assert_eq!(release(&ledger, "c", true).await, 1);
}

pub(crate) async fn session_fails_with_its_bot(ledger: Ledger) {
    launch(&ledger, "b").await;
    launch(&ledger, "c").await;
    let session = started(&ledger, with(None, OnBotDeath::Fail)).await;
    let tasks = submit_in(&ledger, session, 3).await;
    let running = claim(&ledger, tasks[0], "b").await.unwrap();
    // Waits in the lane of any bot: it has not been claimed for another yet.
    assert_eq!(ready(&ledger, None).await, tasks[1..]);
    desire(&ledger, "b", BotDesired::Stopped).await;
    release(&ledger, "b", false).await;
    let ended = found(&ledger, session).await;
    assert_eq!(ended.end_reason, Some(SessionEnd::BotDied));
    assert!(claim(&ledger, tasks[1], "c").await.is_none());
    assert!(has_work(&ledger).await);
    settle(&ledger).await;
    for id in &tasks[1..] {
        let task = stored(&ledger, *id).await;
        assert_eq!(task.status, TaskStatus::Failed);
        assert_eq!(task.end_reason, Some(EndReason::Session));
        assert!(task.last_error.unwrap().contains("bot of its session"));
    }
    assert!(!has_work(&ledger).await, "one task still runs");
    let given_back = report(&running, AttemptEnd::GivenBack);
    finish(&ledger, given_back).await;
    promote(&ledger).await;
    assert!(has_work(&ledger).await);
    settle(&ledger).await;
    assert_eq!(stored(&ledger, tasks[0]).await.status, TaskStatus::Failed);
    settle(&ledger).await;
    assert!(!has_work(&ledger).await);
    // An operator puts one back: it goes to any bot.
    let again = RetryTask {
        task: tasks[1],
        actor: "ada".into(),
        only_failed: false,
        role: Role::Operator,
    };
    ledger.apply(again).await.unwrap();
    assert_eq!(ready(&ledger, None).await, [tasks[1]]);
    assert!(claim(&ledger, tasks[1], "c").await.is_some());
}

/// A dispatcher with one slot of one bot, which notes the demands that it is asked for.
#[derive(Default)]
struct OneSlot(Mutex<Vec<Demand>>);

impl DirectDispatch for OneSlot {
    fn take(&self, demand: &Demand) -> Option<Slot> {
        let mut asked = self.0.lock().unwrap();
        asked.push(demand.clone());
        (asked.len() == 1).then(|| Slot {
            bot: bot_name("b"),
            incarnation: 1,
            lease: LeaseToken::new(),
            expires_after: None,
            stands_in_for: None,
        })
    }

    fn claimed(&self, _: Vec<ClaimedTask>) {}

    fn release(&self, _: Vec<Slot>) {}
}

pub(crate) async fn task_of_a_session_may_start_in_its_submission(ledger: Ledger) {
    launch(&ledger, "b").await;
    let session = started(&ledger, NewSession::default()).await;
    let slots = Arc::new(OneSlot::default());
    ledger.dispatch_to(slots.clone());
    let tasks = submit_in(&ledger, session, 2).await;
    assert_eq!(stored(&ledger, tasks[0]).await.status, TaskStatus::Running);
    assert_eq!(found(&ledger, session).await.bot, Some(bot_name("b")));
    assert_eq!(ready(&ledger, Some("b")).await, [tasks[1]]);
    let asked: Vec<_> = slots
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|it| it.bot.clone())
        .collect();
    assert_eq!(asked, [None, Some(bot_name("b"))]);
}
