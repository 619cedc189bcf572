//! Tests of the hive as a whole, without HTTP: failures of its parts.

use std::time::Duration;

use deia_model::{
    Action, BotSpec, BotStatus, Dependency, Event, KeyGrant, NewTask, Role, TaskFilter, TaskId,
    TaskStatus, Timestamp,
};
use deia_supervision::Tree;
use serde_json::json;

use super::*;
use crate::{
    PartAction,
    access::AuthError,
    testing::{PATIENCE, TestHive, bot_name, bot_spec, until, with_hive},
};

mod blocked_bots;
mod stale_callers;
mod stopped_bots;
mod suspended_bots;

async fn events_about(hive: &Hive, target: &str) -> Vec<Event> {
    let events = hive.inner.deps.ledger.events(0, 10_000).await.unwrap();
    events
        .into_iter()
        .filter(|event| event.target.id == target)
        .collect()
}

async fn actions_about(hive: &Hive, target: &str) -> Vec<Action> {
    events_about(hive, target)
        .await
        .into_iter()
        .filter_map(|event| event.action.known())
        .collect()
}

fn tree(hive: &Hive) -> &Tree {
    hive.inner.deps.tree.get().unwrap()
}

#[test]
fn a_task_is_done_and_everyone_is_told() {
    with_hive(async |hive| {
        hive.simulated("b").await;
        let id = hive.submit_one().await;
        let result = hive.result(id).await;
        assert!(
            result.success && result.bot_id == Some(bot_name("b")),
            "{result:?}"
        );
        let expected = [
            Action::TaskSubmitted,
            Action::TaskStarted,
            Action::TaskCompleted,
        ];
        assert_eq!(actions_about(&hive, &id.to_string()).await, expected);
        until("the counters of the bot", async || {
            let bot = hive.bots().get(&bot_name("b")).await.unwrap();
            bot.tasks_completed == 1 && bot.running_tasks == 0
        })
        .await;
        until("the start of the bot to be recorded", async || {
            actions_about(&hive, "b")
                .await
                .contains(&Action::BotStarted)
        })
        .await;
    });
}

#[test]
fn a_real_program_does_a_task() {
    with_hive(async |hive| {
        hive.command("b", &["tr", "a-z", "A-Z"]).await;
        let id = hive.submit_one().await;
        let result = hive.result(id).await;
        assert_eq!(
            (result.output.as_deref(), result.exit_code),
            (Some("HELLO"), Some(0))
        );
    });
}

#[test]
fn failures_are_retried_and_then_final() {
    with_hive(async |hive| {
        let who = hive.admin.clone();
        hive.simulated_with("b", json!({"success_rate": 0})).await;
        let id = hive.submit_with(|task| task.max_attempts = Some(3)).await;
        let result = hive.result(id).await;
        assert_eq!((result.success, result.attempt), (false, 3));
        assert_eq!(hive.tasks().get(&who, id).await.unwrap().failures, 3);
    });
}

#[test]
fn a_delayed_task_runs_when_it_is_due_and_not_before() {
    with_hive(async |hive| {
        let who = hive.admin.clone();
        hive.simulated("b").await;
        let due = Timestamp::now().plus_millis(300);
        let id = hive.submit_with(|task| task.run_at = Some(due)).await;
        assert_eq!(
            hive.tasks().get(&who, id).await.unwrap().status,
            TaskStatus::Pending
        );
        let result = hive.result(id).await;
        assert!(result.started_at.unwrap() >= due, "{result:?}");
    });
}

#[test]
fn tasks_of_a_dying_bot_go_back_at_once_and_poison_is_given_up() {
    with_hive(async |hive| {
        let who = hive.admin.clone();
        hive.simulated_with("b", json!({"crash_rate": 1})).await;
        let id = hive.submit_one().await;
        let result = hive.result(id).await;
        assert!(!result.success);
        let task = hive.tasks().get(&who, id).await.unwrap();
        assert_eq!(
            (task.status, task.bot_deaths, task.failures),
            (TaskStatus::Failed, 3, 0)
        );
        assert_eq!(
            actions_about(&hive, &id.to_string()).await.last(),
            Some(&Action::TaskDead)
        );
        let crash = until("a crash to be recorded", async || {
            events_about(&hive, "b")
                .await
                .into_iter()
                .find(|event| event.action == Action::BotCrashed)
        })
        .await;
        assert_eq!(crash.details["message"], "simulated crash");
    });
}

