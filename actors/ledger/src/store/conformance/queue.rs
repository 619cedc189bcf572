//! The queue as a whole: pauses, progress, retention, statistics.

use deia_model::{EndReason, PageRequest, TaskFilter};

use super::*;
use crate::{
    Apply, CancelTask, ClaimTasks, Claimed, LaneStats, LedgerCommand, NoteProgress, PauseQueue,
    ProgressReport, Prunable, Prune, Pruned, ResumeQueue, Slot,
};

pub(super) fn pause(task_type: Option<&str>) -> PauseQueue {
    PauseQueue {
        task_type: task_type.map(|t| t.parse().unwrap()),
        actor: "ada".into(),
        reason: Some("repairs".into()),
    }
}

pub(super) fn resume(task_type: Option<&str>) -> ResumeQueue {
    ResumeQueue {
        task_type: task_type.map(|t| t.parse().unwrap()),
        actor: "ada".into(),
    }
}

pub(super) async fn done(ledger: &Ledger, command: impl LedgerCommand<Reply = bool>) -> bool {
    ledger.apply(command).await.unwrap()
}

pub(crate) async fn paused_tasks_are_not_started(ledger: Ledger) {
    let ids: Vec<_> = submit(&ledger, vec![task_of("a", ""), task_of("b", "")])
        .await
        .iter()
        .map(|task| task.id)
        .collect();
    let notices = notices_of(&ledger);
    assert!(done(&ledger, pause(Some("a"))).await);
    assert!(!done(&ledger, pause(Some("a"))).await, "it is already");
    assert_eq!(*notices.lock().unwrap(), [CommitNotice::PausesChanged]);
    let claims = |bot: &str| {
        let claim = |id: &TaskId| Claim {
            task: *id,
            bot: bot_name(bot),
            lease: LeaseToken::new(),
            incarnation: 1,
            expires_after: None,
            stands_in_for: None,
        };
        ClaimTasks(ids.iter().map(claim).collect())
    };
    let Claimed { tasks, deferred } = ledger.apply(claims("x")).await.unwrap();
    assert_eq!((tasks.len(), deferred), (1, vec![ids[0]]));

    assert!(done(&ledger, pause(None)).await);
    let paused = ledger.pauses().await.unwrap();
    assert_eq!(paused.len(), 2);
    assert_eq!(paused[0].task_type, None);
    assert_eq!(
        (paused[1].by.as_str(), paused[1].reason.as_deref()),
        ("ada", Some("repairs"))
    );
    assert!(ledger.queue().await.unwrap().lanes.iter().all(|l| l.paused));
    assert!(done(&ledger, resume(Some("a"))).await);
    assert!(claim(&ledger, ids[0], "x").await.is_none(), "all is paused");
    assert!(done(&ledger, resume(None)).await);
    assert!(!done(&ledger, resume(None)).await);
    assert!(claim(&ledger, ids[0], "x").await.is_some());
    let told = actions(&ledger).await;
    let count = |action| told.iter().filter(|a| **a == action).count();
    assert_eq!(
        (count(Action::QueuePaused), count(Action::QueueResumed)),
        (2, 2)
    );
}

pub(crate) async fn a_claim_brings_a_bounded_number_of_bytes(ledger: Ledger) {
    let large = task_of("general", &"x".repeat(600_000));
    let ids: Vec<_> = submit(&ledger, vec![large; 4])
        .await
        .iter()
        .map(|task| task.id)
        .collect();
    let claim = |id: &TaskId| Claim {
        task: *id,
        bot: bot_name("b"),
        lease: LeaseToken::new(),
        incarnation: 1,
        expires_after: None,
        stands_in_for: None,
    };
    let claims = ClaimTasks(ids.iter().map(claim).collect());
    let Claimed { tasks, deferred } = ledger.apply(claims).await.unwrap();
    assert_eq!(tasks.len(), 2, "until the limit is reached");
    assert_eq!(deferred, ids[2..]);

    assert_eq!(counted(&ledger, TaskStatus::Queued).await, 2);
}

pub(crate) async fn progress_is_recorded_for_the_lease_only(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    let claimed = claim(&ledger, id, "b").await.unwrap();
    let note = |lease, progress| {
        NoteProgress(vec![ProgressReport {
            task: id,
            attempt: 1,
            lease,
            progress,
        }])
    };
    assert_eq!(ledger.apply(note(claimed.lease, 0.25)).await.unwrap(), 1);
    assert_eq!(
        ledger.apply(note(LeaseToken::new(), 0.75)).await.unwrap(),
        0
    );
    assert!((stored(&ledger, id).await.progress - 0.25).abs() < 1e-9);
    finish(&ledger, report(&claimed, AttemptEnd::GivenBack)).await;
    assert_eq!(ledger.apply(note(claimed.lease, 0.5)).await.unwrap(), 0);
    let again = claim(&ledger, id, "b").await.unwrap();
    assert!(
        stored(&ledger, id).await.progress < 1e-9,
        "a new attempt begins anew"
    );
    finish(&ledger, report(&again, AttemptEnd::Succeeded)).await;
    assert!((stored(&ledger, id).await.progress - 1.0).abs() < 1e-9);
}

