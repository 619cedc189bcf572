//! Stopping a child or a subtree on purpose, and starting it again.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use deia_supervision::{Backoff, ChildError, ChildState, ExitReason, Restart, Strategy};
use tokio::time::sleep;

use crate::common::{Crash, Log, Ping, Say, idle, patient, probe, run, start, state, tolerant};

#[test]
fn suspend_resume_keeps_place() {
    run(async {
        let log = Log::default();
        let (a, a_handle, _) = probe("a", &log);
        let (b, b_handle, b_script) = probe("b", &log);
        let (c, ..) = probe("c", &log);
        let edge = patient("edge", Strategy::OneForOne).child(b);
        let root = patient("root", Strategy::RestForOne);
        let tree = start(root.child(a).child(edge).child(c)).await;
        tree.suspend_path("root/edge").await.unwrap();
        assert_eq!(state(&tree, "root/edge"), Some(ChildState::Suspended));
        assert_eq!(b_script.alive.load(SeqCst), 0);
        b_handle.tell(Say(7)).unwrap();
        // The restart of a sibling does not undo it.
        a_handle.tell(Crash).unwrap();
        idle().await;
        assert_eq!(state(&tree, "root/edge"), Some(ChildState::Suspended));
        let refused = tree.supervisor("root").unwrap().restart_child("edge").await;
        assert!(matches!(refused, Err(ChildError::Suspended)));
        log.take();
        tree.resume_path("root/edge").await.unwrap();
        assert_eq!(b_handle.ask(Ping).await, Ok(2));
        assert_eq!(log.take(), ["+b", "7"]);
        let again = tree.resume_path("root/edge").await;
        assert!(matches!(again, Err(ChildError::NotSuspended)));
        log.take();
        tree.shutdown().await;
        assert_eq!(log.take(), ["-c", "-b", "-a"]);
    });
}

#[test]
fn suspend_is_not_a_failure() {
    run(async {
        let log = Log::default();
        let (a, ..) = probe("a", &log);
        let (b, _, b_script) = probe("b", &log);
        let tree = start(tolerant("root", Strategy::OneForAll, 0).child(a).child(b)).await;
        for _ in 0..20 {
            tree.suspend_path("root/a").await.unwrap();
            tree.suspend_path("root/a").await.unwrap();
            tree.resume_path("root/a").await.unwrap();
        }
        let status = tree.status_of("root/a").unwrap();
        assert_eq!((status.restarts, status.incarnation), (0, 21));
        assert_eq!(b_script.built(), 1);
        assert!(matches!(
            tree.suspend_path("root").await,
            Err(ChildError::Root)
        ));
        assert!(matches!(
            tree.suspend_path("root/x").await,
            Err(ChildError::NotFound)
        ));
        tree.restart_path("root/a").await.unwrap();
        assert_eq!(tree.status_of("root/a").unwrap().incarnation, 22);
        tree.shutdown().await;
    });
}

#[test]
fn a_child_waiting_for_its_restart_can_be_suspended() {
    run(async {
        let minute = Duration::from_secs(60);
        let (a, handle, script) = probe("a", &Log::default());
        let a = a.backoff(Backoff::new(minute, minute));
        let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
        handle.tell(Crash).unwrap();
        idle().await;
        tree.suspend_path("root/a").await.unwrap();
        sleep(3 * minute).await;
        assert_eq!(script.built(), 1);
        tree.resume_path("root/a").await.unwrap();
        assert_eq!(script.built(), 2);
        tree.shutdown().await;
    });
}

/// Found by the model: it used to start at once, before the siblings it depends on.
#[test]
fn a_child_resumed_during_a_restart_of_its_group_waits_for_its_turn() {
    run(async {
        let log = Log::default();
        let second = Duration::from_secs(1);
        let (a, handle, _) = probe("a", &log);
        let (b, ..) = probe("b", &log);
        let a = a.backoff(Backoff::new(second, second));
        let tree = start(patient("root", Strategy::OneForAll).child(a).child(b)).await;
        handle.tell(Crash).unwrap();
        idle().await;
        tree.suspend_path("root/b").await.unwrap();
        log.take();
        tree.resume_path("root/b").await.unwrap();
        assert_eq!(log.take(), ["+a", "+b"]);
        // Suspended again before its turn: whoever resumed it is told.
        handle.tell(Crash).unwrap();
        idle().await;
        tree.suspend_path("root/b").await.unwrap();
        let other = tree.clone();
        let resuming = actix::spawn(async move { other.resume_path("root/b").await });
        idle().await;
        tree.suspend_path("root/b").await.unwrap();
        assert!(matches!(resuming.await.unwrap(), Err(ChildError::Stopped)));
        tree.shutdown().await;
    });
}

