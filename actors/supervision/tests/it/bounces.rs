//! Children that are stopped and started on request, and do not start.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use deia_supervision::{
    Backoff, ChildError, ChildState, ExitReason, Placement, Restart, Strategy, Tree,
};

use crate::common::{Crash, Log, Ping, idle, patient, probe, run, start, state, tolerant};

async fn bounce(tree: &Tree, moves: bool) -> Result<(), ChildError> {
    if moves {
        tree.move_child("root/a", Placement::Own).await
    } else {
        tree.restart_path("root/a").await
    }
}

/// The child was to run, so one failed start is no reason to leave it down.
#[test]
fn a_bounced_child_that_fails_to_start_is_restarted_like_after_a_crash() {
    for moves in [false, true] {
        actix::System::new().block_on(async {
            let (a, handle, script) = probe("a", &Log::default());
            let tree = start(tolerant("root", Strategy::OneForOne, 1).child(a)).await;
            script.fail_builds.store(1, SeqCst);
            let failed = bounce(&tree, moves).await;
            assert!(matches!(failed, Err(ChildError::StartFailed { .. })));
            assert_eq!(handle.ask(Ping).await, Ok(2));
            let status = tree.status_of("root/a").unwrap();
            assert_eq!((status.state, status.restarts), (ChildState::Running, 1));
            assert_eq!(status.last_exit.unwrap().reason.code(), "start_failed");
            assert_eq!(status.arbiter.as_deref(), Some("tree"), "it goes back");
            assert_eq!(tree.status().budget_used, Some(1));
            assert_eq!(tree.shutdown().await, ExitReason::Shutdown);
        });
    }
}

#[test]
fn a_bounced_child_that_fails_to_start_escalates_over_the_budget() {
    for moves in [false, true] {
        actix::System::new().block_on(async {
            let (a, _, script) = probe("a", &Log::default());
            let tree = start(tolerant("root", Strategy::OneForOne, 2).child(a)).await;
            script.fail_builds.store(usize::MAX, SeqCst);
            assert!(bounce(&tree, moves).await.is_err());
            let ExitReason::GaveUp(gave_up) = tree.exited().await else {
                panic!("it should have given up");
            };
            assert_eq!(gave_up.cause.code(), "start_failed");
        });
    }
}

/// The child waited for its restart, which was made earlier.
#[test]
fn a_child_in_backoff_that_is_started_by_hand_and_fails_goes_on_waiting() {
    run(async {
        let (a, handle, script) = probe("a", &Log::default());
        let minute = Duration::from_secs(60);
        let a = a.backoff(Backoff::new(minute, minute));
        let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
        let _ = handle.ask(Crash).await;
        idle().await;
        assert_eq!(state(&tree, "root/a"), Some(ChildState::Restarting));
        script.fail_builds.store(1, SeqCst);
        assert!(bounce(&tree, false).await.is_err());
        assert_eq!(state(&tree, "root/a"), Some(ChildState::Restarting));
        tokio::time::sleep(2 * minute).await;
        assert_eq!(state(&tree, "root/a"), Some(ChildState::Running));
        tree.shutdown().await;
    });
}

/// A child that was down stays so, and one that is never restarted is forgotten.
#[test]
fn a_bounced_child_that_was_down_or_is_temporary_is_not_restarted() {
    run(async {
        let (a, _, a_script) = probe("a", &Log::default());
        let (b, _, b_script) = probe("b", &Log::default());
        let root = patient("root", Strategy::OneForOne).child(a);
        let tree = start(root.child(b.restart(Restart::Temporary))).await;
        let root = tree.supervisor("root").unwrap();
        root.terminate_child("a").await.unwrap();
        for script in [a_script, b_script] {
            script.fail_builds.store(1, SeqCst);
        }
        assert!(bounce(&tree, false).await.is_err());
        let failed = tree.restart_path("root/b").await;
        assert!(matches!(failed, Err(ChildError::StartFailed { .. })));
        idle().await;
        assert_eq!(state(&tree, "root/a"), Some(ChildState::Terminated));
        assert_eq!(state(&tree, "root/b"), None);
        tree.shutdown().await;
    });
}
