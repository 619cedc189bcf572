//! Siblings that are restarted with a failed child.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use deia_supervision::{
    ExitReason, Handle, Shutdown, Strategy, SupervisorHandle, SupervisorSpec, Tree,
};
use tokio::time::Instant;

use crate::common::{Crash, Log, Probe, Script, idle, patient, probe, run, start, tolerant};

struct Trio {
    tree: Tree,
    log: Log,
    handles: Vec<Handle<Probe>>,
    scripts: Vec<Arc<Script>>,
}

impl Trio {
    fn built(&self) -> Vec<usize> {
        self.scripts.iter().map(|script| script.built()).collect()
    }
}

/// Children a, b, c.
async fn trio(root: SupervisorSpec) -> Trio {
    let log = Log::default();
    let (mut handles, mut scripts) = (Vec::new(), Vec::new());
    let root = ["a", "b", "c"].into_iter().fold(root, |root, name| {
        let (spec, handle, script) = probe(name, &log);
        handles.push(handle);
        scripts.push(script);
        root.child(spec)
    });
    let tree = start(root).await;
    log.take();
    Trio {
        tree,
        log,
        handles,
        scripts,
    }
}

#[test]
fn one_for_one() {
    run(async {
        let trio = trio(tolerant("root", Strategy::OneForOne, 1)).await;
        trio.handles[1].tell(Crash).unwrap();
        idle().await;
        assert_eq!(trio.built(), [1, 2, 1]);
        assert_eq!(trio.log.take(), ["+b"]);
    });
}

/// The crash over the limit ends the supervisor.
#[test]
fn every_strategy_escalates() {
    for strategy in [
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
    ] {
        run(async {
            let trio = trio(tolerant("root", strategy, 1)).await;
            trio.handles[0].tell(Crash).unwrap();
            idle().await;
            trio.handles[0].tell(Crash).unwrap();
            let reason = trio.tree.exited().await;
            let ExitReason::GaveUp(gave_up) = &reason else {
                panic!("{reason}");
            };
            assert_eq!(&*gave_up.child, "root/a");
            assert_eq!(gave_up.cause.code(), "panicked");
            idle().await;
            assert!(trio.handles.iter().all(Handle::is_gone));
            assert!(
                trio.scripts
                    .iter()
                    .all(|script| script.alive.load(SeqCst) == 0)
            );
        });
    }
}

#[test]
fn dynamic_escalation() {
    run(async {
        let spec = SupervisorSpec::dynamic("workers");
        let workers = spec.handle();
        let tree = start(tolerant("root", Strategy::OneForOne, 0).child(spec)).await;
        let (a, handle, _) = probe("a", &Log::default());
        workers.start_child(a).await.unwrap();
        handle.tell(Crash).unwrap();
        idle().await;
        handle.tell(Crash).unwrap();
        let ExitReason::GaveUp(gave_up) = tree.exited().await else {
            panic!("the root should have given up");
        };
        assert_eq!(&*gave_up.child, "root/workers");
        assert_eq!(gave_up.cause.code(), "gave_up");
    });
}

#[test]
fn one_for_all() {
    run(async {
        // The group counts once: two restarts of three children each are within a budget of two.
        let trio = trio(tolerant("root", Strategy::OneForAll, 2)).await;
        for round in 2..=3 {
            trio.handles[1].tell(Crash).unwrap();
            idle().await;
            assert_eq!(trio.built(), [round; 3]);
            assert_eq!(trio.log.take(), ["-c", "-a", "+a", "+b", "+c"]);
        }
    });
}

#[test]
fn simultaneous_crashes_of_a_group_count_once() {
    run(async {
        let trio = trio(tolerant("root", Strategy::OneForAll, 1)).await;
        for handle in &trio.handles {
            handle.tell(Crash).unwrap();
        }
        idle().await;
        assert_eq!(trio.built(), [2; 3]);
    });
}

