//! Tests of the supervisor of all bots, suspended by hand.

use super::{blocked_bots::block, *};
use crate::PartAction;

const ALL_BOTS: &str = "hive/core/bots";

async fn act(hive: &TestHive, action: PartAction) {
    let done = hive
        .operations()
        .act_on_part(&hive.admin, ALL_BOTS, action, None)
        .await;
    done.unwrap();
}

/// Waits until a bot works. A bot that was suspended has been restarted lately.
async fn is_up(hive: &Hive, bot: &str) {
    until("the bot is up", async || {
        let status = hive.bots().get(&bot_name(bot)).await.unwrap().status;
        matches!(status, BotStatus::Healthy | BotStatus::Degraded)
    })
    .await;
}

fn bots_in_tree(hive: &Hive) -> Vec<String> {
    let children = hive.operations().supervisor(ALL_BOTS).unwrap().children;
    children
        .iter()
        .map(|child| child.name.to_string())
        .collect()
}

#[test]
fn suspending_all_bots_gives_back_what_they_have_in_hand() {
    with_hive(async |hive| {
        for bot in ["blocked", "working"] {
            hive.simulated_with(bot, json!({"behavior": "offline"}))
                .await;
        }
        // An attempt that can report nothing, and tasks in the mailbox of its bot that never
        // begin.
        let open = block(&hive, "blocked");
        let mut ids = Vec::new();
        for _ in 0..8 {
            ids.push(hive.submit_one().await);
        }
        for id in &ids {
            hive.task_is(*id, TaskStatus::Running).await;
        }
        act(&hive, PartAction::Suspend).await;
        for id in &ids {
            let task = hive.task_is(*id, TaskStatus::Queued).await;
            assert_eq!((task.failures, task.bot_deaths), (0, 0), "{task:?}");
        }
        for bot in ["blocked", "working"] {
            hive.bot_is(bot, BotStatus::Stopped).await;
        }
        let problems = hive.operations().health().await.unwrap().problems;
        let suspended = format!("{ALL_BOTS} is suspended");
        assert!(problems.contains(&suspended), "{problems:?}");
        open.send(()).unwrap();
        act(&hive, PartAction::Resume).await;
        for bot in ["blocked", "working"] {
            is_up(&hive, bot).await;
        }
        for id in &ids {
            hive.task_is(*id, TaskStatus::Running).await;
        }
    });
}

#[test]
fn bots_that_change_while_all_are_suspended_are_as_wanted_once_resumed() {
    with_hive(async |hive| {
        let spec = || bot_spec(json!({"kind": "simulated"}));
        for bot in ["stopped", "deleted", "replaced"] {
            hive.simulated(bot).await;
        }
        act(&hive, PartAction::Suspend).await;
        for bot in ["stopped", "deleted"] {
            hive.bots().stop(&hive.admin, &bot_name(bot)).await.unwrap();
        }
        hive.bots()
            .delete(&hive.admin, &bot_name("deleted"))
            .await
            .unwrap();
        for bot in ["replaced", "new"] {
            hive.bots()
                .put(&hive.admin, bot_name(bot), spec(), crate::PutHow::default())
                .await
                .unwrap();
        }
        hive.bots()
            .launch(&hive.admin, &bot_name("new"))
            .await
            .unwrap();
        hive.bot_is("new", BotStatus::Stopped).await;
        act(&hive, PartAction::Resume).await;
        until(
            "the wanted bots, and no others, are in the tree",
            async || {
                let mut bots = bots_in_tree(&hive);
                bots.sort();
                bots == ["new", "replaced"]
            },
        )
        .await;
        for bot in ["new", "replaced"] {
            is_up(&hive, bot).await;
        }
        let id = hive.submit_one().await;
        hive.task_is(id, TaskStatus::Completed).await;
    });
}