pub(crate) async fn finished_tasks_are_deleted_after_their_retention(ledger: Ledger) {
    let (ended, waiting) = (submit_one(&ledger).await, submit_one(&ledger).await);
    let claimed = claim(&ledger, ended, "b").await.unwrap();
    finish(&ledger, report(&claimed, AttemptEnd::Succeeded)).await;
    let found = loop {
        let found = ledger.prunable(i64::MIN).await.unwrap();
        if !found.tasks.is_empty() {
            break found;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(
        found,
        Prunable {
            tasks: vec![ended],
            next: None
        }
    );
    let prune = Prune {
        tasks: vec![ended, waiting],
    };
    let pruned = ledger.apply(prune).await.unwrap();
    let only_that = matches!(pruned, Pruned { tasks, .. } if tasks == [ended]);
    assert!(only_that, "what waits stays");
    assert!(ledger.task(ended).await.unwrap().is_none());
    assert!(ledger.result(ended).await.unwrap().is_none());
    assert_eq!(counted(&ledger, TaskStatus::Completed).await, 0);
    assert_eq!(stored(&ledger, waiting).await.status, TaskStatus::Queued);
}

pub(crate) async fn each_commit_sends_statistics(ledger: Ledger) {
    let notices = flows_of(&ledger);
    let id = submit(&ledger, vec![task_of("a", ""); 3]).await[0].id;
    let first = claim(&ledger, id, "b").await.unwrap();
    finish(&ledger, report(&first, AttemptEnd::Failed)).await;
    promote(&ledger).await;
    let second = claim(&ledger, id, "b").await.unwrap();
    finish(&ledger, report(&second, AttemptEnd::Failed)).await;
    let mut all = LaneStats::default();
    for notice in notices.lock().unwrap().iter() {
        if let CommitNotice::LaneStats(flows) = notice {
            for (task_type, priority, flow) in flows {
                assert_eq!((task_type.as_str(), *priority), ("a", Priority::P2));
                all.merge(flow);
            }
        }
    }
    assert_eq!(
        (all.submitted, all.started, all.retried, all.failed),
        (3, 2, 1, 1)
    );
    assert_eq!((all.waits.count(), all.runs.count()), (2, 2));
}

pub(crate) async fn tags_metadata_and_reasons_filter(ledger: Ledger) {
    let mut tagged = task_of("general", "x");
    tagged.tags = vec!["red".into(), "blue".into()];
    tagged.metadata = [
        ("team".to_owned(), "core".into()),
        ("n".to_owned(), 7.into()),
    ]
    .into();
    tagged.dedup_key = Some("k".into());
    let ids: Vec<_> = submit(&ledger, vec![tagged, task_of("general", "y")])
        .await
        .iter()
        .map(|task| task.id)
        .collect();
    let cancel = CancelTask {
        task: ids[1],
        actor: "ada".into(),
        only_waiting: true,
    };
    ledger.apply(cancel).await.unwrap();
    let created = stored(&ledger, ids[0]).await.created_at;
    let text = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        pairs.iter().map(owned).collect()
    };
    let all = TaskFilter::default;
    let cases = [
        (
            TaskFilter {
                tags: vec!["red".into()],
                ..all()
            },
            1,
        ),
        (
            TaskFilter {
                tags: vec!["red".into(), "blue".into()],
                ..all()
            },
            1,
        ),
        (
            TaskFilter {
                tags: vec!["red".into(), "green".into()],
                ..all()
            },
            0,
        ),
        (
            TaskFilter {
                metadata: text(&[("team", "core"), ("n", "7")]),
                ..all()
            },
            1,
        ),
        (
            TaskFilter {
                metadata: text(&[("team", "edge")]),
                ..all()
            },
            0,
        ),
        (
            TaskFilter {
                dedup_key: Some("k".into()),
                ..all()
            },
            1,
        ),
        (
            TaskFilter {
                end_reason: Some(EndReason::Cancelled),
                ..all()
            },
            1,
        ),
        (
            TaskFilter {
                end_reason: Some(EndReason::Poison),
                ..all()
            },
            0,
        ),
        (
            TaskFilter {
                created_after: Some(created),
                ..all()
            },
            2,
        ),
        (
            TaskFilter {
                created_before: Some(created),
                ..all()
            },
            0,
        ),
        (
            TaskFilter {
                status: Some(TaskStatus::Cancelled),
                ..all()
            },
            1,
        ),
    ];
    for (filter, expected) in cases {
        let page = PageRequest {
            limit: 10,
            cursor: None,
        };
        let found = ledger
            .tasks(Visibility::All, filter.clone(), page)
            .await
            .unwrap();
        assert_eq!(found.items.len(), expected, "{filter:?}");
        assert!(found.next_cursor.is_none());
    }
}

pub(crate) async fn only_waiting_tasks_have_a_position(ledger: Ledger) {
    let id = submit_one(&ledger).await;
    claim(&ledger, id, "b").await.unwrap();
    let cancel = CancelTask {
        task: id,
        actor: "ada".into(),
        only_waiting: true,
    };
    assert_eq!(refused(&ledger, cancel).await, Rejection::TaskIsRunning(id));
    assert!(stored(&ledger, id).await.cancel_requested_at.is_none());
}

pub(crate) async fn poison_leaves_its_evidence(ledger: Ledger) {
    let told = seen(&ledger, |notice| matches!(notice, CommitNotice::Logged(_)));
    let id = submit_one(&ledger).await;
    for bot in ["one", "two"] {
        let claimed = claim(&ledger, id, bot).await.unwrap();
        finish(&ledger, report(&claimed, AttemptEnd::BotDied)).await;
    }
    let task = stored(&ledger, id).await;
    assert_eq!(
        (task.status, task.end_reason),
        (TaskStatus::Failed, Some(EndReason::Poison))
    );
    let bots: Vec<_> = task
        .failed_attempts
        .iter()
        .map(|attempt| attempt.bot.as_str())
        .collect();
    assert_eq!(bots, ["one", "two"]);
    // Only this one of its events is for the server's log.
    let told = told.lock().unwrap();
    let [CommitNotice::Logged(event)] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!((event.action, &*event.actor), (Action::TaskDead, "two"));
}

/// A dispatch that offers slots, and records what happens to them.
#[derive(Default)]
struct Places {
    free: std::sync::Mutex<u32>,
    claimed: std::sync::Mutex<Vec<ClaimedTask>>,
}

impl crate::DirectDispatch for Places {
    fn take(&self, demand: &Demand) -> Option<Slot> {
        let mut free = self.free.lock().unwrap();
        if *free == 0 || demand.task_type.as_str() != "a" {
            return None;
        }
        *free -= 1;
        Some(Slot {
            bot: bot_name("b"),
            incarnation: 1,
            lease: LeaseToken::new(),
            expires_after: None,
            stands_in_for: None,
        })
    }

    fn claimed(&self, tasks: Vec<ClaimedTask>) {
        self.claimed.lock().unwrap().extend(tasks);
    }

    fn release(&self, slots: Vec<Slot>) {
        *self.free.lock().unwrap() += u32::try_from(slots.len()).unwrap();
    }
}

pub(crate) async fn a_task_may_start_in_the_transaction_of_its_submission(ledger: Ledger) {
    let places = Arc::new(Places::default());
    ledger.dispatch_to(places.clone());
    let notices = notices_of(&ledger);
    *places.free.lock().unwrap() = 2;
    done(&ledger, pause(Some("a"))).await;
    let paused = submit(&ledger, vec![task_of("a", "x")]).await[0].id;
    assert_eq!(stored(&ledger, paused).await.status, TaskStatus::Queued);
    assert_eq!(*places.free.lock().unwrap(), 2, "the place is given back");
    done(&ledger, resume(Some("a"))).await;
    notices.lock().unwrap().clear();
    let large = "y".repeat(5_000);
    let submitted = submit(
        &ledger,
        vec![
            task_of("a", &large),
            task_of("b", "x"),
            task_of("a", "x"),
            task_of("a", "x"),
        ],
    )
    .await;
    let taken = std::mem::take(&mut *places.claimed.lock().unwrap());
    let ids: Vec<_> = taken.iter().map(|claimed| claimed.task.id).collect();
    assert_eq!(ids, [submitted[0].id, submitted[2].id]);
    let ready = notices.lock().unwrap().len();
    assert_eq!(ready, 2, "the others wait");
    for claimed in &taken {
        let mut now = stored(&ledger, claimed.task.id).await;
        assert_eq!(now.status, TaskStatus::Running);
        now.content.clone_from(&claimed.task.content);
        assert_eq!(now, claimed.task, "what the bot has is what is stored");
    }
    assert_eq!(taken[0].task.content.as_deref(), Some(large.as_str()));
    assert!(claim(&ledger, taken[0].task.id, "c").await.is_none());
    assert_eq!(counted(&ledger, TaskStatus::Running).await, 2);
    let outcome = finish(&ledger, report(&taken[0], AttemptEnd::Succeeded)).await;
    assert_eq!(outcome, crate::ReportAck::Recorded(TaskStatus::Completed));
    let told: Vec<_> = ledger
        .task_events(taken[0].task.id, Visibility::SubmittedBy("ada".into()))
        .await
        .unwrap()
        .into_iter()
        .map(|event| (event.seq, event.action))
        .collect();
    assert_eq!(
        told,
        [
            (1, Action::TaskSubmitted.into()),
            (2, Action::TaskStarted.into()),
            (3, Action::TaskCompleted.into())
        ]
    );
}
