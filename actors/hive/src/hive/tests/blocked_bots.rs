//! Tests of bots whose actor blocks its thread, and of the rest of the hive meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    time::Instant,
};

use actix::{Handler, Message};
use deia_supervision::Context;

use super::*;
use crate::bots::BotActor;

/// Maximum time that the actor blocks if the gate is not opened.
const BLOCKED_FOR: Duration = Duration::from_secs(30);
/// Time that a request may take while a bot blocks; usually milliseconds.
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
    with_hive(async |hive| {
        let who = hive.admin.clone();
        for bot in ["blocked", "neighbour"] {
            hive.simulated(bot).await;
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
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        until("the first task is done", async || {
            pace.tick().await;
            let begun = Instant::now();
            ids.push(hive.submit_one().await);
            assert!(hive.operations().supervisors().is_some());
            let scheduler = tree(&hive).supervisor("hive/core").unwrap();
            assert!(scheduler.count_children().await.active > 0);
            slowest = slowest.max(begun.elapsed());
            hive.tasks().get(&who, ids[0]).await.unwrap().status == TaskStatus::Completed
        })
        .await;
        assert!(slowest < RESPONSIVE, "a request took {slowest:?}");
        assert!(!gave_up.load(Ordering::SeqCst), "the tasks waited it out");

        // The bot itself is up again (degraded, as it has crashed) beside the call that still
        // blocks, and has lost nothing.
        hive.bot_is("blocked", BotStatus::Degraded).await;
        for id in ids {
            hive.task_is(id, TaskStatus::Completed).await;
        }
        let status = hive.operations().supervisor(path).unwrap();
        let exit = status.last_exit.expect("it was stuck");
        assert_eq!(exit.reason.code(), "stuck");
        // The event log describes the events of both bots.
        for (bot, action) in [
            ("blocked", Action::BotStuck),
            ("neighbour", Action::BotMoved),
        ] {
            until("the event of the bot", || async {
                let actions = actions_about(&hive, bot).await;
                actions.contains(&action).then_some(())
            })
            .await;
        }
        open.send(()).unwrap();
    });
}

/// Has the actor of a bot block its thread, until the returned gate opens.
pub(super) fn block(hive: &Hive, bot: &str) -> std::sync::mpsc::Sender<()> {
    let (open, gate) = channel();
    let path = format!("hive/core/bots/{bot}");
    let handle = tree(hive).handle::<BotActor>(&path).unwrap();
    let gave_up = Arc::default();
    handle.tell(Block { gate, gave_up }).map_err(drop).unwrap();
    open
}

#[test]
fn program_of_a_bot_on_a_blocked_thread_ends_before_its_task_starts_again() {
    with_hive(async |hive| {
        let who = hive.admin.clone();
        let dir = tempfile::tempdir().unwrap();
        let (lock, log) = (dir.path().join("lock"), dir.path().join("log"));
        // Two that run at the same time cannot both hold the lock.
        let script = format!(
            "exec 9>{}; flock -n 9 || {{ echo overlap >> {log}; exit 0; }}; echo run >> {log}; exec sleep 600",
            lock.display(),
            log = log.display(),
        );
        hive.command("worker", &["sh", "-c", &script]).await;
        let id = hive.submit_one().await;
        let runs = |wanted: &'static str| {
            let log = log.clone();
            async move {
                until(wanted, async || {
                    let said = std::fs::read_to_string(&log).unwrap_or_default();
                    said == wanted
                })
                .await;
            }
        };
        runs("run\n").await;
        // The thread is blocked by another bot, so that the worker is moved.
        let spec = json!({"executor": {"kind": "simulated"}, "capabilities": {"specializations": ["none"]}});
        let spec: BotSpec = serde_json::from_value(spec).unwrap();
        hive.put_and_launch("blocked", spec).await;
        hive.bot_is("blocked", BotStatus::Healthy).await;
        let open = block(&hive, "blocked");
        runs("run\nrun\n").await;
        assert!(hive.tasks().get(&who, id).await.unwrap().attempt > 1);
        assert_eq!(
            hive.bots()
                .get(&bot_name("worker"))
                .await
                .unwrap()
                .pids
                .len(),
            2,
            "one is not reaped yet"
        );
        // The late end of the old incarnation does not affect the new one.
        open.send(()).unwrap();
        until("the old incarnation to end", async || {
            hive.bots()
                .get(&bot_name("worker"))
                .await
                .unwrap()
                .pids
                .len()
                == 1
        })
        .await;
        let bot = hive.bots().get(&bot_name("worker")).await.unwrap();
        assert_eq!(bot.running_tasks, 1);
        assert!(bot.status != BotStatus::Starting, "{bot:?}");
    });
}

#[test]
fn bots_run_on_threads_of_their_own() {
    with_hive(async |hive| {
        hive.simulated("b").await;
        let on = |path| hive.operations().supervisor(path).unwrap().arbiter;
        let (scheduler, bot) = (on("hive/core/scheduler"), on("hive/core/bots/b"));
        assert_eq!(scheduler.as_deref(), Some("tree"));
        assert!(bot.is_some_and(|name| name.starts_with("bots")));
        let arbiters = hive.operations().arbiters();
        assert!(arbiters.iter().all(|arbiter| !arbiter.blocked));
        let of_bots = arbiters
            .iter()
            .filter(|arbiter| arbiter.group.as_deref() == Some("bots"));
        assert_eq!(of_bots.map(|arbiter| arbiter.children).sum::<usize>(), 1);
    });
}

#[test]
fn stop_of_the_hive_waits_for_a_bot_that_blocks_its_thread_and_gives_its_tasks_back() {
    actix_rt::System::new().block_on(async {
        let hive = TestHive::start_with(&[("bots.term_grace", "0s")]).await;
        hive.simulated("b").await;
        let open = block(&hive, "b");
        let id = hive.submit_one().await;
        hive.task_is(id, TaskStatus::Running).await;
        let config = hive.config().clone();
        hive.shutdown().await;
        let _dir = hive.into_dir();
        // This is read before a start can give the task back.
        let store = crate::store_options::open_store(&config).unwrap();
        let task = store.task(id).await.unwrap().unwrap();
        assert_eq!((task.status, task.failures), (TaskStatus::Queued, 0));
        open.send(()).unwrap();
    });
}