#[test]
fn a_restart_on_request_keeps_a_temporary_child() {
    run(async {
        let log = Log::default();
        let (a, a_handle, _) = probe("a", &log);
        let (b, ..) = probe("b", &log);
        let root = tolerant("root", Strategy::OneForAll, 0);
        let root = root.child(a.restart(Restart::Temporary)).child(b);
        let tree = start(root).await;
        let waiting = tree.restart_path("root/a");
        waiting.await.unwrap();
        assert_eq!(a_handle.ask(Ping).await, Ok(2));
        let status = tree.status_of("root/a").unwrap();
        assert_eq!((status.incarnation, status.restarts), (2, 0));
        assert_eq!(log.take(), ["+a", "+b", "-a", "+a"]);
        tree.suspend_path("root/a").await.unwrap();
        let suspended = tree.restart_path("root/a").await;
        assert!(matches!(suspended, Err(ChildError::Suspended)));
        let root = tree.restart_path("root").await;
        assert!(matches!(root, Err(ChildError::Root)));
        tree.shutdown().await;
    });
}

#[test]
fn a_restart_on_request_does_not_wait_for_the_backoff() {
    run(async {
        let minute = Duration::from_secs(60);
        let (a, handle, script) = probe("a", &Log::default());
        let a = a.backoff(Backoff::new(minute, minute));
        let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
        handle.tell(Crash).unwrap();
        idle().await;
        let begin = tokio::time::Instant::now();
        tree.restart_path("root/a").await.unwrap();
        assert!(begin.elapsed() < minute);
        sleep(3 * minute).await;
        assert_eq!(script.built(), 2, "the timer is gone");
        tree.shutdown().await;
    });
}

/// A request that comes in between gets an error, and the last request counts.
#[test]
fn a_restart_on_request_can_be_overtaken() {
    run(async {
        let (a, _, script) = probe("a", &Log::default());
        let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
        let (restarted, again, suspended) = futures_util::future::join3(
            tree.restart_path("root/a"),
            tree.restart_path("root/a"),
            tree.suspend_path("root/a"),
        )
        .await;
        assert!(
            matches!(restarted, Err(ChildError::Stopped)),
            "{restarted:?}"
        );
        assert!(matches!(again, Err(ChildError::Restarting)), "{again:?}");
        suspended.unwrap();
        assert_eq!(state(&tree, "root/a"), Some(ChildState::Suspended));
        tree.resume_path("root/a").await.unwrap();
        assert_eq!(script.built(), 2);
        let (restarted, ended) =
            futures_util::future::join(tree.restart_path("root/a"), tree.shutdown()).await;
        assert!(restarted.is_err());
        assert_eq!(ended, ExitReason::Shutdown);
        assert_eq!(script.alive.load(SeqCst), 0);
    });
}

#[test]
fn states_have_stable_names() {
    let all = [
        ChildState::Declared,
        ChildState::Starting,
        ChildState::Running,
        ChildState::Stopping,
        ChildState::Restarting,
        ChildState::Terminated,
        ChildState::Ended,
        ChildState::Ignored,
        ChildState::Suspended,
        ChildState::Quarantined,
        ChildState::Removed,
        ChildState::Stuck,
    ];
    for state in all {
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        assert_eq!(state.to_string(), state.as_str());
    }
}

/// The work of an earlier run says nothing about this one.
#[test]
fn the_busy_share_is_of_this_run() {
    #[derive(actix::Message)]
    #[rtype(result = "()")]
    struct Work;
    impl actix::Handler<Work> for crate::common::Probe {
        type Result = ();
        fn handle(&mut self, _: Work, _: &mut Self::Context) {
            let begin = std::time::Instant::now();
            while begin.elapsed() < Duration::from_millis(1) {}
        }
    }
    run(async {
        let (a, handle, _) = probe("a", &Log::default());
        let tree = start(patient("root", Strategy::OneForOne).child(a)).await;
        for _ in 0..100 {
            handle.ask(Work).await.unwrap();
        }
        sleep(Duration::from_millis(1)).await; // of the paused clock
        assert!(tree.status_of("root/a").unwrap().busy_share > 0.9);
        handle.tell(Crash).unwrap();
        handle.ask(Ping).await.unwrap();
        sleep(Duration::from_secs(60)).await;
        let status = tree.status_of("root/a").unwrap();
        assert!(status.busy_ms > 10);
        assert!(status.busy_share < 0.01, "{}", status.busy_share);
        tree.shutdown().await;
    });
}
