//! The supervisor of all bots, suspended by hand.

use super::{blocked_bots::block, *};
use crate::hive::PartAction;

const ALL_BOTS: &str = "hive/core/bots";

async fn act(hive: &Hive, who: &Principal, action: PartAction) {
    let done = hive.act_on_part(who, ALL_BOTS, action, None).await;
    done.unwrap();
}

/// Waits until a bot works. One that was suspended has been restarted lately.
async fn is_up(hive: &Hive, bot: &str) {
    until("the bot to be up", || async {
        let status = hive.bot(&name(bot)).await.unwrap().status;
        matches!(status, BotStatus::Healthy | BotStatus::Degraded).then_some(())
    })
    .await;
}

fn bots_in_tree(hive: &Hive) -> Vec<String> {
    let children = hive.supervisor(ALL_BOTS).unwrap().children;
    children
        .iter()
        .map(|child| child.name.to_string())
        .collect()
}

#[test]
fn suspending_all_bots_gives_back_what_they_have_in_hand() {
    with_hive(|hive, who| async move {
        let offline = json!({"kind": "simulated", "behavior": "offline"});
        for bot in ["blocked", "working"] {
            launch(&hive, &who, bot, offline.clone()).await;
        }
        // One that can report nothing, and tasks in its mailbox that it never begins.
        let open = block(&hive, "blocked");
        let mut ids = Vec::new();
        for _ in 0..8 {
            ids.push(submit(&hive, &who).await);
        }
        for id in &ids {
            task_is(&hive, &who, *id, TaskStatus::Running).await;
        }
        act(&hive, &who, PartAction::Suspend).await;
        for id in &ids {
            let task = task_is(&hive, &who, *id, TaskStatus::Queued).await;
            assert_eq!((task.failures, task.bot_deaths), (0, 0), "{task:?}");
        }
        for bot in ["blocked", "working"] {
            bot_is(&hive, bot, BotStatus::Stopped).await;
        }
        let problems = hive.health().await.unwrap().problems;
        let suspended = format!("{ALL_BOTS} is suspended");
        assert!(problems.contains(&suspended), "{problems:?}");
        open.send(()).unwrap();
        act(&hive, &who, PartAction::Resume).await;
        for bot in ["blocked", "working"] {
            is_up(&hive, bot).await;
        }
        for id in &ids {
            task_is(&hive, &who, *id, TaskStatus::Running).await;
        }
    });
}

#[test]
fn bots_that_change_while_all_are_suspended_are_as_wanted_once_resumed() {
    with_hive(|hive, who| async move {
        let spec = || -> BotSpec {
            serde_json::from_value(json!({"executor": {"kind": "simulated"}})).unwrap()
        };
        for bot in ["stopped", "deleted", "replaced"] {
            launch(&hive, &who, bot, json!({"kind": "simulated"})).await;
        }
        act(&hive, &who, PartAction::Suspend).await;
        for bot in ["stopped", "deleted"] {
            hive.stop_bot(&who, &name(bot)).await.unwrap();
        }
        hive.delete_bot(&who, &name("deleted")).await.unwrap();
        for bot in ["replaced", "new"] {
            hive.put_bot(&who, name(bot), spec(), None).await.unwrap();
        }
        hive.launch_bot(&who, &name("new")).await.unwrap();
        bot_is(&hive, "new", BotStatus::Stopped).await;
        act(&hive, &who, PartAction::Resume).await;
        until(
            "the wanted bots, and no others, to be in the tree",
            || async {
                let mut bots = bots_in_tree(&hive);
                bots.sort();
                (bots == ["new", "replaced"]).then_some(())
            },
        )
        .await;
        for bot in ["new", "replaced"] {
            is_up(&hive, bot).await;
        }
        let id = submit(&hive, &who).await;
        task_is(&hive, &who, id, TaskStatus::Completed).await;
    });
}
