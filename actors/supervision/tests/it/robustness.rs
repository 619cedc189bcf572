//! A misbehaving child harms itself only.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use actix::prelude::{Actor, AsyncContext, Handler, Message};
use deia_supervision::{
    Backoff, ChildError, ChildState, Context, ExitReason, Intensity, Restart, StartChildError,
    StartError, Strategy, SupervisorSpec, child,
};

use crate::common::{
    Crash, Log, Ping, Script, Stop, idle, patient, probe, run, scripted, start, tolerant,
};

#[test]
fn tree() {
    run(async {
        let log = Log::default();
        let (leaf, leaf_handle, leaf_script) = probe("leaf", &log);
        let bots = SupervisorSpec::dynamic("bots");
        let bots_handle = bots.handle();
        let (front, _, front_script) = probe("front", &log);
        let core = tolerant("core", Strategy::OneForOne, 1)
            .child(leaf)
            .child(bots);
        let root = tolerant("root", Strategy::OneForOne, 1)
            .child(core)
            .child(front);
        let tree = start(root).await;
        let (bot, bot_handle, bot_script) = probe("bot", &log);
        bots_handle.start_child(bot).await.unwrap();

        leaf_handle.tell(Crash).unwrap();
        idle().await;
        assert_eq!((leaf_script.built(), bot_script.built()), (2, 1));
        leaf_handle.tell(Crash).unwrap();
        idle().await;
        // The core gave up and was rebuilt: static children are back, dynamic ones are not.
        assert_eq!(leaf_handle.ask(Ping).await, Ok(3));
        assert!(bot_handle.is_gone());
        assert!(bots_handle.which_children().await.is_empty());
        assert_eq!(front_script.built(), 1);
        assert_eq!(tree.status_of("root/core").unwrap().incarnation, 2);
        let (bot, ..) = probe("bot", &log);
        bots_handle.start_child(bot).await.unwrap();
        tree.shutdown().await;
        assert_eq!(leaf_script.alive.load(SeqCst), 0);
    });
}