#[test]
fn a_bot_that_crashes_too_often_is_quarantined_and_can_be_launched_again() {
    with_hive(async |hive| {
        hive.simulated_with("b", json!({"crash_rate": 1})).await;
        hive.simulated_with("other", json!({"behavior": "offline"}))
            .await;
        until("b to be quarantined", async || {
            hive.submit_one().await;
            hive.bot_status("b").await == BotStatus::Failing
        })
        .await;
        assert!(!hive.operations().health().await.unwrap().healthy);
        hive.bot_is("other", BotStatus::Healthy).await;
        let spec = bot_spec(json!({"kind": "simulated"}));
        hive.put_and_launch("b", spec).await;
        until("b to take tasks again", async || {
            let bot = hive.bots().get(&bot_name("b")).await.unwrap();
            matches!(bot.status, BotStatus::Healthy | BotStatus::Degraded)
        })
        .await;
    });
}

#[test]
fn a_bot_that_goes_down_for_good_keeps_no_task() {
    with_hive(async |hive| {
        let who = hive.admin.clone();
        let crashing = json!({"kind": "simulated", "crash_rate": 1});
        let spec = bot_spec(crashing);
        hive.put_and_launch("b", spec).await;
        until("b to be quarantined", async || {
            hive.submit_one().await;
            hive.bot_status("b").await == BotStatus::Failing
        })
        .await;
        until("no task to be with it", async || {
            let totals = hive.queue().status().await.unwrap().totals;
            totals.running == 0
        })
        .await;
        let relaunched = hive.bots().launch(&who, &bot_name("b")).await.unwrap();
        assert_ne!(relaunched.status, BotStatus::Failing);
        until("b to take tasks again", async || {
            hive.bot_status("b").await != BotStatus::Starting
        })
        .await;
    });
}

#[test]
fn a_task_that_takes_too_long_is_ended() {
    with_hive(async |hive| {
        hive.simulated_with("b", json!({"behavior": "offline"}))
            .await;
        let id = hive
            .submit_with(|task| {
                task.timeout_seconds = Some(1);
                task.max_attempts = Some(1);
            })
            .await;
        let result = hive.result(id).await;
        assert_eq!(result.error.as_deref(), Some("timed out after 1 s"));
    });
}

#[test]
fn a_running_task_is_cancelled() {
    with_hive(async |hive| {
        let who = hive.admin.clone();
        hive.command("b", &["sleep", "1000"]).await;
        let id = hive.submit_one().await;
        hive.task_is(id, TaskStatus::Running).await;
        let task = hive.tasks().cancel(&who, id).await.unwrap();
        assert!(task.cancel_requested_at.is_some());
        assert!(!hive.result(id).await.success);
        assert_eq!(
            hive.tasks().get(&who, id).await.unwrap().status,
            TaskStatus::Cancelled
        );
        until("its program to be gone", async || {
            hive.bots()
                .get(&bot_name("b"))
                .await
                .unwrap()
                .pids
                .is_empty()
        })
        .await;
    });
}

#[test]
fn a_stopped_bot_gives_its_tasks_to_another() {
    with_hive(async |hive| {
        let who = hive.admin.clone();
        hive.simulated_with("slow", json!({"behavior": "offline"}))
            .await;
        let id = hive.submit_one().await;
        hive.task_is(id, TaskStatus::Running).await;
        hive.bots().stop(&who, &bot_name("slow")).await.unwrap();
        let task = hive.task_is(id, TaskStatus::Queued).await;
        assert_eq!((task.bot_deaths, task.failures), (0, 0));
        hive.simulated("quick").await;
        let result = hive.result(id).await;
        assert_eq!(
            (result.bot_id, result.attempt),
            (Some(bot_name("quick")), 2)
        );
        hive.bots().delete(&who, &bot_name("slow")).await.unwrap();
        assert!(matches!(
            hive.bots().get(&bot_name("slow")).await,
            Err(crate::HiveError::NotFound { .. })
        ));
    });
}

