//! Factories that decline. OTP has a case for each restart type, for declared children and for
//! those added later, and for instances of `simple_one_for_one`.

use std::sync::atomic::Ordering::SeqCst;

use deia_supervision::{
    ChildState, Intensity, Restart, Strategy, SupervisorHandle, SupervisorSpec, Tree,
};

use crate::common::{Crash, Log, Ping, Stop, idle, patient, probe, run, start, state};

const TYPES: [Restart; 3] = [Restart::Permanent, Restart::Transient, Restart::Temporary];

async fn with_dynamic(max_children: usize) -> (Tree, SupervisorHandle) {
    let spec = SupervisorSpec::dynamic("workers")
        .max_children(max_children)
        .intensity(Intensity::unlimited());
    let workers = spec.handle();
    let tree = start(patient("root", Strategy::OneForOne).child(spec)).await;
    (tree, workers)
}

/// A declared child that declines is kept, unless it is temporary; its siblings start.
#[test]
fn start_ignore_child() {
    for restart in TYPES {
        run(async {
            let log = Log::default();
            let (a, _, script) = probe("a", &log);
            let (b, b_handle, _) = probe("b", &log);
            script.ignore_builds.store(1, SeqCst);
            let root = patient("root", Strategy::OneForOne);
            let tree = start(root.child(a.restart(restart)).child(b)).await;
            assert_eq!(b_handle.ask(Ping).await, Ok(1));
            let kept = (restart != Restart::Temporary).then_some(ChildState::Ignored);
            assert_eq!(state(&tree, "root/a"), kept, "{restart:?}");
            let root = tree.supervisor("root").unwrap();
            let restarted = root.restart_child("a").await;
            assert_eq!(restarted.is_ok(), kept.is_some());
            let now = kept.map(|_| ChildState::Running);
            assert_eq!(state(&tree, "root/a"), now);
            tree.shutdown().await;
        });
    }
}

/// The same for one that is added to a running supervisor.
#[test]
fn start_ignore_child_start_child() {
    for restart in TYPES {
        run(async {
            let tree = start(patient("root", Strategy::OneForOne)).await;
            let root = tree.supervisor("root").unwrap();
            let (a, handle, script) = probe("a", &Log::default());
            script.ignore_builds.store(1, SeqCst);
            root.start_child(a.restart(restart)).await.unwrap();
            let kept = (restart != Restart::Temporary).then_some(ChildState::Ignored);
            assert_eq!(state(&tree, "root/a"), kept, "{restart:?}");
            idle().await;
            assert_eq!(handle.is_gone(), kept.is_none());
            let counts = root.count_children().await;
            assert_eq!(
                (counts.specs, counts.active),
                (usize::from(kept.is_some()), 0)
            );
            tree.shutdown().await;
        });
    }
}

/// A whole supervisor below one that declines never runs: the innermost child decides for itself.
#[test]
fn start_ignore_leaves_the_supervisor_up() {
    run(async {
        let (a, _, script) = probe("a", &Log::default());
        script.ignore_builds.store(1, SeqCst);
        let inner = SupervisorSpec::new("inner", Strategy::OneForAll).child(a);
        let tree = start(patient("root", Strategy::OneForOne).child(inner)).await;
        assert_eq!(state(&tree, "root/inner"), Some(ChildState::Running));
        assert_eq!(state(&tree, "root/inner/a"), Some(ChildState::Ignored));
        tree.shutdown().await;
    });
}

/// An instance that declines takes no place among the children, whatever its restart type.
#[test]
fn start_ignore_child_dynamic() {
    for restart in TYPES {
        run(async {
            let (tree, workers) = with_dynamic(1).await;
            let (a, _, script) = probe("a", &Log::default());
            script.ignore_builds.store(1, SeqCst);
            workers.start_child(a.restart(restart)).await.unwrap();
            assert!(workers.which_children().await.is_empty(), "{restart:?}");
            let (again, ..) = probe("a", &Log::default());
            workers.start_child(again).await.unwrap();
            tree.shutdown().await;
        });
    }
}

/// Declining on restart is no failure: nothing is counted, and the next restart can succeed.
#[test]
fn restart_ignore() {
    for (restart, end_normally) in [
        (Restart::Permanent, true),
        (Restart::Permanent, false),
        (Restart::Transient, false),
    ] {
        run(async {
            let (a, handle, script) = probe("a", &Log::default());
            let tree = start(patient("root", Strategy::OneForOne).child(a.restart(restart))).await;
            script.ignore_builds.store(1, SeqCst);
            match end_normally {
                true => handle.tell(Stop).unwrap(),
                false => handle.tell(Crash).unwrap(),
            }
            idle().await;
            assert_eq!(state(&tree, "root/a"), Some(ChildState::Ignored));
            assert_eq!(tree.status_of("root/a").unwrap().restarts, 1);
            let root = tree.supervisor("root").unwrap();
            root.restart_child("a").await.unwrap();
            assert_eq!(handle.ask(Ping).await, Ok(2));
            tree.shutdown().await;
        });
    }
}

#[test]
fn simple_one_for_one_restart_ignore() {
    run(async {
        let (tree, workers) = with_dynamic(1).await;
        let (a, handle, script) = probe("a", &Log::default());
        workers.start_child(a).await.unwrap();
        script.ignore_builds.store(1, SeqCst);
        handle.tell(Crash).unwrap();
        idle().await;
        assert!(workers.which_children().await.is_empty());
        assert!(handle.is_gone());
        let (again, ..) = probe("b", &Log::default());
        workers.start_child(again).await.unwrap();
        tree.shutdown().await;
    });
}