/// A child that cannot be restarted is tried again and again, and can be administered meanwhile.
fn hanging_restart_loop(strategy: Strategy) {
    run(async {
        let log = Log::default();
        let (spec, handle, script) = probe("a", &log);
        let pause = Duration::from_millis(10);
        let spec = spec.backoff(Backoff::new(pause, pause));
        let root = patient("root", Strategy::OneForOne);
        let (tree, supervisor) = if strategy == Strategy::Dynamic {
            let workers = SupervisorSpec::dynamic("s");
            let workers_handle = workers.handle();
            let workers = workers.intensity(Intensity::unlimited());
            let tree = start(root.child(workers)).await;
            workers_handle.start_child(spec).await.unwrap();
            (tree, workers_handle)
        } else {
            let (other, ..) = probe("other", &log);
            let inner = patient("s", strategy).child(spec).child(other);
            let tree = start(root.child(inner)).await;
            let supervisor = tree.supervisor("root/s").unwrap();
            (tree, supervisor)
        };
        script.fail_builds.store(usize::MAX, SeqCst);
        handle.tell(Crash).unwrap();
        idle().await;
        let present = supervisor.start_child(probe("a", &log).0).await;
        assert!(
            matches!(present, Err(StartChildError::AlreadyPresent)),
            "{present:?}"
        );
        let restarting = supervisor.restart_child("a").await;
        assert!(matches!(restarting, Err(ChildError::Restarting)));
        let restarting = supervisor.delete_child("a").await;
        assert!(matches!(restarting, Err(ChildError::Restarting)));
        assert_eq!(
            supervisor.which_children().await[0].state,
            ChildState::Restarting
        );
        let left = script.fail_builds.load(SeqCst);
        tokio::time::sleep(20 * pause).await;
        assert!(
            script.fail_builds.load(SeqCst) < left - 10,
            "it goes on trying"
        );
        supervisor.terminate_child("a").await.unwrap();
        let left = script.fail_builds.load(SeqCst);
        tokio::time::sleep(20 * pause).await;
        assert_eq!(script.fail_builds.load(SeqCst), left, "it is left alone");
        script.fail_builds.store(0, SeqCst);
        supervisor.restart_child("a").await.unwrap();
        script.fail_builds.store(usize::MAX, SeqCst);
        handle.tell(Crash).unwrap();
        idle().await;
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}

#[test]
fn hanging_restart_loop_one_for_one() {
    hanging_restart_loop(Strategy::OneForOne);
}

#[test]
fn hanging_restart_loop_one_for_all() {
    hanging_restart_loop(Strategy::OneForAll);
}

#[test]
fn hanging_restart_loop_rest_for_one() {
    hanging_restart_loop(Strategy::RestForOne);
}

#[test]
fn hanging_restart_loop_dynamic() {
    hanging_restart_loop(Strategy::Dynamic);
}

/// Without a pause between the tries, the rest of the arbiter still gets its turn.
#[test]
fn a_restart_loop_without_pause_starves_nobody() {
    run(async {
        let log = Log::default();
        let (spec, handle, script) = probe("a", &log);
        let (other, other_handle, _) = probe("other", &log);
        let tree = start(
            patient("root", Strategy::OneForOne)
                .child(spec)
                .child(other),
        )
        .await;
        script.stop_in_started.store(usize::MAX, SeqCst);
        handle.tell(Crash).unwrap();
        for _ in 0..100 {
            assert_eq!(other_handle.ask(Ping).await, Ok(1));
        }
        assert!(script.built() > 10);
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}

#[test]
fn order_of_children() {
    run(async {
        let log = Log::default();
        let tree = start(patient("root", Strategy::OneForAll)).await;
        let root = tree.supervisor("root").unwrap();
        let mut first = None;
        for name in ["a", "b", "c", "d"] {
            let (spec, handle, _) = probe(name, &log);
            root.start_child(spec).await.unwrap();
            first.get_or_insert(handle);
        }
        root.terminate_child("b").await.unwrap();
        root.restart_child("b").await.unwrap();
        log.take();
        first.unwrap().tell(Crash).unwrap();
        idle().await;
        assert_eq!(log.take(), ["-d", "-c", "-b", "+a", "+b", "+c", "+d"]);
        tree.shutdown().await;
        assert_eq!(log.take(), ["-d", "-c", "-b", "-a"]);
    });
}

#[test]
fn temporary_specs_not_saved() {
    run(async {
        let log = Log::default();
        let tree = start(patient("root", Strategy::OneForOne)).await;
        let root = tree.supervisor("root").unwrap();
        for _ in 0..3 {
            let (spec, handle, _) = probe("a", &log);
            root.start_child(spec.restart(Restart::Temporary))
                .await
                .unwrap();
            handle.tell(Stop).unwrap();
            idle().await;
        }
        let (spec, ..) = probe("a", &log);
        root.start_child(spec.restart(Restart::Temporary))
            .await
            .unwrap();
        root.terminate_child("a").await.unwrap();
        root.start_child(probe("a", &log).0).await.unwrap();
        tree.shutdown().await;
    });
}

/// Returns the time that it takes to start and stop so many dynamic children.
async fn start_and_stop(size: usize) -> Duration {
    let begin = std::time::Instant::now();
    let spec = SupervisorSpec::dynamic("workers");
    let workers = spec.handle();
    let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
    let script = std::sync::Arc::new(Script::default());
    for index in 0..size {
        let (spec, _) = scripted(&index.to_string(), &Log::default(), &script);
        workers.start_child(spec).await.unwrap();
    }
    assert_eq!(script.alive.load(SeqCst), size);
    tree.shutdown().await;
    assert_eq!(script.alive.load(SeqCst), 0);
    begin.elapsed()
}

/// 100 times the children within 10 times of linear.
#[test]
fn scale_start_stop_many_children() {
    let small = run(start_and_stop(1_000));
    let large = run(start_and_stop(100_000));
    assert!(large < small * 100 * 10, "{small:?} and {large:?}");
}

#[test]
fn scale_many_temporary_children() {
    run(async {
        let spec = SupervisorSpec::dynamic("workers");
        let workers = spec.handle();
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        let script = std::sync::Arc::new(Script::default());
        for index in 0..10_000 {
            let (spec, handle) = scripted(&index.to_string(), &Log::default(), &script);
            workers
                .start_child(spec.restart(Restart::Temporary))
                .await
                .unwrap();
            handle.tell(Stop).unwrap();
        }
        idle().await;
        assert_eq!(script.alive.load(SeqCst), 0);
        assert!(workers.which_children().await.is_empty());
        tree.shutdown().await;
    });
}

/// Cancels a future that an earlier incarnation spawned, under a handle that may be in use again.
struct Canceller(
    std::sync::Arc<std::sync::Mutex<Option<actix::SpawnHandle>>>,
    Log,
);

impl Actor for Canceller {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        let handle = ctx.run_later(Duration::from_secs(1), |actor, _| actor.1.add("ran"));
        let earlier = self.0.lock().unwrap().replace(handle);
        if let Some(earlier) = earlier {
            ctx.cancel_future(earlier);
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct CancelAndCrash;

impl Handler<CancelAndCrash> for Canceller {
    type Result = ();
    fn handle(&mut self, _: CancelAndCrash, ctx: &mut Self::Context) {
        let handle = self.0.lock().unwrap().unwrap();
        ctx.cancel_future(handle);
        panic!("with a cancel pending");
    }
}

#[test]
fn restart_does_not_run_stale_cancels() {
    run(async {
        let (log, slot) = (Log::default(), std::sync::Arc::default());
        let factory_log = log.clone();
        let (spec, handle) = child("a", move || {
            let actor = Canceller(std::sync::Arc::clone(&slot), factory_log.clone());
            async move { Ok::<_, StartError>(actor) }
        });
        let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
        handle.tell(CancelAndCrash).unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(log.take(), ["ran"], "the second incarnation's future");
        tree.shutdown().await;
    });
}

/// A child with an endless supply of messages does not keep its neighbour from running.
#[test]
fn a_busy_mailbox_starves_nobody() {
    struct Looper;
    impl Actor for Looper {
        type Context = Context<Self>;
    }
    #[derive(Message)]
    #[rtype(result = "()")]
    struct Again(bool);
    impl Handler<Again> for Looper {
        type Result = ();
        fn handle(&mut self, message: Again, ctx: &mut Self::Context) {
            if message.0 {
                ctx.notify(message);
            } else {
                ctx.handle().tell(message).unwrap();
            }
        }
    }
    for by_notify in [true, false] {
        run(async {
            let (looper, handle) = child("looper", || async { Ok::<_, StartError>(Looper) });
            let (other, other_handle, _) = probe("other", &Log::default());
            let root = patient("root", Strategy::OneForOne);
            let tree = start(root.child(looper).child(other)).await;
            handle.tell(Again(by_notify)).unwrap();
            for _ in 0..100 {
                assert_eq!(other_handle.ask(Ping).await, Ok(1));
            }
            assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
        });
    }
}