#[test]
fn a_changed_bot_works_by_its_new_specification() {
    with_hive(async |hive| {
        let who = hive.admin.clone();
        hive.command("b", &["tr", "a-z", "A-Z"]).await;
        let spec = json!({"executor": {"kind": "command", "command": ["tr", "l", "L"]}});
        hive.bots()
            .put(
                &who,
                bot_name("b"),
                serde_json::from_value(spec).unwrap(),
                crate::PutHow {
                    if_version: Some(1),
                    at_once: false,
                },
            )
            .await
            .unwrap();
        until("the new specification to be in use", async || {
            let id = hive.submit_one().await;
            let result = hive.result(id).await;
            result.output.as_deref() == Some("heLLo")
        })
        .await;
    });
}

#[test]
fn a_new_scheduler_learns_of_bots_and_tasks() {
    with_hive(async |hive| {
        let who = hive.admin.clone();
        hive.simulated_with("b", json!({"hang_rate": 1})).await;
        let hanging = hive.submit_one().await;
        hive.task_is(hanging, TaskStatus::Running).await;
        tree(&hive)
            .restart_path("hive/core/scheduler")
            .await
            .unwrap();
        let second = hive.submit_one().await;
        hive.task_is(second, TaskStatus::Running).await;
        assert_eq!(
            hive.tasks().get(&who, hanging).await.unwrap().attempt,
            1,
            "the bot went on undisturbed"
        );
    });
}

#[test]
fn claims_on_their_way_survive_the_scheduler() {
    with_hive(async |hive| {
        let who = hive.admin.clone();
        hive.simulated("b").await;
        let task = NewTask::new("general".parse().unwrap(), "hello");
        for _ in 0..10 {
            let batch = vec![task.clone(); 200];
            hive.tasks().submit(&who, batch, None).await.unwrap();
            tree(&hive)
                .restart_path("hive/core/scheduler")
                .await
                .unwrap();
        }
        until("all tasks to be completed", async || {
            let totals = hive.queue().status().await.unwrap().totals;
            totals.completed == 2_000
        })
        .await;
    });
}

#[test]
fn restarts_of_the_scheduler_under_load_give_no_task_back() {
    with_hive(async |hive| {
        let who = hive.admin.clone();
        for bot in 0..20 {
            let latency = json!({"latency_ms": 20});
            hive.simulated_with(&format!("b-{bot}"), latency).await;
        }
        let task = NewTask::new("general".parse().unwrap(), "hello");
        for _ in 0..8 {
            let batch = vec![task.clone(); 500];
            hive.tasks().submit(&who, batch, None).await.unwrap();
        }
        for _ in 0..6 {
            until("claims to be under way", async || {
                hive.inner.subsystems.bots.registry().running_here() > 20
            })
            .await;
            tree(&hive)
                .restart_path("hive/core/scheduler")
                .await
                .unwrap();
        }
        until("all tasks to be completed", async || {
            let totals = hive.queue().status().await.unwrap().totals;
            totals.completed == 4_000
        })
        .await;
        let (mut after, mut begun) = (0, 0);
        loop {
            let events = hive.inner.deps.ledger.events(after, 10_000).await.unwrap();
            let Some(last) = events.last() else { break };
            after = last.seq;
            for event in events {
                begun += u32::from(event.action == Action::TaskStarted);
                assert_ne!(event.action, Action::TaskRetrying, "{event:?}");
            }
        }
        assert_eq!(begun, 4_000, "each task began once");
    });
}

#[test]
fn a_scheduler_that_restarts_while_the_hive_stops_begins_nothing() {
    with_hive(async |hive| {
        hive.simulated("b").await;
        hive.inner.subsystems.scheduling.dispatcher().quiesce();
        tree(&hive)
            .restart_path("hive/core/scheduler")
            .await
            .unwrap();
        let id = hive.submit_one().await;
        // A bot that is launched now says that it takes tasks; the scheduler has polled.
        hive.simulated("c").await;
        until("the scheduler to hold the task", async || {
            hive.inner.subsystems.scheduling.counters().window.get() == 1
        })
        .await;
        hive.task_is(id, TaskStatus::Queued).await;
    });
}