#[test]
fn one_for_all_other_child_fails_restart() {
    run(async {
        let trio = trio(tolerant("root", Strategy::OneForAll, 2)).await;
        trio.scripts[1].fail_builds.store(1, SeqCst);
        trio.handles[2].tell(Crash).unwrap();
        idle().await;
        // c crashed; b, a stopped; a started; b failed; a stopped again; all started.
        assert_eq!(trio.log.take(), ["-b", "-a", "+a", "-a", "+a", "+b", "+c"]);
        assert_eq!(trio.built(), [3, 2, 2]);
    });
}

#[test]
fn rest_for_one() {
    run(async {
        let trio = trio(tolerant("root", Strategy::RestForOne, 1)).await;
        trio.handles[1].tell(Crash).unwrap();
        idle().await;
        assert_eq!(trio.built(), [1, 2, 2]);
        assert_eq!(trio.log.take(), ["-c", "+b", "+c"]);
    });
}

#[test]
fn rest_for_one_other_child_fails_restart() {
    run(async {
        let trio = trio(tolerant("root", Strategy::RestForOne, 3)).await;
        trio.scripts[1].fail_builds.store(2, SeqCst);
        trio.handles[0].tell(Crash).unwrap();
        idle().await;
        // Retried from b only: a, which is up again, is left alone.
        assert_eq!(trio.log.take(), ["-c", "-b", "+a", "+b", "+c"]);
        assert_eq!(trio.built(), [2, 2, 2]);
    });
}

#[test]
fn a_group_waits_for_the_backoff_of_the_child_that_failed() {
    run(async {
        let log = Log::default();
        let second = Duration::from_secs(1);
        let backoff = deia_supervision::Backoff::new(second, second).jitter(0.0);
        let (a, handle, script) = probe("a", &log);
        let (b, _, b_script) = probe("b", &log);
        let root = patient("root", Strategy::OneForAll);
        let tree = start(root.child(a.backoff(backoff)).child(b)).await;
        handle.tell(Crash).unwrap();
        tokio::time::sleep(second / 2).await;
        assert_eq!((script.built(), b_script.alive.load(SeqCst)), (1, 0));
        tokio::time::sleep(second).await;
        assert_eq!((script.built(), b_script.built()), (2, 2));
        tree.shutdown().await;
    });
}

async fn dynamic_tree() -> (Tree, SupervisorHandle) {
    let spec = SupervisorSpec::dynamic("workers");
    let workers = spec.handle();
    let root = patient("root", Strategy::OneForOne);
    let tree = start(root.child(spec.intensity(deia_supervision::Intensity::unlimited()))).await;
    (tree, workers)
}

#[test]
fn dynamic_replaces_the_instance_that_failed() {
    run(async {
        let (tree, workers) = dynamic_tree().await;
        let log = Log::default();
        let (a, handle, a_script) = probe("a", &log);
        let (b, _, b_script) = probe("b", &log);
        workers.start_child(a).await.unwrap();
        workers.start_child(b).await.unwrap();
        handle.tell(Crash).unwrap();
        idle().await;
        assert_eq!((a_script.built(), b_script.built()), (2, 1));
        tree.shutdown().await;
    });
}

#[test]
fn dynamic_shutdown() {
    run(async {
        let (tree, workers) = dynamic_tree().await;
        let limit = Duration::from_secs(3);
        let mut monitors = Vec::new();
        for index in 0..5 {
            let (spec, handle, script) = probe(&index.to_string(), &Log::default());
            script.refuse_stop.store(usize::MAX, SeqCst);
            monitors.push(handle.monitor());
            workers
                .start_child(spec.shutdown(Shutdown::Within(limit)))
                .await
                .unwrap();
        }
        let begin = Instant::now();
        tree.shutdown().await;
        // In parallel: one time-out, not five.
        assert!(begin.elapsed() >= limit && begin.elapsed() < 2 * limit);
        for monitor in monitors {
            assert_eq!(monitor.await, Some(ExitReason::Killed));
        }
    });
}
