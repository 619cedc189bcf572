//! A bot whose actor blocks its thread, and what goes on meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    time::Instant,
};

use actix::{Handler, Message};

use super::*;
use crate::actors::bots::BotActor;

/// Longest that the actor blocks, if nobody opens the gate.
const BLOCKED_FOR: Duration = Duration::from_secs(30);
/// What a request may take while a bot blocks; it takes milliseconds.
const RESPONSIVE: Duration = Duration::from_secs(5);

/// Blocks the thread of the actor until the gate opens.
#[derive(Message)]
#[rtype(result = "()")]
struct Block {
    gate: Receiver<()>,
    gave_up: Arc<AtomicBool>,
}

impl Handler<Block> for BotActor {
    type Result = ();

    fn handle(&mut self, block: Block, _: &mut Context<Self>) {
        let opened = block.gate.recv_timeout(BLOCKED_FOR);
        let gave_up = opened == Err(RecvTimeoutError::Timeout);
        block.gave_up.store(gave_up, Ordering::SeqCst);
    }
}

#[test]
fn blocked_bot_delays_neither_requests_nor_the_scheduler_nor_other_bots_for_long() {
    with_hive(|hive, who| async move {
        for bot in ["blocked", "neighbour"] {
            launch(&hive, &who, bot, json!({"kind": "simulated"})).await;
        }
        let (open, gate) = channel();
        let gave_up = Arc::new(AtomicBool::new(false));
        let block = Block {
            gate,
            gave_up: gave_up.clone(),
        };
        let path = "hive/core/bots/blocked";
        let handle = tree(&hive).handle::<BotActor>(path).unwrap();
        handle.tell(block).map_err(drop).unwrap();

        // Every request is answered, and the scheduler takes and hands out tasks: those of
        // the neighbour run once the watchdog has moved it.
        let mut ids = Vec::new();
        let mut slowest = Duration::ZERO;
        let first_is_done = async |ids: &[TaskId]| {
            let Some(id) = ids.first() else { return false };
            hive.task(&who, *id).await.unwrap().status == TaskStatus::Completed
        };
        while !first_is_done(&ids).await {
            let begun = Instant::now();
            ids.push(submit(&hive, &who).await);
            assert!(hive.supervisors().is_some());
            let scheduler = tree(&hive).supervisor("hive/core").unwrap();
            assert!(scheduler.count_children().await.active > 0);
            slowest = slowest.max(begun.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(slowest < RESPONSIVE, "a request took {slowest:?}");
        assert!(!gave_up.load(Ordering::SeqCst), "the tasks waited it out");

        // The bot itself is up again (degraded, as it has crashed) beside the call that still blocks, and has lost nothing.
        bot_is(&hive, "blocked", BotStatus::Degraded).await;
        for id in ids {
            task_is(&hive, &who, id, TaskStatus::Completed).await;
        }
        let status = hive.supervisor(path).unwrap();
        let exit = status.last_exit.expect("it was stuck");
        assert_eq!(exit.reason.code(), "stuck");
        open.send(()).unwrap();
    });
}

#[test]
fn bots_run_on_threads_of_their_own() {
    with_hive(|hive, who| async move {
        launch(&hive, &who, "b", json!({"kind": "simulated"})).await;
        let on = |path| hive.supervisor(path).unwrap().arbiter;
        let (scheduler, bot) = (on("hive/core/scheduler"), on("hive/core/bots/b"));
        assert_eq!(scheduler.as_deref(), Some("tree"));
        assert!(bot.is_some_and(|name| name.starts_with("bots")));
        let arbiters = hive.arbiters();
        assert!(arbiters.iter().all(|arbiter| !arbiter.blocked));
        let of_bots = arbiters
            .iter()
            .filter(|arbiter| arbiter.group.as_deref() == Some("bots"));
        assert_eq!(of_bots.map(|arbiter| arbiter.children).sum::<usize>(), 1);
    });
}