#[test]
fn acts_on_parts_are_recorded_before_they_are_done() {
    with_hive(async |hive| {
        let who = hive.admin.clone();
        let path = "hive/core/scheduler";
        hive.operations()
            .act_on_part(&who, path, PartAction::Restart, None)
            .await
            .unwrap();
        let actions = actions_about(&hive, path).await;
        assert_eq!(actions, [Action::PartRequested, Action::PartRestarted]);
        // A part that fails together with the recorder of its failure still leaves a trace.
        let path = "hive/ledger";
        hive.operations()
            .act_on_part(&who, path, PartAction::Restart, None)
            .await
            .unwrap();
        let actions = until("the store to answer again", async || {
            let events = hive.inner.deps.ledger.events(0, 10_000).await.ok()?;
            Some(events.into_iter().filter(|event| event.target.id == path))
        })
        .await;
        assert_eq!(
            actions.map(|e| e.action).next(),
            Some(Action::PartRequested.into())
        );
    });
}

#[test]
fn what_is_put_back_waits_again_for_what_it_depends_on() {
    with_hive(async |hive| {
        let who = hive.admin.clone();
        hive.simulated_with("b", json!({"success_rate": 0})).await;
        let mut batch = vec![NewTask::new("general".parse().unwrap(), "hello"); 3];
        for (place, task) in batch.iter_mut().enumerate() {
            task.max_attempts = Some(1);
            task.depends_on = place
                .checked_sub(1)
                .map(|before| Dependency::InBatch(before as u32))
                .into_iter()
                .collect();
        }
        let submitted = hive.tasks().submit(&who, batch, None).await.unwrap().tasks;
        for task in &submitted {
            hive.task_is(task.id, TaskStatus::Failed).await;
        }
        hive.queue().pause(&who, None, None).await.unwrap();
        let by_filter = hive
            .queue()
            .requeue_dead(&who, TaskFilter::default())
            .await
            .unwrap();
        assert_eq!((by_filter.changed, by_filter.complete), (3, true));
        let waiting = [TaskStatus::Queued, TaskStatus::Pending, TaskStatus::Pending];
        for (task, expected) in submitted.iter().zip(waiting) {
            let task = hive.tasks().get(&who, task.id).await.unwrap();
            assert_eq!(task.status, expected);
        }
        let again = hive
            .queue()
            .requeue_dead(&who, TaskFilter::default())
            .await
            .unwrap();
        assert_eq!((again.changed, again.skipped), (0, 0));
        hive.queue().resume(&who, None).await.unwrap();
        hive.task_is(submitted[2].id, TaskStatus::Failed).await;
        hive.queue().pause(&who, None, None).await.unwrap();
        let ids = submitted.iter().rev().map(|task| task.id).collect();
        let by_id = hive.queue().requeue_these(&who, ids).await.unwrap();
        assert_eq!(by_id.changed, 3);
        hive.task_is(submitted[2].id, TaskStatus::Pending).await;
    });
}

#[test]
fn a_new_launcher_still_knows_its_bots() {
    with_hive(async |hive| {
        let who = hive.admin.clone();
        hive.simulated("b").await;
        tree(&hive)
            .restart_path("hive/core/launcher")
            .await
            .unwrap();
        hive.bots().stop(&who, &bot_name("b")).await.unwrap();
        until("b to be gone from the tree", async || {
            hive.operations()
                .supervisor("hive/core/bots")
                .unwrap()
                .children
                .is_empty()
        })
        .await;
    });
}

#[test]
fn everything_is_rebuilt_on_a_new_writer() {
    with_hive(async |hive| {
        let who = hive.admin.clone();
        hive.simulated_with("b", json!({"latency_ms": 50})).await;
        let mut ids = Vec::new();
        for _ in 0..8 {
            ids.push(hive.submit_one().await);
        }
        tree(&hive).restart_path("hive/ledger").await.unwrap();
        for id in ids {
            let result = until("the store to answer again", async || {
                hive.tasks().result(&who, id, PATIENCE).await.ok()
            })
            .await;
            assert!(result.success, "{result:?}");
        }
    });
}

