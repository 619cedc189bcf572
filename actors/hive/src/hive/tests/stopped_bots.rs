//! Tests of bots that are stopped, drained or replaced, and of tasks submitted right after.

use futures_util::future::join_all;

use super::*;

/// Number of rounds of each test: a task that goes to the wrong bot does so by a race.
const ROUNDS: usize = 50;
const TASKS: usize = 16;

/// Submits tasks, each in a request of its own, all at once.
async fn submit_many(hive: &TestHive) -> Vec<TaskId> {
    join_all((0..TASKS).map(|_| hive.submit_one())).await
}

async fn none_was_attempted(hive: &TestHive, ids: &[TaskId], round: usize) {
    for id in ids {
        let task = hive.tasks().get(&hive.admin, *id).await.unwrap();
        assert_eq!(
            (task.status, task.attempt, task.last_error),
            (TaskStatus::Queued, 0, None),
            "round {round}"
        );
    }
}

async fn is_gone(hive: &TestHive) {
    until("the bot is gone from the tree", async || {
        let bots = hive.operations().supervisor("hive/core/bots").unwrap();
        bots.children.is_empty()
    })
    .await;
}

#[test]
fn bot_is_given_no_task_once_its_stop_or_drain_is_answered() {
    with_hive(async |hive| {
        let b = bot_name("b");
        for round in 0..ROUNDS {
            hive.simulated("b").await;
            // Tasks that are being sent to the bot when it is stopped are not counted here.
            let busy = submit_many(&hive).await;
            for id in busy {
                hive.task_is(id, TaskStatus::Completed).await;
            }
            match round % 2 {
                0 => hive.bots().stop(&hive.admin, &b).await.unwrap(),
                _ => hive.bots().drain(&hive.admin, &b).await.unwrap(),
            };
            let ids = submit_many(&hive).await;
            none_was_attempted(&hive, &ids, round).await;
            is_gone(&hive).await;
            none_was_attempted(&hive, &ids, round).await;
            let purged = hive
                .queue()
                .purge(&hive.admin, TaskFilter::default())
                .await
                .unwrap();
            assert_eq!(purged.changed, TASKS as u64);
        }
    });
}

#[test]
fn task_goes_to_the_bot_that_was_put_in_place_before_it() {
    with_hive(async |hive| {
        hive.simulated("b").await;
        for round in 0..ROUNDS {
            // The bot is launched: each new specification replaces the running one.
            let executor = json!({"kind": "simulated", "success_rate": round % 2});
            let spec =
                json!({"executor": executor, "capabilities": {"max_concurrent_tasks": TASKS}});
            let spec: BotSpec = serde_json::from_value(spec).unwrap();
            hive.bots()
                .put(&hive.admin, bot_name("b"), spec, crate::PutHow::default())
                .await
                .unwrap();
            let id = hive.submit_with(|task| task.max_attempts = Some(1)).await;
            let expected = [TaskStatus::Failed, TaskStatus::Completed][round % 2];
            let task = until("the task ends", async || {
                Some(hive.tasks().get(&hive.admin, id).await.unwrap())
                    .filter(|task| task.status.is_final())
            })
            .await;
            assert_eq!((task.status, task.attempt), (expected, 1), "round {round}");
        }
    });
}

#[test]
fn drained_bot_that_is_launched_again_goes_on() {
    with_hive(async |hive| {
        let b = bot_name("b");
        hive.simulated_with("b", json!({"behavior": "offline"}))
            .await;
        let held = hive.submit_one().await;
        hive.task_is(held, TaskStatus::Running).await;
        hive.bots().drain(&hive.admin, &b).await.unwrap();
        let waits = hive.submit_one().await;
        none_was_attempted(&hive, &[waits], 0).await;
        hive.bots().launch(&hive.admin, &b).await.unwrap();
        hive.task_is(waits, TaskStatus::Running).await;
        assert_eq!(
            hive.tasks().get(&hive.admin, held).await.unwrap().attempt,
            1
        );
    });
}
