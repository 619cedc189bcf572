//! Dynamic supervisors that are suspended, and that lose their own task.

use std::sync::atomic::Ordering::SeqCst;

use deia_supervision::{ChildState, ExitReason, Restart, Strategy, SupervisorSpec, Tree};

use crate::common::{Log, Ping, Say, idle, patient, probe, run, start, state};

/// Suspending keeps the children that were added, with their addresses and their mail, however far
/// above them it happens.
#[test]
fn a_suspended_dynamic_supervisor_keeps_its_children() {
    for path in ["root/edge/workers", "root/edge"] {
        run(async {
            let log = Log::default();
            let workers = SupervisorSpec::dynamic("workers");
            let handle = workers.handle();
            let edge = patient("edge", Strategy::OneForOne).child(workers);
            let tree = start(patient("root", Strategy::OneForOne).child(edge)).await;
            let (a, a_handle, a_script) = probe("a", &log);
            let (b, b_handle, _) = probe("b", &log);
            let (c, c_handle, _) = probe("c", &log);
            handle.start_child(a).await.unwrap();
            handle
                .start_child(b.restart(Restart::Temporary))
                .await
                .unwrap();
            handle.start_child(c).await.unwrap();
            tree.suspend_path("root/edge/workers/c").await.unwrap();
            log.take();
            tree.suspend_path(path).await.unwrap();
            let mut lines = log.take();
            lines.sort();
            assert_eq!(lines, ["-a", "-b"]);
            assert_eq!(
                state(&tree, "root/edge/workers/a"),
                Some(ChildState::Declared)
            );
            a_handle.tell(Say(7)).unwrap();
            assert!(!a_handle.is_gone() && !b_handle.is_gone());
            tree.resume_path(path).await.unwrap();
            idle().await;
            assert_eq!(log.take(), ["+a", "7", "+b"]);
            assert_eq!(a_script.alive.load(SeqCst), 1);
            assert_eq!(b_handle.ask(Ping).await, Ok(2));
            let suspended = state(&tree, "root/edge/workers/c");
            assert_eq!(suspended, Some(ChildState::Suspended), "for itself");
            // A crash, however, forgets them.
            let supervisor = tree.supervisor("root").unwrap();
            supervisor.terminate_child("edge").await.unwrap();
            supervisor.restart_child("edge").await.unwrap();
            assert!(handle.which_children().await.is_empty());
            idle().await;
            assert!(a_handle.is_gone() && b_handle.is_gone() && c_handle.is_gone());
            tree.shutdown().await;
        });
    }
}

/// A child that does not come up again does not keep the others down.
#[test]
fn a_kept_child_that_fails_to_start_is_a_failure_of_its_own() {
    run(async {
        let log = Log::default();
        let workers = SupervisorSpec::dynamic("workers");
        let handle = workers.handle();
        let tree: Tree = start(patient("root", Strategy::OneForOne).child(workers)).await;
        let (a, a_handle, script) = probe("a", &log);
        let (b, b_handle, _) = probe("b", &log);
        handle.start_child(a).await.unwrap();
        handle.start_child(b).await.unwrap();
        tree.suspend_path("root/workers").await.unwrap();
        script.fail_builds.store(1, SeqCst);
        tree.resume_path("root/workers").await.unwrap();
        assert_eq!(a_handle.ask(Ping).await, Ok(2));
        assert_eq!(b_handle.ask(Ping).await, Ok(2));
        assert_eq!(tree.status_of("root/workers/a").unwrap().restarts, 1);
        assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
    });
}
