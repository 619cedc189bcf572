//! Stopping a child or a subtree on purpose, and starting it again.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use deia_supervision::{Backoff, ChildError, ChildState, Strategy};
use tokio::time::sleep;

use crate::common::{Crash, Log, Ping, idle, patient, probe, run, start, state, tolerant};

#[test]
fn suspend_resume_keeps_place() {
    run(async {
        let log = Log::default();
        let (a, a_handle, _) = probe("a", &log);
        let (b, b_handle, b_script) = probe("b", &log);
        let (c, ..) = probe("c", &log);
        let edge = patient("edge", Strategy::OneForOne).child(b);
        let root = patient("root", Strategy::RestForOne);
        let tree = start(root.child(a).supervisor(edge).child(c)).await;
        tree.suspend_path("root/edge").await.unwrap();
        assert_eq!(state(&tree, "root/edge"), Some(ChildState::Suspended));
        assert_eq!(b_script.alive.load(SeqCst), 0);
        let waiting = b_handle.ask(Ping);
        // The restart of a sibling does not undo it.
        a_handle.tell(Crash).unwrap();
        idle().await;
        assert_eq!(state(&tree, "root/edge"), Some(ChildState::Suspended));
        let refused = tree.supervisor("root").unwrap().restart_child("edge").await;
        assert!(matches!(refused, Err(ChildError::Suspended)));
        tree.resume_path("root/edge").await.unwrap();
        assert_eq!(waiting.await, Ok(2));
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