#[test]
fn a_stop_and_a_start_keep_everything() {
    actix_rt::System::new().block_on(async {
        let hive = TestHive::start().await;
        let who = hive.admin.clone();
        hive.simulated_with("b", json!({"behavior": "offline"}))
            .await;
        let id = hive.submit_one().await;
        hive.task_is(id, TaskStatus::Running).await;
        hive.shutdown().await;
        let refused = hive
            .tasks()
            .submit(
                &who,
                vec![NewTask::new("general".parse().unwrap(), "")],
                None,
            )
            .await;
        assert!(matches!(
            refused,
            Err(crate::HiveError::Unavailable("stopping"))
        ));

        let hive = hive.start_again().await;
        assert!(
            hive.operations()
                .status()
                .await
                .unwrap()
                .previous_shutdown_clean
        );
        assert_eq!(hive.admin, who, "the key is still in force");
        hive.bot_is("b", BotStatus::Healthy).await;
        let task = hive.task_is(id, TaskStatus::Running).await;
        assert_eq!((task.attempt, task.failures, task.bot_deaths), (2, 0, 0));
        hive.shutdown().await;
    });
}

#[test]
fn a_second_hive_on_the_same_directory_is_refused() {
    with_hive(async |hive| {
        let second = TestHive::try_start(Config::clone(&hive.config()))
            .await
            .err()
            .unwrap();
        assert!(
            second.to_string().contains("is in use by another deia"),
            "{second}"
        );
    });
}

#[test]
fn who_is_confined_sees_only_its_own() {
    with_hive(async |hive| {
        let who = hive.admin.clone();
        let outsider = |user: &'static str| {
            let (hive, who) = (hive.clone(), who.clone());
            async move {
                let grant = KeyGrant::new(user, Role::External);
                let key = hive
                    .access()
                    .create_key(&who, grant, None, None)
                    .await
                    .unwrap();
                hive.access().authenticate(&key.text, None).unwrap()
            }
        };
        let (ada, eve) = (outsider("ada").await, outsider("eve").await);
        let id = hive.submit_as(&ada).await;
        assert!(hive.tasks().get(&ada, id).await.is_ok());
        assert!(hive.tasks().get(&who, id).await.is_ok());
        assert!(matches!(
            hive.tasks().get(&eve, id).await,
            Err(crate::HiveError::NotFound { .. })
        ));
        assert!(matches!(
            hive.tasks().cancel(&eve, id).await,
            Err(crate::HiveError::NotFound { .. })
        ));
        let page = || deia_model::PageRequest {
            limit: 10,
            cursor: None,
        };
        assert_eq!(
            hive.tasks()
                .list(&ada, Default::default(), page())
                .await
                .unwrap()
                .items
                .len(),
            1
        );
        assert_eq!(
            hive.tasks()
                .list(&eve, Default::default(), page())
                .await
                .unwrap()
                .items
                .len(),
            0
        );
        let filter = deia_model::TaskFilter {
            submitter: Some("ada".into()),
            ..Default::default()
        };
        assert_eq!(
            hive.tasks()
                .list(&eve, filter, page())
                .await
                .unwrap()
                .items
                .len(),
            0
        );
    });
}

#[test]
fn a_revoked_key_is_refused_from_the_next_request_on() {
    with_hive(async |hive| {
        let who = hive.admin.clone();
        let grant = KeyGrant::new("ada", Role::Operator);
        let key = hive
            .access()
            .create_key(&who, grant, None, None)
            .await
            .unwrap();
        let authenticate = || hive.access().authenticate(&key.text, None);
        assert_eq!(authenticate().unwrap().role, Role::Operator);
        hive.access().revoke_key(&who, key.info.id).await.unwrap();
        assert_eq!(authenticate().unwrap_err().why, AuthError::Revoked);
        let last = hive.access().revoke_key(&who, who.key().unwrap()).await;
        assert!(matches!(
            last,
            Err(crate::HiveError::Refused(
                deia_ledger::Rejection::LastAdminKey
            ))
        ));
    });
}
